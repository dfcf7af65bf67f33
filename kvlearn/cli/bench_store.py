"""`kvlearn bench store`: the store beside a sorted dictionary, a plain one, and LMDB.

A goal is a ratio of two medians of the same rounds, so that a busy machine slows both sides. The
store keeps every version and the sorted dictionary only the newest: that is what the fifths allow
for. Batches are committed every so often, as a node does after each Ready.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from itertools import islice
from random import Random
from time import perf_counter, process_time

from sortedcontainers import SortedDict

from kvlearn.kv.config import StoreConfig
from kvlearn.mvcc import MemoryBackend, Store
from kvlearn.mvcc.watch import WatchHub

PUTS = 100_000  # of a round
HOT_KEYS = 10_000  # that random puts overwrite
COMMIT_EVERY = 100
REVISIONS = 1_000_000  # held in memory, and compacted
LIVE = 100_000  # keys that the compaction leaves
SWEEP_RECORDS = StoreConfig().sweep_records
WATCHERS = 1_000
INTERVAL = 100  # keys of a range

Pairs = list[tuple[bytes, bytes]]
Row = tuple[str, float, str, str]


def some_pairs(order: str, count: int = PUTS) -> Pairs:
    """`count` pairs with keys of 12 bytes: in "sequence", "shuffled", or few keys "overwritten"."""
    rng = Random(1)
    numbers = list(range(count))
    if order == "shuffled":
        rng.shuffle(numbers)
    elif order == "overwritten":
        numbers = [rng.randrange(HOT_KEYS) for _ in numbers]
    return [(b"key-%08d" % key, b"value-%08d" % at) for at, key in enumerate(numbers)]


def filled(pairs: Iterable[tuple[bytes, bytes]]) -> Store:
    """A store with these pairs, one revision each."""
    store = Store(MemoryBackend())
    put, commit = store.put, store.backend.commit
    for count, (key, value) in enumerate(pairs):
        put(key, value)
        if count % COMMIT_EVERY == 0:
            commit()
    return store


def inserted(pairs: Pairs) -> SortedDict:
    """The peer: a sorted dictionary with these pairs."""
    held = SortedDict()
    for key, value in pairs:
        held[key] = value
    return held


def timed(work: Callable, *args) -> float:
    """Seconds that the work takes, with no garbage of others to collect."""
    gc.collect()
    start = perf_counter()
    made = work(*args)
    spent = perf_counter() - start
    del made
    return spent


def get_all(store: Store, keys: list[bytes]) -> None:
    """Look every key up."""
    get = store.get
    for key in keys:
        get(key)


def look_up(held: SortedDict, keys: list[bytes]) -> None:
    """The peer."""
    for key in keys:
        held[key]


def in_turn(rounds: int, *works: Callable[[], float]) -> list[float]:
    """The median of each work's figures, taken in turn."""
    taken = [[work() for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken)]


def beside(what: str, peer: str, goal: str, peer_s: float, own_s: float, each: int) -> list[Row]:
    """Rows of a figure, its peer's, and their ratio."""
    return [
        (what, own_s / each * 1e6, "µs", ""),
        (f"  {peer}", peer_s / each * 1e6, "µs", "the peer"),
        ("  ratio", 100 * peer_s / own_s, "%", goal),
    ]


def bench_puts(rounds: int) -> list[Row]:
    """Rows on writing."""
    rows = []
    for what, order, goal in (
        ("put, new keys in sequence", "sequence", "goal: at least 20 %"),
        ("put, new keys in random order", "shuffled", "goal: at least 20 %"),
        ("put, 10 k keys overwritten", "overwritten", ""),
    ):
        pairs = some_pairs(order)
        peer, own = in_turn(rounds, lambda: timed(inserted, pairs), lambda: timed(filled, pairs))
        rows += beside(what, "SortedDict", goal or "it assigns, the store inserts", peer, own, PUTS)
        if order == "overwritten":
            # What the store does here is to insert: no version replaces another.
            versions = [((key, at), value) for at, (key, value) in enumerate(pairs)]
            all_of_them = in_turn(rounds, lambda: timed(inserted, versions))[0]
            rows += [
                ("  SortedDict, all versions", all_of_them / PUTS * 1e6, "µs", "(key, revision)"),
                ("  ratio", 100 * all_of_them / own, "%", "goal: at least 20 %"),
            ]
    return rows


def bench_reads(rounds: int) -> list[Row]:
    """Rows on reading the present: a key, and an interval."""
    pairs = some_pairs("sequence")
    store, held = filled(pairs), inserted(pairs)
    keys = [key for key, _ in pairs]
    Random(2).shuffle(keys)
    peer, own = in_turn(
        rounds,
        lambda: timed(look_up, held, keys),
        lambda: timed(get_all, store, keys),
    )
    rows = beside("get", "SortedDict lookup", "goal: at least 20 %", peer, own, len(keys))
    starts = [key for key, _ in pairs[:-INTERVAL:INTERVAL]]
    ends = [key for key, _ in pairs[INTERVAL::INTERVAL]]

    def ranges() -> None:
        for start, end in zip(starts, ends):
            store.range(start, end)

    try:
        import lmdb
    except ImportError:
        figure = statistics.median(timed(ranges) for _ in range(rounds)) / len(starts) * 1e6
        return [*rows, ("range of 100 keys", figure, "µs", "no ratio: lmdb is not installed")]
    with tempfile.TemporaryDirectory() as folder:
        with lmdb.open(folder, map_size=1 << 28) as disk:
            with disk.begin(write=True) as txn:
                for key, value in pairs:
                    txn.put(key, value)
            peer, own = in_turn(rounds, lambda: timed(walk, disk, starts), lambda: timed(ranges))
    goal = "goal: at least 30 %"
    return rows + beside("range of 100 keys", "LMDB cursor", goal, peer, own, len(starts))


def walk(disk, starts: list[bytes]) -> None:
    """The peer of ranges: 100 pairs from each start, through one cursor."""
    with disk.begin() as txn:
        cursor = txn.cursor()
        for start in starts:
            cursor.set_range(start)
            list(islice(cursor, INTERVAL))


# Memory ------------------------------------------------------------------------------------------


def memory_pairs(keys: int, value_bytes: int) -> Iterable[tuple[bytes, bytes]]:
    """A million pairs, one by one; keys of 8 bytes, another object each time, as from a wire."""
    for at in range(REVISIONS):
        yield b"%08d" % (at * 7919 % keys), b"%0*d" % (value_bytes, at)


def hold(what: str, keys: int, value_bytes: int) -> object:
    """Hold a million pairs in a "store", or in a "dict": key -> value if all keys are different,
    otherwise revision -> (key, value), with one object for each key."""
    pairs = memory_pairs(keys, value_bytes)
    if what == "store":
        store = filled(pairs)
        store.backend.commit()
        return store
    if keys == REVISIONS:
        return dict(pairs)
    names: dict[bytes, bytes] = {}
    return {at: (names.setdefault(key, key), value) for at, (key, value) in enumerate(pairs, 2)}


def resident() -> int:
    """Bytes of memory that this process has now, or where it cannot tell the most it had."""
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def held_bytes(what: str, keys: int, value_bytes: int) -> int:
    """By how much a fresh Python grows when it holds that."""
    code = (
        "import gc\nfrom kvlearn.cli.bench_store import hold, resident\n"
        f"before = resident(); held = hold({what!r}, {keys}, {value_bytes}); gc.collect()\n"
        "print(resident() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def bench_memory() -> list[Row]:
    """Rows on holding 1 M revisions; once each, for memory hardly varies."""
    rows = []
    for what, keys, value_bytes in (
        ("1 M keys, values of 8 bytes", REVISIONS, 8),
        ("1 M keys, values of 64 bytes", REVISIONS, 64),
        ("10 k keys x 100 versions, 8 bytes", REVISIONS // 100, 8),
    ):
        own, peer = (held_bytes(kind, keys, value_bytes) for kind in ("store", "dict"))
        peers = "key -> value" if keys == REVISIONS else "revision -> (key, value)"
        rows += [
            (what, own / 1e6, "MB", "resident"),
            (f"  dict {peers}", peer / 1e6, "MB", "the peer"),
            ("  ratio", 100 * own / peer, "%", "goal: at most 250 %"),
        ]
    return rows


# Stops -------------------------------------------------------------------------------------------


def bench_compaction() -> list[Row]:
    """Rows on the longest time that a compaction of 1 M revisions to 100 k keys stops a node.

    Counted in the processor time of this process: the longest of 500 steps would otherwise be the
    longest time that another program had the processor.
    """
    rng = Random(3)
    numbers = list(range(LIVE)) + [rng.randrange(LIVE) for _ in range(REVISIONS - LIVE)]
    store = filled((b"key-%08d" % key, b"value") for key in numbers)
    store.backend.commit()
    gc.collect()
    start = process_time()
    store.compact(store.revision)
    asked = process_time() - start
    steps = []
    while store.sweeping:
        start = process_time()
        store.sweep(SWEEP_RECORDS)
        store.backend.commit()
        steps.append(process_time() - start)
    assert len(store.index) == LIVE
    return [
        ("compact 1 M revisions to 100 k", 1000 * asked, "ms", "goal: at most 20 ms"),
        (
            f"  longest sweep of {SWEEP_RECORDS:,} records",
            1000 * max(steps),
            "ms",
            "goal: at most 20 ms",
        ),
        ("  median sweep", 1000 * statistics.median(steps), "ms", f"{len(steps)} steps"),
        ("  all of them", sum(steps), "s", ""),
    ]


def bench_watch(rounds: int, revisions: int = 20) -> list[Row]:
    """Rows on telling 1,000 watchers of a change, each on a stream of its own or all on one."""
    rows = []
    for what, streams in (
        ("watchers of one key, a stream each", WATCHERS),
        ("  all on one stream", 1),
    ):
        store = Store(MemoryBackend())
        hub = WatchHub(store, capacity=2 * WATCHERS)
        for number in range(WATCHERS):
            hub.create(f"w{number % streams}", b"key")
        for name in list(hub.streams):
            hub.take(name)
        taken = [notify(store, hub) for _ in range(rounds * revisions)]
        figure = statistics.median(taken) / WATCHERS * 1e6
        rows.append((what, figure, "µs a watcher", "goal: under 2"))
    return rows


def notify(store: Store, hub: WatchHub) -> float:
    """Seconds to hand one change to all watchers and to take what their streams bring."""
    with store.write() as txn:
        txn.put(b"key", b"value")
    start = perf_counter()
    hub.notify(txn.changes)
    told = sum(len(hub.take(name)) for name in list(hub.streams))
    spent = perf_counter() - start
    assert told == WATCHERS
    return spent


def bench_store(rounds: int) -> list[Row]:
    """Rows (what, median, unit, remark) on the store."""
    rows = bench_puts(rounds) + bench_reads(rounds) + bench_memory()
    return rows + bench_compaction() + bench_watch(rounds)
