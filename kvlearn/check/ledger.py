"""What the answers of a history tell about revisions: by whom each was made, or at least by what.

A write whose answer was lost may have made a revision or not. Where answers leave a gap in the
revisions, one of those writes fills it; and every pair that a later read shows tells more about
which: the revision that made it, the one that created its key, and how many puts came between.

>>> from kvlearn.check.histories import Operation
>>> from kvlearn.kv.requests import Answer, DeleteRange, Header, KeyValue, Put, Range, RangeResult
>>> pair = KeyValue(b"a", b"7", create_revision=3, mod_revision=5, version=2)
>>> answer = Answer(1, Header(revision=6), RangeResult((pair,)))
>>> read = Operation("c1", 8.0, 9.0, Range(b"a"), answer)
>>> ledger = Ledger([read])
>>> [revision for revision in range(2, 8) if ledger.may_make(revision, Put(b"a", b"0"))]
[2, 3, 6]
>>> [revision for revision in range(2, 8) if ledger.may_make(revision, DeleteRange(b"a"))]
[2, 6]

(At 5 it was a put of 7, at 4 none of this key, since 3 and 5 are the two puts of its life; and
nobody was told of a revision 7.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kvlearn.check.histories import Operation
from kvlearn.check.naive import within
from kvlearn.kv.requests import DeleteRange, KeyValue, Put, PutResult, Range


class Ledger:
    """The facts. `known` are the operations to be placed; `others` may be left out, and only which
    revisions they made is taken from their answers.

    It is used to refuse what cannot have been; so it may know too little, but nothing wrong, as
    long as the answers are true. If they contradict one another, no order explains them anyway.
    """

    def __init__(self, known: Sequence[Operation], others: Sequence[Operation] = ()):
        self.owned: dict[int, Any] = {}  # revision -> the known write that made it
        self.shown: dict[int, tuple[bytes, bytes | None]] = {}  # revision -> key, value if told
        self.born: dict[int, bytes] = {}  # revision -> the key that it created
        self.values: set[tuple[bytes, bytes]] = set()  # (key, value) of all pairs that were shown
        self.last: int | None = None  # nobody was told of a later revision
        self._lives: dict[tuple[bytes, int], dict[int, int]] = {}  # key, birth -> revision -> puts
        for op in (*known, *others):
            revision = told(op.output)[0]
            if revision and not is_read(op.input, op.output):
                self.owned[revision] = op.input
        for op in known:
            self._read(op)
        revisions = [told(op.output)[0] for op in known]
        if all(revisions):
            self.last = max(revisions, default=0)
        self._found: dict[tuple[int, Any], bool] = {}
        self._close()

    def _read(self, op: Operation) -> None:
        for kv in pairs_of(told(op.output)[1]):
            named = kv.value if not getattr(op.input, "keys_only", False) else None
            if named is not None:
                self.values.add((kv.key, named))
            if kv.mod_revision:
                self.shown.setdefault(kv.mod_revision, (kv.key, named))
                if named is not None:
                    self.shown[kv.mod_revision] = (kv.key, named)
            if kv.mod_revision and kv.create_revision and kv.version:
                self.born[kv.create_revision] = kv.key
                life = self._lives.setdefault((kv.key, kv.create_revision), {})
                life[kv.create_revision] = 1
                life[kv.mod_revision] = kv.version

    def _close(self) -> None:
        """From lives to spans: where a key was alive, and where no unknown put can be."""
        self._alive: list[tuple[bytes, int, int]] = []  # key, after this revision, up to this one
        self._full: dict[bytes, list[tuple[int, int]]] = {}  # key -> between these revisions
        puts: dict[bytes, list[int]] = {}
        for revision, ask in self.owned.items():
            if type(ask) is Put:
                puts.setdefault(ask.key, []).append(revision)
        for (key, birth), life in self._lives.items():
            marks = sorted(life)
            self._alive.append((key, birth, marks[-1]))
            for low, high in zip(marks, marks[1:]):
                room = life[high] - life[low] - 1
                room -= sum(low < revision < high for revision in puts.get(key, ()))
                if room <= 0:
                    self._full.setdefault(key, []).append((low, high))

    def may_make(self, revision: int, ask: Any) -> bool:
        """Whether a write of unknown outcome can have made this revision."""
        found = self._found.get((revision, ask))
        if found is None:
            found = self._found[revision, ask] = self._may_make(revision, ask)
        return found

    def _may_make(self, revision: int, ask: Any) -> bool:
        if revision in self.owned or (self.last is not None and revision > self.last):
            return False
        if type(ask) is DeleteRange:
            return not (
                revision in self.shown
                or revision in self.born
                or any(
                    birth < revision <= end and within(key, ask.key, ask.range_end)
                    for key, birth, end in self._alive
                )
            )
        key, named = self.shown.get(revision, (ask.key, None))
        if key != ask.key or self.born.get(revision, key) != key:
            return False
        if named is not None and not ask.ignore_value and named != ask.value:
            return False
        return not any(low < revision < high for low, high in self._full.get(key, ()))

    def moments(self, writes: Sequence[Any]) -> dict[Any, int]:
        """The revision of each of these puts whose pair was shown at one revision, if no other
        write puts the same: it was made then, or never."""
        times: dict[tuple[bytes, bytes], set[int]] = {}
        for revision, pair in self.shown.items():
            if pair[1] is not None:
                times.setdefault(pair, set()).add(revision)
        asked: dict[tuple[bytes, bytes], int] = {}
        for ask in writes:
            if type(ask) is Put and not ask.ignore_value:
                asked[ask.key, ask.value] = asked.get((ask.key, ask.value), 0) + 1
        keeps = {ask.key for ask in writes if type(ask) is Put and ask.ignore_value}
        found: dict[Any, int] = {}
        for ask in writes:
            if type(ask) is not Put or ask.ignore_value or ask.key in keeps:
                continue
            at = times.get((ask.key, ask.value), ())
            if len(at) == 1 and asked[ask.key, ask.value] == 1:
                found[ask] = next(iter(at))
        return found


# Answers ------------------------------------------------------------------------------------


def told(output: Any) -> tuple[int, Any]:
    """The revision (0: not told) and the result in an Answer, a client's reply or a bare result."""
    header = getattr(output, "header", None)
    if header is not None:
        return header.revision, output.result
    return 0, output


def pairs_of(result: Any) -> Sequence[KeyValue]:
    """The pairs that a result shows."""
    if isinstance(result, PutResult):
        return () if result.prev_kv is None else (result.prev_kv,)
    return getattr(result, "kvs", None) or getattr(result, "prev_kvs", ())


def is_read(input: Any, output: Any) -> bool:
    """Whether nothing was changed: a read, or a delete that was told that there was nothing."""
    if type(input) is Range:
        return True
    return type(input) is DeleteRange and getattr(told(output)[1], "deleted", None) == 0
