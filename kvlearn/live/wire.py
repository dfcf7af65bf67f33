"""A server's side of etcd's messages: protobuf in, the core's requests; answers out, as bytes.

>>> request = request_of(rpc.RangeRequest(key=b"a", sort_order="DESCEND", sort_target="MOD"))
>>> print(request, request.sort_order, request.sort_target)
get a descend mod

What every put, get and event passes is written here by hand, field by field, which is cheaper than
to make the messages; the rest is left to protobuf. A field is a tag and a value, and what is empty
is left out:

    0a 01 61      field 1, bytes, 1 of them: "a"        KeyValue(key=b"a",
    10 02         field 2, a number: 2                           create_revision=2,
    18 ac 02      field 3, a number: 300, 7 bits a byte          mod_revision=300)

>>> pair_bytes(KeyValue(b"a", b"", 2, 300)).hex(" ")
'0a 01 61 10 02 18 ac 02'

The events of a revision are the same for all watchers of one style, so their bytes are made once:
a response is the few bytes that are its own, and those behind them (`WatchBytes`).

Source: protobuf.dev/programming-guides/encoding; etcd api/etcdserverpb/rpc.proto; server/etcdserver
/api/v3rpc/key.go, watch.go. Differs: a word that does not exist (a sort order, a comparison) is
refused, where etcd 3.5.1 stops or takes it for true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from kvlearn.errors import TooManyOps
from kvlearn.kv.leases import (
    Compact,
    CompactResult,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseResult,
    LeaseRevoke,
    LeasesResult,
    LeaseTimeResult,
    LeaseTimeToLive,
)  # fmt: skip
from kvlearn.kv.requests import (
    SORT_ORDERS,
    SORT_TARGETS,
    Answer,
    DeleteRange,
    DeleteResult,
    Header,
    Put,
    PutResult,
    Range,
    RangeResult,
)  # fmt: skip
from kvlearn.kv.txn import MAX_OPS, RESULTS, TARGETS, Compare, OpResult, Txn, TxnResult
from kvlearn.kv.upkeep import (
    ALARM_ACTIONS,
    ALARM_WORDS,
    Alarm,
    AlarmResult,
    Defragment,
    DefragmentResult,
    HashKV,
    HashResult,
    Status,
    StatusResult,
)  # fmt: skip
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.live.proto import flat_pb2 as flat
from kvlearn.live.proto import kv_pb2
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.mvcc.revision import KeyValue
from kvlearn.mvcc.watch import DELETE, FILTERS, KVEvent, WatchResponse

ORDERS, SORTED_BY = SORT_ORDERS, tuple(SORT_TARGETS)  # in the order of etcd's numbers
COMPARED, STANDS = tuple(TARGETS), tuple(RESULTS)
OPERANDS = "version", "create_revision", "mod_revision", "value", "lease"  # of COMPARED
MASK = (1 << 64) - 1  # negative numbers travel as large ones


def word(words: tuple[str, ...], number: int) -> str:
    """The word of an enum's number; a number without one gives a word that is refused later."""
    return words[number] if 0 <= number < len(words) else f"number {number}"


# Requests -----------------------------------------------------------------------------------


def put_of(data: bytes) -> Put:
    """The request in the bytes of a PutRequest. Raises: DecodeError."""
    return _put(rpc.PutRequest.FromString(data))


def _put(m: Any) -> Put:
    return Put(m.key, m.value, m.lease, m.prev_kv, m.ignore_value, m.ignore_lease)


def _range(m: Any) -> Range:
    return Range(
        *(m.key, m.range_end, m.limit, m.revision),
        *(word(ORDERS, m.sort_order), word(SORTED_BY, m.sort_target)),
        *(m.serializable, m.keys_only, m.count_only),
        *(m.min_mod_revision, m.max_mod_revision, m.min_create_revision, m.max_create_revision),
    )


def _delete(m: Any) -> DeleteRange:
    return DeleteRange(m.key, m.range_end, m.prev_kv)


def _compare(m: Any) -> Compare:
    """An operand in the field of another target counts as none: 0, or no bytes."""
    target = word(COMPARED, m.target)
    given = m.WhichOneof("target_union")
    fits = m.target < len(OPERANDS) and given == OPERANDS[m.target]
    operand = getattr(m, given) if fits else b"" if target == "value" else 0
    return Compare(m.key, target, word(STANDS, m.result), operand, m.range_end)


def _txn(m: Any) -> Txn:
    return Txn(
        tuple(map(_compare, m.compare)), tuple(map(_op, m.success)), tuple(map(_op, m.failure))
    )


def _op(m: Any) -> Any:
    """One operation; None where nothing is set, which the store refuses."""
    given = m.WhichOneof("request")
    return _OPS[given](getattr(m, given)) if given else None


def txn_of(data: bytes) -> Txn:
    """The request in the bytes of a TxnRequest, also where protobuf gives up: it follows messages
    in messages about 100 levels down, and the store takes more transactions in one another.

    Raises: TooManyOps, DecodeError.
    """
    try:
        return _txn(rpc.TxnRequest.FromString(data))
    except DecodeError:
        return _deep_txn(data, MAX_OPS)


def _deep_txn(data: bytes, room: int) -> Txn:
    """Level by level: what is a message in rpc.proto is bytes in flat.proto, to be parsed next."""
    if not room:
        raise TooManyOps(hint=f"more than {MAX_OPS} transactions in one another")
    m = flat.Txn.FromString(data)
    compares = tuple(_compare(rpc.Compare.FromString(one)) for one in m.compare)
    success, failure = (
        tuple(_deep_op(one, room - 1) for one in branch) for branch in (m.success, m.failure)
    )
    return Txn(compares, success, failure)


def _deep_op(data: bytes, room: int) -> Any:
    inner = flat.Op.FromString(data)
    if inner.HasField("request_txn"):
        return _deep_txn(inner.request_txn, room)
    return _op(rpc.RequestOp.FromString(data))


def _alarm(m: Any) -> Alarm:
    action, alarm = word(ALARM_ACTIONS, m.action), word(ALARM_WORDS, m.alarm)
    if action == "activate" and not alarm:  # no alarm is raised, and none named
        action = "get"
    return Alarm(action, m.memberID, alarm)


def _watch(m: Any) -> WatchCreate:
    filters = tuple(dict.fromkeys(FILTERS[n] for n in m.filters if 0 <= n < len(FILTERS)))
    return WatchCreate(
        *(m.key, m.range_end, m.start_revision, m.watch_id, m.prev_kv, filters),
        *(m.progress_notify, m.fragment),
    )


_OPS = {
    "request_range": _range,
    "request_put": _put,
    "request_delete_range": _delete,
    "request_txn": _txn,
}
_REQUESTS: dict[type, Callable[[Any], Any]] = {
    rpc.RangeRequest: _range,
    rpc.PutRequest: _put,
    rpc.DeleteRangeRequest: _delete,
    rpc.TxnRequest: _txn,
    rpc.CompactionRequest: lambda m: Compact(m.revision, m.physical),
    rpc.LeaseGrantRequest: lambda m: LeaseGrant(m.TTL, m.ID),
    rpc.LeaseRevokeRequest: lambda m: LeaseRevoke(m.ID),
    rpc.LeaseKeepAliveRequest: lambda m: LeaseKeepAlive(m.ID),
    rpc.LeaseTimeToLiveRequest: lambda m: LeaseTimeToLive(m.ID, m.keys),
    rpc.LeaseLeasesRequest: lambda m: LeaseLeases(),
    rpc.AlarmRequest: _alarm,
    rpc.StatusRequest: lambda m: Status(),
    rpc.DefragmentRequest: lambda m: Defragment(),
    rpc.HashRequest: lambda m: HashKV(),
    rpc.HashKVRequest: lambda m: HashKV(m.revision),
    rpc.WatchCreateRequest: _watch,
    rpc.WatchCancelRequest: lambda m: WatchCancel(m.watch_id),
    rpc.WatchProgressRequest: lambda m: WatchProgress(),
}


def request_of(message: Any) -> Any:
    """The core's request for a message. Raises: KeyError for one that is no request."""
    return _REQUESTS[type(message)](message)


# Bytes --------------------------------------------------------------------------------------

_SHORT = [bytes((n,)) for n in range(0x80)]
_SHORT += [bytes((n & 0x7F | 0x80, n >> 7)) for n in range(0x80, 0x1000)]


def varint(number: int) -> bytes:
    """A number, 7 bits a byte, the lowest first; all bytes but the last have the top bit set.

    >>> varint(1), varint(300), len(varint(-1))
    (b'\\x01', b'\\xac\\x02', 10)
    """
    if 0 <= number < 0x1000:
        return _SHORT[number]
    if 0x4000 <= number < 0x20_0000:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    number &= MASK
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sized(tag: bytes, content: bytes) -> bytes:
    """A field of bytes, or a message in a message."""
    return tag + varint(len(content)) + content


def _number(tag: bytes, number: int) -> bytes:
    return tag + varint(number) if number else b""


def pair_bytes(kv: KeyValue) -> bytes:
    """A mvccpb.KeyValue."""
    key, value = kv.key, kv.value
    if not (kv.version and key):  # a deletion
        out = sized(b"\x0a", key) if key else b""
        out += _number(b"\x10", kv.create_revision) + _number(b"\x18", kv.mod_revision)
        out += _number(b"\x20", kv.version)
    else:
        out = b"\x0a%b%b\x10%b\x18%b\x20%b" % (
            *(varint(len(key)), key, varint(kv.create_revision)),
            *(varint(kv.mod_revision), varint(kv.version)),
        )
    if value:
        out += b"\x2a%b%b" % (varint(len(value)), value)
    if kv.lease:
        out += b"\x30" + varint(kv.lease)
    return out


def event_bytes(event: KVEvent) -> bytes:
    """A mvccpb.Event."""
    out = b"\x08\x01" if event.type == DELETE else b""
    out += sized(b"\x12", pair_bytes(event.kv))
    if event.prev_kv is not None:
        out += sized(b"\x1a", pair_bytes(event.prev_kv))
    return out


_begins: dict[tuple[int, int], bytes] = {}  # (cluster, member) -> their fields


def header_bytes(header: Header) -> bytes:
    """Field 1 of every answer: its ResponseHeader."""
    who = header.cluster_id, header.member_id
    begin = _begins.get(who)
    if begin is None:
        begin = b"\x08" + varint(who[0]) if who[0] else b""
        begin += b"\x10" + varint(who[1]) if who[1] else b""
        _begins[who] = begin
    out = begin
    if header.revision:
        out += b"\x18" + varint(header.revision)
    if header.raft_term:
        out += b"\x20" + varint(header.raft_term)
    return b"\x0a" + varint(len(out)) + out


# Answers ------------------------------------------------------------------------------------


def header_of(header: Header) -> Any:
    """The header as a message."""
    return rpc.ResponseHeader(
        cluster_id=header.cluster_id,
        member_id=header.member_id,
        revision=header.revision,
        raft_term=header.raft_term,
    )


def pair_of(kv: KeyValue) -> Any:
    """The pair as a message."""
    return kv_pb2.KeyValue.FromString(pair_bytes(kv))


def _put_bytes(head: bytes, result: PutResult) -> bytes:
    if result.prev_kv is None:
        return head
    return head + sized(b"\x12", pair_bytes(result.prev_kv))


def _range_bytes(head: bytes, result: RangeResult) -> bytes:
    tail = b"\x18\x01" if result.more else b""
    if result.count:
        tail += b"\x20" + varint(result.count)
    if len(result.kvs) == 1:
        return head + sized(b"\x12", pair_bytes(result.kvs[0])) + tail
    return b"".join([head, *[sized(b"\x12", pair_bytes(kv)) for kv in result.kvs], tail])


def _delete_bytes(head: bytes, result: DeleteResult) -> bytes:
    out = head + b"\x10" + varint(result.deleted) if result.deleted else head
    return out + b"".join(sized(b"\x1a", pair_bytes(kv)) for kv in result.prev_kvs)


def _txn_bytes(head: bytes, result: TxnResult) -> bytes:
    out = head + b"\x10\x01" if result.succeeded else head
    return out + b"".join(sized(b"\x1a", _op_bytes(one)) for one in result.responses)


def _op_bytes(one: OpResult) -> bytes:
    """A ResponseOp: its header has a revision alone, that of a transaction nothing at all."""
    tag, encode = _OP_BYTES[type(one.result)]
    return sized(tag, encode(header_bytes(Header(revision=one.revision)), one.result))


def _lease_bytes(head: bytes, result: LeaseResult) -> bytes:
    """Of a grant and of a keep-alive, which have the same fields."""
    return head + _number(b"\x10", result.id) + _number(b"\x18", result.ttl_s)


def _lease_time_bytes(head: bytes, result: LeaseTimeResult) -> bytes:
    told = rpc.LeaseTimeToLiveResponse(
        ID=result.id, TTL=result.ttl_s, grantedTTL=result.granted_ttl_s, keys=result.keys
    )
    return head + told.SerializeToString()


def _leases_bytes(head: bytes, result: LeasesResult) -> bytes:
    told = rpc.LeaseLeasesResponse(leases=[rpc.LeaseStatus(ID=id) for id in result.ids])
    return head + told.SerializeToString()


def _alarm_bytes(head: bytes, result: AlarmResult) -> bytes:
    told = rpc.AlarmResponse(
        alarms=[
            rpc.AlarmMember(memberID=member, alarm=ALARM_WORDS.index(kind))
            for member, kind in result.alarms
        ]
    )
    return head + told.SerializeToString()


def _status_bytes(head: bytes, result: StatusResult) -> bytes:
    """The term of the status is the header's."""
    header = rpc.StatusResponse.FromString(head).header
    told = rpc.StatusResponse(
        version=result.version,
        dbSize=result.db_bytes,
        dbSizeInUse=result.db_in_use_bytes,
        leader=result.leader,
        raftIndex=result.raft_index,
        raftTerm=header.raft_term,
        raftAppliedIndex=result.raft_applied_index,
        errors=(() if result.leader else (NO_LEADER,)) + result.errors,
        isLearner=result.is_learner,
    )
    return head + told.SerializeToString()


def _hash_bytes(head: bytes, result: HashResult) -> bytes:
    """Of HashKV. Never compacted is -1 there."""
    return head + _number(b"\x10", result.hash) + _number(b"\x18", result.compact_revision or -1)


_OP_BYTES = {
    RangeResult: (b"\x0a", _range_bytes),
    PutResult: (b"\x12", _put_bytes),
    DeleteResult: (b"\x1a", _delete_bytes),
    TxnResult: (b"\x22", _txn_bytes),
}
_BYTES: dict[type, Callable[[bytes, Any], bytes]] = {
    **{kind: encode for kind, (_, encode) in _OP_BYTES.items()},
    CompactResult: lambda head, result: head,
    LeaseResult: _lease_bytes,
    LeaseTimeResult: _lease_time_bytes,
    LeasesResult: _leases_bytes,
    AlarmResult: _alarm_bytes,
    StatusResult: _status_bytes,
    HashResult: _hash_bytes,
    DefragmentResult: lambda head, result: b"",  # etcd sends no header here
    type(None): lambda head, result: head,
}
NO_LEADER = "etcdserver: no leader"  # stands among the errors of a status


def answer_bytes(answer: Answer) -> bytes:
    """The response to a request that was carried out: header and result."""
    return _BYTES[type(answer.result)](header_bytes(answer.header), answer.result)


def header_only(answer: Answer) -> bytes:
    """A response that has nothing but its header."""
    return header_bytes(answer.header)


def keep_alive_bytes(header: Header, result: LeaseResult) -> bytes:
    """A LeaseKeepAliveResponse with a header of its own."""
    return _lease_bytes(header_bytes(header), result)


def hash_only(answer: Answer) -> bytes:
    """A HashResponse: it has no compacted revision."""
    return header_bytes(answer.header) + _number(b"\x10", answer.result.hash)


def alarms_of(answer: Answer, kind: str) -> bytes:
    """An AlarmResponse with the alarms of one kind; "": of all."""
    told = tuple(one for one in answer.result.alarms if kind in ("", one[1]))
    return _alarm_bytes(header_bytes(answer.header), AlarmResult(told))


class WatchBytes:
    """Makes WatchResponses. Invariant: a tuple of events that is remembered is alive, so that no
    other one has its identity."""

    REMEMBERED = 512  # tuples of events
    REMEMBERED_BYTES = 4 << 20

    def __init__(self) -> None:
        self._made: dict[int, tuple[tuple, bytes]] = {}
        self._bytes = 0
        self._now: tuple[int, ...] = ()  # the last header, which the next response has, too
        self._head = b""

    def of(self, header: Header, response: WatchResponse) -> bytes:
        """The bytes of a response; of `header` all but the revision, which is the response's."""
        now = header.cluster_id, header.member_id, response.revision, header.raft_term
        if now != self._now:
            self._now, self._head = now, header_bytes(Header(*now))
        out = self._head
        if response.watch_id:
            out += b"\x10" + varint(response.watch_id)
        if response.created:
            out += b"\x18\x01"
        if response.canceled:
            out += b"\x20\x01"
        if response.compact_revision:
            out += b"\x28" + varint(response.compact_revision)
        if response.cancel_reason:
            out += sized(b"\x32", response.cancel_reason.encode())
        if response.fragment:
            out += b"\x38\x01"
        return out + self.events(response.events) if response.events else out

    def events(self, events: tuple[KVEvent, ...]) -> bytes:
        """The bytes of field 11, made once for one and the same tuple."""
        known = self._made.get(id(events))
        if known is not None:
            return known[1]
        made = b"".join(sized(b"\x5a", event_bytes(event)) for event in events)
        if len(self._made) >= self.REMEMBERED or self._bytes > self.REMEMBERED_BYTES:
            self._made.clear()
            self._bytes = 0
        self._made[id(events)] = events, made
        self._bytes += len(made)
        return made
