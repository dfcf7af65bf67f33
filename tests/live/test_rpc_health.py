"""gRPC's own health checks, to the end of a member (tests/live/spec_wire.py has the rest)."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("google.protobuf", reason="etcd's messages are protobuf")
pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.live.proto.health_pb2 import HealthCheckRequest, HealthCheckResponse
from kvlearn.live.rpc import Services
from tests.live.calls import KeptCall
from tests.live.fakes import InProcess

WATCH = "/grpc.health.v1.Health/Watch"


class Watcher(KeptCall):
    """Its connection closes a call that the server ends, as HTTP/2's does at times."""

    def finish(self, code: int = 0, text: str = "") -> None:
        super().finish(code, text)
        self.give_up()


def test_who_watches_hears_of_a_members_end():
    async def test():
        cluster = await InProcess.of("n1")
        services = Services(cluster.members["n1"])
        watchers = [Watcher(services, WATCH, HealthCheckRequest()) for _ in range(3)]
        gone = Watcher(services, WATCH, HealthCheckRequest())
        gone.give_up()
        for watcher in watchers:
            (told,) = await watcher.hear(1)
            assert told.status == HealthCheckResponse.SERVING and watcher.status is None
        await cluster.__aexit__()
        for watcher in watchers:
            await watcher.until(lambda: watcher.status is not None)
            last = watcher.sent[-1].status
            assert last == HealthCheckResponse.NOT_SERVING and watcher.status[0] == "UNAVAILABLE"
        assert len(gone.sent) == 1 and gone.status is None

    asyncio.run(asyncio.wait_for(test(), 60))
