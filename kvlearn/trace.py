"""The trace: the one story that a run tells, and everything else reads.

A trace is a list of records (number, time, node, event, cause). The number of a record is its
place in the list; the cause is the number of the record that led to it: a receive points at its
send, a grant at its request, a commit at the answer that completed the majority.

>>> from kvlearn.events import Committed, Invoked
>>> trace = Trace(seed=7)
>>> asked = trace.add(0.5, "c1", Invoked(1, "n1", "put a"), None)
>>> trace.add(0.75, "n1", Committed(3, 1, 2), asked)
1
>>> print(trace[1])
n1 commits entry 3, up to 3@1
>>> [str(record) for record in trace.causes(1)]
['c1 asks n1: put a']

Differs: etcd logs text to stderr; there is no log of facts to read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kvlearn.values import from_json, to_json, value


@value
class Record:
    """One line of the story. `time` is in seconds, `cause` a record's number or None."""

    seq: int
    time: float
    node: str  # "n1", a client "c1", or "" for the cluster as a whole
    event: object
    cause: int | None

    def __str__(self) -> str:
        return f"{self.node} {self.event}" if self.node else str(self.event)


class Trace:
    """Records in the order in which they happened, and the readers that hear of each new one.

    Invariant: record number k is at place k; times never decrease; a cause is smaller than its
    record's number. Readers are called with the record after it was added, and must not raise.
    """

    def __init__(self, seed: int | None = None, about: dict | None = None):
        self.seed = seed
        self.about = about or {}  # plain facts about the run: nodes, config; they travel with save
        self._rows: list[tuple] = []  # (time, node, event, cause): cheap to add, rendered on demand
        self._readers: dict[type, list[Callable[[Record], None]]] = {}
        self.era = 0  # grows when the past was replaced: what was read before may not hold

    def add(self, time: float, node: str, event: object, cause: int | None) -> int:
        """Append one record, tell the readers, and return its number."""
        rows = self._rows
        seq = len(rows)
        rows.append((time, node, event, cause))
        if self._readers:
            for read in self._readers.get(type(event), ()):
                read(Record(seq, time, node, event, cause))
        return seq

    def note(self, time: float, node: str, kind: type, facts: tuple, cause: int | None) -> int:
        """As `add`, for what happens most: the event kind(*facts) is made when it is looked at."""
        if kind in self._readers:
            return self.add(time, node, kind(*facts), cause)
        rows = self._rows
        rows.append((time, node, (kind, facts), cause))
        return len(rows) - 1

    def mend(self, seq: int, event: object) -> None:
        """More has become known of record `seq`: what it tells, but not of what, where or when."""
        time, node, _, cause = self._rows[seq]
        self._rows[seq] = time, node, event, cause

    def _record(self, seq: int) -> Record:
        time, node, event, cause = self._rows[seq]
        if type(event) is tuple:
            event = event[0](*event[1])
        return Record(seq, time, node, event, cause)

    def subscribe(self, read: Callable[[Record], None], *kinds: type) -> None:
        """Call `read(record)` for each new record whose event is one of `kinds`."""
        for kind in kinds:
            self._readers.setdefault(kind, []).append(read)

    def unsubscribe(self, read: Callable[[Record], None]) -> None:
        """Stop calling `read`; unknown readers are ignored."""
        for kind, readers in list(self._readers.items()):
            self._readers[kind] = [other for other in readers if other != read]
            if not self._readers[kind]:
                del self._readers[kind]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: int | slice):
        if isinstance(which, slice):
            return [self._record(seq) for seq in range(*which.indices(len(self._rows)))]
        return self._record(range(len(self._rows))[which])

    def __iter__(self) -> Iterator[Record]:
        for seq in range(len(self._rows)):
            yield self._record(seq)

    def of(self, *kinds: type, node: str | None = None, start: int = 0) -> Iterator[Record]:
        """The records from number `start` on whose event is one of `kinds` (at `node`)."""
        for seq in range(start, len(self._rows)):
            _, where, event, _ = self._rows[seq]
            kind = event[0] if type(event) is tuple else type(event)
            if kind in kinds and (node is None or where == node):
                yield self._record(seq)

    def causes(self, seq: int) -> list[Record]:
        """The chain of causes of record `seq`, nearest first."""
        chain = []
        cause = self[seq].cause
        while cause is not None:
            chain.append(self[cause])
            cause = chain[-1].cause
        return chain

    def replaced_by(self, other: Trace) -> Trace:
        """Take over the records of `other` and forget the own ones; readers hear nothing of it,
        but can see that `era` has grown. So a cluster that was rewound keeps its trace."""
        self._rows = other._rows
        self.era += 1
        return self

    def __deepcopy__(self, memo: dict) -> Trace:
        """A copy that shares the records (values) and has no readers."""
        twin = Trace(self.seed, dict(self.about))
        memo[id(self)] = twin
        twin._rows = list(self._rows)
        return twin

    # Files and frames -----------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """The trace as JSON lines, a header first; the same run gives the same bytes."""
        head = {"kvlearn": 1, "seed": self.seed, **self.about}
        yield json.dumps(head, ensure_ascii=False, sort_keys=True)
        for r in self:
            row = {"seq": r.seq, "time": r.time, "node": r.node, "cause": r.cause}
            row["event"] = to_json(r.event)
            yield json.dumps(row, ensure_ascii=False)

    def save(self, path: str | Path) -> None:
        """Write the trace as JSON lines (UTF-8)."""
        Path(path).write_text("".join(line + "\n" for line in self.lines()), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read what `save` wrote.

        Raises: ValueError, naming the line, if it is not a trace.
        """
        text = Path(path).read_text(encoding="utf-8")
        # Not splitlines(): it also splits at characters that JSON leaves as they are (U+0085).
        return cls.parse(text.removesuffix("\n").split("\n") if text else (), str(path))

    @classmethod
    def parse(cls, lines: Iterable[str], where: str = "trace") -> Trace:
        """Read the JSON lines that `lines` gave."""
        trace = None
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if trace is None:
                    if row.pop("kvlearn") != 1:
                        raise ValueError("written by a newer version of kvlearn")
                    trace = cls(row.pop("seed"), row)
                else:
                    event = from_json(row["event"])
                    trace._rows.append((row["time"], row["node"], event, row["cause"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{where}, line {number}: not a line of a trace: {error}"
                ) from None
        if trace is None:
            raise ValueError(f"{where} is empty: a trace has at least a header line")
        return trace

    def to_pandas(self):
        """A DataFrame, one row a record: time, node, kind, text, cause (indexed by seq)."""
        import pandas

        rows = [(r.time, r.node, type(r.event).__name__, str(r), r.cause) for r in self]
        frame = pandas.DataFrame(rows, columns=["time", "node", "kind", "text", "cause"])
        frame["cause"] = frame["cause"].astype("Int64")
        return frame.rename_axis("seq")

    def log_to(self, logger) -> None:
        """Log each new record as one line, at level INFO, to a `logging.Logger`."""

        def tell(record: Record) -> None:
            logger.info("%12.6f %s", record.time, record)

        from kvlearn import events

        kinds = [
            k
            for k in vars(events).values()
            if isinstance(k, type) and k.__module__ == events.__name__
        ]
        self.subscribe(tell, *kinds)

    def __repr__(self) -> str:
        until = f"{self._rows[-1][0]:.3f} s" if self._rows else "0 s"
        return f"<Trace of {len(self)} records, {until}, seed {self.seed}>"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{r.seq}</td><td>{r.time:.3f}</td>"
            f"<td style='text-align:left'>{escape(str(r))}</td></tr>"
            for r in self[-12:]
        )
        head = (
            "<tr><th>seq</th><th>time (s)</th><th style='text-align:left'>what happened</th></tr>"
        )
        return f"<p>{escape(repr(self)[1:-1])}; the last ones:</p><table>{head}{rows}</table>"
