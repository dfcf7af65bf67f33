"""Watches: one lane a watcher, on the revision axis.

The lane begins at the first revision that the watcher wants. What it was told is a mark at its
revision; the flag is its position: everything up to there has reached the stream. Marks right of
the flag are empty: its node has made the change and has not told it yet. Dots right of the flag:
there was nothing for it, and its client was not told so. Pale marks are those that
its filters keep away, small ticks below the lane are progress notifications. The node that serves
is written below the lane, where it began to; a watcher that ended carries the reason.

A change that was passed over would be a broken promise (a cross), and so would one that was told
twice (`×2`), or out of order, too early, against a filter or with another value (a ring).
"""

from __future__ import annotations

from typing import Any

from kvlearn.mvcc.revision import short
from kvlearn.viz.axis import BAND, NUMBERS, WIDE, Axis, legend, mark, sample, sentence, shape
from kvlearn.viz.revisions import TOLD, hooks_of, nothing, radius, tail
from kvlearn.viz.store_fold import Change, StoreMoment, look_store
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
    wrap,
)
from kvlearn.viz.theme import SIZES, term_colour, text_on, tone
from kvlearn.viz.watch_fold import WatchLife, words

HEAD = 30.0
GUTTER, MARGIN = 134.0, 104.0  # who watches what; how it stands
STORE = 30.0  # the store's own lane
LANE = 48.0
LANES = 14
SMALL, TINY = SIZES["small"], 9.5
TONES = {"synced": "good", "behind": "ink", "waiting": "fault", "ended": "dim"}


def streams(
    subject: Any,
    at: float | None = None,
    seq: int | None = None,
    *,
    first: int | None = None,
    last: int | None = None,
) -> Svg:
    """Draw every watcher at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    `first` and `last` are revisions: the stretch to show; default: the end.
    """
    store = look_store(subject, at, seq)
    if not store.watches:
        return nothing("streams", store, "Nobody watches anything." if len(store.trace) else "")
    axis = Axis(store, first, last, GUTTER, WIDE - MARGIN)
    shown = store.watches[-LANES:]
    top = HEAD + NUMBERS + BAND + STORE
    bottom = top + LANE * len(shown)
    body = [
        _head(store),
        group(axis.draw(HEAD, bottom), class_="kv-axis"),
        group(_store_lane(store, axis, top - STORE / 2 + 2), class_="kv-store"),
    ]
    for row, life in enumerate(shown):
        body.append(_lane(store, axis, life, top + LANE * row + 20))
    body += _foot(store, axis, bottom)
    notes = 15 * (bool(_notes(store, axis)) + any(_quiet(store, axis, one) for one in shown))
    text = _text(store)
    title = f"{_count(len(store.watches), 'watch', 'watches')} at {store.time:.3f} s"
    desc = text.replace("\n", "; ")
    return Svg("streams", "".join(body), WIDE, bottom + 52 + notes, title, desc, text,
               hooks_of(store))  # fmt: skip


def _head(store: StoreMoment) -> Markup:
    nodes = ", ".join(f"{name} {revision}" for name, revision in sorted(store.revisions.items()))
    told = f"{store.time:.3f} s · the store's revision: {nodes}"
    return label(14, 18, fit(told, WIDE - 28, SMALL), size=SMALL, tone="dim", halo=False)


def _store_lane(store: StoreMoment, axis: Axis, y: float) -> list[Markup]:
    """One mark a revision: what could be told of."""
    parts = [label(14, y + 4, "the store", tone="dim", halo=False)]
    columns: dict[int, list[Change]] = {}
    for change in store.changes:
        if axis.shows(change.revision):
            columns.setdefault(change.revision, []).append(change)
    for revision, changes in columns.items():
        there = sorted((c for c in changes if not c.removed), key=lambda c: -c.at.sub)
        shown = there or changes
        x, r = axis.x(revision), min(5.0, radius(axis))
        spots = _pile(axis, len(shown), r) or [0.0]
        parts += [mark(change, x + off, y, r) for change, off in zip(shown, spots)]
    return parts


def _pile(axis: Axis, number: int, r: float) -> list[float]:
    """How far from their revision marks of one revision stand, left to right; [] if too many."""
    if number > 3 or axis.step < 20:
        return []
    room = (axis.step - 2 * r - 6) / max(1, number - 1)
    apart = max(2.2, min(1.3 * r, room))
    return [apart * (place - (number - 1) / 2) for place in range(number)]


# Lanes --------------------------------------------------------------------------------------


def _lane(store: StoreMoment, axis: Axis, life: WatchLife, y: float) -> Markup:
    room = Room()
    parts = [el("title", _words(store, life)), *_who(life, y)]
    parts += _tracks(store, axis, life, y)
    parts += _events(store, axis, life, y, room)
    parts += _progress(axis, life, y)
    parts += _nodes(axis, life, y, room)
    parts += _flag(axis, life, y)
    parts += _state(axis, life, y)
    return group(
        parts,
        class_="kv-watch-lane",
        data_kv_stream=life.stream,
        data_kv_number=life.watch_id,
        data_kv_position=life.position,
        data_kv_state=life.state,
        data_kv_node=life.served[-1].node,
    )


def _who(life: WatchLife, y: float) -> list[Markup]:
    start = f" from {life.first}"
    what = fit(one_line(life.what), GUTTER - 24, SMALL)
    return [
        label(14, y - 2, fit(one_line(life.name), GUTTER - 24), bold=True, halo=False),
        label(14, y + 12, what, size=SMALL, tone="dim", halo=False),
        label(14, y + 24, start.strip(), size=TINY, tone="dim", halo=False),
    ]


def _tracks(store: StoreMoment, axis: Axis, life: WatchLife, y: float) -> list[Markup]:
    """Full up to the watcher's position, dashed up to where its node is."""
    start = axis.edge(min(life.first, axis.last + 1))
    here = axis.edge(life.position + 1)
    parts = []
    if here > start:
        look = {"stroke": tone("dim"), "stroke_width": 2.4}
        parts.append(el("path", d=path((start, y), (here, y)), **look))
    left, right = _ahead(store, axis, life)
    if right > left:
        dash = "1 4" if life.state == "synced" else "4 3"
        look = {"stroke": tone("dim"), "stroke_width": 1.4, "stroke_dasharray": dash}
        parts.append(el("path", d=path((left, y), (right, y)), **look))
    if life.first >= axis.first:
        post = path((start, y - 9), (start, y + 9))
        parts.append(el("path", d=post, stroke=tone("dim"), stroke_width=1.6))
    return parts


def _ahead(store: StoreMoment, axis: Axis, life: WatchLife) -> tuple[float, float]:
    """From the watcher's position to where its node is; empty for one that has ended."""
    left = axis.edge(max(min(life.first, axis.last + 1), life.position + 1))
    upto = axis.edge(store.revisions.get(life.served[-1].node, 0) + 1)
    return left, left if life.end else max(left, upto)


def _quiet(store: StoreMoment, axis: Axis, life: WatchLife) -> bool:
    """Whether its node is further than its client knows, and nothing was for it."""
    left, right = _ahead(store, axis, life)
    return life.state == "synced" and right > left


def _events(store: StoreMoment, axis: Axis, life: WatchLife, y: float, room: Room) -> list[Markup]:
    by_key = {(c.kv.key, c.revision): c for c in store.changes}
    told = [
        (by_key.get((t.event.kv.key, t.revision)), t.times, "wrong" if t.wrong else "told")
        for t in life.told
    ]
    for kind in ("pale", "behind", "missed"):
        told += [(store.changes[place], 1, kind) for place in getattr(life, kind)]
    columns: dict[int, list] = {}
    for change, times, kind in told:
        if change is not None:
            columns.setdefault(change.revision, []).append((change, times, kind))
    hidden = sum(len(found) for revision, found in columns.items() if revision < axis.first)
    parts = []
    if hidden:
        style = {"anchor": "middle", "size": TINY, "tone": "dim"}
        parts.append(label(axis.x(axis.first - 1), y - 8, f"… {hidden}", **style))
    for revision in sorted(columns):
        if axis.shows(revision):
            parts += _column(axis, columns[revision], axis.x(revision), y, room)
    return parts


def _column(axis: Axis, found: list, x: float, y: float, room: Room) -> list[Markup]:
    """What one revision means to the watcher: a mark a change, a few as a pile, many as one."""
    r, parts = radius(axis), []
    order = {"pale": 0, "behind": 1, "told": 2, "missed": 3, "wrong": 4}
    found = sorted(found, key=lambda one: (order[one[2]], -one[0].at.sub))
    spots = _pile(axis, len(found), r)
    kinds = {kind: [one for one in found if one[2] == kind] for kind in order}
    for place, (change, times, kind) in enumerate(found):
        if spots:
            parts.append(_event([(change, times)], x + spots[place], y, r, kind))
        elif kinds[kind]:
            parts.append(_event([one[:2] for one in kinds.pop(kind)], x, y, r, kind))
            kinds[kind] = []
    half = r + 1 - min(spots, default=0.0)
    room.take([Box(x - half, y - r - 1, x + half, y + r + 1)])
    twice = max(times for _, times, _ in found)
    words = f"×{twice}" if twice > 1 else str(len(found)) if len(found) > 1 else ""
    if words:
        tint = "fault" if twice > 1 else "dim"
        box = text_box(x, y - r - 3, words, TINY, "middle")
        room.take([box])
        parts.append(label(x, y - r - 3, words, size=TINY, anchor="middle", tone=tint))
    return parts


def _event(found: list[tuple[Change, int]], x: float, y: float, r: float, kind: str) -> Markup:
    """One mark for changes of one revision, all told, or all not."""
    change, times = found[0][0], max(times for _, times in found)
    why = {"behind": "not told yet", "missed": "passed over: never told", "pale": "filtered out"}
    why["wrong"] = "it should not have been told so"
    told = ". ".join(sentence(one._replace(removed=0)) for one, _ in found)
    hole = kind in ("behind", "missed")
    look = {
        "fill": tone("surface") if hole else term_colour(change.term),
        "stroke": tone("ink"),
        "stroke_width": 1.3,
        "stroke_linejoin": "round",
    }
    parts = [
        el("title", told + (f": {why[kind]}" if kind in why else "")),
        el("path", d=shape(change.kind, x, y, r), **look),
    ]
    if kind == "missed":
        parts.append(cross(x, y, r, stroke=tone("fault"), stroke_width=2.2))
    elif not hole and change.kind == "delete" and r >= 4.5:
        pen = text_on(term_colour(change.term))
        parts.append(cross(x, y, r * 0.42, stroke=pen, stroke_width=1.4))
    if kind == "wrong":
        ring = {"fill": "none", "stroke": tone("fault"), "stroke_width": 2}
        parts.append(el("circle", cx=x, cy=y, r=r + 3.5, **ring))
    return group(
        parts,
        opacity=0.3 if kind == "pale" else None,
        data_kv_watch=kind,
        data_kv_revision=change.revision,
        data_kv_count=len(found),
        data_kv_times=times if times > 1 else None,
    )


def _progress(axis: Axis, life: WatchLife, y: float) -> list[Markup]:
    """A tick behind the revision that a progress notification told."""
    parts = []
    for revision in dict.fromkeys(life.progress):
        if revision >= axis.first:
            x = axis.edge(revision + 1)
            tick = path((x, y + 4), (x, y + 11))
            told = el("title", f"progress: all up to revision {revision}")
            look = {"stroke": tone("ink"), "stroke_width": 1.6}
            parts.append(el("path", told, d=tick, **look, data_kv_progress=revision))
    return parts


def _nodes(axis: Axis, life: WatchLife, y: float, room: Room) -> list[Markup]:
    """Below the lane: who serves, from where on."""
    parts = []
    last = {}
    for number, served in enumerate(life.served):  # of several at one place the last counts
        last[axis.edge(served.after + 1)] = (number, served)
    for x, (number, served) in sorted(last.items(), reverse=True):
        told = one_line(f"→ {served.node}" if number else served.node)
        shown = fit(told, 90, TINY)
        box = text_box(x + 4, y + 19, shown, TINY, "start")
        if room.free([box]):
            room.take([box])
            parts.append(label(x + 4, y + 19, shown, size=TINY, tone="dim"))
        if number:
            look = {"stroke": tone("dim"), "stroke_width": 1, "stroke_dasharray": "2 2"}
            parts.append(el("path", d=path((x, y - 8), (x, y + 18)), **look))
    return parts


def _flag(axis: Axis, life: WatchLife, y: float) -> list[Markup]:
    """The position: a pole with a pennant; where the watcher ended, a cross."""
    x = axis.edge(max(life.position + 1, axis.first))
    if life.end:
        return [cross(x, y, 5, stroke=tone(_tone(life)), stroke_width=2.2)]
    named = _tone(life)
    pole = path((x, y + 3), (x, y - 13), (x + 8, y - 10), (x, y - 7))
    told = el("title", f"position: told all up to revision {life.position}")
    look = {"fill": tone(named), "stroke": tone(named), "stroke_width": 1.6}
    return [el("path", told, d=pole, stroke_linejoin="round", **look)]


def _tone(life: WatchLife) -> str:
    """The colour of how it stands; an end that its client did not want is a fault."""
    broken = life.missed or any(one.wrong or one.times > 1 for one in life.told)
    if broken or (life.end and "client" not in life.end):
        return "fault"
    return TONES[life.state]


def _state(axis: Axis, life: WatchLife, y: float) -> list[Markup]:
    room = WIDE - axis.end - 20
    lines = [fit(line, room, SMALL) for line in wrap(_standing(life), room, SMALL, 3)]
    top = y + 4 - 6.5 * (len(lines) - 1)
    named = _tone(life)
    return [
        label(axis.end + 12, top + 13 * n, line, size=SMALL, tone=named, halo=False)
        for n, line in enumerate(lines)
    ]


# Words --------------------------------------------------------------------------------------


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _standing(life: WatchLife) -> str:
    """How it stands, in few words."""
    told = life.end or (f"waits: {life.lost}" if life.lost else "")
    if not told:
        told = f"{len(life.behind)} behind" if life.behind else "synced"
    if life.missed:
        told += f", {len(life.missed)} missed"
    if twice := sum(told_.times > 1 for told_ in life.told):
        told += f", {twice} told again"
    if wrong := sum(bool(one.wrong) for one in life.told):
        told += f", {wrong} wrong"
    return one_line(told)


def _words(store: StoreMoment, life: WatchLife) -> str:
    told = [f"{life.name} watches {life.what} from revision {life.first}"]
    if life.request.filters:
        told[0] += f", without {' and '.join(life.request.filters)} events"
    nodes = ", then ".join(
        f"{one.node}" + (f" after {one.after}" if number else "")
        for number, one in enumerate(life.served)
    )
    told.append(f"served by {nodes}")
    events = [
        f"{one.revision} {one.event.type} {short(one.event.kv.key)}"
        + (f" ×{one.times}" if one.times > 1 else "")
        + (f" (wrong: {one.wrong})" if one.wrong else "")
        for one in life.told
    ]
    told.append(f"told {', '.join(tail(events, TOLD, '… {} earlier')) or 'nothing'}")
    for name, places in (("filtered", life.pale), ("behind", life.behind), ("missed", life.missed)):
        if places:
            those = [str(store.changes[place].revision) for place in places]
            told.append(f"{name}: {', '.join(tail(those, TOLD, '… {} earlier'))}")
    progress = list(map(str, dict.fromkeys(life.progress)))
    if progress:
        told.append(f"progress {', '.join(tail(progress, TOLD, '… {} earlier'))}")
    told.append(f"position {life.position}")
    return one_line("; ".join([*told, _standing(life)]))


def _text(store: StoreMoment) -> str:
    counted = ", ".join(f"{number} {state}" for state, number in words(store.watches).items())
    lines = [f"Watches at {store.time:.3f} s, the store at revision {store.revision}: {counted}"]
    lines += tail([_words(store, life) for life in store.watches], TOLD, "… {} earlier watches")
    return "\n".join([*lines, *([store.caveat] if store.caveat else [])])


def _notes(store: StoreMoment, axis: Axis) -> str:
    told = []
    if len(store.watches) > LANES:
        told.append(f"… {len(store.watches) - LANES} earlier watches are not drawn.")
    if axis.folded:
        told.append(f"… {axis.folded} earlier revisions are folded.")
    return " ".join([*told, *([store.caveat] if store.caveat else [])])


def _foot(store: StoreMoment, axis: Axis, bottom: float) -> list[Markup]:
    edge = {"stroke": tone("ink"), "stroke_width": 1.2}
    empty = el("path", d=shape("modify", 0, 0, 5.5), fill=tone("surface"), **edge)
    pennant = path((-3, 6), (-3, -6), (4, -3.5), (-3, -1))
    flag = el("path", d=pennant, fill=tone("good"), stroke=tone("good"), stroke_width=1.4)
    tick = el("path", d="M0,-4 L0,4", stroke=tone("ink"), stroke_width=1.6)
    items = [
        ("told", el("path", d=shape("modify", 0, 0, 5.5), fill=term_colour(1), **edge)),
        ("filtered", group([sample("modify")], opacity=0.35)),
        ("not told yet", empty),
        ("position", flag),
        ("progress", tick),
        ("ended", cross(0, 0, 4.5, stroke=tone("fault"), stroke_width=2)),
        ("→ served from here by", el("path", d="M0,-6 L0,6", stroke=tone("dim"),
                                     stroke_dasharray="2 2")),
    ]  # fmt: skip
    if any(life.missed for life in store.watches):
        sign = cross(0, 0, 5.5, stroke=tone("fault"), stroke_width=2.2)
        items.insert(3, ("passed over", group([empty, sign])))
    if any(one.wrong for life in store.watches for one in life.told):
        ring = el("circle", r=7.5, fill="none", stroke=tone("fault"), stroke_width=2)
        items.insert(3, ("wrong", group([sample("modify"), ring])))
    rows, y = legend(items, bottom + 38), bottom + 54
    if any(_quiet(store, axis, life) for life in store.watches[-LANES:]):
        look = {"stroke": tone("dim"), "stroke_width": 1.4, "stroke_dasharray": "1 4"}
        dots = el("path", d="M-7,0 L7,0", **look)
        rows += legend([("nothing was for it, and its client was not told so", dots)], y)
        y += 15
    parts = [group(rows, class_="kv-legend")]
    if notes := _notes(store, axis):
        line = wrap(notes, WIDE - 28, SMALL, 1)[0]
        parts.append(label(14, y, line, size=SMALL, tone="dim", halo=False))
    return parts
