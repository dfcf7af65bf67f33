"""A member: one `Node` that is real. It owns a clock, a disk, connections, and who waits for what.

The same four lines as the simulator's host (kvlearn/sim/host.py), on asyncio:

    1  storage.write(ready), and force it (forcing.py): the loop goes on meanwhile
    2  transport.send(ready.messages)
    3  node.advance(ready, now)    applies, answers, compacts
    4  hand out node.responses, and what the node has to tell its watch streams

Everything that arrives in one turn of the loop (requests, messages, a timer) is told to the node at
once, and `_turn` runs once behind it: so what came together shares a message, and what waited for
the disk shares its next fsync. Batches grow with the load by themselves. What promises nothing
leaves before 1 is done; and where nothing has to be forced, 2 comes last: a client waits for its
answer, the others can wait for the news that its entry is committed.

What a request waits for, and for how long:

* No leader is known (or this member has just joined), so nothing was done: it waits here until
  there is one, and is asked then.
* The leader that it was sent to is gone. A read is asked again. A write may have been carried out:
  when the next leader has told all that it knows, the client hears that nobody can say.
* Time is up (etcd: 5 s and two election timeouts).

A connection that breaks says more than silence: who loses the connection to the leader protects it
no longer and asks at once whether it would be elected, one member after the other so that votes are
not split. The rules of voting still decide.

Source: etcd server/etcdserver/raft.go (start), v3_server.go, etcdhttp; thesis 10.2.1. Differs: one
loop and one thread for the disk, where etcd has a goroutine for each of raft, apply, peer, stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from random import Random
from time import perf_counter
from typing import Any

from kvlearn.errors import NoLeader, RequestError, Stopped, StorageError, TimedOut
from kvlearn.events import Event, Invoked, Received, Returned, Saved, Sent
from kvlearn.kv.directory import Publish
from kvlearn.kv.kinds import in_log, repeatable
from kvlearn.kv.members import MoveLeader
from kvlearn.kv.requests import Answer, Header
from kvlearn.kv.upkeep import NOSPACE, SnapshotStateResult
from kvlearn.live.config import MemberConfig
from kvlearn.live.forcing import Forcing
from kvlearn.live.metrics import Meters
from kvlearn.live.storage import quiet
from kvlearn.live.story import Story
from kvlearn.mvcc.watch import WatchResponse
from kvlearn.node import Node
from kvlearn.raft.messages import Message
from kvlearn.raft.raft import FOLLOWER, LEADER
from kvlearn.raft.types import ConfState, NodeId, Ready
from kvlearn.values import to_json

REQUEST_S = 7.0  # etcd: 5 s for the commit, and 2 election timeouts
FLUSH_S = 0.1  # between two commits of the backend; the write-ahead log is the truth meanwhile
FLUSH_SHARE = 0.1  # of the time, at most, is spent on them, and hence
FLUSH_LEAST_S = 5.0  # on a slow disk they come less often, though not more rarely than this
SWEEP_S = 0.25  # between two looks for requests whose time is up
READ_AGAIN_S = 1.0  # a read whose question or answer was lost on the way is asked again
AGAIN_S = 0.3  # before a member tells its name again, and for the others to hear of its end
SILENT = 10  # election timeouts: a snapshot for who says nothing for so long is given up
RISE_S = 0.03  # between the candidacies of those who have lost the same leader
LEADER_LOST = "etcdserver: request timed out, possibly due to previous leader failure"
RISE_AGAIN_S, RISE_TRIES = 0.1, 10  # and between two candidacies of one; how many there are
ALARM_SAYS = {NOSPACE: ": no more is written; compact, defragment every member, disarm the alarm"}
log = logging.getLogger(__name__)


class Op:
    """A request that waits for its answer."""

    __slots__ = ("request", "done", "user", "give_up", "term", "parked", "cause", "again")

    def __init__(self, request: Any, done: Callable[[Answer], None], user: str, give_up: float):
        self.request, self.done, self.user, self.give_up = request, done, user, give_up
        self.term, self.again = 0, 0.0  # in which it was given to the node, when it may be again
        self.parked = False  # waits for a leader
        self.cause: int | None = None  # its record in the story


class Listener:
    """Who is told what a watch stream brings."""

    __slots__ = ("hear", "reads", "lost")

    def __init__(self, hear, reads, lost):
        self.hear, self.reads, self.lost = hear, reads, lost


class Member:
    """Invariant: at most one Ready is being saved; everything is called in the loop's thread but
    `storage.force`. `stopped` is done when the member is, with the error that stopped it."""

    def __init__(self, config: MemberConfig, storage: Any, transport: Any, node: dict[str, Any]):
        """`storage` is open; `transport` carries messages; `node` are more arguments of the Node
        (founders, cluster_id, joins, conf)."""
        self.config = config
        self.storage, self.transport = storage, transport
        self.loop = asyncio.get_running_loop()
        self.stopped: asyncio.Future = self.loop.create_future()
        self._rng = Random()
        self._started_s = self.loop.time() - self._rng.random() * config.raft().tick_s
        self.meters = Meters()
        self.story = Story(config.trace_file, config.name, storage.boot)
        self._forcing: Forcing | None = Forcing(storage, config.name, self.meters.fsync)
        self._saving: tuple[Ready, list] | None = None
        self._causes: list = []  # of the messages that wait in the outbox during a save
        self._cause: int | None = None  # the record of the input that is being worked on
        self._soon = False  # a turn is due
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = float("inf")
        self._flush_at: asyncio.TimerHandle | None = None
        self._flush_s = FLUSH_S
        self._ops: dict[int, Op] = {}
        self._parked: list[int] = []
        self._streams: dict[str, Listener] = {}
        self._names = 0  # of streams
        self._settled = (0, "")  # the term whose leader has told all that it knows
        self._rises: asyncio.TimerHandle | None = None
        self._alarms: tuple = ()  # that the log was told of
        self._members: tuple = (None, None)  # as the transport knows them
        self._make_node(node)
        self._op_base = (self.id & 0x7FFF) << 48 | (storage.boot & 0xFFFF) << 32

    def _make_node(self, more: dict[str, Any]) -> None:
        config, disk = self.config, self.storage
        found = disk.start()
        self._name = more.pop("name", config.name)  # in Raft; the configured one for founders
        conf = more.pop("conf", None) or ConfState(tuple(sorted(config.initial_cluster)))
        with quiet():
            self.node = Node(
                self._name,
                conf,
                config.raft(),
                self._rng,
                self._emit,
                disk.backend,
                found.hard_state,
                found.entries,
                boot=found.boot,
                base=found.base,
                snapshot=found.snapshot,
                store=config.store(),
                **more,
            )
        self.node.max_txn_ops = config.max_txn_ops

    @property
    def id(self) -> int:
        """The member's number, as in headers."""
        return self.node.header().member_id

    @property
    def cluster_id(self) -> int:
        """The cluster's number, as in headers."""
        return self.node.header().cluster_id

    @property
    def now(self) -> float:
        """Seconds on the node's own clock."""
        return self.loop.time() - self._started_s

    def header(self) -> Header:
        """What an answer of now would carry."""
        return self.node.header()

    @property
    def pending(self) -> int:
        """How many writes wait for their answer."""
        return sum(in_log(op.request) for op in self._ops.values())

    @property
    def leader(self) -> NodeId | None:
        """Who leads, as far as this member knows."""
        return self.node.raft.leader

    def introduction(self) -> dict:
        """What a process needs that wants to join: who is a member, and how far they are."""
        directory = self.node.machine.directory
        return {
            "cluster": self.cluster_id,
            "founders": to_json(directory.founders),
            "members": to_json(directory.members),
            "applied": self.node.machine.applied,
        }

    # Its life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect to the others and begin."""
        self.transport.start(self)
        self._sweep_timer = self.loop.call_later(SWEEP_S, self._sweep)
        raft = self.node.raft
        if raft.conf.voters == (self._name,) and not raft.conf.outgoing:
            raft.campaign()  # there is nobody to wait for (etcd too)
        self._soon_turn()
        self._publish()
        self._look_at_membership()

    def _publish(self) -> None:
        """Tell all members the name and the client URLs of this one, if they do not know them."""
        config, known = self.config, self.node.machine.directory.get(self._name)
        urls = tuple(config.advertise_client_urls)
        told = known is not None and (known.name, known.client_urls) == (config.name, urls)
        if told or self.stopped.done():
            return

        def done(answer: Answer) -> None:
            if answer.error:  # no leader, or nobody here knows yet that this is a member
                self.loop.call_later(AGAIN_S, self._publish)

        if self.node.machine.directory:
            self.ask(Publish(self._name, config.name, urls), done)

    async def stop(self) -> None:
        """Leave in order: what is applied is durable, nobody waits in vain. Harmless twice."""
        if self.stopped.done() and self._forcing is None:
            return
        if not self.stopped.done():
            await self._hand_over()
        if not self.stopped.done():
            self.stopped.set_result(None)
        for handle in (self._timer, self._flush_at, self._rises, self._sweep_timer):
            if handle is not None:
                handle.cancel()
        for op_id in list(self._ops):
            self._answer(op_id, Answer.refusal(op_id, self.header(), Stopped()))
        self._end_streams()
        await self.transport.stop()
        if self._forcing is not None:
            forcing, self._forcing = self._forcing, None
            await forcing.stop()
            # What failed may have carried out half an entry: the log has all of it.
            self.storage.close(flush=self.stopped.exception() is None)
        self.story.close()

    async def _hand_over(self) -> None:
        """Let somebody else lead before this one goes, so that nobody has to miss it (as etcd)."""
        raft, connected = self.node.raft, self.transport.connected
        others = [n for n in raft.conf.voters if n != self._name and n in connected]
        if raft.role != LEADER or not others:
            return
        moved = self.loop.create_future()
        best = max(others, key=lambda node: (raft.progress[node].match, node))
        self.ask(MoveLeader(best), moved.set_result, timeout_s=self.config.election_ms / 1000)
        await moved

    def _fail(self, error: BaseException) -> None:
        """The disk fails, or a promise is broken: to go on would be to forget or to lie."""
        if not self.stopped.done():
            expected = isinstance(error, (StorageError, Stopped))
            log.error("this member stops: %s", error, exc_info=not expected)
            self.stopped.set_exception(error)
            self.stopped.exception()  # whoever awaits it gets it; nobody has to

    # Inputs -----------------------------------------------------------------------------------

    def ask(
        self,
        request: Any,
        done: Callable[[Answer], None],
        user: str = "",
        timeout_s: float = REQUEST_S,
    ) -> int:
        """Have a request carried out; `done(answer)` is called once, in the loop, unless `forget`
        is. Returns the op_id."""
        self._op_base += 1
        op_id = self._op_base
        op = self._ops[op_id] = Op(request, done, user, self.loop.time() + timeout_s)
        if self.story.tells:
            told = Invoked(op_id, self.node.name, request)
            op.cause = self.story.add(f"{self.node.name} clients", told, None)
        if self.stopped.done():
            self.loop.call_soon(self._answer, op_id, Answer.refusal(op_id, Header(), Stopped()))
        else:
            self._give(op_id, op)
        return op_id

    def _give(self, op_id: int, op: Op) -> None:
        node = self.node
        op.term, op.parked = node.raft.term, False
        op.again = self.loop.time() + READ_AGAIN_S
        self._cause = op.cause
        try:
            node.tick(self.now)
            node.request(op_id, op.request, op.user)
        except Exception as error:
            self._fail(error)  # `stop` answers
        self._soon_turn()

    def forget(self, op_id: int) -> None:
        """The client is gone: nobody waits for this answer."""
        op = self._ops.pop(op_id, None)
        if op is not None:
            self.node.forget(op_id)
            if self.story.tells:
                late = TimedOut(hint="its client waits no more")
                self._cause = None
                self._tell_returned(op, Answer.refusal(op_id, self.header(), late))

    def _tell_node(self, method: Callable[..., Any], *told: Any) -> None:
        """An input of the node; one that it breaks at leaves it in between, so it is the last."""
        try:
            self.node.tick(self.now)
            method(*told)
        except Exception as error:
            self._fail(error)
        self._soon_turn()

    def receive(self, message: Message, packet: int) -> None:
        """A message is there; `packet` is the number that its sender gave it."""
        if self.stopped.done():
            return
        if self.story.tells:
            self._cause = self.story.add(self.node.name, Received(message, packet), None)
        self._tell_node(self.node.step, message)

    def undelivered(self, messages: Iterable[Message]) -> None:
        """These never left: there is no connection to whom they were for."""
        if not self.stopped.done():
            for message in messages:
                self._tell_node(self.node.undelivered, message)

    def lost(self, peer: NodeId) -> None:
        """The connection to a peer broke, which its process ends with. If it led, a new leader is
        needed now and not in an election timeout; if it was being sent a snapshot, nobody needs
        to keep that."""
        raft = self.node.raft
        if self.stopped.done():
            return
        raft.report_snapshot(peer, arrived=False)
        if raft.leader != peer or raft.role != FOLLOWER:
            return
        who = self.transport.called(peer)
        log.info("lost the connection to %s, which led in term %d", who, raft.term)
        self._cause = None
        self._tell_node(raft.forget_leader)
        voters = sorted(n for n in {*raft.conf.voters, *raft.conf.outgoing} if n != peer)
        if raft.leader is None and self.node.name in voters:
            wait_s = (0.3 + voters.index(self.node.name) + 0.5 * self._rng.random()) * RISE_S
            if self._rises is not None:
                self._rises.cancel()
            self._rises = self.loop.call_later(wait_s, self._rise, RISE_TRIES)
        self._soon_turn()

    def _rise(self, tries: int) -> None:
        """Ask whether it would be elected, and again a little later: who could say yes may be about
        to hear that the leader is gone, or to come back. A pre-vote disturbs nobody."""
        self._rises = None
        raft = self.node.raft
        if raft.leader is not None or not tries or self.stopped.done():
            return
        if raft.role == FOLLOWER:
            self._cause = None
            self._tell_node(raft.campaign)
        if self.config.pre_vote:
            wait_s = RISE_AGAIN_S * (0.5 + self._rng.random())
            self._rises = self.loop.call_later(wait_s, self._rise, tries - 1)

    # Watches ----------------------------------------------------------------------------------

    def open_stream(
        self,
        hear: Callable[[list[WatchResponse]], None],
        reads: Callable[[], bool],
        lost: Callable[[RequestError], None] = lambda error: None,
    ) -> str:
        """A watch stream: `hear(responses)` is called while `reads()` is true; `lost(error)` if the
        member can serve it no more."""
        self._names += 1
        name = f"{self.node.name}/{self._names}"
        self._streams[name] = Listener(hear, reads, lost)
        return name

    def watch(self, stream: str, request: Any) -> None:
        """The stream's client asks for a watcher, or to end one, or how far it is.

        Raises: RequestError.
        """
        self._cause = None
        try:
            self.node.tick(self.now)
            self.node.watch(stream, request)
        except RequestError:
            raise
        except Exception as error:
            self._fail(error)
            raise Stopped() from error
        self._soon_turn()

    def close_stream(self, stream: str) -> None:
        """The stream's client is gone."""
        if self._streams.pop(stream, None) is not None:
            self.node.close_stream(stream)

    def wake(self) -> None:
        """Somebody reads again."""
        self._soon_turn()

    # The four lines ---------------------------------------------------------------------------

    def _soon_turn(self) -> None:
        if not self._soon:
            self._soon = True
            self.loop.call_soon(self._guarded_turn)

    def _guarded_turn(self) -> None:
        self._soon = False
        if self.stopped.done():
            return
        try:
            self._turn()
        except Exception as error:  # the disk's, or a broken promise of the core
            self._fail(error)

    def _turn(self) -> None:
        node = self.node
        if node.responses:  # before the loop may wait for the disk
            self._hand_out()
        if self._saving is not None:
            self._note_causes()
        else:
            while (ready := node.ready()) is not None:
                if ready.must_sync:
                    self._save(ready)
                    break
                if ready.hard_state is not None:
                    self.storage.write(ready)
                if not (ready.committed or ready.reads or ready.dropped):
                    self._send(ready, self._causes_of(ready), lambda message: True)
                    break
                self._finish(ready, self._causes_of(ready))
        if node.hub.waiting:
            self._tell_streams()
        self._look_at_leader()
        self._arm()
        self.story.flush()

    def _note_causes(self) -> None:
        if self.story.tells:
            grown = len(self.node.raft.outbox) - len(self._causes)
            self._causes += [self._cause] * grown

    def _causes_of(self, ready: Ready) -> list:
        """What waited during a save has its own cause; the rest is due to this input."""
        if not self.story.tells:
            return []
        waited, self._causes = self._causes, []
        return waited + [self._cause] * (len(ready.messages) + 1 - len(waited))

    def _save(self, ready: Ready) -> None:
        """Have it forced; what promises nothing leaves at once (thesis 10.2.1)."""
        causes = self._causes_of(ready)
        self._saving = (ready, causes)
        self.storage.write(ready)
        self._forcing.force(self.storage.take(), self._forced)
        self._send(ready, causes, lambda message: not message.after_save)

    def _forced(self, error: BaseException | None) -> None:
        """The Ready's promises are durable."""
        if self.stopped.done():
            return
        if error is not None:
            self._fail(error)
            return
        (ready, causes), self._saving = self._saving, None
        if self.story.tells:
            hard, entries = self.storage.hard_state, ready.entries
            first, last = (entries[0].index, entries[-1].index) if entries else (0, 0)
            saved = Saved(hard.term, hard.vote, hard.commit, first, last)
            self._cause = self.story.add(self.node.name, saved, causes[-1])
        try:
            self._send(ready, causes, lambda message: message.after_save)
            self._finish(ready)
        except Exception as error:
            self._fail(error)
        else:
            self._guarded_turn()

    def _send(self, ready: Ready, causes: list, wanted: Callable[[Message], bool]) -> None:
        """Hand the wanted messages to the transport."""
        messages = [message for message in ready.messages if wanted(message)]
        if not messages:
            return
        packets: Any = None
        if self.story.tells:
            whose = [c for message, c in zip(ready.messages, causes) if wanted(message)]
            packets = [self.story.packet() for _ in messages]
            for message, packet, cause in zip(messages, packets, whose):
                self.story.add(self.node.name, Sent(message, packet), cause)
        stuck = self.transport.send(messages, packets)
        if stuck:
            self.loop.call_soon(self.undelivered, stuck)

    def _finish(self, ready: Ready, unsent: list | None = None) -> None:
        """Apply and answer, and then send what has not left, if these are the causes of that."""
        node = self.node
        node.tick(now := self.now)
        node.advance(ready, now)
        self._hand_out()
        if unsent is not None:
            self._send(ready, unsent, lambda message: True)
        raft = node.raft
        if ready.committed or ready.snapshot:
            self._look_at_alarms()
            if self._flush_at is None:
                self._flush_at = self.loop.call_later(self._flush_s, self._flush)
            if raft.restored is None and raft.log.base.index > self.storage.base.index:
                self.storage.compact(raft.log.base)
            # A member's URLs may change without any change of who counts.
            members = node.raft.conf, node.machine.directory
            if members[0] is not self._members[0] or members[1] is not self._members[1]:
                self._members = members
                self.transport.update(node)
                self._look_at_membership()
        if self._streams and node.is_outside:
            self._tell_streams()
            self._end_streams()

    def _look_at_membership(self) -> None:
        directory = self.node.machine.directory
        if directory.number(self._name) is not None and directory.get(self._name) is None:
            self.loop.call_later(AGAIN_S, self.removed)

    def removed(self) -> None:
        """It is no member any more, as its log says, or one that is: there is no way back."""
        self._fail(Stopped(hint=f"{self.config.name} was removed from the cluster"))

    def _look_at_alarms(self) -> None:
        alarms = self.node.machine.alarms
        if alarms is not self._alarms:
            for member, kind in set(alarms) - set(self._alarms):
                what = ALARM_SAYS.get(kind, "")
                log.warning("alarm %s of member %x%s", kind, member, what)
            self._alarms = alarms

    def _flush(self) -> None:
        """Let the backend catch up with the log; no answer waits for this."""
        self._flush_at = None
        if self.stopped.done():
            return
        began_s = perf_counter()
        try:
            self.storage.flush()
        except Exception as error:
            self._fail(error)
        took_s = perf_counter() - began_s  # in which the loop did nothing else
        self.meters.commit.add(took_s)
        self._flush_s = min(max(FLUSH_S, took_s / FLUSH_SHARE), FLUSH_LEAST_S)

    def _hand_out(self) -> None:
        responses, self.node.responses = self.node.responses, []
        for answer in responses:
            self._answer(answer.op_id, answer)

    def _answer(self, op_id: int, answer: Answer) -> None:
        op = self._ops.get(op_id)
        if op is None:
            return
        if self._may_wait(op.request, answer.error):
            op.parked = True
            self._parked.append(op_id)
            return
        del self._ops[op_id]
        if self.story.tells:
            self._tell_returned(op, answer)
        try:
            op.done(answer)
        except Exception:  # a service's own mistake concerns one client
            log.exception("a service could not take the answer to %s", type(op.request).__name__)

    def _may_wait(self, request: Any, error: str) -> bool:
        """Whether nothing was done, and it may succeed once there is a leader, or once this member,
        which has just joined, knows that it is one."""
        if self.stopped.done() or isinstance(request, MoveLeader):
            return False
        joining = self.node.is_outside and self.node.machine.directory.number(self._name) is None
        return error == NoLeader.__name__ or (error == Stopped.__name__ and joining)

    def _tell_returned(self, op: Op, answer: Answer) -> None:
        unknown = answer.error == TimedOut.__name__ and not repeatable(op.request)
        whole = isinstance(answer.result, SnapshotStateResult)  # a story has no room for a state
        result = SnapshotStateResult(()) if whole else answer.result
        told = Returned(
            *(answer.op_id, self.node.name, result, answer.header.revision),
            *(str(answer.failure or ""), unknown),
        )
        self.story.add(f"{self.node.name} clients", told, self._cause or op.cause)

    def _tell_streams(self) -> None:
        for name in list(self.node.hub.waiting):
            listener = self._streams.get(name)
            if listener is not None and listener.reads():
                told = self.node.hear(name)
                try:
                    listener.hear(told)
                except Exception:  # what it was told is gone, so the stream has to go, too
                    log.exception("a service could not take what the stream %s was told", name)
                    self._end_stream(name, listener)

    def _end_streams(self) -> None:
        """The node will know nothing new."""
        for name, listener in list(self._streams.items()):
            self._end_stream(name, listener)

    def _end_stream(self, name: str, listener: Listener) -> None:
        self.close_stream(name)
        try:
            listener.lost(Stopped(hint=f"{self.config.name} serves no more"))
        except Exception:
            log.exception("a service could not take the end of the stream %s", name)

    # Time -------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the timer to the node's deadline; one that moved away is noticed when it fires."""
        due_s = max(self.node.deadline_s, self.now + 0.001)
        if due_s < self._timer_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_s = due_s
            self._timer = self.loop.call_at(self._started_s + due_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_s = None, float("inf")
        if not self.stopped.done():
            self._cause = None
            try:
                self.node.tick(self.now)
            except Exception as error:  # a chore that the disk has no room for, say
                self._fail(error)
            self._guarded_turn()

    def _look_at_leader(self) -> None:
        """Who waited for a leader is served; what was sent to an earlier one will not be."""
        raft = self.node.raft
        if raft.leader is None or self.node.is_outside:
            return
        if self._parked:
            parked, self._parked = self._parked, []
            for op_id in parked:
                if op_id in self._ops:
                    self._give(op_id, self._ops[op_id])
        settled = raft.term, raft.leader
        applied = raft.log.term(raft.log.applied)
        if settled != self._settled and applied == raft.term:
            self._settled = settled
            self.meters.leader_changes += 1
            for op_id, op in list(self._ops.items()):
                if op.term < raft.term and not op.parked:
                    self._ask_again(op_id, op)

    def _ask_again(self, op_id: int, op: Op) -> None:
        """Its leader is gone, and its successor has told all that it knows."""
        if repeatable(op.request):
            self._give(op_id, op)
        else:
            self.meters.failed += 1
            self._give_up(op_id, TimedOut(LEADER_LOST))

    def _give_up(self, op_id: int, error: RequestError) -> None:
        self.node.forget(op_id)
        self._answer(op_id, Answer.refusal(op_id, self.header(), error))

    def _sweep(self) -> None:
        self._sweep_timer = self.loop.call_later(SWEEP_S, self._sweep)
        now, leader = self.loop.time(), self.node.raft.leader
        if self.stopped.done():
            return
        self._parked = [op_id for op_id in self._parked if op_id in self._ops]
        for op_id, op in list(self._ops.items()):
            if op.give_up <= now:
                self.meters.failed += in_log(op.request)
                self._give_up(op_id, TimedOut())
            elif op.again <= now and leader and not op.parked and repeatable(op.request):
                self._give(op_id, op)
        raft = self.node.raft
        for peer, progress in raft.progress.items():
            silent = raft.now - progress.heard > SILENT * raft.config.election_ticks
            if progress.snapshot is not None and silent:
                # The view would keep every page that is overwritten meanwhile.
                raft.report_snapshot(peer, arrived=False)

    # The story --------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        if self.story.tells:
            self.story.add(self._name, event, self._cause)
