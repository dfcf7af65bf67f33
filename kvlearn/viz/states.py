"""The role state machine of Raft (figure 4), with the transitions that this run took.

Pale arrows are what the paper allows; a strong arrow was taken, with how often and by whom. The
table of the paper's transitions is `PAPER`; crashes and pauses join in when they happened.

Source: paper figure 4.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from kvlearn import events as ev
from kvlearn.trace import Trace
from kvlearn.viz.dot import Graph, quoted
from kvlearn.viz.moment import Moment, seq_at, trace_of
from kvlearn.viz.nodes import natural

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
BEYOND = {
    "down": "crashes",
    "paused": "is paused",
    ("down", "follower"): "restarts",
    "paused again": "goes on",
}
BELOW = {"learner": "follower", "down": "candidate", "paused": "leader"}
SHAPES = {
    "start": 'shape=point width=0.14 color="tone:ink"',
    "follower": "shape=circle",
    "candidate": 'shape=circle style="filled,dashed"',
    "leader": "shape=doublecircle",
    "learner": 'shape=circle style="filled,dotted"',
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
    text = _text(taken, now)
    return Graph("states", _source(taken, now), title, text.replace("\n", "; "), text)


def transitions(
    trace: Trace, end: int
) -> tuple[dict[tuple[str, str], Counter[str]], dict[str, list[str]]]:
    """Who took which transition how often, up to record `end`; and who is in which role then."""
    taken: dict[tuple[str, str], Counter[str]] = {}
    moment = Moment(trace)
    for record in trace[: end + 1]:
        before = moment.nodes.get(record.node)
        role = before.role if before is not None else "start"
        moment.apply(record)
        after = moment.nodes.get(record.node)
        if after is None:
            continue
        # A candidate that times out is a candidate again: an arrow to itself.
        again = type(record.event) is ev.BecameCandidate
        if after.role != role or (again and role == "candidate"):
            taken.setdefault((role, after.role), Counter())[record.node] += 1
    now: dict[str, list[str]] = {}
    for name in moment.names:
        now.setdefault(moment.nodes[name].role, []).append(name)
    return taken, now


def _words(step: tuple[str, str]) -> str:
    if step in PAPER:
        return PAPER[step]
    here, there = step
    if here == "start":
        return PAPER["start", "follower"]
    if there in ("down", "paused"):
        return BEYOND[there]
    return BEYOND["paused again"] if here == "paused" else BEYOND["down", "follower"]


def _source(taken: dict, now: dict[str, list[str]]) -> str:
    roles = ["start", "follower", "candidate", "leader"]
    roles += [r for r in ("learner", "down", "paused") if any(r in step for step in taken)]
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
        lines.append(f"  {role} [label={_label(shown)} {SHAPES[role]}]")
    # Below the machine, so that its three states stay in one row.
    lines += [f"  {{ rank=same {below} {role} }}" for role, below in BELOW.items() if role in roles]
    steps = list(PAPER) + sorted(step for step in taken if step not in PAPER)
    for step in steps:
        lines.append("  " + _edge(step, taken.get(step)))
    return "\n".join([*lines, "}"]) + "\n"


def _label(text: str) -> str:
    return quoted(text.replace("\n", "\x00")).replace("␀", "\\n")


def _some(names: list[str]) -> str:
    return " ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]}"


def _edge(step: tuple[str, str], who: Counter[str] | None) -> str:
    here, there = step
    words = _words(step)
    if not who:
        look = 'color="tone:line" fontcolor="tone:dim" penwidth=1'
    else:
        names = sorted(who, key=natural)
        words += f"\n{sum(who.values())}× {_some(names)}"
        wide = min(4.0, 1.6 + 0.4 * (sum(who.values()) - 1))
        look = f'color="tone:ink" fontcolor="tone:ink" penwidth={wide:.1f}'
    back = (here, there) in (("candidate", "follower"), ("leader", "follower"))
    order = " constraint=false" if back or "down" in step or "paused" in step else ""
    return f"{here} -> {there} [label={_label(words)} {look}{order}]"


def _text(taken: dict, now: dict[str, list[str]]) -> str:
    lines = [f"{role}: {' '.join(names)}" for role, names in now.items()]
    for step in sorted(taken):
        who = taken[step]
        told = " ".join(f"{name} {who[name]}×" for name in sorted(who, key=natural))
        lines.append(f"{step[0]} → {step[1]} ({_words(step).replace(chr(10), ' ')}): {told}")
    return "\n".join(lines) or "The trace is empty: no node has started yet."
