"""Read paths: what a read sets in motion, side by side on one time scale, and what it costs.

Every record knows its cause, so what a read led to can be found in the trace: the messages that
were sent because of it, the entries that were written for it, the disks that were forced. Nothing
here is known beforehand; `ReadPath.of` counts what a run did.

>>> from kvlearn import Cluster
>>> from kvlearn.kv.requests import Range
>>> cluster = Cluster(3, seed=7)
>>> cluster.run(5.0)
>>> asked = cluster.submit(Range(b"colour"), cluster.leader)
>>> cluster.run(0.05)
>>> ReadPath.of("ReadIndex", cluster, [asked])
ReadIndex: 4 messages, 2 in a row, 0 log entries, 0 forced writes, answered after 7.2 ms

In the picture each path has a panel. Time runs downwards from the question; the client's line is
on the left, the leader's is broad with two edges. What the answer waited for is drawn in full, what
else the read caused is pale, and a square on a line is a forced write.

Source: thesis 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import atan2, cos, sin
from statistics import median
from typing import Any, NamedTuple

from kvlearn.events import Appended, Invoked, Received, Returned, Saved, Sent
from kvlearn.raft.messages import Heartbeat
from kvlearn.trace import Record, Trace
from kvlearn.viz.moment import Moment, natural, trace_of
from kvlearn.viz.svg import Markup, Svg, el, group, label, path, width, wrap
from kvlearn.viz.theme import SIZES, term_colour, tone

COLUMN, NARROW = 60.0, 44.0  # between two life lines; the second where there are many
LEFT = 54.0  # the time axis
GAP = 26.0  # between two panels
TOP = 84.0  # names, above the life lines
FOOT = 100.0  # numbers and the legend, below them
LONGEST = 320.0  # the height of the slowest path
STEEPEST = 34.0  # a millisecond is at most so high
SMALL = SIZES["small"]
WIDTHS = {"leader": 9.0, "follower": 4.0, "learner": 4.0, "candidate": 4.0}


class Flight(NamedTuple):
    """A message that a read caused. `awaited`: the answer came because of it."""

    message: Any
    sent_s: float
    end_s: float | None  # None: it did not arrive
    awaited: bool


class Answer(NamedTuple):
    """When a read was answered, after how long, and by which node."""

    time: float
    took_s: float
    node: str


@dataclass(frozen=True)
class ReadPath:
    """What some reads caused, from the first question on. Times are virtual seconds."""

    name: str
    client: str
    asked: tuple[tuple[float, str], ...]  # (when, which node)
    answers: tuple[Answer, ...]  # one for each read that was answered
    flights: tuple[Flight, ...]  # messages between nodes, in the order of sending
    in_a_row: int  # flights that the slowest answer waited for, one after the other
    rounds: int  # rounds of heartbeats that were sent for reads
    entries: int  # of the log
    saves: tuple[tuple[float, str], ...]  # forced to disk: (when, which node)
    nodes: tuple[tuple[str, str, int], ...]  # (name, role, term) at the end

    @classmethod
    def of(cls, name: str, subject: Any, op_ids: Iterable[int]) -> ReadPath:
        """Find what the operations `op_ids` caused in a trace, or in the trace of a cluster.

        Raises: ValueError where none of them was asked.
        """
        trace, wanted = trace_of(subject), set(op_ids)
        asked = {r.event.op_id: r for r in trace.of(Invoked) if r.event.op_id in wanted}
        if not asked:
            raise ValueError(f"no operation of {sorted(wanted)} was asked in this trace")
        caused = _offspring(trace, asked.values())
        told = [r for r in trace.of(Returned) if r.event.op_id in asked and not r.event.error]
        chains = [trace.causes(record.seq) for record in told]
        kinds = [[r for r in chain if isinstance(r.event, Received)] for chain in chains]
        moment = Moment.at(trace, len(trace) - 1)
        flights = _flights(caused, {r.seq for chain in chains for r in chain})
        return cls(
            name,
            next(iter(asked.values())).node,
            tuple((r.time, r.event.node) for r in asked.values()),
            tuple(Answer(r.time, r.time - asked[r.event.op_id].time, r.event.node) for r in told),
            flights,
            max(map(len, kinds), default=0),
            len({f.message.context for f in flights if isinstance(f.message, Heartbeat)}),
            len({e.id for r in caused if isinstance(r.event, Appended) for e in r.event.entries}),
            tuple((r.time, r.node) for r in caused if isinstance(r.event, Saved) and r.event.last),
            tuple((n, moment.nodes[n].role, moment.nodes[n].term) for n in _order(moment)),
        )

    @property
    def latency_s(self) -> float | None:
        """The median time until an answer; None if there was none."""
        return median(answer.took_s for answer in self.answers) if self.answers else None

    def row(self) -> dict[str, Any]:
        """The costs, for a table."""
        return {
            "read": self.name,
            "reads": len(self.asked),
            "messages": len(self.flights),
            "messages a read": round(len(self.flights) / len(self.asked), 2),
            "in a row": self.in_a_row,
            "read rounds": self.rounds,
            "log entries": self.entries,
            "forced writes": len(self.saves),
            "ms": None if self.latency_s is None else round(1000 * self.latency_s, 1),
        }

    def __str__(self) -> str:
        row = self.row()
        told = f"{self.name}: " + (f"{row['reads']} reads, " if row["reads"] > 1 else "")
        told += f"{row['messages']} messages, {row['in a row']} in a row, "
        told += f"{row['log entries']} log entries, {row['forced writes']} forced writes, "
        return told + (f"answered after {row['ms']} ms" if self.answers else "not answered")

    __repr__ = __str__


def read_costs(paths: Iterable[ReadPath]):
    """The numbers beside the picture: a pandas DataFrame, one row a path.

    Raises: ValueError for no path, TypeError for what is no ReadPaths.
    """
    import pandas

    rows = [path.row() for path in _paths(paths, "read_costs")]
    return pandas.DataFrame(rows).set_index("read")


def _paths(given: Any, asked: str) -> list[ReadPath]:
    """The paths that a function was given. A trace is told what to do with it."""
    usable = isinstance(given, Iterable) and not isinstance(given, Trace)
    found = list(given) if usable else [given]
    wrong = next((one for one in found if not isinstance(one, ReadPath)), None)
    if wrong is not None or not usable:
        raise TypeError(
            f"{asked} takes a list of paths, [ReadPath.of(name, cluster, op_ids), ...], not "
            f"{'a list with ' * usable}{type(wrong if usable else given).__name__}"
        )
    if not found:
        raise ValueError(f"{asked} was given no path")
    return found


def _offspring(trace: Trace, roots: Iterable[Record]) -> list[Record]:
    """All records that were caused by the roots, by what they caused, and so on."""
    known = {record.seq for record in roots}
    caused = []
    for record in trace[min(known) :]:
        if record.cause in known:
            known.add(record.seq)
            caused.append(record)
    return caused


def _flights(caused: list[Record], awaited: set[int]) -> tuple[Flight, ...]:
    ends = {r.event.packet: r.time for r in caused if isinstance(r.event, Received)}
    return tuple(
        Flight(r.event.message, r.time, ends.get(r.event.packet), r.seq in awaited)
        for r in caused
        if isinstance(r.event, Sent)
    )


def _order(moment: Moment) -> list[str]:
    """The nodes' names, the leader first: it stands beside the client."""
    return sorted(moment.nodes, key=lambda n: (moment.nodes[n].role != "leader", natural(n)))


# The picture --------------------------------------------------------------------------------


def read_paths(paths: Sequence[ReadPath]) -> Svg:
    """Draw the paths side by side, all on the same scale of milliseconds.

    Raises: ValueError for no path, TypeError for what is no ReadPaths.
    """
    paths = _paths(paths, "read_paths")
    longest = max(_lasts_s(path) for path in paths)
    scale = min(1000 * STEEPEST, LONGEST / longest) if longest else 1000 * STEEPEST
    high = max(60.0, longest * scale + 10)
    parts, x = [], LEFT
    for each in paths:
        panel = _Panel(each, x, scale, high)
        parts.append(panel.draw())
        x += panel.wide + GAP
    wide = max(x - GAP, width(LEGEND, SMALL) + 24) + 14
    axis = group([*_axis(scale, high, wide), *_legend(high)], class_="kv-axis")
    title = f"What {len(paths)} reads cost" if len(paths) > 1 else "What a read costs"
    told = [str(each) for each in paths]
    text = "\n".join(line for each in paths for line in [str(each), *_told(each)])
    body = "".join([axis, *parts])
    return Svg("read-paths", body, wide, TOP + high + FOOT, title, "; ".join(told), text)


def _lasts_s(path: ReadPath) -> float:
    begin = path.asked[0][0]
    ends = [flight.end_s for flight in path.flights if flight.end_s is not None]
    return max([*ends, *(answer.time for answer in path.answers), begin]) - begin


def _axis(scale: float, high: float, wide: float) -> list[Markup]:
    small = {"size": SMALL, "tone": "dim", "halo": False, "anchor": "end"}
    parts = [label(LEFT - 12, TOP - 30, "ms", **small)]
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n * scale / 1000 >= 22)
    for number in range(0, int(1000 * high / scale) + 1, step):
        y = TOP + number * scale / 1000
        way = path((LEFT - 6, y), (wide - 8, y))
        parts.append(el("path", d=way, stroke=tone("faint"), stroke_width=0.8, fill="none"))
        parts.append(label(LEFT - 12, y + 4, str(number), **small))
    return parts


LEGEND = "full: the answer waited for it; pale: the read caused it too; square: a forced write"


def _legend(high: float) -> list[Markup]:
    return [label(16, TOP + high + FOOT - 14, LEGEND, size=SMALL, tone="dim", halo=False)]


class _Panel:
    """One path: its life lines from `x` on, and what happens between them."""

    def __init__(self, read: ReadPath, x: float, scale: float, high: float):
        self.read, self.x, self.scale, self.high = read, x, scale, high
        lines = [read.client, *(name for name, _, _ in read.nodes)]
        step = COLUMN if len(lines) <= 4 else NARROW
        self.where = {name: x + 18 + step * place for place, name in enumerate(lines)}
        self.wide = max(36 + step * (len(lines) - 1), 150.0)

    def y(self, time: float) -> float:
        return TOP + (time - self.read.asked[0][0]) * self.scale

    def draw(self) -> Markup:
        """All of it."""
        read = self.read
        pale = [flight for flight in read.flights if not flight.awaited]
        full = [flight for flight in read.flights if flight.awaited]
        parts = [
            *self._title(),
            *self._lines(),
            *(self._flight(flight) for flight in pale + full),
            *(self._save(time, node) for time, node in read.saves),
            *self._calls(),
            *(self._words(flight) for flight in full),
            *self._numbers(),
        ]
        return group(parts, class_="kv-read-path", data_kv_read=read.name)

    def _title(self) -> list[Markup]:
        rows = wrap(self.read.name, self.wide, SIZES["text"], 2)
        top = 34 - 15 * (len(rows) - 1)
        return [
            label(self.x, top + 15 * place, row, bold=True, halo=False)
            for place, row in enumerate(rows)
        ]

    def _lines(self) -> list[Markup]:
        x, bottom = self.where[self.read.client], TOP + self.high
        small = {"size": SMALL, "anchor": "middle", "halo": False}
        way = path((x, TOP - 8), (x, bottom))
        parts = [el("path", d=way, stroke=tone("line"), stroke_width=1.5, fill="none")]
        parts.append(label(x, TOP - 30, "client", tone="dim", **small))
        for name, role, term in self.read.nodes:
            x, wide = self.where[name], WIDTHS.get(role, 4.0)
            look = {"fill": term_colour(term), "stroke": tone("ink"), "stroke_width": 0.8}
            dash = "1 3" if role == "learner" else None
            box = {"x": x - wide / 2, "y": TOP - 8, "width": wide, "height": self.high + 8}
            parts.append(el("rect", **box, **look, stroke_dasharray=dash, data_kv_node=name))
            if role == "leader":
                sides = (x - wide / 2 - 3, x + wide / 2 + 3)
                edges = " ".join(path((at, TOP - 8), (at, bottom)) for at in sides)
                parts.append(el("path", d=edges, stroke=tone("ink"), stroke_width=1, fill="none"))
            parts.append(label(x, TOP - 30, name, bold=True, **small))
            if role in ("leader", "learner"):
                parts.append(label(x, TOP - 17, role, tone="dim", **{**small, "size": 9.5}))
        return parts

    def _flight(self, flight: Flight) -> Markup:
        message = flight.message
        here, there = self.where[message.source], self.where[message.target]
        side = 1 if there > here else -1
        ax, bx, ay = here + side * 7, there - side * 6, self.y(flight.sent_s)
        by = self.y(flight.end_s) if flight.end_s is not None else ay + 20
        way = path((ax, ay), (bx, by))
        colour = term_colour(message.term)
        dash = None if flight.end_s is not None else "5 4"
        parts = [
            el("title", _sentence(self.read, flight)),
            el("path", d=way, stroke=colour, stroke_width=4.5, stroke_opacity=0.55),
            el("path", d=way, stroke=tone("ink"), stroke_width=1.1, stroke_dasharray=dash),
            _head(bx, by, atan2(by - ay, bx - ax), colour),
        ]
        opacity = None if flight.awaited else 0.35
        kind = {"class_": "kv-message", "data_kv_awaited": "" if flight.awaited else None}
        return group(parts, fill="none", opacity=opacity, **kind)

    def _words(self, flight: Flight) -> Markup:
        if flight.end_s is None or len(self.read.asked) > 1:
            return Markup("")
        message = flight.message
        x = (self.where[message.source] + self.where[message.target]) / 2
        y = (self.y(flight.sent_s) + self.y(flight.end_s)) / 2
        return label(x, y - 6, str(message).split(" t")[0], size=9.5, anchor="middle")

    def _save(self, time: float, node: str) -> Markup:
        x, y = self.where[node], self.y(time)
        box = {"x": x - 5, "y": y - 5, "width": 10, "height": 10}
        look = {"fill": tone("surface"), "stroke": tone("ink"), "stroke_width": 1.6}
        told = el("title", f"{node}: forced to disk {self._after(time)}")
        return el("rect", told, **box, **look, data_kv_saved=node)

    def _calls(self) -> list[Markup]:
        parts, client = [], self.where[self.read.client]
        calls = [(time, node, True) for time, node in self.read.asked[:1]]
        calls += [(answer.time, answer.node, False) for answer in self.read.answers[-1:]]
        at_once = len(calls) == 2 and self.y(calls[1][0]) - self.y(calls[0][0]) < 6
        for time, node, asks in calls:
            y = self.y(time) + (7 if at_once and not asks else 0)
            far = self.where[node] - 9
            ax, bx = (client + 2, far) if asks else (far, client + 2)
            dash = None if asks else "1 3"
            style = {"stroke": tone("ink"), "stroke_width": 1.4, "stroke_dasharray": dash}
            parts.append(el("path", d=path((ax, y), (bx, y)), stroke_linecap="round", **style))
            parts.append(_head(bx, y, atan2(0, bx - ax), tone("surface")))
        return parts

    def _numbers(self) -> list[Markup]:
        row, bottom = self.read.row(), TOP + self.high
        reads, rounds = row["reads"], row["read rounds"]
        told = _count(row["messages"], "message") + f", {row['in a row']} in a row"
        lines = [_count(reads, "read") + ": " + told if reads > 1 else told]
        if reads > 1:
            lines.append(_count(rounds, "round") + " of heartbeats")
        else:
            entry = _count(row["log entries"], "entry", "entries")
            lines.append(f"{entry}, {_count(row['forced writes'], 'forced write')}")
        ms = row["ms"]
        lines.append("not answered" if ms is None else f"answered after {ms:g} ms")
        return [
            label(self.x, bottom + 24 + 16 * n, line, size=SMALL, halo=False, bold=n == 2)
            for n, line in enumerate(lines)
        ]

    def _after(self, time: float) -> str:
        return f"after {1000 * (time - self.read.asked[0][0]):.1f} ms"


def _head(x: float, y: float, angle: float, colour: str) -> Markup:
    back, half = 8.0, 3.6
    shape = path(
        (x, y),
        (x - back * cos(angle) + half * sin(angle), y - back * sin(angle) - half * cos(angle)),
        (x - back * cos(angle) - half * sin(angle), y - back * sin(angle) + half * cos(angle)),
    )
    return el("path", d=shape + " Z", fill=colour, stroke=tone("ink"), stroke_width=1)


# Words --------------------------------------------------------------------------------------


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _sentence(read: ReadPath, flight: Flight) -> str:
    message, begin = flight.message, read.asked[0][0]
    link, sent_s = f"{message.source}→{message.target}", flight.sent_s - begin
    told = f"{link} {message}, sent {1000 * sent_s:.1f}"
    if flight.end_s is None:
        return f"{told} ms, not received"
    end = f"received {1000 * (flight.end_s - begin):.1f} ms after the question"
    return f"{told}, {end}" + (" (the answer waited for it)" if flight.awaited else "")


def _told(read: ReadPath) -> list[str]:
    return [f"  {_sentence(read, flight)}" for flight in read.flights]
