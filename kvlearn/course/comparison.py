r"""Two runs side by side: the same scene with Raft and with a broken rule, and where they part.

>>> from kvlearn.course.mutants import VotesTwice
>>> text = "cluster 3\ncampaign n1 n2\nready n1 n2\ndeliver n1→n3\nready n3\ndeliver n2→n3\n"
>>> for line in compare(text, VotesTwice).first:
...     print(line.strip())
n3 refuses n2's vote request in term 1: my vote of term 1 went to n1
n3 votes for n2 in term 1
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from html import escape
from typing import Any

from kvlearn.check.invariants import invariants
from kvlearn.check.leases import leases
from kvlearn.check.watches import watches
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.page import COLOURS, MONO
from kvlearn.course.verdicts import line_of
from kvlearn.errors import Violation
from kvlearn.events import (
    BecameCandidate,
    BecameFollower,
    BecameLeader,
    Committed,
    Crashed,
    Healed,
    Invoked,
    LeaseExpired,
    LeaseRenewed,
    LeasesCounted,
    LinksCut,
    Notified,
    Paused,
    Refused,
    Resumed,
    Returned,
    Started,
    Truncated,
    VoteGranted,
    WatchAsked,
)
from kvlearn.kv.config import StoreConfig
from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft.raft import Raft
from kvlearn.sim.script import play
from kvlearn.trace import Record

ALIKE = 3  # lines that are alike and are shown on each side of a difference
DECISIONS = (
    (BecameCandidate, BecameFollower, BecameLeader, VoteGranted, Refused, Truncated, Committed)
    + (Started, Crashed, Paused, Resumed, LinksCut, Healed, Invoked, Returned)
)  # fmt: skip
WATCHED = Invoked, WatchAsked, Notified, Started, Crashed, LinksCut, Healed
# class -> its place in StoreConfig, the check of its promises, the records that tell of it
COUNTED = Invoked, Returned, LeasesCounted, LeaseRenewed, LeaseExpired, Started, Crashed, LinksCut
STORE_PARTS = {
    WatchHub: ("hub", watches, WATCHED),
    Lessor: ("lessor", leases, (*COUNTED, Healed, BecameLeader)),
}


def compare(
    scene: str | Callable,
    mutant: type,
    reference: type | None = None,
    size: int = 5,
    seed: int = 1,
    **store: Any,
) -> Comparison:
    """Play `scene` with both classes: a transcript, told whole, or a function of a cluster, of
    which the decisions are told.

    `mutant` is a kind of Raft (the default reference), of WatchHub or of Lessor; then `store` are
    other fields of StoreConfig, and what the watchers are told is told, or how leases are counted.

    Raises: what the scene raises, but for a broken promise, which is what is to be seen.
    """
    part = next((part for part in STORE_PARTS if issubclass(mutant, part)), None)
    reference = reference or part or Raft
    if part is not None:
        one, other = (_tell_store(scene, c, part, size, seed, store) for c in (reference, mutant))
    else:
        one, other = (_tell(scene, raft, size, seed) for raft in (reference, mutant))
    return Comparison(one, other, reference.__name__, mutant.__name__)


def _tell(scene: str | Callable, raft: type[Raft], size: int, seed: int) -> list[str]:
    if isinstance(scene, str):
        playback = play(scene, raft)
        broken = playback.verdicts().broken
        lines = playback.text.splitlines()
    else:
        cluster = BoundedCluster(size, seed=seed, raft=raft)
        try:
            scene(cluster)
        except Violation:
            pass
        broken = invariants(cluster.trace).broken
        lines = [line_of(record) for record in cluster.trace.of(*DECISIONS) if _is_news(record)]
    told = [f"✗ {verdict.promise} is broken: {verdict.why}" for verdict in broken[:1]]
    return lines + (told or ["✓ every promise is kept"])


def _tell_store(
    scene: Callable, cls: type, part: type, size: int, seed: int, store: dict[str, Any]
) -> list[str]:
    place, judge, words = STORE_PARTS[part]
    cluster = BoundedCluster(size, seed=seed, store=StoreConfig(**{**store, place: cls}))
    scene(cluster)
    lines = [line_of(record) for record in cluster.trace.of(*words) if _is_news(record)]
    broken = judge(cluster.trace).broken
    told = [f"✗ {verdict.promise} is broken: {verdict.why}" for verdict in broken[:1]]
    return lines + (told or ["✓ every promise is kept"])


def _is_news(record: Record) -> bool:
    """A follower that only learns of a term or of its leader is none."""
    event = record.event
    if isinstance(event, Started):
        return event.boot > 1
    return not isinstance(event, BecameFollower) or event.reason == "ELECTION_LOST"


class Comparison:
    """Two stories; shows itself as two columns. `first` is the first pair of lines that differ."""

    def __init__(self, one: list[str], other: list[str], name: str, other_name: str):
        self.names = (name, other_name)
        self.rows = _pair(one, other)

    @property
    def first(self) -> tuple[str, str] | None:
        """The first difference: what the reference told, and what the mutant told in its place."""
        return next((row for row in self.rows if row[0] != row[1]), None)

    def _kept(self) -> list[tuple[str, str] | int]:
        """The rows to show; a number stands for so many that are alike."""
        near = [
            any(a != b for a, b in self.rows[max(0, n - ALIKE) : n + ALIKE + 1])
            for n in range(len(self.rows))
        ]
        kept: list[tuple[str, str] | int] = []
        for row, show in zip(self.rows, near):
            if show:
                kept.append(row)
            elif kept and isinstance(kept[-1], int):
                kept[-1] += 1
            else:
                kept.append(1)
        return kept

    def _repr_html_(self) -> str:
        side = (
            "text-align:left;vertical-align:top;padding:1px 14px 1px 0;background:none;width:50%;"
        )
        head = "".join(f"<th style='{side}'>{escape(name)}</th>" for name in self.names)
        told = "".join(_row(row, side) for row in self._kept())
        style = (
            f"font-family:{MONO};font-size:var(--jp-code-font-size,13px);"
            f"color:{COLOURS['ink']};border:none;border-collapse:collapse;"
            "width:100%;table-layout:fixed;"
        )
        top = f"<tr style='background:none'>{head}</tr>"
        return f"<table class='kvlearn-comparison' style='{style}'>{top}{told}</table>"

    def __str__(self) -> str:
        lines = [f"- {self.names[0]}   + {self.names[1]}"]
        for row in self._kept():
            if isinstance(row, int):
                lines.append(f"  … {row} lines alike")
            elif row[0] == row[1]:
                lines.append(f"  {row[0]}")
            else:
                lines += [f"{sign} {text}" for sign, text in zip("-+", row) if text]
        return "\n".join(lines)

    __repr__ = __str__


def _row(row: tuple[str, str] | int, side: str) -> str:
    plain = "<tr style='background:none'>"
    if isinstance(row, int):
        said = f"… {row} lines alike"
        return f"{plain}<td colspan='2' style='{side}color:{COLOURS['dim']}'>{said}</td></tr>"
    wrap = "white-space:pre-wrap;"
    if row[0] == row[1]:
        cell = f"<td style='{side}{wrap}color:{COLOURS['dim']}'>{escape(row[0])}</td>"
        return f"{plain}{cell}{cell}</tr>"
    strong = f"font-weight:600;border-left:3px solid {COLOURS['line']};padding-left:8px;"
    other = f"font-weight:600;border-left:3px solid {COLOURS['fault']};padding-left:8px;"
    return (
        f"{plain}<td style='{side}{wrap}{strong}'>{escape(row[0])}</td>"
        f"<td style='{side}{wrap}{other}'>{escape(row[1])}</td></tr>"
    )


def _pair(one: list[str], other: list[str]) -> list[tuple[str, str]]:
    """Lines beside each other; an empty one stands where one story has nothing."""
    rows: list[tuple[str, str]] = []
    matcher = difflib.SequenceMatcher(a=one, b=other, autojunk=False)
    for _, a, a_end, b, b_end in matcher.get_opcodes():
        left, right = one[a:a_end], other[b:b_end]
        size = max(len(left), len(right))
        left, right = left + [""] * (size - len(left)), right + [""] * (size - len(right))
        rows += zip(left, right)
    return rows
