"""The logs: one strip of cells a node, entries of the same index below each other.

A cell has the colour of its entry's term; above all strips stands the index. Solid edge = this
node knows that it is committed, dashed edge = it does not; a tick below = its state machine has
applied it. Below the leader's strip stands a row for each follower with two flags: the full one at
`match` (known to be stored there), the empty one at `next` (what will be sent next).

Long logs show their end; what is left out is one folded cell that says how much it holds. What a
snapshot replaced is one too: `≤ 12@2` stands for all entries up to that one. `first` and `last`
choose another stretch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kvlearn.raft.types import Entry
from kvlearn.viz.moment import Moment, look
from kvlearn.viz.nodes import NodeMoment
from kvlearn.viz.svg import Markup, Svg, cross, el, fit, group, label, num, one_line, path, width
from kvlearn.viz.theme import CROWN, ROLES, SIZES, term_colour, text_on, tone

GUTTER = 132.0  # the names, left of the strips
NUMBERS = 96.0  # commit and applied, right of them
FOLD = 74.0  # the cell for what is left out
HEAD = 40.0
CELL_H = float(SIZES["cell_h"])
GAP = float(SIZES["cell_gap"])
TICKS = 15.0  # the lane of the applied ticks
FLAG_ROW = 17.0
BETWEEN = 12.0
STRIP_W = 664.0  # cells take at most this much, then the log is windowed
SQUEEZED = 78.0  # long logs have cells at least this wide
TEXT = 11.5


class Window(NamedTuple):
    """Which indices are drawn, and how wide a cell is."""

    first: int
    last: int
    cell: float
    folded: bool  # something before `first` is left out

    @property
    def left(self) -> float:
        return GUTTER + (FOLD + GAP if self.folded else 0.0)

    @property
    def right(self) -> float:
        return self.x(self.last + 1)

    def x(self, index: int) -> float:
        """The left edge of the cell of `index`."""
        return self.left + (index - self.first) * (self.cell + GAP)


def logs(
    subject: Any,
    at: float | None = None,
    seq: int | None = None,
    *,
    first: int | None = None,
    last: int | None = None,
) -> Svg:
    """Draw all logs at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    `first` and `last` are indices: the stretch of the logs to show; default: their end.
    """
    moment = look(subject, at, seq)
    if not moment.names:
        told = "The trace is empty: no node has started yet."
        body = label(24, 40, told, halo=False, tone="dim")
        return Svg("logs", body, 380, 70, "No logs", told, told)
    window = _window(moment, first, last)
    parts = [_head(moment, window)]
    y = HEAD
    for name in moment.names:
        strip, high = _strip(moment, moment.nodes[name], window, y)
        parts.append(strip)
        y += high + BETWEEN
    wide = window.right + NUMBERS
    hooks = {
        "data_kv_time": num(moment.time),
        "data_kv_seq": moment.seq,
        "data_kv_leader": moment.leader or "",
        "data_kv_term": moment.term,
    }
    title, text = _title(moment), _text(moment, window if first or last else None)
    return Svg("logs", "".join(parts), wide, y + 2, title, text.replace("\n", "; "), text, hooks)


def _window(moment: Moment, first: int | None, last: int | None) -> Window:
    ends = [node.log.last for node in moment.nodes.values()]
    ends += [peer.next for node in moment.nodes.values() for peer in node.progress.values()]
    end = max(ends)
    end = max(end, 1) if last is None else max(1, last)
    begin = 1 if first is None else max(1, min(first, end))
    wanted = max((width(_command(e), TEXT, True) for e in _entries(moment, begin, end)), default=0)
    cell = max(SIZES["cell_min"], min(SIZES["cell_max"], wanted + 14))
    if first is None:
        squeezed = min(cell, SQUEEZED)
        begins = [node.log.base + 1 for node in moment.nodes.values() if node.log.last]
        begin = max(min(begins, default=1), end - int(STRIP_W // (squeezed + GAP)) + 1)
        cell = max(squeezed, min(cell, STRIP_W / (end - begin + 1) - GAP))
    return Window(begin, end, float(cell), begin > 1)


def _entries(moment: Moment, first: int, last: int) -> list[Entry]:
    found = []
    for node in moment.nodes.values():
        # Only what could be seen decides how wide a cell is.
        begin = max(first, last - 16, node.log.base + 1)
        found += [node.log.find(index) for index in range(begin, min(last, node.log.last) + 1)]
    return found


def _command(entry: Entry) -> str:
    return "no-op" if entry.data is None else one_line(str(entry.data))


def _short(command: str, room: float) -> str:
    """A command that fits into a cell; `put a=1` loses its verb first, `=` still tells it, and a
    change of members how it is made, which the configuration tells."""
    if command[0] in "+~-" and width(command, TEXT, True) > room:
        command = command.split(" (")[0]
        if width(command, TEXT, True) > room:
            command = command.replace(" ", "")
    elif command == "leave joint":
        command = "leave"
    if command.startswith("put ") and width(command, TEXT, True) > room:
        command = command.removeprefix("put ")
    return fit(command, room, TEXT, True)


# One strip ----------------------------------------------------------------------------------


def _head(moment: Moment, window: Window) -> Markup:
    clock = f"{moment.time:.3f} s"
    parts = [label(16, HEAD - 12, clock, size=SIZES["small"], tone="dim", halo=False)]
    for index in range(window.first, window.last + 1):
        middle = window.x(index) + window.cell / 2
        style = {"anchor": "middle", "tone": "dim", "halo": False, "size": SIZES["small"]}
        parts.append(label(middle, HEAD - 12, str(index), **style))
    if window.folded:
        style = {"anchor": "middle", "tone": "dim", "halo": False, "size": SIZES["small"]}
        upto = f"1 … {window.first - 1}" if window.first > 2 else "1"
        parts.append(label(GUTTER + FOLD / 2, HEAD - 12, upto, **style))
    return group(parts, class_="kv-indices")


def _strip(moment: Moment, node: NodeMoment, window: Window, y: float) -> tuple[Markup, float]:
    parts = _name(node, y)
    parts += _folded(node, window, y)
    begin = max(window.first, node.log.base + 1)
    for index in range(begin, min(window.last, node.log.last) + 1):
        parts += _cell(node, node.log.find(index), window, y)
    if not node.log.last:
        style = {"size": SIZES["small"], "tone": "dim", "halo": False}
        told = "empty"
        if node.incoming:
            last, has, total = node.incoming
            told = f"empty; of the snapshot ≤ {last} it has {has} of {total} records"
        parts.append(label(window.left + 2, y + CELL_H / 2 + 4, told, **style))
    parts += _numbers(node, window, y)
    high = CELL_H + TICKS
    if node.role == "leader" or (node.role == "paused" and node.raft_role == "leader"):
        flags, tall = _flags(node, window, y + high)
        parts += flags
        high += tall
    return group(
        parts,
        class_="kv-log",
        data_kv_node=node.name,
        data_kv_role=node.role,
        data_kv_term=node.term,
    ), high


def _name(node: NodeMoment, y: float) -> list[Markup]:
    middle = y + CELL_H / 2
    small = {"size": SIZES["small"], "tone": "dim", "halo": False}
    words = fit(f"{node.role} t{node.term}", GUTTER - 48, SIZES["small"])
    return [
        group(badge(node), transform=f"translate(26,{num(middle)})"),
        label(43, middle - 2.5, fit(node.name, 74, 14), size=14, bold=True, halo=False),
        label(43, middle + 12, words, **small),
    ]


def badge(node: NodeMoment) -> list[Markup]:
    """A node's disc, small, around (0, 0): its role and the colour of its term."""
    silent = node.role in ("down", "paused")
    style = ROLES[node.raft_role if node.role == "paused" else node.role]
    line = {"fill": "none", "stroke": tone("dim" if silent else "ink"), "stroke_width": 1.4}
    if style["dash"]:
        line["stroke_dasharray"] = "3 2" if node.role == "candidate" else "1 2.4"
    pale = 0.3 if node.role == "outside" else None
    fill = tone("sunken") if silent else term_colour(node.term)
    parts = [el("circle", r=8, fill=fill, fill_opacity=pale)]
    if style["ring"] != "none":
        parts.append(el("circle", r=8.5, **line))
    if style["ring"] == "double":
        grey = node.role != "leader"
        parts.append(el("circle", r=11, **line))
        parts.append(
            el(
                "path",
                d=CROWN,
                transform="translate(0,-17) scale(0.72)",
                fill=tone("dim") if grey else "#E8A400",
                stroke=tone("surface") if grey else "#6B4A00",
            )
        )
    sign = {"stroke": tone("dim"), "stroke_width": 2}
    if node.role == "down":
        parts.append(cross(0, 0, 4, **sign))
    elif node.role == "paused":
        bars = path((-2.5, -4), (-2.5, 4)) + " " + path((2.5, -4), (2.5, 4))
        parts.append(el("path", d=bars, fill="none", stroke_linecap="round", **sign))
    return parts


def _folded(node: NodeMoment, window: Window, y: float) -> list[Markup]:
    """What stands before the window: a snapshot, or entries that are not drawn."""
    base = node.log.base
    if base and (base >= window.first - 1 or base == node.log.last):
        right = window.x(max(window.first, min(base, window.last) + 1)) - GAP
        fold = _fold(GUTTER, right, (_upto(node), "snapshot"), "", y)
        return [*fold, *([_tick((GUTTER + right) / 2, y + CELL_H, base)] if node.applied else [])]
    hidden = min(window.first - 1, node.log.last)
    if not window.folded or not hidden:
        return []
    # The last entry left out says whether all of them are committed.
    edge = "" if node.commit >= hidden else "4 3"
    words = (_upto(node), f"+ {hidden - base} more") if base else (f"… {hidden}", "earlier")
    return _fold(GUTTER, GUTTER + FOLD, words, edge, y)


def _upto(node: NodeMoment) -> str:
    """What the snapshot stands for; a term of 0 is not known."""
    return f"≤ {node.base if node.base.term else node.log.base}"


def _fold(left: float, right: float, words: tuple[str, str], dash: str, y: float) -> list[Markup]:
    """A wide cell with folded corners, two lines in it."""
    top, bottom, notch = y, y + CELL_H, 7.0
    shape = path(
        (left + notch, top),
        (right - notch, top),
        (right, y + CELL_H / 2),
        (right - notch, bottom),
        (left + notch, bottom),
        (left, y + CELL_H / 2),
    )
    style = {"fill": tone("sunken"), "stroke": tone("dim"), "stroke_width": 1.4}
    if dash:
        style["stroke_dasharray"] = dash
    middle = (left + right) / 2
    line = {"anchor": "middle", "halo": False, "size": SIZES["small"], "tone": "dim"}
    parts = [
        el("path", d=shape + " Z", **style),
        label(middle, y + CELL_H / 2 - 2, words[0], **line),
        label(middle, y + CELL_H / 2 + 11, words[1], **line),
    ]
    return [group(parts, data_kv_folded=" ".join(words).removeprefix("… "))]


def _cell(node: NodeMoment, entry: Entry, window: Window, y: float) -> list[Markup]:
    x, wide = window.x(entry.index), window.cell
    colour = term_colour(entry.term)
    ink = text_on(colour)
    committed = entry.index <= node.commit
    command = _command(entry)
    style = {"anchor": "middle", "halo": False, "fill": ink}
    middle = x + wide / 2
    parts = [
        el(
            "rect",
            el("title", _cell_sentence(node, entry)),
            x=x + 1,
            y=y + 1,
            width=wide - 2,
            height=CELL_H - 2,
            rx=4,
            fill=colour,
            stroke=tone("ink"),
            stroke_width=2.0,
            stroke_dasharray=None if committed else "5 3.5",
        ),
        label(middle, y + 16.5, _short(command, wide - 11), size=TEXT, mono=True, **style),
        label(middle, y + 30, f"term {entry.term}", size=9.5, **style),
    ]
    if entry.index <= node.applied:
        parts.append(_tick(middle, y + CELL_H, entry.index))
    return [
        group(
            parts,
            class_="kv-entry",
            data_kv_entry=str(entry.id),
            data_kv_committed=str(committed).lower(),
        )
    ]


def _tick(x: float, y: float, index: int) -> Markup:
    """The state machine has applied the entry above."""
    return el(
        "path",
        d=path((x - 4.5, y + 6), (x - 1.2, y + 9.5), (x + 5, y + 2.5)),
        fill="none",
        stroke=tone("good"),
        stroke_width=2,
        stroke_linecap="round",
        stroke_linejoin="round",
        data_kv_applied=index,
    )


def _cell_sentence(node: NodeMoment, entry: Entry) -> str:
    told = [f"{entry.id} {_command(entry)}"]
    told.append("committed" if entry.index <= node.commit else "not known to be committed")
    if entry.index <= node.applied:
        told.append("applied")
    if entry.index > node.durable:
        told.append("not on disk yet")
    return ", ".join(told)


def _numbers(node: NodeMoment, window: Window, y: float) -> list[Markup]:
    x = window.right + 10
    middle = y + CELL_H / 2
    style = {"size": SIZES["small"], "tone": "dim", "halo": False}
    parts = [
        label(x, middle - 3, f"commit {node.commit}", **style),
        label(x, middle + 11, f"applied {node.applied}", **style),
    ]
    if node.incoming and node.log.last:
        _, has, total = node.incoming
        parts.append(label(x, middle - 17, f"snapshot {has}/{total}", **style))
    if node.log.last > window.last:
        parts.append(label(x, middle + 25, f"… {node.log.last - window.last} later", **style))
    return parts


# Flags --------------------------------------------------------------------------------------


def _flags(node: NodeMoment, window: Window, y: float) -> tuple[list[Markup], float]:
    """A row for each follower: a bar over what it is known to store, and the two flags."""
    parts = []
    for number, peer in enumerate(sorted(node.progress)):
        known = node.progress[peer]
        row = y + number * FLAG_ROW + FLAG_ROW / 2
        style = {"size": SIZES["small"], "tone": "dim", "halo": False}
        said = f"{peer}: match {known.match}, next {known.next} ({known.state})"
        drawn = [
            el("title", said),
            label(GUTTER - 34, row + 4, f"{peer} {known.state}", anchor="end", **style),
            *_track(window, row, known.match, known.next),
        ]
        parts.append(
            group(
                drawn,
                class_="kv-progress",
                data_kv_peer=peer,
                data_kv_match=known.match,
                data_kv_next=known.next,
            )
        )
    return parts, len(node.progress) * FLAG_ROW + 4


def _track(window: Window, row: float, match: int, next_: int) -> list[Markup]:
    left = GUTTER
    end = _edge(window, match + 1) - GAP / 2
    start = _edge(window, next_) - GAP / 2
    ink = tone("ink")
    parts = [el("path", d=path((left, row), (window.right - GAP, row)), stroke=tone("faint"))]
    if match:
        bar = path((left, row), (end, row))
        parts.append(el("path", d=bar, stroke=tone("dim"), stroke_width=3))
    if start - end > 1:  # sent, not yet acknowledged
        way = path((end, row), (start, row))
        style = {"stroke": tone("dim"), "stroke_width": 2, "stroke_dasharray": "2 3"}
        parts.append(el("path", d=way, **style))
    words = {"size": 10}
    pen = {"stroke": ink, "stroke_width": 1.4, "stroke_linejoin": "round"}
    full = path((end, row + 6), (end, row - 7), (end - 11, row - 3.5), (end, row))
    parts.append(el("path", d=full, fill=ink, **pen))
    parts.append(label(end - 14, row + 4, str(match), anchor="end", **words))
    pole = start + 2
    empty = path((pole, row + 6), (pole, row - 7), (pole + 11, row - 3.5), (pole, row))
    parts.append(el("path", d=empty, fill=tone("surface"), **pen))
    parts.append(label(start + 16, row + 4, str(next_), **words))
    return parts


def _edge(window: Window, index: int) -> float:
    """The left edge of a cell that may lie outside the window."""
    if index >= window.first:
        return window.x(min(index, window.last + 1))
    if index <= 1:
        return GUTTER + GAP / 2
    part = (index - 1) / (window.first - 1)
    return GUTTER + FOLD * part + GAP / 2


# Words --------------------------------------------------------------------------------------


def _title(moment: Moment) -> str:
    who = f"{moment.leader} leads" if moment.leader else "no leader"
    return f"{len(moment.nodes)} logs at {moment.time:.3f} s: {who}, term {moment.term}"


def _text(moment: Moment, window: Window | None) -> str:
    """The logs as lines, of a chosen stretch or of the end: `|` stands after the last committed
    entry."""
    lines = [_title(moment)]
    for name in moment.names:
        node = moment.nodes[name]
        entries, later = node.log[-12:], 0
        if window is not None:
            entries = [e for e in node.log if window.first <= e.index <= window.last]
            later = sum(e.index > window.last for e in node.log)
        told = []
        hidden = len(node.log) - len(entries) - later
        if node.log.base:
            told.append(f"(snapshot {_upto(node)})")
        if hidden:
            told.append(f"… {hidden} earlier")
        for entry in entries:
            told.append(f"{entry.id} {_command(entry)}")
            if entry.index == node.commit:
                told.append("|")
        told += [f"… {later} later"] * bool(later)
        body = ", ".join(told).replace(", |,", " |").replace(", |", " |") or "empty"
        disk = "" if node.durable >= node.log.last else f" on disk {node.durable}"
        lines.append(
            f"{name} {node.role} term {node.term} commit {node.commit} "
            f"applied {node.applied}{disk}: {body}"
        )
        if node.incoming:
            last, has, total = node.incoming
            lines.append(f"  gets the snapshot ≤ {last}: {has} of {total} records")
        for peer in sorted(node.progress):
            known = node.progress[peer]
            lines.append(f"  {peer}: match {known.match}, next {known.next} ({known.state})")
    return "\n".join(lines)
