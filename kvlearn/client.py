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

from kvlearn.errors import Compacted, InvalidArgument, TimedOut, Unavailable
from kvlearn.kv.members import (
    READS,
    Member,
    MemberAdd,
    MemberChange,
    MemberList,
    MemberPromote,
    MemberRemove,
    MoveLeader,
)
from kvlearn.kv.requests import (
    FROM_KEY,
    Answer,
    DeleteRange,
    Header,
    KeyValue,
    Put,
    Range,
    as_bytes,
    prefix_range,
)
from kvlearn.raft.confchange import EXPLICIT, IMPLICIT

RETRY_S = 0.05  # between two tries; a node that knows no leader needs an election to know one


class Channel(Protocol):
    """How requests get to a cluster."""

    endpoints: tuple[str, ...]

    def now(self) -> float:
        """Seconds, on the clock that timeouts are counted by."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def call(self, endpoint: str, request: Any, timeout_s: float) -> Answer:
        """One try. Raises: Unavailable if nothing was done, TimedOut if that is not known."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call gives back: the header, and the fields of its result.

    `kvs`, `more`, `count` (get), `prev_kv` (put), `deleted`, `prev_kvs` (delete) are those of
    etcd's answers; `value` and `text` are the first pair's value as bytes and as str, or None.
    """

    header: Header
    result: Any

    @property
    def kvs(self) -> tuple[KeyValue, ...]:
        return self.result.kvs

    @property
    def more(self) -> bool:
        return self.result.more

    @property
    def count(self) -> int:
        return self.result.count

    @property
    def value(self) -> bytes | None:
        return self.result.value

    @property
    def text(self) -> str | None:
        return self.result.text

    @property
    def kv(self) -> KeyValue | None:
        """The first pair, or None."""
        return self.result.kvs[0] if self.result.kvs else None

    @property
    def prev_kv(self) -> KeyValue | None:
        return self.result.prev_kv

    @property
    def prev_kvs(self) -> tuple[KeyValue, ...]:
        return self.result.prev_kvs

    @property
    def deleted(self) -> int:
        return self.result.deleted

    @property
    def members(self) -> tuple[Member, ...]:
        return self.result.members

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


class Client:
    """A client of a cluster. Keys and values are str (UTF-8) or bytes; what comes back is bytes.

    Every method raises `RequestError` subclasses: `TimedOut` after `timeout_s` seconds,
    `Unavailable` if no node would take the request in that time, etcd's refusals otherwise.
    """

    def __init__(self, channel: Channel, timeout_s: float = 5.0):
        if not timeout_s >= 0:
            raise ValueError(f"timeout_s is a number of seconds from 0 on, not {timeout_s}")
        self.channel = channel
        self.timeout_s = timeout_s
        self._turn = 0  # which endpoint

    def put(
        self,
        key: str | bytes,
        value: str | bytes,
        lease: int | None = None,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
    ) -> Reply:
        """Write a pair; with `prev_kv` the reply has what was there before."""
        request = Put(
            as_bytes(key), as_bytes(value), lease or 0, prev_kv, ignore_value, ignore_lease
        )
        return self.call(request)

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

        `revision`: as it was then; 0: now. `sort` is key, version, create, mod or value.
        """
        start, end = interval_of(key, range_end, prefix, from_key)
        order = "none" if descending is None else "descend" if descending else "ascend"
        request = Range(
            start,
            end,
            limit=limit,
            revision=revision,
            sort_order=order,
            sort_target=sort,
            serializable=serializable,
            keys_only=keys_only,
            count_only=count_only,
            min_mod_revision=min_mod_revision,
            max_mod_revision=max_mod_revision,
            min_create_revision=min_create_revision,
            max_create_revision=max_create_revision,
        )
        return self.call(request)

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
        start, end = interval_of(key, range_end, prefix, from_key)
        return self.call(DeleteRange(start, end, prev_kv))

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

    # Members ----------------------------------------------------------------------------------

    def members(self, linearizable: bool = True) -> Reply:
        """Who is a member: `reply.members`."""
        return self.call(MemberList(linearizable))

    def add_member(self, name: str, learner: bool = False) -> Reply:
        """Make a node a voter, or with `learner` a member that gets the log and has no vote."""
        return self.call(MemberAdd(name, learner))

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
        while True:
            endpoint = endpoints[self._turn % len(endpoints)]
            left = give_up - channel.now()
            again = isinstance(request, READS)  # reading twice does no harm
            try:
                answer = channel.call(endpoint, request, min(left, 1.0) if again else left)
            except Unavailable:
                if give_up - channel.now() <= RETRY_S:
                    raise
            except TimedOut:
                if not again or give_up - channel.now() <= RETRY_S:
                    self._turn += 1  # the next call had better ask somebody else
                    raise
            else:
                return Reply(answer.header, answer.result)
            self._turn += 1
            if self._turn % len(endpoints) == 0:
                channel.wait(RETRY_S)

    def __repr__(self) -> str:
        return f"<Client of {', '.join(self.channel.endpoints)}>"


def interval_of(
    key: str | bytes, range_end: str | bytes | None, prefix: bool, from_key: bool
) -> tuple[bytes, bytes]:
    """The (key, range_end) of etcd for what a caller said.

    Raises: ValueError if more than one of range_end, prefix and from_key is given.
    """
    start = as_bytes(key)
    if (range_end is not None) + prefix + from_key > 1:
        raise ValueError("range_end, prefix and from_key exclude each other: give one of them")
    if prefix:
        return prefix_range(start)
    if from_key:
        return start or b"\0", FROM_KEY
    return start, as_bytes(range_end) if range_end is not None else b""
