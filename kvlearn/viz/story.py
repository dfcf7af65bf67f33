"""What a stretch of a trace tells: messages with their ends, roles over time, calls, marks.

`tell` reads the records of a window once; the space-time diagram draws what it found. Without a
chosen start the window holds the last messages that fit a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kvlearn import events as ev
from kvlearn.raft.messages import Heartbeat, HeartbeatResponse
from kvlearn.trace import Record, Trace
from kvlearn.viz.moment import Moment, seq_at
from kvlearn.viz.nodes import NodeMoment, asks_itself, short

ARROWS = 90  # a window that nobody chose holds at most this many messages, the last ones
FADED = 40  # so many heartbeats are drawn, faded; more are left out

# Why a leader is a follower again, where no other term is the reason.
STEPS_DOWN = {"QUORUM_LOST": "follower without majority", "REMOVED": "follower, removed"}


@dataclass(slots=True)
class Arrow:
    """A message of the window. `end_s` is None while it is on its way."""

    number: int
    message: Any
    sent_s: float
    due_s: float | None
    end_s: float | None = None
    lost: str = ""  # the reason code why it did not arrive, or will not

    @property
    def beat(self) -> bool:
        """Whether it is a heartbeat or the answer to one."""
        return type(self.message) in (Heartbeat, HeartbeatResponse)


class Mark(NamedTuple):
    """Something that happened at one place, told beside the life line."""

    time: float
    node: str
    text: str
    kind: str  # role, log, commit, term, fault, network


class Stretch(NamedTuple):
    """A part of a life line with one role and one term."""

    start_s: float
    end_s: float
    role: str
    term: int


class Call(NamedTuple):
    """A client's question (`asks`) or its answer."""

    time: float
    client: str
    node: str
    text: str
    asks: bool
    failed: bool


@dataclass
class Story:
    """What the window holds, in the order of the trace."""

    start_s: float
    end_s: float
    whole: bool  # the window is the whole trace
    before: Moment = field(default_factory=Moment)  # just before the window
    after: Moment = field(default_factory=Moment)  # at its end
    arrows: dict[int, Arrow] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    lines: dict[str, list[Stretch]] = field(default_factory=dict)
    left_out: int = 0  # heartbeats that are not drawn
    own: frozenset = frozenset()  # (who, op_id) of what no client has asked


def tell(
    trace: Trace, start_s: float | None, end_s: float | None, heartbeats: bool | None
) -> Story:
    """Read the window's story from the trace."""
    last_s = trace[-1].time if len(trace) else 0.0
    end_s = last_s if end_s is None else end_s
    end_seq = seq_at(trace, end_s)
    chosen = _start(trace, end_seq) if start_s is None else start_s
    first_seq = seq_at(trace, chosen)
    while first_seq >= 0 and trace[first_seq].time == chosen:
        first_seq -= 1
    begin = first_seq + 1
    story = Story(chosen, max(end_s, chosen), begin == 0 and end_seq == len(trace) - 1)
    story.before = Moment.at(trace, begin - 1)
    moment = story.before.copy()
    asked = trace.of(ev.Invoked)
    story.own = frozenset((r.node, r.event.op_id) for r in asked if asks_itself(r.event))
    for packet in moment.packets.values():
        arrow = Arrow(packet.number, packet.message, packet.sent_s, packet.arrives_s)
        arrow.lost = packet.fate
        story.arrows[packet.number] = arrow
    open_since = {n.name: (chosen, n.role, n.term) for n in moment.nodes.values()}
    for record in trace[begin : end_seq + 1]:
        moment.apply(record)
        _note(story, record)
        node = moment.nodes.get(record.node)
        if node is not None:
            _live(story, open_since, node, record)
    for name, (since, role, term) in open_since.items():
        story.lines.setdefault(name, []).append(Stretch(since, story.end_s, role, term))
    story.after = moment
    _leave_out(story, heartbeats)
    return story


def _start(trace: Trace, end_seq: int) -> float:
    """Where a window that nobody chose begins: it ends at the end and holds `ARROWS` messages."""
    count = 0
    for seq in range(end_seq, -1, -1):
        record = trace[seq]
        if type(record.event) is ev.Sent:
            count += type(record.event.message) not in (Heartbeat, HeartbeatResponse)
            if count > ARROWS:
                return record.time
    return trace[0].time if len(trace) else 0.0


def _live(story: Story, open_since: dict, node: NodeMoment, record: Record) -> None:
    """Close the node's stretch if its role or term is another one now, and say so."""
    known, now = open_since.get(node.name), record.time
    if known is None:
        open_since[node.name] = (now, node.role, node.term)
        if now > story.start_s:
            story.marks.append(Mark(now, node.name, f"starts, {node.role}", "role"))
        return
    since, role, term = known
    if (role, term) == (node.role, node.term):
        return
    if now > since:
        story.lines.setdefault(node.name, []).append(Stretch(since, now, role, term))
    open_since[node.name] = (now, node.role, node.term)
    if node.role == "down":
        text, kind = "down", "fault"
    elif node.role == "paused":
        text, kind = "paused", "fault"
    elif reason := STEPS_DOWN.get(getattr(record.event, "reason", ""), ""):
        text, kind = f"{reason}, term {node.term}", "role"
    elif role == "down":
        text, kind = f"restarts, term {node.term}", "role"
    elif role != node.role:
        text, kind = f"{node.role}, term {node.term}", "role"
    else:
        text, kind = f"term {node.term}", "role" if node.role in ("leader", "candidate") else "term"
    story.marks.append(Mark(now, node.name, text, kind))


def _note(story: Story, record: Record) -> None:
    event = record.event
    if said := _said(event):
        story.marks.append(Mark(record.time, record.node, *said))
    match event:
        case ev.Sent(message=message):
            arrow = Arrow(event.packet, message, record.time, event.arrives_s, None, event.fate)
            story.arrows[event.packet] = arrow
        case ev.Delayed():
            if event.packet in story.arrows:
                story.arrows[event.packet].due_s = event.arrives_s
        case ev.Received():
            if event.packet in story.arrows:
                story.arrows[event.packet].end_s = record.time
        case ev.Dropped():
            if event.packet in story.arrows:
                arrow = story.arrows[event.packet]
                arrow.end_s, arrow.lost = record.time, event.reason
        case ev.Committed():
            story.marks.append(Mark(record.time, record.node, f"commit {event.index}", "commit"))
        case ev.LinksCut() | ev.Healed():
            text = str(event).removeprefix("network: ")
            story.marks.append(Mark(record.time, "", text, "network"))
        case ev.Invoked() | ev.Returned() if (record.node, event.op_id) in story.own:
            pass
        case ev.Invoked():
            asked = Call(record.time, record.node, event.node, str(event.request), True, False)
            story.calls.append(asked)
        case ev.Returned():
            text = event.error or f"answer, rev {event.revision}"
            failed = bool(event.error)
            answer = Call(record.time, record.node, event.node, text, False, failed)
            story.calls.append(answer)


def _said(event: ev.Event) -> tuple[str, str] | None:
    """What a node says at its life line, and what kind of mark that is."""
    match event:
        case ev.AskedPreVote(term=term):
            return f"pre-votes t{term}?", "role"
        case ev.TransferStarted(to=to):
            return f"hands over to {to}", "role"
        case ev.TransferAborted():
            return "keeps leadership", "role"
        case ev.ConfChanged(conf=conf):
            joint = f" and {short(conf.outgoing)}" if conf.outgoing else ""
            learn = f", learners {short(conf.learners)}" if conf.learners else ""
            return f"voters {short(conf.voters)}{joint}{learn}", "log"
        case ev.SnapshotInstalled(last=last):
            return f"snapshot ≤ {last}", "role"
        case ev.LogCompacted(base=base):
            return f"compacted ≤ {base}", "log"
    return None


def _leave_out(story: Story, heartbeats: bool | None) -> None:
    beats = [arrow for arrow in story.arrows.values() if arrow.beat]
    if heartbeats or (heartbeats is None and len(beats) <= FADED):
        return
    gone, known = set(), set()
    for arrow in beats:
        # The first of a row that was lost is news; routine and repetition are not.
        news = (arrow.message.source, arrow.message.target, arrow.lost)
        if not arrow.lost or heartbeats is False or news in known:
            gone.add(arrow.number)
        if arrow.lost:
            known.add(news)
    story.arrows = {n: arrow for n, arrow in story.arrows.items() if n not in gone}
    story.left_out = len(gone)
