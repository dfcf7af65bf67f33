"""Lesson 09: troubles that cost a cluster its leader, what they cost, and the lesson's exercises.

Who may keep a term, whose answers keep a leader in office, how long loyalty lasts, and a scene that
convicts a node which helps disturbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvlearn.check.service import service
from kvlearn.course.kinds import Fact, Fill, Predict, Witness
from kvlearn.course.limits import BoundedCluster, bounded
from kvlearn.course.mutants import HelpsDisturbers
from kvlearn.course.trials import ALL, Difference, Outcome, Trial
from kvlearn.errors import RequestError, TimedOut, Violation
from kvlearn.events import BecameLeader, Progressed
from kvlearn.kv.members import MoveLeader
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim import Cluster

LEARNER = "n9"


# Troubles -------------------------------------------------------------------------------------


def led(config: RaftConfig, size: int = 5, seed: int = 3) -> tuple[Cluster, str, str]:
    """A quiet cluster, its leader, and a follower to be troubled."""
    cluster = Cluster(size, seed=seed, config=config)
    leader = cluster.wait_for_leader()
    cluster.client(leader).put("colour", "blue")
    cluster.run(1.0)
    return cluster, leader, [name for name in cluster.nodes if name != leader][-1]


def returning(config: RaftConfig, away_s: float = 15.0) -> tuple[Cluster, str, str]:
    """A follower was cut off from everybody, and the network is about to heal."""
    cluster, leader, away = led(config)
    cluster.isolate(away)
    cluster.run(away_s)
    return cluster, leader, away


def _comes_back(config: RaftConfig) -> Cluster:
    cluster, _, _ = returning(config)
    cluster.heal()
    cluster.run(20.0)
    return cluster


def _hears_nothing(config: RaftConfig) -> Cluster:
    """Nothing that the leader sends reaches one follower; all else does."""
    cluster, leader, deaf = led(config)
    cluster.cut(leader, deaf, one_way=True)
    cluster.run(40.0)
    return cluster


def _loosely_connected(config: RaftConfig) -> Cluster:
    """Three nodes reach each other; a fourth reaches only one of them, a fifth only another."""
    cluster, leader, fourth = led(config)
    second, third, fifth = [
        name for name in cluster.nodes if name not in (leader, fourth)
    ]
    for name in (leader, third, fifth):
        cluster.cut(fourth, name)
    for name in (second, third):
        cluster.cut(fifth, name)
    cluster.run(40.0)
    return cluster


def _cut_between_two(config: RaftConfig) -> Cluster:
    """Three nodes; the link between the leader and one follower is cut, both ways."""
    cluster, leader, other = led(config, size=3)
    cluster.cut(leader, other)
    cluster.run(40.0)
    return cluster


TROUBLES: dict[str, Callable[[RaftConfig], Cluster]] = {
    "comes back after 15 s": _comes_back,
    "hears no leader": _hears_nothing,
    "loosely connected": _loosely_connected,
    "one link of three is cut": _cut_between_two,
}
CONFIGS = {
    "plain": RaftConfig(),
    "PreVote": RaftConfig(pre_vote=True),
    "CheckQuorum": RaftConfig(check_quorum=True),
    "both": RaftConfig(pre_vote=True, check_quorum=True),
}


def elections():
    """How many new leaders each trouble makes in 40 s, by configuration: a DataFrame."""
    import pandas

    rows = {
        trouble: {name: leaders(play(config)) - 1 for name, config in CONFIGS.items()}
        for trouble, play in TROUBLES.items()
    }
    return pandas.DataFrame(rows)


def leaders(cluster: Cluster) -> int:
    """How many leaders the run has seen."""
    return sum(1 for _ in cluster.trace.of(BecameLeader))


def claims_s(config: RaftConfig) -> float | None:
    """For how many seconds a leader that is cut off goes on leading; None: for all 30."""
    cluster, leader, _ = led(config)
    cluster.isolate(leader)
    began = cluster.now
    try:
        cluster.run_until(lambda c: c.nodes[leader].role != "leader", timeout_s=30.0)
    except TimedOut:
        return None
    return cluster.now - began


# Handing over, and sending ahead --------------------------------------------------------------


def outage_s(how: str, seed: int) -> float:
    """Seconds from the leader's `crash`, or the order to `move` its office, to the next put."""
    cluster, leader, heir = led(RaftConfig.etcd(), seed=seed)
    cluster.run(seed * 0.0071)  # somewhere between two heartbeats
    began = cluster.now
    if how == "crash":
        cluster.crash(leader)
    else:
        cluster.submit(MoveLeader(heir), leader)
    cluster.client(timeout_s=20.0).put("colour", "green")
    return cluster.now - began


def handing_over(seed: int = 3) -> tuple[Cluster, float]:
    """Three nodes whose leader, the second before, was told to hand over; and when that was."""
    cluster, leader, heir = led(RaftConfig.etcd(), size=3, seed=seed)
    began = cluster.now
    cluster.submit(MoveLeader(heir), leader)
    cluster.run(1.0)
    return cluster, began


def transfer_to_nobody(seed: int = 3) -> tuple[Cluster, str, str]:
    """The leader has just been told to hand over to a node that is down."""
    cluster, leader, heir = led(RaftConfig.etcd(), size=3, seed=seed)
    cluster.crash(heir)
    cluster.run(0.5)
    cluster.submit(MoveLeader(heir), leader)
    return cluster, leader, heir


def latecomer(puts: int = 60, **settings: Any) -> tuple[Cluster, str, str]:
    """A follower has missed `puts` entries, one link away (20 ms), and comes back now."""
    cluster, leader, late = led(RaftConfig.etcd(**settings), size=3)
    cluster.links.latency_s = (0.02, 0.02)
    cluster.crash(late)
    for number in range(puts):
        cluster.submit(Put(b"k%d" % number, b"x"), leader)
        cluster.run(0.01)
    cluster.run(1.0)
    cluster.restart(late)
    return cluster, leader, late


def catch_up_s(max_inflight: int) -> float:
    """Seconds until a latecomer has everything, with messages of one entry each."""
    cluster, leader, late = latecomer(
        max_inflight=max_inflight, max_entries_per_message=1
    )
    began, last = cluster.now, cluster.nodes[leader].commit
    cluster.run_until(lambda c: c.nodes[late].commit == last, timeout_s=30.0)
    return cluster.now - began


def states_of(cluster: Cluster, peer: str, start: int = 0) -> list[str]:
    """What a leader knew of `peer`, told where the state changed."""
    told, before = [], ""
    for record in cluster.trace.of(Progressed, start=start):
        event = record.event
        if event.peer == peer and event.state != before:
            before = event.state
            told.append(f"{record.time:.3f} s  {record}")
    return told


# Stories --------------------------------------------------------------------------------------

DISTURBED = """
cluster 3 check_quorum=1
quiet
campaign n1
stabilize
partition n1 n2 | n3
tick n3 20
ready n3
heal
tick n1
stabilize n1 n2
loud
quiet saved
campaign n3
ready n3
deliver n3→n2
"""

ALONE = """
cluster 3 check_quorum=1
quiet
campaign n1
stabilize
partition n1 | n2 n3
tick n1 15
loud
quiet sent dropped saved
put n1 a=1
ready n1
status n1
"""

OUTLIVED = """
cluster 3 check_quorum=1 lease_reads=1
quiet
campaign n1
stabilize
put n1 a=1
stabilize
tick n1
stabilize
partition n1 | n2 n3
tick n1 8
ready n1
tick n3 10
tick n2 19
stabilize n2 n3
put n2 a=2
stabilize n2 n3
loud
get n1 a
ready n1
"""

HANDED_OVER = """
cluster 3 check_quorum=1 lease_reads=1
quiet
campaign n1
stabilize
put n1 a=1
stabilize
tick n1
stabilize
loud
transfer n1 n2
ready n1
deliver n1→n2
quiet
cut n2→n1
cut n3→n1
stabilize n2 n3
put n2 a=2
stabilize n2 n3
loud
get n1 a
ready n1
"""


# Trials ---------------------------------------------------------------------------------------

WATCHED = RaftConfig(check_quorum=True)
ASKS_FIRST = RaftConfig.etcd()


def _look(cluster: Cluster) -> None:
    """Raises: Violation where a leader was disturbed, or leads without a majority."""
    for verdict in service(cluster.trace).broken:
        raise Violation(verdict.promise, verdict.why, verdict.record, cluster.seed)


def _cut_off(
    cluster: BoundedCluster, friends: int, learners: tuple[str, ...] = ()
) -> None:
    leader = cluster.wait_for_leader()
    cluster.run(1.0)
    voters = [name for name in cluster.nodes if name not in (leader, *learners)]
    cluster.partition([leader, *learners, *voters[:friends]], voters[friends:])
    cluster.run(4.0)
    _look(cluster)


def _with_one(cluster: BoundedCluster) -> None:
    _cut_off(cluster, friends=1)


def _with_a_learner(cluster: BoundedCluster) -> None:
    client = cluster.client(cluster.wait_for_leader())
    cluster.add_node(LEARNER, learner=True)
    client.add_member(LEARNER, learner=True)
    _cut_off(cluster, friends=0, learners=(LEARNER,))


def _with_two(cluster: BoundedCluster) -> str | None:
    """Three of five are a majority: the leader stays."""
    leader = cluster.wait_for_leader()
    _cut_off(cluster, friends=2)
    stays = cluster.leader == leader and cluster.nodes[leader].term == 1
    return None if stays else f"{leader} gave up, although a majority answered it"


def _late_answers(cluster: BoundedCluster) -> None:
    """Answers that are slow, lost now and then, or come twice."""
    cluster.links.latency_s = (0.02, 0.3)
    cluster.links.loss = cluster.links.duplicate = 0.1
    cluster.run(15.0)
    _look(cluster)


def _returns(cluster: BoundedCluster) -> str | None:
    """A node comes back in a newer term, and stands again while the others hear their leader."""
    leader = cluster.wait_for_leader()
    cluster.run(1.0)
    away = next(name for name in cluster.nodes if name != leader)
    cluster.isolate(away)
    cluster.run(6.0)
    cluster.heal()
    cluster.campaign(away)
    cluster.run(5.0)
    _look(cluster)
    return _goes_on(cluster)


def _dies(cluster: BoundedCluster) -> str | None:
    """The leader dies, and another has to be elected, twice."""
    for _ in range(2):
        cluster.run(1.0)
        cluster.crash(cluster.wait_for_leader())
        cluster.wait_for_leader(timeout_s=15.0)
    _look(cluster)
    return _goes_on(cluster)


def _stands_early(cluster: BoundedCluster) -> str | None:
    """A follower stands for election while everybody hears the leader."""
    leader = cluster.wait_for_leader()
    cluster.run(1.0)
    cluster.campaign(next(name for name in cluster.nodes if name != leader))
    cluster.run(4.0)
    _look(cluster)
    return _goes_on(cluster)


def _goes_on(cluster: BoundedCluster) -> str | None:
    try:
        cluster.client(timeout_s=10.0).put("after", "all")
    except RequestError as error:
        return str(error)
    return None


ACTIVE = (
    Trial("a leader cut off with one of five", _with_one, config=WATCHED),
    Trial("a leader cut off with a learner", _with_a_learner, 3, config=WATCHED),
    Trial("a leader with two of five", _with_two, config=WATCHED),
    *(
        Trial(f"slow links, seed {k}", _late_answers, seed=k, config=WATCHED)
        for k in (1, 2, 3)
    ),
    Trial("a leader that dies", _dies, config=WATCHED),
)
LOYAL = tuple(
    Trial(f"{name}{extra}", play, seed=seed, config=config)
    for config, extra in ((WATCHED, ""), (ASKS_FIRST, ", with PreVote"))
    for seed, name, play in (
        (1, "a node comes back", _returns),
        (2, "a leader dies", _dies),
        (3, "a node stands too early", _stands_early),
    )
)


def _active_hint(first: Difference) -> str:
    if first.wanted == "False":
        return (
            "The leader has not heard a majority for an election timeout. Count the voters that it "
            "has heard, itself among them; a learner is none."
        )
    return "A majority has answered it within the election timeout: there is no reason to go."


class LoyalForEver(Raft):
    """Helps nobody to be elected while it knows a leader."""

    def in_lease(self) -> bool:
        """Who knows a leader is loyal."""
        return self.config.check_quorum and self.leader is not None


def _loyal_hint(first: Difference) -> str:
    if first.wanted == "False":
        return (
            "It knows a leader, and has not heard it for an election timeout: that leader may be "
            "dead. Who is loyal to the dead lets the others wait. (If it has heard it just now, "
            "this cluster is one without `self.config.check_quorum`: there nobody is loyal.)"
        )
    return "It leads, or has just heard its leader: whoever asks now disturbs."


# Facts ----------------------------------------------------------------------------------------


def two_away() -> tuple[Cluster, list[str]]:
    """Two of five nodes are cut off together for a minute; everybody asks before an election."""
    cluster, leader, _ = led(RaftConfig.etcd())
    pair = [name for name in cluster.nodes if name != leader][-2:]
    cluster.partition([name for name in cluster.nodes if name not in pair], pair)
    return cluster, pair


def _terms_away() -> Fact:
    cluster, pair = two_away()
    began = len(cluster.trace)
    cluster.run(60.0)
    term = cluster.nodes[pair[0]].term
    assert [cluster.nodes[name].term for name in pair] == [term, term]
    asked = [
        r for r in cluster.trace[began:] if type(r.event).__name__ == "AskedPreVote"
    ]
    why = (
        f"{' and '.join(pair)} asked for pre-votes {len(asked)} times in this minute, and each "
        "would vote for the other. Two of five are no majority, so neither enters a new term: they "
        f"wait in term {term}, in which they were cut off."
    )
    hints = {
        2: "Who enters term 2? Only somebody for whom a majority said that it would vote.",
    }
    return Fact(term, cluster.trace, asked[-1].seq, why, hints)


def _term(answer: Any) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is a term: a whole number.")
    return answer


@dataclass(frozen=True)
class Disturbance(Witness):
    """A witness in a cluster with CheckQuorum; the promises of service are looked at, too."""

    def _play(self, scene: Any, cls: type[Raft]) -> Outcome:
        if isinstance(scene, str):
            return super()._play(scene, cls)

        def then_look(cluster: BoundedCluster) -> None:
            try:
                bounded(scene, cluster)
            except TimedOut:
                pass  # a client, or the scene, waited in vain
            cluster.run(2.0)
            _look(cluster)

        trial = Trial("yours", then_look, self.size, self.seed, WATCHED)
        return trial.run(cls, (self.mutant.rule,))


EXERCISES = [
    Predict(
        "liveness/term",
        "Two of five nodes are cut off together, in term 1, for a minute. In which term are they "
        "then? (Everybody asks for pre-votes.)",
        _terms_away,
        "term = 1",
        _term,
    ),
    Fill(
        "liveness/quorum_active",
        "quorum_active",
        "Whoever is answered by a majority cannot have been replaced by another that is. Whoever "
        "is not may have been, for long: then its clients had better ask somebody else.",
        "    def quorum_active(self):\n"
        "        others = [name for name in self.conf.voters if name != self.id]\n"
        "        limit = self.config.election_ticks\n"
        "        heard = [n for n in others if self.now - self.progress[n].heard < limit]\n"
        "        return 2 * (len(heard) + 1) > len(self.conf.voters)\n",
        trials=(*ACTIVE, *ALL),
        hint=_active_hint,
    ),
    Fill(
        "liveness/in_lease",
        "in_lease",
        "Loyalty lasts for the shortest election timeout after the leader was heard, no longer. "
        "Until then no follower stands by itself, so whoever asks was cut off or cannot hear. "
        "Afterwards somebody has to.",
        "    def in_lease(self):\n"
        "        lately = self.now - self.heard < self.config.election_ticks\n"
        "        lately = lately or self.role == 'leader'\n"
        "        return self.config.check_quorum and self.leader is not None and lately\n",
        trials=(*LOYAL, *ALL),
        hint=_loyal_hint,
    ),
    Disturbance(
        "liveness/witness",
        HelpsDisturbers,
        "Everybody heard the leader, and yet a candidate of a newer term got a majority: it only "
        "had to ask.",
        "    leader = cluster.wait_for_leader()\n"
        "    cluster.run(1.0)\n"
        "    cluster.campaign(next(name for name in cluster.nodes if name != leader))\n",
        hint="Somebody must stand for election while the others hear their leader.",
    ),
]
