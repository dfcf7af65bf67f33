"""Batches: a crash between two commits loses exactly what came since the first."""

import copy
import random

import pytest

from kvlearn.mvcc.backend import MemoryBackend


def content(backend):
    return list(backend.range()), backend.get_meta("applied"), backend.get_meta("who", None)


def test_reads_see_the_open_batch():
    backend = MemoryBackend()
    backend.put(b"2", "a")
    backend.set_meta("applied", 7)
    assert backend.get(b"2") == "a"
    assert list(backend.range(b"1", b"3")) == [(b"2", "a")]
    assert backend.get_meta("applied") == 7


def test_facts_have_a_default():
    backend = MemoryBackend()
    assert backend.get_meta("applied") == 0
    assert backend.get_meta("who", "nobody") == "nobody"


def test_a_rollback_restores_overwritten_deleted_and_new_records_and_facts():
    backend = MemoryBackend()
    backend.put(b"1", "one")
    backend.put(b"2", "two")
    backend.set_meta("applied", 2)
    backend.commit()
    committed = content(backend)
    backend.put(b"1", "uno")
    backend.put(b"1", "un")
    backend.delete(b"2")
    backend.put(b"3", "three")
    backend.delete(b"3")
    backend.put(b"4", "four")
    backend.delete(b"5")
    backend.set_meta("applied", 3)
    backend.set_meta("applied", 4)
    backend.set_meta("who", "n1")
    backend.rollback()
    assert content(backend) == committed


@pytest.mark.parametrize("seed", range(40))
def test_random_batches(seed):
    rng = random.Random(seed)
    backend = MemoryBackend(order=rng.choice([3, 4, 64]))
    model, saved = {}, {}
    for _ in range(150):
        key = bytes([rng.randrange(12)])
        match rng.choice(["put", "put", "put", "delete", "commit", "rollback"]):
            case "put":
                record = rng.randrange(1, 1000)
                backend.put(key, record)
                model[key] = record
                backend.set_meta("applied", record)
                model["applied"] = record
            case "delete":
                backend.delete(key)
                model.pop(key, None)
            case "commit":
                backend.commit()
                saved = dict(model)
            case "rollback":
                backend.rollback()
                model = dict(saved)
        records = {key: record for key, record in model.items() if key != "applied"}
        assert list(backend.range()) == sorted(records.items())
        assert backend.get_meta("applied") == model.get("applied", 0)


def test_a_copy_shares_nothing_that_changes():
    backend = MemoryBackend(order=3)
    for number in range(20):
        backend.put(bytes([number]), number)
    backend.set_meta("applied", 1)
    backend.commit()
    committed = content(backend)
    backend.put(b"new", "in the open batch")
    backend.set_meta("applied", 2)
    opened = content(backend)
    twin = copy.deepcopy(backend)
    twin.rollback()
    assert content(twin) == committed
    assert content(backend) == opened
    backend.commit()
    backend.rollback()
    assert content(backend) == opened
