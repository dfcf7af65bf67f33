"""A long job that survives its worker: progress is saved, and whoever takes over goes on from it.

```
   job/claim/<lease>     who works on it: a lock
   job/progress          how far it is, as JSON
```

A worker that crashes loses its claim with its lease; another claims the job and reads the progress.
A worker that only slept still believes that the job is its own. Its next save would throw the job
back to where it was; so each save compares, in the same transaction, that the claim is still there.

Source: etcd client/v3/concurrency/mutex.go (IsOwner); Kleppmann, "How to do distributed locking".
"""

from __future__ import annotations

import json
from typing import Any

from kvlearn.errors import Fenced, RequestError, TimedOut
from kvlearn.recipes.line import HELD, Holder, Place
from kvlearn.recipes.lock import TIMEOUT_S
from kvlearn.recipes.session import session_of
from kvlearn.words import get, mod_revision, put

TRIES = 3  # of a save without an answer


class Checkpoint(Holder):
    """The progress of the job `name`, which one worker at a time works on.

    Promised: a save is carried out only while this worker's claim is in the store, so progress is
    only ever saved by the one whose claim is the oldest; `progress` after `claim` is what was saved
    last. Not promised: that the work since the last save was done once: who takes over does it
    again, so it should do no harm twice.

    >>> from kvlearn import Cluster
    >>> cluster = Cluster(3, seed=7)
    >>> one, other = (Checkpoint(cluster.client(), "report", ttl_s=5) for _ in range(2))
    >>> one.claim(); one.save({"page": 3}); cluster.pause("c1")
    True
    >>> other.claim(), other.progress
    (True, {'page': 3})
    >>> cluster.resume("c1")
    >>> one.save({"page": 4})
    Traceback (most recent call last):
    kvlearn.errors.Fenced: checkpoint: the claim is lost (report: save refused)
    """

    def __init__(self, client: Any, name: str, ttl_s: int = 10):
        self.name = name
        self.progress: Any = None  # what was saved last, as far as is known here; None: nothing
        self._place = Place(session_of(client, ttl_s), f"{name}/claim")
        self._client = self._place.client
        self._key = f"{name}/progress"
        self._saved = 0  # mod_revision of the progress
        self._loaded = False

    def claim(self, timeout_s: float = TIMEOUT_S, wait: bool = True) -> bool:
        """Wait until the job is ours, and load its progress; with `wait=False` get in line, and
        `poll()`. Raises: TimedOut, after which it is out of the line; SessionExpired."""
        if not self._place.revision:
            self._loaded = False
        self._place.take(b"", timeout_s, wait)
        return self.poll()

    def poll(self) -> bool:
        """Whether the job is ours, as far as is known here. Raises: SessionExpired."""
        if not self._place.poll():
            return False
        if not self._loaded:
            self._load()
            self._loaded = True
        return True

    def _load(self) -> None:
        kv = self._client.get(self._key).kv
        self.progress = json.loads(kv.value) if kv else None
        self._saved = kv.mod_revision if kv else 0

    def save(self, progress: Any) -> None:
        """Save how far the job is: anything that JSON can hold.

        Raises: Fenced if the claim is lost; TimedOut if nobody knows whether it was saved.
        """
        place = self._place
        value = json.dumps(progress).encode()
        if place.state != HELD or not self._loaded:
            raise Fenced(hint=f"{self.name}: claim it first")
        unknown: TimedOut | None = None
        for _ in range(TRIES):
            own = place.guard, mod_revision(self._key) == self._saved
            look = get(place.key), get(self._key)
            txn = self._client.txn().if_(*own).then(put(self._key, value)).else_(*look)
            try:
                reply = txn.commit()
            except TimedOut as error:
                unknown, reply = error, self._client.txn().then(*look).commit()
                found = reply.responses
            else:
                if reply.succeeded:
                    self.progress, self._saved = progress, reply.header.revision
                    return
                found = reply.responses
            claim, kv = (one.kv for one in found)
            if claim is None or claim.create_revision != place.revision:
                place.lose()
                told = "save refused" if unknown is None else "whether it was saved is not known"
                raise Fenced(hint=f"{self.name}: {told}")
            was, self._saved = self._saved, kv.mod_revision if kv else 0
            if self._saved != was and kv is not None and kv.value == value:
                self.progress = progress  # the one without an answer was carried out
                return
        raise unknown or TimedOut(hint="others write the progress without a claim")

    def release(self) -> bool:
        """Give the job back; the progress stays. Returns whether that is known to be done; else it
        is when the lease runs out."""
        return self._place.leave()

    def is_ours(self) -> bool:
        """Whether the job is ours, as the cluster knows it just now."""
        return self._place.check()

    def _not_held(self) -> RequestError:
        return Fenced(hint=f"{self.name}: claim it first")

    def __enter__(self) -> Checkpoint:
        self.claim()
        return self

    def __exit__(self, *error: Any) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name}: {self._place}, progress {self.progress!r}>"
