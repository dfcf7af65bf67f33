"""Exercises of lesson 11: likely mistakes get their hints."""

from __future__ import annotations

import pytest

from kvlearn.course import check
from kvlearn.course.store_mutants import CountsRecords, Pair, TakesAllBelow
from kvlearn.errors import Compacted
from kvlearn.mvcc.store import Store


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


@pytest.mark.parametrize(
    ("answer", "exercise", "hint"),
    [
        ([5, 8, 8, 11], "lookup", "mark (t)"),
        ([5, 5, 5, 11], "lookup", "what was before"),
        ([6, None, None, 13], "lookup", "another key"),
        ([5, 0, 0, 0], "lookup", "new life"),
        ([3, 8, 8, 11], "lookup", "which is newer, 3 or 5"),
        ([8, None, None, 11], "lookup", "8 is above 6"),
        ([None, None, None, 11], "lookup", "A read at 6 finds job. It was put at 5."),
        ([5, 5, None, 11], "lookup", "seen by a read at 8"),
        ([5, None, None, 8], "lookup", "which is newer, 8 or 11"),
        (["8.1", 10, 11, 12], "left", "key3 is deleted at 12"),
        ([8.0, 8.1, 10.0, 11.0], "left", "newer than 11"),
        (["10.0", "11.0", "12.0"], "left", "key4 was put once"),
        (["8.0", "8.1", "9.0", "10.0", "11.0", "12.0"], "left", "needs 9.0"),
        (["8.1", "9.0", "10.0", "11.0", "12.0"], "left", "At 8.0 key3 was put"),
        (["2.0", "8.1"], "left", "Who needs 2.0? key1 was changed again at 3.0"),
    ],
)
def test_likely_mistakes_are_asked_again(answer, exercise, hint):
    judgement = check(answer, f"trees/{exercise}")
    assert judgement.ok is False and hint in judgement.why[0]


@pytest.mark.parametrize(
    ("answer", "exercise"),
    [([1, 2], "lookup"), (["x", 1, 2, 3], "lookup"), (["seven"], "left"), (object(), "left")],
)
def test_what_cannot_be_an_answer_is_told(answer, exercise):
    assert check(answer, f"trees/{exercise}").title == "This cannot be read as an answer"


@pytest.mark.parametrize(
    ("stays", "told"),
    [
        (lambda changes, revision: changes, "stays, and nobody"),
        (lambda changes, revision: [c for c in changes if c.revision >= revision], "finds nothing"),
        (lambda changes, revision: [], "finds nothing"),
        (
            lambda changes, revision: list(
                {c.key: c for c in changes if c.revision <= revision}.values()
            ),
            "is newer than",
        ),
        (
            lambda changes, revision: [
                *{c.key: c for c in changes if c.revision <= revision}.values(),
                *(c for c in changes if c.revision > revision),
            ],
            "It deletes a",
        ),
        (lambda changes, revision: None, "no list"),
        (lambda changes, revision: 1 / 0, "ZeroDivisionError"),
        (lambda changes, revision: [99], "there is no such change"),
    ],
)
def test_a_wrong_compaction_is_shown(stays, told):
    judgement = check(stays, "trees/stays")
    assert judgement.ok is False and told in plain(judgement)


@pytest.mark.parametrize(
    ("moves", "hint"),
    [
        (lambda store: store.put("a", "1"), "learn its revision"),
        (lambda store: (store.put("a", "1"), store.restart()), "every record is there"),
        (
            lambda store: (store.put("a", "1"), store.compact(2), store.restart()),
            "Unless it is what",
        ),
        (
            lambda store: (
                store.put("a", "1"),
                store.delete("a"),
                store.put("b", "1"),
                store.compact(3),
                store.restart(),
            ),
            "carries the newest revision",
        ),
        (lambda store: store.compact(9), "does not come to its end"),
    ],
)
def test_moves_that_show_nothing_get_a_hint(moves, hint):
    judgement = check(moves, "trees/goes-back")
    assert judgement.ok is False and hint in plain(judgement)


def rescue(cluster, *, wait=1.0, who=None, disarm=True, compact=True, first=False):
    """The way out, with a mistake; `compact`: the revision, True for the newest."""
    client = cluster.client()
    names = cluster.nodes if who is None else who
    for name in cluster.nodes if first else ():
        cluster.client(name).defragment()
    if compact:
        client.compact(client.get("k0").header.revision if compact is True else compact)
    cluster.run(wait)
    for name in names:
        cluster.client(name).defragment()
    if disarm:
        client.disarm()


def deletes(cluster):
    cluster.client().delete("k0")
    rescue(cluster)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            lambda cluster: rescue(cluster, wait=0),
            "You defragmented before the sweep was done: wait, or `physical=True`.",
        ),
        (
            lambda cluster: rescue(cluster, compact=False),
            "Nothing was compacted: every record is still needed.",
        ),
        (lambda cluster: rescue(cluster, compact=5), "Much of the history is still there"),
        (lambda cluster: rescue(cluster, first=True, who=[]), "before anything was compacted"),
        (lambda cluster: rescue(cluster, who=["n1"]), "A put through n2 is refused"),
        (lambda cluster: rescue(cluster, who=["n1"]), "n2 was not defragmented"),
        (lambda cluster: rescue(cluster, disarm=False), "There is room, but"),
        (deletes, "k0 is gone"),
    ],
)
def test_a_rescue_that_fails_says_where(wrong, told):
    judgement = check(wrong, "trees/rescue")
    assert judgement.ok is False and told in plain(judgement)


@pytest.mark.parametrize("physical", [True, False])
def test_a_rescue_that_waits_for_the_sweeps_passes(physical):
    def rescues(cluster):
        client = cluster.client()
        client.compact(client.get("k0").header.revision, physical=physical)
        cluster.run(1.0)
        for name in cluster.nodes:
            cluster.client(name).defragment()
        client.disarm()

    assert check(rescues, "trees/rescue").ok is True


def test_a_pair_agrees_for_the_store_and_refuses_what_the_store_refuses():
    pair = Pair(Store)
    pair.put("a", "1", "b", "1")
    pair.delete("nobody")
    pair.delete("a")
    assert pair.revision == 3 and pair.differences() == []
    pair.compact(3)
    pair.restart()
    assert pair.differences() == []
    with pytest.raises(Compacted):
        pair.compact(3)


def test_a_lost_record_and_a_lost_revision_are_seen():
    for kind, question in ((TakesAllBelow, "get a"), (CountsRecords, "revision")):
        pair = Pair(kind)
        pair.put("a", "1")
        pair.put("b", "1")
        pair.delete("b")
        pair.compact(4)
        pair.restart()
        assert question in [one.question for one in pair.differences()]
