"""The vocabulary of the story: what the core, the hosts and the clients say has happened.

Core code calls `emit(Committed(...))` at the line where the fact becomes true. A trace stamps it
with number, time, node and cause. An event's `str` is its half of a line; with the node in front
it is the line of logs, transcripts and panels: `n1 becomes leader in term 2`.

Every refusal carries a *reason code* and the *facts* (numbers) that decided it. `REASONS` turns
both into one true sentence; the why-line, the exercises and the tests all hang from that table.

>>> print(Refused("vote", "n3", 4, "VOTE_LOG_BEHIND", (("theirs", "5@2"), ("mine", "6@3"))))
refuses n3's vote request in term 4: its log ends at 5@2, which is behind 6@3, where mine ends
"""

from __future__ import annotations

from typing import Any

from kvlearn.values import value

# code -> sentence; the braces are filled from the refusal's facts.
REASONS: dict[str, str] = {
    # votes (paper 5.2, 5.4.1)
    "LEADER_KNOWN": "{leader} leads term {term} already",
    "LEADER_ALIVE": "{leader} leads, and was heard lately (ticks ago: {ticks})",
    "LEADING": "I lead term {term}, and a majority answers me",
    "NOT_MEMBER": "it has just come, and no leader has talked to it yet",
    "VOTE_TAKEN": "my vote of term {term} went to {vote}",
    "VOTE_LOG_BEHIND": "its log ends at {theirs}, which is behind {mine}, where mine ends",
    "TERM_OLD": "it speaks of term {theirs}, and I am in term {term} already",
    # replication (paper 5.3)
    "LOG_GAP": "it continues {prev}, and my log ends at {mine}",
    "LOG_CONFLICT": "it continues {prev}, and mine has {mine} there",
    # commit (paper 5.4.2)
    "COMMIT_OLD_TERM": "{entry} is on a majority, but it is not of my own term {term}",
    # proposals and reads
    "TRANSFERRING": "leadership is on its way to {to}",
    "TOO_MUCH_UNCOMMITTED": "{waiting} entries wait for their commit, and {limit} is the limit",
    "NO_VOTER": "{to} has no vote and cannot lead",
    "NO_LEADER": "no leader is known in term {term}",
    "READ_NOT_YET": "nothing of my own term {term} is committed yet",
    # members (thesis 4) and snapshots (paper 7)
    "CHANGE_PENDING": "the change at index {index} waits to be applied (so far: {applied})",
    "CHANGE_UNAPPLIED": "it knows of a change of members that is not applied yet",
    "CHANGE_WRONG": "{why}",
    "LEARNER_BEHIND": "{node} has {match} of {last} entries",
    "UNHEALTHY": "{node} has not answered for {ticks} ticks",
    "SNAPSHOT_OLD": "{last} is not beyond {committed}, which is committed here",
    # the wire
    "LOST": "the network lost it",
    "CUT": "the link from {source} to {target} is cut",
    "DOWN": "{target} is down",
    "BY_HAND": "it was dropped by hand",
    # why a role changed
    "STARTED": "it just started",
    "HIGHER_TERM": "{source} speaks of term {theirs}, newer than {mine}",
    "LEADER_HEARD": "{source} leads term {term}",
    "ELECTION_LOST": "too many refused for a majority",
    "PRE_VOTE_LOST": "too many would refuse for a majority",
    "QUORUM_LOST": "no majority has answered for {ticks} ticks",
    "REMOVED": "I have no vote any more: {conf}",
    "LEADER_FORGOTTEN": "it was told to forget {leader}",
    "TRANSFER_ABORTED": "{to} did not take over in time",
}

Facts = tuple[tuple[str, Any], ...]


def sentence(reason: str, facts: Facts) -> str:
    """The one true sentence of a reason code with its numbers filled in."""
    return REASONS[reason].format(**dict(facts))


def facts(**numbers: Any) -> Facts:
    """Facts in the order in which they were named; ids become their one-token text."""
    return tuple(
        (name, fact if isinstance(fact, (int, float, str)) else str(fact))
        for name, fact in numbers.items()
    )


def span(first: int, last: int) -> str:
    """`entry 4`, or `entries 4 to 6`."""
    return f"entry {first}" if first == last else f"entries {first} to {last}"


@value
class Event:
    """The root of the vocabulary."""


# Raft ---------------------------------------------------------------------------------------


@value
class Started(Event):
    """A node came up with what its disk held. `boot` counts its starts from 1; ticks are 0."""

    term: int
    vote: str | None
    entries: tuple  # of raft.types.Entry, all that the disk holds
    commit: int
    applied: int
    members: tuple[str, ...]
    boot: int
    tick_s: float = 0.0
    learners: tuple[str, ...] = ()
    revision: int = 0  # of the store at `applied`
    outgoing: tuple[str, ...] = ()  # who still votes in a joint configuration
    base: Any = None  # EntryID: the log begins after it; None: at index 1
    voters: tuple[str, ...] = ()  # of a joint configuration: of the new majority

    def __str__(self) -> str:
        last = self.entries[-1].id if self.entries else self.base or "0@0"
        return f"starts in term {self.term} with its log up to {last}"


@value
class BecameFollower(Event):
    term: int
    leader: str | None
    timeout_ticks: int  # the election timeout drawn for this period
    reason: str
    facts: Facts = ()
    waited_ticks: int = 0  # how much of that timeout has passed already

    def __str__(self) -> str:
        whose = f" of {self.leader}" if self.leader else ""
        return f"is a follower{whose} in term {self.term}: {sentence(self.reason, self.facts)}"


@value
class BecameCandidate(Event):
    """An election timeout ran out: the node votes for itself and asks for votes (paper 5.2)."""

    term: int
    last: Any  # EntryID, the end of its log
    timeout_ticks: int
    waited_ticks: int
    pre_votes: tuple[str, ...] = ()  # who said that they would vote for it; none: it did not ask
    wanted: bool = False  # by the leader, who hands over its office (thesis 3.10)

    def __str__(self) -> str:
        waited = self.waited_ticks
        why = f"heard no leader for {waited} ticks" if waited else "told to stand"
        if self.wanted:
            why = "the leader wants it"
        if self.pre_votes:
            why = f"{' '.join(self.pre_votes)} would vote for it"
        return f"becomes candidate in term {self.term}: {why}, its log ends at {self.last}"


@value
class AskedPreVote(Event):
    """Before it enters `term`, a node asks whether it would be elected there (thesis 9.6)."""

    term: int
    last: Any  # EntryID, the end of its log
    timeout_ticks: int
    waited_ticks: int

    def __str__(self) -> str:
        waited = self.waited_ticks
        why = f"heard no leader for {waited} ticks" if waited else "told to stand"
        return f"asks for pre-votes for term {self.term}: {why}, its log ends at {self.last}"


@value
class TransferStarted(Event):
    """A leader hands its office to `to`; it takes no proposals until that is decided."""

    to: str
    match: int  # what `to` has
    last: int  # what it needs

    def __str__(self) -> str:
        return f"hands leadership to {self.to}, which has {self.match} of {self.last} entries"


@value
class TransferAborted(Event):
    """`to` did not take over within an election timeout: the old leader goes on."""

    to: str

    def __str__(self) -> str:
        return f"keeps leadership: {self.to} did not take over in time"


@value
class ConfChanged(Event):
    """From now on the node counts by another configuration (paper, section 6)."""

    conf: Any  # raft.types.ConfState

    def __str__(self) -> str:
        return f"counts by {self.conf}"


@value
class LogCompacted(Event):
    """The log begins after `base` now: what came before is in the state (paper, section 7)."""

    base: Any  # EntryID
    snapshot: Any  # EntryID, the last entry of the snapshot that stands for it

    def __str__(self) -> str:
        return f"compacts its log up to {self.base}; its snapshot is of {self.snapshot}"


@value
class SnapshotInstalled(Event):
    """A follower replaces its whole log by a leader's snapshot of all up to `last`."""

    last: Any  # EntryID
    records: int

    def __str__(self) -> str:
        records = f"{self.records} record{'s' * (self.records != 1)}"
        return f"replaces its log by the snapshot of {self.last} ({records})"


@value
class StateLoaded(Event):
    """The state machine took over a snapshot's state: all up to `index` is applied."""

    index: int
    term: int
    revision: int

    def __str__(self) -> str:
        return f"loads the state of {self.index}@{self.term} (revision {self.revision})"


@value
class BecameLeader(Event):
    term: int
    votes: tuple[str, ...]  # who voted for it
    last: Any  # EntryID, the end of its log before its own no-op entry

    def __str__(self) -> str:
        return f"becomes leader in term {self.term} with the votes of {' '.join(self.votes)}"


@value
class VoteGranted(Event):
    term: int
    candidate: str
    pre: bool = False  # it only says that it would

    def __str__(self) -> str:
        return f"{'would vote' if self.pre else 'votes'} for {self.candidate} in term {self.term}"


@value
class Refused(Event):
    """`action` is what was asked: vote, append, snapshot, commit, proposal, read, transfer or
    campaign."""

    action: str
    peer: str | None
    term: int
    reason: str
    facts: Facts = ()

    def __str__(self) -> str:
        what = {
            "vote": f"refuses {self.peer}'s vote request",
            "append": f"refuses {self.peer}'s entries",
            "commit": "may not commit",
            "proposal": "cannot take a proposal",
            "transfer": "cannot transfer leadership",
            "campaign": "does not stand for election",
            "snapshot": f"refuses {self.peer}'s snapshot",
            "read": "cannot serve a read",
        }[self.action]
        return f"{what} in term {self.term}: {sentence(self.reason, self.facts)}"


@value
class Truncated(Event):
    """A follower throws its own entries after `after` away: the leader's differ (paper 5.3)."""

    after: int
    dropped: tuple  # of EntryID
    by: Any  # EntryID of the leader's entry that differs

    def __str__(self) -> str:
        what = " ".join(str(entry) for entry in self.dropped)
        return f"drops {what}: the leader has {self.by} there"


@value
class Appended(Event):
    entries: tuple  # of raft.types.Entry

    def __str__(self) -> str:
        return "appends " + " ".join(str(entry) for entry in self.entries)


@value
class Progressed(Event):
    """What a leader knows of a follower has changed (figure 2: matchIndex, nextIndex)."""

    peer: str
    state: str  # probe, replicate or snapshot
    match: int
    next: int

    def __str__(self) -> str:
        return f"knows {self.peer} in state {self.state}: match {self.match}, next {self.next}"


@value
class Committed(Event):
    """The commit index moved from `old` to `index`; `term` is the term of that last entry."""

    index: int
    term: int
    old: int

    def __str__(self) -> str:
        return f"commits {span(self.old + 1, self.index)}, up to {self.index}@{self.term}"


@value
class ReadConfirmed(Event):
    """A leader knows that it still leads: reads that wait may be served from `index` (6.4)."""

    index: int
    acks: tuple[str, ...]  # none: the leader's lease was enough
    reads: int

    def __str__(self) -> str:
        what = "a read" if self.reads == 1 else f"{self.reads} reads"
        how = f"with {' '.join(self.acks)}" if self.acks else "by its lease, without asking"
        return f"confirms {what} at index {self.index} {how}"


# The node and its host ----------------------------------------------------------------------


@value
class Applied(Event):
    """The state machine carried out entry `index`; `revision` is the store's afterwards."""

    index: int
    term: int
    command: Any  # kv.requests.Command, or None for a leader's no-op entry
    revision: int
    error: str = ""  # a refusal is an outcome too, equal on every node

    def __str__(self) -> str:
        what = "a no-op" if self.command is None else str(self.command)
        refused = f", refused: {self.error}" if self.error else ""
        return f"applies {self.index}@{self.term}: {what} (revision {self.revision}){refused}"


@value
class Saved(Event):
    """Line 1 of the host is done: what a Ready asked to keep is on the disk."""

    term: int
    vote: str | None
    commit: int
    first: int = 0  # entries first..last became durable; 0, 0: none
    last: int = 0

    def __str__(self) -> str:
        what = f"term {self.term}, vote {self.vote or '-'}"
        return f"saved {what}" + (f", {span(self.first, self.last)}" if self.last else "")


@value
class Crashed(Event):
    """The process is gone, and with it what was not durable: entries above `last` in the log."""

    last: int
    kept: Any = None  # the HardState on the disk, if the host can tell

    def __str__(self) -> str:
        return f"crashes; its disk keeps the log up to {self.last}"


@value
class Wiped(Event):
    def __str__(self) -> str:
        return "loses its disk: log, term and vote are gone"


@value
class Paused(Event):
    def __str__(self) -> str:
        return "is paused: it neither hears nor speaks, its clock goes on"


@value
class Resumed(Event):
    def __str__(self) -> str:
        return "goes on after its pause"


@value
class WatchAsked(Event):
    """A client's stream (`c1/w1`) asks this node to watch, to cancel or for its progress."""

    stream: str
    request: Any  # of kv.watches
    revision: int  # the store's at that moment

    def __str__(self) -> str:
        return f"is asked by {self.stream}: {self.request}"


@value
class Notified(Event):
    """The node hands an answer to a stream: changes, or what became of a watcher."""

    stream: str
    response: Any  # mvcc.watch.WatchResponse

    def __str__(self) -> str:
        return f"tells {self.stream}: {self.response}"


@value
class StreamClosed(Event):
    """The stream's client is gone, and its watchers on this node with it."""

    stream: str

    def __str__(self) -> str:
        return f"forgets the watchers of {self.stream}"


@value
class LeasesCounted(Event):
    """A new leader counts the time of every lease anew, by its own clock."""

    term: int
    left: tuple[tuple[int, float], ...]  # (lease, seconds until it runs out)

    def __str__(self) -> str:
        told = ", ".join(f"{id:x} has {left:g} s" for id, left in self.left)
        return f"counts the leases anew in term {self.term}: {told or 'there are none'}"


@value
class LeaseRenewed(Event):
    """Its holder said that it is alive: the leader gives it the whole time again."""

    lease: int
    ttl_s: int

    def __str__(self) -> str:
        return f"keeps lease {self.lease:x} alive for {self.ttl_s} s"


@value
class LeaseExpired(Event):
    """Nobody kept the lease alive: the leader asks for its end, which comes through the log."""

    lease: int
    ttl_s: int

    def __str__(self) -> str:
        return f"finds that lease {self.lease:x} has run out ({self.ttl_s} s)"


# The network --------------------------------------------------------------------------------


@value
class Sent(Event):
    """A message left. `packet` is its number; it arrives at `arrives_s`, unless `fate` is set."""

    message: Any
    packet: int
    arrives_s: float | None = None  # None: not known (a real network)
    fate: str = ""  # "" or the reason code why it will not arrive

    def __str__(self) -> str:
        end = f" ({self.fate.lower()})" if self.fate else ""
        return f"sends {self.message}{end}"


@value
class Received(Event):
    """A message arrived; the record's cause is its `Sent`."""

    message: Any
    packet: int

    def __str__(self) -> str:
        return f"receives {self.message}"


@value
class Dropped(Event):
    """A packet did not arrive."""

    message: Any
    packet: int
    reason: str
    facts: Facts = ()

    def __str__(self) -> str:
        return f"{self.message} is lost: {sentence(self.reason, self.facts)}"


@value
class Delayed(Event):
    message: Any
    packet: int
    arrives_s: float

    def __str__(self) -> str:
        return f"{self.message} is held up until {self.arrives_s:.3f} s"


@value
class LinksCut(Event):
    """From now on nothing gets through on these (source, target) links."""

    links: tuple[tuple[str, str], ...]
    why: str = ""  # "partition (n1 n2) (n3 n4 n5)", "n1 is isolated", ...

    def __str__(self) -> str:
        return f"network: {self.why or ' '.join(f'{a}→{b}' for a, b in self.links) + ' cut'}"


@value
class Healed(Event):
    def __str__(self) -> str:
        return "network: all links work again"


@value
class LinksChanged(Event):
    """The network's quality was set anew, or a clock's rate: `setting` = `new`."""

    setting: str
    new: Any

    def __str__(self) -> str:
        return f"{self.setting} is now {self.new}"


# Clients ------------------------------------------------------------------------------------


@value
class Invoked(Event):
    """A client asked `node`. The record's node is the client."""

    op_id: int
    node: str
    request: Any

    def __str__(self) -> str:
        return f"asks {self.node}: {self.request}"


@value
class ClientChanged(Event):
    """A client pauses, goes on or is gone; the record's node is the client."""

    state: str

    def __str__(self) -> str:
        return self.state


@value
class Returned(Event):
    """A client got its answer, or an error. `revision` is that of the answer's header."""

    op_id: int
    node: str
    result: Any
    revision: int = 0
    error: str = ""
    unknown: bool = False  # a write that may or may not have been carried out

    def __str__(self) -> str:
        if self.error:
            return f"gets an error from {self.node}: {self.error}"
        return f"gets {self.result} from {self.node} at revision {self.revision}"
