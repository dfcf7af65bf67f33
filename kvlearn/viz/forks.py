"""A transaction as a fork: what it compared, which way it went, what came of it.

On top the if-list: a tick or a cross for each comparison, and the value that it saw. Below it the
two branches: the one that was taken in full colour, the other pale. All effects of the branch that
was taken share one revision, which stands at the foot; a transaction that changes nothing leaves
the revision as it was. A nested transaction is decided at the same moment, before anything is done.
"""

from __future__ import annotations

from typing import Any

from kvlearn.kv.requests import prefix_end
from kvlearn.kv.txn import SIGNS, Compare, Txn
from kvlearn.mvcc.revision import short
from kvlearn.trace import Trace
from kvlearn.viz.revisions import nothing
from kvlearn.viz.store_fold import Change, StoreMoment, look_store, machine_at
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
from kvlearn.viz.txn_fold import Fork, Seen, judge

WIDE = 640.0
IF = 420.0  # the width of the if-list
BRANCH = 292.0
ROW = 22.0
SHOWN = 9  # so many comparisons and operations of a list
SMALL = SIZES["small"]
PALE = 0.38


def fork(
    subject: Any,
    at: float | None = None,
    seq: int | None = None,
    *,
    index: int | None = None,
    revision: Any = None,
) -> Svg:
    """Draw the last transaction that was applied: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    `index` or `revision`: the transaction of that log entry, or the one that made that revision
    (or the reply that its client got).
    Raises: ValueError if there is no such transaction.
    """
    store = look_store(subject, at, seq)
    revision = getattr(getattr(revision, "header", revision), "revision", revision)
    found = [
        one
        for one in store.forks
        if index in (None, one.index) and (revision is None or _made(one, revision))
    ]
    if not found:
        if index is not None or revision is not None:
            which = f"log entry {index}" if index is not None else f"revision {revision}"
            raise ValueError(f"{which} is no transaction that was applied by then")
        told = "No transaction was applied yet." if len(store.trace) else ""
        return nothing("fork", store, told)
    one = found[-1]
    changes = [change for change in store.changes if change.index == one.index]
    return _draw(one, changes, store, done=True)


def fork_now(txn: Txn, subject: Any, at: float | None = None, seq: int | None = None) -> Svg:
    """Draw which way a transaction would go if it were applied now (or at `at`, or `seq`).

    `txn` is a `kv.txn.Txn`, or whatever has one as its `.txn` or `.request`.
    """
    for name in ("txn", "request"):
        if not isinstance(txn, Txn):
            txn = getattr(txn, name, txn)
    if not isinstance(txn, Txn):
        raise TypeError(f"a fork is drawn of a transaction, not of {type(txn).__name__}")
    store = look_store(subject, at, seq)
    trace: Trace = store.trace
    machine = machine_at(trace, store.seq)
    machine.store.revision = store.revision
    return _draw(judge(txn, machine.store), [], store, done=False)


def _made(one: Fork, revision: int) -> bool:
    return one.revision == revision and one.before < revision


def _draw(one: Fork, changes: list[Change], store: StoreMoment, done: bool) -> Svg:
    y = 34.0
    head = _head(one, store, done)
    ifs, high = _if_list(one, y)
    split = y + high
    top = split + 42
    branches, feet = _branches(one, split, top, done)
    foot = max(feet)
    end, bottom = _effects(one, changes, foot + 34, done)
    lines = _joins(one, feet, foot + 34)
    body = [head, group(lines, class_="kv-ways"), ifs, *branches, end]
    text = _text(one, changes, done)
    hooks = {
        "data_kv_seq": store.seq,
        "data_kv_time": num(store.time),
        "data_kv_fork": one.index or "now",
        "data_kv_succeeded": str(one.succeeded).lower(),
        "data_kv_revision": one.revision if one.revision > one.before else None,
    }
    title = _title(one, done)
    return Svg("fork", "".join(body), WIDE, bottom + 16, title, text.replace("\n", "; "), text,
               hooks)  # fmt: skip


def _head(one: Fork, store: StoreMoment, done: bool) -> Markup:
    if done:
        told = f"{one.time:.3f} s · log entry {one.index} of term {one.term}"
        told += f" · decided at revision {one.before}"
    else:
        told = f"{store.time:.3f} s · not asked yet · would be decided at revision {one.before}"
    return label(14, 18, told, size=SMALL, tone="dim", halo=False)


# The if-list --------------------------------------------------------------------------------


def _if_list(one: Fork, y: float) -> tuple[Markup, float]:
    left = (WIDE - IF) / 2
    shown = one.seen[:SHOWN]
    rows = max(1, len(shown)) + (len(one.seen) > SHOWN)
    high = 30 + ROW * rows
    look = {"fill": tone("sunken"), "stroke": tone("ink"), "stroke_width": 1.6, "rx": 6}
    parts = [
        el("rect", x=left, y=y, width=IF, height=high, **look),
        label(left + 12, y + 18, "if", bold=True, halo=False),
        label(left + IF - 12, y + 18, "it saw", size=SMALL, tone="dim", anchor="end", halo=False),
    ]
    for place, seen in enumerate(shown):
        parts.append(_compare(seen, left, y + 26 + ROW * place))
    if not shown:
        told = "nothing is asked: always “then”"
        parts.append(label(left + 32, y + 41, told, tone="dim", halo=False))
    if len(one.seen) > SHOWN:
        hidden = one.seen[SHOWN:]
        fail = sum(not seen.holds for seen in hidden)
        told = f"… {len(hidden)} more, of which {fail} do not hold"
        at = y + 26 + ROW * SHOWN + 15
        parts.append(label(left + 32, at, told, size=SMALL, tone="dim", halo=False))
    return group(parts, class_="kv-if"), high


def _compare(seen: Seen, left: float, y: float) -> Markup:
    told = one_line(str(seen.compare))
    saw = fit(one_line(seen.saw), 150, SMALL)
    title = f"{told}: saw {seen.saw}, {'holds' if seen.holds else 'does not hold'}"
    style = {"tone": "ink" if seen.holds else "fault", "halo": False}
    parts = [
        el("title", title),
        _sign(seen.holds, left + 19, y + 10),
        label(left + 32, y + 15, _comparison(seen.compare, IF - 32 - 176), **style),
        label(left + IF - 12, y + 15, saw, size=SMALL, anchor="end", **style),
    ]
    return group(parts, data_kv_compare=str(seen.compare), data_kv_holds=str(seen.holds).lower())


def _comparison(compare: Compare, room: float) -> str:
    """A comparison in `room`: what is too long loses of its key and operand, not of its sign."""
    told, keep = one_line(str(compare)), 24
    while width(told, SIZES["text"]) > room and keep > 4:
        keep -= 1
        key, end = short(compare.key, keep), compare.range_end
        where = f"{key}*" if end == prefix_end(compare.key) else f"{key} …" if end else key
        operand = compare.operand
        right = short(operand, keep) if isinstance(operand, bytes) else operand
        told = one_line(f"{where} {compare.target} {SIGNS[compare.result]} {right}")
    return fit(told, room)


def _sign(holds: bool, x: float, y: float) -> Markup:
    if not holds:
        return cross(x, y, 4.5, stroke=tone("fault"), stroke_width=2.2)
    way = path((x - 5, y), (x - 1.5, y + 4), (x + 5, y - 4.5))
    look = {"fill": "none", "stroke": tone("good"), "stroke_width": 2.2}
    return el("path", d=way, stroke_linecap="round", stroke_linejoin="round", **look)


# The branches -------------------------------------------------------------------------------


def _branches(one: Fork, split: float, top: float, done: bool) -> tuple[list[Markup], list[float]]:
    """Both branches and the ways to them; how far down each reaches."""
    drawn, feet = [], []
    for taken, ops, name, middle in _sides(one):
        said = "not taken" if not taken else "taken" if done else "would be taken"
        box, high = _branch(one, ops, f"{name}: {said}", taken, middle - BRANCH / 2, top)
        colour = _colour(one) if taken else tone("dim")
        start = WIDE / 2 + (middle - WIDE / 2) * 0.28
        bend = (split + top) / 2
        way = (
            f"M{num(start)},{num(split)} C{num(start)},{num(bend + 8)} "
            f"{num(middle)},{num(bend - 8)} {num(middle)},{num(top)}"
        )
        look = {"fill": "none", "stroke": colour, "stroke_width": 4 if taken else 1.4}
        if not taken:
            look["stroke_dasharray"] = "4 4"
        drawn += [el("path", d=way, **look), box]
        feet.append(top + high)
    return drawn, feet


def _sides(one: Fork) -> list[tuple[bool, tuple, str, float]]:
    """(taken, operations, name, middle) of the two branches, left and right."""
    ran = not one.error
    gap = BRANCH / 2 + 8
    return [
        (ran and one.succeeded, one.success, "then", WIDE / 2 - gap),
        (ran and not one.succeeded, one.failure, "else", WIDE / 2 + gap),
    ]


def _colour(one: Fork) -> str:
    return term_colour(one.term) if one.term else tone("good")


def _branch(
    one: Fork, ops: tuple, name: str, taken: bool, x: float, y: float
) -> tuple[Markup, float]:
    lines = operation_lines(ops)
    hidden = max(0, len(lines) - SHOWN)
    rows = max(1, min(len(lines), SHOWN) + (hidden > 0))
    high = 30 + ROW * rows
    look = {"fill": tone("surface"), "stroke": _colour(one) if taken else tone("dim"), "rx": 6}
    look |= {"stroke_width": 2.6 if taken else 1.2, "stroke_dasharray": None if taken else "4 4"}
    parts = [
        el("rect", x=x, y=y, width=BRANCH, height=high, **look),
        label(x + 12, y + 18, name, bold=True, halo=False),
    ]
    for place, (depth, sign, words, dead) in enumerate(lines[:SHOWN]):
        at, left = y + 26 + ROW * place, x + 14 + 14 * depth
        drawn = [el("title", words)]
        if sign is not None:
            drawn.append(_sign(sign, left + 4, at + 10))
            left += 14
        shown = fit(words, x + BRANCH - 10 - left)
        drawn.append(label(left, at + 15, shown, tone="dim" if dead else "ink", halo=False))
        pale = PALE if dead and taken else None
        parts.append(group(drawn, opacity=pale, data_kv_operation=words))
    if not lines:
        parts.append(label(x + 14, y + 41, "nothing", tone="dim", halo=False))
    if hidden:
        at = y + 26 + ROW * SHOWN + 15
        parts.append(label(x + 14, at, f"… {hidden} more", size=SMALL, tone="dim", halo=False))
    hooks = {"data_kv_branch": name.split(":")[0], "data_kv_taken": str(taken).lower()}
    return group(parts, opacity=None if taken else PALE, **hooks), high


def operation_lines(
    ops: tuple, depth: int = 0, dead: bool = False
) -> list[tuple[int, bool | None, str, bool]]:
    """(depth, tick or cross, words, not carried out) of all operations, nested ones indented."""
    lines: list[tuple[int, bool | None, str, bool]] = []
    for op in ops:
        if not isinstance(op, Fork):
            lines.append((depth, None, one_line(str(op)), dead))
            continue
        for seen in op.seen:
            told = f"if {seen.compare} (saw {seen.saw})"
            lines.append((depth, seen.holds, one_line(told), dead))
        if not op.seen:
            lines.append((depth, True, "if nothing is asked", dead))
        for taken, branch, name in (
            (op.succeeded, op.success, "then"),
            (not op.succeeded, op.failure, "else"),
        ):
            if branch:
                lines.append((depth, None, f"{name}:", dead or not taken))
                lines += operation_lines(branch, depth + 1, dead or not taken)
    return lines


# What came of it ----------------------------------------------------------------------------


def _joins(one: Fork, feet: list[float], end: float) -> list[Markup]:
    """From the branch that was taken down to its revision."""
    parts = []
    foot = max(feet)
    for (taken, _, _, middle), own in zip(_sides(one), feet):
        if taken:
            bend = (foot + end) / 2
            way = (
                f"M{num(middle)},{num(own)} L{num(middle)},{num(foot)} "
                f"C{num(middle)},{num(bend + 6)} {num(WIDE / 2)},{num(bend - 6)} "
                f"{num(WIDE / 2)},{num(end)}"
            )
            parts.append(el("path", d=way, fill="none", stroke=_colour(one), stroke_width=4))
    return parts


def _effects(one: Fork, changes: list[Change], y: float, done: bool) -> tuple[Markup, float]:
    """One revision for all of it, and below it what changed."""
    told = _outcome(one, done)
    moved = done and one.revision > one.before
    wide, high = 270.0, 26.0
    x = (WIDE - wide) / 2
    fill = _colour(one) if moved else tone("sunken")
    ink = text_on(_colour(one)) if moved else tone("fault" if one.error else "ink")
    look = {"fill": fill, "stroke": tone("fault" if one.error else "ink"), "stroke_width": 1.4}
    lines = wrap(told, wide - 50, SIZES["text"], 3) if one.error else [fit(told, wide - 16)]
    high += 16 * (len(lines) - 1)
    parts = [el("rect", x=x, y=y, width=wide, height=high, rx=13, **look)]
    style = {"anchor": "middle", "halo": False, "fill": ink, "bold": True}
    for number, line in enumerate(lines):
        parts.append(label(WIDE / 2, y + 17.5 + 16 * number, line, **style))
    bottom = y + high
    for change in changes[:SHOWN]:
        bottom += 18
        style = {"anchor": "middle", "halo": False, "size": SMALL}
        words = fit(one_line(_effect(change)), WIDE - 60, SMALL)
        mark = {"data_kv_revision": change.revision, "data_kv_sub": change.at.sub}
        parts.append(group([label(WIDE / 2, bottom, words, **style)], **mark))
    if len(changes) > SHOWN:
        bottom += 18
        told = f"… {len(changes) - SHOWN} more"
        style = {"anchor": "middle", "halo": False, "size": SMALL, "tone": "dim"}
        parts.append(label(WIDE / 2, bottom, told, **style))
    return group(parts, class_="kv-effects"), bottom


def _outcome(one: Fork, done: bool) -> str:
    if not done:
        return f"would take “{'then' if one.succeeded else 'else'}”"
    if one.error:
        return f"refused: {one.error}"
    if one.revision > one.before:
        return f"revision {one.revision}"
    return f"revision stays {one.revision}: nothing changed"


def _effect(change: Change) -> str:
    verb = {"create": "creates", "modify": "changes", "delete": "deletes"}[change.kind]
    told = short(change.kv.key) if change.kind == "delete" else str(change.kv)
    gone = f" (removed since, compacted at {change.removed})" if change.removed else ""
    return f"{change.at} {verb} {told}{gone}"


def _title(one: Fork, done: bool) -> str:
    way = "then" if one.succeeded else "else"
    if not done:
        return f"A transaction that would take its {way} branch"
    if one.error:
        return f"The transaction of log entry {one.index}, refused"
    return f"The transaction of log entry {one.index} took its {way} branch"


def _text(one: Fork, changes: list[Change], done: bool) -> str:
    """The fork as lines; `+` holds or runs, `-` does not."""
    lines = [_title(one, done), f"decided at revision {one.before}", "if"]
    lines += [
        f"  {'+' if seen.holds else '-'} {seen.compare} (saw {seen.saw})" for seen in one.seen
    ] or ["  nothing is asked"]
    for taken, ops, name, _ in _sides(one):
        lines.append(f"{name} ({'taken' if taken else 'not taken'})")
        for depth, sign, words, dead in operation_lines(ops, dead=not taken):
            flag = "" if sign is None else "holds: " if sign else "does not hold: "
            lines.append(f"  {'  ' * depth}{'-' if dead else '+'} {flag}{words}")
    lines.append(_outcome(one, done))
    lines += [f"  {_effect(change)}" for change in changes]
    return "\n".join(one_line(line) for line in lines)
