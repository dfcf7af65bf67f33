"""Bytes that are written by hand are those that protobuf writes; requests keep every field."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError

from kvlearn.errors import TooManyOps
from kvlearn.kv.requests import (
    Answer,
    DeleteRange,
    DeleteResult,
    Header,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from kvlearn.kv.txn import Compare, OpResult, Txn, TxnResult, depth_of
from kvlearn.kv.watches import WatchCreate
from kvlearn.live import wire
from kvlearn.live.proto import auth_pb2, election_pb2, kv_pb2, lock_pb2
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.live.proto.__main__ import HERE, compiled, module_of
from kvlearn.mvcc.revision import KeyValue
from kvlearn.mvcc.watch import DELETE, PUT, KVEvent, WatchResponse

NUMBERS = 0, 1, 127, 128, 0xFFF, 0x1000, 0x3FFF, 0x4000, 0x1FFFFF, 0x200000, 2**31, 2**63 - 1
TEXTS = b"", b"a", b"\xff\x00", b"k" * 127, b"k" * 128, b"v" * 5000


def some_pair(rng: Random) -> KeyValue:
    """A pair of numbers and bytes at the limits of what takes one more byte."""
    number = lambda: rng.choice(NUMBERS)  # noqa: E731
    lease = rng.choice((0, 5, -5, 2**63 - 1, -(2**63)))
    key, value = rng.choice(TEXTS), rng.choice(TEXTS)
    if rng.random() < 0.3:
        return KeyValue(key, b"", 0, number())  # a deletion
    return KeyValue(key, value, number() or 1, number() or 1, rng.choice((1, 300)), lease)


def pair_of(kv: KeyValue):
    """The same by protobuf."""
    return kv_pb2.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def head_of(header: Header):
    """The same by protobuf."""
    return rpc.ResponseHeader(
        cluster_id=header.cluster_id,
        member_id=header.member_id,
        revision=header.revision,
        raft_term=header.raft_term,
    )


@pytest.mark.parametrize("number", [*NUMBERS, -1, -(2**63), 2**64 - 1])
def test_a_number_takes_the_bytes_that_it_needs(number):
    kind = rpc.LeaseStatus if number < 2**63 else rpc.MemberRemoveRequest
    assert b"\x08" * bool(number) + wire.varint(number) * bool(number) == (
        kind(ID=number).SerializeToString()
    )


@pytest.mark.parametrize("seed", range(40))
def test_answers_are_written_as_protobuf_writes_them(seed):
    rng = Random(seed)
    number = lambda: rng.choice(NUMBERS)  # noqa: E731
    header = Header(rng.choice((0, 2**64 - 1, 77)), rng.choice((0, 2**63, 3)), number(), number())
    pairs = tuple(some_pair(rng) for _ in range(rng.randrange(4)))
    more, count = rng.random() < 0.5, number()
    kvs = [pair_of(kv) for kv in pairs]
    got = rpc.RangeResponse(header=head_of(header), kvs=kvs, more=more, count=count)
    deleted = rpc.DeleteRangeResponse(header=head_of(header), deleted=count, prev_kvs=kvs)
    put = rpc.PutResponse(header=head_of(header), prev_kv=kvs[0] if kvs else None)
    for result, message in (
        (RangeResult(pairs, more, count), got),
        (DeleteResult(count, pairs), deleted),
        (PutResult(pairs[0] if pairs else None), put),
    ):
        made = wire.answer_bytes(Answer(1, header, result))
        assert made == message.SerializeToString(), f"seed {seed}: {result!r}"


@pytest.mark.parametrize("seed", range(40))
def test_watch_responses_are_written_as_protobuf_writes_them(seed):
    rng = Random(seed)
    events, messages = [], []
    for _ in range(rng.randrange(4)):
        kind, kv = rng.choice((PUT, DELETE)), some_pair(rng)
        before = some_pair(rng) if rng.random() < 0.5 else None
        events.append(KVEvent(kind, kv, before))
        messages.append(
            kv_pb2.Event(
                type=kind.upper(), kv=pair_of(kv), prev_kv=before and pair_of(before) or None
            )
        )
    told = WatchResponse(
        *(rng.choice((0, 3, -1)), rng.choice(NUMBERS), rng.random() < 0.5, rng.random() < 0.5),
        *(rng.choice(NUMBERS), rng.choice(("", "käse")), rng.random() < 0.5, tuple(events)),
    )
    wanted = rpc.WatchResponse(
        header=head_of(Header(5, 6, told.revision, 7)),
        watch_id=told.watch_id,
        created=told.created,
        canceled=told.canceled,
        compact_revision=told.compact_revision,
        cancel_reason=told.cancel_reason,
        fragment=told.fragment,
        events=messages,
    )
    bytes_of = wire.WatchBytes().of
    made = bytes_of(Header(5, 6, 1, 7), told)
    assert made == wanted.SerializeToString(), f"seed {seed}"


def test_events_are_written_once_for_all_watchers(monkeypatch):
    made = []
    write = wire.event_bytes
    monkeypatch.setattr(wire, "event_bytes", lambda event: made.append(event) or write(event))
    encoder = wire.WatchBytes()
    events = [(KVEvent(PUT, KeyValue(b"a", b"%d" % i, 1, i, 1)),) for i in range(5)]
    for watcher in range(100):
        for i, one in enumerate(events):
            told = wire_told(encoder, WatchResponse(watcher, i, events=one))
            assert told.watch_id == watcher and told.events[0].kv.value == b"%d" % i
    assert len(made) == 5
    again = (KVEvent(*(PUT, KeyValue(b"a", b"0", 1, 0, 1))),)
    assert again == events[0] and wire_told(encoder, WatchResponse(1, 1, events=again)).events
    assert len(made) == 6  # equal, but another tuple


def test_what_is_remembered_of_events_is_bounded_and_never_mixed_up():
    encoder = wire.WatchBytes()
    for i in range(3 * encoder.REMEMBERED):
        # The tuple is gone after each turn, so that the next may get its identity.
        one = (KVEvent(PUT, KeyValue(b"a", b"%d" % i, 1, 2, 1)),)
        assert wire_told(encoder, WatchResponse(0, 1, events=one)).events[0].kv.value == b"%d" % i
        assert len(encoder._made) <= encoder.REMEMBERED
    big = [(KVEvent(PUT, KeyValue(b"a", b"x" * 1_000_000, 1, 2, 1)),) for _ in range(20)]
    for one in big:
        encoder.events(one)
    assert len(encoder._made) < 10


def wire_told(encoder, response):
    """A response there and back."""
    return rpc.WatchResponse.FromString(encoder.of(Header(1, 2, 3, 4), response))


def test_requests_keep_every_field():
    get = Range(b"a", b"b", 3, 4, "descend", "value", True, True, True, 5, 6, 7, 8)
    message = rpc.RangeRequest(
        **{"key": b"a", "range_end": b"b", "limit": 3, "revision": 4, "sort_order": "DESCEND"},
        **{"sort_target": "VALUE", "serializable": True, "keys_only": True, "count_only": True},
        **{"min_mod_revision": 5, "max_mod_revision": 6, "min_create_revision": 7},
        max_create_revision=8,
    )
    put = Put(b"a", b"b", -3, True, True, True)
    put_message = rpc.PutRequest(
        key=b"a", value=b"b", lease=-3, prev_kv=True, ignore_value=True, ignore_lease=True
    )
    delete = DeleteRange(b"a", b"b", True)
    delete_message = rpc.DeleteRangeRequest(key=b"a", range_end=b"b", prev_kv=True)
    watch = WatchCreate(b"a", b"b", 5, 6, True, ("delete", "put"), True, True)
    watch_message = rpc.WatchCreateRequest(
        **{"key": b"a", "range_end": b"b", "start_revision": 5, "watch_id": 6, "prev_kv": True},
        **{"filters": ["NODELETE", "NOPUT", "NOPUT"], "progress_notify": True, "fragment": True},
    )
    for message, request in (
        (message, get),
        (put_message, put),
        (delete_message, delete),
        (watch_message, watch),
    ):
        assert wire.request_of(message) == request
    assert wire.put_of(put_message.SerializeToString()) == put
    txn = rpc.TxnRequest(
        compare=[rpc.Compare(key=b"a", target="MOD", result="LESS", mod_revision=3)],
        success=[rpc.RequestOp(request_put=put_message), rpc.RequestOp()],
        failure=[rpc.RequestOp(request_txn=rpc.TxnRequest())],
    )
    compare = Compare(b"a", "mod", "less", 3)
    assert wire.request_of(txn) == Txn((compare,), (put, None), (Txn(),))


def nested(depth: int):
    """Transactions in one another, each with a compare; the innermost puts."""
    txn = at = rpc.TxnRequest()
    for i in range(depth - 1):
        at.compare.add(key=b"a", version=i)
        at = (at.failure if i % 3 else at.success).add().request_txn
    at.success.add().request_put.key = b"deep"
    at.failure.add()
    return txn


def test_a_deep_transaction_is_read_level_by_level():
    assert wire._deep_txn(nested(20).SerializeToString(), 128) == wire.request_of(nested(20))
    data = nested(128).SerializeToString()
    with pytest.raises(DecodeError):
        rpc.TxnRequest.FromString(data)
    txn = wire.txn_of(data)
    assert depth_of(txn) == 128
    for i in range(127):
        assert txn.compare[0].operand == i
        [txn] = txn.failure if i % 3 else txn.success
    assert txn == Txn((), (Put(b"deep"),), (None,))
    with pytest.raises(TooManyOps):
        wire.txn_of(nested(129).SerializeToString())
    with pytest.raises(TooManyOps):
        wire.txn_of(nested(5000).SerializeToString())
    with pytest.raises(DecodeError):
        wire.txn_of(b"\x12\xff")


def test_words_that_do_not_exist_are_told_and_refused_later():
    get = wire.request_of(rpc.RangeRequest(key=b"a", sort_order=9, sort_target=-1))
    assert (get.sort_order, get.sort_target) == ("number 9", "number -1")
    compare = wire.request_of(
        rpc.TxnRequest(compare=[rpc.Compare(key=b"a", target=9, result=-4, version=3)])
    ).compare[0]
    assert (compare.target, compare.result, compare.operand) == ("number 9", "number -4", 0)
    assert wire.request_of(rpc.WatchCreateRequest(filters=[1, 7, -1])).filters == ("delete",)


@pytest.mark.parametrize("target", range(5))
@pytest.mark.parametrize("given", [None, *wire.OPERANDS])
def test_an_operand_of_another_kind_counts_as_none(target, given):
    value = b"x" if given == "value" else 7
    message = rpc.Compare(key=b"a", target=target, **({given: value} if given else {}))
    compare = wire.request_of(rpc.TxnRequest(compare=[message])).compare[0]
    nothing = b"" if compare.target == "value" else 0
    assert compare.operand == (value if given == wire.OPERANDS[target] else nothing)


def test_inner_headers_have_a_revision_alone():
    inner = TxnResult(True, (OpResult(5, PutResult()),))
    result = TxnResult(False, (OpResult(4, RangeResult()), OpResult(0, inner)))
    data = wire.answer_bytes(Answer(1, Header(1, 2, 3, 4), result))
    got, nested = rpc.TxnResponse.FromString(data).responses
    assert got.response_range.header == rpc.ResponseHeader(revision=4)
    assert nested.response_txn.HasField("header")
    assert nested.response_txn.header == rpc.ResponseHeader()
    assert nested.response_txn.responses[0].response_put.header == rpc.ResponseHeader(revision=5)


# The modules of the .proto files ------------------------------------------------------------


def test_the_modules_are_those_of_the_files():
    pytest.importorskip("grpc_tools")
    for name, description in compiled().items():
        made = HERE / name.replace(".proto", "_pb2.py")
        assert made.read_text() == module_of(name, description), f"{name}: make {made.name} anew"


def test_etcds_names_are_left_to_others_in_the_process():
    for module in (kv_pb2, auth_pb2, rpc, lock_pb2, election_pb2):
        kind = next(iter(module.FILE.messages.values()))
        with pytest.raises(KeyError):
            descriptor_pool.Default().FindMessageTypeByName(kind.DESCRIPTOR.full_name)


def test_the_slow_half_of_protobuf_understands_them_too():
    """Where there is no compiled half of protobuf, its Python half serves."""
    program = (
        "from kvlearn.live.proto import rpc_pb2 as rpc, lock_pb2, election_pb2\n"
        "put = rpc.PutRequest(key=b'a', lease=-1)\n"
        "assert rpc.PutRequest.FromString(put.SerializeToString()) == put\n"
        "print(rpc.AlarmType.Name(rpc.NOSPACE), len(rpc.FILE.methods))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "NOSPACE 41\n", done.stderr
