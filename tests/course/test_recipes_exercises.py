"""Exercises of lesson 15: solutions pass, likely mistakes get their hints."""

from __future__ import annotations

import pytest

from kvlearn import create_revision, put
from kvlearn.course import check
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises.recipes import FencedFile, File
from kvlearn.recipes import Lock

KNOWN = {"create_revision": create_revision, "put": put, "Lock": Lock}
HEADS = {
    "recipes/fence": "may_write(newest, token)",
    "recipes/try_lock": "try_lock(client, key, lease)",
    "recipes/bind": "bind(informer, node, room)",
    "recipes/witness": "two_holders(cluster, file)",
}


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


def answer(name: str, body: str) -> object:
    """The function that an exercise asks for, with this body."""
    head, known = HEADS[name], dict(KNOWN)
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    exec(f"def {head}:\n{lines}", known)
    return known[head.partition("(")[0]]


@pytest.mark.parametrize("name", HEADS)
def test_the_solution_passes(name):
    body = EXERCISES[name].solution.replace("\n    ", "\n").removeprefix("    ")
    judgement = check(answer(name, body), name)
    assert judgement.ok is True, str(judgement)


@pytest.mark.parametrize("name", HEADS)
def test_nothing_written_is_no_mistake(name):
    def nothing(*_):
        # your answer
        pass

    assert check(nothing, name).ok is None and check(None, name).ok is None


@pytest.mark.parametrize("name", HEADS)
def test_what_is_no_function_is_told_so(name):
    assert check(7, name).ok is False


def test_who_prints_is_predicted_and_likely_mistakes_have_hints():
    exercise = EXERCISES["recipes/line"]
    fact = exercise.fact()
    assert check(["c5", "c3"], "recipes/line").ok is True and fact.actual == ("c3", "c5")
    for wrong, hint in fact.hints.items():
        judgement = check(list(wrong), "recipes/line")
        assert judgement.ok is False and hint in plain(judgement.why[0])
    assert "none of the clients" in plain(check("c9", "recipes/line"))


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ("return token > newest", "A holder may write only once"),
        ("return True", "One who overslept writes all the same"),
        ("return token <= newest", "The new holder may not write"),
        ("return newest == 0 or token == newest", "The new holder may not write"),
    ],
)
def test_a_fence_with_a_hole_is_told(body, title):
    assert check(answer("recipes/fence", body), "recipes/fence").title == title


TAKE = """
txn = client.txn().if_(create_revision(key) == 0).then(put(key, "mine", lease=lease))
reply = txn.commit()
"""
ASK_FIRST = """
if client.get(key).kvs:
    return None
reply = client.put(key, "mine", lease=lease)
return reply.header.revision
"""


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ("return client.put(key, 'mine', lease=lease).header.revision",
         "It took the lock from its holder"),
        (ASK_FIRST, "Two took the lock, one after the other"),
        (TAKE + "return reply.header.revision", "It believes that it holds"),
        (TAKE + "return None", "It holds, and does not know"),
        (TAKE + "return reply.succeeded", "That is no fencing token"),
        (TAKE + "return 77 if reply.succeeded else None", "That is no fencing token"),
        (TAKE.replace(", lease=lease", "")
         + "return reply.header.revision if reply.succeeded else None",
         "A lock that outlives its holder"),
        ("return None", "It did not take a free lock"),
    ],
)  # fmt: skip
def test_a_lock_with_a_hole_is_told(body, title):
    judgement = check(answer("recipes/try_lock", body), "recipes/try_lock")
    assert judgement.ok is False and judgement.title == title, str(judgement)


NEW = "new = [kv for kv in informer.cache.values() if kv.text == 'new']\n"


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (NEW + "for kv in new[:room]: informer._client.put(kv.key, node)\n"
         "return [kv.key_text for kv in new[:room]]", "One pod runs on two nodes"),
        ("for kv in list(informer.cache.values()): informer.replace(kv.key, node)\n"
         "return list(informer.cache)", "One pod runs on two nodes"),
        (NEW + "for kv in new: informer.replace(kv.key, node)\n"
         "return [kv.key_text for kv in new]", "The node is too full"),
        (NEW + "return [kv.key_text for kv in new[:room] if informer.replace(kv.key, node)]",
         "A pod is left without a node"),
        (NEW + "mine = []\nfor kv in new:\n  if len(mine) < room:\n    "
         "informer.replace(kv.key, node)\n    mine.append(kv.key_text)\nreturn mine",
         "It believes something else than the store"),
    ],
)  # fmt: skip
def test_a_scheduler_with_a_hole_is_told(body, title):
    judgement = check(answer("recipes/bind", body), "recipes/bind")
    assert judgement.ok is False and judgement.title == title, str(judgement)


# Two holders ------------------------------------------------------------------------------------

TWO = 'one, other = (Lock(cluster.client(), "report", ttl_s=5) for _ in range(2))\none.acquire()\n'


def test_a_sleeping_client_is_not_allowed():
    judgement = check(answer("recipes/witness", TWO + 'cluster.pause("c1")'), "recipes/witness")
    assert judgement.ok is False and "all clients are awake" in judgement.title


def test_a_file_that_is_not_damaged_is_told():
    body = TWO + 'file.write(one, "a")'
    judgement = check(answer("recipes/witness", body), "recipes/witness")
    assert judgement.ok is False and judgement.title == "The file is not damaged"
    assert "token 2: 'a' is taken" in plain(judgement)


@pytest.mark.parametrize("rate", [1, 2])
def test_a_clock_that_is_too_slow_gets_the_hint_of_the_other_failure(rate):
    clock = f"cluster.clock(cluster.wait_for_leader()).rate = {rate}\n"
    judgement = check(answer("recipes/witness", clock + TWO + "other.acquire()"), "recipes/witness")
    assert judgement.ok is False and "not free in time" in judgement.title
    assert "every third of its time" in plain(judgement)


def test_a_writer_without_the_lock_is_no_honest_one():
    body = TWO + 'file.write(other, "b")'
    judgement = check(answer("recipes/witness", body), "recipes/witness")
    assert judgement.ok is False and "an honest program does not write" in plain(judgement)


class Holding:
    """Somebody who shows this token."""

    def __init__(self, token):
        self.token = token


@pytest.mark.parametrize(("kind", "damaged"), [(File, True), (FencedFile, False)])
def test_a_file_tells_when_it_is_damaged(kind, damaged):
    file = kind()
    taken = [file.write(Holding(token), f"by {token}") for token in (2, 2, 5, 2, 5)]
    assert taken == [True, True, True, damaged, True]
    assert file.damage == (("by 2", "by 5") if damaged else None)
    assert file.told()[-1].startswith("✗ damaged" if damaged else "✓ in order")
