"""Why a key's record, a watch, a lease, a transaction or a promise is as it is.

The store's marks are told from a `StoreMoment` (store_fold.py); nothing is folded anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from kvlearn import events as ev
from kvlearn.kv.kinds import in_log, repeatable
from kvlearn.kv.leases import LeaseGrant, LeaseRevoke
from kvlearn.kv.requests import Command
from kvlearn.mvcc.revision import short
from kvlearn.trace import Record, Trace
from kvlearn.viz.lease_fold import LeaseLife, Stretch
from kvlearn.viz.store_fold import Change, StoreMoment
from kvlearn.viz.txn_fold import Fork
from kvlearn.viz.watch_fold import WatchLife
from kvlearn.viz.why_index import back, last
from kvlearn.viz.why_rules import Why, because, brief

# Keys ---------------------------------------------------------------------------------------


def why_key(store: StoreMoment, key: bytes, revision: int) -> Why:
    """Why there is a mark or a hole at this main revision of `key`: who wrote it, and if it is
    gone, what took it away."""
    changes = [change for change in store.changes if change.kv.key == key]
    here = next((change for change in changes if change.revision == revision), None)
    if here is None:
        return _untouched(store, changes, key, revision)
    wrote = "deleted" if here.kind == "delete" else "written"
    entry = f"{here.index}@{here.term}"
    if here.removed:
        text = f"Revision {revision} of {short(key)}, {wrote} by entry {entry}"
        text += f"{_as_lease(store, here)}, is gone: {_swept(changes, here)}"
        return because(text, _compaction_seq(store, here), "Store.compact")
    if (over := _lease_over(store, here)) is not None:
        return _gone_with_lease(here, over, entry)
    later = [change for change in changes if change.at > here.at]
    text = f"Key {short(key)} was {wrote} at revision {here.at} by entry {entry}, "
    text += f"at {here.time:.3f} s{f', on lease {here.kv.lease:x}' if here.kv.lease else ''}; "
    if later:
        did = "deleted" if later[0].kind == "delete" else "replaced"
        text += f"it was {did} at revision {later[0].revision}{_as_lease(store, later[0])}"
        if store.compacted and revision <= store.compacted < later[0].revision:
            at = store.compacted
            text += f", and the compaction at {at} kept it as the newest at or below {at}"
    else:
        text += "nothing has changed it since"
    return because(text, here.seq, f"KeyIndex.{'put' if here.kv.version else 'tombstone'}")


def _lease_over(store: StoreMoment, here: Change) -> LeaseLife | None:
    """The lease whose end deleted the key; None: something else did."""
    if here.kind != "delete":
        return None
    request = getattr(store.trace[here.seq].event.command, "request", None)
    if not isinstance(request, LeaseRevoke):
        return None
    lives = (life for life in store.leases if life.id == request.id and life.end)
    return next((life for life in lives if life.ended == here.time), None)


def _as_lease(store: StoreMoment, here: Change) -> str:
    """The end of a sentence that tells of a deletion: which lease brought it."""
    over = _lease_over(store, here)
    if over is None:
        return ""
    return f", as lease {over.id:x} {'expired' if over.end == 'expired' else 'was revoked'}"


def _gone_with_lease(here: Change, over: LeaseLife, entry: str) -> Why:
    """A key that went with its lease."""
    text = f"Key {short(here.kv.key)} was deleted as lease {over.id:x} "
    went = f"so its keys went at revision {here.at} by entry {entry}, at {here.time:.3f} s"
    if over.end != "expired":
        return because(f"{text}was revoked by a client, {went}", here.seq, "goes_with")
    text += f"expired (its {over.ttl_s} s were over at {over.ran_out:.3f} s), "
    return because(text + went, here.seq, "is_expired")


def _swept(changes: list[Change], here: Change) -> str:
    """What a compaction does with a record that it removes."""
    at = here.removed
    newest = max((one for one in changes if one.revision <= at), key=lambda one: one.at)
    if newest is here:
        if here.kind == "delete":
            return f"it was a deletion, and the compaction at {at} keeps none at or below {at}"
        return f"the compaction at {at} took it, although it was the newest at or below {at}"
    if newest.removed == at and newest.kind == "delete":
        text = f"the compaction at {at} keeps only the newest at or below {at}, and that is "
        return text + f"the deletion at {newest.revision}, which goes too"
    text = f"the compaction at {at} kept only the newest at or below {at}, which was revision "
    return text + str(newest.revision)


def _compaction_seq(store: StoreMoment, here: Change) -> int | None:
    """The record of the compaction that took it away."""
    times = [one.time for one in store.compactions if one.revision == here.removed]
    if not times:
        return None
    for record in _at(store.trace, times[0], store.seq):
        if isinstance(record.event, ev.Applied) and _asks(record.event, "Compact", here.removed):
            return record.seq
    return None


def _at(trace: Trace, time: float, upto: int) -> Iterator[Record]:
    """The records at that very time, up to number `upto`."""
    first = bisect_left(range(len(trace)), time, key=lambda seq: trace[seq].time)
    for seq in range(first, min(upto, len(trace) - 1) + 1):
        record = trace[seq]
        if record.time > time:
            return
        yield record


def _asks(event: ev.Applied, kind: str, revision: int) -> bool:
    request = getattr(event.command, "request", None)
    return type(request).__name__ == kind and request.revision == revision and not event.error


def _untouched(store: StoreMoment, changes: list[Change], key: bytes, revision: int) -> Why:
    before = [change for change in changes if change.revision < revision]
    if revision > store.revision:
        text = f"Revision {revision} is not there yet: the store is at {store.revision}"
        return because(text, None, "Store.readable")
    elif before:
        old = before[-1]
        did = "deleted" if old.kind == "delete" else "written"
        text = f"Key {short(key)} was not changed at revision {revision}: it was {did} at "
        text += f"{old.revision} before that"
    else:
        text = f"Key {short(key)} was not there at revision {revision}: "
        text += f"its first record is of revision {changes[0].revision}" if changes else (
            "nobody has written it")  # fmt: skip
    return because(text, None, "KeyIndex.find")


# Watches ------------------------------------------------------------------------------------


def why_watch(store: StoreMoment, life: WatchLife) -> Why:
    """Why a watch is synced or behind, was cancelled, or has nobody who serves it."""
    name, node = f"Watch {life.name}", life.served[-1].node
    seq = _watch_seq(store, life)
    if life.end:
        return because(*_ended_watch(name, life, seq))
    if life.missed:
        gone = store.changes[life.missed[0]].revision
        text = f"{name} was told up to revision {life.position} without {len(life.missed)} "
        text += f"change{'s' * (len(life.missed) != 1)} of {life.what}, first that at {gone}"
        return because(text, seq, "next_after")
    if life.lost:
        text = f"{name} is served by nobody: {life.lost}; it was told all up to revision "
        text += f"{life.position} and goes on from {life.position + 1}"
        return because(text, seq, "next_after")
    has = store.revisions.get(node, 0)
    if life.behind:
        first = store.changes[life.behind[0]]
        count = len(life.behind)
        text = f"{name} is behind by {count} event{'s' * (count != 1)} since {first.time:.3f} s: "
        text += f"it was told all up to revision {life.position}, and {node} is at {has}"
        return because(text, first.seq, "is_synced")
    if life.first > has:
        text = f"{name} waits for revision {life.first} of {life.what}, and {node} is at {has}"
        return because(text, seq, "is_due")
    text = f"{name} is synced: {node} has applied revision {has}, and no change of {life.what} "
    text += f"from {life.first} on is untold"
    kept = len(life.pale)
    text += f"; {kept} kept away by its filters" if kept else ""
    return because(text, seq, "is_synced")


def _ended_watch(name: str, life: WatchLife, seq: int | None) -> tuple:
    if life.end.startswith("compacted at "):
        at = life.end.removeprefix("compacted at ")
        text = f"{name} was cancelled: its next revision was {life.position + 1}, and the history "
        return f"{text}below {at} is compacted", seq, "has_lost"
    if life.end.startswith("refused: "):
        return f"{name} was refused: {life.end.removeprefix('refused: ')}", seq, "WatchHub.create"
    text = f"{name} has ended, {life.end}, when it was told all up to revision {life.position}"
    return text, seq, "WatchHub.cancel"


def _watch_seq(store: StoreMoment, life: WatchLife) -> int | None:
    """The last record that tells of this watch: an answer, a question, or the crash of its node."""
    trace, upto, node = store.trace, store.seq, life.served[-1].node
    kinds = ev.Notified, ev.WatchAsked, ev.StreamClosed
    found = last(trace, upto, *kinds, node=node, fits=lambda event: event.stream == life.stream)
    if "crashed" in life.lost and not life.end:
        found = last(trace, upto, ev.Crashed, node=node)
    return found and found.seq


# Leases -------------------------------------------------------------------------------------

BEGAN = {  # a stretch's `why` -> the sentence's words, and the event that decided
    "grant": ("since it was granted", ev.Applied, "Lessor.started"),
    "keep-alive": ("since its holder kept it alive", ev.LeaseRenewed, "renewed_until"),
    "counted": ("since it began to lead and counted anew", ev.LeasesCounted, "time_of"),
    "checkpoint": ("since it began to lead, as the log had noted,", ev.LeasesCounted, "time_of"),
    "clock": ("since its clock's rate changed", ev.LinksChanged, ""),
}


def _short_s(seconds: float) -> str:
    """Seconds to the millisecond, without zeros at the end."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def why_lease(store: StoreMoment, life: LeaseLife) -> Why:
    """Why a lease has the time that it has: who counts and since when, or why it ended."""
    name = f"Lease {life.id:x}"
    if life.end:
        return _ended_lease(store, life, name)
    now = life.stretches[-1] if life.stretches else None
    if now is None or now.node is None:
        left = now.left if now else float(life.ttl_s)
        since = f" since {now.start:.3f} s" if now else ""
        text = f"{name} is counted by nobody{since}, as there is no leader who counts: the next "
        text += f"one begins with {_short_s(left)} of {life.ttl_s} s"
        return because(text, _lease_seq(store, life, now, ev.BecameFollower), "time_of")
    words, kind, rule = BEGAN[now.why]
    if life.ran_out is not None:
        found = last(store.trace, store.seq, ev.LeaseExpired, fits=lambda e: e.lease == life.id)
        text = f"{name} has run out: {now.node} found at {life.ran_out:.3f} s that its "
        text += f"{life.ttl_s} s were over, and its end is on its way through the log"
        return because(text, found and found.seq, "is_expired")
    text = f"{name} has {now.after:.3f} of {life.ttl_s} s left: {now.node} counts down from "
    text += f"{_short_s(now.left)} s {words} at {now.start:.3f} s"
    if now.rate != 1.0:
        text += f", on a clock that runs at {now.rate:g}"
    section = "" if rule else "etcd lessor"
    return because(text, _lease_seq(store, life, now, kind), rule or kind, section=section)


def _ended_lease(store: StoreMoment, life: LeaseLife, name: str) -> Why:
    count = len(life.keys)
    keys = f"its {count} key{'s' * (count != 1)} went with it at revision {life.revision}"
    keys = keys if life.revision else "no key hung on it"
    trace, upto = store.trace, store.seq
    if life.end == "expired":
        found = last(trace, upto, ev.LeaseExpired, fits=lambda event: event.lease == life.id)
        by = found.node if found else "its leader"
        text = f"{name} expired: {by} found at {life.ran_out:.3f} s that its {life.ttl_s} s were "
        return because(f"{text}over, and it ended at {life.ended:.3f} s; {keys}",
                       found and found.seq, "is_expired")  # fmt: skip
    found = _carried_out(trace, upto, life.ended, LeaseRevoke, life.id)
    text = f"{name} was revoked by request at {life.ended:.3f} s, of its {life.ttl_s} s; {keys}"
    return because(text, found, "goes_with")


def _carried_out(trace: Trace, upto: int, time: float, kind: type, id: int) -> int | None:
    """The first record at `time` that says that a lease's request was carried out."""
    for record in _at(trace, time, upto):
        request = getattr(getattr(record.event, "command", None), "request", None)
        if isinstance(record.event, ev.Applied) and isinstance(request, kind) and request.id == id:
            return record.seq
    return None


def _lease_seq(store: StoreMoment, life: LeaseLife, now: Stretch | None, kind: type) -> int | None:
    """The record with which its present stretch began."""
    if now is None:
        return None
    if kind is ev.Applied:
        return _carried_out(store.trace, store.seq, now.start, LeaseGrant, life.id)
    kinds = (kind, ev.BecameCandidate, ev.Crashed, ev.BecameLeader)
    kinds = kinds if kind is ev.BecameFollower else (kind,)
    found = None
    for record in _at(store.trace, now.start, store.seq):
        other = isinstance(record.event, ev.LeaseRenewed) and record.event.lease != life.id
        if isinstance(record.event, kinds) and not other:
            found = record.seq
    return found


# Transactions -------------------------------------------------------------------------------


def why_txn(store: StoreMoment, fork: Fork) -> Why:
    """Why a transaction took its branch: the comparison that failed and what it saw."""
    name = f"The transaction of entry {fork.index}@{fork.term}" if fork.index else "It"
    seq = fork.seq if fork.seq >= 0 else None
    took = "took" if fork.index else "would take"
    at = f"at revision {fork.before}"
    by = "Compare.holds" if fork.seen else "txn.choose"
    if fork.error:
        by = "KVMachine.apply"
        text = f"{name} was refused {at} and changed nothing: {fork.error}"
    elif not fork.seen:
        text = f"{name} {took} its first branch {at}: it compares nothing"
    else:
        chosen = [one for one in fork.seen if one.holds == fork.succeeded]
        first, count, all_ = chosen[0], len(chosen), len(fork.seen)
        branch, did = ("first", "held") if fork.succeeded else ("else", "failed")
        many = "its comparison" if all_ == 1 else f"{count} of its {all_} comparisons, first"
        text = f"{name} {took} its {branch} branch {at}: {many} ({brief(first.compare)}) {did}, "
        text += f"as it saw {first.saw}"
    return because(text, seq, by, section="etcd api")


# Operations ---------------------------------------------------------------------------------


def why_operation(trace: Trace, op_id: int, upto: int | None = None) -> Why:
    """Why an operation took so long, was refused, is unknown, or is not answered yet.

    `upto`: as it stood after that record; default: the end. Raises: KeyError if the trace knows
    no operation of that number by then.
    """
    upto = len(trace) - 1 if upto is None else upto
    every = back(trace, upto, ev.Invoked)
    asked = next((record for record in every if record.event.op_id == op_id), None)
    if asked is None:
        raise KeyError(f"the trace knows no operation {op_id}")
    ends = trace.of(ev.Returned, node=asked.node, start=asked.seq)
    answered = next((record for record in ends if record.event.op_id == op_id), None)
    if answered is not None and answered.seq > upto:
        answered = None
    return operation_why(trace, asked, answered, upto)


def operation_why(
    trace: Trace, asked: Record, answered: Record | None, upto: int | None = None
) -> Why:
    """The same of its records; `answered` None: it waits."""
    upto = len(trace) - 1 if upto is None else upto
    what = f"Operation {asked.event.op_id} ({asked.node}: {brief(asked.event.request, 36)})"
    if answered is None:
        return _pending(trace, asked, what, upto)
    took, event = answered.time - asked.time, answered.event
    if event.unknown:
        return _unknown(trace, asked, answered, what, upto)
    if event.error:
        error = brief(event.error.removeprefix("etcdserver: "), 110)
        text = f"{what} was refused by {event.node} after {took:.3f} s: {error}"
        return because(text, answered.seq, _refused_by(trace, answered), ev.Returned)
    steps = _steps(trace, asked, answered)
    if took <= 0 or len(steps) < 2:
        at = f" at revision {event.revision}" if event.revision else ""
        text = f"{what} took {took:.3f} s: {event.node} answered it{at}"
        return because(text, answered.seq, ev.Returned)
    times = [asked.time, *(record.time for _, record in steps)]
    waits = [after - before for before, after in zip(times, times[1:], strict=False)]
    place = max(range(len(waits)), key=waits.__getitem__)
    words, record = steps[place]
    text = f"{what} took {took:.3f} s, the longest part of it, {waits[place]:.3f} s, until {words}"
    return because(text, record.seq, type(record.event), ev.Returned)


def _steps(trace: Trace, asked: Record, answered: Record) -> list[tuple[str, Record]]:
    """What had to happen in turn, each as the end of a wait."""
    op_id, node = asked.event.op_id, answered.event.node
    entry, steps = None, []
    kinds = ev.Appended, ev.Committed, ev.Applied, ev.ReadConfirmed
    read = repeatable(asked.event.request)
    for record in trace.of(*kinds, start=asked.seq):
        if record.seq > answered.seq:
            break
        event = record.event
        match event:
            case ev.ReadConfirmed(index=index) if read and not steps:
                how = f"by {len(event.acks)} nodes" if event.acks else "by its lease"
                words = f"{record.node} was confirmed as leader, {how}, to read at {index}"
                steps.append((words, record))
            case ev.Appended() if entry is None:
                entry = _entry_of(event.entries, op_id, asked.event.node)
                if entry is not None:
                    steps.append((f"{record.node} had it in its log as entry {entry.id}", record))
            case ev.Committed() if entry and len(steps) == 1 and event.index >= entry.index:
                steps.append((f"{record.node} committed entry {entry.id}", record))
            case ev.Applied() if record.node == node and _carries(event.command, op_id, node):
                words = f"{node} applied entry {event.index}@{event.term}"
                steps.append((words, record))
    return [*steps, (f"{node} gave its answer", answered)]


def _entry_of(entries: tuple, op_id: int, node: str) -> Any:
    return next((one for one in entries if _carries(one.data, op_id, node)), None)


def _carries(data: Any, op_id: int, node: str) -> bool:
    command = getattr(data, "asked", None) or data  # a change of members carries its command
    known = isinstance(command, Command)
    return known and command.op_id == op_id and command.origin == node


def _refused_by(trace: Trace, answered: Record) -> str:
    """The reason code behind a refusal, where the core told one just before."""
    for record in trace.of(ev.Refused, start=max(0, answered.seq - 20)):
        if record.seq > answered.seq:
            break
        if record.cause == answered.cause and record.event.action in ("proposal", "read"):
            return record.event.reason
    return ""


def _fate_of(trace: Trace, asked: Record, upto: int) -> tuple[str, Record | None]:
    """What became of a write's entry, as far as the trace tells."""
    node, op_id = asked.event.node, asked.event.op_id
    entry, where = None, None
    for record in trace.of(ev.Appended, ev.Applied, start=asked.seq):
        if record.seq > upto:
            break
        event = record.event
        if isinstance(event, ev.Applied):
            if _carries(event.command, op_id, node):
                did = "was refused by the store" if event.error else "was carried out"
                entry = f"{event.index}@{event.term}"
                text = f"it {did} as entry {entry}, first on {record.node}"
                return f"{text}, at {record.time:.3f} s", record
        elif entry is None and (found := _entry_of(event.entries, op_id, node)):
            entry, where = found.id, record
    if where is not None:
        text = f"{where.node} had it in its log as entry {entry}, and nobody has applied that"
        return text, where
    return "no node has it in its log", None


def _unknown(trace: Trace, asked: Record, answered: Record, what: str, upto: int) -> Why:
    node, took = answered.event.node, answered.time - asked.time
    why = "as it crashed" if "crashed before" in answered.event.error else "then its client gave up"
    text = f"{what} ended unknown to its client: no answer from {node} within {took:.3f} s, {why}"
    if not in_log(asked.event.request):
        return because(text, answered.seq, ev.Returned)
    fate, record = _fate_of(trace, asked, upto)
    return because(f"{text}; {fate}", record.seq if record else answered.seq, ev.Returned)


def _pending(trace: Trace, asked: Record, what: str, upto: int) -> Why:
    waited = trace[upto].time - asked.time
    text = f"{what} has waited for {waited:.3f} s for {asked.event.node}"
    if not in_log(asked.event.request):
        return because(text + ", which has not answered yet", asked.seq, ev.Invoked)
    fate, record = _fate_of(trace, asked, upto)
    return because(f"{text}; {fate}", record.seq if record else asked.seq, ev.Invoked)


# Promises -----------------------------------------------------------------------------------


OF_PROMISES = "it stands on many of them, and is judged by the trace"


def why_promise(verdict: Any) -> Why:
    """Which record broke a promise, or why it is kept; `verdict` is what a checker says (it has
    `promise`, `ok`, `why`, `record` and `section`)."""
    record, section = verdict.record, verdict.section
    if section[:1].isdigit():
        section = f"Raft paper, section {section}"
    state = "kept" if verdict.ok else "broken"
    where = f" (record {record.seq}, {record.time:.3f} s)" if record and not verdict.ok else ""
    text = f"{verdict.promise} is {state}{where}: {verdict.why}"
    seq = None if record is None or verdict.ok else record.seq
    told = because(text, seq, section=section or " ", unruled=OF_PROMISES)
    return told._replace(section=section)
