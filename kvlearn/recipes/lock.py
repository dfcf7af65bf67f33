"""Locks: one holder at a time, or n of them.

A lock with a lease is a promise with an end. If its holder sleeps too long (a long garbage
collection, a suspended laptop), the lease runs out, another one gets the lock, and then the first
one wakes up, *still believing that it holds*. No lock service can prevent that; the resource that
is locked has to. So every holding comes with a number that only ever rises, the *fencing token*;
whoever writes shows it, and the resource refuses a lower one than it has seen:

```
   c1  lock, token 7 ... sleeps .................... write 7   refused: 9 was here
   c2                        lock, token 9  write 9
```

If the resource is in the same store, a transaction with `lock.guard` does it.

Source: etcd client/v3/concurrency/mutex.go; Kleppmann, "How to do distributed locking" (2016).
"""

from __future__ import annotations

from typing import Any

from kvlearn.errors import LockReleased, SessionExpired
from kvlearn.recipes.line import Holder, Place
from kvlearn.recipes.session import session_of

TIMEOUT_S = 30.0  # how long is waited if nobody says


class Semaphore(Holder):
    """At most `n` hold `name` at a time, in the order in which they came. All have to give the same
    `n`, and no name may be the beginning of another one's path.

    Promised: of the keys in the store, the `n` oldest hold. Not promised: that a holder notices at
    once that its lease has run out; `is_held()` asks, and what is asked may be over when the answer
    is there. So a resource that must never have too many users needs `guard` or `token`.

    >>> from kvlearn import Cluster
    >>> cluster = Cluster(3, seed=7)
    >>> one, other = (Semaphore(cluster.client(), "jobs", n=1) for _ in range(2))
    >>> one.acquire(), other.acquire(wait=False), other.state
    (True, False, 'waiting')
    >>> one.release(), other.acquire()
    (True, True)

    `client` may be a `Session`, to share a lease. Giving up a request without an answer ends the
    lease, so that it cannot be carried out late: then all that share it lose what they hold.

    Who waits for one of several watches the whole line, but asks only when it may be its turn.
    """

    def __init__(self, client: Any, name: str, n: int, ttl_s: int = 10):
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n is the number of holders, from 1 on, not {n!r}")
        self.name = name
        self.n = n
        self._place = Place(session_of(client, ttl_s), name, room=n)

    # Holding ----------------------------------------------------------------------------------

    def acquire(self, timeout_s: float = TIMEOUT_S, wait: bool = True) -> bool:
        """Get in line and wait until it is held; with `wait=False` get in line, and `poll()`.

        Who holds already, holds. Returns whether it is held now.
        Raises: TimedOut, after which it is out of the line again; SessionExpired if its lease was
        lost while it waited.
        """
        return self._place.take(b"", timeout_s, wait)

    def try_acquire(self) -> bool:
        """Take it if it is free; else be out of the line again."""
        if self._place.take(b"", 0, wait=False):
            return True
        self._place.leave()
        return False

    def poll(self) -> bool:
        """Whether it is held, as far as is known here. Raises: SessionExpired."""
        return self._place.poll()

    def release(self) -> bool:
        """Give it back, or get out of the line. Returns whether it is known to be free; if the
        cluster did not answer, it becomes so when the lease runs out.

        Raises: LockReleased if there is nothing to give back.
        """
        if not self._place.revision:
            raise LockReleased()
        return self._place.leave()

    def is_held(self) -> bool:
        """Whether it is held, as the cluster knows it just now. Raises: TimedOut, Unavailable."""
        return self._place.check()

    def __enter__(self) -> Any:
        self.acquire()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        lost = self.lost
        if self._place.revision:
            self._place.leave()
        if lost and error is None:
            raise SessionExpired(hint=f"{self.name} was lost in the middle of the block")

    def __repr__(self) -> str:
        return f"<Semaphore {self.name} of {self.n}: {self._place}>"


class Lock(Semaphore):
    """One holder at a time: a semaphore of one, where each who waits watches one key only.

    A lock alone does not protect a resource: show it the `token`, or use `guard`.

    >>> from kvlearn import Cluster, put
    >>> client = Cluster(3, seed=7).client()
    >>> with Lock(client, "report") as lock:
    ...     client.txn().if_(lock.guard).then(put("report", "done")).commit().succeeded
    True
    >>> lock
    <Lock report: idle>
    """

    def __init__(self, client: Any, name: str, ttl_s: int = 10):
        super().__init__(client, name, 1, ttl_s)

    def __repr__(self) -> str:
        return f"<Lock {self.name}: {self._place}>"
