"""A shrunk run is much smaller, breaks the same promise, and the reference keeps it there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvlearn import Raft, check
from kvlearn.check.nemesis import OPERATOR
from kvlearn.check.sweep import Case, play, play_acts
from kvlearn.check.workloads import Chaos, promises
from kvlearn.course.mutants import MUTANTS
from kvlearn.errors import Violation

FOUND = [  # mutant, nodes, a seed that convicts it, acts that suffice
    ("VotesForStaleLogs", 5, 0, 6),
    ("VotesTwice", 5, 0, 6),
    ("CountsMinority", 3, 8, 6),
    ("ReadsWithoutAsking", 5, 37, 12),
]


@pytest.mark.parametrize(("name", "nodes", "seed", "enough"), FOUND)
def test_a_few_acts_are_left_and_they_convict(name, nodes, seed, enough):
    mutant = MUTANTS[name]
    run = play(Case(Chaos(), nodes, seed, mutant))
    assert run.promise == mutant.promise
    small = check.shrink(run)
    assert small.promise == mutant.promise
    assert len(small.acts) <= enough < len(run.acts)
    assert small.cluster.now < run.cluster.now
    assert small.why in str(small)

    honest = play_acts(replace(run.case, raft=Raft), small.acts, small.cluster.now, mends=False)
    assert honest.promise not in ("Election Safety", "Leader Completeness", "Fresh Reads")
    assert honest.raised is None

    program: dict = {}
    if small.raised is None:
        exec(small.script(), program)
    else:
        with pytest.raises(Violation, match=mutant.promise):
            exec(small.script(), program)
    mine, its = small.cluster.trace, program["cluster"].trace
    assert list(its.lines()) == list(mine.lines()), "the program does the same, to the last bit"


class VotesOnce(Raft):
    """Nobody gets a vote after the first term."""

    def may_vote_for(self, candidate):
        return self.term < 2 and super().may_vote_for(candidate)


def test_what_is_judged_after_mending_is_mended_in_the_small_run_too():
    cases = (Case(Chaos(nemeses=("crash",), virtual_s=10.0), 3, k, VotesOnce) for k in range(8))
    run = next(run for run in map(play, cases) if run.promise == "Progress")
    small = check.shrink(run, tries=150)
    assert small.promise == "Progress" and len(small.acts) <= 4 < len(run.acts)
    assert small.mending and small.acts[-1].at_s < small.mending[0].at_s
    assert [v.promise for v in promises(small.cluster) if not v.ok][0] == "Progress"


def test_a_row_of_a_table_can_be_shrunk():
    table = check.sweep("chaos", seeds=[0], raft=MUTANTS["VotesForStaleLogs"], nodes=5)
    small = check.shrink(table.loc[0], tries=80)
    assert small.promise == table.promise[0] == "Leader Completeness"
    rounds = []
    check.shrink(table.replay[0], tries=80, tell=rounds.append)
    assert rounds and len(rounds[-1].acts) < 20


class CountsAnybody(Raft):
    """Once the membership has changed, one voter's copy is enough for a commit."""

    def quorum_index(self):
        if self.conf.voters == ("n1", "n2", "n3") and not self.conf.outgoing:
            return super().quorum_index()
        peers = [self.progress[peer].match for peer in self.peers]
        return max(self.own_match(), *peers, 0)


def test_changes_of_members_are_acts_like_any_other():
    churn = Chaos("churn", 12.0, nemeses=("leader", "members"))
    cases = (Case(churn, 3, seed, CountsAnybody) for seed in range(20))
    run = next(run for run in map(play, cases) if run.promise == "Leader Completeness")
    small = check.shrink(run, tries=150)
    asked = [act for act in small.acts if act.verb == "ask" and act.arguments[1] == OPERATOR]
    assert small.promise == run.promise and asked and len(small.acts) < len(run.acts) / 4
    program: dict = {}
    with pytest.raises(Violation, match="Leader Completeness"):
        exec(small.script(), program)
    mine, its = small.cluster.trace, program["cluster"].trace
    assert list(its.lines()) == list(mine.lines())


def test_where_nothing_is_broken_there_is_nothing_to_shrink():
    with pytest.raises(ValueError, match="no promise is broken.*--seed 2"):
        check.shrink(Case(Chaos(virtual_s=4.0), 3, 2))


def test_a_run_that_its_acts_do_not_explain_is_refused():
    run = play(Case(Chaos(), 5, 0, MUTANTS["VotesForStaleLogs"]))
    with pytest.raises(ValueError, match="the acts alone do not break Leader Completeness again"):
        check.shrink(replace(run, case=replace(run.case, raft=Raft)))
