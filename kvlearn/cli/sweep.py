"""`kvlearn sweep`: a workload with faults under many seeds, or one seed again.

Prints what went wrong, each seed with the line that plays it again, and a summary. The exit status
is 1 if a promise was broken.
"""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Any

from kvlearn.check.nemesis import NEMESES
from kvlearn.check.shrink import TRIES, shrink
from kvlearn.check.sweep import CHUNK, OK, UNKNOWN, VIOLATED, Case, Run, play, rows
from kvlearn.check.workloads import WORKLOADS, Chaos
from kvlearn.cli import Parser, guess
from kvlearn.doors import door
from kvlearn.raft.raft import Raft

SEEDS = 1000


def main(argv: list[str]) -> int:
    """Sweep as `argv` says, and return the exit status."""
    options = parser()
    asked = options.parse_args(argv)
    try:
        workload, raft = workload_of(asked), raft_of(asked.raft)
        check_numbers(asked)
    except ValueError as error:
        options.error(str(error))
    if asked.seed is not None:
        return one(Case(workload, asked.nodes, asked.seed, raft), asked)
    return many(workload, raft, asked)


def parser() -> Parser:
    """The command's options."""
    options = Parser("sweep", __doc__.split("\n\n")[0].split(": ", 1)[1])
    add = options.add_argument
    names = ", ".join(WORKLOADS)
    add("--workload", default="chaos", help=f"{names}, or MODULE:NAME (default chaos)")
    add("--nodes", type=int, default=3, help="1 to 9 (default 3)")
    add("--seeds", type=int, help=f"how many seeds to play (default {SEEDS})")
    add("--first", type=int, default=0, help="the first of them (default 0)")
    add("--seed", type=int, help="play this one again, and tell more of it")
    add("--raft", action="append", default=[], help="a mutant or MODULE:CLASS; n1=... for one node")
    add("--processes", type=int, help="spread the seeds over so many (default: one a core)")
    add("--shrink", action="store_true", help="with --seed: a smaller run that breaks the same")
    add("--tries", type=int, default=TRIES, help=f"plays for --shrink at most (default {TRIES})")
    add("--virtual-s", type=float, help="how long a run takes, in virtual seconds")
    add("--clients", type=int, help="how many clients ask")
    add("--keys", type=int, help="how many keys they ask for")
    add("--think-s", type=span, help="LOW,HIGH: a client's pause after an answer, in seconds")
    add("--nemeses", type=listed, help=f"kinds of trouble, or none: {','.join(NEMESES)}")
    return options


def span(text: str) -> tuple[float, float]:
    """`0.02,0.2` as two numbers."""
    low, high = map(float, text.split(","))
    return low, high


def listed(text: str) -> tuple[str, ...]:
    """`crash,loss` as two words, `none` as no word."""
    return () if text == "none" else tuple(text.split(","))


def check_numbers(asked: Namespace) -> None:
    """Raises: ValueError for numbers that make no sense."""
    if asked.seed is not None and (asked.seeds is not None or asked.first):
        raise ValueError("--seed plays one seed, --seeds and --first many: give one or the other")
    if asked.shrink and asked.seed is None:
        raise ValueError("--shrink needs the --seed of a run that breaks a promise")
    if not 1 <= asked.nodes <= 9:
        raise ValueError(f"a cluster has 1 to 9 nodes, not {asked.nodes}")
    if asked.seeds is not None and asked.seeds < 1:
        raise ValueError(f"--seeds is at least 1, not {asked.seeds}")
    if asked.virtual_s is not None and not 0 < asked.virtual_s < inf:
        raise ValueError(f"--virtual-s is a number of seconds above 0, not {asked.virtual_s}")
    if asked.processes is not None and asked.processes < 1:
        raise ValueError(f"--processes is at least 1, not {asked.processes}")


def workload_of(asked: Namespace) -> Any:
    """The workload that is named, with what the options change in it. Raises: ValueError."""
    if asked.workload in WORKLOADS:
        workload = WORKLOADS[asked.workload]
    elif ":" in asked.workload:
        workload = found_at(asked.workload)
        workload = workload() if isinstance(workload, type) else workload
    else:
        hint = guess(asked.workload, WORKLOADS)
        raise ValueError(f"there is no workload {asked.workload!r}{hint}")
    names = ("virtual_s", "clients", "keys", "think_s", "nemeses")
    changes = {name: vars(asked)[name] for name in names if vars(asked)[name] is not None}
    if changes and not isinstance(workload, Chaos):
        raise ValueError(f"{asked.workload} does not take --{next(iter(changes))}")
    return replace(workload, **changes) if changes else workload


def raft_of(words: Iterable[str]) -> Any:
    """What the nodes run: one class, or a class by node. Raises: ValueError."""
    special: dict[str, type[Raft]] = {}
    everywhere = Raft
    for word in words:
        node, equals, name = word.rpartition("=")
        if equals:
            special[node] = raft_named(name)
        else:
            everywhere = raft_named(name)
    return special or everywhere


def raft_named(name: str) -> type[Raft]:
    """A mutant of the course, or the class at MODULE:CLASS. Raises: ValueError."""
    if ":" in name:
        return found_at(name)
    mutants = {"Raft": Raft, **door("mutants")}
    if name not in mutants:
        raise ValueError(f"there is no Raft {name!r}{guess(name, mutants)}")
    return mutants[name]


def found_at(place: str) -> Any:
    """What stands at MODULE:NAME. Raises: ValueError."""
    module, _, name = place.partition(":")
    try:
        return vars(importlib.import_module(module))[name]
    except (ImportError, KeyError, ValueError):
        raise ValueError(f"there is no {name!r} in a module {module!r}") from None


# One seed, many seeds -----------------------------------------------------------------------


def one(case: Case, asked: Namespace) -> int:
    """Play one seed, and shrink it if that is asked for; the exit status."""
    run = play(case)
    tell(run)
    if asked.shrink and run.broken is not None:
        small = shrink(run, asked.tries)
        print(f"\nThe smallest run found that breaks {run.promise}:\n{small}\n\n{small.script()}")
    return int(run.verdict == VIOLATED)


def tell(run: Run) -> None:
    """A run's row, line by line."""
    row = run.row()
    for name in ("replay", "operations", "acknowledged", "virtual_s", "wall_ms", "events"):
        print(f"{name:<13} {row[name]}")
    print(f"{'digest':<13} {row['digest']}")
    print(*run.verdicts, sep="\n")
    if run.verdict == UNKNOWN:
        print(f"{run.promise} is not decided")


def many(workload: Any, raft: Any, asked: Namespace) -> int:
    """Play all seeds, tell of those that are not ok, and sum up; the exit status."""
    count = SEEDS if asked.seeds is None else asked.seeds
    seeds = range(asked.first, asked.first + count)
    words: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    live = sys.stderr.isatty()
    # To start another process takes as long as a few seeds.
    processes = asked.processes or max(1, min(os.cpu_count() or 1, count // CHUNK))
    for row in rows(workload, seeds, raft, asked.nodes, None, processes):
        words[row["verdict"]] += 1
        for name in ("operations", "acknowledged", "events", "virtual_s", "wall_ms"):
            totals[name] += row[name]
        if row["verdict"] != OK:
            print(f"seed {row['seed']}: {row['promise']} {row['verdict']}: {row['why']}")
            print(f"    {row['replay']}", flush=True)
        if live:
            print(f"\r{sum(words.values())} of {count} seeds", end="", file=sys.stderr)
    if live:
        print("\r", end="", file=sys.stderr)
    verdicts = ", ".join(f"{words[word]} {word}" for word in (OK, VIOLATED, UNKNOWN))
    print(f"{count} seeds of {workload.name} on {asked.nodes} nodes: {verdicts}")
    each = totals["wall_ms"] / max(count, 1)
    print(
        f"{totals['operations']:,} operations ({totals['acknowledged']:,} acknowledged), "
        f"{totals['virtual_s']:,.0f} virtual s, {totals['events']:,} events, {each:.0f} ms a seed"
    )
    return int(words[VIOLATED] > 0)
