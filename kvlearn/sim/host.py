"""The driver of one node in virtual time. It owns the node's clock, disk and wires.

Its whole duty is four lines, the same as a real host's (`_turn` and `on_disk` below):

    1  disk.save(ready)            and wait: saving takes time, and a crash may come in between
    2  network.send(ready.messages)
    3  node.advance(ready, now)    applies, answers, compacts
    4  hand out node.responses, and what the node has to tell its watch streams

Messages that promise nothing about the disk leave before line 1 (thesis 10.2.1).
"""

from __future__ import annotations

from itertools import repeat
from random import Random
from typing import Any

from kvlearn.errors import RequestError
from kvlearn.events import Crashed, Paused, Received, Resumed, Saved, Wiped
from kvlearn.kv.config import StoreConfig
from kvlearn.node import Node
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.messages import Message
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ConfState, Index, Ready
from kvlearn.sim.clients import Clients
from kvlearn.sim.clock import DISK, TIMER, NodeClock, VirtualClock
from kvlearn.sim.desk import Desk
from kvlearn.sim.disk import Disk
from kvlearn.sim.network import Network, Packet
from kvlearn.trace import Trace

NEVER = 2**63 - 1


class Host:
    """Invariant: `node` is None while the process is down; at most one Ready is being saved."""

    def __init__(
        self,
        name: str,
        conf: ConfState,
        config: RaftConfig,
        raft: type[Raft],
        clock: VirtualClock,
        network: Network,
        trace: Trace,
        disk: Disk,
        rng: Random,
        desk: Desk,
        clients: Clients,
        joins: Index = 0,
        store: StoreConfig = StoreConfig(),
    ):
        self.name = name
        self.conf = conf
        self.config = config
        self.raft = raft
        self.clock = clock
        self.network = network
        self.trace = trace
        self.disk = disk
        self.rng = rng
        self.joins = joins  # no founder: the cluster had applied so much when it came
        self.store = store
        self.desk = desk  # where line 4 hands the answers out
        self.clients = clients  # and what streams are told
        self.node: Node | None = None
        self.own_clock = NodeClock(clock.now, 0.0)
        self.paused, self.boot = False, 0
        self.cause: int | None = None  # the record of the input that is being worked on
        self.asked: set[int] = set()  # op_ids whose answers this process owes
        self.streams: set[str] = set()  # that this process serves
        self._saving: tuple[Ready, list] | None = None  # and the causes of its messages
        self._causes: list = []  # of the messages that wait in the outbox during a save
        self._armed_tick: int = NEVER  # the tick for which a timer stands in the queue
        self._armed_s = 0.0
        self._inbox: list = []  # what came during a pause

    @property
    def saving(self) -> bool:
        """Whether an fsync is under way."""
        return self._saving is not None

    # Its life ---------------------------------------------------------------------------------

    def start(self, cause: int | None) -> None:
        """Start the process with what the disk holds."""
        self.boot += 1
        self.cause = cause
        disk, phase_s = self.disk, self.rng.random() * self.config.tick_s
        self.own_clock = NodeClock(self.clock.now, phase_s, self.own_clock.rate)
        self.node = Node(
            self.name,
            self.conf,
            self.config,
            self.rng,
            self.emit,
            disk.backend,
            disk.hard_state,
            tuple(disk.entries),
            self.raft,
            self.boot,
            disk.base,
            disk.snapshot,
            self.joins,
            self.store,
        )
        self._forget()
        self._arm()

    def crash(self, cause: int | None = None) -> None:
        """End the process; the disk loses what was not forced."""
        self.disk.crash()
        self.node = None
        self.paused = False
        crashed = Crashed(self.disk.last.index, self.disk.hard_state)
        seq = self.trace.add(self.clock.now, self.name, crashed, cause)
        for item, _ in self._inbox:  # what came during a pause and was never looked at
            if isinstance(item, Packet):
                self.network.lost(item)
        for op_id in sorted(self.asked):
            self.desk.broken(op_id, seq)
        lost = sorted(self.streams)
        self._forget()
        for name in lost:
            self.clients.lost(name, self.name)

    def wipe(self) -> None:
        """End the process and empty its disk."""
        if self.node is not None:
            self.crash()
        self.disk.wipe()
        self.trace.add(self.clock.now, self.name, Wiped(), None)

    def pause(self) -> None:
        """Stop the process where it is (SIGSTOP); what arrives waits."""
        self.paused = True
        self.trace.add(self.clock.now, self.name, Paused(), None)

    def resume(self) -> None:
        """Let it go on: first its clock has jumped, then it finds its mail."""
        self.paused = False
        self.cause = self.trace.add(self.clock.now, self.name, Resumed(), None)
        self._tick()
        inbox, self._inbox = self._inbox, []
        self._turn()
        for item, boot in inbox:
            if isinstance(item, Packet):
                self.receive(item)
            elif item is None:
                self.on_disk(boot)
            elif isinstance(item[0], int):
                self.request(*item)
            else:
                self.watch(*item)

    def set_rate(self, rate: float) -> None:
        """Make its clock run at another speed."""
        self.own_clock.set_rate(rate, self.clock.now)
        self._armed_tick = NEVER
        if self.node is not None:
            self._arm()

    def _forget(self) -> None:
        self._saving = None
        self._causes = []
        self._armed_tick = NEVER
        self._inbox = []
        self.asked = set()
        self.streams = set()

    @property
    def mailbox(self) -> list[int]:
        """The numbers of the packets that came during a pause and wait to be read."""
        return [item.number for item, _ in self._inbox if isinstance(item, Packet)]

    # Inputs -----------------------------------------------------------------------------------

    def emit(self, event) -> None:
        """The core's only side channel: stamp the event and put it into the trace."""
        self.trace.add(self.clock.now, self.name, event, self.cause)

    def receive(self, packet: Packet) -> None:
        """A packet is there."""
        if self.node is None:
            self.network.refuse(packet)
            return
        if self.paused:
            self._inbox.append((packet, self.boot))
            return
        now, node = self.clock.now, self.node
        number, message, _, _, _, cause = packet
        self.cause = self.trace.note(now, self.name, Received, (message, number), cause)
        node.tick(self.own_clock.read(now))
        node.step(message)
        self._turn()

    def refused(self, message: Message, cause: int) -> None:
        """The target's address refused the connection: this message was never delivered."""
        if self.node is not None and not self.paused:
            self.cause = cause
            self.node.undelivered(message)
            self._turn()

    def request(self, op_id: int, request: Any, cause: int) -> None:
        """A client asks; its desk will get the answer."""
        self.asked.add(op_id)
        if self.paused:
            self._inbox.append(((op_id, request, cause), self.boot))
            return
        self.cause = cause
        self._tick()
        self.node.request(op_id, request)
        self._turn()

    def watch(self, stream: str, request: Any) -> None:
        """A client's stream asks something; None: the stream is closed."""
        if request is not None:
            self.streams.add(stream)
        if self.paused:
            self._inbox.append(((stream, request), self.boot))
            return
        self.cause = None
        self._tick()
        if request is None:
            self.streams.discard(stream)
            self.node.close_stream(stream)
        else:
            try:
                self.node.watch(stream, request)
            except RequestError as error:
                if stream not in self.node.hub.streams:
                    self.streams.discard(stream)
                self.clients.refused(stream, self.name, error)
        self._turn()

    def close_stream(self, stream: str) -> None:
        """The stream's client is gone."""
        if self.node is not None and stream in self.streams:
            self.watch(stream, None)

    def read_again(self) -> None:
        """A client takes what waits for it."""
        if self.node is not None and not self.paused:
            self._turn()

    def campaign(self) -> None:
        """Let its election timeout run out now."""
        self.cause = None
        self._tick()
        self.node.raft.campaign()
        self._turn()

    def forget_leader(self) -> None:
        """Let it protect its leader no longer."""
        self.cause = None
        self._tick()
        self.node.raft.forget_leader()

    def on_timer(self, time: float) -> None:
        """The time for which a timer was set has come; a timer that was set anew is ignored."""
        if self.node is None or time != self._armed_s or self._armed_tick == NEVER:
            return
        self._armed_tick = NEVER
        if self.paused:
            return  # resume will look at the clock
        self.cause = None
        self._tick()
        self._turn()

    def on_disk(self, boot: int) -> None:
        """The fsync has ended: what the Ready promised is durable."""
        if boot != self.boot or self._saving is None:
            return  # of a process that is gone
        if self.paused:
            self._inbox.append((None, boot))
            return
        ready, causes = self._saving
        self._saving = None
        self.disk.sync()
        hard, entries = self.disk.hard_state, ready.entries
        first, last = (entries[0].index, entries[-1].index) if entries else (0, 0)
        saved = Saved(hard.term, hard.vote, hard.commit, first, last)
        self.cause = self.trace.add(self.clock.now, self.name, saved, causes[-1])
        for message, cause in zip(ready.messages, causes):
            if message.after_save:
                self.network.send(message, cause)
        self._finish(ready)
        self._turn()

    def _tick(self) -> None:
        """Bring the node's clock up to date."""
        self.node.tick(self.own_clock.read(self.clock.now))

    # The four lines ---------------------------------------------------------------------------

    def _turn(self) -> None:
        node = self.node
        if self._saving is not None:
            grown = len(node.raft.outbox) - len(self._causes)
            self._causes += [self.cause] * grown
        else:
            while (ready := node.ready()) is not None:
                if ready.must_sync:
                    self._save(ready)
                    break
                if ready.hard_state is not None:
                    self.disk.write(ready)
                causes = self._causes_of(ready) if self._causes else repeat(self.cause)
                for message, cause in zip(ready.messages, causes):
                    self.network.send(message, cause)
                if not (ready.committed or ready.reads or ready.dropped):
                    break  # messages were all: there is nothing to apply, and nothing new to do
                self._finish(ready)
        if node.responses:
            self._hand_out()
        if node.hub.waiting:
            self._tell_streams()
        if node.raft.deadline < self._armed_tick or node.due_tick < self._armed_tick:
            self._arm()

    def _causes_of(self, ready: Ready) -> list:
        """What waited during a save has its own cause; the rest is due to this input."""
        waited, self._causes = self._causes, []
        return waited + [self.cause] * (len(ready.messages) + 1 - len(waited))

    def _save(self, ready: Ready) -> None:
        causes = self._causes_of(ready)
        self._saving = (ready, causes)
        self.disk.write(ready)
        done = self.clock.now + self.disk.fsync_time()
        self.clock.push(done, DISK, (self.name, self.boot))
        for message, cause in zip(ready.messages, causes):
            if not message.after_save:
                self.network.send(message, cause)

    def _finish(self, ready: Ready) -> None:
        self.node.advance(ready, self.own_clock.read(self.clock.now))
        self._compacted()
        if self.streams and self.node.is_outside:
            self._end_streams()

    def _compacted(self) -> None:
        """Let the disk forget what the store holds; a snapshot that waits holds nothing yet."""
        raft = self.node.raft
        if raft.restored is None and raft.log.base.index > self.disk.base.index:
            self.disk.compact(raft.log.base)

    def compact(self, kept_entries: int) -> None:
        """Take a snapshot now, and keep so many entries behind it."""
        self.cause = None
        self._tick()
        self.node.compact(kept_entries)
        self._compacted()

    def _hand_out(self) -> None:
        for answer in self.node.responses:
            if answer.op_id in self.asked:
                self.asked.discard(answer.op_id)
                self.desk.answered(answer, self.cause)
                if self.clients.keepers:
                    self.clients.answered(answer.op_id)
        self.node.responses.clear()

    def _tell_streams(self) -> None:
        for name in list(self.node.hub.waiting):
            if self.clients.reads(name):
                self.clients.told(name, self.name, self.node.hear(name))

    def _end_streams(self) -> None:
        """The node is no member any more: what it knew it tells, and it will know nothing new."""
        self._tell_streams()
        for name in sorted(self.streams):
            self.node.close_stream(name)
            self.clients.lost(name, self.name)
        self.streams = set()

    def _arm(self) -> None:
        """Set the timer to the node's deadline. It is set anew only when the deadline comes
        nearer; a deadline that has moved away is noticed when the timer fires. One that passed
        and did not move (a student's Raft that does nothing) is asked again a tick later."""
        raft = self.node.raft
        self._armed_tick = max(min(raft.deadline, self.node.due_tick), raft.now + 1)
        due = self.own_clock.when(self._armed_tick * self.config.tick_s)
        self._armed_s = max(due, self.clock.now)
        self.clock.push(self._armed_s, TIMER, (self.name, self._armed_s))
