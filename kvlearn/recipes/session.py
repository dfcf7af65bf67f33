"""Who holds something says so with a lease: when the holder dies, what hangs on it goes, too.

Source: etcd client/v3/concurrency/session.go. Differs: the lease is granted when it is first
needed, and a session whose lease was lost gets another.
"""

from __future__ import annotations

from typing import Any

from kvlearn.errors import LeaseNotFound, RequestError
from kvlearn.handles import Lease


class Session:
    """A lease that is kept alive in the background for as long as its client lives.

    Several recipes may share one: then they live and die together.

    A write under a lease that had no answer may be carried out late, when nobody expects it any
    more; once the lease is gone it is refused. So whoever gives up after one, ends the session.
    """

    def __init__(self, client: Any, ttl_s: int = 10):
        self.client = client
        self.ttl_s = ttl_s
        self._lease: Lease | None = None

    @property
    def lease(self) -> Lease:
        """The lease, granted if there is none or the last one was lost."""
        if not self.is_kept:
            self._lease = self.client.lease(self.ttl_s).keep_alive()
        return self._lease

    @property
    def is_kept(self) -> bool:
        """Whether there is a lease that is kept alive. A holder that sleeps learns late that its
        lease has run out: `is_alive` asks."""
        return self._lease is not None and self._lease.is_kept

    def is_alive(self) -> bool:
        """Whether the lease lives, as the cluster knows it just now."""
        return self._lease is not None and self._lease.time_to_live().ttl_s > 0

    def renew(self) -> None:
        """The lease is known to be gone: the next one who needs it gets another."""
        if self._lease is not None:
            self._lease.stop_keep_alive()
        self._lease = None

    def close(self) -> bool:
        """End the lease, with all that hangs on it.

        Returns whether that is known to have happened; else it runs out by itself in `ttl_s`
        seconds or a little more, since nobody keeps it alive.
        """
        lease = self._lease
        if lease is None:
            return True
        self.renew()
        try:
            lease.revoke()
        except LeaseNotFound:
            return True
        except RequestError:
            return False
        return True

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<session on {self._lease}>" if self._lease else f"<session of {self.ttl_s} s>"


def session_of(client: Any, ttl_s: int) -> Session:
    """The session that a recipe works with, given one or the client to make it for."""
    return client if isinstance(client, Session) else Session(client, ttl_s)
