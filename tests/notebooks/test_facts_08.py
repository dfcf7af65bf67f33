"""What lesson 08's prose says of its seeded runs is so, and its exercises judge as they should."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from kvlearn import Cluster, Raft, RaftConfig
from kvlearn import check as checks
from kvlearn.check.service import no_stale_read
from kvlearn.course import check, compare
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises.reads import (
    LeaseFromTheAnswer,
    ReadsByLog,
    ask,
    cut_off_reader,
    drifting,
    stale_runs,
)
from kvlearn.course.mutants import ReadsTooEarly
from kvlearn.errors import TimedOut
from kvlearn.raft import quorum


def costs(path):
    return len(path.flights), path.in_a_row, path.rounds, path.entries, len(path.saves)


def test_two_nodes_claim_to_lead_and_the_old_one_has_been_asked():
    cluster, old = cut_off_reader()
    assert (old, cluster.leader) == ("n5", "n4")
    assert [cluster.nodes[name].term for name in ("n5", "n4")] == [1, 2]
    assert cluster.nodes["n5"].role == "leader"
    question = cluster.operation(3)
    assert (
        question.node == "n5"
        and str(question.request) == "get colour"
        and not question.done
    )
    sent = [str(packet.message) for packet in cluster.in_flight]
    assert sent == ["Beat r1"] * 4


def test_the_old_leader_is_silent_and_a_serializable_read_is_blue():
    cluster, old = cut_off_reader()
    cluster.run(5)
    assert not cluster.operation(3).done
    client = cluster.client(old)
    assert client.get("colour", serializable=True).text == "blue"
    with pytest.raises(TimedOut):
        client.get("colour")
    assert cluster.client().get("colour").text == "green"
    assert no_stale_read(cluster.trace).ok


def test_after_healing_the_old_leader_learns_of_the_new_one():
    cluster, old = cut_off_reader()
    cluster.heal()
    cluster.run(1)
    assert cluster.nodes[old].leader == "n4"
    assert cluster.client(old).get("colour").text == "green"


@pytest.mark.parametrize(
    ("kind", "three", "five"),
    [
        ("log", (8, 2, 0, 1, 3), (16, 2, 0, 1, 5)),
        ("ReadIndex", (4, 2, 1, 0, 0), (8, 2, 1, 0, 0)),
        ("lease", (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
        ("serializable", (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ],
)
def test_what_each_kind_of_read_costs(kind, three, five):
    for size, wanted in ((3, three), (5, five)):
        path = ask(kind, size=size)
        assert costs(path) == wanted
        assert len(path.answers) == 1 and path.latency_s < 0.012


def test_a_log_read_and_a_read_index_take_a_round_trip_and_a_follower_two():
    ms = {kind: 1000 * ask(kind).latency_s for kind in ("log", "ReadIndex")}
    assert ms["ReadIndex"] < ms["log"] < 1.5 * ms["ReadIndex"]
    for who in ("follower", "learner"):
        path = ask("ReadIndex", through=who)
        assert path.in_a_row == 4 and path.rounds == 1 and path.entries == 0
        assert [str(f.message)[:5] for f in path.flights].count("Read?") == 1


def test_a_hundred_reads_share_two_rounds_and_one_beside_a_write():
    alone, busy = (
        ask("ReadIndex", reads=100, beside_write=write) for write in (False, True)
    )
    assert (alone.rounds, len(alone.flights)) == (2, 8)
    assert (busy.rounds, len(busy.flights)) == (1, 4)
    assert len(alone.answers) == len(busy.answers) == 100


def test_reads_by_log_keep_every_promise_also_when_leaders_change():
    cluster = Cluster(3, seed=5, raft=ReadsByLog)
    client = cluster.client()
    for number in range(4):
        client.put("a", str(number))
        assert client.get("a").text == str(number)
        cluster.crash(cluster.leader)
        cluster.wait_for_leader()
        assert client.get("a").text == str(number)
        for name, node in cluster.nodes.items():
            if not node.alive:
                cluster.restart(name)
        cluster.run(0.5)
    assert checks.linearizable(cluster.trace).verdict == "ok"


def test_a_slow_clock_makes_lease_reads_stale_and_a_shorter_lease_helps():
    ticks = [
        RaftConfig.etcd(lease_reads=True, max_drift=d).lease_ticks
        for d in (0.1, 0.3, 0.5)
    ]
    assert ticks == [7, 5, 3]
    asked = [(rate, 0.1) for rate in (0.9, 0.7, 0.6, 0.3)] + [(0.5, 0.3), (0.3, 0.5)]
    counted = {(rate, drift): stale_runs(rate, drift) for rate, drift in asked}
    assert [counted[rate, 0.1] > 0 for rate in (0.9, 0.7, 0.6, 0.3)] == [
        False,
        False,
        True,
        True,
    ]
    assert counted[0.5, 0.3] == counted[0.3, 0.5] == 0


def test_the_drawn_run_is_not_linearizable():
    verdict = checks.linearizable(drifting(rate=0.5, max_drift=0.1))
    assert verdict.verdict == "violated"
    assert [op.client for op in verdict.core] == ["c2", "c9"]


def test_without_leases_the_slowest_clock_does_no_harm():
    cluster, old = cut_off_reader(RaftConfig.etcd())
    cluster.clock(old).rate = 0.01
    cluster.run(5)
    assert no_stale_read(cluster.trace).ok


def test_a_leader_that_reads_too_early_answers_what_was_overwritten():
    lesson = nbformat.read(
        Path(__file__).parents[2] / "notebooks/08_reads.ipynb", as_version=4
    )
    (cell,) = (cell for cell in lesson.cells if cell.id == "break-early")
    comparison = compare(cell.source.split('"""')[1], ReadsTooEarly)
    assert "Fresh Reads is broken" in str(comparison)
    assert "nothing of my own term 2 is committed yet" in comparison.first[0]


# Exercises ------------------------------------------------------------------------------------


def solved(name: str, base: type) -> type:
    known = {"Base": base, "quorum": quorum}
    exec("class Mine(Base):\n" + EXERCISES[name].solution, known)
    return known["Mine"]


@pytest.mark.parametrize(
    ("name", "base"), [("reads/read_quorum", Raft), ("reads/lease", LeaseFromTheAnswer)]
)
def test_the_solution_passes(name, base):
    judgement = check(solved(name, base), exercise=name)
    assert judgement.ok is True, str(judgement)


def quorum_rule(rule):
    return type("Mine", (Raft,), {"read_quorum": rule})


WRONG = {
    "anybody": (lambda self, acks: len(acks) > 1, "one of five"),
    "nobody": (lambda self, acks: True, "cut off alone"),
    "with learners": (
        lambda self, acks: len(acks) > len(self.conf.voters) // 2,
        "is a learner",
    ),
    "half": (lambda self, acks: 2 * len(acks) >= len(self.conf.voters), "learner"),
}


@pytest.mark.parametrize("name", WRONG)
def test_too_few_answers_are_a_stale_read(name):
    rule, told = WRONG[name]
    judgement = check(quorum_rule(rule), exercise="reads/read_quorum")
    assert judgement.ok is False and judgement.promise == "Fresh Reads"
    assert told in " ".join(str(judgement).split())


def test_waiting_for_everybody_is_no_answer():
    def everybody(self, acks):
        return acks >= set(self.conf.voters)

    judgement = check(quorum_rule(everybody), exercise="reads/read_quorum")
    assert judgement.ok is False and "costs time" in " ".join(str(judgement).split())


def test_a_lease_that_begins_with_the_answer_is_convicted():
    judgement = check(LeaseFromTheAnswer, exercise="reads/lease")
    assert judgement.ok is False and judgement.promise == "Fresh Reads"
    assert "begin to wait" in str(judgement)


@pytest.mark.parametrize("answer", [8, 9, 6, 4, 2])
def test_a_wrong_count_gets_its_hint(answer):
    judgement = check(answer, exercise="reads/messages")
    assert judgement.ok is False
    assert EXERCISES["reads/messages"].fact().hints[answer] in " ".join(
        str(judgement).split()
    )


def test_the_witness_convicts_and_half_a_witness_does_not():
    known: dict = {}
    exec("def scene(cluster):\n" + EXERCISES["reads/witness"].solution, known)
    judgement = check(known["scene"], exercise="reads/witness")
    assert judgement.ok is True and judgement.promise == "Fresh Reads"

    def nobody_wrote(cluster):
        old = cluster.wait_for_leader()
        cluster.isolate(old)
        cluster.client(old).get("colour")

    judgement = check(nobody_wrote, exercise="reads/witness")
    assert judgement.ok is False and "got away" in str(judgement)
