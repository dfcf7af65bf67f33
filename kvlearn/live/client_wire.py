"""A client's side of etcd's messages: requests as protobuf, answers and errors as kvlearn's own.

>>> from kvlearn.kv.requests import Put
>>> message_of(Put(b"a", b"1")).SerializeToString()
b'\\n\\x01a\\x12\\x011'
>>> print(result_of(Put(b"a", b"1"), rpc.PutResponse(prev_kv={"key": b"a", "value": b"0"})))
ok (was a=0)

An error is found again by its text, because etcd's clients do so too. What has no text of etcd's
comes from the connection, and there one thing counts: whether the request may have left.

>>> error_of("UNAVAILABLE", "etcdserver: no leader", certain=False)
NoLeader('etcdserver: no leader')
>>> error_of("UNAVAILABLE", "Socket closed", certain=False)
TimedOut('etcdserver: request timed out (the connection was lost: Socket closed)')

Source: etcd api/etcdserverpb/rpc.proto; api/v3rpc/rpctypes/error.go; client/v3/op.go, compare.go.
Differs: words in the place of numbers; a lost connection after a write is `TimedOut`, since nobody
knows what became of it (etcd's client passes gRPC's UNAVAILABLE on).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from kvlearn.errors import (
    FailedPrecondition,
    InvalidArgument,
    InvalidSortOption,
    RequestError,
    RequestTooLarge,
    Stopped,
    TimedOut,
    Unavailable,
    request_errors,
)  # fmt: skip
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
from kvlearn.kv.members import (
    Member,
    MemberAdd,
    MemberChange,
    MemberList,
    MemberPromote,
    MemberRemove,
    MembersResult,
    MoveLeader,
)  # fmt: skip
from kvlearn.kv.requests import (
    SORT_ORDERS,
    SORT_TARGETS,
    DeleteRange,
    DeleteResult,
    Header,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)  # fmt: skip
from kvlearn.kv.txn import RESULTS, TARGETS, Compare, OpResult, Txn, TxnResult
from kvlearn.kv.upkeep import (
    ALARM_ACTIONS,
    ALARM_WORDS,
    Alarm,
    AlarmResult,
    Defragment,
    DefragmentResult,
    HashKV,
    HashResult,
    SnapshotState,
    Status,
    StatusResult,
)  # fmt: skip
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.mvcc.watch import FILTERS, KVEvent, WatchResponse

PATHS = {
    Range: "/etcdserverpb.KV/Range",
    Put: "/etcdserverpb.KV/Put",
    DeleteRange: "/etcdserverpb.KV/DeleteRange",
    Txn: "/etcdserverpb.KV/Txn",
    Compact: "/etcdserverpb.KV/Compact",
    LeaseGrant: "/etcdserverpb.Lease/LeaseGrant",
    LeaseRevoke: "/etcdserverpb.Lease/LeaseRevoke",
    LeaseKeepAlive: "/etcdserverpb.Lease/LeaseKeepAlive",
    LeaseTimeToLive: "/etcdserverpb.Lease/LeaseTimeToLive",
    LeaseLeases: "/etcdserverpb.Lease/LeaseLeases",
    MemberList: "/etcdserverpb.Cluster/MemberList",
    MemberAdd: "/etcdserverpb.Cluster/MemberAdd",
    MemberRemove: "/etcdserverpb.Cluster/MemberRemove",
    MemberPromote: "/etcdserverpb.Cluster/MemberPromote",
    MoveLeader: "/etcdserverpb.Maintenance/MoveLeader",
    Status: "/etcdserverpb.Maintenance/Status",
    HashKV: "/etcdserverpb.Maintenance/HashKV",
    Defragment: "/etcdserverpb.Maintenance/Defragment",
    SnapshotState: "/etcdserverpb.Maintenance/Snapshot",
    Alarm: "/etcdserverpb.Maintenance/Alarm",
}
WATCH = "/etcdserverpb.Watch/Watch"
AUTHENTICATE = "/etcdserverpb.Auth/Authenticate"
_OPERANDS = {"create": "create_revision", "mod": "mod_revision"}  # field of a target

# Requests -----------------------------------------------------------------------------------


def message_of(request: Any, member: int = 0) -> Any:
    """A request as its protobuf message. `member`: the number of the member that it names.

    Raises: InvalidArgument for what the message has no room for.
    """
    try:
        return _message_of(request, member)
    except (ValueError, TypeError, OverflowError) as error:  # say, a number of more than 64 bits
        raise InvalidArgument(hint=f"{error}") from None


def _message_of(request: Any, member: int) -> Any:
    match request:
        case Put() | Range() | DeleteRange() | Txn():
            return _key_message(request)
        case Compact(revision, physical):
            return rpc.CompactionRequest(revision=revision, physical=physical)
        case LeaseGrant() | LeaseRevoke() | LeaseKeepAlive() | LeaseTimeToLive() | LeaseLeases():
            return _lease_message(request)
        case MemberList(linearizable):
            return rpc.MemberListRequest(linearizable=linearizable)
        case MemberAdd():
            return _addition(request)
        case MemberRemove():
            return rpc.MemberRemoveRequest(ID=member)
        case MemberPromote():
            return rpc.MemberPromoteRequest(ID=member)
        case MoveLeader():
            return rpc.MoveLeaderRequest(targetID=member)
        case Status():
            return rpc.StatusRequest()
        case HashKV(revision):
            return rpc.HashKVRequest(revision=max(revision, 0))
        case Defragment():
            return rpc.DefragmentRequest()
        case SnapshotState():
            return rpc.SnapshotRequest()
        case Alarm(action, member, alarm):
            _known("an action", action, ALARM_ACTIONS)
            _known("an alarm", alarm, ALARM_WORDS)
            action, kind = action.upper(), alarm or "NONE"
            return rpc.AlarmRequest(action=action, memberID=member, alarm=kind)
        case MemberChange():
            told = "add, promote and remove members one by one"
            raise InvalidArgument(hint=f"etcd has no request for a joint change: {told}")
    raise InvalidArgument(hint=f"etcd has no request for {request}")


def _known(what: str, word: str, known: Iterable[str]) -> None:
    if word not in known:
        words = ", ".join(filter(None, known))
        raise InvalidArgument(hint=f"{what} is one of {words}, not {word!r}")


def _key_message(request: Any) -> Any:
    match request:
        case Put(key, value, lease, prev_kv, ignore_value, ignore_lease):
            flags = dict(prev_kv=prev_kv, ignore_value=ignore_value, ignore_lease=ignore_lease)
            return rpc.PutRequest(key=key, value=value, lease=lease, **flags)
        case Range():
            if request.sort_order not in SORT_ORDERS or request.sort_target not in SORT_TARGETS:
                raise InvalidSortOption(hint=f"{request.sort_order}, {request.sort_target}")
            given = {field.name: getattr(request, field.name) for field in fields(request)}
            given["sort_order"] = request.sort_order.upper()
            given["sort_target"] = request.sort_target.upper()
            return rpc.RangeRequest(**given)
        case DeleteRange(key, range_end, prev_kv):
            return rpc.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv)
        case Txn(compare, success, failure):
            return rpc.TxnRequest(
                compare=map(_comparison, compare),
                success=map(_operation, success),
                failure=map(_operation, failure),
            )


def _operation(op: Any) -> Any:
    match op:
        case Range():
            return rpc.RequestOp(request_range=_key_message(op))
        case Put():
            return rpc.RequestOp(request_put=_key_message(op))
        case DeleteRange():
            return rpc.RequestOp(request_delete_range=_key_message(op))
        case Txn():
            return rpc.RequestOp(request_txn=_key_message(op))
    return rpc.RequestOp()  # refused there, with etcd's words


def _comparison(compare: Compare) -> Any:
    _known("a target", compare.target, TARGETS)
    _known("a comparison", compare.result, RESULTS)
    message = rpc.Compare(
        key=compare.key,
        range_end=compare.range_end,
        target=compare.target.upper(),
        result=compare.result.upper(),
    )
    operand = compare.operand
    if isinstance(operand, bytes):
        message.value = operand
    elif operand is not None:  # a number for a value stands in a field of another kind
        name = "version" if compare.target == "value" else compare.target
        setattr(message, _OPERANDS.get(name, name), operand)
    return message


def _lease_message(request: Any) -> Any:
    match request:
        case LeaseGrant(ttl_s, id):
            return rpc.LeaseGrantRequest(TTL=ttl_s, ID=id)
        case LeaseRevoke(id):
            return rpc.LeaseRevokeRequest(ID=id)
        case LeaseKeepAlive(id):
            return rpc.LeaseKeepAliveRequest(ID=id)
        case LeaseTimeToLive(id, keys):
            return rpc.LeaseTimeToLiveRequest(ID=id, keys=keys)
    return rpc.LeaseLeasesRequest()


def _addition(request: MemberAdd) -> Any:
    if not request.peer_urls:
        hint = "where shall the others reach it? add_member(peer_urls=['http://127.0.0.1:2390'])"
        raise InvalidArgument(hint=hint)
    return rpc.MemberAddRequest(peerURLs=request.peer_urls, isLearner=request.learner)


def watch_message(request: WatchCreate | WatchCancel | WatchProgress) -> Any:
    """What a watch stream is asked. Raises: InvalidArgument."""
    match request:
        case WatchCancel(id):
            return rpc.WatchRequest(cancel_request={"watch_id": id})
        case WatchProgress():
            return rpc.WatchRequest(progress_request={})
    given = {field.name: getattr(request, field.name) for field in fields(request)}
    for name in request.filters:
        _known("a filter", name, FILTERS)
    given["filters"] = [f"NO{name.upper()}" for name in request.filters]
    given["start_revision"] = max(request.start_revision, 0)  # etcd: the distant past
    try:
        return rpc.WatchRequest(create_request=given)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(hint=f"{error}") from None


# Answers ------------------------------------------------------------------------------------


def header_of(message: Any) -> Header:
    """The header of an answer; zeros where it has none."""
    head = message.header
    return Header(head.cluster_id, head.member_id, head.revision, head.raft_term)


def result_of(request: Any, message: Any) -> Any:
    """What the answer to `request` says, as the core would have said it."""
    match request:
        case Put() | Range() | DeleteRange() | Txn():
            return _key_result(message)
        case Compact():
            return CompactResult()
        case LeaseRevoke(id):
            return LeaseResult(id)
        case LeaseGrant() | LeaseKeepAlive():
            return LeaseResult(message.ID, message.TTL)
        case LeaseTimeToLive():
            return LeaseTimeResult(message.ID, message.TTL, message.grantedTTL, tuple(message.keys))
        case LeaseLeases():
            return LeasesResult(tuple(lease.ID for lease in message.leases))
        case MemberList() | MemberAdd() | MemberRemove() | MemberPromote():
            return MembersResult(tuple(map(_member, message.members)))
        case Status():
            return _status(message)
        case HashKV():
            return HashResult(message.hash, max(message.compact_revision, 0))
        case Defragment():
            return DefragmentResult()
        case Alarm():
            alarms = ((one.memberID, ALARM_WORDS[one.alarm]) for one in message.alarms)
            return AlarmResult(tuple(alarms))
    return None


def _key_result(message: Any) -> Any:
    match message:
        case rpc.RangeResponse():
            return RangeResult(tuple(map(pair_of, message.kvs)), message.more, message.count)
        case rpc.PutResponse():
            return PutResult(pair_of(message.prev_kv) if message.HasField("prev_kv") else None)
        case rpc.DeleteRangeResponse():
            return DeleteResult(message.deleted, tuple(map(pair_of, message.prev_kvs)))
    inner = (getattr(one, one.WhichOneof("response")) for one in message.responses)
    responses = (OpResult(one.header.revision, _key_result(one)) for one in inner)
    return TxnResult(message.succeeded, tuple(responses))


def pair_of(kv: Any) -> KeyValue:
    """A pair as the store keeps it."""
    return KeyValue(
        kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease
    )  # fmt: skip


def _member(message: Any) -> Member:
    urls = tuple(message.peerURLs), tuple(message.clientURLs)
    return Member(message.ID, message.name, message.isLearner, *urls)


def _status(message: Any) -> StatusResult:
    return StatusResult(
        version=message.version,
        db_bytes=message.dbSize,
        db_in_use_bytes=message.dbSizeInUse,
        leader=message.leader,
        raft_index=message.raftIndex,
        raft_applied_index=message.raftAppliedIndex,
        is_learner=message.isLearner,
        errors=tuple(message.errors),
    )


def watch_response_of(message: Any) -> WatchResponse:
    """What a watch stream brought."""
    return WatchResponse(
        message.watch_id,
        message.header.revision,
        message.created,
        message.canceled,
        message.compact_revision,
        message.cancel_reason,
        message.fragment,
        tuple(
            KVEvent(
                FILTERS[event.type],
                pair_of(event.kv),
                pair_of(event.prev_kv) if event.HasField("prev_kv") else None,
            )
            for event in message.events
        ),
    )


# Errors -------------------------------------------------------------------------------------

NOT_SENT = "failed to connect to all addresses"  # gRPC: there is no connection
TOO_LARGE = "message larger than max"  # gRPC, on either side
# Nobody knows what became of a request that was answered so.
OPEN = ("etcdserver: request timed out", "etcdserver: server stopped", "etcdserver: leader changed")
LOST = "the connection was lost"
NO_CONNECTION = "etcdserver: no connection"
NO_HOST = "no host has this name: check the spelling, or give its IP address"
_UNRESOLVED = ("errors resolving ", "DNS resolution failed", "hostname lookup error")
_LOST = ("UNAVAILABLE", "INTERNAL", "CANCELLED")
_BY_CODE = {
    "INVALID_ARGUMENT": InvalidArgument,
    "FAILED_PRECONDITION": FailedPrecondition,
    "UNAVAILABLE": Unavailable,
}


def error_of(code: str, text: str, certain: bool) -> RequestError:
    """The error that an answer stands for. `certain`: asking again does no harm, so that it does
    not matter whether it was carried out."""
    if code == "DEADLINE_EXCEEDED":
        return TimedOut(hint="no answer in time")
    if TOO_LARGE in text:
        return RequestTooLarge(hint=text)
    if any(sign in text for sign in _UNRESOLVED):
        return Stopped(NO_CONNECTION, hint=NO_HOST)
    if text.startswith(NOT_SENT):
        return Stopped(NO_CONNECTION, hint=_last_error(text))
    if text.startswith(OPEN):
        return _kin(code, text) if certain else TimedOut(text)
    if code in _LOST and not text.startswith("etcdserver: ") or text == "Stream removed":
        lost = f"{LOST}: {text}"
        return Unavailable(hint=lost) if certain else TimedOut(hint=lost)
    return _kin(code, text)


def _last_error(text: str) -> str:
    """What is telling in gRPC's sentence about a connection that did not come about."""
    for sign in ("Connection refused", "No route to host", "Network is unreachable"):
        if sign in text:
            return sign
    return text.partition("last error: ")[2] or text


def _kin(code: str, text: str) -> RequestError:
    """The error of kvlearn with this code and text; else the nearest one."""
    for kind in request_errors():
        if (kind.code, kind.text) == (code, text):
            return kind()
    error = _BY_CODE.get(code, RequestError)(text)
    error.code = code
    return error
