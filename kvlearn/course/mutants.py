"""Broken Rafts: each overrides one rule, and each breaks a promise.

What a rule is for is best seen where it is missing. So every rule of `kvlearn/raft/rules.py` has a
subclass here that gets it wrong in the way in which people do, and a *witness*: a transcript in
which nothing but that one rule decides whether a promise is kept. `Cluster(raft=CommitsOldTerms)`,
`Cluster(raft={"n1": VotesTwice})`, or `cluster 5 raft=CommitsOldTerms` in a transcript.

>>> print(MUTANTS["VotesTwice"].rule, "|", MUTANTS["VotesTwice"].promise)
may_vote_for | Election Safety

Tests convict each mutant by its witness, and acquit the reference by all of them.

Source: the idea is that of dslabs' incorrect implementations.
"""

from __future__ import annotations

from kvlearn.check.service import LEADER_ACTIVITY, LEADER_STABILITY, NO_STALE_READ
from kvlearn.events import Appended, Truncated
from kvlearn.raft import quorum
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ConfState, Entry, EntryID, HardState, Index, NodeId


class VotesTwice(Raft):
    """Grants every request of its term: two candidates get a majority each (5.2)."""

    rule = "may_vote_for"
    promise = "Election Safety"
    witness = "votes_twice"

    def may_vote_for(self, candidate: NodeId) -> bool:
        return True


class ForgetsVote(Raft):
    """Keeps its vote in memory only: after a restart it votes again in the same term (5.1)."""

    rule = "hard_state"
    promise = "Election Safety"
    witness = "vote_survives_restart"

    def hard_state(self) -> HardState:
        return HardState(self.term, None, self.log.committed)


class VotesForStaleLogs(Raft):
    """Does not compare logs: who lacks committed entries may lead, and overwrites them (5.4.1)."""

    rule = "is_up_to_date"
    promise = "Leader Completeness"
    witness = "votes_for_stale_logs"

    def is_up_to_date(self, last: EntryID) -> bool:
        return True


class WinsWithoutMajority(Raft):
    """Leads when half of the nodes have voted for it, so two halves elect two leaders (5.2)."""

    rule = "election_result"
    promise = "Election Safety"
    witness = "wins_without_majority"

    def election_result(self) -> str:
        granted = sum(self.votes.values())
        return quorum.WON if 2 * granted >= len(self.conf.voters) else quorum.PENDING


class TrustsAnyPrev(Raft):
    """Takes entries wherever they fit by number, whatever precedes them in its log (5.3)."""

    rule = "log_matches"
    promise = "Log Matching"
    witness = "trusts_any_prev"

    def log_matches(self, prev: EntryID) -> bool:
        return prev.index <= self.log.last_index


class TruncatesAlways(Raft):
    """Replaces all that follows `prev` by what the message holds: a late one removes entries that
    the node has promised to keep (5.3)."""

    rule = "store_entries"
    promise = "Leader Completeness"
    witness = "late_append"

    def store_entries(self, entries: tuple[Entry, ...]) -> None:
        """Cuts, whether or not an entry differs."""
        if not entries:
            return
        after = entries[0].index - 1
        if gone := self.log.cut_after(after):
            self.emit(Truncated(after, tuple(entry.id for entry in gone), entries[0].id))
        self.emit(Appended(entries))
        self.log.append(entries)


class CountsMinority(Raft):
    """Commits with one node less than a majority: the others may elect who lacks it (5.3)."""

    rule = "quorum_index"
    promise = "Leader Completeness"
    witness = "counts_minority"

    def quorum_index(self) -> Index:
        match = [self.own_match()] + [progress.match for progress in self.progress.values()]
        return sorted(match, reverse=True)[len(match) // 2 - 1] if len(match) > 1 else match[0]


class CommitsOldTerms(Raft):
    """Commits an entry of an old term because a majority has it: figure 8 (5.4.2)."""

    rule = "may_commit"
    promise = "Leader Completeness"
    witness = "figure_8"

    def may_commit(self, index: Index) -> bool:
        return True


class CommitsBlindly(Raft):
    """Tells its commit index to followers whose log may still be another one (5.3)."""

    rule = "commit_for"
    promise = "State Machine Safety"
    witness = "commits_blindly"

    def commit_for(self, peer: NodeId) -> Index:
        return self.log.committed


class CountsUnsaved(Raft):
    """Counts itself before its disk has answered: a crash takes a committed entry (10.2.1)."""

    rule = "own_match"
    promise = "Leader Completeness"
    witness = "slow_disk"

    def own_match(self) -> Index:
        return self.log.last_index


class ReadsTooEarly(Raft):
    """Serves reads before it has committed in its term: it may not know yet what is (6.4)."""

    rule = "may_read"
    promise = NO_STALE_READ
    witness = "read_on_new_leader"

    def may_read(self) -> bool:
        return True


class ReadsWithoutAsking(Raft):
    """Serves reads without asking whether it still leads: a deposed leader does not know (6.4)."""

    rule = "read_quorum"
    promise = NO_STALE_READ
    witness = "read_index"

    def read_quorum(self, acks: set[NodeId]) -> bool:
        return True


class CountsOnlyNew(Raft):
    """Elects by the new half of a joint configuration alone: the old half elects another (4.3)."""

    rule = "election_result"
    promise = "Election Safety"
    witness = "counts_only_new"

    def election_result(self) -> str:
        return quorum.vote_result(ConfState(self.conf.voters), self.votes)


class CommitsByNew(Raft):
    """Commits by the new half of a joint configuration alone: the old may not have it (4.3)."""

    rule = "quorum_index"
    promise = "Leader Completeness"
    witness = "commits_by_new"

    def quorum_index(self) -> Index:
        match = {self.id: self.own_match()} | {p: self.progress[p].match for p in self.progress}
        return quorum.committed_index(ConfState(self.conf.voters), match.get)


class ChangesAtOnce(Raft):
    """Changes members again before the last change is applied: two majorities that share nobody,
    as in the bug of 2015 (4.1)."""

    rule = "may_reconfigure"
    promise = "Election Safety"
    witness = "changes_at_once"

    def may_reconfigure(self) -> bool:
        return True


class HelpsDisturbers(Raft):
    """Votes in any newer term, even while it hears a leader: whoever comes back from a cut-off
    place deposes the leader (4.2.3)."""

    rule = "in_lease"
    promise = LEADER_STABILITY
    witness = "helps_disturbers"

    def in_lease(self) -> bool:
        return False


class LeadsAlone(Raft):
    """Never asks itself who still answers: cut off, it leads on, and its clients wait (6.2)."""

    rule = "quorum_active"
    promise = LEADER_ACTIVITY
    witness = "leads_alone"

    def quorum_active(self) -> bool:
        return True


class ReadsForEver(Raft):
    """Takes its lease for endless: cut off, it serves what was true once (6.4.1)."""

    rule = "holds_lease"
    promise = NO_STALE_READ
    witness = "reads_for_ever"

    def holds_lease(self) -> bool:
        return self.config.lease_reads


class ReadsWhileHandingOver(Raft):
    """Relies on its lease although it told another to stand, who need not wait for it (3.10)."""

    rule = "holds_lease"
    promise = NO_STALE_READ
    witness = "reads_while_handing_over"

    def holds_lease(self) -> bool:
        proven = {peer: progress.proven for peer, progress in self.progress.items()}
        lease = quorum.committed_index(self.conf, {**proven, self.id: self.now}.get)
        return self.config.lease_reads and self.now - lease < self.config.lease_ticks


class TakesOldSnapshots(Raft):
    """Takes over any snapshot, also one that is older than what it has done already (section 7)."""

    rule = "wants_snapshot"
    promise = "State Machine Safety"
    witness = "takes_old_snapshots"

    def wants_snapshot(self, last: EntryID) -> bool:
        return True


MUTANTS: dict[str, type[Raft]] = {
    mutant.__name__: mutant
    for mutant in (
        VotesTwice,
        ForgetsVote,
        VotesForStaleLogs,
        WinsWithoutMajority,
        TrustsAnyPrev,
        TruncatesAlways,
        CountsMinority,
        CommitsOldTerms,
        CommitsBlindly,
        CountsUnsaved,
        ReadsTooEarly,
        ReadsWithoutAsking,
        CountsOnlyNew,
        CommitsByNew,
        ChangesAtOnce,
        HelpsDisturbers,
        LeadsAlone,
        ReadsForEver,
        ReadsWhileHandingOver,
        TakesOldSnapshots,
    )
}
