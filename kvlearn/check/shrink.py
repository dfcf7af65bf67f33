"""Shrinking: the smallest run that one can find which still breaks the same promise.

A run that a sweep has found wrong holds hundreds of acts, and a few of them matter. Delta
debugging leaves out halves, quarters, ... single ones, plays what is left, and keeps it if the
same promise is broken. Then the pauses between the acts are shortened in the same way.

```
  a client's questions, all acts of one kind     whole groups first
  1/2 1/4 1/8 ...                                then parts, down to single acts
  ├──────── 2.1 s ────────┤ → ├─ 0.01 s ─┤       then the time between two acts, and behind the last
```

The luck of network and clocks is drawn as the run goes, so a smaller run may have other luck: it
is judged by what it breaks, not by how. What comes out is a run like any other, which can be
played again, forked, drawn, and written down as a program (`run.script()`).

Source: A. Zeller, R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kvlearn.check.hand import Act
from kvlearn.check.service import NO_STALE_READ
from kvlearn.check.sweep import Run, play_acts, replay
from kvlearn.check.workloads import LINEARIZABILITY

TRIES = 400  # plays at most
SHORTEST_S = 0.001  # a pause between two acts is not made shorter than this
FROM_HISTORY = (NO_STALE_READ, LINEARIZABILITY)  # for these nothing needs to be mended first


class Shrinker:
    """Plays smaller and smaller runs.

    Invariant: `best` breaks `promise`, and is what playing `acts` up to `end_s` gave.
    """

    def __init__(self, run: Run, tries: int):
        self.case, self.promise = run.case, run.promise
        self.left = tries
        self.on_the_way = run.raised is not None  # the promise was found broken during the run
        self.mends = not self.on_the_way and self.promise not in FROM_HISTORY
        self.best = run
        self.acts = run.hand.acts if self.on_the_way else run.acts
        self.end_s = run.cluster.now if self.on_the_way else run.trouble_s

    def attempt(self, acts: Sequence[Act], end_s: float) -> bool:
        """Play these acts; if the same promise breaks, they are the best."""
        if self.left <= 0:
            return False
        self.left -= 1
        slack_s = self.best.hand.longest_s if self.on_the_way else 0.0
        run = play_acts(self.case, acts, end_s + slack_s, self.mends)
        if run.broken is None or run.promise != self.promise:
            return False
        self.best, self.acts, self.end_s = run, run.acts, end_s
        if self.on_the_way:
            self.end_s = run.cluster.now
        elif not self.mends and run.broken.record is not None:
            self.end_s = min(end_s, run.broken.record.time)  # what came later does not matter
        return True

    def groups(self) -> None:
        """Leave out whole groups: the questions of one client, all acts of one kind."""
        for group in sorted({group_of(act) for act in self.acts}):
            rest = [act for act in self.acts if group_of(act) != group]
            if len(rest) < len(self.acts):
                self.attempt(rest, self.end_s)

    def parts(self) -> None:
        """Delta debugging: leave out parts, smaller and smaller, down to single acts."""
        count = 2
        while self.acts and self.left > 0:
            size = -(-len(self.acts) // count)
            at, smaller = 0, False
            while at < len(self.acts):
                rest = self.acts[:at] + self.acts[at + size :]
                if self.attempt(rest, self.end_s):
                    smaller = True  # what was behind the part is now at its place
                else:
                    at += size
            if size == 1 and not smaller:
                return
            count = max(2, -(-len(self.acts) // max(1, size if smaller else size // 2)))

    def pauses(self) -> None:
        """Let less time pass before the first act, between two of them, and behind the last."""
        for at in reversed(range(len(self.acts) + 1)):
            for keeps in (0.0, 0.25, 0.6):
                if at <= len(self.acts) and self.attempt(*self._sooner(at, keeps)):
                    break

    def round(self) -> None:
        """Times in whole milliseconds read better, and nothing else is gained."""
        acts = [replace(act, at_s=round(act.at_s, 3)) for act in self.acts]
        self.attempt(acts, round(self.end_s + 0.0005, 3))

    def _sooner(self, at: int, keeps: float) -> tuple[list[Act], float]:
        """The acts from number `at` on, and the end, after a part of the pause only."""
        before = self.acts[at - 1].at_s if at else 0.0
        after = self.acts[at].at_s if at < len(self.acts) else self.end_s
        pause_s = after - before
        saved_s = max(0.0, pause_s - max(SHORTEST_S, keeps * pause_s))
        moved = [replace(act, at_s=act.at_s - saved_s) for act in self.acts[at:]]
        return self.acts[:at] + moved, self.end_s - saved_s


def group_of(act: Act) -> str:
    """The client whose question it is, or the kind of trouble."""
    return act.arguments[1] if act.verb == "ask" else act.verb


def shrink(failing: Any, tries: int = TRIES, tell: Callable[[Run], None] | None = None) -> Run:
    """A smaller run that breaks the same promise as `failing`, after at most `tries` plays.

    `failing` is a run, a case, or what a sweep's table has: a row, or its `replay`. `tell` hears
    of the best run after each round.

    Raises: ValueError if nothing is broken, or if the acts alone do not break it again.
    """
    run = failing if isinstance(failing, Run) else replay(failing)
    if run.broken is None:
        raise ValueError(f"no promise is broken, so there is nothing to shrink: {run.case.line()}")
    shrinker = Shrinker(run, tries)
    if not shrinker.attempt(shrinker.acts, shrinker.end_s):
        raise ValueError(
            f"the acts alone do not break {run.promise} again: does the workload do something "
            "that its hand does not know of?"
        )
    shrinker.groups()
    size = -1
    while shrinker.left > 0 and size != (size := len(shrinker.acts)):
        shrinker.parts()
        shrinker.pauses()
        if tell is not None:
            tell(shrinker.best)
    shrinker.round()
    return shrinker.best
