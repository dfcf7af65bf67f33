"""If, then, else: comparisons and operations that are carried out as one.

A transaction compares what keys are, and does one of two lists of operations. Nothing comes in
between, and all its writes share one revision: so a client that has read something can change it
only if it is still so, without a lock.

>>> txn = Txn(
...     compare=(Compare(b"stock", "value", "greater", b"0"), Compare(b"order", operand=0)),
...     success=(Put(b"order", b"7"),),
...     failure=(Range(b"order"),),
... )
>>> print(txn)
if stock value > 0, order version = 0 then put order=7 else get order

Comparisons of a whole tree of transactions are made first, on the state before it; then the
branches are carried out in order.

Source: etcd server/etcdserver/txn/txn.go, api/v3rpc/key.go (checkTxnRequest, checkIntervals).
Differs: two overlaps that slip through etcd's check are refused (etcd-semantics, fact 33), and a
transaction is checked whole before anything of it is done, on every node alike (fact 34).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter, eq, gt, lt, ne
from typing import Any

from kvlearn.errors import DuplicateKey, EmptyKey, InvalidArgument, KeyNotFound, TooManyOps
from kvlearn.kv.requests import DeleteRange, Put, Range, interval
from kvlearn.mvcc.revision import KeyValue, short
from kvlearn.mvcc.store import FROM_KEY
from kvlearn.values import value

MAX_OPS = 128  # etcd's default for --max-txn-ops: of compares, success and failure each
TARGETS = {  # word -> field of KeyValue
    "version": "version",
    "create": "create_revision",
    "mod": "mod_revision",
    "value": "value",
    "lease": "lease",
}
RESULTS = {"equal": eq, "greater": gt, "less": lt, "not_equal": ne}
SIGNS = {"equal": "=", "greater": ">", "less": "<", "not_equal": "≠"}
ABSENT = KeyValue(b"", b"")  # a missing key: version, revisions and lease are 0


@value
class Compare:
    """Whether `key` (or every key up to `range_end`) stands so to `operand`."""

    key: bytes
    target: str = "version"  # of TARGETS
    result: str = "equal"  # of RESULTS
    operand: Any = 0  # bytes for a value, else a number
    range_end: bytes = b""

    def holds(self, kv: KeyValue | None) -> bool:
        """Whether it holds for this pair; None is a missing key, which has no value at all."""
        if kv is None and self.target == "value":
            return False
        left = attrgetter(TARGETS[self.target])(kv or ABSENT)
        kind = bytes if self.target == "value" else int
        right = self.operand if isinstance(self.operand, kind) else kind()
        return RESULTS[self.result](left, right)

    def __bool__(self) -> bool:
        raise TypeError("a comparison stands for itself: of `1 < a < 3` and `a and b` make two")

    def __str__(self) -> str:
        right = short(self.operand) if isinstance(self.operand, bytes) else self.operand
        return f"{interval(self.key, self.range_end)} {self.target} {SIGNS[self.result]} {right}"


@value
class Txn:
    """If all of `compare` hold then `success`, else `failure`: Put, Range, DeleteRange, Txn."""

    compare: tuple[Compare, ...] = ()
    success: tuple = ()
    failure: tuple = ()

    def __post_init__(self) -> None:
        for part in (self.compare, self.success, self.failure):
            if not isinstance(part, tuple):
                raise TypeError(f"comparisons and operations of a Txn are tuples, not {part!r}")

    def __str__(self) -> str:
        condition = ", ".join(map(str, self.compare))
        then = "; ".join(map(str, self.success)) or "nothing"
        text = f"if {condition} then {then}" if condition else f"do {then}"
        return text + (f" else {'; '.join(map(str, self.failure))}" if self.failure else "")

    @property
    def writes(self) -> bool:
        """Whether either branch could change something: then it goes through the log."""
        return any(
            op.writes if isinstance(op, Txn) else not isinstance(op, Range)
            for op in (*self.success, *self.failure)
        )


@value
class OpResult:
    """What one operation of a transaction gave; `revision` is that of its own small header."""

    revision: int
    result: Any

    def __str__(self) -> str:
        return str(self.result)


@value
class TxnResult:
    """`succeeded`: the comparisons held; `responses` are those of the branch that was taken."""

    succeeded: bool = False
    responses: tuple[OpResult, ...] = ()

    def __str__(self) -> str:
        told = "; ".join(map(str, self.responses)) or "nothing done"
        return f"{'then' if self.succeeded else 'else'}: {told}"


def depth_of(txn: Txn) -> int:
    """How many transactions are in one another."""
    depth, level = 0, [txn]
    while level:
        depth += 1
        inner = [op for one in level for op in (*one.success, *one.failure)]
        level = [op for op in inner if isinstance(op, Txn)]
    return depth


# What is wrong in the request itself --------------------------------------------------------


def check_txn(txn: Txn, check: Callable[[Any], None], most: int = MAX_OPS) -> None:
    """Refuse what is wrong in either branch; `check` looks at single operations, of which there
    are `most`.

    Raises: TooManyOps, EmptyKey, KeyNotFound (an operation that is none), DuplicateKey,
    InvalidArgument, and what `check` raises.
    """
    _check_ops(txn, check, most)
    for branch in (txn.success, txn.failure):
        _footprint(branch)


def _check_ops(txn: Txn, check: Callable[[Any], None], room: int) -> None:
    most = max(map(len, (txn.compare, txn.success, txn.failure)))
    if most > room:
        raise TooManyOps(hint=f"{most} of {room}")
    for compare in txn.compare:
        if not isinstance(compare, Compare):
            raise InvalidArgument(hint=f"a comparison is a Compare, not {compare!r}")
        if not (isinstance(compare.key, bytes) and isinstance(compare.range_end, bytes)):
            raise InvalidArgument(hint=f"keys are bytes: {compare!r}")
        if not compare.key:
            raise EmptyKey()
        if str(compare.target) not in TARGETS or str(compare.result) not in RESULTS:
            raise InvalidArgument(hint=f"no comparison is called {compare.target} {compare.result}")
    for op in (*txn.success, *txn.failure):
        if isinstance(op, Txn):
            _check_ops(op, check, room - most)
        elif isinstance(op, (Put, Range, DeleteRange)):
            check(op)
        else:
            raise KeyNotFound(hint=f"an operation is a put, range, delete or txn, not {op!r}")


def _footprint(ops: tuple) -> tuple[set[bytes], list[tuple[bytes, bytes]]]:
    """The keys that a branch puts and the intervals that it deletes, whatever nested branch runs.

    Raises: DuplicateKey where two of them meet.
    """
    puts: set[bytes] = set()
    dels: list[tuple[bytes, bytes]] = []
    for op in ops:
        new_puts: set[bytes] = set()
        new_dels: list[tuple[bytes, bytes]] = []
        match op:
            case Put(key):
                new_puts = {key}
            case DeleteRange(key, range_end):
                new_dels = [(key, range_end)]
            case Txn():
                for branch in (op.success, op.failure):
                    its_puts, its_dels = _footprint(branch)
                    new_puts |= its_puts
                    new_dels += its_dels
        twice = new_puts & puts
        twice |= {key for key in new_puts if any(_covers(one, key) for one in dels)}
        twice |= {key for key in puts if any(_covers(one, key) for one in new_dels)}
        if twice:
            raise DuplicateKey(hint=short(min(twice)))
        puts |= new_puts
        dels += new_dels
    return puts, dels


def _covers(deleted: tuple[bytes, bytes], key: bytes) -> bool:
    start, end = deleted
    return key == start if not end else start <= key and (end == FROM_KEY or key < end)


# Which branches run -------------------------------------------------------------------------


@value
class Chosen:
    """A transaction whose comparisons are made: the operations that run, nested ones chosen too."""

    succeeded: bool
    ops: tuple  # of Put, Range, DeleteRange, Chosen


def choose(txn: Txn, read: Callable[[bytes, bytes], list[KeyValue]]) -> Chosen:
    """Make all comparisons on the state as it is; `read(key, range_end)` gives its pairs."""
    holds = all(_holds(compare, read) for compare in txn.compare)
    ops = txn.success if holds else txn.failure
    return Chosen(holds, tuple(choose(op, read) if isinstance(op, Txn) else op for op in ops))


def _holds(compare: Compare, read: Callable[[bytes, bytes], list[KeyValue]]) -> bool:
    pairs = read(compare.key, compare.range_end)
    return all(map(compare.holds, pairs or [None]))


def running(chosen: Chosen) -> Iterator[Any]:
    """The operations that will run, in their order, those of nested transactions included."""
    for op in chosen.ops:
        if isinstance(op, Chosen):
            yield from running(op)
        else:
            yield op
