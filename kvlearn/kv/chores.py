"""What time alone makes a node do: watchers catch up, a sweep goes on, leases run out, history is
given up.

Nothing here changes what is replicated. What has to change (a lease is over, history shall go) is
*proposed*, and happens when it comes back through the log. Only a leader's clock counts leases and
compacts; every node serves its own watchers and sweeps its own backend.

Source: etcd server/lease/lessor.go (runLoop, checkpointScheduledLeases), mvcc/watchable_store.go
(syncWatchersLoop), api/v3compactor (periodic.go, revision.go). Differs: one list of due times
instead of a goroutine each.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from kvlearn.events import Event, LeaseExpired, LeasesCounted
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import Compact, LeaseCheckpoint, LeaseRevoke
from kvlearn.kv.machine import KVMachine
from kvlearn.mvcc.watch import WatchHub

REVISIONS_LOOK_S = 300.0  # etcd looks every 5 minutes how many revisions there are
LONGEST_PERIOD_S = 3600.0  # a longer history is given up in steps of an hour
SAMPLES = 10  # of the revision, in a period


class Chores:
    """Times are seconds of the node's own clock. Invariant: `due_s` is not after the moment at
    which something has to be done."""

    def __init__(
        self,
        machine: KVMachine,
        hub: WatchHub,
        config: StoreConfig,
        retry_s: float,
        emit: Callable[[Event], Any],
    ):
        """`retry_s`: when a proposal that was dropped is made again (an election timeout)."""
        self.machine, self.hub, self.config, self.retry_s = machine, hub, config, retry_s
        self.emit = emit
        self.due_s = inf
        self.leads_term = 0  # the term whose leader counts here; 0: this node does not lead
        self._revoking: dict[int, float] = {}  # lease -> when its end is proposed again, if ever
        self._checkpoint_s = self._sync_s = self._progress_s = self._sweep_s = inf
        self._samples: list[tuple[float, int]] = []  # (when, revision), oldest first
        self._sample_s = self._compact_s = inf

    def start(self, now: float) -> None:
        """The node's clock begins."""
        period = self.config.compact_every_s
        if period:
            self._sample_s = now
            self._compact_s = now + period
        elif self.config.compact_behind:
            self._compact_s = now + REVISIONS_LOOK_S
        self.plan(now)

    # Who counts -------------------------------------------------------------------------------

    def lead(self, term: int, now: float) -> None:
        """This node leads `term` and has applied all that came before: it counts the leases."""
        lessor = self.machine.lessor
        self.leads_term = term
        self._revoking = {}
        lessor.promote(now, self.retry_s)
        left = tuple((id, round(lessor.remaining(id, now), 6)) for id in sorted(lessor.leases))
        if left:
            self.emit(LeasesCounted(term, left))
        self._checkpoint_s = now + self.config.checkpoint_s if self.config.checkpoint_s else inf
        self.plan(now)

    def follow(self) -> None:
        """Another node leads, or nobody does."""
        self.leads_term = 0
        self._checkpoint_s = inf
        self.machine.lessor.demote()

    def granted(self, id: int, now: float) -> None:
        """A lease was applied here; on the leader its time begins."""
        if self.leads_term:
            self.machine.lessor.started(id, now)
            self.look_at(id)

    def look_at(self, id: int) -> None:
        """The lease may run out before anything else is due."""
        self.due_s = min(self.due_s, self.machine.lessor.leases[id].expiry_s)

    # The round --------------------------------------------------------------------------------

    def plan(self, now: float) -> None:
        """Find out when something is due next."""
        hub, config = self.hub, self.config
        self._sync_s = min(self._sync_s, now + config.sync_s) if hub.can_sync else inf
        progress_s = min(self._progress_s, now + config.progress_s)
        self._progress_s = progress_s if hub.wants_progress else inf
        self._sweep_s = now if self.machine.store.sweeping else inf
        self.due_s = min(self._sync_s, self._progress_s, self._sweep_s, self._expiry_s())
        self.due_s = min(self.due_s, self._checkpoint_s, self._sample_s, self._compact_s)

    def _expiry_s(self) -> float:
        if not self.leads_term:
            return inf
        asked, leases = self._revoking, self.machine.lessor.leases
        return min((max(one.expiry_s, asked.get(id, 0)) for id, one in leases.items()), default=inf)

    def work(self, now: float) -> list[Any]:
        """Do what is due; returns the requests that have to go through the log."""
        wanted: list[Any] = []
        if self._sync_s <= now:
            self.hub.sync()
            self._sync_s = inf
        if self._progress_s <= now:
            self.hub.progress()
            self._progress_s = inf
        if self._sweep_s <= now:
            self.machine.store.sweep(self.config.sweep_records)
            self.machine.commit()
        if self.leads_term:
            wanted += self._ended(now) + self._noted(now)
        if self._sample_s <= now:
            self._samples.append((now, self.machine.revision))
            self._sample_s = now + self._period_s / SAMPLES
        if self._compact_s <= now:
            wanted += self._given_up(now)
        self.plan(now)
        return wanted

    def _ended(self, now: float) -> list[LeaseRevoke]:
        lessor = self.machine.lessor
        ended = [id for id in lessor.expired(now) if self._revoking.get(id, 0) <= now]
        for id in ended:
            if id not in self._revoking:
                self.emit(LeaseExpired(id, lessor.leases[id].ttl_s))
            # Once it is in the log it stays there. A second one could come behind the grant of
            # another lease of the same name, and end that.
            self._revoking[id] = inf
        return [LeaseRevoke(id) for id in ended]

    def dropped(self, request: Any, now: float) -> None:
        """A request of `work` did not get into the log: the next round asks again."""
        if isinstance(request, LeaseRevoke):
            self._revoking[request.id] = now + self.retry_s
            self.plan(now)

    def revoked(self, id: int) -> None:
        """The lease's end was applied."""
        self._revoking.pop(id, None)

    def _noted(self, now: float) -> list[LeaseCheckpoint]:
        if self._checkpoint_s > now:
            return []
        # Looked at more often than it is noted: leases begin at any time.
        self._checkpoint_s = now + self.config.checkpoint_s / SAMPLES
        due = self.machine.lessor.due_checkpoints(now, self.config.checkpoint_s)
        return [LeaseCheckpoint(tuple(due))] if due else []

    @property
    def _period_s(self) -> float:
        return min(self.config.compact_every_s, LONGEST_PERIOD_S)

    def _given_up(self, now: float) -> list[Compact]:
        """History beyond what shall be kept; only a leader says so."""
        if self.config.compact_every_s:
            self._compact_s = now + self._period_s
            horizon = now - self.config.compact_every_s
            old = [sample for sample in self._samples if sample[0] <= horizon]
            self._samples = self._samples[max(len(old) - 1, 0) :]
            revision = old[-1][1] if old else 0
        else:
            self._compact_s = now + REVISIONS_LOOK_S
            revision = self.machine.revision - self.config.compact_behind
        wanted = self.leads_term and revision > max(self.machine.store.compacted, 1)
        return [Compact(revision)] if wanted else []
