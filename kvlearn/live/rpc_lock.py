"""Locks and elections as services: a line of keys, in the order in which they were made.

    name/3f   create revision 7     holds the lock, or leads     value: "", or what it proclaims
    name/a1   create revision 9     waits until name/3f is gone
    name/52   create revision 12    waits until name/a1 is gone

A key's name is the name of the lock, a slash and the lease in hexadecimal, and the key goes when
the lease does: so nobody holds anything longer than he lives. Everybody waits for the key right
before his own, so a release wakes one and not all. Whoever gives up removes his key.

The member itself is the client here. A call that waits is a task; it ends with the call. Errors
come as UNKNOWN with the plain text, as in etcd.

Source: etcd server/etcdserver/api/v3lock/lock.go, v3election/election.go; client/v3/concurrency
(mutex.go, election.go, key.go). Differs: whoever is served after a wait looks whether his key is
still the one that he waited with, in elections too; a call that is given up while its key is being
made removes it as well.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

from kvlearn.errors import (
    ElectionNoLeader, ElectionNotLeader, InvalidArgument, RequestError, SessionExpired
)  # fmt: skip
from kvlearn.kv.leases import LeaseGrant
from kvlearn.kv.requests import Answer, DeleteRange, Put, Range, prefix_end
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.watches import WatchCreate
from kvlearn.live.codes import Code
from kvlearn.live.method import Call, Method, Way, table, unary
from kvlearn.live.proto import election_pb2, lock_pb2
from kvlearn.mvcc.revision import KeyValue
from kvlearn.mvcc.watch import PUT, WatchResponse

LEASE_S = 60  # of the lease that is granted to whoever brings none; nobody keeps it alive
QUEUE = 16  # answers of a watch that wait for a task
Handler = Callable[["Client", Any], Awaitable[Any]]


def methods(services: Any) -> dict[str, Method]:
    """Both services by paths."""
    tasks: set[asyncio.Task] = set()  # a loop itself does not hold on to them
    one = partial(_one, services, tasks)
    locks = {"Lock": one(lock), "Unlock": one(unlock)}
    elections = {"Campaign": one(campaign), "Proclaim": one(proclaim), "Resign": one(resign)}
    elections |= {"Leader": one(leader), "Observe": _many(services, tasks, observe)}
    made = table(lock_pb2.FILE, "v3lockpb.Lock", locks)
    return made | table(election_pb2.FILE, "v3electionpb.Election", elections)


# Lock -----------------------------------------------------------------------------------------


async def lock(client: Client, request: Any) -> Any:
    """Answers when the lock is held. Raises: SessionExpired, and what the store raises."""
    lease = await client.lease(request.lease)
    place = await client.take_place(request.name, lease, b"")
    answer = place.answer
    if not place.first:
        answer = await client.wait(place, SessionExpired)
    return _headed(lock_pb2.LockResponse(key=place.key), answer)


async def unlock(client: Client, request: Any) -> Any:
    """Whoever knows the key may remove it; it need not be there."""
    answer = await client.ask(DeleteRange(request.key))
    return _headed(lock_pb2.UnlockResponse(), answer)


# Election -------------------------------------------------------------------------------------


async def campaign(client: Client, request: Any) -> Any:
    """Answers when the candidate leads. Asked again with another value: changes it in place."""
    lease = await client.lease(request.lease)
    place = await client.take_place(request.name, lease, request.value)
    if place.value not in (None, request.value):
        await client.proclaim(place.key, place.revision, request.value, lease)
    if not place.first:
        await client.wait(place, ElectionNotLeader)
    won = election_pb2.LeaderKey(name=request.name, key=place.key, rev=place.revision, lease=lease)
    return _headed(election_pb2.CampaignResponse(leader=won), place.answer)


async def proclaim(client: Client, request: Any) -> Any:
    """Only who still leads says something new. Raises: ElectionNotLeader."""
    won = _leader_of(request)
    lease = await client.lease(won.lease)
    answer = await client.proclaim(won.key, won.rev, request.value, lease)
    return _headed(election_pb2.ProclaimResponse(), answer)


async def resign(client: Client, request: Any) -> Any:
    """The next one leads; it does no harm to resign from what one has lost."""
    won = _leader_of(request)
    answer = await client.ask(_removal(won.key, won.rev))
    return _headed(election_pb2.ResignResponse(), answer)


async def leader(client: Client, request: Any) -> Any:
    """Who leads, and what did he proclaim? Raises: ElectionNoLeader."""
    answer = await client.ask(_oldest(request.name))
    if not answer.result.kvs:
        raise ElectionNoLeader()
    return _led(answer, answer.result.kvs[0])


async def observe(client: Client, request: Any) -> AsyncIterator[Any]:
    """What every leader proclaims, one after the other; one that was never seen to lead is left
    out, as in etcd."""
    while True:
        answer = await client.ask(_oldest(request.name))
        if answer.result.kvs:
            kv, revision = answer.result.kvs[0], answer.header.revision
        else:
            kv = await client.first_put(_prefix(request.name), answer.header.revision + 1)
            if kv is None:
                continue
            revision = kv.mod_revision
        yield _led(answer, kv, revision)
        with closing(client.watch(kv.key, b"", revision + 1)) as watching:
            while not (told := await watching.next()).canceled:
                for event in told.events:
                    if event.type == PUT:
                        yield _led(answer, event.kv, event.kv.mod_revision)
                if any(event.type != PUT for event in told.events):
                    break


# What both are made of ------------------------------------------------------------------------


class Place(NamedTuple):
    """A place in the line. `value`: what the key held already; None: it is new."""

    prefix: bytes
    key: bytes
    revision: int  # the key's create revision
    value: bytes | None
    first: bool  # nobody stands before it
    answer: Answer


class Client:
    """One call, as a client of the member that it came to."""

    def __init__(self, services: Any, call: Call):
        self.call, self.member = call, services.member
        self._user_of = services.user_of

    async def ask(self, request: Any) -> Answer:
        """Raises: RequestError."""
        answer = await self._asked(request)
        if answer.error:
            raise answer.failure
        return answer

    def _asked(self, request: Any) -> asyncio.Future[Answer]:
        """An answer to come. Raises: RequestError where the caller is nobody."""
        future = self.member.loop.create_future()
        done = partial(_resolve, future)
        op_id = self.member.ask(request, done, self._user_of(self.call))
        future.add_done_callback(lambda f: f.cancelled() and self.member.forget(op_id))
        return future

    async def lease(self, lease: int) -> int:
        """The lease that everything hangs on: the given one, or for 0 a new one."""
        return lease or (await self.ask(LeaseGrant(LEASE_S))).result.id

    async def take_place(self, name: bytes, lease: int, value: bytes) -> Place:
        """Stand in line, or find the place that the lease has already."""
        prefix = _prefix(name)
        key, first = prefix + b"%x" % lease, _oldest(name)
        free = Compare(key, "create", operand=0)
        asked = self._asked(Txn((free,), (Put(key, value, lease), first), (Range(key), first)))
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(partial(self._leave_what_was_taken, key))
            raise
        if answer.error:
            raise answer.failure
        mine, [oldest] = answer.result.responses[0], answer.result.responses[1].result.kvs
        if answer.result.succeeded:
            revision, held = mine.revision, None
        else:
            revision, held = mine.result.kvs[0].create_revision, mine.result.kvs[0].value
        return Place(prefix, key, revision, held, oldest.key == key, answer)

    def _leave_what_was_taken(self, key: bytes, asked: asyncio.Future[Answer]) -> None:
        answer = asked.result()
        if not answer.error and answer.result.succeeded:
            self._leave(key, answer.result.responses[0].revision)

    def _leave(self, key: bytes, revision: int) -> None:
        """Nobody waits for the answer: the call is over."""
        try:
            user = self._user_of(self.call)
        except RequestError:
            return  # a token that has run out: the lease will do it
        self.member.ask(_removal(key, revision), lambda answer: None, user)

    async def wait(self, place: Place, lost: type[RequestError]) -> Answer:
        """Until nobody stands before `place` any more. Raises: `lost` if it is not there then."""
        before = Range(
            *(place.prefix, prefix_end(place.prefix), 1, 0, "descend", "create"),
            max_create_revision=place.revision - 1,
        )
        try:
            while (answer := await self.ask(before)).result.kvs:
                await self._deletion(answer.result.kvs[0].key, answer.header.revision + 1)
            answer = await self.ask(Range(place.key))
        except (asyncio.CancelledError, RequestError):
            self._leave(place.key, place.revision)
            raise
        kvs = answer.result.kvs
        if not kvs or kvs[0].create_revision != place.revision:
            raise lost()
        return answer

    async def _deletion(self, key: bytes, start: int) -> None:
        """Until `key` is deleted, or what happened to it is forgotten: then look again."""
        with closing(self.watch(key, b"", start)) as watching:
            while not (told := await watching.next()).canceled:
                if any(event.type != PUT for event in told.events):
                    return

    async def first_put(self, prefix: bytes, start: int) -> KeyValue | None:
        """The first pair that is put under `prefix`; None: what happened is forgotten."""
        with closing(self.watch(prefix, prefix_end(prefix), start)) as watching:
            while not (told := await watching.next()).canceled:
                for event in told.events:
                    if event.type == PUT:
                        return event.kv
        return None

    async def proclaim(self, key: bytes, revision: int, value: bytes, lease: int) -> Answer:
        """Put a value under a key that is still the same one. Raises: ElectionNotLeader."""
        mine = Compare(key, "create", operand=revision)
        answer = await self.ask(Txn((mine,), (Put(key, value, lease),)))
        if not answer.result.succeeded:
            raise ElectionNotLeader()
        return answer

    def watch(self, key: bytes, range_end: bytes, start: int) -> Watching:
        """Raises: RequestError."""
        return Watching(self.member, WatchCreate(key, range_end, start))


class Watching:
    """A watch stream that a task reads, one answer after the other."""

    def __init__(self, member: Any, request: WatchCreate):
        self._member = member
        self._heard: deque[WatchResponse | RequestError] = deque()
        self._news = asyncio.Event()
        self._stream = member.open_stream(self._hear, self._reads, self._lost)
        try:
            member.watch(self._stream, request)
        except RequestError:
            self.close()
            raise

    def _reads(self) -> bool:
        return len(self._heard) < QUEUE

    def _hear(self, responses: list[WatchResponse]) -> None:
        self._heard.extend(responses)
        self._news.set()

    def _lost(self, error: RequestError) -> None:
        self._heard.append(error)
        self._news.set()

    async def next(self) -> WatchResponse:
        """Raises: RequestError where the member serves no more."""
        while not self._heard:
            self._news.clear()
            await self._news.wait()
        told = self._heard.popleft()
        if isinstance(told, RequestError):
            raise told
        if len(self._heard) == QUEUE - 1:
            self._member.wake()
        return told

    def close(self) -> None:
        """Nobody listens any more."""
        self._member.close_stream(self._stream)


def _one(services: Any, tasks: set, handler: Handler) -> Way:
    """A method with one answer, which may take its time."""

    async def run(call: Call, request: Any) -> None:
        call.reply((await handler(Client(services, call), request)).SerializeToString())

    return unary(lambda call, request: _start(services, tasks, call, run(call, request)))


def _many(services: Any, tasks: set, handler: Callable[[Client, Any], AsyncIterator]) -> Way:
    """A method with a stream of answers; it waits for a client that does not read."""

    async def run(call: Call, request: Any) -> None:
        room = asyncio.Event()
        call.on_drain = room.set
        async for message in handler(Client(services, call), request):
            call.send(message.SerializeToString())
            while call.full:
                room.clear()
                await room.wait()

    return unary(lambda call, request: _start(services, tasks, call, run(call, request)))


def _start(services: Any, tasks: set, call: Call, run: Any) -> None:
    async def guarded() -> None:
        try:
            await run
        except RequestError as error:
            call.finish(Code.UNKNOWN, error.text)

    task = services.member.loop.create_task(guarded())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    call.on_close = task.cancel


def _resolve(future: asyncio.Future, answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _prefix(name: bytes) -> bytes:
    return name + b"/"


def _oldest(name: bytes) -> Range:
    """The first in line."""
    prefix = _prefix(name)
    return Range(prefix, prefix_end(prefix), 1, sort_target="create", sort_order="ascend")


def _removal(key: bytes, revision: int) -> Txn:
    """Delete the key if it is still the same one."""
    return Txn((Compare(key, "create", operand=revision),), (DeleteRange(key),))


def _leader_of(request: Any) -> Any:
    if not request.HasField("leader"):
        raise InvalidArgument('"leader" field must be provided')
    return request.leader


def _headed(response: Any, answer: Answer, revision: int = 0) -> Any:
    given, header = answer.header, response.header
    header.cluster_id, header.member_id = given.cluster_id, given.member_id
    header.revision, header.raft_term = revision or given.revision, given.raft_term
    return response


def _led(answer: Answer, kv: KeyValue, revision: int = 0) -> Any:
    response = election_pb2.LeaderResponse()
    for name in ("key", "value", "create_revision", "mod_revision", "version", "lease"):
        setattr(response.kv, name, getattr(kv, name))
    return _headed(response, answer, revision)
