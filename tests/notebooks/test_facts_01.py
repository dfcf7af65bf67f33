"""What the prose of lesson 01 says of its runs, its pictures and its numbers is so."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from statistics import median

import pytest

from kvlearn import Cluster, Raft, RaftConfig
from kvlearn.check import invariants
from kvlearn.course import blank, check, compare
from kvlearn.course.exercises.quorum import ROOMS, WANTED_DOWN, answering, tolerated
from kvlearn.errors import TimedOut
from kvlearn.events import Sent
from kvlearn.raft.quorum import majority
from kvlearn.viz import meetings, quorums
from kvlearn.viz.quorums import unavailable

LESSON = Path(__file__).parents[2] / "notebooks" / "01_quorum.ipynb"


def cell(name):
    """The source of a cell of the lesson."""
    cells = json.loads(LESSON.read_text(encoding="utf-8"))["cells"]
    return "".join(next(c["source"] for c in cells if c["id"] == name))


def lesson_s_mutant():
    """`HalfIsEnough` and `halves`, as they stand in the lesson."""
    names = {"Raft": Raft, "compare": compare}
    exec(cell("mutant"), names)
    return names["HalfIsEnough"], names["halves"]


# How many may be down -----------------------------------------------------------------------


def test_what_is_measured_is_what_the_ladder_says():
    for size in range(1, 10):
        assert tolerated(size)[0] == size - majority(size)


@pytest.mark.parametrize("size", [2, 4, 6])
def test_an_even_cluster_cut_in_the_middle_answers_on_neither_side(size):
    cluster = Cluster(size, seed=7)
    cluster.wait_for_leader()
    names = list(cluster.nodes)
    cluster.partition(names[: size // 2], names[size // 2 :])
    assert answering(cluster) == []


def test_four_nodes_with_two_down_have_the_entry_and_cannot_commit_it():
    cluster = Cluster(4, seed=7)
    leader = cluster.wait_for_leader()
    cluster.client().put("colour", "blue")
    followers = [name for name in cluster.nodes if name != leader]
    cluster.crash(followers[0])
    cluster.client(leader).put("colour", "green")
    cluster.crash(followers[1])
    with pytest.raises(TimedOut):
        cluster.client(leader, timeout_s=0.5).put("colour", "red")
    for name in (leader, followers[2]):
        assert len(cluster.nodes[name].log) == 4 and cluster.nodes[name].commit == 3


# Sets ---------------------------------------------------------------------------------------


def test_the_pictures_show_what_is_said_of_them():
    assert len(quorums(5).hooks["data_kv_shared"].split()) == 1
    assert meetings(5).hooks["data_kv_disjoint"] == 0
    assert meetings(5, size=2).hooks["data_kv_disjoint"] == 15
    assert "All 45 pairs" in meetings(5).text and "Nobody" in quorums(
        5, pair=(["n1", "n2"], ["n3", "n4", "n5"])
    ).text  # fmt: skip


def test_two_that_commit_and_three_that_elect_meet_in_four():
    """Flexible quorums: any two of four and any three of four share a node."""
    assert all({*a} & {*b} for a in combinations(range(4), 2) for b in combinations(range(4), 3))


# Availability -------------------------------------------------------------------------------


def test_the_numbers_of_the_prose():
    lost = {size: unavailable(size, 0.01) for size in range(1, 8)}
    assert round(lost[1] * 365.25, 1) == 3.7  # days a year
    assert round(100 * (1 - lost[3]), 2) == 99.97
    assert round(lost[2] / lost[1], 2) == 1.99
    assert 1.9 < lost[4] / lost[3] < 2.1
    assert 28 < lost[3] / lost[5] < 32
    assert all(lost[even] > lost[even - 1] for even in (2, 4, 6))
    assert all(unavailable(odd, 0.5) == 0.5 for odd in (1, 3, 5, 7))


def test_a_bigger_cluster_costs_messages_and_hardly_time():
    took_ms, messages = {}, {}
    for size in (1, 3, 5, 9):
        cluster = Cluster(size, seed=7, config=RaftConfig(), invariants=False)
        client = cluster.client(cluster.wait_for_leader())
        took, start = [], len(cluster.trace)
        for number in range(60):
            asked_s = cluster.now
            client.put("k", str(number))
            took.append(1000 * (cluster.now - asked_s))
            cluster.run(0.03)
        took_ms[size] = median(took)
        messages[size] = sum(1 for _ in cluster.trace.of(Sent, start=start)) / 60
    assert took_ms[3] > 4 * took_ms[1]  # the first step: from there on it waits for the network
    assert took_ms[3] < took_ms[9] < 1.25 * took_ms[3]
    assert 3.5 < messages[9] / messages[3] < 4.5  # in step with the number of followers


# The mutant of the lesson -------------------------------------------------------------------


def test_half_of_four_makes_two_leaders_in_one_term_and_raft_none():
    mutant, halves = lesson_s_mutant()
    told = compare(halves, mutant, size=4)
    lines = [line for line, _ in told.rows], [line for _, line in told.rows]
    assert "✓ every promise is kept" in lines[0]
    assert not [line for line in lines[0] if "becomes leader" in line]
    assert len([line for line in lines[1] if "becomes leader in term 1" in line]) == 2
    assert [line for line in lines[1] if line.startswith("✗ Election Safety is broken")]


def test_half_of_five_is_raft():
    mutant, halves = lesson_s_mutant()
    assert compare(halves, mutant, size=5).first is None


def test_both_halves_commit_and_contradict_each_other():
    mutant, _ = lesson_s_mutant()
    torn = Cluster(4, seed=1, raft=mutant, config=RaftConfig(), invariants=False)
    torn.partition(["n1", "n2"], ["n3", "n4"])
    torn.client("n1").put("colour", "blue")
    torn.client("n3").put("colour", "green")
    torn.run(0.2)
    said = [torn.client(name).get("colour", serializable=True).text for name in torn.nodes]
    assert said == ["blue", "blue", "green", "green"]
    for node in torn.nodes.values():
        assert node.commit == 2 and node.log[-1].term == 1 and node.log[-1].index == 2
    assert invariants(torn.trace).broken[0].promise == "Election Safety"


# The exercises ------------------------------------------------------------------------------


def test_seven_is_the_least_size_that_bears_three_down():
    assert next(n for n in range(1, 10) if tolerated(n)[0] >= WANTED_DOWN) == 7
    for wrong in (5, 6, 8):
        judgement = check(wrong, exercise="quorum/upgrade")
        assert judgement.ok is False and "Think once more" in str(judgement)


def test_two_rooms_with_a_cable_are_enough():
    assert sorted(sum(ROOMS, [])) == ["n1", "n2", "n3", "n4", "n5"]
    assert check("n5 n2 n1", exercise="quorum/rooms").ok
    told = {told: check(told.split(), exercise="quorum/rooms") for told in ("n1 n2", "n3 n4", "")}
    assert not any(judgement.ok for judgement in told.values())
    assert "n5 is in another room" in str(told["n1 n2"])


def filled(count):
    """`quorum_index` by a function of the sorted list of what each voter has."""

    class Mine(blank(Raft, "quorum_index")):
        def quorum_index(self):
            others = [self.progress[name].match for name in self.conf.voters if name != self.id]
            return count(sorted([self.own_match(), *others]))

    return Mine


@pytest.mark.parametrize(
    ("count", "hint"),
    [
        (lambda have: have[len(have) // 2], "no majority has"),  # right for odd sizes only
        (lambda have: have[-1], "no majority has"),
        (lambda have: have[0], "A majority has more"),
    ],
    ids=["the median", "the longest", "the shortest"],
)
def test_a_wrong_count_is_found_and_told_why(count, hint):
    judgement = check(filled(count), exercise="quorum/quorum_index")
    assert judgement.ok is False and hint in str(judgement)


def test_the_right_count_is_right():
    right = filled(lambda have: have[(len(have) - 1) // 2])
    assert check(right, exercise="quorum/quorum_index").ok


def test_who_only_crashes_the_leader_convicts_nobody():
    def scene(cluster):
        cluster.crash(cluster.wait_for_leader())
        cluster.run(3.0)

    judgement = check(scene, exercise="quorum/alone")
    assert judgement.ok is False and "Who can say ok alone" in str(judgement)
