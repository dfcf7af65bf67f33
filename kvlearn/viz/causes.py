"""The causes of an event as a graph: what had to happen so that it could.

A record knows the one record that led to it. Some decisions need more than that: an election needs
every vote, a commit every answer of its majority, an entry that is applied its commit. Those arrows
are drawn too, so the graph shows what a decision truly stands on.

>>> from kvlearn.events import BecameCandidate, BecameLeader, Started
>>> from kvlearn.raft.types import ZERO
>>> trace = Trace()
>>> born = trace.add(0.0, "n1", Started(0, None, (), 0, 0, ("n1",), 1, 0.1), None)
>>> stood = trace.add(1.2, "n1", BecameCandidate(1, ZERO, 12, 15), born)
>>> won = trace.add(1.2, "n1", BecameLeader(1, ("n1",), ZERO), stood)
>>> print(causes(trace, won).text.splitlines()[1])
record 2, 1.200 s: n1 becomes leader in term 1 with the votes of n1, because of record 1
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kvlearn import events as ev
from kvlearn.raft import messages as msg
from kvlearn.trace import Record, Trace
from kvlearn.viz import theme
from kvlearn.viz.dot import Graph, quoted
from kvlearn.viz.moment import line, trace_of
from kvlearn.viz.why_index import back, last
from kvlearn.viz.why_marks import holders

DEPTH = 8  # arrows on the way back to what is drawn at most, unless somebody says
MOST = 40  # records; more cannot be read
ROOM = 36  # characters of a line in a node


def causes(subject: Any, seq: int | None = None, depth: int = DEPTH) -> Graph:
    """Draw what led to record `seq` (None: the last one) of a trace, a cluster or a moment.

    `depth`: how many arrows to go back. Raises: IndexError where there is no such record,
    ValueError for a negative depth.
    """
    trace = trace_of(subject)
    if depth < 0:
        raise ValueError(f"a depth is 0 or more, not {depth}")
    if seq is None:
        seq = min(getattr(subject, "seq", len(trace)), len(trace) - 1)
    if not 0 <= seq < len(trace):
        raise IndexError(f"the trace has {len(trace)} records, and none of number {seq}")
    found, more = _gather(trace, seq, depth)
    title = f"Causes of: {_sentence(trace[seq])}"
    text = _text(trace, seq, found, more)
    desc = text.split("\n")[0]
    return Graph("causes", _source(trace, seq, found, more), title, desc, text, {"seq": seq})


def reasons(trace: Trace, record: Record) -> tuple[int, ...]:
    """The records that this one stands on, oldest first: its cause, and what it needed besides."""
    needed = set() if record.cause is None else {record.cause}
    needed.update(_besides(trace, record))
    return tuple(sorted(seq for seq in needed if seq < record.seq))


def _gather(trace: Trace, seq: int, depth: int) -> tuple[dict[int, tuple[int, ...]], set[int]]:
    """Record -> what it stands on, nearest to `seq` first; and the records that stand on more
    than is drawn."""
    found: dict[int, tuple[int, ...]] = {}
    more: set[int] = set()
    row = [seq]
    for level in range(depth + 1):
        after: list[int] = []
        for number in row:
            if number in found:
                continue
            known = reasons(trace, trace[number])
            full = level == depth or len(found) + len(after) >= MOST
            found[number] = () if full else known
            if full and known:
                more.add(number)
            elif not full:
                after += known
        row = sorted(set(after), reverse=True)
    return found, more


# What a decision needs besides its cause ----------------------------------------------------


def _besides(trace: Trace, record: Record) -> Iterator[int]:
    match record.event:
        case ev.BecameLeader(term=term):
            yield from _answers(trace, record, term, pre=False)
        case ev.BecameCandidate(term=term, pre_votes=asked) if asked:
            yield from _answers(trace, record, term, pre=True)
        case ev.Committed(index=index):
            yield from _acks(trace, record, index)
        case ev.Applied(index=index):
            found = last(trace, record.seq, ev.Committed, node=record.node)
            if found is not None and found.event.index >= index:
                yield found.seq
        case ev.Sent(message=msg.AppendEntries(entries=entries)) if entries:
            yield from _made(trace, record, entries[-1].index)
        case ev.Saved(last=index) if index:
            yield from _made(trace, record, index)
        case ev.Sent(message=message) if getattr(message, "after_save", False):
            since = -1 if record.cause is None else record.cause
            found = last(trace, record.seq, ev.Saved, node=record.node)
            if found is not None and found.seq > since:
                yield found.seq
        case ev.ReadConfirmed(acks=acks) if acks:
            yield from _confirmations(trace, record)
        case ev.Returned(op_id=op_id):
            yield from _asked(trace, record, op_id)
        case ev.Notified(response=response) if getattr(response, "events", ()):
            revision = response.events[-1].kv.mod_revision
            yield from _applied(trace, record, revision)


def _answers(trace: Trace, record: Record, term: int, pre: bool) -> Iterator[int]:
    """The votes that it got, and its asking for them."""
    kind = ev.AskedPreVote if pre else ev.BecameCandidate
    asked = last(trace, record.seq - 1, kind, node=record.node)
    if asked is None:
        return
    yield asked.seq
    for got in trace.of(ev.Received, node=record.node, start=asked.seq):
        if got.seq > record.seq:
            return
        message = got.event.message
        if isinstance(message, msg.VoteResponse) and message.granted and message.pre == pre:
            if message.term == term:
                yield got.seq


def _made(trace: Trace, record: Record, index: int) -> Iterator[int]:
    """Where the node took entry `index` into its log."""

    def fits(event: ev.Appended) -> bool:
        return event.entries[0].index <= index <= event.entries[-1].index

    found = last(trace, record.seq, ev.Appended, node=record.node, fits=fits)
    if found is not None:
        yield found.seq


def _acks(trace: Trace, record: Record, index: int) -> Iterator[int]:
    """The first answer of each counted follower that had the entry, and the own save of it."""
    if record.cause is not None:
        cause = trace[record.cause].event
        told = isinstance(cause, ev.Received) and not isinstance(cause.message, msg.AppendResponse)
        if told:
            return  # it heard of the commit from its leader
    conf, have = holders(trace, record, index)
    have = {name for name in have if conf.votes(name)}
    won = last(trace, record.seq, ev.BecameLeader, node=record.node)
    if won is None:
        return
    for got in trace.of(ev.Received, ev.Saved, node=record.node, start=won.seq):
        if got.seq > record.seq or not have:
            return
        event = got.event
        message = getattr(event, "message", None)
        if isinstance(event, ev.Saved):
            if record.node in have and event.last >= index:
                have.discard(record.node)
                yield got.seq
        elif isinstance(message, msg.AppendResponse) and message.source in have:
            if not message.rejected and message.match >= index:
                have.discard(message.source)
                yield got.seq


def _confirmations(trace: Trace, record: Record) -> Iterator[int]:
    """The heartbeats' answers of the round that the read waited for."""
    cause = None if record.cause is None else trace[record.cause].event
    message = getattr(cause, "message", None)
    if not isinstance(message, msg.HeartbeatResponse):
        return
    won = last(trace, record.seq, ev.BecameLeader, node=record.node)
    for got in trace.of(ev.Received, node=record.node, start=won.seq if won else 0):
        if got.seq > record.seq:
            return
        one = got.event.message
        if isinstance(one, msg.HeartbeatResponse) and one.context == message.context:
            if one.source in record.event.acks and one.term == message.term:
                yield got.seq


def _asked(trace: Trace, record: Record, op_id: int) -> Iterator[int]:
    """The question, and the entry's being applied where it was asked."""
    for asked in back(trace, record.seq, ev.Invoked, record.node):
        if asked.event.op_id == op_id:
            yield asked.seq
            break
    else:
        return
    for done in trace.of(ev.Applied, node=record.event.node, start=asked.seq):
        if done.seq > record.seq:
            return
        command = done.event.command
        if getattr(command, "op_id", None) == op_id:
            yield done.seq


def _applied(trace: Trace, record: Record, revision: int) -> Iterator[int]:
    """The entry that made the newest change that is told."""
    for done in trace.of(ev.Applied, node=record.node):
        if done.seq > record.seq:
            return
        if done.event.revision >= revision:
            yield done.seq
            return


# The drawing --------------------------------------------------------------------------------


def _sentence(record: Record) -> str:
    return " ".join(line(record).split())


def _term(record: Record) -> int:
    """The term that a record speaks of, 0 if of none: its colour."""
    event = record.event
    found = getattr(event, "term", None)
    if found is None:
        found = getattr(getattr(event, "message", None), "term", None)
    if found is None and getattr(event, "entries", ()):
        found = event.entries[-1].term
    return found if isinstance(found, int) else 0


def _wrapped(text: str) -> str:
    """At most four lines, as DOT wants them."""
    lines, rest = [""], text.split()
    for word in rest:
        word = word if len(word) <= ROOM else word[: ROOM - 1] + "…"
        if len(lines[-1]) + len(word) >= ROOM:
            if len(lines) == 4:
                lines[-1] += " …"
                break
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _label(text: str) -> str:
    return quoted(text.replace("\n", "\x00")).replace("␀", "\\n")


def _source(trace: Trace, seq: int, found: dict[int, tuple[int, ...]], more: set[int]) -> str:
    lines = [
        "digraph causes {",
        '  graph [rankdir=TB bgcolor="transparent" nodesep=0.28 ranksep=0.34 pad=0.15]',
        '  node [shape=box style="rounded,filled" fontname="Helvetica" fontsize=11'
        ' color="tone:ink" penwidth=1.1 margin="0.12,0.07"]',
        '  edge [color="tone:dim" arrowsize=0.65 fontname="Helvetica" fontsize=10'
        ' fontcolor="tone:dim"]',
    ]
    for number in sorted(found):
        record = trace[number]
        term = _term(record)
        fill = theme.term_colour(term)
        head = f"record {number}, {record.time:.3f} s" + (f", term {term}" if term else "")
        shown = _label(f"{head}\n{_wrapped(_sentence(record))}")
        wide = " penwidth=2.6" if number == seq else ""
        lines.append(
            f'  r{number} [label={shown} fillcolor="{fill}"'
            f' fontcolor="{theme.text_on(fill)}"{wide}]'
        )
    for number in sorted(found):
        for cause in _direct(found, number):
            lines.append(f"  r{cause} -> r{number}")
    for number in sorted(more):
        lines.append(f'  more{number} [label="…" shape=plaintext style="" fontcolor="tone:dim"]')
        lines.append(f"  more{number} -> r{number}")
    return "\n".join([*lines, "}"]) + "\n"


def _direct(found: dict[int, tuple[int, ...]], number: int) -> list[int]:
    """What a record stands on, without what stands behind another of them: no arrow says twice
    what two others say already."""
    behind: set[int] = set()
    row = list(found[number])
    while row:
        for cause in found.get(row.pop(), ()):
            if cause not in behind:
                behind.add(cause)
                row.append(cause)
    return [cause for cause in found[number] if cause not in behind]


def _text(trace: Trace, seq: int, found: dict[int, tuple[int, ...]], more: set[int]) -> str:
    count = len(found) - 1
    head = f"{count} cause{'s' * (count != 1)} of record {seq}"
    lines = [head + (", and more before them." if more else ".")]
    for number in sorted(found, reverse=True):
        record, known = trace[number], found[number]
        told = f"record {number}, {record.time:.3f} s: {_sentence(record)}"
        if known:
            which = " and ".join(map(str, known))
            told += f", because of record{'s' * (len(known) > 1)} {which}"
        elif number in more:
            told += ", because of what is not drawn"
        lines.append(told)
    return "\n".join(lines)
