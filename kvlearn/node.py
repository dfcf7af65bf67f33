"""A member: Raft, and the store that Raft's log drives.

The node routes: a write becomes a `Command` in the log and is answered when it was applied here; a
linearizable read asks Raft for a read index and is answered when that is applied; a serializable
read is answered at once, from what this node has.

Its host does four things, forever (see `kvlearn/sim/host.py`):

    1  disk.save(ready)            entries and hard state; wait until durable
    2  network.send(ready.messages)
    3  node.advance(ready, now)    applies, answers
    4  hand out node.responses

Source: etcd server/etcdserver/server.go, v3_server.go (processInternalRaftRequest,
linearizableReadLoop), raft.go. Differs: etcd applies on a goroutine of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from kvlearn.errors import NoLeader, ProposalDropped, RequestError, Unavailable
from kvlearn.events import Applied, Event, Started
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Answer, Command, Header, Range
from kvlearn.mvcc.backend import Backend
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.messages import ForwardProposal, Message, ReadIndex
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ConfState, Entry, HardState, Index, NodeId, Ready

CLUSTER_ID = 0x6B766C  # one simulated cluster is like any other


class Node:
    """Invariant: the machine has applied what `raft.log.applied` says; every request that was
    taken is in `_writes` or among the reads until its answer is in `responses`."""

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
    ):
        """A node with what its disk holds: log and hard state, and the store's backend.

        `boot` counts the starts on this disk.
        """
        self.name = name
        self.emit = emit
        self.machine = KVMachine(backend)
        applied, revision = self.machine.applied, self.machine.revision
        commit = min(max(hard_state.commit, applied), len(entries))
        start = (boot, config.tick_s, conf.learners, revision)
        emit(
            Started(
                hard_state.term, hard_state.vote, entries, commit, applied, conf.members, *start
            )
        )
        self.raft = raft(name, conf, config, rng, emit, hard_state, entries, applied)
        # Take a message that arrived; what the host has to do, or None. Straight through, because
        # all messages and all turns of the host come this way.
        self.step: Callable[[Message], None] = self.raft.step
        self.ready: Callable[[], Ready | None] = self.raft.ready
        self.responses: list[Answer] = []
        self._tick_s = config.tick_s
        self._member_id = conf.members.index(name) + 1 if name in conf.members else 0
        self._writes: set[int] = set()  # op_ids that were proposed here
        self._reads: dict[int, Range] = {}  # op_ids that wait for their read index
        self._served_from: list[tuple[Index, int]] = []  # (index to be applied first, op_id)

    @property
    def deadline_s(self) -> float:
        """When, in seconds of the node's clock, time alone will make something happen."""
        return self.raft.deadline * self._tick_s

    # Inputs -----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Bring the node's clock to `now`: seconds since it started, by its own clock."""
        # A timer fires at a float that may lie a hair below its tick.
        ticks = int(now / self._tick_s + 1e-6) - self.raft.now
        if ticks > 0:
            self.raft.tick(ticks)

    def undelivered(self, message: Message) -> None:
        """The target's address refused the connection, so nothing came of the message: a client
        whose request it carried may ask again without danger."""
        match message:
            case ForwardProposal(data=Command(origin=origin, op_id=op_id)):
                if origin == self.name and op_id in self._writes:
                    self._writes.discard(op_id)
                    self._refuse(op_id, Unavailable(hint=f"{message.target} led, and is down"))
            case ReadIndex(context=op_id):
                if self._reads.pop(op_id, None) is not None:
                    self._refuse(op_id, Unavailable(hint=f"{message.target} led, and is down"))

    def request(self, op_id: int, request: Any) -> None:
        """Take a client's request; `responses` will have the answer under `op_id`.

        A request that cannot be served (malformed, no leader) is answered at once.
        """
        try:
            self.machine.check(request)
            if not isinstance(request, Range):
                self.raft.propose(Command(self.name, op_id, request))
                self._writes.add(op_id)
            elif request.serializable:
                self._answer_read(op_id, request)
            else:
                self.raft.read_index(op_id)
                self._reads[op_id] = request
        except ProposalDropped:
            self._refuse(op_id, NoLeader())
        except RequestError as error:
            self._refuse(op_id, error)

    # Output -----------------------------------------------------------------------------------

    def advance(self, ready: Ready, now: float) -> None:
        """The host has saved and sent `ready`: apply what is committed, answer who waited."""
        for entry in ready.committed:
            self._apply(entry)
        if ready.committed:
            self.machine.commit()
        self.raft.advance(ready)
        if ready.reads:
            self._served_from += [(state.index, state.context) for state in ready.reads]
        if self._served_from:
            self._serve_reads()

    def _apply(self, entry: Entry) -> None:
        command = entry.data
        result, error = self.machine.apply(entry.index, entry.term, command)
        revision = self.machine.revision
        refusal = error.text if error else ""
        self.emit(Applied(entry.index, entry.term, command, revision, refusal))
        if command is None or command.origin != self.name or command.op_id not in self._writes:
            return
        self._writes.discard(command.op_id)
        if error:
            self._refuse(command.op_id, error)
        else:
            self.responses.append(Answer(command.op_id, self._header(), result))

    def _serve_reads(self) -> None:
        applied = self.machine.applied
        waiting = []
        for index, op_id in self._served_from:
            if index > applied:
                waiting.append((index, op_id))
            elif op_id in self._reads:  # a duplicated answer serves nobody twice
                self._answer_read(op_id, self._reads.pop(op_id))
        self._served_from = waiting

    def _answer_read(self, op_id: int, request: Range) -> None:
        try:
            result = self.machine.read(request)
        except RequestError as error:
            self._refuse(op_id, error)
        else:
            self.responses.append(Answer(op_id, self._header(), result))

    def _refuse(self, op_id: int, error: RequestError) -> None:
        self.responses.append(Answer.refusal(op_id, self._header(), error))

    def _header(self) -> Header:
        return Header(CLUSTER_ID, self._member_id, self.machine.revision, self.raft.term)
