"""Service discovery: who serves what, and where.

Each server writes its address under a lease of its own and keeps that alive; when it dies, the
address goes by itself. Whoever needs the service follows the addresses.

```
   services/web/4d1 = 10.0.0.1:80     services/web/9a2 = 10.0.0.2:80
```

Source: etcd client/v3/naming (endpoints manager, resolver). Differs: the key's last part is the
lease's id, so that a server that comes back does not fight with what is left of its last life.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvlearn.errors import RequestError
from kvlearn.recipes.informer import Change, Informer
from kvlearn.recipes.line import Place
from kvlearn.recipes.session import Session


class Registry:
    """Services by name.

    Promised: an address is there as long as its server keeps its lease alive. Not promised: that
    whoever answers there still serves (a lease of `ttl_s` seconds outlives its server by as much),
    so a client must be able to do without an answer.

    >>> from kvlearn import Cluster
    >>> cluster = Cluster(3, seed=7)
    >>> server = Registry(cluster.client()).register("web", "10.0.0.1:80", ttl_s=5)
    >>> view = Registry(cluster.client()).discover("web"); view.addresses
    ('10.0.0.1:80',)
    >>> cluster.crash("c1"); view.wait(lambda v: not v.addresses, timeout_s=20)
    ()
    """

    def __init__(self, client: Any, name: str = "services"):
        self.name = name
        self._client = client

    def register(self, service: str, address: str, ttl_s: int = 10) -> Registration:
        """Say that `service` is at `address`, until it is taken back or this client dies."""
        registration = Registration(self._client, f"{self.name}/{_plain(service)}", address, ttl_s)
        registration.renew()
        return registration

    def discover(self, service: str) -> View:
        """The addresses of `service` as they are, and a view that follows them."""
        view = View(self._client, f"{self.name}/{_plain(service)}/", service)
        view.poll()
        return view

    def __repr__(self) -> str:
        return f"<Registry {self.name}>"


def _plain(service: str) -> str:
    """Raises: ValueError for a name whose keys would lie among those of another service."""
    if not service or "/" in service:
        raise ValueError(f"a service is named without a slash, not {service!r}")
    return service


class Registration:
    """An address in the registry."""

    def __init__(self, client: Any, name: str, address: str, ttl_s: int):
        self.address = address
        self._place = Place(Session(client, ttl_s), name)

    @property
    def key(self) -> str:
        """Where it is written; "" if it is not."""
        return self._place.key

    @property
    def lost(self) -> bool:
        """It is known to be gone, or nobody keeps its lease alive any more."""
        return self._place.lost

    def renew(self) -> bool:
        """Register if it is not, or was lost; whether that was needed. A server calls it now and
        then: its lease may have run out while it slept. Raises: TimedOut, Unavailable."""
        place = self._place
        try:
            place.look_after()
            if place.revision:
                return False
            place.join(self.address, place.client.channel.now() + place.client.timeout_s)
        except RequestError:
            place.leave()
            raise
        return True

    def deregister(self) -> bool:
        """Take it back. Returns whether that is known to be done; else it is when the lease runs
        out."""
        self._place.leave()
        return self._place.session.close()

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, *error: Any) -> None:
        self.deregister()

    def __repr__(self) -> str:
        where = f"{self.key} = {self.address}" if self.key else self.address
        return f"<{where}{', lost' if self.lost else '' if self.key else ', not registered'}>"


class View:
    """The addresses of a service, followed by a watch."""

    def __init__(self, client: Any, prefix: str, service: str):
        self.service = service
        self.informer = Informer(client, prefix)

    @property
    def addresses(self) -> tuple[str, ...]:
        """As they were when `poll` or `wait` looked last; sorted, each once."""
        return tuple(sorted({kv.text for kv in self.informer.cache.values()}))

    @property
    def revision(self) -> int:
        """The store's revision when it was so."""
        return self.informer.revision

    def poll(self) -> list[Change]:
        """Take what is new; waits for nobody."""
        return self.informer.poll()

    def wait(
        self, until: Callable[[View], Any] | None = None, timeout_s: float = 5.0
    ) -> tuple[str, ...]:
        """Wait for a change, or until `until(view)`; the addresses then. Raises: TimedOut."""
        self.informer.wait((lambda _: until(self)) if until else None, timeout_s)
        return self.addresses

    def close(self) -> None:
        """Follow no longer."""
        self.informer.close()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.service} at {' '.join(self.addresses) or 'no address'}>"

    def _repr_html_(self) -> str:
        return self.informer._repr_html_()
