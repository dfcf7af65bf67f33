"""Verdicts: a lamp for every promise, as far as the run has come.

A lamp says in shape and word whether a promise is kept: a disc with a tick is *kept*, an octagon
with a cross is *broken*, an empty ring has *nothing to judge* (nobody watches, no lease was ever
granted), and a ring with a question mark *cannot tell* from this trace. Beside it stand the place
that makes the promise and why the lamp is as it is; below a broken one the event that broke it.

>>> from kvlearn.events import BecameLeader
>>> from kvlearn.raft.types import ZERO
>>> from kvlearn.trace import Trace
>>> trace = Trace()
>>> for time, node in (0.5, "n1"), (0.75, "n3"):
...     _ = trace.add(time, node, BecameLeader(2, (node,), ZERO), None)
>>> [lamp.promise for lamp in lamps(trace) if lamp.state == "broken"]
['Election Safety']
>>> [lamp.promise for lamp in lamps(trace, seq=0) if lamp.state == "broken"]
[]

The checkers judge what the records up to the cursor tell, and nothing behind it: a lamp goes out at
the very record that breaks its promise, and never comes on again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kvlearn import events as ev
from kvlearn.doors import door
from kvlearn.kv.kinds import in_log
from kvlearn.kv.leases import LeaseGrant
from kvlearn.trace import Record, Trace
from kvlearn.viz.axis import legend
from kvlearn.viz.moment import Moment, line, seq_at, trace_of
from kvlearn.viz.svg import (
    Markup,
    Svg,
    cross,
    el,
    fit,
    group,
    label,
    num,
    one_line,
    path,
    wrap,
)
from kvlearn.viz.theme import SIZES, tone

WIDE = 700.0
LAMP, NAME, WORD, WHY = 26.0, 46.0, 204.0, 302.0  # columns
TOP, LINE, GAP = 30.0, 14.0, 10.0
R = 8.0
SMALL, TINY = SIZES["small"], 9.5
KEPT, BROKEN, NOTHING, UNKNOWN = "kept", "broken", "nothing", "unknown"
WORDS = {KEPT: "kept", BROKEN: "broken", NOTHING: "nothing to judge", UNKNOWN: "cannot tell"}
TONES = {KEPT: "good", BROKEN: "fault", NOTHING: "dim", UNKNOWN: "dim"}


class Lamp(NamedTuple):
    """What is said of one promise. `state`: kept, broken, nothing (to judge) or unknown.

    `record` is the number of the record that broke it first, at `time` seconds, and `event` that
    record in words; None and "" for a promise that is not broken. `later`: further breaks. `since`
    is the first record that gave it something to judge, so that the lamps of a whole run tell what
    they showed at every earlier record, too; see `state_at`.
    """

    group: str
    promise: str
    section: str  # where it is made: "paper 5.2", "etcd: watch API"
    state: str
    why: str
    record: int | None = None
    time: float | None = None
    event: str = ""
    later: int = 0
    since: int | None = None

    def state_at(self, seq: int) -> str:
        """What this lamp showed after record `seq`, for a lamp that has seen that record."""
        if self.record is not None and self.record <= seq:
            return BROKEN
        if self.state == UNKNOWN:
            return UNKNOWN
        return NOTHING if self.since is None or seq < self.since else KEPT


# What a promise needs to be judged at all: a sentence for where it is missing, and the test. ----

Needs = tuple[str, Callable[[Record], bool]]


def _kind(*kinds: type) -> Callable[[Record], bool]:
    return lambda record: isinstance(record.event, kinds)


def _granted(record: Record) -> bool:
    event = record.event
    if not isinstance(event, ev.Applied) or event.error:
        return False
    return isinstance(getattr(event.command, "request", None), LeaseGrant)


LEADS: Needs = ("nobody was elected yet", _kind(ev.BecameLeader))
COMMITS: Needs = ("nothing is committed yet", _kind(ev.Committed))
ANSWERED: Needs = (
    "no client has an answer yet",
    lambda record: isinstance(record.event, ev.Returned) and not record.event.error,
)
WATCHED: Needs = ("nobody watches", _kind(ev.WatchAsked, ev.Notified))
LEASED: Needs = ("no lease was ever granted", _granted)
NEEDS: dict[str, Needs] = {
    "Election Safety": LEADS,
    "Leader Append-Only": LEADS,
    "Log Matching": ("no log holds an entry yet", _kind(ev.Appended)),
    "Leader Completeness": COMMITS,
    "State Machine Safety": ("nothing is applied yet", _kind(ev.Applied)),
    "Durability": ("no write was acknowledged yet", _kind(ev.Returned)),  # and see `_written`
    "Leader Stability": LEADS,
    "Leader Activity": LEADS,
}
THESIS = ("4.2.3", "6.2")  # sections that are the thesis'; other numbers are the paper's
RAFT, CLIENTS, WATCHES, LEASES = "Raft", "clients and operators", "watches", "leases"
GROUPS: dict[str, Needs | None] = {RAFT: None, CLIENTS: ANSWERED, WATCHES: WATCHED, LEASES: LEASED}


def lamps(subject: Any, at: float | None = None, seq: int | None = None) -> tuple[Lamp, ...]:
    """Every promise and whether it is kept: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    Raises: TypeError for anything else, ValueError if both are given.
    """
    trace, end, _ = _cursor(subject, at, seq)
    past = _until(trace, end)
    said = _facts(past)
    found: list[Lamp] = []
    for named, judge in _judges(past):
        try:
            verdicts = judge()
        except ValueError as error:  # the trace does not tell everything
            need = GROUPS[GROUP_OF[named]]
            idle = need is not None and need[0] not in said
            state, why = (NOTHING, need[0]) if idle else (UNKNOWN, str(error))
            found.append(Lamp(GROUP_OF[named], NAMES[named], "", state, why))
            continue
        found += [_lamp(GROUP_OF[named], one, said) for one in verdicts]
    return tuple(found)


GROUP_OF = {
    "invariants": RAFT,
    "service": CLIENTS,
    "answers": CLIENTS,
    "watches": WATCHES,
    "leases": LEASES,
}
NAMES = {  # of the lamp that stands for all of a group that cannot be judged
    "invariants": "the figure's promises",
    "service": "freshness",
    "answers": "Answers",
    "watches": "all to watchers",
    "leases": "all to holders",
}


def _judges(past: Trace) -> list[tuple[str, Callable[[], Any]]]:
    return [
        ("invariants", lambda: door("invariants")().read(past).verdicts()),
        ("service", lambda: door("service")(past)),
        ("answers", lambda: [door("answers")(past)]),
        ("watches", lambda: door("watches")(past)),
        ("leases", lambda: door("leases")(past)),
    ]


def _cursor(subject: Any, at: float | None, seq: int | None) -> tuple[Trace, int, float]:
    """The trace, the last record to look at, and the time that is shown."""
    if at is not None and seq is not None:
        raise ValueError("say `at=` (seconds) or `seq=` (record number), not both")
    trace = trace_of(subject)
    end = len(trace) - 1 if seq is None else max(-1, min(seq, len(trace) - 1))
    if at is not None:
        return trace, seq_at(trace, at), at
    if seq is None and isinstance(subject, Moment):
        return trace, subject.seq, subject.time
    time = trace[end].time if end >= 0 else 0.0
    now = getattr(subject, "now", None)
    return trace, end, now if seq is None and isinstance(now, (int, float)) else time


def _until(trace: Trace, end: int) -> Trace:
    """The trace up to record `end`: checkers read a trace to its end."""
    if end >= len(trace) - 1:
        return trace
    past = Trace(trace.seed, dict(trace.about))
    for record in trace[: end + 1]:
        past.add(record.time, record.node, record.event, record.cause)
    return past


def _facts(past: Trace) -> dict[str, int]:
    """Needs, by their sentences, and the first record that met them."""
    open_needs = {need[0]: need[1] for need in [*NEEDS.values(), *GROUPS.values()] if need}
    del open_needs[NEEDS["Durability"][0]]
    seen: dict[str, int] = {}
    writes: set[tuple[str, int]] = set()
    kinds = (ev.BecameLeader, ev.Appended, ev.Committed, ev.Applied, ev.Invoked, ev.Returned,
             ev.WatchAsked, ev.Notified)  # fmt: skip
    for record in past.of(*kinds):
        for told in [told for told, holds in open_needs.items() if holds(record)]:
            seen[told] = record.seq
            del open_needs[told]
        if _written(record, writes):
            seen.setdefault(NEEDS["Durability"][0], record.seq)
    return seen


def _written(record: Record, writes: set[tuple[str, int]]) -> bool:
    """Whether this acknowledges a write; `writes` are those that wait for their answer."""
    event = record.event
    if isinstance(event, ev.Invoked) and in_log(event.request):
        writes.add((record.node, event.op_id))
    return (
        isinstance(event, ev.Returned) and not event.error and (record.node, event.op_id) in writes
    )


def _lamp(named: str, verdict: Any, said: dict[str, int]) -> Lamp:
    section = verdict.section
    if section[:1].isdigit():
        section = f"{'thesis' if section in THESIS else 'paper'} {section}"
    need = NEEDS.get(verdict.promise) or GROUPS[named]
    since = said.get(need[0]) if need else 0
    if not verdict.ok:
        record = verdict.record
        told = (None, None, "") if record is None else (record.seq, record.time, line(record))
        return Lamp(
            named, verdict.promise, section, BROKEN, verdict.why, *told, verdict.later, since
        )
    if need is not None and since is None:
        return Lamp(named, verdict.promise, section, NOTHING, need[0])
    return Lamp(named, verdict.promise, section, KEPT, verdict.why, since=since)


# The picture --------------------------------------------------------------------------------


def verdicts(subject: Any, at: float | None = None, seq: int | None = None) -> Svg:
    """Draw a lamp for every promise at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    """
    trace, end, time = _cursor(subject, at, seq)
    found = lamps(trace, seq=end)
    text = _text(found, time)
    body, y = [_head(found, time)], TOP
    for named in GROUPS:
        mine = [lamp for lamp in found if lamp.group == named]
        if not mine:
            continue
        body.append(label(14, y + 14, named, bold=True, halo=False))
        y += 24
        for lamp in mine:
            drawn, high = _row(lamp, y)
            body.append(drawn)
            y += high
        y += GAP
    body.append(group(_legend(y + 8), class_="kv-legend"))
    hooks = {"data_kv_time": num(time), "data_kv_seq": end}
    hooks["data_kv_broken"] = sum(lamp.state == BROKEN for lamp in found)
    title, desc = text.splitlines()[0], text.replace("\n", "; ")
    return Svg("verdicts", "".join(body), WIDE, y + 24, title, desc, text, hooks)


def _count(found: tuple[Lamp, ...]) -> str:
    numbers = {state: sum(lamp.state == state for lamp in found) for state in WORDS}
    return ", ".join(f"{number} {WORDS[state]}" for state, number in numbers.items() if number)


def _head(found: tuple[Lamp, ...], time: float) -> Markup:
    told = f"{time:.3f} s · {_count(found)}"
    return label(14, 18, told, size=SMALL, tone="dim", halo=False)


def _row(lamp: Lamp, y: float) -> tuple[Markup, float]:
    """One promise, and how high that is."""
    named = TONES[lamp.state]
    why = one_line(lamp.why)
    lines = wrap(why, WIDE - WHY - 24, SMALL, 5 if lamp.state == BROKEN else 2)
    middle = y + 12
    parts = [
        el("title", _words(lamp)),
        group(_sign(lamp.state), transform=f"translate({num(LAMP)},{num(middle - 4)})"),
        label(NAME, middle, fit(lamp.promise, WORD - NAME - 8), bold=lamp.state == BROKEN,
              halo=False),
        label(NAME, middle + 13, fit(lamp.section, WORD - NAME - 8, TINY), size=TINY, tone="dim",
              halo=False),
        label(WORD, middle, WORDS[lamp.state], size=SMALL, tone=named, bold=lamp.state == BROKEN,
              halo=False),
    ]  # fmt: skip
    style = {"size": SMALL, "halo": False}
    tint = "ink" if lamp.state == BROKEN else "dim"
    for number, told in enumerate(lines):
        parts.append(label(WHY, middle + LINE * number, told, tone=tint, **style))
    bottom = LINE * len(lines)
    for told in _event_lines(lamp):
        parts.append(label(WHY, middle + bottom, told, tone="fault", **style))
        bottom += LINE
    high = max(30.0, bottom + 6)
    hooks = {"data_kv_promise": lamp.promise, "data_kv_lamp": lamp.state}
    hooks["data_kv_record"] = lamp.record
    return group(parts, class_="kv-lamp", **hooks), high


def _event_lines(lamp: Lamp) -> list[str]:
    """The event that broke the promise: its place in the run, and what happened."""
    if lamp.record is None:
        return []
    told = f"broken by record {lamp.record} at {lamp.time:.3f} s: {one_line(lamp.event)}"
    lines = wrap(told, WIDE - WHY - 24, SMALL, 3)
    if lamp.later:
        lines.append(f"and {lamp.later} time{'s' * (lamp.later != 1)} more later on")
    return lines


def _sign(state: str) -> list[Markup]:
    """A lamp around (0, 0): four shapes that differ without any colour."""
    line = {"stroke": tone(TONES[state]), "stroke_width": 1.8}
    pen = {"fill": "none", "stroke": tone("surface"), "stroke_width": 2.2,
           "stroke_linecap": "round", "stroke_linejoin": "round"}  # fmt: skip
    if state == KEPT:
        tick = path((-3.6, 0.2), (-1, 3), (4, -3))
        return [el("circle", r=R, fill=tone("good")), el("path", d=tick, **pen)]
    if state == BROKEN:
        a, b = R * 1.1, R * 0.45
        eight = ((b, -a), (a, -b), (a, b), (b, a), (-b, a), (-a, b), (-a, -b), (-b, -a))
        shape = el("path", d=path(*eight) + " Z", fill=tone("fault"))
        return [shape, cross(0, 0, 3.4, **pen)]
    if state == NOTHING:
        dash = el("path", d="M-3,0 L3,0", **line)
        return [el("circle", r=R - 1, fill="none", stroke_dasharray="3 2.5", **line), dash]
    mark = label(0, 4, "?", size=SMALL, bold=True, tone="dim", anchor="middle", halo=False)
    return [el("circle", r=R - 1, fill="none", **line), mark]


def _legend(y: float) -> list[Markup]:
    small = [group(_sign(state), transform="scale(0.75)") for state in WORDS]
    return legend(list(zip(WORDS.values(), small)), y)


# Words --------------------------------------------------------------------------------------


def _words(lamp: Lamp) -> str:
    told = f"{lamp.promise} ({lamp.section or 'kvlearn'}): {WORDS[lamp.state]}: {lamp.why}"
    if lamp.record is not None:
        told += f" [record {lamp.record}, {lamp.time:.3f} s: {lamp.event}]"
    if lamp.later:
        told += f"; broken {lamp.later} time{'s' * (lamp.later != 1)} more later on"
    return one_line(told)


def _text(found: tuple[Lamp, ...], time: float) -> str:
    lines = [f"{len(found)} promises at {time:.3f} s: {_count(found)}"]
    for named in GROUPS:
        mine = [lamp for lamp in found if lamp.group == named]
        if mine:
            lines += [f"{named}:", *(f"  {_words(lamp)}" for lamp in mine)]
    return "\n".join(lines)
