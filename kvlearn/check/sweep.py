"""A sweep: the same workload under many seeds, a row a seed, and a line that plays each again.

>>> table = sweep(Chaos(virtual_s=5.0), seeds=range(2), nodes=3)
>>> list(table.verdict), table.replay[1]
(['ok', 'ok'], 'kvlearn sweep --workload chaos --nodes 3 --virtual-s 5.0 --seed 1')

The row of a seed holds no more than words and numbers. `replay` plays one seed again and gives the
whole `Run`: its cluster with the trace, what was done by hand, and a verdict on each promise.

>>> run = replay(table.loc[1])
>>> run.verdict, run.digest == table.digest[1]
('ok', True)

Seeds are independent of each other, so they spread over processes (`processes=2`) or machines
(`client=dask.distributed.Client()`); the table is the same.
"""

from __future__ import annotations

import gc
import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from time import perf_counter
from typing import Any

from kvlearn.check.hand import Act, Hand
from kvlearn.check.invariants import invariants
from kvlearn.check.verdict import Verdict, Verdicts
from kvlearn.check.workloads import Chaos, Driver, Workload, workload_named
from kvlearn.errors import Violation
from kvlearn.events import Invoked, Returned
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.txn import Txn
from kvlearn.raft.raft import Raft
from kvlearn.sim.channel import SimulatedChannel
from kvlearn.sim.cluster import Cluster

OK, VIOLATED, UNKNOWN = "ok", "violated", "unknown"
CHUNK = 8  # seeds that a process or machine takes at once


@dataclass(frozen=True)
class Case:
    """What fixes a run: a workload, the number of nodes, what they run, and the seed."""

    workload: Workload
    nodes: int
    seed: int
    raft: Any = Raft

    def line(self) -> str:
        """The command line that plays it again, if workload and Raft have a name that it knows."""
        words = f"kvlearn sweep --workload {self.workload.name} --nodes {self.nodes}"
        if isinstance(self.workload, Chaos):
            words += self.workload.options()
        rafts = self.raft if isinstance(self.raft, dict) else {"": self.raft}
        for name, raft in rafts.items():
            if raft is not Raft:
                words += f" --raft {name}{'=' * bool(name)}{raft.__name__}"
        return f"{words} --seed {self.seed}"


class Replay(str):
    """The line that plays a run again; in Python it knows the `case` itself."""

    case: Case

    def __new__(cls, line: str, case: Case | None = None):
        made = super().__new__(cls, line)
        made.case = case
        return made


@dataclass
class Run:
    """One run that is over: the cluster as it ended, what was done to it, and the verdicts.

    `acts` are those of clients and nemeses during the trouble, `mending` what came after. `raised`
    is the verdict on a promise that broke on the way, which ended the run.
    """

    case: Case
    cluster: Cluster
    hand: Hand = field(repr=False)
    trouble: int | None = None  # so many acts are trouble; None: it ended in the midst of it
    trouble_s: float = 0.0  # when the trouble ended
    raised: Verdict | None = None
    judged: list = field(default_factory=list)  # at the end
    wall_s: float = 0.0

    def ended(self, driver: Driver, wall_s: float) -> None:
        """Note how far the driver came, and what it took."""
        self.trouble, self.trouble_s, self.wall_s = driver.trouble, driver.trouble_s, wall_s

    @property
    def acts(self) -> list[Act]:
        """What was done while trouble lasted."""
        return self.hand.acts[: self.trouble]

    @property
    def mending(self) -> list[Act]:
        """What was done after that."""
        return [] if self.trouble is None else self.hand.acts[self.trouble :]

    @property
    def broken(self) -> Verdict | None:
        """The verdict on the promise that broke first."""
        wrong = [found for found in self.judged if verdict_word(found) == VIOLATED]
        return self.raised or (wrong[0] if wrong else None)

    @property
    def verdict(self) -> str:
        """ok, violated, or unknown where a checker ended undecided."""
        if self.broken is not None:
            return VIOLATED
        return UNKNOWN if any(verdict_word(v) == UNKNOWN for v in self.judged) else OK

    @property
    def promise(self) -> str:
        """The promise that broke first, or the one that is not decided; else empty."""
        if self.broken is not None:
            return self.broken.promise
        return next((v.promise for v in self.judged if verdict_word(v) == UNKNOWN), "")

    @property
    def why(self) -> str:
        """One sentence on what broke; else empty."""
        return self.broken.why if self.broken else ""

    @property
    def verdicts(self) -> Verdicts:
        """A verdict on each promise: those of Raft, then those that were judged at the end."""
        at_the_end = [found for found in self.judged if isinstance(found, Verdict)]
        told = [*invariants(self.cluster), *at_the_end]
        if self.raised is not None and self.raised.promise not in [v.promise for v in told]:
            told.append(self.raised)
        return Verdicts(told)

    @property
    def digest(self) -> str:
        """A fingerprint of the trace: equal runs have equal ones. It covers what happened where,
        when and why, but not what was said."""
        times, causes, names = array("d"), array("q"), []
        for record in self.cluster.trace:
            times.append(record.time)
            causes.append(-1 if record.cause is None else record.cause)
            names += record.node, type(record.event).__name__
        told = times.tobytes() + causes.tobytes() + " ".join(names).encode()
        return hashlib.blake2b(told, digest_size=8).hexdigest()

    def script(self) -> str:
        """The run as a Python program."""
        return script_of(self)

    def row(self) -> dict[str, Any]:
        """Its row in the table."""
        asked = answered = 0
        for record in self.cluster.trace.of(Invoked, Returned):
            if isinstance(record.event, Invoked):
                asked += 1
            else:
                answered += not record.event.error
        return {
            "seed": self.case.seed,
            "verdict": self.verdict,
            "promise": self.promise,
            "operations": asked,
            "acknowledged": answered,
            "virtual_s": round(self.cluster.now, 3),
            "wall_ms": round(1000 * self.wall_s, 1),
            "events": len(self.cluster.trace),
            "digest": self.digest,
            "why": self.why,
            "replay": Replay(self.case.line(), self.case),
        }

    def __str__(self) -> str:
        """What was done, and what became of it."""
        lines = list(map(str, self.acts))
        if self.mending:
            lines.append("then all was mended")
        return "\n".join([*lines, str(self.broken) if self.broken else "no promise is broken"])

    def __repr__(self) -> str:
        what = f"{self.promise} {self.verdict}" if self.promise else self.verdict
        return f"<Run of {len(self.acts)} acts, {self.cluster.now:.3f} s, {what}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self)[1:-1])}\n\n{escape(str(self))}</pre>"


def verdict_word(found: Any) -> str:
    """ok, violated or unknown, of a verdict or of a result that has such a word itself."""
    if isinstance(found, Verdict):
        return OK if found.ok else VIOLATED
    return found.verdict


# Playing ------------------------------------------------------------------------------------


def play(case: Case) -> Run:
    """Run one case from its seed."""
    start = perf_counter()
    driver = Driver(case.workload.setup(case.nodes, case.seed, case.raft), case.seed)
    run = Run(case, driver.cluster, driver.hand)
    with _judging(run):
        case.workload.start(driver)
        case.workload.finish(driver)
        run.judged = case.workload.check(run.cluster)
    run.ended(driver, perf_counter() - start)
    return run


def play_acts(case: Case, acts: Sequence[Act], end_s: float, mends: bool = True) -> Run:
    """Run a case with these acts instead of its actors; the trouble ends at `end_s`.

    Then all is mended as the workload does it; or (`mends` false) the run is over.
    """
    start = perf_counter()
    driver = Driver(case.workload.setup(case.nodes, case.seed, case.raft), case.seed)
    run = Run(case, driver.cluster, driver.hand)
    driver.end_s = end_s
    with _judging(run):
        driver.hand.repeat(acts, end_s)
        if mends:
            case.workload.finish(driver)
        else:
            driver.end_trouble(end_s)
        run.judged = case.workload.check(run.cluster)
    run.ended(driver, perf_counter() - start)
    return run


@contextmanager
def _judging(run: Run) -> Iterator[None]:
    """What is raised while it runs is a verdict on the run."""
    collects = gc.isenabled()
    gc.disable()  # all that a run makes is kept in the trace or freed at once
    try:
        yield
    except Violation as broken:
        run.raised = Verdict(broken.promise, False, broken.why, broken.record, "", run.case.seed)
    except Exception as error:  # the code itself broke; that is a finding too
        promise = type(error).__name__
        run.raised = Verdict(promise, False, str(error) or promise, seed=run.case.seed)
    finally:
        if collects:
            gc.enable()


def replay(failing: Any) -> Run:
    """Play again what a sweep has found: a row of its table, a `replay` of it, a case or a run."""
    if isinstance(failing, Run):
        failing = failing.case
    if isinstance(failing, Case):
        return play(failing)
    line = failing if isinstance(failing, str) else failing["replay"]
    if isinstance(line, Replay) and line.case is not None:
        return play(line.case)
    raise ValueError(f"this is not from a sweep of this session; in a shell: {line}")


# Many ---------------------------------------------------------------------------------------


def sweep(
    workload: Workload | str = "chaos",
    seeds: Iterable[int] = range(1000),
    raft: Any = Raft,
    nodes: int = 3,
    client: Any = None,
    processes: int = 1,
):
    """Play `workload` (or the one of that name) under each seed; a DataFrame, a row a seed.

    `raft` is what the nodes run, as for Cluster. `processes` spreads the seeds over so many
    processes of this machine, `client` over those of a `dask.distributed.Client` (or whatever has
    its `map` and `gather`). The index is the seed. Columns: `verdict` (ok, violated, unknown),
    `promise` (that broke first), `operations`, `acknowledged`, `virtual_s`, `wall_ms`, `events`
    (records of the trace), `digest`, `why`, and `replay`, the line that plays the seed again.
    """
    import pandas

    found = list(rows(workload, seeds, raft, nodes, client, processes))
    table = pandas.DataFrame(found, columns=COLUMNS)
    lines = [row["replay"] for row in found]  # objects: a column of text would keep the text only
    table["replay"] = pandas.Series(lines, index=table.index, dtype=object)
    return table.set_index("seed")


COLUMNS = (
    "seed verdict promise operations acknowledged virtual_s wall_ms events digest why replay"
).split()


def rows(
    workload: Workload | str = "chaos",
    seeds: Iterable[int] = range(1000),
    raft: Any = Raft,
    nodes: int = 3,
    client: Any = None,
    processes: int = 1,
) -> Iterator[dict[str, Any]]:
    """The rows of a sweep, in the order of the seeds, as they come."""
    if isinstance(workload, str):
        workload = workload_named(workload)
    cases = [Case(workload, nodes, seed, raft) for seed in seeds]
    if client is None and processes == 1:
        yield from map(row_of, cases)
        return
    chunks = [cases[at : at + CHUNK] for at in range(0, len(cases), CHUNK)]
    if client is not None:
        for chunk in client.gather(client.map(rows_of, chunks)):
            yield from chunk
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(processes, _context(workload, raft)) as pool:
        for chunk in pool.map(rows_of, chunks):
            yield from chunk


def row_of(case: Case) -> dict[str, Any]:
    """Play a case, and keep its row."""
    row = play(case).row()
    gc.collect()  # a cluster is full of cycles and megabytes; the next one can have its place
    return row


def rows_of(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Play cases, one after the other."""
    return [row_of(case) for case in cases]


def _context(workload: Any, raft: Any):
    """How to make processes: clean new ones, unless they could not find what a notebook defined."""
    import multiprocessing

    made = [type(workload), *(raft.values() if isinstance(raft, dict) else [raft])]
    at_home = any(kind.__module__ == "__main__" for kind in made)
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if at_home and can_fork else "spawn")


# A run as a program -------------------------------------------------------------------------


def script_of(run: Run) -> str:
    """A run as a Python program that builds the cluster and does the same to it.

    Raises: ValueError if the workload's `setup` let time pass, so that nobody knows how to begin.
    """
    hand, cluster, case = run.hand, run.cluster, run.case
    if not hand.from_the_start:
        raise ValueError(f"{case.workload.name} hands out a cluster that has run already")
    rafts = case.raft if isinstance(case.raft, dict) else {"": case.raft}
    classes = sorted({(kind.__module__, kind.__name__) for kind in rafts.values()})
    named = ", ".join(f"{name!r}: {kind.__name__}" for name, kind in rafts.items())
    raft = f"{{{named}}}" if isinstance(case.raft, dict) else case.raft.__name__
    fsync_s = next(iter(hand.fair_disks.values()))
    kind = type(case.workload)
    stored = store_lines(cluster.store)
    lines = [
        "from kvlearn import Cluster, Links, RaftConfig",
        f"from {kind.__module__} import {kind.__name__}",
        *imports_of(hand),
        *stored[:-1],
        *(f"from {module} import {name}" for module, name in classes if module != "__main__"),
        "",
        f"config = {cluster.config!r}",
        f"links = Links({', '.join(f'{name}={fair!r}' for name, fair in hand.fair_links.items())})",
        *stored[-1:],
        f"cluster = Cluster({case.nodes}, {cluster.seed}, config, {raft}, links, {fsync_s}"
        f"{', store=store' * bool(stored)})",
        "op = {}",
    ]
    now = 0.0
    for act in hand.acts:
        if act.at_s != now:
            now = act.at_s
            lines.append(f"cluster.run_to({now!r})")
        lines.append(act.code())
    lines.append(f"cluster.run_to({cluster.now!r})")
    lines.append(f"print(*{kind.__name__}().check(cluster), sep='\\n')")
    return "\n".join(lines) + "\n"


def imports_of(hand: Hand) -> list[str]:
    """The lines that import what was asked."""
    asked = [act.arguments[-1] for act in hand.acts if act.verb in ("ask", "watch")]
    asked += [op for one in asked if isinstance(one, Txn) for op in parts_of(one)]
    kinds = {type(one) for one in asked}
    if any(act.verb.endswith("watch") for act in hand.acts):
        kinds.add(SimulatedChannel)
    homes = sorted({kind.__module__ for kind in kinds})
    names = {home: sorted(k.__name__ for k in kinds if k.__module__ == home) for home in homes}
    return [f"from {home} import {', '.join(names[home])}" for home in homes]


def parts_of(txn: Txn) -> Iterator[Any]:
    """Its comparisons and operations, those of nested transactions too."""
    for part in (*txn.compare, *txn.success, *txn.failure):
        yield part
        if isinstance(part, Txn):
            yield from parts_of(part)


def store_lines(store: StoreConfig) -> list[str]:
    """Imports, and at last the line that makes `store`; nothing if it is the usual one."""
    told, lines = [], ["from kvlearn import StoreConfig"]
    for setting in fields(store):
        mine = getattr(store, setting.name)
        if mine == setting.default:
            continue
        if isinstance(mine, type):
            lines.append(f"from {mine.__module__} import {mine.__name__}")
        told.append(f"{setting.name}={mine.__name__ if isinstance(mine, type) else repr(mine)}")
    return [*lines, f"store = StoreConfig({', '.join(told)})"] if told else []
