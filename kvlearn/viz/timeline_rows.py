"""A trace as rows that a browser can play, forwards and backwards, without knowing Raft.

A moment (`viz/moment.py`) is folded on record by record; whatever that changed becomes *patches*
on a flat state: `("n1.term", 1, 2)` says that `n1.term` was 1 and is 2 now. A patch can be applied
in both directions, so a panel that holds the rows shows any moment on its own. Messages are
intervals: a row that sends one carries it as `packet`, the row at which it ends names its number.

>>> from kvlearn.events import BecameCandidate, Started
>>> from kvlearn.raft.types import ZERO
>>> from kvlearn.trace import Trace
>>> trace = Trace()
>>> born = trace.add(0.0, "n1", Started(0, None, (), 0, 0, ("n1", "n2"), 1, 0.1), None)
>>> woken = trace.add(1.5, "n1", BecameCandidate(1, ZERO, 12, 15), born)
>>> compiler = RowCompiler()
>>> rows = [compiler.row(record) for record in trace]
>>> rows[1].text
'n1 becomes candidate in term 1: heard no leader for 15 ticks, its log ends at 0@0'
>>> [patch[0] for patch in rows[1].patches]
['n1.role', 'n1.term', 'n1.vote', 'n1.timer', 'n1.votes']

Log entries are numbered once for all nodes, so an entry's text travels once, not once a node. A
log is a list of such numbers, told as runs (first number, count); a patch of a log is
`("n1.log", place, gone, come)`, the runs that went and those that came at that place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kvlearn import events as ev
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import AskLeader, LeaderAnswer
from kvlearn.raft import messages as msg
from kvlearn.trace import Record, Trace
from kvlearn.viz.moment import Moment, line
from kvlearn.viz.nodes import NodeMoment, Operation, Peer, asks_itself
from kvlearn.viz.store_rows import StoreRows, runs

TEXT_CHARS = 400  # of a sentence; a command may carry a megabyte
LABEL_CHARS = 40  # of a command, in a cell's tooltip; the cell itself shows less

ANSWER_CHARS = 200

# What a picture needs to know of a message's class: its look, and whether it is routine.
KINDS: dict[type, str] = {
    msg.RequestVote: "vote",
    msg.VoteResponse: "answer",
    msg.AppendEntries: "append",
    msg.AppendResponse: "answer",
    msg.Heartbeat: "beat",
    msg.HeartbeatResponse: "beat answer",
    msg.InstallSnapshot: "snapshot",
    msg.SnapshotResponse: "answer",
    msg.ForwardProposal: "proposal",
    msg.ProposalRefused: "answer",
    msg.ReadIndex: "read",
    msg.ReadIndexResponse: "answer",
    msg.TransferLeader: "transfer",
    msg.TimeoutNow: "transfer",
    AskLeader: "read",
    LeaderAnswer: "answer",
}

QUIET, TURN, NEWS = 0, 1, 2  # nothing is decided; a decision; one that is worth saying aloud

_TURNS = (
    ev.AskedPreVote,
    ev.TransferStarted,
    ev.TransferAborted,
    ev.ConfChanged,
    ev.SnapshotInstalled,
    ev.BecameCandidate,
    ev.VoteGranted,
    ev.Refused,
    ev.Truncated,
    ev.Invoked,
    ev.Returned,
    ev.WatchAsked,
    ev.Notified,
    ev.StreamClosed,
    ev.LeasesCounted,
)
NEWS_EVENTS = (
    ev.BecameLeader,
    ev.Crashed,
    ev.Wiped,
    ev.Paused,
    ev.Resumed,
    ev.LinksCut,
    ev.Healed,
    ev.LinksChanged,
    ev.LeaseExpired,
    ev.ClientChanged,
)

_FIELDS = (
    "role", "term", "vote", "leader", "commit", "applied", "revision",
    "timer", "votes", "pre", "to", "snap", "conf", "base",
)  # fmt: skip


def micros(time_s: float) -> int:
    """Seconds as whole microseconds, which is what travels."""
    return round(time_s * 1e6)


@dataclass(slots=True)
class Row:
    """One record, or a merged run of routine ones; `seq` is the (last) record's number.

    `weight` is QUIET, TURN or NEWS. `packet` is (number, source, target, label, kind, term,
    arrival in microseconds or None, fate) of a message that leaves here; `ended` are the numbers
    of messages that end here. `text` is empty where the packet says it all.
    """

    seq: int
    time_us: int
    text: str = ""
    patches: list[tuple] = field(default_factory=list)
    cause: int | None = None
    weight: int = QUIET
    packet: tuple | None = None
    ended: tuple[int, ...] = ()
    kind: str = ""  # the class of message that leaves or ends here; "" for any other record
    merged: int = 0  # how many records were merged away
    operation: tuple | None = None  # of a client: what is asked, or what was answered

    def wire(self) -> list:
        """Plain data for JSON; what is empty at the end is left out."""
        ended = list(self.ended)
        row = [self.seq, self.time_us, self.text, self.patches, self.cause, self.weight]
        row += [self.packet, ended, self.merged, self.operation]
        while not row[-1]:
            row.pop()
        return row


class RowCompiler:
    """Folds records in order and says what each of them changed.

    Invariant: `state()` is what all patches so far, applied to an empty state, would give.
    """

    def __init__(self, moment: Moment | None = None, config: StoreConfig = StoreConfig()):
        """Begin after `moment` (default: before the first record); `config`: what the stores of
        the run are made of."""
        self.moment = Moment() if moment is None else moment
        self.store = StoreRows(config)
        self.entries: list[tuple[int, int, str]] = []  # by number: index, term, label
        self.tables = {"entries": self.entries, **self.store.tables}  # facts that never change
        self._numbers: dict[tuple[int, int, str], int] = {}
        self._shown: dict[str, tuple] = {}  # node -> the values of _FIELDS as last told
        self._progress: dict[str, dict] = {}  # node -> peer -> what a leader knows of it
        self._logs: dict[str, list[int]] = {}  # node -> entry numbers
        self._cuts: list[str] = []
        self._own: set[tuple[str, int]] = set()  # what no client has asked
        self.begin(self.moment)

    def begin(self, moment: Moment) -> None:
        """Go on from `moment` instead, a cluster that was rewound; entries keep their numbers."""
        self.moment = moment
        self._shown, self._progress, self._logs, self._cuts = {}, {}, {}, []
        self.store.begin(Trace() if moment.trace is None else moment.trace, moment.seq)
        for node in moment.nodes.values():
            self._compare(node, [])
        self._compare_cuts([])

    def row(self, record: Record) -> Row:
        """Go on by one record."""
        moment, event = self.moment, record.event
        kind = type(event)
        known = moment.nodes.get(record.node)
        was = known.role if known else ""
        row = Row(record.seq, micros(record.time), cause=record.cause)
        if kind is ev.Delayed and event.packet in moment.packets:
            due = moment.packets[event.packet].arrives_s
            old = None if due is None else micros(due)
            row.patches.append((f"p{event.packet}", old, micros(event.arrives_s)))
        asked = moment.clients.get(record.node)
        moment.apply(record)
        if kind is ev.Sent:
            row.packet, row.kind = _packet(event), _kind(event.message)
        elif kind is ev.Received:
            row.ended, row.kind = (event.packet,), _kind(event.message)
        else:
            row.text = _short(line(record), TEXT_CHARS)
            if kind is ev.Dropped:
                row.ended, row.kind = (event.packet,), _kind(event.message)
        node = moment.nodes.get(record.node)
        if node is not None:
            self._compare(node, row.patches)
        if kind is ev.Invoked or kind is ev.Returned:
            self._compare_client(record.node, asked, row.patches)
            row.operation = self._of_client(record)
        row.patches += self.store.take(record)
        if kind is ev.LinksCut or kind is ev.Healed:
            self._compare_cuts(row.patches)
        row.weight = _weight(event, was, node)
        return row

    def state(self) -> list[tuple[str, Any]]:
        """The flat state now, as (key, value) pairs; logs as runs of (first number, count)."""
        pairs: list[tuple[str, Any]] = [("cuts", self._cuts)]
        for name in self.moment.names:
            shown = self._shown[name]
            pairs += [(f"{name}.{key}", value) for key, value in zip(_FIELDS, shown)]
            for peer, known in self.moment.nodes[name].progress.items():
                pairs.append((f"{name}.peer.{peer}", _known(known)))
            pairs.append((f"{name}.log", runs(self._logs[name])))
        pairs += [(f"client.{c}", _operation(o)) for c, o in self.moment.clients.items()]
        for packet in self.moment.packets.values():
            sent = ev.Sent(packet.message, packet.number, packet.arrives_s, packet.fate)
            pairs.append(("packet", (*_packet(sent), micros(packet.sent_s), packet.seq)))
        return pairs + self.store.state()

    def _compare(self, node: NodeMoment, patches: list[tuple]) -> None:
        now = _fields(node)
        before = self._shown.get(node.name)
        if now != before:
            for place, key in enumerate(_FIELDS):
                old = before[place] if before else None
                if now[place] != old:
                    patches.append((f"{node.name}.{key}", old, now[place]))
            self._shown[node.name] = now
        told = self._progress.get(node.name, {})
        if node.progress is not told:
            for peer in {**told, **node.progress}:
                old, new = told.get(peer), node.progress.get(peer)
                if old != new:
                    patches.append((f"{node.name}.peer.{peer}", _known(old), _known(new)))
            self._progress[node.name] = node.progress
        self._compare_log(node, patches)

    def _compare_log(self, node: NodeMoment, patches: list[tuple]) -> None:
        numbers = self._logs.setdefault(node.name, [])
        log = node.log
        # Heads go and tails change, so a log that is as long and ends the same is the same.
        if len(log) == len(numbers) and (not numbers or self._number(log[-1]) == numbers[-1]):
            return
        same = min(len(log), len(numbers))
        while same and self._number(log[same - 1]) != numbers[same - 1]:
            same -= 1
        gone, come = numbers[same:], [self._number(entry) for entry in log[same:]]
        patches.append((f"{node.name}.log", same, runs(gone), runs(come)))
        numbers[same:] = come

    def _number(self, entry: Any) -> int:
        label = "no-op" if entry.data is None else _short(str(entry.data), LABEL_CHARS)
        key = (entry.index, entry.term, label)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.entries)
            self.entries.append(key)
        return number

    def _of_client(self, record: Record) -> tuple | None:
        """None: a member has asked itself, or was answered."""
        key = record.node, record.event.op_id
        if asks_itself(record.event):
            self._own.add(key)
        elif key not in self._own:
            return _told_operation(record)
        return None

    def _compare_client(self, name: str, asked: Operation | None, patches: list[tuple]) -> None:
        asks = self.moment.clients.get(name)
        if asks is not None and asks is not asked:
            patches.append((f"client.{name}", _operation(asked), _operation(asks)))

    def _compare_cuts(self, patches: list[tuple]) -> None:
        cuts = sorted(f"{source}>{target}" for source, target in self.moment.cuts)
        if cuts != self._cuts:
            patches.append(("cuts", self._cuts, cuts))
            self._cuts = cuts


def _fields(node: NodeMoment) -> tuple:
    timer = None
    if node.timer_left(node.timer_reset_s) is not None:
        timer = (micros(node.timer_reset_s), micros(node.timeout_s))
    votes = {peer: int(granted) for peer, granted in node.votes.items()} or None
    if node.raft_role != "candidate":
        votes = None
    pre = {peer: int(granted) for peer, granted in node.pre_votes.items()} or None
    snap = node.incoming and (str(node.incoming.last), *node.incoming[1:])
    conf = (node.conf.voters, node.conf.outgoing, node.conf.learners)
    base = (node.base.index, node.base.term) if node.base.index else None
    return (
        node.role, node.term, node.vote, node.leader, node.commit, node.applied, node.revision,
        timer, votes, pre, node.transferee, snap, conf, base,
    )  # fmt: skip


def _kind(message: Any) -> str:
    kind = KINDS.get(type(message), "other")
    return f"pre {kind}" if getattr(message, "pre", False) else kind


def _known(peer: Peer | None) -> tuple[int, int] | None:
    return None if peer is None else (peer.match, peer.next)


def _operation(asked: Operation | None) -> tuple | None:
    """(number, node, request, answer or None while it is on its way, whether it went well)."""
    if asked is None:
        return None
    request = _short(str(asked.request), LABEL_CHARS)
    if asked.returned_s is None:
        return (asked.op_id, asked.node, request, None, True)
    if asked.error:
        unsaid = asked.unknown and "is not known" not in asked.error  # a time-out says it itself
        unknown = "; it may have been carried out all the same" if unsaid else ""
        return (asked.op_id, asked.node, request, f"{asked.error}{unknown}", False)
    answer = f"{_short(str(asked.result), ANSWER_CHARS)} · revision {asked.revision}"
    return (asked.op_id, asked.node, request, answer, True)


def _told_operation(record: Record) -> tuple:
    """(number, client, node, request) of what is asked; (number, client, node, answer, whether it
    went well, whether it may have been carried out all the same) of an answer."""
    event = record.event
    if isinstance(event, ev.Invoked):
        return (_id(event), record.node, event.node, _short(str(event.request), LABEL_CHARS))
    told = event.error or f"{_short(str(event.result), LABEL_CHARS)} · revision {event.revision}"
    ways = _id(event), record.node, event.node
    return (*ways, _short(told, ANSWER_CHARS), not event.error, event.unknown)


def _id(event: Any) -> int | str:
    """An operation's number, or where it is larger than a browser can count, its digits."""
    return event.op_id if event.op_id < 1 << 53 else str(event.op_id)


def _packet(event: ev.Sent) -> tuple:
    message = event.message
    arrives = None if event.arrives_s is None else micros(event.arrives_s)
    fate = event.fate.lower().replace("_", " ")
    label = _short(str(message), LABEL_CHARS)
    ways = message.source, message.target, label, _kind(message)
    return (event.packet, *ways, message.term, arrives, fate)


def _weight(event: object, was: str, node: NodeMoment | None) -> int:
    if isinstance(event, NEWS_EVENTS):
        return NEWS
    if isinstance(event, ev.BecameFollower):
        return NEWS if was == "leader" else TURN if was == "candidate" else QUIET
    if isinstance(event, ev.Started):
        return NEWS if event.boot > 1 or (node is not None and node.role_since_s) else QUIET
    if isinstance(event, ev.Committed):
        return TURN if node is not None and node.role == "leader" else QUIET
    return TURN if isinstance(event, _TURNS) else QUIET


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# Fewer rows where there are too many ------------------------------------------------------------


def thin(rows: Iterable[Row], all_messages: bool = False) -> Iterator[Row]:
    """Merge runs of routine rows: heartbeats and answers, or all messages, lose their dots.

    No patch is lost: a merged row carries the net change of its run. Decisions stay rows.
    """
    hidden: set[int] = set()  # messages whose sending was merged away
    run: list[Row] = []
    for row in rows:
        routine = row.kind.startswith("beat") if not all_messages else True
        if row.weight == QUIET and routine:
            run.append(row)
            continue
        if run:
            yield _merge(run, hidden)
            run = []
        if hidden.intersection(row.ended):
            left = tuple(number for number in row.ended if number not in hidden)
            row = replace(row, ended=left)
        yield row
    if run:
        yield _merge(run, hidden)


def _merge(run: list[Row], hidden: set[int]) -> Row:
    hidden.update(row.packet[0] for row in run if row.packet)
    ended = tuple(number for row in run for number in row.ended if number not in hidden)
    patches: dict[str, tuple] = {}
    logs: list[tuple] = []
    for patch in (patch for row in run for patch in row.patches):
        if len(patch) == 4:
            logs.append(patch)
        else:
            first = patches.get(patch[0], patch)
            patches[patch[0]] = (patch[0], first[1], patch[2])
    last = run[-1]
    count = sum(row.merged or 1 for row in run)
    text = last.text if count == 1 else ""
    text = text or f"routine traffic, {count} records drawn without messages: nothing decided"
    net = [patch for patch in patches.values() if patch[1] != patch[2]]
    return Row(last.seq, last.time_us, text, net + logs, None, QUIET, None, ended, "", count)
