"""Cases about revisions, reads and writes: points 1 to 23 of etcd's semantics."""

from __future__ import annotations

import itertools

import grpc

from tests.live.spec_kit import MIB, View, case, delete, fails, get, pb, put, when

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"
NO_KEY = "etcdserver: key is not provided"
TOO_LARGE = "etcdserver: request is too large"


# Revisions ----------------------------------------------------------------------------------


@case(1, 2)
def every_write_takes_one_revision(v: View):
    first = v.put("a")
    assert first >= 2 and v.put("b") == first + 1
    answer = v.txn(put(v.key("c")), put(v.key("d")), delete(v.key("a"), v.key("b")))
    assert answer.header.revision == first + 2
    assert {kv.mod_revision for kv in v.range().kvs} == {first + 1, first + 2}
    gone = v.a.DeleteRange(key=v.space, range_end=v.end)
    assert gone.deleted == 3 and gone.header.revision == first + 3
    assert v.revision == first + 3


@case(2)
def one_revision_has_an_order_inside(v: View):
    with v.watch(key=v.space, range_end=v.end) as stream:
        stream.created()
        v.txn(put(v.key("z")), put(v.key("a")), delete(v.key("m")), put(v.key("k")))
        keys = [event.kv.key for event in stream.events(3)]
    assert keys == [v.key("z"), v.key("a"), v.key("k")]


@case(3)
def what_changes_nothing_moves_nothing(v: View):
    now = v.put("a")
    assert v.delete("none").header.revision == now
    assert v.a.DeleteRange(key=v.key("x"), range_end=v.key("y")).header.revision == now
    assert v.txn().header.revision == now
    assert v.txn(get(v.key("a"))).header.revision == now
    assert v.txn(delete(v.key("none"))).header.revision == now
    missing = when(v.key("none"), "VERSION", "GREATER", version=0)
    assert v.txn(put(v.key("b")), compare=[missing]).header.revision == now
    fails(v.a.Put, "INVALID_ARGUMENT", NO_KEY, key=b"", value=b"x")
    fails(v.a.Put, "NOT_FOUND", key=v.key("b"), lease=12345)
    assert v.revision == now


@case(3)
def writes_are_logged_and_reads_are_not(v: View):
    lead = v.leader()
    v.put("a")
    before = lead.Status().raftIndex
    for _ in range(5):
        v.get("a")
        v.txn(get(v.key("a")))
    assert lead.Status().raftIndex == before
    v.delete("none")
    v.txn(failure=[put(v.key("b"))])
    assert lead.Status().raftIndex == before + 2


@case(4)
def upkeep_moves_no_revision(v: View):
    now = v.put("a")
    lease = v.lease()
    with v.a.stream("LeaseKeepAlive") as stream:
        stream.send(ID=lease)
        assert stream.next().header.revision == now
    assert v.a.LeaseRevoke(ID=lease).header.revision == now
    assert v.a.Compact(revision=now).header.revision == now
    v.a.UserAdd(name="u4", password="p")
    v.a.UserDelete(name="u4")
    v.a.RoleAdd(name="r4")
    v.a.RoleDelete(role="r4")
    v.a.Defragment()
    assert v.revision == now and v.put("a") == now + 1


@case(5)
def the_same_value_again_is_a_write(v: View):
    first = v.put("a", b"same")
    with v.watch(key=v.key("a")) as stream:
        stream.created()
        assert v.put("a", b"same") == first + 1
        event = stream.events(1)[0]
    assert (event.kv.version, event.kv.mod_revision) == (2, first + 1)


@case(6)
def a_life_ends_with_its_deletion(v: View):
    first = v.put("a")
    v.put("a")
    kv = v.get("a")
    assert (kv.create_revision, kv.mod_revision, kv.version) == (first, first + 1, 2)
    v.a.Compact(revision=first + 1)
    kv = v.get("a")
    assert (kv.create_revision, kv.mod_revision, kv.version) == (first, first + 1, 2)
    v.delete("a")
    v.put("a")
    kv = v.get("a")
    assert (kv.create_revision, kv.mod_revision, kv.version) == (first + 3, first + 3, 1)


@case(6)
def lives_inside_one_transaction(v: View):
    v.put("a")
    v.put("a")
    answer = v.txn(delete(v.key("a")))
    inner = v.txn(put(v.key("a"), b"1"), get(v.key("a")))
    kv = inner.responses[1].response_range.kvs[0]
    assert kv.version == 1 and kv.create_revision == answer.header.revision + 1


# Reading ------------------------------------------------------------------------------------


@case(7)
def old_reads_have_todays_header(v: View):
    old = v.put("a", b"1")
    new = v.put("a", b"2")
    answer = v.b.Range(key=v.key("a"), revision=old)
    assert answer.header.revision == new and answer.kvs[0].value == b"1"
    assert v.get("a", revision=new).value == b"2"


@case(8)
def revision_zero_and_below_is_now(v: View):
    v.put("a", b"1")
    now = v.put("a", b"2")
    for revision in (0, -1, -(2**63)):
        assert v.get("a", revision=revision).value == b"2"
    for revision in (now + 1, now + 1000, 2**63 - 1):
        fails(v.b.Range, "OUT_OF_RANGE", FUTURE, key=v.key("a"), revision=revision)
        fails(v.b.Range, "OUT_OF_RANGE", FUTURE, key=v.key("x"), revision=revision, count_only=True)


@case(9)
def reads_below_the_compacted_revision(v: View):
    old = v.put("a", b"1")
    now = v.put("a", b"2")
    v.put("a", b"3")
    v.a.Compact(revision=now)
    assert v.get("a", revision=now).value == b"2"
    assert v.b.Range(key=v.key("none"), revision=now).count == 0
    for more in ({}, {"count_only": True}, {"serializable": True}, {"keys_only": True}):
        for name in ("a", "never"):
            key = v.key(name)
            api = v.a if more.get("serializable") else v.b
            fails(api.Range, "OUT_OF_RANGE", COMPACTED, key=key, revision=old, **more)
    fails(v.b.Range, "OUT_OF_RANGE", COMPACTED, key=b"\0", range_end=b"\0", revision=1)


@case(10)
def intervals(v: View):
    for name in ("a", "b", "c"):
        v.put(name)
    key = v.key
    assert v.b.Range(key=key("a"), range_end=key("c")).count == 2
    assert v.b.Range(key=key("a"), range_end=key("a")).count == 0
    assert v.b.Range(key=key("c"), range_end=key("a")).count == 0
    assert v.b.Range(key=key("a"), range_end=key("a\0")).count == 1
    upwards = v.b.Range(key=key("b"), range_end=b"\0").kvs
    assert [kv.key for kv in upwards[:2]] == [key("b"), key("c")]
    all_keys = {kv.key for kv in v.b.Range(key=b"\0", range_end=b"\0").kvs}
    assert {key("a"), key("b"), key("c")} <= all_keys
    now = v.revision
    assert v.a.DeleteRange(key=key("c"), range_end=key("a")).deleted == 0
    assert v.a.DeleteRange(key=key("a"), range_end=key("a")).deleted == 0
    assert v.revision == now
    assert v.a.DeleteRange(key=key("a"), range_end=key("c")).deleted == 2
    assert v.names() == [b"c"]


@case(10)
def a_key_is_always_needed(v: View):
    for end in (b"", b"\0", b"z"):
        fails(v.a.Range, "INVALID_ARGUMENT", NO_KEY, key=b"", range_end=end)
        fails(v.a.DeleteRange, "INVALID_ARGUMENT", NO_KEY, key=b"", range_end=end)
    fails(v.a.Put, "INVALID_ARGUMENT", NO_KEY)
    fails(v.a.Range, "INVALID_ARGUMENT", NO_KEY, serializable=True)
    for operation in (put(b""), get(b""), delete(b""), get(b"", b"\0")):
        fails(v.txn, "INVALID_ARGUMENT", NO_KEY, failure=[operation])
    fails(v.txn, "INVALID_ARGUMENT", NO_KEY, compare=[when(b"", "VERSION")])


@case(10)
def the_key_of_one_zero_byte_is_a_key(v: View):
    assert v.a.Put(key=b"\0", value=b"zero").header.revision
    assert v.b.Range(key=b"\0").kvs[0].value == b"zero"
    assert v.b.Range(key=b"\0", range_end=b"\0", limit=1).kvs[0].key == b"\0"
    assert v.b.Range(key=b"\0", range_end=b"\0\0").count == 1
    assert v.a.DeleteRange(key=b"\0").deleted == 1


@case(11)
def count_ignores_limit_and_filters(v: View):
    revisions = [v.put(f"k{n}") for n in range(5)]
    v.put("k0")
    answer = v.range(limit=2)
    assert (answer.count, len(answer.kvs), answer.more) == (5, 2, True)
    assert not v.range(limit=5).more and not v.range(limit=6).more
    filtered = v.range(limit=2, min_mod_revision=revisions[3], max_mod_revision=revisions[4])
    assert (filtered.count, len(filtered.kvs), filtered.more) == (5, 2, False)
    assert v.range(limit=1, min_mod_revision=revisions[3]).more
    assert v.range(limit=1, max_create_revision=revisions[0]).more is False
    old = v.range(revision=revisions[2], limit=1)
    assert (old.count, len(old.kvs), old.more) == (3, 1, True)


@case(12)
def count_only_is_the_count_and_nothing_else(v: View):
    for n in range(4):
        v.put(f"k{n}")
    answer = v.range(count_only=True, limit=1, keys_only=True, min_mod_revision=2**62)
    assert (answer.count, len(answer.kvs), answer.more) == (4, 0, False)
    assert v.b.Range(key=v.key("k0"), count_only=True).count == 1
    assert v.b.Range(key=v.key("none"), count_only=True).count == 0


@case(13)
def filter_then_sort_then_limit(v: View):
    revisions = [v.put(f"k{n}", bytes([57 - n])) for n in range(6)]
    low, high = revisions[1], revisions[4]
    found = v.names(min_mod_revision=low, max_mod_revision=high)
    assert found == [b"k1", b"k2", b"k3", b"k4"], "both ends belong to it"
    found = v.names(min_create_revision=low, max_create_revision=high, limit=2)
    assert found == [b"k1", b"k2"]
    found = v.names(sort_order="DESCEND", sort_target="MOD", max_mod_revision=high, limit=2)
    assert found == [b"k4", b"k3"]
    for limit in (0, -1, -(2**63)):
        assert len(v.names(limit=limit)) == 6
    assert v.names(sort_target="VALUE", sort_order="ASCEND", limit=1) == [b"k5"]


@case(14)
def sorting(v: View):
    v.put("a", b"2")
    v.put("c", b"1")
    v.put("b", b"3")
    v.put("b", b"3")
    v.put("a", b"0")
    v.put("a", b"2")
    expected = {
        "KEY": [b"a", b"b", b"c"],
        "VERSION": [b"c", b"b", b"a"],
        "CREATE": [b"a", b"c", b"b"],
        "MOD": [b"c", b"b", b"a"],
        "VALUE": [b"c", b"a", b"b"],
    }
    for target, up in expected.items():
        assert v.names(sort_target=target, sort_order="ASCEND") == up, target
        assert v.names(sort_target=target, sort_order="DESCEND") == up[::-1], target
        assert v.names(sort_target=target) == up, f"{target} without an order"


@case(14)
def sorting_by_unknown_numbers(v: View):
    """In no order in 3.4 and 3.5.1, where an unknown target ends the process; refused later."""
    for name in "bca":
        v.put(name)
    strange = [{"sort_order": 7}, {"sort_order": 7, "sort_target": "MOD"}]
    strange += [] if v.is_etcd() else [{"sort_target": 9, "sort_order": "DESCEND"}]
    for sort in strange:
        try:
            assert sorted(v.names(**sort)) == [b"a", b"b", b"c"]
        except grpc.RpcError as error:
            assert error.details() == "etcdserver: invalid sort option"


@case(15)
def keys_only_empties_the_value_alone(v: View):
    lease = v.lease()
    first = v.put("a", b"2", lease=lease)
    v.put("a", b"2", lease=lease)
    v.put("b", b"1")
    answer = v.range(keys_only=True, sort_target="VALUE")
    assert [kv.key for kv in answer.kvs] == [v.key("b"), v.key("a")]
    kv = answer.kvs[1]
    assert (kv.value, kv.version, kv.create_revision) == (b"", 2, first)
    assert (kv.mod_revision, kv.lease) == (first + 1, lease)


@case(16)
def keys_are_ordered_as_bytes(v: View):
    names = [b"a", b"B", b"\xff", b"\x00", b"a\x00", b"\x80", b"\xc3\x28", b"~", b"\xff\xff"]
    for name in names:
        v.put(name, name)
    assert v.names() == sorted(names)
    assert v.names(sort_order="DESCEND") == sorted(names, reverse=True)
    assert v.get(b"\xc3\x28").value == b"\xc3\x28", "no UTF-8, and none is asked for"


@case(17)
def reads_see_every_acknowledged_write(v: View):
    apis = itertools.cycle(v.all)
    for n in range(30):
        writer, reader = next(apis), next(apis)
        revision = writer.Put(key=v.key("a"), value=b"%d" % n).header.revision
        answer = reader.Range(key=v.key("a"))
        assert answer.kvs[0].value == b"%d" % n and answer.header.revision >= revision


@case(17)
def a_serializable_read_is_of_the_past_or_now(v: View):
    first = v.put("a", b"x")
    answer = v.b.Range(key=v.key("a"), serializable=True)
    assert answer.header.revision <= first
    assert v.a.Range(key=v.key("a")).header.revision == first
    late = v.a.Range(key=v.key("a"), serializable=True)
    assert late.kvs[0].mod_revision == first, "who answered a linearizable read has it all"


# Writing ------------------------------------------------------------------------------------


@case(18)
def prev_kv_of_a_put(v: View):
    lease = v.lease()
    assert not v.a.Put(key=v.key("a"), value=b"1", prev_kv=True, lease=lease).HasField("prev_kv")
    first = v.get("a")
    answer = v.a.Put(key=v.key("a"), value=b"2", prev_kv=True)
    assert answer.prev_kv == first and first.lease == lease
    assert not v.a.Put(key=v.key("a"), value=b"3").HasField("prev_kv")
    v.delete("a")
    assert not v.a.Put(key=v.key("a"), prev_kv=True).HasField("prev_kv")


@case(18)
def prev_kvs_of_a_delete(v: View):
    lease = v.lease()
    v.put("a", b"1", lease=lease)
    kv = v.get("a")
    assert not v.a.DeleteRange(key=v.key("none"), prev_kv=True).prev_kvs
    assert list(v.delete("a", prev_kv=True).prev_kvs) == [kv]
    v.put("a")
    assert not v.delete("a").prev_kvs


@case(19)
def a_put_detaches_and_moves(v: View):
    one, two = v.lease(), v.lease()

    def keys(lease):
        return list(v.b.LeaseTimeToLive(ID=lease, keys=True).keys)

    v.put("a", b"1", lease=one)
    assert v.get("a").lease == one and keys(one) == [v.key("a")]
    v.put("a", b"2", lease=two)
    assert (keys(one), keys(two)) == ([], [v.key("a")])
    v.put("a", b"3")
    assert v.get("a").lease == 0 and keys(two) == []
    v.put("a", b"4", lease=one)
    v.a.Put(key=v.key("a"), ignore_value=True)
    assert (v.get("a").lease, v.get("a").value, keys(one)) == (0, b"4", [])
    v.put("a", b"5", lease=one)
    v.a.Put(key=v.key("a"), value=b"6", ignore_lease=True)
    assert (v.get("a").lease, v.get("a").value) == (one, b"6")
    v.a.Put(key=v.key("a"), ignore_value=True, lease=two)
    assert (v.get("a").lease, v.get("a").value) == (two, b"6")
    v.a.Put(key=v.key("a"), ignore_value=True, ignore_lease=True)
    assert (v.get("a").lease, v.get("a").value, v.get("a").version) == (two, b"6", 9)


@case(20)
def contradictory_puts(v: View):
    value = "etcdserver: value is provided"
    lease = "etcdserver: lease is provided"
    missing = "etcdserver: key not found"
    key = v.key("a")
    bad = "INVALID_ARGUMENT"
    fails(v.a.Put, bad, value, key=key, value=b"x", ignore_value=True)
    fails(v.a.Put, bad, lease, key=key, lease=77, ignore_lease=True)
    fails(v.a.Put, bad, lease, key=key, lease=-77, ignore_lease=True)
    fails(v.a.Put, bad, missing, key=key, ignore_value=True)
    fails(v.a.Put, bad, missing, key=key, value=b"x", ignore_lease=True)
    fails(v.a.Put, bad, missing, key=key, ignore_value=True, ignore_lease=True)
    fails(v.a.Put, bad, value, lease, key=key, value=b"x", ignore_value=True, lease=1,
          ignore_lease=True)  # fmt: skip
    fails(v.a.Put, bad, NO_KEY, key=b"", value=b"x", ignore_value=True)
    v.put("a")
    fails(v.a.Put, bad, value, key=key, value=b"x", ignore_value=True, lease=12345)


@case(21)
def an_unknown_lease(v: View):
    unknown = "etcdserver: requested lease not found"
    for lease in (12345, -12345, 2**63 - 1):
        fails(v.a.Put, "NOT_FOUND", unknown, key=v.key("a"), lease=lease)
    fails(v.a.Put, "NOT_FOUND", unknown, key=v.key("none"), lease=12345, ignore_value=True)
    both = put(v.key("none"), b"", lease=12345, ignore_value=True)
    fails(v.a.Txn, "INVALID_ARGUMENT", "etcdserver: key not found", success=[both])
    fails(v.a.Txn, "NOT_FOUND", unknown, success=[put(v.key("none"), b"", lease=12345)])
    assert v.names() == []


@case(22)
def a_range_delete_goes_in_key_order(v: View):
    for name in ("c", "a", "b"):
        v.put(name, name.encode())
    with v.watch(key=v.space, range_end=v.end) as stream:
        stream.created()
        answer = v.a.DeleteRange(key=v.space, range_end=v.end, prev_kv=True)
        events = stream.events(3)
    assert [kv.value for kv in answer.prev_kvs] == [b"a", b"b", b"c"]
    assert [event.kv.key for event in events] == [v.key("a"), v.key("b"), v.key("c")]


@case(23, once=True)
def sizes(v: View):
    """The whole request counts; half a MiB above the limit the transport steps in."""
    limit = MIB + MIB // 2
    v.put("a", b"x" * (limit - 100))
    assert len(v.get("a").value) == limit - 100
    for size in (limit, limit + MIB // 2 - 100):
        fails(v.a.Put, "INVALID_ARGUMENT", TOO_LARGE, key=v.key("a"), value=b"x" * size)
    many = [put(v.key(f"k{n}"), b"x" * 20_000) for n in range(80)]
    fails(v.a.Txn, "INVALID_ARGUMENT", TOO_LARGE, success=many)
    fails(v.a.Txn, "INVALID_ARGUMENT", TOO_LARGE, failure=many)
    assert len(v.a.Txn(success=many[:70]).responses) == 70
    for call, fields in (
        (v.a.Put, {"key": b"k", "value": b"x" * (2 * MIB)}),
        (v.a.Range, {"key": b"k", "range_end": b"x" * (2 * MIB)}),
        (v.a.Txn, {"failure": [*many, put(v.key("b"), b"x" * MIB)]}),
    ):
        text = fails(call, "RESOURCE_EXHAUSTED", **fields)
        assert "received message larger than max" in text, text
    v.a.DeleteRange(key=v.space, range_end=v.end)


@case(23, once=True)
def the_border_of_the_size(v: View):
    """The request of 1.5 MiB passes or not by the bytes that the log would hold."""
    limit = MIB + MIB // 2
    key = v.key("a")
    room = limit - pb.PutRequest(key=key, value=b"x" * limit).ByteSize() + limit
    fails(v.a.Put, "INVALID_ARGUMENT", TOO_LARGE, key=key, value=b"x" * (room + 1))
    v.a.Put(key=key, value=b"x" * (room - 64))
    v.delete("a")
    assert v.a.Range(key=b"k", range_end=b"x" * limit).count >= 0, "of reads there is no size"


@case(11, 13, once=True)
def a_long_answer(v: View):
    """An answer may be larger than any request."""
    for start in range(0, 300, 100):
        v.txn(*(put(v.key(f"k{n:03}"), b"x" * 12_000) for n in range(start, start + 100)))
    answer = v.range()
    assert answer.count == len(answer.kvs) == 300 and answer.ByteSize() > 3 * MIB
    v.a.DeleteRange(key=v.space, range_end=v.end)
