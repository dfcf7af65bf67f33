"""Maintenance: how a member is, what it holds, how much room it takes, who leads.

A snapshot is a stream of parts and last the SHA-256 of all of them; what it carries is a file that
`kvlearn.kv.snapshots.load_snapshot` reads. `etcdctl snapshot save` takes it as it is; etcdctl's
commands that look into the file know etcd's own files alone, so `kvlearn snapshot status` and
`kvlearn snapshot restore` (restore.py) have their place.

Source: etcd server/etcdserver/api/v3rpc/maintenance.go. Differs: no Downgrade, since there is one
version; a snapshot is made of records, not of the pages of a database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kvlearn.errors import BadLeaderTransferee, NotLeader, TooManyRequests
from kvlearn.kv.members import MoveLeader
from kvlearn.kv.requests import Answer
from kvlearn.kv.snapshots import file_of, lines_of
from kvlearn.kv.upkeep import ALARM_WORDS, Alarm, SnapshotState
from kvlearn.live.codes import Code
from kvlearn.live.method import Call, Method, refuse, table, unary
from kvlearn.live.proto import rpc_pb2
from kvlearn.live.wire import alarms_of, answer_bytes, hash_only, request_of, word
from kvlearn.raft.raft import LEADER

if TYPE_CHECKING:
    from kvlearn.live.rpc import Services

PART_BYTES = 32 << 10  # of a snapshot
BLOCK_BYTES = 512  # etcd's clients know by the size of a file whether there is a sum behind it
SLICE = 500  # records
SLOW_S = 60.0  # patience with a state that takes long to be read
MOST = 8  # snapshots at once: each is in memory, and the store keeps the pages that it sees


class Upkeep:
    """Maintenance."""

    def __init__(self, services: Services):
        self._services = services
        self._snapshots: list[Call] = []  # which take one

    def ask(self, call: Call, message: Any) -> None:
        """What the node answers as it is asked: status, hash, defragmentation."""
        self._services.ask(call, request_of(message), answer_bytes)

    def hash(self, call: Call, message: Any) -> None:
        self._services.ask(call, request_of(message), hash_only)

    def alarm(self, call: Call, message: Any) -> None:
        """To ask for alarms of a kind hides the others; an alarm of no kind, or of one that does
        not exist, is neither raised nor ended."""
        request = request_of(message)
        kind = word(ALARM_WORDS, message.alarm) if message.action == message.GET else ""
        unknown = not 0 <= message.alarm < len(ALARM_WORDS)
        if unknown or (message.action != message.GET and self._is_vain(message)):
            request, kind = Alarm(), "none"
        self._services.ask(call, request, lambda answer: alarms_of(answer, kind))

    def _is_vain(self, message: Any) -> bool:
        """Whether no alarm of that name can be raised or ended: 0 is a member like others here,
        where the core takes it for all of them."""
        raised = self._services.member.node.machine.alarms
        ends = message.action == message.DEACTIVATE
        alone = message.memberID or (0, word(ALARM_WORDS, message.alarm)) in raised
        return not message.alarm or (ends and not alone)

    def move_leader(self, call: Call, message: Any) -> None:
        """Only the leader is asked to hand its office on, by the number of another voter."""
        node = self._services.member.node
        if node.raft.role != LEADER:
            raise NotLeader()
        target = node.node_of(message.targetID)
        if target is None or not node.raft.conf.votes(target):
            raise BadLeaderTransferee()
        self._services.ask(call, MoveLeader(target), lambda answer: b"")

    def snapshot(self, call: Call, message: Any) -> None:
        """A stream; what it carries is made first, since each part tells how much is left."""
        services = self._services
        self._snapshots = [one for one in self._snapshots if not one.closed]
        if len(self._snapshots) >= MOST:
            refuse(call, TooManyRequests(hint=f"{MOST} snapshots are being taken already"))
            return
        self._snapshots.append(call)

        def got(answer: Answer) -> None:
            if answer.error:
                refuse(call, answer.failure)
            else:
                Words(call, services.member.loop, answer.result.records)

        user = services.user_of(call)
        op_id = services.member.ask(SnapshotState(), got, user, SLOW_S)
        call.on_close = lambda: services.member.forget(op_id)


class Words:
    """A state that is put into words, slice by slice: it is read in the loop, which the store
    belongs to, and written in a thread, since that takes most of the time."""

    def __init__(self, call: Call, loop: Any, records: Sequence):
        self._call, self._loop, self._records = call, loop, records
        self._at, self._parts = 0, []
        call.on_close = lambda: None  # `closed` says so
        self._guarded(self._next_slice)

    def _next_slice(self) -> None:
        slice = self._records[self._at : self._at + SLICE]
        self._at += len(slice)
        made, work = (self._made, (lines_of, slice)) if slice else (self._done, (self._file,))
        making = self._loop.run_in_executor(None, *work)
        making.add_done_callback(lambda making: self._guarded(lambda: made(making.result())))

    def _guarded(self, step: Callable[[], Any]) -> None:
        if self._call.closed:
            return
        try:
            step()
        except Exception as error:  # whatever it is, the client has to hear of it
            self._call.finish(Code.INTERNAL, str(error))

    def _made(self, lines: Any) -> None:
        self._parts.append(lines)
        self._next_slice()

    def _file(self) -> tuple[bytes, bytes]:
        data = file_of(self._parts)
        data += b"\n" * (-len(data) % BLOCK_BYTES)
        return data, sha256(data).digest()

    def _done(self, made: tuple[bytes, bytes]) -> None:
        Parts(self._call, *made)


class Parts:
    """A file on its way to a client, as fast as that reads."""

    def __init__(self, call: Call, data: bytes, sum: bytes):
        self._call, self._data, self._sum, self._sent = call, data, sum, 0
        call.on_drain = self._go_on
        self._go_on()

    def _go_on(self) -> None:
        call, data = self._call, self._data
        while self._sent < len(data) and not (call.full or call.closed):
            part = data[self._sent : self._sent + PART_BYTES]
            self._sent += len(part)
            left = len(data) - self._sent
            told = rpc_pb2.SnapshotResponse(remaining_bytes=left, blob=part)
            call.send(told.SerializeToString())
        if self._sent == len(data) and not call.closed:
            call.on_drain = lambda: None
            call.send(rpc_pb2.SnapshotResponse(blob=self._sum).SerializeToString())
            call.finish()


def methods(services: Services) -> dict[str, Method]:
    """Maintenance."""
    upkeep = Upkeep(services)
    ways = {
        "Alarm": unary(upkeep.alarm),
        "Status": unary(upkeep.ask),
        "Defragment": unary(upkeep.ask),
        "Hash": unary(upkeep.hash),
        "HashKV": unary(upkeep.ask),
        "Snapshot": unary(upkeep.snapshot),
        "MoveLeader": unary(upkeep.move_leader),
    }
    return table(rpc_pb2.FILE, "etcdserverpb.Maintenance", ways)
