"""Which way a request goes, and whether it may be asked twice."""

from __future__ import annotations

from typing import Any

from kvlearn.errors import RequestTooLarge, TooManyOps
from kvlearn.kv.auth import LOGGED as AUTH
from kvlearn.kv.directory import LOGGED as DIRECTORY
from kvlearn.kv.leases import LEADER_ONLY, Compact, LeaseCheckpoint, LeaseGrant, LeaseRevoke
from kvlearn.kv.members import MEMBERSHIP, MemberList
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.kv.txn import MAX_OPS, Compare, Txn, depth_of
from kvlearn.kv.upkeep import LOCAL, Alarm, Defragment

WRITES = (Put, DeleteRange, Txn, LeaseGrant, LeaseRevoke, Compact)
LOGGED = (*WRITES, Alarm)
IN_LOG = (*LOGGED, *DIRECTORY, *AUTH, LeaseCheckpoint)
REQUESTS = (*LOGGED, Range, *LEADER_ONLY, *LOCAL, *MEMBERSHIP)
FRAME_BYTES = 16  # what the fields around keys and values take on a wire, about


def repeatable(request: Any) -> bool:
    """Whether asking twice does no more than asking once: a client may do so without an answer."""
    match request:
        case Txn():
            return not request.writes
        case Alarm(action):
            return action == "get"
        case Defragment():
            return False
    return isinstance(request, (Range, MemberList, *LEADER_ONLY, *LOCAL))


def in_log(request: Any) -> bool:
    """Whether it changes what is replicated, so that it has to go through the log."""
    return isinstance(request, IN_LOG) and not repeatable(request)


def serializable(request: Any) -> bool:
    """Whether a node may answer from what it has: a read whose asker accepts the past."""
    match request:
        case Range():
            return request.serializable
        case Txn():
            ops = (*request.success, *request.failure)
            return bool(ops) and all(map(serializable, ops))
        case Alarm():
            return True
    return isinstance(request, LOCAL)


def size_of(request: Any) -> int:
    """About how many bytes a request takes on a wire."""
    match request:
        case Put(key, value):
            return FRAME_BYTES + len(key) + len(value)
        case Range(key, range_end) | DeleteRange(key, range_end):
            return FRAME_BYTES + len(key) + len(range_end)
        case Txn():
            compares = sum(map(_size_of_compare, request.compare))
            return compares + sum(map(size_of, (*request.success, *request.failure)))
    return FRAME_BYTES


def _size_of_compare(compare: Compare) -> int:
    operand = len(compare.operand) if isinstance(compare.operand, bytes) else 0
    return FRAME_BYTES + len(compare.key) + len(compare.range_end) + operand


def check_size(request: Any, limit: int) -> None:
    """Refuse what is larger than `limit` bytes. Raises: RequestTooLarge."""
    if (size := size_of(request)) > limit:
        raise RequestTooLarge(hint=f"about {size} bytes of {limit}")


def check_depth(request: Any) -> None:
    """Refuse transactions in one another that no store takes, before anybody walks through them.

    Raises: TooManyOps.
    """
    if isinstance(request, Txn) and depth_of(request) > MAX_OPS:
        raise TooManyOps(hint=f"more than {MAX_OPS} transactions in one another")


def needs_room(request: Any) -> bool:
    """Whether it makes the store larger: a backend above its quota takes nothing of that kind."""
    match request:
        case Txn():
            return any(map(needs_room, (*request.success, *request.failure)))
    return isinstance(request, (Put, LeaseGrant))
