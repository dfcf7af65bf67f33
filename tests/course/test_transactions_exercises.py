"""Exercises of lesson 13: solutions pass, likely mistakes get their hints."""

from __future__ import annotations

import pytest

from kvlearn import mod_revision, put, value, version
from kvlearn.course import check
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises.transactions import transfer_carelessly
from kvlearn.errors import TimedOut

KNOWN = {"mod_revision": mod_revision, "put": put, "version": version, "TimedOut": TimedOut}


def plain(judgement) -> str:
    """Its text in one line."""
    return " ".join(str(judgement).split())


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("transactions/add", "add_to(client, key, amount)"),
        ("transactions/transfer", "transfer(client, source, target, amount)"),
        ("transactions/aba", "meanwhile(client)"),
        ("transactions/order", "order(client, number)"),
    ],
)
def test_the_solution_passes(name, head):
    known = dict(KNOWN)
    exec(f"def {head}:\n{EXERCISES[name].solution}", known)
    judgement = check(known[head.partition("(")[0]], name)
    assert judgement.ok is True, str(judgement)


@pytest.mark.parametrize("answer", list(EXERCISES["transactions/compares"].fact().hints))
def test_a_wrong_choice_of_comparisons_gets_its_hint(answer):
    exercise = EXERCISES["transactions/compares"]
    assert check("b d", exercise.name).ok is True
    judgement = check(list(answer), exercise.name)
    assert judgement.ok is False and exercise.fact().hints[answer] in plain(judgement)


def test_other_letters_are_no_answer():
    assert check([], "transactions/compares").ok is None
    assert "cannot be read" in plain(check(["f"], "transactions/compares"))


def put_the_sum(client, key, amount):
    """Loses what comes between."""
    kv = client.get(key).kv
    client.put(key, str(int(kv.text if kv else 0) + amount))


def tries_once(client, key, amount):
    """Loses its own."""
    kv = client.get(key).kv
    same = mod_revision(key) == (kv.mod_revision if kv else 0)
    new = put(key, str(int(kv.text if kv else 0) + amount))
    client.txn().if_(same).then(new).commit()


@pytest.mark.parametrize("program", [put_the_sum, tries_once])
def test_a_lost_update_is_noticed(program):
    judgement = check(program, "transactions/add")
    assert judgement.ok is False and judgement.title == "An update is lost"


def test_a_program_that_never_ends_is_stopped():
    def stubborn(client, key, amount):
        while not client.txn().if_(version(key) == 99).then(put(key, "1")).commit().succeeded:
            pass

    judgement = check(stubborn, "transactions/add")
    assert judgement.ok is False and "without an end" in plain(judgement)


def test_a_missing_key_has_no_value_that_a_comparison_could_hold_for():
    def by_value(client, key, amount):
        while True:
            old = client.get(key).text or "0"
            new = put(key, str(int(old) + amount))
            if client.txn().if_(value(key) == old).then(new).commit().succeeded:
                return

    judgement = check(by_value, "transactions/add")
    assert judgement.ok is False and "It has no value, not even “0”" in plain(judgement)


def gives_twice(client, source, target, amount):
    """Moves without looking."""
    giver, taker = client.get(source).kv, client.get(target).kv
    client.put(source, str(int(giver.text) - amount))
    client.put(target, str(int(taker.text) + amount))
    return True


@pytest.mark.parametrize("program", [transfer_carelessly, gives_twice])
def test_money_that_is_lost_or_made_is_noticed(program):
    judgement = check(program, "transactions/transfer")
    assert judgement.ok is False and judgement.title == "Money is lost, or made"


@pytest.mark.parametrize(
    ("meanwhile", "title"),
    [
        (lambda client: client.get("door"), "Nothing has happened"),
        (lambda client: client.put("door", "open"), "The guard has noticed it"),
        (lambda client: client.put("door", "closed"), "The door was never open"),
    ],
)
def test_a_guard_is_deceived_by_a_change_and_its_opposite_only(meanwhile, title):
    assert check(meanwhile, "transactions/aba").title == title


def test_a_door_that_was_taken_away_was_not_closed_either():
    def removed(client):
        client.delete("door")
        client.put("door", "closed")

    assert check(removed, "transactions/aba").ok is True


def taken(client, number, *conditions) -> bool:
    stock = client.get("stock").kv
    left = put("stock", str(int(stock.text) - 1))
    txn = client.txn().if_(*conditions).then(put(f"order/{number}", "1"), left)
    return txn.commit().succeeded


def compares_the_stock(client, number):
    """Looks for the order, then reads the stock; the late try may come between."""
    while client.get(f"order/{number}").kv is None:
        seen = client.get("stock").kv
        left = put("stock", str(int(seen.text) - 1))
        same = mod_revision("stock") == seen.mod_revision
        try:
            client.txn().if_(same).then(put(f"order/{number}", "1"), left).commit()
        except TimedOut:
            pass


def reads_the_stock_first(client, number):
    """Right without a comparison of the order: what comes late moves the stock."""
    while True:
        seen = client.get("stock").kv
        if client.get(f"order/{number}").kv is not None:
            return
        left = put("stock", str(int(seen.text) - 1))
        same = mod_revision("stock") == seen.mod_revision
        try:
            client.txn().if_(same).then(put(f"order/{number}", "1"), left).commit()
        except TimedOut:
            pass


def test_a_late_try_may_arrive_between_two_reads():
    judgement = check(compares_the_stock, "transactions/order")
    assert judgement.ok is False and judgement.title == "Stock and orders do not agree"
    assert "arrived just before call 5" in plain(judgement)
    assert check(reads_the_stock_first, "transactions/order").ok is True


def test_an_answer_that_does_not_come_has_to_be_caught():
    assert "Catch it, and look." in plain(check(gives_up, "transactions/order"))


def gives_up(client, number):
    """Does not know of lost answers."""
    taken(client, number)


def takes_no_for_an_answer(client, number):
    """Believes that no answer means not done."""
    while True:
        try:
            return taken(client, number)
        except TimedOut:
            pass


def looks_only(client, number):
    """Looks before it repeats, and forgets that the first try may come later."""
    while client.get(f"order/{number}").kv is None:
        try:
            taken(client, number)
        except TimedOut:
            pass


def hopes(client, number):
    """Takes every failure for done."""
    try:
        taken(client, number, version(f"order/{number}") == 0)
    except TimedOut:
        pass


@pytest.mark.parametrize(
    ("program", "title"),
    [
        (gives_up, "does not come to its end"),
        (takes_no_for_an_answer, "Stock and orders do not agree"),
        (looks_only, "Stock and orders do not agree"),
        (hopes, "An order is missing"),
    ],
)
def test_lost_answers_are_counted(program, title):
    judgement = check(program, "transactions/order")
    assert judgement.ok is False and title in judgement.title
