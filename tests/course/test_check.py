"""Verdicts on answers: what broke, where, under which rule; and no answer can stop the notebook."""

from __future__ import annotations

import sys

import pytest

from kvlearn import Cluster, Raft
from kvlearn.course import blank, check
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises.election import LongestLogWins
from kvlearn.course.kinds import Fill, Witness
from kvlearn.course.limits import Spent, bounded
from kvlearn.course.mutants import MUTANTS, VotesForStaleLogs
from kvlearn.course.trials import ALL
from kvlearn.raft import quorum

VOTE, LOG, WITNESS = "election/may_vote_for", "election/up-to-date", "election/witness"


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


def voter(rule):
    """A class whose vote rule is `rule`."""
    return type("Mine", (blank(Raft, "may_vote_for"),), {"may_vote_for": rule})


# Solutions ----------------------------------------------------------------------------------


# Those about the store need names of their lessons; test_teacher.py solves these as well.
STORE = ("revisions/", "trees/", "watch/", "transactions/", "leases/", "recipes/", "real/")


@pytest.mark.parametrize("name", [name for name in EXERCISES if not name.startswith(STORE)])
def test_the_solution_is_right_and_is_told_why(name):
    exercise = EXERCISES[name]
    names = {}
    if not isinstance(exercise, (Fill, Witness)):  # an answer is a line of its own
        exec(exercise.solution, names)
        answer = names[exercise.solution.split()[0]]
    elif isinstance(exercise, Fill):
        lesson = {"Base": blank(Raft, exercise.rule), "quorum": quorum}
        exec("class Mine(Base):\n" + exercise.solution, lesson, names)
        answer = names["Mine"]
    else:
        exec("def scene(cluster):\n" + exercise.solution, names)
        answer = names["scene"]
    judgement = check(answer, name)
    assert judgement.ok is True and judgement, judgement
    assert judgement.why and all(judgement.why)


@pytest.mark.parametrize("trial", ALL, ids=lambda trial: trial.name)
def test_the_reference_passes_every_trial(trial):
    outcome = trial.run(Raft, ("may_vote_for", "is_up_to_date"))
    assert (outcome.broken, outcome.error, outcome.stuck, outcome.differences) == (
        None,
        None,
        "",
        [],
    )
    assert outcome.asked > 0


def test_a_trial_is_the_same_each_time():
    one, other = (ALL[-1].run(Raft, ("may_vote_for",)).trace.lines() for _ in range(2))
    assert list(one) == list(other)


# Predictions --------------------------------------------------------------------------------


def test_a_wrong_prediction_is_answered_by_the_run():
    judgement = check(3, "start/majority")
    assert judgement.ok is False
    assert judgement.title == "You said 3; the run says otherwise"
    assert "two are left" in judgement.why[0]
    assert "The run says 2." in plain(judgement)
    assert "no leader" in str(judgement.record)
    assert f"▶ {judgement.record.seq}" in str(judgement)


@pytest.mark.parametrize(
    ("answer", "exercise", "told"),
    [
        (3, "start/majority", "The run says 2"),
        ("red", "start/past", "says green"),
        ("n1", "election/who-votes", "says n5"),
    ],
)
def test_a_page_keeps_the_right_answer_folded_for_a_second_try(answer, exercise, told):
    judgement = check(answer, exercise)
    head, fold, rest = judgement._repr_html_().partition("<details")
    assert "Think once more" in head and told not in head and told in rest
    assert "<table" not in head


def test_the_record_that_decides_about_the_past_is_the_put_that_made_the_revision():
    judgement = check("red", "start/past")
    assert judgement.record.event.revision == 3 and "gets ok" in str(judgement.record)
    assert "put colour=green" in str(judgement)


@pytest.mark.parametrize("nothing", [None, ..., ""])
def test_no_answer_is_no_mistake(nothing):
    assert check(nothing, "start/past").ok is None


@pytest.mark.parametrize("answer", [2.5, "two", True, [2], object()])
def test_what_is_no_number_is_told_so(answer):
    judgement = check(answer, "start/majority")
    assert judgement.ok is False and "whole number" in str(judgement)


@pytest.mark.parametrize("answer", ["n5", ["n5"], {"n5"}, ("n5",)])
def test_names_may_be_written_in_any_form(answer):
    assert check(answer, "election/who-votes").ok


@pytest.mark.parametrize("answer", [7, ["five"], [5], object(), [None]])
def test_what_is_no_name_is_told_so(answer):
    assert check(answer, "election/who-votes").ok is False


def test_a_node_that_does_not_exist_is_told_so():
    assert "There is no n9: the nodes are n1 n2 n3 n4 n5" in str(
        check(["n5", "n9"], "election/who-votes")
    )


def test_a_name_that_is_written_twice_counts_once():
    assert check("n5 n5", "election/who-votes").ok


def test_the_likely_mistakes_get_their_hint():
    assert "who else" in check("n4 n5", "election/who-votes").why[0]
    assert "one of the voters" in check([], "election/who-votes").why[0]
    assert "3@1" in str(check(["n1"], "election/who-votes"))  # and each answer the logs


# Rules --------------------------------------------------------------------------------------


def test_a_broken_promise_is_named_with_record_and_rule():
    judgement = check(voter(lambda self, candidate: True), VOTE)
    assert judgement.ok is False
    assert (judgement.promise, judgement.rule) == ("Election Safety", "may_vote_for")
    assert "becomes leader in term 1" in str(judgement.record)
    record = judgement.record
    assert f"record {record.seq} at {record.time:.4f} s (seed 1)" in plain(judgement)
    assert "it said True, and the rule says False" in plain(judgement)
    assert f"▶ {record.seq}" in plain(judgement)
    assert "<svg" in judgement._repr_html_()


def test_a_rule_that_is_too_strict_is_told_which_decision_was_wrong():
    judgement = check(voter(lambda self, candidate: self.vote is None), VOTE)
    assert judgement.ok is False and judgement.promise == ""
    assert "every packet comes twice" in judgement.why[0]
    assert "No promise broke" in str(judgement)


def test_a_cluster_that_cannot_elect_is_told_so():
    judgement = check(voter(lambda self, candidate: False), VOTE)
    assert judgement.ok is False and "decides otherwise than the rule" in judgement.title
    assert "no leader within 10 virtual seconds" in plain(judgement)


def test_a_forgotten_return_is_guessed():
    assert "without `return`" in plain(check(voter(lambda self, candidate: None), VOTE))


@pytest.mark.parametrize("mutant", [LongestLogWins, VotesForStaleLogs])
def test_logs_that_are_compared_wrongly_lose_entries(mutant):
    judgement = check(mutant, LOG)
    assert judgement.promise == "Leader Completeness" and judgement.rule == "is_up_to_date"


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        (lambda self, last: last.term >= self.log.last.term, "the same term, but"),
        (lambda self, last: last.index >= self.log.last.index, "term is older"),
        (lambda self, last: last > self.log.last, "equally long and equally new"),
        (
            lambda self, last: last.term == self.log.last.term and last >= self.log.last,
            "term is newer",
        ),
    ],
    ids=["index forgotten", "term forgotten", "too strict", "newer terms refused"],
)
def test_the_hint_names_what_was_ignored(rule, hint):
    judgement = check(type("Mended", (LongestLogWins,), {"is_up_to_date": rule}), LOG)
    assert judgement.ok is False and hint in plain(judgement)


def test_a_blank_is_still_blank():
    judgement = check(blank(Raft, "may_vote_for"), VOTE)
    assert judgement.ok is None and "first come, first served" in plain(judgement)


@pytest.mark.parametrize("answer", [None, 3, "x", dict, Cluster])
def test_what_is_no_raft_is_told_so(answer):
    assert "derived from Raft" in check(answer, VOTE).title


def test_a_mistake_in_the_code_is_told_with_its_line():
    def may_vote_for(self, candidate):
        return self.votee == candidate

    judgement = check(voter(may_vote_for), VOTE)
    assert judgement.ok is False
    assert "AttributeError" in judgement.title
    assert "return self.votee == candidate" in str(judgement)


def test_a_rule_with_another_signature_is_told_so():
    assert "TypeError" in check(voter(lambda self: True), VOTE).title


def test_endless_code_ends():
    def may_vote_for(self, candidate):
        while True:
            try:
                pass
            except Exception:
                pass

    before = sys.gettrace()
    judgement = check(voter(may_vote_for), VOTE)
    assert judgement.ok is False and "without coming to an end" in judgement.title
    assert sys.gettrace() is before


def test_endless_recursion_ends():
    def may_vote_for(self, candidate):
        return may_vote_for(self, candidate)

    assert check(voter(may_vote_for), VOTE).ok is False


def test_a_student_that_exits_stays_in_the_notebook():
    def may_vote_for(self, candidate):
        raise SystemExit

    assert "SystemExit" in check(voter(may_vote_for), VOTE).title


# Witnesses ----------------------------------------------------------------------------------


def test_a_witness_may_be_a_transcript():
    judgement = check("cluster 5\ncampaign n1 n2\nstabilize\n", WITNESS)
    assert judgement.ok and judgement.promise == "Election Safety"


def test_a_scene_in_which_nothing_differs_is_told_so():
    judgement = check(lambda cluster: cluster.run(5), WITNESS)
    assert judgement.ok is False and "answered each time as Raft" in " ".join(judgement.why)


def test_a_scene_that_comes_near_is_told_how_near():
    def scene(cluster):
        cluster.campaign("n1")
        cluster.campaign("n2")
        cluster.run(0.009)  # both were asked for their votes, and n2 has not won yet
        cluster.crash("n2")

    judgement = check(scene, WITNESS)
    assert judgement.ok is False
    assert "You are near" in judgement.why[0] and "the rule says False" in judgement.why[0]


def test_a_scene_that_convicts_raft_too_is_no_witness():
    def scene(cluster):
        cluster.campaign("n1")
        cluster.run(0.05)
        for name in ("n3", "n4", "n5"):
            cluster.wipe(name)
        cluster.isolate("n1")
        for name in ("n3", "n4", "n5"):
            cluster.restart(name)
        cluster.campaign("n3")
        cluster.run(3)

    judgement = check(scene, WITNESS)
    assert judgement.ok is False and "convicts Raft too" in judgement.title
    assert "wiped disk" in str(judgement)


@pytest.mark.parametrize(
    "scene",
    [
        lambda cluster: cluster.crash("n9"),
        lambda cluster: cluster.nonsense(),
        lambda: None,
        "cluster 5\nnonsense\n",
        "campaign n1\n",
    ],
)
def test_a_scene_that_cannot_be_played_is_told_why(scene):
    judgement = check(scene, WITNESS)
    assert judgement.ok is False and "does not play to its end" in judgement.title


def test_an_endless_scene_ends():
    def scene(cluster):
        while True:
            cluster.run(1)

    judgement = check(scene, WITNESS)
    assert "20,000 things happened" in judgement.title


def scene_to_come(cluster):
    """Two lines are enough."""
    ...


@pytest.mark.parametrize("scene", [None, "", "  \n", scene_to_come])
def test_an_empty_scene_is_no_mistake(scene):
    assert check(scene, WITNESS).ok is None


def test_what_is_no_scene_is_told_so():
    assert "function or a transcript" in check(5, WITNESS).title


# Names --------------------------------------------------------------------------------------


def test_an_unknown_exercise_is_met_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'election/witness'"):
        check(1, "election/witnes")
    with pytest.raises(ValueError, match="there are start/majority"):
        check(1, "zzz")


@pytest.mark.parametrize("rule", sorted({m.rule for m in MUTANTS.values()} - {"store_entries"}))
def test_every_rule_of_a_mutant_can_be_an_exercise(rule):
    """The watch between a class and its rule changes nothing in a run of the reference (but for
    `store_entries`, which acts and so cannot be asked twice)."""
    outcome = ALL[-1].run(Raft, (rule,))
    assert outcome.error is None and outcome.broken is None and outcome.differences == []


def test_a_witness_of_another_mutant_can_be_made():
    exercise = Witness("x", VotesForStaleLogs, "because", "")

    def scene(cluster):
        leader = cluster.wait_for_leader()
        cluster.run(0.5)
        late = "n5" if leader != "n5" else "n4"
        cluster.crash(late)
        cluster.client().put("a", "1")
        cluster.crash(leader)
        cluster.restart(late)
        cluster.campaign(late)

    judgement = exercise.judge(scene)
    assert judgement.ok and judgement.promise == "Leader Completeness"


# Bounds -------------------------------------------------------------------------------------


def test_loops_that_no_event_bounds_end_too():
    def forks(cluster):
        while True:
            cluster.fork()

    assert "calls without coming to an end" in check(forks, WITNESS).title

    def waits(cluster):
        while not cluster.leader:
            pass

    assert "went round" in check(waits, WITNESS).title


def test_the_bounds_leave_nothing_behind():
    before = sys.gettrace()
    assert bounded(lambda: sum(x for x in range(1000))) == 499500
    with pytest.raises(Spent):
        bounded(lambda: [x for x in iter(int, 1)])
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 / 0)
    assert sys.gettrace() is before
    for _ in range(10_000):  # the meter is gone
        pass


def test_a_bounded_call_inside_another_shares_its_bounds():
    def inner():
        return bounded(lambda: [x for x in range(600)], turns=10)

    assert len(bounded(inner, turns=1000)) == 600
    with pytest.raises(Spent, match="500 times"):
        bounded(inner, turns=500)
