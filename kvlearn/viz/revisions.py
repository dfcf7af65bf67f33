"""The history of the store: revisions from left to right, one lane a key.

A diamond creates a key, a disc changes it, a tombstone deletes it; the bar from the first to the
last is a *generation*, one life of the key. What shares a revision stands in one column, joined by
a line: a transaction, a deletion of many keys, the end of a lease. A mark's colour is the term of
its log entry. What a compaction removed stays as an empty outline, a *hole*; the dashed line is the
frontier below which nobody can read. A small clock hangs on a pair that has a lease.

Whatever finds no room is not written over something else: the text twin has all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kvlearn.kv.requests import as_bytes
from kvlearn.mvcc.revision import short
from kvlearn.viz.axis import BAND, GUTTER, NUMBERS, WIDE, Axis, legend, mark, sample
from kvlearn.viz.store_fold import Change, StoreMoment, look_store, newest
from kvlearn.viz.svg import (
    Box,
    Markup,
    Room,
    Svg,
    el,
    fit,
    group,
    label,
    num,
    one_line,
    path,
    text_box,
    wrap,
)
from kvlearn.viz.theme import SIZES, tone

HEAD = 30.0
LANE = 42.0
BAR = 9.0  # a generation's height
LANES = 14  # so many keys are drawn, unless they are named
TOLD = 80  # so many things of a kind are told in words, the last ones
SMALL = SIZES["small"]


def revisions(
    subject: Any,
    at: float | None = None,
    seq: int | None = None,
    *,
    keys: Iterable[str | bytes] | None = None,
    node: str | None = None,
    first: int | None = None,
    last: int | None = None,
) -> Svg:
    """Draw the history of the store at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    `keys`: these keys only; `node`: as that node has applied it (default: the one that is
    furthest); `first` and `last` are revisions: the stretch to show; default: the end.
    """
    store = look_store(subject, at, seq, node)
    if not store.changes:
        return nothing("revisions", store)
    chosen = store.keys if keys is None else sorted({as_bytes(key) for key in keys})
    axis = Axis(store, first, last)
    shown = _chosen(store, chosen, axis, keys is not None)
    top = HEAD + NUMBERS + BAND + 6
    bottom = top + LANE * len(shown)
    rows = {key: top + LANE * row + LANE / 2 + 5 for row, key in enumerate(shown)}
    changes = [c for c in store.changes if c.kv.key in rows and axis.shows(c.revision)]
    room = Room()
    body = [
        _head(store),
        group(axis.draw(HEAD, bottom), class_="kv-axis"),
        *(_lane(store, axis, key, y) for key, y in rows.items()),
        group(_together(changes, axis, rows), class_="kv-together"),
        group(_marks(changes, axis, rows, room), class_="kv-changes"),
        group(_values(store, changes, axis, rows, room), class_="kv-values"),
        *_foot(store, axis, len(chosen) - len(shown), bottom),
    ]
    high = bottom + 52 + (15 if _notes(store, axis, len(chosen) - len(shown)) else 0)
    text = _text(store, chosen)
    desc = one_line(text.replace("\n", "; "))
    return Svg("revisions", "".join(body), WIDE, high, _title(store), desc, text, hooks_of(store))


def hooks_of(store: StoreMoment) -> dict[str, object]:
    """The root's attributes, equal for all pictures of the store."""
    return {
        "data_kv_time": num(store.time),
        "data_kv_seq": store.seq,
        "data_kv_store": store.revision,
        "data_kv_compacted": store.compacted,
    }


def nothing(kind: str, store: StoreMoment, told: str = "") -> Svg:
    """The picture of a store in which nothing is to be seen, and why."""
    if not told and not len(store.trace):
        told = "The trace is empty: no node has started yet."
    told = (
        told
        or store.caveat
        or (f"Nothing was ever written: the store is at revision {store.revision}.")
    )
    body = label(24, 40, fit(told, 620), halo=False, tone="dim")
    return Svg(kind, body, 680, 70, "Nothing to see", told, told, hooks_of(store))


def _chosen(store: StoreMoment, keys: list[bytes], axis: Axis, named: bool) -> list[bytes]:
    """The keys to draw, in byte order: of too many, those that changed last."""
    if named or len(keys) <= LANES:
        return keys
    last = newest([c for c in store.changes if c.revision <= axis.last])
    late = sorted((key for key in keys if key in last), key=lambda key: last[key].at)
    return sorted(late[-LANES:])


def _head(store: StoreMoment) -> Markup:
    who = f" · as {store.node} has applied it" if store.node else ""
    told = f"{store.time:.3f} s · revision {store.revision}{who}"
    return label(14, 18, fit(told, WIDE - 28, SMALL), size=SMALL, tone="dim", halo=False)


# Lanes --------------------------------------------------------------------------------------


def _lane(store: StoreMoment, axis: Axis, key: bytes, y: float) -> Markup:
    name = fit(one_line(short(key, 60)), GUTTER - 24, SIZES["text"])
    lives = _lives([c for c in store.changes if c.kv.key == key])
    known = lives and lives[-1][-1].kind != "delete"
    tint = "ink" if known else "dim"
    parts = [el("title", short(key, 200)), label(14, y + 4, name, tone=tint, halo=False)]
    line = path((axis.left - 6, y), (axis.end, y))
    parts.append(el("path", d=line, stroke=tone("faint"), stroke_width=0.8))
    for life in lives:
        parts += _generation(axis, life, y)
    return group(parts, class_="kv-lane", data_kv_key=short(key, 200))


def _lives(changes: list[Change]) -> list[list[Change]]:
    """A key's records, cut into generations."""
    lives: list[list[Change]] = []
    for change in changes:
        if change.kind == "create" or not lives or lives[-1][-1].kind == "delete":
            lives.append([])
        lives[-1].append(change)
    return lives


def _generation(axis: Axis, life: list[Change], y: float) -> list[Markup]:
    """The bar of one life: full where records are left, an outline where they are gone."""
    start, end = life[0].kv.create_revision or life[0].revision, life[-1]
    if start > axis.last or (end.kind == "delete" and end.revision < axis.first):
        return []
    left = axis.x(start) if start >= axis.first else axis.left
    right = axis.x(end.revision) if end.kind == "delete" else axis.end + 4
    if end.revision > axis.last:
        right = axis.end + 4
    there = next((c.revision for c in life if not c.removed), None)
    full = right if there is None else max(left, axis.x(there))
    if there is not None and there < axis.first:
        full = left
    parts = []
    if full > left:
        box = {"x": left, "y": y - BAR / 2, "width": full - left, "height": BAR, "rx": 3}
        hollow = {"fill": "none", "stroke": tone("line"), "stroke_dasharray": "3 3"}
        parts.append(el("rect", **box, **hollow, data_kv_generation="gone"))
    if there is not None and right > full:
        box = {"x": full, "y": y - BAR / 2, "width": right - full, "height": BAR, "rx": 3}
        look = {"fill": tone("index"), "fill_opacity": 0.28}
        parts.append(el("rect", **box, **look, data_kv_generation=start))
    return parts


def _together(changes: list[Change], axis: Axis, rows: dict[bytes, float]) -> list[Markup]:
    """A line through all marks of one revision."""
    columns: dict[int, list[float]] = {}
    for change in changes:
        columns.setdefault(change.revision, []).append(rows[change.kv.key])
    look = {"stroke": tone("dim"), "stroke_width": 1.3}
    return [
        el("path", d=path((axis.x(r), min(ys)), (axis.x(r), max(ys))), data_kv_together=r, **look)
        for r, ys in columns.items()
        if max(ys) > min(ys)
    ]


def _marks(changes: list[Change], axis: Axis, rows: dict, room: Room) -> list[Markup]:
    r = radius(axis)
    parts, seen = [], set()
    for change in changes:
        x, y = axis.x(change.revision), rows[change.kv.key]
        if (change.kv.key, change.revision) in seen:
            x += r * 0.8  # changed twice inside one transaction
        seen.add((change.kv.key, change.revision))
        parts.append(mark(change, x, y, r))
        room.take([Box(x - r, y - r - 1, x + r, y + r)])
        if change.kv.lease:
            parts.append(clock(x, y + r + 6.5, 4.2 if r > 5 else 3.2, change))
            room.take([Box(x - 5, y + r + 1, x + 5, y + r + 12)])
    return parts


def radius(axis: Axis) -> float:
    """How large a mark is: neighbours never touch."""
    return max(3.6, min(6.5, axis.step * 0.4))


def clock(x: float, y: float, r: float, change: Change) -> Markup:
    """A pair that has a lease."""
    pale = 0.5 if change.removed else None
    look = {"fill": tone("surface"), "stroke": tone("lease"), "stroke_width": 1.3}
    hands = path((x, y - r * 0.6), (x, y), (x + r * 0.5, y))
    return group(
        [
            el("title", f"{short(change.kv.key)} hangs on lease {change.kv.lease:x}"),
            el("circle", cx=x, cy=y, r=r, **look),
            el("path", d=hands, fill="none", stroke=tone("lease"), stroke_width=1.1),
        ],
        opacity=pale,
        data_kv_attached=f"{change.kv.lease:x}",
    )


def _values(
    store: StoreMoment, changes: list[Change], axis: Axis, rows: dict, room: Room
) -> list[Markup]:
    """Values above their marks, the newest first; where there is no room none is written."""
    parts = []
    current = {id(c) for c in newest(store.changes).values()}
    for change in sorted(changes, key=lambda c: (id(c) not in current, -c.at.main, c.at.sub)):
        if change.kind == "delete":
            continue
        x, y = axis.x(change.revision), rows[change.kv.key] - radius(axis) - 5
        told = one_line(short(change.kv.value, 24)) or "(empty)"
        tries = [told, fit(told, max(axis.step * 1.6, 40), SMALL), fit(told, 26, SMALL)]
        for text in dict.fromkeys(tries):
            anchor = _anchor(x, text)
            if text != "…" and _place(room, x, y, text, anchor):
                tint = "dim" if change.removed or id(change) not in current else "ink"
                parts.append(label(x, y, text, size=SMALL, anchor=anchor, tone=tint))
                break
    for key, change in newest(store.changes).items():
        if key in rows and change.kind != "delete" and change.revision < axis.first:
            told = one_line(short(change.kv.value, 24)) or "(empty)"
            x, y = (
                axis.left + 3,
                rows[key] - radius(axis) - 5,
            )  # put before the stretch that is shown
            if _place(room, x, y, told, "start"):
                parts.append(label(x, y, told, size=SMALL))
            if change.kv.lease:
                parts.append(clock(x + 6, rows[key] + 13, 4.2, change))
    return parts


def _anchor(x: float, text: str) -> str:
    """Centred, unless the page's edge is in the way."""
    box = text_box(x, 0, text, SMALL, "middle")
    return "end" if box.right > WIDE - 8 else "start" if box.left < GUTTER - 10 else "middle"


def _place(room: Room, x: float, y: float, text: str, anchor: str) -> bool:
    box = text_box(x, y, text, SMALL, anchor)
    if not room.free([Box(box.left - 3, box.top, box.right + 3, box.bottom)]):
        return False
    room.take([box])
    return True


# Words --------------------------------------------------------------------------------------


def _notes(store: StoreMoment, axis: Axis, hidden: int) -> str:
    told = []
    if hidden:
        told.append(f"… {hidden} more keys are not drawn.")
    if axis.folded:
        told.append(f"… {axis.folded} earlier revisions are folded.")
    if axis.later:
        told.append(f"… {axis.later} later revisions are not drawn.")
    return " ".join([*told, *([store.caveat] if store.caveat else [])])


def _foot(store: StoreMoment, axis: Axis, hidden: int, bottom: float) -> list[Markup]:
    items = [
        ("create", sample("create")),
        ("modify", sample("modify")),
        ("delete", sample("delete")),
        ("hole: removed by a compaction", sample("modify", hole=True)),
        ("one line: one revision", el("path", d="M0,-7 L0,5", stroke=tone("dim"))),
    ]
    if any(change.kv.lease for change in store.changes):
        hands = el("path", d="M0,-3 L0,0 L2,0", fill="none", stroke=tone("lease"))
        face = el("circle", r=4.5, fill="none", stroke=tone("lease"), stroke_width=1.3)
        items.append(("lease", group([face, hands])))
    parts = [group(legend(items, bottom + 38), class_="kv-legend")]
    if notes := _notes(store, axis, hidden):
        line = wrap(notes, WIDE - 28, SMALL, 1)[0]
        parts.append(label(14, bottom + 54, line, size=SMALL, tone="dim", halo=False))
    return parts


def _title(store: StoreMoment) -> str:
    holes = f", compacted at {store.compacted}: {len(store.holes)} holes" if store.compacted else ""
    return f"The store at {store.time:.3f} s: revision {store.revision}{holes}"


def _text(store: StoreMoment, keys: list[bytes]) -> str:
    """The history as lines, one a key: `{}` holds a generation, `(gone)` marks a hole."""
    lines = [_title(store)]
    if store.node:
        lines[0] += f", as {store.node} has applied it"
    runs = Axis(store, first=2).terms()
    told = (f"{a}…{b} term {t}" if a < b else f"{a} term {t}" for a, b, t in runs)
    lines.append("revisions: " + ", ".join(tail(list(told), TOLD, "… {} terms before")))
    of_key: dict[bytes, list[Change]] = {}
    for change in store.changes:
        of_key.setdefault(change.kv.key, []).append(change)
    for key in keys[:TOLD]:
        changes = of_key.get(key, [])
        told = " ".join("{" + ", ".join(map(_word, life)) + "}" for life in _lives(changes[-TOLD:]))
        early = f"… {len(changes) - TOLD} earlier, " if len(changes) > TOLD else ""
        lines.append(f"{one_line(short(key, 60))}: {early}{told or 'never written'}")
    if len(keys) > TOLD:
        lines.append(f"… {len(keys) - TOLD} more keys")
    if store.caveat:
        lines.append(store.caveat)
    return "\n".join(lines)


def tail(told: list[str], limit: int, early: str) -> list[str]:
    """The last `limit` of `told`, after a word on how many there are before."""
    return told if len(told) <= limit else [early.format(len(told) - limit), *told[-limit:]]


def _word(change: Change) -> str:
    told = f"{change.at} {change.kind}"
    if change.kind != "delete":
        told += f" ={one_line(short(change.kv.value))}"
    if change.kv.lease:
        told += f" (lease {change.kv.lease:x})"
    return told + (" (gone)" if change.removed else "")
