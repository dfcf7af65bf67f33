"""The space-time diagram: a vertical life line for each node, time downwards, messages as arrows.

A life line has the colour of the node's term; broad with two edges = leader, dashed edge =
candidate, thin = follower, dotted edge = learner, pale without an edge = no member; where it is
interrupted the node is down, and where it begins later the node was added then. An arrow begins
when its message is sent and ends when it is received; a lost one ends in a cross. Questions and
answers of pre-votes are pale, parts of a snapshot broad. Clients have a line too:
arrows to a node and back are questions and answers.

A message takes milliseconds and an election timeout seconds, so the time axis is straight only
where something happens: idle stretches are folded up, and the axis says how long they are.

Source: L. Lamport, Time, Clocks, and the Ordering of Events in a Distributed System (1978).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import atan2, cos, degrees, sin
from typing import Any

from kvlearn.raft.messages import InstallSnapshot
from kvlearn.viz.logs import badge
from kvlearn.viz.moment import fate_in_words, trace_of
from kvlearn.viz.nodes import NodeMoment, natural
from kvlearn.viz.story import Arrow, Mark, Story, Stretch, tell
from kvlearn.viz.svg import (
    Box,
    Markup,
    Room,
    Svg,
    cross,
    el,
    first_free,
    fit,
    group,
    label,
    line_boxes,
    num,
    one_line,
    path,
    text_box,
    width,
)
from kvlearn.viz.theme import CROWN, SIZES, term_colour, tone

COLUMN = 150.0  # between two life lines; less where there are many
Point = tuple[float, float]
LANES = 3  # so many clients have a line each; more share one
CLIENTS = "clients"
LEFT = 86.0  # the time axis
RIGHT = 84.0
TOP = 62.0
FLIGHT = 42.0  # the height of a message's flight of middle length
CLOSEST, WIDEST = 2.0, 54.0  # between two things that happen one after the other
SMALL = SIZES["small"]


def spacetime(
    subject: Any,
    start_s: float | None = None,
    end_s: float | None = None,
    *,
    heartbeats: bool | None = None,
) -> Svg:
    """Draw who told whom what and when, from `start_s` to `end_s` (seconds; default: the end).

    `heartbeats`: draw them (faded), leave them out, or (None) draw them where there are few.
    Without `start_s` the window holds the last messages that fit a picture, or the whole trace.
    """
    trace = trace_of(subject)
    story = tell(trace, start_s, end_s, heartbeats)
    lanes = sorted({call.client for call in story.calls}, key=natural)
    lanes = lanes if len(lanes) <= LANES else [CLIENTS]
    names = [*lanes, *story.after.names]
    if not names:
        told = "The trace is empty: no node has started yet."
        body = label(24, 40, told, halo=False, tone="dim")
        return Svg("spacetime", body, 380, 70, "No time", told, told)
    page = Page(story, names)
    wide, axis = page.wide, page.axis
    arrows, calls = _arrows(page), _calls(page)
    body = [
        group(axis.draw(wide), class_="kv-axis"),
        *(_life_line(page, name) for name in names),
        group(_network_lines(page), class_="kv-network"),
        group(arrows, class_="kv-messages"),
        group(calls, class_="kv-calls"),
        # Labels last and in the order of their weight: what finds no place is told by the twin.
        group(_mark_labels(page), class_="kv-marks"),
        group(_arrow_labels(page), class_="kv-labels"),
        _notes(page),
    ]
    hooks = {"data_kv_start": num(story.start_s), "data_kv_end": num(story.end_s)}
    title = f"{len(names)} life lines from {story.start_s:.3f} s to {story.end_s:.3f} s"
    text = _text(story)
    high = axis.bottom + 58
    return Svg("spacetime", "".join(body), wide, high, title, _desc(story), text, hooks)


# Time ---------------------------------------------------------------------------------------


class Axis:
    """Seconds to heights: straight within a burst, idle stretches folded.

    Invariant: `y` never decreases with time.
    """

    def __init__(self, story: Story):
        instants = {story.start_s, story.end_s}
        flights = []
        for arrow in story.arrows.values():
            ends = (arrow.sent_s, arrow.end_s)
            instants |= {t for t in ends if t is not None and story.start_s <= t <= story.end_s}
            if arrow.end_s is not None and arrow.end_s > arrow.sent_s:
                flights.append(arrow.end_s - arrow.sent_s)
        instants |= {mark.time for mark in story.marks} | {call.time for call in story.calls}
        self.times = sorted(instants)
        scale = _height(story, flights) / sorted(flights)[len(flights) // 2] if flights else 60.0
        self.ys = [TOP + 14]
        self.folds: list[tuple[float, float, float]] = []  # (top, bottom, seconds)
        for before, after in zip(self.times, self.times[1:]):
            gap = (after - before) * scale
            y = self.ys[-1]
            self.ys.append(y + min(WIDEST, max(CLOSEST, gap)))
            if gap > 2 * WIDEST:
                self.folds.append((y, self.ys[-1], after - before))
        self.top = TOP
        self.bottom = self.ys[-1] + 18

    def y(self, time: float) -> float:
        """The height of a time; outside the window, that of its nearer end."""
        place = bisect_right(self.times, time)
        if place == 0:
            return self.ys[0]
        if place == len(self.times):
            return self.ys[-1]
        before, after = self.times[place - 1], self.times[place]
        part = (time - before) / (after - before)
        return self.ys[place - 1] + part * (self.ys[place] - self.ys[place - 1])

    def draw(self, wide: float) -> list[Markup]:
        """The times on the left, a faint line for each, and the folds."""
        small = {"size": SMALL, "tone": "dim", "halo": False}
        parts = [label(LEFT - 12, TOP - 22, "seconds", anchor="end", **small)]
        folded = [(top, bottom) for top, bottom, _ in self.folds]
        drawn = -1e9
        for time, y in zip(self.times, self.ys):
            in_fold = any(top + 1 < y < bottom - 1 for top, bottom in folded)
            if y - drawn < 17 or in_fold:
                continue
            drawn = y
            parts.append(label(LEFT - 12, y + 4, f"{time:.3f}", anchor="end", **small))
            grid = path((LEFT - 6, y), (wide - 12, y))
            parts.append(el("path", d=grid, stroke=tone("faint"), stroke_width=0.8))
        for top, bottom, seconds in self.folds:
            middle = (top + bottom) / 2
            long = f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
            zigzag = path(
                (LEFT - 6, middle - 8),
                (LEFT - 2, middle - 4),
                (LEFT - 10, middle),
                (LEFT - 2, middle + 4),
                (LEFT - 6, middle + 8),
            )
            parts.append(el("path", d=zigzag, fill="none", stroke=tone("dim"), stroke_width=1.2))
            parts.append(label(LEFT - 16, middle + 4, f"+{long}", anchor="end", **small))
        return parts


def _height(story: Story, flights: list[float]) -> float:
    """How high a flight of middle length is drawn: higher where many messages fly together."""
    busy = end = 0.0
    for arrow in sorted(story.arrows.values(), key=lambda arrow: arrow.sent_s):
        if arrow.end_s is not None:
            busy += max(0.0, arrow.end_s - max(end, arrow.sent_s))
            end = max(end, arrow.end_s)
    together = sum(flights) / busy if busy else 1.0
    return FLIGHT * min(2.2, max(1.0, together / 5))


class Page:
    """Where things stand: life lines, the axis, and what labels must keep clear of."""

    def __init__(self, story: Story, names: list[str]):
        self.story = story
        self.column = max(112.0, min(COLUMN, 940.0 / len(names)))
        self.where = {name: LEFT + self.column * (k + 0.5) for k, name in enumerate(names)}
        self.wide = LEFT + self.column * len(names) + RIGHT
        self.axis = Axis(story)
        top, bottom = self.axis.top - 40, self.axis.bottom + 50
        lines = [Box(x - 9, top, x + 9, bottom) for x in self.where.values()]
        margins = [Box(-100, top, LEFT, bottom), Box(self.wide - 4, top, self.wide + 100, bottom)]
        self.hard = Room([*lines, *margins])  # labels never cross these, nor one another
        self.soft = Room()  # and arrows only if there is no other place
        known = set(self.where)
        self.arrows = [
            a for a in story.arrows.values() if {a.message.source, a.message.target} <= known
        ]
        self.ends: dict[int, tuple[Point, Point]] = {}  # of the arrows, by packet
        self.calls = [call for call in story.calls if call.node in known]

    def lane(self, client: str) -> float:
        """Where a client's line stands."""
        return self.where[CLIENTS if CLIENTS in self.where else client]


# Life lines ---------------------------------------------------------------------------------

WIDTHS = {"leader": 11.0, "candidate": 9.0, "follower": 5.0, "learner": 5.0, "paused": 5.0,
          "outside": 3.0}  # fmt: skip


def _life_line(page: Page, name: str) -> Markup:
    story, axis, x = page.story, page.axis, page.where[name]
    node = story.after.nodes.get(name)
    if node is None:
        return _client_line(name, x, axis)
    before = story.before.nodes.get(name)
    parts = []
    stretches = story.lines.get(name, [])
    for number, stretch in enumerate(stretches):
        earlier = number == 0 and before is not None  # it began before the window
        top = axis.top if earlier else axis.y(stretch.start_s)
        last = number == len(stretches) - 1
        bottom = axis.bottom if last else axis.y(stretch.end_s)
        parts += _stretch(stretch, x, top, bottom)
        if not earlier:
            parts += _sign(stretch.role, x, top, bottom - top)
    bold = {"size": 14, "bold": True, "halo": False}
    shown = fit(name, page.column - 52, 14)
    parts += [
        label(x + 16, TOP - 22, shown, **bold),
        group(badge(before or NodeMoment(name)), transform=f"translate({num(x)},{num(TOP - 26)})"),
        group(badge(node), transform=f"translate({num(x)},{num(axis.bottom + 26)})"),
        label(x + 16, axis.bottom + 30, shown, **bold),
    ]
    return group(
        parts,
        class_="kv-life",
        data_kv_node=name,
        data_kv_role=node.role,
        data_kv_term=node.term,
    )


def _client_line(name: str, x: float, axis: Axis) -> Markup:
    parts = [
        el("path", d=path((x, axis.top), (x, axis.bottom)), stroke=tone("line"), stroke_width=1.5),
        label(x, TOP - 22, name, size=14, bold=True, anchor="middle", halo=False),
    ]
    if name != CLIENTS:
        small = {"size": SMALL, "tone": "dim", "anchor": "middle", "halo": False}
        parts.append(label(x, TOP - 8, "client", **small))
    return group(parts, class_="kv-life", data_kv_client=name)


def _stretch(stretch: Stretch, x: float, top: float, bottom: float) -> list[Markup]:
    high = max(bottom - top, 0.5)
    if stretch.role == "down":
        dots = {"stroke": tone("line"), "stroke_width": 1.4, "stroke_dasharray": "1.5 6"}
        return [el("path", d=path((x, min(top + 10, bottom)), (x, bottom)), **dots)]
    wide = WIDTHS[stretch.role]
    paused = stretch.role == "paused"
    look = {
        "x": x - wide / 2,
        "y": top,
        "width": wide,
        "height": high,
        "fill": tone("faint") if paused else term_colour(stretch.term),
    }
    if stretch.role == "candidate":
        look |= {"stroke": tone("ink"), "stroke_width": 1.6, "stroke_dasharray": "5 3.5"}
    elif stretch.role == "learner":
        look |= {"stroke": tone("ink"), "stroke_width": 1.4, "stroke_dasharray": "1 3"}
    elif stretch.role == "outside":
        look["fill_opacity"] = 0.5
    elif not paused:
        look |= {"stroke": tone("ink"), "stroke_width": 1.0}
    parts = [el("rect", **look)]
    if stretch.role == "leader":
        for side in (-wide / 2 - 3, wide / 2 + 3):
            edge = path((x + side, top), (x + side, bottom))
            parts.append(el("path", d=edge, stroke=tone("ink"), stroke_width=1.0))
    return parts


def _sign(role: str, x: float, top: float, high: float) -> list[Markup]:
    """What stands where a stretch begins: a crash's cross, a leader's crown, a pause's bars."""
    if role == "down":
        return [cross(x, top + 1, 5, stroke=tone("fault"), stroke_width=2.4)]
    if role == "leader" and high > 12:
        place = f"translate({num(x)},{num(top - 1)}) scale(0.8)"
        return [el("path", d=CROWN, transform=place, fill="#E8A400", stroke="#6B4A00")]
    if role == "paused":
        bars = " ".join(path((x + side, top), (x + side, top + 11)) for side in (-3.5, 3.5))
        return [el("path", d=bars, stroke=tone("dim"), stroke_width=3)]
    return []


# Messages -----------------------------------------------------------------------------------


def _arrows(page: Page) -> list[Markup]:
    drawn = []
    for arrow in page.arrows:
        start, end = page.ends[arrow.number] = _ends(page, arrow)
        page.soft.take(line_boxes(start, end))
        drawn.append(_arrow(arrow, start, end))
    return drawn


def _ends(page: Page, arrow: Arrow) -> tuple[Point, Point]:
    """Both ends of an arrow in the picture, cut off at the window's edges."""
    story, where, axis = page.story, page.where, page.axis
    ax, bx = where[arrow.message.source], where[arrow.message.target]
    side = 1 if bx > ax else -1
    ax, bx = ax + side * 7, bx - side * 8
    start, end = arrow.sent_s, arrow.end_s
    end = end if end is not None else (arrow.due_s if arrow.due_s is not None else story.end_s)
    begin_part, end_part = 0.0, 1.0
    if end > start:
        begin_part = max(0.0, (story.start_s - start) / (end - start))
        end_part = min(1.0, (story.end_s - start) / (end - start))
    if arrow.lost and arrow.lost != "DOWN":
        end_part = min(end_part, 0.72)  # it never gets there
    from_y, to_y = axis.y(start), axis.y(end)
    if end > story.end_s:
        to_y = axis.bottom
        bx = ax + (bx - ax) * end_part
    elif end_part < 1:
        to_y = from_y + (to_y - from_y) * end_part
        bx = ax + (bx - ax) * end_part
    if begin_part:
        ax = ax + (bx - ax) * begin_part
        from_y = axis.top
    return (ax, from_y), (bx, to_y)


def _arrow(arrow: Arrow, start: Point, end: Point) -> Markup:
    (ax, ay), (bx, by) = start, end
    colour = term_colour(arrow.message.term)
    angle = atan2(by - ay, bx - ax)
    lost = bool(arrow.lost)
    arrived = arrow.end_s is not None and not lost
    tip_x, tip_y = (bx - 7 * cos(angle), by - 7 * sin(angle)) if arrived else (bx, by)
    way = path((ax, ay), (tip_x, tip_y))
    dash = "5 4" if lost else None
    wide = 8.0 if type(arrow.message) is InstallSnapshot else 4.5
    pale = 0.2 if getattr(arrow.message, "pre", False) else 0.55
    parts = [
        el("title", _arrow_sentence(arrow)),
        el("path", d=way, stroke=colour, stroke_width=wide, stroke_opacity=pale),
        el("path", d=way, stroke=tone("ink"), stroke_width=1.1, stroke_dasharray=dash),
    ]
    if lost and arrow.end_s is not None:
        parts.append(cross(bx, by, 5, stroke=tone("fault"), stroke_width=2.2))
    elif arrived:
        parts.append(_head(bx, by, angle, colour))
    return group(
        parts,
        fill="none",
        opacity=0.4 if arrow.beat and not lost else None,
        class_="kv-message",
        data_kv_message=arrow.number,
        data_kv_source=arrow.message.source,
        data_kv_target=arrow.message.target,
        data_kv_fate=arrow.lost or None,
    )


def _head(x: float, y: float, angle: float, colour: str) -> Markup:
    back, half = 10.0, 4.2
    shape = path(
        (x, y),
        (x - back * cos(angle) + half * sin(angle), y - back * sin(angle) - half * cos(angle)),
        (x - back * cos(angle) - half * sin(angle), y - back * sin(angle) + half * cos(angle)),
    )
    return el("path", d=shape + " Z", fill=colour, stroke=tone("ink"), stroke_width=1)


def _arrow_labels(page: Page) -> list[Markup]:
    """Each message's short form along its arrow; losses first, routine heartbeats not at all."""
    parts = []
    for arrow in sorted(page.arrows, key=lambda arrow: not arrow.lost):
        if arrow.lost or not arrow.beat:
            text = fit(str(arrow.message), page.column - 34, SMALL)
            parts += _along(page, *page.ends[arrow.number], text, "fault" if arrow.lost else "ink")
    return parts


def _along(page: Page, start: Point, end: Point, text: str, named: str) -> list[Markup]:
    """A label along the line from `start` to `end`, between two life lines, where there is room."""
    (ax, ay), (bx, by) = start, end
    low, high = min(ax, bx), max(ax, bx)
    if high - low < 30:
        return []
    slope = (by - ay) / (bx - ax)
    edges = [low, *(x for x in page.where.values() if low < x < high), high]
    middles = [(one + other) / 2 for one, other in zip(edges, edges[1:]) if other - one > 40]
    middles.sort(key=lambda x: abs(x - bx))  # near the receiver: senders send to many at once
    long = width(text, SMALL)
    tries = [
        (middle + shift, away)
        for middle in middles
        for shift in (0.0, -16.0, 16.0, -30.0, 30.0)
        for away in (-5.0, 13.0)
        if low + 4 < middle + shift - long / 2 and middle + shift + long / 2 < high - 4
    ]
    boxes = [_text_boxes(x, ay + slope * (x - ax) + away, long, slope) for x, away in tries]
    free = first_free(boxes, page.hard, page.soft, line_boxes(start, end))
    if free is None:
        return []
    x, away = tries[free]
    y = ay + slope * (x - ax)
    spin = f"rotate({num(degrees(atan2(slope, 1)))} {num(x)} {num(y)})"
    return [label(x, y + away, text, size=SMALL, anchor="middle", tone=named, transform=spin)]


def _text_boxes(x: float, y: float, long: float, slope: float) -> list[Box]:
    """A slanted line of text as a row of small boxes."""
    pieces = max(1, round(long / 22))
    wide = long / pieces
    boxes = []
    for piece in range(pieces):
        left = x - long / 2 + piece * wide
        shift = slope * (left + wide / 2 - x)
        boxes.append(Box(left, y - 9 + shift, left + wide, y + 2.5 + shift))
    return boxes


# Clients, marks, notes ----------------------------------------------------------------------


def _calls(page: Page) -> list[Markup]:
    """Questions and answers between clients and nodes, with what they say."""
    parts, words = [], []
    for call in page.calls:
        y = page.axis.y(call.time)
        here, there = page.lane(call.client), page.where[call.node]
        ax, bx = (here + 2, there - 9) if call.asks else (there - 9, here + 2)
        named = "fault" if call.failed else "ink"
        dash = None if call.asks else "1 3"
        style = {"stroke": tone(named), "stroke_width": 1.3, "stroke_dasharray": dash}
        parts.append(
            group(
                [
                    el("path", d=path((ax, y), (bx, y)), stroke_linecap="round", **style),
                    _head(bx, y, atan2(0, bx - ax), tone("surface")),
                ],
                class_="kv-call",
                data_kv_client=call.client,
                data_kv_target=call.node,
            )
        )
        page.soft.take(line_boxes((ax, y), (bx, y)))
        who = f"{call.client}: " if CLIENTS in page.where else ""
        text = fit(who + one_line(call.text), page.column - 30, SMALL)
        x = here + page.column / 2
        tries = [(x, y + away) for away in (-5.0, 13.0, -18.0, 26.0)]
        boxes = [[text_box(tx, ty, text, SMALL, "middle")] for tx, ty in tries]
        free = first_free(boxes, page.hard)
        if free is not None:
            words.append(label(*tries[free], text, size=SMALL, anchor="middle", tone=named))
    return parts + words


def _mark_labels(page: Page) -> list[Markup]:
    """Role changes right of the life line, commits left of it."""
    parts = []
    order = {"fault": 0, "role": 1, "log": 2, "commit": 3, "term": 4}
    marks = [mark for mark in page.story.marks if mark.kind in order and mark.node in page.where]
    for mark in sorted(marks, key=lambda mark: order[mark.kind]):
        x, y = page.where[mark.node], page.axis.y(mark.time)
        if mark.kind == "commit":
            diamond = path((x - 10, y), (x - 6, y - 4), (x - 2, y), (x - 6, y + 4)) + " Z"
            look = {"fill": tone("good"), "stroke": tone("surface"), "stroke_width": 0.8}
            parts.append(el("path", el("title", mark.text), d=diamond, data_kv_commit="", **look))
        tries = _mark_places(mark, x, y)
        bold = mark.kind in ("role", "fault")
        text = fit(mark.text, page.column - 20, SMALL)
        boxes = [[text_box(tx, ty, text, SMALL, anchor, bold)] for tx, ty, anchor in tries]
        free = first_free(boxes, page.hard, page.soft)
        if free is None:
            if mark.kind in ("commit", "term", "log"):
                continue  # the text twin still says it
            free = 0
            page.hard.take(boxes[free])
        tx, ty, anchor = tries[free]
        named = {"fault": "fault", "commit": "good", "term": "dim", "log": "dim"}.get(
            mark.kind, "ink"
        )
        parts.append(label(tx, ty, text, size=SMALL, anchor=anchor, tone=named, bold=bold))
    return parts


def _mark_places(mark: Mark, x: float, y: float) -> list[tuple[float, float, str]]:
    heights = (4, -6, 15, -16, 26, 37)
    right = [(x + 13, y + away, "start") for away in heights]
    left = [(x - 13, y + away, "end") for away in heights]
    return left + right if mark.kind == "commit" else right + left


def _network_lines(page: Page) -> list[Markup]:
    parts = []
    last = -1e9
    for mark in page.story.marks:
        if mark.kind != "network":
            continue
        y = page.axis.y(mark.time)
        way = path((LEFT - 6, y), (page.wide - 12, y))
        style = {"stroke": tone("fault"), "stroke_width": 1.2, "stroke_dasharray": "7 4"}
        parts.append(el("path", d=way, **style))
        last = max(y - 4, last + 13)
        text = fit(mark.text, page.wide - LEFT - 20, SMALL)
        page.hard.take([text_box(page.wide - 14, last, text, SMALL, "end")])
        parts.append(label(page.wide - 14, last, text, size=SMALL, anchor="end", tone="fault"))
    return parts


def _notes(page: Page) -> Markup:
    story = page.story
    told = []
    if story.left_out:
        beats = "heartbeat is" if story.left_out == 1 else "heartbeats are"
        told.append(f"{story.left_out} {beats} not drawn")
    if not story.whole:
        told.append("a part of the trace")
    if not told:
        return Markup("")
    text = "; ".join(told) + "."
    return label(16, page.axis.bottom + 52, text, size=SMALL, tone="dim", halo=False)


# Words --------------------------------------------------------------------------------------


def _arrow_sentence(arrow: Arrow) -> str:
    message = arrow.message
    told = f"{message.source}→{message.target} {message}, sent {arrow.sent_s:.4f} s"
    if arrow.lost:
        return f"{told}, lost: {fate_in_words(arrow.lost, message.source, message.target)}"
    if arrow.end_s is None:
        return f"{told}, on its way"
    return f"{told}, received {arrow.end_s:.4f} s"


def _happenings(story: Story) -> Iterable[tuple[float, str]]:
    for arrow in story.arrows.values():
        yield arrow.sent_s, _arrow_sentence(arrow)
    for mark in story.marks:
        yield mark.time, f"{mark.node} {mark.text}" if mark.node else f"network: {mark.text}"
    for call in story.calls:
        if call.asks:
            yield call.time, f"{call.client} asks {call.node}: {call.text}"
        else:
            yield call.time, f"{call.node} answers {call.client}: {call.text}"


def _text(story: Story) -> str:
    told = [f"from {story.start_s:.3f} s to {story.end_s:.3f} s"]
    if story.left_out:
        told[0] += f", {story.left_out} heartbeats left out"
    for name in story.before.names:
        node = story.before.nodes[name]
        told.append(f"{story.start_s:.4f} s  {name} is {node.role}, term {node.term}")
    for time, text in sorted(_happenings(story), key=lambda item: item[0]):
        told.append(f"{time:.4f} s  {one_line(text)}")
    return "\n".join(told)


def _desc(story: Story) -> str:
    lost = sum(bool(arrow.lost) for arrow in story.arrows.values())
    told = f"{len(story.arrows)} messages, {lost} of them lost."
    if story.left_out:
        told += f" {story.left_out} heartbeats are left out."
    roles = [f"{m.node}: {m.text}" for m in story.marks if m.kind in ("role", "fault")]
    return " ".join([told, *(f"{role}." for role in roles)])
