"""Members: who counts, how far each has come, and how it came to be so.

On top the sets that decide: all voters in one box, or, while a change goes through a *joint*
configuration, two boxes that overlap: a majority of each must agree. Who learns stands in a dotted
box beside them, who is no member in none. Below a row a node: what it is, how much of its log the
leader knows to be there (a bar, against the leader's own log), and whether a learner could be
promoted now, with the number that decides. At the bottom the changes of members, as the log has
them; one that no node has carried out yet is dashed.

>>> from kvlearn import Cluster
>>> cluster = Cluster(3, seed=7)
>>> leader = cluster.wait_for_leader()
>>> print(members(cluster).text.splitlines()[0])
3 members at 1.386 s, as n3 counts in term 1: (n1 n2 n3)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kvlearn import events as ev
from kvlearn.raft.confchange import GONE, LEARNER, VOTER, ConfChange
from kvlearn.raft.quorum import majority
from kvlearn.raft.types import ConfState
from kvlearn.trace import Trace
from kvlearn.viz.axis import legend
from kvlearn.viz.moment import Moment, look
from kvlearn.viz.nodes import NodeMoment, natural
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
from kvlearn.viz.theme import CROWN, ROLES, SIZES, term_colour, text_on, tone

WIDE = 700.0
LEFT = 14.0
SETS = 52.0  # where the boxes begin
BOX, SEAT, R = 62.0, 40.0, 14.0  # a box's height, the room of a node in it, a small disc
ROW, LINE = 34.0, 17.0  # of the table, of the changes
NAME, ROLE, STANDING, MATCH, PROMOTE = 14.0, 64.0, 150.0, 274.0, 496.0  # columns
BAR = 92.0  # the whole of the leader's log
CELL = 46.0  # of a change
DRAWN, TOLD = 10, 80  # so many changes are drawn, and told: the last ones
SMALL = SIZES["small"]


class Standing(NamedTuple):
    """One node as the leader sees it. `match`, `next` and `state` are None where nobody leads, or
    for who is no member; `promote` is "yes", why not, or "" for who is no learner."""

    name: str
    role: str
    standing: str  # voter, voter of the new set, learner, outside ...
    term: int
    match: int | None
    next: int | None
    state: str | None
    lag: int | None  # entries that the leader has and this node, as far as known, has not
    promote: str


class Change(NamedTuple):
    """An entry of the log that changes the members. `conf` is None until a node has applied it;
    `error` tells why it was refused when its turn came."""

    index: int
    term: int
    what: str
    conf: ConfState | None
    time: float | None
    node: str
    error: str = ""


def members(subject: Any, at: float | None = None, seq: int | None = None) -> Svg:
    """Draw who is a member at one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    """
    moment = look(subject, at, seq)
    if not moment.nodes:
        told = "The trace is empty: no node has started yet."
        body = label(24, 40, told, halo=False, tone="dim")
        return Svg("members", body, 380, 70, "No members", told, told, _hooks(moment))
    rows, changes = standings(moment), changes_of(moment)
    table = SETS + BOX + 34
    below = table + 16 + ROW * len(rows) + 22
    shown = changes[-DRAWN:]
    bottom = below + 10 + LINE * (1 + (len(shown) < len(changes)))
    bottom += LINE * sum(len(_lines(change)) for change in shown)
    body = [
        _head(moment),
        group(_sets(moment), class_="kv-sets"),
        group(_table(moment, rows, table), class_="kv-members"),
        group(_history(moment, changes, below), class_="kv-changes"),
        group(_legend(bottom + 14), class_="kv-legend"),
    ]
    text = _text(moment, rows, changes)
    title, desc = text.splitlines()[0], text.replace("\n", "; ")
    return Svg("members", "".join(body), WIDE, bottom + 28, title, desc, text, _hooks(moment))


def _hooks(moment: Moment) -> dict[str, object]:
    return {
        "data_kv_time": num(moment.time),
        "data_kv_seq": moment.seq,
        "data_kv_leader": moment.leader or "",
        "data_kv_term": moment.term,
        "data_kv_joint": "" if moment.conf.outgoing else None,
    }


# The facts ----------------------------------------------------------------------------------


def standings(moment: Moment) -> list[Standing]:
    """Every node that is a member or was heard of, in the order of the names."""
    conf, leader = moment.conf, moment.nodes.get(moment.leader or "")
    names = sorted({*moment.nodes, *conf.members}, key=natural)
    return [_standing(moment, conf, leader, name) for name in names]


def _standing(moment: Moment, conf: ConfState, leader: NodeMoment | None, name: str) -> Standing:
    node = moment.nodes.get(name) or NodeMoment(name, alive=False, conf=conf)
    match = after = state = lag = None
    if leader is not None and name == leader.name:
        match, after, state = leader.durable, leader.log.last + 1, "leads"
    elif leader is not None and name in leader.progress:
        match, after, state = leader.progress[name]
    if leader is not None and match is not None:
        lag = leader.log.last - match
    promote = _promotion(moment, conf, leader, name) if name in conf.learners else ""
    role = "silent" if name not in moment.nodes else node.role
    standing = seat(conf, name)
    return Standing(name, role, standing, node.term, match, after, state, lag, promote)


def seat(conf: ConfState, name: str) -> str:
    """What a node is in a configuration, in words."""
    if name in conf.learners:
        return "learner"
    new, old = name in conf.voters, name in conf.outgoing
    if not conf.outgoing or (new and old):
        return "voter of both sets" if conf.outgoing else "voter" if new else "outside"
    if old:
        return "voter, then learner" if name in conf.learners_next else "voter, then outside"
    return "voter of the new set" if new else "outside"


def _promotion(moment: Moment, conf: ConfState, leader: NodeMoment | None, name: str) -> str:
    """Whether the leader would take the learner's promotion into its log now: "yes", or why not."""
    if leader is None:
        return "nobody leads"
    if leader.transferee:
        return f"leadership goes to {leader.transferee}"
    if not conf.votes(leader.name):
        return f"{leader.name} has no vote itself"
    if index := _pending(leader):
        return f"entry {index} is not applied yet"
    if conf.outgoing:
        return "the configuration is joint"
    known = leader.progress.get(name)
    match, last = known.match if known else 0, leader.log.last
    if 10 * match < 9 * last:  # etcd's measure of being in sync
        return f"{match} of {last} entries: nine tenths are asked"
    if silent := _silent(moment, conf, leader):
        return f"{silent} has not answered lately"
    return "yes"


def _pending(leader: NodeMoment) -> int:
    """The entry that must be applied before the next change of members (4.1); 0: none."""
    waits = [e.index for e in leader.log if isinstance(e.data, ConfChange)]
    own = next((e.index - 1 for e in leader.log if e.term == leader.term), 0)
    last = max([*waits, own])
    return last if last > leader.applied else 0


def _silent(moment: Moment, conf: ConfState, leader: NodeMoment) -> str:
    """A voter that the leader has not heard for an election timeout, if that counts in this run."""
    trace = moment.trace
    config = trace.about.get("config", {}) if trace is not None else {}
    if not config.get("strict_reconfig"):
        return ""
    since = moment.time - config["election_ticks"] * config["tick_s"]
    if leader.role_since_s > since:
        return ""
    heard = {leader.name}
    for place in range(moment.seq, -1, -1):
        record = trace[place]
        if record.time < since:
            break
        if record.node == leader.name and isinstance(record.event, ev.Received):
            heard.add(record.event.message.source)
    return next((n for n in conf.members if conf.votes(n) and n not in heard), "")


def changes_of(moment: Moment) -> list[Change]:
    """The changes of members up to the moment, by their index; the first is the start's."""
    if moment.trace is None:
        return []
    found: dict[int, Change] = {}
    confs: dict[str, ConfState] = {}
    for record in _records(moment.trace, moment.seq):
        event = record.event
        if isinstance(event, ev.ConfChanged):
            confs[record.node] = event.conf
        elif isinstance(event.command, ConfChange) and event.index not in found:
            conf = None if event.error else confs.get(record.node)
            told = (event.index, event.term, words(event.command), conf)
            found[event.index] = Change(*told, record.time, record.node, event.error)
    holder = moment.nodes[moment.leader or max(moment.nodes, key=lambda n: moment.nodes[n].commit)]
    for entry in holder.log:
        if isinstance(entry.data, ConfChange) and entry.index not in found:
            told = (entry.index, entry.term, words(entry.data), None)
            found[entry.index] = Change(*told, None, holder.name)
    return [found[index] for index in sorted(found)]


def _records(trace: Trace, end: int) -> Iterator:
    for record in trace.of(ev.Applied, ev.ConfChanged):
        if record.seq > end:
            return
        yield record


def start_of(moment: Moment) -> ConfState | None:
    """The configuration that the first node of the trace began with."""
    for record in moment.trace.of(ev.Started) if moment.trace is not None else ():
        event = record.event
        if record.seq > moment.seq:
            return None
        if event.members:
            voters = event.voters or tuple(n for n in event.members if n not in event.learners)
            return ConfState(voters, event.outgoing, event.learners)
    return None


def words(change: ConfChange) -> str:
    """What an entry changes.

    >>> from kvlearn.raft.confchange import Change as One
    >>> words(ConfChange((One("n4"), One("n5"), One("n1", GONE)), "implicit"))
    'n4 n5 become voters, n1 leaves (joint)'
    """
    if not change.changes:
        return "leaves the joint configuration"
    told = []
    for role, one, more in ((VOTER, "becomes a voter", "become voters"),
                            (LEARNER, "becomes a learner", "become learners"),
                            (GONE, "leaves", "leave")):  # fmt: skip
        names = [each.node for each in change.changes if each.role == role]
        if names:
            told.append(f"{' '.join(names)} {one if len(names) == 1 else more}")
    how = {"implicit": " (joint)", "explicit": " (joint, left when asked)"}
    return ", ".join(told) + how.get(change.transition, "")


# The sets -----------------------------------------------------------------------------------


def _head(moment: Moment) -> Markup:
    counts = f"as {moment.leader} counts" if moment.leader else "nobody leads"
    told = f"{moment.time:.3f} s · {counts} · term {moment.term} · {moment.conf}"
    return label(LEFT, 18, fit(told, WIDE - 28, SMALL), size=SMALL, tone="dim", halo=False)


def _sets(moment: Moment) -> list[Markup]:
    """The voters in one box or in two that overlap, learners beside them, others behind."""
    conf = moment.conf
    old, both, new, learners, outside = _parts(moment)
    seats = len(old) + len(both) + len(new) + len(learners) + len(outside)
    step = min(SEAT, (WIDE - 2 * LEFT - 170) / max(1, seats))
    spots: dict[str, float] = {}

    def seated(names: Sequence[str], x: float) -> float:
        for name in names:
            spots[name] = x + step / 2
            x += step
        return x

    if conf.outgoing:
        inner = seated(old, LEFT + 12) + (0 if old else 12)  # the left edge of the new set
        outer = seated(both, inner + 12) + (0 if both else 12)
        x = seated(new, outer + 12) + (0 if new else 12)
        parts = _box(LEFT, outer + 6, "old", conf.outgoing, "6 4")
        parts += _box(inner + 6, x + 6, "new", conf.voters, None, above=False)
    else:
        x = max(seated(both, LEFT + 12) + 12, LEFT + 150)
        parts = _box(LEFT, x, "voters", conf.voters, None)
    for those, named in ((learners, "learners"), (outside, "outside")):
        if those:
            start = x + 24
            x = max(seated(those, start + 6) + 12, start + width(named, SMALL) + 14)
            parts += _plain_box(start, x, named)
    for name, spot in spots.items():
        parts += _seat(moment, name, spot, SETS + BOX / 2, min(R, step / 2 - 2))
    return parts


def _parts(moment: Moment) -> list[list[str]]:
    """Who votes in the old set only, in both (or the only one), in the new one only; who learns;
    who is no member."""
    conf = moment.conf
    joint = bool(conf.outgoing)
    old = [name for name in conf.outgoing if name not in conf.voters]
    both = [name for name in conf.voters if not joint or name in conf.outgoing]
    new = [name for name in conf.voters if name not in both]
    outside = [name for name in moment.names if name not in conf.members]
    return [sorted(part, key=natural) for part in (old, both, new, conf.learners, outside)]


def _box(
    left: float, right: float, name: str, who: Sequence[str], dash: str | None, above: bool = True
) -> list[Markup]:
    """A set of voters, and how many of them decide: above it, or below where another is above."""
    room = max(right - left, 10.0)
    shift = 0.0 if above else 5.0
    box = {"x": left, "y": SETS + shift, "width": room, "height": BOX - 5, "rx": 10}
    look = {"fill": tone("index"), "fill_opacity": 0.07, "stroke": tone("index")}
    told = f"{name}: {majority(len(who))} of {len(who)} decide" if who else f"{name}: nobody"
    shape = el("rect", el("title", f"{told}: {' '.join(who)}"), **box, **look, stroke_width=1.6,
               stroke_dasharray=dash, data_kv_set=name)  # fmt: skip
    y = SETS - 6 if above else SETS + BOX + 13
    return [shape, label(left + 2, y, told, size=SMALL, tone="index", halo=False)]


def _plain_box(left: float, right: float, name: str) -> list[Markup]:
    """Who has no vote: a dotted box for learners, none for who is outside."""
    told = label(left + 2, SETS - 6, name, size=SMALL, tone="dim", halo=False)
    if name == "outside":
        return [told]
    box = {"x": left, "y": SETS, "width": right - left, "height": BOX - 5, "rx": 10}
    look = {"fill": "none", "stroke": tone("dim"), "stroke_dasharray": "0.1 5"}
    line = {"stroke_width": 2.4, "stroke_linecap": "round", "data_kv_set": name}
    return [el("rect", **box, **look, **line), told]


def _seat(moment: Moment, name: str, x: float, y: float, r: float) -> list[Markup]:
    node = moment.nodes.get(name) or NodeMoment(name, alive=False)
    inside = group(_disc(node, r), transform=f"translate({num(x)},{num(y)})")
    return [group([el("title", f"{name}: {seat(moment.conf, name)}"), inside], data_kv_node=name,
                  data_kv_role=node.role, data_kv_standing=seat(moment.conf, name))]  # fmt: skip


def _disc(node: NodeMoment, r: float) -> list[Markup]:
    """A node in small, drawn as in the ring."""
    role = node.role
    silent = role in ("down", "paused")
    style = ROLES[node.raft_role if role == "paused" else role]
    stroke = tone("dim" if silent else "ink")
    pale = role == "outside"
    fill = tone("sunken") if silent else term_colour(node.term)
    parts = [el("circle", r=r, fill=fill, fill_opacity=0.3 if pale else None)]
    sign = {"stroke": tone("line"), "stroke_width": 3, "stroke_linecap": "round", "fill": "none"}
    if role == "down":
        parts.append(cross(0, 0, r * 0.6, **sign))
    elif role == "paused":
        bars = path((-r * 0.3, -r * 0.5), (-r * 0.3, r * 0.5))
        bars += " " + path((r * 0.3, -r * 0.5), (r * 0.3, r * 0.5))
        parts.append(el("path", d=bars, **sign))
    line = {"fill": "none", "stroke": stroke, "stroke_width": 1.6}
    if style["dash"]:
        line |= {"stroke_dasharray": {"learner": "0.1 4"}.get(role, "4 3")}
        line |= {"stroke_linecap": "round", "stroke_width": 2.2} if role == "learner" else {}
    if style["ring"] != "none":
        parts.append(el("circle", r=r + 0.5, **line))
    if style["ring"] == "double":
        parts.append(el("circle", r=r + 3, **line))
        look = {"fill": "#E8A400", "stroke": "#6B4A00"} if role == "leader" else {"fill": stroke}
        place = f"translate(0,{num(-r - 7)}) scale(0.62)"
        parts.append(el("path", d=CROWN, transform=place, **look, stroke_linejoin="round"))
    ink = tone("ink") if silent or pale else text_on(term_colour(node.term))
    shown = fit(node.name, 2 * r, SMALL)
    style = {"anchor": "middle", "size": SMALL, "bold": True, "fill": ink}
    return [*parts, label(0, 4, shown, **style, halo=silent)]


# The table ----------------------------------------------------------------------------------


def _table(moment: Moment, rows: list[Standing], top: float) -> list[Markup]:
    leader = moment.nodes.get(moment.leader or "")
    stored = f"stored, of {leader.log.last} entries" if leader else "stored: nobody knows"
    heads = ((NAME, "node"), (ROLE, "role"), (STANDING, "counts as"), (MATCH, stored),
             (PROMOTE, "may be promoted"))  # fmt: skip
    style = {"size": SMALL, "tone": "dim", "halo": False}
    parts = [label(x, top, told, **style) for x, told in heads]
    for number, row in enumerate(rows):
        parts.append(_row(row, leader, top + 10 + ROW * number))
    return parts


def _row(row: Standing, leader: NodeMoment | None, y: float) -> Markup:
    rule = el("path", d=path((LEFT, y), (WIDE - 14, y)), stroke=tone("faint"), stroke_width=0.8)
    middle = y + ROW / 2 + 4
    role_room, promote_room = STANDING - ROLE - 8, WIDE - PROMOTE - 14
    parts = [
        el("title", _words(row)),
        rule,
        label(NAME, middle, fit(row.name, ROLE - NAME - 6), bold=True, halo=False),
        label(ROLE, middle - 5, fit(row.role, role_room, SMALL), size=SMALL, halo=False),
        label(ROLE, middle + 8, f"term {row.term}", size=SMALL, tone="dim", halo=False),
        label(STANDING, middle, fit(row.standing, MATCH - STANDING - 6, SMALL), size=SMALL,
              halo=False),
        *_progress(row, leader, y),
    ]  # fmt: skip
    told = row.promote or "–"
    lines = wrap(f"✓ {told}" if told == "yes" else told, promote_room, SMALL, 2)
    named = "good" if row.promote == "yes" else "ink" if row.promote else "dim"
    top = middle - 6.5 * (len(lines) - 1)
    for number, line in enumerate(lines):
        parts.append(label(PROMOTE, top + 13 * number, line, size=SMALL, tone=named, halo=False))
    return group(
        parts,
        class_="kv-member",
        data_kv_member=row.name,
        data_kv_standing=row.standing,
        data_kv_match=row.match,
        data_kv_lag=row.lag,
        data_kv_promote=row.promote or None,
    )


def _progress(row: Standing, leader: NodeMoment | None, y: float) -> list[Markup]:
    """A bar: what the leader knows to be stored there, of all that it has."""
    middle = y + ROW / 2 + 4
    if row.match is None or leader is None:
        told = "no member" if row.standing == "outside" else "not known"
        return [label(MATCH, middle, told, size=SMALL, tone="dim", halo=False)]
    box = {"x": MATCH, "y": middle - 10, "height": 11.0, "rx": 2}
    share = min(1.0, row.match / leader.log.last) if leader.log.last else 0.0
    parts = [el("rect", width=BAR, **box, fill="none", stroke=tone("line"), stroke_width=1.1)]
    if share:
        parts.append(el("rect", width=BAR * share, **box, fill=tone("index"), fill_opacity=0.75))
    lag = f", {row.lag} behind" if row.lag else ""
    told = fit(f"{row.match}{lag}", PROMOTE - MATCH - BAR - 14, SMALL)
    state = "the leader's disk" if row.state == "leads" else row.state
    style = {"size": SMALL, "halo": False}
    parts.append(label(MATCH + BAR + 8, middle - 5, told, **style))
    parts.append(label(MATCH + BAR + 8, middle + 8, state, tone="dim", **style))
    return parts


# The changes --------------------------------------------------------------------------------


def _history(moment: Moment, changes: list[Change], top: float) -> list[Markup]:
    parts = [label(LEFT, top, "changes of members", bold=True, halo=False)]
    y = top + LINE
    shown = changes[-DRAWN:]
    style = {"size": SMALL, "halo": False}
    start = start_of(moment)
    if len(shown) < len(changes):
        told = f"… {len(changes) - len(shown)} earlier changes are not drawn."
        parts.append(label(LEFT, y, told, tone="dim", **style))
        y += LINE
    first = f"at the start: {start}" if start else "how it began is not told"
    parts.append(label(LEFT, y, fit(first, WIDE - 28, SMALL), tone="dim", **style))
    for change in shown:
        y += LINE
        parts.append(_change(change, y))
        y += LINE * (len(_lines(change)) - 1)
    return parts


def _lines(change: Change) -> list[str]:
    """What is written beside the cell of a change."""
    told = _sentence(change).partition(": ")[2]
    return wrap(told, WIDE - 28 - CELL - 8, SMALL, 2)


def _change(change: Change, y: float) -> Markup:
    """A cell of the log in the colour of its term, then what it does."""
    done = change.time is not None
    colour = term_colour(change.term)
    place = f"{change.index}@{change.term}"
    edge = {"stroke": tone("ink"), "stroke_width": 1.3, "stroke_dasharray": None if done else "4 3"}
    box = {"x": LEFT, "y": y - 11, "width": CELL, "height": 14.0, "rx": 3}
    named = "fault" if change.error else "ink" if done else "dim"
    style = {"size": SMALL, "halo": False}
    inside = {"anchor": "middle", "fill": text_on(colour), **style}
    parts = [
        el("title", _sentence(change)),
        el("rect", **box, fill=colour, **edge),
        label(LEFT + CELL / 2, y, fit(place, CELL, SMALL), **inside),
    ]
    for number, told in enumerate(_lines(change)):
        parts.append(label(LEFT + CELL + 8, y + LINE * number, told, tone=named, **style))
    committed = "true" if done else "false"
    return group(parts, data_kv_entry=place, data_kv_committed=committed)


def _legend(y: float) -> list[Markup]:
    both = {"fill": "none", "stroke": tone("index"), "stroke_width": 1.4}
    boxes = group([
        el("rect", x=-8, y=-5, width=11, height=10, rx=3, **both, stroke_dasharray="3 2"),
        el("rect", x=-3, y=-5, width=11, height=10, rx=3, **both),
    ])  # fmt: skip
    bar = el("rect", x=-7, y=-4, width=12, height=8, fill=tone("index"), fill_opacity=0.75)
    cell = {"x": -7, "y": -5, "width": 13, "height": 10, "rx": 2, "fill": "none"}
    dash = el("rect", **cell, stroke=tone("ink"), stroke_dasharray="3 2")
    items = [
        ("joint: a majority of the old (dashed) and one of the new set", boxes),
        ("stored", bar),
        ("not applied yet", dash),
    ]
    return legend(items, y)


# Words --------------------------------------------------------------------------------------


def _words(row: Standing) -> str:
    told = [f"{row.name}: {row.role}, {row.standing}, term {row.term}"]
    if row.match is not None:
        state = "" if row.state == "leads" else f" ({row.state}), next {row.next}"
        told.append(f"match {row.match}{state}, {row.lag} behind")
    if row.promote:
        why = "" if row.promote == "yes" else f"not now: {row.promote}"
        told.append(f"may be promoted: {why or 'yes'}")
    return one_line("; ".join(told))


def _sentence(change: Change) -> str:
    told = f"{change.index}@{change.term}: {change.what}"
    if change.time is None:
        return one_line(f"{told}; not applied yet")
    if change.error:
        return one_line(f"{told}; refused: {change.error}")
    after = f"; then {change.conf}" if change.conf else ""
    return one_line(f"{told}{after}; {change.node} was first, at {change.time:.3f} s")


def _text(moment: Moment, rows: list[Standing], changes: list[Change]) -> str:
    conf = moment.conf
    counts = f"as {moment.leader} counts in" if moment.leader else "nobody leads,"
    many = f"{len(conf.members)} member{'s' * (len(conf.members) != 1)}"
    lines = [f"{many} at {moment.time:.3f} s, {counts} term {moment.term}: {conf}"]
    if conf.outgoing:
        new, old = (f"{majority(len(s))} of {' '.join(s)}" for s in (conf.voters, conf.outgoing))
        lines.append(f"joint: {new} and {old} decide")
    elif conf.voters:
        lines.append(f"{majority(len(conf.voters))} of {' '.join(conf.voters)} decide")
    lines += [f"  {_words(row)}" for row in rows]
    start = start_of(moment)
    lines.append(f"changes of members, at the start {start or 'unknown'}:")
    if len(changes) > TOLD:
        lines.append(f"  … {len(changes) - TOLD} earlier")
    lines += [f"  {_sentence(change)}" for change in changes[-TOLD:]] or ["  none"]
    return "\n".join(lines)
