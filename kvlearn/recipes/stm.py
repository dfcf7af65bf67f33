"""Software transactional memory: read and write as if alone, and let the store notice if not.

A function reads and writes through a `Draft`. Nothing is written until it is done; then one
transaction compares that what it read is still so, and writes everything. If something has changed
meanwhile, the function runs again from the beginning: so it should do nothing but read and write.

| isolation | reads | compared at the end |
|---|---|---|
| serializable snapshot | all at the revision of the first | what was read; what is written, too |
| serializable | all at the revision of the first | what was read |
| repeatable reads | each key as it was first seen | what was read |
| read committed | each key as it was first seen | nothing: the last one to write wins |

A commit without an answer may have been carried out, and what it wrote can look just like the work
of somebody else (two clients that count from 5 to 6). So each commit also writes a key of this
client's own, the *mark*, and is tied to what the mark was before: then it can be asked again
without harm, and the mark tells which of the attempts was carried out.

Source: etcd client/v3/concurrency/stm.go. Differs: the mark (etcd reports an unknown outcome); the
number of attempts is bounded; after a conflict everything is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvlearn.errors import Compacted, LeaseNotFound, TimedOut, TooManyConflicts
from kvlearn.kv.requests import KeyValue, as_bytes
from kvlearn.kv.txn import Compare
from kvlearn.recipes.session import Session
from kvlearn.words import delete, get, mod_revision, put

SERIALIZABLE_SNAPSHOT = "serializable snapshot"
SERIALIZABLE = "serializable"
REPEATABLE_READS = "repeatable reads"
READ_COMMITTED = "read committed"
ISOLATIONS = (SERIALIZABLE_SNAPSHOT, SERIALIZABLE, REPEATABLE_READS, READ_COMMITTED)
SENDS = 3  # of one commit without an answer


class Draft:
    """What a function reads and writes in one attempt."""

    def __init__(self, client: Any, isolation: str):
        self._client = client
        self._isolation = isolation
        self.base = 0  # the revision of the first read; 0: nothing was read
        self.reads: dict[bytes, KeyValue | None] = {}
        self.writes: dict[bytes, Any] = {}  # key -> Put or DeleteRange

    def get(self, key: str | bytes, default: Any = None) -> Any:
        """The value as bytes, `default` if there is no such key; own writes are seen."""
        key = as_bytes(key)
        if key in self.writes:
            return getattr(self.writes[key], "value", default)
        kv = self._fetch(key)
        return default if kv is None else kv.value

    def text(self, key: str | bytes, default: str | None = None) -> str | None:
        """The value as str."""
        value = self.get(key)
        return default if value is None else value.decode()

    def revision(self, key: str | bytes) -> int:
        """The mod_revision of what was read; 0: there is no such key."""
        kv = self._fetch(as_bytes(key))
        return kv.mod_revision if kv else 0

    def put(self, key: str | bytes, value: str | bytes, lease: Any = None) -> None:
        """Write a pair, once all is done."""
        self.writes[as_bytes(key)] = put(key, value, lease)

    def delete(self, key: str | bytes) -> None:
        """Delete a key, once all is done."""
        self.writes[as_bytes(key)] = delete(key)

    def _fetch(self, key: bytes) -> KeyValue | None:
        if key not in self.reads:
            snapshot = self._isolation in (SERIALIZABLE_SNAPSHOT, SERIALIZABLE)
            reply = self._client.get(key, revision=self.base if snapshot else 0)
            self.base = self.base or reply.header.revision
            self.reads[key] = reply.kv
        return self.reads[key]

    @property
    def conditions(self) -> list[Compare]:
        """What has to be so for the writes to be allowed."""
        if self._isolation == READ_COMMITTED:
            return []
        same = [
            mod_revision(key) == (kv.mod_revision if kv else 0) for key, kv in self.reads.items()
        ]
        if self._isolation == SERIALIZABLE_SNAPSHOT and self.base:
            same += [mod_revision(key) < self.base + 1 for key in self.writes]
        return same

    def __repr__(self) -> str:
        return f"<Draft: {len(self.reads)} keys read, {len(self.writes)} written>"


class Stm:
    """Runs functions as transactions.

    Promised: a function's writes are carried out all at once and exactly once, on what it has read
    (as its isolation says), or not at all. Not promised: that it runs once, or that it ever gets
    through where others always come first (`TooManyConflicts`). After `TimedOut` nobody knows
    whether its writes were carried out.

    >>> from kvlearn import Cluster
    >>> client = Cluster(3, seed=7).client()
    >>> _ = client.put("ann", "10"), client.put("bob", "0")
    >>> stm = Stm(client)
    >>> def pay(t):
    ...     t.put("ann", str(int(t.get("ann")) - 3))
    ...     t.put("bob", str(int(t.get("bob")) + 3))
    >>> stm(pay); client.get("ann").text, client.get("bob").text, stm.attempts
    ('7', '3', 1)
    """

    def __init__(
        self,
        client: Any,
        isolation: str = SERIALIZABLE_SNAPSHOT,
        tries: int = 100,
        name: str = "stm",
        ttl_s: int = 60,
    ):
        if isolation not in ISOLATIONS:
            raise ValueError(f"isolation is one of {', '.join(ISOLATIONS)}, not {isolation!r}")
        self.isolation = isolation
        self.tries = tries
        self.name = name
        self.attempts = 0  # of the last call
        self.revision = 0  # at which the last call was carried out, or its reads confirmed
        self._session = Session(client, ttl_s)  # of its own: the mark is named by it
        self._client = client
        self._mark = b""  # the key of our mark
        self._marked = 0  # its mod_revision, as far as is known here
        self._count = 0  # of all attempts

    def __call__(self, change: Callable[[Draft], Any]) -> Any:
        """Run `change(draft)` until it gets through; what it returned then.

        Raises: TooManyConflicts after `tries` attempts; TimedOut if nobody knows whether it was
        carried out; Unavailable if it was not; whatever `change` raises, and then nothing is.
        """
        pending: dict[bytes, Any] = {}  # mark -> what an attempt gave that had no answer
        try:
            for self.attempts in range(1, self.tries + 1):
                draft = Draft(self._client, self.isolation)
                try:
                    result = change(draft)
                except Compacted:
                    continue  # the revision of its first read is gone
                done, result = self._commit(draft, result, pending)
                if done:
                    pending.clear()
                    return result
        finally:
            if pending:  # what comes late is refused without the lease
                self._session.close()
        raise TooManyConflicts(hint=f"{self.tries} attempts")

    def _commit(self, draft: Draft, result: Any, pending: dict[bytes, Any]) -> tuple[bool, Any]:
        """Whether an attempt got through, and what that one gave."""
        if not draft.writes:
            reply = self._client.txn().if_(*draft.conditions).commit()
            self.revision = reply.header.revision
            return reply.succeeded, result
        self._count += 1
        word = b"%d" % self._count
        for _ in range(SENDS):
            self._get_mark(pending)
            try:
                reply = self._send(draft, word)
            except TimedOut:
                pending[word] = result
            except LeaseNotFound:
                self._session.renew()  # nothing was done
            else:
                return self._outcome(reply, result, pending)
        raise TimedOut(hint="whether the transaction was carried out is not known")

    def _get_mark(self, pending: dict[bytes, Any]) -> None:
        lease = self._session.lease
        mark = b"%s/%x" % (as_bytes(self.name), lease.id)
        if mark == self._mark:
            return
        if pending:  # the mark went with its lease: nothing can tell any more
            raise TimedOut(hint="the lease was lost before the outcome was known")
        self._mark, self._marked = mark, 0

    def _send(self, draft: Draft, word: bytes) -> Any:
        marked = mod_revision(self._mark) == self._marked
        writes = *draft.writes.values(), put(self._mark, word, self._session.lease)
        txn = self._client.txn().if_(marked, *draft.conditions).then(*writes)
        return txn.else_(get(self._mark)).commit()

    def _outcome(self, reply: Any, result: Any, pending: dict[bytes, Any]) -> tuple[bool, Any]:
        self.revision = reply.header.revision
        if reply.succeeded:
            self._marked = reply.header.revision
            return True, result
        mark = reply.responses[0].kv
        if mark is None or mark.mod_revision == self._marked:
            return False, None  # a conflict, and none of ours was carried out
        self._marked = self.revision = mark.mod_revision
        return mark.value in pending, pending.get(mark.value)

    def close(self) -> None:
        """Take the mark away."""
        self._session.close()

    def __enter__(self) -> Stm:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Stm, {self.isolation}: {self.attempts} attempts, revision {self.revision}>"
