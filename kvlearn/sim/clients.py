"""What clients of a simulated cluster do on their own: follow watches and keep leases alive.

A client's calls are made by whoever runs the program. But its watches go on while virtual time
passes, and a lease is kept alive in the background. So the desk of a client has standing orders
here, as data: a cluster that is copied or taken back in time takes them along.

* A *stream* brings what a node tells. When its node fails, the client opens it again elsewhere and
  goes on behind what it has heard of (`Follow`).
* A *keeper* says every third of a lease's time that its holder is alive, until it is stopped, the
  lease is gone or the client is.

Source: etcd client/v3/watch.go, client/v3/lease.go (keepAliveCtxCloser, nextKeepAlive = ttl / 3).
"""

from __future__ import annotations

from typing import Any

from kvlearn.errors import RequestError, Stopped, WatchCanceled
from kvlearn.events import ClientChanged
from kvlearn.kv.leases import LeaseKeepAlive
from kvlearn.kv.watches import Follow
from kvlearn.mvcc.watch import WatchResponse
from kvlearn.sim.clock import CLIENT, VirtualClock
from kvlearn.sim.desk import Desk

RECONNECT_S = 0.05  # between two rounds of looking for a node that listens
KEEP_AGAIN_S = 0.5  # after a keep-alive without success


class StreamView:
    """A stream as its client sees it. With `follow` it is one watch, which is resumed. `nodes` are
    those that it may turn to, all if there are none."""

    def __init__(self, name: str, client: str, nodes: tuple[str, ...], node: str):
        self.name, self.client, self.nodes, self.node = name, client, nodes, node
        self.follow: Follow | None = None
        self.responses: list[WatchResponse] = []  # all that came, oldest first
        self.held = False  # the client reads nothing: what comes waits at the node
        self.error: RequestError | None = None  # why nothing more will come
        self.closed = False
        self.order = 0  # of the queue's item that looks for a node; 0: one serves it


class Keeper:
    """One lease that a client keeps alive."""

    def __init__(self, client: str, lease: int, nodes: tuple[str, ...], node: str, every_s: float):
        self.client, self.lease, self.nodes, self.node = client, lease, nodes, node
        self.every_s = every_s
        self.op_id = 0  # of the last question; 0: none yet
        self.order = 0  # of the queue's item that counts


class Clients:
    """Invariant: every stream that is neither closed nor ended is served by a node, or an item of
    the queue will look for one."""

    def __init__(self, clock: VirtualClock, trace: Any, desk: Desk, hosts: dict[str, Any]):
        self.clock, self.trace, self.desk, self.hosts = clock, trace, desk, hosts
        self.streams: dict[str, StreamView] = {}
        self.keepers: dict[tuple[str, int], Keeper] = {}
        self.paused: set[str] = set()
        self.gone: set[str] = set()
        self.opened: dict[str, int] = {}  # by each client; never taken back

    def do(self, verb: str, *arguments: Any) -> Any:
        """Carry out a verb of the cluster."""
        match verb, *arguments:
            case "open_stream", name, client, nodes, node, request:
                self._open(name, client, nodes, node, request)
            case "ask_stream", name, request:
                self._ask(self.streams[name], request)
            case "close_stream", name:
                self._close(self.streams[name])
            case "hold_stream", name, held:
                self.streams[name].held = held
                if not held:
                    self._read(self.streams[name])
            case "keep", client, lease, nodes, node, every_s:
                keeper = Keeper(client, lease, nodes, node, every_s)
                self.keepers[client, lease] = keeper
                self._keep(keeper)
            case "unkeep", client, lease:
                self.keepers.pop((client, lease), None)
            case "pause_client", client:
                self.paused.add(client)
                self._tell(client, "pauses")
            case "resume_client", client:
                self._resume(client)
            case "end_client", client:
                self._end(client)

    def happen(self, what: tuple) -> None:
        """An item of the queue has come up."""
        match what:
            case "resume", name, order:
                stream = self.streams[name]
                if stream.order == order and not (stream.closed or stream.follow.ended):
                    self._connect(stream)
            case "keep", client, lease, order:
                keeper = self.keepers.get((client, lease))
                if keeper is not None and keeper.order == order and client not in self.paused:
                    self._keep(keeper)

    # Streams ----------------------------------------------------------------------------------

    def name_stream(self, client: str) -> str:
        """A name that no other stream has."""
        self.opened[client] = self.opened.get(client, 0) + 1
        return f"{client}/w{self.opened[client]}"

    def _open(self, name: str, client: str, nodes: tuple, node: str, request: Any) -> None:
        stream = self.streams[name] = StreamView(name, client, nodes, node)
        if request is not None:
            stream.follow = Follow(request)
            self._connect(stream, moves=False)

    def _connect(self, stream: StreamView, moves: bool = True) -> None:
        """Find a node that listens, beginning with the next one."""
        for _ in stream.nodes or self.hosts:
            if moves:
                stream.node = self._next(stream.nodes, stream.node)
            moves = True
            host = self.hosts.get(stream.node)
            if host is not None and host.node is not None and not host.node.is_outside:
                stream.order = 0
                self._ask(stream, stream.follow.again)
                return
        self._later(stream)

    def _next(self, nodes: tuple[str, ...], node: str) -> str:
        """Whom to turn to after `node`."""
        nodes = nodes or tuple(self.hosts)
        return nodes[(nodes.index(node) + 1) % len(nodes) if node in nodes else 0]

    def _later(self, stream: StreamView) -> None:
        stream.order = self.clock.order + 1
        what = ("resume", stream.name, stream.order)
        self.clock.push(self.clock.now + RECONNECT_S, CLIENT, what)

    def _ask(self, stream: StreamView, request: Any) -> None:
        if stream.closed or stream.order:
            return  # nobody is there to answer; a watch asks anew when it has found a node
        host = self.hosts[stream.node]
        if host.node is None:
            self.lost(stream.name, stream.node)
            return
        host.watch(stream.name, request)

    def refused(self, name: str, node: str, error: RequestError) -> None:
        """The node does not take what the stream asks; one that is no member serves nobody."""
        if isinstance(error, Stopped):
            self.lost(name, node)
        else:
            self.streams[name].error = error

    def reads(self, name: str) -> bool:
        """Whether the client takes what comes."""
        stream = self.streams[name]
        return not stream.held and stream.client not in self.paused

    def told(self, name: str, node: str, responses: list[WatchResponse]) -> None:
        """The node has told something."""
        stream = self.streams[name]
        if stream.closed or stream.node != node:
            return
        stream.responses += responses
        if stream.follow is not None:
            for response in responses:
                stream.follow.take(response)

    def lost(self, name: str, node: str) -> None:
        """The node serves the stream no longer: it is gone, or no member any more."""
        stream = self.streams[name]
        if stream.closed or stream.node != node or stream.order:
            return
        if stream.follow is None:
            stream.error = Stopped(hint=f"{node} is gone, and the stream with it: open another")
        elif stream.follow.ended is None:
            self._later(stream)

    def _close(self, stream: StreamView) -> None:
        stream.closed = True
        host = self.hosts.get(stream.node)
        if host is not None:
            host.close_stream(stream.name)

    def _read(self, stream: StreamView) -> None:
        host = self.hosts.get(stream.node)
        if host is not None:
            host.read_again()

    # Leases -----------------------------------------------------------------------------------

    def _keep(self, keeper: Keeper) -> None:
        """Say that the holder is alive; what became of the last time decides where and when."""
        soon = False
        if keeper.op_id:
            operation = self.desk.operations[keeper.op_id]
            if not operation.done:
                self.desk.give_up(keeper.op_id)
                soon = True
            elif operation.error is not None:
                soon = True
        if soon:
            keeper.node = self._next(keeper.nodes, keeper.node)
        operation = self.desk.ask(keeper.client, keeper.node, LeaseKeepAlive(keeper.lease))
        keeper.op_id = operation.op_id
        host = self.hosts[keeper.node]
        if host.node is None:
            self.desk.refused(operation.op_id)
            soon = True
        else:
            host.request(operation.op_id, operation.request, operation.seq)
        again_s = min(KEEP_AGAIN_S, keeper.every_s) if soon else keeper.every_s
        keeper.order = self.clock.order + 1
        what = ("keep", keeper.client, keeper.lease, keeper.order)
        self.clock.push(self.clock.now + again_s, CLIENT, what)

    def answered(self, op_id: int) -> None:
        """An operation has its answer: if it is a keeper's, the lease may be gone."""
        for keeper in list(self.keepers.values()):
            if keeper.op_id == op_id and (answer := self.desk.operations[op_id].answer):
                if answer.result is not None and not answer.result.ttl_s:
                    del self.keepers[keeper.client, keeper.lease]

    # Their life -------------------------------------------------------------------------------

    def _resume(self, client: str) -> None:
        self.paused.discard(client)
        self._tell(client, "goes on")
        for keeper in [keeper for key, keeper in sorted(self.keepers.items()) if key[0] == client]:
            self._keep(keeper)
        for name in sorted(self.streams):
            if self.streams[name].client == client and not self.streams[name].closed:
                self._read(self.streams[name])

    def _end(self, client: str) -> None:
        self._tell(client, "is gone")
        self.paused.discard(client)
        self.gone.add(client)
        for key in [key for key in self.keepers if key[0] == client]:
            del self.keepers[key]
        for stream in self.streams.values():
            if stream.client == client and not stream.closed:
                self._close(stream)
                stream.error = WatchCanceled(hint="the client is gone")

    def _tell(self, client: str, state: str) -> None:
        self.trace.add(self.clock.now, client, ClientChanged(state), None)
