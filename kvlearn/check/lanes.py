"""Client lanes as plain data: who asked what from when to when, and in which order it took effect.

This is what a picture is drawn from (`kvlearn.viz.lanes` draws it; plain data, because readers on
one floor do not know each other) and what the text twin and the table say:

    {"bars": [{"client", "row", "text", "call", "return", "moment", "place", "kind", "core",
               "when", "told"}, ...],
     "rows": [client, ...], "order": [text, ...], "start", "end", "left_out", "verdict", "why",
     "text"}

A bar's `kind` is "placed" (it has the `place`-th moment of the order, at time `moment`), "stuck"
(it can come nowhere after those), "left" (not looked at any more) or "never" (its outcome is
unknown and nothing speaks for it). A `return` of None: no answer came. A client that asks several
things at once has several rows.
"""

from __future__ import annotations

from math import inf
from typing import Any

from kvlearn.check.histories import Operation


def lanes_of(verdict: Any, limit: int) -> dict[str, Any]:
    """The lanes of a verdict (`Linearizability`), with at most `limit` operations."""
    model, order = verdict.model, verdict.order
    places = {id(op): place for place, op in enumerate(order, start=1)}
    moments = dict(zip(places, moments_of(order)))
    part = verdict.model.partition(verdict.history).get(verdict.key, verdict.history)
    chosen = chosen_of(verdict, part, limit)
    core = {id(op) for op in verdict.core}
    bars = []
    for op in chosen:
        place = places.get(id(op))
        kind = "placed" if place else "left" if op.known else "never"
        if op is verdict.stuck:
            kind = "stuck"
        bars.append(
            {
                "client": str(op.client),
                "text": brief(model.describe_operation(op.input, op.told)),
                "call": op.call_s,
                "return": op.return_s if op.known else None,
                "place": place,
                "moment": moments.get(id(op)),
                "kind": kind,
                "core": id(op) in core,
                "when": span(op),
                "told": said(kind, place, id(op) in core),
            }
        )
    rows = rows_of(bars)
    ends = [bar["return"] for bar in bars if bar["return"] is not None]
    data = {
        "bars": bars,
        "rows": rows,
        "order": [brief(model.describe_operation(op.input, op.told)) for op in order],
        "start": min((bar["call"] for bar in bars), default=0.0),
        "end": max([*ends, *(bar["call"] for bar in bars)], default=0.0),
        "left_out": len(part) - len(chosen),
        "verdict": verdict.verdict,
        "why": verdict.why,
    }
    return {**data, "text": text_of(data)}


def chosen_of(verdict: Any, part: list[Operation], limit: int) -> list[Operation]:
    """The operations to show: the core, what was under way with the one that is stuck, then the
    newest of the order; for a legal history the first ones."""
    ranked: list[Operation] = [*verdict.core]
    stuck = verdict.stuck
    if stuck is not None:
        ranked.append(stuck)
        near = [op for op in part if op.call_s <= stuck.return_s and end_of(op) >= stuck.call_s]
        ranked += [op for op in near if op.known]
        ranked += verdict.order[::-1]
    else:
        ranked += verdict.order
    ranked += part
    kept: dict[int, Operation] = {}
    for op in ranked:
        if len(kept) < limit:
            kept.setdefault(id(op), op)
    return sorted(kept.values(), key=lambda op: (op.call_s, end_of(op)))


def moments_of(order: list[Operation]) -> list[float]:
    """A moment for each operation of a legal order: within its bar, and one after the other."""
    floors, floor = [], -inf
    for op in order:
        floor = max(floor, op.call_s)
        floors.append(floor)
    ceilings, ceiling = [], inf
    for op in reversed(order):
        ceiling = min(ceiling, end_of(op))
        ceilings.append(ceiling)
    ceilings.reverse()
    moments: list[float] = []
    first = 0
    while first < len(order):
        last = first  # the run of operations that waited for the same call
        while last < len(order) and floors[last] == floors[first]:
            last += 1
        room = min(ceilings[first], floors[last] if last < len(order) else inf)
        if room == inf:
            room = floors[first] + 1.0
        share = (room - floors[first]) / (last - first + 1)
        moments += [floors[first] + share * (k + 1) for k in range(last - first)]
        first = last
    return moments


def rows_of(bars: list[dict[str, Any]]) -> list[str]:
    """Give every bar a `row` where it overlaps no other; returns the client of each row."""
    rows: list[tuple[str, float]] = []  # client, when the row's last bar ends
    for client in sorted({bar["client"] for bar in bars}, key=natural):
        mine: list[int] = []
        for bar in bars:
            if bar["client"] != client:
                continue
            free = [row for row in mine if rows[row][1] < bar["call"]]
            if not free:
                mine.append(len(rows))
                rows.append((client, -inf))
                free = mine[-1:]
            bar["row"] = free[0]
            rows[free[0]] = (client, inf if bar["return"] is None else bar["return"])
    return [client for client, _ in rows]


def natural(name: str) -> tuple:
    """A sorting key that puts c2 before c10."""
    head = name.rstrip("0123456789")
    return head, int(name[len(head) :] or -1)


def end_of(operation: Operation) -> float:
    """When it returned; infinity if it did not."""
    return operation.return_s if operation.known else inf


def span(operation: Operation) -> str:
    """`(0 to 1)`, in seconds or whatever the history counts in."""
    if not operation.known:
        return f"({operation.call_s:.7g}, no answer)"
    return f"({operation.call_s:.7g} to {operation.return_s:.7g})"


def brief(text: str, limit: int = 96) -> str:
    """A long answer with its beginning and its end, where answers differ.

    >>> brief("read → abcdefghijklmnopqrstuvwxyz", limit=20)
    'read → abcd…tuvwxyz'
    """
    half = limit // 2
    return text if len(text) <= limit else f"{text[: half + 1]}…{text[3 - half :]}"


def said(kind: str, place: int | None, core: bool) -> str:
    """What a table says of an operation's moment."""
    told = {
        "placed": f"number {place}",
        "stuck": "nowhere",
        "left": "not looked for",
        "never": "never needed",
    }[kind]
    return f"{told}; of the core" if core else told


def text_of(data: dict[str, Any]) -> str:
    """The lanes in words, a line an operation, in the order of calls."""
    lines = [data["why"]]
    for bar in data["bars"]:
        lines.append(f"{bar['client']}: {bar['text']} {bar['when']}: {bar['told']}")
    if data["left_out"]:
        lines.append(f"{data['left_out']} more are not shown")
    return "\n".join(lines)
