"""What lesson 13's prose says of its seeded runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, delete, get, put, value, version
from kvlearn import check as checks
from kvlearn.course.exercises.transactions import (
    ISOLATIONS,
    add,
    add_safely,
    anomalies,
    beside,
    no_answer,
    two_add,
)
from kvlearn.errors import DuplicateKey, TimedOut, TooManyOps
from kvlearn.recipes import READ_COMMITTED, REPEATABLE_READS, Stm
from kvlearn.viz import fork


def introduced() -> tuple:
    cluster = Cluster(3, seed=13)
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("key1", "foo")
    client.put("key1", "fox")
    example = client.txn().if_(value("key1") > "bar", version("key1") == 2)
    return client, example.then(put("key2", "valueX"), delete("key3")).else_(put("key2", "valueY"))


def test_the_example_takes_then_and_after_one_more_put_else():
    client, example = introduced()
    reply = example.commit()
    assert reply.succeeded and reply.responses[1].deleted == 0 and reply.header.revision == 4
    client.put("key1", "fog")
    assert not example.commit().succeeded
    assert client.get("key2").text == "valueY"
    client.delete("key1")
    client.put("key1", "one")
    client.put("key1", "two")
    assert example.commit().succeeded, "a new life has versions of its own"


def test_a_nested_comparison_sees_the_state_before():
    client, _ = introduced()
    client.put("x", "0")
    inner = client.txn().if_(value("x") == "1").then(put("y", "new")).else_(put("y", "old"))
    client.txn().then(put("x", "1"), inner).commit()
    assert client.get("y").text == "old" and client.get("x").text == "1"


def test_one_revision_with_sub_revisions_and_reads_of_what_was_written():
    client, example = introduced()
    example.commit()
    client.put("key1", "fog")
    example.commit()
    client.put("x", "0")
    client.txn().then(put("x", "1"), put("y", "old")).commit()
    ops = get("k"), put("k", "1"), get("k"), put("j", "2"), delete("y"), get("y")
    reply = client.txn().then(*ops).commit()
    before, _, after, _, deleted, gone = reply.responses
    assert (before.kv, after.text, deleted.deleted, gone.kv) == (None, "1", 1, None)
    assert reply.header.revision == 9
    assert {client.get(key).kv.mod_revision for key in "kj"} == {9}
    watcher = client.watch("", from_key=True, start_revision=9)
    assert [str(watcher.recv()) for _ in range(3)] == ["put k=1", "put j=2", "delete y"]


def test_a_key_twice_is_refused_and_nothing_is_done():
    client, _ = introduced()
    client.put("k", "1")
    with pytest.raises(DuplicateKey):
        client.txn().then(put("k", "2"), put("k", "3")).commit()
    assert client.get("k").text == "1"
    with pytest.raises(TooManyOps):
        client.txn().then(*(put(str(n), "") for n in range(129))).commit()


def test_an_update_is_lost_although_every_answer_is_right():
    cluster = two_add(add)
    assert checks.linearizable(cluster).ok
    assert cluster.client().get("ann").text == "105"
    assert two_add(add_safely).client().get("ann").text == "115"
    told = str(beside(add_safely, add))
    assert "ann has 105" in told and "ann has 115" in told and "else: nothing done" in told


def test_the_memory_tries_twice_when_somebody_comes_between():
    cluster = Cluster(3, seed=4)
    client, other = cluster.client(), cluster.client()
    client.txn().then(put("ann", "100"), put("bob", "50")).commit()
    stm = Stm(client)

    def pay(draft):
        ann, bob = int(draft.text("ann")), int(draft.text("bob"))
        if stm.attempts == 1:
            other.put("ann", "90")
        draft.put("ann", str(ann - 30))
        draft.put("bob", str(bob + 30))

    stm(pay)
    assert stm.attempts == 2
    assert (client.get("ann").text, client.get("bob").text) == ("60", "80")
    told = fork(cluster).text
    assert "put ann=60" in told and "creates stm/" in told, "the third key is its mark"


def test_what_goes_wrong_under_which_isolation():
    found = {
        isolation: [name for name, happens in anomalies(isolation).items() if happens]
        for isolation in ISOLATIONS
    }
    assert found.pop(READ_COMMITTED) == ["lost update", "write skew", "sees two moments"]
    assert found.pop(REPEATABLE_READS) == ["sees two moments"]
    assert list(found.values()) == [[], []]


@pytest.mark.parametrize(("commits", "later"), [(True, "110"), (False, "100")])
def test_no_answer_may_mean_either(commits, later):
    cluster, client = no_answer(commits)
    with pytest.raises(TimedOut, match="whether it was carried out is not known"):
        client.put("ann", "110")
    cluster.heal()
    cluster.run(3)
    assert cluster.client().get("ann").text == later
    assert checks.linearizable(cluster).ok
