"""The promises to holders of leases: stories that must be acquitted, and stories that must not."""

from __future__ import annotations

import pytest

from kvlearn import Cluster
from kvlearn.check.leases import EXPIRY, LEASE_PROMISES, ONE_REVISION, SAFETY, leases
from kvlearn.events import (
    Appended,
    Applied,
    BecameFollower,
    BecameLeader,
    Invoked,
    LeaseExpired,
    LeaseRenewed,
    LeasesCounted,
    LinksChanged,
    Notified,
    Returned,
)
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import (
    LeaseCheckpoint,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
)
from kvlearn.kv.requests import Command, DeleteRange, Put, Range, RangeResult
from kvlearn.mvcc.revision import KeyValue
from kvlearn.mvcc.watch import KVEvent, WatchResponse
from kvlearn.raft.types import Entry
from kvlearn.trace import Trace

TTL_S = 5


class Story:
    """A story by hand. n1 leads term 1 and ticks ten times a second; an election takes a second."""

    def __init__(self):
        about = {"config": {"tick_s": 0.1, "election_ticks": 10}}
        self.trace = Trace(7, about)
        self.now = 0.0
        self.index = 0
        self.revision = 1
        self.op_id = 0
        self.tell("n1", BecameLeader(1, ("n1",), None))
        self.log(None)

    def tell(self, who, event):
        self.trace.add(self.now, who, event, None)

    def log(self, request, changes=False, op_id=None, error="", node="n1"):
        self.index += 1
        self.revision += changes
        number = self.op_id if op_id is None else op_id
        command = None if request is None else Command("n1", number, request)
        self.tell(node, Applied(self.index, 1, command, self.revision, error))

    def ask(self, request, result, changes=False, logged=True, after_s=0.0):
        self.op_id += 1
        self.tell("c1", Invoked(self.op_id, "n1", request))
        self.now += after_s
        if logged:
            self.log(request, changes)
        self.tell("c1", Returned(self.op_id, "n1", result, self.revision))

    def grant(self):
        self.ask(LeaseGrant(TTL_S, 7), LeaseResult(7, TTL_S))

    def keep(self, after_s=0.0, ttl_s=TTL_S):
        self.op_id += 1
        self.tell("c1", Invoked(self.op_id, "n1", LeaseKeepAlive(7)))
        self.now += after_s
        if ttl_s:
            self.tell("n1", LeaseRenewed(7, ttl_s))
        self.tell("c1", Returned(self.op_id, "n1", LeaseResult(7, ttl_s), self.revision))

    def claim(self, node="n1"):
        self.tell(node, LeaseExpired(7, TTL_S))

    def end(self, keys=0):
        self.log(LeaseRevoke(7), bool(keys), op_id=0)

    def broken(self):
        return [verdict.promise for verdict in leases(self.trace).broken]


def test_a_lease_that_has_had_its_time():
    story = Story()
    story.grant()
    story.ask(Put(b"a", b"1", 7), None, changes=True)
    story.now += TTL_S
    story.claim()
    story.end(keys=1)
    verdicts = leases(story.trace)
    assert verdicts.ok
    assert [verdict.promise for verdict in verdicts] == list(LEASE_PROMISES)
    assert "1 lease ended, 1 by itself" in verdicts[SAFETY].why


@pytest.mark.parametrize(("passed_s", "broken"), [(4.9, [SAFETY]), (5.0, []), (5.2, [])])
def test_the_time_counts_from_the_grant(passed_s, broken):
    story = Story()
    story.grant()
    story.now += passed_s
    story.claim()
    story.end()
    assert story.broken() == broken


@pytest.mark.parametrize(("asked_s", "broken"), [(0.0, [SAFETY]), (0.5, [])])
def test_a_keep_alive_counts_from_when_it_was_asked(asked_s, broken):
    """What lies between the question and its answer is no promise to the holder."""
    story = Story()
    story.grant()
    story.now += 4.0
    story.keep(after_s=asked_s)
    story.now += 4.5
    story.claim()
    story.end()
    assert story.broken() == broken


def test_a_no_promises_nothing():
    story = Story()
    story.grant()
    story.now += TTL_S
    story.claim()
    story.keep(ttl_s=0)
    story.end()
    assert story.broken() == []


def test_a_yes_behind_the_claim_is_a_broken_promise():
    story = Story()
    story.grant()
    story.now += TTL_S
    story.claim()
    story.keep()
    story.end()
    assert story.broken() == [SAFETY]


def test_an_end_that_nobody_claimed():
    story = Story()
    story.grant()
    story.now += 1.0
    story.end()
    assert "has not run out there" in leases(story.trace)[SAFETY].why


def test_who_revokes_needs_no_time():
    story = Story()
    story.grant()
    story.ask(LeaseRevoke(7), LeaseResult(7))
    assert story.broken() == []


@pytest.mark.parametrize(("rate", "broken"), [(1.0, [SAFETY]), (1.25, []), (0.8, [SAFETY])])
def test_it_is_the_leaders_clock_that_counts(rate, broken):
    story = Story()
    story.tell("n1", LinksChanged("clock rate", rate))
    story.grant()
    story.now += TTL_S / 1.25
    story.claim()
    story.end()
    assert story.broken() == broken


@pytest.mark.parametrize(("noted", "broken"), [(True, []), (False, [SAFETY])])
def test_with_a_note_several_clocks_have_counted(noted, broken):
    """n2 was quick, and what it noted counts, although n1 is right."""
    story = Story()
    story.tell("n2", LinksChanged("clock rate", 2.0))
    story.grant()
    if noted:
        story.log(LeaseCheckpoint(((7, 2),)), op_id=0)
    story.now += 3.5
    story.claim()
    story.end()
    assert story.broken() == broken


@pytest.mark.parametrize(("passed_s", "broken"), [(6.1, []), (6.3, [EXPIRY])])
def test_a_leader_that_counts_is_not_late(passed_s, broken):
    """Five seconds, a second for the election, two ticks."""
    story = Story()
    story.grant()
    story.tell("n1", LeasesCounted(1, ((7, 6.0),)))
    story.now += passed_s
    story.claim()
    story.end()
    assert story.broken() == broken


@pytest.mark.parametrize("ends", [True, False])
def test_a_leader_that_never_claims(ends):
    story = Story()
    story.grant()
    story.keep()
    story.now += 1.0 if ends else 9.0
    story.tell("n1", BecameFollower(2, None, 10, "NEWER_TERM"))
    story.now += 9.0
    assert story.broken() == ([] if ends else [EXPIRY])


def test_a_cluster_by_hand_has_no_clocks():
    story = Story()
    story.trace.about["by_hand"] = True
    story.grant()
    story.now += 99.0
    story.tell("n1", BecameFollower(2, None, 10, "NEWER_TERM"))
    assert story.broken() == []


@pytest.mark.parametrize(("later_s", "broken"), [(2.9, []), (3.2, [EXPIRY])])
def test_the_end_comes_before_what_was_appended_much_later(later_s, broken):
    story = Story()
    story.grant()
    story.now += TTL_S
    story.claim()
    story.now += later_s
    put = Put(b"b", b"1")
    story.tell("n1", Appended((Entry(story.index + 1, 1, Command("n1", 9, put)),)))
    story.log(put, changes=True, op_id=9)
    assert story.broken() == broken


def two_keys() -> Story:
    story = Story()
    story.grant()
    story.ask(Put(b"a", b"1", 7), None, changes=True)
    story.ask(Put(b"b", b"1", 7), None, changes=True)
    story.ask(Put(b"b", b"2"), None, changes=True)
    story.now += TTL_S
    story.claim()
    return story


def test_keys_that_hang_on_it_go_and_others_stay():
    story = two_keys()
    story.end(keys=1)
    story.ask(Range(b"a"), RangeResult(), logged=False)
    left = RangeResult((KeyValue(b"b", b"2", 3, 4, 2, 0),), False, 1)
    story.ask(Range(b"b"), left, logged=False)
    gone = KVEvent("delete", KeyValue(b"a", b"", 0, 5, 0, 0))
    story.tell("n1", Notified("c1/w1", WatchResponse(0, 5, events=(gone,))))
    assert story.broken() == []


def test_a_key_that_outlives_its_lease():
    story = two_keys()
    story.end(keys=1)
    left = RangeResult((KeyValue(b"a", b"1", 2, 2, 1, 7),), False, 1)
    story.ask(Range(b"a"), left, logged=False)
    assert "a is there at revision 5" in leases(story.trace)[ONE_REVISION].why


def test_a_key_that_goes_with_a_lease_that_it_had_left():
    seen = two_keys()
    seen.end(keys=1)
    seen.ask(Range(b"b"), RangeResult(), logged=False)
    assert "it went with lease 7" in leases(seen.trace)[ONE_REVISION].why
    heard = two_keys()
    heard.end(keys=1)
    gone = tuple(KVEvent("delete", KeyValue(key, b"", 0, 5, 0, 0)) for key in (b"a", b"b"))
    heard.tell("n1", Notified("c1/w1", WatchResponse(0, 5, events=gone)))
    assert "b goes with lease 7" in leases(heard.trace)[ONE_REVISION].why


def test_an_end_without_a_revision():
    story = two_keys()
    story.end(keys=0)
    assert "would be at 5" in leases(story.trace)[ONE_REVISION].why


def test_a_deletion_by_somebody_else_is_no_end():
    story = two_keys()
    story.ask(DeleteRange(b"b"), None, changes=True)
    story.ask(DeleteRange(b"a"), None, changes=True)
    story.end(keys=0)
    gone = KVEvent("delete", KeyValue(b"a", b"", 0, 6, 0, 0))
    story.tell("n1", Notified("c1/w1", WatchResponse(0, 6, events=(gone,))))
    assert story.broken() == []


def test_a_log_with_a_gap_is_not_judged():
    story = Story()
    story.index += 1
    with pytest.raises(ValueError, match="what entry 2 of the log did"):
        story.log(None)
        leases(story.trace)


def test_a_note_is_taken_back_before_a_renewal_is_answered():
    """The holder says that it lives, the leader notes nothing any more and crashes: the next one
    gives the lease all of its time."""
    cluster = Cluster(3, seed=11, store=StoreConfig(checkpoint_s=2.0))
    client = cluster.client()
    lease = client.lease(20, id=7)
    cluster.run(15)
    lease.keep_alive_once()
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    cluster.run(15)
    assert client.leases().ids == (7,)
    assert leases(cluster.trace).ok
    cluster.run(15)
    assert client.leases().ids == ()


def test_a_renewal_right_after_an_election_is_not_late():
    """A new leader gives more than the whole time; a keep-alive brings it back to that."""
    cluster = Cluster(3, seed=12, store=StoreConfig(min_ttl_s=1))
    client = cluster.client()
    lease = client.lease(1, id=7)
    client.put("a", "1", lease=lease)
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    lease.keep_alive_once()
    cluster.run(1.3)
    assert client.leases().ids == ()
    assert leases(cluster.trace).ok
