"""Exercises of lesson 07: who may elect while two lists count, a member that never starts, one
change at a time, both halves of a joint configuration, and a witness."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from kvlearn.course.kinds import Fact, Fill, Predict, Witness
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.mutants import ChangesAtOnce
from kvlearn.course.trials import Difference, Trial
from kvlearn.errors import RequestError
from kvlearn.events import BecameLeader, Returned
from kvlearn.kv.members import MemberAdd, MemberChange, MemberRemove
from kvlearn.kv.requests import Put
from kvlearn.raft import quorum
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ConfState
from kvlearn.sim import Cluster
from kvlearn.sim.script import play

PLAIN = RaftConfig()


class CountsNewHalf(Raft):
    """While two lists of voters count, it asks for a majority of the new one."""

    def election_result(self) -> str:
        new = ConfState(self.conf.voters)
        return quorum.vote_result(new, self.votes)


# Scenes of the lesson --------------------------------------------------------------------------


def unplugged() -> Cluster:
    """Three nodes, to which n4 was added as a voter; but its cable is not plugged in."""
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    client = cluster.client()
    for number in range(3):
        client.put("abc"[number], str(number))
    cluster.add_node("n4")
    cluster.isolate("n4")
    client.add_member("n4")
    cluster.run(0.3)
    return cluster


def after_removal(how: str, patience_s: float = 8.0) -> float | None:
    """Seconds from the request that removes the leader of five until a put is answered.

    `how` is "leads on", "steps down", or "hands over first"; None: not within `patience_s`.
    """
    cluster = Cluster(5, seed=3, config=PLAIN if how == "leads on" else RaftConfig.etcd())
    leader = cluster.wait_for_leader()
    cluster.run(1.0)
    other = next(name for name in cluster.nodes if name != leader)
    asked_s, client = cluster.now, cluster.client(timeout_s=patience_s)
    if how == "hands over first":
        client.move_leader(other)
    client.remove_member(leader)
    try:
        cluster.client(other, timeout_s=patience_s).put("a", "1")
    except RequestError:
        return None
    return cluster.now - asked_s


def comes_back(config: RaftConfig, seconds: float = 20.0) -> Cluster:
    """A follower of five is removed while it is cut off, so that it does not know; then it is back
    for some time."""
    cluster = Cluster(5, seed=4, config=config)
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    gone = next(name for name in cluster.nodes if name != leader)
    cluster.isolate(gone)
    cluster.client(leader).remove_member(gone)
    cluster.run(1.0)
    cluster.heal()
    cluster.run(seconds)
    return cluster


def ask(request: Callable[..., Any], *what: Any, **more: Any) -> None:
    """Print what a client is answered, be it an error."""
    try:
        print("✓", request(*what, **more))
    except RequestError as error:
        print("✗", error)


TWO_STEPS = """cluster 3
quiet
campaign n1
stabilize
join n4
join n5
cut n1→n3
loud
quiet saved applied sent received committed appended becamefollower votegranted
conf n1 +n4
conf n1 +n5
quiet
ready n1
deliver n1→n2
ready n2
cut n1→n2
stabilize
partition n1 n4 n5 | n2 n3
loud
members
quiet saved applied sent received committed appended becamefollower votegranted
quiet dropped refused confchanged
campaign n4
stabilize n1 n4 n5
campaign n2
stabilize n2 n3
"""

# Who may elect ---------------------------------------------------------------------------------

JOINT = """cluster 3
quiet
campaign n1
stabilize
join n4
join n5
conf n1 +n4 +n5 -n1 -n2 explicit
stabilize
"""

GROUPS = {"A": "n1 n2 n3", "B": "n3 n4 n5", "C": "n2 n3 n4", "D": "n1 n2 n4 n5"}


def _who_elects() -> Fact:
    able, seq, trace = [], 0, None
    for letter, group in GROUPS.items():
        rest = " ".join(n for n in ("n1", "n2", "n3", "n4", "n5") if n not in group.split())
        candidate = group.split()[-1]
        moves = f"partition {group} | {rest}\ncampaign {candidate}\nstabilize {group}\n"
        bench = play(JOINT + moves).cluster
        elected = [r for r in bench.trace.of(BecameLeader) if r.event.term == 2]
        if elected:
            able.append(letter)
            seq, trace = elected[0].seq, bench.trace
    why = (
        "Two of n1 n2 n3, and also two of n3 n4 n5. n3 counts in both halves. C does with three "
        "nodes: n2 n3 of the old, n3 n4 of the new. D has n1 n2 and n4 n5. A is all of the old "
        "half and one of the new; B the other way round. The record is from the run with D."
    )
    half = "Is it a majority of the old half, and of the new half?"
    hints = {
        ("A", "B", "C", "D"): f"{half} Look at A again: who of it is in the new half?",
        ("A", "C", "D"): f"{half} Look at A again: who of it is in the new half?",
        ("B", "C", "D"): f"{half} Look at B again: who of it is in the old half?",
        ("D",): "n3 is a voter of both halves, and counts in each.",
        ("C",): "D lacks n3. But who says that n3 is needed?",
        ("A", "B"): f"{half} Both are needed, and not either of them.",
        ("A",): f"{half} A has all of the old half.",
        ("B",): f"{half} B has all of the new half.",
        (): "Two of n1 n2 n3, and two of n3 n4 n5: which groups have that?",
    }
    return Fact(tuple(able), trace, seq, why, hints)


def letters(answer: Any) -> tuple[str, ...]:
    """Letters of groups in any form, sorted.

    >>> letters("d, C")
    ('C', 'D')
    """
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    found = [str(letter).upper() for letter in answer]
    for letter in found:
        if letter not in GROUPS:
            raise ValueError(f"There is no group {letter}: there are {' '.join(GROUPS)}.")
    return tuple(sorted(set(found)))


# A member that never starts --------------------------------------------------------------------

REQUESTS = {
    "put": lambda client: client.put("a", "2"),
    "get": lambda client: client.get("a"),
    "serializable get": lambda client: client.get("a", serializable=True),
    "remove n4": lambda client: client.remove_member("n4"),
    "serializable members": lambda client: client.members(linearizable=False),
}


def _what_is_answered() -> Fact:
    """n3 is dead; n4 was added in its place, and never starts."""
    cluster = Cluster(3, seed=1, config=PLAIN)
    cluster.wait_for_leader()
    cluster.client().put("a", "1")
    cluster.crash("n3")
    cluster.run(5.0)
    cluster.client(cluster.wait_for_leader()).add_member("n4")
    cluster.run(0.5)
    answered, last = [], 0
    for name, ask in REQUESTS.items():
        try:
            ask(cluster.client(cluster.leader, timeout_s=3.0))
            answered.append(name)
        except RequestError:
            pass
        last = [r.seq for r in cluster.trace.of(Returned)][-1]
    why = (
        "The list has four voters now, so three must answer, and only n1 and n2 are there. Nothing "
        "can be committed: no put, and no change of the list either, because that is an entry as "
        "any other. A linearizable get needs a majority that says who leads. What a node says from "
        "its own store, without asking anybody, is still answered. Had the dead member been "
        "removed first, two of two would have been enough."
    )
    mended = "The request that removes n4 is an entry in the log. How many must have it?"
    hints = {
        "remove n4, serializable get, serializable members": mended,
        "remove n4": mended,
        "get, serializable get, serializable members": "Who vouches for a linearizable get?",
        "serializable get": "The list of members can be read from a node's own store, too.",
        "serializable members": "A key can be read from a node's own store, too.",
    }
    return Fact(", ".join(sorted(answered)), cluster.trace, last, why, hints)


def requests(answer: Any) -> str:
    """Names of requests, sorted: of a list, or of text with commas.

    >>> requests(["put", "get"])
    'get, put'
    """
    found = answer.split(",") if isinstance(answer, str) else list(answer)
    found = [str(name).strip() for name in found]
    for name in found:
        if name not in REQUESTS:
            raise ValueError(f"{name!r} is none of {', '.join(REQUESTS)}.")
    return ", ".join(sorted(set(found)))


# Trials ----------------------------------------------------------------------------------------


def _fresh(cluster: BoundedCluster) -> tuple[str, str, str]:
    """A leader, two followers, and two nodes that are no members yet."""
    leader = cluster.wait_for_leader()
    cluster.add_node("n4")
    cluster.add_node("n5")
    cluster.run(0.3)
    near, far = (name for name in ("n1", "n2", "n3") if name != leader)
    return leader, near, far


def _two_lists(cluster: BoundedCluster, near: str, far: str, leader: str) -> None:
    """Those who know the change, and those who do not, stand in the same term."""
    cluster.partition([leader, "n4", "n5"], [near, far])
    cluster.campaign("n4")
    cluster.campaign(near)
    cluster.run(0.5)
    cluster.heal()
    cluster.run(5.0)


def _two_at_once(cluster: BoundedCluster) -> None:
    leader, near, far = _fresh(cluster)
    cluster.isolate(far)
    cluster.submit(MemberAdd("n4"), leader)
    cluster.submit(MemberAdd("n5"), leader)
    end = cluster.nodes[leader].log[-1]
    cluster.run_until(lambda c: end in c.nodes[near].log)
    cluster.cut(leader, near, one_way=True)
    cluster.run(0.3)
    _two_lists(cluster, near, far, leader)


def _inherited(cluster: BoundedCluster) -> None:
    """A leader crashes with a change on its way; the next one is asked for another at once."""
    leader, near, far = _fresh(cluster)
    cluster.isolate(far)
    cluster.submit(MemberAdd("n4"), leader)
    cluster.run_until(lambda c: len(c.nodes[near].log) > 1)
    cluster.crash(leader)
    cluster.heal()
    cluster.campaign(near)
    cluster.run_until(lambda c: c.nodes[near].role == "leader")
    cluster.submit(MemberAdd("n5"), near)
    cluster.run(1.0)
    cluster.restart(leader)
    cluster.run(2.0)
    cluster.client(near).put("after", "all")


def _many_changes(cluster: BoundedCluster) -> None:
    """Somebody asks for a change of members every few milliseconds, and somebody else writes."""
    rng = Random(f"members/{cluster.seed}")
    _, near, far = _fresh(cluster)
    cluster.links.loss = 0.05
    for number in range(60):
        name = rng.choice(("n4", "n5", far))
        request = rng.choice((MemberAdd, MemberRemove))(name)
        cluster.submit(request, cluster.leader or near)
        cluster.run(rng.uniform(0.0, 0.006))
        cluster.submit(Put(b"k", b"%d" % number), cluster.leader or near)
        cluster.run(rng.uniform(0.0, 0.006))
        if number % 15 == 14:
            cluster.isolate(rng.choice((far, "n4", "n5")))
            cluster.run(0.2)
            cluster.heal()
    cluster.links.loss = 0.0
    cluster.run(8.0)
    cluster.client(near, timeout_s=20.0).put("after", "all")


def _joint_halves(cluster: BoundedCluster) -> None:
    """(n1 n2 n3) shall become the leader, n4 and n5; the old followers have not heard that it is
    committed when the leader dies."""
    leader, near, far = _fresh(cluster)
    change = MemberChange(("n4", "n5"), (), (near, far), "explicit")
    cluster.submit(change, leader)
    cluster.run_until(lambda c: all(len(c.nodes[name].log) > 1 for name in (near, far)))
    cluster.cut(leader, near, one_way=True)
    cluster.cut(leader, far, one_way=True)
    cluster.run(0.3)
    cluster.crash(leader)
    _two_lists(cluster, near, far, leader)
    cluster.restart(leader)
    cluster.run(3.0)
    cluster.client(timeout_s=20.0).put("after", "all")


def _joint_old_half_alone(cluster: BoundedCluster) -> None:
    """All know that both lists count; then the new half can reach nobody of the old."""
    leader, near, far = _fresh(cluster)
    cluster.client(leader).reconfigure(add=["n4", "n5"], remove=[near, far], explicit=True)
    cluster.run(0.5)
    cluster.crash(leader)
    cluster.partition(["n4", "n5"], [near, far])
    cluster.run(4.0)
    cluster.heal()
    cluster.run(3.0)
    cluster.client("n4", timeout_s=20.0).put("after", "all")
    cluster.client("n4", timeout_s=20.0).leave_joint()


TWO_AT_ONCE = Trial("two changes at once", _two_at_once, 3, 1, PLAIN)
INHERITED = Trial("a new leader with an old change in its log", _inherited, 3, 1, PLAIN)
MANY_CHANGES = tuple(
    Trial(f"a change every few milliseconds, seed {seed}", _many_changes, 3, seed, PLAIN)
    for seed in range(1, 4)
)
JOINT_HALVES = Trial("half of them know of the new list", _joint_halves, 3, 1, PLAIN)
OLD_HALF = Trial("two lists, and a cut between them", _joint_old_half_alone, 3, 1, PLAIN)


# Hints -----------------------------------------------------------------------------------------


def _change_hint(first: Difference) -> str:
    if first.wanted == "True":
        return (
            "No change is under way here; other writes do not matter. Who refuses now may have to "
            "refuse for ever."
        )
    return (
        "There is a change in the log that is not applied yet, so nobody counts by it. The next "
        "one would be two steps away from the list by which they do count."
    )


def _half_hint(first: Difference) -> str:
    if first.said == quorum.WON:
        return (
            "While two lists count, each decision needs both: a majority of `self.conf.voters` "
            "and a majority of `self.conf.outgoing`. One of them has not said yes here."
        )
    if first.wanted == quorum.WON:
        return "Both majorities have said yes here (without a joint configuration there is one)."
    return "It is lost only when a majority of one of the two lists cannot be had any more."


EXERCISES = [
    Predict(
        "membership/joint",
        "Which of the groups A to D can elect a leader?",
        _who_elects,
        'groups = ["C", "D"]',
        letters,
    ),
    Predict(
        "membership/typo",
        "Which of the five requests are still answered?",
        _what_is_answered,
        'answered = ["serializable get", "serializable members"]',
        requests,
    ),
    Fill(
        "membership/may_reconfigure",
        "may_reconfigure",
        "A list counts when its entry is applied. Until then everybody counts by the one before, "
        "and the next change must be one step away from that. A new leader takes the end of its "
        "log for the last change, as it does not know better; so it first commits what it has "
        "inherited.",
        "    def may_reconfigure(self):\n        return self.conf_index <= self.log.applied\n",
        (TWO_AT_ONCE, INHERITED, *MANY_CHANGES),
        _change_hint,
    ),
    Fill(
        "membership/election-result",
        "election_result",
        "Some count by the old list and some by both. Whoever has a majority of the old one shares "
        "a voter with each of the first, and whoever has both shares one with everybody: so no "
        "term has two leaders, whoever has heard of what.",
        "    def election_result(self):\n"
        "        return quorum.vote_result(self.conf, self.votes)\n",
        (JOINT_HALVES, OLD_HALF),
        _half_hint,
    ),
    Witness(
        "membership/witness",
        ChangesAtOnce,
        "The leader, n4 and n5 count by five, and are three of them. The other two count by three, "
        "and are two of those.",
        "    from kvlearn.kv.members import MemberAdd\n\n"
        "    leader = cluster.wait_for_leader()\n"
        "    near, far = [name for name in cluster.nodes if name != leader]\n"
        '    cluster.add_node("n4")\n'
        '    cluster.add_node("n5")\n'
        "    cluster.isolate(far)\n"
        '    cluster.submit(MemberAdd("n4"), leader)\n'
        '    cluster.submit(MemberAdd("n5"), leader)\n'
        "    cluster.run_until(lambda c: len(c.nodes[near].log) == 3)\n"
        "    cluster.cut(leader, near, one_way=True)  # near has both, and hears no more\n"
        "    cluster.run(0.5)\n"
        '    cluster.partition([leader, "n4", "n5"], [near, far])\n'
        '    cluster.campaign("n4")\n'
        "    cluster.campaign(near)\n",
        size=3,
        hint="Both changes must be committed, and two of the three old nodes must not know it: one "
        "may have the entries, but must not hear that they are committed.",
    ),
]
