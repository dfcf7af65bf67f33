"""Lesson 12: the scenes that it plays, and its exercises.

What a watch is told, where a slow watcher stands, when history is lost, a scene that convicts a
hub which starts too late, and a copy that loses no change.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from kvlearn.check.watches import watches
from kvlearn.client import Client
from kvlearn.course.kinds import Fact, Fill, Predict
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.page import Card, Table
from kvlearn.course.store_kinds import (
    Found,
    HubTrial,
    HubWitness,
    Meddled,
    Program,
    Scene,
    SmallCluster,
)
from kvlearn.course.trials import Difference
from kvlearn.course.watch_mutants import (
    ForgetsTheSlow,
    HidesCompaction,
    PromisesTooMuch,
    RepeatsItself,
    StartsTooLate,
    TearsTransactions,
    TellsByKey,
)
from kvlearn.errors import Compacted
from kvlearn.events import Notified
from kvlearn.handles import Watcher
from kvlearn.kv.config import StoreConfig
from kvlearn.mvcc.watch import Watcher as HubWatcher
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft.config import RaftConfig
from kvlearn.sim import Cluster
from kvlearn.words import delete, put


def shop(store: StoreConfig | None = None) -> tuple[Cluster, Client]:
    """Three nodes, and a shop's stock through seven revisions: the cluster, and who wrote it."""
    cluster = Cluster(3, seed=12, store=store or StoreConfig())
    writer = cluster.client()
    writer.put("stock/apple", "10")
    writer.put("stock/pear", "4")
    writer.put("stock/apple", "9")
    writer.delete("stock/pear")
    writer.txn().then(put("stock/apple", "7"), put("stock/plum", "20")).commit()
    writer.put("price/apple", "3")
    cluster.run(0.5)
    return cluster, writer


def slow_reader(cluster: Cluster, changes: int = 6) -> Watcher:
    """One client watches `a` and reads nothing while another puts it `changes` times; then it reads
    again."""
    watcher, writer = cluster.client().watch("a"), cluster.client()
    watcher.hold()
    for number in range(changes):
        writer.put("a", str(number))
    cluster.run(0.5)
    watcher.release()
    cluster.run(0.5)
    return watcher


# Scenes, one a promise ------------------------------------------------------------------------


def from_the_past(cluster: Cluster) -> None:
    """Two keys change, b first; then somebody asks for all of it."""
    writer = cluster.client()
    writer.put("b", "1")
    writer.put("a", "2")
    cluster.client().watch("a", "c", start_revision=2)
    cluster.run(1.0)


def one_transaction(cluster: Cluster) -> None:
    """Two keys change in one transaction, and both are watched."""
    writer, reader = cluster.client(), cluster.client()
    cluster.wait_for_leader()
    reader.watch("a", "c")
    cluster.run(0.1)
    writer.txn().then(put("a", "1"), put("b", "1")).commit()
    cluster.run(0.5)


def how_far(cluster: Cluster) -> None:
    """A watch of the past asks for its progress before it was told anything."""
    writer = cluster.client()
    for number in 1, 2, 3:
        writer.put("a", str(number))
    cluster.run(0.5)
    stream = writer.watch_stream()
    stream.create(b"a", start_revision=2)
    stream.request_progress()
    cluster.run(0.5)


def node_fails(cluster: Cluster) -> Watcher:
    """The node that serves a watch crashes, and before the client has found another a key changes
    twice."""
    reader, writer = cluster.client(), cluster.client("n2")
    cluster.wait_for_leader()
    if cluster.leader != "n2":
        reader.move_leader("n2")
    watcher = reader.watch("a")
    cluster.run(0.2)
    writer.put("a", "1")
    cluster.run(0.2)
    cluster.crash(server_of(cluster, watcher))
    writer.put("a", "2")
    writer.put("a", "3")
    cluster.run(0.5)
    writer.put("a", "4")
    cluster.run(0.5)
    return watcher


def server_of(cluster: Cluster, watcher: Watcher) -> str:
    """Which node has told a watch something last."""
    told = [r for r in cluster.trace.of(Notified) if r.event.stream == watcher.stream]
    return told[-1].node


SIX = {  # a broken hub for each of etcd's six promises, and the scene that convicts it
    TellsByKey: from_the_past,
    RepeatsItself: from_the_past,
    ForgetsTheSlow: slow_reader,
    TearsTransactions: one_transaction,
    StartsTooLate: node_fails,
    PromisesTooMuch: how_far,
}


def first_break(scene: Callable[[Cluster], Any], hub: type[WatchHub]) -> str:
    """Which promise a hub breaks first in a scene of three nodes, and how; "" if none."""
    cluster = Cluster(3, seed=1, store=StoreConfig(hub=hub, watch_queue=2))
    scene(cluster)
    broken = watches(cluster.trace).broken
    return f"{broken[0].promise}: {broken[0].why}" if broken else ""


def six_breaks() -> Card:
    """What each of the six broken hubs breaks, and how."""
    rows = [(hub.__name__, *first_break(scene, hub).split(": ", 1)) for hub, scene in SIX.items()]
    title = "Six broken hubs, three nodes each"
    return Card("plain", title, [Table(("hub", "breaks", "what happened"), rows)])


# Trials of rules ------------------------------------------------------------------------------


def _late(cluster: BoundedCluster) -> None:
    slow_reader(cluster)


def _quiet(cluster: BoundedCluster) -> None:
    """b is watched and does not change while all before is compacted; then its stream is full."""
    writer, stream = cluster.client(), cluster.client().watch_stream()
    writer.put("a", "0")
    stream.create(b"a")
    stream.create(b"b")
    for number in 1, 2, 3:
        writer.put("a", str(number))
    cluster.run(0.3)
    stream.request_progress()
    cluster.run(0.3)
    writer.compact(4)
    stream.hold()
    for number in range(4):
        writer.put("a", str(number))
    writer.put("b", "1")
    cluster.run(0.3)
    stream.release()


def _at_the_edge(cluster: BoundedCluster) -> None:
    """A watch begins exactly where the history begins, one after it, and one before it."""
    client = cluster.client()
    for number in range(1, 6):
        client.put("a", str(number))
    cluster.run(0.3)
    client.compact(4)
    for start in (4, 5, 3):
        client.watch("a", start_revision=start)
        cluster.run(0.3)


def _compacted_while_slow(cluster: BoundedCluster) -> None:
    """A client reads nothing for a while, and what it lacks is compacted away: part of it, and then
    all but the last."""
    watcher, writer = cluster.client().watch("a"), cluster.client()
    for upto in (4, 14):
        watcher.hold()
        for number in range(8):
            writer.put("a", str(number))
        cluster.run(0.3)
        writer.compact(upto)
        cluster.run(0.3)
        watcher.release()
        cluster.run(0.3)


def _by_chance(cluster: BoundedCluster) -> None:
    """Writes, holds, compactions and a crash in the order of a seeded hand."""
    rng = Random(f"watch/{cluster.seed}")
    writer, reader = cluster.client(), cluster.client()
    watchers = [reader.watch("a"), reader.watch("b"), reader.watch("a", "c")]
    for number in range(40):
        verb = rng.choice(("put", "put", "put", "hold", "release", "compact", "delete"))
        watcher = rng.choice(watchers)
        if verb == "put":
            writer.put(rng.choice("ab"), str(number))
        elif verb == "delete":
            writer.delete(rng.choice("ab"))
        elif verb == "hold":
            watcher.hold()
        elif verb == "release":
            watcher.release()
        elif number % 4 == 0:
            now = writer.get("a").header.revision
            if now > 6:
                _compact(writer, now - 4)
        if number == 20:
            cluster.crash(server_of(cluster, watchers[0]))
        cluster.run(rng.uniform(0.0, 0.2))
    for watcher in watchers:
        watcher.release()


def _by_snapshot(cluster: BoundedCluster) -> None:
    """A node is cut off and gets what it missed as a snapshot; one of its watchers waits for the
    future."""
    cluster.wait_for_leader()
    writer = cluster.client("n2")
    if cluster.leader != "n2":
        writer.move_leader("n2")
    for start in (0, 30):
        cluster.client("n1").watch("a", start_revision=start)
    cluster.run(0.3)
    cluster.isolate("n1")
    for number in range(20):
        writer.put("a", str(number))
    cluster.heal()
    cluster.run(1.5)
    for number in range(20):
        writer.put("a", str(number))


def _compact(client: Client, revision: int) -> None:
    try:
        client.compact(revision)
    except Compacted:
        pass  # it is done already


SMALL = {"watch_queue": 2}
LATE = HubTrial("a client that reads nothing for a while", _late, store=SMALL)
QUIET = HubTrial("a watch of a quiet key, and a compaction", _quiet, store=SMALL)
EDGE = HubTrial("watches that begin at the edge of the history", _at_the_edge)
GONE = HubTrial("a compaction while a client is slow", _compacted_while_slow, store=SMALL)
CHANCE = tuple(
    HubTrial(f"writes, pauses, compactions and a crash, seed {seed}", _by_chance, seed, SMALL)
    for seed in (1, 2, 3)
)
SNAPSHOTS = RaftConfig.etcd(snapshot_entries=5, kept_entries=1)
SNAPSHOT = HubTrial("a node that gets a snapshot", _by_snapshot, config=SNAPSHOTS)
HUBS = (LATE, QUIET, EDGE, GONE, SNAPSHOT, *CHANCE)
SCENES = "slow clients, quiet keys, compactions, a snapshot, a crash"


def _stands_hint(first: Difference) -> str:
    watcher, revision = first.arguments
    said = int(first.said) if first.said.lstrip("-").isdigit() else None
    if said is None:
        return "The answer is a revision: a whole number."
    if said > revision:
        return (
            f"Then revision {revision} is taken for sent. It was not: its stream had no room. Who "
            "will ever tell it?"
        )
    if said == watcher.next < revision:
        return (
            f"It waits for {watcher.next}, but between that and {revision} there was nothing for "
            "it: it was synced. If that stretch is compacted, it will be canceled for the loss of "
            "history that held nothing for it."
        )
    if revision < watcher.next:
        return f"It has asked for {watcher.next} and later. That still holds."
    return "It had all before this revision, and lacks this one."


class CancelsTooEarly(WatchHub):
    """Cancels a watcher when the revision that it waits for is the compacted one, too."""

    def has_lost(self, watcher: HubWatcher) -> bool:
        """History up to the compacted revision is gone."""
        return watcher.next <= self.store.compacted


def _lost_hint(first: Difference) -> str:
    (watcher,) = first.arguments
    if first.wanted == "False":
        return (
            f"It waits for {watcher.next}. What was at that revision can still be read: compaction "
            "at R keeps the state at R. Is there anything before it that it still lacks?"
        )
    return f"It waits for {watcher.next}, and that is gone. If it goes on, it has a gap."


# A copy that loses nothing --------------------------------------------------------------------


def _copied(moves: Callable[[], list], crash: bool = False) -> Callable[[Callable], Found | None]:
    """A scene: `moves()` are what others do, one after each call of the copier, the rest later."""

    def play(copy_of: Callable) -> Found | None:
        cluster = SmallCluster(3, seed=5)
        cluster.wait_for_leader()
        writer = cluster.client()
        for key, value in (("other", "x"), ("job/2", "new"), ("job/1", "new")):
            writer.put(key, value)
        left = moves()
        meddled = Meddled(cluster, left)
        answer = copy_of(meddled, "job/")
        if not (isinstance(answer, tuple) and len(answer) == 2):
            why = f"it returned {answer!r}"
            return Found("It returns a dict and a watcher", why, cluster.trace)
        if crash:
            cluster.crash(server_of(cluster, answer[1]))
        for move in left:
            move(writer)
        cluster.run(3.0)
        return _compared(cluster, writer, meddled.read, *answer)

    return play


def _compared(
    cluster: Cluster, client: Client, read: int, pairs: Any, watcher: Any
) -> Found | None:
    """Hold the copy, event by event, against the store; `read` is the revision of the pairs."""
    if not isinstance(pairs, dict) or not isinstance(watcher, Watcher):
        why = f"it returned a {type(pairs).__name__} and a {type(watcher).__name__}"
        return Found("It returns a dict and a watcher", why, cluster.trace)
    mine = {_text(key): _text(value) for key, value in pairs.items()}
    events = watcher.events()
    if events and events[0].kv.mod_revision <= read:
        why = f"the pairs are of revision {read}, and the first event is {events[0]} at revision "
        why += f"{events[0].kv.mod_revision}: for a moment the copy goes back in time."
        hint = "Where does the watch have to begin, so that nothing comes twice?"
        title = "The watch tells of what the pairs have already"
        return Found(title, why, cluster.trace, _last_told(cluster), hint)
    for place, event in enumerate(events):
        if event.type == "put":
            mine[event.kv.key_text] = event.kv.text
        else:
            mine.pop(event.kv.key_text, None)
        revision = event.kv.mod_revision
        if place + 1 < len(events) and events[place + 1].kv.mod_revision == revision:
            continue
        if found := _differs(cluster, mine, _store(client, revision), revision):
            return found
    now = client.get("job/", prefix=True).header.revision
    return _differs(cluster, mine, _store(client, now), now)


def _store(client: Client, revision: int) -> dict[str, str]:
    reply = client.get("job/", prefix=True, revision=revision)
    return {kv.key_text: kv.text for kv in reply.kvs}


def _differs(cluster: Cluster, mine: dict, store: dict, revision: int) -> Found | None:
    if mine == store:
        return None
    wrong = sorted(key for key in mine.keys() | store.keys() if mine.get(key) != store.get(key))
    key = wrong[0]
    why = f"at revision {revision} the store has {key} = {store.get(key, 'nothing')}, and the copy "
    why += f"has {mine.get(key, 'nothing')}."
    hint = (
        "Something changed between two of your calls, and nobody told the copy. Every answer has a "
        "revision, `answer.header.revision`, and a watch may begin at any."
    )
    title = "The copy is not what the store is"
    return Found(title, why, cluster.trace, _last_told(cluster), hint)


def _last_told(cluster: Cluster) -> int:
    """The record that told of events last."""
    told = [r.seq for r in cluster.trace.of(Notified) if r.event.response.events]
    return told[-1] if told else -1


def _text(thing: Any) -> str:
    return thing.decode() if isinstance(thing, bytes) else str(thing)


def _changes() -> list[Callable[[Client], Any]]:
    return [
        lambda c: c.put("job/1", "running"),
        lambda c: c.put("job/3", "new"),
        lambda c: c.put("job/1", "done"),
    ]


def _deletions() -> list[Callable[[Client], Any]]:
    return [
        lambda c: c.delete("job/2"),
        lambda c: c.txn().then(put("job/4", "new"), delete("job/1")).commit(),
        lambda c: c.put("other", "y"),
        lambda c: c.put("job/2", "again"),
    ]


COPIES = (
    Scene("keys change while the copy is made", _copied(_changes)),
    Scene("keys are deleted while the copy is made", _copied(_deletions)),
    Scene("the node that serves the watch crashes", _copied(_changes, crash=True)),
)


# Facts ----------------------------------------------------------------------------------------


def _told_revisions() -> Fact:
    cluster, writer = shop()
    watcher = cluster.client().watch("stock/", prefix=True, start_revision=4, filters=("delete",))
    cluster.run(0.5)
    writer.put("price/pear", "2")
    writer.put("stock/pear", "5")
    cluster.run(0.5)
    revisions = tuple(event.kv.mod_revision for event in watcher.events())
    seq = [r for r in cluster.trace.of(Notified) if r.event.stream == watcher.stream][-1].seq
    why = (
        "A start revision is included. The deletion at 5 is filtered, 7 and 8 are of prices, and "
        "the transaction at 6 has changed two keys that are watched: two events, one revision."
    )
    hints = {
        (4, 6, 9): "How many keys did the transaction change?",
        (6, 6, 9): "Is the start revision itself included?",
        (4, 5, 6, 6, 9): "What do filters name: what is wanted, or what is not?",
        (4, 6, 6, 7, 8, 9): "Do all these keys begin with `stock/`?",
        (4, 6, 6): "One change was made after the watch was opened.",
        (5,): "What do filters name: what is wanted, or what is not?",
        (5, 6, 6, 9): "Is the start revision included, and is a delete wanted?",
    }
    prices = (4, 6, 7), (4, 6, 6, 7, 9), (4, 6, 6, 8), (4, 6, 6, 8, 9)
    hints |= dict.fromkeys(prices, "Which keys does the prefix `stock/` cover?")
    return Fact(revisions, cluster.trace, seq, why, hints)


def _numbers(answer: Any) -> tuple[int, ...]:
    if isinstance(answer, int) and not isinstance(answer, bool):
        answer = [answer]
    found = tuple(answer)
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in found):
        raise ValueError("The answer is a list of revisions, as in [2, 3].")
    return found


EXERCISES = [
    Predict(
        "watch/events",
        "Which revisions do the events have that this watch is told, in their order?",
        _told_revisions,
        "revisions_told = [4, 6, 6, 9]",
        _numbers,
        empty=[],
    ),
    Fill(
        "watch/stands_at",
        "stands_at",
        "A synced watcher has all before `revision`, wherever its `next` was left standing. So it "
        "goes on at `revision`; but one that waits for the future still waits.",
        "    def stands_at(self, watcher, revision):\n        return max(watcher.next, revision)\n",
        trials=HUBS,
        hint=_stands_hint,
        base=WatchHub,
        scenes=SCENES,
    ),
    Fill(
        "watch/has_lost",
        "has_lost",
        "Compaction at R gives up what was *below* R; all changes after R are there, and so is the "
        "state at R. Who waits for R, or for something later, lacks nothing.",
        "    def has_lost(self, watcher):\n        return watcher.next < self.store.compacted\n",
        trials=HUBS,
        hint=_lost_hint,
        base=WatchHub,
        scenes=SCENES,
    ),
    HubWitness(
        "watch/witness",
        HidesCompaction,
        "What it still had to be sent was compacted, and the hub went on with what was left, as if "
        "nothing had been there.",
        '    watcher = cluster.client().watch("a")\n'
        "    watcher.hold()\n"
        "    writer = cluster.client()\n"
        "    for number in range(8):\n"
        '        writer.put("a", str(number))\n'
        "    cluster.run(0.5)\n"
        "    writer.compact(7)\n"
        "    watcher.release()\n",
        hint="Somebody has to lack something at the moment when it is compacted. In this cluster "
        "two answers find room in a stream; `watcher.hold()` reads nothing, `watcher.release()` "
        "reads again, `client.compact(revision)` gives up the history below a revision.",
        store=SMALL,
    ),
    Program(
        "watch/copy",
        "Write `copy_of(client, prefix)`: it returns a dict of what is there now, key to value, "
        "and a watcher that brings every change after that.",
        "First read, then watch from the revision after the one of the answer: no change falls "
        "between the two, and none comes twice. This is how Kubernetes' informers begin.",
        "    answer = client.get(prefix, prefix=True)\n"
        "    pairs = {kv.key_text: kv.text for kv in answer.kvs}\n"
        "    start = answer.header.revision + 1\n"
        "    return pairs, client.watch(prefix, prefix=True, start_revision=start)\n",
        scenes=COPIES,
    ),
]
