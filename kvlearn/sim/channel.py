"""How a client's requests get to a simulated cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvlearn.errors import ClientGone, RequestError, TimedOut, WatchCanceled
from kvlearn.kv.requests import Answer
from kvlearn.mvcc.watch import WatchResponse

if TYPE_CHECKING:
    from kvlearn.sim.cluster import Cluster


class SimulatedChannel:
    """A channel to a simulated cluster, or to one `node` of it: waiting for an answer lets virtual
    time pass."""

    try_s = 1.0

    def __init__(self, cluster: Cluster, node: str | None, name: str):
        self.cluster = cluster
        self.node = node
        self.name = name

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The nodes that it may ask; all, with those that came later."""
        return (self.node,) if self.node else tuple(self.cluster.nodes)

    def now(self) -> float:
        """Virtual seconds."""
        return self.cluster.now

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.cluster.run(seconds)

    def call(self, endpoint: str, request: Any, timeout_s: float) -> Answer:
        """One try: ask, and run until the answer is there. Raises: ClientGone."""
        cluster = self.cluster
        self._lives()
        op_id = cluster.submit(request, endpoint, self.name)
        try:
            cluster.run_until(lambda c: c.operation(op_id).done, timeout_s)
        except TimedOut:
            cluster.give_up(op_id)
        operation = cluster.operation(op_id)
        if operation.error is not None:
            raise operation.error
        return operation.answer

    # Streams and leases -----------------------------------------------------------------------

    def open_stream(self, endpoint: str, request: Any = None) -> str:
        """A watch stream at a node; with a WatchCreate it is one watch, and resumed elsewhere when
        its node fails. Returns its name."""
        self._lives()
        name = self._clients.name_stream(self.name)
        self._do("open_stream", name, self.name, self._chosen, endpoint, request)
        return name

    def ask_stream(self, stream: str, request: Any) -> None:
        """Send a WatchCreate, WatchCancel or WatchProgress."""
        if self.stream_error(stream) is None:
            self._do("ask_stream", stream, request)

    def close_stream(self, stream: str) -> None:
        """Nothing more is wanted."""
        if stream in self._clients.streams:
            self._do("close_stream", stream)

    def hold_stream(self, stream: str, held: bool) -> None:
        """Read nothing from the stream for a while, or read again."""
        if stream in self._clients.streams:
            self._do("hold_stream", stream, held)

    def received(self, stream: str) -> list[WatchResponse]:
        """All that the stream has brought so far."""
        known = self._clients.streams.get(stream)
        return known.responses if known else []

    def stream_error(self, stream: str) -> RequestError | None:
        """Why the stream brings nothing more."""
        known = self._clients.streams.get(stream)
        if known is None:
            return WatchCanceled(hint="the cluster went back to a time before it")
        if known.closed and known.error is None:
            return WatchCanceled("closed")
        return known.error

    def wait_stream(self, stream: str, count: int, timeout_s: float) -> None:
        """Let time pass until more than `count` answers came. Raises: TimedOut."""

        def came(cluster: Cluster) -> bool:
            return len(self.received(stream)) > count or self.stream_error(stream) is not None

        self.cluster.run_until(came, timeout_s)

    def keep(self, lease: int, endpoint: str, every_s: float) -> None:
        """Keep a lease alive until `unkeep`."""
        self._lives()
        self._do("keep", self.name, lease, self._chosen, endpoint, every_s)

    def unkeep(self, lease: int) -> None:
        """Let a lease run out."""
        self._do("unkeep", self.name, lease)

    def keeps(self, lease: int) -> bool:
        """Whether the lease is being kept alive."""
        return (self.name, lease) in self._clients.keepers

    def close(self) -> None:
        """The client is gone, with its streams; its leases run out."""
        if self.name not in self._clients.gone:
            self._do("end_client", self.name)

    @property
    def _chosen(self) -> tuple[str, ...]:
        """The nodes that it has to keep to; none: any, also those that come later."""
        return (self.node,) if self.node else ()

    def _lives(self) -> None:
        if self.name in self._clients.gone:
            raise ClientGone(hint=f"{self.name} was closed or has crashed; make another client")
        if self.name in self._clients.paused:
            raise ValueError(f"{self.name} is paused; cluster.resume({self.name!r}) lets it go on")

    @property
    def _clients(self):
        return self.cluster._clients

    def _do(self, verb: str, *arguments: Any) -> Any:
        return self.cluster._do(verb, *arguments)
