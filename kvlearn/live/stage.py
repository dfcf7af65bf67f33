"""A real cluster as the lab bench sees it: what has settled of its story, and what can be done.

    LocalCluster ──▶ Stage ──▶ the bench (viz/live_bench.py, whose `Subject` says what it needs)

Looking never waits for a member: it reads the members' event files. What is done waits, for a
process to end or to serve, or for an answer; so the bench does it in threads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from kvlearn.client import Client, Reply
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.watches import WatchCreate
from kvlearn.trace import Trace

if TYPE_CHECKING:
    from kvlearn.live.local_cluster import LocalCluster

ANSWER_S = 5.0  # after which a request is given up


class Stage:
    """One cluster for one bench."""

    def __init__(self, cluster: LocalCluster):
        self.cluster = cluster
        self.now = 0.0  # up to where the story has settled, in seconds
        self._clients: dict[str, Client] = {}  # by the member that they ask; "": any
        self._lock = threading.Lock()  # requests come from several threads

    # Looking ----------------------------------------------------------------------------------

    @property
    def trace(self) -> Trace:
        """What has settled; it grows with `settle`."""
        return self.cluster.settled

    @property
    def store(self) -> StoreConfig:
        """What the members' stores are made of."""
        return StoreConfig(**self.trace.about.get("store", {}))

    @property
    def nodes(self) -> tuple[str, ...]:
        """The members' names."""
        return self.cluster.names

    @property
    def closed(self) -> bool:
        """Whether the cluster has ended for good."""
        return self.cluster.closed

    def settle(self, within_s: float) -> float:
        """Read on for so many seconds; returns how many seconds there are left to read."""
        self.now = max(self.now, self.cluster.settle(within_s))
        return 0.0 if self.closed else max(0.0, self.cluster.now - self.now)

    # Doing; each may wait ---------------------------------------------------------------------

    def do(self, verb: str, *args: Any) -> Any:
        """A verb of the cluster: crash, restart, pause, resume, isolate, partition, heal or
        add_node. Raises: KVLearnError, ValueError."""
        return getattr(self.cluster, verb)(*args)

    def request(self, request: Any, node: str = "") -> Reply:
        """Ask one member, or "" whoever answers. Raises: RequestError."""
        return self._client(node).call(request)

    def watch(self, request: WatchCreate, node: str = "") -> tuple[str, str]:
        """Open a watch; returns what `unwatch` needs. Raises: RequestError."""
        channel = self._client(node).channel
        return node, channel.open_stream(channel.endpoints[0], request)

    def unwatch(self, stream: tuple[str, str]) -> None:
        """End it."""
        node, name = stream
        self._client(node).channel.close_stream(name)

    def keep(self, lease: int, every_s: float) -> None:
        """Keep a lease alive from here on."""
        channel = self._client("").channel
        channel.keep(lease, channel.endpoints[0], every_s)

    def unkeep(self, lease: int) -> None:
        """Let it run out."""
        self._client("").channel.unkeep(lease)

    def close(self) -> None:
        """The bench is closed: its watches end, its leases run out; the cluster goes on."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _client(self, node: str) -> Client:
        key = node or " ".join(self.cluster.endpoints)  # members may have come
        with self._lock:
            if key not in self._clients:
                made = self.cluster.client(node or None, timeout_s=ANSWER_S)
                self._clients[key] = made
            return self._clients[key]
