"""What time makes a node do: when it is due, what is asked for, and that nothing is forgotten."""

from math import inf

import pytest

from kvlearn.events import LeaseExpired, LeasesCounted
from kvlearn.kv.chores import LONGEST_PERIOD_S, REVISIONS_LOOK_S, SAMPLES, Chores
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import Compact, LeaseCheckpoint, LeaseGrant, LeaseRevoke
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, Put
from kvlearn.mvcc.backend import MemoryBackend

RETRY_S = 1.0


class Stand:
    """Chores with a machine, without a node: the log is whatever `apply` says."""

    def __init__(self, **config):
        config = StoreConfig(**config)
        self.machine = KVMachine(MemoryBackend(), config)
        self.hub = config.hub(self.machine.store, config.watch_queue, config.watch_batch)
        self.told = []
        self.chores = Chores(self.machine, self.hub, config, RETRY_S, self.told.append)
        self.chores.start(0.0)

    def apply(self, request, now):
        index = self.machine.applied + 1
        result, error = self.machine.apply(index, 1, Command("n1", index, request))
        self.hub.notify(self.machine.changes)
        match request:
            case LeaseGrant(id=id) if not error:
                self.chores.granted(id, now)
            case LeaseRevoke(id) if not error:
                self.chores.revoked(id)
        self.chores.plan(now)
        return result, error

    def until(self, end, apply=True):
        """Work whenever something is due, as a node does; what was asked for, and when."""
        asked = []
        while self.chores.due_s <= end:
            now = self.chores.due_s
            wanted = self.chores.work(now)
            assert self.chores.due_s > now or self.machine.store.sweeping, "time has to go on"
            for request in wanted:
                asked.append((round(now, 6), request))
                if apply:
                    self.apply(request, now)
        return asked


def test_nothing_to_do_is_never_due():
    assert Stand().chores.due_s == inf


# Leases ---------------------------------------------------------------------------------------


def test_leases_run_out_in_their_order():
    stand = Stand()
    stand.chores.lead(1, 10.0)
    for id, ttl_s in ((1, 9), (2, 4), (3, 9)):
        stand.apply(LeaseGrant(ttl_s, id), 10.0 + id)
    asked = stand.until(100.0)
    assert asked == [(16.0, LeaseRevoke(2)), (20.0, LeaseRevoke(1)), (22.0, LeaseRevoke(3))]
    assert stand.told == [LeaseExpired(2, 4), LeaseExpired(1, 9), LeaseExpired(3, 9)]
    assert stand.chores.due_s == inf


def test_who_does_not_lead_counts_nothing():
    stand = Stand()
    stand.apply(LeaseGrant(5, 1), 0.0)
    assert stand.until(100.0) == [] and stand.chores.due_s == inf
    stand.chores.lead(2, 100.0)
    assert stand.told == [LeasesCounted(2, ((1, 5.0 + RETRY_S),))]
    stand.chores.follow()
    stand.chores.plan(101.0)
    assert stand.until(200.0) == []


def test_an_end_is_asked_for_once():
    """It is in the log from then on, however long its commit takes."""
    stand = Stand()
    stand.chores.lead(1, 0.0)
    stand.apply(LeaseGrant(5, 1), 0.0)
    assert stand.until(100.0, apply=False) == [(5.0, LeaseRevoke(1))]
    assert stand.told == [LeaseExpired(1, 5)]


def test_an_end_that_was_dropped_is_asked_for_again():
    stand = Stand()
    stand.chores.lead(1, 0.0)
    stand.apply(LeaseGrant(5, 1), 0.0)
    for now in (5.0, 6.0, 7.0):
        assert stand.until(now, apply=False) == [(now, LeaseRevoke(1))]
        stand.chores.dropped(LeaseRevoke(1), now)
    stand.apply(LeaseRevoke(1), 7.5)
    assert stand.until(100.0) == [] and stand.told == [LeaseExpired(1, 5)]


def test_a_new_term_asks_anew():
    stand = Stand()
    stand.chores.lead(1, 0.0)
    stand.apply(LeaseGrant(5, 1), 0.0)
    stand.until(5.0, apply=False)
    stand.chores.follow()
    stand.chores.lead(3, 6.0)
    assert stand.until(100.0) == [(6.0 + 5 + RETRY_S, LeaseRevoke(1))]


def test_the_next_lease_of_the_same_name_runs_out_too():
    stand = Stand()
    stand.chores.lead(1, 0.0)
    for start in (0.0, 50.0):
        stand.apply(LeaseGrant(5, 1), start)
        assert stand.until(start + 20) == [(start + 5.0, LeaseRevoke(1))]


def test_dropping_anything_else_changes_nothing():
    stand = Stand()
    stand.chores.dropped(Compact(5), 1.0)
    stand.chores.dropped(LeaseCheckpoint(()), 1.0)
    assert stand.chores.due_s == inf


def test_checkpoints_count_down():
    stand = Stand(checkpoint_s=10.0)
    stand.chores.lead(1, 0.0)
    stand.apply(LeaseGrant(45, 1), 0.5)
    asked = stand.until(44.0)
    assert [left for _, LeaseCheckpoint_ in asked for left in LeaseCheckpoint_.left] == [
        (1, 35),
        (1, 25),
        (1, 15),
        (1, 5),
    ]
    times = [now for now, _ in asked]
    assert all(9.9 < b - a < 12 for a, b in zip([0.5, *times], times))


# Watchers, sweeps -----------------------------------------------------------------------------


def test_watchers_catch_up_step_by_step():
    stand = Stand(sync_s=0.5, watch_batch=4)
    for k in range(10):
        stand.apply(Put(b"a", b"%d" % k), 1.0)
    stand.hub.create("s", b"a", start_revision=2)
    stand.chores.plan(2.0)
    seen = []
    for now in (2.5, 3.0, 3.5):
        assert stand.chores.due_s == now
        stand.chores.work(now)
        seen.append(sum(len(one.events) for one in stand.hub.take("s")))
    assert seen == [4, 4, 2] and stand.chores.due_s == inf


def test_who_has_no_room_is_not_waited_for():
    stand = Stand(watch_queue=1)
    stand.apply(Put(b"a", b"1"), 1.0)
    stand.hub.create("s", b"a", start_revision=2)
    stand.chores.plan(1.0)
    assert stand.chores.due_s == inf, "the created answer fills the queue"
    stand.hub.take("s")
    stand.chores.plan(5.0)
    assert stand.chores.due_s == 5.1


def test_progress_is_told_while_somebody_wants_it():
    stand = Stand(progress_s=60.0)
    stand.hub.create("s", b"a", progress_notify=True)
    stand.chores.plan(3.0)
    stand.chores.plan(40.0)
    assert stand.chores.due_s == 63.0, "planning again puts nothing off"
    stand.until(200.0)
    assert len([one for one in stand.hub.take("s") if not one.created]) == 3
    stand.hub.close("s")
    stand.chores.plan(200.0)
    assert stand.chores.due_s == inf


def test_a_sweep_goes_on_until_nothing_is_left():
    stand = Stand(sweep_records=3)
    for k in range(20):
        stand.apply(Put(b"a", b"%d" % k), 1.0)
    stand.apply(Compact(21), 2.0)
    steps = 0
    while stand.chores.due_s < inf:
        stand.chores.work(2.0 + steps)
        steps += 1
    assert steps > 5 and not stand.machine.store.sweeping
    assert len(list(stand.machine.backend.range())) == 1
    assert not KVMachine(stand.machine.backend).store.sweeping, "a restart finds nothing to do"


def test_each_step_of_a_sweep_is_durable():
    """A crash after it takes back nothing that other parts of the node rely on."""
    stand = Stand(sweep_records=3)
    for k in range(9):
        stand.apply(Put(b"a", b"%d" % k), 1.0)
    stand.apply(Compact(10), 2.0)
    stand.machine.commit()
    before = stand.machine.save()
    stand.chores.work(2.0)
    stand.machine.backend.rollback()
    again = KVMachine(stand.machine.backend)
    assert again.save() == before and again.store.sweeping
    assert len(list(again.backend.range())) < 9


# History given up -----------------------------------------------------------------------------


def test_revisions_are_counted_every_five_minutes():
    stand = Stand(compact_behind=5)
    stand.chores.lead(1, 0.0)
    for k in range(20):
        stand.apply(Put(b"a"), 1.0)
    assert stand.until(3 * REVISIONS_LOOK_S) == [(REVISIONS_LOOK_S, Compact(16))]
    for k in range(3):
        stand.apply(Put(b"a"), 1000.0)
    assert stand.until(4 * REVISIONS_LOOK_S) == [(4 * REVISIONS_LOOK_S, Compact(19))]


@pytest.mark.parametrize("config", [{"compact_behind": 5}, {"compact_every_s": 50.0}])
def test_only_who_leads_gives_history_up(config):
    stand = Stand(**config)
    for k in range(20):
        stand.apply(Put(b"a"), 1.0)
    assert stand.until(2000.0) == []
    stand.chores.lead(1, 2000.0)
    ((_, compact),) = stand.until(2400.0)
    assert compact == Compact(16 if "compact_behind" in config else 21)


def test_young_history_is_kept():
    stand = Stand(compact_every_s=100.0)
    stand.chores.lead(1, 0.0)
    revision_at = {}
    for now in range(1, 1000, 3):
        stand.apply(Put(b"a"), float(now))
        revision_at[now] = stand.machine.revision
        for when, request in stand.until(float(now)):
            newest = max(
                made for made, revision in revision_at.items() if revision <= request.revision
            )
            assert when - newest >= 100.0 - 3
            assert when - newest <= 100.0 + 100.0 / SAMPLES + 6
    assert stand.machine.store.compacted > 250
    assert len(stand.chores._samples) < 40, "what is too old to matter is forgotten"


def test_a_long_history_is_given_up_in_steps_of_an_hour():
    stand = Stand(compact_every_s=10 * LONGEST_PERIOD_S)
    stand.chores.lead(1, 0.0)
    compacted = []
    for hour in range(20):
        stand.apply(Put(b"a"), hour * 3600.0)
        compacted += stand.until(hour * 3600.0 + 3599.0)
    gaps = [b - a for (a, _), (b, _) in zip(compacted, compacted[1:])]
    assert len(compacted) >= 8 and set(gaps) == {3600.0}
    assert compacted[0][0] >= 10 * 3600.0


def test_an_idle_store_is_not_compacted_again_and_again():
    stand = Stand(compact_every_s=50.0)
    stand.chores.lead(1, 0.0)
    for k in range(5):
        stand.apply(Put(b"a"), 1.0)
    assert [request for _, request in stand.until(5000.0)] == [Compact(6)]
    fresh = Stand(compact_every_s=50.0, compact_behind=3)
    fresh.chores.lead(1, 0.0)
    assert fresh.until(5000.0) == []
