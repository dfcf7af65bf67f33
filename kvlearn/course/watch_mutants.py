"""Broken watch hubs: each overrides one rule, and each breaks a promise to its watchers.

Every rule of `kvlearn/mvcc/watch.py` has a subclass here that gets it wrong in the way in which
people do, and a *witness*: a short program on a stage (one node, its log, its hub), in which
nothing but that rule decides whether a promise is kept. In a cluster:
`Cluster(store=StoreConfig(hub=ForgetsTheSlow))`.

>>> from kvlearn.check.watches import watches
>>> trace = WITNESSES["forgets_the_slow"](ForgetsTheSlow)
>>> print(watches(trace)["Reliable"].why)
n1 tells c1/w1 of put a=3 at revision 4, and has not told it of put a=2 at revision 3
>>> watches(WITNESSES["forgets_the_slow"](WatchHub)).ok
True

Tests convict each mutant by its witness, and acquit the reference by all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvlearn.check.watches import (
    AS_ASKED,
    ATOMIC,
    BOOKMARKABLE,
    ORDERED,
    RELIABLE,
    RESUMABLE,
    UNIQUE,
)
from kvlearn.events import Applied, Notified, StateLoaded, StreamClosed, WatchAsked
from kvlearn.kv.leases import Compact
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, DeleteRange, Put
from kvlearn.kv.txn import Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import KeyValue
from kvlearn.mvcc.watch import KVEvent, Watcher, WatchHub
from kvlearn.trace import Trace


class RepeatsItself(WatchHub):
    """Takes down that it sent a revision, and not that it goes on behind it: it comes again."""

    rule = "next_after"
    promise = UNIQUE
    witness = "repeats_itself"

    def next_after(self, revision: int) -> int:
        return revision


class ForgetsTheSlow(WatchHub):
    """Drops what finds no room: a watcher that is slow for a moment misses it for ever."""

    rule = "stands_at"
    promise = RELIABLE
    witness = "forgets_the_slow"

    def stands_at(self, watcher: Watcher, revision: int) -> int:
        return revision + 1


class ForgetsTheQuiet(WatchHub):
    """Does not count as sent what had nothing for a watcher: a compaction takes it for late."""

    rule = "stands_at"
    promise = RELIABLE
    witness = "forgets_the_quiet"

    def stands_at(self, watcher: Watcher, revision: int) -> int:
        return watcher.next


class JoinsTooEarly(WatchHub):
    """Hands the present to a watcher after one batch of its past, and the rest of that is lost."""

    rule = "is_synced"
    promise = RELIABLE
    witness = "joins_too_early"

    def is_synced(self, watcher: Watcher) -> bool:
        return True


class HidesCompaction(WatchHub):
    """Goes on with what a compaction has left, and says nothing of what it has taken."""

    rule = "has_lost"
    promise = RELIABLE
    witness = "hides_compaction"

    def has_lost(self, watcher: Watcher) -> bool:
        return False


class TellsByKey(WatchHub):
    """Reads the past key by key, as an index has it: the newer comes before the older."""

    rule = "history"
    promise = ORDERED
    witness = "tells_by_key"

    def history(self, watcher: Watcher, last: int) -> list[KeyValue]:
        return sorted(super().history(watcher, last), key=lambda change: change.key)


class TearsTransactions(WatchHub):
    """Sends every change as an answer of its own: half of a transaction can be seen."""

    rule = "parts"
    promise = ATOMIC
    witness = "tears_transactions"

    def parts(self, watcher: Watcher, events: tuple[KVEvent, ...]) -> list[tuple[KVEvent, ...]]:
        return [(event,) for event in events]


class StartsTooLate(WatchHub):
    """Starts at the present, whatever was asked for: who was cut off has a gap."""

    rule = "starts_at"
    promise = RESUMABLE
    witness = "starts_too_late"

    def starts_at(self, start_revision: int) -> int:
        return max(start_revision, self.store.revision + 1)


class PromisesTooMuch(WatchHub):
    """Tells the store's revision as progress, although a watcher still lacks what led there. So
    does etcd 3.4.23."""

    rule = "may_tell_progress"
    promise = BOOKMARKABLE
    witness = "promises_too_much"

    def may_tell_progress(self, watcher: Watcher) -> bool:
        return True


class IgnoresFilters(WatchHub):
    """Sends what its watcher did not want."""

    rule = "wants"
    promise = AS_ASKED
    witness = "ignores_filters"

    def wants(self, watcher: Watcher, type: str) -> bool:
        return True


class StartsTooEarly(WatchHub):
    """Sends from now on, also to who wants to hear of a later revision."""

    rule = "is_due"
    promise = AS_ASKED
    witness = "starts_too_early"

    def is_due(self, watcher: Watcher, revision: int) -> bool:
        return True


class ShowsThePresent(WatchHub):
    """Reads the previous pair after the change was made: it shows what is, not what was."""

    rule = "before"
    promise = AS_ASKED
    witness = "shows_the_present"

    def before(self, change: KeyValue) -> KeyValue | None:
        return self.store.get(change.key)


WATCH_MUTANTS: dict[str, type[WatchHub]] = {
    mutant.__name__: mutant
    for mutant in (
        RepeatsItself,
        ForgetsTheSlow,
        ForgetsTheQuiet,
        JoinsTooEarly,
        HidesCompaction,
        TellsByKey,
        TearsTransactions,
        StartsTooLate,
        PromisesTooMuch,
        IgnoresFilters,
        StartsTooEarly,
        ShowsThePresent,
    )
}


# The stage ----------------------------------------------------------------------------------


class Stage:
    """A node without Raft: a log that grows by hand, its store, its hub, and the story of both.

    Arguments other than the hub's class are the hub's: `capacity`, `batch`, `limit_bytes`.
    """

    def __init__(self, hub: type[WatchHub] = WatchHub, **limits: int):
        self.machine = KVMachine(MemoryBackend())
        self.hub = hub(self.machine.store, **limits)
        self.trace = Trace()
        self.index = 0
        self.ahead: KVMachine | None = None  # the store of n2, while n1 hears nothing of the log

    def tell(self, event: Any, node: str = "n1") -> None:
        """One more record, a millisecond after the last."""
        self.trace.add(len(self.trace) / 1000, node, event, None)

    def do(self, *requests: Any) -> None:
        """The log grows, and the watchers hear of it. What a compaction gives up goes at once."""
        for request in requests:
            self.index += 1
            command = Command("n1", self.index, request)
            machine, node = (self.ahead, "n2") if self.ahead else (self.machine, "n1")
            _, error = machine.apply(self.index, 1, command)
            refusal = error.text if error else ""
            self.tell(Applied(self.index, 1, command, machine.revision, refusal), node)
            if not self.ahead:
                self.hub.notify(machine.changes)
            while machine.store.sweeping:
                machine.store.sweep()

    def put(self, key: str, *values: int) -> None:
        """Put one value after the other."""
        self.do(*(Put(key.encode(), b"%d" % value) for value in values))

    def watch(self, stream: str, key: str, range_end: str = "", **wants: Any) -> None:
        """Ask the node; `wants` are the other fields of WatchCreate."""
        request = WatchCreate(key.encode(), range_end.encode(), **wants)
        self.tell(WatchAsked(stream, request, self.machine.revision))
        fields = {name: getattr(request, name) for name in request.__slots__}
        self.hub.create(stream, **fields)

    def cancel(self, stream: str, watch_id: int = 0) -> None:
        """The client wants no more of it."""
        self.tell(WatchAsked(stream, WatchCancel(watch_id), self.machine.revision))
        self.hub.cancel(stream, watch_id)

    def ask_progress(self, stream: str) -> None:
        """The client asks how far it is."""
        self.tell(WatchAsked(stream, WatchProgress(), self.machine.revision))
        self.hub.request_progress(stream)

    def close(self, stream: str) -> None:
        """The client is gone."""
        self.hub.close(stream)
        self.tell(StreamClosed(stream))

    def take(self, stream: str = "c1/w1") -> list:
        """Hand out what waits; the answers."""
        answers = self.hub.take(stream)
        for answer in answers:
            self.tell(Notified(stream, answer))
        return answers

    def sync(self, times: int = 1) -> None:
        """Who lacks something catches up by so many batches, and takes them."""
        for _ in range(times):
            self.hub.sync()
            for stream in list(self.hub.waiting):
                self.take(stream)

    def cut_off(self) -> None:
        """From now on only n2 hears of what the log says."""
        self.ahead = KVMachine(MemoryBackend())
        self.ahead.load(self.machine.save())

    def load(self) -> None:
        """n1 hears of it again, and gets all at once by a snapshot."""
        self.machine.load(self.ahead.save())
        self.ahead = None
        self.tell(StateLoaded(self.index, 1, self.machine.revision))
        self.hub.reset(self.machine.store)


# Witnesses ----------------------------------------------------------------------------------


def repeats_itself(hub: type[WatchHub]) -> Trace:
    """A watcher of the past, and nothing happens while it catches up."""
    stage = Stage(hub)
    stage.put("a", 1, 2)
    stage.watch("c1/w1", "a", start_revision=2)
    stage.sync(times=2)
    return stage.trace


def forgets_the_slow(hub: type[WatchHub]) -> Trace:
    """A stream has room for one answer, and two changes come."""
    stage = Stage(hub, capacity=1)
    stage.watch("c1/w1", "a")
    stage.take()
    stage.put("a", 1, 2)
    stage.take()
    stage.sync()
    stage.put("a", 3)
    stage.take()
    return stage.trace


def forgets_the_quiet(hub: type[WatchHub]) -> Trace:
    """b is watched and does not change while all before is compacted; then its stream is full."""
    stage = Stage(hub, capacity=1)
    stage.watch("c1/w1", "a")
    stage.watch("c1/w1", "b")
    for value in 1, 2, 3:
        stage.take()
        stage.put("a", value)
    stage.ask_progress("c1/w1")
    stage.take()
    stage.do(Compact(4))
    stage.put("a", 4, 5)
    stage.put("b", 6)
    stage.take()
    stage.sync()
    return stage.trace


def joins_too_early(hub: type[WatchHub]) -> Trace:
    """A slow watcher lacks two changes and catches up by one; meanwhile a third is made."""
    stage = Stage(hub, capacity=1, batch=1)
    stage.watch("c1/w1", "a")
    stage.take()
    stage.put("a", 1, 2, 3)
    stage.take()
    stage.sync()
    stage.put("a", 4)
    stage.take()
    stage.sync(times=3)
    return stage.trace


def hides_compaction(hub: type[WatchHub]) -> Trace:
    """While a slow watcher lacks three changes, two of them are compacted away."""
    stage = Stage(hub, capacity=1)
    stage.watch("c1/w1", "a")
    stage.take()
    stage.put("a", 1, 2, 3, 4)
    stage.do(Compact(5))
    stage.take()
    stage.sync()
    return stage.trace


def tells_by_key(hub: type[WatchHub]) -> Trace:
    """The past of two keys, of which the second changed first."""
    stage = Stage(hub)
    stage.put("b", 1)
    stage.put("a", 2)
    stage.watch("c1/w1", "a", "c", start_revision=2)
    stage.sync()
    return stage.trace


def tears_transactions(hub: type[WatchHub]) -> Trace:
    """Two keys change in one transaction."""
    stage = Stage(hub)
    stage.watch("c1/w1", "a", "c")
    stage.do(Txn((), (Put(b"a", b"1"), Put(b"b", b"1"))))
    stage.take()
    return stage.trace


def starts_too_late(hub: type[WatchHub]) -> Trace:
    """A client was away for two changes and asks for all since then."""
    stage = Stage(hub)
    stage.put("a", 1, 2)
    stage.watch("c1/w1", "a", start_revision=2)
    stage.sync()
    stage.put("a", 3)
    stage.take()
    return stage.trace


def promises_too_much(hub: type[WatchHub]) -> Trace:
    """A watcher of the past asks for its progress before it was sent anything."""
    stage = Stage(hub)
    stage.put("a", 1, 2)
    stage.watch("c1/w1", "a", start_revision=2)
    stage.ask_progress("c1/w1")
    stage.sync()
    return stage.trace


def ignores_filters(hub: type[WatchHub]) -> Trace:
    """A watcher wants to know what is deleted, and nothing else."""
    stage = Stage(hub)
    stage.watch("c1/w1", "a", filters=("put",))
    stage.put("a", 1)
    stage.do(DeleteRange(b"a"))
    stage.take()
    return stage.trace


def starts_too_early(hub: type[WatchHub]) -> Trace:
    """A watcher asks for revision 3 and later, and the store is at 1."""
    stage = Stage(hub)
    stage.watch("c1/w1", "a", start_revision=3)
    stage.put("a", 1, 2)
    stage.take()
    return stage.trace


def shows_the_present(hub: type[WatchHub]) -> Trace:
    """A watcher wants to see what a key held before."""
    stage = Stage(hub)
    stage.watch("c1/w1", "a", prev_kv=True)
    stage.put("a", 1, 2)
    stage.take()
    return stage.trace


WITNESSES: dict[str, Callable[[type[WatchHub]], Trace]] = {
    witness.__name__: witness
    for witness in (
        repeats_itself,
        forgets_the_slow,
        forgets_the_quiet,
        joins_too_early,
        hides_compaction,
        tells_by_key,
        tears_transactions,
        starts_too_late,
        promises_too_much,
        ignores_filters,
        starts_too_early,
        shows_the_present,
    )
}
