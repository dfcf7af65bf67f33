"""What a member can be watched by: numbers for Prometheus, under etcd's names.

Nearly all is known already, by the node, its store, the transport; it is read when somebody looks:

    /metrics ──▶ Collector.collect ──▶ member.node, member.transport, member.meters

`Meters` has what nothing else knows: how long the disk took, how calls ended. To count must cost
next to nothing, so it is an addition here, and prometheus_client is loaded when it is looked at.

>>> took = Durations((0.001, 0.002, 0.004))
>>> for seconds in (0.0005, 0.0015, 0.5):
...     took.add(seconds)
>>> took.below()
[(0.001, 1), (0.002, 2), (0.004, 2), (inf, 3)]

Source: etcd server/etcdserver/metrics.go, api/rafthttp/metrics.go, storage/wal/metrics.go,
storage/backend/metrics.go, storage/mvcc/metrics.go; go-grpc-prometheus. Differs: what means
something else here, or nothing, is left out; keys include deleted ones that are not compacted yet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from math import inf
from typing import Any

from kvlearn.live.codes import Code
from kvlearn.node import VERSION
from kvlearn.raft.raft import LEADER

SECONDS = tuple(0.001 * 2**n for n in range(14))  # bounds of etcd's histograms: 1 ms to 8 s
TYPES = {  # the client sends a stream, the server does -> what go-grpc-prometheus calls it
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}


class Durations:
    """How often something took how long. Invariant: `counts[i]` took more than `bounds[i - 1]`
    and at most `bounds[i]` seconds; the last one took longer than all bounds."""

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: tuple[float, ...] = SECONDS):
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """It took so long once more. From one thread at a time."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds

    def below(self) -> list[tuple[float, int]]:
        """(bound, how many took at most that long), up to infinity."""
        return list(zip((*self.bounds, inf), accumulate(self.counts)))


class Meters:
    """What is counted while a member runs. Whoever forces adds to `fsync`, the loop to the rest."""

    __slots__ = ("fsync", "commit", "leader_changes", "failed", "started", "handled")

    def __init__(self) -> None:
        self.fsync = Durations()  # of the write-ahead log
        self.commit = Durations()  # of the store
        self.leader_changes = 0
        self.failed = 0  # writes of which nobody can say whether they were carried out
        self.started: Counter[str] = Counter()  # calls by path
        self.handled: Counter[tuple[str, int]] = Counter()  # by path and code

    def began(self, call: Any) -> None:
        """A call has begun; its end will be counted, too."""
        self.started[call.path] += 1
        call.on_finish = partial(self._ended, call.path)

    def _ended(self, path: str, code: int) -> None:
        self.handled[path, code] += 1


class Collector:
    """Reads a member when it is looked at."""

    def __init__(self, member: Any, methods: dict[str, Any]):
        """`methods`: what is served, by path, as `Services` has it."""
        self.member, self.methods = member, methods

    def collect(self) -> Iterator[Any]:
        """All families of numbers, as prometheus_client asks for them."""
        yield from self._server()
        yield from self._disk()
        yield from self._network()
        yield from self._store()
        yield from self._calls()

    def _server(self) -> Iterator[Any]:
        member, node = self.member, self.member.node
        raft, log = node.raft, node.raft.log
        yield gauge("server_has_leader", "1 if a leader is known", raft.leader is not None)
        yield gauge("server_is_leader", "1 if this member leads", raft.role == LEADER)
        learner = node.name in raft.conf.learners
        yield gauge("server_is_learner", "1 if this member has no vote", learner)
        changes = member.meters.leader_changes
        yield counter("server_leader_changes_seen", "leaders since the start", changes)
        committed, applied = log.committed, log.applied
        yield gauge("server_proposals_committed_total", "index of the last promise", committed)
        yield gauge("server_proposals_applied_total", "index of the last one kept", applied)
        told = "writes that wait for their answer"
        yield gauge("server_proposals_pending", told, member.pending)
        failed = member.meters.failed
        yield counter("server_proposals_failed", "writes with an unknown end", failed)
        quota = member.config.store().quota_bytes
        yield gauge("server_quota_backend_bytes", "what the store may take", quota)
        yield gauge("server_id", "who this is", 1, server_id=f"{member.id:x}")
        yield gauge("server_version", "which release", 1, server_version=VERSION)
        minor = VERSION.rsplit(".", 1)[0]
        yield gauge("cluster_version", "which release all speak", 1, cluster_version=minor)

    def _disk(self) -> Iterator[Any]:
        meters = self.member.meters
        told = "seconds that forcing the write-ahead log to the disk took"
        yield histogram("disk_wal_fsync_duration_seconds", told, meters.fsync)
        told = "seconds that a commit of the store took"
        yield histogram("disk_backend_commit_duration_seconds", told, meters.commit)

    def _network(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily

        node, transport = self.member.node, self.member.transport
        for way, label, sizes in (
            ("sent", "To", transport.sent_bytes),
            ("received", "From", transport.received_bytes),
        ):
            name = f"etcd_network_peer_{way}_bytes"
            family = CounterMetricFamily(name, f"bytes {way}, by peer", labels=[label])
            for peer, size in sorted(sizes.items()):
                family.add_metric([f"{node.member_id_of(peer):x}"], size)
            yield family

    def _store(self) -> Iterator[Any]:
        machine, hub = self.member.node.machine, self.member.node.hub
        store, (total, used) = machine.store, machine.backend.sizes()
        yield gauge("mvcc_db_total_size_in_bytes", "what the store's file takes", total)
        yield gauge("mvcc_db_total_size_in_use_in_bytes", "what of that holds records", used)
        yield gauge("debugging_mvcc_keys_total", "keys", len(store.index))
        yield gauge("debugging_mvcc_current_revision", "the newest revision", store.revision)
        compacted = store.compacted or -1
        yield gauge("debugging_mvcc_compact_revision", "the oldest readable one", compacted)
        streams = hub.streams.values()
        watchers = sum(len(stream.watchers) for stream in streams)
        yield gauge("debugging_mvcc_watch_stream_total", "watch streams", len(streams))
        yield gauge("debugging_mvcc_watcher_total", "watchers", watchers)
        yield gauge("debugging_mvcc_slow_watcher_total", "those that lack something", hub.unsynced)
        events = sum(len(answer.events) for stream in streams for answer in stream.queue)
        yield gauge("debugging_mvcc_pending_events_total", "events that wait", events)

    def _calls(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily

        meters, labels = self.member.meters, ["grpc_type", "grpc_service", "grpc_method"]
        started = CounterMetricFamily("grpc_server_started", "calls that began", labels=labels)
        for path in sorted(self.methods):
            started.add_metric(self._labels(path), meters.started[path])
        yield started
        told = "calls that ended, by status"
        handled = CounterMetricFamily("grpc_server_handled", told, labels=[*labels, "grpc_code"])
        for path, code in sorted(meters.handled):
            if path in self.methods:
                labels = [*self._labels(path), Code(code).in_go]
                handled.add_metric(labels, meters.handled[path, code])
        yield handled

    def _labels(self, path: str) -> list[str]:
        method = self.methods[path]
        service, _, name = path[1:].partition("/")
        return [TYPES[method.client_streams, method.server_streams], service, name]


def gauge(name: str, told: str, value: float, **labels: str) -> Any:
    """A family of one number that goes up and down."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"etcd_{name}", told, labels=list(labels))
    family.add_metric(list(labels.values()), float(value))
    return family


def counter(name: str, told: str, value: float) -> Any:
    """A family of one number that only goes up; its name gets `_total` at its end."""
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(f"etcd_{name}", told, value=value)


def histogram(name: str, told: str, durations: Durations) -> Any:
    """A family of one distribution."""
    from prometheus_client.core import HistogramMetricFamily

    buckets = [("+Inf" if b == inf else repr(b), n) for b, n in durations.below()]
    return HistogramMetricFamily(f"etcd_{name}", told, buckets=buckets, sum_value=durations.total_s)


def registry_of(member: Any, methods: dict[str, Any]) -> Any:
    """What /metrics of one member shows: its own numbers, and those of its process."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    registry = CollectorRegistry()
    registry.register(Collector(member, methods))
    ProcessCollector(registry=registry)
    return registry
