"""Linearizability: is there one order of the operations that explains every answer?

The order must be true to real time (what returned before another was called comes first), and one
client alone, asking in this order, must be answered as the clients were.

>>> from kvlearn.check.histories import Operation, Read, Write
>>> stale = [
...     Operation("c1", 0.0, 1.0, Write("red")),
...     Operation("c1", 2.0, 3.0, Write("blue")),
...     Operation("c2", 0.5, 1.5, Read(), "red"),
...     Operation("c3", 5.0, 6.0, Read(), "red"),
... ]
>>> verdict = linearizable(stale)
>>> print(verdict)
Linearizability is broken: no order explains 4 operations of 3 clients; these 3 exclude each other:
  c1: write red (0 to 1)
  c1: write blue (2 to 3)
  c3: read → red (5 to 6)
>>> linearizable(stale[:3]).verdict
'ok'

The three that exclude each other are the *core*: they cannot all be placed, wherever the others
come, and even if those are left out. None of them can be spared: were one of the writes free to
come later, or the read not there, an order would be found.

Source: Herlihy and Wing (1990); the search is in search.py, what is legal in models.py. Differs
from Porcupine and Knossos: the budget is counted in steps, so a verdict is the same on any machine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from kvlearn.check.histories import Append, Cas, Operation, Read, Write, history_of
from kvlearn.check.invariants import count
from kvlearn.check.kv_model import KV
from kvlearn.check.lanes import brief, lanes_of, span
from kvlearn.check.models import AppendList, AppendText, CasRegister, Model, Register, not_of
from kvlearn.check.search import OK, UNKNOWN_VERDICT, VIOLATED, Search
from kvlearn.check.txn_model import KVTxn
from kvlearn.doors import door
from kvlearn.errors import Violation
from kvlearn.kv.leases import LeaseRevoke
from kvlearn.kv.txn import Txn
from kvlearn.mvcc.revision import short

PROMISE = "Linearizability"
CORE_STEPS = 200_000  # spent on making a core small, at most
TRIAL_STEPS = 25_000  # of them, on one try; what takes longer is not spared
RECALL_STEPS = 15_000  # of them, to tell by operations what was there before
FEW = 64  # operations: below, a core is made to explain; above, to be found soon
SHOWN = 4  # of a long core so many operations are told at its beginning and at its end
WORDS = {OK: "is kept", VIOLATED: "is broken", UNKNOWN_VERDICT: "is not decided"}


@dataclass(frozen=True, slots=True, repr=False)
class Linearizability:
    """The verdict on a history: "ok", "violated" or "unknown", and what shows it.

    `order`: a legal order of the operations of one part (ok), or of the longest prefix of them
    that has one (violated). `stuck`: the operation that cannot come after it. `core`: a few
    operations that exclude each other; `core_is_smallest`: none of them can be spared;
    `core_since`: not even if anything could have been there at that time. `key`: the part that
    these speak of, if the history was split. `steps`: what the search took.
    """

    verdict: str
    why: str
    model: Model
    history: list[Operation]
    key: Any = None
    order: list[Operation] = field(default_factory=list)
    stuck: Operation | None = None
    core: list[Operation] = field(default_factory=list)
    core_is_smallest: bool = False
    core_since: float | None = None
    steps: int = 0
    seed: int | None = None

    promise = PROMISE

    @property
    def ok(self) -> bool:
        """Whether the history is linearizable, for certain."""
        return self.verdict == OK

    def raise_if_broken(self) -> None:
        """Do nothing, unless the verdict is "violated".

        Raises: Violation.
        """
        if self.verdict == VIOLATED:
            raise Violation(PROMISE, self.why, None, self.seed)

    def lanes(self, limit: int = 40) -> dict[str, Any]:
        """The picture as plain data: a lane a client, a bar an operation, the order of the moments.

        `picture` draws it. At most `limit` operations; those that decide come first.
        """
        return lanes_of(self, limit)

    def picture(self, limit: int = 24):
        """The lanes drawn: an `Svg`."""
        return door("lanes")(self, limit=limit)

    @property
    def text(self) -> str:
        """The picture in words."""
        return self.lanes()["text"]

    def __str__(self) -> str:
        seed = "" if self.seed is None or self.ok else f" (seed {self.seed})"
        return f"{PROMISE} {WORDS[self.verdict]}: {self.why}{seed}"

    def __repr__(self) -> str:
        return f"<{PROMISE} {WORDS[self.verdict]}: {self.why.splitlines()[0].rstrip(':')}>"

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = []
        for bar in sorted(self.lanes()["bars"], key=lambda bar: bar["call"]):
            cells = (bar["client"], bar["text"], bar["when"], bar["told"])
            inside = "".join(f"<td {left}>{escape(str(cell))}</td>" for cell in cells)
            rows.append(f"<tr>{inside}</tr>")
        names = ("client", "operation", "from call to return", "its moment")
        head = "".join(f"<th {left}>{name}</th>" for name in names)
        told = escape(str(self)).replace("\n", "<br>")
        table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
        lanes = f"<div>{self.picture().html()}</div>"
        return f"<p>{told}</p>{lanes}<details><summary>as a table</summary>{table}</details>"


def linearizable(
    subject: Any,
    model: Model | type[Model] | None = None,
    *,
    max_operations: int = 50_000,
    budget: int = 1_000_000,
    deadline: Callable[[], bool] | None = None,
    shrink: bool = True,
) -> Linearizability:
    """Check a history (a list of `Operation`), or the client operations of a trace or a cluster.

    `model`: what the answers are held against; by default KV for a trace, and what fits the inputs
    for a list. Ends as "unknown" after `budget` steps of the model, when a part has more than
    `max_operations`, or when `deadline()` says that it is time (it is asked now and then; with it a
    verdict depends on the machine). `shrink=False` spares the search for the core.

    Raises: ValueError for an operation that returns before it is called, or two of a kind that no
    model has together; TypeError for inputs that the model does not know.
    """
    history, seed = history_in(subject)
    model = model_for(history) if model is None else model() if isinstance(model, type) else model
    for operation in history:
        if not isinstance(operation.input, model.inputs):
            raise not_of(model, operation.input)
    searches: dict[Any, Search] = {}
    spent = 0
    for key, part in model.partition(history).items():
        search = searches[key] = search_of(model, part, max(0, budget - spent), deadline)
        if len(part) <= max_operations:
            search.run()
            spent += search.steps
    found = {
        "model": model,
        "history": history,
        "seed": seed,
        "steps": spent,
    }
    broken = [key for key, search in searches.items() if search.verdict == VIOLATED]
    if broken:
        key = min(broken, key=lambda key: searches[key].end)  # the one that breaks first
        return _violated(found, key, searches[key], budget, deadline, shrink)
    for key, search in searches.items():
        if search.verdict != OK:
            return _undecided(found, key, search, max_operations, budget)
    return _kept(found, searches)


# What to check ------------------------------------------------------------------------------


def history_in(subject: Any) -> tuple[list[Operation], int | None]:
    """The operations to check, and the seed of the run if they come from one."""
    trace = getattr(subject, "trace", subject)
    if hasattr(trace, "of"):
        return history_of(trace), trace.seed
    history = []
    for operation in subject:
        if not isinstance(operation, Operation):
            raise TypeError(f"a history is a list of Operation, and this is none: {operation!r}")
        if operation.known and operation.return_s < operation.call_s:
            raise ValueError(f"it returns before it is called: {operation} {span(operation)}")
        try:
            hash(operation.input)
        except TypeError:
            why = f"an input is a value that has a hash (a tuple, not a list): {operation.input}"
            raise TypeError(why) from None
        if not getattr(operation.input, "serializable", False):  # may be stale, and says so
            history.append(operation)
    return history, None


def model_for(history: Sequence[Operation]) -> Model:
    """The model that knows the inputs of a history.

    Raises: ValueError if no model knows them all.
    """
    kinds = {type(operation.input) for operation in history}
    if kinds & {Txn, LeaseRevoke}:
        return KVTxn()
    if not kinds & {Read, Write, Cas, Append}:
        return KV()
    texts = all(
        isinstance(op.input.value if type(op.input) is Append else op.output or "", str)
        for op in history
        if type(op.input) is Append or (type(op.input) is Read and op.known)
    )
    appends = AppendText() if texts else AppendList()
    models = (
        ({Read, Write}, Register()),
        ({Read, Write, Cas}, CasRegister()),
        ({Read, Write, Append}, appends),
    )
    for known, model in models:
        if kinds <= known:
            return model
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(f"no model has all of {names}: give one of your own with model=...")


def search_of(
    model: Model,
    part: Sequence[Operation],
    budget: int,
    deadline: Callable[[], bool] | None,
) -> Search:
    """The search on one part. A read without an answer says nothing and is left out."""
    known = [op for op in part if op.known]
    optional = [op for op in part if not op.known and not model.is_read(op.input, op.told)]
    return Search(model, known, optional, budget, deadline)


# The smallest impossible core ---------------------------------------------------------------


class Shrink:
    """From a history that is impossible to a few operations that exclude each other.

    A history is as impossible as any that asks less of an order. So it is cut where it becomes
    impossible; then reads are left out and writes are freed (a freed write may come at any time
    after its call, or never), as many at a time as possible, as long as it stays impossible.

    Invariant: no order places all that is in `kept`, wherever those that are `free` come; with
    `since`, not even if it may begin at that time, with any state.
    `order` is a legal order of all that returned before the last of `kept`, which is `stuck`.
    """

    def __init__(
        self, model: Model, search: Search, budget: int, deadline: Callable[[], bool] | None
    ):
        self.model, self.left, self.deadline = model, budget, deadline
        self.known, self.optional = search.known, search.optional
        self.order = search.order
        self.smallest = True
        self.since: float | None = None
        self._cut(search.end)

    def _cut(self, at_least: float) -> None:
        """Find the first return at which the history is impossible. Before `at_least` it is not:
        the search got as far, and it may have turned back early, because it looks ahead."""
        ends = sorted({op.return_s for op in self.known})
        low, high = bisect_left(ends, at_least), len(ends) - 1
        self.kept, self.free = self._until(ends[high])
        middle = low
        while low < high:
            kept, free = self._until(ends[middle])
            search = self._try(kept, free, steps=self.left)
            if search.verdict == VIOLATED:
                high, self.kept, self.free = middle, kept, free
            else:
                low = middle + 1
                self.order = search.order if search.verdict == OK else self.order
            middle = low + (high - low) // 8  # what is legal takes far less time to find
        placed = {id(op) for op in self.order}
        last = [op for op in self.kept if op.return_s == ends[high]]
        self.stuck = next((op for op in last if id(op) not in placed), last[0])

    def _until(self, end: float) -> tuple[list[Operation], list[Operation]]:
        """The history as it was known right after `end`."""
        kept = [op for op in self.known if op.return_s <= end]
        free = [op for op in self.optional if op.call_s <= end]
        for op in self.known:
            if op.call_s <= end < op.return_s and not self._reads(op):
                free.append(Operation(op.client, op.call_s, None, op.input, None, op.seq))
        return kept, free

    def core(self) -> list[Operation]:
        """The core, in the order of calls; `smallest` tells whether nothing can be spared."""
        whole, free = self.kept, self.free
        self._forget()
        self._spare(self.kept)
        if self.since is not None:
            self._recall(whole, free)
        return self.kept

    def _forget(self) -> None:
        """Keep only what was called late, if that is impossible from whatever was there before."""
        calls = sorted({op.call_s for op in self.kept}, reverse=True)
        size = 2
        while size < len(calls):
            since = calls[size - 1]
            kept = [op for op in self.kept if op.call_s >= since]
            before = [op for op in self.kept if op.call_s < since <= op.return_s]
            free = self.free + [op for op in before if not self._reads(op)]
            found = self._try(kept, free, since)
            if found is None:
                return
            if found.verdict == VIOLATED:
                self.kept, self.free, self.since = kept, free, since
                return
            size *= 2

    def _recall(self, whole: list[Operation], free: list[Operation]) -> None:
        """Tell what was there before `since` by an operation or two, if so few can tell it."""
        core, since, sure = self.kept, self.since, self.smallest
        mine = {id(op) for op in core}
        before = [op for op in whole if op.return_s < since]
        others = [op for op in whole if id(op) not in mine and op.return_s >= since]
        self.since, self.kept = None, before + core
        free = free + [op for op in others if not self._reads(op)]
        self.free, late = free, self.free
        self.left = min(self.left, RECALL_STEPS)
        self._spare(before)
        self._spare(core)  # what was before may tell what one of these told
        if len(self.kept) > len(core) + 2 or not self.smallest:
            self.kept, self.free, self.since, self.smallest = core, late, since, sure

    def _spare(self, group: list[Operation]) -> None:
        """Spare of a group what can be spared: halves of it, quarters, ..., single operations."""
        # In a small group what explains more counts: writes stay. In a large one, what is quick.
        group = sorted(group, key=lambda op: len(self.kept) <= FEW and not self._reads(op))
        size = len(group)
        while group:
            size = max(1, size // 2)
            place = 0
            while place < len(group):
                if self._can_spare(group[place : place + size]):
                    del group[place : place + size]
                else:
                    place += size
            if size == 1:
                return

    def _can_spare(self, chunk: list[Operation]) -> bool:
        if self.left <= 0:
            self.smallest = False
            return False
        out = {id(op) for op in chunk}
        kept = [op for op in self.kept if id(op) not in out]
        free = self.free + [op for op in chunk if not self._reads(op)]
        if self._try(kept, free, self.since).verdict != VIOLATED:
            return False
        self.kept, self.free = kept, free
        return True

    def _try(
        self,
        kept: list[Operation],
        free: list[Operation],
        since: float | None = None,
        steps: int = TRIAL_STEPS,
    ) -> Search | None:
        """Search from the beginning; or, with `since`, from each state that may have been there
        (None if the model cannot tell them)."""
        models = [self.model]
        if since is not None:
            models = self.model.starts(kept, free)
        search = None
        for model in models:
            budget = max(0, min(self.left, steps))
            search = Search(model, kept, free, budget, self.deadline)
            search.run()
            self.left -= search.steps + len(kept) // 4  # to make a search ready costs too
            if search.verdict == UNKNOWN_VERDICT:
                self.smallest = False
            if search.verdict != VIOLATED:
                break
        return search

    def _reads(self, op: Operation) -> bool:
        return self.model.is_read(op.input, op.output)


# Sentences ----------------------------------------------------------------------------------


def _kept(found: dict[str, Any], searches: dict[Any, Search]) -> Linearizability:
    """Each part has a legal order; the one of the largest part is shown."""
    key = max(searches, key=lambda key: len(searches[key].known), default=None)
    order = searches[key].order if searches else []
    where = f" on {len(searches)} keys" if len(searches) > 1 else ""
    why = f"{crowd(found['history'])}{where}: an order explains every answer"
    return Linearizability(OK, why, key=key, order=order, **found)


def _undecided(
    found: dict[str, Any], key: Any, search: Search, max_operations: int, budget: int
) -> Linearizability:
    size = len(search.known) + len(search.optional)
    if size > max_operations:
        why = f"{size} operations{on(key)}, and at most {max_operations} are searched"
    elif search.steps > search.budget:
        why = f"{crowd(found['history'])}, and no answer within {budget} steps"
    else:
        why = f"{crowd(found['history'])}, and no answer when the deadline came"
        why += f", after {found['steps']} steps"
    return Linearizability(UNKNOWN_VERDICT, why, key=key, order=search.order, **found)


def _violated(
    found: dict[str, Any],
    key: Any,
    search: Search,
    budget: int,
    deadline: Callable[[], bool] | None,
    shrink: bool,
) -> Linearizability:
    model = found["model"]
    part = model.partition(found["history"])[key]
    cut = Shrink(model, search, min(budget, CORE_STEPS), deadline)
    core = cut.core() if shrink else []
    why = f"no order explains {crowd(part)}{on(key)}"
    told = [f"  {line(model, op)}" for op in core or [cut.stuck]]
    before = "" if cut.since is None else f", whatever was there before {cut.since:.7g}"
    if not core:
        why += "; the first that finds no moment:"
    elif len(core) == 1:
        why += f"; this one finds no moment, wherever the others come{before}:"
    else:
        why += f"; these {len(core)} exclude each other{before}:"
    if len(told) > 2 * SHOWN:
        told[SHOWN:-SHOWN] = [f"  … {len(told) - 2 * SHOWN} more"]
    return Linearizability(
        VIOLATED,
        "\n".join([why, *told]),
        key=key,
        order=cut.order,
        stuck=cut.stuck,
        core=core,
        core_since=cut.since,
        core_is_smallest=bool(core) and cut.smallest,
        **found,
    )


def crowd(history: Sequence[Operation]) -> str:
    """`12 operations of 3 clients, 1 of them without an answer`."""
    clients = len({operation.client for operation in history})
    open_ones = sum(not operation.known for operation in history)
    told = f"{count(len(history), 'operation')} of {count(clients, 'client')}"
    return told + (f" ({open_ones} without an answer)" if open_ones else "")


def on(key: Any) -> str:
    """On which key, if the history was split."""
    if key is None:
        return ""
    return f" on key {short(key) if isinstance(key, bytes) else key}"


def line(model: Model, operation: Operation) -> str:
    """`c1: write red (0 to 1)`."""
    told = brief(model.describe_operation(operation.input, operation.told))
    return f"{operation.client}: {told} {span(operation)}"
