"""`kvlearn bench`: how fast it is, measured side by side with a peer in the same run.

Machines differ and are busy, so every figure is taken several times, in turn with its peer, and
the medians' ratio is what counts. Virtual seconds a wall second tell how long a student waits.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import statistics
import subprocess
import sys
from collections.abc import Callable
from random import Random
from time import perf_counter

VIRTUAL_S = 20.0  # of the idle cluster, a round
WARM_S = 3.0  # until there is a leader and nothing is new
ELECTIONS = 2_000  # that are counted for a row of `elections`, a round


def bare_heapq(events: int = 100_000) -> float:
    """Events a second of the least that any simulator does: take one out, call, put one in.

    A hundred things are pending, and each comes back after a time drawn beforehand, as messages
    and timers do.
    """
    luck = Random(1)
    delays = [luck.random() for _ in range(1000)]
    queue = [(delay, k, None) for k, delay in enumerate(delays[:100])]
    heapq.heapify(queue)
    order = len(queue)

    def happen(what) -> None:
        pass

    start = perf_counter()
    for _ in range(events // 1000):
        for delay in delays:
            time, _, what = heapq.heappop(queue)
            happen(what)
            heapq.heappush(queue, (time + delay, order, None))
            order += 1
    return events / (perf_counter() - start)


def idle_cluster(invariants: bool) -> tuple[float, float]:
    """(virtual seconds, events) a wall second of five idle nodes with 50 ms heartbeats."""
    from kvlearn import Cluster, RaftConfig

    cluster = Cluster(5, seed=1, config=RaftConfig.etcd(tick_s=0.05), invariants=invariants)
    cluster.run(WARM_S)
    gc.collect()
    before, start = cluster.happened, perf_counter()
    cluster.run(VIRTUAL_S)
    spent = perf_counter() - start
    return VIRTUAL_S / spent, (cluster.happened - before) / spent


def import_time(statement: str) -> float:
    """Seconds that an import takes in a fresh Python that has started already."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def fork_and_rewind() -> tuple[float, float]:
    """Seconds to copy a cluster that has run for a minute, and to take it back by half of it."""
    from kvlearn import Cluster

    cluster = Cluster(5, seed=1)
    cluster.run(60)
    start = perf_counter()
    cluster.fork()
    forked = perf_counter() - start
    start = perf_counter()
    cluster.rewind(30)
    return forked, perf_counter() - start


def bench_sim(rounds: int) -> list[tuple[str, float, str, str]]:
    """Rows (what, median, unit, remark) on the simulator."""
    heap, plain, checked, events, forks, rewinds = [], [], [], [], [], []
    for _ in range(rounds):
        before = bare_heapq()
        seconds, happened = idle_cluster(invariants=False)
        heap.append((before + bare_heapq()) / 2)  # the machine's pace changes: look on both sides
        plain.append(seconds)
        events.append(happened)
        checked.append(idle_cluster(invariants=True)[0])
        forked, rewound = fork_and_rewind()
        forks.append(forked * 1000)
        rewinds.append(rewound * 1000)
    median = statistics.median
    ratio = median(happened / bare for happened, bare in zip(events, heap))
    return [
        ("bare heapq loop", median(heap), "events/s", "the peer"),
        ("idle cluster of 5, trace on", median(plain), "virtual s/s", "goal: at least 1,000"),
        ("  with invariants", median(checked), "virtual s/s", "goal: at least 300"),
        ("  events handled, trace on", median(events), "events/s", ""),
        ("  ratio to the bare loop", 100 * ratio, "%", "goal: at least 8 %"),
        ("fork after 60 virtual s", median(forks), "ms", ""),
        ("rewind from 60 s to 30 s", median(rewinds), "ms", ""),
    ]


def bench_import(rounds: int) -> list[tuple[str, float, str, str]]:
    """Rows on starting up."""
    goals = {"import kvlearn": "goal: under 300", "from kvlearn import Cluster": ""}
    times = [{what: import_time(what) * 1000 for what in goals} for _ in range(rounds)]
    return [
        (what, statistics.median(taken[what] for taken in times), "ms", goal)
        for what, goal in goals.items()
    ]


def bench_elections(rounds: int) -> list[tuple[str, float, str, str]]:
    """Rows on split votes and on the time without a leader, beside what was published."""
    from kvlearn.check import elections

    trials = rounds * ELECTIONS
    rows = []
    for (size, alive, latency), told in elections.THESIS_SPLIT_VOTES.items():
        votes = elections.split_votes(size, alive, latency, trials)
        remark = f"thesis {100 * told:.2f} (standard error {100 * votes.error:.2f})"
        rows.append(
            (f"{size} nodes, {alive} alive, latency {latency:g}", 100 * votes.rate, "%", remark)
        )
    for failed, told in elections.THESIS_WAN_S.items():
        wan = elections.WAN_LATENCY_S, elections.WAN_TIMEOUT_S
        mean = elections.downtime(5, failed, *wan, trials).mean
        row = f"wide network, {failed} of 5 failed", 1000 * mean, "ms, mean"
        rows.append((*row, f"thesis {1000 * told:.0f}"))
    return rows + _figure_16(trials)


def _figure_16(trials: int) -> list[tuple[str, float, str, str]]:
    """Rows on the lines of the paper's figure 16 whose numbers are in its text."""
    from kvlearn.check import figure_16

    same = figure_16((0.150, 0.150), min(trials, 100), limit_s=10.0).within(10.0)
    few = min(trials, 1_000)  # as many as in the paper: the longest of more is longer
    narrow, wide, short = (
        figure_16(timeout_s, few) for timeout_s in ((0.150, 0.155), (0.150, 0.200), (0.012, 0.024))
    )
    return [
        ("figure 16: 150–150 ms, within 10 s", 100 * same, "%", "paper 0"),
        ("  150–155 ms", 1000 * narrow.median, "ms, median", "paper 287"),
        ("  150–200 ms", 1000 * wide.longest, "ms, longest", "paper 513"),
        ("  12–24 ms", 1000 * short.mean, "ms, mean", "paper 35"),
        ("  12–24 ms", 1000 * short.longest, "ms, longest", "paper 152"),
    ]


def bench_store(rounds: int) -> list[tuple[str, float, str, str]]:
    """Rows on the store; its peers are loaded only for them."""
    from kvlearn.cli import bench_store

    return bench_store.bench_store(rounds)


def bench_live(rounds: int) -> list[tuple[str, float, str, str]]:
    """Rows on real members; they need a real etcd beside them, and minutes."""
    from kvlearn.cli import bench_live

    return bench_live.bench_live(rounds)


BENCHES: dict[str, Callable[[int], list]] = {
    "sim": bench_sim,
    "store": bench_store,
    "import": bench_import,
    "elections": bench_elections,
    "live": bench_live,
}
ASKED_FOR = ("live",)  # not among all


WHAT = f"of {', '.join(BENCHES)}; all but {', '.join(ASKED_FOR)} if none"


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table; `argv` as on the command line."""
    parser = argparse.ArgumentParser(prog="kvlearn bench", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=[], help=WHAT)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is taken (default 5)")
    asked = parser.parse_args(argv)
    if unknown := [what for what in asked.what if what not in BENCHES]:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    if asked.rounds < 1:
        parser.error(f"--rounds is at least 1, not {asked.rounds}")
    for name in asked.what or [name for name in BENCHES if name not in ASKED_FOR]:
        medians = f"medians of {asked.rounds} rounds, taken in turn"
        counted = f"up to {asked.rounds * ELECTIONS:,} a row"
        print(f"{name} ({counted if name == 'elections' else medians})")
        for what, figure, unit, remark in BENCHES[name](asked.rounds):
            shown = f"{figure:,.1f}" if figure >= 10 or not figure else f"{figure:.3g}"
            print(f"  {what:<44}{shown:>14} {unit:<12} {remark}".rstrip())
    return 0
