"""Why? One true sentence for every record and every mark of a picture, with its numbers.

    why(trace, seq)          the record: what happened, and what decided it
    why_entry, why_node, why_message                 the marks of ring and logs, of a `Moment`
    why_key, why_watch, why_lease, why_txn           those of the store, of a `StoreMoment`
    why_operation(trace, op_id), why_promise(verdict)
    rule_source("may_commit")                        the rule's own code, and where it stands

>>> from kvlearn.events import BecameLeader, Started
>>> from kvlearn.raft.types import ZERO
>>> trace = Trace()
>>> born = trace.add(0.0, "n1", Started(0, None, (), 0, 0, ("n1",), 1, 0.1), None)
>>> won = trace.add(1.2, "n1", BecameLeader(1, ("n1",), ZERO), born)
>>> answer = why(trace, won)
>>> print(answer)
n1 leads term 1 with the votes of n1, 1 of 1: 1 was needed.
>>> answer.seq, answer.rule, answer.section
(1, 'election_result', 'Raft paper, section 5.2, thesis 4.3')

Every sentence is made of the facts of the records; nothing is guessed. What no rule of the core
decides stands in `why_rules.NO_RULE`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvlearn import events as ev
from kvlearn.raft import messages as msg
from kvlearn.trace import Record, Trace
from kvlearn.viz.moment import Moment, line, trace_of
from kvlearn.viz.why_index import back, last
from kvlearn.viz.why_marks import (
    commit_why,
    conf_at,
    follower_why,
    holders,
    leader_why,
    log_end,
    need,
    purpose,
    sent_why,
    tally,
    ticks,
    told,
    why_entry,
    why_message,
    why_node,
)
from kvlearn.viz.why_rules import (
    LINKS,
    NO_RULE,
    RULE_OF,
    RuleSource,
    Why,
    because,
    brief,
    link_of,
    rule_source,
)
from kvlearn.viz.why_store import (
    operation_why,
    why_key,
    why_lease,
    why_operation,
    why_promise,
    why_txn,
    why_watch,
)

__all__ = [
    "LINKS",
    "NO_RULE",
    "RULE_OF",
    "RuleSource",
    "Why",
    "link_of",
    "rule_source",
    "why",
    "why_entry",
    "why_key",
    "why_lease",
    "why_message",
    "why_node",
    "why_operation",
    "why_promise",
    "why_txn",
    "why_watch",
]


def why(subject: Any, seq: int | None = None, upto: int | None = None) -> Why:
    """Why record `seq` of a trace, a cluster, a moment or a timeline happened; None: the last one.

    What became of a message is told as it stood after record `upto`; None: at the end, or at the
    moment. Raises: IndexError where there is no such record, TypeError for what has no trace.
    """
    trace = trace_of(subject)
    if upto is None:
        upto = subject.seq if isinstance(subject, Moment) else len(trace) - 1
    if seq is None:
        seq = subject.seq if isinstance(subject, Moment) else len(trace) - 1
    if not 0 <= seq < len(trace):
        raise IndexError(f"the trace has {len(trace)} records, and none of number {seq}")
    record = trace[seq]
    if isinstance(record.event, ev.Sent):
        return sent_why(trace, record, upto)
    return _TELLS.get(type(record.event), _plain)(trace, record)


def _plain(trace: Trace, record: Record) -> Why:
    """What happened is the whole answer: nothing decided it, or its own sentence says what."""
    return because(_capital(line(record)), record.seq, type(record.event))


def _capital(text: str) -> str:
    """A sentence about nobody in particular begins with a capital letter."""
    return text[0].upper() + text[1:] if text.startswith("network:") else text


def _after(trace: Trace, record: Record) -> str:
    """What led to a record, as the end of its sentence; "" for what came from outside."""
    if record.cause is None:
        return ""
    cause = trace[record.cause]
    match cause.event:
        case ev.Received(message=message):
            return f", after {brief(message, 30)} came from {message.source}"
        case ev.Invoked():
            return f", for {cause.node}, who asked: {brief(cause.event.request, 30)}"
        case ev.Saved():
            return ", after its disk had saved"
    return ""


# One function a kind of event ---------------------------------------------------------------


def _started(trace: Trace, record: Record) -> Why:
    event = record.event
    count = f"for the {_ordinal(event.boot)} time"
    text = f"{record.node} starts {count}: its disk holds term {event.term}, "
    text += f"{len(event.entries)} entries and state up to {event.applied}"
    return because(text, record.seq, ev.Started)


def _ordinal(number: int) -> str:
    tail = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"


def _follower(trace: Trace, record: Record) -> Why:
    if record.event.reason not in ("ELECTION_LOST", "PRE_VOTE_LOST"):
        return follower_why(record)
    pre = record.event.reason == "PRE_VOTE_LOST"
    asked = last(trace, record.seq, ev.AskedPreVote if pre else ev.BecameCandidate,
                 node=record.node)  # fmt: skip
    if asked is None:
        return follower_why(record)
    conf, votes = conf_at(trace, record.node, record.seq), _votes(trace, asked, record, pre)
    no = [name for name, vote in votes.items() if not vote]
    if not no:  # its members are others now
        return follower_why(record)
    yes = [name for name, vote in votes.items() if vote]
    would = "would have " if pre else "had "
    text = f"{record.node} gives up in term {record.event.term}: {tally(conf, no)}, refused, and "
    text += f"it {would}the votes of {told(yes)} where {need(conf, was=True)}"
    return because(text, record.seq, record.event.reason)


def _votes(trace: Trace, asked: Record, record: Record, pre: bool) -> dict[str, bool]:
    """The answers that came between question and end: of two from one node the first counts."""
    votes = {record.node: True}
    for got in trace.of(ev.Received, node=record.node, start=asked.seq):
        if got.seq > record.seq:
            break
        message = got.event.message
        if not isinstance(message, msg.VoteResponse) or message.pre != pre:
            continue
        wanted = asked.event.term - (pre and not message.granted)
        if message.term == wanted or (not message.granted and message.term == 0):
            votes.setdefault(message.source, message.granted)
    return votes


def _candidate(trace: Trace, record: Record) -> Why:
    event = record.event
    text = f"{record.node} stands for election in term {event.term}: "
    if event.wanted:
        text += "the leader wants it to lead"
    elif event.pre_votes:
        conf = conf_at(trace, record.node, record.seq)
        text += f"{tally(conf, event.pre_votes)}, would vote for it, {need(conf, was=True)}"
        return because(text, record.seq, "election_result", section="thesis 9.6")
    elif event.waited_ticks:
        text += f"it has heard no leader for {ticks(event.waited_ticks)}"
    else:
        text += "it was told to"
    return because(text, record.seq, ev.BecameCandidate)


def _granted(trace: Trace, record: Record) -> Why:
    event = record.event
    asked = trace[record.cause].event if record.cause is not None else None
    message = getattr(asked, "message", None)
    text = f"{record.node} {'would vote' if event.pre else 'votes'} for {event.candidate} in term "
    text += str(event.term)
    if not event.pre:
        other = _voted(trace, record)
        text += f", though it had voted for {other} in it" if other else ", its first vote in it"
    if isinstance(message, msg.RequestVote):
        own = log_end(trace, record.node, record.seq)
        behind = own is not None and message.last < own
        text += f": a log that ends at {message.last} is {'' if behind else 'not '}behind its own"
        text += f", which ends at {own}" if own else ""
    return because(text, record.seq, "is_up_to_date" if event.pre else ev.VoteGranted)


def _voted(trace: Trace, record: Record) -> str:
    """Whom else the node had given its vote of that term; "": nobody."""
    event, node = record.event, record.node
    for one in back(trace, record.seq - 1, ev.VoteGranted, node):
        if not one.event.pre and one.event.term == event.term:
            if one.event.candidate != event.candidate:
                return one.event.candidate
        elif one.event.term < event.term:
            break
    stood = last(trace, record.seq, ev.BecameCandidate, node=node)
    return node if stood is not None and stood.event.term == event.term else ""


def _refused(trace: Trace, record: Record) -> Why:
    if record.event.reason != "COMMIT_OLD_TERM":
        return because(str(record), record.seq, record.event.reason)
    known = dict(record.event.facts)
    index = int(known["entry"].split("@")[0])
    conf, have = holders(trace, record, index)
    text = f"{record.node} may not commit {known['entry']} yet: {tally(conf, have)}, have it, but "
    text += f"it is not of its own term {known['term']}"
    return because(text, record.seq, "COMMIT_OLD_TERM")


def _appended(trace: Trace, record: Record) -> Why:
    event = record.event
    what = ev.span(event.entries[0].index, event.entries[-1].index)
    cause = trace[record.cause].event if record.cause is not None else None
    message = getattr(cause, "message", None)
    if isinstance(message, msg.AppendEntries):
        text = f"{record.node} takes {what} from {message.source}: they follow {message.prev}, "
        return because(text + "which it takes to be in its log", record.seq, "log_matches")
    made = event.entries[-1]
    why = "a new leader begins with an empty entry" if made.data is None else (
        f"it leads term {made.term}, and takes {brief(made.data)}")  # fmt: skip
    text = f"{record.node} appends entry {made.id}: {why}"
    return because(text, record.seq, "Raft._append_own")


def _truncated(trace: Trace, record: Record) -> Why:
    event, gone = record.event, record.event.dropped
    what = ev.span(gone[0].index, gone[-1].index) if gone else "nothing"
    text = f"{record.node} drops {what}, not committed there: it has {gone[0]} where the leader "
    return because(f"{text}has {event.by}", record.seq, ev.Truncated)


def _committed(trace: Trace, record: Record) -> Why:
    event = record.event
    return commit_why(trace, record, event.index, f"{event.index}@{event.term}")


def _confirmed(trace: Trace, record: Record) -> Why:
    event = record.event
    reads = f"{event.reads} read{'s' * (event.reads != 1)}"
    if not event.acks:
        text = f"{record.node} lets {reads} see index {event.index} without asking: its lease, "
        return because(text + "as it counts, has not run out", record.seq, "holds_lease")
    conf = conf_at(trace, record.node, record.seq)
    text = f"{record.node} lets {reads} see index {event.index}: {tally(conf, event.acks)}, have "
    text += f"confirmed that it leads, and {need(conf, was=True)}"
    return because(text, record.seq, ev.ReadConfirmed)


def _applied(trace: Trace, record: Record) -> Why:
    event = record.event
    what = "a leader's empty entry" if event.command is None else brief(event.command)
    end = f"the store is at revision {event.revision}"
    if event.error:
        end = f"every node refuses it alike: {brief(event.error, 60)}"
    text = f"{record.node} applies {event.index}@{event.term} ({what}), which is committed; {end}"
    return because(text, record.seq, ev.Applied)


def _saved(trace: Trace, record: Record) -> Why:
    event = record.event
    what = f" and {ev.span(event.first, event.last)}" if event.last else ""
    text = f"{record.node} has term {event.term}, its vote ({event.vote or 'nobody'}){what} on its "
    return because(text + "disk before anybody may hear of it", record.seq, ev.Saved)


def _progressed(trace: Trace, record: Record) -> Why:
    event = record.event
    text = f"{record.node} knows that {event.peer} has entries up to {event.match}, and sends from "
    text += f"{event.next} on in state {event.state}{_after(trace, record)}"
    return because(text, record.seq, ev.Progressed)


def _received(trace: Trace, record: Record) -> Why:
    message = record.event.message
    sent = None if record.cause is None else trace[record.cause]
    if sent is None or not isinstance(sent.event, ev.Sent):
        return _plain(trace, record)
    way = record.time - sent.time
    text = f"{purpose(trace, sent, message)}; that came after {way:.3f} s"
    return because(text, record.seq, ev.Received, type(message))


def _dropped(trace: Trace, record: Record) -> Why:
    event, message = record.event, record.event.message
    text = f"{message.source} sent {brief(message)} to {message.target} in vain: "
    text += ev.sentence(event.reason, event.facts)
    return because(text, record.seq, event.reason)


def _asked(trace: Trace, record: Record) -> Why:
    event, request = record.event, record.event.request
    text = f"{record.node} is asked by {event.stream}: {brief(request)}; "
    start = getattr(request, "start_revision", None)
    if start is None:
        text += f"its store is at revision {event.revision}"
        return because(text, record.seq, "WatchHub.cancel")
    begins = f"it begins at {start}, as asked" if start > 0 else "it begins with what comes next"
    text += f"{begins}, and the store is at revision {event.revision}"
    return because(text, record.seq, ev.WatchAsked)


def _notified(trace: Trace, record: Record) -> Why:
    event, response = record.event, record.event.response
    name, at = f"{record.node} tells {event.stream}", response.revision
    if response.canceled and response.compact_revision:
        text = f"{name} that watch {response.watch_id} is cancelled: what it lacks lies below "
        return because(f"{text}{response.compact_revision}, which is compacted", record.seq,
                       "has_lost")  # fmt: skip
    if response.canceled:
        why = response.cancel_reason or "its client wanted it"
        text = f"{name} that watch {response.watch_id} is cancelled: {why}"
        by = "WatchHub.create" if response.created else "WatchHub.cancel"
        return because(text, record.seq, by)
    if response.created:
        text = f"{name} that watch {response.watch_id} is there: it is told what comes after {at}, "
        return because(text + "or from where it asked to begin", record.seq, "starts_at")
    if not response.events:
        text = f"{name} that it was sent all up to revision {at}"
        return because(text, record.seq, "may_tell_progress")
    count = len(response.events)
    first, newest = (response.events[k].kv.mod_revision for k in (0, -1))
    which = f"revision {first}" if first == newest else f"revisions {first} to {newest}"
    text = f"{name} {count} change{'s' * (count != 1)} of {which}: its store is at {at}, and it "
    return because(text + "takes them for news to the watch", record.seq, "next_after")


def _leases_counted(trace: Trace, record: Record) -> Why:
    event = record.event
    count = len(event.left)
    text = f"{record.node} counts {count} lease{'s' * (count != 1)} anew, as it leads term "
    text += str(event.term)
    if event.left:
        id, left = event.left[0]
        text += f": each has its whole time or what was noted, lease {id:x} has {left:g} s"
    return because(text, record.seq, ev.LeasesCounted)


def _renewed(trace: Trace, record: Record) -> Why:
    event = record.event
    text = f"{record.node} gives lease {event.lease:x} its whole {event.ttl_s} s again: its holder "
    return because(text + "said that it is alive", record.seq, ev.LeaseRenewed)


def _expired(trace: Trace, record: Record) -> Why:
    event = record.event
    text = f"{record.node} takes lease {event.lease:x} for over: as its clock counts, all its "
    text += f"time, {event.ttl_s} s when it was granted, has passed"
    return because(text, record.seq, ev.LeaseExpired)


def _returned(trace: Trace, record: Record) -> Why:
    id = record.event.op_id
    for asked in back(trace, record.seq, ev.Invoked, record.node):
        if asked.event.op_id == id:
            return operation_why(trace, asked, record)
    return _plain(trace, record)


def _delayed(trace: Trace, record: Record) -> Why:
    event, message = record.event, record.event.message
    text = f"{message.source} sent {brief(message)} to {message.target}; it is held up by hand "
    return because(f"{text}until {event.arrives_s:.3f} s", record.seq, ev.Delayed)


def _setting(trace: Trace, record: Record) -> Why:
    event = record.event
    new = " to ".join(map(str, event.new)) if isinstance(event.new, tuple) else str(event.new)
    whose = f"{record.node}: " if record.node else ""
    text = f"{whose}{event.setting} is now {new}"
    return because(text if whose else text[0].upper() + text[1:], record.seq, ev.LinksChanged)


_TELLS: dict[type, Callable[[Trace, Record], Why]] = {
    ev.Started: _started,
    ev.BecameFollower: _follower,
    ev.BecameCandidate: _candidate,
    ev.BecameLeader: leader_why,
    ev.VoteGranted: _granted,
    ev.Refused: _refused,
    ev.Appended: _appended,
    ev.Truncated: _truncated,
    ev.Committed: _committed,
    ev.ReadConfirmed: _confirmed,
    ev.Applied: _applied,
    ev.Saved: _saved,
    ev.Progressed: _progressed,
    ev.Received: _received,
    ev.Dropped: _dropped,
    ev.Delayed: _delayed,
    ev.WatchAsked: _asked,
    ev.Notified: _notified,
    ev.LeasesCounted: _leases_counted,
    ev.LeaseRenewed: _renewed,
    ev.LeaseExpired: _expired,
    ev.LinksChanged: _setting,
    ev.Returned: _returned,
}
