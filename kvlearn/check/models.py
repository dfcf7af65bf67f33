"""Models: what one client alone would see. A history is linearizable if some order of its
operations, true to real time, is what the model would have answered.

A model is a state and a step. That is enough for one of your own:

>>> class Counter(Model):
...     def init(self):
...         return 0
...     def step(self, state, input, output):
...         after = state + input
...         return output in (UNKNOWN, after), after
>>> Counter().step(3, 2, 5), Counter().step(3, 2, 6)
((True, 5), (False, 5))

The models here: a `Register` (read, write), a `CasRegister` (and compare-and-swap), an
`AppendList`, an `AppendText` (put, append and get of texts: the store of MIT's labs), and `KV`,
etcd's keys with intervals and revisions. All but `KV` keep their keys apart: a history is
linearizable if that of every key is, and small histories are quick to check.

Source: anishathalye/porcupine, jepsen-io/knossos (a model as init and step); Herlihy and Wing
(1990), 3.1 (locality, which allows to split by key).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from copy import copy
from typing import Any

from kvlearn.check.histories import UNKNOWN, Append, Cas, Operation, Read, Write


class Model:
    """What every model is asked; a model of your own defines `init` and `step`, the rest helps.

    States, inputs and outputs are values: they have a hash and never change. `inputs` are the
    types that `step` knows.
    """

    inputs: tuple[type, ...] = (object,)

    def init(self) -> Hashable:
        """The state before the first operation."""
        raise NotImplementedError(f"{type(self).__name__} has no init")

    def step(self, state: Any, input: Any, output: Any) -> tuple[bool, Any]:
        """Whether `output` is what `input` is answered in this state, and the state afterwards.

        An output of UNKNOWN was seen by nobody: whatever it was, it is allowed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def partition(self, history: Sequence[Operation]) -> dict[Any, list[Operation]]:
        """Parts of the history that have nothing to do with one another, each under its name."""
        return {None: list(history)}

    def is_read(self, input: Any, output: Any) -> bool:
        """Whether an operation so answered leaves every state as it is. If in doubt: no."""
        return False

    def due(self, input: Any, output: Any) -> int | None:
        """At which `clock` alone the answer is possible, if it tells; else None."""
        return None

    def is_late(self, state: Any, input: Any, output: Any) -> bool:
        """Whether the answer is impossible from this state on, whatever comes. If in doubt: no."""
        return False

    def likeness(self, input: Any) -> Any:
        """What of an input matters if nobody saw its answer; equal ones are tried in one order."""
        return input

    def clock(self, state: Any) -> int:
        """A number of the state that no operation makes smaller."""
        return 0

    def fit(
        self, known: Sequence[Operation], optional: Sequence[Operation]
    ) -> tuple[Model, list[Operation]]:
        """A model for this very history, and those optional operations that are worth a try.

        It may refuse optional ones where they cannot help to place those that are `known`.
        """
        return self, list(optional)

    def fleeting(
        self, known: Sequence[Operation], optional: Sequence[Operation]
    ) -> dict[Any, list[int]]:
        """State -> numbers of `known` operations that are possible in it alone, if no operation can
        bring the state back: they have to be placed before it is left."""
        return {}

    def starts(self, known: Sequence[Operation], optional: Sequence[Operation]) -> list[Model]:
        """This model from each state in which these operations may have found it, as far as they
        can tell states apart; empty if those are too many, or not known."""
        return []

    def describe_operation(self, input: Any, output: Any) -> str:
        """An operation and its answer, in one line."""
        return f"{input} → {output}"

    def describe_state(self, state: Any) -> str:
        """A state, in one line."""
        return str(state)

    def __repr__(self) -> str:
        return type(self).__name__


def by_key(history: Sequence[Operation]) -> dict[Any, list[Operation]]:
    """The operations on each key, in the order in which the keys are first named."""
    parts: dict[Any, list[Operation]] = {}
    for operation in history:
        parts.setdefault(operation.input.key, []).append(operation)
    return parts


class Lost:
    """The state that stands for all states which no answer tells of: they need not be told apart,
    so the search has fewer places to look at."""

    def __str__(self) -> str:
        return "something that nobody saw"


MANY = 16  # more values than this are not tried one by one

NOWHERE, TWICE = -1, -2  # instead of a place

LOST = Lost()
ANY = Lost()  # of an answer: possible in more than one state


def not_of(model: Model, input: Any) -> TypeError:
    """What is raised for an input that a model does not know."""
    return TypeError(f"{model!r} does not know {input!r}; choose another with model=...")


class Register(Model):
    """One value: Read and Write."""

    inputs = (Read, Write)

    def __init__(self, initial: Any = None):
        self.initial = initial
        self._told: set | None = None  # values that some answer tells of; None: not fitted

    def init(self) -> Any:
        return self.initial

    def step(self, state: Any, input: Any, output: Any) -> tuple[bool, Any]:
        """A read is answered by what was written last."""
        if type(input) is Write:
            return True, self.kept(input.value)
        return output is UNKNOWN or output == state, state

    def kept(self, new: Any) -> Any:
        """A new value as a state."""
        return new if self._told is None or new in self._told else LOST

    def makes(self, input: Any) -> Any:
        """The value that an operation, not a read, leaves behind if it does anything."""
        return input.value

    def needs(self, input: Any, output: Any) -> Any:
        """The value that must have been there for this answer; ANY if there are several."""
        return output if type(input) is Read else ANY

    def compares(self, input: Any) -> Any:
        """A value that an operation may tell from others, whatever it answered; else ANY."""
        return ANY

    def partition(self, history: Sequence[Operation]) -> dict[Any, list[Operation]]:
        return by_key(history)

    def is_read(self, input: Any, output: Any) -> bool:
        return type(input) is Read

    def fit(self, known, optional):
        """Values that no answer tells of are one state, and making them explains nothing."""
        told = {self.needs(op.input, op.output) for op in known}
        told.update(self.compares(op.input) for op in (*known, *optional))
        told.discard(ANY)
        fitted = copy(self)
        fitted._told = told
        return fitted, self.helpful(known, optional, told)

    def starts(self, known, optional):
        """From every value that some answer tells of, and from any other."""
        told = self.fit(known, optional)[0]._told
        if len(told) > MANY:
            return []
        first = sorted(told, key=lambda value: (str(type(value)), str(value)))
        return [self.starting(value) for value in (*first, LOST)]

    def starting(self, initial: Any) -> Register:
        """The same register, found with another value in it."""
        found = copy(self)
        found.initial = initial
        return found

    def helpful(self, known, optional, told: set) -> list[Operation]:
        """The optional operations that may be needed."""
        return [op for op in optional if self.makes(op.input) in told]

    def fleeting(self, known, optional):
        """Reads of a value that is made once at most."""
        makers = Counter([self.initial])
        makers.update(
            self.makes(op.input) for op in known if not self.is_read(op.input, op.output)
        )
        makers.update(self.makes(op.input) for op in optional)
        found: dict[Any, list[int]] = {}
        for number, op in enumerate(known):
            value = self.needs(op.input, op.output)
            if value is not ANY and makers[value] <= 1:
                found.setdefault(value, []).append(number)
        return found

    def describe_operation(self, input: Any, output: Any) -> str:
        """A write says nothing when it is done."""
        if output is not UNKNOWN and type(input) in (Write, Append):
            return str(input)
        if type(output) is bool:
            output = "done" if output else "no match"
        return f"{input} → {'nothing' if output is None else output}"


class CasRegister(Register):
    """One value: Read, Write and Cas (compare and swap), answered by whether it swapped."""

    inputs = (Read, Write, Cas)

    def step(self, state: Any, input: Any, output: Any) -> tuple[bool, Any]:
        """A swap takes place if, and only if, the old value is there."""
        if type(input) is not Cas:
            return super().step(state, input, output)
        swaps = state == input.old
        return output is UNKNOWN or output == swaps, self.kept(input.new) if swaps else state

    def makes(self, input: Any) -> Any:
        return input.new if type(input) is Cas else input.value

    def needs(self, input: Any, output: Any) -> Any:
        if type(input) is Cas:
            return input.old if output is True else ANY
        return super().needs(input, output)

    def compares(self, input: Any) -> Any:
        return input.old if type(input) is Cas else ANY

    def is_read(self, input: Any, output: Any) -> bool:
        return type(input) is Read or (type(input) is Cas and output is False)

    def helpful(self, known, optional, told: set) -> list[Operation]:
        """A comparison that failed may have been made with any other value."""
        if any(type(op.input) is Cas and not op.output for op in known):
            return list(optional)
        return super().helpful(known, optional, told)


class AppendList(Model):
    """A list that grows: Append, and Read answered by the whole list (as a tuple)."""

    inputs = (Read, Write, Append)
    empty: Any = ()

    def __init__(self) -> None:
        self._seen: list | None = None  # what was read and goes on nowhere; None: not fitted
        self._goal: Any = self.empty  # what the longest read saw, where nothing is ever replaced
        self._spots: dict[Any, int] = {}  # added -> where it stands in the goal, if that is sure

    def init(self) -> Any:
        return self.empty

    def element(self, added: Any) -> Any:
        """What an Append adds to the state."""
        return (added,)

    def whole(self, read: Any) -> Any:
        """A state, from a read's answer."""
        return tuple(read or ())

    def step(self, state: Any, input: Any, output: Any) -> tuple[bool, Any]:
        """What was added stays, in the order of adding. A Write replaces all."""
        kind = type(input)
        if kind is Read:
            return output is UNKNOWN or self.whole(output) == state, state
        if kind is Write:
            after = self.whole(input.value)
        elif state is LOST:
            return output is not UNKNOWN, LOST
        else:
            after = state + self.element(input.value)
            if len(state) < len(self._goal):  # it would be in the way of the longest read for good
                return self._goal[: len(after)] == after, after
        if self._seen is not None and not self._starts_something(after):
            return output is not UNKNOWN, LOST
        return True, after

    def partition(self, history: Sequence[Operation]) -> dict[Any, list[Operation]]:
        return by_key(history)

    def is_read(self, input: Any, output: Any) -> bool:
        return type(input) is Read

    def fit(self, known, optional):
        """What is the beginning of nothing that was read is one state, which explains nothing."""
        fitted = type(self)()
        fitted._seen = []
        reads = {self.whole(op.output) for op in known if type(op.input) is Read}
        for read in sorted(reads, key=len, reverse=True):
            if not fitted._starts_something(read):
                fitted._seen.append(read)
        if fitted._seen and not any(type(op.input) is Write for op in (*known, *optional)):
            fitted._goal = fitted._seen[0]
            fitted._find_spots([op.input.value for op in (*known, *optional) if _is(op, Append)])
        return fitted, list(optional)

    def _find_spots(self, added: list[Any]) -> None:
        """Where each thing stands in the goal. That is sure if all differ, none stands there twice,
        and side by side they fill it: then it was put together in one way only."""
        spots = {value: self.find(self._goal, value) for value in added}
        sizes = [(at, len(self.element(value))) for value, at in spots.items() if at >= 0]
        found = sorted((at, at + size) for at, size in sizes)
        ends = [0, *(end for _, end in found)]
        filled = all(at == end for (at, _), end in zip(found, ends)) and ends[-1] == len(self._goal)
        if len(spots) == len(added) and TWICE not in spots.values() and filled:
            self._spots = {value: at for value, at in spots.items() if at >= 0}

    def find(self, state: Any, added: Any) -> int:
        """Where `added` stands in a state; NOWHERE, or TWICE at least."""
        times = state.count(added)
        return NOWHERE if not times else state.index(added) if times == 1 else TWICE

    def due(self, input: Any, output: Any) -> int | None:
        """By the length: that of a read, and of what stands before an element in the goal."""
        if not self._goal:
            return None
        return len(self.whole(output)) if type(input) is Read else self._spots.get(input.value)

    def clock(self, state: Any) -> int:
        """How long the list is. (There is no due where a Write can make it short again.)"""
        return len(self._goal) + 1 if state is LOST else len(state)

    def _starts_something(self, state: Any) -> bool:
        size = len(state)
        return any(seen[:size] == state for seen in self._seen)

    def fleeting(self, known, optional):
        """A list grows; it can be what it was only if it is begun anew, by a Write."""
        writes = [self.whole(op.input.value) for op in (*known, *optional) if _is(op, Write)]
        added = {self.element(op.input.value) for op in (*known, *optional) if _is(op, Append)}
        sizes = sorted({len(element) for element in added})
        found: dict[Any, list[int]] = {}
        origins: dict[Any, int] = {}
        for number, op in enumerate(known):
            if type(op.input) is not Read:
                continue
            read = self.whole(op.output)
            if read not in origins:
                begins = not read or any(read[:size] in added for size in sizes)
                origins[read] = begins + sum(read[: len(new)] == new for new in writes)
            if origins[read] <= 1:
                found.setdefault(read, []).append(number)
        return found

    describe_operation = Register.describe_operation


class AppendText(AppendList):
    """A text: Write, Append, and Read answered by the whole text (put, append, get)."""

    empty = ""

    def element(self, added: Any) -> Any:
        return added

    def whole(self, read: Any) -> Any:
        return read or ""

    def find(self, state: Any, added: Any) -> int:
        at = state.find(added)
        return TWICE if at >= 0 and state.find(added, at + 1) >= 0 else at


def _is(operation: Operation, kind: type) -> bool:
    return type(operation.input) is kind
