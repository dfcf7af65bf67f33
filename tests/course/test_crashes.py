"""The student's table of fsync points: executed, and judged by what broke."""

from __future__ import annotations

from random import Random

import pytest

from kvlearn import Cluster, Raft, RaftConfig
from kvlearn.course import blank, check
from kvlearn.course.exercises.crashes import SLOW_DISK, put_times_s, torn_write
from kvlearn.course.keeping import (
    FACTS,
    LEAST,
    MOMENTS,
    SCENES,
    cost,
    is_safe,
    keeping,
    needless,
    tidy,
    try_all,
)
from kvlearn.course.mutants import CountsUnsaved
from kvlearn.course.trials import ALL
from kvlearn.events import Crashed, Saved, Started
from kvlearn.sim.bench import Bench

DURABLE, LEAN, TORN, MATCH = (
    f"crashes/{name}" for name in ("durable", "least", "torn", "own_match")
)
EVERYTHING = dict.fromkeys(MOMENTS, FACTS)
NEEDED = [(moment, fact) for moment, facts in LEAST.items() for fact in sorted(facts)]


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


def without(table, moment, fact):
    """The table without one fact."""
    whole = tidy(table)
    return {**whole, moment: whole[moment] - {fact}}


# Tables -------------------------------------------------------------------------------------


def test_all_scenes_are_played_with_the_least_table_and_with_everything():
    for table in (LEAST, EVERYTHING):
        endings = list(try_all(table))
        assert [ending.scene for ending in endings] == list(SCENES)
        assert not any(ending.broken or ending.refused for ending in endings)


@pytest.mark.parametrize(("moment", "fact"), NEEDED)
def test_whatever_is_taken_from_the_least_table_breaks_a_promise(moment, fact):
    ending = list(try_all(without(LEAST, moment, fact)))[-1]
    wanted = "Election Safety" if moment.startswith("Vote") else "Leader Completeness"
    assert ending.broken[0].promise == wanted
    (told,) = ending.forgotten
    word = {"term": "its term", "vote": "its vote", "log": "entries"}[fact]
    assert "lost power and forgot" in told and word in told


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("fact", FACTS)
def test_whatever_is_added_to_the_least_table_is_safe_and_needless(moment, fact):
    if fact not in LEAST.get(moment, ()):
        table = {**LEAST, moment: {*LEAST.get(moment, ()), fact}}
        assert is_safe(table)
        assert (moment, fact) in needless(table)


def test_nothing_of_the_least_table_is_needless():
    assert needless(LEAST) == []


def test_no_table_that_lacks_something_slips_through():
    """But for one: entries forced before they leave are on disk when the leader counts itself."""
    rng = Random(5)
    for _ in range(300):
        table = {m: {f for f in FACTS if rng.random() < 0.6} for m in MOMENTS}
        gaps = rng.sample(NEEDED, rng.randint(1, 2))
        whole = {
            m: (table[m] | LEAST.get(m, set())) - {f for n, f in gaps if n == m} for m in table
        }
        early = "log" in whole["App"] and gaps == [("count", "log")]
        assert is_safe(whole) == early, whole


def test_a_lost_acknowledged_write_is_found_too():
    for table in (without(LEAST, "Ack", "log"), without(LEAST, "Ack", "term"),
                  without(LEAST, "count", "log")):  # fmt: skip
        assert "Durability" in [verdict.promise for verdict in list(try_all(table))[-1].broken]


def test_the_disk_of_a_table_holds_what_was_forced_and_no_more():
    bench = Bench(3, raft=keeping({"Vote?": "term"}), config=RaftConfig())
    bench.campaign("n1")
    bench.ready("n1")
    state = bench.hosts["n1"].disk.hard_state
    assert (state.term, state.vote, state.commit) == (1, None, 0)
    bench.stabilize()
    assert bench.hosts["n1"].node.raft.role == "leader"
    assert [len(host.disk.entries) for host in bench.hosts.values()] == [0, 0, 0]
    assert [host.disk.hard_state.term for host in bench.hosts.values()] == [1, 0, 0]


def test_what_was_forced_late_holds_all_that_came_before():
    bench = Bench(3, raft=keeping({"Beat": "log term vote commit"}), config=RaftConfig())
    bench.campaign("n1")
    bench.stabilize()
    assert bench.hosts["n1"].disk.entries == []
    bench.tick("n1")
    bench.ready("n1")
    disk, raft = bench.hosts["n1"].disk, bench.hosts["n1"].node.raft
    assert tuple(disk.entries) == raft.log.slice(1, raft.log.last_index) != ()
    assert disk.hard_state == raft.hard_state()


def test_a_message_that_shall_wait_for_the_disk_leaves_after_it():
    for facts, saved_first in (((), False), (("log",), True)):
        bench = Bench(3, raft=keeping({**LEAST, "App": facts}), config=RaftConfig())
        bench.campaign("n1")
        bench.stabilize(["n1", "n2"])
        start = len(bench.trace)
        bench.ask("n1", put())
        bench.write("n1")
        assert bool(bench.select("n1", "n2")) is not saved_first
        assert list(bench.trace.of(Saved, start=start)) == []
        bench.ready("n1")
        assert bench.select("n1", "n2")


def put():
    from kvlearn.kv.requests import Put

    return Put(b"a", b"1")


@pytest.mark.parametrize("table", [LEAST, EVERYTHING], ids=["least", "everything"])
def test_random_crashes_break_no_safe_table(table):
    for trial in ALL[-4:]:
        outcome = trial.run(keeping(table))
        assert (outcome.broken, outcome.error, outcome.stuck) == (None, None, "")
        boots = {record.node: record.event.boot for record in outcome.trace.of(Started)}
        assert max(boots.values()) > 1  # somebody did restart


def test_a_table_costs_what_it_forces():
    (least, quick), (all_of_it, slow) = cost(LEAST), cost(EVERYTHING)
    assert least == 3.0 and all_of_it > least  # each of three nodes forces a put once
    assert slow > quick + 5
    early = cost({**LEAST, "App": ["log"]})
    assert early[0] == least and 4.5 < early[1] - quick < 5.5  # one fsync longer


# Verdicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, ..., {}, {"Vote": []}, dict.fromkeys(MOMENTS, ())])
@pytest.mark.parametrize("exercise", [DURABLE, LEAN])
def test_an_empty_table_is_no_mistake(nothing, exercise):
    assert check(nothing, exercise).ok is None


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (5, "a table"),
        ({"Votes": ["vote"]}, "did you mean 'Vote"),
        ({"Vote": ["votes"]}, "did you mean 'vote'"),
        ({"Vote": ["everything"]}, "there are term, vote, log, commit, applied"),
        ({"Vote": 7}, "Write the facts of 'Vote' as a list"),
    ],
)
def test_what_is_no_table_is_told_so(table, told):
    judgement = check(table, DURABLE)
    assert judgement.ok is False and told in plain(judgement)


def test_two_leaders_are_named_with_the_event_and_what_was_forgotten():
    judgement = check({**LEAST, "Vote": ["term"]}, DURABLE)
    assert judgement.ok is False and judgement.promise == "Election Safety"
    assert judgement.title == "Election Safety is broken: two leaders in one term"
    record = judgement.record
    assert str(record).startswith("n3 becomes leader in term 1")
    text = plain(judgement)
    assert "n2 lost power and forgot its vote for n1, and what it had told" in text
    assert f"broke at record {record.seq} at {record.time:.4f} s: n1 (record" in text
    assert f"▶ {record.seq}" in text and "<svg" in judgement._repr_html_()


def test_the_verdict_does_not_give_the_answer_away():
    text = plain(check({**LEAST, "Ack": ["log"]}, DURABLE))
    assert "forgot its term 2" in text and '"Ack"' not in text and "`Ack`" not in text


def test_a_lost_write_is_told_with_the_client_s_ok():
    judgement = check({**LEAST, "Ack": ["term"]}, DURABLE)
    assert judgement.promise == "Leader Completeness"
    assert "the write that the client was told is done is lost" in plain(judgement)


def test_a_store_ahead_of_its_log_is_told_as_such():
    judgement = check({**LEAST, "count": ["applied"]}, DURABLE)
    assert judgement.promise == "Durability" and isinstance(judgement.record.event, Crashed)
    assert "n1 does not start any more" in plain(judgement)


def test_a_safe_table_is_told_its_price():
    judgement = check(EVERYTHING, DURABLE)
    assert judgement.ok and "nothing broke" in plain(judgement)
    syncs, ms = cost(EVERYTHING)
    assert f"{syncs:.1f} fsyncs a put" in plain(judgement) and f"{ms:.1f} ms" in plain(judgement)


def test_facts_may_be_written_as_words():
    words = {moment: " ".join(facts) for moment, facts in LEAST.items()}
    assert tidy(words) == tidy(LEAST)
    assert check(words, LEAN).ok


def test_what_is_forced_in_vain_is_told_by_its_moment():
    judgement = check({**LEAST, "Beat ok": ["term"], "Ack": ["term", "log", "vote"]}, LEAN)
    assert judgement.ok is False and "`Ack`, `Beat ok`" in plain(judgement)
    assert check({**LEAST, "Beat ok": ["term"]}, DURABLE).ok


def test_a_leader_that_saves_before_it_sends_is_safe_and_slow():
    table = {**LEAST, "App": ["log"], "count": []}
    assert check(table, DURABLE).ok
    judgement = check(table, LEAN)
    assert judgement.ok is False and "slower than need be" in judgement.title


def test_the_least_exercise_names_broken_promises_too():
    assert check({"Vote": ["vote"]}, LEAN).promise == "Election Safety"


# The others ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("1@1", "whole counts"),
        ("1@1 2@1 3@1", "2@2 replaces 2@1"),
        ("1@1 2@2 3@1", "Which entry can it follow now"),
        ("1@1 2@2 3@2", "checksum"),
        ("1@1 2@2 3@2 4@2", "checksum"),
    ],
)
def test_the_likely_mistakes_about_the_torn_tail_get_their_hint(answer, hint):
    judgement = check(answer, TORN)
    assert judgement.ok is False and hint in judgement.why[0]
    assert "The run says" not in judgement.why[0] + judgement.title


@pytest.mark.parametrize("answer", [2, "2", "1@1 x", object()])
def test_what_is_no_entry_is_told_so(answer):
    judgement = check(answer, TORN)
    assert judgement.ok is False and "index@term" in plain(judgement)


def test_the_tail_that_is_written_has_not_been_acknowledged():
    bench = torn_write()
    assert [str(entry.id) for entry in bench.hosts["n2"].disk.entries] == ["1@1", "2@1", "3@1"]
    assert [str(r.id) for r in bench.hosts["n2"].disk.pending[:3]] == ["2@2", "3@2", "4@2"]
    assert bench.select("n2", "n1", "Ack") == []


def test_the_slow_disk_convicts_who_counts_the_unsaved_and_acquits_raft():
    assert SLOW_DISK.run(CountsUnsaved).broken.promise == "Leader Completeness"
    outcome = SLOW_DISK.run(Raft)
    assert (outcome.broken, outcome.error, outcome.stuck) == (None, None, "")


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        (lambda self: self.log.last_index, "only in memory"),
        (lambda self: self.log.committed, "too little"),
    ],
)
def test_a_wrong_count_of_oneself_is_told(rule, hint):
    mine = type("Mine", (blank(Raft, "own_match"),), {"own_match": rule})
    judgement = check(mine, MATCH)
    assert judgement.ok is False and hint in plain(judgement)


def test_put_times_are_those_of_the_slow_disks():
    assert max(put_times_s(0, False, puts=3)) < 0.02
    assert min(put_times_s(3, False, puts=3)) > 0.05
    assert Cluster(5, seed=1).disk("n1").fsync_s != (0.05, 0.05)
