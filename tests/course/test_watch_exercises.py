"""Exercises of lesson 12: solutions pass, likely mistakes get their hints."""

from __future__ import annotations

import pytest

from kvlearn.course import blank, check
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises.watch import CancelsTooEarly
from kvlearn.course.watch_mutants import ForgetsTheQuiet, ForgetsTheSlow, HidesCompaction
from kvlearn.mvcc.watch import WatchHub


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


def solved(name: str, head: str, **known) -> object:
    exec(f"{head}:\n{EXERCISES[name].solution}", known)
    return known[head.split("(")[0].split()[1]]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("watch/stands_at", "class Mine(Base)"),
        ("watch/has_lost", "class Mine(Base)"),
        ("watch/witness", "def scene(cluster)"),
        ("watch/copy", "def copy_of(client, prefix)"),
    ],
)
def test_the_solution_passes(name, head):
    base = CancelsTooEarly if name == "watch/has_lost" else WatchHub
    judgement = check(solved(name, head, Base=base), name)
    assert judgement.ok is True, str(judgement)


@pytest.mark.parametrize("answer", list(EXERCISES["watch/events"].fact().hints))
def test_a_wrong_list_of_revisions_gets_its_hint(answer):
    exercise = EXERCISES["watch/events"]
    assert check([4, 6, 6, 9], exercise.name).ok is True
    judgement = check(list(answer), exercise.name)
    assert judgement.ok is False and exercise.fact().hints[answer] in plain(judgement)


@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_is_no_mistake(nothing):
    assert check(nothing, "watch/events").ok is None
    assert check(["two"], "watch/events").ok is False


def stands(rule) -> type:
    return type("Mine", (WatchHub,), {"stands_at": rule})


@pytest.mark.parametrize(
    ("cls", "promise", "hint"),
    [
        (ForgetsTheSlow, "Reliable", "Who will ever tell it?"),
        (ForgetsTheQuiet, "Reliable", "held nothing for it"),
        (stands(lambda self, watcher, revision: revision), "Start and Filters", "later"),
        (stands(lambda self, watcher, revision: None), "", "a whole number"),
    ],
)
def test_where_a_watcher_stands_is_judged_by_what_it_misses(cls, promise, hint):
    judgement = check(cls, "watch/stands_at")
    assert judgement.ok is False
    if promise:
        assert judgement.promise == promise and hint in plain(judgement)


@pytest.mark.parametrize(
    ("cls", "hint"), [(CancelsTooEarly, "keeps the state at R"), (HidesCompaction, "it has a gap")]
)
def test_what_is_lost_is_judged_at_the_edge(cls, hint):
    judgement = check(cls, "watch/has_lost")
    assert judgement.ok is False and hint in plain(judgement)


def test_a_blank_is_no_mistake_and_a_raft_is_no_hub():
    assert check(type("Mine", (blank(WatchHub, "stands_at"),), {}), "watch/stands_at").ok is None
    assert "derived from WatchHub" in plain(check(dict, "watch/stands_at"))


def test_a_scene_without_loss_convicts_nobody():
    def nothing_lost(cluster):
        client = cluster.client()
        client.watch("a")
        client.put("a", "1")
        client.compact(2)

    judgement = check(nothing_lost, "watch/witness")
    assert judgement.ok is False and "got away" in plain(judgement)
    assert check("cluster 3", "watch/witness").ok is False
    assert check(lambda cluster: 1 / 0, "watch/witness").ok is False


def pairs_of(answer) -> dict:
    return {kv.key_text: kv.text for kv in answer.kvs}


def from_now_on(client, prefix):
    """Leaves a gap between reading and watching."""
    answer = client.get(prefix, prefix=True)
    return pairs_of(answer), client.watch(prefix, prefix=True)


def from_the_same(client, prefix):
    """Hears of the last change twice."""
    answer = client.get(prefix, prefix=True)
    start = answer.header.revision
    return pairs_of(answer), client.watch(prefix, prefix=True, start_revision=start)


def looked_back(client, prefix):
    """Asks anything for the revision, and reads the pairs of that one."""
    now = client.get("x").header.revision
    answer = client.get(prefix, prefix=True, revision=now)
    return pairs_of(answer), client.watch(prefix, prefix=True, start_revision=now + 1)


def test_pairs_of_an_older_revision_are_a_copy_as_well():
    assert check(looked_back, "watch/copy").ok is True


def watch_first(client, prefix):
    """Hears of what it reads afterwards."""
    watcher = client.watch(prefix, prefix=True)
    return pairs_of(client.get(prefix, prefix=True)), watcher


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        (from_now_on, "nobody told the copy"),
        (from_the_same, "nothing comes twice"),
        (watch_first, "goes back in time"),
        (lambda client, prefix: None, "a dict and a watcher"),
        (lambda client, prefix: (1, 2), "a dict and a watcher"),
        (lambda client, prefix: client.nonsense, "AttributeError"),
    ],
)
def test_a_copy_with_a_gap_or_an_echo_is_noticed(program, hint):
    judgement = check(program, "watch/copy")
    assert judgement.ok is False and hint in plain(judgement)
