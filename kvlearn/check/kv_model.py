"""The model of etcd's keys: intervals, counts, lives of keys, and one revision for all of them.

It is written from the interface's description alone and shares no code with the store, which it
judges. Answers may carry revisions or not; what an answer does not say is not checked. Revisions
make checking quick, because a write of revision 7 can only have come right after revision 6:

>>> from kvlearn.kv.requests import Answer, DeleteResult, Header, Put, PutResult, DeleteRange
>>> model = KV()
>>> done = Answer(1, Header(revision=2), PutResult())
>>> ok, state = model.step(model.init(), Put(b"a", b"1"), done)
>>> ok, model.describe_state(state)
(True, 'revision 2: a=1')
>>> model.step(state, DeleteRange(b"a"), DeleteResult(deleted=2))[0]
False

Source: etcd api/etcdserverpb/rpc.proto. Differs: leases and compaction change nothing here yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from kvlearn.check.histories import UNKNOWN, Operation
from kvlearn.check.ledger import Ledger, is_read, pairs_of, told
from kvlearn.check.models import ANY, LOST, Model, Register, by_key
from kvlearn.check.naive import within
from kvlearn.kv.requests import (
    SORT_TARGETS,
    DeleteRange,
    DeleteResult,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)


class State:
    """The pairs at one revision. `past` leads to earlier states, if somebody reads them."""

    __slots__ = ("revision", "pairs", "past", "_hash")

    def __init__(self, revision: int, pairs: dict[bytes, KeyValue], past: State | None, mark: int):
        self.revision, self.pairs, self.past, self._hash = revision, pairs, past, mark

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        one, two = self, other
        while one is not two:
            if one is None or two is None or one._hash != two._hash:
                return False
            if one.revision != two.revision or one.pairs != two.pairs:
                return False
            one, two = one.past, two.past
        return True


class KV(Model):
    """etcd's store: Put, Range and DeleteRange. `revision`: that of the store in the beginning."""

    inputs = (Put, Range, DeleteRange)

    def __init__(self, revision: int = 1):
        self.first = revision
        self.counts = True  # answers carry revisions, so states differ by them
        self.remembers = True  # somebody reads the past
        self.ledger: Ledger | None = None  # what the answers tell; None: not fitted
        self.moments: dict[Any, int] = {}  # put without an answer -> its revision, if it has one
        self.by_value = True  # somebody asks for an order by value

    def init(self) -> State:
        return State(self.first, {}, None, hash(self.first))

    def step(self, state: State, input: Any, output: Any) -> tuple[bool, State]:
        """Carry the request out, and compare what the answer says."""
        revision, result = told(output)
        if type(input) is Range:
            return self._range(state, input, revision, result), state
        if type(input) is Put:
            ok, after = self._put(state, input, result, output is UNKNOWN)
        else:
            ok, after = self._delete(state, input, result)
        if revision and revision != after.revision:
            return False, after
        if not revision and self.counts and self.ledger and after is not state:
            ok = ok and self.ledger.may_make(after.revision, input)
        return ok, after

    # Requests ---------------------------------------------------------------------------------

    def _put(self, state: State, put: Put, result: Any, unknown: bool) -> tuple[bool, State]:
        old = state.pairs.get(put.key)
        if old is None and (put.ignore_value or put.ignore_lease):
            return unknown, state  # it was refused
        value = old.value if put.ignore_value else put.value
        if self.ledger and not self.by_value and (put.key, value) not in self.ledger.values:
            value = LOST  # nobody saw it: one such value is like the other
        lease = old.lease if put.ignore_lease else put.lease
        revision = state.revision + 1 if self.counts else state.revision
        new = KeyValue(put.key, value, lease=lease)
        if self.counts and old is None:
            new = KeyValue(put.key, value, revision, revision, 1, lease)
        elif self.counts:
            new = KeyValue(put.key, value, old.create_revision, revision, old.version + 1, lease)
        ok = True
        if isinstance(result, PutResult) and put.prev_kv:
            ok = agrees(result.prev_kv, old)
        return ok, self._after(state, revision, [new])

    def _delete(self, state: State, delete: DeleteRange, result: Any) -> tuple[bool, State]:
        gone = pairs_in(state.pairs, delete.key, delete.range_end)
        ok = True
        if isinstance(result, DeleteResult):
            ok = result.deleted == len(gone)
            if ok and delete.prev_kv:
                prev = result.prev_kvs
                ok = len(prev) == len(gone) and all(map(agrees, prev, gone))
        if not gone:
            return ok, state
        revision = state.revision + 1 if self.counts else state.revision
        return ok, self._after(state, revision, [], gone)

    def _after(
        self, state: State, revision: int, new: list[KeyValue], gone: Sequence[KeyValue] = ()
    ) -> State:
        pairs = dict(state.pairs)
        mark = state._hash ^ hash(state.revision) ^ hash(revision)
        for kv in gone:
            mark ^= hash(pairs.pop(kv.key))
        for kv in new:
            if kv.key in pairs:
                mark ^= hash(pairs[kv.key])
            pairs[kv.key] = kv
            mark ^= hash(kv)
        return State(revision, pairs, state if self.remembers else None, mark)

    def _range(self, state: State, ask: Range, revision: int, result: Any) -> bool:
        if revision and revision != state.revision:
            return False
        if not isinstance(result, RangeResult):
            return True
        seen: State | None = state
        if ask.revision > 0:
            while seen is not None and seen.revision > ask.revision:
                seen = seen.past
            if seen is None or ask.revision > state.revision:
                return False  # the future, or before the beginning
        return answers(ask, pairs_in(seen.pairs, ask.key, ask.range_end), result)

    # What helps the search ----------------------------------------------------------------------

    def partition(self, history: Sequence[Operation]) -> dict[Any, list[Operation]]:
        """One part, since a revision counts the changes of all keys; but if no answer has one and
        nobody asks for an interval, a part for each key."""
        single = all(not getattr(op.input, "range_end", b"") for op in history)
        if not single or any(map(counts_revisions, history)):
            return {None: list(history)}
        return by_key(history)

    def is_read(self, input: Any, output: Any) -> bool:
        """A delete that found nothing is a read."""
        return is_read(input, output)

    def due(self, input: Any, output: Any) -> int | None:
        """A write of revision r comes right after r - 1; a read that saw r comes at r."""
        revision, _ = told(output)
        if self.is_read(input, output):
            return revision or None
        revision = revision or self.moments.get(input, 0)
        return revision - 1 if revision else None

    def is_late(self, state: State, input: Any, output: Any) -> bool:
        """A pair that was shown is gone for good once its key was written or deleted again."""
        if type(input) is not Range or input.revision > 0:
            return False
        for kv in pairs_of(told(output)[1]):
            if 0 < kv.mod_revision <= state.revision:
                held = state.pairs.get(kv.key)
                if held is None or held.mod_revision != kv.mod_revision:
                    return True
        return False

    def likeness(self, input: Any) -> Any:
        """Two puts of a key are alike if nobody saw either."""
        if type(input) is Put and self.ledger and not self.by_value:
            if (input.key, input.value) not in self.ledger.values and not input.ignore_value:
                return input.key, input.lease, input.ignore_lease
        return input

    def clock(self, state: State) -> int:
        return state.revision

    def fit(self, known, optional):
        """What answers tell about revisions bounds what unknown writes can have done."""
        fitted = KV(self.first)
        everything = [op for op in (*known, *optional) if op.known]
        fitted.counts = any(map(counts_revisions, everything))
        fitted.remembers = any(getattr(op.input, "revision", 0) > 0 for op in everything)
        fitted.by_value = any(getattr(op.input, "sort_target", "") == "value" for op in everything)
        fitted.ledger = Ledger(known, [op for op in optional if op.known])
        if fitted.counts:
            fitted.moments = fitted.ledger.moments([op.input for op in (*known, *optional)])
        if fitted.counts:
            return fitted, list(optional)
        if is_plain([*known, *optional]):
            return OneKey().fit(known, optional)
        return fitted, [op for op in optional if matters(op.input, known)]

    def starts(self, known, optional):
        """From every value that a single key may have had."""
        fitted, optional = self.fit(known, optional)
        return fitted.starts(known, optional) if isinstance(fitted, OneKey) else []

    def describe_operation(self, input: Any, output: Any) -> str:
        """`get a → a=1 (revision 5)`."""
        if output is UNKNOWN:
            return f"{input} → ?"
        revision, result = told(output)
        done = f"{input}" if result is None else f"{input} → {result}"
        return f"{done} (revision {revision})" if revision else done

    def describe_state(self, state: State) -> str:
        """`revision 5: a=1 b=2`."""
        pairs = " ".join(str(state.pairs[key]) for key in sorted(state.pairs)) or "no keys"
        return f"revision {state.revision}: {pairs}" if self.counts else pairs


class OneKey(Register):
    """One key whose answers tell values only: a register that can be empty (None)."""

    inputs = (Put, Range, DeleteRange)

    def step(self, state: Any, input: Any, output: Any) -> tuple[bool, Any]:
        """A delete says whether there was something."""
        if type(input) is Put:
            return True, self.kept(input.value)
        if type(input) is Range:
            return output is UNKNOWN or self.needs(input, output) in (state, ANY), state
        deleted = getattr(told(output)[1], "deleted", None)
        return deleted is None or deleted == (state is not None), self.kept(None)

    def makes(self, input: Any) -> Any:
        return input.value if type(input) is Put else None

    def needs(self, input: Any, output: Any) -> Any:
        """What a read saw; a delete of nothing saw nothing."""
        result = told(output)[1]
        if type(input) is Range:
            return result.value if isinstance(result, RangeResult) else ANY
        return None if is_read(input, output) else ANY

    def compares(self, input: Any) -> Any:
        return None if type(input) is DeleteRange else ANY

    def is_read(self, input: Any, output: Any) -> bool:
        return is_read(input, output)

    def helpful(self, known, optional, told: set) -> list[Operation]:
        """A delete that found something may have found any value."""
        if any(type(op.input) is DeleteRange and not is_read(op.input, op.output) for op in known):
            return list(optional)
        return super().helpful(known, optional, told)


def is_plain(history: Sequence[Operation]) -> bool:
    """Whether all of a history is about the value of one key."""
    flags = ("prev_kv", "ignore_value", "ignore_lease", "keys_only", "count_only", "range_end")
    if any(getattr(op.input, flag, False) for op in history for flag in flags):
        return False
    one_key = len({op.input.key for op in history}) == 1
    return one_key and not any(getattr(op.input, "limit", 0) for op in history)


# Answers ------------------------------------------------------------------------------------


def tells_revision(output: Any) -> bool:
    """Whether an answer says anything about revisions, in its header or of a pair."""
    revision, result = told(output)
    return bool(revision) or any(kv.mod_revision or kv.version for kv in pairs_of(result))


def asks_revision(input: Any) -> bool:
    """Whether the answer to a read depends on revisions, even if it shows none."""
    if type(input) is not Range:
        return False
    by_number = input.sort_target in ("version", "create", "mod")
    return input.revision > 0 or by_number or any(_filters(input))


def counts_revisions(operation: Operation) -> bool:
    """Whether revisions matter to an operation."""
    return tells_revision(operation.told) or asks_revision(operation.input)


def agrees(shown: KeyValue | None, held: KeyValue | None, keys_only: bool = False) -> bool:
    """Whether a pair that was shown is the one that is held; what it does not tell is not asked."""
    if shown is None or held is None:
        return shown is held
    if shown.key != held.key or shown.value != (b"" if keys_only else held.value):
        return False
    if not held.mod_revision:
        return True  # nobody counts in this history
    return all(
        said in (0, is_)
        for said, is_ in (
            (shown.create_revision, held.create_revision),
            (shown.mod_revision, held.mod_revision),
            (shown.version, held.version),
        )
    ) and (not shown.version or shown.lease == held.lease)


def pairs_in(pairs: dict[bytes, KeyValue], key: bytes, range_end: bytes) -> list[KeyValue]:
    """The pairs of an interval, in key order."""
    if not range_end:
        return [pairs[key]] if key in pairs else []
    return [pairs[other] for other in sorted(pairs) if within(other, key, range_end)]


def answers(ask: Range, found: list[KeyValue], result: RangeResult) -> bool:
    """Whether `result` answers `ask` where the interval holds `found`. Pairs that are equal in what
    they are sorted by may come in any order."""
    if result.count != len(found) and (result.count or ask.count_only):
        return False  # a count of 0 beside pairs: whoever wrote it down left it out
    if ask.count_only:
        return not result.kvs
    passed = [kv for kv in found if _passes(ask, kv)]
    field = attrgetter(SORT_TARGETS[ask.sort_target])
    filtered = any(_filters(ask))
    if ask.limit > 0 and ask.sort_order == "none" and not filtered:
        passed = passed[: ask.limit + 1]  # etcd sorts what it has collected, which is no more
    passed.sort(key=field, reverse=ask.sort_order == "descend")
    more = 0 < ask.limit < len(passed)
    wanted = passed[: ask.limit] if more else passed
    if len(result.kvs) != len(wanted) or result.more != more:
        return False
    held = {kv.key: kv for kv in passed}
    shown = [held.get(kv.key) for kv in result.kvs]
    return (
        len({kv.key for kv in result.kvs}) == len(wanted)
        and all(agrees(kv, is_, ask.keys_only) for kv, is_ in zip(result.kvs, shown))
        and [field(kv) for kv in shown] == [field(kv) for kv in wanted]
    )


def _filters(ask: Range) -> tuple[int, ...]:
    return (
        ask.min_mod_revision,
        ask.max_mod_revision,
        ask.min_create_revision,
        ask.max_create_revision,
    )


def _passes(ask: Range, kv: KeyValue) -> bool:
    low, high, created_low, created_high = _filters(ask)
    return (
        (not low or kv.mod_revision >= low)
        and (not high or kv.mod_revision <= high)
        and (not created_low or kv.create_revision >= created_low)
        and (not created_high or kv.create_revision <= created_high)
    )


def matters(input: Any, known: Sequence[Operation]) -> bool:
    """Whether an optional write can change what any known operation was answered."""
    for op in known:
        ask, result = op.input, told(op.output)[1]
        if type(ask) is Put and not (ask.prev_kv or ask.ignore_value or ask.ignore_lease):
            continue
        end = getattr(ask, "range_end", b"")
        if type(input) is not Put:
            # Two intervals: asking each one's first key is enough to see whether they meet.
            if within(input.key, ask.key, end) or within(ask.key, input.key, input.range_end):
                return True
        elif within(input.key, ask.key, end):
            plain = type(ask) is Range and not (ask.keys_only or ask.limit or ask.count_only)
            if not plain or any(
                (kv.key, kv.value) == (input.key, input.value) for kv in pairs_of(result)
            ):
                return True
    return False
