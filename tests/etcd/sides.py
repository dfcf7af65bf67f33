"""The two sides of the comparison: kvlearn's state machine, and a real etcd.

Both take the same operations and give an `Outcome` each. An operation is a request of kvlearn's, or
one of the values defined here. What watchers hear is gathered in `heard`, one list for each watcher
of each stream, because how events are put together into answers is nobody's promise.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from kvlearn.errors import RequestError
from kvlearn.kv.leases import (
    LEADER_ONLY,
    Compact,
    LeaseGrant,
    LeaseLeases,
    LeaseResult,
    LeaseRevoke,
)  # fmt: skip
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import FROM_KEY, Command, DeleteRange, Put, Range
from kvlearn.kv.txn import MAX_OPS, Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress, check_watch
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.watch import NO_ID, KVEvent, WatchHub, WatchResponse
from tests.etcd.gateway import Connection, Refused, WebSocket
from tests.etcd.wire import PATHS, Wire, error_of

BARRIER = b"barrier"  # a key that is put to learn that watchers have caught up
PROBE = "probe"  # the stream of a watcher that learns it
PATIENCE_S = 5.0  # for events that should be there: etcd brings watchers forward every 0.1 s


class On(NamedTuple):
    """Ask something on the watch stream of this name."""

    stream: str
    request: Any


class GrantAny(NamedTuple):
    """Grant a lease whose id the server chooses; the program calls it `name`."""

    ttl_s: int
    name: int


class GrantShort(NamedTuple):
    """Grant a lease and revoke it at once: with its time it would not outlive the program."""

    ttl_s: int
    id: int


class Inside(NamedTuple):
    """Something that must not show: kvlearn's side sweeps, or starts anew from what it saved."""

    what: str  # sweep, reopen, copy


class Outcome(NamedTuple):
    """What came of an operation. `error` is the class, the code and the text."""

    revision: int = 0
    result: Any = None
    error: tuple[str, str, str] | None = None


def refusal(error: RequestError) -> Outcome:
    """An operation that was refused; error answers have no header."""
    return Outcome(error=(type(error).__name__, error.code, error.text))


Heard = dict[tuple[str, int], list]


def parts(response: WatchResponse) -> Iterator[KVEvent | WatchResponse]:
    """What a watcher heard: events one by one, and where a life of its begins or ends."""
    if response.created or response.canceled:
        yield response
    yield from response.events


class Listener:
    """What the watchers of one side have heard."""

    def __init__(self):
        self.heard: Heard = defaultdict(list)
        self.answers: list[WatchResponse] = []  # all of them, as they came
        self._goes_on: dict[tuple[str, int], bool] = {}  # the last answer was a fragment

    def hear(self, stream: str, response: WatchResponse) -> bool:
        """Note it; whether that was news for a watcher and not an answer to a question.

        Events of one revision come in one answer, and its header is not older than they are.
        """
        who = stream, response.watch_id
        log, goes_on = self.heard[who], self._goes_on.get(who)
        revisions = [event.kv.mod_revision for event in response.events]
        assert not revisions or response.revision >= max(revisions), f"an old header: {response}"
        if revisions and log and isinstance(log[-1], KVEvent) and not goes_on:
            assert log[-1].kv.mod_revision < revisions[0], f"a revision cut in two: {response}"
        self._goes_on[who] = response.fragment
        self.answers.append(response)
        log += parts(response)
        return bool(response.compact_revision or response.events)


class Ours(Listener):
    """kvlearn: the machine applies, the hub is told."""

    def __init__(self, machine: type[KVMachine] = KVMachine, hub: type[WatchHub] = WatchHub):
        super().__init__()
        self.machine = machine(MemoryBackend())
        self.machine.lessor.promote(0.0)  # its clock stands: leases are sorted by their time
        # Streams that are full at once, and short steps: nobody must be able to tell.
        self.hub = hub(self.machine.store, capacity=1, batch=3)
        self.catching_up = False  # etcd may still bring a watcher forward
        self.watching = False

    @property
    def revision(self) -> int:
        return self.machine.revision

    def before(self, op: Any) -> list[Any]:
        """Operations that make the outcome of `op` certain: etcd brings watchers forward when it
        likes, and what this would race with waits until it has."""
        return [Put(BARRIER)] if self.races(op) and self.catching_up else []

    def races(self, op: Any) -> bool:
        """Whether it could come before or after events that are on their way."""
        late = WatchCancel, WatchProgress
        return isinstance(op, Compact) or (isinstance(op, On) and isinstance(op.request, late))

    def run(self, op: Any) -> Outcome:
        """Do it and tell the watchers."""
        match op:
            case Inside(what):
                self._inside(what)
                return Outcome()
            case On(stream, request):
                return self._on(stream, request)
            case GrantAny(ttl_s, name):
                return self._apply(LeaseGrant(ttl_s, name))
            case GrantShort(ttl_s, id):
                granted = self._apply(LeaseGrant(ttl_s, id))
                if granted.error is None:
                    self._apply(LeaseRevoke(id))
                return granted
            case Range() | Txn():
                try:
                    self.machine.check(op, MAX_OPS)
                    if not (isinstance(op, Txn) and op.writes):
                        return Outcome(self.revision, self.machine.look(op))
                except RequestError as error:
                    return refusal(error)
            case _ if isinstance(op, LEADER_ONLY):
                return Outcome(self.revision, self.machine.ask_lessor(op, 0.0))
        if op == Put(BARRIER):
            self.catching_up = False
        return self._apply(op)

    def _apply(self, request: Any) -> Outcome:
        machine = self.machine
        index = machine.applied + 1
        result, error = machine.apply(index, 1, Command("n1", index, request))
        if isinstance(request, LeaseGrant):
            machine.lessor.started(request.id, 0.0)
        self.hub.notify(machine.changes)
        self._listen()
        return refusal(error) if error else Outcome(machine.revision, result)

    def _on(self, stream: str, request: Any) -> Outcome:
        hub, control = self.hub, []
        try:
            check_watch(request)
        except RequestError as error:
            return refusal(error)
        match request:
            case WatchCreate():
                self.watching = True
                if 0 < request.start_revision <= self.revision:
                    self.catching_up = True
                fields = (getattr(request, name) for name in request.__slots__)
                hub.create(stream, *fields)
            case WatchCancel(id):
                hub.cancel(stream, id)
            case WatchProgress():
                hub.request_progress(stream)
        control = [one for one in hub.take(stream) if not self.hear(stream, one)]
        self._listen()
        return Outcome(result=tuple(control))

    def _listen(self) -> None:
        while True:
            behind = self.hub.unsynced
            self.hub.sync()
            for stream in list(self.hub.streams):
                for response in self.hub.take(stream):
                    assert self.hear(stream, response), f"nobody asked for {response}"
            if not behind:
                return

    def _inside(self, what: str) -> None:
        old = self.machine
        if what == "sweep":
            old.store.sweep(3)
            return
        if self.watching:  # watchers end with the node
            return
        old.commit()
        self.machine = type(old)(MemoryBackend() if what == "copy" else old.backend)
        if what == "copy":
            self.machine.load(old.save())
        self.machine.lessor.promote(0.0)
        self.hub = type(self.hub)(self.machine.store, capacity=1, batch=3)


class Theirs(Listener):
    """etcd, cleaned for each program: no keys, no leases, and revision 1 is where it stands."""

    translation = Wire

    def __init__(self, port: int):
        self.port = port
        self.connection = Connection(port)
        self.sockets: dict[str, WebSocket] = {}
        self.patience_s = PATIENCE_S
        self.reset()
        # A revision below 0 means something else before the first compaction than ever after.
        self._ask(Compact(1))

    def reset(self) -> None:
        """Forget the program before."""
        self.close_streams()
        Listener.__init__(self)
        self.wire = wire = self.translation()
        for id in self._ask(LeaseLeases()).result.ids:
            self._ask(LeaseRevoke(id))
        # What was compacted lies below these two, so nothing of the program's revisions is.
        self._ask(Put(b"clean"))
        wire.offset = self._ask(DeleteRange(b"\0", FROM_KEY)).revision - 1

    def close_streams(self) -> None:
        for one in self.sockets.values():
            one.close()
        self.sockets = {}

    def close(self) -> None:
        self.close_streams()
        self.connection.close()

    def run(self, op: Any) -> Outcome:
        """Ask etcd."""
        match op:
            case Inside():
                return Outcome()
            case On(stream, request):
                return self._on(stream, request)
            case GrantAny(ttl_s, name):
                granted = self._ask(LeaseGrant(ttl_s, 0))
                if granted.error is None:
                    self.wire.name_lease(name, granted.result.id)
                    granted = granted._replace(result=LeaseResult(name, granted.result.ttl_s))
                return granted
            case GrantShort(ttl_s, id):
                granted = self._ask(LeaseGrant(ttl_s, id))
                if granted.error is None:
                    self._ask(LeaseRevoke(id))
                return granted
        if isinstance(op, Compact):  # else a deletion at its revision may still be there, or not
            op = replace(op, physical=True)
        outcome = self._ask(op)
        if op == Put(BARRIER) and self.sockets:
            self._await_barrier(outcome.revision)
        return outcome

    def _ask(self, request: Any) -> Outcome:
        wire = self.wire
        try:
            answer = self.connection.post(PATHS[type(request)], wire.encode(request))
        except Refused as error:
            return refusal(error_of(error.code, error.text))
        return Outcome(wire.header(answer), wire.decode(request, answer))

    # Streams ----------------------------------------------------------------------------------

    def _on(self, stream: str, request: Any) -> Outcome:
        self._send(stream, request)
        fenced = isinstance(request, WatchCancel)
        if fenced:  # an unknown id has no answer; answers to questions keep their order
            self._send(stream, WatchProgress())
        control: list[WatchResponse] = []
        while not control or (fenced and control[-1].watch_id != NO_ID):
            answer = self._receive(stream, PATIENCE_S)
            assert answer is not None, f"no answer to {request}"
            if not self.hear(stream, answer):
                control.append(answer)
        return Outcome(result=tuple(control[:-1] if fenced else control))

    def _send(self, stream: str, request: Any) -> None:
        if stream not in self.sockets:
            self.sockets[stream] = WebSocket(self.port, "/v3/watch")
        self.sockets[stream].send(self.wire.encode(request))

    def _receive(self, stream: str, timeout_s: float) -> WatchResponse | None:
        message = self.sockets[stream].receive(timeout_s)
        return None if message is None else self.wire.watched(message)

    def wait(self, expected: Heard) -> None:
        """Until every watcher has heard so much, or what comes last, or patience has ended."""
        until = time.monotonic() + self.patience_s
        for (stream, id), wanted in expected.items():
            log = self.heard[stream, id]
            while len(log) < len(wanted) and log[-1:] != wanted[-1:]:
                left = until - time.monotonic()
                answer = self._receive(stream, left) if left > 0 else None
                if answer is None:
                    return
                self.hear(stream, answer)

    def _await_barrier(self, revision: int) -> None:
        """Watchers that lack something are brought forward together: when one that was made last
        has what it lacks, all have."""
        self._send(PROBE, WatchCreate(BARRIER, start_revision=revision))
        while (answer := self._receive(PROBE, PATIENCE_S)) is not None and not answer.events:
            pass
        assert answer is not None, "etcd does not bring watchers forward"
        self.sockets.pop(PROBE).close()
