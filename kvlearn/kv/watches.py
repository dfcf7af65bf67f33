"""What a client asks on a watch stream.

A stream carries many watchers. Its answers are `WatchResponse`s (see `kvlearn/mvcc/watch.py`), and
none of them goes through the log: each node tells what it has applied itself.

>>> print(WatchCreate(b"job/", b"job0", start_revision=5), "|", WatchCancel(3))
watch job/* from 5 | cancel watch 3

Source: etcd api/etcdserverpb/rpc.proto (WatchRequest).
"""

from __future__ import annotations

from dataclasses import replace

from kvlearn.errors import InvalidArgument
from kvlearn.kv.requests import interval
from kvlearn.mvcc.watch import FILTERS, KVEvent, WatchResponse
from kvlearn.values import value


@value
class WatchCreate:
    """Watch a key or an interval from `start_revision` on (0 or less: from now on). No key is the
    smallest key, as in etcd.

    `watch_id` 0: the node chooses. `filters` are the types of events that are not wanted: put,
    delete. With `progress_notify` a quiet watcher hears now and then how far it is; with `fragment`
    large answers come in parts.
    """

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    watch_id: int = 0
    prev_kv: bool = False
    filters: tuple[str, ...] = ()
    progress_notify: bool = False
    fragment: bool = False

    def __str__(self) -> str:
        start = f" from {self.start_revision}" if self.start_revision > 0 else ""
        return f"watch {interval(self.key, self.range_end)}{start}"


@value
class WatchCancel:
    """End the watcher; an unknown id is ignored."""

    watch_id: int

    def __str__(self) -> str:
        return f"cancel watch {self.watch_id}"


@value
class WatchProgress:
    """How far are all watchers of the stream?"""

    def __str__(self) -> str:
        return "progress?"


def check_watch(request: WatchCreate | WatchCancel | WatchProgress) -> None:
    """Refuse what is wrong in the request itself. Raises: InvalidArgument."""
    match request:
        case WatchCreate(key, range_end, start, id, filters=filters):
            if not (isinstance(key, bytes) and isinstance(range_end, bytes)):
                raise InvalidArgument(hint=f"keys are bytes, not {key!r}, {range_end!r}")
            if not (isinstance(start, int) and isinstance(id, int)):
                raise InvalidArgument(hint="a start revision and a watch id are whole numbers")
            if unknown := set(filters) - set(FILTERS):
                known = " or ".join(FILTERS)
                raise InvalidArgument(hint=f"a filter is {known}, not {min(map(str, unknown))}")
        case WatchCancel() | WatchProgress():
            pass
        case _:
            raise InvalidArgument(hint=f"a stream takes WatchCreate and its kin, not {request!r}")


class Follow:
    """How far a client has heard of one watch, so that another node can go on from there.

    Fragments are put together, and a revision counts as heard when all of it has come: so what a
    node was in the middle of when it failed is told whole by the next one.

    >>> follow = Follow(WatchCreate(b"a"))
    >>> _ = follow.take(WatchResponse(0, revision=4, created=True))
    >>> print(follow.again)
    watch a from 5

    Source: etcd client/v3/watch.go (watchGrpcStream.serveSubstream, nextRev).
    """

    def __init__(self, request: WatchCreate):
        self.request = request
        self.next = max(request.start_revision, 0)  # the first revision that was not heard of
        self.opened = 0  # how often a node has taken it on
        self.progress = 0  # all up to here was heard, says the node
        self.ended: WatchResponse | None = None  # the answer that ended it
        self._parts: tuple[KVEvent, ...] = ()

    @property
    def again(self) -> WatchCreate:
        """What to ask the next node."""
        self._parts = ()
        return replace(self.request, start_revision=self.next)

    def take(self, response: WatchResponse) -> tuple[KVEvent, ...]:
        """The events that an answer completes; none for what only tells how far it is."""
        if response.canceled:
            self.ended = response
            return ()
        if response.created:
            self.opened += 1
            self._parts = ()  # of a node that failed amid them; this one tells them anew
            self.next = self.next or response.revision + 1
            return ()
        self._parts += response.events
        if response.fragment:
            return ()
        events, self._parts = self._parts, ()
        if events:
            self.next = max(self.next, events[-1].kv.mod_revision + 1)
        else:
            self.progress = response.revision
            self.next = max(self.next, response.revision + 1)
        return events
