"""Exercises of lesson 04: who can lead, what may be committed, a culprit, the commit rule, a
witness. And figure 8 of the paper, as moves of a cluster and as a transcript."""

from __future__ import annotations

from kvlearn.course.kinds import Fact, Fill, Predict, Witness, names
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.mutants import CountsMinority, VotesForStaleLogs
from kvlearn.course.page import Card, Code
from kvlearn.course.trials import ALL, Difference, Trial
from kvlearn.events import BecameLeader, Committed, Refused
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig
from kvlearn.sim import Cluster
from kvlearn.sim.bench import Bench
from kvlearn.sim.script import play

# One entry a message, so that an old entry can arrive without the new one behind it.
ONE_BY_ONE = RaftConfig(max_entries_per_message=1)

FIGURE_8 = """
# (a) n1 leads term 1. A client writes blue; the entry reaches n2 only.
cluster 5 max_entries_per_message=1
quiet
campaign n1
stabilize
partition n1 n2
put n1 colour=blue
stabilize

# (b) n5 leads term 2, with the votes of n3 and n4, appends its no-op, and crashes.
campaign n5
ready n5
deliver
ready n3 n4
deliver
save n5
crash n5
drop

# (c) n1 hears of term 2, and is elected in term 3 by n2 and n3. n3 gets blue.
partition n1 n2 n3
tick n1
stabilize n1 n2 n3
campaign n1
ready n1
deliver
ready n2 n3
deliver
ready n1
deliver
ready n2 n3
deliver
ready n1
deliver
loud
ready n3
deliver n3→n1
ready n1
log

# (d) n1 and n2 crash. n5 comes back, and is elected by n3 and n4.
quiet
crash n1
crash n2
drop
heal
start n5
campaign n5 n5
stabilize
loud
log
"""

OLD_MAJORITY = """
cluster 5 max_entries_per_message=1
log n1 1 3 4 4 term=4 commit=1
log n2 1 3 4 term=4
log n3 1 3 4 term=4
log n4 1 3 term=4
log n5 1 term=4
partition n1 n2 n3
campaign n1
ready n1
deliver
ready n2 n3
deliver
ready n1
deliver
ready n2 n3
deliver
ready n1
deliver
ready n2 n3
"""

CULPRIT = """
cluster 5
quiet
campaign n1
stabilize
loud
quiet applied becamefollower dropped
put n1 a=1
ready n1
deliver n1→n2
ready n2
deliver n2→n1
ready n1
crash n1
drop
campaign n4
ready n4
deliver
ready n2 n3 n5
deliver
ready n4
deliver n4→n3
ready n3
deliver n3→n4
ready n4
log
"""
SUSPECTS = ("is_up_to_date", "log_matches", "may_commit", "own_match", "quorum_index")


# Figure 8 -------------------------------------------------------------------------------------


def figure_8(cluster: Cluster) -> int:
    """(a) to (c): a majority has `colour = blue`, of term 1, and its leader is in term 3.

    Returns the number of the operation: the client of that write is still waiting.
    """
    cluster.campaign("n1")
    cluster.run(0.3)
    cluster.partition(["n1", "n2"], ["n3", "n4", "n5"])
    blue = cluster.submit(Put(b"colour", b"blue"), "n1")
    cluster.run(0.05)
    cluster.campaign("n5")
    cluster.run_until(lambda c: c.nodes["n5"].role == "leader")
    cluster.isolate("n5")
    cluster.run(0.01)
    cluster.crash("n5")
    cluster.partition(["n1", "n2", "n3"], ["n4", "n5"])
    cluster.run_until(lambda c: c.nodes["n1"].role == "follower")
    cluster.campaign("n1")
    counted(cluster)
    return blue


def counted(cluster: Cluster) -> None:
    """Run until n1 has counted, and the next entry that it sends to n3 is lost."""
    start = len(cluster.trace)
    decisions = {"node": "n1", "start": start}
    cluster.run_until(lambda c: any(True for _ in c.trace.of(Refused, Committed, **decisions)))
    for packet in cluster.in_flight:
        if packet.message.target == "n3":
            cluster.drop(packet)


def unlucky_end(cluster: Cluster) -> None:
    """(d): n1 and n2 crash, n5 comes back, and the three that are left elect a leader."""
    cluster.crash("n1")
    cluster.crash("n2")
    cluster.heal()
    cluster.restart("n5")
    cluster.wait_for_leader(timeout_s=30.0)
    cluster.run(0.3)


def _whole_figure(cluster: BoundedCluster) -> None:
    figure_8(cluster)
    unlucky_end(cluster)


def _lucky_end(cluster: BoundedCluster) -> str | None:
    figure_8(cluster)
    cluster.run(0.5)
    return None if cluster.nodes["n1"].commit == 3 else "n1 commits nothing any more"


WHOLE_FIGURE = Trial("figure 8, (a) to (d)", _whole_figure, seed=8, config=ONE_BY_ONE)
LUCKY_END = Trial("figure 8, (e)", _lucky_end, seed=8, config=ONE_BY_ONE)


# Facts ----------------------------------------------------------------------------------------


def lucky_end() -> Cluster:
    """(e), and then n1 is gone: n5 is back, and all links work."""
    cluster = Cluster(5, seed=8, config=ONE_BY_ONE)
    figure_8(cluster)
    cluster.run(0.5)
    cluster.crash("n1")
    cluster.heal()
    cluster.restart("n5")
    return cluster


def _wins(cluster: Cluster, name: str) -> bool:
    """Whether the node is elected if it stands up to three times before anybody else does."""
    for _ in range(3):
        cluster.campaign(name)
        cluster.run(0.1)
        if cluster.leader == name:
            return True
    return False


def _who_can_lead() -> Fact:
    asked = ("n2", "n3", "n4", "n5")
    futures = {name: lucky_end() for name in asked}
    able = [name for name in asked if _wins(futures[name], name)]
    trace = futures["n5"].trace
    refused = [
        r for r in trace.of(Refused) if r.event.peer == "n5" and r.event.reason == "VOTE_LOG_BEHIND"
    ]
    why = (
        "Each of the four was told to stand, up to three times, in a copy of the cluster. n2 and "
        "n3 have 3@3 and win. n5 gets the vote of n4 and no other: its last entry is of term 2, "
        f"and n2 and n3 have one of term 3. {refused[-1]}."
    )
    hints = {
        ("n2", "n5"): "That was so in (c). Where does the log of n3 end now?",
        ("n2",): "n3 has the same log as n2.",
        ("n2", "n3", "n5"): "n5 needs three votes. Whose log is not newer than 2@2?",
        ("n2", "n3", "n4"): "n4 lacks what is committed. Who would vote for it?",
        (): "Two nodes have everything that is committed.",
    }
    return Fact(names(able), trace, refused[-1].seq, why, hints)


def old_majority() -> Bench:
    """A leader of term 5 whose entry 4, of term 4, has just been stored by n2 and n3; their
    acknowledgements are on the way."""
    return play(OLD_MAJORITY).cluster


def _what_is_committed() -> Fact:
    bench = old_majority()
    start = len(bench.trace)
    for name in ("n2", "n3"):
        for parcel in bench.select(name, "n1"):
            bench.deliver(parcel)
    refused = list(bench.trace.of(Refused, node="n1", start=start))[-1]
    why = (
        "Three of five have entry 4. But it is of term 4, and n1 leads term 5: counting does not "
        "commit it. As soon as 5@5 is on a majority, all five are committed at once."
    )
    hints = {
        4: "Entry 4 is on three of five. And of which term is it?",
        3: "Entry 3 is of term 4 too.",
        5: "Entry 5 is on n1 alone, so far.",
    }
    return Fact(bench.hosts["n1"].node.raft.log.committed, bench.trace, refused.seq, why, hints)


def _index(answer) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is an index: a whole number.")
    return answer


def culprit() -> Card:
    """What happened in a run in which an acknowledged write was lost, played with a class that is
    not named: one rule is broken, on all nodes."""
    told = play(CULPRIT, CountsMinority).blocks[-1].told
    return Card("plain", "One rule is broken here", [Code("\n".join(told), plain=True)])


def _broken_rule() -> Fact:
    trace = play(CULPRIT, CountsMinority).trace
    wrong = [record for record in trace.of(Committed, node="n1") if record.event.index == 2]
    why = (
        "n1 commits 2@1 when n2 alone has acknowledged it: two of five. (And n4 does the same "
        "later.) All else is as it should be: n4 is elected with the votes of n3 and n5, which "
        "know of nothing newer."
    )
    hints = {
        "is_up_to_date": "n2 does refuse n4. Were n3 and n5 wrong to vote for it?",
        "log_matches": "n3 takes 2@2 behind 1@1, which it has.",
        "may_commit": "n1 commits an entry of its own term 1. But who has it?",
        "own_match": "n1 saved entry 2 before it counted itself.",
    }
    return Fact(CountsMinority.rule, trace, wrong[0].seq, why, hints)


def _rule(answer) -> str:
    said = str(getattr(answer, "__name__", answer)).strip().removeprefix("Raft.")
    if said not in SUSPECTS:
        raise ValueError(f"{said!r} is none of {', '.join(SUSPECTS)}.")
    return said


def _commit_hint(first: Difference) -> str:
    """Which entry was asked about, when, and what the answer means for it."""
    (index,), end = first.arguments, first.log_end
    if first.wanted == "True":
        return (
            f"Entry {index} is of the leader's own term, and a majority has it: nobody who lacks "
            "it can be elected any more. Who refuses this commits nothing, and answers no client."
        )
    return (
        f"The leader's log ends at {end}, and that is of its own term. But it was asked about "
        f"entry {index}, which is not: what a majority has ends with an old term, and somebody "
        "else may have a newer one."
    )


EXERCISES = [
    Predict(
        "safety/who-can-lead",
        "Which of n2 to n5 can be elected now?",
        _who_can_lead,
        'able = ["n2", "n3"]',
        names,
    ),
    Predict(
        "safety/committed",
        "Up to which index has n1 committed when both acknowledgements have arrived?",
        _what_is_committed,
        "index = 1",
        _index,
    ),
    Predict(
        "safety/broken-rule",
        f"Which rule is broken: {', '.join(SUSPECTS)}?",
        _broken_rule,
        'culprit_is = "quorum_index"',
        _rule,
        empty="",
    ),
    Fill(
        "safety/may_commit",
        "may_commit",
        "Once an entry of the leader's own term is on a majority, whoever wants to lead later "
        "needs the vote of one of them, and gets it only with that entry or a newer one behind "
        "it. All that stands before it is committed along with it.",
        "    def may_commit(self, index):\n        return self.log.term(index) == self.term\n",
        (WHOLE_FIGURE, LUCKY_END, *ALL),
        _commit_hint,
    ),
    Witness(
        "safety/witness",
        VotesForStaleLogs,
        "A majority had the entry, and the node that stood had not. Any majority that elects it "
        "has somebody in it who knew better and voted all the same.",
        "    leader = cluster.wait_for_leader()\n"
        "    away = next(name for name in cluster.nodes if name != leader)\n"
        "    cluster.isolate(away)\n"
        '    cluster.client(leader).put("a", "1")\n'
        "    cluster.heal()\n"
        "    cluster.campaign(away)\n",
        hint="Somebody must miss an entry that is committed, and stand for election afterwards.",
    ),
]
