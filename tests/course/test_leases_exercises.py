"""Exercises of lesson 14: solutions pass, likely mistakes get their hints."""

from __future__ import annotations

import pytest

from kvlearn.check.leases import EXPIRY
from kvlearn.course import blank, check
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises.leases import LESSOR_TRIALS
from kvlearn.course.lease_mutants import LEASE_MUTANTS
from kvlearn.errors import LeaseNotFound
from kvlearn.lease import Lessor

LESSON = [name for name in EXERCISES if name.startswith("leases/")]


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


def written(name: str, head: str, body: str) -> object:
    known = {"LeaseNotFound": LeaseNotFound, "Lessor": Lessor}
    exec(f"{head}:\n{body}", known)
    return known[name]


def stay(body: str) -> object:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return written("stay", "def stay(client, lease)", lines)


@pytest.mark.parametrize(
    ("name", "thing", "head"),
    [
        ("leases/renewed_until", "Mine", "class Mine(Lessor)"),
        ("leases/witness", "never_ends", "def never_ends(cluster)"),
        ("leases/stay", "stay", "def stay(client, lease)"),
    ],
)
def test_the_solution_passes(name, thing, head):
    judgement = check(written(thing, head, EXERCISES[name].solution), name)
    assert judgement.ok is True, str(judgement)


@pytest.mark.parametrize("name", ["leases/when", "leases/keys"])
def test_predictions_have_an_answer_and_hints_for_others(name):
    exercise = EXERCISES[name]
    fact, known = exercise.fact(), {}
    assert fact.hints
    exec(exercise.solution, known)
    (answer,) = (value for key, value in known.items() if key != "__builtins__")
    assert check(answer, name).ok is True
    assert fact.actual not in fact.hints
    for wrong, hint in fact.hints.items():
        judgement = check(wrong, name)
        assert judgement.ok is False and hint in plain(judgement.why[0])


@pytest.mark.parametrize(
    ("answer", "hint"),
    [(list("abce"), "b was put again"), (list("ace"), "one lease at most"), (["e"], "took it off")],
)
def test_each_wrong_set_of_keys_has_a_hint(answer, hint):
    assert hint in plain(check(answer, "leases/keys").why[0])


@pytest.mark.parametrize(("answer", "name"), [("x", "leases/when"), (["f"], "leases/keys")])
def test_what_is_no_answer_is_told_so(answer, name):
    judgement = check(answer, name)
    assert judgement.ok is False and "cannot be read" in judgement.title


# What a keep-alive gives ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        (lambda self, lease, now: lease.expiry_s + lease.ttl_s, "dead for four times as long"),
        (lambda self, lease, now: lease.expiry_s, "has changed nothing"),
        (lambda self, lease, now: lease.ttl_s, "is a length of time"),
        (lambda self, lease, now: now + self.time_of(lease) / 2, "promised the whole time"),
        (lambda self, lease, now: None, "is a moment"),
    ],
)
def test_a_wrong_renewal_is_told(rule, hint):
    mine = type("Mine", (blank(Lessor, "renewed_until"),), {"renewed_until": rule})
    judgement = check(mine, "leases/renewed_until")
    assert judgement.ok is False and hint in plain(judgement)


@pytest.mark.parametrize(
    "rule",
    [
        lambda self, lease, now: now + (lease.remaining_s or lease.ttl_s),
        lambda self, lease, now: now + max(self.time_of(lease), 2),
    ],
)
def test_who_counts_from_the_note_is_told_so(rule):
    """In a run the note is gone before the answer, so the rule is asked directly, too."""
    mine = type("Mine", (Lessor,), {"renewed_until": rule})
    judgement = check(mine, "leases/renewed_until")
    told = plain(judgement)
    assert judgement.ok is False and "4 s noted" in told
    assert "4 s is what was noted when its holder was silent" in told


@pytest.mark.parametrize("trial", LESSOR_TRIALS, ids=lambda trial: trial.name)
def test_the_reference_survives_the_trials(trial):
    outcome = trial.run(Lessor, ("renewed_until",))
    assert (outcome.broken, outcome.error, outcome.stuck) == (None, None, "")
    assert outcome.asked and outcome.first is None


def test_who_adds_up_is_convicted_by_the_busy_holder():
    outcome = LESSOR_TRIALS[1].run(LEASE_MUTANTS["AddsUp"], ("renewed_until",))
    assert outcome.broken.promise == EXPIRY


# The witness ------------------------------------------------------------------------------------


def test_a_scene_without_a_new_leader_convicts_nobody():
    def scene(cluster):
        cluster.client().lease(10)
        cluster.run(12)

    judgement = check(scene, "leases/witness")
    assert judgement.ok is False and "got away" in judgement.title


def test_a_scene_that_ends_too_early_is_near():
    def scene(cluster):
        cluster.client().lease(10)
        cluster.run(7)
        cluster.crash(cluster.leader)
        cluster.wait_for_leader()

    judgement = check(scene, "leases/witness")
    assert judgement.ok is False and "let the cluster run" in plain(judgement)


def test_a_transcript_is_no_scene_here():
    assert "not a transcript" in check("cluster 3", "leases/witness").title


# Being there -----------------------------------------------------------------------------------

ANEW = """
lease = client.lease(5)
client.put("here/me", "alive", lease=lease)
return lease
"""


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ("return client.lease(5)", "It is not there"),
        ('client.put("here/me", "1")\nreturn client.lease(5)', "Its key would stay for ever"),
        (ANEW.replace("return lease", "return 7"), "It returns the lease"),
        (ANEW.replace("(5)", "(50)"), "The lease is of 5 s"),
        (ANEW, "It takes one lease after the other"),
        ("if lease: return lease" + ANEW, "It lives, and its key is gone"),
        (
            'lease = lease or client.lease(5)\nlease.keep_alive_once()\n'
            'client.put("here/me", "alive", lease=lease)\nreturn lease',
            "It writes although nothing changes",
        ),
        (
            "if lease: return lease" + ANEW.replace("lease(5)", "lease(5).keep_alive()"),
            "It is dead, and its key is still there",
        ),
        (
            "try:\n    if lease: lease.keep_alive_once(); return lease\n"
            "except LeaseNotFound: return lease" + ANEW,
            "It lives, and nobody knows",
        ),
        (
            "try:\n    if lease: lease.keep_alive_once(); return lease\n"
            "except Exception: pass" + ANEW,
            "It gave up a good lease",
        ),
    ],
)  # fmt: skip
def test_a_program_that_is_not_there_is_told_so(body, title):
    judgement = check(stay(body), "leases/stay")
    assert judgement.ok is False and judgement.title == title, str(judgement)


def test_all_names_of_the_lesson_are_known():
    assert len(LESSON) == 5
