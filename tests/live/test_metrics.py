"""What a member tells Prometheus: true numbers, under the names that etcd gives them."""

from __future__ import annotations

import http.client
import random
import subprocess
import sys

import pytest

pytest.importorskip("prometheus_client", reason="it writes what Prometheus reads")
pytest.importorskip("aiohttp", reason="the gateway shows it")
pytest.importorskip("google.protobuf", reason="the services' messages are protobuf's")

from prometheus_client.parser import text_string_to_metric_families

from kvlearn.live.metrics import SECONDS, Durations, Meters
from tests.etcd.server import Etcd, find_etcd
from tests.live.served import Served, fetch, post, stream

FOO = "Zm9v"


@pytest.fixture
def served():
    server = Served()
    server.until(lambda: server.member.leader is not None and not server.member.pending)
    yield server
    server.stop()


def scraped(port: int) -> dict[str, dict[tuple, float]]:
    """Samples by name, and by the values of their labels."""
    status, headers, text = fetch(port, "GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    told: dict[str, dict[tuple, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            told.setdefault(sample.name, {})[labels] = sample.value
    return told


def kinds(port: int) -> dict[str, str]:
    """The kind of each family, by its name."""
    lines = fetch(port, "GET", "/metrics")[2].splitlines()
    words = (line.split() for line in lines if line.startswith("# TYPE "))
    return {name: kind for _, _, name, kind in words}


def test_durations_are_counted_where_they_belong():
    rng = random.Random(7)
    took = [rng.choice(SECONDS) * rng.choice((0.5, 1.0, 1.5)) for _ in range(1000)] + [100.0]
    durations = Durations()
    for seconds in took:
        durations.add(seconds)
    for bound, count in durations.below():
        assert count == sum(seconds <= bound for seconds in took), bound
    assert durations.total_s == pytest.approx(sum(took))


def test_a_call_is_counted_when_it_begins_and_when_it_ends():
    class Call:
        path = "/a/B"

    meters, first, second = Meters(), Call(), Call()
    meters.began(first)
    meters.began(second)
    assert meters.started == {"/a/B": 2} and not meters.handled
    first.on_finish(0)
    second.on_finish(5)
    assert meters.handled == {("/a/B", 0): 1, ("/a/B", 5): 1}


def test_to_count_needs_no_prometheus():
    code = "import sys, kvlearn.live.metrics; print('prometheus_client' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_the_numbers_are_those_of_the_member(served):
    for value in ("MQ==", "Mg==", "Mw=="):
        post(served.port, "/v3/kv/put", {"key": FOO, "value": value})
    post(served.port, "/v3/kv/put", {"key": "YmFy"})
    post(served.port, "/v3/kv/compaction", {"revision": 3})
    machine = served.member.node.machine
    served.until(lambda: not machine.store.sweeping)  # else the sizes change meanwhile
    with stream(served.port, "/v3/watch", {"create_request": {"key": FOO}}) as line:
        line()
        told = scraped(served.port)
    expected = {
        "etcd_server_has_leader": 1,
        "etcd_server_is_leader": 1,
        "etcd_server_is_learner": 0,
        "etcd_server_leader_changes_seen_total": 1,
        "etcd_server_proposals_pending": 0,
        "etcd_server_proposals_failed_total": 0,
        "etcd_debugging_mvcc_keys_total": 2,
        "etcd_debugging_mvcc_current_revision": 5,
        "etcd_debugging_mvcc_compact_revision": 3,
        "etcd_debugging_mvcc_watch_stream_total": 1,
        "etcd_debugging_mvcc_watcher_total": 1,
        "etcd_debugging_mvcc_slow_watcher_total": 0,
        "etcd_debugging_mvcc_pending_events_total": 0,
        "etcd_server_quota_backend_bytes": 2 << 30,
    }
    assert {name: told[name][()] for name in expected} == expected
    log = served.call(lambda: served.member.node.raft.log)
    assert told["etcd_server_proposals_applied_total"][()] == log.applied
    assert told["etcd_server_proposals_committed_total"][()] == log.committed
    total, used = served.call(machine.backend.sizes)
    assert told["etcd_mvcc_db_total_size_in_bytes"][()] == total
    assert told["etcd_mvcc_db_total_size_in_use_in_bytes"][()] == used
    assert told["etcd_server_id"] == {(f"{served.member.id:x}",): 1}
    assert told["process_resident_memory_bytes"][()] > 1 << 20


def test_without_a_leader_it_says_so():
    served = Served(leads=False)
    try:
        told = scraped(served.port)
        assert told["etcd_server_has_leader"][()] == told["etcd_server_is_leader"][()] == 0
        assert told["etcd_server_leader_changes_seen_total"][()] == 0
        before = served.call(lambda: served.member.pending)  # its own wish to be known
        assert told["etcd_server_proposals_pending"][()] == before
        connection = http.client.HTTPConnection("127.0.0.1", served.port)
        connection.request("POST", "/v3/kv/put", '{"key":"Zm9v"}')
        served.until(lambda: served.member.pending == before + 1)
        assert scraped(served.port)["etcd_server_proposals_pending"][()] == before + 1
        connection.close()
        served.until(lambda: served.member.pending == before)
    finally:
        served.stop()


def test_every_force_and_every_commit_is_timed(served):
    def forces() -> tuple[float, float]:
        told = scraped(served.port)
        name = "etcd_disk_wal_fsync_duration_seconds"
        buckets = told[f"{name}_bucket"]
        assert len(buckets) == len(SECONDS) + 1 and buckets[("+Inf",)] == told[f"{name}_count"][()]
        return told[f"{name}_count"][()], told[f"{name}_sum"][()]

    count, took_s = forces()
    for _ in range(5):
        post(served.port, "/v3/kv/put", {"key": FOO})
    more, longer_s = forces()
    assert more == count + 5 and longer_s > took_s
    served.until(lambda: sum(served.member.meters.commit.counts) > 0)
    assert scraped(served.port)["etcd_disk_backend_commit_duration_seconds_count"][()] > 0


def test_calls_are_told_by_method_and_status(served):
    for body in ({"key": FOO}, {"key": FOO}, {}):
        post(served.port, "/v3/kv/put", body)
    with stream(served.port, "/v3/watch", {"create_request": {"key": FOO}}) as line:
        line()
        told = scraped(served.port)
    handled = told["grpc_server_handled_total"]
    assert told["grpc_server_started_total"][("Put", "etcdserverpb.KV", "unary")] == 3
    assert handled[("OK", "Put", "etcdserverpb.KV", "unary")] == 2
    assert handled[("InvalidArgument", "Put", "etcdserverpb.KV", "unary")] == 1
    watch = ("Watch", "etcdserverpb.Watch", "bidi_stream")
    assert told["grpc_server_started_total"][watch] == 1
    assert not any("Watch" in labels for labels in handled), "it goes on"
    key = "/etcdserverpb.Watch/Watch", 1
    served.until(lambda: served.member.meters.handled[key] == 1)
    handled = scraped(served.port)["grpc_server_handled_total"]
    assert handled[("Canceled", *watch)] == 1


def test_calls_over_grpc_are_counted_too():
    """The same counter, through the other door."""
    from kvlearn.live.http2_call import Call

    meters, ends = Meters(), []

    class Connection:
        _initial_window = 1 << 16
        _finish = staticmethod(lambda call, data: ends.append(call.closed))

    class Request:
        path, metadata, timeout_s = "/a/B", {}, None

    call = Call(Connection(), 1, Request(), False)
    meters.began(call)
    call.finish(9, "no")
    call.finish(0)
    assert meters.handled == {("/a/B", 9): 1} and ends == [True]


def test_bytes_are_told_by_peer(served):
    def spoke() -> None:
        served.member.transport.sent_bytes = {"default": 5}
        served.member.transport.received_bytes = {"default": 7}

    served.call(spoke)
    told, label = scraped(served.port), (f"{served.member.id:x}",)
    assert told["etcd_network_peer_sent_bytes_total"] == {label: 5}
    assert told["etcd_network_peer_received_bytes_total"] == {label: 7}


def test_names_and_kinds_are_etcds(served):
    program = find_etcd()
    if program is None:
        pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD to the program")
    etcd = Etcd(program)
    try:
        theirs = kinds(etcd.port)
    finally:
        etcd.stop()
    ours = {name: kind for name, kind in kinds(served.port).items() if "network_peer" not in name}
    assert len(ours) > 25
    assert {name: kind for name, kind in ours.items() if theirs.get(name) != kind} == {}
