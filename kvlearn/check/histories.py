"""Histories: what clients asked, what they were told, and when; from traces and recorded files.

An operation took effect at one moment between its call and its return, if the store is what it
claims to be. That is all a history says, and all that `check.linearizable` looks at.

>>> history = [Operation("c1", 0.0, 1.0, Write(1)), Operation("c2", 0.5, 2.0, Read(), 1)]
>>> print(history[0], "|", history[1])
c1: write 1 | c2: read → 1

What nobody knows is part of it:

* an operation without a return (`return_s` is None) may take effect at any time after its call,
  or never: a write whose answer was lost;
* an operation that was refused was never carried out: it is left out;
* a read without an answer says nothing: it is left out.

Source: M. Herlihy, J. Wing, Linearizability: A Correctness Condition for Concurrent Objects
(1990), section 2; Jepsen's histories (invoke, ok, fail, info).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from math import inf
from pathlib import Path
from typing import Any

from kvlearn.events import Applied, Invoked, LeaseExpired, Returned
from kvlearn.kv.kinds import repeatable
from kvlearn.kv.leases import LeaseRevoke
from kvlearn.kv.requests import Answer, DeleteRange, Header, Put, Range
from kvlearn.kv.txn import Txn
from kvlearn.trace import Record, Trace
from kvlearn.values import value


@value
class Unknown:
    """Stands for an answer that nobody has seen."""

    def __str__(self) -> str:
        return "?"


UNKNOWN = Unknown()


@value
class Operation:
    """What a client asked and was told. Times in seconds; `seq` is its Invoked record's number.

    Invariant: call_s <= return_s. A `return_s` of None: nobody knows what became of it.
    """

    client: str
    call_s: float
    return_s: float | None
    input: Any
    output: Any = None
    seq: int | None = None

    @property
    def known(self) -> bool:
        """Whether it returned."""
        return self.return_s is not None and self.return_s < inf

    @property
    def told(self) -> Any:
        """Its answer, or UNKNOWN."""
        return self.output if self.known else UNKNOWN

    def __str__(self) -> str:
        if not self.known:
            return f"{self.client}: {self.input} → ?"
        return f"{self.client}: {self.input}" + (
            "" if self.output is None and not isinstance(self.input, Read) else f" → {self.output}"
        )


# What is asked of the small models: a register, a list, a text. Each key has its own. --------


@value
class Read:
    """Answered by what is there; None where nothing was written yet."""

    key: Any = None

    def __str__(self) -> str:
        return "read" if self.key is None else f"read {self.key}"


@value
class Write:
    """Whatever was there is replaced. Answered by None."""

    value: Any
    key: Any = None

    def __str__(self) -> str:
        return f"write {self.value}" if self.key is None else f"write {self.key}={self.value}"


@value
class Cas:
    """Compare and swap: `old` becomes `new`. Answered by whether `old` was there."""

    old: Any
    new: Any
    key: Any = None

    def __str__(self) -> str:
        where = "" if self.key is None else f" {self.key}"
        return f"cas{where} {self.old}→{self.new}"


@value
class Append:
    """Something is added at the end. Answered by None."""

    value: Any
    key: Any = None

    def __str__(self) -> str:
        return f"append {self.value}" if self.key is None else f"append {self.key}+{self.value}"


# From a trace --------------------------------------------------------------------------------


OF_KEYS = (Put, DeleteRange, Range, Txn, LeaseRevoke)  # requests that read or change keys


def history_of(subject: Any) -> list[Operation]:
    """The operations that clients asked in a trace, or in the trace of a cluster, by call time.

    Left out: what was refused, reads without an answer, serializable reads, which may be stale and
    promise no more, and what does not concern the keys (members, keep-alives, compactions). An
    answer is an `Answer` with the result and the revision. A lease that ran out is a write that
    nobody asked for: its LeaseRevoke is among them, by the leader, without an answer.
    """
    trace: Trace = getattr(subject, "trace", subject)
    asked: dict[tuple[str, int], tuple[int, float, Any]] = {}
    history: list[Operation] = []
    for record in trace.of(Invoked, Returned, LeaseExpired):
        event, client = record.event, record.node
        if isinstance(event, LeaseExpired):
            ended = LeaseRevoke(event.lease)
            history.append(Operation(client, record.time, None, ended, None, record.seq))
            continue
        if isinstance(event, Invoked):
            stale = getattr(event.request, "serializable", False)
            if isinstance(event.request, OF_KEYS) and not stale:
                asked[client, event.op_id] = (record.seq, record.time, event.request)
            continue
        call = asked.pop((client, event.op_id), None)
        if call is None or (event.error and not event.unknown):
            continue
        seq, call_s, request = call
        if event.unknown:
            history.append(Operation(client, call_s, None, request, None, seq))
        else:
            answer = Answer(event.op_id, Header(revision=event.revision), event.result)
            history.append(Operation(client, call_s, record.time, request, answer, seq))
    for (client, _), (seq, call_s, request) in asked.items():  # never answered
        if not repeatable(request):
            history.append(Operation(client, call_s, None, request, None, seq))
    return sorted(history, key=lambda operation: (operation.call_s, operation.seq))


def log_of(trace: Trace) -> Iterator[Record]:
    """The log as a trace tells it: of each entry, in their order, the first record that it was
    applied. Raises: ValueError when it comes to an entry that the trace lacks."""
    entries: dict[int, Record] = {}
    for record in trace.of(Applied):
        entries.setdefault(record.event.index, record)
    for place, index in enumerate(sorted(entries), start=1):
        if index != place:
            raise ValueError(f"the trace does not tell what entry {place} of the log did")
        yield entries[index]


# From files ----------------------------------------------------------------------------------

# INFO  jepsen.util - 2   :invoke :cas    [3 0]
_REGISTER_LINE = re.compile(r"INFO\s+jepsen\.util\s+-\s+(\S+)\s+:(\S+)\s+:(\S+)\s+(.+)")
# {:process 0, :type :invoke, :f :append, :key "1", :value "x 0 2 y"}
_TEXT_LINE = re.compile(
    r'\{:process (\S+), :type :(\S+), :f :(\S+), :key ("(?:[^"\\]|\\.)*"), :value (.+)\}'
)
_PAIR = re.compile(r"\[(-?\d+)\s+(-?\d+)\]")


def load_jepsen(path: str | Path) -> list[Operation]:
    """Read a history that Jepsen recorded: one register, or keys with texts (get, put, append).

    Such files have an order but no clock: the times are the numbers of the lines. Lines of the
    `:nemesis` and empty lines are passed over.

    Raises: ValueError, naming the line and what is wrong with it.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return parse_jepsen(lines, str(path))


def parse_jepsen(lines: Iterable[str], where: str = "history") -> list[Operation]:
    """Read the lines of a Jepsen history; `where` names it in errors."""
    pending: dict[str, tuple[int, Any]] = {}  # process -> the line of its call, what it asked
    history: list[Operation] = []
    for number, line in enumerate(lines, start=1):
        try:
            told = _words(line.strip())
            if told is None:
                continue
            process, kind, what, key, raw = told
            if kind == "invoke":
                if process in pending:
                    line_before = pending[process][0]
                    raise ValueError(f"process {process} still waits since line {line_before}")
                pending[process] = number, _asked(what, key, raw)
            else:
                if process not in pending:
                    raise ValueError(f"process {process} gets an answer and has asked nothing")
                call, asked = pending.pop(process)
                history += _answered(f"c{process}", call, number, asked, kind, raw)
        except ValueError as error:
            raise ValueError(f"{where}, line {number}: {error}: {line.strip()!r}") from None
    for process, (call, asked) in pending.items():
        history += _answered(f"c{process}", call, None, asked, "info", "")
    return sorted(history, key=lambda operation: operation.call_s)


def _words(line: str) -> tuple[str, str, str, Any, str] | None:
    """(process, type, function, key, value) of a line; None for one that says nothing."""
    if not line:
        return None
    if found := _REGISTER_LINE.fullmatch(line):
        process, kind, what, raw = found.groups()
        key = None
    elif found := _TEXT_LINE.fullmatch(line):
        process, kind, what, key, raw = found.groups()
        key = json.loads(key)
    else:
        raise ValueError("neither a line of a register's history nor of a key-value history")
    if process == ":nemesis":
        return None
    if not process.isdigit():
        raise ValueError(f"a process is a number, not {process}")
    if kind not in ("invoke", "ok", "fail", "info"):
        raise ValueError(f"a line says :invoke, :ok, :fail or :info, not :{kind}")
    return process, kind, what, key, raw.strip()


def _asked(what: str, key: Any, raw: str) -> Any:
    match what:
        case "read" | "get":
            return Read(key)
        case "write" | "put":
            return Write(_scalar(raw), key)
        case "append":
            return Append(_scalar(raw), key)
        case "cas":
            pair = _PAIR.fullmatch(raw)
            if pair is None:
                raise ValueError(f"cas takes [old new], two numbers, not {raw}")
            return Cas(int(pair[1]), int(pair[2]), key)
    raise ValueError(f"unknown function :{what}; known are read, write, cas, get, put, append")


def _answered(
    client: str, call: int, number: int | None, asked: Any, kind: str, raw: str
) -> Iterator[Operation]:
    """The operation, unless its end means that it never was, or that it says nothing."""
    reads = isinstance(asked, Read)
    if kind == "info" and not reads:
        yield Operation(client, call, None, asked)
    elif kind == "fail" and isinstance(asked, Cas) and _PAIR.fullmatch(raw):
        yield Operation(client, call, number, asked, False)  # it saw another value
    elif kind == "ok":
        output = _scalar(raw) if reads else True if isinstance(asked, Cas) else None
        if not reads and _asked_again(asked, raw) != asked:
            raise ValueError(f"the answer is not to what was asked in line {call}, {asked}")
        yield Operation(client, call, number, asked, output)


def _asked_again(asked: Any, raw: str) -> Any:
    """What an answer repeats of the question."""
    return _asked({Write: "write", Append: "append", Cas: "cas"}[type(asked)], asked.key, raw)


def _scalar(raw: str) -> Any:
    """nil, a number or a text in quotes."""
    if raw == "nil":
        return None
    if re.fullmatch(r"-?\d+", raw):
        return int(raw)
    if raw.startswith('"'):
        try:
            return json.loads(raw)
        except ValueError:
            pass
    raise ValueError(f"a value is nil, a number or a text in quotes, not {raw}")
