"""A process that writes until it is killed: `python -m tests.live.writer FOLDER SEED`.

Entry i of the log puts one or two keys, so that every entry makes one revision. It applies them
from where the folder stands, in batches of random size, and prints a line when a batch is durable
(`committed 17`) and one in the middle of the next (`open 19`).
"""

from __future__ import annotations

import random
import sys

from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, Put
from kvlearn.kv.txn import Txn
from kvlearn.live.lmdb_backend import LmdbBackend


def entry(index: int) -> Command:
    """What the log holds at `index`; values up to some pages, so that large ones overflow."""
    rng = random.Random(index)
    puts = tuple(
        Put(b"key %d" % rng.randrange(at, 40, 2), rng.randbytes(rng.choice([3, 100, 9000])))
        for at in range(rng.choice([1, 1, 2]))
    )
    return Command("n1", index, puts[0] if len(puts) == 1 else Txn(success=puts))


def write(folder: str, rng: random.Random) -> None:
    """Apply entries for ever."""
    backend = LmdbBackend(folder, map_bytes=1, fsync=False)  # so that the map has to grow, too
    machine = KVMachine(backend)
    print("opened", machine.applied, flush=True)
    while True:
        for _ in range(rng.choice([1, 2, 5, 30])):
            index = machine.applied + 1
            result, error = machine.apply(index, 1, entry(index))
            assert error is None
            if rng.random() < 0.2:
                print("open", machine.applied, flush=True)
        backend.commit()
        print("committed", machine.applied, flush=True)
        if rng.random() < 0.05:
            backend.defragment()
            print("defragmented", machine.applied, flush=True)


if __name__ == "__main__":
    write(sys.argv[1], random.Random(sys.argv[2]))
