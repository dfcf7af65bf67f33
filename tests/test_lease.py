"""The lessor: time is an argument, so every instant can be tried."""

from math import inf

import pytest

from kvlearn.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge
from kvlearn.lease import MAX_TTL_S, Lessor


@pytest.fixture
def lessor() -> Lessor:
    """Leads since 100 s; lease 1 of 10 s, lease 2 of 20 s, lease 3 of 10 s, granted at once."""
    lessor = Lessor()
    lessor.promote(100.0)
    for id, ttl_s in ((3, 10), (2, 20), (1, 10)):
        lessor.grant(id, ttl_s)
        lessor.started(id, 100.0)
    return lessor


# Granting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("min_ttl_s", "asked", "granted"),
    [(2, 5, 5), (2, 2, 2), (2, 1, 2), (2, 0, 2), (2, -7, 2), (5, 4, 5), (2, MAX_TTL_S, MAX_TTL_S)],
)
def test_a_short_time_is_raised(min_ttl_s, asked, granted):
    assert Lessor(min_ttl_s).grant(1, asked).ttl_s == granted


@pytest.mark.parametrize("id", [1, -1, 2**63 - 1, -(2**63)])
def test_any_number_can_be_an_id_once(id):
    lessor = Lessor()
    lessor.grant(id, 10)
    with pytest.raises(LeaseExists) as caught:
        lessor.grant(id, 20)
    assert (caught.value.code, caught.value.text) == (
        "FAILED_PRECONDITION",
        "etcdserver: lease already exists",
    )
    assert lessor.leases[id].ttl_s == 10
    lessor.revoke(id)
    assert lessor.grant(id, 20).ttl_s == 20


def test_a_time_that_no_clock_could_count(lessor):
    for id in (9, 1):  # told before the id is looked at
        with pytest.raises(LeaseTtlTooLarge) as caught:
            lessor.grant(id, MAX_TTL_S + 1)
    assert (caught.value.code, caught.value.text) == (
        "OUT_OF_RANGE",
        "etcdserver: too large lease TTL",
    )
    assert 9 not in lessor.leases


# Who has to go ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "gone"),
    [
        (100.0, []),
        (109.999, []),
        (110.0, [1, 3]),
        (119.999, [1, 3]),
        (120.0, [1, 3, 2]),
        (1e9, [1, 3, 2]),
    ],
)
def test_a_lease_ends_when_its_whole_time_has_passed(lessor, now, gone):
    assert lessor.expired(now) == gone, "soonest first; of equals the smaller id"
    assert [id for id in lessor.leases if not lessor.lives(id, now)] == sorted(gone, reverse=True)
    assert len(lessor.leases) == 3, "only the log ends a lease"


def test_the_time_begins_when_the_grant_is_applied():
    lessor = Lessor()
    lessor.promote(100.0)
    lessor.grant(1, 10)
    assert lessor.expired(1e9) == []
    lessor.started(1, 105.0)
    lessor.started(99, 105.0)  # gone already: no error
    assert lessor.expired(114.9) == [] and lessor.expired(115.0) == [1]


def test_who_does_not_lead_counts_nothing():
    lessor = Lessor()
    lessor.grant(1, 10)
    lessor.started(1, 0.0)
    assert lessor.expired(1e9) == [] and lessor.next_expiry_s == inf
    assert lessor.remaining(1, 1e9) == 10.0
    assert lessor.renew(1, 1e9) == 10 and lessor.next_expiry_s == inf


def test_next_expiry(lessor):
    assert lessor.next_expiry_s == 110.0
    lessor.revoke(1)
    lessor.revoke(3)
    assert lessor.next_expiry_s == 120.0
    lessor.revoke(2)
    assert lessor.next_expiry_s == inf


# Keeping alive ----------------------------------------------------------------------------------


def test_renewing_gives_the_whole_time_again(lessor):
    assert lessor.renew(1, 109.9) == 10
    assert lessor.remaining(1, 109.9) == 10.0
    assert lessor.expired(119.8) == [3]
    assert lessor.expired(119.9) == [3, 1]


@pytest.mark.parametrize(("id", "now"), [(1, 110.0), (1, 111.0), (99, 100.0), (0, 100.0)])
def test_what_is_over_cannot_be_renewed(lessor, id, now):
    with pytest.raises(LeaseNotFound):
        lessor.renew(id, now)
    assert lessor.expired(111.0) == [1, 3]


def test_remaining_falls_to_0_and_not_below(lessor):
    assert [lessor.remaining(1, now) for now in (100.0, 104.5, 110.0, 300.0)] == [10, 5.5, 0, 0]
    for method in (lessor.remaining, lessor.renew):
        with pytest.raises(LeaseNotFound):
            method(99, 100.0)
    with pytest.raises(LeaseNotFound):
        lessor.known(99)


# Leaders come and go ----------------------------------------------------------------------------


def test_a_new_leader_gives_every_lease_its_full_time(lessor):
    lessor.demote()
    assert not lessor.counts and lessor.expired(1e9) == []
    assert lessor.lives(1, 1e9), "who does not count cannot tell"
    lessor.promote(500.0)
    assert [lessor.remaining(id, 500.0) for id in (1, 2, 3)] == [10.0, 20.0, 10.0]


def test_a_new_leader_adds_the_time_of_an_election(lessor):
    lessor.promote(500.0, extend_s=1.5)
    assert lessor.expired(511.4) == [] and lessor.expired(511.5) == [1, 3]


def test_a_checkpoint_is_where_a_new_leader_begins(lessor):
    lessor.checkpoint(2, 7)
    lessor.checkpoint(99, 7)  # gone: no error
    assert lessor.remaining(2, 100.0) == 20.0, "the present leader goes on counting"
    lessor.promote(500.0)
    assert lessor.remaining(2, 500.0) == 7.0
    assert lessor.renew(2, 501.0) == 20, "what is granted stays"
    assert lessor.remaining(2, 501.0) == 20.0
    assert lessor.save()[1] == (2, 20, 7), "what is replicated changes through the log only"


def test_checkpoints_are_due_when_so_much_has_passed_since_the_last():
    lessor = Lessor()
    lessor.promote(0.0)
    for id, ttl_s in ((1, 1000), (2, 300), (3, 700)):
        lessor.grant(id, ttl_s)
        lessor.started(id, 0.0)
    assert lessor.due_checkpoints(299.0, 300.0) == []
    assert lessor.due_checkpoints(300.0, 300.0) == [(1, 700), (3, 400)], "2 has run out"
    for id, left_s in lessor.due_checkpoints(300.5, 300.0):
        lessor.checkpoint(id, left_s)
    assert lessor.leases[1].remaining_s == 700, "rounded up: never too early"
    assert lessor.due_checkpoints(500.0, 300.0) == []
    assert lessor.due_checkpoints(600.0, 300.0) == [(1, 400), (3, 100)]
    lessor.checkpoint(3, 100)
    assert lessor.due_checkpoints(750.0, 300.0) == [(1, 250)]
    lessor.demote()
    assert [id for id, left_s in lessor.due_checkpoints(750.0, 300.0) if left_s] == []


def test_a_renewal_makes_the_note_of_less_void():
    lessor = Lessor()
    lessor.promote(0.0)
    lessor.grant(1, 1000)
    lessor.started(1, 0.0)
    lessor.checkpoint(1, 700)
    assert lessor.due_checkpoints(300.0, 300.0) == []
    lessor.renew(1, 350.0)
    assert lessor.due_checkpoints(350.0, 300.0) == [(1, 0)]
    lessor.checkpoint(1, 0)
    assert lessor.due_checkpoints(350.0, 300.0) == []
    lessor.promote(400.0)
    assert lessor.remaining(1, 400.0) == 1000.0


# Keys -------------------------------------------------------------------------------------------


def test_a_key_belongs_to_one_lease(lessor):
    for key in (b"b", b"a\xff", b"a", b"\0"):
        lessor.attach(1, key)
    lessor.attach(1, b"a")  # again
    lessor.attach(2, b"b")  # moves
    lessor.attach(0, b"\0")  # detached
    lessor.attach(0, b"nobody")
    assert [lessor.lease_of(key) for key in (b"a", b"b", b"\0", b"nobody")] == [1, 2, 0, 0]
    assert lessor.revoke(1) == [b"a", b"a\xff"], "in byte order, without what moved away"
    assert lessor.lease_of(b"a") == 0
    assert lessor.revoke(2) == [b"b"]
    assert lessor.revoke(3) == []


@pytest.mark.parametrize("id", [0, 1, 99, -1])
def test_a_lease_ends_once(id):
    lessor = Lessor()
    if id == 1:
        lessor.grant(1, 10)
        lessor.revoke(1)
    with pytest.raises(LeaseNotFound) as caught:
        lessor.revoke(id)
    assert (caught.value.code, caught.value.text) == (
        "NOT_FOUND",
        "etcdserver: requested lease not found",
    )


def test_an_unknown_lease_takes_no_key_and_costs_it_nothing(lessor):
    with pytest.raises(LeaseNotFound):
        lessor.attach(99, b"a")
    assert lessor.lease_of(b"a") == 0


# Snapshots --------------------------------------------------------------------------------------


def test_save_and_load(lessor):
    lessor.attach(1, b"a")
    lessor.checkpoint(2, 7)
    saved = lessor.save()
    assert saved == ((1, 10, 0), (2, 20, 7), (3, 10, 0))
    other = Lessor()
    other.grant(50, 10)
    other.attach(50, b"z")
    other.load(saved)
    assert other.save() == saved and sorted(other.leases) == [1, 2, 3]
    assert other.lease_of(b"z") == 0 and not other.leases[1].keys, "the store knows the keys"
    other.attach(1, b"a")
    assert other.revoke(1) == [b"a"]
    other.promote(0.0)
    assert [other.remaining(id, 0.0) for id in (2, 3)] == [7.0, 10.0]


def test_who_leads_and_loads_a_snapshot_leads_no_longer_or_counts_on(lessor):
    lessor.load(lessor.save())
    lessor.promote(200.0)
    assert lessor.expired(209.0) == [] and lessor.expired(210.0) == [1, 3]
