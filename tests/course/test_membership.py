"""Exercises of lesson 07: likely mistakes get their hints, and wrong rules their promises."""

from __future__ import annotations

import pytest

from kvlearn import Raft
from kvlearn.course import blank, check
from kvlearn.course.exercises.membership import (
    INHERITED,
    JOINT_HALVES,
    MANY_CHANGES,
    OLD_HALF,
    REQUESTS,
    TWO_AT_ONCE,
    CountsNewHalf,
)
from kvlearn.course.mutants import ChangesAtOnce
from kvlearn.events import ConfChanged
from kvlearn.raft import quorum
from kvlearn.raft.types import ConfState

JOINT, TYPO, ONE, HALVES = (
    f"membership/{name}" for name in ("joint", "typo", "may_reconfigure", "election-result")
)
TRIALS = (TWO_AT_ONCE, INHERITED, *MANY_CHANGES, JOINT_HALVES, OLD_HALF)


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("A B", "not either of them"),
        ("A C D", "who of it is in the new half"),
        ("B C D", "who of it is in the old half"),
        ("D", "counts in each"),
        ("C", "who says that n3 is needed"),
    ],
)
def test_who_elects_in_a_joint_configuration_is_asked_again(answer, hint):
    judgement = check(answer, JOINT)
    assert judgement.ok is False and hint in judgement.why[0]


def test_a_group_that_is_none_is_told_so():
    assert "There is no group E" in plain(check("E", JOINT))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (["remove n4"], "How many must have it"),
        (["get", "serializable get", "serializable members"], "vouches"),
        (["serializable get"], "list of members"),
        (["serializable members"], "A key"),
    ],
)
def test_what_is_answered_is_asked_again(answer, hint):
    judgement = check(answer, TYPO)
    assert judgement.ok is False and hint in judgement.why[0]


def test_requests_may_be_written_as_text():
    assert check("serializable members, serializable get", TYPO).ok
    assert "is none of" in plain(check("delete", TYPO))
    assert check(list(REQUESTS), TYPO).ok is False


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_the_reference_survives_the_trials_and_members_change_there(trial):
    outcome = trial.run(Raft, ("may_reconfigure", "election_result"))
    assert (outcome.broken, outcome.error, outcome.stuck) == (None, None, "")
    assert outcome.asked and any(outcome.trace.of(ConfChanged))


def test_two_changes_at_once_and_half_a_majority_are_convicted():
    assert TWO_AT_ONCE.run(ChangesAtOnce).broken.promise == "Election Safety"
    assert JOINT_HALVES.run(CountsNewHalf).broken.promise == "Election Safety"


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        (lambda self: True, "Election Safety is broken"),
        (lambda self: not self.conf.outgoing, "Election Safety is broken"),
        (lambda self: False, "No change is under way"),
        (
            lambda self: self.log.applied == self.log.last_index,
            "other writes do not matter",
        ),
        (lambda self: self.conf_index <= self.log.committed, "not applied yet"),
        (lambda self: self.conf_index <= self.log.stable, "not applied yet"),
        (lambda self: self.conf_index < self.log.applied, "decides otherwise"),
    ],
)
def test_a_wrong_moment_for_the_next_change_is_told(rule, hint):
    mine = type("Mine", (blank(Raft, "may_reconfigure"),), {"may_reconfigure": rule})
    judgement = check(mine, ONE)
    assert judgement.ok is False and hint in plain(judgement)


def old_only(self):
    return quorum.vote_result(ConfState(self.conf.outgoing or self.conf.voters), self.votes)


def all_in_one(self):
    members = {*self.conf.voters, *self.conf.outgoing}
    return quorum.vote_result(ConfState(tuple(sorted(members))), self.votes)


@pytest.mark.parametrize("rule", [old_only, all_in_one, CountsNewHalf.election_result])
def test_a_wrong_count_of_two_lists_is_told(rule):
    mended = type("Mended", (CountsNewHalf,), {"election_result": rule})
    judgement = check(mended, HALVES)
    assert judgement.ok is False and "a majority of `self.conf.outgoing`" in plain(judgement)


def test_both_halves_may_be_counted_by_hand():
    def by_hand(self):
        halves = [half for half in (self.conf.voters, self.conf.outgoing) if half]
        said = [quorum.vote_result(ConfState(half), self.votes) for half in halves]
        if quorum.LOST in said:
            return quorum.LOST
        return quorum.PENDING if quorum.PENDING in said else quorum.WON

    mended = type("Mended", (CountsNewHalf,), {"election_result": by_hand})
    assert check(mended, HALVES).ok
