"""The role state machine of Raft (figure 4), with the transitions that this run took.

Pale arrows are what the paper allows; a strong arrow was taken, with how often and by whom. The
table of the paper's transitions is `PAPER`; crashes, pauses, pre-votes and changes of members join
in when they happened. A node that asks for pre-votes is a pre-candidate here.

Source: paper figure 4; thesis 9.6 (pre-votes), 6.2 (a leader without a majority), 4 (members).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from kvlearn import events as ev
from kvlearn.raft.messages import TimeoutNow
from kvlearn.trace import Trace
from kvlearn.viz.dot import Graph, quoted
from kvlearn.viz.moment import Moment, seq_at, trace_of
from kvlearn.viz.nodes import NodeMoment, natural

ASKS = "pre-candidate"
# (from, to) -> what the paper says beside the arrow
PAPER: dict[tuple[str, str], str] = {
    ("start", "follower"): "starts up",
    ("follower", "candidate"): "times out,\nstarts election",
    ("candidate", "candidate"): "times out,\nnew election",
    ("candidate", "leader"): "receives votes\nfrom a majority",
    ("candidate", "follower"): "discovers the leader\nor a new term",
    ("leader", "follower"): "discovers a\nhigher term",
}
# What the paper's figure leaves out, drawn only if it happened.
BEYOND: dict[tuple[str, str], str] = {
    ("follower", ASKS): "times out, asks\nfor pre-votes",
    (ASKS, ASKS): "times out,\nasks again",
    (ASKS, "candidate"): "a majority\nwould vote for it",
    (ASKS, "follower"): "discovers the leader,\na new term or refusals",
    ("candidate", ASKS): "times out,\nasks first",
}
COMES = {"down": "crashes", "paused": "is paused", "outside": "is no member",
         "learner": "becomes\na learner"}  # fmt: skip
GOES = {"start": "starts up", "paused": "goes on", "down": "restarts", "outside": "becomes a voter",
        "learner": "gets a vote"}  # fmt: skip
# What else may lie behind a transition of the paper: the reason, or the event, that tells it.
ALSO = {
    "QUORUM_LOST": (("leader", "follower"), "hears no majority"),
    "REMOVED": (("leader", "follower"), "is removed"),
    "TRANSFER": (("follower", "candidate"), "is told to stand"),
}
BELOW = {"learner": "follower", "outside": "start", "down": "candidate", "paused": "leader"}
SHAPES = {
    "start": 'shape=point width=0.14 color="tone:ink"',
    "follower": "shape=circle",
    "candidate": 'shape=circle style="filled,dashed"',
    "leader": "shape=doublecircle",
    "learner": 'shape=circle style="filled,dotted"',
    "outside": 'shape=circle fontcolor="tone:dim" color="tone:faint"',
    ASKS: 'shape=circle style="filled,dashed" color="tone:dim" fontsize=11',
    "down": 'shape=circle fontcolor="tone:dim" color="tone:line"',
    "paused": 'shape=circle fontcolor="tone:dim" color="tone:line"',
}


def states(subject: Any, at: float | None = None, seq: int | None = None) -> Graph:
    """Draw the roles and the transitions that the nodes of a trace or a cluster took.

    `at` (seconds) or `seq` (record number): only up to there; default: the whole trace.
    Raises: ValueError if both are given.
    """
    if at is not None and seq is not None:
        raise ValueError("say `at=` (seconds) or `seq=` (record number), not both")
    trace = trace_of(subject)
    end = seq_at(trace, at) if at is not None else len(trace) - 1 if seq is None else seq
    taken, now = transitions(trace, end)
    title = f"Roles and {sum(sum(who.values()) for who in taken.values())} changes of role"
    also = _also(trace, end)
    text = _text(taken, now, also)
    return Graph("states", _source(taken, now, also), title, text.replace("\n", "; "), text)


def transitions(
    trace: Trace, end: int
) -> tuple[dict[tuple[str, str], Counter[str]], dict[str, list[str]]]:
    """Who took which transition how often, up to record `end`; and who is in which role then."""
    taken: dict[tuple[str, str], Counter[str]] = {}
    moment = Moment(trace)
    for record in trace[: end + 1]:
        before = moment.nodes.get(record.node)
        role = _role(before) if before is not None else "start"
        moment.apply(record)
        after = moment.nodes.get(record.node)
        if after is None:
            continue
        # A candidate that times out is a candidate again: an arrow to itself.
        again = type(record.event) in (ev.BecameCandidate, ev.AskedPreVote)
        if _role(after) != role or (again and role in ("candidate", ASKS)):
            taken.setdefault((role, _role(after)), Counter())[record.node] += 1
    now: dict[str, list[str]] = {}
    for name in moment.names:
        now.setdefault(_role(moment.nodes[name]), []).append(name)
    return taken, now


def _role(node: NodeMoment) -> str:
    return ASKS if node.pre_votes and node.role == "follower" else node.role


def _also(trace: Trace, end: int) -> dict[tuple[str, str], list[str]]:
    """What lay behind transitions, besides what the paper's figure says."""
    seen = {record.event.reason for record in trace[: end + 1]
            if type(record.event) is ev.BecameFollower}  # fmt: skip
    told = any(type(record.event) is ev.Sent and type(record.event.message) is TimeoutNow
               for record in trace[: end + 1])  # fmt: skip
    also: dict[tuple[str, str], list[str]] = {}
    for reason, (step, words) in ALSO.items():
        if reason in seen or (reason == "TRANSFER" and told):
            also.setdefault(step, []).append(words)
    return also


def _words(step: tuple[str, str], also: dict[tuple[str, str], list[str]]) -> str:
    here, there = step
    said = PAPER.get(step) or BEYOND.get(step)
    if said is None:
        said = COMES.get(there) if here not in ("start", "paused", "down") else None
    return ",\nor ".join([said or GOES.get(here, ""), *also.get(step, [])])


def _source(taken: dict, now: dict[str, list[str]], also: dict) -> str:
    roles = ["start", "follower", "candidate", "leader"]
    more = (ASKS, "learner", "outside", "down", "paused")
    roles += [role for role in more if any(role in step for step in taken)]
    lines = [
        "digraph roles {",
        '  graph [rankdir=LR bgcolor="transparent" nodesep=0.55 ranksep=0.9 pad=0.2]',
        '  node [fontname="Helvetica" fontsize=12 style=filled fillcolor="tone:sunken"'
        ' color="tone:ink" fontcolor="tone:ink" fixedsize=true width=1.18 penwidth=1.6]',
        '  edge [fontname="Helvetica" fontsize=10.5 arrowsize=0.75]',
    ]
    for role in roles:
        who = now.get(role, [])
        shown = "" if role == "start" else role + ("\n" + _some(who) if who else "")
        lines.append(f"  {_id(role)} [label={_label(shown)} {SHAPES[role]}]")
    # Below the machine, so that its three states stay in one row.
    lines += [f"  {{ rank=same {below} {role} }}" for role, below in BELOW.items() if role in roles]
    steps = list(PAPER) + sorted(step for step in taken if step not in PAPER)
    for step in steps:
        lines.append("  " + _edge(step, taken.get(step), also))
    return "\n".join([*lines, "}"]) + "\n"


def _id(role: str) -> str:
    return role.replace("-", "_")


def _label(text: str) -> str:
    return quoted(text.replace("\n", "\x00")).replace("␀", "\\n")


def _some(names: list[str]) -> str:
    return " ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]}"


def _edge(step: tuple[str, str], who: Counter[str] | None, also: dict) -> str:
    here, there = step
    words = _words(step, also)
    if not who:
        look = 'color="tone:line" fontcolor="tone:dim" penwidth=1'
    else:
        names = sorted(who, key=natural)
        words += f"\n{sum(who.values())}× {_some(names)}"
        wide = min(4.0, 1.6 + 0.4 * (sum(who.values()) - 1))
        look = f'color="tone:ink" fontcolor="tone:ink" penwidth={wide:.1f}'
    back = there == "follower" and here in ("candidate", "leader", ASKS)
    back = back or step == ("candidate", ASKS)
    aside = not {"down", "paused", "learner", "outside"}.isdisjoint(step)
    order = " constraint=false" if back or aside else ""
    return f"{_id(here)} -> {_id(there)} [label={_label(words)} {look}{order}]"


def _text(taken: dict, now: dict[str, list[str]], also: dict) -> str:
    lines = [f"{role}: {' '.join(names)}" for role, names in now.items()]
    for step in sorted(taken):
        who = taken[step]
        told = " ".join(f"{name} {who[name]}×" for name in sorted(who, key=natural))
        lines.append(f"{step[0]} → {step[1]} ({_words(step, also).replace(chr(10), ' ')}): {told}")
    return "\n".join(lines) or "The trace is empty: no node has started yet."
