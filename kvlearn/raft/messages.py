"""The messages of Raft, one class each. `str` is the label that pictures and transcripts show.

`after_save`: the message promises that something is on the sender's disk, so it leaves after the
save. A leader's `AppendEntries` promises nothing and may leave while its disk still writes.

`at_most_once`: delivering it twice would do it twice. The simulated network, which may duplicate
everything else, keeps such a message single, as the connection below a real transport does.

>>> two = (Entry(4, 1), Entry(5, 2))
>>> print(AppendEntries("n1", "n2", 3, prev=EntryID(1, 3), entries=two, commit=2))
App 3@1→5@2
"""

from __future__ import annotations

from typing import Any, ClassVar

from kvlearn.raft.types import ZERO, ConfState, Entry, EntryID, Index, NodeId, Term, Ticks
from kvlearn.values import value


@value
class Message:
    """`term` is the sender's; 0 means that the message speaks of no term."""

    after_save: ClassVar[bool] = False
    at_most_once: ClassVar[bool] = False
    early: ClassVar[bool] = False  # it speaks of a term that nobody has entered

    source: NodeId
    target: NodeId
    term: Term


@value
class RequestVote(Message):
    """A candidate asks for a vote; `last` is the end of its log (figure 2). etcd: MsgVote.

    With `pre` it only asks whether it would get one, in a term that nobody has entered yet (thesis
    9.6; etcd: MsgPreVote). With `transfer` the leader wants the election, so nobody has to protect
    it (thesis 3.10).
    """

    after_save: ClassVar[bool] = True  # the candidate's vote for itself
    last: EntryID
    pre: bool = False
    transfer: bool = False

    @property
    def early(self) -> bool:
        return self.pre

    def __str__(self) -> str:
        return f"{'Pre-vote' if self.pre else 'Vote'}? t{self.term} {self.last}"


@value
class VoteResponse(Message):
    """etcd: MsgVoteResp. A refusal says what is `committed`: where the candidate needs the vote of
    a leader that was removed, it would never learn that it was (so in raft-rs; not in etcd)."""

    after_save: ClassVar[bool] = True  # the vote
    granted: bool
    pre: bool = False
    committed: EntryID = ZERO

    @property
    def early(self) -> bool:
        return self.pre and self.granted  # a refusal speaks of the sender's own term

    def __str__(self) -> str:
        what = "pre-vote" if self.pre else "vote"
        return f"{what.capitalize() if self.granted else f'No {what}'} t{self.term}"


@value
class AppendEntries(Message):
    """Entries that follow `prev`, and how far the leader has committed (figure 2). etcd: MsgApp."""

    prev: EntryID
    entries: tuple[Entry, ...]
    commit: Index

    def __str__(self) -> str:
        if not self.entries:
            return f"App {self.prev} c{self.commit}"
        return f"App {self.prev}→{self.entries[-1].id}"


@value
class AppendResponse(Message):
    """`match`: the log agrees with the leader's up to here. A refusal names the index that did
    not fit (`rejected`) and where to look next (`hint`). etcd: MsgAppResp."""

    after_save: ClassVar[bool] = True  # the entries
    match: Index
    rejected: Index = 0  # 0: accepted
    hint: EntryID | None = None

    def __str__(self) -> str:
        return f"No {self.rejected}, try {self.hint}" if self.rejected else f"Ack {self.match}"


@value
class Heartbeat(Message):
    """ "I lead"; `context` asks for a confirmation that reads wait for. etcd: MsgHeartbeat."""

    commit: Index
    context: int = 0
    sent: Ticks = 0  # the leader's clock; the answer brings it back

    def __str__(self) -> str:
        return f"Beat r{self.context}" if self.context else "Beat"


@value
class HeartbeatResponse(Message):
    """etcd: MsgHeartbeatResp."""

    context: int = 0
    sent: Ticks = 0

    def __str__(self) -> str:
        return f"Beat ok r{self.context}" if self.context else "Beat ok"


@value
class ForwardProposal(Message):
    """A follower hands a client's command to the leader; term 0. etcd: MsgProp."""

    at_most_once: ClassVar[bool] = True
    data: Any

    def __str__(self) -> str:
        return f"Prop {self.data}"


@value
class ProposalRefused(Message):
    """The leader does not take a forwarded command, and why; term 0. Differs: etcd lets it drop,
    and the client waits for nothing."""

    at_most_once: ClassVar[bool] = True
    data: Any
    reason: str
    facts: tuple = ()

    def __str__(self) -> str:
        return f"No prop ({self.reason.lower().replace('_', ' ')})"


@value
class ReadIndex(Message):
    """A follower asks from which index on it may serve a read; term 0. etcd: MsgReadIndex."""

    context: Any

    def __str__(self) -> str:
        return "Read?"


@value
class ReadIndexResponse(Message):
    """Serve the read once `index` is applied; term 0. etcd: MsgReadIndexResp."""

    context: Any
    index: Index

    def __str__(self) -> str:
        return f"Read at {self.index}"


class ForNode(Message):
    """The root of what one node asks another beside Raft; term 0. Raft passes it on."""


@value
class TransferLeader(Message):
    """A follower passes on the wish that `to` shall lead; term 0. etcd: MsgTransferLeader."""

    to: NodeId

    def __str__(self) -> str:
        return f"Transfer to {self.to}"


@value
class TimeoutNow(Message):
    """Stand for election at once: the leader wants it (thesis 3.10). etcd: MsgTimeoutNow."""

    def __str__(self) -> str:
        return "Timeout now"


@value
class InstallSnapshot(Message):
    """Records `offset` and on of the snapshot `last`, which has `total` (thesis 5.3).

    etcd: MsgSnap. Differs: there a snapshot is one stream beside the messages.
    """

    last: EntryID
    conf: ConfState
    offset: int
    records: tuple
    total: int

    def __str__(self) -> str:
        return f"Snap {self.last} {self.offset + len(self.records)}/{self.total}"


@value
class SnapshotResponse(Message):
    """ "I have `offset` records of it": send on from there. etcd: MsgSnapStatus."""

    last: EntryID
    offset: int

    def __str__(self) -> str:
        return f"Snap {self.last} have {self.offset}"
