"""kill -9: whatever a process was about, its folder holds whole batches and each entry once."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from kvlearn.kv.machine import KVMachine
from kvlearn.mvcc.backend import MemoryBackend

pytest.importorskip("lmdb", reason="without the package lmdb no store lies on a disk")

from kvlearn.live import lmdb_pages  # noqa: E402
from kvlearn.live.lmdb_backend import LmdbBackend  # noqa: E402
from tests.live.writer import entry  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def killed_after(folder: Path, seed: str, lines: int) -> list[str]:
    """What a writer said, who was killed at some instant after its line number `lines`."""
    command = [sys.executable, "-m", "tests.live.writer", str(folder), seed]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        try:
            said = [writer.stdout.readline() for _ in range(lines)]
        finally:
            writer.kill()
        said += writer.stdout.read().splitlines()
    whole = [line.split() for line in said]
    return [line for line in whole if len(line) == 2]


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_process_leaves_whole_batches_and_applies_nothing_twice(tmp_path, seed):
    rng = random.Random(seed)
    folder, memory = tmp_path / "n1", KVMachine(MemoryBackend())
    for kill in range(3):
        said = killed_after(folder, f"{seed} {kill}", lines=rng.randrange(2, 120))
        assert said and said[0] == ["opened", str(memory.applied)]
        known = max(int(index) for word, index in said if word != "open")
        lmdb_pages.check(folder)
        with LmdbBackend(folder, fsync=False) as backend:
            machine = KVMachine(backend)
            # A commit may have come through whose line did not.
            assert machine.applied >= known, f"a durable batch is lost: {said[-3:]}"
            while memory.applied < machine.applied:
                index = memory.applied + 1
                memory.apply(index, 1, entry(index))
            assert machine.revision == machine.applied + 1, "each entry made one revision"
            assert machine.store.hash() == memory.store.hash()
            assert machine.save() == memory.save()
