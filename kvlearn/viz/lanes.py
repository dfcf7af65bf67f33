"""Client lanes: who asked what from when to when, and the order that explains the answers.

A lane a client; a bar from call to return, open to the right where no answer came. Of a trace or a
cluster that is all: what was asked and answered up to a moment, each bar with a letter, under which
its words stand below the lanes. A refused request ends in a cross;
one whose client gave up stays open, since nobody knows what became of it.

    lanes(cluster, at=2.5)    lanes(check.linearizable(cluster))

A verdict is drawn with the order that it found. A numbered dot is the moment at which an operation
took effect, and the thin line runs through the moments in their order. Where no order explains all,
the longest one is drawn, the operation that comes after it nowhere ends in a cross, and those that
exclude each other have a heavy edge and bold words.

What is drawn of a verdict is plain data, as `check.linearizable(...).lanes()` gives it:

>>> bar = {"client": "c1", "row": 0, "text": "write 1", "call": 0.0, "return": 1.0, "moment": 0.5,
...        "place": 1, "kind": "placed", "core": False}
>>> lanes({"bars": [bar], "rows": ["c1"], "order": ["write 1"], "verdict": "ok", "left_out": 0,
...        "why": "1 operation of 1 client: an order explains every answer", "text": "c1: write 1"})
c1: write 1

The time axis keeps the order of all calls, moments and returns; it is stretched where much happens
and folded where nothing does.

Source: Herlihy and Wing (1990), figures 1 and 2.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from kvlearn import events as ev
from kvlearn.trace import Trace
from kvlearn.viz.moment import Moment, look, trace_of
from kvlearn.viz.nodes import asks_itself, natural
from kvlearn.viz.svg import (
    Box,
    Markup,
    Room,
    Svg,
    cross,
    el,
    fit,
    group,
    label,
    num,
    one_line,
    path,
    text_box,
    width,
    wrap,
)
from kvlearn.viz.theme import SIZES, tone

LEFT = 64.0  # the clients' names
RIGHT = 30.0
TOP = 58.0
ROW = 46.0  # a lane
BAR = 14.0  # a bar's height
LINE = 15.0  # the words of a bar below the lanes
DOT = 8.5  # a moment's radius
CLOSEST, COMMON, WIDEST = 5.0, 18.0, 60.0  # between two things that happen one after the other
NARROWEST, ROOMY, LETTERED = 46.0, 170.0, 24.0  # a bar; one whose words stand below the lanes
SMALL = SIZES["small"]
CALL, MOMENT, RETURN = 0, 1, 2  # of equal times, in this order: intervals are closed
LAST = 3  # a run tells the order of equal times: this and the record's number
KINDS = ("answered", "refused", "unknown", "waiting")
MARKS = {"ok": "✓ linearizable", "violated": "✗ not linearizable", "unknown": "? not decided"}


def lanes(
    subject: Any, at: float | None = None, seq: int | None = None, *, limit: int | None = None
) -> Svg:
    """Draw the clients' operations: of a trace, a cluster or a `Moment`, or the lanes of a verdict
    (whatever has `.lanes(limit)`) or of its data.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end. A
    verdict speaks of a whole history and has no cursor. `limit`: at most so many operations, of a
    verdict those that decide (24), of a run those that wait and the last ones (12).
    Raises: TypeError for anything else, ValueError for a cursor in a verdict, or two of them.
    """
    if hasattr(subject, "lanes") or isinstance(subject, dict):
        if at is not None or seq is not None:
            raise ValueError("a verdict speaks of a whole history: it has no `at=` or `seq=`")
        data = subject if isinstance(subject, dict) else subject.lanes(limit or 24)
    else:
        data = history(look(subject, at, seq), limit or 12)
    if not data["bars"]:
        told = "Nobody asked anything."
        body = label(24, 40, told, halo=False, tone="dim")
        return Svg("lanes", body, 380, 70, "No operations", told, told, hooks_of(data))
    axis = Axis(data["bars"])
    lettered = "letter" in data["bars"][0]
    wide = max(axis.right + RIGHT, 700.0 if lettered else 420.0)
    head = _head(data, wide)
    top = TOP - 20.0 if lettered else TOP + 15.0 * max(0, len(head) - 2)
    bottom = top + ROW * len(data["rows"])
    body = [
        group(head, class_="kv-head"),
        group(_rows(data, top, wide), class_="kv-rows"),
        group(_times(axis, top, bottom), class_="kv-axis"),
        group(_order(data, axis, top), class_="kv-order"),
        group(_bars(data, axis, top, wide), class_="kv-bars"),
        group(_moments(data, axis, top), class_="kv-moments"),
    ]
    high = bottom + 34
    if lettered:
        body.append(group(_words(data, high + 14, wide), class_="kv-words"))
        high += 14 + LINE * len(data["bars"])
    if data["left_out"]:
        many = data["left_out"]
        told = f"{_count(many, 'more operation')} {'is' if many == 1 else 'are'} not drawn."
        body.append(label(16, high + 4, told, size=SMALL, tone="dim", halo=False))
        high += 14
    title = data.get("title") or f"{len(data['bars'])} operations, {MARKS[data['verdict']][2:]}"
    text = "\n".join(one_line(line) for line in data["text"].split("\n"))
    desc = one_line(data["why"].replace("\n", " "))
    return Svg("lanes", "".join(body), wide, high, title, desc, text, hooks_of(data))


def hooks_of(data: dict[str, Any]) -> dict[str, object]:
    """The root's attributes."""
    return data.get("hooks") or {"data_kv_verdict": data["verdict"]}


# The operations of a run ----------------------------------------------------------------------

TOLD = 80  # so many operations are told in words


def operations(trace: Trace, end: int) -> list[dict[str, Any]]:
    """What clients asked up to record `end`, in that order, and what they were told by then; a
    real member that tells its own name is no client.

    `kind` is answered, refused (for certain not carried out), unknown (its client gave up, and it
    may have been carried out) or waiting; `return` is None for the last two.
    """
    bars: dict[tuple[str, int], dict[str, Any]] = {}
    for record in trace.of(ev.Invoked, ev.Returned):
        if record.seq > end:
            break
        event = record.event
        key = record.node, event.op_id
        if isinstance(event, ev.Invoked):
            if asks_itself(event):
                continue
            bars[key] = {
                "client": record.node, "node": event.node, "asked": str(event.request),
                "answer": "", "call": record.time, "call_order": LAST + record.seq,
                "return": None, "kind": "waiting", "place": None, "moment": None, "core": False,
            }  # fmt: skip
        elif key in bars:
            bars[key] |= _answered(record)
    for bar in bars.values():
        bar["text"] = bar["asked"] + (f" → {bar['answer']}" if bar["answer"] else "")
    return list(bars.values())


def _answered(record: Any) -> dict[str, Any]:
    """What an answer adds to a bar."""
    event = record.event
    if event.unknown:
        told = f"unknown: {event.error} (gave up at {record.time:.3f} s)"
        return {"kind": "unknown", "answer": told}
    ends = {"return": record.time, "return_order": LAST + record.seq}
    if event.error:
        return {"kind": "refused", "answer": f"refused: {event.error}", **ends}
    told = "ok" if event.result is None else str(event.result)
    return {"kind": "answered", "answer": f"{told}, revision {event.revision}", **ends}


def history(moment: Moment, limit: int) -> dict[str, Any]:
    """The operations up to a moment as data to draw, at most `limit` of them."""
    found = operations(trace_of(moment), moment.seq) if moment.trace is not None else []
    order = sorted(range(len(found)), key=lambda n: (found[n]["kind"] == "waiting", n))
    bars = [found[number] for number in sorted(order[-limit:])]
    for number, bar in enumerate(bars):
        bar["letter"] = _letter(number)
    numbers = {kind: sum(bar["kind"] == kind for bar in found) for kind in KINDS}
    counted = ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)
    clients = len({bar["client"] for bar in found})
    title = f"{_count(len(found), 'operation')} of {_count(clients, 'client')}"
    title += f" at {moment.time:.3f} s" + (f": {counted}" if counted else "")
    told = [f"  … {len(found) - TOLD} earlier operations"] * (len(found) > TOLD)
    told += [f"  {sentence(bar)}" for bar in found[-TOLD:]]
    return {
        "bars": bars,
        "rows": _assign_rows(bars),
        "verdict": "",
        "why": title,
        "title": title,
        "left_out": len(found) - len(bars),
        "text": "\n".join([title, *told]),
        "hooks": {"data_kv_time": num(moment.time), "data_kv_seq": moment.seq},
    }


def _letter(number: int) -> str:
    """A, B ... Z, A1, B1 ..."""
    return chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")


def _words(data: dict[str, Any], top: float, wide: float) -> list[Markup]:
    """A line for every bar of a run: its letter, and what was asked and told."""
    parts = []
    for number, bar in enumerate(data["bars"]):
        y = top + LINE * number
        faulty = bar["kind"] == "refused"
        open_ended = bar["return"] is None
        named = "fault" if faulty else "dim" if open_ended else "ink"
        told = f"{bar['client']} asks {bar['node']}: {bar['asked']} → "
        told = fit(one_line(told + (bar["answer"] or "no answer yet")), wide - 60, SMALL)
        parts.append(label(18, y, bar["letter"], size=SMALL, bold=True, tone=named, halo=False))
        parts.append(label(44, y, told, size=SMALL, tone=named, halo=False))
    return parts


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'s' * (number != 1)}"


def _assign_rows(bars: list[dict[str, Any]]) -> list[str]:
    """Give every bar a `row` on which it overlaps no other; the client of each row."""
    rows: list[str] = []
    for client in sorted({bar["client"] for bar in bars}, key=natural):
        ends: dict[int, tuple[float, int] | None] = {}  # row -> when its last bar ends; None: never
        for bar in (bar for bar in bars if bar["client"] == client):
            free = [row for row, end in ends.items() if end is not None and end < _call(bar)]
            if not free:
                free = [len(rows)]
                rows.append(client)
            bar["row"] = free[0]
            ends[free[0]] = None if bar["return"] is None else _return(bar)
    return rows


# Time ---------------------------------------------------------------------------------------


class Axis:
    """Times to places. Invariant: what happens later stands further right."""

    def __init__(self, bars: list[dict[str, Any]]):
        instants = {_call(bar) for bar in bars}
        instants |= {(bar["moment"], MOMENT) for bar in bars if bar["moment"] is not None}
        instants |= {_return(bar) for bar in bars if bar["return"] is not None}
        self.instants = sorted(instants)
        needs: dict[tuple[float, int], list[tuple[tuple[float, int], float]]] = {}
        for bar in bars:
            if bar["return"] is not None:
                room = ROOMY if len(bars) <= 12 else ROOMY / 1.5
                need = max(NARROWEST, min(room, width(bar["text"], SMALL) + 6))
                need = LETTERED if "letter" in bar else need
                needs.setdefault(_return(bar), []).append((_call(bar), need))
        last: dict[int, dict[str, Any]] = {}
        for bar in sorted(bars, key=_call):  # a gap between two on a row
            before = last.get(bar["row"])
            if before is not None and before["return"] is not None:
                needs.setdefault(_call(bar), []).append((_return(before), 16.0))
            last[bar["row"]] = bar
        times = [time for time, _ in self.instants]
        gaps = [b - a for a, b in zip(times, times[1:]) if b > a]
        scale = COMMON / median(gaps) if gaps else 1.0
        self.places: dict[tuple[float, int], float] = {}
        x = LEFT + 12.0
        for k, instant in enumerate(self.instants):
            if k:
                x += min(WIDEST, max(CLOSEST, (instant[0] - times[k - 1]) * scale))
            for start, need in needs.get(instant, ()):
                x = max(x, self.places[start] + need)
            self.places[instant] = x
        self.right = x + (NARROWEST if any(bar["return"] is None for bar in bars) else 0.0)

    def x(self, time: float, kind: int) -> float:
        """Where a call, a moment or a return stands."""
        return self.places[time, kind]

    def start(self, bar: dict[str, Any]) -> float:
        """Where a bar begins."""
        return self.places[_call(bar)]

    def end(self, bar: dict[str, Any]) -> float:
        """Where a bar with an answer ends."""
        return self.places[_return(bar)]


def _call(bar: dict[str, Any]) -> tuple[float, int]:
    return bar["call"], bar.get("call_order", CALL)


def _return(bar: dict[str, Any]) -> tuple[float, int]:
    return bar["return"], bar.get("return_order", RETURN)


def _times(axis: Axis, top: float, bottom: float) -> list[Markup]:
    """Times below the lanes, where there is room, with a faint line up to the first lane."""
    parts, room, last = [], Room(), ""
    small = {"size": SMALL, "tone": "dim", "halo": False, "anchor": "middle"}
    for time, kind in axis.instants:
        if kind == MOMENT:
            continue
        x, told = axis.places[time, kind], f"{time:.6g}"
        if told == last:
            continue
        box = text_box(x, bottom + 18, told, SMALL, "middle")
        wider = Box(box.left - 6, box.top, box.right + 6, box.bottom)
        if room.free([wider]):
            room.take([box])
            last = told
            grid = path((x, top), (x, bottom + 6))
            parts.append(el("path", d=grid, stroke=tone("faint"), stroke_width=0.8))
            parts.append(label(x, bottom + 18, told, **small))
    return parts


# Lanes and bars -----------------------------------------------------------------------------


def _head(data: dict[str, Any], wide: float) -> list[Markup]:
    if not data["verdict"]:
        lines = wrap(data["why"], wide - 32, SMALL, 2)
        return [
            label(16, 22 + 14 * k, told, size=SMALL, tone="dim", halo=False)
            for k, told in enumerate(lines)
        ]
    mark = MARKS[data["verdict"]]
    named = {"ok": "good", "violated": "fault"}.get(data["verdict"], "dim")
    first = one_line(data["why"].split("\n")[0]).rstrip(":") + "."
    parts = [label(16, 22, mark, size=14, bold=True, tone=named, halo=False)]
    for k, line in enumerate(wrap(first, wide - 32, SIZES["text"], 3)):
        parts.append(label(16, 40 + 15 * k, line, halo=False, tone="dim"))
    return parts


def _rows(data: dict[str, Any], top: float, wide: float) -> list[Markup]:
    parts, before = [], None
    for row, client in enumerate(data["rows"]):
        y = top + ROW * row + 30
        line = path((LEFT, y), (wide - 12, y))
        parts.append(el("path", d=line, stroke=tone("faint"), stroke_width=1))
        if client != before:
            shown = fit(one_line(client), LEFT - 18, 14)
            parts.append(label(14, y + 5, shown, size=14, bold=True, halo=False))
        before = client
    return parts


def _bars(data: dict[str, Any], axis: Axis, top: float, wide: float) -> list[Markup]:
    """All bars; the words of one may reach up to the next on its row."""
    drawn, reach = [], [wide - 10.0] * len(data["rows"])
    for bar in sorted(data["bars"], key=_call, reverse=True):
        drawn.append(_bar(bar, axis, top, wide, reach[bar["row"]]))
        reach[bar["row"]] = axis.start(bar) - 8
    return drawn[::-1]


def _bar(bar: dict[str, Any], axis: Axis, top: float, wide: float, reach: float) -> Markup:
    open_ended = bar["return"] is None
    x = axis.start(bar)
    end = wide - 16 if open_ended else axis.end(bar)
    y = top + ROW * bar["row"] + 30
    stuck, core = bar["kind"] == "stuck", bar["core"]
    pale = bar["kind"] in ("left", "never", "waiting", "unknown")
    refused = bar["kind"] == "refused"
    edge = tone("fault") if stuck else tone("ink") if core else tone("dim")
    look = {
        "fill": tone("surface") if pale else tone("sunken"),
        "fill_opacity": 0.8,  # the order's line is below, so that it runs through no words
        "stroke": edge,
        "stroke_width": 2.4 if core or stuck else 1.0,
        "stroke_dasharray": "4 3" if pale else None,
        "stroke_linejoin": "round",
    }
    corners = [(end, y - BAR / 2), (x, y - BAR / 2), (x, y + BAR / 2), (end, y + BAR / 2)]
    outline = path(*corners) + ("" if open_ended else " Z")
    told = one_line(bar["text"])
    named = "fault" if stuck or refused else "dim" if pale else "ink"
    bold = core or stuck
    shown = fit(told, (reach - x) / (1.1 if bold else 1.0), SMALL)
    shown = bar.get("letter", shown)
    parts = [
        el("title", sentence(bar)),
        el("path", d=outline, **look),
        label(x, y - BAR / 2 - 5, shown, size=SMALL, tone=named, bold=bold),
    ]
    parts += _end(bar, x, end, y)
    return group(
        parts,
        class_="kv-operation",
        data_kv_client=bar["client"],
        data_kv_operation=bar["kind"],
        data_kv_place=bar["place"],
        data_kv_core="" if core else None,
        data_kv_target=bar.get("node"),
    )


def _end(bar: dict[str, Any], x: float, end: float, y: float) -> list[Markup]:
    """How a bar ends: a cross where it was refused or fits nowhere, words where it goes on."""
    if bar["kind"] == "stuck":
        return [cross(end, y, 6, stroke=tone("fault"), stroke_width=2.6)]
    if bar["kind"] == "refused":
        return [cross(end, y, 4.5, stroke=tone("fault"), stroke_width=2)]
    if bar["return"] is not None:
        return []
    words = {"waiting": "no answer yet", "unknown": "outcome unknown"}
    told = fit(words.get(bar["kind"], "no answer"), end - x - 4, SMALL)
    return [label(end, y + 4, told, size=SMALL, tone="dim", anchor="end")]


def sentence(bar: dict[str, Any]) -> str:
    """What is said of a bar under the mouse."""
    if bar["kind"] in KINDS:
        when = f"{bar['call']:.3f} s" + (f" to {bar['return']:.3f} s" if bar["return"] else "")
        told = f"{bar['client']} asks {bar['node']}: {bar['asked']} ({when})"
        return one_line(f"{told}: {bar['answer'] or 'no answer yet'}")
    end = "no answer" if bar["return"] is None else f"to {bar['return']:.7g}"
    told = {
        "placed": f"number {bar['place']} of the order",
        "stuck": "it can come nowhere after the numbered ones",
        "left": "not looked for any more",
        "never": "nothing needs it",
    }[bar["kind"]]
    core = "; one of those that exclude each other" if bar["core"] else ""
    return f"{bar['client']}: {bar['text']}, from {bar['call']:.7g} {end}; {told}{core}"


def _spots(data: dict[str, Any], axis: Axis, top: float) -> list[tuple[dict, float, float]]:
    """The operations of the order, and where their moments stand."""
    placed = sorted((bar for bar in data["bars"] if bar["place"]), key=lambda bar: bar["place"])
    return [(bar, axis.x(bar["moment"], MOMENT), top + ROW * bar["row"] + 30) for bar in placed]


def _order(data: dict[str, Any], axis: Axis, top: float) -> list[Markup]:
    spots = [(x, y) for _, x, y in _spots(data, axis, top)]
    line = {"fill": "none", "stroke": tone("dim"), "stroke_width": 1.2, "stroke_opacity": 0.55}
    return [el("path", d=path(*spots), **line)] if len(spots) > 1 else []


def _moments(data: dict[str, Any], axis: Axis, top: float) -> list[Markup]:
    parts = []
    for bar, x, y in _spots(data, axis, top):
        told = str(bar["place"])
        size = 10.5 if len(told) < 3 else 8.0
        parts += [
            el("circle", cx=x, cy=y, r=DOT, fill=tone("ink"), data_kv_moment=bar["place"]),
            el(
                "text",
                told,
                x=x,
                y=y + size * 0.36,
                font_size=size,
                text_anchor="middle",
                fill=tone("surface"),
                font_weight=600,
            ),
        ]
    return parts
