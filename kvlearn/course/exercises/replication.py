"""Exercises of lesson 03: who refuses, what is committed, the consistency check, what a heartbeat
may say, a witness. And figure 7 of the paper, as disks that a hand-cranked cluster starts with."""

from __future__ import annotations

from kvlearn.course.kinds import Fact, Fill, Predict, Witness, names
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.mutants import TrustsAnyPrev
from kvlearn.course.trials import ALL, Difference, Trial
from kvlearn.events import Committed, Refused
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import Index, NodeId
from kvlearn.sim.bench import Bench
from kvlearn.sim.script import play

FIGURE_7 = """
cluster 7
log n1 1 1 1 4 4 5 5 6 6 6 term=7 commit=9
log n2 1 1 1 4 4 5 5 6 6 term=7
log n3 1 1 1 4 term=7
log n4 1 1 1 4 4 5 5 6 6 6 6 term=7
log n5 1 1 1 4 4 5 5 6 6 6 7 7 term=7
log n6 1 1 1 4 4 4 4 term=7
log n7 1 1 1 2 2 2 3 3 3 3 3 term=7
"""

NEW_LEADER = """
cluster 5
log n1 1 1 2 4 term=4
log n2 1 1 2 4 term=4
log n3 1 1 2 term=4
log n4 1 1 2 3 term=4
log n5 1 1 2 4 4 term=4
campaign n1
ready n1
deliver
ready n2 n3 n4 n5
deliver
"""


class TellsAll(Raft):
    """Tells every follower how far the cluster has committed, in each heartbeat."""

    def commit_for(self, peer: NodeId) -> Index:
        return self.log.committed


def figure_7() -> Bench:
    """The seven logs of the paper's figure 7: n1 has the leader's log, n2 to n7 are (a) to (f)."""
    return play(FIGURE_7).cluster


def new_leader() -> Bench:
    """Five nodes, the first of which has just been elected; its first messages have not left."""
    return play(NEW_LEADER).cluster


def _who_refuses() -> Fact:
    bench = new_leader()
    start = len(bench.trace)
    bench.stabilize()
    refused = [r for r in bench.trace.of(Refused, start=start) if r.event.action == "append"]
    told = " ".join(f"{record}." for record in refused)
    why = (
        "The first message continues the entry before the leader's new one, 4@4. Who has that very "
        "entry takes the message, whatever stands behind it: n5 drops 5@4 and says nothing. "
        f"{told}"
    )
    hints = {
        ("n3", "n4", "n5"): "n5 has one entry too many. But does it have 4@4?",
        ("n3",): "n4 has as many entries as the leader had. Are they the same ones?",
        ("n4",): "What precedes the new entry, and where does n3's log end?",
        ("n5",): "Not the length decides, but whether the follower has the entry that precedes.",
        (): "The message continues 4@4. Does everybody have that entry?",
    }
    return Fact(names({r.node for r in refused}), bench.trace, refused[0].seq, why, hints)


def _committed() -> Fact:
    """A leader with nine entries; its followers get 7, 6, 4 and 2 of them, and say so."""
    bench = Bench(5, config=RaftConfig())
    bench.campaign("n1")
    bench.stabilize()
    start = len(bench.trace)
    for number in range(8):
        bench.ask("n1", Put(b"k", b"%d" % number))
        bench.ready("n1")
    for name, count in (("n5", 1), ("n4", 3), ("n3", 5), ("n2", 6)):
        for parcel in bench.select("n1", name)[:count]:
            bench.deliver(parcel)
        bench.ready(name)
        for parcel in bench.select(name, "n1"):
            bench.deliver(parcel)
    last = list(bench.trace.of(Committed, node="n1", start=start))[-1]
    why = (
        "The leader itself, n2 and n3 have entry 6: three of five. Entry 7 is on two only. Sort "
        "the five numbers, 9 7 6 4 2: the one in the middle is on a majority. All the entries are "
        "of the leader's own term; what is different if they are not, lesson 04 asks."
    )
    hints = {
        7: "Count who has entry 7: n1 and n2.",
        4: "Entry 4 is on four of five. A majority is less.",
        9: "Entry 9 is on the leader's disk only.",
        2: "Everybody has entry 2. But who waits for everybody stops when one is down.",
    }
    return Fact(last.event.index, bench.trace, last.seq, why, hints)


def _index(answer) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is an index: a whole number.")
    return answer


# Scenes ---------------------------------------------------------------------------------------


def own_entries(cluster: BoundedCluster) -> None:
    """A leader that is cut off goes on writing; the others elect another one, and write too. Its
    heartbeats are what the old one hears first."""
    old = cluster.wait_for_leader()
    cluster.run(0.5)
    cluster.isolate(old)
    for number in range(3):
        cluster.submit(Put(b"lost", b"%d" % number), old)
    cluster.run_until(lambda c: c.leader != old)
    cluster.client(cluster.leader).put("kept", "1")
    cluster.client(cluster.leader).put("kept", "2")
    cluster.heal()
    cluster.run(1.0)


def newer_entry(cluster: BoundedCluster) -> None:
    """n5 leads for a moment and has an entry that nobody else has. The next leader has an older
    one in that place, and a newer one behind it: figure 8 (c)."""
    cluster.campaign("n1")
    cluster.run(0.5)
    cluster.partition(["n1", "n2"], ["n3", "n4", "n5"])
    cluster.submit(Put(b"a", b"1"), "n1")
    cluster.run(0.25)  # two heartbeats: n2 has the entry, and it is not committed
    cluster.campaign("n5")
    cluster.run_until(lambda c: c.nodes["n5"].role == "leader")
    cluster.partition(["n1", "n2", "n3", "n4"], ["n5"])
    cluster.run(0.3)
    cluster.campaign("n1")
    cluster.run(0.5)
    cluster.heal()
    cluster.run(1.0)


OWN_ENTRIES = Trial("an old leader with entries of its own", own_entries)
NEWER_ENTRY = Trial("a follower whose last entry is newer than the leader's there", newer_entry)


# Hints ----------------------------------------------------------------------------------------


def _match_hint(first: Difference) -> str:
    """What was ignored where the consistency check was decided: the term, the index, or 0."""
    (prev,), end = first.arguments, first.log_end
    if prev.index == 0:
        return "Before entry 1 there is nothing, and nothing agrees with nothing: 0@0 always fits."
    if first.wanted == "True":
        return (
            f"The follower has {prev}. That is all that is asked; where its log ends ({end}) does "
            "not matter, and what stands behind is not lost by saying yes."
        )
    if prev.index > end.index:
        return f"The follower's log ends at {end}: there is no {prev}, and a gap may not be left."
    return (
        f"The follower has an entry at index {prev.index}, but is it {prev}? The same index with "
        "another term is another entry."
    )


def _commit_hint(first: Difference) -> str:
    if int(first.said) < int(first.wanted):
        return "Too little is safe, but then a follower learns late, or never, what is committed."
    return (
        "Two things bound it. What is not committed must not be told; and beyond what it is known "
        "to have (`self.progress[peer].match`) the follower may have other entries, which are "
        "about to be replaced."
    )


EXERCISES = [
    Predict(
        "replication/who-refuses",
        "Which followers refuse the leader's first message?",
        _who_refuses,
        'refusers = ["n3", "n4"]',
        names,
    ),
    Predict(
        "replication/commit",
        "Up to which index may the leader commit?",
        _committed,
        "index = 6",
        _index,
    ),
    Fill(
        "replication/log_matches",
        "log_matches",
        "An entry is named by its index and its term: a term has one leader, and that leader fills "
        "each index once. Who has the entry before has, by the same check at its own arrival, all "
        "before that too.",
        "    def log_matches(self, prev):\n        return self.log.term(prev.index) == prev.term\n",
        (*ALL, OWN_ENTRIES, NEWER_ENTRY),
        _match_hint,
    ),
    Fill(
        "replication/commit_for",
        "commit_for",
        "Up to `match` the leader knows that both logs are the same, so there what is committed is "
        "committed for both. Beyond it the follower may have anything.",
        "    def commit_for(self, peer):\n"
        "        return min(self.progress[peer].match, self.log.committed)\n",
        (OWN_ENTRIES, NEWER_ENTRY, *ALL),
        _commit_hint,
    ),
    Witness(
        "replication/witness",
        TrustsAnyPrev,
        "The old leader had an entry of its own, and nothing told it so: the leader after the next "
        "one began behind an entry that the old leader had not, and it took what came.",
        "    from kvlearn.kv.requests import Put\n\n"
        "    old = cluster.wait_for_leader()\n"
        "    cluster.isolate(old)\n"
        '    cluster.submit(Put(b"a", b"1"), old)\n'
        "    cluster.run(4.0)  # the others elect a leader, which appends an entry\n"
        "    cluster.crash(cluster.leader)\n"
        "    cluster.wait_for_leader()  # and another one, which begins behind it\n"
        "    cluster.heal()\n",
        hint="A leader begins at the end of its own log. So the entry before that end must be one "
        "that the old leader has not: it needs a number, and another term.",
    ),
]
