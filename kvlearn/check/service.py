"""What clients and operators rely on beyond the paper's figure 3.

| promise | said of | source |
|---|---|---|
| Fresh Reads | every linearizable answer: none is stale | thesis 6.4, paper section 8 |
| Leader Stability | clusters with CheckQuorum: who hears a leader elects no other | thesis 4.2.3 |
| Leader Activity | clusters with CheckQuorum: who hears no majority leads no more | thesis 6.2 |

The last two are promises of liveness, cut to what a finite story can break. Leader Stability counts
by the true clock, with a tick to spare, so it says nothing of nodes whose own clock is too fast.

>>> from kvlearn.kv.requests import Put, Range
>>> trace = Trace(seed=7)
>>> for event in Invoked(1, "n1", Put(b"a")), Returned(1, "n1", None, revision=5):
...     _ = trace.add(0.1, "c1", event, None)
>>> for event in Invoked(2, "n2", Range(b"a")), Returned(2, "n2", None, revision=4):
...     _ = trace.add(0.2, "c2", event, None)
>>> print(service(trace)["Fresh Reads"])  # doctest: +NORMALIZE_WHITESPACE
Fresh Reads is broken: c2 is told revision 4 by n2, and revision 5 was known before it asked
[record 3, 0.200000 s, c2] (seed 7)
"""

from __future__ import annotations

from typing import Any

from kvlearn.check.verdict import Verdict, Verdicts
from kvlearn.events import (
    AskedPreVote,
    BecameCandidate,
    BecameFollower,
    BecameLeader,
    ConfChanged,
    Crashed,
    Invoked,
    Received,
    Returned,
    Sent,
    Started,
    VoteGranted,
)
from kvlearn.kv.kinds import serializable
from kvlearn.kv.leases import LEADER_ONLY
from kvlearn.kv.members import MEMBERSHIP
from kvlearn.raft.messages import AppendEntries, Heartbeat, InstallSnapshot, RequestVote
from kvlearn.raft.quorum import committed_index
from kvlearn.raft.types import ConfState
from kvlearn.trace import Record, Trace

NO_STALE_READ = "Fresh Reads"
LEADER_STABILITY = "Leader Stability"
LEADER_ACTIVITY = "Leader Activity"

COMMANDS = (AppendEntries, Heartbeat, InstallSnapshot)  # what only a leader says


def service(trace_or_cluster: Any) -> Verdicts:
    """The verdicts on a whole trace, or on the trace of a cluster."""
    trace = getattr(trace_or_cluster, "trace", trace_or_cluster)
    config = trace.about.get("config", {})
    verdicts = [no_stale_read(trace)]
    if config.get("check_quorum"):
        ticks, tick_s = config["election_ticks"], config["tick_s"]
        verdicts.append(leader_stability(trace, ticks * tick_s, tick_s))
        verdicts.append(leader_activity(trace, ticks, config["heartbeat_ticks"]))
    return Verdicts(verdicts)


def no_stale_read(trace: Trace) -> Verdict:
    """No linearizable answer is older than what anybody was told before it was asked.

    This needs no search: revisions tell what is older. Linearizability implies it.
    """
    newest, count = 0, 0
    floor: dict[int, int] = {}  # operation -> the newest revision told before it was asked
    for record in trace.of(Invoked, Returned):
        event = record.event
        if isinstance(event, Invoked):
            # What the leader's clock knows comes through a follower with the follower's header.
            local = serializable(event.request) or isinstance(event.request, LEADER_ONLY)
            if not (local or isinstance(event.request, MEMBERSHIP)):
                floor[event.op_id] = newest
        elif not event.error and event.op_id in floor:
            count += 1
            if event.revision < floor[event.op_id]:
                why = f"{record.node} is told revision {event.revision} by {event.node}, and "
                why += f"revision {floor[event.op_id]} was known before it asked"
                return Verdict(NO_STALE_READ, False, why, record, "8", trace.seed)
            newest = max(newest, event.revision)
    return Verdict(NO_STALE_READ, True, f"{count} answers, none out of date", None, "8", trace.seed)


def leader_stability(trace: Trace, election_s: float, tick_s: float) -> Verdict:
    """Nobody who has heard a leader within the shortest election timeout votes against it.

    A leader may ask for the election itself (leadership transfer): that is no disturbance.
    """
    heard: dict[str, tuple[str, float]] = {}  # node -> the leader that it heard last, and when
    terms: dict[str, int] = {}
    votes = 0
    kinds = Received, VoteGranted, Started, AskedPreVote, BecameCandidate, BecameFollower
    for record in trace.of(*kinds):
        node, event = record.node, record.event
        if isinstance(event, (Started, BecameFollower, BecameCandidate)):
            terms[node] = event.term
        match event:
            case Started() | AskedPreVote() | BecameCandidate():  # it waits for nobody
                heard.pop(node, None)
            case BecameFollower(leader=None) if not _asked_for_a_vote(trace, record):
                heard.pop(node, None)  # it follows nobody now
            case Received(message=message) if isinstance(message, COMMANDS):
                if message.term < terms.get(node, 0):
                    continue  # who speaks of an old term leads no more
                heard[node] = (message.source, record.time)
            case VoteGranted(pre=False):
                votes += 1
                leader, time = heard.get(node, ("", -election_s))
                if leader == event.candidate:
                    continue  # a vote for whom it follows: the request came twice
                if record.time - time < election_s - tick_s and _asked_for_a_vote(trace, record):
                    why = f"{node} votes for {event.candidate} in term {event.term}, and has heard "
                    why += f"{leader} {1000 * (record.time - time):.0f} ms before"
                    return Verdict(LEADER_STABILITY, False, why, record, "4.2.3", trace.seed)
    why = f"{votes} votes, and none against a leader that was heard"
    return Verdict(LEADER_STABILITY, True, why, None, "4.2.3", trace.seed)


def _asked_for_a_vote(trace: Trace, record: Record) -> bool:
    """Whether this came of a vote request that the leader did not want."""
    cause = trace[record.cause].event if record.cause is not None else None
    request = isinstance(cause, Received) and isinstance(cause.message, RequestVote)
    return request and not cause.message.transfer


def leader_activity(trace: Trace, election_ticks: int, heartbeat_ticks: int) -> Verdict:
    """Nobody speaks as leader longer than an election timeout without a majority that answers.

    Counted in the leader's own ticks, which its heartbeats carry.
    """
    leads: dict[str, _Lead] = {}
    confs: dict[str, ConfState] = {}
    beats = 0
    kinds = BecameLeader, BecameFollower, BecameCandidate, ConfChanged, Crashed, Started
    for record in trace.of(Received, Sent, *kinds):
        node, event = record.node, record.event
        match event:
            case Started(members=members, learners=learners, outgoing=outgoing):
                voters = tuple(member for member in members if member not in learners)
                confs[node] = ConfState(event.voters if outgoing else voters, outgoing)
                leads.pop(node, None)
            case BecameLeader():
                leads[node] = _Lead()
            case ConfChanged(conf=conf):
                confs[node] = conf
                if node in leads:
                    leads[node] = _Lead()
            case BecameFollower() | BecameCandidate() | Crashed():
                leads.pop(node, None)
            case Received(message=message) if node in leads and leads[node].now is not None:
                leads[node].heard[message.source] = leads[node].now
            case Sent(message=Heartbeat(sent=ticks)) if node in leads:
                if ticks < (leads[node].now or 0):
                    continue  # a copy of an old one, which the network sends
                beats += 1
                silent = leads[node].silent(node, confs[node], ticks)
                if silent >= election_ticks + heartbeat_ticks:
                    why = f"{node} still leads term {event.message.term}, and no majority has "
                    why += f"answered it for {silent} ticks"
                    return Verdict(LEADER_ACTIVITY, False, why, record, "6.2", trace.seed)
    why = f"{beats} heartbeats, each of a leader with a majority behind it"
    return Verdict(LEADER_ACTIVITY, True, why, None, "6.2", trace.seed)


class _Lead:
    """A leader's time in office, in its own ticks: when it spoke last, and whom it had heard."""

    def __init__(self) -> None:
        self.since: int | None = None  # its first heartbeat
        self.now: int | None = None  # its last one
        self.heard: dict[str, int] = {}

    def silent(self, me: str, conf: ConfState, now: int) -> int:
        """Ticks since a majority was heard, itself included."""
        since = self.since = now if self.since is None else self.since
        self.now = now
        return now - committed_index(
            conf, lambda node: now if node == me else self.heard.get(node, since)
        )
