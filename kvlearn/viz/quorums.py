"""Majorities as sets: why two of them always meet, what a size tolerates, and what it is worth.

    quorums(5)                        two majorities that meet in as few nodes as possible
    quorums(old, new)                 the same across a change of the configuration: do they meet?
    quorums(5, pair=(["n1", "n2"], ["n3", "n4", "n5"]))     two groups of your own
    meetings(5), meetings(5, size=2)  all groups, and whom each pair of them shares
    ladder()                          one to nine nodes: how many must answer, how many may be down
    availability(), downtime()        how often there is no majority, as curves and as a table

A configuration is a `ConfState`, a list of names, or a number of nodes. A set is an outline around
its nodes, A solid and B dashed; nodes stand on a circle, so that an outline encloses nobody else.
A node in both is filled half and half. A learner has a dotted ring and is in no set. In a joint
configuration a quorum is a majority of each half, and beside each node stands whose voter it is.

>>> smallest(ConfState(("n1", "n2", "n3"), learners=("n4",)))
[('n1', 'n2'), ('n1', 'n3'), ('n2', 'n3')]
>>> print(quorums(3))
A: n1 n2 (2 of 3, a majority)
B: n2 n3 (2 of 3, a majority)
Both hold n2.

Nothing here is measured: each number is counted or calculated, with `raft.quorum.majority`.

Source: paper 5.2, 5.4.3, section 6; the availability of k out of n is a binomial sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from math import comb, cos, hypot, log10, pi, sin
from numbers import Integral, Real
from typing import Any

from kvlearn.raft.quorum import WON, majority, vote_result
from kvlearn.raft.types import ConfState, NodeId
from kvlearn.trace import Trace
from kvlearn.viz.moment import natural
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
)
from kvlearn.viz.theme import ROLES, SIZES, text_on, tone

Group = tuple[NodeId, ...]
Half = tuple[str, Group]  # "old", "new", or "" where there is only one; and its voters

COLOURS = ("#56B4E9", "#E69F00")  # sets A and B; their outlines differ too
DASHES = (None, "7 4")
SMALL = SIZES["small"]
MOST = 9  # voters of one half: more would be drawn on top of each other, and counted for long
ROWS = 35  # groups whose pairs can be read: those of seven nodes
LINE_HIGH = 15.0  # of the words beside a node
YEAR_S = 365.25 * 86_400


# Arithmetic ---------------------------------------------------------------------------------


def configuration(given: Any) -> ConfState:
    """A ConfState of a ConfState, of names, or of a number of nodes n1, n2, …

    Raises: ValueError for no voter, or for more than 9 in one half, TypeError for anything else.
    """
    if isinstance(given, int):
        given = [f"n{number}" for number in range(1, given + 1)]
    conf = given if isinstance(given, ConfState) else ConfState(_names(given))
    if not conf.voters:
        raise ValueError("a configuration has at least one voter")
    if max(len(conf.voters), len(conf.outgoing)) > MOST:
        raise ValueError(f"more than {MOST} voters are too many to be drawn")
    return conf


def _names(given: Any) -> Group:
    names = () if isinstance(given, (str, Trace)) or not isinstance(given, Iterable) else (*given,)
    if names and all(isinstance(name, str) for name in names) or given in ((), []):
        return names
    told = "a number of nodes, names such as ['n1', 'n2'], or a ConfState"
    raise TypeError(f"a configuration is {told}, not {_kind(given)}")


def _kind(given: Any) -> str:
    """What somebody gave, in a word or two."""
    name = type(given).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def smallest(conf: ConfState) -> list[Group]:
    """The quorums of which no node can be spared, in the order of the names."""
    halves = [_sorted(half) for half in (conf.voters, conf.outgoing) if half]
    each = [combinations(half, majority(len(half))) for half in halves]
    found = {frozenset().union(*parts) for parts in product(*each)}
    least = [one for one in found if len(halves) == 1 or not any(two < one for two in found)]
    order = {name: place for place, name in enumerate(_sorted(conf.members))}
    return sorted((_sorted(one) for one in least), key=lambda one: [order[name] for name in one])


def furthest(conf: ConfState, other: ConfState) -> tuple[Group, Group]:
    """A quorum of each configuration, such that the two share as few nodes as possible."""
    pairs = product(smallest(conf), reversed(smallest(other)))
    return min(pairs, key=lambda pair: len(set(pair[0]) & set(pair[1])))


def unavailable(size: int, down: Any) -> Any:
    """How likely it is that `size` nodes have no majority, each being down with chance `down`,
    whatever the others do. Exact where `down` is a Fraction.

    >>> from fractions import Fraction
    >>> [str(unavailable(n, Fraction(1, 10))) for n in (1, 2, 3, 4)]
    ['1/10', '19/100', '7/250', '523/10000']
    """
    too_many = range(size - majority(size) + 1, size + 1)
    return sum(comb(size, k) * down**k * (1 - down) ** (size - k) for k in too_many)


def _sorted(names: Iterable[NodeId]) -> Group:
    return tuple(sorted(set(names), key=natural))


# Two sets ----------------------------------------------------------------------------------


def quorums(
    conf: Any, other: Any = None, pair: tuple[Iterable[NodeId], Iterable[NodeId]] | None = None
) -> Svg:
    """Draw two sets of nodes and whom they share.

    Default: two quorums of `conf` that share as few nodes as possible; with `other`, one of the
    configuration before a change and one of that after it. `pair` are two groups of your own.
    Raises: ValueError for a configuration that cannot be drawn, or a name that is no member.
    """
    old = configuration(conf)
    new = configuration(old if other is None else other)
    members = _sorted((*old.members, *new.members))
    sets = furthest(old, new) if pair is None else tuple(map(_sorted, pair))
    if strangers := _sorted({*sets[0], *sets[1]} - {*members}):
        raise ValueError(f"{' '.join(strangers)}: no member; there are {' '.join(members)}")
    shared = _sorted(set(sets[0]) & set(sets[1]))
    halves = [_halves(old, "old", new != old), _halves(new, "new", new != old)]
    told = [f"{name}: {_judged(*of)}" for name, *of in zip("AB", sets, (old, new), halves)]
    told.append(_shared_words(shared))
    words = _voters_of([half for both in halves for half in both])
    voters = {*old.voters, *old.outgoing, *new.voters, *new.outgoing}
    beside = {name: _words(name, name in shared, name in voters, words) for name in members}
    field = _Field(members, beside, max(1.1 * width(line) for line in told))
    body = [
        group((field.outline(sets[n], n) for n in (0, 1)), class_="kv-sets"),
        *(_node(name, field, sets, name in voters, beside[name]) for name in members),
        _legend(told, field, bool(shared)),
    ]
    title = f"Two sets of {len(members)} nodes that share {' '.join(shared) or 'nobody'}"
    hooks = {"data_kv_shared": " ".join(shared)}
    text = "\n".join(map(one_line, told + _roles(members, voters, words)))
    desc = " ".join(f"{line.rstrip('.')}." for line in text.split("\n"))
    high = field.high + 24.0 * len(told) + 8
    return Svg("quorums", "".join(body), field.wide, high, title, desc, text, hooks)


class _Field:
    """Where the nodes and their words stand, and how far an outline keeps from them."""

    def __init__(self, members: Group, beside: dict[NodeId, list[str]], words: float):
        count = len(members)
        self.r = 26.0 if count <= 6 else 19.0
        self.pads = (self.r + 7, self.r + 14)
        self.way = [(sin(2 * pi * k / count), -cos(2 * pi * k / count)) for k in range(count)]
        reach = self._reach(count)
        spots = [(reach * x, reach * y) for x, y in self.way]
        edge = self.pads[1] + 10
        half, top, bottom = max(x for x, _ in spots) + edge, spots[0][1] - edge, edge
        for name, (x, y), way in zip(members, spots, self.way):
            side = max(map(width, beside[name]), default=0.0)
            half = max(half, abs(x + way[0] * edge) + side / (2 if abs(way[0]) < 0.2 else 1) + 10)
            tall = LINE_HIGH * len(beside[name])
            top = min(top, y + way[1] * edge - tall * (1 - way[1]) / 2 - 6)
            bottom = max(bottom, y + edge, y + way[1] * edge + tall * (1 + way[1]) / 2 + 6)
        self.wide = max(2 * half, words + 76, 300.0)
        self.high = bottom - top
        self.at = {name: (self.wide / 2 + x, y - top) for name, (x, y) in zip(members, spots)}

    def words_at(self, name: NodeId, lines: int) -> tuple[float, float, str]:
        """Where the first of a node's lines of words stands: outside of every outline."""
        (x, y), place = self.at[name], list(self.at).index(name)
        across, down = self.way[place]
        reach = self.pads[1] + 6
        top = y + down * reach - LINE_HIGH * lines * (1 - down) / 2
        anchor = "middle" if abs(across) < 0.2 else "start" if across > 0 else "end"
        return x + across * reach, top + 11, anchor

    def _reach(self, count: int) -> float:
        """How far from the middle: a straight line past a node must leave it outside."""
        if count == 1:
            return 0.0
        apart = 2 * self.r + self.pads[1] + 6  # of neighbours, from middle to middle
        reach = apart / (2 * sin(pi / count))
        if count > 3:
            reach = max(reach, (self.r + self.pads[1] + 6) / (1 - cos(2 * pi / count)))
        return reach

    def outline(self, names: Group, number: int) -> Markup:
        """Set A or B: the hull of its nodes, at a distance."""
        if not names:
            return Markup("")
        pad = self.pads[number]
        points = [self.at[name] for name in self.at if name in names]
        style = {"fill": COLOURS[number], "fill_opacity": 0.22, "stroke": COLOURS[number]}
        return el(
            "path",
            d=_around(points, pad),
            stroke_width=2.4,
            stroke_dasharray=DASHES[number],
            data_kv_set="AB"[number],
            data_kv_members=" ".join(names),
            **style,
        )


def _around(points: list[tuple[float, float]], pad: float) -> str:
    """The outline that keeps `pad` from convex `points`, which go clockwise on the screen."""
    if len(points) == 1:
        (x, y), r = points[0], num(pad)
        return f"M{num(x - pad)},{num(y)} a{r},{r} 0 1 1 {num(2 * pad)},0 a{r},{r} 0 1 1 " + (
            f"{num(-2 * pad)},0 Z"
        )
    edges = []
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1]):
        long = hypot(bx - ax, by - ay)
        ox, oy = (by - ay) / long * pad, -(bx - ax) / long * pad
        edges.append((f"{num(ax + ox)},{num(ay + oy)}", f"{num(bx + ox)},{num(by + oy)}"))
    arc = f"A{num(pad)},{num(pad)} 0 0 1"
    way = " ".join(f"{arc} {start} L{end}" for start, end in edges[1:])
    return f"M{edges[0][0]} L{edges[0][1]} {way} {arc} {edges[0][0]} Z"


def _node(
    name: NodeId, field: _Field, sets: Sequence[Group], votes: bool, beside: list[str]
) -> Markup:
    x, y = field.at[name]
    inside = [n for n in (0, 1) if name in sets[n]]
    look = ROLES["follower" if votes else "learner"]["dash"] or None
    ring = {"stroke": tone("ink"), "stroke_width": 2 if votes else 3, "stroke_dasharray": look}
    ring["stroke_linecap"] = None if votes else "round"
    parts = [el("title", ", ".join([name, *beside]))]
    if len(inside) == 2:
        parts += [_half_disc(field.r, n) for n in inside]
        parts.append(el("circle", r=field.r, fill="none", **ring))
    else:
        fill = COLOURS[inside[0]] if inside else tone("surface")
        parts.append(el("circle", r=field.r, fill=fill, **ring))
    ink = text_on(COLOURS[inside[0]]) if inside else tone("ink")
    size = 14.0 if field.r > 20 else 11.5
    told = fit(name, 2 * field.r - 8, size)
    parts.append(label(0, size * 0.36, told, anchor="middle", size=size, bold=True, halo=False,
                       fill=ink))  # fmt: skip
    disc = group(parts, transform=f"translate({num(x)},{num(y)})")
    return group(
        [disc, *_beside(name, beside, field)],
        class_="kv-node",
        data_kv_node=name,
        data_kv_role=None if votes else "learner",
        data_kv_sets=" ".join("AB"[n] for n in inside),
    )


def _half_disc(r: float, number: int) -> Markup:
    """The left half for A, the right one for B."""
    way = f"M0,{num(-r)} A{num(r)},{num(r)} 0 0 {number} 0,{num(r)} Z"
    return el("path", d=way, fill=COLOURS[number])


def _beside(name: NodeId, lines: list[str], field: _Field) -> list[Markup]:
    """The words of a node, where it looks away from the middle."""
    x, top, anchor = field.words_at(name, len(lines))
    told = []
    for number, line in enumerate(lines):
        look = {"bold": True, "tone": "good"} if line == BOTH else {"size": SMALL, "tone": "dim"}
        told.append(label(x, top + LINE_HIGH * number, line, anchor=anchor, **look))
    return told


def _legend(told: list[str], field: _Field, meet: bool) -> Markup:
    parts = []
    for number, line in enumerate(told):
        y = field.high + 24.0 * number + 8
        if number < 2:
            style = {"fill": COLOURS[number], "fill_opacity": 0.22, "stroke": COLOURS[number]}
            swatch = el("rect", x=20, y=y - 7, width=30, height=14, rx=7, stroke_width=2.4,
                        stroke_dasharray=DASHES[number], **style)  # fmt: skip
            parts += [swatch, label(60, y + 4, line, halo=False)]
        else:
            named = "good" if meet else "fault"
            parts.append(label(20, y + 6, line, halo=False, bold=True, tone=named))
    return group(parts, class_="kv-legend")


# Words of the sets --------------------------------------------------------------------------

BOTH = "in both"


def _halves(conf: ConfState, age: str, two: bool) -> list[Half]:
    """The sets of voters that decide, named where there are several."""
    if conf.outgoing:
        return [("outgoing", _sorted(conf.outgoing)), ("incoming", _sorted(conf.voters))]
    return [(age if two else "", _sorted(conf.voters))]


def _judged(names: Group, conf: ConfState, halves: list[Half]) -> str:
    """Who is in the set, and whether that is a quorum."""
    counts = []
    for kind, voters in halves:
        have = len(set(names) & set(voters))
        counts.append(f"{have} of {len(voters)}" + (f" {kind}" if kind else ""))
    won = vote_result(conf, dict.fromkeys(names, True)) == WON
    if len(halves) > 1:
        verdict = "a majority of each" if won else "not a majority of each"
    else:
        verdict = "a majority" if won else f"no majority: that is {majority(len(halves[0][1]))}"
    return f"{' '.join(names) or 'nobody'} ({' and '.join(counts)}, {verdict})"


def _shared_words(shared: Group) -> str:
    if shared:
        return f"Both hold {' '.join(shared)}."
    return "Nobody is in both: each could decide and never hear of the other."


def _voters_of(halves: list[Half]) -> list[Half]:
    """Whose voters must be told apart: nothing where there is only one kind."""
    kinds: dict[str, Group] = dict(halves)
    return list(kinds.items()) if len(kinds) > 1 else []


def _words(name: NodeId, shared: bool, votes: bool, halves: list[Half]) -> list[str]:
    lines = [BOTH] if shared else []
    if not votes:
        lines.append("learner, no vote")
    elif kinds := [kind for kind, voters in halves if name in voters]:
        lines.append((" and " if len(kinds) < 3 else ", ").join(kinds))
    return lines


def _roles(members: Group, voters: set[NodeId], halves: list[Half]) -> list[str]:
    """What the picture says beside the nodes."""
    told = [f"{kind}: {' '.join(names)}" for kind, names in halves]
    learners = [name for name in members if name not in voters]
    return told + ([f"learners, which do not vote: {' '.join(learners)}"] if learners else [])


# All sets -----------------------------------------------------------------------------------

COLUMN, LINE = 30.0, 27.0  # a node's column, a group's row


def meetings(conf: Any, size: int | None = None) -> Svg:
    """Draw all quorums of a configuration as rows, and whom each pair of them shares.

    With `size`, all groups of so many voters, whether or not that is a majority.
    Raises: ValueError for more than 35 groups, or a size that no group can have.
    """
    conf = configuration(conf)
    voters = _sorted((*conf.voters, *conf.outgoing))
    if size is not None and not 1 <= size <= len(voters):
        raise ValueError(f"groups of {size} out of {len(voters)} voters: there are none")
    groups = smallest(conf) if size is None else list(combinations(voters, size))
    if len(groups) > ROWS:
        raise ValueError(
            f"{len(groups)} groups are more than can be read; at most {ROWS} are drawn"
        )
    shared = {(a, b): _sorted({*groups[a]} & {*groups[b]}) for a in range(len(groups))
              for b in range(a)}  # fmt: skip
    kind = "quorums" if size is None else f"groups of {size}"
    told = _meeting_words(kind, groups, voters, shared)
    named = len(groups) <= 10  # else there is room for a number only
    longest = max((width(" ".join(names), SMALL) for names in shared.values()), default=0.0)
    cell = max(longest + 10, 30.0) if named else 21.0
    left = 58 + COLUMN * len(voters)
    wide = max(left + cell * (len(groups) - 1) + 20, max(map(width, told)) + 50)
    bottom = 48 + LINE * len(groups)
    body = [
        group(_membership(groups, voters), class_="kv-groups"),
        group(_triangle(groups, shared, left, cell, named), class_="kv-pairs"),
        *(
            label(16, bottom + 18 + 19 * n, line, halo=False, bold=n == 0,
                  tone=("good" if all(shared.values()) else "fault") if n == 0 else "dim")
            for n, line in enumerate(told)
        ),
    ]  # fmt: skip
    title = one_line(told[0])
    hooks = {"data_kv_disjoint": sum(not names for names in shared.values())}
    rows = [_meeting_row(number, one, shared) for number, one in enumerate(groups)]
    text = "\n".join(map(one_line, [*told, *rows]))
    high = bottom + 18 + 19 * len(told)
    return Svg("meetings", "".join(body), wide, high, title, " ".join(told), text, hooks)


def _meeting_words(kind: str, groups: list[Group], voters: Group, shared: dict) -> list[str]:
    apart = sum(not names for names in shared.values())
    if not shared:
        first = f"One of the {kind}, no pairs."
    elif apart:
        first = f"{apart} of {len(shared)} pairs share nobody."
    else:
        fewest = min(map(len, shared.values()))
        what = f"{fewest} nodes or more" if fewest > 1 else "a node"
        first = f"All {len(shared)} pairs share {what}."
    how = f"{len(groups)} {kind} among {len(voters)} voters"
    if len(groups) > 2:
        how += "; row 3, column 2: whom groups 3 and 2 share"
    return [first, how]


def _meeting_row(number: int, one: Group, shared: dict) -> str:
    told = [
        f"{' '.join(shared[number, other]) or 'nobody'} with {other + 1}" for other in range(number)
    ]
    return f"{number + 1:>2}  {' '.join(one)}" + (f": shares {', '.join(told)}" if told else "")


def _membership(groups: list[Group], voters: Group) -> list[Markup]:
    """A column a node, a row a group; a line ties the group's nodes together."""
    column = {name: 44 + COLUMN * (place + 0.5) for place, name in enumerate(voters)}
    parts = [
        label(x, 28, fit(name, COLUMN - 2, SMALL), anchor="middle", size=SMALL, bold=True,
              halo=False)
        for name, x in column.items()
    ]  # fmt: skip
    for number, one in enumerate(groups):
        y = 44 + LINE * (number + 0.5)
        parts.append(label(32, y + 4, str(number + 1), anchor="end", size=SMALL, tone="dim",
                           halo=False))  # fmt: skip
        ends = path((column[one[0]], y), (column[one[-1]], y))
        tie = el("path", d=ends, stroke=tone("ink"), stroke_width=2.5, fill="none")
        dots = [_dot(column[name], y, name in one) for name in voters]
        hooks = {"data_kv_members": " ".join(one)}
        parts.append(group([tie, *dots], class_="kv-group", **hooks))
    return parts


def _dot(x: float, y: float, inside: bool) -> Markup:
    if inside:
        return el(
            "circle", cx=x, cy=y, r=7.5, fill=COLOURS[0], stroke=tone("ink"), stroke_width=1.5
        )
    return el("circle", cx=x, cy=y, r=3.0, fill=tone("line"))


def _triangle(
    groups: list[Group], shared: dict[tuple[int, int], Group], left: float, cell: float, named: bool
) -> list[Markup]:
    """Each pair once: the later group's row, the earlier group's column."""
    parts = []
    for number in range(len(groups) - 1):
        x = left + cell * (number + 0.5)
        parts.append(label(x, 28, str(number + 1), anchor="middle", size=SMALL, tone="dim",
                           halo=False))  # fmt: skip
    for (row, col), names in shared.items():
        x, y = left + cell * col, 44 + LINE * row
        frame = {"x": x + 1, "y": y + 2, "width": cell - 2, "height": LINE - 4, "rx": 3}
        whole = f"{row + 1} and {col + 1} share {' '.join(names) or 'nobody'}"
        parts.append(
            el("rect", el("title", whole), fill=tone("sunken") if names else "none",
               stroke=None if names else tone("fault"), stroke_width=1.2,
               data_kv_pair=f"{row + 1} {col + 1}", data_kv_shared=" ".join(names), **frame)
        )  # fmt: skip
        middle = (x + cell / 2, y + LINE / 2)
        if not names:
            parts.append(cross(*middle, 4.5, stroke=tone("fault"), stroke_width=1.8))
            continue
        told = " ".join(names) if named else str(len(names))
        parts.append(label(middle[0], middle[1] + 4, told, anchor="middle", size=SMALL, halo=False))
    return parts


# How many may be down -----------------------------------------------------------------------

STEP, DISC = 38.0, 13.0  # a row of the ladder; a node's disc in it


def ladder(sizes: Iterable[int] = range(1, 10)) -> Svg:
    """Draw for each size how many must answer, how many may be down, and what the last node adds.

    Raises: ValueError for no size, or one that is not from 1 to 9, TypeError for what is no sizes.
    """
    sizes = _sizes(sizes, "ladder")
    discs = 70.0
    counts = discs + (2 * DISC + 6) * max(sizes) + 10
    notes = counts + 196
    told = [(size, majority(size), size - majority(size), _gain(size)) for size in sizes]
    wide = notes + max(width(note) for *_, note in told) + 24
    heads = ((18, "nodes"), (discs, "must answer, may be down"), (counts, "must answer"),
             (counts + 96, "may be down"), (notes, "the last node adds"))  # fmt: skip
    if max(sizes) < 5:
        heads = (heads[0], *heads[2:])  # no room above so few discs
    parts = [label(x, 24, head, size=SMALL, tone="dim", halo=False) for x, head in heads]
    for place, (size, need, spare, note) in enumerate(told):
        y = 36 + STEP * (place + 0.5)
        row = [_rung(n, need, discs + DISC + (2 * DISC + 6) * n, y) for n in range(size)]
        row += [
            label(18, y + 5, str(size), bold=True, size=SIZES["name"], halo=False),
            label(counts, y + 4, str(need), halo=False),
            label(counts + 96, y + 5, str(spare), bold=True, size=SIZES["name"], halo=False),
            label(notes, y + 4, note, halo=False, tone="dim" if size % 2 else "fault"),
        ]
        if place:
            rule = path((16, y - STEP / 2), (wide - 16, y - STEP / 2))
            row.append(el("path", d=rule, stroke=tone("faint"), stroke_width=1))
        parts.append(group(row, data_kv_size=size, data_kv_majority=need, data_kv_spare=spare))
    lines = [
        f"{size} node{'s'[: size > 1]}: {need} must answer, {spare} may be down; {note}"
        for size, need, spare, note in told
    ]
    title = f"How many may be down, of {sizes[0]} to {sizes[-1]} nodes"
    high = 36 + STEP * len(told) + 12
    return Svg(
        "ladder", "".join(parts), wide, high, title, ". ".join(lines) + ".", "\n".join(lines)
    )


def _rung(number: int, need: int, x: float, y: float) -> Markup:
    """A node that must answer, or one that may be down."""
    name = f"n{number + 1}"
    style = {"anchor": "middle", "size": 10.5}
    if number < need:
        disc = el("circle", cx=x, cy=y, r=DISC, fill=COLOURS[0], stroke=tone("ink"),
                  stroke_width=1.5)  # fmt: skip
        words = label(x, y + 3.8, name, halo=False, bold=True, fill=text_on(COLOURS[0]), **style)
        return group([disc, words])
    disc = el("circle", cx=x, cy=y, r=DISC, fill=tone("sunken"), stroke=tone("dim"),
              stroke_width=1.5)  # fmt: skip
    sign = cross(x, y, DISC * 0.56, stroke=tone("line"), stroke_width=3)
    return group([disc, sign, label(x, y + 3.8, name, **style)])


def _gain(size: int) -> str:
    """What the last of so many nodes adds."""
    need = majority(size)
    if size == 1:
        return "no copy elsewhere: nothing may fail"
    if size % 2:
        return "one more may be down"
    return f"nothing: {need} must answer instead of {need - 1}"


def _sizes(sizes: Iterable[int], asked: str) -> list[int]:
    listed = isinstance(sizes, Iterable) and not isinstance(sizes, (str, bytes, Trace))
    found = list(sizes) if listed else [sizes]
    wrong = [one for one in found if isinstance(one, bool) or not isinstance(one, Integral)]
    if wrong or not listed:
        given = f"a list with {_kind(wrong[0])}" if listed else _kind(sizes)
        raise TypeError(f"{asked} takes numbers of nodes, such as [3, 5, 7], not {given}")
    found = sorted(set(map(int, found)))
    if not found or found[0] < 1 or found[-1] > MOST:
        raise ValueError(f"sizes are numbers of nodes from 1 to {MOST}, not {found}")
    return found


# How often that is --------------------------------------------------------------------------

PLOT = (96.0, 44.0, 520.0, 388.0)  # left, top, right, bottom of the curves
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
POINTS = 60  # of a curve
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"))


def availability(sizes: Iterable[int] = range(1, 8)) -> Svg:
    """Draw how much of the time no majority is up, against how much of it one node is down.

    Both axes are logarithmic, the nodes fail independently; odd sizes are solid lines, even ones
    dashed. Raises: ValueError for no size, or one that is not from 1 to 9, TypeError for what is
    no sizes.
    """
    sizes = _sizes(sizes, "availability")
    left, top, right, bottom = PLOT
    low, high = TICKS[0], TICKS[-1]
    decades = -int(log10(unavailable(sizes[-1], low)) - 1)

    def x(down: float) -> float:
        return left + (right - left) * log10(down / low) / log10(high / low)

    def y(lost: float) -> float:
        return top + (bottom - top) * -log10(lost) / decades

    parts = [
        label(16, 22, "Time without a majority", bold=True, halo=False),
        label(right + 12, 22, "of the time, and in a year", size=SMALL, tone="dim", halo=False),
        *_grid(x, y, decades),
    ]
    steps = [low * (high / low) ** (k / POINTS) for k in range(POINTS + 1)]
    for size in sizes:
        way = path(*((x(down), y(unavailable(size, down))) for down in steps))
        named, dash = ("ink", None) if size % 2 else ("fault", "5 4")
        style = {"stroke": tone(named), "stroke_width": 2, "stroke_dasharray": dash}
        parts.append(el("path", d=way, fill="none", data_kv_size=size, **style))
    parts += _curve_names(sizes, [y(unavailable(size, low)) for size in sizes])
    told = "time that one node is down (nodes fail independently of each other)"
    parts.append(label((left + right) / 2, bottom + 40, told, anchor="middle", halo=False))
    lines = [_curve_words(size) for size in sizes]
    text = "\n".join(["Time without a majority, when one node is down for", *lines])
    title = f"Time without a majority, of {sizes[0]} to {sizes[-1]} nodes"
    svg = ("availability", "".join(parts), right + 176, bottom + 58)
    return Svg(*svg, title, "; ".join(lines), text)


def downtime(sizes: Iterable[int] = range(1, 8), down: float = 0.01):
    """The numbers beside the curves: a pandas DataFrame, a row a size, for nodes that are down
    for the part `down` of the time, independently of each other.

    Raises: ValueError for no size, one that is not from 1 to 9, or a part that is not from 0 to 1,
    TypeError for what is no sizes or no number.
    """
    import pandas

    if not isinstance(down, Real):
        raise TypeError(f"the part of the time that a node is down is a number, not {_kind(down)}")
    if not 0 <= down <= 1:
        raise ValueError(f"the part of the time that a node is down is from 0 to 1, not {down}")

    rows = [
        {
            "nodes": size,
            "must answer": majority(size),
            "may be down": size - majority(size),
            "no majority, % of the time": float(f"{100 * unavailable(size, down):.3g}"),
            "in a year": _duration(unavailable(size, down)),
        }
        for size in _sizes(sizes, "downtime")
    ]
    return pandas.DataFrame(rows).set_index("nodes")


def _grid(x, y, decades: int) -> list[Markup]:
    left, top, right, bottom = PLOT
    parts = []
    for down in TICKS:
        line = path((x(down), top), (x(down), bottom + 5))
        parts.append(el("path", d=line, stroke=tone("faint"), stroke_width=1))
        parts.append(label(x(down), bottom + 19, _percent(down), anchor="middle", size=SMALL,
                           tone="dim", halo=False))  # fmt: skip
    for power in range(decades + 1):
        lost = 10.0**-power
        line = path((left, y(lost)), (right + 5, y(lost)))
        parts.append(el("path", d=line, stroke=tone("faint"), stroke_width=1))
        told = _percent(lost) if power == 0 else f"{_percent(lost)} · {_duration(lost)}"
        parts.append(label(right + 12, y(lost) + 4, told, size=SMALL, tone="dim", halo=False))
    return parts


def _curve_names(sizes: list[int], ends: list[float]) -> list[Markup]:
    """Beside the left ends of the curves, moved apart where they would cover each other."""
    parts, last = [], -99.0
    for size, end in sorted(zip(sizes, ends), key=lambda pair: pair[1]):
        last = max(end, last + 14)
        named = "ink" if size % 2 else "fault"
        told = f"{size} node{'s'[: size > 1]}"
        parts.append(label(PLOT[0] - 8, last + 4, told, anchor="end", tone=named, halo=False))
    return parts


def _curve_words(size: int) -> str:
    at = ", ".join(f"{_percent(d)}: {_percent(unavailable(size, d))}" for d in TICKS)
    return f"{size} node{'s'[: size > 1]}: {at}"


def _percent(part: float) -> str:
    """A part of a whole with three digits that count.

    >>> _percent(0.5), _percent(0.000298), _percent(1e-9)
    ('50 %', '0.0298 %', '0.0000001 %')
    """
    hundred = 100 * part
    digits = max(0, 2 - int(log10(hundred) // 1))
    told = f"{hundred:.{digits}f}"
    return f"{told.rstrip('0').rstrip('.') if '.' in told else told} %"


def _duration(part: float) -> str:
    """A part of a year in the unit that suits it.

    >>> _duration(0.01), _duration(0.0003), _duration(1e-9)
    ('3.7 d', '2.6 h', '32 ms')
    """
    seconds = part * YEAR_S
    size, unit = next(((s, u) for s, u in UNITS if seconds >= s), UNITS[-1])
    return (
        f"{seconds / size:.2g} {unit}" if seconds / size < 100 else f"{seconds / size:.0f} {unit}"
    )
