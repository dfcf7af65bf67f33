"""Workloads: what clients do to a cluster while nemeses trouble it, and what must be true then.

A workload has a `name` and four parts, and `check.sweep` takes anything that has them:

```
  setup(nodes, seed, raft)    makes the cluster
  start(driver)               adds actors: clients and nemeses (`driver.add`)
  finish(driver)              ends the trouble at its time, mends, lets the cluster settle
  check(cluster)              a verdict on each promise
```

Clients are closed loops, as data: ask one node, wait for the answer but not for ever, think, ask
again. The driver wakes them and the nemeses in virtual time; all luck comes from the seed, and
every actor has its own, so the same seed gives the same run.

>>> chaos = Chaos(virtual_s=6.0, nemeses=("crash", "leader"))
>>> driver = Driver(chaos.setup(3, 17, Raft), seed=17)
>>> chaos.start(driver)
>>> chaos.finish(driver)
>>> [verdict.promise for verdict in chaos.check(driver.cluster) if not verdict.ok]
[]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import ceil, inf
from random import Random
from typing import Any, Protocol

from kvlearn.check.bearable import membership
from kvlearn.check.hand import Hand
from kvlearn.check.linearizable import UNKNOWN_VERDICT, linearizable
from kvlearn.check.nemesis import NEMESES, OPERATOR, Trouble, nemeses_named
from kvlearn.check.service import leader_activity, leader_stability, no_stale_read
from kvlearn.check.verdict import Verdict
from kvlearn.errors import TimedOut
from kvlearn.events import Invoked, LinksChanged, Returned
from kvlearn.kv.members import MemberChange
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim.cluster import Cluster
from kvlearn.sim.network import Links
from kvlearn.trace import Record

PROBE = "probe"  # the client that asks when all is mended
BUDGET = 200_000  # steps of the search for an order: two seconds or so
SETTLE = 3  # longest election timeouts for mending the membership, and as many from there on

PROGRESS = "Progress"
CONVERGENCE = "Convergence"
ACKNOWLEDGED = "Acknowledged writes can be read"
LINEARIZABILITY = "Linearizability"


class Actor(Protocol):
    """Somebody whom the driver wakes when virtual time has come to `due`."""

    due: float

    def wake(self, hand: Hand) -> None:
        """Act now, and set `due` anew."""

    def answered(self, now: float) -> None:
        """What the actor asked was answered, or refused."""


class Workload(Protocol):
    """What `check.sweep` needs to know of a workload."""

    name: str

    def setup(self, nodes: int, seed: int, raft: Any) -> Cluster:
        """A new cluster of so many nodes that run `raft`."""

    def start(self, driver: Driver) -> None:
        """Add the actors."""

    def finish(self, driver: Driver) -> None:
        """Let the trouble go on (`driver.end_trouble`), then mend what is broken."""

    def check(self, cluster: Cluster) -> list:
        """A verdict on each promise, with `promise`, `ok` and `why`."""


class Driver:
    """Wakes actors in virtual time. `hand` does what they want done, and remembers it.

    Invariant: nobody acts in the middle of an instant, so the same acts at the same times by
    another hand give the same run.
    """

    def __init__(self, cluster: Cluster, seed: int):
        self.cluster = cluster
        self.seed = seed
        self.hand = Hand(cluster)
        self.actors: list[Actor] = []
        self.end_s = inf  # when the trouble ends, if not as the workload wants it
        self.trouble: int | None = None  # so many acts had been done when it ended
        self.trouble_s = 0.0  # the time when it ended
        self._clients: dict[str, Actor] = {}
        self._answered = False
        cluster.trace.subscribe(self._on_returned, Returned)

    def luck(self, name: str) -> Random:
        """The luck of one actor: the same for the same seed, whoever else is there."""
        return Random(f"{self.seed}/{name}")

    def add(self, actor: Actor, client: str = "") -> None:
        """From now on wake this actor; `client` names it if it asks."""
        self.actors.append(actor)
        if client:
            self._clients[client] = actor

    def run_to(self, to_s: float) -> None:
        """Let virtual time pass, and wake the actors whose time comes."""
        while True:
            actor = min(self.actors, key=_due, default=None)
            next_s = min(actor.due, to_s) if actor else to_s
            if self._answer_before(next_s):
                continue  # somebody may be due earlier now
            self.cluster.run_to(next_s)
            if actor is None or actor.due > to_s:
                return
            actor.wake(self.hand)

    def end_trouble(self, at_s: float) -> None:
        """Let the actors go on up to `at_s`; from then on nobody is woken."""
        self.run_to(min(at_s, self.end_s))
        self.actors.clear()
        self.trouble, self.trouble_s = len(self.hand.acts), self.cluster.now

    def _answer_before(self, time: float) -> bool:
        self._answered = False
        if self.cluster.now >= time:
            return False
        try:
            self.cluster.run_until(self._heard, time - self.cluster.now)
        except TimedOut:
            return False
        return True

    def _heard(self, cluster: Cluster) -> bool:
        return self._answered

    def _on_returned(self, record: Record) -> None:
        actor = self._clients.get(record.node)
        if actor is not None:
            actor.answered(record.time)
            self._answered = True


def _due(actor: Actor) -> float:
    return actor.due


class ClosedLoop:
    """A client that asks, waits for the answer up to `patience_s`, thinks, and asks again."""

    def __init__(
        self,
        name: str,
        rng: Random,
        choose: Callable[[Random, bytes], Any],
        think_s: tuple[float, float],
        patience_s: float,
    ):
        """`choose(rng, value)` gives the next request; `value` is one that nobody else writes."""
        self.name, self.rng, self.choose = name, rng, choose
        self.think_s, self.patience_s = think_s, patience_s
        self.due = rng.uniform(*think_s)
        self._asked = 0  # number of its last question
        self._waits = False
        self._values = 0

    def wake(self, hand: Hand) -> None:
        """Ask; or, if the answer has not come all that time, wait no longer."""
        if self._waits:
            hand.do("give_up", self._asked)
            return
        self._values += 1
        request = self.next(hand, f"{self.name}.{self._values}".encode())
        self._waits = True
        self.due = hand.now + self.patience_s
        self._asked = hand.ask(self.name, self._node(hand), request)

    def next(self, hand: Hand, value: bytes) -> Any:
        """The next request; `value` is one that nobody else writes."""
        return self.choose(self.rng, value)

    def _node(self, hand: Hand) -> str:
        """Any node, and half of the time one that believes to lead: there the trouble is."""
        leaders = hand.leaders() if self.rng.random() < 0.5 else []
        return self.rng.choice(leaders or list(hand.cluster.nodes))

    def answered(self, now: float) -> None:
        """Think, then ask again."""
        self._waits = False
        self.due = now + self.rng.uniform(*self.think_s)


@dataclass(frozen=True)
class Puts:
    """Requests for one key each, of a few: puts of new values, gets, deletes now and then."""

    keys: int = 3
    puts: float = 0.5
    deletes: float = 0.08

    def __call__(self, rng: Random, value: bytes) -> Any:
        key = b"k%d" % rng.randrange(self.keys)
        kind = rng.random()
        if kind < self.puts:
            return Put(key, value)
        return DeleteRange(key) if kind < self.puts + self.deletes else Range(key)


@dataclass(frozen=True)
class Chaos:
    """Some clients on few keys, and nemeses: each seed has about two of three of them, and its own
    timing, links and disks. The run takes `virtual_s` in all; the last part of it is calm."""

    name: str = "chaos"
    virtual_s: float = 28.0
    clients: int = 4
    keys: int = 3
    nemeses: tuple[str, ...] = tuple(NEMESES)
    think_s: tuple[float, float] = (0.02, 0.2)

    def __post_init__(self) -> None:
        nemeses_named(self.nemeses)
        if self.clients < 0 or self.keys < 1:
            raise ValueError(f"{self.clients} clients on {self.keys} keys: there is nothing to do")

    def setup(self, nodes: int, seed: int, raft: Any = Raft) -> Cluster:
        """A cluster whose configuration, links and disks are drawn from the seed."""
        rng = Random(f"{seed}/setup")
        config = drawn_config(rng)
        fsync_s = rng.choice(((0.0005, 0.002), (0.0005, 0.002), (0.005, 0.03)))
        return Cluster(nodes, seed, config, raft, Links((0.001, 0.008)), fsync_s)

    def start(self, driver: Driver) -> None:
        """The clients, and the nemeses of this seed."""
        rng = driver.luck("swarm")
        self.add_clients(driver, rng)
        for nemesis in nemeses_named(self.nemeses):
            if rng.random() < 0.65:
                driver.add(Trouble(nemesis, driver.hand, driver.luck(nemesis.name)))

    def add_clients(self, driver: Driver, rng: Random) -> None:
        """Clients that ask in closed loops."""
        longest_s = driver.hand.longest_s
        for k in range(1, self.clients + 1):
            name = f"c{k}"
            patience_s = rng.uniform(2.0, 8.0) * longest_s
            choose = Puts(self.keys)
            client = ClosedLoop(name, driver.luck(name), choose, self.think_s, patience_s)
            driver.add(client, name)

    def finish(self, driver: Driver) -> None:
        """Trouble up to its end; then all is mended, and every node is asked for a put."""
        calm_s = (2 * SETTLE + 2) * driver.hand.longest_s
        driver.end_trouble(max(0.0, self.virtual_s - calm_s))
        mend_and_probe(driver.hand)

    def check(self, cluster: Cluster) -> list:
        """The promises that can be judged at the end; those of Raft are checked on the way."""
        return promises(cluster)

    def options(self) -> str:
        """The options of `kvlearn sweep` that make this workload out of the one of its name."""
        plain = WORKLOADS.get(self.name, Chaos())
        told = []
        for field in fields(self):
            mine = vars(self)[field.name]
            if mine != vars(plain)[field.name] and field.name != "name":
                text = ",".join(map(str, mine)) if isinstance(mine, tuple) else str(mine)
                told.append(f" --{field.name.replace('_', '-')} {text or 'none'}")
        return "".join(told)


def drawn_config(rng: Random) -> RaftConfig:
    """Half of them have the Raft of the paper or a part of what etcd does beyond it, half have all
    of that. Most take snapshots all the time, some have little room for what is on its way."""
    quick = {"tick_s": 0.02}  # etcd's proportions, five times as fast
    parts = {name: rng.random() < 0.5 for name in ("pre_vote", "check_quorum")}
    parts["step_down_on_removal"] = rng.random() < 0.5
    kinds = (RaftConfig.paper(), RaftConfig(**quick), RaftConfig(**quick, **parts))
    etcd = (RaftConfig.etcd(**quick), RaftConfig.etcd(**quick), RaftConfig.etcd())
    config = rng.choice((*kinds, *etcd))
    changes: dict[str, Any] = {}
    if rng.random() < 0.7:
        changes["snapshot_entries"] = rng.choice((3, 10, 30, 100))
        changes["kept_entries"] = rng.choice((0, 2, 10, 50))
        changes["chunk_records"] = rng.choice((8, 16, 64))
    if rng.random() < 0.3:
        room = rng.choice(((1, 64), (2, 4), (8, 8), (256, 1)))
        changes["max_inflight"], changes["max_entries_per_message"] = room
        changes["max_uncommitted"] = rng.choice((16, 64, 10_000))
    if rng.random() < 0.3:
        changes["check_quorum"] = changes["lease_reads"] = True
    return replace(config, **changes)


WORKLOADS: dict[str, Chaos] = {
    workload.name: workload
    for workload in (
        Chaos(),
        Chaos("calm", nemeses=()),
        Chaos("crashes", nemeses=("crash", "reboot", "torn", "pause", "disk")),
        Chaos("partitions", nemeses=("halves", "ring", "bridge", "leader", "one_way")),
        Chaos("network", nemeses=("loss", "duplicate", "reorder", "latency")),
        Chaos("churn", nemeses=("crash", "pause", "leader", "loss", "wipe", "members")),
    )
}


# The end ------------------------------------------------------------------------------------


def mend_and_probe(hand: Hand) -> None:
    """Mend all, let the cluster settle, ask every member for a put, and give them time for it."""
    cluster = hand.cluster
    hand.mend()
    for _ in range(SETTLE):
        cluster.run_to(cluster.now + hand.longest_s)
        mend_members(hand)
    cluster.run_to(cluster.now + SETTLE * hand.longest_s)
    for number in hand.waiting():
        hand.do("give_up", number)  # its packets were lost; nobody works on it any more
    for name in judged(cluster):
        hand.ask(PROBE, name, Put(b"probe", name.encode()))
    cluster.run_to(cluster.now + 2 * hand.longest_s)


def mend_members(hand: Hand) -> None:
    """Do what an operator does when all runs again: leave a joint configuration that waits for it,
    and stop removed nodes, where nothing else keeps them from disturbing.

    (A leader that lost its own vote leads on and takes nothing, unless it steps down by itself.)
    """
    cluster, config, conf = hand.cluster, hand.cluster.config, membership(hand.cluster)
    if cluster.leader is not None and cluster.nodes[cluster.leader].conf == conf:
        if conf.outgoing and not conf.auto_leave:
            hand.ask(OPERATOR, cluster.leader, MemberChange())
        if not conf.votes(cluster.leader):
            hand.do("crash", cluster.leader)
    harmless = config.pre_vote and config.check_quorum
    for name, node in cluster.nodes.items():
        if name in conf.members:
            if not node.alive and name not in hand.lost:
                hand.do("restart", name)
        elif node.alive and not harmless:
            hand.do("crash", name)


def judged(cluster: Cluster) -> list[str]:
    """The nodes that must have come to the same end: the members, as the leader knows them."""
    if cluster.leader is None:
        return list(cluster.nodes)
    members = cluster.nodes[cluster.leader].conf.members
    return [name for name in cluster.nodes if name in members and not has_no_disk(cluster, name)]


def has_no_disk(cluster: Cluster, name: str) -> bool:
    """Whether it is down, and there is nothing that it could come back with."""
    node = cluster.nodes[name]
    return not node.alive and node.term == 0 and not node.log and not node.base.index


def promises(cluster: Cluster) -> list:
    """The verdicts on a run that is over: what clients saw, and what the nodes ended with."""
    reads = no_stale_read(cluster.trace)
    # A stale read is no linearizable history: then there is nothing left to search for.
    return [
        reads,
        *([linearizability(cluster)] if reads.ok else []),
        *liveness(cluster),
        progress(cluster),
        convergence(cluster),
        acknowledged(cluster),
    ]


def liveness(cluster: Cluster) -> list[Verdict]:
    """What CheckQuorum promises, where all clocks ran at the right speed: it is counted by them.

    A heartbeat shows the leader's clock, and leaves when a save is over, so it may be that late.
    """
    config, trace = cluster.config, cluster.trace
    changes = [record.event for record in trace.of(LinksChanged)]
    if not config.check_quorum or any(change.setting == "clock rate" for change in changes):
        return []
    spans = [change.new for change in changes if change.setting == "fsync_s"]
    spans += [node.fsync_s for node in cluster.nodes.values()]
    late = 1 + ceil(max(longest for _, longest in spans) / config.tick_s)
    ticks = config.election_ticks
    return [
        leader_stability(trace, ticks * config.tick_s, config.tick_s),
        leader_activity(trace, ticks, config.heartbeat_ticks + late),
    ]


def linearizability(cluster: Cluster) -> Any:
    """As a verdict; where the search ended undecided, its own result, which says so."""
    # Whoever looks at a violation asks for its core; a sweep has no time for it.
    found = linearizable(cluster.trace, budget=BUDGET, shrink=False)
    if found.verdict == UNKNOWN_VERDICT:
        return found
    return Verdict(LINEARIZABILITY, found.ok, found.why, None, "8", cluster.seed)


def progress(cluster: Cluster) -> Verdict:
    """Since all was mended there is a leader, and every member took a put."""
    asked: dict[int, str] = {}
    for record in cluster.trace.of(Invoked, Returned):
        if record.node == PROBE:
            event = record.event
            if isinstance(event, Invoked):
                asked[event.op_id] = f"{event.node} has not answered"
            elif event.error:
                asked[event.op_id] = f"{event.node} said: {event.error}"
            else:
                del asked[event.op_id]
    if asked:
        why = f"all was mended, and of a put to every member: {'; '.join(asked.values())}"
        return Verdict(PROGRESS, False, why, None, "5.6", cluster.seed)
    return Verdict(
        PROGRESS, True, "every member took a put after the end", None, "5.6", cluster.seed
    )


def convergence(cluster: Cluster) -> Verdict:
    """All members end with the same log and the same store."""
    ends: dict[tuple, list[str]] = {}
    for name in judged(cluster):
        node = cluster.nodes[name]
        if node.store is None:
            end = ("it is down",)
        else:
            last = str(node.log[-1].id if node.log else node.base)
            end = (last, node.commit, node.applied, node.revision, f"{node.store.hash():08x}")
        ends.setdefault(end, []).append(name)
    words = "; ".join(
        f"{' '.join(names)}: " + " ".join(map(str, end)) for end, names in ends.items()
    )
    told = f"(last entry, commit, applied, revision, hash) {words}"
    if len(ends) > 1:
        return Verdict(CONVERGENCE, False, f"they differ: {told}", None, "5.3", cluster.seed)
    return Verdict(CONVERGENCE, True, f"all alike: {told}", None, "5.3", cluster.seed)


def acknowledged(cluster: Cluster) -> Verdict:
    """Every acknowledged put is in every member's store, at the revision that its client was
    told."""
    asked: dict[int, Put] = {}
    count = 0
    nodes = {name: cluster.nodes[name] for name in judged(cluster)}
    stores = {name: node.store for name, node in nodes.items() if node.store is not None}
    for record in cluster.trace.of(Invoked, Returned):
        event = record.event
        if isinstance(event, Invoked):
            if isinstance(event.request, Put):
                asked[event.op_id] = event.request
            continue
        put = asked.pop(event.op_id, None)
        if put is None or event.error:
            continue
        count += 1
        for name, store in stores.items():
            kv = store.get(put.key, event.revision) if event.revision <= store.revision else None
            if kv is None or (kv.value, kv.mod_revision) != (put.value, event.revision):
                why = f"{put} was acknowledged at revision {event.revision}; {name} has {kv} there"
                return Verdict(ACKNOWLEDGED, False, why, record, "8", cluster.seed)
    return Verdict(ACKNOWLEDGED, True, f"{count} puts in every store", None, "8", cluster.seed)


def workload_named(name: str) -> Chaos:
    """The workload of that name. Raises: ValueError that names those there are."""
    if name not in WORKLOADS:
        raise ValueError(f"there is no workload {name!r}; there are {', '.join(WORKLOADS)}")
    return WORKLOADS[name]
