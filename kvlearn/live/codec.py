"""Values as bytes: what members write into their logs and say to each other.

MessagePack carries plain data; a value (`@value`) is a *map* of one pair: its number in `WORDS`,
and its fields in their order. Numbers are given once and never again, and fields are only added at
the end, with a default: so a log that was written by an older version can be read by a newer one.
Values stand within values without a frame, so that an entry is written and read in one pass.

>>> from kvlearn.kv.requests import Command, Put
>>> entry = Entry(7, 2, Command("n1", 5, Put(b"a", b"1")))
>>> decode(encode(entry)) == entry, len(encode(entry))
(True, 27)

Nothing but these values can come out of bytes, whoever sent them; bytes that are none raise
`StorageError`.

An entry is encoded once: what the log on the disk holds is what followers are sent and write into
theirs (`EntryBytes`).

Source: etcd raftpb/raft.proto, etcdserverpb/raft_internal.proto (there protobuf).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgpack

from kvlearn.errors import StorageError
from kvlearn.kv import auth, directory, leases, members, requests, txn, upkeep
from kvlearn.raft import confchange, messages, types
from kvlearn.raft.types import Entry
from kvlearn.values import VOCABULARY

# Append, never insert: a word's place is its number on disks and wires.
WORDS = """
    Entry EntryID HardState ConfState Snapshot Command Change ConfChange KeyValue
    Put Range DeleteRange Txn Compare
    LeaseGrant LeaseRevoke LeaseCheckpoint LeaseKeepAlive LeaseTimeToLive LeaseLeases Compact
    Alarm MemberAdd MemberRemove MemberPromote MemberChange MemberList MoveLeader
    RequestVote VoteResponse AppendEntries AppendResponse Heartbeat HeartbeatResponse
    ForwardProposal ProposalRefused ReadIndex ReadIndexResponse TransferLeader TimeoutNow
    InstallSnapshot SnapshotResponse AskLeader LeaderAnswer
    Header Answer RangeResult PutResult DeleteResult TxnResult OpResult CompactResult
    LeaseResult LeaseTimeResult LeasesResult AlarmResult Member MembersResult
    MemberUpdate Publish MemberInfo Directory
    AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete
    UserChangePassword UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete
    RoleGrantPermission RoleRevokePermission
""".split()
ROOMS = types, messages, confchange, requests, txn, leases, members, directory, upkeep, auth
RECENT = 8192  # entries whose bytes are kept, at most
RECENT_BYTES = 64 << 20  # and so many bytes of them
LARGE = 4 << 20  # bytes of a value whose packer is not kept: its buffer never shrinks


def _all_fields(kind: type):
    """value -> its fields as a tuple."""
    names = [field.name for field in fields(kind)]
    get = attrgetter(*names) if names else None
    if len(names) > 1:
        return get
    return (lambda value: (get(value),)) if names else (lambda value: ())


_KINDS = {number: VOCABULARY[name] for number, name in enumerate(WORDS)}
_NUMBERS = {kind: (number, _all_fields(kind)) for number, kind in _KINDS.items()}


def _pack(thing: Any) -> dict[int, tuple]:
    known = _NUMBERS.get(type(thing))
    if known is None:
        raise TypeError(f"a {type(thing).__name__} has no bytes: it is none of the codec's words")
    number, get = known
    return {number: get(thing)}


def _unpack(pairs: list[tuple]) -> Any:
    ((number, given),) = pairs
    kind = _KINDS.get(number)
    if kind is None:
        raise StorageError(f"word {number!r:.20} is unknown: it was written by a newer version")
    return kind(*given)


_array = struct.Struct(">BI")  # how MessagePack begins an array of any length
_packers: list[msgpack.Packer] = []  # idle ones: the disk's thread, too, makes bytes of values


def encode(thing: Any) -> bytes:
    """The bytes of a value, or of plain data (None, numbers, text, bytes, tuples).

    Raises: TypeError for anything else.
    """
    try:
        packer = _packers.pop()
    except IndexError:
        packer = msgpack.Packer(default=_pack, buf_size=1 << 16)
    made = packer.pack(thing)
    if len(made) <= LARGE:
        _packers.append(packer)
    return made


def decode(data: bytes) -> Any:
    """What `encode` made bytes of; lists come back as tuples. Raises: StorageError."""
    try:
        return msgpack.unpackb(
            data, object_pairs_hook=_unpack, use_list=False, strict_map_key=False
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise StorageError(f"{len(data)} bytes that are no words of kvlearn: {error}") from None


def decode_all(parts: Sequence[bytes]) -> tuple:
    """What each of these bytes are, read in one go. Raises: StorageError."""
    return decode(b"".join((_array.pack(0xDD, len(parts)), *parts)))


class EntryBytes:
    """The bytes of entries, each made once, or kept as they came.

    An index and a term name one entry for ever (paper 5.3, Log Matching), so they name its bytes.
    """

    def __init__(self) -> None:
        self._recent: dict[tuple[int, int], bytes] = {}
        self._bytes = 0

    def of(self, entry: Entry) -> bytes:
        """The entry's bytes."""
        at = entry.index, entry.term
        made = self._recent.get(at)
        if made is None:
            made = self._keep(at, encode(entry))
        return made

    def read(self, data: bytes) -> Entry:
        """The entry that these are the bytes of. Raises: StorageError."""
        entry = decode(data)
        if type(entry) is not Entry:
            raise StorageError(f"{len(data)} bytes that are no entry of a log")
        self._keep((entry.index, entry.term), data)
        return entry

    def _keep(self, at: tuple[int, int], data: bytes) -> bytes:
        recent = self._recent
        if len(recent) >= RECENT or self._bytes >= RECENT_BYTES:
            for old in list(recent)[: (len(recent) + 1) // 2]:
                self._bytes -= len(recent.pop(old))
        self._bytes += len(data) - len(recent.get(at, b""))
        recent[at] = data
        return data
