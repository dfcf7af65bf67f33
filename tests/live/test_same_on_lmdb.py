"""The tests of the store and of the machine once more, each MemoryBackend an LMDB file instead.

What they promise, they promise of every backend; so a test that is added there holds here, too.
"""

from __future__ import annotations

from itertools import count
from types import FunctionType

import pytest

from tests.kv import test_machine
from tests.mvcc import test_compaction, test_store

pytest.importorskip("lmdb", reason="without the package lmdb no store lies on a disk")

from kvlearn.live.lmdb_backend import LmdbBackend, decode  # noqa: E402

MODULES = test_store, test_compaction, test_machine
SEEDS = 4


@pytest.fixture(autouse=True)
def on_lmdb(tmp_path, monkeypatch):
    """Whoever asks for a MemoryBackend gets a folder of its own."""
    opened, number = [], count()

    class OnDisk(LmdbBackend):
        def __init__(self, order: int = 64):
            super().__init__(tmp_path / str(next(number)), map_bytes=1, fsync=False)
            opened.append(self)

        def __deepcopy__(self, memo: dict) -> OnDisk:
            """What is committed in another folder, and the open batch again on top of it."""
            twin = OnDisk()
            with self._env.begin() as committed:
                records = [(at, decode(data)) for at, data in committed.cursor(self._records)]
                facts = list(committed.cursor(self._facts))
            twin.replace(records)
            for name, fact in facts:
                twin._write(twin._facts, name, fact)
            twin.commit()
            trees = {self._records: twin._records, self._facts: twin._facts}
            for tree, key, data in self._batch:
                twin._write(trees[tree], key, data)
            return twin

    for module in MODULES:
        monkeypatch.setattr(module, "MemoryBackend", OnDisk)
    yield
    for backend in opened:
        backend.close()


def again(test: FunctionType) -> FunctionType:
    """The same test; of a range of seeds the first four, since opening files takes time."""
    twin = FunctionType(test.__code__, test.__globals__, test.__name__, test.__defaults__)
    twin.pytestmark = [
        pytest.mark.parametrize(mark.args[0], mark.args[1][:SEEDS]).mark
        if isinstance(mark.args[1], range)
        else mark
        for mark in getattr(test, "pytestmark", ())
    ]
    return twin


SHARED = {
    f"{name}_of_{module.__name__.rpartition('_')[2]}": again(thing)
    for module in MODULES
    for name, thing in vars(module).items()
    if name.startswith("test_") and isinstance(thing, FunctionType)
}
globals().update(SHARED)
do = test_machine.do


def test_they_are_on_files():
    assert isinstance(test_store.filled().backend, LmdbBackend)
    assert isinstance(test_machine.Driver().machine.backend, LmdbBackend)
    assert len(SHARED) > 40
