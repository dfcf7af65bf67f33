"""What a client asks on a watch stream.

A stream carries many watchers. Its answers are `WatchResponse`s (see `kvlearn/mvcc/watch.py`), and
none of them goes through the log: each node tells what it has applied itself.

>>> print(WatchCreate(b"job/", b"job0", start_revision=5), "|", WatchCancel(3))
watch job/* from 5 | cancel watch 3

Source: etcd api/etcdserverpb/rpc.proto (WatchRequest).
"""

from __future__ import annotations

from kvlearn.errors import EmptyKey, InvalidArgument
from kvlearn.kv.requests import interval
from kvlearn.mvcc.watch import FILTERS
from kvlearn.values import value


@value
class WatchCreate:
    """Watch a key or an interval from `start_revision` on (0 or less: from now on).

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


WATCHING = (WatchCreate, WatchCancel, WatchProgress)


def check_watch(request: WatchCreate | WatchCancel | WatchProgress) -> None:
    """Refuse what is wrong in the request itself. Raises: InvalidArgument, EmptyKey."""
    match request:
        case WatchCreate(key, range_end, start, id, filters=filters):
            if not (isinstance(key, bytes) and isinstance(range_end, bytes)):
                raise InvalidArgument(hint=f"keys are bytes, not {key!r}, {range_end!r}")
            if not key:
                raise EmptyKey()
            if not (isinstance(start, int) and isinstance(id, int)):
                raise InvalidArgument(hint="a start revision and a watch id are whole numbers")
            if unknown := set(filters) - set(FILTERS):
                known = " or ".join(FILTERS)
                raise InvalidArgument(hint=f"a filter is {known}, not {min(map(str, unknown))}")
        case WatchCancel() | WatchProgress():
            pass
        case _:
            raise InvalidArgument(hint=f"a stream takes WatchCreate and its kin, not {request!r}")
