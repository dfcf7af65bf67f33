"""A place in a line: what locks, elections and semaphores have in common.

Whoever wants something writes a key of its own, `<name>/<lease id in hex>`, that lives as long as
its lease. The store numbers all changes, so the create revisions of these keys are an order that
everybody agrees on: the first one in line holds. When its key goes, by its own hand or because its
lease ran out, the next one holds.

```
   jobs/4d1   created at 7     holds
   jobs/9a2   created at 8     waits for the deletion of jobs/4d1
   jobs/1c0   created at 12    waits for the deletion of jobs/9a2
```

Each waits for the one before it and not for the first: otherwise every release would wake the whole
line, to let one of it in (the "thundering herd").

Source: etcd client/v3/concurrency/mutex.go (tryAcquire), key.go (waitDeletes). Differs: a place is
given back only in the life that it was taken in (as etcd's Election.Resign does); who waits learns
that its own lease is gone before the one ahead of it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from kvlearn.errors import (
    Compacted,
    LeaseNotFound,
    RequestError,
    SessionExpired,
    TimedOut,
    Unavailable,
    WatchCanceled,
)  # fmt: skip
from kvlearn.kv.requests import KeyValue
from kvlearn.kv.txn import Compare
from kvlearn.recipes.session import Session
from kvlearn.values import check_timeout
from kvlearn.words import create_revision, delete, get, put

IDLE, WAITING, HELD, LOST = "idle", "waiting", "held", "lost"
PAUSE_S = 0.05  # before asking again a cluster that gave no answer


class Bell:
    """Rings once `count` of `keys` are deleted, or when the watch may have missed that."""

    def __init__(self, watcher: Any, keys: Iterable[bytes], count: int = 1):
        self._watcher = watcher
        self._keys = set(keys)
        self._left = count

    def rang(self) -> bool:
        """Whether it has rung; waits for nothing."""
        ended = bool(self._watcher.canceled) or self._watcher.resumed
        for event in self._watcher.events():
            self._hear(event)
        return bool(ended or self._left <= 0)

    def wait(self, timeout_s: float) -> None:
        """Wait for an event, for `timeout_s` seconds at most."""
        try:
            self._hear(self._watcher.recv(timeout_s))
        except (Compacted, WatchCanceled):
            self._left = 0
        except TimedOut:
            pass

    def _hear(self, event: Any) -> None:
        if event.type == "delete" and event.kv.key in self._keys:
            self._keys.discard(event.kv.key)
            self._left -= 1

    def silence(self) -> None:
        """Watch no longer."""
        self._watcher.cancel()


def wait_until(
    channel: Any,
    poll: Callable[[], bool],
    bell: Callable[[], Bell | None],
    give_up: float,
    every_s: float,
    what: str,
) -> None:
    """Poll until it says yes: whenever the bell of the moment rings, and every so many seconds.

    Raises: TimedOut, which says `what`, when it is time to give up.
    """
    while True:
        try:
            if poll():
                return
        except (Unavailable, TimedOut):
            pass  # nothing is known: ask again
        left = give_up - channel.now()
        if left <= 0:
            raise TimedOut(what)
        if bell() is None:
            channel.wait(min(left, PAUSE_S))
        else:
            bell().wait(min(left, every_s))


class Place:
    """A place in the line `name`, where the first `room` hold.

    Invariant: `revision`, the create revision of `key`, is 0 unless waiting or held; whoever holds
    later has a higher one.
    """

    def __init__(self, session: Session, name: str, room: int = 1):
        if not name:
            raise ValueError("a name is needed: all who compete for one thing use the same")
        self.session = session
        self.client = session.client
        self.prefix = f"{name}/"
        self.room = room
        self.state = IDLE
        self.key = ""
        self.revision = 0
        self.lease: Any = None  # that the key hangs on
        self.unsure = 0  # attempts to take it under this lease that had no answer
        self.held_from = 0  # the store's revision at which it was seen to hold
        self._bell: Bell | None = None

    @property
    def guard(self) -> Compare:
        """Holds in a transaction as long as this place is taken. Raises: SessionExpired."""
        if not self.revision:
            raise SessionExpired(hint=f"nothing is held in {self.prefix}")
        return create_revision(self.key) == self.revision

    @property
    def lost(self) -> bool:
        """Its key is known to be gone, or nobody keeps its lease alive any more."""
        taken = self.state in (WAITING, HELD)
        return self.state == LOST or (taken and not self.lease.is_kept)

    # In and out -------------------------------------------------------------------------------

    def take(self, value: str | bytes, timeout_s: float, wait: bool) -> bool:
        """Get in line, and with `wait` stay there until it holds; whether it does.

        Raises: TimedOut, after which it is out of the line; SessionExpired.
        """
        if wait:
            check_timeout(timeout_s, least=-inf)
        give_up = self.client.channel.now() + (timeout_s if wait else 0)
        try:
            self.join(value, give_up)
            if wait:
                self._stay(give_up)
        except SessionExpired:
            raise
        except RequestError:
            self.leave()
            raise
        return self.poll()

    def join(self, value: str | bytes, give_up: float) -> KeyValue | None:
        """Get in line; what is there already if this place is taken.

        What got no answer is looked up before it is asked again, until it is time to give up.
        """
        while True:
            try:
                self.look_after()
                return None if self.revision else self._enter(value)
            except LeaseNotFound:
                self.session.renew()  # nothing was done: another lease, another key
            except (Unavailable, TimedOut):
                if self.client.channel.now() >= give_up:
                    raise
                self.client.channel.wait(PAUSE_S)

    def _enter(self, value: str | bytes) -> KeyValue | None:
        lease = self.session.lease
        if lease is not self.lease:
            self.lease, self.unsure = lease, 0
        self.key = f"{self.prefix}{lease.id:x}"
        mine, first = get(self.key), self._first
        txn = self.client.txn().if_(create_revision(self.key) == 0)
        txn.then(put(self.key, value, lease), first).else_(mine, first)
        try:
            reply = txn.commit()
        except TimedOut:
            self.unsure += 1
            reply = self.client.txn().then(mine, first).commit()
            if not reply.responses[0].kvs:
                raise
        found = reply.responses[0].kv if hasattr(reply.responses[0].result, "kvs") else None
        if found is not None and self.unsure == 1:
            self.unsure = 0  # the one without an answer was carried out
        self.revision = found.create_revision if found else reply.header.revision
        self.state = WAITING
        holders = reply.responses[1].kvs
        self._settle(len([kv for kv in holders if kv.create_revision < self.revision]), reply)
        return found

    @property
    def _first(self) -> Any:
        order = dict(sort="create", descending=False, limit=self.room)
        return get(self.prefix, prefix=True, keys_only=True, **order)

    def _settle(self, before: int, reply: Any) -> None:
        if before < self.room:
            self.state, self.held_from = HELD, reply.header.revision

    def leave(self) -> bool:
        """Give the place back. Returns whether it is known to be free; else it becomes so when the
        lease runs out, which nobody keeps alive any more."""
        self._silence()
        key, revision = self.key, self.revision
        self.state, self.key, self.revision = IDLE, "", 0
        if self.unsure:  # it may come late: without the lease it will be refused
            return self.session.close()
        if not revision:
            return True
        try:  # the condition keeps a late one from deleting what was taken anew
            self.client.txn().if_(create_revision(key) == revision).then(delete(key)).commit()
        except RequestError:
            return self.session.close()
        return True

    # Waiting ----------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Whether it holds. Waits for nobody, and asks only if the one before it is gone.

        Raises: SessionExpired if its own lease is.
        """
        if self.state == WAITING and not (self._bell and not self._bell.rang() and not self.lost):
            self._ask()
        return self.state == HELD

    def _stay(self, give_up: float) -> None:
        what, every_s = f"{self.prefix[:-1]} was not free in time", self.session.ttl_s / 3
        wait_until(self.client.channel, self.poll, lambda: self._bell, give_up, every_s, what)

    def _ask(self) -> None:
        """See who is before us, and watch whom we have to wait for."""
        self._silence()
        limit = 1 if self.room == 1 else 0
        order = dict(sort="create", descending=True, limit=limit, keys_only=True)
        before = get(self.prefix, prefix=True, max_create_revision=self.revision - 1, **order)
        reply = self.client.txn().then(get(self.key), before).commit()
        own, ahead = reply.responses[0].kv, reply.responses[1].kvs
        if own is None or own.create_revision != self.revision:
            self.lose()
            raise SessionExpired(hint=f"{self.key} is gone")
        self._settle(len(ahead), reply)
        if self.state == HELD:
            return
        # Not behind what was seen: if a compaction at the very next revision takes the deletion
        # that we wait for, a watch from there hears nothing, and one from here is told so.
        where = dict(start_revision=reply.header.revision, filters=("put",))
        key, prefix = (ahead[0].key, False) if self.room == 1 else (self.prefix, True)
        watcher = self.client.watch(key, prefix=prefix, **where)
        keys = [kv.key for kv in ahead]
        self._bell = Bell(watcher, keys, count=len(keys) - self.room + 1)

    def check(self) -> bool:
        """Whether it holds, as the cluster knows it just now. Raises: TimedOut, Unavailable."""
        if self.state != HELD:
            return False
        if self._own() is None:
            self.lose()
        return self.state == HELD

    def _own(self) -> KeyValue | None:
        """Its key, in the life that it was taken in."""
        kv = self.client.get(self.key).kv
        return kv if kv is not None and kv.create_revision == self.revision else None

    def look_after(self) -> None:
        """If nobody keeps the lease alive any more, see whether the key is still there."""
        if self.revision and self.lost and self._own() is None:
            self.lose()

    def lose(self) -> None:
        """Its key is known to be gone."""
        self._silence()
        self.state, self.key, self.revision = LOST, "", 0

    def _silence(self) -> None:
        if self._bell is not None:
            self._bell.silence()
            self._bell = None

    def __str__(self) -> str:
        if self.state == HELD and self.lost:
            return "held, but its lease is not kept alive"
        return f"{self.state} at {self.revision}" if self.revision else self.state


class Holder:
    """What locks, elections and claims tell of their place in line, without asking the cluster."""

    name: str
    _place: Place

    @property
    def lost(self) -> bool:
        """Its key is known to be gone, or nobody keeps its lease alive any more."""
        return self._place.lost

    @property
    def state(self) -> str:
        """idle, waiting, held or lost: what is known here."""
        return LOST if self.lost else self._place.state

    @property
    def token(self) -> int | None:
        """The fencing token of this holding, the create revision of its key (of an election, etcd
        calls it `rev`); None: not held."""
        return self._place.revision if self._place.state == HELD else None

    @property
    def guard(self) -> Compare:
        """For `txn().if_(lock.guard)`: it holds only as long as the key is there.

        Raises: SessionExpired, of an election ElectionNotLeader, of a checkpoint Fenced, if nothing
        is held.
        """
        if self._place.state != HELD:
            raise self._not_held()
        return self._place.guard

    @property
    def key(self) -> str:
        """Its place in line; "" if it has none."""
        return self._place.key

    @property
    def session(self) -> Session:
        """The lease that it hangs on."""
        return self._place.session

    def _not_held(self) -> RequestError:
        return SessionExpired(hint=f"{self.name} is not held")
