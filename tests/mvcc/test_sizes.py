"""The bytes that a backend takes: what is in use, the mark that deletions leave, and what frees it.

The model is a file: it grows to what was in use at any moment, and shrinks when it is written anew.
"""

import copy
import random

import pytest

from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import KeyValue, put_key
from kvlearn.mvcc.store import Store

EMPTY = 17 + 48  # a record without its key and value


def test_an_empty_backend_takes_nothing_and_has_nothing_to_give_back():
    backend = MemoryBackend()
    assert (backend.sizes(), backend.defragment()) == ((0, 0), 0)


def test_a_put_a_tombstone_and_a_sweep():
    store = Store(MemoryBackend())
    sizes = store.backend.sizes
    store.put(b"abc", b"12345")
    assert sizes() == (EMPTY + 8, EMPTY + 8)
    store.put(b"abc", b"1")
    full = 2 * EMPTY + 8 + 4
    assert sizes() == (full, full)
    store.delete(b"abc")
    full += EMPTY + 1 + 3  # the mark, and the key
    assert sizes() == (full, full)
    store.compact(4)
    assert sizes() == (full, full), "a compaction alone makes no room"
    while store.sweeping:
        store.sweep()
    assert sizes() == (full, 0)
    store.put(b"k", b"v")  # it finds room in the file
    assert sizes() == (full, EMPTY + 2)
    assert store.backend.defragment() == full - EMPTY - 2
    assert sizes() == (EMPTY + 2, EMPTY + 2)
    assert store.backend.defragment() == 0


def test_a_smaller_record_in_the_same_place_leaves_room():
    backend = MemoryBackend()
    backend.put(put_key(2, 0), KeyValue(b"k", b"long value"))
    backend.put(put_key(2, 0), KeyValue(b"k", b"v"))
    # Nothing is in the file twice: the old record goes when the new one comes.
    assert backend.sizes() == (EMPTY + 11, EMPTY + 2)


def test_a_defragmentation_commits_the_open_batch():
    backend = MemoryBackend()
    backend.put(b"1", KeyValue(b"k", b"v"))
    backend.set_meta("applied", 1)
    backend.defragment()
    backend.rollback()
    assert (backend.get(b"1"), backend.get_meta("applied")) == (KeyValue(b"k", b"v"), 1)


def test_a_defragmentation_packs_the_pages():
    backend = MemoryBackend(order=4)
    for main in range(40):
        backend.put(put_key(main, 0), KeyValue(b"k", b"v"))
    before, content = len(backend.tree.pages()[-1]), list(backend.range())
    backend.defragment()
    assert (before, len(backend.tree.pages()[-1])) == (13, 10)
    assert list(backend.range()) == content


class File:
    """The model: all records, and the most bytes that they ever took."""

    def __init__(self):
        self.records, self.total = {}, 0

    def change(self, at, record):
        self.records.pop(at, None)
        if record is not None:
            self.records[at] = record
        self.total = max(self.total, self.in_use)

    @property
    def in_use(self):
        return sum(
            len(at) + len(record.key) + len(record.value) + 48
            for at, record in self.records.items()
        )


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_agree_with_the_model(seed):
    rng = random.Random(seed)
    backend, file = MemoryBackend(order=rng.choice([3, 4, 64])), File()
    committed = copy.deepcopy(file)
    for _ in range(120):
        at = put_key(rng.randrange(1, 20), 0) + rng.choice([b"", b"t"])
        record = KeyValue(b"k" * rng.randrange(9), b"v" * rng.choice([0, 3, 50]))
        act = rng.choice(
            "put put put delete delete commit rollback defragment replace copy".split()
        )
        if act == "put":
            backend.put(at, record)
            file.change(at, record)
        elif act == "delete":
            backend.delete(at)
            file.change(at, None)
        elif act == "commit":
            backend.commit()
        elif act == "rollback":
            backend.rollback()
            file = copy.deepcopy(committed)
        elif act == "defragment":
            before, file.total = file.total, file.in_use
            assert backend.defragment() == before - file.total
        elif act == "replace":
            backend.replace([("applied", 1), (at, record)])
            file = File()
            file.change(at, record)
        else:
            backend = copy.deepcopy(backend)
        if act in ("commit", "defragment", "replace"):
            committed = copy.deepcopy(file)
        assert backend.sizes() == (file.total, file.in_use), f"seed {seed}, after {act}"
        assert list(backend.range()) == sorted(file.records.items())
