"""What a client holds on to: a watch, a stream of watches, a lease, a transaction in the making.

Source: etcd client/v3/watch.go, lease.go, txn.go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Any

from kvlearn.errors import (
    Compacted, LeaseNotFound, RequestError, TimedOut, TooManyOps, WatchCanceled
)  # fmt: skip
from kvlearn.kv.leases import LeaseKeepAlive, LeaseRevoke, LeaseTimeToLive
from kvlearn.kv.requests import DeleteRange, Put, Range, as_bytes
from kvlearn.kv.txn import MAX_OPS, Compare, Txn, depth_of
from kvlearn.kv.watches import Follow, WatchCancel, WatchCreate, WatchProgress, check_watch
from kvlearn.mvcc.watch import KVEvent, WatchResponse
from kvlearn.words import Text
from kvlearn.values import Shown, check_timeout


class Watcher(Shown):
    """One watch: its events in the order of their revisions, none twice and none missing.

    When its node fails it goes on at another one, behind the last revision that was heard of. It
    ends when it is cancelled: by `cancel`, or because the history it needs is compacted away.
    """

    def __init__(self, client: Any, stream: str, request: WatchCreate):
        self._client, self._channel = client, client.channel
        self.stream = stream
        self.request = request
        self._follow = Follow(request)
        self._seen: list[WatchResponse] = []  # the answers of the stream, and
        self._at = 0  # how many of them were looked at
        self._events: deque[KVEvent] = deque()  # to be read
        self._read = 0  # so many were read before
        self._newest = 0  # the newest revision that an answer spoke of

    @property
    def revision(self) -> int:
        """All changes up to this revision were heard of."""
        self._look()
        return max(min(self._follow.next - 1, self._newest), 0)

    @property
    def resumed(self) -> int:
        """How often it went on at another node. A compaction at exactly the revision where it did
        has taken a deletion there (as in etcd until 3.5.15), of which nothing is told."""
        self._look()
        return max(self._follow.opened - 1, 0)

    @property
    def canceled(self) -> str:
        """Why it has ended; "" while it goes on."""
        self._look()
        ended = self._follow.ended
        if ended is None:
            error = self._channel.stream_error(self.stream)
            return (error.hint or error.text) if error else ""
        if ended.compact_revision:
            return f"compacted at {ended.compact_revision}"
        return ended.cancel_reason or "canceled"

    @property
    def responses(self) -> list[WatchResponse]:
        """Everything that came so far, as it came."""
        return list(self._channel.received(self.stream))

    def events(self) -> list[KVEvent]:
        """The events that are there and were not read yet; waits for nothing."""
        self._look()
        events = list(self._events)
        self._events.clear()
        self._read += len(events)
        return events

    def recv(self, timeout_s: float = 5.0) -> KVEvent:
        """The next event.

        Raises: TimedOut if none comes within `timeout_s` seconds; Compacted, WatchCanceled if it
        has ended.
        """
        check_timeout(timeout_s, least=-inf)
        give_up = self._channel.now() + timeout_s
        self._look()
        while not self._events:
            self._raise_if_ended()
            left = give_up - self._channel.now()
            try:
                self._channel.wait_stream(self.stream, self._at, max(left, 0.0))
            except TimedOut:
                hint = f"nothing to hear of {self.request} within {timeout_s:g} s"
                raise TimedOut("no event in time", hint) from None
            self._look()
        self._read += 1
        return self._events.popleft()

    def wait(self, timeout_s: float = 5.0) -> bool:
        """Wait until something came that was not looked at yet, or nothing will; whether it did in
        time. What it is, `events` and the others tell."""
        check_timeout(timeout_s, least=-inf)
        try:
            self._channel.wait_stream(self.stream, self._at, max(timeout_s, 0.0))
        except TimedOut:
            return False
        return True

    def __iter__(self) -> Iterator[KVEvent]:
        """Events as they come, until the watch has ended or the client's time-out passes without
        any."""
        while True:
            try:
                yield self.recv(self._client.timeout_s)
            except (TimedOut, WatchCanceled):
                return

    def progress(self, timeout_s: float = 5.0) -> int:
        """Ask how far the node is; returns the revision up to which all was heard of.

        Raises: TimedOut if the node does not say so within `timeout_s` seconds; Compacted,
        WatchCanceled if the watch has ended.
        """
        check_timeout(timeout_s, least=-inf)
        give_up = self._channel.now() + timeout_s
        self._look()
        self._raise_if_ended()
        asks = True
        while True:
            if asks:
                self._channel.ask_stream(self.stream, WatchProgress())
            start = self._at
            self._look()
            new = self._seen[start : self._at]
            if any(not (one.events or one.created or one.canceled) for one in new):
                return self.revision
            self._raise_if_ended()
            asks = any(one.created for one in new) and not asks  # another node knows of no question
            if not asks:
                left = max(give_up - self._channel.now(), 0.0)
                self._channel.wait_stream(self.stream, self._at, left)

    def hold(self) -> None:
        """Read nothing for a while: a slow client. What comes waits at the node."""
        self._channel.hold_stream(self.stream, True)

    def release(self) -> None:
        """Read again."""
        self._channel.hold_stream(self.stream, False)

    def cancel(self) -> None:
        """Want no more."""
        if self._channel.stream_error(self.stream) is None:
            self._channel.close_stream(self.stream)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *error: Any) -> None:
        self.cancel()

    def __repr__(self) -> str:
        state = self.canceled or f"up to revision {self.revision}"
        return f"<{self.request}: {state}, {len(self._events)} events to read>"

    def _look(self) -> None:
        received = self._channel.received(self.stream)
        if received is not self._seen:
            self._at = _in_common(self._seen[: self._at], received)
            self._seen = received
            self._go_back()
        new = received[self._at :]  # a real stream grows meanwhile
        for response in new:
            self._events += self._follow.take(response)
            self._newest = max(self._newest, response.revision)
        self._at += len(new)

    def _go_back(self) -> None:
        """The cluster went back in time: what was told later has not been told."""
        self._follow = Follow(self.request)
        told = [event for one in self._seen[: self._at] for event in self._follow.take(one)]
        self._newest = max((one.revision for one in self._seen[: self._at]), default=0)
        self._read = min(self._read, len(told))
        self._events = deque(told[self._read :])

    def _raise_if_ended(self) -> None:
        ended = self._follow.ended
        if ended is not None and ended.compact_revision:
            raise Compacted(hint=f"the watch needs what was compacted at {ended.compact_revision}")
        if ended is not None:
            raise WatchCanceled(self.canceled)
        if error := self._channel.stream_error(self.stream):
            raise error


def _in_common(before: list[WatchResponse], now: list[WatchResponse]) -> int:
    """How many answers two tellings of the same stream begin with."""
    return next(
        (at for at, pair in enumerate(zip(before, now)) if pair[0] != pair[1]),
        min(len(before), len(now)),
    )


class WatchStream(Shown):
    """Many watches on one stream of one node, raw: answers as they come, nothing is resumed."""

    def __init__(self, client: Any, endpoint: str):
        self._channel = client.channel
        self.stream = self._channel.open_stream(endpoint)
        self._seen: list[WatchResponse] = []
        self._at = 0

    def create(self, key: Text, range_end: Text = b"", **options: Any) -> None:
        """Ask for a watcher; the options are those of `WatchCreate`."""
        request = WatchCreate(as_bytes(key), as_bytes(range_end), **options)
        check_watch(request)
        self._ask(request)

    def cancel(self, watch_id: int) -> None:
        """End a watcher."""
        self._ask(WatchCancel(watch_id))

    def request_progress(self) -> None:
        """Ask how far all its watchers are."""
        self._ask(WatchProgress())

    def _ask(self, request: Any) -> None:
        if error := self._channel.stream_error(self.stream):
            raise error
        self._channel.ask_stream(self.stream, request)

    def take(self) -> list[WatchResponse]:
        """What came since the last time; waits for nothing.

        Raises: Stopped, WatchCanceled if nothing is left and nothing more will come.
        """
        received = self._channel.received(self.stream)
        if received is not self._seen:  # a cluster that went back in time has told less
            self._at, self._seen = _in_common(self._seen[: self._at], received), received
        error = self._channel.stream_error(self.stream)  # first: what came before it, comes
        new = received[self._at :]
        self._at += len(new)
        if not new and error:
            raise error
        return new

    def hold(self) -> None:
        """Read nothing for a while."""
        self._channel.hold_stream(self.stream, True)

    def release(self) -> None:
        """Read again."""
        self._channel.hold_stream(self.stream, False)

    def close(self) -> None:
        """Want no more."""
        self._channel.close_stream(self.stream)

    def __repr__(self) -> str:
        error = self._channel.stream_error(self.stream)
        state = error.hint or error.text if error else f"{self._at} answers were read"
        return f"<stream {self.stream}: {state}>"


class Lease(Shown):
    """A lease that this client holds: keys that are put with it live as long as it does."""

    def __init__(self, client: Any, id: int, ttl_s: int):
        self._client = client
        self.id = id
        self.ttl_s = ttl_s  # granted

    def keep_alive_once(self) -> Any:
        """Say "I am here": the whole time again. Raises: LeaseNotFound if it is gone."""
        reply = self._client.call(LeaseKeepAlive(self.id))
        if reply.result.ttl_s <= 0:
            raise LeaseNotFound(hint=f"lease {self.id:x} has run out or was revoked")
        return reply

    def keep_alive(self) -> Lease:
        """Say so in the background, every third of its time, until it is stopped or gone, or the
        client is."""
        channel = self._client.channel
        channel.keep(self.id, self._client.endpoint, max(self.ttl_s / 3, 0.1))
        return self

    def stop_keep_alive(self) -> None:
        """Keep it alive no longer: it runs out by itself."""
        self._client.channel.unkeep(self.id)

    @property
    def is_kept(self) -> bool:
        """Whether it is kept alive in the background."""
        return self._client.channel.keeps(self.id)

    def time_to_live(self, keys: bool = False) -> Any:
        """`reply.ttl_s` seconds are left of `granted_ttl_s` (-1: it is gone); with `keys`, which
        keys hang on it."""
        return self._client.call(LeaseTimeToLive(self.id, keys))

    def revoke(self) -> Any:
        """End it now; its keys go with it, in one revision. Raises: LeaseNotFound."""
        self.stop_keep_alive()
        return self._client.call(LeaseRevoke(self.id))

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop_keep_alive()
        try:
            self._client.call(LeaseRevoke(self.id))
        except RequestError:
            pass  # it runs out by itself

    def __repr__(self) -> str:
        kept = ", kept alive" if self.is_kept else ""
        return f"<lease {self.id:x} of {self.ttl_s} s{kept}>"


class TxnBuilder(Shown):
    """A transaction in the making: `if_`, `then`, `else_`, each as often as needed; `commit`."""

    def __init__(self, client: Any):
        self._client = client
        self._compare: list[Compare] = []
        self._success: list[Any] = []
        self._failure: list[Any] = []

    def if_(self, *compares: Compare) -> TxnBuilder:
        """All of these have to hold."""
        for compare in compares:
            if not isinstance(compare, Compare):
                raise TypeError(f"a comparison is like version('k') == 2, not {compare!r}")
        self._compare += compares
        return self

    def then(self, *ops: Any) -> TxnBuilder:
        """What is done if they do."""
        self._success += [_operation(op) for op in ops]
        return self

    def else_(self, *ops: Any) -> TxnBuilder:
        """What is done if one of them does not."""
        self._failure += [_operation(op) for op in ops]
        return self

    @property
    def request(self) -> Txn:
        """The transaction as it would be sent."""
        return Txn(tuple(self._compare), tuple(self._success), tuple(self._failure))

    def commit(self) -> Any:
        """Carry it out: `reply.succeeded`, and `reply.responses` of the branch that was taken."""
        return self._client.call(self.request)

    def __repr__(self) -> str:
        return f"<txn: {self.request}>"


def _operation(op: Any) -> Any:
    op = op.request if isinstance(op, TxnBuilder) else op
    if not isinstance(op, (Put, Range, DeleteRange, Txn)):
        raise TypeError(
            f"an operation is put(...), get(...), delete(...) or another txn(), not {op!r}"
        )
    # Every level takes one operation at least of those that are left: no store would take more
    # levels, and nothing that has to walk through them needs to.
    if isinstance(op, Txn) and depth_of(op) >= MAX_OPS:
        raise TooManyOps(hint=f"more than {MAX_OPS} transactions in one another")
    return op
