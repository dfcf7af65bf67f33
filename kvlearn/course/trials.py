"""Trials: scenes in which a class derived from Raft has to prove itself, and what came of them.

A trial makes a cluster of that class, plays a scene, and watches two things at once: whether a
promise breaks, and where the class first decides otherwise than Raft would have in its place. So
a verdict can name the promise *and* the decision, even when luck was kind and nothing broke.

>>> from kvlearn.raft.raft import Raft
>>> class VotesForAll(Raft):
...     def may_vote_for(self, candidate):
...         return True
>>> outcome = TWO_CANDIDATES.run(VotesForAll, ("may_vote_for",))
>>> outcome.broken.promise, str(outcome.first)
('Election Safety', "in term 1, with its vote given to n1, n1 was asked may_vote_for('n5'): it \
said True, and the rule says False")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from kvlearn.check.verdict import Verdict
from kvlearn.course.limits import HALTS, BoundedCluster, bounded
from kvlearn.errors import RequestError, TimedOut, Violation
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ZERO, EntryID
from kvlearn.trace import Trace


@dataclass(frozen=True)
class Difference:
    """A decision that Raft would have made otherwise. `seq` is the record that came before it.

    `arguments` and `log_end` are what was asked, and where the node's log ended: hints look there.
    """

    seq: int
    node: str
    rule: str
    asked: str
    said: str
    wanted: str
    state: str
    arguments: tuple = ()
    log_end: EntryID = ZERO

    def __str__(self) -> str:
        question = f"{self.state}, {self.node} was asked {self.rule}({self.asked})"
        return f"{question}: it said {self.said}, and the rule says {self.wanted}"


@dataclass
class Outcome:
    """What came of one trial. `error` is what the class or the scene raised, `stuck` says what
    a cluster that lives would have done."""

    trial: str
    seed: int
    trace: Trace
    asked: int = 0
    broken: Verdict | None = None
    error: BaseException | None = None
    stuck: str = ""
    differences: list[Difference] = field(default_factory=list)

    @property
    def first(self) -> Difference | None:
        """The first decision that Raft would have made otherwise."""
        return self.differences[0] if self.differences else None


class Watch:
    """Sits between a cluster and the rules of a class, and compares them with Raft's own."""

    def __init__(self, cls: type[Raft], rules: tuple[str, ...], reference: type[Raft] = Raft):
        self.cluster = None
        self.asked = 0
        self.error: BaseException | None = None
        self.differences: list[Difference] = []
        methods = {
            rule: self._between(getattr(cls, rule), getattr(reference, rule), rule)
            for rule in rules
        }
        self.watched = type(cls.__name__, (cls,), methods)

    def __deepcopy__(self, memo):
        return self  # a fork of the cluster is watched by the same watch

    def _between(self, mine: Callable, reference: Callable, rule: str) -> Callable:
        def asked(raft: Raft, *arguments: Any) -> Any:
            self.asked += 1
            try:
                said = bounded(mine, raft, *arguments)
            except BaseException as error:
                self.error = self.error or error
                raise
            wanted = reference(raft, *arguments)
            if said != wanted and self.cluster is not None and len(self.differences) < 50:
                self._note(raft, rule, arguments, said, wanted)
            return said

        return asked

    def _note(self, raft: Raft, rule: str, arguments: tuple, said: Any, wanted: Any) -> None:
        # A set has no order of its own, and may grow while this is kept.
        arguments = tuple(sorted(a) if isinstance(a, set) else a for a in arguments)
        shown = ", ".join(str(a) if not isinstance(a, str) else repr(a) for a in arguments)
        seq = len(self.cluster.trace) - 1
        self.differences.append(
            Difference(
                seq, raft.id, rule, shown, _plain(said), _plain(wanted), _state(raft, rule),
                arguments, raft.log.last,
            )
        )  # fmt: skip


def _plain(thing: Any) -> str:
    return str(thing) if thing is None or isinstance(thing, (bool, int, str)) else repr(thing)


def _state(raft: Raft, rule: str) -> str:
    """What the rule could see."""
    if rule == "may_vote_for":
        given = f"its vote given to {raft.vote}" if raft.vote else "its vote not given yet"
        return f"in term {raft.term}, with {given}"
    if rule == "is_up_to_date":
        return f"in term {raft.term}, with its log ending at {raft.log.last}"
    if rule == "election_result":
        yes = [node for node, granted in raft.votes.items() if granted]
        no = [node for node, granted in raft.votes.items() if not granted]
        told = f"votes of {' '.join(yes)} and refusals of {' '.join(no) or 'nobody'}"
        return f"in term {raft.term}, with {told}"
    return f"in term {raft.term}, as {raft.role}"


@dataclass(frozen=True)
class Trial:
    """A scene: `play(cluster)` moves it; what `play` returns as text says that it is stuck."""

    name: str
    play: Callable[[BoundedCluster], str | None]
    size: int = 5
    seed: int = 1
    config: RaftConfig = RaftConfig()

    def run(
        self, cls: type[Raft], rules: tuple[str, ...] = (), reference: type[Raft] = Raft
    ) -> Outcome:
        """Play the scene with `cls` on every node."""
        watch = Watch(cls, rules, reference)
        cluster = BoundedCluster(self.size, seed=self.seed, config=self.config, raft=watch.watched)
        watch.cluster = cluster
        outcome = Outcome(self.name, self.seed, cluster.trace)
        try:
            outcome.stuck = self.play(cluster) or ""
        except Violation as violation:
            outcome.broken = verdict_of(violation)
        except (TimedOut, RequestError) as error:
            outcome.stuck = str(error)
        except AssertionError as error:
            if watch.differences:  # the core does not bear what a wrong decision has let in
                outcome.stuck = f"a node stops, because {error}"
            else:
                outcome.error = error
        except (*HALTS, Exception) as error:
            outcome.error = error
        outcome.error = watch.error or outcome.error
        outcome.trace, outcome.asked = cluster.trace, watch.asked
        outcome.differences = watch.differences
        return outcome


def verdict_of(violation: Violation) -> Verdict:
    """The verdict that a violation was raised for."""
    return Verdict(violation.promise, False, violation.why, violation.record, "", violation.seed)


# Scenes -------------------------------------------------------------------------------------


def _live(cluster: BoundedCluster) -> None:
    """What every cluster must be able to do: elect, write, lose its leader, and go on."""
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("a", "1")
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    client.put("a", "2")


def _two_candidates(cluster: BoundedCluster) -> None:
    cluster.campaign("n1")
    cluster.campaign("n5")
    cluster.run(0.5)


def _asked_twice(cluster: BoundedCluster) -> None:
    """Every packet comes twice, so every voter is asked twice by the same candidate."""
    cluster.links.duplicate = 1.0
    cluster.wait_for_leader()


def _short_log(cluster: BoundedCluster) -> None:
    """A node sleeps through two puts, and stands for election when the leader is gone."""
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    late = "n5" if leader != "n5" else "n4"
    cluster.crash(late)
    client = cluster.client()
    client.put("a", "1")
    client.put("a", "2")
    cluster.crash(leader)
    cluster.restart(late)
    cluster.campaign(late)
    cluster.run(5.0)


def _long_old_log(cluster: BoundedCluster) -> None:
    """An old leader that was cut off has a long log of an old term; the others have a short one
    of a newer term, and it is committed. Then the old leader stands for election."""
    old = cluster.wait_for_leader()
    cluster.run(0.5)
    cluster.isolate(old)
    for number in range(6):
        cluster.submit(Put(b"lost", b"%d" % number), old)
    cluster.run(0.1)
    cluster.crash(old)
    new = cluster.wait_for_leader()
    cluster.client(new).put("kept", "1")
    cluster.run(0.3)
    cluster.crash(new)
    cluster.heal()
    cluster.restart(old)
    cluster.campaign(old)
    cluster.campaign(old)
    cluster.run(3.0)


def _faults(cluster: BoundedCluster) -> None:
    """Twelve moves of a seeded hand that crashes, cuts and mends, with writes in between."""
    rng, names = Random(f"trial/{cluster.seed}"), list(cluster.nodes)
    cluster.links.loss = cluster.links.duplicate = 0.05
    for number in range(12):
        name = cluster.leader or rng.choice(names)
        verb = rng.choice(("crash", "isolate", "heal", "restart"))
        if verb == "crash" and sum(node.alive for node in cluster.nodes.values()) > 3:
            if cluster.nodes[name].alive:
                cluster.crash(name)
        elif verb == "isolate":
            cluster.isolate(name)
        elif verb == "heal":
            cluster.heal()
        else:
            _restart_all(cluster)
        cluster.submit(Put(b"k", b"%d" % number), rng.choice(names))
        cluster.run(rng.uniform(0.2, 2.0))
    cluster.links.loss = cluster.links.duplicate = 0.0
    cluster.heal()
    _restart_all(cluster)
    cluster.run(5.0)
    cluster.client(timeout_s=20.0).put("after", "all")


def _restart_all(cluster: BoundedCluster) -> None:
    for name, node in cluster.nodes.items():
        if not node.alive:
            cluster.restart(name)


LIVE = Trial("a cluster that loses its leader", _live)
TWO_CANDIDATES = Trial("two candidates at once", _two_candidates)
ASKED_TWICE = Trial("every packet comes twice", _asked_twice)
SHORT_LOG = Trial("a candidate that slept through two puts", _short_log)
LONG_OLD_LOG = Trial("a candidate with a long log of an old term", _long_old_log)
FAULTS = tuple(Trial(f"faults, seed {seed}", _faults, seed=seed) for seed in range(1, 5))
ALL = (TWO_CANDIDATES, ASKED_TWICE, SHORT_LOG, LONG_OLD_LOG, LIVE, *FAULTS)
