"""Leases: granted, kept alive, looked at and revoked.

An unknown lease is an error for who revokes it, and for nobody else: asked for its time it has -1
seconds, kept alive it has 0.

Source: etcd server/etcdserver/api/v3rpc/lease.go. Differs: a stream's keep-alives are asked as they
come, where etcd answers each before it reads the next.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from kvlearn.errors import NoLeader
from kvlearn.kv.leases import LeaseKeepAlive
from kvlearn.kv.requests import Answer, Header
from kvlearn.live.method import STREAMED, Call, Method, garbled, refuse, stream, table, unary
from kvlearn.live.proto import rpc_pb2
from kvlearn.live.wire import answer_bytes, header_only, keep_alive_bytes, request_of

if TYPE_CHECKING:
    from kvlearn.live.rpc import Services


class Leases:
    """Lease."""

    def __init__(self, services: Services):
        self._services = services

    def ask(self, call: Call, message: Any) -> None:
        """A grant, a look at the time that is left, the list."""
        self._services.ask(call, request_of(message), answer_bytes)

    def revoke(self, call: Call, message: Any) -> None:
        self._services.ask(call, request_of(message), header_only)

    def keep_alive(self, call: Call) -> None:
        """A stream: one answer for each message, until the client has no more."""
        KeepAlive(self._services, call)


class KeepAlive:
    """One stream of keep-alives. `_asked`: the op_ids of those that wait for their answer."""

    def __init__(self, services: Services, call: Call):
        self._services, self._call = services, call
        self._user = services.user_of(call)
        self._asked: set[int] = set()
        self._ended = False  # the client sends no more
        call.on_message, call.on_end, call.on_close = self._take, self._end, self._forget
        services.watch_leader(call, self._leaderless)

    def _take(self, data: bytes) -> None:
        try:
            id = rpc_pb2.LeaseKeepAliveRequest.FromString(data).ID
        except DecodeError as error:
            self._forget()
            garbled(self._call, error, STREAMED)
            return
        # The header is of before: a lease that ends after this does so at a later revision.
        member = self._services.member
        answered = partial(self._answer, member.header())
        self._asked.add(member.ask(LeaseKeepAlive(id), answered, self._user))

    def _answer(self, header: Header, answer: Answer) -> None:
        self._asked.discard(answer.op_id)
        if answer.error:
            self._forget()
            refuse(self._call, answer.failure)
            return
        self._call.send(keep_alive_bytes(header, answer.result))
        self._end(self._ended)

    def _end(self, ended: bool = True) -> None:
        self._ended = ended
        if ended and not self._asked:
            self._forget()
            self._call.finish()

    def _leaderless(self) -> None:
        self._forget()
        refuse(self._call, NoLeader())

    def _forget(self) -> None:
        self._services.leave(self._call)
        asked, self._asked = self._asked, set()
        for op_id in asked:
            self._services.member.forget(op_id)


def methods(services: Services) -> dict[str, Method]:
    """Lease."""
    leases = Leases(services)
    ways = {
        "LeaseGrant": unary(leases.ask),
        "LeaseRevoke": unary(leases.revoke),
        "LeaseKeepAlive": stream(leases.keep_alive),
        "LeaseTimeToLive": unary(leases.ask),
        "LeaseLeases": unary(leases.ask),
    }
    return table(rpc_pb2.FILE, "etcdserverpb.Lease", ways)
