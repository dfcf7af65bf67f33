"""Leases: a bar that runs out, the keys that hang on it, and how it came to that.

On the left the lease now: the bar is what is left of its time, its keys hang below it. On the right
its life, time from left to right: the time that is left falls, a keep-alive refills it, and where
it is used up the lease and its keys are deleted. The band on top tells who led, in the colour of
the term: the leader alone counts, by its own clock. While nobody leads nobody counts (dashed), and
a new leader counts anew, from the whole time or from a checkpoint.
"""

from __future__ import annotations

from typing import Any

from kvlearn.mvcc.revision import short
from kvlearn.viz.axis import legend
from kvlearn.viz.lease_fold import LeaseLife, Stretch
from kvlearn.viz.revisions import TOLD, hooks_of, nothing, tail
from kvlearn.viz.store_fold import StoreMoment, look_store
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
    width,
    wrap,
)
from kvlearn.viz.theme import SIZES, term_colour, text_on, tone

WIDE = 700.0
LEFT, BAR = 14.0, 214.0  # the lease now
STRIP, RIGHT = 256.0, 684.0  # its life
TOP = 64.0
BAND = 14.0  # who led
STRIP_H = 32.0
CHIP, CHIP_ROWS = 17.0, 2
LEASES = 12
SMALL, TINY = SIZES["small"], 9.5


def leases(subject: Any, at: float | None = None, seq: int | None = None) -> Svg:
    """Draw every lease at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    """
    store = look_store(subject, at, seq)
    if not store.leases:
        return nothing("leases", store, "No lease was ever granted." if len(store.trace) else "")
    shown = _chosen(store.leases)
    clock = Clock(min(life.granted for life in shown), store.time)
    rows, y = [], TOP
    for life in shown:
        drawn, high = _row(store, life, clock, y)
        rows.append(drawn)
        y += high + 10
    body = [
        _head(store),
        group(_reigns(store, clock, y), class_="kv-terms"),
        group(clock.draw(y), class_="kv-axis"),
        *rows,
        *_foot(store, len(store.leases) - len(shown), y),
    ]
    text = _text(store)
    told = [life for life in store.leases if not life.end]
    title = f"{len(told)} of {len(store.leases)} leases are alive at {store.time:.3f} s"
    desc = text.replace("\n", "; ")
    more = 15 if len(store.leases) > len(shown) or store.caveat else 0
    return Svg("leases", "".join(body), WIDE, y + 52 + more, title, desc, text, hooks_of(store))


def _chosen(lives: tuple[LeaseLife, ...]) -> list[LeaseLife]:
    """Of too many leases those that live, then those that ended last."""
    best = sorted(lives, key=lambda life: (bool(life.end), -(life.ended or 0.0)))[:LEASES]
    return [life for life in lives if life in best]


class Clock:
    """Seconds of the trace to places on the strips."""

    def __init__(self, start: float, end: float):
        self.start, self.end = start, max(end, start + 0.001)

    def x(self, time: float) -> float:
        """Where a time stands; times outside are put at the nearer edge."""
        part = (time - self.start) / (self.end - self.start)
        return STRIP + (RIGHT - STRIP) * min(1.0, max(0.0, part))

    def draw(self, bottom: float) -> list[Markup]:
        """Ticks of whole, round numbers of seconds below the strips."""
        sizes = (n * 10**e for e in range(-3, 7) for n in (1, 2, 5))
        step = next(size for size in sizes if (self.end - self.start) / size <= 7)
        parts, number = [], int(self.start / step) + 1
        style = {"size": SMALL, "tone": "dim", "halo": False, "anchor": "middle"}
        while (time := number * step) <= self.end:
            x = self.x(time)
            way = path((x, TOP - 6), (x, bottom + 2))
            parts.append(el("path", d=way, stroke=tone("faint"), stroke_width=0.7))
            if x < RIGHT - 10:
                parts.append(label(x, bottom + 14, f"{time:g} s", **style))
            number += 1
        return parts


def _head(store: StoreMoment) -> Markup:
    leader = store.reigns[-1] if store.reigns else None
    counts = f"{leader.node} counts" if leader and leader.end >= store.time else "nobody counts"
    told = f"{store.time:.3f} s · {counts} · revision {store.revision}"
    return group(
        [
            label(14, 18, told, size=SMALL, tone="dim", halo=False),
            label(LEFT, 44, "time left", bold=True, tone="lease", halo=False),
            label(STRIP - 6, 45, "led by", size=TINY, tone="dim", halo=False, anchor="end"),
        ],
        class_="kv-head",
    )


def _reigns(store: StoreMoment, clock: Clock, bottom: float) -> list[Markup]:
    parts = []
    for reign in store.reigns:
        if reign.end < clock.start:
            continue
        x, end = clock.x(reign.start), clock.x(reign.end)
        colour = term_colour(reign.term)
        title = f"{reign.node} leads in term {reign.term} from {reign.start:.3f} s"
        box = {"x": x, "y": 36, "width": max(end - x, 1.0), "height": BAND - 2, "rx": 2}
        hooks = {"data_kv_reign": reign.node, "data_kv_term": reign.term}
        parts.append(el("rect", el("title", title), fill=colour, **box, **hooks))
        words = (f"{reign.node} · term {reign.term}", f"{reign.node}", f"{reign.term}")
        told = next((one for one in words if width(one, TINY) < end - x - 4), "")
        if told:
            style = {"anchor": "middle", "size": TINY, "halo": False}
            parts.append(label((x + end) / 2, 45, told, fill=text_on(colour), **style))
        if reign.start > clock.start:
            way = path((x, 36 + BAND), (x, bottom))
            look = {"stroke": tone("dim"), "stroke_dasharray": "2 3", "stroke_width": 1.2}
            parts.append(el("path", d=way, **look))
    return parts


# One lease ----------------------------------------------------------------------------------


def _row(store: StoreMoment, life: LeaseLife, clock: Clock, y: float) -> tuple[Markup, float]:
    keys = store.held.get(life.id, ()) if not life.end else life.keys
    below, high = _hanging(life, keys, y + 37)
    parts = [
        el("title", _words(life, keys)),
        label(LEFT, y + 12, _name(life), bold=True, halo=False),
        label(LEFT + BAR, y + 12, _left(life), size=SMALL, tone=_tone(life), halo=False,
              anchor="end"),
        *_bar(life, y + 18),
        *below,
        *_strip(life, clock, y + 4),
    ]  # fmt: skip
    ttl = "-1" if life.end else "" if life.left is None else num(life.left)
    hooks = {"data_kv_lease": f"{life.id:x}", "data_kv_ttl": ttl}
    hooks |= {"data_kv_granted": life.ttl_s, "data_kv_ended": life.end or None}
    return group(parts, class_="kv-lease", **hooks), max(STRIP_H + 10, 37 + high)


def _name(life: LeaseLife) -> str:
    """The lease's id in hexadecimal digits, as etcd writes it, beside what stands on the right."""
    room = BAR - width(_left(life), SMALL) - 10
    return fit(f"lease {life.id:x}", room / 1.1)


def _left(life: LeaseLife) -> str:
    if life.end:
        return f"{life.end} at {life.ended:.3f} s"
    if life.left is None:
        return f"of {life.ttl_s} s: nobody counts"
    if life.left <= 0:
        last = life.stretches[-1]
        return f"ran out {(last.end - last.empty) * last.rate:.1f} s ago"
    return f"{life.left:.1f} of {life.ttl_s} s"


def _tone(life: LeaseLife) -> str:
    if life.end:
        return "fault" if life.end == "expired" else "dim"
    return "dim" if life.left is None else "fault" if life.left <= 0 else "lease"


def _bar(life: LeaseLife, y: float) -> list[Markup]:
    """What is left of the whole time; an outline where it has ended, pale where nobody counts."""
    box = {"x": LEFT, "y": y, "height": 11.0, "rx": 3}
    dash = "3 3" if life.end else None
    edge = {"fill": "none", "stroke": tone("dim" if life.end else "lease"), "stroke_width": 1.2}
    parts = [el("rect", width=BAR, **box, **edge, stroke_dasharray=dash)]
    left = life.left
    if left is None and not life.end and life.stretches:
        left = life.stretches[-1].after
    if left and not life.end:
        pale = 0.3 if life.left is None else 0.85
        wide = BAR * min(1.0, left / life.ttl_s)
        parts.append(el("rect", width=wide, **box, fill=tone("lease"), fill_opacity=pale))
    return parts


def _hanging(life: LeaseLife, keys: tuple[bytes, ...], y: float) -> tuple[list[Markup], float]:
    """The keys below the bar, or what became of them; and how high that is."""
    if life.end:
        told = _fate(life, [short(key, 20) for key in keys])
        lines = wrap(told, BAR, SMALL, 2)
        style = {"size": SMALL, "tone": "dim", "halo": False}
        return [label(LEFT, y + 8 + 13 * n, one, **style) for n, one in enumerate(lines)], (
            13.0 * len(lines)
        )
    if not keys:
        return [label(LEFT, y + 8, "no keys", size=SMALL, tone="dim", halo=False)], 13.0
    parts, x, row, shown = [], LEFT + 6, 0, 0
    for key in keys:
        name = fit(one_line(short(key, 40)), BAR - 46, SMALL)
        wide = 1.1 * width(name, SMALL) + 12  # digits may be wide
        rest = width(f"… {len(keys)} more", SMALL) + 6 if row == CHIP_ROWS - 1 else 0
        last = shown == len(keys) - 1
        if x + wide > LEFT + BAR - (0 if last else rest):
            row, x = row + 1, LEFT + 6
            if row == CHIP_ROWS:
                row -= 1
                break
        parts.append(_chip(name, key, x, y + (CHIP + 5) * row, wide))
        shown, x = shown + 1, x + wide + 5
    if shown < len(keys):
        told = f"… {len(keys) - shown} more"
        style = {"size": SMALL, "tone": "dim", "halo": False, "anchor": "end"}
        parts.append(label(LEFT + BAR, y + (CHIP + 5) * row + 12, told, **style))
    return parts, (CHIP + 5) * (row + 1)


def _chip(name: str, key: bytes, x: float, y: float, wide: float) -> Markup:
    look = {"fill": tone("index"), "fill_opacity": 0.16, "stroke": tone("index"), "rx": 4}
    string = path((x + wide / 2, y - 8), (x + wide / 2, y))
    return group(
        [
            el("path", d=string, stroke=tone("lease"), stroke_width=1.2),
            el("rect", el("title", short(key, 200)), x=x, y=y, width=wide, height=CHIP - 1, **look),
            label(x + 6, y + 12, name, size=SMALL, halo=False),
        ],
        data_kv_attached=short(key, 200),
    )


# Its life -----------------------------------------------------------------------------------


def _strip(life: LeaseLife, clock: Clock, y: float) -> list[Markup]:
    """The time that was left, over time: it falls and is refilled."""
    base = y + STRIP_H

    # A new leader adds the time of an election, so that more than the granted time may be left.
    whole = max([life.ttl_s, *(stretch.left for stretch in life.stretches)])

    def spot(time: float, left: float) -> tuple[float, float]:
        return clock.x(time), base - STRIP_H * left / whole

    floor = path((STRIP, base), (RIGHT, base))
    parts = [el("path", d=floor, stroke=tone("line"), stroke_width=0.8)]
    for stretch in life.stretches:
        parts += _stretch(stretch, spot, base)
    last = -9.0
    for before, after in zip(life.stretches, life.stretches[1:]):
        x = clock.x(after.start)
        if after.why != "keep-alive" or x - last >= 6:  # the slope tells of the others
            parts += _refill(before, after, spot)
            last = x
    if life.end:
        parts += _end(life, clock, base)
    return parts


def _stretch(stretch: Stretch, spot: Any, base: float) -> list[Markup]:
    a, b = spot(stretch.start, stretch.left), spot(stretch.end, stretch.after)
    if stretch.node is None:
        look = {"stroke": tone("dim"), "stroke_width": 1.2, "stroke_dasharray": "3 3"}
        told = "nobody counts"
        return [el("path", el("title", told), d=path(a, b), **look, data_kv_stretch="nobody")]
    points = [a, b] if stretch.empty is None else [a, spot(stretch.empty, 0.0), b]
    area = path(*points, (b[0], base), (a[0], base)) + " Z"
    told = f"{stretch.node} counts from {stretch.left:g} s down to {stretch.after:.3f} s"
    return [
        el("path", el("title", told), d=area, fill=tone("lease"), fill_opacity=0.22),
        el("path", d=path(*points), fill="none", stroke=tone("lease"), stroke_width=1.7,
           data_kv_stretch=stretch.why),
    ]  # fmt: skip


def _refill(before: Stretch, after: Stretch, spot: Any) -> list[Markup]:
    """What began the next stretch: an arrow up for a keep-alive, a word for a new count."""
    (x, low), (_, high) = spot(before.end, before.after), spot(after.start, after.left)
    parts = []
    if after.why == "keep-alive":
        told = el("title", f"kept alive at {after.start:.3f} s: {after.left:g} s again")
        way = path((x, low), (x, high)) + path((x - 3, high + 4), (x, high), (x + 3, high + 4))
        look = {"fill": "none", "stroke": tone("good"), "stroke_width": 1.6}
        parts.append(el("path", told, d=way, **look, data_kv_refill="keep-alive"))
    elif after.why in ("counted", "checkpoint"):
        anew = "from its checkpoint" if after.why == "checkpoint" else "anew"
        told = f"{after.node} counts {anew} at {after.start:.3f} s: {after.left:g} s"
        look = {"fill": tone("surface"), "stroke": tone("lease"), "stroke_width": 1.6}
        dot = el("circle", el("title", told), cx=x, cy=high, r=3.4, **look)
        parts.append(group([dot], data_kv_refill=after.why))
    return parts


def _end(life: LeaseLife, clock: Clock, base: float) -> list[Markup]:
    x, named = clock.x(life.ended), "fault" if life.end == "expired" else "dim"
    told = el("title", f"{life.end} at {life.ended:.3f} s")
    sign = cross(x, base, 4.5, stroke=tone(named), stroke_width=2)
    parts = [group([told, sign], data_kv_ended=life.end)]
    words = life.end + (f", {_count(len(life.keys), 'key')} deleted" if life.keys else "")
    if early := _early(life):
        words = f"{life.end} {early:.1f} s too early"
    anchor = "start" if x + 10 + width(words, TINY) < RIGHT else "end"
    at = x + 9 if anchor == "start" else x - 9
    y = base + 11 if anchor == "end" else base - 4  # to the left of an end the slope is in the way
    return [*parts, label(at, y, words, size=TINY, tone=named, anchor=anchor, halo=False)]


# Words --------------------------------------------------------------------------------------


def _early(life: LeaseLife) -> float:
    """How much time an expired lease had left when the leader found that it had run out: a broken
    promise, beyond what a clock's tick explains."""
    if life.end != "expired" or life.ran_out is None:
        return 0.0
    for stretch in life.stretches:
        if stretch.node is not None and stretch.start <= life.ran_out <= stretch.end:
            left = stretch.left - (life.ran_out - stretch.start) * stretch.rate
            return left if left > 0.2 else 0.0
    return 0.0


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'s' * (number != 1)}"


def _fate(life: LeaseLife, names: list[str]) -> str:
    if not names:
        return "no keys went with it"
    shown = ", ".join(names[:3]) + (f", … {len(names) - 3} more" if len(names) > 3 else "")
    return one_line(f"revision {life.revision} deleted {shown}")


def _words(life: LeaseLife, keys: tuple[bytes, ...]) -> str:
    told = [f"lease {life.id:x}: granted for {life.ttl_s} s at {life.granted:.3f} s"]
    kept = [f"{one.start:.3f}" for one in life.stretches if one.why == "keep-alive"]
    if kept:
        times = ", ".join(tail(kept, TOLD, "… {} earlier"))
        told.append(f"kept alive {len(kept)} time{'s' * (len(kept) != 1)} (at {times} s)")
    for stretch in life.stretches:
        if stretch.why in ("counted", "checkpoint"):
            how = "from its checkpoint" if stretch.why == "checkpoint" else "anew"
            told.append(f"counted {how} by {stretch.node} ({stretch.left:g} s)")
    names = [short(key, 40) for key in keys[:TOLD]]
    names += [f"… {len(keys) - TOLD} more"] * (len(keys) > TOLD)
    if life.end:
        told += [f"{_left(life)}, {_early(life):.1f} s too early" if _early(life) else _left(life)]
        told += [_fate(life, [short(key, 40) for key in keys])]
    else:
        told += [_left(life) + (" left" if life.left else "")]
        told.append(f"keys {', '.join(names)}" if names else "no keys")
    return one_line("; ".join(told))


def _text(store: StoreMoment) -> str:
    leader = store.reigns[-1] if store.reigns else None
    counts = leader.node if leader and leader.end >= store.time else "nobody"
    lines = [f"Leases at {store.time:.3f} s, counted by {counts}:"]
    told = []
    for life in store.leases:
        keys = life.keys if life.end else store.held.get(life.id, ())
        told.append("  " + _words(life, keys))
    lines += tail(told, TOLD, "  … {} earlier leases")
    led = [f"{r.node} in term {r.term} from {r.start:.3f} to {r.end:.3f} s" for r in store.reigns]
    lines += ["led by: " + ", ".join(tail(led, TOLD, "… {} earlier"))] * bool(led)
    return "\n".join([*lines, *([store.caveat] if store.caveat else [])])


def _foot(store: StoreMoment, hidden: int, bottom: float) -> list[Markup]:
    slope = el("path", d="M-6,-4 L6,4", stroke=tone("lease"), stroke_width=1.7)
    arrow = path((0, 5), (0, -5)) + path((-3, -1), (0, -5), (3, -1))
    refill = el("path", d=arrow, fill="none", stroke=tone("good"), stroke_width=1.6)
    dot = el("circle", r=3.4, fill=tone("surface"), stroke=tone("lease"), stroke_width=1.6)
    idle = el("path", d="M-7,0 L7,0", stroke=tone("dim"), stroke_dasharray="3 3")
    items = [
        ("runs out", slope),
        ("kept alive", refill),
        ("a new leader counts anew", dot),
        ("nobody counts", idle),
        ("ended", cross(0, 0, 4.5, stroke=tone("fault"), stroke_width=2)),
    ]
    parts = [group(legend(items, bottom + 36), class_="kv-legend")]
    told = [f"… {hidden} more leases are not drawn."] * bool(hidden)
    if told := " ".join([*told, *([store.caveat] if store.caveat else [])]):
        line = wrap(told, WIDE - 28, SMALL, 1)[0]
        parts.append(label(14, bottom + 52, line, size=SMALL, tone="dim", halo=False))
    return parts
