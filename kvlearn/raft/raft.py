"""One node's Raft: elections, replication, reads; no clock, no disk, no network.

Inputs (`tick`, `step`, `propose`, `read_index`) change the state and fill an outbox; `ready` hands
out what the host must save, send and apply; `advance` says that it was done. The last section,
*Rules*, holds the decisions that safety hangs on, one short method each.

Source: paper section 5 and figure 2; thesis 6.4 (reads), 10.2.1 (a leader's disk in parallel);
etcd-io/raft raft.go. Differs: a leader's commands leave when `ready` is asked, so that all that
came in one turn of the host share a message; a newer term alone does not restart a follower's
election timer (figure 2: only a leader's word or a granted vote does; etcd restarts it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from kvlearn.errors import ProposalDropped
from kvlearn.events import (
    Appended,
    BecameCandidate,
    BecameFollower,
    BecameLeader,
    Committed,
    Event,
    Progressed,
    ReadConfirmed,
    Refused,
    Truncated,
    VoteGranted,
    facts,
    sentence,
)
from kvlearn.raft import quorum
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.log import RaftLog
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    ForwardProposal,
    Heartbeat,
    HeartbeatResponse,
    Message,
    ReadIndex,
    ReadIndexResponse,
    RequestVote,
    VoteResponse,
)
from kvlearn.raft.progress import PROBE, Progress
from kvlearn.raft.reads import ReadRounds
from kvlearn.raft.types import (
    ConfState,
    Entry,
    EntryID,
    HardState,
    Index,
    NodeId,
    ReadState,
    Ready,
    Term,
    Ticks,
)

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"


class Raft:
    """One member of a Raft cluster.

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
    ):
        """A node as its disk remembers it; a new one has nothing to remember.

        `applied` is how far the state machine already got; what was applied was committed.
        """
        self.id = id
        self.conf = conf
        self.config = config
        self.rng = rng
        self.emit = emit
        self.peers = tuple(member for member in conf.members if member != id)

        self.term: Term = hard_state.term
        self.vote: NodeId | None = hard_state.vote
        entries = list(entries)
        # The commit index is written lazily and may be behind what the state machine has.
        commit = min(max(hard_state.commit, applied), len(entries))
        self.log = RaftLog(entries, commit, applied)

        self.role = FOLLOWER
        self.leader: NodeId | None = None
        self.votes: dict[NodeId, bool] = {}  # as candidate: who has answered, and how
        self.progress: dict[NodeId, Progress] = {}  # as leader: what the others have

        self.now: Ticks = 0
        self.timeout_ticks: Ticks = 0  # the election timeout of this period
        self.deadline: Ticks = 0

        self.outbox: list[Message] = []
        self.read_states: list[ReadState] = []
        self.reads = ReadRounds()
        self.early_reads: list[tuple[NodeId, Any]] = []  # came before this term's first commit
        self._due: set[NodeId] = set()  # as leader: who should hear of entries or a commit index
        self._told = (self.term, self.vote, commit)  # the hard state that the host has
        self._become_follower(self.term, None, "STARTED")

    # Inputs -----------------------------------------------------------------------------------

    def tick(self, n: Ticks = 1) -> None:
        """Let `n` ticks pass. At most one timeout happens, however long the pause was."""
        self.now += n
        if self.now >= self.deadline:
            if self.role == LEADER:
                self._broadcast_heartbeat()
            elif self.id in self.conf.voters:
                self.campaign()
            else:
                self._restart_timer()

    def step(self, message: Message) -> None:
        """Take a message that arrived."""
        if message.term != self.term and not self._settle_terms(message):
            return
        match message:
            case Heartbeat():
                self._on_heartbeat(message)
            case HeartbeatResponse():
                self._on_heartbeat_response(message)
            case AppendEntries():
                self._on_append(message)
            case AppendResponse():
                self._on_append_response(message)
            case RequestVote():
                self._on_request_vote(message)
            case VoteResponse():
                self._on_vote_response(message)
            case ForwardProposal():
                self._on_forward(message)
            case ReadIndex():
                self._on_read_index(message)
            case ReadIndexResponse():
                self.read_states.append(ReadState(message.context, message.index))

    def propose(self, data: Any) -> None:
        """Have `data` appended to the log: here on the leader, or forwarded to it.

        Raises: ProposalDropped where no leader is known; then nothing has happened.
        """
        if self.role == LEADER:
            self._append_own(data)
        elif self.leader is not None:
            self._send(ForwardProposal(self.id, self.leader, 0, data))
        else:
            self._drop("proposal")

    def read_index(self, context: Any) -> None:
        """Ask from which index on a linearizable read may be served; `Ready.reads` answers.

        Raises: ProposalDropped where no leader is known.
        """
        if self.role == LEADER:
            self._lead_read(self.id, context)
        elif self.leader is not None:
            self._send(ReadIndex(self.id, self.leader, 0, context))
        else:
            self._drop("read")

    def _drop(self, action: str) -> None:
        known = facts(term=self.term)
        self.emit(Refused(action, None, self.term, "NO_LEADER", known))
        raise ProposalDropped("NO_LEADER", sentence("NO_LEADER", known))

    # Output -----------------------------------------------------------------------------------

    def ready(self) -> Ready | None:
        """What the host has to do, or None. Call `advance` with it before asking again."""
        if self._due:
            self._send_due()
        log = self.log
        state = (self.term, self.vote, log.committed)
        changed = state != self._told
        fresh = len(log.entries) > log.stable
        behind = log.applied < log.committed
        if not (self.outbox or changed or fresh or behind or self.read_states):
            return None
        ready = Ready(
            self.hard_state() if changed else None,
            log.slice(log.stable + 1, log.last_index) if fresh else (),
            tuple(self.outbox),
            log.slice(log.applied + 1, log.committed) if behind else (),
            tuple(self.read_states),
            must_sync=fresh or (changed and state[:2] != self._told[:2]),
        )
        self._told = state
        self.outbox.clear()
        self.read_states.clear()
        if self.reads.rounds:
            self.reads.sent()
        return ready

    def advance(self, ready: Ready) -> None:
        """The host has saved, sent and applied `ready`."""
        if ready.entries:
            self.log.saved(ready.entries[-1].id)
        if ready.committed:
            self.log.applied = ready.committed[-1].index
        if ready.entries and self.role == LEADER:
            self._maybe_commit()

    def _send(self, message: Message) -> None:
        self.outbox.append(message)

    # Terms ------------------------------------------------------------------------------------

    def _settle_terms(self, message: Message) -> bool:
        """Whether to go on with a message of another term (paper 5.1)."""
        if message.term == 0:
            return True  # it speaks of no term
        if message.term > self.term:
            leads = isinstance(message, (AppendEntries, Heartbeat))
            known = facts(source=message.source, theirs=message.term, mine=self.term)
            leader = message.source if leads else None
            self._become_follower(message.term, leader, "HIGHER_TERM", known)
            return True
        self._answer_old(message)
        return False

    def _answer_old(self, message: Message) -> None:
        """Let a candidate or leader of an old term know that its time is over."""
        match message:
            case RequestVote(source=source):
                self._refuse_vote(message, "TERM_OLD", facts(theirs=message.term, term=self.term))
            case AppendEntries(source=source, prev=prev):
                known = facts(theirs=message.term, term=self.term)
                self.emit(Refused("append", source, self.term, "TERM_OLD", known))
                hint = EntryID(0, 0)
                self._send(AppendResponse(self.id, source, self.term, 0, prev.index or 1, hint))
            case Heartbeat(source=source):
                self._send(HeartbeatResponse(self.id, source, self.term))

    # Roles ------------------------------------------------------------------------------------

    def _become_follower(
        self, term: Term, leader: NodeId | None, reason: str, known: tuple = ()
    ) -> None:
        keeps_timer = self.role == FOLLOWER and leader is None and reason == "HIGHER_TERM"
        if term > self.term:
            self.term, self.vote = term, None
        self.role, self.leader = FOLLOWER, leader
        self._forget_leadership()
        if not keeps_timer:
            self._draw_timeout()
        waited = self.now - (self.deadline - self.timeout_ticks)
        self.emit(BecameFollower(term, leader, self.timeout_ticks, reason, known, waited))

    def _become_leader(self) -> None:
        granted = tuple(sorted(node for node, yes in self.votes.items() if yes))
        self.emit(BecameLeader(self.term, granted, self.log.last))
        self.role, self.leader = LEADER, self.id
        self._forget_leadership()
        start = self.log.last_index + 1
        self.progress = {peer: Progress(start, self.config.max_inflight) for peer in self.peers}
        self.deadline = self.now + self.config.heartbeat_ticks
        # Only an entry of its own term tells a leader how far the old ones are committed (5.4.2).
        self._append_own(None)

    def _forget_leadership(self) -> None:
        self.votes = {}
        self.progress = {}
        self.reads = ReadRounds()
        self.early_reads = []
        self._due.clear()

    def _draw_timeout(self) -> None:
        spread = self.rng.randint(self.config.election_ticks, self.config.max_election_ticks)
        self.timeout_ticks = spread
        self._restart_timer()

    def _restart_timer(self) -> None:
        self.deadline = self.now + self.timeout_ticks

    # Elections (paper 5.2) --------------------------------------------------------------------

    def campaign(self) -> None:
        """Stand for election in the next term; what a follower does when it hears no leader."""
        waited = self.now - (self.deadline - self.timeout_ticks)
        self.role, self.leader = CANDIDATE, None
        self.term, self.vote = self.term + 1, self.id
        self._forget_leadership()
        self.votes = {self.id: True}
        self._draw_timeout()
        self.emit(BecameCandidate(self.term, self.log.last, self.timeout_ticks, waited))
        if self.election_result() == quorum.WON:  # alone in the cluster
            self._become_leader()
            return
        for voter in self.peers:
            if voter not in self.conf.learners:
                self._send(RequestVote(self.id, voter, self.term, self.log.last))

    def _on_request_vote(self, message: RequestVote) -> None:
        if not self.may_vote_for(message.source):
            known = facts(term=self.term, vote=self.vote)
            self._refuse_vote(message, "VOTE_TAKEN", known)
        elif not self.is_up_to_date(message.last):
            known = facts(theirs=message.last, mine=self.log.last)
            self._refuse_vote(message, "VOTE_LOG_BEHIND", known)
        else:
            self.vote = message.source
            self._restart_timer()
            self.emit(VoteGranted(self.term, message.source))
            self._send(VoteResponse(self.id, message.source, self.term, True))

    def _refuse_vote(self, message: RequestVote, reason: str, known: tuple) -> None:
        self.emit(Refused("vote", message.source, self.term, reason, known))
        self._send(VoteResponse(self.id, message.source, self.term, False))

    def _on_vote_response(self, message: VoteResponse) -> None:
        if self.role != CANDIDATE:
            return
        self.votes.setdefault(message.source, message.granted)
        match self.election_result():
            case quorum.WON:
                self._become_leader()
            case quorum.LOST:
                self._become_follower(self.term, None, "ELECTION_LOST")

    # Followers (paper 5.3) --------------------------------------------------------------------

    def _hear(self, leader: NodeId) -> None:
        """A message of this term's leader: give way to it, and wait anew."""
        if self.leader != leader or self.role != FOLLOWER:
            known = facts(source=leader, term=self.term)
            self._become_follower(self.term, leader, "LEADER_HEARD", known)
        else:
            self.deadline = self.now + self.timeout_ticks

    def _on_heartbeat(self, message: Heartbeat) -> None:
        if self.role == LEADER:
            return  # two leaders in a term: Election Safety is broken, and the checkers say so
        self._hear(message.source)
        if message.commit > self.log.committed:
            # Beyond its end only if its disk was wiped since it acknowledged.
            commit = min(message.commit, self.log.last_index)
            if commit > self.log.committed:
                self._commit(commit)
        self._send(HeartbeatResponse(self.id, message.source, self.term, message.context))

    def _on_append(self, message: AppendEntries) -> None:
        if self.role == LEADER:
            return  # see _on_heartbeat
        self._hear(message.source)
        prev = message.prev
        if prev.index < self.log.committed:
            # Old news: what is committed agrees, so tell how far that is.
            answer = AppendResponse(self.id, message.source, self.term, self.log.committed)
        elif self.log_matches(prev):
            self.store_entries(message.entries)
            last = prev.index + len(message.entries)
            if min(message.commit, last) > self.log.committed:
                self._commit(min(message.commit, last))
            answer = AppendResponse(self.id, message.source, self.term, last)
        else:
            answer = self._refuse_append(message)
        self._send(answer)

    def _refuse_append(self, message: AppendEntries) -> AppendResponse:
        prev, log = message.prev, self.log
        # The leader cannot agree with entries of terms that are newer than prev's: skip them all.
        hint = log.last_at_most(prev.index, prev.term)
        gap = prev.index > log.last_index
        mine = log.last if gap else log.id(prev.index)
        reason = "LOG_GAP" if gap else "LOG_CONFLICT"
        known = facts(prev=prev, mine=mine)
        self.emit(Refused("append", message.source, self.term, reason, known))
        return AppendResponse(self.id, message.source, self.term, 0, prev.index, hint)

    def _commit(self, index: Index) -> None:
        assert index <= self.log.last_index, f"told to commit {index}, and the log ends before it"
        old, self.log.committed = self.log.committed, index
        self.emit(Committed(index, self.log.id(index).term, old))

    # The leader (paper 5.3, 5.4.2) ------------------------------------------------------------

    def _append_own(self, data: Any) -> None:
        entry = Entry(self.log.last_index + 1, self.term, data)
        self.log.append((entry,))
        self.emit(Appended((entry,)))
        self._due.update(self.peers)

    def _on_forward(self, message: ForwardProposal) -> None:
        if self.role == LEADER:
            self._append_own(message.data)
        elif self.leader not in (None, message.source):
            self._send(ForwardProposal(self.id, self.leader, 0, message.data))
        else:
            known = facts(term=self.term)
            self.emit(Refused("proposal", message.source, self.term, "NO_LEADER", known))

    def _send_due(self) -> None:
        """Send what was put off until now, so that all that came in one turn shares messages."""
        for peer in self.peers:
            progress = self.progress[peer]
            if peer in self._due and progress.may_send():
                self._send_append(peer, progress)
                while progress.next <= self.log.last_index and progress.may_send():
                    self._send_append(peer, progress)
        self._due.clear()

    def _send_append(self, peer: NodeId, progress: Progress) -> None:
        """Send what `peer` lacks, as much as fits a message; possibly only the commit index."""
        log = self.log
        prev = log.id(progress.next - 1)
        limit = self.config.max_entries_per_message
        entries = log.slice(progress.next, log.last_index, limit)
        if entries or progress.state == PROBE:
            progress.sent(prev.index + len(entries))
        progress.told = log.committed
        self._send(AppendEntries(self.id, peer, self.term, prev, entries, log.committed))

    def _on_append_response(self, message: AppendResponse) -> None:
        if self.role != LEADER or message.source not in self.progress:
            return
        progress = self.progress[message.source]
        before = (progress.state, progress.match, progress.next)
        if message.rejected:
            # Entries newer than the hint's term cannot be in the follower's log: skip them all.
            shared = self.log.last_at_most(message.hint.index, message.hint.term)
            if progress.rejected(message.rejected, shared.index + 1):
                self._due.add(message.source)
        else:
            if progress.acked(message.match):
                self._maybe_commit()
            if progress.state == PROBE:
                progress.become_replicate()
            # While nothing could be sent to it, it may also have missed a commit.
            if progress.next <= self.log.last_index or progress.told < self.log.committed:
                self._due.add(message.source)
        if before != (progress.state, progress.match, progress.next):
            known = Progressed(message.source, progress.state, progress.match, progress.next)
            self.emit(known)

    def _maybe_commit(self) -> None:
        index = self.quorum_index()
        if index <= self.log.committed:
            return
        if not self.may_commit(index):
            known = facts(entry=self.log.id(index), term=self.term)
            self.emit(Refused("commit", None, self.term, "COMMIT_OLD_TERM", known))
            return
        self._commit(index)
        self._due.update(self.peers)
        waiting, self.early_reads = self.early_reads, []
        for origin, context in waiting:
            self._lead_read(origin, context)

    def _broadcast_heartbeat(self) -> None:
        self.deadline = self.now + self.config.heartbeat_ticks
        number = self.reads.rounds[-1].number if self.reads.rounds else 0
        for peer in self.peers:
            self._send(Heartbeat(self.id, peer, self.term, self.commit_for(peer), number))

    def _on_heartbeat_response(self, message: HeartbeatResponse) -> None:
        if self.role != LEADER or message.source not in self.progress:
            return
        progress = self.progress[message.source]
        if progress.match < len(self.log.entries) or progress.state == PROBE:
            # It is alive and lacks something: whatever was on its way may have been lost.
            progress.waiting = False
            if len(progress.inflight) >= self.config.max_inflight:
                progress.inflight.popleft()
            self._due.add(message.source)
        if message.context:
            confirmed = self.reads.ack(message.source, message.context, self.read_quorum)
            self._serve_reads(confirmed)

    # Reads (thesis 6.4) -----------------------------------------------------------------------

    def _on_read_index(self, message: ReadIndex) -> None:
        if self.role == LEADER:
            self._lead_read(message.source, message.context)
        else:  # whoever asked will ask again
            known = facts(term=self.term)
            self.emit(Refused("read", message.source, self.term, "NO_LEADER", known))

    def _lead_read(self, origin: NodeId, context: Any) -> None:
        if not self.may_read():
            known = facts(term=self.term)
            self.emit(Refused("read", origin, self.term, "READ_NOT_YET", known))
            self.early_reads.append((origin, context))
        elif self.reads.ask(origin, context, self.log.committed, self.id):
            self._broadcast_heartbeat()
            # Its own word counts too, and is enough where nobody else has a vote.
            self._serve_reads(self.reads.ack(self.id, self.reads.number, self.read_quorum))

    def _serve_reads(self, rounds: list) -> None:
        for round in rounds:
            acks = tuple(sorted(round.acks))
            self.emit(ReadConfirmed(round.index, acks, len(round.asked)))
            for origin, context in round.asked:
                if origin == self.id:
                    self.read_states.append(ReadState(context, round.index))
                else:
                    self._send(ReadIndexResponse(self.id, origin, 0, context, round.index))

    # Rules ------------------------------------------------------------------------------------
    # Each is one sentence with its source, asked at exactly one place. A subclass that overrides
    # one of them is a broken Raft: see kvlearn/course/mutants.py.

    def may_vote_for(self, candidate: NodeId) -> bool:
        """A node votes for at most one candidate in a term, first come, first served (5.2)."""
        return self.vote in (None, candidate)

    def hard_state(self) -> HardState:
        """Term and vote are on the disk before anybody hears of them (5.1, figure 2)."""
        return HardState(self.term, self.vote, self.log.committed)

    def is_up_to_date(self, last: EntryID) -> bool:
        """A vote goes only to a candidate whose log is at least as up-to-date (5.4.1)."""
        return last >= self.log.last

    def election_result(self) -> str:
        """A candidate wins with the votes of a majority of the full cluster (5.2, thesis 4.3)."""
        return quorum.vote_result(self.conf, self.votes)

    def log_matches(self, prev: EntryID) -> bool:
        """Entries are taken only where the log has the entry that precedes them (5.3)."""
        return self.log.has(prev)

    def store_entries(self, entries: tuple[Entry, ...]) -> None:
        """Only an entry that differs removes what follows; a late message removes nothing (5.3)."""
        new = self.log.first_conflict(entries)
        if new is not None and new.index <= self.log.last_index:
            dropped = tuple(entry.id for entry in self.log.entries[new.index - 1 :])
            self.emit(Truncated(new.index - 1, dropped, new.id))
            self.log.cut_after(new.index - 1)
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
