"""Random runs with all that pictures show, and what their nodes held at some moments.

`lively(seed)` is a run with faults, watches, leases, transactions, compactions and changes of
members; on the way it is written down what the live nodes hold. `Truth` carries the log of a trace
out by a list, and `watchers` follows the streams: no reader of `kvlearn.viz` has a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from kvlearn import Cluster, RaftConfig, StoreConfig
from kvlearn.check.naive import NaiveStore
from kvlearn.errors import RequestError
from kvlearn.events import (
    Applied,
    Crashed,
    Notified,
    StreamClosed,
    WatchAsked,
)
from kvlearn.kv.leases import Compact
from kvlearn.kv.members import MemberAdd, MemberPromote, MemberRemove
from kvlearn.kv.txn import Txn
from kvlearn.kv.watches import WatchCreate
from tests.viz.test_store_runs import NAMES, ask, disturb

SEEDS = (1, 2, 5, 8)
MOMENTS = 10


@dataclass
class Seen:
    """What the nodes held after record `seq`, at `time` seconds."""

    seq: int
    time: float
    leader: str | None
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    progress: dict[str, tuple] = field(default_factory=dict)  # of the leader
    conf: Any = None  # the leader's
    last: int = 0  # the end of the leader's log, in memory
    disk: int = 0  # and on its disk
    flying: list = field(default_factory=list)  # (source, target) of messages on their way
    cuts: set = field(default_factory=set)
    left: dict[int, float] = field(default_factory=dict)  # lease -> seconds, as the leader counts
    store: Any = None  # of the node that has applied most: revision, compacted, index, records
    held: dict[int, tuple] = field(default_factory=dict)


def look(cluster):
    """Write down what is."""
    seen = Seen(len(cluster.trace) - 1, cluster.now, cluster.leader)
    seen.cuts = set(cluster.cuts)
    paused = {name for name, view in cluster.nodes.items() if view.paused}
    flying = [packet.message for packet in cluster.in_flight]
    seen.flying = sorted((m.source, m.target) for m in flying if m.target not in paused)
    for name, view in cluster.nodes.items():
        seen.nodes[name] = {
            "role": view.role, "term": view.term, "commit": view.commit, "applied": view.applied,
            "revision": view.revision, "log": list(view.log), "base": view.base,
            "alive": view.alive, "leader": view.leader, "timer": None, "disk": None,
        }  # fmt: skip
        host = cluster._hosts[name]
        if host.node is not None and not view.paused:
            raft = host.node.raft
            runs_out = host.own_clock.when(raft.deadline * config_of(cluster)["tick_s"])
            seen.nodes[name]["timer"] = runs_out - cluster.trace[seen.seq].time
            seen.nodes[name]["disk"] = raft.log.stable
    host = cluster._hosts.get(cluster.leader or "")
    if host is not None and host.node is not None:
        raft, lessor = host.node.raft, host.node.machine.lessor
        seen.conf, seen.last, seen.disk = raft.conf, raft.log.last_index, raft.log.stable
        known = {name: (p.match, p.next, p.state) for name, p in raft.progress.items()}
        seen.progress = {name: told for name, told in known.items() if name != raft.id}
        now = host.own_clock.read(cluster.now)
        seen.left = {id: lessor.remaining(id, now) for id in lessor.leases}
    running = [h for h in cluster._hosts.values() if h.node is not None]
    machine = max((h.node.machine for h in running), key=lambda m: m.applied, default=None)
    if machine is not None:
        index = {key: str(one) for key, one in machine.store.index.items()}
        seen.store = (machine.applied, machine.revision, machine.store.compacted, index,
                      bool(machine.store.sweeping))  # fmt: skip
        seen.held = {id: tuple(sorted(one.keys)) for id, one in machine.lessor.leases.items()}
    return seen


def config_of(cluster):
    return cluster.trace.about["config"]


def change_members(rng, cluster):
    """A learner comes, gets a vote, or goes."""
    asked = cluster.leader or "n1"
    if "n4" not in cluster.nodes:
        cluster.add_node("n4", learner=True)
    request = rng.choice([MemberAdd("n4", True), MemberPromote("n4"), MemberRemove("n4")])
    cluster.submit(request, asked)
    cluster.run(rng.random() * 0.4)


def lose_an_answer(cluster, number):
    """A leader that nobody hears takes a write, and its client gives up."""
    leader = cluster.leader or "n1"
    cluster.isolate(leader)
    try:
        cluster.client(leader, timeout_s=0.3).put("lost", str(number))
    finally:
        cluster.heal()


@cache
def lively(seed, steps=70):
    """A run with all that pictures show; the trace, and what was seen on the way."""
    rng = Random(seed)
    config = RaftConfig.etcd(snapshot_entries=12, kept_entries=4)
    cluster = Cluster(3, seed=seed, config=config, store=StoreConfig(checkpoint_s=2.0))
    cluster.wait_for_leader()
    client, granted, seen = cluster.client(), [], []
    looks = {rng.randrange(steps) for _ in range(MOMENTS)}
    for number in range(steps):
        try:
            dice = rng.random()
            if dice < 0.7:
                ask(rng, client, granted, number)
            elif dice < 0.81:
                change_members(rng, cluster)
            elif dice < 0.85:
                lose_an_answer(cluster, number)
            else:
                disturb(rng, cluster)
        except (RequestError, ValueError):
            pass  # refused, or a node is down already
        if number in looks:
            cluster.run(rng.choice([0.0, 0.003, 0.02]))
            seen.append(look(cluster))
    for name in NAMES:
        if not cluster.nodes[name].alive:
            cluster.restart(name)
    cluster.run(4)
    return cluster, [*seen, look(cluster)]


def moments(*seeds):
    """(what to print, the trace, what was seen), over all runs."""
    for seed in seeds or SEEDS:
        cluster, seen = lively(seed)
        for one in seen:
            yield f"lively({seed}), seq={one.seq}", cluster, one


def tells_time(text, trace, seq):
    """Whether the first line has the time of the record."""
    return f"{trace[seq].time:.3f} s" in text.split("\n")[0]


def until(trace, seq, *kinds):
    return [record for record in trace.of(*kinds) if record.seq <= seq]


class Truth:
    """The log of a trace up to a record, carried out by a list; what compactions left of it."""

    def __init__(self, trace, seq):
        self.store, self.entries = NaiveStore(), {}
        for record in until(trace, seq, Applied):
            self.entries.setdefault(record.event.index, record)
        self.gone: set = set()  # (revision, sub) of what compactions removed
        self.made: dict = {}  # (revision, sub) -> term
        self.txns: list = []
        for index in sorted(self.entries):
            self._apply(self.entries[index])

    def _apply(self, record):
        event, known = record.event, len(self.store.changes)
        request = getattr(event.command, "request", None)
        if isinstance(request, Txn):
            holds = [self.store._holds(compare) for compare in request.compare]
            self.txns.append((record, request, holds, self.store.revision))
        if not event.error:
            self.store.apply(request)
            if isinstance(request, Compact):
                self._sweep(request.revision)
        for change in self.store.changes[known:]:
            self.made[change.revision, change.sub] = event.term

    def _sweep(self, at):
        """Of a key's changes up to `at` the last stays, unless it is a deletion."""
        for changes in self.store.of_key.values():
            old = [change for change in changes if change.revision <= at]
            keep = old[-1:] if old and old[-1].put else []
            self.gone |= {(c.revision, c.sub) for c in old} - {(c.revision, c.sub) for c in keep}


class Watcher:
    """A stream with one watcher, from what was asked and told; no reader of viz is in it."""

    def __init__(self, record):
        self.request = record.event.request
        self.first = self.request.start_revision or record.event.revision + 1
        self.told: list = []
        self.position, self.ended, self.node, self.lost = self.first - 1, False, record.node, False

    def tell(self, response):
        self.ended = self.ended or response.canceled
        for event in response.events:
            word = (event.kv.mod_revision, event.type, event.kv.key_text)
            if word not in self.told:
                self.told.append(word)
                self.position = max(self.position, event.kv.mod_revision)
        if not (response.events or response.created or response.canceled):
            self.position = max(self.position, response.revision)


def watchers(trace, seq):
    found: dict[str, Watcher] = {}
    for record in until(trace, seq, WatchAsked, Notified, StreamClosed, Crashed):
        event = record.event
        if isinstance(event, Crashed):
            for one in found.values():
                one.lost = one.lost or one.node == record.node
            continue
        one = found.get(event.stream)
        if isinstance(event, WatchAsked) and isinstance(event.request, WatchCreate):
            if one is None:
                found[event.stream] = Watcher(record)
            else:
                one.node, one.lost = record.node, False
        elif one is not None and record.node == one.node:
            if isinstance(event, Notified):
                one.tell(event.response)
            elif isinstance(event, StreamClosed):
                one.lost = True
    return found
