"""What a transaction saw and chose: its comparisons with the values they met, and its effects."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from kvlearn.events import Applied
from kvlearn.kv.txn import TARGETS, Compare, Txn
from kvlearn.mvcc.revision import KeyValue, short
from kvlearn.mvcc.store import Store
from kvlearn.trace import Record


class Seen(NamedTuple):
    """A comparison that was made: whether it holds, and what it saw, in words."""

    compare: Compare
    holds: bool
    saw: str


class Fork(NamedTuple):
    """A transaction at the moment of its decision. A nested one is decided at the same moment."""

    txn: Txn
    seen: tuple[Seen, ...]
    succeeded: bool
    success: tuple  # operations: Put, Range, DeleteRange, Fork
    failure: tuple
    before: int  # the store's revision when it was decided
    revision: int  # and afterwards; equal: nothing was changed
    error: str  # why it was refused; "": it was carried out
    index: int  # of its log entry; 0: it was not asked for
    term: int
    seq: int
    time: float


def judge(txn: Txn, store: Store, event: Applied | None = None, record: Record | None = None):
    """A transaction on the store as it is, before anything of it is done.

    `event` is the record of its being applied; None: it only might be.
    """

    def read(key: bytes, range_end: bytes) -> list[KeyValue]:
        return store.range(key, range_end)[0]

    end = (store.revision, "", 0, 0) if event is None else _end(event)
    where = (-1, 0.0) if record is None else (record.seq, record.time)
    return _fork(txn, read, store.revision, (*end, *where))


def _end(event: Applied) -> tuple:
    return event.revision, event.error, event.index, event.term


def _fork(txn: Txn, read: Callable, before: int, rest: tuple) -> Fork:
    seen = tuple(_see(compare, read) for compare in txn.compare)
    branches = (
        tuple(_fork(op, read, before, rest) if isinstance(op, Txn) else op for op in branch)
        for branch in (txn.success, txn.failure)
    )
    return Fork(txn, seen, all(one.holds for one in seen), *branches, before, *rest)


def _see(compare: Compare, read: Callable) -> Seen:
    pairs = read(compare.key, compare.range_end)
    holds = all(map(compare.holds, pairs or [None]))
    return Seen(compare, holds, _saw(compare, pairs))


def _saw(compare: Compare, pairs: list[KeyValue]) -> str:
    if not pairs:
        none = "no such key" if not compare.range_end else "no keys there"
        return none if compare.target == "value" else f"0 ({none})"
    field = attrgetter(TARGETS[compare.target])
    if not compare.range_end:
        return _told(field(pairs[0]))
    failing = [kv for kv in pairs if not compare.holds(kv)]
    shown = failing or pairs
    told = ", ".join(f"{short(kv.key, 12)}: {_told(field(kv))}" for kv in shown[:2])
    return told + (f", … {len(shown) - 2} more" if len(shown) > 2 else "")


def _told(fact: Any) -> str:
    return short(fact, 16) if isinstance(fact, bytes) else str(fact)
