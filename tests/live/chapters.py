"""What is said to a server, chapter by chapter; each begins with a server that is new.

What etcd 3.5.1 answered is in `answers/`; `python -m tests.live.chapters PROGRAM` asks a real etcd
anew. Facts that need more than one client, an alarm, or time are in test_rpc.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kvlearn.live.proto import rpc_pb2 as rpc
from tests.live.talk import Talk, Theirs

ANSWERS = Path(__file__).parent / "answers"
ALL = {"key": b"\0", "range_end": b"\0"}
Compare, Op, Txn = rpc.Compare, rpc.RequestOp, rpc.TxnRequest


def put_op(key: bytes, value: bytes = b"", **more):
    """A put in a transaction."""
    return Op(request_put=rpc.PutRequest(key=key, value=value, **more))


def get_op(key: bytes, **more):
    """A read in a transaction."""
    return Op(request_range=rpc.RangeRequest(key=key, **more))


def delete_op(key: bytes, **more):
    """A delete in a transaction."""
    return Op(request_delete_range=rpc.DeleteRangeRequest(key=key, **more))


def txn_op(**more):
    """A transaction in a transaction."""
    return Op(request_txn=Txn(**more))


def reading(talk: Talk) -> None:
    """Intervals, old revisions, orders, filters, limits, counts."""
    for i, key in enumerate((b"a", b"b", b"c", b"d")):
        talk.put(key, b"%d" % (9 - i))
    talk.put(b"b", b"again")
    talk.delete(b"d")
    for more in (
        {"key": b"b"},
        {"key": b"none"},
        {"key": b""},
        {"key": b"", "range_end": b"z"},
        ALL,
        {"key": b"b", "range_end": b"\0"},
        {"key": b"a", "range_end": b"c"},
        {"key": b"c", "range_end": b"a"},
        {"key": b"a", "range_end": b"a"},
        {"key": b"b", "revision": 3},
        {"key": b"b", "revision": 2},
        {"key": b"d", "revision": 6},
        {"key": b"b", "revision": -5},
        {"key": b"b", "revision": 8},
        ALL | {"limit": 2},
        ALL | {"limit": -2},
        ALL | {"limit": 3},
        ALL | {"limit": 1, "min_mod_revision": 6},
        ALL | {"limit": 1, "max_mod_revision": 2},
        ALL | {"min_create_revision": 3, "max_create_revision": 3},
        ALL | {"count_only": True, "limit": 1, "keys_only": True, "min_mod_revision": 5},
        ALL | {"keys_only": True, "sort_target": "VALUE", "sort_order": "DESCEND"},
        ALL | {"sort_target": "VALUE"},
        ALL | {"sort_order": "DESCEND", "limit": 1},
        ALL | {"sort_target": "MOD", "sort_order": "ASCEND"},
        ALL | {"sort_target": "CREATE", "sort_order": "DESCEND"},
        ALL | {"sort_target": "VERSION", "sort_order": "DESCEND", "limit": 1},
        {"key": b"b", "serializable": True},
    ):
        talk.get(**more)


def writing(talk: Talk) -> None:
    """Puts, what they keep, deletes, and requests that contradict themselves."""
    talk.put(b"", b"1")
    talk.put(b"a", b"1", prev_kv=True)
    talk.put(b"a", b"2", prev_kv=True)
    talk.put(b"a", b"2")
    talk.ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=100, ID=7))
    talk.put(b"a", b"3", lease=7)
    talk.put(b"a", prev_kv=True, ignore_value=True)
    talk.put(b"a", b"4", lease=7)
    talk.put(b"a", b"5", ignore_lease=True)
    talk.get(b"a")
    talk.put(b"a", b"5", ignore_value=True)
    talk.put(b"a", b"5", ignore_lease=True, lease=9)
    talk.put(b"x", ignore_value=True)
    talk.put(b"x", b"5", ignore_lease=True)
    talk.put(b"x", b"5", lease=99)
    talk.put(b"x", lease=99, ignore_value=True)
    talk.put(b"x", b"5", lease=-3)
    talk.delete(b"")
    talk.delete(b"x")
    talk.delete(b"a", prev_kv=True)
    talk.put(b"a")
    talk.put(b"b")
    talk.put(b"c")
    talk.delete(b"c", range_end=b"a")
    talk.delete(b"a", range_end=b"c", prev_kv=True)
    talk.delete(**ALL)
    talk.get(**ALL)


def comparing(talk: Talk) -> None:
    """Compares: missing keys, operands of another kind, intervals."""
    talk.ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=100, ID=7))
    talk.put(b"a", b"1", lease=7)
    talk.put(b"b", b"2")
    talk.put(b"b", b"3")
    EQUAL, GREATER, LESS, NOT_EQUAL = range(4)
    VERSION, CREATE, MOD, VALUE, LEASE = range(5)
    for compare in (
        Compare(key=b"a", target=VALUE, value=b"1"),
        Compare(key=b"a", target=VALUE, result=NOT_EQUAL, value=b"1"),
        Compare(key=b"a", target=VALUE, result=GREATER, value=b"0"),
        Compare(key=b"a", target=VALUE, result=GREATER),
        Compare(key=b"none", target=VALUE, result=NOT_EQUAL, value=b"1"),
        Compare(key=b"none", target=VALUE, result=EQUAL),
        Compare(key=b"none", target=VERSION),
        Compare(key=b"none", target=CREATE, create_revision=0),
        Compare(key=b"none", target=MOD, result=LESS, mod_revision=1),
        Compare(key=b"none", target=LEASE, lease=0),
        Compare(key=b"a", target=LEASE, lease=7),
        Compare(key=b"b", target=VERSION, version=2),
        Compare(key=b"b", target=VERSION, result=LESS, version=2),
        Compare(key=b"b", target=MOD, mod_revision=4),
        Compare(key=b"b", target=CREATE, result=GREATER, create_revision=3),
        Compare(key=b"b", target=MOD, version=4),
        Compare(key=b"b", target=MOD, result=GREATER, version=9),
        Compare(key=b"a", target=VALUE, result=GREATER, version=9),
        Compare(key=b"a", range_end=b"z", target=VERSION, result=GREATER, version=0),
        Compare(key=b"a", range_end=b"z", target=VERSION, version=1),
        Compare(key=b"x", range_end=b"z", target=VERSION, version=0),
        Compare(key=b"x", range_end=b"z", target=VALUE, value=b""),
        Compare(key=b"a", range_end=b"\0", target=VALUE, result=NOT_EQUAL, value=b"9"),
        Compare(key=b"", target=VERSION),
    ):
        talk.ask("KV/Txn", Txn(compare=[compare]))


def transactions(talk: Talk) -> None:
    """What a transaction does, and the headers of its parts."""
    talk.put(b"a", b"1")
    talk.put(b"b", b"2")
    talk.ask("KV/Txn", Txn())
    talk.ask("KV/Txn", Txn(success=[get_op(b"a")]))
    talk.ask("KV/Txn", Txn(success=[delete_op(b"none")]))
    talk.ask(
        "KV/Txn",
        Txn(
            compare=[Compare(key=b"a", target="VALUE", value=b"1")],
            success=[
                get_op(b"a"),
                put_op(b"a", b"9", prev_kv=True),
                get_op(b"a"),
                delete_op(b"b", prev_kv=True),
                get_op(**ALL, limit=1),
                txn_op(success=[put_op(b"n", b"in")]),
                txn_op(),
                get_op(**ALL, count_only=True),
            ],
            failure=[put_op(b"z")],
        ),
    )
    talk.ask(
        "KV/Txn",
        Txn(
            success=[
                put_op(b"new", b"1"),
                txn_op(
                    compare=[Compare(key=b"new", target="VERSION", version=0)],
                    success=[put_op(b"saw", b"nothing")],
                    failure=[put_op(b"saw", b"it")],
                ),
                get_op(b"a", revision=2),
            ]
        ),
    )
    talk.ask("KV/Txn", Txn(success=[put_op(b"q"), get_op(b"a", revision=6)]))
    talk.ask("KV/Txn", Txn(success=[put_op(b"q"), get_op(b"a", revision=99)]))
    talk.ask(
        "KV/Txn",
        Txn(compare=[Compare(key=b"q", version=5)], success=[get_op(b"a", revision=99)]),
    )
    talk.get(**ALL)


def refused_transactions(talk: Talk) -> None:
    """What is wrong in a transaction, in either branch."""
    talk.put(b"a", b"1")
    many = [put_op(b"k%d" % i) for i in range(129)]
    some = [put_op(b"k%d" % i) for i in range(100)]
    compares = [Compare(key=b"a", version=1)] * 129
    for txn in (
        Txn(failure=[put_op(b"")]),
        Txn(success=[get_op(b"")]),
        Txn(failure=[delete_op(b"")]),
        Txn(success=[Op()]),
        Txn(failure=[put_op(b"x"), Op()]),
        Txn(failure=[put_op(b"a", b"1", ignore_value=True)]),
        Txn(failure=[put_op(b"a", lease=1, ignore_lease=True)]),
        Txn(success=[put_op(b"x", ignore_value=True)]),
        Txn(failure=[put_op(b"x", ignore_value=True)]),
        Txn(success=[put_op(b"x", lease=99)]),
        Txn(failure=[put_op(b"x", lease=99)]),
        Txn(success=[put_op(b"x", lease=99, ignore_value=True)]),
        Txn(success=[put_op(b"x"), put_op(b"x")]),
        Txn(failure=[put_op(b"x"), delete_op(b"a", range_end=b"z")]),
        Txn(success=[delete_op(b"a", range_end=b"z"), put_op(b"x")]),
        Txn(success=[delete_op(b"x"), put_op(b"x")]),
        Txn(success=[delete_op(b"x"), delete_op(b"a", range_end=b"z")]),
        Txn(success=[put_op(b"x")], failure=[put_op(b"x")]),
        Txn(success=[txn_op(success=[put_op(b"x")], failure=[put_op(b"x")])]),
        Txn(success=[txn_op(success=[put_op(b"x")]), txn_op(failure=[put_op(b"x")])]),
        Txn(success=[txn_op(success=[put_op(b"x")]), put_op(b"x")]),
        Txn(success=[txn_op(success=[put_op(b"x")]), delete_op(b"x")]),
        Txn(success=many[:128]),
        Txn(success=many),
        Txn(failure=many),
        Txn(compare=compares[:128]),
        Txn(compare=compares),
        Txn(success=[txn_op(success=many[:127])]),
        Txn(success=[txn_op(success=many[:128])]),
        Txn(failure=[txn_op(success=many[:127])], success=some[:1]),
        Txn(failure=[txn_op(success=many[:127])], success=some[:2]),
    ):
        talk.ask("KV/Txn", txn)


def sizes(talk: Talk) -> None:
    """The limit is on the encoded request as a whole, not on a value."""
    limit = 3 << 19
    talk.put(b"k", b"v" * (limit - 100))
    talk.put(b"k", b"v" * (limit - 1))
    talk.put(b"k", b"v" * limit)
    talk.ask("KV/Txn", Txn(success=[put_op(b"k%d" % i, b"v" * 20000) for i in range(80)]))
    talk.put(b"k", b"v" * (limit + (512 << 10)))
    talk.get(b"k", keys_only=True)


def compaction(talk: Talk) -> None:
    """What can be read, watched, hashed and compacted afterwards."""
    for i in range(5):
        talk.put(b"a", b"%d" % i)
    talk.put(b"b")
    talk.delete(b"b")
    compact = rpc.CompactionRequest
    talk.ask("KV/Compact", compact(revision=99))
    talk.ask("KV/Compact", compact(revision=4, physical=True))
    talk.ask("KV/Compact", compact(revision=4))
    talk.ask("KV/Compact", compact(revision=3))
    talk.ask("KV/Compact", compact(revision=-1))
    talk.get(b"a", revision=3)
    talk.get(b"a", revision=4)
    talk.get(b"none", revision=3)
    talk.get(**ALL, revision=3, count_only=True, serializable=True)
    talk.ask("KV/Txn", Txn(success=[get_op(b"a", revision=3), put_op(b"x")]))
    for revision in (0, 3, 4, 5, 8, 9):
        talk.ask("Maintenance/HashKV", rpc.HashKVRequest(revision=revision))
    talk.watch(create_request={"key": b"a", "start_revision": 3})
    talk.hear(2)
    talk.watch(create_request={"key": b"a", "start_revision": 3, "watch_id": 0})
    talk.hear(2)
    talk.watch(create_request={"key": b"a", "start_revision": 4})
    talk.hear(2)
    talk.ask("KV/Compact", compact(revision=8, physical=True))
    talk.get(**ALL)
    talk.put(b"a", b"after")
    talk.hear(1)


def watching(talk: Talk) -> None:
    """Ids, intervals, replays, filters, previous pairs, cancellation, progress."""
    talk.watch(create_request={"key": b"a"})
    talk.hear(1)
    talk.put(b"a", b"1")
    talk.hear(1)
    talk.put(b"b", b"1")
    talk.quiet()
    talk.delete(b"a")
    talk.hear(1)
    talk.watch(create_request={"key": b"a", "start_revision": 2, "watch_id": 5, "prev_kv": True})
    talk.hear(2)
    talk.watch(create_request={"key": b"a", "watch_id": 5})
    talk.hear(1)
    talk.watch(create_request={"key": b"b", "range_end": b"a"})
    talk.hear(1)
    talk.watch(create_request={"key": b"b", "range_end": b"b"})
    talk.hear(1)
    talk.watch(cancel_request={"watch_id": 77})
    talk.quiet()
    talk.watch(cancel_request={"watch_id": 0})
    talk.hear(1)
    talk.watch(create_request={"key": b"", "range_end": b"\0", "filters": ["NODELETE"]})
    talk.hear(1)
    talk.watch(create_request={"key": b"f", "range_end": b"\0", "filters": ["NOPUT"]})
    talk.hear(1)
    talk.put(b"f")
    talk.hear(1)
    talk.delete(b"f")
    talk.hear(1)
    talk.watch(cancel_request={"watch_id": 1})
    talk.hear(1)
    talk.watch(cancel_request={"watch_id": 2})
    talk.hear(1)
    talk.watch(create_request={"key": b"t", "range_end": b"u", "prev_kv": True})
    talk.hear(1)
    talk.ask("KV/Txn", Txn(success=[put_op(b"t2"), put_op(b"t1"), delete_op(b"none")]))
    talk.hear(1)
    talk.ask("KV/Txn", Txn(success=[delete_op(b"t", range_end=b"u"), put_op(b"v")]))
    talk.hear(1)
    talk.watch(create_request={"key": b"\0", "range_end": b"\0", "start_revision": 2})
    talk.hear(2)
    talk.watch(cancel_request={"watch_id": 4})
    talk.hear(1)
    talk.watch(create_request={"key": b"far", "start_revision": 10})
    talk.hear(1)
    for value in (b"9", b"10", b"11"):
        talk.put(b"far", value)
    talk.hear(2)
    talk.watch(create_request={"key": b"neg", "filters": [7]})
    talk.hear(1)
    talk.watch()
    talk.quiet()


def leases(talk: Talk) -> None:
    """Grants, times, keep-alives, revocation; unknown ones everywhere."""
    grant, revoke = rpc.LeaseGrantRequest, rpc.LeaseRevokeRequest
    left = rpc.LeaseTimeToLiveRequest
    for asked in (
        grant(TTL=100, ID=7),
        grant(TTL=100, ID=7),
        grant(TTL=0, ID=8),
        grant(TTL=-5, ID=-9),
        grant(TTL=9_000_000_000, ID=11),
        grant(TTL=9_000_000_001, ID=12),
    ):
        talk.ask("Lease/LeaseGrant", asked)
    talk.put(b"b", b"", lease=7)
    talk.put(b"a", b"", lease=7)
    talk.put(b"c", b"", lease=7)
    talk.put(b"c")
    talk.ask("Lease/LeaseTimeToLive", left(ID=11))
    talk.ask("Lease/LeaseTimeToLive", left(ID=99, keys=True))
    talk.ask("Lease/LeaseTimeToLive", left(ID=8, keys=True))
    talk.keep_alive(7)
    talk.keep_alive(99)
    talk.keep_alive(11)
    talk.ask("Lease/LeaseRevoke", revoke(ID=99))
    talk.ask("Lease/LeaseRevoke", revoke())
    talk.ask("Lease/LeaseRevoke", revoke(ID=7))
    talk.ask("Lease/LeaseTimeToLive", left(ID=7, keys=True))
    talk.get(**ALL)
    talk.ask("Lease/LeaseRevoke", revoke(ID=11))
    talk.ask("Lease/LeaseRevoke", revoke(ID=8))
    talk.ask("Lease/LeaseRevoke", revoke(ID=-9))
    talk.ask("Lease/LeaseLeases", rpc.LeaseLeasesRequest())
    talk.get(b"b", revision=4)


def upkeep(talk: Talk) -> None:
    """Status, hashes, alarms, defragmentation, the snapshot stream."""
    talk.put(b"a", b"1")
    talk.ask("Maintenance/Status", rpc.StatusRequest())
    talk.ask("Maintenance/Hash", rpc.HashRequest())
    talk.ask("Maintenance/HashKV", rpc.HashKVRequest())
    talk.ask("Maintenance/HashKV", rpc.HashKVRequest(revision=9))
    talk.ask("Maintenance/Defragment", rpc.DefragmentRequest())
    talk.ask("Maintenance/Alarm", rpc.AlarmRequest())
    on = rpc.AlarmRequest(action="ACTIVATE", memberID=5, alarm="NOSPACE")
    talk.ask("Maintenance/Alarm", on)
    talk.ask("Maintenance/Alarm", rpc.AlarmRequest(alarm="CORRUPT"))
    talk.ask("Maintenance/Alarm", rpc.AlarmRequest(alarm="NOSPACE", memberID=77))
    talk.ask("Maintenance/Status", rpc.StatusRequest())
    talk.put(b"a", b"2")
    talk.get(b"a")
    talk.ask("KV/Txn", Txn(failure=[put_op(b"b")]))
    talk.ask("KV/Txn", Txn(success=[get_op(b"b")]))
    talk.ask("KV/Txn", Txn(success=[delete_op(b"b")]))
    talk.ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=10))
    talk.delete(b"a")
    talk.ask("KV/Compact", rpc.CompactionRequest(revision=2))
    off = rpc.AlarmRequest(action="DEACTIVATE", memberID=5, alarm="NOSPACE")
    talk.ask("Maintenance/Alarm", off)
    talk.ask("Maintenance/Alarm", off)
    talk.put(b"a", b"3")
    talk.ask("Maintenance/MoveLeader", rpc.MoveLeaderRequest(targetID=99))
    talk.snapshot()


CHAPTERS = {
    chapter.__name__: chapter
    for chapter in (
        *(reading, writing, comparing, transactions, refused_transactions, sizes, compaction),
        *(watching, leases, upkeep),
    )
}


def told_by_etcd(program: str, name: str) -> list[str]:
    """What a new etcd says in a chapter."""
    from tests.etcd.server import Etcd

    server = Etcd(program)
    talk = Theirs(f"127.0.0.1:{server.port}")
    try:
        CHAPTERS[name](talk)
    finally:
        talk.close()
        server.stop()
    return talk.lines


def main(program: str) -> None:
    """Write down what this etcd says."""
    ANSWERS.mkdir(exist_ok=True)
    for name in CHAPTERS:
        lines = told_by_etcd(program, name)
        ANSWERS.joinpath(f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1])
