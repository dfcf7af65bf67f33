"""What of the store changes from record to record, for a browser: patches and tables.

A `StoreFold` goes on by one record, and what that changed becomes patches on the flat state of
`timeline_rows.py`. Facts that never change again are told once, as rows of a table, and the state
names them by number: a record of the store (`changes`), a transaction that was decided (`forks`).

    s.revision, s.compacted      of the node that has applied most
    s.changes, s.holes           numbers of changes: all so far, and those a compaction took away
    s.swept                      the revisions of the compactions
    s.root, page.7               the grey tree: [children, keys] or [None, changes, holes] of a page
    s.fork                       the transaction that was decided last
    w.0, w.0.sees, w.0.told      a watcher, the changes that it asked for, those that it was told
    l.123                        a lease; its time is told as a start and a rate: it runs by itself

>>> from kvlearn.events import Applied
>>> from kvlearn.kv.requests import Command, Put
>>> from kvlearn.trace import Trace
>>> trace, rows = Trace(), StoreRows()
>>> for number in (1, 2):
...     put = Command("n1", number, Put(b"a", b"%d" % number))
...     seq = trace.add(number / 10, "n1", Applied(number, 1, put, number + 1), None)
>>> [patches for record in trace for patches in [rows.take(record)]][1][:2]
[('s.revision', 2, 3), ('s.changes', 1, [], [(1, 1)])]
>>> rows.tables["changes"][1]
[3, 0, 'modify', 'a', '2', 2, 0, 1, 2, 1]
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import Any

from kvlearn import events as ev
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.requests import interval
from kvlearn.mvcc.bptree import BPlusTree, Page
from kvlearn.mvcc.revision import KeyValue, Revision, short
from kvlearn.trace import Record, Trace
from kvlearn.viz.forks import operation_lines
from kvlearn.viz.store_fold import Change, StoreFold
from kvlearn.viz.svg import one_line
from kvlearn.viz.txn_fold import Fork

KEY_CHARS, VALUE_CHARS, WORDS = 40, 60, 80  # of a key, a value, a line of a transaction
LINES = 9  # of a list of a transaction; the picture shows no more
HELD = 30  # keys of a lease that are told by name
ORDER = 4  # records in a page of the grey tree, as in `viz.trees`
LISTS = (".log", ".changes", ".holes", ".swept", ".told", ".sees")  # keys of lists, told as runs
_KINDS = frozenset(StoreFold.KINDS)


class Runs(list):
    """A list of numbers that grows and shrinks at its end, told as runs."""

    def become(self, key: str, now: list[int]) -> list[tuple]:
        """Change into `now`; the patch for that, if any."""
        same = min(len(self), len(now))
        while same and self[same - 1] != now[same - 1]:
            same -= 1
        gone, come = self[same:], now[same:]
        if not gone and not come:
            return []
        self[same:] = come
        return [(key, same, runs(gone), runs(come))]

    def grow(self, key: str, come: list[int]) -> list[tuple]:
        """Add numbers at the end; the patch for that, if any."""
        if not come:
            return []
        at = len(self)
        self += come
        return [(key, at, [], runs(come))]


class StoreRows:
    """Folds the store on, and says what each record changed.

    Invariant: `state()` is what all patches so far, applied to an empty state, would give.
    """

    def __init__(self, config: StoreConfig = StoreConfig()):
        self.config = config
        self.tables: dict[str, list] = {"changes": [], "forks": []}
        self._numbers: dict[tuple, int] = {}
        self._named: dict[str, bytes] = {}  # how a key is called -> the key
        self.begin(Trace(), -1)

    def begin(self, trace: Trace, seq: int) -> None:
        """Go on after record `seq` of `trace` instead; what was numbered keeps its number."""
        self._trace = trace  # the fold holds it weakly
        self.fold = StoreFold(trace, None, self.config).upto(seq)
        self._told: dict[str, Any] = {}
        self._lists: dict[str, Runs] = {}
        self._places: list[int] = []  # place in `fold.changes` -> number
        self._at: dict[Revision, int] = {}  # revision -> number
        self._made: dict[tuple[bytes, int], tuple] = {}  # key, main revision -> number, now, before
        self._last: dict[bytes, KeyValue | None] = {}  # key -> what it holds
        self._holder: dict[bytes, int] = {}  # key -> its lease
        self._tree = BPlusTree(ORDER)
        self._swept = self._judged = 0  # compactions and transactions that were told
        self._first: dict[int, int] = {}  # watcher -> the first revision that it wants
        self._heard: dict[int, int] = {}  # watcher -> how many different events it was told
        self._odd: dict[int, str] = {}  # watcher -> what it was told wrongly, in few words
        if seq >= 0:
            self._compare()

    def take(self, record: Record) -> list[tuple]:
        """Go on by one record; the patches."""
        if type(record.event) not in _KINDS:
            return []
        self.fold.take(record)
        return self._compare(record.event)

    def state(self) -> list[tuple[str, Any]]:
        """The flat state now, as (key, value) pairs; lists as runs of (first number, count)."""
        lists = [(key, runs(numbers)) for key, numbers in self._lists.items()]
        return [(key, fact) for key, fact in self._told.items() if fact is not None] + lists

    # Comparing ----------------------------------------------------------------------------------

    def _compare(self, event: Any = None) -> list[tuple]:
        fold, patches = self.fold, []
        fresh = fold.changes[len(self._places) :]
        patches += self._set("s.revision", fold.machine.store.revision)
        for compaction in fold.compactions[self._swept :]:  # what came before it is there by then
            before = bisect_right(fold.changes, compaction.now, key=_revision)
            patches += self._grow(fold.changes[len(self._places) : before])
            patches += self._compact(compaction.revision)
        patches += self._grow(fold.changes[len(self._places) :])
        if len(fold.forks) > self._judged:
            patches += self._judge()
        patches += self._leases(fresh)
        patches += self._watches(event, fresh)
        return patches

    def _set(self, key: str, fact: Any) -> list[tuple]:
        old = self._told.get(key)
        if old == fact:
            return []
        self._told[key] = fact
        return [(key, old, fact)]

    def _list(self, key: str) -> Runs:
        return self._lists.setdefault(key, Runs())

    def _grow(self, fresh: list[Change]) -> list[tuple]:
        if not fresh:
            return []
        come = [self._number("changes", self._change(change)) for change in fresh]
        self._places += come
        pages: dict[int, Page] = {}
        for change, number in zip(fresh, come):
            self._at[change.at] = number
            kv = change.kv
            self._made[kv.key, change.revision] = number, kv, self._last.get(kv.key)
            self._last[kv.key] = kv if kv.version else None
            self._tree.put(change.at, number)
            self._near(change.at, pages)
        patches = self._list("s.changes").grow("s.changes", come)
        return patches + self._pages(pages)

    def _compact(self, revision: int) -> list[tuple]:
        changes = self.fold.changes
        gone = [place for place in range(len(self._places)) if changes[place].removed == revision]
        for place in gone:
            self._tree.delete(changes[place].at)
        self._swept += 1
        holes = [self._places[place] for place in gone]
        patches = self._set("s.compacted", revision)
        patches += self._list("s.swept").grow("s.swept", [revision])
        patches += self._list("s.holes").grow("s.holes", holes)
        there = {page.number: page for level in self._tree.pages() for page in level}
        for key in [key for key in self._told if key.startswith("page.")]:
            if int(key[5:]) not in there:
                patches += self._set(key, None)
        return patches + self._pages(there)

    def _judge(self) -> list[tuple]:
        self._judged = len(self.fold.forks)
        return self._set("s.fork", self._number("forks", fork_facts(self.fold.forks[-1])))

    def _change(self, change: Change) -> list:
        kv, value = change.kv, short(change.kv.value, VALUE_CHARS)
        facts = [change.at.main, change.at.sub, change.kind, self._name(kv.key), value]
        return [*facts, kv.version, kv.lease, change.term, change.index, change.seq]

    def _name(self, key: bytes) -> str:
        """A key as the browser knows it: short, and no other key's."""
        told = name = short(key, KEY_CHARS)
        number = 1
        while self._named.setdefault(name, key) != key:
            number += 1
            name = f"{told}~{number}"
        return name

    def _number(self, table: str, facts: list) -> int:
        key = (table, repr(facts))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.tables[table])
            self.tables[table].append(facts)
        return number

    # The grey tree ------------------------------------------------------------------------------

    def _near(self, key: Any, pages: dict[int, Page]) -> None:
        """The pages on the way to a key, and their neighbours: all that a put can change."""
        page = self._tree.root
        pages[page.number] = page
        while page.children is not None:
            at = sum(signpost <= key for signpost in page.keys)
            for child in page.children[max(0, at - 1) : at + 2]:
                pages[child.number] = child
            page = page.children[at]

    def _pages(self, pages: dict[int, Page]) -> list[tuple]:
        patches = self._set("s.root", self._tree.root.number)
        for number, page in pages.items():
            patches += self._set(f"page.{number}", self._page(page))
        return patches

    def _page(self, page: Page) -> list:
        if page.children is not None:
            signs = [str(key) for key in page.keys]
            return [[child.number for child in page.children], signs]
        return [None, list(page.values), [self._at[at] for at in page.gone]]

    # Leases -------------------------------------------------------------------------------------

    def _leases(self, fresh: list[Change]) -> list[tuple]:
        touched, patches = self.fold.leases.touched, []
        for change in fresh:
            key, lease = change.kv.key, change.kv.lease if change.kv.version else 0
            touched |= {self._holder.get(key, 0), lease} - {0}
            self._holder[key] = lease
        for id in sorted(touched):
            patches += self._set(f"l.{id}", self._lease(id))
        touched.clear()
        return patches

    def _lease(self, id: int) -> list | None:
        life = self.fold.leases.last(id)
        if life is None:
            return None
        held = self.fold.machine.lessor.leases.get(id)
        keys = life.keys if life.end else sorted(held.keys) if held else ()
        names = [self._name(key) for key in keys[:HELD]]
        ended, ran_out = _micros(life.ended), _micros(life.ran_out)
        rate = self.fold.leases.rate(life.node)
        return [
            life.ttl_s, _micros(life.granted), _micros(life.start), _micros(life.left), rate,
            life.node, life.why, life.end, ended, life.revision, ran_out, names, len(keys),
        ]  # fmt: skip

    # Watches ------------------------------------------------------------------------------------

    def _watches(self, event: Any, fresh: list[Change]) -> list[tuple]:
        patches: list[tuple] = []
        everybody = event is None or isinstance(event, ev.Crashed)
        stream = getattr(event, "stream", None)
        for place, life in enumerate(self.fold.watches.watchers):
            key = f"w.{place}"
            if everybody or stream == life.stream:
                told = self._newly_told(place, life)
                patches += self._list(f"{key}.told").grow(f"{key}.told", told)
                patches += self._set(key, self._watcher(place, life))
            if self._first.get(place) != life.first:
                self._first[place] = life.first
                seen = self._seen(life, self.fold.changes, 0)
                patches += self._list(f"{key}.sees").become(f"{key}.sees", seen)
            elif fresh and not life.end:
                seen = self._seen(life, fresh, len(self._places) - len(fresh))
                patches += self._list(f"{key}.sees").grow(f"{key}.sees", seen)
        return patches

    def _watcher(self, place: int, life: Any) -> list:
        request = life.request
        what = interval(request.key, request.range_end)
        return [
            life.name, what[:KEY_CHARS], life.first, life.position, life.node, life.end,
            life.lost, _micros(life.asked), list(request.filters), self._odd.get(place, ""),
        ]  # fmt: skip

    def _newly_told(self, place: int, life: Any) -> list[int]:
        """Numbers of the changes that it was told since the last time; odd ones are noted."""
        known = self._heard.get(place, 0)
        self._heard[place] = len(life.told)
        numbers = []
        for told in list(islice(life.told.values(), known, None)):
            at = told.event.kv.key, told.revision
            made = self._made.get(at)
            if made:
                numbers.append(made[0])
            if not self._odd.get(place):
                self._odd[place] = life.fault(told, {at: made[1:]} if made else {})
        if not self._odd.get(place) and life.again:
            self._odd[place] = "told twice"
        return numbers

    def _seen(self, life: Any, changes: list[Change], first: int) -> list[int]:
        return [
            self._places[first + k]
            for k, change in enumerate(changes)
            if change.revision >= life.first and life.covers(change.kv.key)
        ]


# Facts --------------------------------------------------------------------------------------


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers as runs of (first, count).

    >>> runs([3, 4, 5, 9])
    [(3, 3), (9, 1)]
    """
    told: list[tuple[int, int]] = []
    for number in numbers:
        if told and number == told[-1][0] + told[-1][1]:
            told[-1] = (told[-1][0], told[-1][1] + 1)
        else:
            told.append((number, 1))
    return told


def _revision(change: Change) -> int:
    return change.at.main


def fork_facts(fork: Fork) -> list:
    """A transaction for a picture: what it saw, both branches line by line, what came of it."""
    seen = [[_cut(one.compare), one.holds, _cut(one.saw)] for one in fork.seen]
    branches = []
    for ops in (fork.success, fork.failure):
        lines = operation_lines(ops)
        told = [[depth, sign, _cut(words), dead] for depth, sign, words, dead in lines[:LINES]]
        branches.append([told, max(0, len(lines) - LINES)])
    hidden = seen[LINES:]
    more = [len(hidden), sum(not holds for _, holds, _ in hidden)]
    ends = [fork.succeeded, fork.before, fork.revision, fork.error[:200], fork.index, fork.term]
    return [*ends, fork.seq, _micros(fork.time), seen[:LINES], more, *branches]


def _cut(words: Any) -> str:
    text = one_line(str(words))
    return text if len(text) <= WORDS else text[: WORDS - 1] + "…"


def _micros(time_s: float | None) -> int | None:
    return None if time_s is None else round(time_s * 1e6)
