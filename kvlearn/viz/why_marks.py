"""Why an entry, a node or a message is as it is: the marks of ring and logs.

Whoever has a moment passes it on; nothing is folded anew. What lies further back (which record
committed the entry, when the node was elected) is looked up in the moment's trace.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kvlearn import events as ev
from kvlearn.kv.leases import AskLeader, LeaderAnswer
from kvlearn.raft import messages as msg
from kvlearn.raft.quorum import WON, majority, vote_result
from kvlearn.raft.types import ZERO, ConfState, EntryID
from kvlearn.trace import Record, Trace
from kvlearn.viz.fold import event_conf
from kvlearn.viz.moment import Moment, fate_in_words
from kvlearn.viz.nodes import NodeMoment, Packet, natural
from kvlearn.viz.why_index import back, last
from kvlearn.viz.why_rules import Why, because, brief

# Numbers in words ---------------------------------------------------------------------------


def told(names: Collection[str]) -> str:
    """Names in their order: `n1 n3`, or `nobody`."""
    return " ".join(sorted(names, key=natural)) or "nobody"


def tally(conf: ConfState, who: Collection[str]) -> str:
    """Who of the voters, and how many of how many: `n1 n3, 2 of 5`."""
    yes = [name for name in conf.voters if name in who]
    one = f"{told(yes)}, {len(yes)} of {len(conf.voters)}"
    if not conf.outgoing:
        return one
    old = [name for name in conf.outgoing if name in who]
    return f"{one} new voters, and {told(old)}, {len(old)} of {len(conf.outgoing)} old ones"


def need(conf: ConfState, was: bool = False) -> str:
    """How many it takes: `3 are needed`."""
    new = majority(len(conf.voters))
    is_, are = ("was", "were") if was else ("is", "are")
    if conf.outgoing:
        return f"{new} and {majority(len(conf.outgoing))} {are} needed"
    return f"{new} {is_ if new == 1 else are} needed"


def ticks(number: int) -> str:
    """`1 tick`, `12 ticks`."""
    return f"{number} tick{'s' * (number != 1)}"


# Looking back -------------------------------------------------------------------------------


def conf_at(trace: Trace, node: str, seq: int) -> ConfState:
    """By which members the node counted just before record `seq`."""
    found = last(trace, seq - 1, ev.Started, ev.ConfChanged, node=node)
    if found is None:
        return ConfState()
    event = found.event
    if isinstance(event, ev.ConfChanged):
        return event.conf
    if event.outgoing:
        return ConfState(*event_conf(event))
    voters = tuple(name for name in event.members if name not in event.learners)
    return ConfState(voters, (), event.learners)


def log_end(trace: Trace, node: str, seq: int) -> EntryID | None:
    """The end of the node's log just before record `seq`; None: the trace does not tell it."""
    found = last(trace, seq - 1, ev.Started, ev.Appended, ev.SnapshotInstalled, node=node)
    if found is None:
        return None
    event = found.event
    if isinstance(event, ev.SnapshotInstalled):
        return event.last
    if event.entries:
        return event.entries[-1].id
    return getattr(event, "base", None) or ZERO


def holders(trace: Trace, record: Record, index: int) -> tuple[ConfState, set[str]]:
    """By whom the leader counted at `record`, and of whom it knew that they have entry `index`."""
    node, seq, known = record.node, record.seq, {}
    won = last(trace, seq, ev.BecameLeader, node=node)
    since = won.seq if won else 0
    conf = conf_at(trace, node, seq)
    for one in back(trace, seq, ev.Progressed, node):
        if one.seq < since or all(name in known for name in conf.members if name != node):
            break
        known.setdefault(one.event.peer, one.event.match)
    # It asked for votes after its log was on its disk; as leader it takes nothing back.
    known[node] = won.event.last.index if won else 0
    for one in back(trace, seq, ev.Saved, node):
        if one.seq < since or one.event.last:
            known[node] = max(known[node], one.event.last if one.seq > since else 0)
            break
    match None if record.cause is None else trace[record.cause].event:
        # What just came is told to the trace after it was counted.
        case ev.Received(message=msg.AppendResponse(source=peer, match=match, rejected=0)):
            known[peer] = max(match, known.get(peer, 0))
    return conf, {name for name, match in known.items() if match >= index}


def _cause(trace: Trace | None, record: Record | None) -> Record | None:
    return None if record is None or record.cause is None or trace is None else trace[record.cause]


# Entries ------------------------------------------------------------------------------------


def why_entry(moment: Moment, node: str, index: int) -> Why:
    """Why entry `index` stands in the log of `node` (or does not), and why it is committed there
    or not yet. Raises: KeyError for a node that the moment does not know."""
    where = moment.nodes[node]
    entry = where.log.find(index)
    if entry is None:
        return _no_entry(moment, where, index)
    if index <= where.commit:
        return _committed(moment, where, index)
    if where.raft_role == "leader":
        return _waits_at_leader(moment, where, index)
    return _waits_at_follower(moment, where, index)


def _no_entry(moment: Moment, node: NodeMoment, index: int) -> Why:
    trace, seq = moment.trace, moment.seq
    if 0 < index <= node.log.base:
        kinds = ev.LogCompacted, ev.SnapshotInstalled, ev.Started
        found = last(trace, seq, *kinds, node=node.name) if trace else None
        text = f"Entry {index} is not in the log of {node.name} any more: that begins after "
        text += f"{node.base}, and what it did is in the state"
        return because(text, found and found.seq, ev.LogCompacted)
    gone = None
    if trace is not None:

        def fits(event: ev.Truncated) -> bool:
            return any(one.index == index for one in event.dropped)

        gone = last(trace, seq, ev.Truncated, node=node.name, fits=fits)
    if gone is not None:
        one = next(one for one in gone.event.dropped if one.index == index)
        text = f"Entry {one} is not on {node.name} any more: its leader had {gone.event.by} "
        return because(text + "where the two logs differ first", gone.seq, ev.Truncated)
    text = f"Entry {index} has not come to {node.name}: its log ends at "
    text += f"{node.log[-1].id if len(node.log) else node.base}"
    return because(text, None, "Raft._on_append")


def _committed(moment: Moment, node: NodeMoment, index: int) -> Why:
    entry, trace = node.log.find(index).id, moment.trace
    found = None
    if trace is not None:
        found = last(trace, moment.seq, ev.Committed, node=node.name,
                     fits=lambda event: event.old < index <= event.index)  # fmt: skip
    if found is None:
        text = f"Entry {entry} is committed on {node.name}: its disk or its snapshot said so "
        text += f"when it came, up to {node.commit}"
        return because(text, None, ev.Started, section="Raft paper, section 5.3")
    return commit_why(trace, found, index, str(entry))


def commit_why(trace: Trace, record: Record, index: int, entry: str) -> Why:
    """Why a record Committed could say so, told of one of its entries."""
    event, name = record.event, record.node
    cause = _cause(trace, record)
    message = cause.event.message if cause and isinstance(cause.event, ev.Received) else None
    match message:
        case msg.AppendEntries(source=leader) | msg.Heartbeat(source=leader):
            text = f"Entry {entry} is committed on {name}: its leader {leader} told it that "
            text += (
                f"{message.commit} is committed, and it takes its log to agree up to {event.index}"
            )
            heard = isinstance(message, msg.Heartbeat)
            rule = "commit_for" if heard else "Raft._on_append"
            return because(text, record.seq, rule, section="Raft paper, section 5.3")
        case msg.InstallSnapshot(source=leader, last=last_):
            text = f"Entry {entry} is committed on {name}: the snapshot that {leader} sent, of "
            text += f"{last_}, holds committed entries only"
            return because(text, record.seq, "wants_snapshot")
        case msg.VoteResponse(source=peer, committed=known):
            text = f"Entry {entry} is committed on {name}: {peer} knew that {known} is committed"
            return because(text, record.seq, "Raft._on_vote_response")
    conf, have = holders(trace, record, event.index)
    text = f"Entry {entry} is committed on {name}: {tally(conf, have)}, had "
    text += "it" if index == event.index else f"{event.index}@{event.term} after it"
    won = last(trace, record.seq, ev.BecameLeader, node=name)
    text += f", {need(conf, was=True)}, "
    if won is None or won.event.term == event.term:
        text += f"and {event.index}@{event.term} was of its own term"
    else:  # no rule of Raft allows that
        text += f"but {event.index}@{event.term} was not of its own term {won.event.term}"
    return because(text, record.seq, "may_commit")


def _origin(moment: Moment, node: NodeMoment, index: int) -> tuple[Record | None, str]:
    """The record that put the entry there, and from whom it came; "": the node made it itself."""
    trace, entry = moment.trace, node.log.find(index)
    if trace is None:
        return None, ""
    found = last(trace, moment.seq, ev.Appended, node=node.name,
                 fits=lambda event: event.entries[0].index <= index <= event.entries[-1].index
                 and entry in event.entries)  # fmt: skip
    cause = _cause(trace, found)
    if cause is not None and isinstance(cause.event, ev.Received):
        if isinstance(cause.event.message, msg.AppendEntries):
            return found, cause.event.message.source
    return found, ""


def _waits_at_leader(moment: Moment, node: NodeMoment, index: int) -> Why:
    entry, conf = node.log.find(index), node.conf
    origin, source = _origin(moment, node, index)
    have = {peer for peer, match in node.match.items() if match >= index}
    if node.durable >= index:
        have.add(node.name)
    seq = origin and origin.seq
    if entry.term != node.term:
        text = f"Entry {entry.id} is not committed yet: {tally(conf, have)}, have it, but "
        text += f"{node.name} leads term {node.term} and commits by counting only what is of "
        return because(text + "its own term", seq, "may_commit")
    has = "have" if conf.outgoing or len(have) > 1 else "has"
    text = f"Entry {entry.id}, made by {node.name}, is not committed yet: as {node.name} knows, "
    text += f"{tally(conf, have)}, {has} it on disk, and {need(conf)}"
    if vote_result(conf, dict.fromkeys(have, True)) == WON:
        text += "; it has not counted since"
    return because(text, seq, "quorum_index")


def _waits_at_follower(moment: Moment, node: NodeMoment, index: int) -> Why:
    entry = node.log.find(index)
    origin, source = _origin(moment, node, index)
    came = f"Entry {entry.id} came to {node.name} from {source}" if source else (
        f"Entry {entry.id} stands in the log of {node.name}")  # fmt: skip
    leader = moment.nodes.get(node.leader or "")
    knows = f"{node.name} knows of a commit up to {node.commit} only"
    if not node.alive:
        text = f"{came} and is on its disk: {node.name} is down, and knew of a commit up to "
        text += f"{node.commit}"
    elif leader is None or leader.raft_role != "leader":
        text = f"{came} and is not committed there: {knows}, and follows no leader now"
    elif leader.commit >= index and leader.term == node.term:
        text = f"{came}: {leader.name} has it committed (up to {leader.commit}), but {knows}"
    else:
        text = f"{came} and is not committed: {leader.name} has committed up to {leader.commit}, "
        text += f"and {knows}"
    return because(text, origin and origin.seq, "Raft._on_append")


# Nodes --------------------------------------------------------------------------------------


def why_node(moment: Moment, node: str) -> Why:
    """Why a node leads, stands, follows, is down, paused, a learner or outside.

    Raises: KeyError for a node that the moment does not know.
    """
    who, trace = moment.nodes[node], moment.trace
    if trace is None:
        raise ValueError("this moment knows no trace, so it cannot tell why")
    match who.role:
        case "down":
            return _why_down(trace, moment, who)
        case "paused":
            return _why_paused(trace, moment, who)
        case "leader":
            won = last(trace, moment.seq, ev.BecameLeader, node=node)
            if won is not None:
                return leader_why(trace, won)
        case "candidate":
            return _why_candidate(trace, moment, who)
        case "learner" | "outside":
            return _why_voteless(trace, moment, who)
    if who.pre_votes:
        return _why_asks(trace, moment, who)
    found = last(trace, moment.seq, ev.BecameFollower, ev.Started, node=node)
    if found is not None and isinstance(found.event, ev.BecameFollower):
        return follower_why(found)
    text = f"{node} is a follower in term {who.term}: a node that starts is one"
    return because(text, found and found.seq, "STARTED")


def leader_why(trace: Trace, record: Record) -> Why:
    """Why a node became leader."""
    event, conf = record.event, conf_at(trace, record.node, record.seq)
    text = f"{record.node} leads term {event.term} with the votes of {tally(conf, event.votes)}: "
    return because(text + need(conf, was=True), record.seq, "election_result")


def follower_why(record: Record) -> Why:
    """Why a node became a follower, of its record."""
    return because(str(record), record.seq, record.event.reason)


def _why_candidate(trace: Trace, moment: Moment, who: NodeMoment) -> Why:
    found = last(trace, moment.seq, ev.BecameCandidate, node=who.name)
    yes = [name for name, vote in who.votes.items() if vote]
    no = [name for name, vote in who.votes.items() if not vote]
    against = f", {told(no)} refused" if no else ""
    text = f"{who.name} stands in term {who.term}: it has the votes of {tally(who.conf, yes)}"
    text += f"{against}, and {need(who.conf)}"
    return because(text, found and found.seq, "election_result")


def _why_asks(trace: Trace, moment: Moment, who: NodeMoment) -> Why:
    found = last(trace, moment.seq, ev.AskedPreVote, node=who.name)
    yes = [name for name, vote in who.pre_votes.items() if vote]
    waited = f" after {ticks(found.event.waited_ticks)} without a leader" if found else ""
    text = f"{who.name} asks for pre-votes for term {who.term + 1}{waited}: "
    text += f"{tally(who.conf, yes)}, would vote for it, and {need(who.conf)}"
    return because(text, found and found.seq, "election_result", section="thesis 9.6")


def _why_down(trace: Trace, moment: Moment, who: NodeMoment) -> Why:
    found = last(trace, moment.seq, ev.Crashed, ev.Wiped, node=who.name)
    if found is None:
        return because(f"{who.name} has not been started", None, ev.Crashed)
    did = "lost its disk" if isinstance(found.event, ev.Wiped) else "crashed"
    keeps = f"keeps term {who.term} and the log up to {who.log.last}"
    if isinstance(found.event, ev.Wiped):
        keeps = "keeps nothing"
    text = f"{who.name} is down: it {did} at {found.time:.3f} s, and nobody has started it since; "
    return because(f"{text}its disk {keeps}", found.seq, type(found.event))


def _why_paused(trace: Trace, moment: Moment, who: NodeMoment) -> Why:
    found = last(trace, moment.seq, ev.Paused, node=who.name)
    wait = sum(is_waiting(moment, packet) for packet in moment.packets.values()
               if packet.target == who.name)  # fmt: skip
    since = f" since {found.time:.3f} s" if found else ""
    text = f"{who.name} is paused{since}: it neither hears nor speaks, and "
    text += f"{wait} message{'s' * (wait != 1)} wait{'s' * (wait == 1)} for it"
    return because(text, found and found.seq, ev.Paused)


def _why_voteless(trace: Trace, moment: Moment, who: NodeMoment) -> Why:
    found = last(trace, moment.seq, ev.ConfChanged, ev.Started, node=who.name)
    if who.role == "learner":
        text = f"{who.name} is a learner: it gets the log and has no vote; voters are "
    else:
        text = f"{who.name} is no member, as far as it knows; voters are "
    text += told({*who.conf.voters, *who.conf.outgoing})
    return because(text, found and found.seq, "NO_VOTER")


# Messages -----------------------------------------------------------------------------------

ABOUT: dict[type, str] = {  # a message's class -> what speaks of it
    msg.RequestVote: "Raft paper, section 5.2",
    msg.VoteResponse: "Raft paper, section 5.2",
    msg.AppendEntries: "Raft paper, section 5.3",
    msg.AppendResponse: "Raft paper, section 5.3",
    msg.Heartbeat: "Raft paper, section 5.2",
    msg.HeartbeatResponse: "Raft paper, section 5.2",
    msg.ForwardProposal: "Raft paper, section 8",
    msg.ProposalRefused: "Raft paper, section 8",
    msg.ReadIndex: "thesis 6.4",
    msg.ReadIndexResponse: "thesis 6.4",
    msg.TransferLeader: "thesis 3.10",
    msg.TimeoutNow: "thesis 3.10",
    msg.InstallSnapshot: "Raft paper, section 7",
    msg.SnapshotResponse: "Raft paper, section 7",
    AskLeader: "etcd lessor",
    LeaderAnswer: "etcd lessor",
}


def is_waiting(moment: Moment, packet: Packet) -> bool:
    """Whether it has arrived and its target, which is paused, has not read it."""
    return packet.arrives_s is not None and not packet.fate and packet.arrives_s <= moment.time


def why_message(moment: Moment, packet: Packet | int) -> Why:
    """Why a message on its way was sent, and whether it will be lost, or waits.

    Raises: KeyError for the number of a packet that is not on its way.
    """
    packet = moment.packets[packet] if isinstance(packet, int) else packet
    sent = moment.trace[packet.seq] if moment.trace is not None else None
    end, code = _end(moment, packet)
    section = "" if code else ABOUT.get(type(packet.message), "")
    text = f"{purpose(moment.trace, sent, packet.message)}; {end}"
    decided = (code,) if code else (ev.Sent, type(packet.message))
    return because(text, packet.seq, *decided, section=section)


def _end(moment: Moment, packet: Packet) -> tuple[str, str]:
    target = moment.nodes.get(packet.target)
    way = f"from {packet.source} to {packet.target}"
    if packet.fate:
        return f"it will not arrive: {fate_in_words(packet.fate, packet.source, packet.target)}", (
            packet.fate)  # fmt: skip
    if (packet.source, packet.target) in moment.cuts:
        return f"it will be lost if the link {way}, which is cut now, stays so", "CUT"
    if target is not None and not target.alive:
        return f"it will be lost if {packet.target}, which is down now, stays so", "DOWN"
    if target is not None and target.paused and is_waiting(moment, packet):
        return f"it waits since {packet.arrives_s:.3f} s: {packet.target} is paused", ""
    if packet.arrives_s is None:
        return f"nobody knows when it reaches {packet.target}", ""
    return f"it reaches {packet.target} at {packet.arrives_s:.3f} s", ""


def sent_why(trace: Trace, record: Record, upto: int) -> Why:
    """Why a message was sent, of its record; and what became of it by record `upto`."""
    event, message = record.event, record.event.message
    text = purpose(trace, record, message)
    end = _end_of(trace, record, upto)
    if end is not None and isinstance(end.event, ev.Dropped):
        lost = ev.sentence(end.event.reason, end.event.facts)
        return because(f"{text}; it did not arrive: {lost}", record.seq, end.event.reason)
    if end is not None:
        way = end.time - record.time
        text += f"; {message.target} received it at {end.time:.3f} s, after {way:.3f} s"
        return because(text, record.seq, ev.Sent, type(message),
                       section=ABOUT.get(type(message), ""))  # fmt: skip
    if event.fate:
        lost = fate_in_words(event.fate, message.source, message.target)
        return because(f"{text}; it will not arrive: {lost}", record.seq, event.fate)
    if event.arrives_s is not None:
        text += f"; it is due at {event.arrives_s:.3f} s"
    about = ABOUT.get(type(message), "")
    return because(text, record.seq, ev.Sent, type(message), section=about)


def _end_of(trace: Trace, sent: Record, upto: int) -> Record | None:
    """The record of a message's arrival or loss; None: it was on its way after record `upto`."""
    for record in trace.of(ev.Received, ev.Dropped, start=sent.seq + 1):
        if record.seq > upto:
            return None
        if record.cause == sent.seq:
            return record
    return None


def purpose(trace: Trace | None, sent: Record | None, message: Any) -> str:
    """What a message is for, as a sentence without an end."""
    a, b = message.source, message.target
    asks = f"{a} asks {b}"
    match message:
        case msg.RequestVote(term=term, last=last_, pre=pre):
            what = "whether it would vote for it in" if pre else "for its vote of"
            return f"{asks} {what} term {term}: its log ends at {last_}"
        case msg.VoteResponse():
            return _vote_answer(trace, sent, message)
        case msg.AppendEntries(prev=prev, entries=(), commit=commit):
            return f"{a} tells {b} that {commit} is committed, if its log has {prev}"
        case msg.AppendEntries(prev=prev, entries=entries):
            what = ev.span(entries[0].index, entries[-1].index)
            return f"{a} sends {b} {what}, to follow {prev}"
        case msg.AppendResponse(match=match, rejected=0):
            return f"{a} tells {b} that its log agrees up to {match} and is on its disk"
        case msg.AppendResponse(rejected=rejected, hint=hint):
            return f"{a} refuses what {b} sent to follow {rejected}: it may try after {hint}"
        case msg.Heartbeat(term=term, context=context):
            reads = f", and asks for an answer that reads of round {context} wait for"
            return f"{a} tells {b} that it leads term {term}" + (reads if context else "")
        case msg.HeartbeatResponse(term=term, context=context):
            reads = f", which counts for the reads of round {context}" if context else ""
            return f"{a} answers the heartbeat of {b} in term {term}{reads}"
        case msg.InstallSnapshot(last=last_, offset=offset, records=records, total=total):
            part = f"{offset + len(records)} of {total} records"
            return f"{a} sends {b} the snapshot of {last_} up to {part}: its log begins later"
        case msg.SnapshotResponse(last=last_, offset=offset):
            return f"{a} tells {b} that it has {offset} records of the snapshot {last_}"
    return _errand(message)


def _vote_answer(trace: Trace | None, sent: Record | None, message: msg.VoteResponse) -> str:
    a, b, pre = message.source, message.target, message.pre
    if message.granted:
        gives = "would give" if pre else "gives"
        return f"{a} {gives} {b} its vote of term {message.term}"
    if trace is not None and sent is not None and sent.cause is not None:
        for record in trace.of(ev.Refused, node=a, start=sent.cause):
            if record.seq > sent.seq:
                break
            if record.cause == sent.cause and record.event.action == "vote":
                why = ev.sentence(record.event.reason, record.event.facts)
                return f"{a} refuses {b} its {'pre-' * pre}vote in term {message.term}: {why}"
    return f"{a} refuses {b} its {'pre-' * pre}vote in term {message.term}"


def _errand(message: Any) -> str:
    """What one node asks another for its clients."""
    a, b = message.source, message.target
    match message:
        case msg.ForwardProposal(data=data):
            return f"{a} hands {brief(data)} on to {b}, which it takes for the leader"
        case msg.ProposalRefused(data=data, reason=reason, facts=known):
            return f"{a} does not take {brief(data)} from {b}: {ev.sentence(reason, known)}"
        case msg.ReadIndex():
            return f"{a} asks {b}, which it takes for the leader, from which index it may read"
        case msg.ReadIndexResponse(index=index):
            return f"{a} tells {b} that the read may be served once {index} is applied"
        case msg.TransferLeader(to=to):
            return f"{a} passes on to {b} the wish that {to} shall lead"
        case msg.TimeoutNow(term=term):
            return f"{a} wants {b} to lead after term {term}: it has every entry"
        case AskLeader(request=request):
            return f"{a} asks {b} for what only the leader's clock knows: {brief(request)}"
        case LeaderAnswer(answer=answer):
            return (
                f"{a} answers {b} from the leader's clock: {brief(answer.result or answer.error)}"
            )
    return f"{a} sends {b} {brief(message)}"
