"""The other futures of a run: kept when the cursor goes back and something else is done there.

A future is a journal (what was done by hand, and when), so going over to it is living it again,
and a trace, so two of them can be compared without living either.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kvlearn.trace import Trace
from kvlearn.viz.compare import compare
from kvlearn.viz.moment import line
from kvlearn.viz.timeline_rows import NEWS_EVENTS, micros

MOST = 8  # futures that are kept; the oldest without a name of its own goes first
MARKS, MARK_CHARS, NAME_CHARS = 12, 60, 40
ROWS, CELL_CHARS = 20, 64  # of a comparison
TOLD_BYTES = 2500  # of all lanes together: an update of 4 KB carries other things, too


@dataclass
class Future:
    """One run that was left. `begins` is the first record that the run it was left for lacks."""

    name: str
    journal: Any
    trace: Trace
    begins: int
    named: bool = False  # by a person, not by number

    @property
    def now(self) -> float:
        """Virtual seconds at its end."""
        return self.journal.now


class Futures:
    """What one panel has kept of its cluster's other futures."""

    def __init__(self, cluster: Any):
        self.cluster = cluster
        self.kept: list[Future] = []
        self._count = 0
        self._era = cluster.trace.era  # when the kept ones were last held against the present

    # Keeping ------------------------------------------------------------------------------------

    def before_leaving(self) -> tuple[Any, Trace]:
        """The present run, to be kept if it is left; see `left`."""
        return self.cluster.journal(), copy.deepcopy(self.cluster.trace)

    def left(self, present: tuple[Any, Trace]) -> None:
        """The cluster has gone elsewhere: keep what it left, unless it is kept already."""
        journal, trace = present
        if any(future.journal == journal for future in self.kept):
            return
        self._count += 1
        begins = _parted(trace, self.cluster.trace)
        self._follow(begins)
        self.kept.append(Future(f"future {self._count}", journal, trace, begins))
        while len(self.kept) > MOST:
            self.kept.remove(self._spare() or self.kept[0])

    def _follow(self, gone_back_to: int) -> None:
        """The present shares its records before that number with what it was, and no more: what
        parted from it earlier parts there still, and nothing has to be compared from the start."""
        for future in self.kept:
            if future.begins >= gone_back_to:
                future.begins = _parted(future.trace, self.cluster.trace, gone_back_to)
        self._era = self.cluster.trace.era

    def keep(self, name: str) -> str:
        """Keep the present under a name; returns what to say."""
        name = self._free_name(name)
        self._make_room()
        journal, trace = self.before_leaving()
        self.kept.append(Future(name, journal, trace, len(trace), named=True))
        return f"Kept as {name!r}: {_said(journal)}."

    def _spare(self) -> Future | None:
        """The oldest one that nobody has named."""
        return next((future for future in self.kept if not future.named), None)

    def _make_room(self) -> None:
        """For one more with a name. Raises: ValueError if all that are kept have names."""
        if len(self.kept) < MOST:
            return
        spare = self._spare()
        if spare is None:
            raise ValueError(f"{MOST} futures are kept, all with names; forget one first")
        self.kept.remove(spare)

    def rename(self, old: str, new: str) -> None:
        """Give a kept future another name."""
        future = self.find(old)
        if new.strip() != old:
            future.name, future.named = self._free_name(new), True

    def forget(self, name: str) -> None:
        """Keep a future no longer."""
        self.kept.remove(self.find(name))

    def find(self, name: str) -> Future:
        """A kept future. Raises: ValueError."""
        for future in self.kept:
            if future.name == name:
                return future
        known = ", ".join(repr(future.name) for future in self.kept) or "none"
        raise ValueError(f"no future is called {name!r}; there are: {known}")

    def _free_name(self, name: str) -> str:
        name = name.strip()
        if not name or len(name) > NAME_CHARS:
            raise ValueError(f"a future is called by 1 to {NAME_CHARS} letters")
        if any(future.name == name for future in self.kept):
            raise ValueError(f"another future is called {name!r} already; choose another name")
        return name

    # Going there --------------------------------------------------------------------------------

    def open(self, name: str) -> str:
        """Go over to a kept future; the present is kept in its place."""
        future = self.find(name)
        present = self.before_leaving()
        self.cluster.go_to(future.journal)
        self.kept.remove(future)
        self.left(present)
        if future.named:  # it keeps its name for when it is left
            self.kept[-1].name = f"before {future.name}"
        return f"Now in {name!r}: {_said(future.journal)}."

    def open_code(self, code: str) -> str:
        """Go over to the run of a shared code; the present is kept."""
        shared = type(self.cluster).from_code(code.strip())
        present = self.before_leaving()
        self.cluster.go_to(shared.journal())
        self.left(present)
        return f"Opened: {_said(shared.journal())}."

    def save(self, path: str) -> str:
        """Write the present and all kept futures to a file."""
        from kvlearn.sim.branches import save_branches  # only a simulated run can be written down

        runs = {"present": self.cluster.journal()}
        runs |= {future.name: future.journal for future in self.kept}
        with _in_words(path):
            save_branches(_path(path), runs)
        return f"Saved {_runs(len(runs))} to {path}."

    def load(self, path: str) -> str:
        """Keep the runs of a file that are not kept already, under their names; the present stays
        as it is."""
        from kvlearn.sim.branches import load_branches

        with _in_words(path):
            runs = load_branches(_path(path))
        known = [self.cluster.journal(), *(future.journal for future in self.kept)]
        new = {name: journal for name, journal in runs.items() if journal not in known}
        for name, journal in new.items():
            taken = {future.name for future in self.kept}
            free = next(n for n in (name, *(f"{name} {k}" for k in range(2, 99))) if n not in taken)
            trace = type(self.cluster).from_journal(journal).trace
            begins = _parted(trace, self.cluster.trace)
            self._make_room()
            self.kept.append(Future(free[:NAME_CHARS], journal, trace, begins, named=True))
        said = f"Loaded {_runs(len(new))} from {path}"
        skipped = len(runs) - len(new)
        if not skipped:
            return f"{said}."
        return f"{said}; {_runs(skipped)} in it {'is' if skipped == 1 else 'are'} here already."

    # Telling ------------------------------------------------------------------------------------

    def told(self) -> list[dict[str, Any]]:
        """Each kept future for the panel: its name, where it parts from the present, its end, and
        what happened there that is worth telling."""
        lanes = []
        for future in self.kept:
            known = future.begins if self._era == self.cluster.trace.era else 0
            future.begins = _parted(future.trace, self.cluster.trace, known)
            start = future.trace[future.begins - 1].time if future.begins else 0.0
            lane = {"name": future.name, "from": micros(start), "to": micros(future.now)}
            lanes.append({**lane, "records": len(future.trace), "marks": _marks(future)})
        self._era = self.cluster.trace.era
        while len(json.dumps(lanes, ensure_ascii=False).encode()) > TOLD_BYTES:
            fullest = max(lanes, key=lambda lane: len(lane["marks"]))
            if not fullest["marks"]:
                break
            fullest["marks"].pop()  # the latest goes first, from whoever has most
        return lanes

    def compare(self, name: str) -> dict[str, Any]:
        """The first record in which a kept future and the present differ, and both ends."""
        return told_comparison(compare(self.cluster, self.find(name)), name)


def told_comparison(found: Any, name: str) -> dict[str, Any]:
    """A comparison as plain data, small enough for one update."""
    facts = sorted(found.rows, key=lambda row: not row.differs)  # what differs first
    rows = [[fact[:CELL_CHARS] for fact in row] for row in facts[:ROWS]]
    told = {"name": name, "equal": found.equal, "first": found.seq, "rows": rows}
    told["here"], told["there"] = ("", "") if found.equal else found.sentences
    return {**told, "more": max(0, len(facts) - ROWS)}


def _said(journal: Any) -> str:
    """A run in a few words."""
    acts = f"{len(journal.done)} act{'s' * (len(journal.done) != 1)} by hand"
    nodes = f"{journal.size} node{'s' * (journal.size != 1)}"
    return f"{nodes}, seed {journal.seed}, {acts}, until {journal.now:.3f} s"


def _runs(count: int) -> str:
    return f"{count or 'no'} run{'s' * (count != 1)}"


def _parted(one: Trace, other: Trace, start: int = 0) -> int:
    """The number of the first record in which two traces differ; before `start` they do not."""
    for seq in range(start, min(len(one), len(other))):
        if one[seq] != other[seq]:
            return seq
    return min(len(one), len(other))


def _marks(future: Future) -> list[list]:
    """[microseconds, sentence] of what is worth saying aloud after it parted, the first few."""
    news = islice(future.trace.of(*NEWS_EVENTS, start=future.begins), MARKS)
    return [[micros(record.time), line(record)[:MARK_CHARS]] for record in news]


@contextmanager
def _in_words(path: str) -> Iterator[None]:
    """What the disk refuses is said as a sentence. Raises: ValueError."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error


def _path(path: str) -> str:
    if not path.strip():
        raise ValueError("say into which file: branches.json")
    return path.strip()
