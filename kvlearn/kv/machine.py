"""The state machine: what Raft's log does to the store.

Committed entries come in one after the other, on every node the same ones in the same order. Each
is carried out or refused; both outcomes depend on nothing but the log, so all nodes agree on them.

>>> from kvlearn.kv.requests import Command, Put
>>> from kvlearn.mvcc.backend import MemoryBackend
>>> machine = KVMachine(MemoryBackend())
>>> machine.apply(1, term=1, command=None)  # a new leader's no-op
(None, None)
>>> machine.apply(2, term=1, command=Command("n1", 7, Put(b"a", b"1")))
(PutResult(prev_kv=None), None)
>>> print(machine.read(Range(b"a")), machine.revision, machine.applied)
a=1 2 2

The index of the applied entry goes into the same backend batch as what the entry wrote: whatever a
crash leaves, the two agree, and no entry is carried out twice. The leases are one fact, which is
written once for all entries of a batch; so a batch is ended by the machine, not by its backend.

A snapshot is the whole backend as records. A node that gets one starts over from it.

Source: etcd server/etcdserver/apply/apply.go, txn/range.go, txn/put.go, api/v3rpc/key.go.
Differs: requests are checked again when they are applied, so a faulty node cannot smuggle one in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from kvlearn.errors import (
    Compacted, Corrupt, EmptyKey, InvalidArgument, InvalidSortOption, KeyNotFound, LeaseProvided,
    NoSpace, RequestError, ValueProvided,
)  # fmt: skip
from kvlearn.kv.auth import LOGGED as AUTH_REQUESTS
from kvlearn.kv.auth import Auth, check_auth
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.directory import Directory, MemberUpdate, Publish
from kvlearn.kv.kinds import WRITES, needs_room
from kvlearn.kv.leases import (
    LEADER_ONLY, Compact, CompactResult, LeaseCheckpoint, LeaseGrant, LeaseKeepAlive, LeaseResult,
    LeaseLeases, LeaseRevoke, LeaseTimeResult, LeaseTimeToLive, LeasesResult,
)  # fmt: skip
from kvlearn.kv.members import CHANGES
from kvlearn.kv.requests import (
    SORT_ORDERS, SORT_TARGETS, Command, DeleteRange, DeleteResult, Put, PutResult, Range,
    RangeResult,
)  # fmt: skip
from kvlearn.kv.txn import Chosen, OpResult, Txn, TxnResult, check_txn, choose, running
from kvlearn.kv.upkeep import (
    ALARM_ACTIONS, ALARM_KINDS, ALARM_WORDS, CORRUPT, LOCAL, NOSPACE, Alarm, AlarmResult, HashKV,
    HashResult, SnapshotState, SnapshotStateResult,
)  # fmt: skip
from kvlearn.mvcc.backend import Backend
from kvlearn.mvcc.revision import KeyValue
from kvlearn.mvcc.store import COMPACTED, FROM_KEY, Store, WriteTxn

_NUMBERS = "limit", "revision", "min_mod_revision", "max_mod_revision"
_NUMBERS += "min_create_revision", "max_create_revision"
FIELDS = {  # request -> its fields whose type the store relies on
    Put: (("key", bytes), ("value", bytes), ("lease", int)),
    DeleteRange: (("key", bytes), ("range_end", bytes)),
    Range: (
        *(("key", bytes), ("range_end", bytes), ("sort_order", str), ("sort_target", str)),
        *((name, int) for name in _NUMBERS),
    ),
}
APPLIED = "applied"  # the backend's name for the index of the last applied entry
LEASES = "leases"  # and for the leases: (id, ttl, remaining) each
ALARMS = "alarms"  # and for the alarms: (member id, kind) each
DIRECTORY = "directory"  # and for the real members
AUTH = "auth"  # and for users and roles
BOUND = 1 << 63  # numbers have 64 bits, one of them for the sign
FREE = LeaseCheckpoint, LeaseLeases, MemberUpdate, Publish  # nothing can be wrong in them
NUMBERED = (LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, Compact)  # a number each


class KVMachine:
    """A store, its leases, and how far into the log they are. Invariant: `applied` only rises.

    `changes` are the records that the last entry made, in their order: what watchers are told.
    """

    def __init__(self, backend: Backend, config: StoreConfig = StoreConfig()):
        """Take up what `backend` holds; a fresh one gives revision 1 and nothing applied."""
        self.backend = backend
        self.lessor = config.lessor(config.min_ttl_s)
        self._open()

    def _open(self) -> None:
        self.store = Store(self.backend)
        self.applied: int = self.backend.get_meta(APPLIED)  # index of the last entry carried out
        self.changes: list[KeyValue] = []
        self._leases_changed = False  # since the last commit
        self.alarms: tuple[tuple[int, str], ...] = self.backend.get_meta(ALARMS, ())
        self.auth = Auth(self.backend.get_meta(AUTH, ()))
        self.directory: Directory = self.backend.get_meta(DIRECTORY, Directory())
        self.lessor.load(self.backend.get_meta(LEASES, ()))
        for kv in self.store.range(b"\0", FROM_KEY)[0] if self.lessor.leases else ():
            if kv.lease:
                self.lessor.attach(kv.lease, kv.key)

    @property
    def revision(self) -> int:
        """The store's revision, which stands in every answer's header."""
        return self.store.revision

    def check(self, request: Any, most: int = BOUND) -> None:
        """Refuse what is wrong in the request itself, whatever the store holds. `most`: operations
        of a transaction. Who is asked counts them; what is in the log all nodes take alike.

        Raises: InvalidArgument (a field of another type, which would stop every node that applies
        it), EmptyKey, ValueProvided, LeaseProvided, InvalidSortOption.
        """
        match request:
            case Txn():
                check_txn(request, self.check, most)
            case Put() | DeleteRange() | Range():
                self._check_fields(request)
            # Raft's part of a change is checked by `changes_of`.
            case _ if isinstance(request, (*FREE, *CHANGES)):
                pass
            case Alarm(action, member, alarm):
                if action not in ALARM_ACTIONS or not isinstance(member, int):
                    raise InvalidArgument(hint=f"an alarm's action is {' or '.join(ALARM_ACTIONS)}")
                if alarm not in ALARM_WORDS:
                    known = " or ".join(ALARM_KINDS)
                    raise InvalidArgument(hint=f"an alarm is {known}, not {alarm!r}")
            case HashKV(revision):
                if not isinstance(revision, int):
                    raise InvalidArgument(hint=f"a revision is a number, not {revision!r}")
            case _ if isinstance(request, LOCAL):
                pass
            case _ if isinstance(request, AUTH_REQUESTS):
                check_auth(request)
            case _ if isinstance(request, NUMBERED):
                numbers = [getattr(request, field) for field in request.__slots__]
                if not all(isinstance(n, int) and -BOUND <= n < BOUND for n in numbers):
                    raise InvalidArgument(hint=f"whole numbers of 64 bits: {request!r}")
            case _:
                raise TypeError(f"a {type(request).__name__} is not a request")

    def _check_fields(self, request: Any) -> None:
        for name, kind in FIELDS[type(request)]:
            field = getattr(request, name)
            if not isinstance(field, kind):
                raise InvalidArgument(hint=f"{name} is {kind.__name__}, not {field!r}")
        if not request.key:
            raise EmptyKey()
        if isinstance(request, Put):
            if request.ignore_value and request.value:
                raise ValueProvided()
            if request.ignore_lease and request.lease:
                raise LeaseProvided()
        elif isinstance(request, Range):
            known = request.sort_order in SORT_ORDERS and request.sort_target in SORT_TARGETS
            if not known:
                raise InvalidSortOption()

    # The log --------------------------------------------------------------------------------

    def apply(
        self, index: int, term: int, command: Command | None
    ) -> tuple[Any, RequestError | None]:
        """Carry out the committed entry at `index`; returns its result, or why it was refused.

        Nothing is durable before `commit`.
        """
        assert index > self.applied, f"entry {index} again: {self.applied} is applied already"
        result = error = None
        self.changes = []
        try:
            if command is not None:
                self.check(command.request)
                kinds = {kind for _, kind in self.alarms}
                if CORRUPT in kinds and isinstance(command.request, WRITES):
                    raise Corrupt()
                if NOSPACE in kinds and needs_room(command.request):
                    raise NoSpace()
                if command.op_id:  # what the nodes do of themselves needs nobody's permission
                    self.auth.check_since(command.user, command.auth)
                    self.allow(command.user, command.request)
                result = self._carry_out(command.request, index)
        except RequestError as refusal:
            error = refusal
        self.applied = index
        self.backend.set_meta(APPLIED, index)
        return result, error

    def save(self) -> Sequence:
        """The whole state as records, (name, fact) and (backend key, record), in order: the same
        on every node that has applied as much, however far its sweeps are. A backend on a disk
        gives a view, whose records are read when they are asked for."""
        facts = (APPLIED, self.applied), (COMPACTED, self.store.compacted)
        facts += (LEASES, self.lessor.save()), (ALARMS, self.alarms)
        facts += (DIRECTORY, self.directory), (AUTH, self.auth.save())
        told = tuple(fact for fact in facts if fact[1])
        if not hasattr(self.backend, "freeze"):
            return (*told, *self.store.records(self.revision))
        while self.store.sweeping:
            self.store.sweep()
        return self.backend.freeze(told)

    def defragment(self) -> int:
        """Give room back: first what a compaction still has to remove, then the backend's free
        pages. Returns how many bytes the second freed."""
        while self.store.sweeping:
            self.store.sweep()
        return self.backend.defragment()

    def load(self, records: Iterable[tuple]) -> None:
        """Replace the state by what `save` gave on another node, in one durable batch."""
        self.backend.replace(records)
        self._open()

    def commit(self) -> None:
        """Make everything applied so far durable, in one batch."""
        if self._leases_changed:
            self.backend.set_meta(LEASES, self.lessor.save())
            self._leases_changed = False
        self.backend.commit()

    def allow(self, user: str, request: Any) -> None:
        """Refuse what `user` may not ask, if authentication is on.

        Raises: UserEmpty, UserNotFound, PermissionDenied.
        """
        if self.auth.enabled:
            self.auth.check(user, request, self.lessor)

    def _carry_out(self, request: Any, index: int) -> Any:
        match request:
            case Put() | DeleteRange():
                return self._write(Chosen(True, (request,))).responses[0].result
            case Txn():
                return self._write(choose(request, self._pairs), in_txn=True)
            case Range():  # a read that went through the log
                return self.read(request)
            case Compact(revision):
                self.store.compact(revision)
                return CompactResult()
            case Alarm():
                return self._sound(request)
            case _ if isinstance(request, (MemberUpdate, Publish, *CHANGES)):
                return self.found(self.directory.after(request))
            case _ if isinstance(request, AUTH_REQUESTS):
                result = self.auth.apply(request, index)
                self.backend.set_meta(AUTH, self.auth.save())
                return result
            case LeaseGrant(ttl_s, id):
                result = LeaseResult(id, self.lessor.grant(id, ttl_s).ttl_s)
            case LeaseRevoke(id):
                result = LeaseResult(id)
                self._delete_keys(self.lessor.revoke(id))
            case LeaseCheckpoint(left):
                result = None
                for id, left_s in left:
                    self.lessor.checkpoint(id, left_s)
            case _:
                raise TypeError(f"the log holds a {type(request).__name__}, which is no request")
        self._leases_changed = True
        return result

    def found(self, directory: Directory) -> None:
        """Have this directory, from the next commit on."""
        if directory != self.directory:
            self.directory = directory
            self.backend.set_meta(DIRECTORY, directory)

    def _sound(self, alarm: Alarm) -> AlarmResult:
        """Raise an alarm or end those that are meant; the answer has those that were changed."""
        if alarm.action == "activate":
            changed = ((alarm.member, alarm.alarm or NOSPACE),)
            self.alarms = tuple(sorted({*self.alarms, *changed}))
        else:
            meant = alarm.member, alarm.alarm
            changed = tuple(
                one for one in self.alarms if all(b in (0, "", a) for a, b in zip(one, meant))
            )
            self.alarms = tuple(one for one in self.alarms if one not in changed)
        self.backend.set_meta(ALARMS, self.alarms)
        return AlarmResult(changed)

    def _pairs(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        return self.store.range(key, range_end)[0]

    def _write(self, chosen: Chosen, in_txn: bool = False) -> TxnResult:
        """Carry out what was chosen, all in one revision. Whatever may refuse it comes first."""
        ops = list(running(chosen))
        # Of two reasons etcd tells the one about a put, wherever it stands.
        for op in sorted(ops, key=lambda op: isinstance(op, Range)):
            self._check_state(op, in_txn)
        with self.store.write() as txn:
            result = self._run(chosen, txn)
        self.changes = txn.changes
        return result

    def _check_state(self, op: Any, in_txn: bool) -> None:
        """Refuse what the store or the leases do not allow. Raises: LeaseNotFound, KeyNotFound,
        FutureRevision, Compacted."""
        match op:
            case Put():
                missing = (op.ignore_value or op.ignore_lease) and self.store.get(op.key) is None
                if missing and in_txn:  # a plain put looks at the lease first, as in etcd
                    raise KeyNotFound()
                if op.lease:
                    self.lessor.known(op.lease)
                if missing:
                    raise KeyNotFound()
            case Range() if op.revision < (0 if self.store.compacted else -1):  # as etcd does here
                raise Compacted(hint=f"{op.revision} was asked for in a transaction")
            case Range():
                self.store.readable(op.revision)

    def _run(self, chosen: Chosen, txn: WriteTxn) -> TxnResult:
        responses = []
        for op in chosen.ops:
            match op:
                case Chosen():
                    result = self._run(op, txn)
                case Put():
                    result = self._put(op, txn)
                case DeleteRange():
                    result = self._delete(op, txn)
                case Range():
                    result = self.read(op)
            # The small header of a nested transaction is empty, as in etcd.
            responses.append(OpResult(0 if isinstance(op, Chosen) else txn.revision, result))
        return TxnResult(chosen.succeeded, tuple(responses))

    def _put(self, put: Put, txn: WriteTxn) -> PutResult:
        old = self.store.get(put.key)
        value = old.value if put.ignore_value else put.value
        lease = old.lease if put.ignore_lease else put.lease
        txn.put(put.key, value, lease)
        self.lessor.attach(lease, put.key)
        return PutResult(old if put.prev_kv else None)

    def _delete(self, delete: DeleteRange, txn: WriteTxn) -> DeleteResult:
        gone = txn.delete_range(delete.key, delete.range_end)
        for kv in gone:
            self.lessor.attach(0, kv.key)
        return DeleteResult(len(gone), tuple(gone) if delete.prev_kv else ())

    def _delete_keys(self, keys: list[bytes]) -> None:
        """Delete the keys of a lease that is over, in one revision."""
        with self.store.write() as txn:
            for key in keys:
                txn.delete_range(key)
        self.changes = txn.changes

    # Leases: what only the leader's clock knows -----------------------------------------------

    def ask_lessor(self, request: Any, now: float) -> Any:
        """Answer one of LEADER_ONLY; an unknown lease is no error there, as in etcd."""
        assert isinstance(request, LEADER_ONLY)
        lessor = self.lessor
        match request:
            case LeaseKeepAlive(id):
                lease = lessor.leases.get(id)
                lives = lease is not None and lessor.may_renew(lease, now)
                return LeaseResult(id, lessor.renew(id, now) if lives else 0)
            case LeaseTimeToLive(id, keys) if lessor.lives(id, now):
                lease = lessor.leases[id]
                held = tuple(sorted(lease.keys)) if keys else ()
                return LeaseTimeResult(id, int(lessor.remaining(id, now)), lease.ttl_s, held)
            case LeaseTimeToLive(id):
                return LeaseTimeResult(id, -1)
        left = sorted((lessor.remaining(id, now), id) for id in lessor.leases)
        return LeasesResult(tuple(id for _, id in left))

    # Reads ----------------------------------------------------------------------------------

    def look(self, request: Any) -> Any:
        """Answer what changes nothing from what is applied here: a read, a transaction of reads,
        alarms, a hash, the whole state.

        Raises: FutureRevision, Compacted, and what `check` raises.
        """
        match request:
            case Range():
                return self.read(request)
            case Txn():
                return self._write(choose(request, self._pairs), in_txn=True)
            case Alarm():
                return AlarmResult(self.alarms)
            case HashKV(revision):
                if 0 < revision <= self.store.compacted:  # etcd refuses the compacted one, too
                    raise Compacted(hint=f"{self.store.compacted} is compacted")
                return HashResult(self.store.hash(revision), self.store.compacted)
            case SnapshotState():
                return SnapshotStateResult(self.save())
        raise TypeError(f"a {type(request).__name__} is no read")

    def read(self, request: Range) -> RangeResult:
        """Answer a read from what is applied here: collect, filter, sort, cut, in this order.

        Raises: FutureRevision, and what `check` raises.
        """
        self.check(request)
        # One pair more than asked for tells whether there are more.
        at_most = request.limit + 1 if request.limit > 0 and _may_cut_early(request) else 0
        kvs, count = self.store.range(
            request.key, request.range_end, request.revision, at_most, request.count_only
        )
        if request.count_only:
            return RangeResult(count=count)
        kvs = _filtered(kvs, request)
        if request.sort_target != "key" or request.sort_order == "descend":
            field = attrgetter(SORT_TARGETS[request.sort_target])
            kvs = sorted(kvs, key=field, reverse=request.sort_order == "descend")
        more = 0 < request.limit < len(kvs)
        if more:
            kvs = kvs[: request.limit]
        if request.keys_only:
            kvs = [_without_value(kv) for kv in kvs]
        return RangeResult(tuple(kvs), more, count)


def _may_cut_early(request: Range) -> bool:
    """Whether the pairs that the limit keeps are among the first in key order.

    A target without an order sorts too, but etcd takes it for unsorted here: it sorts the first
    `limit` + 1 pairs in key order, and what lies behind them has no chance. So does kvlearn.
    """
    in_key_order = request.sort_target == "key" and request.sort_order == "ascend"
    filters = (
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )
    return (in_key_order or request.sort_order == "none") and not any(filters)


def _filtered(kvs: list[KeyValue], request: Range) -> list[KeyValue]:
    """The pairs that pass the four revision filters, which are inclusive; 0 is no filter."""
    if low := request.min_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision >= low]
    if high := request.max_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision <= high]
    if low := request.min_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision >= low]
    if high := request.max_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision <= high]
    return kvs


def _without_value(kv: KeyValue) -> KeyValue:
    return KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)
