"""The hand-cranked cluster: nothing happens unless you say so.

Nodes, disks and requests are the real ones. But no clock runs, nobody saves, and messages lie in a
pool until somebody delivers them, one by one and in any order. So the one unlucky order of events
that breaks a bad rule can be written down, and read:

>>> bench = Bench(3)
>>> bench.campaign("n1")          # its election timeout runs out
>>> bench.ready("n1")             # it saves its vote; two requests leave
>>> bench.pool
[n1→n2 Vote? t1 0@0, n1→n3 Vote? t1 0@0]
>>> bench.deliver(bench.select(target="n2")[0])
>>> bench.save("n2")              # n2's vote is on its disk, its answer has not left yet
True
>>> bench.crash("n2")             # and never will
>>> [str(record) for record in bench.trace[-2:]]
['n2 saved term 1, vote n1', 'n2 crashes; its disk keeps the log up to 0']

A turn of a node is the host's four lines, here in three moves:

```
write   its Ready goes to the disk, not forced; messages that promise nothing leave
save    the disk is forced: from now on a crash cannot take it back
ready   the other messages leave; committed entries are applied, clients answered
```

Each does what is missing of those before it. Virtual time passes too, so that pictures have an
axis: a move takes a millisecond, ticks take what the configuration says.

Source: etcd-io/raft rafttest/interaction_env.go (the idea).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from random import Random
from typing import Any

from kvlearn.doors import door
from kvlearn.events import (
    Crashed,
    Dropped,
    Healed,
    LeaseExpired,
    LeaseRenewed,
    LinksCut,
    Notified,
    Paused,
    Received,
    Resumed,
    Saved,
    Sent,
    Wiped,
    facts,
)
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.node import Node
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.messages import Message
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ConfState, Entry, HardState, Index, NodeId, Ready, Term
from kvlearn.sim.clock import VirtualClock
from kvlearn.sim.desk import Desk
from kvlearn.sim.disk import Disk
from kvlearn.sim.streams import HandStreams
from kvlearn.sim.views import known_names
from kvlearn.trace import Trace

MOVE_S = 0.001  # virtual seconds that a move takes
RESTLESS = 20_000  # moves after which `stabilize` gives up

Memory = tuple[HardState, tuple[Entry, ...]]  # what a disk holds


def memory(
    terms: Iterable[Term], term: Term | None = None, vote: NodeId | None = None, commit: Index = 0
) -> Memory:
    """What a disk holds when its log has entries of these terms: `memory([1, 1, 4])`.

    `term` is the node's own; without it, that of the last entry.

    Raises: ValueError where no Raft could have come to this.
    """
    terms = tuple(terms)
    if any(a > b for a, b in zip((1, *terms), terms)):
        given = " ".join(map(str, terms))
        raise ValueError(f"the terms of a log start at 1 and never fall: {given}")
    last = terms[-1] if terms else 0
    term = last if term is None else term
    if term < last:
        raise ValueError(f"a node in term {term} cannot have an entry of term {last}")
    if not 0 <= commit <= len(terms):
        raise ValueError(f"commit {commit} is not in a log of {len(terms)} entries")
    return HardState(term, vote, commit), tuple(Entry(k, t) for k, t in enumerate(terms, start=1))


class Parcel:
    """A message in the pool. `held`: only a move that names it delivers it."""

    __slots__ = ("number", "message", "cause", "held")

    def __init__(self, number: int, message: Message, cause: int, held: bool = False):
        self.number = number  # of the packet, as the trace names it
        self.message = message
        self.cause = cause  # the record of its Sent
        self.held = held

    @property
    def link(self) -> str:
        """`n1→n2`."""
        return f"{self.message.source}→{self.message.target}"

    def __repr__(self) -> str:
        return f"{self.link} {self.message}" + (" (held back)" if self.held else "")


class HandHost:
    """One node with its disk, driven by hand.

    Invariant: `node` is None while the process is down; at most one Ready is `_open`, that is
    written and not finished.
    """

    def __init__(self, bench: Bench, name: NodeId, conf: ConfState, raft: type[Raft], held: Memory):
        self.name = name
        self.raft = raft
        self.node: Node | None = None
        self.paused = False
        self.joins = 0  # no founder: the others had applied so much when it came
        self.ticks = 0  # that its own clock has shown since its start
        self.asked: set[int] = set()  # op_ids whose answers this process owes
        self.disk = Disk((0.0, 0.0), Random(0))
        self.disk.hard_state, self.disk.entries = held[0], list(held[1])
        self._bench = bench
        self._conf = conf
        self._rng = Random(f"{bench.seed}/{name}")
        self._boot = 0
        self._open: Ready | None = None
        self._forced = False  # the open Ready is durable
        self._cause: int | None = None  # the record of the input that is being worked on
        self._causes: list[int | None] = []  # of the messages of the open Ready, then the outbox

    def start(self) -> None:
        """Start the process with what the disk holds."""
        self._boot += 1
        self._cause = None
        disk, config = self.disk, self._bench.config
        self.node = Node(
            self.name,
            self._conf,
            config,
            self._rng,
            self._emit,
            disk.backend,
            disk.hard_state,
            tuple(disk.entries),
            self.raft,
            self._boot,
            disk.base,
            disk.snapshot,
            self.joins,
            self._bench.store,
        )
        self._forget()

    def crash(self, kept: int) -> None:
        """End the process; of what was written and not forced the disk keeps `kept` records."""
        pending = self.disk.pending
        if kept > len(pending):
            raise ValueError(f"of {len(pending)} unforced records {self.name} cannot keep {kept}")
        del pending[kept:]
        self.disk.sync()
        self.disk.backend.rollback()
        self.node = None
        self.paused = False
        seq = self._bench.note(self.name, Crashed(self.disk.last.index, self.disk.hard_state))
        for op_id in sorted(self.asked):
            self._bench.desk.broken(op_id, seq)
        self._bench.streams.lost(self.name)
        self._forget()

    def _forget(self) -> None:
        self.ticks = 0
        self._open = None
        self._forced = False
        self._causes = []
        self.asked = set()

    def _emit(self, event: Any) -> None:
        self._bench.note(self.name, event, self._cause)

    # Inputs -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let one tick of its own clock pass."""
        self.ticks += 1
        self._cause = None
        self.node.tick(self._now)
        self._noted()

    def campaign(self) -> None:
        """Let its election timeout run out now."""
        self._cause = None
        self.node.raft.campaign()
        self._noted()

    def forget_leader(self) -> None:
        """Let it protect its leader no longer."""
        self._cause = None
        self.node.raft.forget_leader()

    def compact(self, kept_entries: int) -> None:
        """Take a snapshot, and keep so many entries behind it."""
        self._cause = None
        self.node.compact(kept_entries)
        self._compacted()

    def report(self, peer: NodeId, arrived: bool) -> None:
        """What the transport says of the snapshot that is on its way to `peer`."""
        self._cause = None
        self.node.raft.report_snapshot(peer, arrived)
        self._noted()

    def step(self, message: Message, cause: int) -> None:
        """Take a message that arrived."""
        self._cause = cause
        self.node.step(message)
        self._noted()

    def request(self, op_id: int, request: Any, cause: int) -> None:
        """Take a client's request."""
        self.asked.add(op_id)
        self._cause = cause
        self.node.request(op_id, request)
        self._noted()

    def watch(self, stream: str, request: WatchCreate | WatchCancel | WatchProgress) -> None:
        """A client's stream asks something."""
        self._cause = None
        self.node.watch(stream, request)
        self._noted()

    def read(self) -> None:
        """Hand out what a stream had left lying."""
        self._cause = None
        self._hand_out()

    @property
    def _now(self) -> float:
        """Seconds on its own clock."""
        return self.ticks * self._bench.config.tick_s

    def _noted(self) -> None:
        """What came into the outbox meanwhile is the last input's doing; answers go out at once."""
        waiting = len(self.node.raft.outbox) + (len(self._open.messages) if self._open else 0)
        self._causes += [self._cause] * (waiting - len(self._causes))
        self._hand_out()

    # The four lines -----------------------------------------------------------------------------

    def write(self) -> bool:
        """Ask for a Ready and write it; false if there is nothing to do, or one is open already."""
        if self._open is not None:
            return False
        ready = self.node.ready()
        if ready is None:
            return False
        self._open, self._forced = ready, False
        # Commands leave when they are asked for: these messages are due to the last input.
        self._causes += [self._cause] * (len(ready.messages) - len(self._causes))
        self.disk.sync()  # a commit index that nobody waited for is there by now
        self.disk.write(ready)
        for message, cause in zip(ready.messages, self._causes):
            if not message.after_save:
                self._bench.send(message, cause)
        return True

    def save(self) -> bool:
        """Force the disk; false if nothing was to be saved."""
        self.write()
        if self._open is None or self._forced:
            return False
        ready, entries = self._open, self._open.entries
        self._forced = True
        if ready.must_sync:
            self.disk.sync()
            hard = self.disk.hard_state
            first, last = (entries[0].index, entries[-1].index) if entries else (0, 0)
            saved = Saved(hard.term, hard.vote, hard.commit, first, last)
            self._cause = self._bench.note(self.name, saved, self._cause)
        return True

    def finish(self) -> bool:
        """Send what waited for the disk, apply and answer; false if there was nothing to do."""
        self.save()
        if self._open is None:
            return False
        ready, self._open = self._open, None
        causes, self._causes = self._causes, self._causes[len(ready.messages) :]
        for message, cause in zip(ready.messages, causes):
            if message.after_save:
                self._bench.send(message, cause)
        self.node.advance(ready, self._now)
        self._compacted()
        self._noted()
        return True

    def _compacted(self) -> None:
        raft = self.node.raft
        if raft.restored is None and raft.log.base.index > self.disk.base.index:
            self.disk.compact(raft.log.base)

    def _hand_out(self) -> None:
        for answer in self.node.responses:
            if answer.op_id in self.asked:
                self.asked.discard(answer.op_id)
                self._bench.desk.answered(answer, self._cause)
        self.node.responses.clear()
        if self.node.hub.waiting:
            self._bench.streams.read(self)


class Bench:
    """A cluster of 1 to 9 nodes, n1 … nN, cranked by hand.

    `raft` is the class that all nodes run, or {"n1": Other} for some of them; `disks` says what
    some disks hold at the start (see `memory`). The promises of the paper are checked all the time,
    but nothing is raised: `check()` tells. Moves raise ValueError for what cannot be done.
    """

    def __init__(
        self,
        size: int = 3,
        raft: type[Raft] | Mapping[str, type[Raft]] = Raft,
        config: RaftConfig | None = None,
        disks: Mapping[str, Memory] | None = None,
        seed: int = 0,
        store: StoreConfig | None = None,
    ):
        if not 1 <= size <= 9:
            raise ValueError(f"a cluster has 1 to 9 nodes, not {size}")
        names = tuple(f"n{k}" for k in range(1, size + 1))
        rafts = raft if isinstance(raft, Mapping) else dict.fromkeys(names, raft)
        disks = disks or {}
        self.seed = seed
        self.config = config or RaftConfig()
        self.store = store or StoreConfig()
        about = {"nodes": list(names), "config": asdict(self.config), "by_hand": True}
        self.trace = Trace(seed, about)
        self.clock = VirtualClock()
        self.desk = Desk(self.clock, self.trace)
        self.streams = HandStreams()
        self.pool: list[Parcel] = []  # oldest first
        self.cuts: set[tuple[str, str]] = set()
        self._packets = 0
        self._reader = door("invariants")()
        self._reader.attach(self.trace)
        conf, nothing = ConfState(voters=names), (HardState(), ())
        self.hosts: dict[str, HandHost] = {}
        known_names((*rafts, *disks), names)
        self._founders, self._raft = conf, raft if isinstance(raft, type) else Raft
        for name in names:
            kind, held = rafts.get(name, Raft), disks.get(name, nothing)
            self.hosts[name] = HandHost(self, name, conf, kind, held)
        for host in self.hosts.values():
            host.start()

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.clock.now

    def note(self, node: str, event: Any, cause: int | None = None) -> int:
        """Put an event into the trace."""
        return self.trace.add(self.clock.now, node, event, cause)

    def check(self):
        """A verdict on each promise, as far as the story has been told."""
        verdicts = self._reader.verdicts() + door("service")(self.trace)
        events = {type(record.event) for record in self.trace}
        for name, kinds in (("watches", {Notified}), ("leases", {LeaseExpired, LeaseRenewed})):
            if events & kinds:
                verdicts += door(name)(self.trace)
        return verdicts

    def picture(self):
        """The cluster as it stands, as a static picture."""
        return door("picture")(self)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return self.picture()._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        pool = f"{len(self.pool)} message{'s' * (len(self.pool) != 1)} in the pool"
        return f"<Bench of {len(self.hosts)} nodes, at {self.now:.3f} s: {pool}>"

    # Nodes ------------------------------------------------------------------------------------

    def tick(self, name: str) -> None:
        """Let one tick of the node's own clock pass."""
        host = self._running(name)
        self.clock.now += self.config.tick_s
        host.tick()

    def campaign(self, name: str) -> None:
        """Let the node's election timeout run out now."""
        host = self._running(name)
        if host.node.raft.role == "leader":
            raise ValueError(f"{name} leads already; a leader does not stand for election")
        self._move()
        host.campaign()

    def write(self, name: str) -> bool:
        """Line 1, first half: the node writes, its disk is not forced. False: nothing to do."""
        self._move()
        return self._running(name).write()

    def save(self, name: str) -> bool:
        """Line 1: what the node has to save becomes durable. False: nothing to do."""
        self._move()
        return self._running(name).save()

    def ready(self, name: str) -> None:
        """All four lines, until the node has nothing left to do."""
        host = self._running(name)
        self._move()
        while host.finish():
            self._move()

    def crash(self, name: str, kept: int = 0) -> None:
        """End the process. `kept`: of the records that its disk was writing, how many survive."""
        host = self._up(name)
        self._move()
        host.crash(kept)

    def start(self, name: str) -> None:
        """Start a crashed node again, with what its disk kept."""
        host = self._host(name)
        if host.node is not None:
            raise ValueError(f"{name} is running; crash it first")
        self._move()
        host.start()

    def add_node(self, name: str, learner: bool = False) -> None:
        """Start a fresh, empty node, which is no member yet; a wiped one may begin anew so."""
        host = self.hosts.get(name)
        if host is not None and (host.node or host.disk.last.index or host.disk.hard_state.term):
            raise ValueError(f"{name} exists and is not empty; wipe it first")
        self._move()
        founders = self._founders.voters
        new = learner and name not in founders
        conf = ConfState(founders, learners=(name,) if new else ())
        kind = host.raft if host else self._raft
        self.hosts[name] = HandHost(self, name, conf, kind, (HardState(), ()))
        running = [other.node.machine.applied for other in self.hosts.values() if other.node]
        self.hosts[name].joins = max(running, default=1) or 1
        self.hosts[name].start()

    def wipe(self, name: str) -> None:
        """End the process and empty its disk."""
        host = self._host(name)
        if host.node is not None:
            self.crash(name)
        self._move()
        host.disk.wipe()
        self.note(name, Wiped())

    def compact(self, name: str, kept_entries: int = 0) -> None:
        """Let the node take a snapshot, and compact its log but for the last entries."""
        self._move()
        self._running(name).compact(kept_entries)

    def forget_leader(self, name: str) -> None:
        """Let a follower protect its leader no longer."""
        self._move()
        self._running(name).forget_leader()

    def report(self, name: str, peer: str, arrived: bool) -> None:
        """Tell the leader `name` that the snapshot for `peer` arrived, or that it did not."""
        self._move()
        self._running(name).report(peer, arrived)

    def pause(self, name: str) -> None:
        """Stop the process where it is."""
        self._running(name).paused = True
        self._move()
        self.note(name, Paused())

    def resume(self, name: str) -> None:
        """Let a paused node go on."""
        if not self._up(name).paused:
            raise ValueError(f"{name} is not paused")
        self._host(name).paused = False
        self._move()
        self.note(name, Resumed())

    def ask(self, name: str, request: Any, client: str = "c1") -> int:
        """A client asks the node; returns the operation's number, see `desk.operations`."""
        host = self._host(name)
        if host.paused:
            raise ValueError(f"{name} is paused; resume it first")
        self._move()
        operation = self.desk.ask(client, name, request)
        if host.node is None:
            self.desk.refused(operation.op_id)
        else:
            host.request(operation.op_id, request, operation.seq)
        return operation.op_id

    # Watches ----------------------------------------------------------------------------------

    def watch(
        self, name: str, stream: str, request: WatchCreate | WatchCancel | WatchProgress
    ) -> None:
        """A stream (`w1`) asks the node that serves it. Raises: RequestError if it is refused."""
        host, opened = self._running(name), self.streams.open(stream, name)
        self._move()
        opened.asks(request)
        host.watch(opened.name, request)

    def release(self, stream: str) -> None:
        """A stream that was held back is read again."""
        opened = self.streams.known(stream)
        opened.held = False
        if opened.node is not None:
            host = self._running(opened.node)
            self._move()
            host.read()

    def resume_stream(self, stream: str, name: str) -> None:
        """The client asks another node to go on behind what it has heard."""
        opened, host = self.streams.known(stream), self._running(name)
        if opened.node == name:
            raise ValueError(f"{name} serves {stream} already")
        self._move()
        if opened.node is not None:
            self._running(opened.node).node.close_stream(opened.name)
        opened.node = name
        for request in opened.again():
            opened.asks(request)
            host.watch(opened.name, request)

    # Messages ---------------------------------------------------------------------------------

    def send(self, message: Message, cause: int | None) -> None:
        """Put a message into the pool, unless its link is cut."""
        self._packets += 1
        cut = (message.source, message.target) in self.cuts
        sent = Sent(message, self._packets, None, "CUT" if cut else "")
        parcel = Parcel(self._packets, message, self.note(message.source, sent, cause))
        if cut:
            self._lose(parcel, "CUT")
        else:
            self.pool.append(parcel)

    def select(
        self, source: str | None = None, target: str | None = None, label: str = ""
    ) -> list[Parcel]:
        """The messages of the pool from `source`, to `target`, whose text begins with `label`.

        Those that are held back come only with a label.
        """
        return [
            parcel
            for parcel in self.pool
            if source in (None, parcel.message.source)
            and target in (None, parcel.message.target)
            and str(parcel.message).startswith(label)
            and (label or not parcel.held)
        ]

    def deliver(self, parcel: Parcel) -> None:
        """Let a message arrive; it is lost if its link is cut or nobody is there."""
        message = parcel.message
        host = self.hosts.get(message.target)  # a member may not have been started yet
        if host is not None and host.paused:
            raise ValueError(f"{host.name} is paused; resume it first")
        self._move()
        self.pool.remove(parcel)
        if (message.source, message.target) in self.cuts:
            self._lose(parcel, "CUT")
        elif host is None or host.node is None:
            self._lose(parcel, "DOWN")
        else:
            received = Received(message, parcel.number)
            host.step(message, self.note(host.name, received, parcel.cause))

    def drop(self, parcel: Parcel) -> None:
        """Lose a message."""
        self._move()
        self.pool.remove(parcel)
        self._lose(parcel, "BY_HAND")

    def hold(self, parcel: Parcel) -> None:
        """Hold a message back, so that others overtake it: from now on it must be named."""
        parcel.held = True

    def duplicate(self, parcel: Parcel) -> None:
        """Double a message; the copy is held back."""
        if parcel.message.at_most_once:
            raise ValueError(f"the transport never doubles `{parcel}`: that would do it twice")
        self._move()
        cause = self.trace[parcel.cause].cause
        self.send(parcel.message, cause)
        self.pool[-1].held = True

    def stabilize(self, names: Collection[str] = ()) -> None:
        """Let these nodes (or all) work and talk among themselves until none has work left."""
        known_names(names, self.hosts)
        names = [name for name in self.hosts if not names or name in names]
        start = len(self.trace)
        busy = True
        while busy:
            busy = False
            for host in (self.hosts[name] for name in names):
                while host.node is not None and not host.paused and host.finish():
                    self._move()
                    busy = True
            for parcel in list(self.pool):
                if self._may_arrive(parcel, names):
                    self.deliver(parcel)
                    busy = True
            if len(self.trace) - start > RESTLESS:
                raise ValueError(f"no rest after {RESTLESS} records: the nodes talk in circles")

    def _may_arrive(self, parcel: Parcel, names: Collection[str]) -> bool:
        source, target = parcel.message.source, parcel.message.target
        host = self.hosts.get(target)
        if host is None:
            return source in names
        return not (parcel.held or host.paused) and source in names and target in names

    def _lose(self, parcel: Parcel, reason: str) -> None:
        message = parcel.message
        known = facts(source=message.source, target=message.target)
        dropped = Dropped(message, parcel.number, reason, known)
        self.note(message.target, dropped, parcel.cause)

    # Links ------------------------------------------------------------------------------------

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut all links between the groups; nodes that are not named form a group of their own."""
        named = [list(group) for group in groups]
        flat = [name for group in named for name in group]
        known_names(flat, self.hosts)
        if len(flat) != len(set(flat)):
            raise ValueError("a node can be in one group only")
        named.append([name for name in self.hosts if name not in flat])
        named = [group for group in named if group]
        if len(named) < 2:
            raise ValueError("a partition needs two groups with nodes in them at least")
        self._move()
        self.cuts = {(a, b) for g in named for a in g for b in self.hosts if b not in g}
        why = "partition " + " ".join(f"({' '.join(group)})" for group in named)
        self.note("", LinksCut(tuple(sorted(self.cuts)), why))

    def cut(self, source: str, target: str) -> None:
        """Cut the link from `source` to `target`, in this direction only."""
        known_names((source, target), self.hosts)
        self._move()
        self.cuts = self.cuts | {(source, target)}
        self.note("", LinksCut(tuple(sorted(self.cuts)), f"{source}→{target} is cut"))

    def heal(self) -> None:
        """Let all links work again."""
        self._move()
        self.cuts = set()
        self.note("", Healed())

    # Names ------------------------------------------------------------------------------------

    def _move(self) -> None:
        self.clock.now += MOVE_S

    def _host(self, name: str) -> HandHost:
        known_names((name,), self.hosts)
        return self.hosts[name]

    def _up(self, name: str) -> HandHost:
        host = self._host(name)
        if host.node is None:
            raise ValueError(f"{name} is down; start it first")
        return host

    def _running(self, name: str) -> HandHost:
        host = self._up(name)
        if host.paused:
            raise ValueError(f"{name} is paused; resume it first")
        return host
