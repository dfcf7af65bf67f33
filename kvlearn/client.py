"""One client for every kind of cluster: simulated, local processes, or a real etcd.

A client knows some endpoints and talks to one of them. If that one is down or knows no leader,
nothing was done, and the client asks the next. If a *read* got no answer it asks again elsewhere.
A *write* without an answer may or may not have been carried out: it is never repeated silently;
`TimedOut` says so, and whoever wrote it has to look.

A channel carries one request to one endpoint; it is all that the kinds of cluster differ in.

Source: etcd client/v3/kv.go, retry_interceptor.go (the repeatable and non-repeatable policies).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from kvlearn import words
from kvlearn.errors import (
    Compacted, InvalidArgument, RequestError, Stopped, TimedOut, Unavailable
)  # fmt: skip
from kvlearn.handles import Lease, TxnBuilder, Watcher, WatchStream
from kvlearn.kv.kinds import repeatable
from kvlearn.kv.leases import Compact, LeaseGrant, LeaseLeases
from kvlearn.kv.members import (
    MemberAdd, MemberChange, MemberList, MemberPromote, MemberRemove, MoveLeader
)  # fmt: skip
from kvlearn.kv.requests import Answer, Header, KeyValue
from kvlearn.kv.snapshots import save_snapshot
from kvlearn.kv.txn import TxnResult
from kvlearn.kv.upkeep import Alarm, Defragment, HashKV, SnapshotState, SnapshotStateResult, Status
from kvlearn.kv.watches import WatchCreate, check_watch
from kvlearn.mvcc.watch import WatchResponse
from kvlearn.raft.confchange import EXPLICIT, IMPLICIT
from kvlearn.values import Shown, check_timeout

RETRY_S = 0.05  # between two tries; a node that knows no leader needs an election to know one


class Channel(Protocol):
    """How requests get to a cluster."""

    name: str  # what the story calls the client
    endpoints: tuple[str, ...]
    try_s: float  # so long may a read take at one endpoint before the next one is asked

    def now(self) -> float:
        """Seconds, on the clock that timeouts are counted by."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def call(self, endpoint: str, request: Any, timeout_s: float) -> Answer:
        """One try. Raises: Unavailable if nothing was done, TimedOut if that is not known."""

    def open_stream(self, endpoint: str, request: Any = None) -> str:
        """A watch stream; with a WatchCreate it is one watch, resumed when its node fails."""

    def ask_stream(self, stream: str, request: Any) -> None:
        """Send a WatchCreate, WatchCancel or WatchProgress."""

    def close_stream(self, stream: str) -> None:
        """Nothing more is wanted."""

    def hold_stream(self, stream: str, held: bool) -> None:
        """Read nothing from the stream for a while, or read again."""

    def received(self, stream: str) -> list[WatchResponse]:
        """All that the stream has brought so far."""

    def stream_error(self, stream: str) -> Exception | None:
        """Why the stream brings nothing more."""

    def wait_stream(self, stream: str, count: int, timeout_s: float) -> None:
        """Wait until more than `count` answers came. Raises: TimedOut."""

    def keep(self, lease: int, endpoint: str, every_s: float) -> None:
        """Keep a lease alive in the background."""

    def unkeep(self, lease: int) -> None:
        """Let it run out."""

    def keeps(self, lease: int) -> bool:
        """Whether it is kept alive."""

    def close(self) -> None:
        """The client is gone."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call gives back: the header, and the fields of its result.

    `kvs`, `more`, `count` (get), `prev_kv` (put), `deleted`, `prev_kvs` (delete), `succeeded` (txn)
    and so on are those of etcd's answers; `value` and `text` are the first pair's value as bytes
    and as str, or None; `responses` of a transaction are replies themselves.
    """

    header: Header
    result: Any

    @property
    def kv(self) -> KeyValue | None:
        """The first pair, or None."""
        return self.result.kvs[0] if self.result.kvs else None

    @property
    def responses(self) -> tuple[Reply, ...]:
        """What the operations of a transaction gave, in their order."""
        if not isinstance(self.result, TxnResult):
            raise AttributeError("only a transaction's reply has responses")
        done = self.result.responses
        return tuple(Reply(Header(revision=one.revision), one.result) for one in done)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("header", "result"):
            raise AttributeError(name)
        try:
            return getattr(self.result, name)
        except AttributeError:
            has = ", ".join(name for name in dir(self) if not name.startswith("_"))
            raise AttributeError(f"this reply has no {name}; it has {has}") from None

    def __dir__(self) -> list[str]:
        own = [name for name in dir(self.result) if not name.startswith("_")]
        extra = ["responses"] * isinstance(self.result, TxnResult)
        return ["header", "result", *own, *extra, *(["kv"] if hasattr(self.result, "kvs") else [])]

    def __repr__(self) -> str:
        return f"<{self.result} at revision {self.header.revision}>"

    def _repr_html_(self) -> str:
        from html import escape

        kvs = getattr(self.result, "kvs", ())
        if not kvs:
            return f"<code>{escape(repr(self)[1:-1])}</code>"
        return _table(kvs) + f"<small>at revision {self.header.revision}</small>"


def _table(kvs: tuple[KeyValue, ...]) -> str:
    from html import escape

    names = ("key", "value", "create_revision", "mod_revision", "version")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = ""
    for kv in kvs:
        shown = (kv.key_text, kv.text, kv.create_revision, kv.mod_revision, kv.version)
        rows += "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in shown) + "</tr>"
    return f"<table><tr>{head}</tr>{rows}</table>"


class Client(Shown):
    """A client of a cluster. Keys and values are str (UTF-8) or bytes; what comes back is bytes.

    Every method raises `RequestError` subclasses: `TimedOut` after `timeout_s` seconds,
    `Unavailable` if no node would take the request in that time, etcd's refusals otherwise.
    """

    def __init__(self, channel: Channel, timeout_s: float = 5.0):
        check_timeout(timeout_s)
        self.channel = channel
        self.timeout_s = timeout_s
        self._turn = 0  # which endpoint

    @property
    def endpoint(self) -> str:
        """The node that is asked next."""
        endpoints = self.channel.endpoints
        return endpoints[self._turn % len(endpoints)]

    @property
    def name(self) -> str:
        """What the story calls this client."""
        return self.channel.name

    def put(
        self,
        key: str | bytes,
        value: str | bytes = b"",
        lease: Lease | int | None = None,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
    ) -> Reply:
        """Write a pair; with `prev_kv` the reply has what was there before. `ignore_value` and
        `ignore_lease` keep what the key has, which then must exist."""
        return self.call(words.put(key, value, lease, prev_kv, ignore_value, ignore_lease))

    def get(
        self,
        key: str | bytes,
        range_end: str | bytes | None = None,
        *,
        prefix: bool = False,
        from_key: bool = False,
        revision: int = 0,
        limit: int = 0,
        sort: str = "key",
        descending: bool | None = None,
        serializable: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
    ) -> Reply:
        """Read a key, or the interval up to `range_end`, or a `prefix`, or all `from_key` on.

        `revision`: as it was then; 0: now. `sort` is key, version, create, mod or value. The
        reply has all pairs in `kvs`; `text` and `value` are those of the first.
        """
        asked = dict(locals())
        del asked["self"]
        return self.call(words.get(**asked))

    def delete(
        self,
        key: str | bytes,
        range_end: str | bytes | None = None,
        *,
        prefix: bool = False,
        from_key: bool = False,
        prev_kv: bool = False,
    ) -> Reply:
        """Delete a key or an interval, in one revision; `reply.deleted` says how many went."""
        request = words.delete(key, range_end, prefix=prefix, from_key=from_key, prev_kv=prev_kv)
        return self.call(request)

    def history(self, key: str | bytes):
        """A DataFrame of every revision of `key` that can still be read, oldest first."""
        import pandas

        rows = []
        revision = self.get(key).header.revision
        while revision > 0:
            try:  # the past does not change: no quorum is needed to read it
                kv = self.get(key, revision=revision, serializable=True).kv
            except Compacted:
                break
            if kv is not None:
                rows.append((kv.mod_revision, kv.version, kv.create_revision, kv.text))
            revision = kv.mod_revision - 1 if kv is not None else revision - 1
        columns = ["mod_revision", "version", "create_revision", "value"]
        return pandas.DataFrame(rows[::-1], columns=columns).set_index("mod_revision")

    def txn(self) -> TxnBuilder:
        """A transaction: `client.txn().if_(...).then(...).else_(...).commit()`."""
        return TxnBuilder(self)

    def compact(self, revision: int, physical: bool = False) -> Reply:
        """Give up the history below `revision`; with `physical`, wait until the records are gone.

        Raises: Compacted, FutureRevision.
        """
        return self.call(Compact(revision, physical))

    # Watches and leases -----------------------------------------------------------------------

    def watch(
        self,
        key: str | bytes,
        range_end: str | bytes | None = None,
        *,
        prefix: bool = False,
        from_key: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Iterable[str] = (),
        progress_notify: bool = False,
        fragment: bool = False,
    ) -> Watcher:
        """Hear of every change of a key or an interval, from `start_revision` on (0: from now on).

        `filters` names what is not wanted: put, delete. With `prev_kv` events tell what was there
        before.
        """
        if isinstance(filters, str):
            filters = (filters,)
        start, end = words.interval_of(key, range_end, prefix, from_key)
        wanted = dict(prev_kv=prev_kv, filters=tuple(filters), fragment=fragment)
        wanted |= dict(start_revision=start_revision, progress_notify=progress_notify)
        request = WatchCreate(start, end, **wanted)
        check_watch(request)
        return Watcher(self, self.channel.open_stream(self.endpoint, request), request)

    def watch_stream(self) -> WatchStream:
        """Many watches on one stream of one node, with ids of your own; nothing is resumed."""
        return WatchStream(self, self.endpoint)

    def lease(self, ttl_s: int, id: int = 0) -> Lease:
        """A new lease of `ttl_s` seconds; id 0: the node chooses one.

        Raises: LeaseExists, LeaseTtlTooLarge.
        """
        granted = self.call(LeaseGrant(ttl_s, id)).result
        return Lease(self, granted.id, granted.ttl_s)

    def leases(self) -> Reply:
        """Which leases are there: `reply.ids`, soonest to run out first."""
        return self.call(LeaseLeases())

    # Upkeep -----------------------------------------------------------------------------------

    def status(self) -> Reply:
        """How the node is that is asked: its leader, its log, the size of its backend."""
        return self.call(Status())

    def hash_kv(self, revision: int = 0) -> Reply:
        """A sum over the history up to `revision` at the node that is asked: equal on all members
        that have applied as much."""
        return self.call(HashKV(revision))

    def snapshot(self, path: str) -> int:
        """Save the whole state of the node that is asked into a file; returns its bytes."""
        state = self.call(SnapshotState()).result
        if isinstance(state, SnapshotStateResult):
            return save_snapshot(path, state.records)
        return state.save(path)  # as the node has sent it: of an etcd, its database file

    def defragment(self) -> Reply:
        """Let the node that is asked give back the room that compactions left."""
        return self.call(Defragment())

    def alarms(self) -> Reply:
        """Which alarms are raised: `reply.alarms`."""
        return self.call(Alarm())

    def disarm(self, member: int = 0, alarm: str = "") -> Reply:
        """End alarms: all, or those of a member or a kind."""
        return self.call(Alarm("deactivate", member, alarm))

    def close(self) -> None:
        """The client is gone: its watches end, it keeps no lease alive any more."""
        self.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    # Members ----------------------------------------------------------------------------------

    def members(self, linearizable: bool = True) -> Reply:
        """Who is a member: `reply.members`."""
        return self.call(MemberList(linearizable))

    def add_member(
        self, name: str = "", learner: bool = False, peer_urls: Iterable[str] = ()
    ) -> Reply:
        """Make a node a voter, or with `learner` a member that gets the log and has no vote.

        Real members are added by `peer_urls`, where the others will reach them; their name they
        tell themselves when they start.
        """
        urls = (peer_urls,) if isinstance(peer_urls, str) else tuple(peer_urls)
        return self.call(MemberAdd(name, learner, urls))

    def promote_member(self, name: str) -> Reply:
        """Give a learner its vote. Raises: LearnerNotReady while it lacks much of the log."""
        return self.call(MemberPromote(name))

    def remove_member(self, name: str) -> Reply:
        """Remove a member; it may be the leader."""
        return self.call(MemberRemove(name))

    def reconfigure(
        self,
        add: Iterable[str] = (),
        learners: Iterable[str] = (),
        remove: Iterable[str] = (),
        explicit: bool = False,
    ) -> Reply:
        """Change several members at once, through a joint configuration (thesis 4.3).

        With `explicit` it stays joint until `leave_joint`.
        """
        if any(isinstance(names, (str, bytes)) for names in (add, learners, remove)):
            raise InvalidArgument(hint="add, learners and remove are lists of names, like ['n4']")
        changes = (tuple(names) for names in (add, learners, remove))
        return self.call(MemberChange(*changes, EXPLICIT if explicit else IMPLICIT))

    def leave_joint(self) -> Reply:
        """End a joint configuration that was entered with `explicit`."""
        return self.call(MemberChange())

    def move_leader(self, name: str) -> Reply:
        """Let another voter lead; returns once it does."""
        return self.call(MoveLeader(name))

    def call(self, request: Any) -> Reply:
        """Carry `request` out, trying other endpoints where that is safe."""
        channel = self.channel
        give_up = channel.now() + self.timeout_s
        endpoints = channel.endpoints
        refusals: dict[str, RequestError] = {}  # the last one of each endpoint
        while True:
            endpoint = endpoints[self._turn % len(endpoints)]
            left = give_up - channel.now()
            again = repeatable(request)  # asking twice does no harm
            try_s = min(left, channel.try_s) if again else left
            try:
                answer = channel.call(endpoint, request, try_s)
            except (Unavailable, TimedOut) as error:
                refusals[endpoint] = error
                is_open = isinstance(error, TimedOut) and not again
                if is_open or give_up - channel.now() <= RETRY_S:
                    # The next call had better ask somebody else than who did not answer.
                    self._turn += isinstance(error, TimedOut)
                    raise (error if is_open else _most_telling(refusals)) from None
            else:
                return Reply(answer.header, answer.result)
            self._turn += 1
            if self._turn % len(endpoints) == 0:
                channel.wait(RETRY_S)

    def __repr__(self) -> str:
        return f"<Client of {', '.join(self.channel.endpoints)}>"


def _most_telling(refusals: dict[str, RequestError]) -> RequestError:
    """Why nobody served the request: a node that runs knows more than that another one does not."""
    told = [*refusals.values()]
    if reached := [error for error in told if not isinstance(error, Stopped)]:
        return reached[0]
    hints = dict.fromkeys(error.hint for error in told if error.hint)
    return Stopped(told[-1].text, "; ".join(hints)) if len(hints) > 1 else told[-1]

