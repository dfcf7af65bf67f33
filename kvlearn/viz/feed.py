"""What a panel is told of a trace: rows in updates of at most 4 KB, the newest first.

A panel opens with the state as it is and the last few rows, and with all older ones packed: the
cursor reaches them as soon as the browser has unpacked them. New records go out as they come.
Where they come faster than updates may carry them, heartbeats are merged away first, then all
messages; what they changed is kept (`thin`).

The feed knows neither widgets nor clocks: it hands out payloads, and `panels.py` sends them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from kvlearn.kv.config import StoreConfig
from kvlearn.trace import Trace
from kvlearn.viz.moment import Moment
from kvlearn.viz.timeline_rows import Row, RowCompiler, micros, thin

LIMIT_BYTES = 3900  # of a payload; an update is 4,096 bytes with its envelope
OPENING_ROWS = 60  # told with the first state, so that one can step back at once
OPENING_FACTS = 200  # of a table's end: entries, changes, transactions; the older ones follow
HISTORY_ROWS = 60_000  # kept for panels that open later, as in player.js; the trace has all
PACKING = 5  # of zlib: 50,000 rows (5 MB) become about 900 kB in 0.1 s
FLAGS_BYTES = 2000  # kept free for what goes with the last rows
CROWD_ROWS = 300  # more than this at once: heartbeats lose their dots (about six updates' worth)
THRONG_ROWS = 600  # still more than this: all messages do


class Feed:
    """One panel's view of one trace.

    Invariant: rows `0 .. read - 1` of the trace are compiled; each is in `history` (or forgotten),
    and either told or in `pending`.
    """

    def __init__(self, trace: Trace, config: StoreConfig | None = None):
        """`config`: what the stores of the run are made of; default: what the trace tells."""
        self.trace = trace
        self.era = trace.era
        self.read = 0
        told = StoreConfig(**trace.about.get("store", {})) if config is None else config
        self.compiler = RowCompiler(config=told)
        self.history: list[Row] = []
        self.pending: list[Row] = []
        self._fresh = False  # whether `pending` has rows that were not thinned yet
        self.anew: list[dict] = []  # the state, for a page that opened late: before all else
        self.backlog: Iterator[dict] = iter(())  # older rows for a page that opened: after all else
        self.thinned = 0  # records that were told without their dots since the last payload
        self._facts: list[tuple] = []  # of what was read: to compare after a rewind
        self._told_facts = dict.fromkeys(self.compiler.tables, 0)  # how many of each table
        self._cut: int | None = None
        self._merged: list[tuple[int, int]] = []  # (first, last) of the rows that stand for several
        self.sync()
        self.pending = []  # whoever opens is told the state, not how it came about
        self._told_facts = {name: len(table) for name, table in self.compiler.tables.items()}

    def sync(self) -> list[Row]:
        """Compile what is new in the trace; returns the new rows."""
        trace = self.trace
        if trace.era != self.era:
            self._go_back()
        rows = []
        for record in trace[self.read :]:
            rows.append(self.compiler.row(record))
            self._facts.append((record.time, record.node, record.event, record.cause))
        self.read += len(rows)
        self.history += rows
        self.pending += rows
        self._fresh = self._fresh or bool(rows)
        if len(self.history) > HISTORY_ROWS * 1.2:
            del self.history[:-HISTORY_ROWS]
        return rows

    def _go_back(self) -> None:
        """The trace was rewound: take back all that no longer stands in it."""
        trace, facts = self.trace, self._facts
        self.era = trace.era
        same, moment = 0, Moment(trace)
        for record, told in zip(trace, facts):
            if told != (record.time, record.node, record.event, record.cause):
                break
            moment.apply(record)
            same += 1
        whole = min([first for first, last in self._merged if first <= same <= last] + [same])
        if whole < same:  # a row that stands for several records goes as a whole
            same, moment = whole, Moment.at(trace, whole - 1)
        self.compiler.begin(moment)
        self.read = same
        del facts[same:]
        self._merged = [span for span in self._merged if span[1] < same]
        self.history = [row for row in self.history if row.seq < same]
        self.pending = [row for row in self.pending if row.seq < same]
        self._cut = same if self._cut is None else min(self._cut, same)

    # Opening ----------------------------------------------------------------------------------

    def opening(self, now_s: float) -> dict:
        """The state as it stands, with the last few rows: what a widget is made with."""
        rows = self.history[-OPENING_ROWS:]
        told = self._reset(now_s)
        told["state"] = self.compiler.state()
        told["tables"] = {}
        for name, table in self.compiler.tables.items():
            first = max(0, len(table) - OPENING_FACTS)
            told["tables"][name] = [[first, table[first:]]]
        told["older"] = [row.wire() for row in rows]
        told["complete"] = len(rows) == self.read
        if len(self.history) > len(rows):
            told["from"] = self.history[0].seq  # the first row that `history_packed` holds
        return told

    def history_packed(self) -> bytes:
        """All rows and tables, deflated; empty where the opening has them all."""
        if len(self.history) <= OPENING_ROWS:
            return b""
        tables = {name: [[0, table]] for name, table in self.compiler.tables.items()}
        older = [row.wire() for row in self.history]
        told = {"tables": tables, "older": older, "complete": len(older) == self.read}
        return zlib.compress(encode(told), PACKING)

    def hello(
        self,
        who: str,
        epoch: int,
        first: int,
        last: int,
        now_s: float,
        known: dict[str, int] | None = None,
    ) -> None:
        """Page `who` opened, and has rows `first` to `last` of era `epoch`: tell it the rest.

        `known`: how many facts of each table it has. Other pages pass over what is told to `who`.
        """
        facts = self._fact_parts()
        lacks = last < self.read - 1 - len(self.pending)
        follows = not self.history or self.history[0].seq <= last + 1
        if epoch != self.era or (lacks and not follows):
            if self._cut is not None:  # or it would be cut off from the state that is told now
                self.anew.append({"epoch": self.era, "cut": self._cut})
                self._cut = None
            # Rows that are still pending are part of this state, and are passed over.
            state = self._state_parts(now_s) + facts[:3]
            self.anew += [{"who": who, **part} for part in state]
            first = self.read
        elif lacks:
            self.anew += [{"who": who, **part} for part in self._later(last, known or {})]
            facts = []
        elif self.history and first <= self.history[0].seq:
            facts = []  # they came with the packed rows
        older = [row for row in self.history if row.seq < first]
        keep = older[-OPENING_ROWS:]
        older = self._thin(older[:-OPENING_ROWS]) + keep
        self.thinned = 0  # that was history: nobody waits to see it drawn
        whole = first == 0 or len(self.history) == self.read
        parts = [*facts, *self._older(older), {"complete": whole}]
        self.backlog = iter([{"who": who, **part} for part in parts])

    def skip(self, now_s: float) -> None:
        """Too much is pending: tell all pages the state as it stands, and how it came about once
        there is time for that."""
        self.pending = []
        self.anew = self._state_parts(now_s)
        for name, table in self.compiler.tables.items():
            self._told_facts[name] = len(table)
            first = max(0, len(table) - OPENING_FACTS)
            for part in packed([list(fact) for fact in table[first:]]):
                self.anew.append({"tables": {name: [[first, part]]}})
                first += len(part)
        self.backlog = self._past(self.read)

    def _past(self, first: int) -> Iterator[dict]:
        """All facts, and all rows before number `first`."""
        older = [row for row in self.history if row.seq < first]
        older = self._thin(older[:-OPENING_ROWS]) + older[-OPENING_ROWS:]
        self.thinned = 0
        yield from [*self._fact_parts(), *self._older(older)]
        yield {"complete": len(self.history) >= first}

    def _reset(self, now_s: float) -> dict:
        return {"reset": self.era, "seq": self.read - 1, "now": micros(now_s)}

    def _state_parts(self, now_s: float) -> list[dict]:
        parts = [self._reset(now_s)]
        parts += [{"state": part} for part in packed(self.compiler.state())]
        return parts

    def _later(self, last: int, known: dict[str, int]) -> list[dict]:
        """All facts and rows that came after row `last`, in order."""
        parts = []
        for name, table in self.compiler.tables.items():
            first = known.get(name, 0)
            for part in packed([list(fact) for fact in table[first:]]):
                parts.append({"tables": {name: [[first, part]]}})
                first += len(part)
        rows = [row for row in self.history if row.seq > last]
        if len(rows) > CROWD_ROWS:
            rows = self._thin(rows)
        if len(rows) > THRONG_ROWS:
            rows = self._thin(rows, all_messages=True)
        wires = [row.wire() for row in rows]
        return parts + [{"rows": part} for part in packed(wires)]

    def _fact_parts(self) -> list[dict]:
        """All tables, the newest facts first: those of all tables before older ones."""
        ranked = []
        for name, table in self.compiler.tables.items():
            for rank, part in enumerate(packed(list(enumerate(table)), from_end=True)):
                facts = [[part[0][0], [fact for _, fact in part]]]
                ranked.append((rank, {"tables": {name: facts}}))
        return [part for _, part in sorted(ranked, key=lambda one: one[0])]

    def _older(self, rows: list[Row]) -> list[dict]:
        wires = [row.wire() for row in rows]
        return [{"older": part} for part in packed(wires, from_end=True)]

    # Going on ---------------------------------------------------------------------------------

    def next_payload(self, now_s: float, flags: dict[str, Any]) -> dict | None:
        """The next update, or None if there is nothing to tell.

        `flags` go with the payload after which nothing is pending, and are taken out then; those
        for which it has no room go with the next.
        """
        if self.anew:
            return self.anew.pop(0)
        if not self.pending and self._cut is None and not flags:
            return next(self.backlog, None)
        if self._fresh and len(self.pending) > CROWD_ROWS:
            self.pending = self._thin(self.pending)
        if self._fresh and len(self.pending) > THRONG_ROWS:
            self.pending = self._thin(self.pending, all_messages=True)
        self._fresh = False
        told: dict[str, Any] = {"epoch": self.era}
        if self._cut is not None:
            told["cut"], self._cut = self._cut, None
        room = LIMIT_BYTES - size(told) - min(size(flags), FLAGS_BYTES) - 60
        if self._tell_facts(told, room // 2):
            room -= size(told.get("tables", {}))
            rows = next(packed([row.wire() for row in self.pending[:200]], room), [])
            told["rows"] = rows
            del self.pending[: len(rows)]
        if not self.pending:
            told["now"] = micros(now_s)
            for name in sorted(flags, key=lambda name: size(flags[name])):
                alone = told.keys() <= {"epoch", "now"}
                if not alone and size({**told, name: flags[name]}) > LIMIT_BYTES:
                    break
                told[name] = flags.pop(name)
        return told

    def _tell_facts(self, told: dict, room: int) -> bool:
        """Tell what is new in the tables; whether that was all: rows must not come before it."""
        for name, table in self.compiler.tables.items():
            first = self._told_facts[name]
            if first == len(table):
                continue
            part = next(packed([list(fact) for fact in table[first:]], room))
            told.setdefault("tables", {})[name] = [[first, part]]
            self._told_facts[name] += len(part)
            room -= size(part)
            if room <= 0 or first + len(part) < len(table):
                return all(self._told_facts[n] == len(t) for n, t in self.compiler.tables.items())
        return True

    def _thin(self, rows: list[Row], all_messages: bool = False) -> list[Row]:
        thinner, begins = [], rows[0].seq if rows else 0
        for row in thin(rows, all_messages):
            if row.merged > 1:
                self._merged.append((begins, row.seq))
                self.thinned += row.merged
            thinner.append(row)
            begins = row.seq + 1
        return thinner


def encode(payload: dict) -> bytes:
    """A payload as it travels."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def size(payload: Any) -> int:
    """How many bytes that takes."""
    return len(encode(payload))


def packed(items: list, limit: int = LIMIT_BYTES - 60, from_end: bool = False) -> Iterator[list]:
    """Split items into lists that take at most `limit` bytes each; one item is never split.

    >>> list(packed([10, 20, 30], limit=7)), list(packed([10, 20, 30], limit=7, from_end=True))
    ([[10, 20], [30]], [[20, 30], [10]])
    """
    part: list = []
    used = 0
    for item in reversed(items) if from_end else items:
        takes = size(item) + 1
        if part and used + takes > limit:
            yield part[::-1] if from_end else part
            part, used = [], 0
        part.append(item)
        used += takes
    if part:
        yield part[::-1] if from_end else part
