"""Exercises of lesson 01: how many may be down, which side goes on, the rule that counts."""

from __future__ import annotations

from kvlearn.course.kinds import Fact, Fill, Predict, Witness, names
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.mutants import CountsMinority
from kvlearn.course.trials import ALL, Difference, Trial
from kvlearn.errors import RequestError
from kvlearn.events import Returned
from kvlearn.kv.requests import Put
from kvlearn.sim import Cluster

PATIENCE_S = 5.0  # a client's: longer than any election takes
WANTED_DOWN = 3  # two that fail, and one that is being upgraded
ROOMS = (["n1", "n2"], ["n3", "n4"], ["n5"])


def tolerated(size: int, seed: int = 7) -> tuple[int, Cluster]:
    """Crash one node of `size` after the other until a put is not answered any more.

    Returns how many were down when the last put was answered, and the cluster.
    """
    cluster = Cluster(size, seed=seed)
    cluster.wait_for_leader()
    for down in range(1, size):
        cluster.crash(f"n{down}")
        try:
            cluster.client(f"n{size}", timeout_s=PATIENCE_S).put("down", str(down))
        except RequestError:
            return down - 1, cluster
    return size - 1, cluster


def answering(cluster: Cluster) -> list[str]:
    """The nodes at which a put is answered."""
    found = []
    for name in cluster.nodes:
        try:
            cluster.client(name, timeout_s=PATIENCE_S).put("asked", name)
        except RequestError:
            continue
        found.append(name)
    return found


def _whole_number(answer) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is a whole number.")
    return answer


def _upgrade() -> Fact:
    """Larger and larger clusters, until one answers with three nodes down."""
    for size in range(1, 10):
        most, cluster = tolerated(size)
        if most == WANTED_DOWN:
            break
    answers = [r for r in cluster.trace.of(Returned) if not r.event.error]
    why = (
        f"While one node is upgraded and two fail, {WANTED_DOWN} are down. Of {size - 1} nodes "
        f"{size - 1 - WANTED_DOWN} would be left, which is half and no majority. Of {size} there "
        f"are {size - WANTED_DOWN}: the record below is the answer to a put with {WANTED_DOWN} of "
        f"{size} down."
    )
    hints = {
        3: "Three tolerate one.",
        4: "Four tolerate one, as three do.",
        5: "Five tolerate two. But the node that is being upgraded is down too.",
        6: "Then three of six are left. Is half a majority?",
        8: "Eight would do. But so do fewer.",
        9: "Nine tolerate four. Fewer are enough.",
    }
    return Fact(size, cluster.trace, answers[-1].seq, why, hints)


def _rooms() -> Fact:
    """Three rooms; the second one loses its cable to the two others, which keep theirs."""
    cluster = Cluster(5, seed=7)
    cluster.wait_for_leader()
    one, two, three = ROOMS
    cluster.partition([*one, *three], two)
    answered = answering(cluster)
    seq = [r.seq for r in cluster.trace.of(Returned) if not r.event.error][-1]
    why = (
        f"{' '.join(answered)} reach each other, and {len(answered)} of 5 are a majority, though "
        "no room holds one: a quorum needs wires, not walls. The two in room B are healthy and "
        "must not answer. The record below is the last answer that a client got."
    )
    hints = {
        (): "No room has three nodes, that is so. But two rooms still have their cable.",
        ("n1", "n2"): "n5 is in another room, and still connected to these two.",
        ("n3", "n4"): "These two are healthy, but whom do they reach?",
        ("n1", "n2", "n3", "n4", "n5"): "Then both sides would go on, and contradict each other.",
    }
    return Fact(names(answered), cluster.trace, seq, why, hints)


def _uneven(cluster: BoundedCluster) -> None:
    """One follower after the other sleeps while entries are sent: their logs differ in length."""
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    followers = [name for name in cluster.nodes if name != leader]
    for number, name in enumerate(followers[1:]):
        cluster.isolate(name)
        cluster.submit(Put(b"uneven", b"%d" % number), leader)
        cluster.run(0.1)
    cluster.heal()
    cluster.run(3.0)
    cluster.client().put("after", "all")


UNEVEN = tuple(
    Trial(f"{size} nodes whose logs differ in length", _uneven, size=size) for size in (4, 5)
)


def _count_hint(first: Difference) -> str:
    """Too high, too low, or no number at all."""
    if not first.said.isdigit():
        return "The answer is an index: a whole number."
    if int(first.said) > int(first.wanted):
        return (
            f"Up to {first.said} there are entries that no majority has. Try it on paper with four "
            "nodes, of which a majority is three, and with five."
        )
    return f"A majority has more: all up to {first.wanted}. Nothing is safer by waiting longer."


EXERCISES = [
    Predict(
        "quorum/upgrade",
        "While one node is taken down for an upgrade, two others may fail, and puts must still be "
        "answered. How many nodes do you need at least?",
        _upgrade,
        "at_least = 7",
        _whole_number,
    ),
    Predict(
        "quorum/rooms",
        "Room A holds n1 and n2, room B n3 and n4, room C n5. The cables from room B to the two "
        "others are cut. At which nodes is a put answered?",
        _rooms,
        'nodes = ["n1", "n2", "n5"]',
        names,
    ),
    Fill(
        "quorum/quorum_index",
        "quorum_index",
        "Sorted from the longest to the shortest, the log in place `majority` is the shortest of "
        "the majority that has most: all of them have what it has, and of what lies beyond it "
        "fewer nodes have a copy.",
        "    def quorum_index(self):\n"
        "        have = [self.own_match()]\n"
        "        have += [self.progress[name].match for name in self.conf.voters "
        "if name != self.id]\n"
        "        return sorted(have, reverse=True)[len(have) // 2]\n",
        trials=(*UNEVEN, *ALL),
        hint=_count_hint,
    ),
    Witness(
        "quorum/alone",
        CountsMinority,
        "Of three nodes one less than a majority is one, so a leader that reaches nobody commits "
        "all by itself. The two others are a majority, and it shares nobody with that one: their "
        "leader could not know of it.",
        "    leader = cluster.wait_for_leader()\n"
        "    cluster.isolate(leader)\n"
        '    cluster.client(leader).put("colour", "blue")\n'
        "    cluster.run(5.0)\n",
        size=3,
        hint="Of three nodes one is enough for it. Who can say ok alone, and who must then elect "
        "a leader without having heard of it?",
    ),
]
