"""Barriers: wait until somebody opens, or until all are there.

Source: etcd client/v3/experimental/recipes/barrier.go, double_barrier.go; the double barrier of
ZooKeeper's recipes.
"""

from __future__ import annotations

from typing import Any

from kvlearn.errors import (
    KeyExists,
    LockReleased,
    RequestError,
    SessionExpired,
    TimedOut,
)  # fmt: skip
from kvlearn.kv.requests import KeyValue
from kvlearn.recipes.line import LOST, Bell, Place, wait_until
from kvlearn.recipes.lock import TIMEOUT_S
from kvlearn.recipes.session import session_of
from kvlearn.words import create_revision, get, mod_revision, put


class Barrier:
    """A key that others wait for: as long as it is there, they wait.

    It hangs on no lease: it outlives whoever put it up. Not promised: a `hold` that raised
    `TimedOut` may be carried out later, even after a `release`.

    >>> from kvlearn import Cluster
    >>> client = Cluster(3, seed=7).client()
    >>> gate = Barrier(client, "gate"); gate.hold()
    >>> gate.poll(), gate.release()
    (False, True)
    >>> gate.wait()
    """

    def __init__(self, client: Any, name: str):
        self.name = name
        self._client = client
        self._bell: Bell | None = None

    def hold(self) -> None:
        """Put it up. Raises: KeyExists if it is up; TimedOut if nobody knows."""
        txn = self._client.txn().if_(create_revision(self.name) == 0).then(put(self.name))
        try:
            reply = txn.commit()
        except TimedOut:
            if not self._client.get(self.name).kvs:
                raise
            return  # it is up, and that is all that was wanted
        if not reply.succeeded:
            raise KeyExists(hint=f"the barrier {self.name} is up")

    def release(self) -> bool:
        """Take it down; whoever waits goes on. Returns whether it was up."""
        return self._client.delete(self.name).deleted > 0

    def poll(self) -> bool:
        """Whether the way is free; asks only when something has changed."""
        if self._bell is not None and not self._bell.rang():
            return False
        self._silence()
        reply = self._client.get(self.name)
        if reply.kv is None:
            return True
        where = dict(start_revision=reply.header.revision, filters=("put",))  # see line.py
        self._bell = Bell(self._client.watch(self.name, **where), [reply.kv.key])
        return False

    def wait(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the way is free. Raises: TimedOut."""
        wait_for(self._client, self.poll, lambda: self._bell, timeout_s, f"{self.name} was down")

    def _silence(self) -> None:
        if self._bell is not None:
            self._bell.silence()
            self._bell = None

    def __repr__(self) -> str:
        return f"<Barrier {self.name}>"


def wait_for(client: Any, poll: Any, bell: Any, timeout_s: float, what: str) -> None:
    """Poll whenever the bell rings, until it says yes. Raises: TimedOut."""
    channel = client.channel
    give_up, late = channel.now() + timeout_s, f"not so in time: {what}"
    wait_until(channel, poll, bell, give_up, 1.0, late)


class AnyBell(Bell):
    """Rings at anything that happens."""

    def __init__(self, watcher: Any):
        super().__init__(watcher, ())

    def _hear(self, event: Any) -> None:
        self._left = 0


class DoubleBarrier:
    """`n` go in together and come out together.

    `enter` waits until n are inside, `leave` until all of them have left or died: whoever is inside
    has a key that hangs on its lease. It can be used again: who comes beyond n, or early, is one of
    the next round, which begins when the last one has ended. (etcd refuses who comes beyond n.)

    Promised: nobody passes `enter` before n were there at one moment. Not promised: that they are
    all still alive when the last one passes.
    """

    def __init__(self, client: Any, name: str, n: int, ttl_s: int = 10):
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n is a number of participants from 1 on, not {n!r}")
        self.name = name
        self.n = n
        self._place = Place(session_of(client, ttl_s), f"{name}/waiters")
        self._client = self._place.client
        self._ready = f"{name}/ready"  # its value: the create revision of the last one in
        self._round = 0  # that value, while it is ours
        self._leaving = 0  # the same, once we are on our way out
        self._bell: Bell | None = None

    @property
    def state(self) -> str:
        """idle, waiting, inside, leaving or lost: what is known here, without asking."""
        if self._leaving:
            return "leaving"
        if self._place.lost:
            return LOST
        if self._place.revision:
            return "inside" if self._round else "waiting"
        return "idle"

    def enter(self, timeout_s: float = TIMEOUT_S, wait: bool = True) -> bool:
        """Come in, and wait until n are there; with `wait=False` come in, and `poll()`.

        Raises: TimedOut, after which this one is outside again; SessionExpired.
        """
        if self._leaving or self._place.lost:  # waiting for the others is given up
            self._end()
            self._leaving = 0
        give_up = self._client.channel.now() + timeout_s * wait
        try:
            self._place.join(b"", give_up)
            if wait:
                self._wait(timeout_s, f"{self.n} are in {self.name}")
        except SessionExpired:
            raise
        except RequestError:
            self._end()
            self._place.leave()
            raise
        return wait or self.poll()

    def leave(self, timeout_s: float = TIMEOUT_S, wait: bool = True) -> bool:
        """Go, and wait until all are gone; with `wait=False` go, and `poll()`.

        Raises: LockReleased if it is not inside; TimedOut, it may be asked again.
        """
        if not self._leaving:
            if not self._round:
                raise LockReleased("not inside the barrier")
            self._leaving = self._round
            self._end()
            self._place.leave()
        if wait:
            self._wait(timeout_s, f"all have left {self.name}")
        return wait or self.poll()

    def poll(self) -> bool:
        """Whether that is so which was waited for last. Raises: SessionExpired."""
        if self._leaving:
            return self._all_left()
        if self._round or not self._place.revision:
            return bool(self._round)
        return self._all_there()

    def _all_there(self) -> bool:
        if self._bell is not None and not self._bell.rang() and not self._place.lost:
            return False
        place = self._place
        order = dict(sort="create", descending=False, keys_only=True)
        waiters = get(place.prefix, prefix=True, **order)
        reply = self._client.txn().then(get(self._ready), waiters).commit()
        ready, inside = reply.responses[0].kv, reply.responses[1].kvs
        if all(kv.create_revision != place.revision for kv in inside):
            place.lose()
            self._end()
            raise SessionExpired(hint="its key in the barrier is gone")
        upto = int(ready.text) if ready else 0
        if place.revision <= upto:
            self._end()
            self._round = upto
            return True
        if self._may_open(inside, upto):
            self._open(ready, inside[self.n - 1].create_revision)
            return self._all_there()
        self._listen(reply.header.revision + 1)
        return False

    def _may_open(self, inside: tuple[KeyValue, ...], upto: int) -> bool:
        """The last round is over, and n are there for the next."""
        return len(inside) >= self.n and inside[0].create_revision > upto

    def _open(self, ready: KeyValue | None, upto: int) -> None:
        """Say that all up to `upto` are in; whoever sees it first says so."""
        self._end()
        seen = ready.mod_revision if ready else 0
        txn = self._client.txn().if_(mod_revision(self._ready) == seen)
        txn.then(put(self._ready, str(upto))).commit()

    def _all_left(self) -> bool:
        if self._bell is not None and not self._bell.rang():
            return False
        prefix, upto = self._place.prefix, self._leaving
        options = dict(max_create_revision=upto, keys_only=True)
        reply = self._client.get(prefix, prefix=True, **options)
        if not reply.kvs:
            self._end()
            self._leaving = 0
            return True
        where = dict(start_revision=reply.header.revision, filters=("put",))
        keys = [kv.key for kv in reply.kvs]
        watcher = self._client.watch(prefix, prefix=True, **where)
        self._bell = Bell(watcher, keys, count=len(keys))
        return False

    def _listen(self, revision: int) -> None:
        self._end()
        where = dict(prefix=True, start_revision=revision)
        self._bell = AnyBell(self._client.watch(f"{self.name}/", **where))

    def _wait(self, timeout_s: float, what: str) -> None:
        wait_for(self._client, self.poll, lambda: self._bell, timeout_s, what)

    def _end(self) -> None:
        """This phase is over."""
        if self._bell is not None:
            self._bell.silence()
        self._bell, self._round = None, 0

    def __repr__(self) -> str:
        return f"<DoubleBarrier {self.name} of {self.n}: {self.state}>"
