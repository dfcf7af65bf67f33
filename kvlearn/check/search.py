"""The search for an order: which of the operations that may come next comes next?

An operation may come next if no other that is still to be placed returned before it was called.
The search places one, goes on, and comes back if it gets stuck:

```
    c1  ├─ write 1 ─┤               c1  ├──●────────┤       write 1 first, then read → 1,
    c2     ├─ read → 1 ─┤           c2     ├───●────┤       and nothing is left: legal
    c3        ├─ write 2 ─┤         c3        ├───●───┤
```

Four things keep it short. It never looks twice at the same set of placed operations with the same
state (Lowe). The set is a window over the operations in order of their calls, so it stays a small
number however long the history is. A read that fits now is placed now: it changes nothing, so
nothing is lost. And an operation whose outcome nobody knows is tried only when the others are
stuck, and never where a smaller choice of them had led to the same place.

Source: J. Wing, C. Gong, Testing and Verifying Concurrent Objects (1993); G. Lowe, Testing for
Linearizability (2017). Differs: unknown operations are optional instead of returning at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any

from kvlearn.check.histories import UNKNOWN, Operation
from kvlearn.check.models import Model

OK, VIOLATED, UNKNOWN_VERDICT = "ok", "violated", "unknown"
LOOK_EVERY = 512  # steps between two looks at the deadline


class OutOfBudget(Exception):
    """The search was ended before it had an answer."""


class Frame:
    """One place in the search: what is placed, the state, and what has not been tried yet.

    `base` and `window`: all known operations before `base` are placed, and those whose bit is set
    from there on. `used`: a bit for each optional operation. `depth`: how many are placed.
    """

    __slots__ = ("base", "window", "used", "state", "choices", "depth", "limit")

    def __init__(self, base: int, window: int, used: int, state: Any):
        self.base, self.window, self.used, self.state = base, window, used, state
        self.choices: Iterator[int] = iter(())
        self.depth = 0
        self.limit = inf  # the earliest return among what is to be placed


class Search:
    """One history without parts. Known operations are to be placed, optional ones may be.

    Optional operations may come any time after their call; they keep their answer if it is
    `due` at one moment, and else nobody asks for it.
    After `run`: `order` is a legal order of all (ok) or of the longest prefix of the history
    (operations in the order of their moments); `stuck` could not be placed after it.
    """

    def __init__(
        self,
        model: Model,
        known: Sequence[Operation],
        optional: Sequence[Operation] = (),
        budget: int = 1_000_000,
        deadline: Callable[[], bool] | None = None,
    ):
        self.known = sorted(known, key=lambda op: (op.call_s, op.return_s))
        self.model, optional = model.fit(self.known, optional)
        self.optional = sorted(optional, key=lambda op: op.call_s)
        self.budget, self.deadline, self.steps = budget, deadline, 0
        self.calls = [op.call_s for op in self.known]
        self.returns = [op.return_s for op in self.known]
        model = self.model
        self.reads = [model.is_read(op.input, op.output) for op in self.known]
        self.due = [model.due(op.input, op.output) for op in self.known]
        self.fleeting = model.fleeting(self.known, self.optional)
        self._sort_optional()
        self.clocked = any(due is not None for due in (*self.due, *self.waiting))
        self.order: list[Operation] = []
        self.stuck: Operation | None = None
        self.verdict = ""
        self._path: list[int] = []  # numbers of known ones; ~number of optional ones
        self._seen: dict[tuple[int, int, Any], list[int]] = {}
        self._best = (-inf, -1, 0)  # the longest prefix: its end, how many are placed

    @property
    def end(self) -> float:
        """Up to when the longest legal prefix of the history reaches."""
        return self._best[0]

    def _sort_optional(self) -> None:
        """Optional ones by what they wait for; of equal ones the earlier goes first."""
        self.waiting: dict[int | None, list[int]] = {}
        self.answers: list[Any] = []
        self.twin: list[int] = []  # the optional operation that must be used before: -1: none
        last: dict[Any, int] = {}  # likeness -> the newest that has it
        for number, op in enumerate(self.optional):
            due = self.model.due(op.input, op.told)
            answer = UNKNOWN if due is None else op.told
            self.answers.append(answer)
            self.waiting.setdefault(due, []).append(number)
            like = self.model.likeness(op.input)
            self.twin.append(last.get(like, -1) if due is None else -1)
            if due is None:
                last[like] = number
        self.optional_calls = [op.call_s for op in self.optional]

    def run(self) -> str:
        """ok, violated, or unknown if budget or deadline ended it."""
        try:
            self.verdict = OK if self._search() else VIOLATED
        except OutOfBudget:
            self.verdict = UNKNOWN_VERDICT
        self._seen.clear()
        return self.verdict

    def _search(self) -> bool:
        path, size = self._path, len(self.known)
        frame = self._enter(0, 0, 0, self.model.init())
        stack = []
        while frame is not None:
            if frame.base == size:
                self._note(frame)
                return True
            for choice in frame.choices:
                after = self._place(frame, choice)
                if after is not None:
                    stack.append(frame)
                    frame = after
                    break
            else:
                self._note(frame)
                frame = stack.pop() if stack else None
                if frame is not None:
                    del path[frame.depth :]
        return False

    def _place(self, frame: Frame, choice: int) -> Frame | None:
        """The place behind a choice; None if it is not legal or was seen before."""
        self._count()
        if choice < 0:
            op, answer = self.optional[~choice], self.answers[~choice]
            base, window, used = frame.base, frame.window, frame.used | (1 << ~choice)
        else:
            op = self.known[choice]
            answer, used = op.output, frame.used
            base, window = moved(frame.base, frame.window | 1 << (choice - frame.base))
        ok, state = self.model.step(frame.state, op.input, answer)
        if not ok:
            return None
        self._path.append(choice)
        after = self._enter(base, window, used, state)
        if after is None:
            del self._path[frame.depth :]
        return after

    def _enter(self, base: int, window: int, used: int, state: Any) -> Frame | None:
        """A new place, after the reads that fit there; None if it was seen before."""
        model, known, reads, path = self.model, self.known, self.reads, self._path
        while True:
            free, limit = self._free(base, window)
            placed = False
            for number in free:
                if reads[number]:
                    self._count()
                    op = known[number]
                    if model.step(state, op.input, op.output)[0]:
                        window |= 1 << (number - base)
                        path.append(number)
                        placed = True
            if not placed:
                break
            base, window = moved(base, window)
        if self._was_seen((base, window, state), used):
            return None
        frame = Frame(base, window, used, state)
        frame.depth, frame.limit = len(path), limit
        frame.choices = self._choices(frame, free)
        return frame

    def _free(self, base: int, window: int) -> tuple[list[int], float]:
        """The known operations that may come next, and the earliest return among them."""
        calls, returns, size = self.calls, self.returns, len(self.known)
        free, limit = [], inf
        while True:
            offset = (~window & (window + 1)).bit_length() - 1  # the lowest bit that is not set
            number = base + offset
            if number >= size or calls[number] > limit:
                return free, limit
            free.append(number)
            limit = min(limit, returns[number])
            window |= 1 << offset

    def _choices(self, frame: Frame, free: list[int]) -> Iterator[int]:
        """What may be tried next: known operations first, then optional ones."""
        clock = None
        if self.clocked:
            clock = self.model.clock(frame.state)
            if any(self.due[number] is not None and self.due[number] < clock for number in free):
                return  # the moment of one of them is over
        for number in free:  # those that are reads did not fit here: will they ever?
            op = self.known[number]
            if self.reads[number] and self.model.is_late(frame.state, op.input, op.output):
                return
        waiting = self.fleeting.get(frame.state)
        if waiting:
            here = [number for number in waiting if not is_in(number, frame.base, frame.window)]
            if len(here) == 1 and here[0] in free and not self.reads[here[0]]:
                yield here[0]
            if here:
                return  # the state must not be left: it does not come back
        for number in free:
            if not self.reads[number]:
                yield number
        if self.optional:
            yield from self._optional_choices(frame, clock)

    def _optional_choices(self, frame: Frame, clock: int | None) -> Iterator[int]:
        called = bisect_right(self.optional_calls, frame.limit)
        used = frame.used
        for due in (None,) if clock is None else (clock, None):
            for number in self.waiting.get(due, ()):
                if number >= called:
                    break
                twin = self.twin[number]
                if not used >> number & 1 and (twin < 0 or used >> twin & 1):
                    yield ~number

    def _was_seen(self, place: tuple[int, int, Any], used: int) -> bool:
        """Whether the place was reached before with no more optional operations than now."""
        others = self._seen.get(place)
        if others is None:
            self._seen[place] = [used]
            return False
        if any(other & used == other for other in others):
            return True
        others[:] = [other for other in others if used & other != used]
        others.append(used)
        return False

    def _count(self) -> None:
        self.steps += 1
        if self.steps > self.budget:
            raise OutOfBudget
        if self.deadline is not None and self.steps % LOOK_EVERY == 0 and self.deadline():
            raise OutOfBudget

    def _note(self, frame: Frame) -> None:
        """Remember the longest prefix of the history that could be placed."""
        tried = frame.used.bit_count()
        end = (frame.limit, frame.depth - tried, -tried)
        if end <= self._best:
            return
        self._best = end
        path = list(self._path)
        while path and path[-1] < 0:  # tried at the end, and of no use there
            path.pop()
        self.order = [self.optional[~n] if n < 0 else self.known[n] for n in path]
        free, limit = self._free(frame.base, frame.window)
        stuck = [number for number in free if self.returns[number] == limit]
        self.stuck = self.known[stuck[0]] if stuck else None


def is_in(number: int, base: int, window: int) -> bool:
    """Whether a known operation is in the set of those that are placed."""
    return number < base or bool(window >> (number - base) & 1)


def moved(base: int, window: int) -> tuple[int, int]:
    """The same set with the base moved past all that is placed."""
    ones = (~window & (window + 1)).bit_length() - 1  # how many of the lowest bits are set
    return base + ones, window >> ones
