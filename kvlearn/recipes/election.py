"""Who leads? The first in line; the value of its key is what it has to say.

Source: etcd client/v3/concurrency/election.go; server/etcdserver/api/v3election.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kvlearn.errors import (
    ElectionNoLeader,
    ElectionNotLeader,
    LeaseNotFound,
    RequestError,
    TimedOut,
)  # fmt: skip
from kvlearn.kv.requests import KeyValue, as_bytes
from kvlearn.recipes.line import HELD, Holder, Place
from kvlearn.recipes.lock import TIMEOUT_S
from kvlearn.recipes.session import session_of
from kvlearn.words import get, mod_revision, put

TRIES = 3  # of a proclamation without an answer


class Election(Holder):
    """One of those who campaign for `name` leads.

    Promised: of the keys in the store the oldest leads, and `proclaim` is carried out only while
    that is the caller's. Not promised: that a leader knows at once that it was replaced. `token`
    and `guard` protect what it writes, as with a `Lock`.

    >>> from kvlearn import Cluster
    >>> cluster = Cluster(3, seed=7)
    >>> one, other = (Election(cluster.client(), "boss") for _ in range(2))
    >>> one.campaign("ann"), other.campaign("bob", wait=False), other.leader().text
    (True, False, 'ann')
    >>> one.resign(), other.campaign("bob"), other.leader().text
    (True, True, 'bob')
    """

    def __init__(self, client: Any, name: str, ttl_s: int = 10):
        self.name = name
        self._place = Place(session_of(client, ttl_s), name)
        self._client = self._place.client
        self._changed = 0  # the revision of our last word

    # Standing for election --------------------------------------------------------------------

    def campaign(self, value: str | bytes, timeout_s: float = TIMEOUT_S, wait: bool = True) -> bool:
        """Stand, and wait until elected; with `wait=False` stand, and `poll()`.

        Who stands already changes its value in place. Returns whether this one leads now.
        Raises: TimedOut, after which it stands no longer; SessionExpired.
        """
        place, value = self._place, as_bytes(value)
        place.look_after()
        if not place.revision:
            self._stand(value, self._client.channel.now() + timeout_s * wait)
        else:
            self._say(value)
        return place.take(value, timeout_s, wait)

    def _stand(self, value: bytes, give_up: float) -> None:
        place = self._place
        try:
            found = place.join(value, give_up)
            self._changed = found.mod_revision if found else place.revision
            if found is not None and found.value != value:
                self._say(value)
        except RequestError:
            place.leave()
            raise

    def poll(self) -> bool:
        """Whether this one leads, as far as is known here. Raises: SessionExpired."""
        return self._place.poll()

    def proclaim(self, value: str | bytes) -> None:
        """Say something else without another election.

        Raises: ElectionNotLeader; TimedOut if nobody knows whether it was said.
        """
        if self._place.state != HELD:
            raise ElectionNotLeader()
        self._say(as_bytes(value))

    def _say(self, value: bytes) -> None:
        place = self._place
        unknown: TimedOut | None = None
        for _ in range(TRIES):
            txn = self._client.txn().if_(place.guard, mod_revision(place.key) == self._changed)
            try:
                reply = txn.then(put(place.key, value, place.lease)).else_(get(place.key)).commit()
            except TimedOut as error:
                unknown, kv = error, self._client.get(place.key).kv
            except LeaseNotFound:
                kv = None
            else:
                if reply.succeeded:
                    self._changed = reply.header.revision
                    return
                kv = reply.responses[0].kv
            if kv is None or kv.create_revision != place.revision:
                place.lose()
                raise ElectionNotLeader(hint=f"{place.prefix[:-1]} has another leader, or none")
            was, self._changed = self._changed, kv.mod_revision
            if self._changed > was and kv.value == value:
                return
        raise unknown or TimedOut("what others said came between")

    def resign(self) -> bool:
        """Stand no longer. Returns whether that is known to be done; else it is when the lease runs
        out. Who does not stand, resigns from nothing."""
        return self._place.leave()

    def is_leader(self) -> bool:
        """Whether it leads, as the cluster knows it just now. Raises: TimedOut, Unavailable."""
        return self._place.check()

    def _not_held(self) -> RequestError:
        return ElectionNotLeader()

    # Looking on -------------------------------------------------------------------------------

    def leader(self) -> KeyValue:
        """The leader's key; its `text` is what the leader said last. Raises: ElectionNoLeader."""
        kv, _ = first_of(self._client, self._place.prefix)
        if kv is None:
            raise ElectionNoLeader()
        return kv

    def observe(self) -> Leaders:
        """Follow who leads and what it says."""
        return Leaders(self._client, self._place.prefix)

    def __repr__(self) -> str:
        return f"<Election {self.name}: {self._place}>"


def first_of(client: Any, prefix: str) -> tuple[KeyValue | None, int]:
    """The oldest key in line, and the revision at which that was so."""
    reply = client.get(prefix, prefix=True, sort="create", descending=False, limit=1)
    return reply.kv, reply.header.revision


class Leaders:
    """The leaders of an election, as they come, and what they say.

    Promised: in order, none twice, and the latest one in the end. Not promised: all of them; who
    led between two looks may be left out.
    """

    def __init__(self, client: Any, prefix: str):
        self._client = client
        self._prefix = prefix
        self._watcher: Any = None
        self._watched = b""  # the leader's key
        self._seen = 0  # the revision at which that was so
        self._told: KeyValue | None = None  # what was told last

    def poll(self) -> list[KeyValue]:
        """What is new; waits for nobody. Raises: TimedOut, Unavailable."""
        new: list[KeyValue] = []
        while True:
            if self._watcher is None:
                self._look(new)
                return new
            ended = bool(self._watcher.canceled or self._watcher.resumed)
            for event in self._watcher.events():
                if event.kv.mod_revision > self._seen and self._hear(event, new):
                    ended = True
                    break
            if not ended:
                return new
            self.close()

    def _look(self, new: list[KeyValue]) -> None:
        kv, revision = first_of(self._client, self._prefix)
        where = dict(start_revision=revision)  # and not behind it: see line.py
        self._seen = revision
        if kv is None:
            self._watched = b""
            self._watcher = self._client.watch(self._prefix, prefix=True, **where)
            return
        self._watched = kv.key
        self._watcher = self._client.watch(kv.key, **where)
        if kv != self._told:
            self._told = kv
            new.append(kv)

    def _hear(self, event: Any, new: list[KeyValue]) -> bool:
        """Take an event; whether somebody else leads now."""
        if event.type == "delete" or event.kv.key != self._watched:
            return True
        self._told = event.kv
        new.append(event.kv)
        return False

    def wait(self, timeout_s: float = 5.0) -> list[KeyValue]:
        """What is new, at least one. Raises: TimedOut."""
        channel = self._client.channel
        give_up = channel.now() + timeout_s
        while not (new := self.poll()):
            left = give_up - channel.now()
            if left <= 0:
                raise TimedOut("no new leader in time")
            self._watcher.wait(left)
        return new

    def __iter__(self) -> Iterator[KeyValue]:
        """Leaders as they come, until the client's time-out passes without any."""
        while True:
            try:
                new = self.wait(self._client.timeout_s)
            except TimedOut:
                return
            yield from new

    def close(self) -> None:
        """Look on no longer."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def __enter__(self) -> Leaders:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<leaders of {self._prefix[:-1]}: {self._told or 'none told yet'}>"
