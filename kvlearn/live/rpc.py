"""The services of a member: a request is found by its path, asked of the node, and answered.

    services = Services(member)
    Http2(services.open)                       # kvlearn/live/http2.py
    services.methods["/etcdserverpb.KV/Put"]   # what the JSON gateway opens

This module has the keys; leases, watches and upkeep are in `rpc_lease`, `rpc_watch`, `rpc_upkeep`,
members, users, locks and elections in `rpc_cluster`, `rpc_auth`, `rpc_lock`, whether this server
serves in `rpc_health`.

Source: etcd server/etcdserver/api/v3rpc (key.go, grpc.go, interceptor.go). Differs: handlers are
callbacks in one loop; where etcd 3.5.1 stops at a sort target that does not exist, the request is
refused.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from functools import partial
from typing import Any

from kvlearn.errors import (
    InvalidAuthToken, LearnerNotServing, NoLeader, RequestTooLarge, Stopped
)  # fmt: skip
from kvlearn.kv.kinds import repeatable
from kvlearn.kv.requests import Answer, DeleteRange, Put, Range
from kvlearn.kv.txn import Txn
from kvlearn.live import (
    rpc_auth, rpc_cluster, rpc_health, rpc_lease, rpc_lock, rpc_upkeep, rpc_watch
)  # fmt: skip
from kvlearn.live.codes import Code
from kvlearn.live.member import Member
from kvlearn.live.method import Call, Method, raw, refuse, table, unary
from kvlearn.live.proto import rpc_pb2
from kvlearn.live.wire import answer_bytes, put_of, request_of, txn_of

MODULES = rpc_lease, rpc_watch, rpc_upkeep, rpc_cluster, rpc_auth, rpc_lock, rpc_health
KEYS = Put, Range, DeleteRange, Txn
MISSED = 3  # looks for a leader in vain; a stream costs more to open again than a request
ENVELOPE_BYTES = 18  # what etcd's log entry has around a request
LEARNERS_TOO = {  # what a learner serves; a Range only if it is serializable
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
}


class Services:
    """`methods` by path, and what all of them need."""

    def __init__(self, member: Member):
        self.member = member
        self.max_bytes = member.config.max_request_bytes - ENVELOPE_BYTES
        # Both are for rpc_auth to say: whose call it is, and whether its messages have to wait
        # until that can be said.
        self.name_user: Callable[[Call], str] = lambda call: ""
        self.settle: Callable[[Call], None] = lambda call: None
        self._led: dict[Call, Callable[[], None]] = {}  # what is told when there is no leader
        self._look: TimerHandle | None = None
        self.methods: dict[str, Method] = {}
        for offer in (methods, *(module.methods for module in MODULES)):
            self.methods |= offer(self)

    def open(self, call: Call) -> None:
        """A call begins: find its method, and let that say what becomes of its messages."""
        self.member.meters.began(call)
        method = self.methods.get(call.path)
        if method is None:
            call.finish(*_unknown(call.path, self.methods))
            return
        if self.member.stopped.done():
            refuse(call, Stopped())
        elif self.learns and call.path not in LEARNERS_TOO:
            refuse(call, LearnerNotServing())
        elif call.metadata.get("hasleader") == "true" and self.member.leader is None:
            refuse(call, NoLeader())
        else:
            method.open(call)
            self.settle(call)

    @property
    def learns(self) -> bool:
        """Whether this member is a learner, which serves little."""
        node = self.member.node
        return bool(learners := node.raft.conf.learners) and node.name in learners

    def user_of(self, call: Call) -> str:
        """Who calls; "" while authentication is off. Raises: RequestError."""
        return self.name_user(call)

    def ask(self, call: Call, request: Any, encode: Callable[[Answer], bytes]) -> None:
        """Have the member carry out a request, and reply with what `encode` makes of the answer.

        Raises: RequestError where the caller is nobody.
        """
        done = partial(_reply, call, encode)
        try:
            user = self.name_user(call)
        except InvalidAuthToken:
            if isinstance(request, KEYS):  # what is wrong in itself is told first, as in etcd
                self.member.node.machine.check(request, self.member.node.max_txn_ops)
            raise
        if user and repeatable(request):
            done = partial(self._reply_if_known, call, user, self._known(user), done)
        op_id = self.member.ask(request, done, user)
        call.on_close = partial(self.member.forget, op_id)

    def _known(self, user: str) -> Any:
        known = self.member.node.machine.auth.users.get(user)
        return known and known.since

    def _reply_if_known(self, call: Call, user: str, since: Any, done: Any, answer: Answer) -> None:
        """A read brings what is newer than its call: perhaps the end of the caller's tokens."""
        if self._known(user) == since:
            done(answer)
        else:
            refuse(call, InvalidAuthToken())

    def may_read(self, call: Call, key: bytes, range_end: bytes) -> None:
        """Refuse whoever may not read these keys: the node does not ask who watches.

        Raises: RequestError.
        """
        self.member.node.machine.allow(self.user_of(call), Range(key, range_end))

    # Streams whose client wants a leader ------------------------------------------------------

    def watch_leader(self, call: Call, lost: Callable[[], None]) -> None:
        """Call `lost` when there has been no leader for three election timeouts, if the client
        wants that; until `leave`."""
        if call.metadata.get("hasleader") == "true":
            self._led[call] = lost
            if self._look is None:
                self._look_later(0)

    def leave(self, call: Call) -> None:
        """The stream is over."""
        self._led.pop(call, None)

    def _look_later(self, missed: int) -> None:
        wait_s = self.member.config.election_ms / 1000
        self._look = self.member.loop.call_later(wait_s, self._look_for_leader, missed)

    def _look_for_leader(self, missed: int) -> None:
        missed = 0 if self.member.leader else missed + 1
        if missed >= MISSED:
            for lost in list(self._led.values()):
                lost()
        self._look = None
        if self._led and not self.member.stopped.done():
            self._look_later(missed)

    def close(self) -> None:
        """The member stops: nothing is left in the loop."""
        if self._look is not None:
            self._look.cancel()

    def check_size(self, data: bytes) -> None:
        """Refuse what is too large for the log. Raises: RequestTooLarge."""
        if len(data) > self.max_bytes:
            raise RequestTooLarge(hint=f"{len(data)} bytes of {self.max_bytes}")


def _reply(call: Call, encode: Callable[[Answer], bytes], answer: Answer) -> None:
    if answer.error:
        refuse(call, answer.failure)
    else:
        call.reply(encode(answer))


def _unknown(path: str, methods: dict[str, Method]) -> tuple[Code, str]:
    service, slash, name = path.removeprefix("/").rpartition("/")
    if not slash:
        return Code.RESOURCE_EXHAUSTED, f'malformed method name: "{path}"'
    if any(known.startswith(f"/{service}/") for known in methods):
        return Code.UNIMPLEMENTED, f"unknown method {name} for service {service}"
    return Code.UNIMPLEMENTED, f"unknown service {service}"


class Keys:
    """KV: what reads and changes the store."""

    def __init__(self, services: Services):
        self._services = services

    def put(self, call: Call, data: bytes) -> None:
        """The most frequent call of all."""
        self._services.check_size(data)
        self._services.ask(call, put_of(data), answer_bytes)

    def range(self, call: Call, message: Any) -> None:
        """A learner answers only what may be stale."""
        if not message.serializable and self._services.learns:
            raise LearnerNotServing()
        self._services.ask(call, request_of(message), answer_bytes)

    def delete(self, call: Call, data: bytes) -> None:
        self._services.check_size(data)
        message = rpc_pb2.DeleteRangeRequest.FromString(data)
        self._services.ask(call, request_of(message), answer_bytes)

    def txn(self, call: Call, data: bytes) -> None:
        """One that only reads does not go through the log and may be larger."""
        request = txn_of(data)
        if request.writes:
            self._services.check_size(data)
        self._services.ask(call, request, answer_bytes)

    def compact(self, call: Call, message: Any) -> None:
        self._services.ask(call, request_of(message), answer_bytes)


def methods(services: Services) -> dict[str, Method]:
    """KV."""
    keys = Keys(services)
    ways = {
        "Range": unary(keys.range),
        "Put": raw(keys.put),
        "DeleteRange": raw(keys.delete),
        "Txn": raw(keys.txn),
        "Compact": unary(keys.compact),
    }
    return table(rpc_pb2.FILE, "etcdserverpb.KV", ways)
