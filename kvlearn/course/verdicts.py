"""What `check` answers: right or not, why, which promise broke, at which event, under which rule.

Never just "wrong": a judgement that is not ok says what happened and shows it, as the records
around the event and the cluster at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kvlearn.check.verdict import Verdict
from kvlearn.course.page import Card, Fold, Part, Table, Words
from kvlearn.course.trials import Outcome
from kvlearn.events import Delayed, Dropped, Progressed, Received, Saved, Sent
from kvlearn.raft.messages import Heartbeat, HeartbeatResponse
from kvlearn.trace import Record, Trace
from kvlearn.viz import ring

BEFORE, AFTER = 7, 2  # records of a window before and after the one that it is about


@dataclass
class Judgement:
    """The answer to an answer. `ok` is True, False, or None where there was nothing to judge yet.

    `promise`, `rule` and `record` say what broke, under which rule and at which record, where
    that is what decided. It shows itself in a notebook; `str` is its plain form.
    """

    exercise: str
    ok: bool | None
    title: str
    why: list[str] = field(default_factory=list)
    promise: str = ""
    rule: str = ""
    record: Record | None = None
    parts: list[Part] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.ok)

    def card(self) -> Card:
        """The judgement as a card."""
        mood = {True: "good", False: "fault", None: "open"}[self.ok]
        return Card(mood, self.title, [*map(Words, self.why), *self.parts])

    def _repr_html_(self) -> str:
        return self.card()._repr_html_()

    def __str__(self) -> str:
        return str(self.card())

    __repr__ = __str__


def window(trace: Trace, seq: int) -> list[Part]:
    """The records around number `seq` that led to it, and the cluster at that moment."""
    causes = {record.seq for record in trace.causes(seq)}
    told = [r for r in trace[: seq + 1] if r.seq == seq or _tells(r)]
    before = [r for r in told if r.seq < seq]
    kept = before[-BEFORE:]
    # The chain of causes belongs there too, however far back it began; three of it are enough.
    early = [r for r in before[:-BEFORE] if r.seq in causes][-3:]
    after = [r for r in trace[seq + 1 : seq + 60] if _tells(r)][:AFTER]
    records = [*early, *kept, trace[seq], *after]
    rows = [(str(r.seq), f"{r.time:.4f} s", line_of(r)) for r in records]
    bold = next(place for place, r in enumerate(records) if r.seq == seq)
    picture = ring(trace, seq=seq)
    return [
        Table(("record", "time", "what happened"), rows, bold),
        Fold(f"the cluster at record {seq}", picture.html()),
    ]


def line_of(record: Record) -> str:
    """The record in one line; a message says where it goes."""
    event = record.event
    if isinstance(event, (Sent, Received, Dropped, Delayed)):
        message = event.message
        verb = {Sent: "sends", Received: "receives"}.get(type(event))
        if verb is None:
            return f"{message.source}→{message.target} {event}"
        other = f"to {message.target}" if verb == "sends" else f"from {message.source}"
        return f"{record.node} {verb} {message} {other}"
    return str(record)


def _tells(record: Record) -> bool:
    """Whether a record is worth a line: heartbeats, bookkeeping and departures are not."""
    event = record.event
    if isinstance(event, (Progressed, Saved, Sent)):
        return False
    message = getattr(event, "message", None)
    return not isinstance(message, (Heartbeat, HeartbeatResponse))


def place(verdict: Verdict) -> str:
    """`record 41 at 1.0043 s (seed 1)`."""
    record = verdict.record
    where = f"record {record.seq} at {record.time:.4f} s" if record is not None else "the end"
    return where + (f" (seed {verdict.seed})" if verdict.seed is not None else "")


def broke(outcome: Outcome) -> str:
    """The promise that a trial broke, at which record, in one sentence."""
    verdict = outcome.broken
    where = f"{place(verdict)}, in the scene “{outcome.trial}”"
    return f"{verdict.promise} broke at {where}: {verdict.why}."
