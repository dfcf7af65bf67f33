"""The ring: all nodes of a cluster at one moment, and the messages between them.

A node is a disc in the colour of its term. The ring around it tells its role: double with a crown
= leader, dashed with its votes as slots = candidate, plain = follower, with pale slots = it asks
for pre-votes, dotted = learner, none and pale = no member, grey with a cross = down, grey with two
bars = paused. The arc outside is the election timer, running out.
A message is a dot on its way, right of the line as cars drive; dashed if it will be lost, pale if
it speaks of pre-votes, a square if it carries a part of a snapshot. A line that stops short at two
bars is cut. In a joint configuration two outlines go around those whose majorities must both
agree: full around the new voters, dashed around the old ones.

Everything is read from a `Moment`; `places` tells the panels where to put the same things.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import atan2, cos, hypot, pi, sin
from typing import Any

from kvlearn.raft.messages import InstallSnapshot
from kvlearn.viz.moment import Moment, fate_in_words, look
from kvlearn.viz.nodes import NodeMoment, Packet
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
    num,
    one_line,
    path,
    text_box,
    width,
    wrap,
)
from kvlearn.viz.theme import CROWN, ROLES, SIZES, term_colour, text_on, tone

R = SIZES["node_r"]
TIMER_R = SIZES["timer_r"]
SIDE = 128.0  # room for the words beside a node
MARGIN = 22.0
CAPTION = 56.0  # room for the three lines below
LINE = 15.0
FULL = 2 * pi


def ring(subject: Any, at: float | None = None, seq: int | None = None) -> Svg:
    """Draw the cluster at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    """
    moment = look(subject, at, seq)
    names = moment.names
    if not names:
        return _empty()
    spots = places(len(names))
    where = dict(zip(names, spots))
    wide, high = size(len(names))
    packets = [p for p in moment.packets.values() if p.source in where and p.target in where]
    room = Room(_standing(moment, names, where))
    body = [
        *_majorities(moment, names, where),
        group(_links(moment, names, where), class_="kv-links"),
        group(_packet_trails(moment, packets, where), class_="kv-trails"),
        *(_node(moment, moment.nodes[name], where[name], wide) for name in names),
        group(_packets(moment, packets, where, room), class_="kv-messages"),
        _caption(moment, wide, high),
    ]
    hooks = {
        "data_kv_time": num(moment.time),
        "data_kv_seq": moment.seq,
        "data_kv_leader": moment.leader or "",
        "data_kv_term": moment.term,
    }
    return Svg(
        "ring",
        "".join(body),
        wide,
        high + CAPTION + (LINE if _members(moment) else 0.0),
        _title(moment),
        _desc(moment),
        _text(moment),
        hooks,
    )


def radius(count: int) -> float:
    """How far `count` nodes stand from the middle."""
    small = {1: 0.0, 2: 110.0, 3: 118.0, 4: 132.0}
    # Many nodes also need room for the words between two of them on top.
    return small.get(count, 146.0 + (22 if count < 8 else 34) * (count - 5))


def size(count: int) -> tuple[float, float]:
    """Width and height of the ring's field for `count` nodes, without the caption."""
    spots = _around(count)
    reach_x = max(abs(x) for x, _ in spots)
    top, bottom = min(y for _, y in spots), max(y for _, y in spots)
    return 2 * (reach_x + TIMER_R + SIDE), bottom - top + 2 * (TIMER_R + MARGIN)


def places(count: int) -> list[tuple[float, float]]:
    """The middle of each of `count` nodes: the first on top, then clockwise."""
    wide, _ = size(count)
    spots = _around(count)
    top = min(y for _, y in spots)
    return [(wide / 2 + x, y - top + TIMER_R + MARGIN) for x, y in spots]


def _around(count: int) -> list[tuple[float, float]]:
    r = radius(count)
    angles = [FULL * k / count - pi / 2 for k in range(count)]
    if count == 2:
        angles = [pi, 0.0]  # side by side
    return [(r * cos(a), r * sin(a)) for a in angles]


# Nodes --------------------------------------------------------------------------------------


def _node(moment: Moment, node: NodeMoment, spot: tuple[float, float], wide: float) -> Markup:
    x, y = spot
    role = node.role
    parts = [el("title", _sentence(node))]
    if role in ("down", "paused"):
        parts += _silent(node)
    elif role == "candidate" or node.pre_votes:
        parts += _pie(node)
    elif role == "outside":
        parts.append(el("circle", r=R, fill=tone("surface")))  # no line shines through
        parts.append(el("circle", r=R, fill=term_colour(node.term), fill_opacity=0.3))
    else:
        parts.append(el("circle", r=R, fill=term_colour(node.term)))
    parts += _ring_of(node)
    parts += _names(node)
    parts += _timer(node, moment.time)
    inside = group(parts, transform=f"translate({num(x)},{num(y)})")
    return group(
        [inside, *_beside(moment, node, x, y, wide)],
        class_="kv-node",
        data_kv_node=node.name,
        data_kv_role=role,
        data_kv_term=node.term,
    )


def _ring_of(node: NodeMoment) -> list[Markup]:
    style = ROLES[node.raft_role if node.role == "paused" else node.role]
    stroke = tone("dim" if node.role in ("down", "paused") else "ink")
    line = {"fill": "none", "stroke": stroke, "stroke_width": 2}
    if style["dash"]:
        line["stroke_dasharray"] = style["dash"]
        if node.role == "learner":
            line |= {"stroke_linecap": "round", "stroke_width": 3}
    if style["ring"] == "none":
        return []
    if style["ring"] == "single":
        return [el("circle", r=R + 1, **line)]
    gap = SIZES["ring_gap"]
    crown = el(
        "path",
        d=CROWN,
        transform=f"translate(0,{num(-R - gap - 8)})",
        fill=stroke if node.role == "paused" else "#E8A400",
        stroke=tone("surface") if node.role == "paused" else "#6B4A00",
        stroke_width=1,
        stroke_linejoin="round",
        class_="kv-crown",
    )
    return [el("circle", r=R + 1, **line), el("circle", r=R + 1 + gap, **line), crown]


def _silent(node: NodeMoment) -> list[Markup]:
    """Down or paused: grey, with the sign behind the name."""
    sign = {"stroke": tone("line"), "stroke_width": 6, "stroke_linecap": "round"}
    disc = el("circle", r=R, fill=tone("sunken"))
    if node.role == "down":
        return [disc, cross(0, 0, R * 0.56, **sign)]
    bars = path((-9, -17), (-9, 17)) + " " + path((9, -17), (9, 17))
    return [disc, el("path", d=bars, fill="none", **sign)]


def _pie(node: NodeMoment) -> list[Markup]:
    """A candidate's votes: a slot for each voter; filled = granted, crossed = refused. Pre-votes
    are pale."""
    voters, votes = node.voters, node.pre_votes or node.votes
    pale = 0.4 if node.pre_votes else None
    colour = term_colour(node.term)
    parts = [el("circle", r=R, fill=tone("surface"))]
    for number, member in enumerate(voters):
        vote = votes.get(member)
        gap = 0.012 if len(voters) > 1 else 0.0
        start, end = number / len(voters) + gap, (number + 1) / len(voters) - gap
        shape = _slice(start, end, R - 2, R - 11)
        said = "no answer yet" if vote is None else "granted" if vote else "refused"
        parts.append(
            el(
                "path",
                el("title", f"{member}: {said}"),
                d=shape,
                fill=colour if vote else tone("surface" if vote is None else "sunken"),
                fill_opacity=pale if vote else None,
                stroke=tone("ink" if vote else "line"),
                stroke_width=1,
                data_kv_vote=member,
                data_kv_granted=None if vote is None else str(vote).lower(),
            )
        )
        if vote is False:
            angle = FULL * (number + 0.5) / len(voters)
            x, y = (R - 6.5) * sin(angle), -(R - 6.5) * cos(angle)
            parts.append(cross(x, y, 3.2, stroke=tone("fault"), stroke_width=1.8))
    return parts


def _slice(start: float, end: float, outer: float, inner: float) -> str:
    """A piece of a ring, from `start` to `end` (parts of a full turn, from the top, clockwise)."""
    end = min(end, start + 0.9999)
    large = int(end - start > 0.5)

    def at(part: float, r: float) -> str:
        return f"{num(r * sin(FULL * part))},{num(-r * cos(FULL * part))}"

    o, i = num(outer), num(inner)
    return (
        f"M{at(start, outer)} A{o},{o} 0 {large} 1 {at(end, outer)} "
        f"L{at(end, inner)} A{i},{i} 0 {large} 0 {at(start, inner)} Z"
    )


def _names(node: NodeMoment) -> list[Markup]:
    role = node.role
    silent, slots = role in ("down", "paused"), role == "candidate" or node.pre_votes
    on_surface = silent or slots or role == "outside"
    ink = tone("ink") if on_surface else text_on(term_colour(node.term))
    slots = slots and not silent
    # Words that stand inside of votes are smaller.
    name, term = (13, 9) if slots else (SIZES["name"], SIZES["small"])
    style = {"anchor": "middle", "halo": False, "fill": ink}
    if silent:
        style["halo"] = True
    return [
        label(0, -1, fit(node.name, 2 * R - 16, name), size=name, bold=True, **style),
        label(0, 10.5 if slots else 12.5, f"term {node.term}", size=term, **style),
    ]


def _timer(node: NodeMoment, time: float) -> list[Markup]:
    left = node.timer_left(time)
    if left is None:
        return []
    wide = SIZES["timer_width"]
    track = el("circle", r=TIMER_R, fill="none", stroke=tone("faint"), stroke_width=wide)
    if left < 0.002:
        return [track]
    # What is left ends at the top, so that the arc is seen to run towards twelve o'clock.
    start, end = 1 - min(left, 0.9999), 0.9999
    from_x, from_y = TIMER_R * sin(FULL * start), -TIMER_R * cos(FULL * start)
    to_x, to_y = TIMER_R * sin(FULL * end), -TIMER_R * cos(FULL * end)
    arc = (
        f"M{num(from_x)},{num(from_y)} A{num(TIMER_R)},{num(TIMER_R)} 0 {int(left > 0.5)} 1 "
        f"{num(to_x)},{num(to_y)}"
    )
    return [
        track,
        el(
            "path",
            d=arc,
            fill="none",
            stroke=tone("dim"),
            stroke_width=wide,
            stroke_linecap="round",
            class_="kv-timer",
            data_kv_left=num(left),
        ),
    ]


def _beside(moment: Moment, node: NodeMoment, x: float, y: float, wide: float) -> list[Markup]:
    """The words beside a node, on the side that looks away from the middle."""
    left = x < wide / 2 - 1
    anchor = "end" if left else "start"
    edge = x - TIMER_R - 10 if left else x + TIMER_R + 10
    room = SIDE - 16
    lines = _words(moment, node)
    top = y - 15.5 * (len(lines) - 1) / 2 + 4
    told = [label(edge, top, fit(lines[0], room), anchor=anchor, bold=True)]
    for number, text in enumerate(lines[1:], start=1):
        text = fit(text, room, SIZES["small"])
        at = top + 15.5 * number
        told.append(label(edge, at, text, anchor=anchor, size=SIZES["small"], tone="dim"))
    return told


def _words(moment: Moment, node: NodeMoment) -> list[str]:
    role = node.role
    lines = [f"{node.raft_role}, paused" if role == "paused" else role]
    if role == "candidate":
        lines.append(f"{sum(node.votes.values())} of {len(node.voters)} votes")
    elif node.pre_votes:
        lines.append(f"{sum(node.pre_votes.values())} of {len(node.voters)} pre-votes")
    elif node.transferee:
        lines.append(f"hands over to {node.transferee}")
    elif node.incoming:
        lines.append(f"snapshot {node.incoming.records}/{node.incoming.total}")
    elif role in ("follower", "learner") and node.vote:
        lines.append(f"voted for {node.vote}")
    conf = moment.conf
    if conf.outgoing:
        both = {"new": conf.voters, "old": conf.outgoing}
        lines.append(f"votes: {', '.join(k for k, group in both.items() if node.name in group)}")
        lines[-1] = lines[-1].removesuffix("votes: ") or "no vote"
    if node.raft_role != "outside" and conf.members and node.name not in conf.members:
        lines.append("removed, unaware")
    if not node.base.index:
        return [*lines, f"log {node.log.last} · commit {node.commit}"]
    first, last = node.log.base + 1, node.log.last
    span = f"{first}–{last}" if first < last else f"{first}" if first == last else f"≤ {last}"
    return [*lines, f"log {span}", f"commit {node.commit}"]


# Members ------------------------------------------------------------------------------------


def _majorities(moment: Moment, names: Sequence[str], where: dict) -> list[Markup]:
    """In a joint configuration, an outline around each group whose majority must agree."""
    conf = moment.conf
    if not conf.outgoing or len(names) < 2:
        return []
    look = {"stroke": tone("dim"), "stroke_width": 1.8, "stroke_linejoin": "round"}
    new, old = (outline(names, where, who, r) for who, r in ((conf.voters, 0), (conf.outgoing, 5)))
    return [
        el("path", d=new, fill=tone("sunken"), data_kv_majority="new", **look),
        el("path", d=old, fill="none", stroke_dasharray="7 5", data_kv_majority="old", **look),
    ]


def outline(names: Sequence[str], where: dict, group: Collection[str], more: float) -> str:
    """A closed path around the nodes of `group`, which passes inside of all others."""
    spots = [where[name] for name in names]
    xs, ys = zip(*spots)
    # The ring's middle: the first node is on top, and they stand evenly on a circle.
    r = radius(len(names))
    mid_x, mid_y = (sum(xs) / len(xs), sum(ys) / len(ys))
    turns = [atan2(y - mid_y, x - mid_x) for x, y in spots]
    far, near = r + TIMER_R + 7 + more, max(8.0, r - TIMER_R - 12 + more)
    reach = [far if name in group else near for name in names]
    share = min(0.42, 1.15 * TIMER_R / r * len(names) / FULL)  # of the way that a node takes up
    points = []
    for k, turn in enumerate(turns):
        step = (turns[(k + 1) % len(turns)] - turn) % FULL
        for part in [p / 24 for p in range(24)]:
            ease = max(0.0, min(1.0, (part - share) / (1 - 2 * share)))
            ease = ease * ease * (3 - 2 * ease)
            away = reach[k] + (reach[(k + 1) % len(reach)] - reach[k]) * ease
            angle = turn + part * step
            points.append((mid_x + away * cos(angle), mid_y + away * sin(angle)))
    return path(*points) + " Z"


def _members(moment: Moment) -> str:
    """Who is a member, where that is not simply everybody."""
    conf = moment.conf
    if conf.outgoing:
        new, old = " ".join(conf.voters), " ".join(conf.outgoing)
        learn = f"; learners: {' '.join(conf.learners)}" if conf.learners else ""
        return f"joint: a majority of the new {new} and one of the old {old} must agree{learn}"
    if not conf.members or set(conf.voters) == set(moment.nodes):
        return ""
    told = [f"voters: {' '.join(conf.voters)}"]
    if conf.learners:
        told.append(f"learners: {' '.join(conf.learners)}")
    outside = [name for name in moment.names if name not in conf.members]
    if outside:
        told.append(f"outside: {' '.join(outside)}")
    return "; ".join(told)


# Links and messages -------------------------------------------------------------------------


def _links(moment: Moment, names: Sequence[str], where: dict) -> list[Markup]:
    parts, members = [], moment.conf.members or tuple(names)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            there, back = (one, other) in moment.cuts, (other, one) in moment.cuts
            ends = _rim(where[one], where[other], TIMER_R + 5, TIMER_R + 5)
            if there and back:
                parts.append(_cut_both(ends, one, other))
                continue
            if one in members and other in members:
                line = {"fill": "none", "stroke": tone("faint"), "stroke_width": 1.5}
                parts.append(el("path", d=path(*ends), **line))
            if there or back:
                towards = ends if there else ends[::-1]
                parts.append(_cut_one_way(towards, *((one, other) if there else (other, one))))
    return parts


def _cut_both(ends, one: str, other: str) -> Markup:
    """Two stubs, each closed by a bar: a wire that was cut."""
    parts = []
    for (ax, ay), (bx, by) in (ends, ends[::-1]):
        long = hypot(bx - ax, by - ay) or 1.0
        ux, uy = (bx - ax) / long, (by - ay) / long
        stub = min(26.0, long * 0.3)
        ex, ey = ax + ux * stub, ay + uy * stub
        bar = path((ex - uy * 6, ey + ux * 6), (ex + uy * 6, ey - ux * 6))
        way = path((ax, ay), (ex, ey))
        parts.append(el("path", d=way, fill="none", stroke=tone("line"), stroke_width=1.5))
        parts.append(el("path", d=bar, fill="none", stroke=tone("fault"), stroke_width=2.2))
    return group(parts, data_kv_cut=f"{one} {other}", stroke_linecap="round")


def _cut_one_way(ends, source: str, target: str) -> Markup:
    """An arrow towards the side that hears nothing, closed by a bar before it gets there."""
    (ax, ay), (bx, by) = ends
    long = hypot(bx - ax, by - ay) or 1.0
    ux, uy = (bx - ax) / long, (by - ay) / long
    lane = SIZES["lane"]
    ox, oy = -uy * lane, ux * lane
    ex, ey = bx - ux * 16 + ox, by - uy * 16 + oy
    sx, sy = bx - ux * 44 + ox, by - uy * 44 + oy
    bar = path((ex - uy * 6, ey + ux * 6), (ex + uy * 6, ey - ux * 6))
    tip = path((ex - ux * 8 - uy * 4, ey - uy * 8 + ux * 4), (ex - ux * 2, ey - uy * 2))
    tip += " " + path((ex - ux * 8 + uy * 4, ey - uy * 8 - ux * 4), (ex - ux * 2, ey - uy * 2))
    stroke = {"fill": "none", "stroke": tone("fault"), "stroke_linecap": "round"}
    return group(
        [
            el("path", d=path((sx, sy), (ex - ux * 2, ey - uy * 2)), stroke_width=1.5, **stroke),
            el("path", d=tip, stroke_width=1.5, **stroke),
            el("path", d=bar, stroke_width=2.2, **stroke),
        ],
        data_kv_cut=f"{source} {target}",
    )


def _rim(a, b, from_a: float, from_b: float):
    """The line between two middles, shortened at both ends."""
    (ax, ay), (bx, by) = a, b
    long = hypot(bx - ax, by - ay) or 1.0
    ux, uy = (bx - ax) / long, (by - ay) / long
    return (ax + ux * from_a, ay + uy * from_a), (bx - ux * from_b, by - uy * from_b)


def way_of(a, b) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a message from `a` to `b` begins and ends: right of the line, from rim to rim."""
    (ax, ay), (bx, by) = _rim(a, b, TIMER_R + 11, TIMER_R + 11)
    long = hypot(bx - ax, by - ay) or 1.0
    ox, oy = -(by - ay) / long * SIZES["lane"], (bx - ax) / long * SIZES["lane"]
    return (ax + ox, ay + oy), (bx + ox, by + oy)


def _spot(moment: Moment, packet: Packet, where: dict) -> tuple[float, float]:
    (ax, ay), (bx, by) = way_of(where[packet.source], where[packet.target])
    part = packet.way(moment.time)
    return ax + (bx - ax) * part, ay + (by - ay) * part


def _packet_trails(moment: Moment, packets: Sequence[Packet], where: dict) -> list[Markup]:
    parts = []
    for packet in packets:
        start, _ = way_of(where[packet.source], where[packet.target])
        here = _spot(moment, packet, where)
        parts.append(
            el(
                "path",
                d=path(start, here),
                fill="none",
                stroke=term_colour(packet.message.term),
                stroke_width=2,
                stroke_opacity=0.75,
                stroke_dasharray="3 4" if packet.fate else None,
                stroke_linecap="round",
            )
        )
    return parts


def _packets(moment: Moment, packets: Sequence[Packet], where: dict, room: Room) -> list[Markup]:
    spots = {p.number: _spot(moment, p, where) for p in packets}
    r = SIZES["dot_r"]
    room.take(Box(x - r, y - r, x + r, y + r) for x, y in spots.values())
    parts = []
    for packet, same in _stacks(packets, spots):
        x, y = spots[packet.number]
        parts.append(_dot(packet, x, y, same))
        text = fit(str(packet.message), 150, SIZES["small"])
        if len(same) > 1:
            text += f" ×{len(same)}"
        parts += _dot_label(x, y, text, room, bool(packet.fate))
    return parts


def _stacks(packets: Sequence[Packet], spots: dict) -> list[tuple[Packet, list[Packet]]]:
    """Packets that stand at one place and say the same are one dot: (the first, all of them)."""
    stacks: dict[tuple, list[Packet]] = {}
    for packet in packets:
        x, y = spots[packet.number]
        key = (packet.source, packet.target, str(packet.message), packet.fate, num(x), num(y))
        stacks.setdefault(key, []).append(packet)
    return [(same[0], same) for same in stacks.values()]


def _dot(packet: Packet, x: float, y: float, same: list[Packet]) -> Markup:
    colour = term_colour(packet.message.term)
    lost, r = bool(packet.fate), SIZES["dot_r"]
    shape = {"cx": float(x), "cy": float(y), "r": r}
    if type(packet.message) is InstallSnapshot:
        shape = {"x": x - r, "y": y - r, "width": 2 * r, "height": 2 * r, "rx": 2}
    return el(
        "rect" if "rx" in shape else "circle",
        el("title", _packet_sentence(packet)),
        **shape,
        fill=tone("surface") if lost else colour,
        fill_opacity=0.4 if getattr(packet.message, "pre", False) else None,
        stroke=tone("fault") if lost else tone("ink"),
        stroke_width=1.6,
        stroke_dasharray="3 2.4" if lost else None,
        class_="kv-message",
        data_kv_message=" ".join(str(p.number) for p in same),
        data_kv_source=packet.source,
        data_kv_target=packet.target,
        data_kv_fate=packet.fate or None,
    )


def _dot_label(x: float, y: float, text: str, room: Room, lost: bool) -> list[Markup]:
    size = SIZES["small"]
    tries = [
        (x + 10, y + 4, "start"),
        (x - 10, y + 4, "end"),
        (x, y - 11, "middle"),
        (x, y + 18, "middle"),
        (x + 9, y - 8, "start"),
        (x - 9, y - 8, "end"),
        (x + 9, y + 15, "start"),
        (x - 9, y + 15, "end"),
        (x, y - 23, "middle"),
        (x, y + 30, "middle"),
    ]
    boxes = [[text_box(tx, ty, text, size, anchor)] for tx, ty, anchor in tries]
    free = first_free(boxes, room)
    if free is None:
        return []  # the dot's own title and the text twin still say it
    tx, ty, anchor = tries[free]
    return [label(tx, ty, text, size=size, anchor=anchor, tone="fault" if lost else "ink")]


def _standing(moment: Moment, names: Sequence[str], where: dict) -> list[Box]:
    """What labels must keep clear of: the nodes and the words beside them."""
    wide, high = size(len(names))
    boxes = [Box(-200, -50, 4, high + 50), Box(wide - 4, -50, wide + 200, high + 50)]  # the edges
    boxes += [Box(-200, -50, wide + 200, 4), Box(-200, high, wide + 200, high + 50)]
    for name in names:
        x, y = where[name]
        reach = TIMER_R * 0.86
        boxes.append(Box(x - reach, y - reach - 5, x + reach, y + reach))
        lines = _words(moment, moment.nodes[name])
        long = max(min(width(text), SIDE - 16) for text in lines)
        half = 15.5 * len(lines) / 2
        if x < wide / 2 - 1:
            boxes.append(Box(x - TIMER_R - 10 - long, y - half, x - TIMER_R - 10, y + half))
        else:
            boxes.append(Box(x + TIMER_R + 10, y - half, x + TIMER_R + 10 + long, y + half))
    for one, other in moment.cuts:
        if one in where and other in where:
            (ax, ay), (bx, by) = _rim(where[one], where[other], TIMER_R + 5, TIMER_R + 5)
            long = hypot(bx - ax, by - ay) or 1.0
            x, y = ax + (bx - ax) * 26 / long, ay + (by - ay) * 26 / long
            boxes.append(Box(x - 5, y - 5, x + 5, y + 5))
    return boxes


# Words --------------------------------------------------------------------------------------


def _caption(moment: Moment, wide: float, high: float) -> Markup:
    room, small = wide - 2 * MARGIN, SIZES["small"]
    clock = f"{moment.time:.3f} s"
    told = fit(moment.sentence or "nothing has happened yet", room - width(clock) - 14)
    lines = [
        label(MARGIN, high + 13, clock, halo=False, tone="dim"),
        label(MARGIN + width(clock) + 10, high + 13, told, halo=False, bold=True),
    ]
    cut = _cut_words(moment)
    under = [(text, "dim") for text in wrap(moment.why, room, small, 1 if cut else 2)]
    under += [(text, "fault") for text in wrap(cut, room, small, 1)]
    under += [(text, "ink") for text in wrap(_members(moment), room, small, 1)]
    for number, (text, named) in enumerate(under):
        y = high + 30 + LINE * number
        lines.append(label(MARGIN, y, text, size=small, tone=named, halo=False))
    return group(lines, class_="kv-caption")


def _cut_words(moment: Moment) -> str:
    if not moment.cuts:
        return ""
    return moment.cut_why or "cut: " + " ".join(f"{a}→{b}" for a, b in sorted(moment.cuts))


def _sentence(node: NodeMoment) -> str:
    """One node in one line of words."""
    role = f"{node.raft_role}, paused" if node.role == "paused" else node.role
    told = [f"{node.name}: {role}, term {node.term}"]
    if node.role == "candidate":
        yes = " ".join(peer for peer, granted in node.votes.items() if granted)
        no = " ".join(peer for peer, granted in node.votes.items() if not granted)
        told.append(f"votes {yes or 'none'}" + (f", refused by {no}" if no else ""))
    elif node.pre_votes:
        yes = " ".join(peer for peer, granted in node.pre_votes.items() if granted)
        no = " ".join(peer for peer, granted in node.pre_votes.items() if not granted)
        asks = f"asks for pre-votes for term {node.term + 1}: {yes or 'none'}"
        told.append(asks + (f", refused by {no}" if no else ""))
    elif node.vote and node.vote != node.name:
        told.append(f"voted for {node.vote}")
    if node.leader and node.leader != node.name:
        told.append(f"leader {node.leader}")
    if node.transferee:
        told.append(f"hands leadership to {node.transferee}")
    if node.incoming:
        last, records, total = node.incoming
        told.append(f"has {records} of {total} records of the snapshot {last}")
    if node.base.index:
        told.append(f"log compacted up to {node.base}")
    told.append(
        f"log up to {node.log.last}, on disk {node.durable}, committed {node.commit}, "
        f"applied {node.applied}, revision {node.revision}"
    )
    return "; ".join(told)


def _now(moment: Moment, name: str) -> str:
    """What a node's line says besides at this moment: its timer, and that it is out unawares."""
    node, told = moment.nodes[name], ""
    if (left := node.timer_left(moment.time)) is not None:
        told = f"; election timer: {left * node.timeout_s:.3f} of {node.timeout_s:.3f} s left"
    if node.raft_role != "outside" and moment.conf.members and name not in moment.conf.members:
        told += "; removed, unaware"
    return told


def _packet_sentence(packet: Packet) -> str:
    told = f"{packet.source}→{packet.target} {packet.message}"
    if packet.arrives_s is not None:
        told += f", due at {packet.arrives_s:.4f} s"
    if packet.fate:
        told += f", will not arrive: {fate_in_words(packet.fate, packet.source, packet.target)}"
    return told


def _title(moment: Moment) -> str:
    who = f"{moment.leader} leads" if moment.leader else "no leader"
    return f"{len(moment.nodes)} nodes at {moment.time:.3f} s: {who}, term {moment.term}"


def _desc(moment: Moment) -> str:
    told = [_sentence(moment.nodes[name]) + "." for name in moment.names]
    if members := _members(moment):
        told.append(f"Members: {members}.")
    if moment.packets:
        told.append(f"{len(moment.packets)} messages on their way.")
    if moment.cuts:
        told.append("Cut: " + " ".join(f"{a}→{b}" for a, b in sorted(moment.cuts)) + ".")
    return " ".join(told)


def _text(moment: Moment) -> str:
    lines = [_title(moment)]
    lines += [_sentence(moment.nodes[name]) + _now(moment, name) for name in moment.names]
    if members := _members(moment):
        lines.append(f"members: {members}")
    lines += [f"on its way: {_packet_sentence(p)}" for p in moment.packets.values()]
    if moment.cuts:
        lines.append("cut: " + " ".join(f"{a}→{b}" for a, b in sorted(moment.cuts)))
    if moment.sentence:
        lines.append(f"last: {moment.sentence}")
    return "\n".join(one_line(line) for line in lines)


def _empty() -> Svg:
    told = "The trace is empty: no node has started yet."
    body = label(24, 40, told, halo=False, tone="dim")
    return Svg("ring", body, 380, 70, "An empty cluster", told, told, {"data_kv_leader": ""})
