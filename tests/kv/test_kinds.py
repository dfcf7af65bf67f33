"""Which way a request goes. Every request there is has its line in the table."""

import pytest

from kvlearn.errors import RequestTooLarge
from kvlearn.kv.directory import MemberUpdate, Publish
from kvlearn.kv.kinds import (
    FRAME_BYTES,
    REQUESTS,
    check_size,
    in_log,
    needs_room,
    repeatable,
    serializable,
    size_of,
)
from kvlearn.kv.leases import (
    Compact,
    LeaseCheckpoint,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
)
from kvlearn.kv.members import MEMBERSHIP, MemberAdd, MemberList
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.upkeep import Alarm, Defragment, HashKV, SnapshotState, Status

PUT, READ, STALE = Put(b"a", b"1"), Range(b"a"), Range(b"a", serializable=True)
DELETE = DeleteRange(b"a")

#          request                              repeatable  in_log  serializable  needs_room
TABLE = [
    (PUT, False, True, False, True),
    (DELETE, False, True, False, False),
    (READ, True, False, False, False),
    (STALE, True, False, True, False),
    (Txn((), (PUT,)), False, True, False, True),
    (Txn((), (), (PUT,)), False, True, False, True),
    (Txn((), (READ,), (Txn((), (READ,), (PUT,)),)), False, True, False, True),
    (Txn((), (DELETE, READ)), False, True, False, False),
    (Txn((), (Txn((), (DELETE,)),)), False, True, False, False),
    (Txn((), (READ,)), True, False, False, False),
    (Txn((), (STALE,), (READ,)), True, False, False, False),
    (Txn((), (STALE,), (STALE,)), True, False, True, False),
    (Txn((), (Txn((), (STALE,)),)), True, False, True, False),
    (Txn((Compare(b"a"),)), True, False, False, False),
    (LeaseGrant(5), False, True, False, True),
    (LeaseRevoke(5), False, True, False, False),
    (LeaseCheckpoint(((5, 1),)), False, True, False, False),
    (LeaseKeepAlive(5), True, False, False, False),
    (LeaseTimeToLive(5), True, False, False, False),
    (LeaseLeases(), True, False, False, False),
    (Compact(5), False, True, False, False),
    (Alarm(), True, False, True, False),
    (Alarm("activate", 1, "NOSPACE"), False, True, True, False),
    (Alarm("deactivate"), False, True, True, False),
    (Status(), True, False, True, False),
    (HashKV(), True, False, True, False),
    (SnapshotState(), True, False, True, False),
    (Defragment(), False, False, True, False),
    (MemberList(), True, False, False, False),
    (MemberAdd("n4"), False, False, False, False),
    (MemberUpdate(5), False, True, False, False),
    (Publish("n4", "name"), False, True, False, False),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row[0])[:40])
def test_the_way_of_a_request(row):
    request, *expected = row
    kinds = (repeatable, in_log, serializable, needs_room)
    assert [kind(request) for kind in kinds] == expected


def test_the_table_has_all_requests():
    shown = {type(row[0]) for row in TABLE}
    assert set(REQUESTS) - shown <= set(MEMBERSHIP)


def test_what_is_logged_is_never_asked_twice():
    """Whatever the request: what changes something and got no answer may have been done."""
    for request, again, logged, _, room in TABLE:
        assert not (again and logged), request
        assert logged or not room, request


LARGE = b"x" * 1000


@pytest.mark.parametrize(
    "request_",
    [
        Put(b"a", LARGE),
        Put(LARGE),
        Range(LARGE),
        Range(b"a", LARGE),
        DeleteRange(b"a", LARGE),
        Txn((Compare(LARGE),)),
        Txn((Compare(b"a", range_end=LARGE),)),
        Txn((Compare(b"a", "value", operand=LARGE),)),
        Txn((), (Put(b"a", LARGE),)),
        Txn((), (), (Put(b"a", LARGE),)),
        Txn((), (Txn((), (Txn((Compare(b"a", "value", operand=LARGE),)),)),)),
        Txn((), tuple(Put(b"k%03d" % k) for k in range(50))),
    ],
    ids=str,
)
def test_every_large_part_counts(request_):
    assert 1000 <= size_of(request_) <= 1100
    check_size(request_, size_of(request_))
    with pytest.raises(RequestTooLarge, match=r"request is too large \(about .* bytes of 999\)"):
        check_size(request_, 999)


@pytest.mark.parametrize("request_", [LeaseGrant(5), Compact(9), Alarm("activate"), LeaseRevoke(1)])
def test_numbers_are_small(request_):
    assert size_of(request_) == FRAME_BYTES
