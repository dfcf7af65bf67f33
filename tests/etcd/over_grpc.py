"""A real side of the comparison that is asked over gRPC, through kvlearn's own client.

What `wire.py` does to JSON is done to values here: a program counts revisions and leases for
itself.

>>> from kvlearn.kv.requests import KeyValue, Range
>>> numbers = Numbers(offset=100)
>>> print(numbers.out(Range(b"a", revision=5)))
get a at 105
>>> numbers.back(KeyValue(b"a", b"", 105, 107, 2)).mod_revision
7
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from kvlearn.errors import RequestError, TimedOut, Unavailable
from kvlearn.kv.leases import (
    Compact,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    LeasesResult,
    LeaseTimeResult,
    LeaseTimeToLive,
)  # fmt: skip
from kvlearn.kv.txn import Compare
from kvlearn.live import connect
from kvlearn.mvcc.watch import WatchResponse
from tests.etcd.gateway import Unreachable
from tests.etcd.sides import PATIENCE_S, Outcome, Theirs, refusal
from tests.etcd.wire import Wire

REVISIONS = {
    *("revision", "start_revision", "compact_revision", "create_revision", "mod_revision"),
    *("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"),
}
BY_ID = (LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseResult, LeaseTimeResult)


class Numbers(Wire):
    """One program's translation, of values."""

    def out(self, value: Any) -> Any:
        """A program's request as it is asked."""
        return self._shifted(value, self.offset, self.leases)

    def back(self, value: Any) -> Any:
        """An answer as the program understands it."""
        value = self._shifted(value, -self.offset, self.names)
        if isinstance(value, LeaseTimeResult):  # in no particular order
            return replace(value, keys=tuple(sorted(value.keys)))
        return value

    def _shifted(self, value: Any, by: int, leases: dict[int, int]) -> Any:
        if isinstance(value, tuple):
            return tuple(self._shifted(one, by, leases) for one in value)
        if not is_dataclass(value):
            return value
        changed = {}
        for field in fields(value):
            now = getattr(value, field.name)
            if field.name in REVISIONS:
                changed[field.name] = now + by if now > 0 else now
            elif field.name == "lease" or field.name == "id" and isinstance(value, BY_ID):
                changed[field.name] = leases.get(now, now)
            elif is_dataclass(now) or isinstance(now, tuple):
                changed[field.name] = self._shifted(now, by, leases)
        if isinstance(value, Compare) and isinstance(value.operand, int):
            changed["operand"] = self._operand(value, by, leases)
        if isinstance(value, LeasesResult):
            changed["ids"] = tuple(leases.get(id, id) for id in value.ids)
        return replace(value, **changed)

    def _operand(self, compare: Compare, by: int, leases: dict[int, int]) -> int:
        operand = compare.operand
        if compare.target in ("create", "mod"):
            return operand + by if operand > 0 else operand
        return leases.get(operand, operand) if compare.target == "lease" else operand


class OverGrpc(Theirs):
    """A member, etcd's or kvlearn's, cleaned for each program."""

    translation = Numbers

    def __init__(self, endpoint: str):
        self.client = connect(endpoint, write=True)
        self.channel, self.endpoint = self.client.channel, endpoint
        self.sockets: dict[str, GrpcStream] = {}
        self.patience_s = PATIENCE_S
        self.reset()
        self._ask(Compact(1))  # as for JSON

    def close(self) -> None:
        self.client.close()

    def _ask(self, request: Any) -> Outcome:
        numbers = self.wire
        try:
            answer = self.channel.call(self.endpoint, numbers.out(request), PATIENCE_S)
        except (TimedOut, Unavailable) as error:
            raise Unreachable(repr(error)) from error
        except RequestError as error:
            return refusal(error)
        result = numbers.back(answer.result)
        revision = answer.header.revision
        return Outcome(revision - numbers.offset if revision > 0 else revision, result)

    def _send(self, stream: str, request: Any) -> None:
        if stream not in self.sockets:
            self.sockets[stream] = GrpcStream(self.channel, self.endpoint)
        self.sockets[stream].send(self.wire.out(request))

    def _receive(self, stream: str, timeout_s: float) -> WatchResponse | None:
        message = self.sockets[stream].receive(timeout_s)
        return None if message is None else self.wire.back(message)


class GrpcStream:
    """One watch stream: what comes, one by one."""

    def __init__(self, channel: Any, endpoint: str):
        self._channel, self._at = channel, 0
        self._name = channel.open_stream(endpoint)

    def send(self, request: Any) -> None:
        """Ask something."""
        self._channel.ask_stream(self._name, request)

    def receive(self, timeout_s: float) -> WatchResponse | None:
        """The next answer; None if none comes in time. Raises: Unreachable."""
        try:
            self._channel.wait_stream(self._name, self._at, timeout_s)
        except TimedOut:
            return None
        received = self._channel.received(self._name)
        if len(received) == self._at:
            raise Unreachable(repr(self._channel.stream_error(self._name)))
        self._at += 1
        return received[self._at - 1]

    def close(self) -> None:
        """Nothing more is wanted."""
        self._channel.close_stream(self._name)
