"""kvlearn's requests as etcd's JSON, and etcd's JSON as kvlearn's answers.

A program counts revisions and leases for itself; etcd has had other programs before. So numbers are
translated both ways: `offset` is what etcd's revisions are ahead, `leases` maps a program's name
for a lease to the id that etcd chose for it. 0 and negative numbers mean the same on both sides.
"""

from __future__ import annotations

import base64
from typing import Any

from kvlearn import errors
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
    DeleteRange,
    DeleteResult,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)  # fmt: skip
from kvlearn.kv.txn import Compare, OpResult, Txn, TxnResult
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.mvcc.watch import KVEvent, WatchResponse

CODES = {2: "UNKNOWN", 3: "INVALID_ARGUMENT", 5: "NOT_FOUND", 8: "RESOURCE_EXHAUSTED",
         9: "FAILED_PRECONDITION", 11: "OUT_OF_RANGE", 14: "UNAVAILABLE"}  # fmt: skip
PATHS = {
    Put: "/v3/kv/put",
    Range: "/v3/kv/range",
    DeleteRange: "/v3/kv/deleterange",
    Txn: "/v3/kv/txn",
    Compact: "/v3/kv/compaction",
    LeaseGrant: "/v3/lease/grant",
    LeaseRevoke: "/v3/lease/revoke",
    LeaseKeepAlive: "/v3/lease/keepalive",
    LeaseTimeToLive: "/v3/lease/timetolive",
    LeaseLeases: "/v3/lease/leases",
}
OPERATIONS = {Put: "put", Range: "range", DeleteRange: "delete_range", Txn: "txn"}
SORT_TARGETS = {
    "key": "KEY", "version": "VERSION", "create": "CREATE", "mod": "MOD", "value": "VALUE",
}  # fmt: skip
OPERANDS = {"create": "create_revision", "mod": "mod_revision"}
REVISIONS = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")


def in_base64(data: bytes) -> str:
    """How JSON carries bytes."""
    return base64.b64encode(data).decode()


def error_of(code: int, text: str) -> errors.RequestError:
    """kvlearn's error that says the same as etcd's."""
    for kind in errors.request_errors():
        if (kind.code, kind.text) == (CODES.get(code), text):
            return kind()
    error = errors.RequestError(text)
    error.code = CODES.get(code, str(code))
    return error


class Wire:
    """One program's translation."""

    def __init__(self, offset: int = 0):
        self.offset = offset
        self.leases: dict[int, int] = {}  # the program's name -> etcd's id
        self.names: dict[int, int] = {}  # and back

    def name_lease(self, name: int, id: int) -> None:
        """etcd has chosen `id` for what the program calls `name`."""
        self.leases[name] = id
        self.names[id] = name

    # Requests ---------------------------------------------------------------------------------

    def revision(self, revision: int) -> str:
        """A program's revision as etcd's."""
        return str(revision + self.offset if revision > 0 else revision)

    def lease(self, id: int) -> str:
        """A program's lease as etcd's."""
        return str(self.leases.get(id, id))

    def encode(self, request: Any) -> dict:
        """The JSON body of a request."""
        match request:
            case Put():
                return {
                    "key": in_base64(request.key),
                    "value": in_base64(request.value),
                    "lease": self.lease(request.lease),
                    "prev_kv": request.prev_kv,
                    "ignore_value": request.ignore_value,
                    "ignore_lease": request.ignore_lease,
                }
            case Range():
                return self._range(request)
            case DeleteRange(key, range_end, prev_kv):
                return {**self._interval(key, range_end), "prev_kv": prev_kv}
            case Txn(compare, success, failure):
                return {
                    "compare": [self._compare(one) for one in compare],
                    "success": [self._operation(op) for op in success],
                    "failure": [self._operation(op) for op in failure],
                }
            case Compact(revision, physical):
                return {"revision": self.revision(revision), "physical": physical}
            case LeaseGrant(ttl_s, id):
                return {"TTL": str(ttl_s), "ID": str(id)}
            case LeaseRevoke(id) | LeaseKeepAlive(id):
                return {"ID": self.lease(id)}
            case LeaseTimeToLive(id, keys):
                return {"ID": self.lease(id), "keys": keys}
            case LeaseLeases():
                return {}
            case WatchCreate():
                return {"create_request": self._watch(request)}
            case WatchCancel(id):
                return {"cancel_request": {"watch_id": str(id)}}
            case WatchProgress():
                return {"progress_request": {}}
        raise TypeError(f"etcd does not know {request!r}")

    def _interval(self, key: bytes, range_end: bytes) -> dict:
        return {"key": in_base64(key), "range_end": in_base64(range_end)}

    def _range(self, request: Range) -> dict:
        return {
            **self._interval(request.key, request.range_end),
            "limit": str(request.limit),
            "revision": self.revision(request.revision),
            "sort_order": request.sort_order.upper(),
            "sort_target": SORT_TARGETS[request.sort_target],
            "serializable": request.serializable,
            "keys_only": request.keys_only,
            "count_only": request.count_only,
            **{name: self.revision(getattr(request, name)) for name in REVISIONS},
        }

    def _watch(self, request: WatchCreate) -> dict:
        return {
            **self._interval(request.key, request.range_end),
            "start_revision": self.revision(request.start_revision),
            "watch_id": str(request.watch_id),
            "prev_kv": request.prev_kv,
            "filters": [f"NO{name.upper()}" for name in request.filters],
            "progress_notify": request.progress_notify,
            "fragment": request.fragment,
        }

    def _operation(self, op: Any) -> dict:
        if type(op) not in OPERATIONS:
            return {}
        return {f"request_{OPERATIONS[type(op)]}": self.encode(op)}

    def _compare(self, compare: Compare) -> dict:
        target, operand = compare.target, compare.operand
        field = {}
        if isinstance(operand, bytes):
            field = {"value": in_base64(operand)}
        elif target in OPERANDS:
            field = {OPERANDS[target]: self.revision(operand)} if operand is not None else {}
        elif operand is not None:
            # A number for a value stands in a field of another kind.
            name = "version" if target == "value" else target
            field = {name: self.lease(operand) if target == "lease" else str(operand)}
        return {
            **self._interval(compare.key, compare.range_end),
            "target": target.upper(),
            "result": compare.result.upper(),
            **field,
        }

    # Answers ----------------------------------------------------------------------------------

    def number(self, revision: Any) -> int:
        """etcd's revision as the program's."""
        revision = int(revision)
        return revision - self.offset if revision > 0 else revision

    def header(self, answer: dict) -> int:
        """The revision in an answer's header; 0 if it has none."""
        return self.number(answer.get("header", {}).get("revision", 0))

    def pair(self, data: dict) -> KeyValue:
        """A key and its value."""
        lease = int(data.get("lease", 0))
        return KeyValue(
            base64.b64decode(data.get("key", "")),
            base64.b64decode(data.get("value", "")),
            self.number(data.get("create_revision", 0)),
            self.number(data.get("mod_revision", 0)),
            int(data.get("version", 0)),
            self.names.get(lease, lease),
        )

    def _pairs(self, data: list[dict]) -> tuple[KeyValue, ...]:
        return tuple(map(self.pair, data))

    def decode(self, request: Any, answer: dict) -> Any:
        """What the answer to `request` says."""
        prev = answer.get("prev_kv")
        id = int(answer.get("ID", 0))
        id, ttl_s = self.names.get(id, id), int(answer.get("TTL", 0))
        match request:
            case Put():
                return PutResult(self.pair(prev) if prev is not None else None)
            case Range():
                kvs = self._pairs(answer.get("kvs", []))
                return RangeResult(kvs, answer.get("more", False), int(answer.get("count", 0)))
            case DeleteRange():
                gone = self._pairs(answer.get("prev_kvs", []))
                return DeleteResult(int(answer.get("deleted", 0)), gone)
            case Txn():
                return self._txn(request, answer)
            case Compact():
                return CompactResult()
            case LeaseRevoke(id):
                return LeaseResult(id)
            case LeaseGrant() | LeaseKeepAlive():
                return LeaseResult(id, ttl_s)
            case LeaseTimeToLive():
                keys = tuple(sorted(map(base64.b64decode, answer.get("keys", []))))
                return LeaseTimeResult(id, ttl_s, int(answer.get("grantedTTL", 0)), keys)
            case LeaseLeases():
                ids = (int(lease["ID"]) for lease in answer.get("leases", []))
                return LeasesResult(tuple(self.names.get(id, id) for id in ids))
        raise TypeError(f"etcd does not know {request!r}")

    def _txn(self, txn: Txn, answer: dict) -> TxnResult:
        succeeded = answer.get("succeeded", False)
        given = answer.get("responses", [])
        ops = txn.success if succeeded else txn.failure
        assert len(ops) == len(given), f"{len(given)} answers to {len(ops)} operations"
        responses = []
        for op, one in zip(ops, given, strict=True):
            inner = one[f"response_{OPERATIONS[type(op)]}"]
            extra = set(inner.get("header", {})) - {"revision"}
            assert not extra, f"the header of an inner answer has {extra}"
            responses.append(OpResult(self.header(inner), self.decode(op, inner)))
        return TxnResult(succeeded, tuple(responses))

    def watched(self, answer: dict) -> WatchResponse:
        """What a watch stream brought."""
        events = []
        for data in answer.get("events", []):
            prev = data.get("prev_kv")
            events.append(
                KVEvent(
                    data.get("type", "PUT").lower(),
                    self.pair(data["kv"]),
                    self.pair(prev) if prev is not None else None,
                )
            )
        return WatchResponse(
            int(answer.get("watch_id", 0)),
            self.header(answer),
            answer.get("created", False),
            answer.get("canceled", False),
            self.number(answer.get("compact_revision", 0)),
            answer.get("cancel_reason", ""),
            answer.get("fragment", False),
            tuple(events),
        )
