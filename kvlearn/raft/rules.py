"""What a node knows, and the rules: what safety hangs on, one short method each.

Each rule is a sentence with its source, and is asked where it is needed. A subclass of Raft that
overrides one of them is a broken Raft (see kvlearn/course/mutants.py), one that leaves it blank is
an exercise.

```
  votes        may_vote_for  hard_state  is_up_to_date  election_result
  a leader     in_lease  quorum_active
  entries      log_matches  store_entries  quorum_index  may_commit  commit_for  own_match
  reads        may_read  read_quorum  holds_lease
  members      may_reconfigure
  snapshots    wants_snapshot
```

Numbers are sections of the paper; 4.1 to 4.3, 6.2 to 6.4 and 10.2.1 are sections of the thesis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from kvlearn.events import Appended, Event, Truncated
from kvlearn.raft import quorum
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.confchange import ConfChange
from kvlearn.raft.log import RaftLog
from kvlearn.raft.messages import Message
from kvlearn.raft.progress import NEVER, Progress
from kvlearn.raft.reads import ReadRounds
from kvlearn.raft.types import (
    ZERO, ConfState, Entry, EntryID, HardState, Index, NodeId, ReadState, Snapshot, Term, Ticks,
)  # fmt: skip

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"


def known_commit(
    hard_state: HardState, entries: Sequence[Entry], base: EntryID, applied: Index
) -> Index:
    """How far a node that starts knows the log to be committed.

    The commit index is written lazily: what was applied was committed. And a change of members is
    proposed only when the one before is applied (`may_reconfigure`): so of several in the log all
    but the last are committed, even where a crash took the proof. (To count by a list that is two
    changes old would be a danger to all.)
    """
    changes = [entry.index for entry in entries if isinstance(entry.data, ConfChange)]
    known = max(hard_state.commit, applied, *changes[:-1], 0)
    return min(known, base.index + len(entries))


class Rules:
    """What a node knows, and what it may do.

    Invariant: `term` never decreases; `vote` changes at most once a term; `progress` is filled on
    a leader only; `deadline` is the tick at which time alone makes something happen.
    """

    def __init__(
        self,
        id: NodeId,
        conf: ConfState,
        config: RaftConfig,
        rng: Random,
        emit: Callable[[Event], Any],
        hard_state: HardState = HardState(),
        entries: Iterable[Entry] = (),
        applied: Index = 0,
        base: EntryID = ZERO,
        joins: Index = 0,
    ):
        """A node as its disk remembers it; a new one has nothing to remember.

        `applied` is how far the state machine already got; what was applied was committed. `conf`
        is the membership there, and `base` the entry before the first of `entries`. A node that
        `joins` a running cluster does not stand before it has applied as much as the others had
        when it came: the memberships before that may name a node of its name, which it is not.
        """
        self.joins = joins
        self.id = id
        self.conf = conf
        self.config = config
        self.rng = rng
        self.emit = emit
        self.peers = tuple(member for member in conf.members if member != id)

        self.term: Term = hard_state.term
        self.vote: NodeId | None = hard_state.vote
        entries = list(entries)
        commit = known_commit(hard_state, entries, base, applied)
        self.log = RaftLog(entries, commit, applied, base)
        self.snapshot: Snapshot | None = None  # for followers that need what the log has no more
        self.fresh: Callable[[], Snapshot] | None = None  # or this makes one when it is needed
        self.restored: Snapshot | None = None  # from a leader, and not in the state machine yet
        self.incoming: tuple[tuple, list] = ((), [])  # a snapshot in chunks: whose, and so far

        self.outbox: list[Message] = []
        self.read_states: list[ReadState] = []
        self.dropped: list[tuple] = []  # proposals that came back
        self.pass_on: Callable[[Message], Any] = [].append  # the node above sets it
        # The first of these entries, or of a snapshot's records, that one message should have.
        self.fit: Callable[[NodeId, tuple], tuple] = lambda peer, wanted: wanted
        self._told = (self.term, self.vote, commit)  # the hard state that the host has
        self._begin()

    def _begin(self) -> None:
        """What no disk remembers."""
        self.role = FOLLOWER
        self.leader: NodeId | None = None
        self.asking = False  # as follower: pre-votes are being counted
        self.votes: dict[NodeId, bool] = {}  # as candidate: who has answered, and how
        self.progress: dict[NodeId, Progress] = {}  # as leader: what the others have
        self.conf_index: Index = 0  # as leader: no change of members lies behind this entry
        self.transferee: NodeId | None = None  # as leader: who shall lead instead
        self.named_successor = False  # as leader: it told another to stand, in this term

        self.now: Ticks = 0
        self.timeout_ticks: Ticks = 0  # the election timeout of this period
        self.deadline: Ticks = 0
        # When a leader was heard last; before its first term a node has promised nothing.
        self.heard: Ticks = 0 if self.term else NEVER
        self.transfer_due: Ticks = 0  # when a transfer has taken too long

        self.reads = ReadRounds()
        self.early_reads: list[tuple[NodeId, Any]] = []  # came before this term's first commit
        self._due: set[NodeId] = set()  # as leader: who should hear of entries or a commit index

    def _forget_leadership(self) -> None:
        self.votes = {}
        self.progress = {}
        self.reads = ReadRounds()
        self.early_reads = []
        self.asking = self.named_successor = False
        self.transferee = None
        self._due.clear()

    def _track_peers(self) -> None:
        old, self.progress = self.progress, {}
        for peer in self.peers:
            new = Progress(self.log.last_index + 1, self.config.max_inflight, self.now)
            self.progress[peer] = old.get(peer, new)
        self._due.update(peer for peer in self.peers if peer not in old)

    def _draw_timeout(self) -> None:
        config = self.config
        self.timeout_ticks = self.rng.randint(config.election_ticks, config.max_election_ticks)
        self._restart_timer()

    def _restart_timer(self) -> None:
        self.deadline = self.now + self.timeout_ticks

    # Rules ------------------------------------------------------------------------------------

    def may_vote_for(self, candidate: NodeId) -> bool:
        """A node votes for at most one candidate in a term, first come, first served (5.2).

        Once it follows the term's leader, a vote could only do harm (etcd).
        """
        return self.vote == candidate or (self.vote is None and self.leader is None)

    def hard_state(self) -> HardState:
        """Term and vote are on the disk before anybody hears of them (5.1, figure 2)."""
        return HardState(self.term, self.vote, self.log.committed)

    def is_up_to_date(self, last: EntryID) -> bool:
        """A vote goes only to a candidate whose log is at least as up-to-date (5.4.1)."""
        return last >= self.log.last

    def election_result(self) -> str:
        """A candidate wins with the votes of a majority of the full cluster (5.2, thesis 4.3)."""
        return quorum.vote_result(self.conf, self.votes)

    def in_lease(self) -> bool:
        """Whoever has heard a leader lately helps nobody to disturb it (thesis 4.2.3, 6.2)."""
        # A leader's lease outlives the follower's knowing whose it is.
        knows = self.leader is not None or self.config.lease_reads
        lately = self.role == LEADER or self.now - self.heard < self.config.election_ticks
        return self.config.check_quorum and knows and lately

    def quorum_active(self) -> bool:
        """A leader that no majority has answered for an election timeout steps down (6.2)."""

        def heard(node: NodeId) -> Ticks:
            return self.now if node == self.id else self.progress[node].heard

        silent = self.now - quorum.committed_index(self.conf, heard)
        return silent < self.config.election_ticks

    def log_matches(self, prev: EntryID) -> bool:
        """Entries are taken only where the log has the entry that precedes them (5.3)."""
        return self.log.has(prev)

    def store_entries(self, entries: tuple[Entry, ...]) -> None:
        """Only an entry that differs removes what follows; a late message removes nothing (5.3)."""
        new = self.log.first_conflict(entries)
        if new is not None and new.index <= self.log.last_index:
            gone = self.log.cut_after(new.index - 1)
            self.emit(Truncated(new.index - 1, tuple(entry.id for entry in gone), new.id))
        if new is not None:
            fresh = entries[new.index - entries[0].index :]
            self.emit(Appended(fresh))
            self.log.append(fresh)

    def quorum_index(self) -> Index:
        """The highest index that a majority of the members have (5.3, thesis 4.3)."""

        def match(node: NodeId) -> Index:
            return self.own_match() if node == self.id else self.progress[node].match

        return quorum.committed_index(self.conf, match)

    def may_commit(self, index: Index) -> bool:
        """Counting commits only entries of the leader's own term (5.4.2, figure 8)."""
        return self.log.term(index) == self.term

    def commit_for(self, peer: NodeId) -> Index:
        """A heartbeat commits nothing beyond what the follower is known to have (5.3; etcd)."""
        return min(self.progress[peer].match, self.log.committed)

    def own_match(self) -> Index:
        """A leader counts itself only for what its own disk has (thesis 10.2.1)."""
        return self.log.stable

    def may_read(self) -> bool:
        """A new leader serves no read before it has committed in its term (thesis 6.4, step 1)."""
        return self.log.term(self.log.committed) == self.term

    def read_quorum(self, acks: set[NodeId]) -> bool:
        """A read waits until a majority has answered a heartbeat sent after it (6.4, step 3)."""
        return quorum.vote_result(self.conf, dict.fromkeys(acks, True)) == quorum.WON

    def holds_lease(self) -> bool:
        """A leader may read without asking while nobody else can have been elected (6.4.1)."""

        def proven(node: NodeId) -> Ticks:
            return self.now if node == self.id else self.progress[node].proven

        # A successor that it named itself need not wait for anybody's promise.
        lasting = self.now - quorum.committed_index(self.conf, proven) < self.config.lease_ticks
        return self.config.lease_reads and lasting and not self.named_successor

    def may_reconfigure(self) -> bool:
        """One change of members at a time: the next waits until the last is applied (4.1, 4.3)."""
        return self.conf_index <= self.log.applied

    def wants_snapshot(self, last: EntryID) -> bool:
        """A snapshot that is older than the own state is ignored (paper 7, figure 13)."""
        return last.index > self.log.committed
