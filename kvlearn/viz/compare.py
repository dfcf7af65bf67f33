"""Two runs, and where they part: the first record that differs, and both ends side by side.

>>> from kvlearn.events import BecameLeader
>>> from kvlearn.raft.types import ZERO
>>> one, other = Trace(), Trace()
>>> for trace, winner in ((one, "n1"), (other, "n2")):
...     seq = trace.add(1.0, winner, BecameLeader(1, (winner,), ZERO), None)
>>> difference = compare(one, other)
>>> difference.head, difference.sentences[1]
('The runs part at record 0.', '1.000 s: n2 becomes leader in term 1 with the votes of n2')
>>> [row for row in difference.rows if row.what == "leader"]
[Row(what='leader', one='n1', other='n2')]
>>> print(compare(one, one))
The runs are equal: 1 record, until 1.000 s.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import zip_longest
from typing import Any, NamedTuple
from zlib import crc32

from kvlearn.mvcc.revision import short
from kvlearn.trace import Record, Trace
from kvlearn.viz.lease_fold import LeaseLife
from kvlearn.viz.moment import Moment, line, look, trace_of
from kvlearn.viz.nodes import natural
from kvlearn.viz.store_fold import StoreMoment, look_store, newest
from kvlearn.viz.theme import FONT_CSS, TONES
from kvlearn.viz.watch_fold import WatchLife

NOTHING = "–"
GONE = "its client is gone"  # so a closed watch is told of
LONGEST = 40  # bytes of a value that is shown whole
MOST_ROWS = 60  # that a page shows; the frame has all


class Row(NamedTuple):
    """One fact of both ends."""

    what: str
    one: str
    other: str

    @property
    def differs(self) -> bool:
        return self.one != self.other


class Difference:
    """What `compare` found. `seq` is the number of the first record that differs, None if none
    does; `records` are the two records there (None where a run has ended), `sentences` what they
    say; `rows` are the ends, alike facts included; `names` head the columns."""

    def __init__(
        self,
        names: tuple[str, str],
        seq: int | None,
        records: tuple[Record | None, Record | None],
        rows: tuple[Row, ...],
        length: int,
        time: float,
    ):
        self.names, self.seq, self.records, self.rows = names, seq, records, rows
        self._equal = (
            f"The runs are equal: {length} record{'s' * (length != 1)}, until {time:.3f} s."
        )

    @property
    def equal(self) -> bool:
        """Whether both told the same, record for record."""
        return self.seq is None

    def __bool__(self) -> bool:
        """Whether there is a difference."""
        return self.seq is not None

    @property
    def sentences(self) -> tuple[str, str]:
        """Both records at the first difference, each with its time."""
        one, other = (
            f"{record.time:.3f} s: {line(record)}" if record else "nothing more: the run ends here"
            for record in self.records
        )
        return one, other

    @property
    def head(self) -> str:
        """The result in one sentence."""
        return self._equal if self.equal else f"The runs part at record {self.seq}."

    def frame(self):
        """A pandas DataFrame, one row a fact: what it is in either run, whether it differs."""
        import pandas

        rows = [(row.what, row.one, row.other, row.differs) for row in self.rows]
        return pandas.DataFrame(rows, columns=["what", *self.names, "differs"]).set_index("what")

    def __str__(self) -> str:
        if self.equal:
            return self.head
        wide = max(map(len, self.names))
        said = [f"  {name:<{wide}}  {text}" for name, text in zip(self.names, self.sentences)]
        what, left = (max((len(row[k]) for row in self.rows), default=0) for k in (0, 1))
        rows = [
            f"{'≠' if row.differs else ' '} {row.what:<{what}} | {row.one:<{left}} | {row.other}"
            for row in self.rows
        ]
        return "\n".join([self.head, *said, *rows])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        ink, dim, edge, fault = (TONES[name][0] for name in ("ink", "dim", "line", "fault"))
        font = f"font-family:{FONT_CSS};font-size:13px;color:{ink};"
        head = f"<p style='{font}margin:4px 0;font-weight:600'>{escape(self.head)}</p>"
        if self.equal:
            return f"<div class='kvlearn-difference'>{head}</div>"
        cell = "text-align:left;vertical-align:top;padding:2px 14px 2px 0;background:none;"
        top = "".join(f"<th style='{cell}'>{escape(n)}</th>" for n in ("", *self.names))
        said = "".join(
            f"<td style='{cell}border-bottom:1px solid {edge}'>{escape(text)}</td>"
            for text in (f"record {self.seq}", *self.sentences)
        )
        rows = [f"<tr style='background:none'>{said}</tr>"]
        for row in self.rows[:MOST_ROWS]:
            style = f"color:{ink};font-weight:600" if row.differs else f"color:{dim}"
            mark = f"<span style='color:{fault}'>≠ </span>" if row.differs else ""
            cells = f"<td style='{cell}{style}'>{mark}{escape(row.what)}</td>"
            cells += "".join(f"<td style='{cell}{style}'>{escape(text)}</td>" for text in row[1:])
            rows.append(f"<tr style='background:none'>{cells}</tr>")
        if len(self.rows) > MOST_ROWS:
            told = f"… {len(self.rows) - MOST_ROWS} rows more: .frame() has all"
            rows.append(f"<tr style='background:none'><td colspan='3'>{told}</td></tr>")
        table = f"<table style='{font}border-collapse:collapse;border:none'>"
        table += f"<tr>{top}</tr>{''.join(rows)}</table>"
        return f"<div class='kvlearn-difference'>{head}{table}</div>"


def compare(one: Any, other: Any, names: tuple[str, str] = ("one", "other")) -> Difference:
    """Where two runs part, and how both end. Each is a trace, a cluster, or its records.

    Raises: TypeError for anything else.
    """
    one, other = _run(one), _run(other)
    traces = trace_of(one), trace_of(other)
    pairs = enumerate(zip_longest(*traces))
    seq, records = next(
        ((k, pair) for k, pair in pairs if pair[0] != pair[1]), (None, (None, None))
    )
    rows = tuple(_rows(*((look(run), look_store(run)) for run in (one, other))))
    last = max((trace[-1].time for trace in traces if len(trace)), default=0.0)
    return Difference(names, seq, records, rows, len(traces[0]), last)


def _run(subject: Any) -> Any:
    """A sequence of records becomes a trace."""
    if isinstance(subject, (list, tuple)):
        trace = Trace()
        for record in subject:
            if not isinstance(record, Record):
                raise TypeError(f"a run is a trace, a cluster or its records, not {record!r}")
            trace.add(record.time, record.node, record.event, record.cause)
        return trace
    return subject


def _rows(one: tuple[Moment, StoreMoment], other: tuple[Moment, StoreMoment]) -> Iterable[Row]:
    moments, stores = zip(one, other)
    yield Row("time", *(f"{moment.time:.3f} s" for moment in moments))
    yield Row("leader", *(moment.leader or "nobody" for moment in moments))
    yield Row("term", *(str(moment.term) for moment in moments))
    for name in sorted({name for moment in moments for name in moment.nodes}, key=natural):
        yield Row(name, *(_node(moment, name) for moment in moments))
    yield Row("store's revision", *(str(store.revision) for store in stores))
    yield Row("compacted at", *(str(store.compacted or NOTHING) for store in stores))
    yield from _differing("key", [_pairs(store) for store in stores])
    leases = [{f"{i.id:x}": _lease(i) for i in store.leases} for store in stores]
    alive = [sum(not lease.end for lease in store.leases) for store in stores]
    yield from _differing("lease", leases, alive)
    watches = [{w.name: _watch(w) for w in store.watches} for store in stores]
    alive = [sum(not w.end and w.lost != GONE for w in store.watches) for store in stores]
    yield from _differing("watch", watches, alive)


def _differing(what: str, facts: list[dict], alive: Iterable[int] = ()) -> Iterable[Row]:
    """How many there are in either run, of which `alive`, and those that are not alike in both."""
    counts = [
        f"{len(known)}" if going in (None, len(known)) else f"{len(known)} ({going} alive)"
        for known, going in zip_longest(facts, alive)
    ]
    yield Row("watches" if what == "watch" else f"{what}s", *counts)
    for name in sorted(facts[0].keys() | facts[1].keys()):
        called = short(name) if isinstance(name, bytes) else name
        row = Row(f"{what} {called}", *(known.get(name, NOTHING) for known in facts))
        if row.differs:
            yield row


def _node(moment: Moment, name: str) -> str:
    node = moment.nodes.get(name)
    if node is None:
        return NOTHING
    at = f"commit {node.commit}, applied {node.applied}, revision {node.revision}"
    return f"{node.role}, term {node.term}, {at}"


def _pairs(store: StoreMoment) -> dict[bytes, str]:
    """The keys that are there, each with its value and the revision that wrote it."""
    return {
        key: f"{_value(change.kv.value)} (revision {change.revision})"
        for key, change in newest(store.changes).items()
        if change.kind != "delete"
    }


def _value(value: bytes) -> str:
    """A value in few characters; long ones that differ look different."""
    if len(value) <= LONGEST:
        return short(value, 4 * LONGEST)
    return f"{short(value)} ({len(value):,} bytes, CRC {crc32(value):08x})"


def _lease(lease: LeaseLife) -> str:
    if lease.end:
        return f"{lease.end} at {lease.ended:.1f} s" if lease.ended is not None else lease.end
    left = "nobody counts" if lease.left is None else f"{lease.left:.1f} s left"
    return f"{left} of {lease.ttl_s} s" if lease.left is not None else f"{lease.ttl_s} s, {left}"


def _watch(watch: WatchLife) -> str:
    told = f"told {len(watch.told)} change{'s' * (len(watch.told) != 1)}"
    return f"{watch.what}: {watch.state}, {told}, up to revision {watch.position}"
