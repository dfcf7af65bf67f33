"""The store as a list: every change that ever was, in a row, and nothing is looked up twice.

It shares no code with the store that it judges: no trees, no index, no generations, no sweeps. A
read walks over what happened; a compaction is one number below which nobody may read.

>>> from kvlearn.kv.requests import DeleteRange, Put
>>> store = NaiveStore()
>>> for request in Put(b"a", b"1"), Put(b"b", b"2"), DeleteRange(b"a"):
...     _ = store.apply(request)
>>> [str(change) for change in store.changes]
['2.0 put a=1', '3.0 put b=2', '4.0 delete a']
>>> print(store.get(b"a"), store.get(b"a", revision=3), store.revision)
None a=1 4

Source: etcd api/etcdserverpb/rpc.proto. Differs: what is wrong in a request itself is not looked
for; such a request never comes so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import eq, gt, lt, ne
from typing import Any, NamedTuple

from kvlearn.kv.leases import Compact, CompactResult, LeaseGrant, LeaseResult, LeaseRevoke
from kvlearn.kv.requests import DeleteRange, DeleteResult, Put, PutResult, Range, RangeResult
from kvlearn.kv.txn import Compare, OpResult, Txn, TxnResult
from kvlearn.mvcc.revision import KeyValue

MIN_TTL_S, MAX_TTL_S = 2, 9_000_000_000
TARGETS = {"create": "create_revision", "mod": "mod_revision"}  # that a pair calls otherwise
SIGNS = {"equal": eq, "not_equal": ne, "greater": gt, "less": lt}


class Refused(Exception):
    """The store says no. `reason` is the name of the error's class."""

    def __init__(self, reason: str):
        self.reason = reason
        super().__init__(reason)


class Change(NamedTuple):
    """One change. `kv` is the pair as a watcher sees it: of a deletion the key and revision."""

    revision: int
    sub: int
    put: bool
    kv: KeyValue

    @property
    def type(self) -> str:
        """put or delete"""
        return "put" if self.put else "delete"

    def __str__(self) -> str:
        what = self.kv if self.put else self.kv.key_text
        return f"{self.revision}.{self.sub} {self.type} {what}"


def within(key: bytes, start: bytes, range_end: bytes) -> bool:
    """Whether `key` is in the interval, by etcd's convention."""
    if range_end == b"":
        return key == start
    if range_end == b"\0":
        return start <= key
    return start <= key < range_end


def holds(compare: Compare, kv: KeyValue | None) -> bool:
    """Whether it holds for a pair. None: there is none, so its numbers are 0, and no value fits."""
    operand, stands = compare.operand, SIGNS[compare.result]
    if compare.target == "value":
        wanted = operand if isinstance(operand, bytes) else b""
        return kv is not None and stands(kv.value, wanted)
    number = getattr(kv, TARGETS.get(compare.target, compare.target)) if kv else 0
    return stands(number, operand if isinstance(operand, int) else 0)


class NaiveStore:
    """All changes, oldest first; `of_key` has those of one key. `min_ttl_s`: see `Lessor`."""

    def __init__(self, min_ttl_s: int = MIN_TTL_S):
        self.min_ttl_s = min_ttl_s
        self.revision = 1
        self.compacted = 0
        self.changes: list[Change] = []
        self.of_key: dict[bytes, list[Change]] = {}
        self.leases: dict[int, int] = {}  # id -> time to live
        self._open = 0  # changes of the request in hand

    # Reading ----------------------------------------------------------------------------------

    def get(self, key: bytes, revision: int = 0) -> KeyValue | None:
        """The pair of `key` now (0), or as it was at `revision`. Nothing is refused."""
        for change in reversed(self.of_key.get(key, ())):
            if revision <= 0 or change.revision <= revision:
                return change.kv if change.put else None
        return None

    def range(self, key: bytes, range_end: bytes = b"", revision: int = 0) -> list[KeyValue]:
        """The pairs of an interval in key order. Nothing is refused."""
        keys = sorted(known for known in self.of_key if within(known, key, range_end))
        pairs = [self.get(known, revision) for known in keys]
        return [kv for kv in pairs if kv is not None]

    def events(self, key: bytes, range_end: bytes = b"", revision: int = 0) -> Iterator[Change]:
        """The changes of an interval at `revision` or later, in their order."""
        changes = self.changes if range_end else self.of_key.get(key, ())
        for change in changes:
            if change.revision >= revision and within(change.kv.key, key, range_end):
                yield change

    # The log ----------------------------------------------------------------------------------

    def apply(self, request: Any) -> tuple[Any, str]:
        """Carry out a request; its result and "", or None and the name of the error.

        Requests that do not concern the keys (of members, alarms, ...) give nothing.
        """
        self._open = 0
        try:
            result = self._carry_out(request)
        except Refused as refused:
            return None, refused.reason
        if self._open:
            self.revision += 1
        return result, ""

    def _carry_out(self, request: Any) -> Any:
        match request:
            case Put() | DeleteRange() | Range():
                self._allow(request)
                return self._run(request)
            case Txn():
                return self._run_chosen(self._chosen(request))
            case LeaseGrant(ttl_s, id):
                if ttl_s > MAX_TTL_S:
                    raise Refused("LeaseTtlTooLarge")
                if id in self.leases:
                    raise Refused("LeaseExists")
                self.leases[id] = max(ttl_s, self.min_ttl_s)
                return LeaseResult(id, self.leases[id])
            case LeaseRevoke(id):
                if id not in self.leases:
                    raise Refused("LeaseNotFound")
                del self.leases[id]
                for kv in self.range(b"\0", b"\0"):
                    if kv.lease == id:
                        self._delete(kv.key)
                return LeaseResult(id)
            case Compact(revision):
                if revision <= (self.compacted or -1):
                    raise Refused("Compacted")
                if revision > self.revision:
                    raise Refused("FutureRevision")
                self.compacted = revision
                return CompactResult()

    def _change(self, put: bool, kv: KeyValue) -> None:
        change = Change(kv.mod_revision, self._open, put, kv)
        self._open += 1
        self.changes.append(change)
        self.of_key.setdefault(kv.key, []).append(change)

    def _delete(self, key: bytes) -> None:
        self._change(False, KeyValue(key, b"", 0, self.revision + 1, 0, 0))

    # Single operations ------------------------------------------------------------------------

    def _allow(self, op: Any, in_txn: bool = False) -> None:
        """Refuse what the keys, the leases or the revisions do not allow."""
        match op:
            case Put():
                needs_old = op.ignore_value or op.ignore_lease
                wrong = []
                if op.lease and op.lease not in self.leases:
                    wrong.append("LeaseNotFound")
                if needs_old and self.get(op.key) is None:
                    wrong.append("KeyNotFound")
                if wrong:
                    raise Refused(wrong[-1 if in_txn else 0])
            case Range():
                if in_txn and op.revision < (0 if self.compacted else -1):
                    raise Refused("Compacted")
                if op.revision > self.revision:
                    raise Refused("FutureRevision")
                if 0 < op.revision < self.compacted:
                    raise Refused("Compacted")

    def _run(self, op: Any) -> Any:
        match op:
            case Put():
                old, main = self.get(op.key), self.revision + 1
                value = old.value if op.ignore_value else op.value
                lease = old.lease if op.ignore_lease else op.lease
                created, version = (old.create_revision, old.version) if old else (main, 0)
                self._change(True, KeyValue(op.key, value, created, main, version + 1, lease))
                return PutResult(old if op.prev_kv else None)
            case DeleteRange():
                gone = self.range(op.key, op.range_end)
                for kv in gone:
                    self._delete(kv.key)
                return DeleteResult(len(gone), tuple(gone) if op.prev_kv else ())
            case Range():
                return self._read(op)

    def _read(self, op: Range) -> RangeResult:
        kvs = self.range(op.key, op.range_end, op.revision)
        count = len(kvs)
        if op.count_only:
            return RangeResult((), False, count)
        for kv in list(kvs):
            if op.min_mod_revision and kv.mod_revision < op.min_mod_revision:
                kvs.remove(kv)
            elif op.max_mod_revision and kv.mod_revision > op.max_mod_revision:
                kvs.remove(kv)
            elif op.min_create_revision and kv.create_revision < op.min_create_revision:
                kvs.remove(kv)
            elif op.max_create_revision and kv.create_revision > op.max_create_revision:
                kvs.remove(kv)
        field = TARGETS.get(op.sort_target, op.sort_target)
        if field != "key" or op.sort_order == "descend":
            kvs.sort(key=lambda kv: getattr(kv, field), reverse=op.sort_order == "descend")
        more = 0 < op.limit < len(kvs)
        kvs = kvs[: op.limit] if more else kvs
        if op.keys_only:
            kvs = [
                KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)
                for kv in kvs
            ]
        return RangeResult(tuple(kvs), more, count)

    # Transactions -----------------------------------------------------------------------------

    def _holds(self, compare: Compare) -> bool:
        pairs: list = self.range(compare.key, compare.range_end) or [None]
        return all(holds(compare, kv) for kv in pairs)

    def _chosen(self, txn: Txn) -> tuple[bool, list]:
        """Whether it holds, and the operations that will run; a nested one is such a pair again."""
        holds = all(map(self._holds, txn.compare))
        ops = txn.success if holds else txn.failure
        return holds, [self._chosen(op) if isinstance(op, Txn) else op for op in ops]

    def _run_chosen(self, chosen: tuple[bool, list]) -> TxnResult:
        ops = self._flat(chosen[1])
        for kind in Put, Range:  # etcd looks at all puts first
            for op in ops:
                if isinstance(op, kind):
                    self._allow(op, in_txn=True)
        return self._run_all(*chosen)

    def _flat(self, ops: list) -> list:
        flat = []
        for op in ops:
            flat += self._flat(op[1]) if isinstance(op, tuple) else [op]
        return flat

    def _run_all(self, holds: bool, ops: list) -> TxnResult:
        answers = []
        for op in ops:
            if isinstance(op, tuple):
                answers.append(OpResult(0, self._run_all(*op)))
            else:
                result = self._run(op)
                answers.append(OpResult(self.revision + (self._open > 0), result))
        return TxnResult(holds, tuple(answers))
