"""One node's Raft: elections, replication, reads, members, snapshots; no clock, disk or network.

Inputs (`tick`, `step`, `propose`, `read_index`, `transfer_leadership`, `compact`) change the state
and fill an outbox; `ready` hands out what the host must save, send and apply; `advance` says that
it was done. The decisions that safety hangs on are in rules.py.

Source: paper 5 to 7, figure 2; thesis 3.10 (transfer), 4 (members), 6.4 (reads), 9.6 (pre-votes),
10.2.1 (a leader's disk in parallel); etcd-io/raft raft.go. Differs: a leader's commands leave when
`ready` is asked, so that all that came in one turn of the host share a message; a newer term alone
does not restart a follower's election timer (figure 2; etcd restarts it); a leader steps down as
soon as no majority has answered for an election timeout (etcd looks once in a timeout).
"""

from __future__ import annotations

from typing import Any

from kvlearn.errors import ProposalDropped
from kvlearn.events import (
    Appended, AskedPreVote, BecameCandidate, BecameFollower, BecameLeader, Committed, ConfChanged,
    LogCompacted, Progressed, ReadConfirmed, Refused, SnapshotInstalled, TransferAborted,
    TransferStarted, VoteGranted, facts, sentence,
)  # fmt: skip
from kvlearn.raft import quorum
from kvlearn.raft.admission import refusal_of
from kvlearn.raft.confchange import ConfChange, changed
from kvlearn.raft.messages import (
    AppendEntries, AppendResponse, ForNode, ForwardProposal, Heartbeat, HeartbeatResponse,
    InstallSnapshot, Message, ProposalRefused, ReadIndex, ReadIndexResponse, RequestVote,
    SnapshotResponse, TimeoutNow, TransferLeader, VoteResponse,
)  # fmt: skip
from kvlearn.raft.progress import PROBE, SNAPSHOT, Progress
from kvlearn.raft.rules import CANDIDATE, FOLLOWER, LEADER, Rules
from kvlearn.raft.types import (
    ZERO, ConfState, Entry, Index, NodeId, ReadState, Ready, Snapshot, Term, Ticks,
)  # fmt: skip

KEEP_WAITING = ("HIGHER_TERM", "LEADER_FORGOTTEN")  # news after which a follower's timer runs on


class Raft(Rules):
    """One member of a Raft cluster; what it knows is set up in `Rules`."""

    def __init__(self, *known: Any, **more: Any):
        """See `Rules`: who it is, and what its disk remembers."""
        super().__init__(*known, **more)
        self._become_follower(self.term, None, "STARTED")

    # Inputs -----------------------------------------------------------------------------------

    def tick(self, n: Ticks = 1) -> None:
        """Let `n` ticks pass. At most one timeout happens, however long the pause was."""
        self.now += n
        if self.now >= self.deadline:
            if self.role == LEADER:
                self._lead_on()
            elif self.conf.votes(self.id):
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
            case InstallSnapshot():
                self._on_snapshot(message)
            case SnapshotResponse():
                self._on_snapshot_response(message)
            case ProposalRefused():
                self.dropped.append((message.data, message.reason, message.facts))
            case TransferLeader() if self.role == LEADER and self.conf.votes(message.to):
                self.transfer_leadership(message.to)
            case TimeoutNow() if self.role == FOLLOWER:
                self._stand(transfer=True)
            case ForNode():
                self.pass_on(message)

    def propose(self, data: Any) -> None:
        """Have `data` appended to the log: here on the leader, or forwarded to it. A ConfChange
        changes the membership once it is applied (`apply_change`).

        Raises: ProposalDropped that says why; then nothing has happened.
        """
        if self.role == LEADER:
            if refusal := refusal_of(self, data):
                self._drop("proposal", *refusal)
            self._append_own(data)
        elif self.leader is not None:
            self._send(ForwardProposal(self.id, self.leader, 0, data))
        else:
            self._drop("proposal", "NO_LEADER", facts(term=self.term))

    def read_index(self, context: Any) -> None:
        """Ask from which index on a linearizable read may be served; `Ready.reads` answers.

        Raises: ProposalDropped where no leader is known.
        """
        if self.role == LEADER:
            self._lead_read(self.id, context)
        elif self.leader is not None:
            self._send(ReadIndex(self.id, self.leader, 0, context))
        else:
            self._drop("read", "NO_LEADER", facts(term=self.term))

    def transfer_leadership(self, to: NodeId) -> None:
        """Let `to` lead: it gets what it lacks and then stands for election at once (thesis 3.10).
        Proposals are refused meanwhile; without success in an election timeout all is as before.

        Raises: ProposalDropped where `to` has no vote, or no leader is known.
        """
        if not self.conf.votes(to):
            self._drop("transfer", "NO_VOTER", facts(to=to))
        elif self.leader is None:
            self._drop("transfer", "NO_LEADER", facts(term=self.term))
        elif self.role != LEADER:
            self._send(TransferLeader(self.id, self.leader, 0, to))
        elif to not in (self.id, self.transferee):
            self._abort_transfer()
            self.transferee, self.transfer_due = to, self.now + self.config.election_ticks
            self.emit(TransferStarted(to, self.progress[to].match, self.log.last_index))
            self._hand_over(to)

    def forget_leader(self) -> None:
        """Protect the leader no longer (etcd too); not where its lease reads rely on that."""
        if self.role == FOLLOWER and self.leader and not self.config.lease_reads:
            self._become_follower(self.term, None, "LEADER_FORGOTTEN", facts(leader=self.leader))

    def report_snapshot(self, peer: NodeId, arrived: bool) -> None:
        """What the transport knows of a snapshot on its way to `peer` (etcd: MsgSnapStatus)."""
        progress = self.progress.get(peer)
        if progress is not None and progress.state == SNAPSHOT:
            progress.reported(arrived)

    def compact(self, snapshot: Snapshot, index: Index) -> None:
        """Forget the log up to `index`, for which `snapshot`, taken not before it, stands; but not
        what a follower will need right behind the snapshot that it is being sent (as etcd)."""
        assert index <= snapshot.last.index <= self.log.applied, "it is not of what is applied"
        self.snapshot = snapshot
        for progress in self.progress.values():
            answers = self.now - progress.heard < self.config.election_ticks
            if progress.state == SNAPSHOT and answers:
                index = min(index, progress.snapshot.last.index)
        if index > self.log.base.index:
            self.log.compact(index)
            self.emit(LogCompacted(self.log.base, snapshot.last))

    def apply_change(self, change: ConfChange) -> ConfState:
        """A change of members is committed and all before it is applied: from now on it counts.

        Raises: ConfChangeError where it does not fit; then nothing has changed, on any node.
        """
        self._count_by(changed(self.conf, change))
        return self.conf

    def _drop(self, action: str, reason: str, known: tuple) -> None:
        self.emit(Refused(action, None, self.term, reason, known))
        raise ProposalDropped(reason, sentence(reason, known))

    # Output -----------------------------------------------------------------------------------

    def ready(self) -> Ready | None:
        """What the host has to do, or None. Call `advance` with it before asking again."""
        if self._due:
            self._send_due()
        log = self.log
        state = (self.term, self.vote, log.committed)
        changed = state != self._told
        fresh = len(log.entries) > log.stable - log.base.index
        behind = log.applied < log.committed and not self.restored  # its members first
        waits = self.read_states or self.dropped or self.restored
        if not (self.outbox or changed or fresh or behind or waits):
            return None
        ready = Ready(
            self.hard_state() if changed else None,
            log.slice(log.stable + 1, log.last_index) if fresh else (),
            tuple(self.outbox),
            log.slice(log.applied + 1, log.committed) if behind else (),
            tuple(self.read_states),
            fresh or bool(self.restored) or (changed and state[:2] != self._told[:2]),
            self.restored,
            tuple(self.dropped),
        )
        self._told = state
        self.outbox.clear()
        self.read_states.clear()
        self.dropped.clear()
        if self.reads.rounds:
            self.reads.sent()
        return ready

    def advance(self, ready: Ready) -> None:
        """The host has saved, sent and applied `ready`."""
        log = self.log
        if ready.entries:
            log.saved(ready.entries[-1].id)
        if ready.snapshot is not None:
            if self.restored is ready.snapshot:
                self.restored = None
            self._count_by(ready.snapshot.conf)
        if ready.committed:
            # A snapshot that came meanwhile may be ahead of what was applied.
            log.applied = max(log.applied, ready.committed[-1].index)
        if self.role == LEADER:
            if ready.entries:
                self._maybe_commit()
            if self.conf.auto_leave and self.may_reconfigure():
                self._append_own(ConfChange())
        elif self.role == CANDIDATE and ready.hard_state and ready.hard_state.term == self.term:
            self._count_votes()  # its own is durable now

    def _send(self, message: Message) -> None:
        self.outbox.append(message)

    # Terms ------------------------------------------------------------------------------------

    def _settle_terms(self, message: Message) -> bool:
        """Whether to go on with a message of another term (paper 5.1); 0 is none."""
        if message.term == 0:
            return True
        if message.term > self.term:
            if isinstance(message, RequestVote) and not message.transfer and self.in_lease():
                ticks, reason = self.now - self.heard, "LEADER_ALIVE"
                known = facts(leader=self.leader or "a leader", ticks=ticks)
                if self.role == LEADER:
                    reason, known = "LEADING", facts(term=self.term)
                self._refuse_vote(message, reason, known, answers=False)
                return False
            if message.early:
                return True
            leads = isinstance(message, (AppendEntries, Heartbeat, InstallSnapshot))
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
                self._send(AppendResponse(self.id, source, self.term, 0, prev.index or 1, ZERO))
            case Heartbeat(source=source) | InstallSnapshot(source=source):
                self._send(HeartbeatResponse(self.id, source, self.term))

    # Roles ------------------------------------------------------------------------------------

    def _become_follower(
        self, term: Term, leader: NodeId | None, reason: str, known: tuple = ()
    ) -> None:
        keeps_timer = self.role == FOLLOWER and leader is None and reason in KEEP_WAITING
        if term > self.term:
            self.term, self.vote = term, None
        self.role, self.leader = FOLLOWER, leader
        self._forget_leadership()
        if not keeps_timer:
            self._draw_timeout()
        waited = self.now - (self.deadline - self.timeout_ticks)
        self.emit(BecameFollower(term, leader, self.timeout_ticks, reason, known, waited))

    def _become_leader(self) -> None:
        self.emit(BecameLeader(self.term, quorum.granted(self.votes), self.log.last))
        self.role, self.leader, self.heard = LEADER, self.id, self.now
        self._forget_leadership()
        self._track_peers()
        # There may be a change of members among the entries that are not applied yet.
        self.conf_index = self.log.last_index
        self.deadline = self.now + self.config.heartbeat_ticks
        # Only an entry of its own term tells a leader how far the old ones are committed (5.4.2).
        self._append_own(None)

    # Elections (paper 5.2) --------------------------------------------------------------------

    def campaign(self) -> None:
        """Stand for election in the next term, as a follower does that hears no leader; with
        pre-votes, ask first whether it would win (thesis 9.6)."""
        if not self.config.pre_vote:
            self._stand()
        elif self._can_stand():
            waited = self.now - (self.deadline - self.timeout_ticks)
            self.role, self.leader = FOLLOWER, None
            self._forget_leadership()
            self.asking = True
            self._draw_timeout()
            self.emit(AskedPreVote(self.term + 1, self.log.last, self.timeout_ticks, waited))
            self._ask_voters(self.term + 1, pre=True)

    def _stand(self, transfer: bool = False) -> None:
        if not self._can_stand():
            return
        waited = self.now - (self.deadline - self.timeout_ticks)
        would = quorum.granted(self.votes) if self.asking and not transfer else ()
        self.role, self.leader = CANDIDATE, None
        self.term, self.vote = self.term + 1, self.id
        self._forget_leadership()
        self._draw_timeout()
        why = waited, would, transfer
        self.emit(BecameCandidate(self.term, self.log.last, self.timeout_ticks, *why))
        self._ask_voters(self.term, transfer=transfer)

    def _can_stand(self) -> bool:
        """Whether it has a vote and knows by whom to count (etcd: hup); if not, it waits."""
        ahead = self.log.slice(self.log.applied + 1, self.log.committed)
        if not self.conf.votes(self.id):
            reason, known = "NO_VOTER", facts(to=self.id)
        elif self.log.applied < self.joins:
            reason, known = "NOT_MEMBER", ()
        elif self.restored or any(isinstance(entry.data, ConfChange) for entry in ahead):
            reason, known = "CHANGE_UNAPPLIED", ()
        else:
            return True
        self.emit(Refused("campaign", None, self.term, reason, known))
        self._restart_timer()
        return False

    def _ask_voters(self, term: Term, pre: bool = False, transfer: bool = False) -> None:
        self.votes = {self.id: True}
        for voter in filter(self.conf.votes, self.peers):
            self._send(RequestVote(self.id, voter, term, self.log.last, pre, transfer))
        if pre:
            self._count_votes()  # a vote counts only when it is saved: `advance`

    def _on_request_vote(self, message: RequestVote) -> None:
        early = message.early and message.term > self.term  # it promises nothing
        if not early and not self.may_vote_for(message.source):
            known = facts(term=self.term, leader=self.leader, vote=self.vote)
            self._refuse_vote(message, "VOTE_TAKEN" if self.vote else "LEADER_KNOWN", known)
        elif not self.is_up_to_date(message.last):
            known = facts(theirs=message.last, mine=self.log.last)
            self._refuse_vote(message, "VOTE_LOG_BEHIND", known)
        else:
            if not message.pre:
                self.vote = message.source
                self._restart_timer()
            self.emit(VoteGranted(message.term, message.source, message.pre))
            self._send(VoteResponse(self.id, message.source, message.term, True, message.pre))

    def _refuse_vote(self, message: RequestVote, reason: str, known: tuple, answers=True) -> None:
        self.emit(Refused("vote", message.source, self.term, reason, known))
        if answers:
            answer = False, message.pre, self.log.id(self.log.committed)
            self._send(VoteResponse(self.id, message.source, self.term, *answer))

    def _on_vote_response(self, message: VoteResponse) -> None:
        earlier = message.granted and message.term != self.term + message.pre
        if earlier or message.pre != self.asking or not (self.asking or self.role == CANDIDATE):
            return  # an answer to an earlier question
        known = message.committed
        if known.index > self.log.committed and self.log.has(known):
            self._commit(known.index)
            if not self._can_stand():  # a change of members is among that
                self._become_follower(self.term, None, "ELECTION_LOST")
                return
        self.votes.setdefault(message.source, message.granted)
        self._count_votes()

    def _count_votes(self) -> None:
        match self.election_result():
            case quorum.WON:
                self._stand() if self.asking else self._become_leader()
            case quorum.LOST:
                reason = "PRE_VOTE_LOST" if self.asking else "ELECTION_LOST"
                self._become_follower(self.term, None, reason)

    # Followers (paper 5.3) --------------------------------------------------------------------

    def _hear(self, leader: NodeId) -> None:
        """A message of this term's leader: give way to it, and wait anew."""
        if self.leader != leader or self.role != FOLLOWER:
            known = facts(source=leader, term=self.term)
            self._become_follower(self.term, leader, "LEADER_HEARD", known)
        else:
            self.deadline = self.now + self.timeout_ticks
        self.heard = self.now

    def _on_heartbeat(self, message: Heartbeat) -> None:
        if self.role == LEADER:
            return  # two leaders in a term: Election Safety is broken, and the checkers say so
        self._hear(message.source)
        if message.commit > self.log.committed:
            # Beyond its end only if its disk was wiped since it acknowledged.
            commit = min(message.commit, self.log.last_index)
            if commit > self.log.committed:
                self._commit(commit)
        answer = message.context, message.sent
        self._send(HeartbeatResponse(self.id, message.source, self.term, *answer))

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

    def _on_snapshot(self, message: InstallSnapshot) -> None:
        if self.role == LEADER:
            return  # see _on_heartbeat
        self._hear(message.source)
        last, total = message.last, message.total
        if not self.wants_snapshot(last) or self.log.has(last):
            known = facts(last=last, committed=self.log.committed)
            self.emit(Refused("snapshot", message.source, self.term, "SNAPSHOT_OLD", known))
            if last.index > self.log.committed:
                self._commit(last.index)  # it has these very entries, and they were committed
            self._send(AppendResponse(self.id, message.source, self.term, self.log.committed))
            return
        # Only one leader's chunks fit together: another may have taken its snapshot otherwise.
        whose = (message.source, message.term, last)
        records = self.incoming[1] if self.incoming[0] == whose else []
        if message.offset == len(records):
            records += message.records
        self.incoming = (whose, records)
        self._send(SnapshotResponse(self.id, message.source, self.term, last, len(records)))
        if len(records) == total:
            self._restore(Snapshot(last, message.conf, tuple(records)))
            self._send(AppendResponse(self.id, message.source, self.term, last.index))

    def _restore(self, snapshot: Snapshot) -> None:
        self.incoming = ((), [])
        self.log.restore(snapshot.last)
        self.snapshot = self.restored = snapshot
        self.emit(SnapshotInstalled(snapshot.last, len(snapshot.data)))

    def _commit(self, index: Index) -> None:
        assert index <= self.log.last_index, f"told to commit {index}, and the log ends before it"
        old, self.log.committed = self.log.committed, index
        self.emit(Committed(index, self.log.id(index).term, old))

    # The leader (paper 5.3, 5.4.2) ------------------------------------------------------------

    def _append_own(self, data: Any) -> None:
        entry = Entry(self.log.last_index + 1, self.term, data)
        self.log.append((entry,))
        self.emit(Appended((entry,)))
        if isinstance(data, ConfChange):
            self.conf_index = entry.index
        self._due.update(self.peers)

    def _on_forward(self, message: ForwardProposal) -> None:
        if self.role != LEADER and self.leader not in (None, message.source):
            self._send(ForwardProposal(self.id, self.leader, 0, message.data))
            return
        lost = "NO_LEADER", facts(term=self.term)
        refusal = refusal_of(self, message.data) if self.role == LEADER else lost
        if refusal:
            self.emit(Refused("proposal", message.source, self.term, *refusal))
            self._send(ProposalRefused(self.id, message.source, 0, message.data, *refusal))
        else:
            self._append_own(message.data)

    def _send_due(self) -> None:
        """Send what was put off until now, so that all that came in one turn shares messages."""
        for peer in self.peers:
            if peer not in self._due:
                continue
            progress = self.progress[peer]
            if progress.may_send():
                more = self._send_append(peer, progress)
                while more and progress.next <= self.log.last_index and progress.may_send():
                    more = self._send_append(peer, progress)
        self._due.clear()

    def _send_append(self, peer: NodeId, progress: Progress) -> int:
        """Send what `peer` lacks, as much as fits a message; possibly only the commit index.
        Returns the number of entries."""
        log = self.log
        if progress.state == SNAPSHOT or progress.next <= log.base.index:
            self._send_snapshot(peer, progress)
            return 0
        prev = log.id(progress.next - 1)
        limit = self.config.max_entries_per_message
        entries = self.fit(peer, log.slice(progress.next, log.last_index, limit))
        if entries or progress.state == PROBE:
            progress.sent(prev.index + len(entries))
        progress.told = log.committed
        self._send(AppendEntries(self.id, peer, self.term, prev, entries, log.committed))
        return len(entries)

    def _send_snapshot(self, peer: NodeId, progress: Progress) -> None:
        """Send the next chunk of the snapshot that `peer` gets instead of compacted entries."""
        if progress.state != SNAPSHOT:
            progress.become_snapshot(self.fresh() if self.fresh else self.snapshot)
            self._tell_progress(peer)
        snapshot, start = progress.snapshot, progress.offset
        chunk = self.fit(peer, tuple(snapshot.data[start : start + self.config.chunk_records]))
        progress.sent(snapshot.last.index)
        part = (snapshot.last, snapshot.conf, start, chunk, len(snapshot.data))
        self._send(InstallSnapshot(self.id, peer, self.term, *part))

    def _tell_progress(self, peer: NodeId) -> None:
        known = self.progress[peer]
        self.emit(Progressed(peer, known.state, known.match, known.next))

    def _on_append_response(self, message: AppendResponse) -> None:
        peer, progress = message.source, self.progress.get(message.source)
        if progress is None:  # it does not lead, or talks to that node no more
            return
        progress.heard = self.now
        before = progress.state, progress.match, progress.next
        if message.rejected:
            # Entries newer than the hint's term cannot be in the follower's log: skip them all.
            shared = self.log.last_at_most(message.hint.index, message.hint.term)
            last = min(shared.index, message.hint.index)  # before the base: it needs a snapshot
            if progress.rejected(message.rejected, last + 1):
                self._due.add(peer)
        else:
            self._on_acked(peer, progress, message.match)
        if before != (progress.state, progress.match, progress.next):
            self._tell_progress(peer)

    def _on_acked(self, peer: NodeId, progress: Progress, match: Index) -> None:
        if progress.acked(match):
            self._maybe_commit()
        if progress.may_replicate(self.log.base.index):
            progress.become_replicate()
        # While nothing could be sent, it may also have missed a commit.
        if progress.next <= self.log.last_index or progress.told < self.log.committed:
            self._due.add(peer)
        if peer == self.transferee:
            self._hand_over(peer)

    def _on_snapshot_response(self, message: SnapshotResponse) -> None:
        peer, progress = message.source, self.progress.get(message.source)
        if progress is None:  # it does not lead, or talks to that node no more
            return
        progress.heard = self.now
        if progress.state == SNAPSHOT and progress.snapshot.last == message.last:
            if progress.chunk_acked(message.offset):
                self._due.add(peer)
            elif progress.state == PROBE:
                self._tell_progress(peer)

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

    def _lead_on(self) -> None:
        """A heartbeat is due: time to see whether it still makes sense to lead."""
        if self.now >= self.transfer_due:
            self._abort_transfer()
        if self.config.check_quorum and not self.quorum_active():
            known = facts(ticks=self.config.election_ticks)
            self._become_follower(self.term, None, "QUORUM_LOST", known)
        else:
            self._broadcast_heartbeat()

    def _broadcast_heartbeat(self) -> None:
        self.deadline = self.now + self.config.heartbeat_ticks
        number = self.reads.leave()
        for peer in self.peers:
            beat = self.commit_for(peer), number, self.now
            self._send(Heartbeat(self.id, peer, self.term, *beat))

    def _on_heartbeat_response(self, message: HeartbeatResponse) -> None:
        peer, progress = message.source, self.progress.get(message.source)
        if progress is None:  # it does not lead, or talks to that node no more
            return
        progress.heard = self.now
        progress.proven = max(progress.proven, message.sent)
        if progress.match < self.log.last_index or progress.state == PROBE:
            progress.stuck()
            self._due.add(peer)
        if message.context:
            self._serve_reads(self.reads.ack(peer, message.context, self.read_quorum))

    # Transfer and members (thesis 3.10, 4) ----------------------------------------------------

    def _hand_over(self, to: NodeId) -> None:
        """Let the next leader stand as soon as it has everything."""
        if self.progress[to].match == self.log.last_index:
            self.named_successor = True
            self._send(TimeoutNow(self.id, to, self.term))
        else:
            self._due.add(to)

    def _abort_transfer(self) -> None:
        if self.transferee is not None:
            self.emit(TransferAborted(self.transferee))
            self.dropped.append((None, "TRANSFER_ABORTED", facts(to=self.transferee)))
        self.transferee = None

    def _count_by(self, conf: ConfState) -> None:
        """Another configuration counts from now on; a leader starts or stops talking to some."""
        self.conf = conf
        self.peers = tuple(member for member in conf.members if member != self.id)
        self.emit(ConfChanged(conf))
        if self.role != LEADER:
            return
        self._track_peers()
        if not conf.votes(self.transferee):
            self._abort_transfer()
        if self.config.step_down_on_removal and not conf.votes(self.id):
            self._become_follower(self.term, None, "REMOVED", facts(conf=conf))
            return
        self._maybe_commit()  # fewer voters may be a majority already
        self._serve_reads(self.reads.recount(self.read_quorum))

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
        elif self.holds_lease():
            self.emit(ReadConfirmed(self.log.committed, (), 1))
            self._serve_read(origin, context, self.log.committed)
        elif self.reads.ask(origin, context, self.log.committed, self.id):
            self._broadcast_heartbeat()
            # Its own word counts too, and is enough where nobody else has a vote.
            self._serve_reads(self.reads.ack(self.id, self.reads.number, self.read_quorum))

    def _serve_reads(self, rounds: list) -> None:
        for round in rounds:
            self.emit(ReadConfirmed(round.index, tuple(sorted(round.acks)), len(round.asked)))
            for origin, context in round.asked:
                self._serve_read(origin, context, round.index)
        if self.reads.due:  # some came while this round was on its way
            self._broadcast_heartbeat()

    def _serve_read(self, origin: NodeId, context: Any, index: Index) -> None:
        if origin == self.id:
            self.read_states.append(ReadState(context, index))
        else:
            self._send(ReadIndexResponse(self.id, origin, 0, context, index))
