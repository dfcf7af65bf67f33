"""Exercises of lesson 06: likely mistakes get their hints, and broken snapshots their promises."""

from __future__ import annotations

import pytest

from kvlearn import Raft
from kvlearn.course import blank, check
from kvlearn.course.exercises.snapshots import (
    FACTS,
    LATE_COPIES,
    NEEDED,
    OLD_COPY,
    OWN_TAIL,
    holding,
)
from kvlearn.course.mutants import TakesOldSnapshots
from kvlearn.events import SnapshotInstalled

NEEDS, WHERE, CONTENTS, WANTS = (
    f"snapshots/{name}" for name in ("who-needs", "where", "contents", "wants_snapshot")
)


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (["n5", "n6", "n7"], "does n1 have that one"),
        ("n7", "Does n1 still have it"),
        ("n2 n6 n7", "what does n2 lack"),
    ],
)
def test_who_gets_a_snapshot_is_asked_again(answer, hint):
    judgement = check(answer, NEEDS)
    assert judgement.ok is False and hint in judgement.why[0]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [(35, "gone"), (41, "entries are kept"), (43, "When was"), (16, "first")],
)
def test_where_a_log_begins_is_asked_again(answer, hint):
    judgement = check(answer, WHERE)
    assert judgement.ok is False and hint in judgement.why[0]


@pytest.mark.parametrize("nothing", [None, [], "", ...])
def test_an_empty_snapshot_is_no_mistake(nothing):
    assert check(nothing, CONTENTS).ok is None


@pytest.mark.parametrize(
    ("left_out", "promise"),
    [
        ("state", "State Machine Safety"),
        ("term", "State Machine Safety"),
        ("members", "Election Safety"),
        ("index", ""),
    ],
)
def test_whatever_is_left_out_of_a_snapshot_is_missed(left_out, promise):
    judgement = check([fact for fact in NEEDED if fact != left_out], CONTENTS)
    assert judgement.ok is False and judgement.promise == promise
    assert left_out not in judgement.title


@pytest.mark.parametrize("extra", sorted(set(FACTS) - set(NEEDED)))
def test_what_is_needless_is_told_with_its_reason(extra):
    judgement = check([*NEEDED, extra], CONTENTS)
    assert judgement.ok is False and extra in judgement.title and len(judgement.why) == 1


def test_an_unknown_fact_is_told_so():
    assert "is none of state" in plain(check("keys", CONTENTS))


@pytest.mark.parametrize("trial", [OLD_COPY, OWN_TAIL, *LATE_COPIES], ids=lambda t: t.name)
def test_the_reference_survives_the_trials_and_snapshots_happen_there(trial):
    outcome = trial.run(Raft, ("wants_snapshot",))
    assert (outcome.broken, outcome.error, outcome.stuck) == (None, None, "")
    assert outcome.asked and any(outcome.trace.of(SnapshotInstalled))
    whole = trial.run(holding(NEEDED))
    assert (whole.broken, whole.error, whole.stuck) == (None, None, "")


def test_an_old_copy_convicts_who_takes_it():
    outcome = OLD_COPY.run(TakesOldSnapshots)
    assert outcome.broken.promise == "State Machine Safety"


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        (lambda self, last: True, "A state does not go back"),
        (
            lambda self, last: last.index > self.log.last_index,
            "beyond its commit index",
        ),
        (lambda self, last: last.index >= self.log.committed, "decides otherwise"),
        (lambda self, last: False, "beyond its commit index"),
    ],
)
def test_a_wrong_choice_of_snapshots_is_told(rule, hint):
    mine = type("Mine", (blank(Raft, "wants_snapshot"),), {"wants_snapshot": rule})
    judgement = check(mine, WANTS)
    assert judgement.ok is False and hint in plain(judgement)
