"""Client lanes: who asked what from when to when, and the order that explains the answers.

A lane a client; a bar from call to return, open to the right where no answer came. A numbered dot
is the moment at which the operation took effect, and the thin line runs through the moments in
their order. Where no order explains all, the longest one is drawn, the operation that comes after
it nowhere ends in a cross, and those that exclude each other have a heavy edge and bold words.

What is drawn is plain data, as `check.linearizable(...).lanes()` gives it:

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
DOT = 8.5  # a moment's radius
CLOSEST, COMMON, WIDEST = 5.0, 18.0, 60.0  # between two things that happen one after the other
NARROWEST, ROOMY = 46.0, 170.0  # a bar
SMALL = SIZES["small"]
CALL, MOMENT, RETURN = 0, 1, 2  # of equal times, in this order: intervals are closed
MARKS = {"ok": "✓ linearizable", "violated": "✗ not linearizable", "unknown": "? not decided"}


def lanes(subject: Any, limit: int = 24) -> Svg:
    """Draw the lanes of a verdict (whatever has `.lanes(limit)`), or of its data.

    `limit`: at most so many operations, those that decide first.
    """
    data = subject.lanes(limit) if hasattr(subject, "lanes") else subject
    if not data["bars"]:
        told = "Nobody asked anything."
        body = label(24, 40, told, halo=False, tone="dim")
        return Svg("lanes", body, 380, 70, "No operations", told, told, hooks_of(data))
    axis = Axis(data["bars"])
    wide = max(axis.right + RIGHT, 420.0)
    head = _head(data, wide)
    top = TOP + 15.0 * max(0, len(head) - 2)
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
    if data["left_out"]:
        told = f"{data['left_out']} more operations are not drawn."
        body.append(label(16, high + 4, told, size=SMALL, tone="dim", halo=False))
        high += 14
    title = f"{len(data['bars'])} operations, {MARKS[data['verdict']][2:]}"
    text = "\n".join(one_line(line) for line in data["text"].split("\n"))
    desc = one_line(data["why"].replace("\n", " "))
    return Svg("lanes", "".join(body), wide, high, title, desc, text, hooks_of(data))


def hooks_of(data: dict[str, Any]) -> dict[str, object]:
    """The root's attributes."""
    return {"data_kv_verdict": data["verdict"]}


# Time ---------------------------------------------------------------------------------------


class Axis:
    """Times to places. Invariant: what happens later stands further right."""

    def __init__(self, bars: list[dict[str, Any]]):
        instants = {(bar["call"], CALL) for bar in bars}
        instants |= {(bar["moment"], MOMENT) for bar in bars if bar["moment"] is not None}
        instants |= {(bar["return"], RETURN) for bar in bars if bar["return"] is not None}
        self.instants = sorted(instants)
        needs: dict[tuple[float, int], list[tuple[tuple[float, int], float]]] = {}
        for bar in bars:
            if bar["return"] is not None:
                room = ROOMY if len(bars) <= 12 else ROOMY / 1.5
                need = max(NARROWEST, min(room, width(bar["text"], SMALL) + 6))
                needs.setdefault((bar["return"], RETURN), []).append(((bar["call"], CALL), need))
        last: dict[int, dict[str, Any]] = {}
        for bar in sorted(bars, key=lambda bar: bar["call"]):  # a gap between two on a row
            before = last.get(bar["row"])
            if before is not None and before["return"] is not None:
                gap = ((before["return"], RETURN), 16.0)
                needs.setdefault((bar["call"], CALL), []).append(gap)
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


def _times(axis: Axis, top: float, bottom: float) -> list[Markup]:
    """Times below the lanes, where there is room, with a faint line up to the first lane."""
    parts, room = [], Room()
    small = {"size": SMALL, "tone": "dim", "halo": False, "anchor": "middle"}
    for time, kind in axis.instants:
        if kind == MOMENT:
            continue
        x, told = axis.places[time, kind], f"{time:.6g}"
        box = text_box(x, bottom + 18, told, SMALL, "middle")
        wider = Box(box.left - 6, box.top, box.right + 6, box.bottom)
        if room.free([wider]):
            room.take([box])
            grid = path((x, top), (x, bottom + 6))
            parts.append(el("path", d=grid, stroke=tone("faint"), stroke_width=0.8))
            parts.append(label(x, bottom + 18, told, **small))
    return parts


# Lanes and bars -----------------------------------------------------------------------------


def _head(data: dict[str, Any], wide: float) -> list[Markup]:
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
    for bar in sorted(data["bars"], key=lambda bar: -bar["call"]):
        drawn.append(_bar(bar, axis, top, wide, reach[bar["row"]]))
        reach[bar["row"]] = axis.x(bar["call"], CALL) - 8
    return drawn[::-1]


def _bar(bar: dict[str, Any], axis: Axis, top: float, wide: float, reach: float) -> Markup:
    open_ended = bar["return"] is None
    x = axis.x(bar["call"], CALL)
    end = wide - 16 if open_ended else axis.x(bar["return"], RETURN)
    y = top + ROW * bar["row"] + 30
    stuck, core = bar["kind"] == "stuck", bar["core"]
    pale = bar["kind"] in ("left", "never")
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
    named = "fault" if stuck else "dim" if pale else "ink"
    bold = core or stuck
    shown = fit(told, (reach - x) / (1.1 if bold else 1.0), SMALL)
    parts = [
        el("title", sentence(bar)),
        el("path", d=outline, **look),
        label(x, y - BAR / 2 - 5, shown, size=SMALL, tone=named, bold=bold),
    ]
    if stuck:
        parts.append(cross(end, y, 6, stroke=tone("fault"), stroke_width=2.6))
    if open_ended:
        parts.append(label(end, y + 4, "no answer", size=SMALL, tone="dim", anchor="end"))
    return group(
        parts,
        class_="kv-operation",
        data_kv_client=bar["client"],
        data_kv_operation=bar["kind"],
        data_kv_place=bar["place"],
        data_kv_core="" if core else None,
    )


def sentence(bar: dict[str, Any]) -> str:
    """What is said of a bar under the mouse."""
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
