"""Cases about transactions: points 24 to 36 of etcd's semantics."""

from __future__ import annotations

import grpc

from tests.live.spec_kit import View, case, delete, fails, get, nested, pb, put, until, when
from tests.live.spec_kv import COMPACTED, FUTURE

DUPLICATE = "etcdserver: duplicate key given in txn request"
TOO_MANY = "etcdserver: too many operations in txn request"
NOT_FOUND = "etcdserver: key not found"
BAD = "INVALID_ARGUMENT"
RESULTS = ("EQUAL", "NOT_EQUAL", "GREATER", "LESS")


def holds(v: View, *compares: pb.Compare) -> bool:
    """Whether a transaction would go to its success."""
    read = [get(b"a")]  # without one that is linearizable, etcd compares what this member has
    return v.b.Txn(compare=compares, success=read, failure=read).succeeded


@case(24)
def a_missing_key_is_all_zeros(v: View):
    key = v.key("none")
    for target, operand in (
        ("VERSION", "version"),
        ("CREATE", "create_revision"),
        ("MOD", "mod_revision"),
        ("LEASE", "lease"),
    ):
        assert holds(v, when(key, target, "EQUAL", **{operand: 0}))
        assert holds(v, when(key, target, "LESS", **{operand: 1}))
        assert holds(v, when(key, target, "GREATER", **{operand: -1}))
        assert not holds(v, when(key, target, "NOT_EQUAL", **{operand: 0}))
    for result in RESULTS:
        for value in (b"", b"x"):
            assert not holds(v, when(key, "VALUE", result, value=value)), (result, value)


@case(24)
def all_targets_and_results(v: View):
    lease = v.lease(id=4711)
    first = v.put("a", b"1")
    v.put("a", b"2", lease=lease)
    real = {
        ("VERSION", "version"): 2,
        ("CREATE", "create_revision"): first,
        ("MOD", "mod_revision"): first + 1,
        ("LEASE", "lease"): lease,
    }
    for (target, operand), number in real.items():
        for delta in (-1, 0, 1):
            seen = [
                holds(v, when(v.key("a"), target, result, **{operand: number + delta}))
                for result in RESULTS
            ]
            assert seen == [delta == 0, delta != 0, delta < 0, delta > 0], (target, delta)
    for value in (b"", b"1", b"2", b"20", b"3", b"\xff"):
        seen = [holds(v, when(v.key("a"), "VALUE", result, value=value)) for result in RESULTS]
        assert seen == [value == b"2", value != b"2", b"2" > value, b"2" < value], value


@case(25)
def operands_that_are_not_set(v: View):
    v.put("a", b"1")
    v.put("empty", b"")
    assert holds(v, when(v.key("none"), "VERSION"))
    assert holds(v, when(v.key("a"), "VERSION", "GREATER"))
    assert holds(v, when(v.key("none"), "MOD", version=17)), "of another kind: 0"
    assert holds(v, when(v.key("a"), "LEASE", mod_revision=17))
    assert holds(v, when(v.key("empty"), "VALUE"))
    assert holds(v, when(v.key("empty"), "VALUE", version=3))
    assert holds(v, when(v.key("a"), "VALUE", "GREATER"))
    assert not holds(v, when(v.key("a"), "VERSION", value=b"1"))


@case(25)
def unknown_targets_and_results(v: View):
    """They hold in etcd, which looks at known ones alone; here they may be refused."""
    v.put("a", b"1")
    for strange in (
        when(v.key("a"), 9, "EQUAL", version=5),
        when(v.key("a"), "VERSION", 9, version=5),
        when(v.key("a"), "VALUE", 9, value=b"1"),
    ):
        try:
            assert holds(v, strange)
        except grpc.RpcError as error:
            assert error.code().name == BAD


@case(26)
def compares_of_an_interval(v: View):
    low = v.put("a", b"x")
    v.put("b", b"x")
    high = v.put("c", b"y")
    a, c, end = v.key("a"), v.key("c"), v.key("d")
    assert holds(v, when(a, "VALUE", "EQUAL", c, value=b"x"))
    assert not holds(v, when(a, "VALUE", "EQUAL", end, value=b"x"))
    assert holds(v, when(a, "MOD", "LESS", end, mod_revision=high + 1))
    assert not holds(v, when(a, "MOD", "GREATER", end, mod_revision=low))
    assert holds(v, when(c, "MOD", "GREATER", b"\0", mod_revision=low)) in (True, False)
    empty = v.key("x"), v.key("y")
    assert holds(v, when(empty[0], "VERSION", "EQUAL", empty[1], version=0))
    assert not holds(v, when(empty[0], "VERSION", "GREATER", empty[1], version=0))
    assert not holds(v, when(empty[0], "VALUE", "NOT_EQUAL", empty[1], value=b"q"))
    assert holds(v, when(end, "CREATE", "EQUAL", a, create_revision=0)), "inverted: empty"
    assert holds(v, when(a, "CREATE", "EQUAL", a, create_revision=0)), "equal ends: empty"


@case(27)
def compares_see_the_state_before(v: View):
    exists = when(v.key("a"), "VERSION", "GREATER", version=0)
    inner = nested(put(v.key("yes")), compare=[exists], failure=[put(v.key("no"))])
    answer = v.txn(put(v.key("a")), inner)
    assert not answer.responses[1].response_txn.succeeded
    assert v.names() == [b"a", b"no"]


@case(27)
def compares_of_deep_trees(v: View):
    v.put("a", b"1")
    is_one = when(v.key("a"), "VALUE", value=b"1")
    leaf = nested(put(v.key("leaf")), compare=[is_one])
    answer = v.txn(delete(v.key("a")), nested(nested(leaf), compare=[is_one]), compare=[is_one])
    middle = answer.responses[1].response_txn
    assert middle.succeeded and middle.responses[0].response_txn.succeeded
    assert middle.responses[0].response_txn.responses[0].response_txn.succeeded
    assert v.names() == [b"leaf"]


@case(28)
def reads_inside_see_earlier_writes(v: View):
    before = v.put("b", b"old")
    answer = v.txn(
        get(v.key("a")), put(v.key("a"), b"1"), get(v.key("a")),
        put(v.key("c"), b"0"), delete(v.key("b")),
        get(v.space, v.end, sort_target="VALUE", sort_order="DESCEND", limit=1),
        get(v.space, v.end, count_only=True), get(v.space, v.end, keys_only=True),
    )  # fmt: skip
    reads = [response.response_range for response in answer.responses]
    assert not reads[0].kvs
    assert (reads[2].kvs[0].value, reads[2].kvs[0].mod_revision) == (b"1", before + 1)
    assert ([kv.value for kv in reads[5].kvs], reads[5].count, reads[5].more) == ([b"1"], 2, True)
    assert (reads[6].count, len(reads[6].kvs)) == (2, 0)
    assert [kv.value for kv in reads[7].kvs] == [b"", b""]


@case(29)
def old_revisions_inside(v: View):
    old = v.put("a", b"1")
    now = v.put("a", b"2")
    answer = v.txn(put(v.key("a"), b"3"), get(v.key("a"), revision=old), get(v.key("a")))
    assert answer.responses[1].response_range.kvs[0].value == b"1"
    assert answer.responses[2].response_range.kvs[0].value == b"3"
    ahead = get(v.key("a"), revision=now + 2)
    fails(v.txn, "OUT_OF_RANGE", FUTURE, failure=[ahead], compare=[when(v.key("a"), "VERSION")])
    if not v.is_etcd():  # point 34: its members would differ from then on
        fails(v.a.Txn, "OUT_OF_RANGE", FUTURE, success=[put(v.key("b")), ahead])
    assert v.get("b") is None and v.revision == now + 1


@case(30)
def inner_headers(v: View):
    v.put("x")
    now = v.revision
    answer = v.txn(
        get(v.key("x")), delete(v.key("none")), put(v.key("a")), get(v.key("a")),
        nested(put(v.key("b")), get(v.key("b"))), delete(v.key("x")),
    )  # fmt: skip
    header = answer.header
    assert header.cluster_id and header.member_id and header.raft_term
    assert header.revision == now + 1
    inner = [getattr(one, one.WhichOneof("response")) for one in answer.responses]
    assert all(one.HasField("header") for one in inner)
    assert [one.header.revision for one in inner] == [now, now, now + 1, now + 1, 0, now + 1]
    assert inner[4].header.ByteSize() == 0
    assert [one.response_put.header.revision for one in inner[4].responses[:1]] == [now + 1]
    assert not any(one.header.member_id or one.header.raft_term for one in inner)
    assert not any(one.header.cluster_id for one in inner)


@case(31)
def checks_on_the_request_cover_both_branches(v: View):
    yes = when(v.key("none"), "VERSION")
    ok = put(v.key("ok"))
    for bad, text in (
        (put(b""), "etcdserver: key is not provided"),
        (put(v.key("a"), b"v", ignore_value=True), "etcdserver: value is provided"),
        (put(v.key("a"), b"v", ignore_lease=True, lease=3), "etcdserver: lease is provided"),
        (nested(put(b"")), "etcdserver: key is not provided"),
    ):
        fails(v.a.Txn, BAD, text, compare=[yes], success=[ok], failure=[bad])
        fails(v.a.Txn, BAD, text, compare=[yes], success=[ok, bad])
    twice = [put(v.key("a")), put(v.key("a"))]
    fails(v.a.Txn, BAD, DUPLICATE, compare=[yes], success=[ok], failure=twice)
    assert v.names() == []


@case(31)
def checks_on_the_store_cover_what_runs(v: View):
    yes = when(v.key("none"), "VERSION")
    now = v.put("z")
    for bad, code, text in (
        (put(v.key("a"), b"v", lease=12345), "NOT_FOUND", "etcdserver: requested lease not found"),
        (put(v.key("a"), b"", ignore_value=True), BAD, NOT_FOUND),
        (put(v.key("a"), b"v", ignore_lease=True), BAD, NOT_FOUND),
        (get(v.key("a"), revision=now + 100), "OUT_OF_RANGE", FUTURE),
    ):
        answer = v.a.Txn(compare=[yes], success=[put(v.key("ok"))], failure=[bad])
        assert answer.succeeded
        v.delete("ok")
        careful = v.is_etcd() and bad.HasField("request_range")  # point 34
        others = [] if careful else [put(v.key("ok"))]
        fails(v.a.Txn, code, text, compare=[yes], success=[*others, bad])
        fails(v.a.Txn, code, text, success=[*others, nested(bad)])
        assert v.names() == [b"z"]


@case(31)
def a_compacted_read_refuses_the_whole(v: View):
    old = v.put("a", b"1")
    now = v.put("a", b"2")
    v.a.Compact(revision=now)
    past = get(v.key("a"), revision=old)
    fails(v.a.Txn, "OUT_OF_RANGE", COMPACTED, success=[past])
    assert v.a.Txn(failure=[past]).succeeded
    assert v.revision == now


@case(32)
def keys_written_twice(v: View):
    a = v.key("a")
    low, high = v.key("A"), v.key("z")
    for pair in (
        [put(a), put(a)],
        [put(a), delete(a)],
        [delete(a), put(a)],
        [delete(low, high), put(a)],
        [put(a), delete(low, high)],
        [put(a), nested(put(a))],
        [nested(put(a)), nested(put(a))],
        [nested(put(a)), nested(failure=[put(a)])],
        [delete(a), nested(put(a))],
        [nested(delete(low, high)), put(a)],
    ):
        fails(v.a.Txn, BAD, DUPLICATE, success=pair)
        fails(v.a.Txn, BAD, DUPLICATE, failure=pair)
        fails(v.a.Txn, BAD, DUPLICATE, success=[nested(*pair)])
    assert v.names() == []


@case(32)
def overlaps_that_are_fine(v: View):
    a = v.key("a")
    low, high = v.key("A"), v.key("z")
    for fine in (
        {"success": [delete(a), delete(a)]},
        {"success": [delete(low, high), delete(a), delete(low, high)]},
        {"success": [put(a)], "failure": [put(a)]},
        {"success": [put(a)], "failure": [delete(a)]},
        {"success": [nested(put(a), failure=[put(a)])]},
        {"success": [put(a), get(a), get(low, high)]},
        {"success": [put(a), delete(v.key("b"), high)]},
        {"success": [delete(high, low), put(a)]},
    ):
        assert v.a.Txn(**fine).succeeded
    assert v.names() == [b"a"]


@case(33)
def two_overlaps_escape(v: View):
    """Executed in order, or refused: etcd does the first."""
    a = v.key("a")
    end = b"\0"
    top = b"\xfe" + v.space  # nothing of the other cases is above it
    try:
        assert len(v.a.Txn(success=[delete(top, end), put(top + b"x", b"1")]).responses) == 2
        assert v.b.Range(key=top + b"x").count == 1
    except grpc.RpcError as error:
        assert error.details() == DUPLICATE
    try:
        v.a.Txn(success=[nested(put(a)), nested(delete(a))])
    except grpc.RpcError as error:
        assert error.details() == DUPLICATE
    assert v.names() == []
    v.a.DeleteRange(key=top, range_end=b"\0")


@case(34)
def members_agree_on_refusals(v: View):
    """A transaction that is refused for its read alone is refused everywhere."""
    now = v.put("a")
    if v.is_etcd():  # before 3.7 its members differ from then on, which would spoil the rest
        return
    fails(v.a.Txn, "OUT_OF_RANGE", success=[put(v.key("b")), get(v.key("a"), revision=now + 9)])
    for api in v.all:
        until(lambda: api.Range(key=v.key("a"), serializable=True).count == 1, "a is there")
        assert api.Range(key=v.key("b"), serializable=True).count == 0
    assert v.put("c") == now + 1


@case(35)
def at_most_128_operations(v: View):
    gets = [get(v.key("a"))] * 129
    compares = [when(v.key("a"), "VERSION")] * 129
    assert len(v.a.Txn(success=gets[:128], failure=gets[:128]).responses) == 128
    assert v.a.Txn(compare=compares[:128], success=gets[:128]).succeeded
    fails(v.a.Txn, BAD, TOO_MANY, success=gets)
    fails(v.a.Txn, BAD, TOO_MANY, failure=gets)
    fails(v.a.Txn, BAD, TOO_MANY, compare=compares)


@case(35)
def nested_operations_get_what_is_left(v: View):
    gets = [get(v.key("a"))] * 129
    assert v.a.Txn(success=[nested(*gets[:127])]).succeeded
    fails(v.a.Txn, BAD, TOO_MANY, success=[nested(*gets[:128])])
    assert v.a.Txn(success=[*gets[:99], nested(*gets[:28])]).succeeded
    fails(v.a.Txn, BAD, TOO_MANY, success=[*gets[:99], nested(*gets[:29])])
    fails(v.a.Txn, BAD, TOO_MANY, success=[nested(*gets[:29])], failure=gets[:100])
    compares = [when(v.key("a"), "VERSION")] * 100
    fails(v.a.Txn, BAD, TOO_MANY, compare=compares, failure=[nested(*gets[:29])])
    assert v.a.Txn(success=[nested(*gets[:63]), nested(*gets[:126])]).succeeded
    deep = nested(nested(*gets[:125]))
    assert v.a.Txn(success=[deep, *gets[:1]]).succeeded
    fails(v.a.Txn, BAD, TOO_MANY, success=[nested(nested(*gets[:126])), *gets[:1]])


@case(36)
def an_operation_without_a_request(v: View):
    empty = pb.RequestOp()
    fails(v.a.Txn, BAD, NOT_FOUND, success=[empty])
    fails(v.a.Txn, BAD, NOT_FOUND, failure=[empty])
    fails(v.a.Txn, BAD, NOT_FOUND, success=[put(v.key("a")), nested(empty)])
    assert v.names() == []


@case(2, 22)
def a_delete_in_a_transaction(v: View):
    for name in "ab":
        v.put(name, name.encode())
    answer = v.txn(delete(v.space, v.end, prev_kv=True), get(v.space, v.end))
    gone = answer.responses[0].response_delete_range
    assert gone.deleted == 2 and [kv.value for kv in gone.prev_kvs] == [b"a", b"b"]


@case(18)
def prev_kv_inside_a_transaction(v: View):
    v.put("a", b"1")
    answer = v.txn(put(v.key("a"), b"2", prev_kv=True), put(v.key("b"), b"2", prev_kv=True))
    assert answer.responses[0].response_put.prev_kv.value == b"1"
    assert not answer.responses[1].response_put.HasField("prev_kv")


@case(3, 30)
def an_empty_transaction(v: View):
    answer = v.a.Txn()
    assert answer.succeeded and not answer.responses and answer.header.member_id
    inner = v.txn(nested()).responses[0].response_txn
    assert inner.succeeded and inner.header.ByteSize() == 0


@case(17)
def a_read_only_transaction_is_linearizable(v: View):
    for n in range(10):
        v.put("a", b"%d" % n)
        answer = v.b.Txn(success=[get(v.key("a"))])
        assert answer.responses[0].response_range.kvs[0].value == b"%d" % n
    local = v.a.Txn(success=[get(v.key("a"), serializable=True)])
    assert local.responses[0].response_range.count == 1
