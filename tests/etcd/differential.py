"""Run one program on both sides, compare, and make what differs short.

>>> shortest(list("abcdefgh"), lambda ops: "c" in ops and "g" in ops)
['c', 'g']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from shlex import quote
from typing import Any

import pytest

from kvlearn.errors import DuplicateKey, RequestError
from kvlearn.kv.leases import LeaseTimeToLive
from kvlearn.kv.requests import (
    FROM_KEY,
    SORT_TARGETS,
    DeleteRange,
    Put,
    Range,
    RangeResult,
)  # fmt: skip
from kvlearn.kv.txn import Txn, TxnResult, check_txn
from tests.etcd import programs
from tests.etcd.gateway import Unreachable
from tests.etcd.sides import PATIENCE_S, On, Ours, Outcome, Theirs

PLAIN = int, str, bytes, tuple
HASTE_S = 0.3  # to wait for events while a program is made shorter; its end is looked at again
CLOCK_S = 5  # so long may a program take: a lease's time runs down on etcd's side only

DIFFERENCES = {
    "an overlap that etcd's check misses": (
        "A delete from a key upwards together with a put above it, or a nested put followed by a "
        "nested delete in a later sibling, is carried out in order by etcd; together with "
        "ignore_value it crashes the member. kvlearn refuses both as duplicate keys. Such "
        "transactions are not sent."
    ),
    "a watch from a negative revision": (
        "etcd takes it for the distant past: compacted, if anything was, else all of history (-1) "
        "or an answer that says nothing (-2). kvlearn takes it for now, as 0. Not generated."
    ),
    "compaction at 0": (
        "A fresh etcd accepts it, once; from then on it refuses that, and a read at -1 in a "
        "transaction, as compacted. kvlearn accepts both until something is compacted. Not "
        "generated."
    ),
    "a transaction refused because of a read": (
        "Before 3.7.0 the members that were not asked write what the client is told was refused. "
        "On the single member here it does not show; kvlearn checks first, on every node."
    ),
    "a deletion at the compacted revision": (
        "A watcher from there hears of it until etcd's sweep has passed, kvlearn's never does. So "
        "etcd is always asked for a physical compaction."
    ),
    "the hash of the history": (
        "The JSON side has only the hash of a member's whole file, and revisions differ here. Not "
        "compared."
    ),
    "the order of equals": (
        "Pairs that are equal in the sort target come in any order, and which of them a limit "
        "leaves is open: releases differ with the Go that built them. kvlearn keeps key order."
    ),
    "where a large answer is cut": (
        "etcd counts encoded bytes, kvlearn the bytes of keys and values and a little more. Only "
        "events whose sum is that close to 2 MiB show it; there are none."
    ),
    "time to live": (
        f"Runs down on etcd's clock while kvlearn's stands still here: up to {CLOCK_S} s less."
    ),
}


@dataclass
class Divergence:
    """Where the sides part: operation number `at` of the program, or a watcher's story."""

    at: int
    what: Any
    ours: Any
    theirs: Any

    @property
    def kind(self) -> tuple:
        """What a shorter program must share with it, so that it shows the same thing."""
        request = getattr(self.what, "request", self.what)
        refused = (getattr(side, "error", None) is not None for side in (self.ours, self.theirs))
        return type(request), *refused

    def __str__(self) -> str:
        return f"{self.what}\n  kvlearn {self.ours}\n  etcd    {self.theirs}"


@dataclass
class Count:
    """What was compared."""

    programs: int = 0
    operations: int = 0
    refused: int = 0
    events: int = 0
    unsent: int = 0  # because of a listed difference

    def __str__(self) -> str:
        return (
            f"{self.operations} operations in {self.programs} programs, {self.refused} of them "
            f"refused alike; {self.events} watch events; {self.unsent} not sent"
        )


# Comparing ------------------------------------------------------------------------------------


def compare(theirs: Theirs, config: Any, what: str = "", share: int = 1) -> Count:
    """Compare random programs, as many as the command line wants, or a `share`-th of that.

    Fails with a report of the first divergence, or if nothing was compared.
    """
    seed, count = config.getoption("--etcd-seed"), Count()
    wanted = config.getoption("--etcd-operations") // share
    while count.operations < wanted and count.programs < (1 if seed else wanted):
        name = seed or f"{what}{count.programs}"
        program = programs.write(name)
        if run(program, Ours(), theirs, count):
            pytest.fail(report(name, program, theirs), pytrace=False)
    assert count.programs and (seed or count.events and count.refused), "nothing was compared"
    return count


def run(program: list[Any], ours: Ours, theirs: Theirs, count: Count | None = None):
    """The first divergence, or None. `theirs` is cleaned first."""
    count = count or Count()
    theirs.reset()
    for at, op in enumerate((*program, None)):
        steps = (*ours.before(op), op) if op is not None else last_words(ours)
        for step in steps:
            if is_missed_overlap(step):
                count.unsent += 1
                continue
            if ours.races(step) and (differs := compare_watchers(at, ours, theirs)):
                return differs
            mine, real = outcome(ours, step), outcome(theirs, step)
            count.operations += 1
            count.refused += mine.error is not None
            if not same(step, mine, real):
                return Divergence(at, step, mine, real)
    count.programs += 1
    count.events += sum(map(len, ours.heard.values()))
    return compare_watchers(len(program), ours, theirs)


def outcome(side: Ours | Theirs, op: Any) -> Outcome:
    """What came of it; a side that breaks over it has an outcome, too."""
    try:
        return side.run(op)
    except Unreachable:
        raise  # etcd is gone, which no shorter program will tell more about
    except Exception as error:
        return Outcome(error=("broken", type(error).__name__, str(error)))


def last_words(ours: Ours) -> list[Any]:
    """Put and delete what is watched: each watcher hears something last, and a surplus event that
    etcd may have sent stands before it."""
    watchers = [w for stream in ours.hub.streams.values() for w in stream.watchers.values()]
    keys = sorted({watcher.key for watcher in watchers})
    return [op for key in keys for op in (Put(key, b"last"), DeleteRange(key))]


def compare_watchers(at: int, ours: Ours, theirs: Theirs) -> Divergence | None:
    """Whether every watcher heard the same up to here."""
    theirs.wait(ours.heard)
    for who in sorted({*ours.heard, *theirs.heard}):
        mine, real = ours.heard[who], theirs.heard[who]
        if mine != real:
            first = next((n for n, (a, b) in enumerate(zip(mine, real)) if a != b), None)
            first = min(len(mine), len(real)) if first is None else first
            told = [f"{len(log)} events, number {first}: {log[first:first + 1]}"
                    for log in (mine, real)]  # fmt: skip
            return Divergence(at, f"watcher {who[1]} of stream {who[0]}", *told)
    return None


def same(op: Any, mine: Outcome, real: Outcome) -> bool:
    """Whether both did the same, but for the listed differences."""
    if isinstance(op, LeaseTimeToLive) and mine.error is None and real.error is None:
        late = mine.result.ttl_s - real.result.ttl_s
        if 0 <= late <= CLOCK_S:
            real = real._replace(result=replace(real.result, ttl_s=mine.result.ttl_s))
    if mine == real:
        return True
    return mine[::2] == real[::2] and defined(op, mine.result) == defined(op, real.result)


def defined(op: Any, result: Any) -> Any:
    """The result of a read, or of a transaction with reads, without the order of equals."""
    if isinstance(op, Range) and isinstance(result, RangeResult):
        return replace(result, kvs=_defined_pairs(op, result))
    if isinstance(op, Txn) and isinstance(result, TxnResult):
        ops = op.success if result.succeeded else op.failure
        responses = zip(ops, result.responses)
        told = tuple(replace(one, result=defined(inner, one.result)) for inner, one in responses)
        return replace(result, responses=told)
    return result


def _defined_pairs(request: Range, result: RangeResult) -> tuple:
    if request.sort_target == "key":
        return result.kvs
    if request.keys_only and request.sort_target == "value":  # nobody can see what is equal
        return (len(result.kvs),) if result.more else tuple(sorted(kv.key for kv in result.kvs))
    field = attrgetter(SORT_TARGETS[request.sort_target])
    told = [(rank, sorted(group, key=attrgetter("key"))) for rank, group in
            groupby(result.kvs, field)]  # fmt: skip
    if result.more:  # the limit fell among the last equals
        rank, group = told.pop()
        told.append((rank, len(group)))
    return tuple(told)


def is_missed_overlap(op: Any) -> bool:
    """Whether kvlearn sees a key changed twice in a transaction, and etcd does not."""
    if not isinstance(op, Txn):
        return False
    try:
        check_txn(op, lambda _: None)
    except DuplicateKey:
        return not any(etcd_sees_overlap(branch)[2] for branch in (op.success, op.failure))
    except RequestError:
        pass
    return False


def etcd_sees_overlap(ops: tuple) -> tuple[set[bytes], list[tuple[bytes, bytes]], bool]:
    """Puts, deletes, and whether two of them meet, exactly as etcd's checkIntervals finds out."""
    dels = [(op.key, op.range_end) for op in ops if isinstance(op, DeleteRange)]
    puts: set[bytes] = set()

    def meets(key: bytes) -> bool:
        return key in puts or any(_covers(one, key) for one in dels)

    for op in ops:
        if isinstance(op, Txn):
            (then, then_dels, bad), (other, other_dels, worse) = map(
                etcd_sees_overlap, (op.success, op.failure)
            )
            if bad or worse or any(map(meets, then)):
                return puts, dels, True
            puts |= then
            if any(map(meets, other - then)):
                return puts, dels, True
            puts |= other
            dels += [one for one in then_dels + other_dels if one[1] != FROM_KEY]
    for op in ops:
        if isinstance(op, Put):
            if meets(op.key):
                return puts, dels, True
            puts.add(op.key)
    return puts, dels, False


def _covers(deleted: tuple[bytes, bytes], key: bytes) -> bool:
    start, end = deleted
    return start <= key < end if end else key == start


# Shrinking ------------------------------------------------------------------------------------


def shortest(program: list, fails: Callable[[list], bool], trials: int = 1500) -> list:
    """A part of the program that still fails and in which nothing can be left out.

    Delta debugging (Zeller, Hildebrandt 2002) on the operations; then transactions lose their
    parts and requests their options. A smaller revision makes other operations dispensable, so
    this is repeated.
    """
    left = trials

    def still(candidate: list) -> bool:
        nonlocal left
        left -= 1
        return left > 0 and fails(candidate)

    before = None
    while program != before:
        before = program
        program = _simplified(_fewer(program, still), still)
    return program


def _fewer(program: list, still: Callable[[list], bool]) -> list:
    """Without all operations that can be left out, alone or with their neighbours."""
    size = len(program)
    while size:
        at, before = 0, len(program)
        while at < len(program):
            without = program[:at] + program[at + size :]
            if still(without):
                program = without
            else:
                at += size
        # Once nothing single goes, nothing goes.
        size = size // 2 if size > 1 else int(len(program) < before)
    return program


def _simplified(program: list, still: Callable[[list], bool]) -> list:
    """With less in each operation."""
    at = 0
    while at < len(program):
        for plainer in simpler(program[at]):
            candidate = [*program[:at], plainer, *program[at + 1 :]]
            if still(candidate):
                program = candidate
                break  # and try the plainer one's kin
        else:
            at += 1
    return program


def simpler(op: Any) -> Iterator[Any]:
    """The same request with less in it."""
    if isinstance(op, On):
        yield from (op._replace(request=one) for one in simpler(op.request))
        return
    fields = getattr(op, "__dataclass_fields__", {})
    for name, field in fields.items():
        now = getattr(op, name)
        if isinstance(op, Txn):
            for n, part in enumerate(now):
                yield replace(op, **{name: now[:n] + now[n + 1 :]})
                for plainer in simpler(part):
                    yield replace(op, **{name: (*now[:n], plainer, *now[n + 1 :])})
        elif name != "id" and isinstance(field.default, PLAIN) and now != field.default:
            yield replace(op, **{name: field.default})
        if "revision" in name and isinstance(now, int) and now > 1:
            yield from (replace(op, **{name: less}) for less in (now // 2, now - 1))


def plainly(op: Any) -> str:
    """An operation as Python, without what stands at its default."""
    if isinstance(op, tuple) and not hasattr(op, "_fields"):
        return f"({', '.join(map(plainly, op))}{',' if len(op) == 1 else ''})"
    if isinstance(op, On):
        return f"On({op.stream!r}, {plainly(op.request)})"
    fields = getattr(op, "__dataclass_fields__", None)
    if fields is None:
        return repr(op)
    given = [(name, getattr(op, name), field.default) for name, field in fields.items()]
    told = (f"{name}={plainly(now)}" for name, now, default in given if now != default)
    return f"{type(op).__name__}({', '.join(told)})"


# Many programs --------------------------------------------------------------------------------


def report(seed: str, program: list, theirs: Theirs, side: Callable[[], Ours] = Ours) -> str:
    """The shortest program that shows the divergence, what differs, and how to see it again."""

    first = run(program, side(), theirs)

    def fails(part: list) -> bool:
        found = run(part, side(), theirs)
        return found is not None and first is not None and found.kind == first.kind

    theirs.patience_s = HASTE_S
    short = shortest(program, fails)
    theirs.patience_s = PATIENCE_S
    divergence = run(short, side(), theirs)
    lines = [f"    {plainly(op)}," for op in short]
    return "\n".join(
        [
            f"kvlearn and etcd part after {len(short)} operations (of {len(program)}):",
            *lines,
            str(divergence or "(not every time: it depends on timing)"),
            f"Again: python -m pytest tests/etcd --etcd-seed {quote(seed)}",
        ]
    )
