"""What a client does in the background: follow watches and keep leases alive.

* A `Stream` has a thread that reads it. With a WatchCreate it is one watch: when the connection is
  lost, it goes on at the next endpoint behind the last revision that was heard of (`Follow`).
* A `Keeper` has one stream for all leases of a client, a thread that says every third of a lease's
  time that its holder is alive, and one that hears the answers.

```
   endpoint 1   created at 4 · 5 · 6 · lost
   endpoint 2                          watch from 7 · created · 7 · 8 ...
```

Source: etcd client/v3/watch.go, client/v3/lease.go (keepAliveCtxCloser, nextKeepAlive = ttl / 3).
Differs: one stream a watch; a followed watch asks to be cut off when its node knows no leader
(etcd: clientv3.WithRequireLeader), so that it can go on at one that does.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from time import monotonic
from typing import Any

from kvlearn.errors import (
    InvalidAuthToken, RequestError, Stopped, TimedOut, Unavailable, WatchCanceled
)  # fmt: skip
from kvlearn.kv.leases import LeaseKeepAlive
from kvlearn.kv.watches import Follow, WatchCreate
from kvlearn.live.client_wire import (
    PATHS,
    WATCH,
    message_of,
    watch_message,
    watch_response_of,
)  # fmt: skip
from kvlearn.live.connections import Connections
from kvlearn.mvcc.watch import WatchResponse

CREATED_S = 2.0  # for a watch to be taken on; if nobody does, it is tried on and on
RECONNECT_S = 0.05  # between two tries to go on with a watch
KEEP_AGAIN_S = 0.2  # after a keep-alive that found nobody
KEEP_ANSWER_S = 1.0  # for an answer; then the next endpoint is asked
REQUIRE_LEADER = (("hasleader", "true"),)


class Stream:
    """A watch stream as its client sees it. Invariant: `responses` only grows, and no more once
    there is an `error`."""

    def __init__(
        self, connections: Connections, name: str, endpoint: str, request: WatchCreate | None
    ):
        self.name = name
        self.follow = Follow(request) if request is not None else None
        self.responses: list[WatchResponse] = []  # all that came, oldest first
        self.error: RequestError | None = None  # why nothing more will come
        self._connections, self._endpoint = connections, endpoint
        self._closed = self._held = False
        self._news = threading.Condition()
        self._call: Any = None
        self._requests: SimpleQueue | None = None  # None: there is no connection
        self._asked: list[Any] = []  # while there was none
        self._created = 1 if request is not None else 0  # so many answers tell of a new watch
        threading.Thread(target=self._run, name=f"kvlearn {name}", daemon=True).start()

    @property
    def why(self) -> RequestError | None:
        """Why it brings nothing more."""
        return self.error or (WatchCanceled("closed") if self._closed else None)

    def ask(self, request: Any) -> None:
        """Send a question; it is lost if the connection is. Raises: InvalidArgument."""
        message = watch_message(request)
        with self._news:
            self._created += isinstance(request, WatchCreate)
            if self._requests is not None:
                self._requests.put(message)
            else:
                self._asked.append(message)

    def hold(self, held: bool) -> None:
        """Read nothing, or read again."""
        with self._news:
            self._held = held
            self._news.notify_all()

    def wait(self, count: int, timeout_s: float) -> None:
        """Wait until more than `count` answers came, or none will. Raises: TimedOut."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.responses) > count or self.why, timeout_s):
                raise TimedOut(hint=f"nothing came within {timeout_s:g} s")

    def await_created(self) -> None:
        """Wait until all watches that were asked for are there, but not for ever: what is changed
        from then on is heard."""

        def missing() -> int:
            return self._created - sum(one.created for one in self.responses)

        with self._news:
            self._news.wait_for(lambda: missing() <= 0 or self._held or self._over, CREATED_S)
            self._created -= max(missing(), 0)  # they are not waited for again

    def close(self, error: RequestError | None = None) -> None:
        """Nothing more is wanted."""
        with self._news:
            self._closed, self.error = True, self.error or error
            self._news.notify_all()
            requests, call = self._requests, self._call
        if requests is not None:
            requests.put(None)
        if call is not None:
            call.cancel()

    # Its thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._over:
            token: list[str] = []
            try:
                self._serve(token)
            except RequestError as error:
                if not self._over:
                    self._lost(error, token[0] if token else "")

    @property
    def _over(self) -> bool:
        ended = self.follow is not None and self.follow.ended is not None
        return bool(self._closed or self.error or ended)

    def _serve(self, told: list[str]) -> None:
        """One connection, from its beginning to its end. Raises: RequestError."""
        requests: SimpleQueue = SimpleQueue()
        source = iter(requests.get, None)
        hints = REQUIRE_LEADER if self.follow else ()
        call, token = self._connections.open(self._endpoint, WATCH, source, metadata=hints)
        told.append(token)
        try:
            with self._news:
                if self._closed:
                    return
                self._call, self._requests = call, requests
                if self.follow is not None:
                    requests.put(watch_message(self.follow.again))
                for message in self._asked:
                    requests.put(message)
                self._asked = []
            for message in self._connections.hear(self._endpoint, call):
                response = watch_response_of(message)
                if self.follow is not None and InvalidAuthToken.text in response.cancel_reason:
                    raise InvalidAuthToken()  # told in band; with another token it may go on
                self._take(response)
                if self._over:
                    return
        finally:
            with self._news:
                self._call = self._requests = None
            requests.put(None)  # ends gRPC's thread that waits for questions
            call.cancel()

    def _take(self, response: WatchResponse) -> None:
        with self._news:
            self._news.wait_for(lambda: not self._held or self._closed)
            if self._closed:
                return
            if self.follow is not None:
                self.follow.take(response)
            self.responses.append(response)
            self._news.notify_all()

    def _lost(self, error: RequestError, token: str) -> None:
        if self._connections.refresh(self._endpoint, error, token) and self.follow is not None:
            return  # once more, with another token
        passing = isinstance(error, (Unavailable, TimedOut))
        if self.follow is not None and passing:
            self._endpoint = self._connections.after(self._endpoint)
            self._connections.closed.wait(RECONNECT_S)
            return
        if passing:
            error = Stopped(hint=f"{self._endpoint} is gone, and the stream with it: open another")
        with self._news:
            self.error = self.error or error
            self._news.notify_all()


class Kept:
    """One lease that is kept alive."""

    def __init__(self, every_s: float):
        self.every_s = every_s
        self.due = monotonic()  # when to say the next time that its holder is there
        self.asked: float | None = None  # since when an answer is awaited


class Keeper:
    """Keeps leases alive. Invariant: while there are leases, a thread says so for them."""

    def __init__(self, connections: Connections):
        self._connections = connections
        self._endpoint = connections.endpoints[0]
        self._leases: dict[int, Kept] = {}
        self._news = threading.Condition()
        self._running = False
        self._call: Any = None
        self._requests: SimpleQueue | None = None

    def keep(self, lease: int, endpoint: str, every_s: float) -> None:
        """Keep a lease alive, every so many seconds."""
        with self._news:
            if not self._leases:
                self._endpoint = endpoint
            self._leases[lease] = Kept(every_s)
            self._news.notify_all()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="kvlearn leases", daemon=True).start()

    def unkeep(self, lease: int | None = None) -> None:
        """Let a lease run out; None: all of them."""
        with self._news:
            if lease is None:
                self._leases.clear()
            self._leases.pop(lease, None)
            self._news.notify_all()

    def keeps(self, lease: int) -> bool:
        """Whether it is kept alive."""
        return lease in self._leases

    # Its thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while due := self._await_due():
            try:
                self._say(due)
            except RequestError as error:
                self._failed(error)

    def _await_due(self) -> list[int]:
        """The leases whose time has come; none: there are no leases any more."""
        with self._news:
            while self._leases:
                now = monotonic()
                due = [id for id, kept in self._leases.items() if kept.due <= now]
                if due:
                    return due
                self._news.wait(min(kept.due for kept in self._leases.values()) - now)
            self._hang_up()
            self._running = False  # now another thread may take over
            return []

    def _say(self, due: list[int]) -> None:
        """Raises: RequestError."""
        with self._news:
            late = any(id in self._leases and self._leases[id].asked for id in due)
        if late:  # no answer since the last time
            self._hang_up()
            self._endpoint = self._connections.after(self._endpoint)
        requests = self._requests or self._dial()
        now = monotonic()
        with self._news:
            if self._requests is not requests:
                return  # lost already; when to ask again is known
            for id in due:
                if kept := self._leases.get(id):
                    kept.asked, kept.due = now, now + min(KEEP_ANSWER_S, kept.every_s)
                    requests.put(message_of(LeaseKeepAlive(id)))

    def _dial(self) -> SimpleQueue:
        """Open a stream, and read it in a thread. Raises: RequestError."""
        requests: SimpleQueue = SimpleQueue()
        path = PATHS[LeaseKeepAlive]
        call, token = self._connections.open(self._endpoint, path, iter(requests.get, None))
        with self._news:
            self._call, self._requests = call, requests
        threading.Thread(
            target=self._read, args=(call, token), name="kvlearn leases heard", daemon=True
        ).start()
        return requests

    def _hang_up(self) -> None:
        with self._news:
            call, requests = self._call, self._requests
            self._call = self._requests = None
        if requests is not None:
            requests.put(None)
            call.cancel()

    def _read(self, call: Any, token: str) -> None:
        try:
            for message in self._connections.hear(self._endpoint, call):
                self._hear(message)
        except RequestError as error:
            if self._call is not call:
                return  # nobody listens to it any more
            self._hang_up()
            renews = self._connections.refresh(self._endpoint, error, token)
            self._failed(None if renews else error)

    def _hear(self, message: Any) -> None:
        with self._news:
            kept = self._leases.get(message.ID)
            if kept is None:
                return
            if message.TTL <= 0:  # it is gone
                del self._leases[message.ID]
            else:
                said = kept.asked or monotonic()
                kept.asked, kept.due = None, said + kept.every_s
            self._news.notify_all()

    def _failed(self, error: RequestError | None) -> None:
        """Nobody there: try the next. Refused: there is no use in asking again. No error: ask
        again at once, with another token."""
        wait_s = KEEP_AGAIN_S if error else 0.0
        if error:
            self._endpoint = self._connections.after(self._endpoint)
        with self._news:
            now = monotonic()
            for id, kept in list(self._leases.items()):
                if not kept.asked and kept.due > now:
                    continue
                if error and not isinstance(error, (Unavailable, TimedOut)):
                    del self._leases[id]
                kept.asked, kept.due = None, now + min(wait_s, kept.every_s)
            self._news.notify_all()
