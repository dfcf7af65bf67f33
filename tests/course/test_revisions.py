"""Exercises of lesson 10: likely mistakes get their hints."""

from __future__ import annotations

import pytest

from kvlearn.course import check


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


@pytest.mark.parametrize(
    ("answer", "exercise", "hint"),
    [
        (7, "count", "not there"),
        (9, "count", "however many keys"),
        (5, "count", "at revision 1"),
        ((2, 8, 5), "numbers", "ends a life"),
        ((6, 9, 3), "numbers", "only y"),
        ((6, 6, 1), "numbers", "same value"),
        ([1, 13], "refused", "empty store"),
        ([-1, 0, 13], "refused", "something else"),
    ],
)
def test_likely_mistakes_are_asked_again(answer, exercise, hint):
    judgement = check(answer, f"revisions/{exercise}")
    assert judgement.ok is False and hint in judgement.why[0]


@pytest.mark.parametrize(
    ("answer", "exercise"), [("six", "count"), ((1, 2), "numbers"), ([7], "refused")]
)
def test_what_cannot_be_an_answer_is_told(answer, exercise):
    assert check(answer, f"revisions/{exercise}").title == "This cannot be read as an answer"


def one_revision_back(client, key):
    reply = client.get(key)
    client.put(key, client.get(key, revision=reply.header.revision - 1).value or b"")


def never_deletes(client, key):
    now = client.get(key)
    before = client.get(key, revision=now.kv.mod_revision - 1)
    client.put(key, before.value or b"")


def raises(client, key):
    client.get(key).kv.nothing


@pytest.mark.parametrize(
    ("undo", "told"),
    [
        (one_revision_back, "other keys were changed meanwhile"),
        (never_deletes, "k holds '', and before its last change it held nothing"),
        (raises, "does not come to its end: AttributeError"),
    ],
)
def test_a_wrong_undo_is_shown(undo, told):
    judgement = check(undo, "revisions/undo")
    assert judgement.ok is False and told in plain(judgement)
