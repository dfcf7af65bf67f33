"""The fold of a moment: one small function for each kind of event, which says what it changed.

`HANDLERS` maps a class of event to its function; an event that no picture shows has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvlearn import events as ev
from kvlearn.raft.messages import AppendEntries, Heartbeat, InstallSnapshot, VoteResponse
from kvlearn.raft.types import ConfState, EntryID
from kvlearn.trace import Record
from kvlearn.viz.nodes import (
    Entries,
    Incoming,
    NodeMoment,
    Operation,
    Packet,
    Peer,
    Scene,
    asks_itself,
)


def _started(moment: Scene, record: Record, event: ev.Started) -> None:
    node = moment.node(record.node)
    known = node.revision if event.applied == node.applied else 0
    log = Entries(event.entries, base=event.base.index if event.base else 0)
    fresh = moment.nodes[record.node] = NodeMoment(
        name=record.node,
        term=event.term,
        vote=event.vote,
        conf=_conf_at_start(moment, record.node, event),
        base=event.base or EntryID(0, log.base),
        log=log,
        durable=log.last,
        saved=(event.term, event.vote, event.commit),
        commit=event.commit,
        applied=event.applied,
        revision=event.revision or known,
        timer_reset_s=record.time,
        timeout_s=0.0,
        tick_s=event.tick_s,
        boots=event.boot,
        role_since_s=record.time,
    )
    fresh.raft_role = fresh.standing


def _conf_at_start(moment: Scene, name: str, event: ev.Started) -> ConfState:
    """A simple configuration has all members for voters but the learners."""
    if event.outgoing:
        for conf in (moment.node(name).conf, *(node.conf for node in moment.nodes.values())):
            if (conf.voters, conf.outgoing, conf.learners) == event_conf(event):
                return conf  # with what a start does not tell: what follows when it is left
        return ConfState(*event_conf(event))
    voters = (member for member in event.members if member not in event.learners)
    return ConfState(tuple(voters), (), event.learners)


def event_conf(event: ev.Started) -> tuple:
    """Voters, outgoing voters and learners of a start in a joint configuration."""
    return event.voters, event.outgoing, event.learners


def _settle(node: NodeMoment, record: Record) -> None:
    """It neither leads nor stands for election."""
    if node.raft_role != node.standing:
        node.raft_role, node.role_since_s = node.standing, record.time


def _became(moment: Scene, record: Record, role: str, term: int) -> NodeMoment:
    node = moment.node(record.node)
    if term != node.term:
        node.vote = None
    if node.raft_role != role:
        node.role_since_s = record.time
    node.raft_role, node.term = role, term
    node.timer_reset_s = record.time
    node.progress, node.pre_votes, node.transferee = {}, {}, None
    return node


def _became_follower(moment: Scene, record: Record, event: ev.BecameFollower) -> None:
    node = _became(moment, record, moment.node(record.node).standing, event.term)
    node.leader = event.leader
    node.timeout_s = event.timeout_ticks * node.tick_s
    node.votes = {}


def _became_candidate(moment: Scene, record: Record, event: ev.BecameCandidate) -> None:
    node = _became(moment, record, "candidate", event.term)
    node.leader, node.vote = None, record.node
    node.timeout_s = event.timeout_ticks * node.tick_s
    node.votes = {record.node: True}


def _became_leader(moment: Scene, record: Record, event: ev.BecameLeader) -> None:
    node = _became(moment, record, "leader", event.term)
    node.leader = record.node
    node.votes = {**node.votes, **dict.fromkeys(event.votes, True)}
    follows = Peer(0, event.last.index + 1, "probe")
    node.progress = {peer: follows for peer in node.members if peer != record.node}


def _asked_pre_vote(moment: Scene, record: Record, event: ev.AskedPreVote) -> None:
    node = moment.node(record.node)
    _settle(node, record)  # a candidate has waited in vain
    node.leader, node.votes, node.progress, node.transferee = None, {}, {}, None
    node.pre_votes = {record.node: True}
    node.timer_reset_s, node.timeout_s = record.time, event.timeout_ticks * node.tick_s


def _vote_granted(moment: Scene, record: Record, event: ev.VoteGranted) -> None:
    if event.pre:  # it promises nothing
        return
    node = moment.node(record.node)
    node.vote, node.timer_reset_s = event.candidate, record.time


def _truncated(moment: Scene, record: Record, event: ev.Truncated) -> None:
    node = moment.node(record.node)
    node.log.truncate(event.after)
    node.durable = min(node.durable, event.after)


def _appended(moment: Scene, record: Record, event: ev.Appended) -> None:
    if event.entries:
        moment.node(record.node).log.extend(event.entries)


def _conf_changed(moment: Scene, record: Record, event: ev.ConfChanged) -> None:
    node = moment.node(record.node)
    node.conf = event.conf
    if node.raft_role not in ("leader", "candidate"):
        _settle(node, record)
    elif node.raft_role == "leader":
        fresh = Peer(0, node.log.last + 1, "probe")
        peers = [peer for peer in node.members if peer != record.node]
        node.progress = {peer: node.progress.get(peer, fresh) for peer in peers}


def _log_compacted(moment: Scene, record: Record, event: ev.LogCompacted) -> None:
    node = moment.node(record.node)
    node.log.compact(event.base.index)
    node.base = event.base


def _snapshot_installed(moment: Scene, record: Record, event: ev.SnapshotInstalled) -> None:
    node = moment.node(record.node)
    if node.replaced is None:  # what its disk holds until the snapshot is saved
        node.replaced = (node.log, node.base, node.durable)
    node.log, node.base, node.durable = Entries(base=event.last.index), event.last, 0
    node.commit, node.incoming = event.last.index, None


def _state_loaded(moment: Scene, record: Record, event: ev.StateLoaded) -> None:
    node = moment.node(record.node)
    node.applied, node.revision = event.index, event.revision


def _transfer_started(moment: Scene, record: Record, event: ev.TransferStarted) -> None:
    moment.node(record.node).transferee = event.to


def _transfer_aborted(moment: Scene, record: Record, event: ev.TransferAborted) -> None:
    moment.node(record.node).transferee = None


def _refused(moment: Scene, record: Record, event: ev.Refused) -> None:
    if event.action == "campaign":  # it may not stand, and waits as long again
        moment.node(record.node).timer_reset_s = record.time


def _progressed(moment: Scene, record: Record, event: ev.Progressed) -> None:
    node = moment.node(record.node)
    node.progress = {**node.progress, event.peer: Peer(event.match, event.next, event.state)}


def _committed(moment: Scene, record: Record, event: ev.Committed) -> None:
    moment.node(record.node).commit = event.index


def _applied(moment: Scene, record: Record, event: ev.Applied) -> None:
    node = moment.node(record.node)
    node.applied, node.revision = event.index, event.revision


def _saved(moment: Scene, record: Record, event: ev.Saved) -> None:
    node = moment.node(record.node)
    node.saved = (event.term, event.vote, event.commit)
    if node.replaced is not None and event.commit < node.base.index:  # saved before the snapshot
        log, base, durable = node.replaced
        node.replaced = (log, base, min(max(event.last, durable), log.last))
        return
    node.replaced = None
    node.durable = min(max(event.last, node.durable, node.log.base), node.log.last)


def _crashed(moment: Scene, record: Record, event: ev.Crashed) -> None:
    node = moment.node(record.node)
    node.alive, node.paused, node.raft_role = False, False, node.standing
    node.role_since_s = record.time
    if event.kept is not None:  # a crash in the midst of a save keeps a part of it
        node.saved = (event.kept.term, event.kept.vote, event.kept.commit)
    node.term, node.vote, commit = node.saved  # the rest was in memory only
    node.commit = max(commit, node.applied)  # the store on the disk: what is applied is committed
    node.leader, node.votes, node.progress = None, {}, {}
    node.pre_votes, node.transferee, node.incoming = {}, None, None
    if node.replaced is not None and not node.base.index <= event.last <= node.log.last:
        node.log, node.base, _ = node.replaced  # the snapshot was not on the disk yet
    node.replaced = None
    node.log.truncate(event.last)
    node.durable = node.log.last


def _wiped(moment: Scene, record: Record, event: ev.Wiped) -> None:
    old = moment.node(record.node)
    moment.nodes[record.node] = NodeMoment(
        record.node, alive=False, conf=old.conf, boots=old.boots, role_since_s=record.time
    )


def _paused(moment: Scene, record: Record, event: ev.Paused) -> None:
    node = moment.node(record.node)
    node.paused, node.role_since_s = True, record.time


def _resumed(moment: Scene, record: Record, event: ev.Resumed) -> None:
    node = moment.node(record.node)
    node.paused, node.role_since_s = False, record.time


def _sent(moment: Scene, record: Record, event: ev.Sent) -> None:
    message = event.message
    moment.packets[event.packet] = Packet(
        event.packet,
        message.source,
        message.target,
        message,
        record.time,
        event.arrives_s,
        event.fate,
        record.seq,
    )
    if type(message) is AppendEntries and message.entries:
        node = moment.node(record.node)
        known = node.progress.get(message.target)
        # In state replicate a leader counts on arrival and sends on from there (pipelining).
        if known is not None and known.state == "replicate":
            after = message.entries[-1].index + 1
            if after > known.next:
                moved = Peer(known.match, after, known.state)
                node.progress = {**node.progress, message.target: moved}


def _received(moment: Scene, record: Record, event: ev.Received) -> None:
    moment.packets.pop(event.packet, None)
    message = event.message
    kind = type(message)
    if kind is Heartbeat or kind is AppendEntries or kind is InstallSnapshot:
        node = moment.node(record.node)
        if message.term == node.term:
            node.timer_reset_s, node.leader = record.time, message.source
        if kind is InstallSnapshot:
            _got_chunk(node, message)
    elif kind is VoteResponse:
        _got_answer(moment.node(record.node), message)


def _got_chunk(node: NodeMoment, message: InstallSnapshot) -> None:
    """A chunk of a snapshot that the node can use continues what it has."""
    last, has = message.last, node.log.find(message.last.index)
    if message.term >= node.term and last.index > node.commit and not (has and has.id == last):
        known, whose = node.incoming, (message.source, message.term)
        records = known.records if known and (known.last, node.sender) == (last, whose) else 0
        if records == message.offset:
            records += len(message.records)
        node.incoming, node.sender = Incoming(last, records, message.total), whose


def _got_answer(node: NodeMoment, message: VoteResponse) -> None:
    """Of two answers of one node the first counts; a pre-vote never counts as a vote."""
    answer = {message.source: message.granted}
    if message.pre and node.pre_votes:
        # Who would vote speaks of the term that is asked about, who refuses of its own or of none.
        if message.term == node.term + 1 if message.granted else message.term in (0, node.term):
            node.pre_votes = node.pre_votes | answer | node.pre_votes
    elif not message.pre and node.raft_role == "candidate" and message.term == node.term:
        node.votes = node.votes | answer | node.votes


def _dropped(moment: Scene, record: Record, event: ev.Dropped) -> None:
    moment.packets.pop(event.packet, None)


def _delayed(moment: Scene, record: Record, event: ev.Delayed) -> None:
    packet = moment.packets.get(event.packet)
    if packet is not None:
        moment.packets[event.packet] = packet._replace(arrives_s=event.arrives_s)


def _links_cut(moment: Scene, record: Record, event: ev.LinksCut) -> None:
    moment.cuts = frozenset(event.links)  # all that are cut now, older ones included
    moment.cut_why = event.why


def _healed(moment: Scene, record: Record, event: ev.Healed) -> None:
    moment.cuts, moment.cut_why = frozenset(), ""


def _invoked(moment: Scene, record: Record, event: ev.Invoked) -> None:
    if not asks_itself(event):
        asked = Operation(event.op_id, event.node, event.request, record.time)
        moment.clients[record.node] = asked


def _returned(moment: Scene, record: Record, event: ev.Returned) -> None:
    asked = moment.clients.get(record.node)
    if asked is not None and asked.op_id == event.op_id:
        moment.clients[record.node] = asked._replace(
            node=event.node,
            returned_s=record.time,
            result=event.result,
            revision=event.revision,
            error=event.error,
            unknown=event.unknown,
        )


HANDLERS: dict[type, Callable[[Scene, Record, Any], None]] = {
    ev.Started: _started,
    ev.BecameFollower: _became_follower,
    ev.BecameCandidate: _became_candidate,
    ev.BecameLeader: _became_leader,
    ev.AskedPreVote: _asked_pre_vote,
    ev.VoteGranted: _vote_granted,
    ev.ConfChanged: _conf_changed,
    ev.LogCompacted: _log_compacted,
    ev.SnapshotInstalled: _snapshot_installed,
    ev.StateLoaded: _state_loaded,
    ev.TransferStarted: _transfer_started,
    ev.TransferAborted: _transfer_aborted,
    ev.Refused: _refused,
    ev.Truncated: _truncated,
    ev.Appended: _appended,
    ev.Progressed: _progressed,
    ev.Committed: _committed,
    ev.Applied: _applied,
    ev.Saved: _saved,
    ev.Crashed: _crashed,
    ev.Wiped: _wiped,
    ev.Paused: _paused,
    ev.Resumed: _resumed,
    ev.Sent: _sent,
    ev.Received: _received,
    ev.Dropped: _dropped,
    ev.Delayed: _delayed,
    ev.LinksCut: _links_cut,
    ev.Healed: _healed,
    ev.Invoked: _invoked,
    ev.Returned: _returned,
}
