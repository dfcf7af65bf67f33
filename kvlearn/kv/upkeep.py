"""Requests about a node's own state: how it is, what it holds, how much room it takes.

Only alarms go through the log; everything else is answered by the node that is asked.

Source: etcd api/etcdserverpb/rpc.proto (Maintenance); server/etcdserver/api/v3alarm.
"""

from __future__ import annotations

from kvlearn.values import value

NOSPACE, CORRUPT = ALARM_KINDS = "NOSPACE", "CORRUPT"  # above its quota; differs from the others
ALARM_WORDS = "", *ALARM_KINDS  # in the order of etcd's numbers; the first is any, or none
ALARM_ACTIONS = "get", "activate", "deactivate"


@value
class Status:
    def __str__(self) -> str:
        return "status"


@value
class HashKV:
    """A sum over the history up to `revision` (0: all of it), equal on all members."""

    revision: int = 0

    def __str__(self) -> str:
        return f"hash at {self.revision}" if self.revision > 0 else "hash"


@value
class Defragment:
    """Give the room that compactions left back to the file system."""

    def __str__(self) -> str:
        return "defragment"


@value
class SnapshotState:
    """Everything that the node holds, as records."""

    def __str__(self) -> str:
        return "snapshot"


@value
class Alarm:
    """`action` is get, activate or deactivate; `member` 0 and `alarm` "" stand for all."""

    action: str = "get"
    member: int = 0
    alarm: str = ""

    def __str__(self) -> str:
        return f"{self.action} alarm {self.alarm or 'of any kind'}"


@value
class StatusResult:
    """`db_bytes` is what the backend takes, `db_in_use_bytes` what of that holds records."""

    version: str
    db_bytes: int
    db_in_use_bytes: int
    leader: int  # its member id; 0: none is known
    raft_index: int
    raft_applied_index: int
    is_learner: bool = False
    errors: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.db_bytes} bytes, applied {self.raft_applied_index} of {self.raft_index}"


@value
class HashResult:
    hash: int
    compact_revision: int = 0

    def __str__(self) -> str:
        return f"hash {self.hash:08x}"


@value
class DefragmentResult:
    """`freed_bytes`: by how much the backend became smaller."""

    freed_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.freed_bytes} bytes freed"


@value
class SnapshotStateResult:
    """(name, fact) and (backend key, record) in order, as `KVMachine.save` gives them."""

    records: tuple

    def __str__(self) -> str:
        return f"{len(self.records)} records"


@value
class AlarmResult:
    """(member id, kind) of the alarms that are raised, or that were changed."""

    alarms: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        return " ".join(f"{kind} at {member:x}" for member, kind in self.alarms) or "no alarm"


LOCAL = (Status, HashKV, Defragment, SnapshotState)  # the node itself answers, at once
