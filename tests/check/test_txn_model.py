"""Linearizability where transactions and leases are among the operations."""

from __future__ import annotations

from random import Random

import pytest

from kvlearn import Cluster, delete, get, put, value, version
from kvlearn.check import linearizable
from kvlearn.check.histories import Operation
from kvlearn.errors import RequestError
from kvlearn.kv.leases import LeaseRevoke
from kvlearn.kv.requests import Answer, Header, KeyValue, Put, PutResult, Range, RangeResult
from kvlearn.kv.txn import Compare, OpResult, Txn, TxnResult

SWAP = Txn((Compare(b"a", "value", "equal", b"1"),), (Put(b"a", b"2"),), (Range(b"a"),))


def answer(revision: int, result: object) -> Answer:
    return Answer(1, Header(revision=revision), result)


def put_a(text: bytes, revision: int) -> KeyValue:
    return KeyValue(b"a", text, 2, revision, revision - 1)


WROTE = Operation("c1", 0.0, 1.0, Put(b"a", b"1"), answer(2, PutResult()))
SWAPPED = answer(3, TxnResult(True, (OpResult(3, PutResult()),)))


def saw(text: bytes, revision: int, at: int, start: float) -> Operation:
    result = RangeResult((put_a(text, revision),), count=1)
    return Operation("c3", start, start + 1, Range(b"a"), answer(at, result))


def test_a_swap_that_found_its_value():
    history = [WROTE, Operation("c2", 2.0, 3.0, SWAP, SWAPPED), saw(b"2", 3, 3, 4.0)]
    assert linearizable(history).verdict == "ok"


def test_two_swaps_cannot_both_find_the_same_value():
    twice = [Operation(f"c{k}", 2.0, 3.0, SWAP, SWAPPED) for k in (2, 3)]
    later = answer(4, TxnResult(True, (OpResult(4, PutResult()),)))
    assert linearizable([WROTE, *twice]).verdict == "violated"
    history = [WROTE, twice[0], Operation("c3", 2.0, 3.0, SWAP, later)]
    assert linearizable(history).verdict == "violated"


def test_a_swap_that_says_else_saw_another_value():
    told = TxnResult(False, (OpResult(2, RangeResult((put_a(b"1", 2),), count=1)),))
    assert linearizable([WROTE, Operation("c2", 2, 3, SWAP, answer(2, told))]).verdict == "violated"


def test_a_read_after_a_swap_is_not_stale():
    history = [WROTE, Operation("c2", 2.0, 3.0, SWAP, SWAPPED), saw(b"1", 2, 2, 4.0)]
    assert linearizable(history).verdict == "violated"


def test_a_swap_of_unknown_outcome_may_have_come_later_or_never():
    lost = Operation("c2", 2.0, None, SWAP)
    assert linearizable([WROTE, lost, saw(b"1", 2, 2, 4.0)]).verdict == "ok"
    assert linearizable([WROTE, lost, saw(b"1", 2, 2, 4.0), saw(b"2", 3, 3, 6.0)]).verdict == "ok"
    backwards = [WROTE, lost, saw(b"2", 3, 3, 4.0), saw(b"1", 2, 2, 6.0)]
    assert linearizable(backwards).verdict == "violated"


def test_keys_go_with_their_lease_and_not_without():
    held = Operation("c1", 0.0, 1.0, Put(b"a", b"1", lease=7), answer(2, PutResult()))
    gone = Operation("c2", 5.0, 6.0, Range(b"a"), answer(3, RangeResult()))
    ended = Operation("n1", 3.0, None, LeaseRevoke(7))
    other = Operation("n1", 3.0, None, LeaseRevoke(8))
    swap = Operation("c4", 7.0, 8.0, Txn(), answer(3, TxnResult(True)))
    assert linearizable([held, ended, gone, swap]).verdict == "ok"
    assert linearizable([held, other, gone, swap]).verdict == "violated"


@pytest.mark.parametrize("seed", range(12))
def test_real_runs_are_linearizable(seed):
    """Replay: pytest tests/check/test_txn_model.py -k 'real_runs and [SEED]'"""
    rng = Random(seed)
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    clients = [cluster.client(timeout_s=1.0) for _ in range(3)]
    leases = [clients[0].lease(2), clients[1].lease(3).keep_alive()]
    for step in range(40):
        client, key = rng.choice(clients), rng.choice("abc")
        if step in (15, 30):
            cluster.crash(cluster.leader)
        if step in (20, 35):
            for name, node in cluster.nodes.items():
                if not node.alive:
                    cluster.restart(name)
        try:
            match rng.randrange(5):
                case 0:
                    client.put(key, str(step), lease=rng.choice([None, *leases]))
                case 1:
                    client.get("a", range_end="d")
                case 2:
                    client.delete(key)
                case 3:
                    seen = client.get(key)
                    swap = value(key) == seen.text if seen.kvs else version(key) == 0
                    ops = put(key, f"s{step}"), get("a", range_end="d")
                    client.txn().if_(swap).then(*ops).else_(get(key)).commit()
                case 4:
                    client.txn().then(delete("a", range_end="c"), get(key), put("c", "x")).commit()
        except RequestError:
            pass
        cluster.run(rng.random() / 5)
    assert linearizable(cluster.trace).verdict == "ok"
