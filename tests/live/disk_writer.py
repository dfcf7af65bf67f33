"""Uses a member's disk until it is killed: `python -m tests.live.disk_writer DIR SEED`.

It appends entries, applies them, flushes and compacts by chance, and prints `safe 17` when the
entry 17 was forced.
"""

from __future__ import annotations

import sys
from random import Random

from kvlearn.kv.requests import Command, Put
from kvlearn.live.storage import Storage
from kvlearn.mvcc.revision import KeyValue, put_key
from kvlearn.raft.types import Entry, EntryID, HardState, Ready


def entry(index: int) -> Entry:
    """What the log holds at `index`."""
    value = Random(index).randbytes(index % 7 * 300)
    return Entry(index, 1, Command("n1", index, Put(b"key %d" % index, value)))


def write(folder: str, rng: Random) -> None:
    """Go on where the folder stands, for ever."""
    with Storage(folder, quota_bytes=1 << 24, segment_bytes=1 << 16) as storage:
        start, backend = storage.start(), storage.backend
        last, applied = storage.last.index, backend.get_meta("applied")
        print("opened", start.boot, flush=True)
        while True:
            new = tuple(entry(last + n) for n in range(1, rng.randrange(2, 12)))
            storage.write(Ready(HardState(1, "n1", last), new))
            storage.sync()
            last = new[-1].index
            print("safe", last, flush=True)
            for index in range(applied + 1, last + 1):
                put = entry(index).data.request
                backend.put(put_key(index, 0), KeyValue(put.key, put.value, index, index, 1))
                backend.set_meta("applied", index)
            backend.commit()
            applied = last
            if rng.random() < 0.1:
                storage.flush()
            if rng.random() < 0.05 and last - 20 > storage.base.index:
                storage.compact(EntryID(1, last - 20))


if __name__ == "__main__":
    write(sys.argv[1], Random(sys.argv[2]))
