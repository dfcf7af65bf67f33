"""Batches: a crash between two commits loses exactly what came since the first."""

import copy
import random

import pytest

from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import KeyValue


@pytest.fixture(params=["memory", "lmdb"])
def backend(request, tmp_path):
    if request.param == "memory":
        yield MemoryBackend(order=3)
        return
    pytest.importorskip("lmdb", reason="without the package lmdb no store lies on a disk")
    from kvlearn.live.lmdb_backend import LmdbBackend

    with LmdbBackend(tmp_path / "store", fsync=False) as opened:
        yield opened


def kv(text) -> KeyValue:
    return KeyValue(b"key", str(text).encode(), 1, 2, 3)


def content(backend):
    return list(backend.range()), backend.get_meta("applied"), backend.get_meta("who", None)


def test_reads_see_the_open_batch(backend):
    backend.put(b"2", kv("a"))
    backend.set_meta("applied", 7)
    assert backend.get(b"2") == kv("a")
    assert backend.get(b"1") is None
    assert list(backend.range(b"1", b"3")) == [(b"2", kv("a"))]
    assert backend.get_meta("applied") == 7


def test_a_range_has_its_start_and_not_its_end(backend):
    for key in (b"5", b"1", b"3"):
        backend.put(key, kv(key))
    keys = [b"1", b"3", b"5"]
    for start, end, found in (
        (None, None, keys),
        (b"", None, keys),
        (b"1", b"5", keys[:2]),
        (b"2", b"6", keys[1:]),
        (None, b"3", keys[:1]),
        (b"3", None, keys[1:]),
        (b"6", None, []),
        (b"3", b"3", []),
        (b"5", b"1", []),
    ):
        assert [key for key, _ in backend.range(start, end)] == found, (start, end)


def test_facts_have_a_default(backend):
    assert backend.get_meta("applied") == 0
    assert backend.get_meta("who", "nobody") == "nobody"


@pytest.mark.parametrize(
    "fact", [0, -1, 2.5, "n1", b"\x00\xff", (), ((7, 60, 3), (8, 5, 0)), kv(1)]
)
def test_a_fact_is_a_value_or_plain_data(backend, fact):
    backend.set_meta("fact", fact)
    backend.commit()
    assert backend.get_meta("fact", None) == fact


def test_a_rollback_restores_overwritten_deleted_and_new_records_and_facts(backend):
    backend.put(b"1", kv("one"))
    backend.put(b"2", kv("two"))
    backend.set_meta("applied", 2)
    backend.commit()
    committed = content(backend)
    backend.put(b"1", kv("uno"))
    backend.put(b"1", kv("un"))
    backend.delete(b"2")
    backend.put(b"3", kv("three"))
    backend.delete(b"3")
    backend.put(b"4", kv("four"))
    backend.delete(b"5")
    backend.set_meta("applied", 3)
    backend.set_meta("applied", 4)
    backend.set_meta("who", "n1")
    backend.rollback()
    assert content(backend) == committed


def test_replace_holds_what_it_is_given_and_nothing_else(backend):
    backend.put(b"1", kv("old"))
    backend.set_meta("who", "n1")
    backend.commit()
    backend.put(b"2", kv("in the open batch"))
    backend.set_meta("applied", 3)
    backend.replace([("applied", 9), (b"3", kv("three")), (b"4", kv("four"))])
    backend.rollback()
    assert content(backend) == ([(b"3", kv("three")), (b"4", kv("four"))], 9, None)
    backend.replace([])
    assert content(backend) == ([], 0, None)


@pytest.mark.parametrize("seed", range(40))
def test_random_batches(backend, seed):
    rng = random.Random(seed)
    if isinstance(backend, MemoryBackend):
        backend = MemoryBackend(order=rng.choice([3, 4, 64]))
    model, saved = {}, {}
    for _ in range(150):
        key = bytes([rng.randrange(12)])
        match rng.choice(["put", "put", "put", "delete", "commit", "rollback"]):
            case "put":
                number = rng.randrange(1, 1000)
                backend.put(key, kv(number))
                model[key] = kv(number)
                backend.set_meta("applied", number)
                model["applied"] = number
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
        backend.put(bytes([number]), kv(number))
    backend.set_meta("applied", 1)
    backend.commit()
    committed = content(backend)
    backend.put(b"new", kv("in the open batch"))
    backend.set_meta("applied", 2)
    opened = content(backend)
    twin = copy.deepcopy(backend)
    twin.rollback()
    assert content(twin) == committed
    assert content(backend) == opened
    backend.commit()
    backend.rollback()
    assert content(backend) == opened
