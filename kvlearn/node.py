"""A member: Raft, and the store that Raft's log drives.

The node routes: a write becomes a `Command` in the log and is answered when it was applied here; a
linearizable read asks Raft for a read index and is answered when that is applied; a serializable
read is answered at once, from what this node has. What only the leader's clock knows (how long a
lease still lives) a follower asks the leader, who first makes sure that it leads, as for a read.

Watch streams are served by the node that was asked, from what it has applied.

Its host does four things, forever (see `kvlearn/sim/host.py`):

    1  disk.save(ready)            snapshot, entries, hard state; wait until durable
    2  network.send(ready.messages)
    3  node.advance(ready, now)    applies, answers, compacts
    4  hand out node.responses, and what `hear(stream)` brings for each stream in `hub.waiting`

The node decides when the log is compacted (`snapshot_entries` after the last time): what the store
holds is durable by then, so all that its host has to keep is the log behind `raft.log.base`.

Source: etcd server/etcdserver/server.go, v3_server.go (processInternalRaftRequest,
linearizableReadLoop, triggerSnapshot), raft.go. Differs: etcd applies on a goroutine of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from math import ceil, inf
from random import Random
from typing import Any

from kvlearn.errors import (
    BadLeaderTransferee, ConfChangeError, FailedPrecondition, LeaderTransferTimedOut,
    LearnerNotReady, NoLeader, NoSpace, ProposalDropped, RequestError, Stopped, TooManyRequests,
    Unavailable, Unhealthy,
)  # fmt: skip
from kvlearn.events import (
    Applied, Event, LeaseRenewed, Notified, StateLoaded, Started, StreamClosed, WatchAsked, sentence
)  # fmt: skip
from kvlearn.kv.auth import ENDS_TOKENS, Authenticate, Tokens
from kvlearn.kv.chores import Chores
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.directory import Directory, MemberInfo, MemberUpdate, listed
from kvlearn.kv.kinds import check_size, in_log, needs_room, serializable
from kvlearn.kv.leases import (
    LEADER_ONLY, AskLeader, Compact, LeaderAnswer, LeaseCheckpoint, LeaseGrant, LeaseKeepAlive,
    LeaseRevoke,
)  # fmt: skip
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.members import (
    CHANGES, MEMBERSHIP, MemberList, MembersResult, MoveLeader, changes_of, member_id
)  # fmt: skip
from kvlearn.kv.requests import Answer, Command, Header
from kvlearn.kv.upkeep import NOSPACE, Alarm, Defragment, DefragmentResult, Status, StatusResult
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress, check_watch
from kvlearn.mvcc.backend import Backend
from kvlearn.mvcc.watch import WatchResponse
from kvlearn.raft.confchange import ConfChange, changed
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.messages import (
    ForNode, ForwardProposal, InstallSnapshot, Message, ReadIndex, TransferLeader
)  # fmt: skip
from kvlearn.raft.raft import LEADER, Raft
from kvlearn.raft.rules import known_commit
from kvlearn.raft.types import (
    ZERO, ConfState, Entry, EntryID, HardState, Index, NodeId, Ready, Snapshot
)  # fmt: skip

CONF = "conf"  # the backend's name for the membership
REFUSALS = {  # Raft's reason for not taking a proposal -> what the client is told
    "NO_LEADER": NoLeader,
    "TOO_MUCH_UNCOMMITTED": TooManyRequests,
    "LEARNER_BEHIND": LearnerNotReady,
    "UNHEALTHY": Unhealthy,
    "NO_VOTER": BadLeaderTransferee,
    "TRANSFER_ABORTED": LeaderTransferTimedOut,
    "CHANGE_WRONG": FailedPrecondition,
}
CLUSTER_ID = 0x6B766C  # one simulated cluster is like any other
NOTED = (LeaseGrant, LeaseRevoke, Compact, Authenticate, *ENDS_TOKENS)  # the clock minds them
VERSION = "3.5.0"  # of etcd's API, which is what a client asks for
NEVER = 2**63 - 1  # a tick that does not come


class Node:
    """Invariant: the machine has applied what `raft.log.applied` says; every request that was
    taken is in `_writes` or among the reads until its answer is in `responses`."""

    max_txn_ops = 128  # compares, and operations of a branch, that a client's transaction may have

    def __init__(
        self,
        name: NodeId,
        conf: ConfState,
        config: RaftConfig,
        rng: Random,
        emit: Callable[[Event], Any],
        backend: Backend,
        hard_state: HardState = HardState(),
        entries: tuple[Entry, ...] = (),
        raft: type[Raft] = Raft,
        boot: int = 1,
        base: EntryID = ZERO,
        snapshot: Snapshot | None = None,
        joins: Index = 0,
        store: StoreConfig = StoreConfig(),
        founders: tuple[MemberInfo, ...] = (),
        cluster_id: int = CLUSTER_ID,
    ):
        """A node with what its disk holds: log and hard state, and the store's backend.

        `conf` is the membership before the first entry; the backend knows a newer one. `boot`
        counts the starts on this disk. `base` is the entry before `entries`, and `snapshot` what
        was saved in the place of earlier ones: a crash may have come before it was loaded. A node
        that `joins` a running cluster is no founder: see `Rules`. Real members have numbers and
        URLs: `founders` are those before the first entry.
        """
        self.name, self.cluster_id = name, cluster_id
        self.emit = emit
        self.machine = machine = KVMachine(backend, store)
        if founders and not machine.directory:
            machine.found(Directory.of(founders))
        if snapshot is not None and snapshot.last.index > machine.applied:
            self._load(snapshot)
        conf = backend.get_meta(CONF, conf)
        applied, revision = machine.applied, machine.revision
        commit = known_commit(hard_state, entries, base, applied)
        start = (conf.members, boot, config.tick_s, conf.learners, revision, conf.outgoing, base)
        start += (conf.voters,) if conf.outgoing else ()
        emit(Started(hard_state.term, hard_state.vote, entries, commit, applied, *start))
        self.raft = raft(name, conf, config, rng, emit, hard_state, entries, applied, base, joins)
        if boot > 1:  # before the crash it may have heard a leader whose term was never saved
            self.raft.heard = 0
        if hasattr(backend, "freeze"):  # a snapshot costs nothing, so that each is a new one
            self.raft.fresh = self._snapshot
        self.raft.snapshot = self._to_keep() if base.index else None
        self._snapshot_index = base.index  # how far the last snapshot went
        self._begin(config, store, boot)

    def _begin(self, config: RaftConfig, store: StoreConfig, boot: int) -> None:
        """What no disk remembers."""
        # Take a message that arrived; what the host has to do, or None. Straight through, because
        # all messages and all turns of the host come this way.
        self.step: Callable[[Message], None] = self.raft.step
        self.ready: Callable[[], Ready | None] = self.raft.ready
        self.raft.pass_on = self._on_message
        self.responses: list[Answer] = []
        self._config, self._tick_s = config, config.tick_s
        self._member_id = self.member_id_of(self.name)
        self._writes: set[int] = set()  # op_ids that were proposed here
        self._reads: dict[Any, tuple[Any, str]] = {}  # op_ids that wait for their read index
        self._moves: dict[int, NodeId] = {}  # op_ids that wait until another node leads
        self._served_from: list[tuple[Index, Any]] = []  # (index to be applied first, op_id)
        self._swept_for: list[Answer] = []  # of physical compactions: given when the sweep is done
        self._store, self._boot, self._granted = store, boot, 1
        self.now = 0.0  # seconds on the node's own clock, when it was looked at last
        limits = store.watch_queue, store.watch_batch, store.max_request_bytes + (1 << 19)
        self.tokens = Tokens()
        self.hub = store.hub(self.machine.store, *limits)
        retry_s = config.election_ticks * config.tick_s
        self.chores = Chores(self.machine, self.hub, store, retry_s, self.emit)
        self.chores.start(0.0)
        self.due_tick = self._due_tick()  # when a chore is due

    @property
    def deadline_s(self) -> float:
        """When, in seconds of the node's clock, time alone will make something happen."""
        return min(self.raft.deadline, self.due_tick) * self._tick_s

    def _due_tick(self) -> int:
        due_s = self.chores.due_s
        return NEVER if due_s == inf else max(ceil(due_s / self._tick_s - 1e-6), self.raft.now + 1)

    @property
    def is_outside(self) -> bool:
        """Whether it is no member, as far as it knows: not yet, or not any more."""
        raft = self.raft
        conf, me = raft.conf, self.name  # asked with every request, so without conf.members
        return (raft.joins and not raft.log.last_index) or not (
            me in conf.voters or me in conf.learners or me in conf.outgoing
        )

    # Inputs -----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Bring the node's clock to `now`: seconds since it started, by its own clock."""
        self.now = now
        # A timer fires at a float that may lie a hair below its tick.
        ticks = int(now / self._tick_s + 1e-6) - self.raft.now
        if ticks > 0:
            self.raft.tick(ticks)
            if self.raft.now >= self.due_tick:
                self._do_chores()

    def _do_chores(self) -> None:
        chores = self.chores
        if chores.leads_term and not self._leads:
            chores.follow()
        # What is due at this tick may lie a hair behind it.
        for request in chores.work(max(self.now, self.raft.now * self._tick_s)):
            try:
                self.raft.propose(Command(self.name, 0, request))
            except ProposalDropped:
                chores.dropped(request, self.now)
        self._after_sweep()
        self.due_tick = self._due_tick()

    @property
    def _leads(self) -> bool:
        return self.raft.role == LEADER and self.raft.term == self.chores.leads_term

    def undelivered(self, message: Message) -> None:
        """The target's address refused the connection, so nothing came of the message: a client
        whose request it carried may ask again without danger."""
        down = Unavailable(hint=f"{message.target} led, and is down")
        match message:
            case ForwardProposal(data=data):
                self._come_back(data, down)
            case ReadIndex(context=op_id) | AskLeader(op_id=op_id):
                if self._reads.pop(op_id, None) is not None:
                    self._refuse(op_id, down)
            case TransferLeader(to=to):
                self._give_up_move(to, down)
            case InstallSnapshot(target=peer):
                self.raft.report_snapshot(peer, arrived=False)

    def forget(self, op_id: int) -> None:
        """Nobody waits for this answer any more; whether the request is carried out is open."""
        self._writes.discard(op_id)
        self._reads.pop(op_id, None)
        self._moves.pop(op_id, None)

    def request(self, op_id: int, request: Any, user: str = "") -> None:
        """Take a client's request; `responses` will have the answer under `op_id`.

        `user` is who asks; it matters while authentication is on. A request that cannot be served
        (malformed, no leader) is answered at once.
        """
        self._attempt(self._take, op_id, request, user)

    def _attempt(self, way: Callable[..., None], op_id: Any, request: Any, user: str = "") -> None:
        """Send a request on its way; if that is not possible it is answered at once."""
        try:
            way(op_id, request, user)
        except ProposalDropped as drop:
            self._refuse(op_id, _refusal(drop.reason, str(drop)))
        except RequestError as error:
            self._refuse(op_id, error)

    def _take(self, op_id: int, request: Any, user: str) -> None:
        if self.is_outside:
            raise Stopped(hint=f"{self.name} is no member; ask one of the others")
        if isinstance(request, MEMBERSHIP):
            self.machine.allow(user, request)
            self._request_members(op_id, request, user)
            return
        self.machine.check(request, self.max_txn_ops)
        if isinstance(request, LEADER_ONLY):  # the leader is not told who asks
            self.machine.allow(user, request)
        if in_log(request):
            self._write(op_id, request, user)
        elif serializable(request):
            self._answer_read(op_id, request, user)
        elif isinstance(request, LEADER_ONLY) and self.raft.role != LEADER:
            self._ask_leader(op_id, request)
        else:
            self._read(op_id, request, user)

    def _write(self, op_id: int, request: Any, user: str) -> None:
        check_size(request, self._store.max_request_bytes)
        if needs_room(request) and self._is_full():
            if (self._member_id, NOSPACE) not in self.machine.alarms:
                alarm = Alarm("activate", self._member_id, NOSPACE)
                self.raft.propose(Command(self.name, 0, alarm))
            raise NoSpace(
                hint="compact with physical=True, defragment every node, then disarm the alarm"
            )
        chosen = isinstance(request, LeaseGrant) and not request.id
        if chosen:
            request = replace(request, id=self._new_lease())
        self._propose(op_id, self._command(op_id, request, user))
        self._granted += chosen

    def _command(self, op_id: int, request: Any, user: str) -> Command:
        auth = self.machine.auth.revision if user else 0
        return Command(self.name, op_id, request, user, auth)

    def _is_full(self) -> bool:
        """Whether the store is as large as it may be, or its disk has hardly any room."""
        backend = self.machine.backend
        if backend.sizes()[0] > self._store.quota_bytes:
            return True
        return hasattr(backend, "is_full") and backend.is_full()

    def _new_lease(self) -> int:
        """A lease id that no other node and no other life of this one chooses (63 bits)."""
        ever = [node for node, _ in self.machine.directory.ever]
        place = ever.index(self.name) + 1 if self.name in ever else self._member_id
        life = (place & 0x7FFF) << 48 | (self._boot & 0xFFFF) << 32
        while life + self._granted in self.machine.lessor.leases:
            self._granted += 1
        return life + self._granted

    def _propose(self, op_id: int, data: Any) -> None:
        self.raft.propose(data)
        self._writes.add(op_id)

    def _read(self, op_id: Any, request: Any, user: str) -> None:
        self.raft.read_index(op_id)
        self._reads[op_id] = request, user

    def _ask_leader(self, op_id: int, request: Any) -> None:
        if self.raft.leader is None:
            raise NoLeader()
        self.raft.outbox.append(AskLeader(self.name, self.raft.leader, 0, op_id, request))
        self._reads[op_id] = request, ""

    def _on_message(self, message: ForNode) -> None:
        """What another node asks this one, or answers."""
        match message:
            case AskLeader(source, op_id=op_id, request=request):
                # The pair is how the answer finds its way back.
                self._attempt(self._read_as_leader, (source, op_id), request)
            case LeaderAnswer(answer=answer) if self._reads.pop(answer.op_id, None) is not None:
                self._give(replace(answer, header=self.header()))

    def _read_as_leader(self, op_id: Any, request: Any, user: str) -> None:
        if self.raft.role != LEADER:
            raise Unavailable(hint=f"{self.name} does not lead any more")
        self._read(op_id, request, user)

    # Watches ----------------------------------------------------------------------------------

    def watch(self, stream: str, request: WatchCreate | WatchCancel | WatchProgress) -> None:
        """A client's stream asks something; `hear` has the answers, also to what is refused.

        Raises: InvalidArgument, EmptyKey, Stopped.
        """
        if self.is_outside:
            raise Stopped(hint=f"{self.name} is no member; ask one of the others")
        check_watch(request)
        self.emit(WatchAsked(stream, request, self.machine.revision))
        match request:
            case WatchCreate():
                fields = (getattr(request, name) for name in WatchCreate.__slots__)
                self.hub.create(stream, *fields)
            case WatchCancel(watch_id):
                self.hub.cancel(stream, watch_id)
            case WatchProgress():
                self.hub.request_progress(stream)
        self._plan()

    def hear(self, stream: str) -> list[WatchResponse]:
        """What the node has to tell a stream; it takes more from now on."""
        told = self.hub.take(stream)
        for response in told:
            self.emit(Notified(stream, response))
        if self.hub.can_sync:
            self._plan()
        return told

    def close_stream(self, stream: str) -> None:
        """The stream's client is gone."""
        self.hub.close(stream)
        self.emit(StreamClosed(stream))

    def _plan(self) -> None:
        self.chores.plan(self.now)
        self.due_tick = self._due_tick()

    # Members and the log ----------------------------------------------------------------------

    def _request_members(self, op_id: int, request: Any, user: str) -> None:
        match request:
            case MemberList(linearizable=True):
                self._read(op_id, request, user)
            case MemberList():
                self._answer_read(op_id, request, user)
            case MoveLeader(target):
                self.raft.transfer_leadership(target)
                self._moves[op_id] = target
                self._answer_moves()
            case _ if self.machine.directory:
                self._read(op_id, request, user)  # first of all: who are the members now?
            case _:
                self._change(op_id, request, user)

    def _change(self, op_id: int, request: Any, user: str) -> None:
        if self.machine.directory:
            request = self.machine.directory.named(request)
            if self._config.strict_reconfig:
                self.machine.directory.check_started(request, self.raft.conf)
            self.machine.directory.after(request)  # URLs that are taken are told before all else
        asked = self._command(op_id, request, user)
        self._propose(op_id, ConfChange(*changes_of(request, self.raft.conf), asked))

    def member_id_of(self, node: NodeId) -> int:
        """The number of a member, present or removed."""
        number = self.machine.directory.number(node)
        return member_id(node) if number is None else number

    def node_of(self, id: int) -> NodeId | None:
        """Raft's name of the present member with this number; None: there is none."""
        if self.machine.directory:
            return self.machine.directory.node_of(id)
        return next((node for node in self.raft.conf.members if member_id(node) == id), None)

    def _members(self) -> MembersResult:
        return listed(self.machine.directory, self.raft.conf)

    def compact(self, kept_entries: int) -> None:
        """Take a snapshot, and forget the log but for the last `kept_entries` that are applied."""
        if self.raft.restored is not None:
            return  # a newer snapshot has replaced the log, and only waits to be loaded
        snapshot = self._to_keep()
        self._snapshot_index = snapshot.last.index
        base = self.raft.log.base.index
        self.raft.compact(snapshot, max(base, snapshot.last.index - kept_entries))

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.raft.log.id(self.machine.applied), self.raft.conf, self.machine.save())

    def _to_keep(self) -> Snapshot:
        """What stands for the log that goes: a snapshot, or just its place where they are cheap."""
        if self.raft.fresh is None:
            return self._snapshot()
        return Snapshot(self.raft.log.id(self.machine.applied), self.raft.conf)

    # Output -----------------------------------------------------------------------------------

    def advance(self, ready: Ready, now: float) -> None:
        """The host has saved and sent `ready`: apply what is committed, answer who waited."""
        self.now = now  # saving took time, and leases begin when they are applied
        if ready.snapshot is not None:
            self._load(ready.snapshot)
            self.hub.reset(self.machine.store)
            self.tokens.clear()
            self._after_sweep()
            self._plan()
            last, self._snapshot_index = ready.snapshot.last, ready.snapshot.last.index
            self.emit(StateLoaded(last.index, last.term, self.machine.revision))
        for entry in ready.committed:
            self._apply(entry)
        if ready.committed:
            self.machine.commit()
            if self.raft.role == LEADER and not self._leads:
                self._count_leases()
        self.raft.advance(ready)
        if ready.snapshot is not None and self.raft.fresh and not self.raft.restored:
            self.raft.snapshot = self._to_keep()  # the records are in the store now
        if ready.reads:
            self._served_from += [(state.index, state.context) for state in ready.reads]
        if self._served_from:
            self._serve_reads()
        for data, reason, known in ready.dropped:
            error = _refusal(reason, sentence(reason, known))
            if reason == "TRANSFER_ABORTED":
                self._give_up_move(dict(known)["to"], error)
            else:
                self._come_back(data, error)
        if self._moves:
            self._answer_moves()
        if self.machine.applied - self._snapshot_index >= self._config.snapshot_entries:
            self.compact(self._config.kept_entries)

    def _count_leases(self) -> None:
        """All that came before this term is applied: this node's clock counts from now on."""
        if self.raft.log.id(self.machine.applied).term == self.raft.term:
            self.chores.lead(self.raft.term, self.now)
            self.due_tick = self._due_tick()

    def _load(self, snapshot: Snapshot) -> None:
        self.machine.load(chain(((CONF, snapshot.conf),), snapshot.data))  # durable together
        self._member_id = self.member_id_of(self.name)

    def _apply(self, entry: Entry) -> None:
        command, error = entry.data, None
        if isinstance(command, ConfChange):
            result, error = self._apply_change(entry)
            command = command.asked
        else:
            result, error = self.machine.apply(entry.index, entry.term, command)
            if command is not None and isinstance(command.request, MemberUpdate):
                result = self._members()
        refusal = error.text if error else ""
        self.emit(Applied(entry.index, entry.term, entry.data, self.machine.revision, refusal))
        if self.machine.changes:
            self.hub.notify(self.machine.changes)
        if command is None:
            return
        request = command.request
        if isinstance(request, NOTED) and not error:
            self._note(request, result)
        if command.origin != self.name or command.op_id not in self._writes:
            return
        self._writes.discard(command.op_id)
        if error:
            self._refuse(command.op_id, error)
            return
        answer = Answer(command.op_id, self.header(), result)
        if isinstance(request, Compact) and request.physical and self.machine.store.sweeping:
            self._swept_for.append(answer)
        else:
            self.responses.append(answer)

    def _note(self, request: Any, result: Any) -> None:
        """Something was applied that gives the clock work, or takes it away."""
        match request:
            case Authenticate(name):
                self.tokens.assign(result.token, name, self.now)
            case _ if isinstance(request, ENDS_TOKENS):
                self.tokens.end(request)
            case LeaseGrant(id=id):
                self.chores.granted(id, self.now)
            case LeaseRevoke(id):
                self.chores.revoked(id)
            case Compact():
                self.chores.plan(self.now)
        self.due_tick = self._due_tick()

    def _after_sweep(self) -> None:
        if self._swept_for and not self.machine.store.sweeping:
            self.responses += self._swept_for
            self._swept_for = []

    def _apply_change(self, entry: Entry) -> tuple[Any, RequestError | None]:
        """Count by the new membership, which becomes durable with the index of its entry.

        Either both Raft and the directory take the change, or neither, on every node.
        """
        machine, asked, unfit = self.machine, entry.data.asked, None
        try:
            changed(self.raft.conf, entry.data)
        except ConfChangeError as error:
            unfit = Unavailable(hint=str(error))
        told = asked if machine.directory and not unfit else None
        _, refusal = machine.apply(entry.index, entry.term, told)
        if unfit or refusal:
            return None, unfit or refusal
        machine.backend.set_meta(CONF, self.raft.apply_change(entry.data))
        self._member_id = self.member_id_of(self.name)
        return self._members(), None

    def _come_back(self, data: Any, error: RequestError) -> None:
        """The leader did not take a proposal that was made here."""
        command = data.asked if isinstance(data, ConfChange) else data
        if command.origin == self.name and command.op_id in self._writes:
            self._writes.discard(command.op_id)
            self._refuse(command.op_id, error)

    def _give_up_move(self, to: NodeId, error: RequestError) -> None:
        for op_id in [op_id for op_id, target in self._moves.items() if target == to]:
            del self._moves[op_id]
            self._refuse(op_id, error)

    def _answer_moves(self) -> None:
        for op_id, target in list(self._moves.items()):
            if self.raft.leader == target:
                del self._moves[op_id]
                self.responses.append(Answer(op_id, self.header(), self._members()))

    def _serve_reads(self) -> None:
        applied = self.machine.applied
        waiting = []
        for index, op_id in self._served_from:
            if index > applied:
                waiting.append((index, op_id))
            elif op_id in self._reads:  # a duplicated answer serves nobody twice
                if self._takes_note_back(op_id):
                    waiting.append((self.raft.log.last_index, op_id))
                elif (read := self._reads.pop(op_id, None)) is None:
                    pass  # it was refused meanwhile
                elif isinstance(read[0], CHANGES):
                    self._attempt(self._change, op_id, *read)
                else:
                    self._answer_read(op_id, *read)
        self._served_from = waiting

    def _takes_note_back(self, op_id: Any) -> bool:
        """Before a lease is renewed whose remaining time was noted, the note has to go, on every
        node: a later leader would count from it and end the lease too early (etcd: Renew)."""
        (request, _), lessor = self._reads[op_id], self.machine.lessor
        renews = isinstance(request, LeaseKeepAlive) and self._leads
        lives = renews and lessor.lives(request.id, self.now)
        if not (lives and lessor.known(request.id).remaining_s):
            return False
        try:
            self.raft.propose(Command(self.name, 0, LeaseCheckpoint(((request.id, 0),))))
        except ProposalDropped as drop:
            del self._reads[op_id]
            self._refuse(op_id, _refusal(drop.reason, str(drop)))
            return False
        return True

    def _answer_read(self, op_id: Any, request: Any, user: str) -> None:
        try:
            if not isinstance(request, LEADER_ONLY):
                self.machine.allow(user, request)
            result = self._look_up(request)
        except RequestError as error:
            self._refuse(op_id, error)
        else:
            self._give(Answer(op_id, self.header(), result))

    def _look_up(self, request: Any) -> Any:
        match request:
            case MemberList():
                return self._members()
            case Status():
                return self._status()
            case Defragment():
                return DefragmentResult(self.machine.defragment())
            case _ if isinstance(request, LEADER_ONLY):
                if not self._leads:
                    raise Unavailable(hint=f"{self.name} does not lead any more")
                result = self.machine.ask_lessor(request, self.now)
                if isinstance(request, LeaseKeepAlive) and result.ttl_s:
                    self.emit(LeaseRenewed(result.id, result.ttl_s))
                    self.chores.look_at(result.id)  # a new leader had given it more than that
                    self.due_tick = self._due_tick()
                return result
        return self.machine.look(request)

    def _status(self) -> StatusResult:
        raft, machine = self.raft, self.machine
        total, used = machine.backend.sizes()
        leader = self.member_id_of(raft.leader) if raft.leader else 0
        errors = tuple(f"memberID:{member} alarm:{kind} " for member, kind in machine.alarms)
        where = leader, raft.log.last_index, machine.applied
        return StatusResult(VERSION, total, used, *where, self.name in raft.conf.learners, errors)

    def _give(self, answer: Answer) -> None:
        """Hand an answer out, or send it to the node that asked for it."""
        if isinstance(answer.op_id, int):
            self.responses.append(answer)
            return
        source, op_id = answer.op_id
        answer = replace(answer, op_id=op_id)
        self.raft.outbox.append(LeaderAnswer(self.name, source, 0, answer))

    def _refuse(self, op_id: Any, error: RequestError) -> None:
        self._give(Answer.refusal(op_id, self.header(), error))

    def header(self) -> Header:
        """What an answer of now carries."""
        return Header(self.cluster_id, self._member_id, self.machine.revision, self.raft.term)


def _refusal(reason: str, why: str) -> RequestError:
    """What the client is told where Raft did not take its proposal."""
    kind = REFUSALS.get(reason, Unavailable)
    return kind() if kind is NoLeader else kind(hint=why)
