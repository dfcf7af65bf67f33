"""The revision axis, which runs left to right below every picture of the store's history.

One column a revision, whatever it changed. Above the column stands its number; the band below the
numbers has the colour of the term of the log entry that made the revision. The compaction frontier
is a vertical dashed line: what lies left of it cannot be read any more. Where there are more
revisions than columns, the axis shows the last ones and says how many it leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvlearn.viz.store_fold import Change, StoreMoment
from kvlearn.viz.svg import Box, Markup, Room, el, group, label, num, path, text_box, width
from kvlearn.viz.theme import SIZES, term_colour, text_on, tone

WIDE = 700.0  # of the pictures
GUTTER = 122.0  # the lanes' names
RIGHT = 22.0
NARROWEST, WIDEST = 10.5, 66.0  # a column
FOLD = 46.0  # the column for what is left out
NUMBERS, BAND = 18.0, 14.0  # the heights of the axis' two rows
SMALL = SIZES["small"]


class Axis:
    """Columns of revisions from `first` to `last`, between `left` and `right`.

    Invariant: a later revision stands further right; revisions outside are put at the nearer edge.
    """

    def __init__(
        self,
        store: StoreMoment,
        first: int | None = None,
        last: int | None = None,
        left: float = GUTTER,
        right: float = WIDE - RIGHT,
    ):
        self.store = store
        newest = max(store.revision, 2)
        self.last = newest if last is None else max(2, min(last, newest))
        begin = 2 if first is None else max(2, min(first, self.last))
        self.left, self.right = left, right
        if first is None:
            fits = int((right - left) / NARROWEST)
            if self.last - begin + 1 > fits:
                begin = self.last - int((right - left - FOLD) / NARROWEST) + 1
        self.first = begin
        self.folded = begin - 2  # revisions left out before the first column
        self.later = newest - self.last
        room = right - left - (FOLD if self.folded else 0.0)
        self.step = min(WIDEST, room / (self.last - self.first + 1))
        self.start = left + (FOLD if self.folded else 0.0)

    @property
    def end(self) -> float:
        """The right edge of the last column."""
        return self.start + self.step * (self.last - self.first + 1)

    def x(self, revision: float) -> float:
        """The middle of a revision's column."""
        if revision < self.first:
            return self.left + FOLD / 2 if self.folded else self.start
        return self.start + self.step * (min(revision, self.last) - self.first + 0.5)

    def edge(self, revision: float) -> float:
        """The left edge of a revision's column; that of the one behind the last is the end."""
        if revision < self.first:
            return self.left + (FOLD / 2 if self.folded else 0.0)
        return self.start + self.step * (min(revision, self.last + 1) - self.first)

    def shows(self, revision: int) -> bool:
        """Whether the revision has a column of its own."""
        return self.first <= revision <= self.last

    # Drawing ----------------------------------------------------------------------------------

    def draw(self, top: float, bottom: float) -> list[Markup]:
        """The axis from `top` on, and its lines down to `bottom`; it is NUMBERS + BAND high."""
        lines_from = top + NUMBERS + BAND
        return [
            group(self._grid(lines_from, bottom), class_="kv-grid"),
            group(self._numbers(top), class_="kv-revisions"),
            group(self._band(top + NUMBERS), class_="kv-terms"),
            *self._frontier(lines_from, bottom),
        ]

    def _grid(self, top: float, bottom: float) -> list[Markup]:
        if self.step < 16:
            return []
        look = {"stroke": tone("faint"), "stroke_width": 0.7}
        columns = range(self.first, self.last + 1)
        return [el("path", d=path((self.x(r), top), (self.x(r), bottom)), **look) for r in columns]

    def _numbers(self, top: float) -> list[Markup]:
        style = {"anchor": "middle", "size": SMALL, "tone": "dim", "halo": False}
        room, parts = Room(), []
        parts.append(label(14, top + 12, "revision", **{**style, "anchor": "start"}))
        if self.folded:
            told = f"2 … {self.first - 1}" if self.folded > 1 else "2"
            parts.append(label(self.left + FOLD / 2 - 2, top + 12, told, **style))
        columns = [self.last, *range(self.first, self.last)]  # the newest has its number first
        every = next(n for n in (1, 2, 5, 10, 20, 50) if n * self.step > 9 + width("00", SMALL))
        for revision in columns:
            if revision % every and revision != self.last:
                continue
            x, told = self.x(revision), str(revision)
            box = text_box(x, top + 12, told, SMALL, "middle")
            if room.free([Box(box.left - 1, box.top, box.right + 1, box.bottom)]):
                room.take([box])
                parts.append(label(x, top + 12, told, **style))
        return parts

    def _band(self, top: float) -> list[Markup]:
        parts = [label(14, top + 11, "term", size=SMALL, tone="dim", halo=False)]
        for first, last, term in self.terms():
            x, end = self.edge(first), self.edge(last + 1)
            colour = term_colour(term)
            title = f"revisions {first} to {last}" if first < last else f"revision {first}"
            known = f"term {term}" if term else "a term that the trace does not tell"
            box = {"x": x + 0.5, "y": top, "width": end - x - 1, "height": BAND - 3, "rx": 2}
            parts.append(el("rect", el("title", f"{title}: {known}"), fill=colour, **box))
            told = next((t for t in (f"term {term}", str(term)) if width(t, 9.5) < end - x - 3), "")
            if told and term:
                style = {"anchor": "middle", "size": 9.5, "halo": False}
                parts.append(label((x + end) / 2, top + 8.8, told, fill=text_on(colour), **style))
        return parts

    def terms(self) -> list[tuple[int, int, int]]:
        """(first, last revision, term): runs of revisions that were made in one term."""
        runs: list[tuple[int, int, int]] = []
        for revision in range(self.first, min(self.last, self.store.revision) + 1):
            term = self.store.term_of(revision)
            if runs and runs[-1][2] == term:
                runs[-1] = (runs[-1][0], revision, term)
            else:
                runs.append((revision, revision, term))
        return runs

    def _frontier(self, top: float, bottom: float) -> list[Markup]:
        at = self.store.compacted
        if not at:
            return []
        x = self.edge(at)
        told = f"compacted at {at}"
        wide = width(told, SMALL)
        anchor = "start" if x + wide + 6 < WIDE else "end"
        line = el(
            "path",
            el("title", f"compacted at {at}: no read goes below revision {at}"),
            d=path((x, top), (x, bottom + 14)),
            stroke=tone("fault"),
            stroke_width=1.6,
            stroke_dasharray="5 4",
            data_kv_compacted=at,
        )
        shift = 4 if anchor == "start" else -4
        words = label(x + shift, bottom + 14, told, anchor=anchor, size=SMALL, tone="fault")
        return [line, words]


# Marks --------------------------------------------------------------------------------------


def mark(change: Change, x: float, y: float, r: float = 6.5, **hooks: object) -> Markup:
    """Create (diamond), modify (disc) or delete (a tombstone), in the colour of its term.

    What a compaction removed is an empty outline: a hole.
    """
    hole = bool(change.removed)
    look = {
        "fill": "none" if hole else term_colour(change.term),
        "stroke": tone("dim" if hole else "ink"),
        "stroke_width": 1.1 if hole else 1.3,
        "stroke_dasharray": "2.4 1.8" if hole else None,
        "stroke_linejoin": "round",
    }
    parts = [el("title", sentence(change)), el("path", d=shape(change.kind, x, y, r), **look)]
    if change.kind == "delete" and r >= 4.5:
        s = r * 0.42
        arms = path((x - s, y - s), (x + s, y + s)) + " " + path((x - s, y + s), (x + s, y - s))
        pen = tone("dim") if hole else text_on(term_colour(change.term))
        parts.append(el("path", d=arms, stroke=pen, stroke_width=1.4, stroke_linecap="round"))
    return group(
        parts,
        class_="kv-change",
        data_kv_revision=change.revision,
        data_kv_sub=change.at.sub,
        data_kv_key=change.kv.key_text,
        data_kv_kind=change.kind,
        data_kv_hole=change.removed or None,
        **hooks,
    )


def shape(kind: str, x: float, y: float, r: float) -> str:
    """The outline of a mark around (x, y)."""
    if kind == "create":
        far = r * 1.22
        return path((x, y - far), (x + far, y), (x, y + far), (x - far, y)) + " Z"
    n = num
    if kind == "delete":  # a slab with a round head
        top, foot = y - r * 0.25, y + r
        return (
            f"M{n(x - r * 0.85)},{n(foot)} L{n(x - r * 0.85)},{n(top)} "
            f"A{n(r * 0.85)},{n(r * 0.85)} 0 0 1 {n(x + r * 0.85)},{n(top)} "
            f"L{n(x + r * 0.85)},{n(foot)} Z"
        )
    small = n(r * 0.92)
    return (
        f"M{n(x - r * 0.92)},{n(y)} A{small},{small} 0 1 1 {n(x + r * 0.92)},{n(y)} "
        f"A{small},{small} 0 1 1 {n(x - r * 0.92)},{n(y)} Z"
    )


def sentence(change: Change) -> str:
    """A record in words."""
    kv = change.kv
    told = {
        "create": f"creates {kv}",
        "modify": f"changes {kv} (version {kv.version})",
        "delete": f"deletes {kv.key_text}",
    }[change.kind]
    told = f"revision {change.at}, term {change.term}: {told}"
    if kv.lease:
        told += f", lease {kv.lease:x}"
    return told + (f"; removed by the compaction at {change.removed}" if change.removed else "")


def legend(items: Sequence[tuple[str, Markup]], y: float, wide: float = WIDE) -> list[Markup]:
    """Little drawings with their meaning in one line, each made for (0, 0)."""
    parts, x = [], 20.0
    for told, drawn in items:
        if x + 12 + width(told, SMALL) > wide - 6:
            break
        parts.append(group([drawn], transform=f"translate({num(x)},{num(y - 4)})"))
        parts.append(label(x + 12, y, told, size=SMALL, tone="dim", halo=False))
        x += 12 + width(told, SMALL) + 20
    return parts


def sample(kind: str, hole: bool = False) -> Markup:
    """A mark for a legend."""
    look = {
        "fill": "none" if hole else tone("sunken"),
        "stroke": tone("dim" if hole else "ink"),
        "stroke_width": 1.2,
        "stroke_dasharray": "2.4 1.8" if hole else None,
    }
    return el("path", d=shape(kind, 0, 0, 5.5), **look)
