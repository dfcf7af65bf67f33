"""The model of etcd's keys with transactions and leases: what one request does to many keys.

A transaction is one step: its comparisons are made on the state before it, its operations on what
the ones before them left, and all its writes share one revision. A lease that ends takes its keys
along; nobody asks for that, so `history_of` puts what the leader found into the history as a write
of its own, which may have come at any later time or never.

>>> from kvlearn.check.histories import Operation
>>> from kvlearn.kv.requests import Answer, Header, Put, PutResult
>>> from kvlearn.kv.txn import Compare, OpResult, Txn, TxnResult
>>> swap = Txn((Compare(b"a", "value", "equal", b"1"),), (Put(b"a", b"2"),))
>>> model = KVTxn()
>>> _, state = model.step(model.init(), Put(b"a", b"1"), Answer(1, Header(revision=2), PutResult()))
>>> done = Answer(2, Header(revision=3), TxnResult(True, (OpResult(3, PutResult()),)))
>>> ok, after = model.step(state, swap, done)
>>> ok, model.describe_state(after)
(True, 'revision 3: a=2')
>>> model.step(after, swap, done)[0]
False

Source: etcd api/etcdserverpb/rpc.proto (Txn, LeaseRevoke).
"""

from __future__ import annotations

from typing import Any

from kvlearn.check.histories import UNKNOWN
from kvlearn.check.kv_model import KV, State, agrees, answers, pairs_in
from kvlearn.check.ledger import is_read, told
from kvlearn.check.naive import holds
from kvlearn.kv.leases import LeaseRevoke
from kvlearn.kv.requests import DeleteRange, KeyValue, Put, Range
from kvlearn.kv.txn import Compare, Txn, TxnResult


class KVTxn(KV):
    """etcd's store: Put, Range, DeleteRange, Txn and LeaseRevoke. Its answers carry revisions."""

    inputs = (*KV.inputs, Txn, LeaseRevoke)

    def step(self, state: State, input: Any, output: Any) -> tuple[bool, State]:
        """Carry the request out, and compare what the answer says."""
        if not isinstance(input, (Txn, LeaseRevoke)):
            return super().step(state, input, output)
        revision, result = told(output)
        draft = _Draft(state)
        if isinstance(input, Txn):
            ok = draft.run(input, result if output is not UNKNOWN else None)
        else:
            gone = [kv for kv in state.pairs.values() if kv.lease == input.id]
            draft.delete(sorted(gone, key=lambda kv: kv.key))
            ok = True
        if draft.refused:
            return output is UNKNOWN, state
        after = draft.state(self)
        return ok and (not revision or revision == after.revision), after

    def is_read(self, input: Any, output: Any) -> bool:
        """A transaction that changed nothing, as far as its answer tells, is a read."""
        if isinstance(input, Txn):
            result = told(output)[1]
            return not input.writes or isinstance(result, TxnResult) and _changed_nothing(result)
        return is_read(input, output)

    def due(self, input: Any, output: Any) -> int | None:
        """The answer to a revocation does not tell whether the lease had keys."""
        return None if isinstance(input, LeaseRevoke) else super().due(input, output)

    def fit(self, known, optional):
        """Any write without an answer may fill a gap in the revisions."""
        return self, list(optional)

    def starts(self, known, optional):
        return []

    def partition(self, history):
        return {None: list(history)}


class _Draft:
    """The pairs as a transaction leaves them so far. `refused`: none of it can have been done."""

    def __init__(self, state: State):
        self.before, self.pairs = state, dict(state.pairs)
        self.changed: dict[bytes, KeyValue | None] = {}
        self.touched = False
        self.refused = False

    @property
    def revision(self) -> int:
        return self.before.revision + self.touched

    def state(self, model: KV) -> State:
        """The state afterwards."""
        if not self.touched:
            return self.before
        new = [kv for kv in self.changed.values() if kv is not None]
        held = self.before.pairs
        gone = [held[key] for key, kv in self.changed.items() if kv is None and key in held]
        return model._after(self.before, self.revision, new, gone)

    def run(self, txn: Txn, result: TxnResult | None) -> bool:
        """Carry it out; whether `result` (None: nobody saw it) is what it gives."""
        chosen = self.choose(txn)
        return self._run(chosen, result)

    def choose(self, txn: Txn) -> tuple[bool, list]:
        """Which operations run, by the state before."""
        succeeded = all(self._holds(compare) for compare in txn.compare)
        ops = txn.success if succeeded else txn.failure
        return succeeded, [self.choose(op) if isinstance(op, Txn) else op for op in ops]

    def _holds(self, compare: Compare) -> bool:
        found = pairs_in(self.before.pairs, compare.key, compare.range_end)
        return all(holds(compare, kv) for kv in found or [None])

    def _run(self, chosen: tuple[bool, list], result: TxnResult | None) -> bool:
        succeeded, ops = chosen
        ok = result is None or (result.succeeded == succeeded and len(result.responses) == len(ops))
        given = [one.result for one in result.responses] if result and ok else [None] * len(ops)
        for op, said in zip(ops, given):
            ok = self._do(op, said) and ok
        return ok

    def _do(self, op: Any, said: Any) -> bool:
        match op:
            case Put():
                return self._put(op, said)
            case DeleteRange():
                gone = pairs_in(self.pairs, op.key, op.range_end)
                self.delete(gone)
                if said is None:
                    return True
                told = said.prev_kvs
                fits = not op.prev_kv or (len(told) == len(gone) and all(map(agrees, told, gone)))
                return said.deleted == len(gone) and fits
            case Range():
                return said is None or self._range(op, said)
        return self._run(op, said)

    def _put(self, put: Put, said: Any) -> bool:
        old = self.pairs.get(put.key)
        if old is None and (put.ignore_value or put.ignore_lease):
            self.refused = True
            return False
        value = old.value if put.ignore_value else put.value
        lease = old.lease if put.ignore_lease else put.lease
        self.touched = True
        born, version = (old.create_revision, old.version + 1) if old else (self.revision, 1)
        kv = KeyValue(put.key, value, born, self.revision, version, lease)
        self.pairs[put.key] = self.changed[put.key] = kv
        return said is None or not put.prev_kv or agrees(said.prev_kv, old)

    def delete(self, gone: list[KeyValue]) -> None:
        """Delete these pairs."""
        for kv in gone:
            self.touched = True
            del self.pairs[kv.key]
            self.changed[kv.key] = None

    def _range(self, ask: Range, said: Any) -> bool:
        pairs = self.pairs
        if ask.revision > 0:
            seen: State | None = self.before
            if ask.revision > seen.revision:
                self.refused = True
                return False
            while seen is not None and seen.revision > ask.revision:
                seen = seen.past
            if seen is None:
                return True  # before the beginning of what is known
            pairs = seen.pairs
        return answers(ask, pairs_in(pairs, ask.key, ask.range_end), said)


def _changed_nothing(result: TxnResult) -> bool:
    for one in result.responses:
        said = one.result
        if isinstance(said, TxnResult):
            if not _changed_nothing(said):
                return False
        elif not hasattr(said, "kvs") and getattr(said, "deleted", None) != 0:
            return False
    return True
