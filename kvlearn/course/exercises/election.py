"""Exercises of lesson 02: who votes for whom, the vote rule, logs that are behind, a witness."""

from __future__ import annotations

from kvlearn.course.kinds import Fact, Fill, Predict, Witness, names
from kvlearn.course.mutants import VotesTwice
from kvlearn.course.trials import Difference
from kvlearn.events import Refused, VoteGranted
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import EntryID
from kvlearn.sim import Cluster


class LongestLogWins(Raft):
    """Votes for the longer log, whatever its terms. Many first drafts do."""

    def is_up_to_date(self, last: EntryID) -> bool:
        return last.index >= self.log.last_index


def late_candidate() -> Cluster:
    """Five nodes whose leader is gone. n5 slept through two puts, n4 through one; now n4 stands.

    Nothing after the two restarts has happened yet but n4's own decision to stand.
    """
    cluster = Cluster(5, seed=11, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    asleep = [name for name in ("n5", "n4", "n3") if name != leader][:2]
    client = cluster.client(leader)
    cluster.crash(asleep[0])
    client.put("a", "1")
    cluster.crash(asleep[1])
    client.put("a", "2")
    cluster.run(0.2)
    cluster.crash(leader)
    cluster.restart(asleep[0])
    cluster.restart(asleep[1])
    cluster.campaign(asleep[1])
    return cluster


def _who_votes() -> Fact:
    cluster = late_candidate()
    start = len(cluster.trace)
    candidate = next(name for name, node in cluster.nodes.items() if node.role == "candidate")
    term = cluster.nodes[candidate].term
    cluster.run(0.1)
    granted = [r.node for r in cluster.trace.of(VoteGranted, start=start) if r.event.term == term]
    refused = [r for r in cluster.trace.of(Refused, start=start) if r.event.action == "vote"]
    behind = " ".join(str(record) + "." for record in refused)
    why = (
        f"{candidate} votes for itself. A voter compares the ends of the logs, the term first "
        "and then "
        f"the index. {behind} So {candidate} has {len(granted) + 1} votes of 5 and does not win."
    )
    hints = {
        (): "Look at the logs again: one of the voters has a log that is no longer than the "
        "candidate's.",
        tuple(
            sorted([*granted, candidate])
        ): f"{candidate} votes for itself, but the question is who else.",
    }
    return Fact(names(granted), cluster.trace, refused[0].seq, why, hints)


def _vote_hint(first: Difference) -> str:
    """A vote that was given twice, or refused to the one who has it."""
    if first.wanted == "False":
        return "A vote that is given away is gone until the next term."
    return (
        "If a vote's answer is lost, the candidate's request may come again. Then the same answer "
        "must come again, or the vote is lost for this term. And who has not voted is free."
    )


def _log_hint(first: Difference) -> str:
    """Which of the two was ignored where the logs were compared: the term, or the index."""
    (last,), own = first.arguments, first.log_end
    ends = f"The candidate's log ends at {last}, the voter's at {own}: "
    if first.wanted == "False" and last.term == own.term:
        return (
            f"{ends}the same term, but the candidate has fewer entries. Within one term the index "
            "says who knows more."
        )
    if first.wanted == "False":
        return (
            f"{ends}the candidate's term is older. However long such a log is, it may be full of "
            "entries that were never committed."
        )
    if last == own:
        return f"{ends}equally long and equally new is good enough, or nobody could be elected."
    if last.term == own.term:
        return f"{ends}the same term, and the candidate has more entries. It lacks nothing."
    return f"{ends}the candidate's term is newer. That decides, however short its log is."


EXERCISES = [
    Predict(
        "election/who-votes",
        "Which nodes vote for the candidate?",
        _who_votes,
        'voters = ["n5"]',
        names,
    ),
    Fill(
        "election/may_vote_for",
        "may_vote_for",
        "A node that has not voted in this term is free; one that has repeats the same vote when "
        "it is "
        "asked again, because the first answer may have been lost. Any two majorities share a "
        "node, and "
        "that node votes once, so no term has two leaders.",
        "    def may_vote_for(self, candidate):\n        return self.vote in (None, candidate)\n",
        hint=_vote_hint,
    ),
    Fill(
        "election/up-to-date",
        "is_up_to_date",
        "Terms are compared first: an entry of a newer term was made by a newer leader, and that "
        "leader "
        "had all that was committed before. Only within one term does the longer log know more.",
        "    def is_up_to_date(self, last):\n        return last >= self.log.last\n",
        hint=_log_hint,
    ),
    Witness(
        "election/witness",
        VotesTwice,
        "Two candidates stood in the same term, and their requests reached the same voters "
        "before either "
        "had won. Who votes twice gives both a majority.",
        '    cluster.campaign("n1")\n    cluster.campaign("n2")\n',
        hint="Two nodes can be candidates of the same term only if both stand before either "
        "hears of the other.",
    ),
]
