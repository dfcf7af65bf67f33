"""Health: whether this server serves, in the words of gRPC's own health checks.

    Check("")      SERVING              the server as a whole is the only service that has a state
    Check("x")     NOT_FOUND
    Watch("")      SERVING, and NOT_SERVING when the member stops
    Watch("x")     SERVICE_UNKNOWN      it might come later, says the protocol

It tells that the process answers, not that the cluster can write: `/health` asks for that.

Source: grpc doc/health-checking.md; etcd server/etcdserver/api/v3rpc/grpc.go (which services have a
state there). Differs: a watch hears of the member's end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kvlearn.errors import Stopped
from kvlearn.live.codes import Code
from kvlearn.live.method import Call, Method, refuse, table, unary
from kvlearn.live.proto import health_pb2

if TYPE_CHECKING:
    from kvlearn.live.rpc import Services

STATUS = health_pb2.HealthCheckResponse


class Health:
    """Health. `_watched`: the calls that hear of it when the member stops."""

    def __init__(self, services: Services):
        self._watched: set[Call] = set()
        services.member.stopped.add_done_callback(self._stop)

    def check(self, call: Call, message: Any) -> None:
        """The state of a service, once."""
        if message.service:
            call.finish(Code.NOT_FOUND, "unknown service")
        else:
            call.reply(_told(STATUS.SERVING))

    def watch(self, call: Call, message: Any) -> None:
        """Its state, and every change of it."""
        call.send(_told(STATUS.SERVICE_UNKNOWN if message.service else STATUS.SERVING))
        self._watched.add(call)
        call.on_close = partial(self._watched.discard, call)

    def _stop(self, stopped: Any) -> None:
        for call in list(self._watched):  # the end of a call takes it out
            call.send(_told(STATUS.NOT_SERVING))
            refuse(call, Stopped())


def _told(status: int) -> bytes:
    return STATUS(status=status).SerializeToString()


def methods(services: Services) -> dict[str, Method]:
    """Health."""
    health = Health(services)
    ways = {"Check": unary(health.check), "Watch": unary(health.watch)}
    return table(health_pb2.FILE, "grpc.health.v1.Health", ways)
