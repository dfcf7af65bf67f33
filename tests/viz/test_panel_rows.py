"""Rows: patches that lead from moment to moment, in both directions, and may be thinned."""

import json

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.kv.requests import Put
from kvlearn.viz.feed import LIMIT_BYTES, Feed, encode
from kvlearn.viz.moment import Moment
from kvlearn.viz.store_rows import LISTS
from kvlearn.viz.timeline_rows import NEWS, RowCompiler, thin
from tests.viz.front_end import numbers


def busy_cluster():
    """Everything that changes a picture: elections, entries, crash, wipe, pause, cuts, packets."""
    cluster = Cluster(5, seed=11)
    cluster.wait_for_leader()
    client = cluster.client()
    for k in range(5):
        client.put(f"key{k}", "v" * 60)
    leader = cluster.leader
    cluster.isolate(leader)
    cluster.submit(Put(b"lost", b"1"), leader)
    cluster.run(4)
    cluster.client(cluster.leader).put("kept", "2")
    cluster.heal()
    cluster.run(1)
    cluster.crash(cluster.leader)
    cluster.run(3)
    cluster.wipe("n2")
    cluster.pause("n3")
    cluster.run(1)
    packet = cluster.in_flight[0] if cluster.in_flight else None
    if packet:
        cluster.delay(packet, 0.5)
    cluster.run(2)
    return cluster


def growing_cluster():
    """Short logs, members that come and go, a snapshot in parts, a transfer, pre-votes."""
    config = RaftConfig.etcd(snapshot_entries=6, kept_entries=2, chunk_records=2)
    cluster = Cluster(3, seed=5, config=config)
    cluster.wait_for_leader()
    client = cluster.client()
    for k in range(9):
        client.put(f"k{k}", f"v{k}")
    for name in ("n4", "n5"):
        cluster.add_node(name)
        cluster.run(0.1)
    client.add_member("n4", learner=True)
    cluster.run(1)
    client.reconfigure(add=["n4", "n5"], remove=["n1"])
    cluster.run(1)
    client.move_leader("n5")
    cluster.crash("n5")
    cluster.run(3)
    client.remove_member("n5")
    cluster.wipe("n5")
    cluster.add_node("n5")
    cluster.run(1)
    cluster.compact(cluster.leader)
    return cluster


@pytest.fixture(scope="module", params=[busy_cluster, growing_cluster])
def trace(request):
    return request.param().trace


def flat(compiler):
    """A compiler's state as the browser holds it, without what is empty."""
    told = {}
    for key, given in json.loads(json.dumps(compiler.state())):
        if key == "packet":
            continue
        given = numbers(given) if key.endswith(LISTS) else given
        if given not in (None, []):
            told[key] = given
    return told


def is_packet(key):
    """p12: when packet 12 arrives; before it was delayed the packet itself says that."""
    return key[0] == "p" and key[1:].isdigit()


def patched(state, rows, forwards=True):
    for row in rows if forwards else reversed(rows):
        for patch in row.patches if forwards else reversed(row.patches):
            key, *rest = json.loads(json.dumps(patch))
            if len(rest) == 3:
                gone, come = numbers(rest[1]), numbers(rest[2])
                old, new = (gone, come) if forwards else (come, gone)
                log = state.setdefault(key, [])
                assert log[rest[0] : rest[0] + len(old)] == old
                log[rest[0] : rest[0] + len(old)] = new
            else:
                old, new = rest if forwards else rest[::-1]
                assert state.get(key) == old or is_packet(key)
                state[key] = new
    return {k: v for k, v in state.items() if v not in (None, []) and not is_packet(k)}


def test_patches_lead_to_the_state_and_back_to_nothing(trace):
    compiler = RowCompiler()
    rows = [compiler.row(record) for record in trace]
    state = {"cuts": []}
    assert patched(state, rows) == flat(compiler)
    assert patched(state, rows, forwards=False) == {}


def test_the_state_at_any_record_is_that_of_the_moment(trace):
    compiler = RowCompiler()
    for record in trace:
        compiler.row(record)
        if record.seq % 97:
            continue
        told, moment = dict(compiler.state()), Moment.at(trace, record.seq)
        for name, node in moment.nodes.items():
            assert told[f"{name}.role"] == node.role
            assert told[f"{name}.term"] == node.term
            assert told[f"{name}.commit"] == node.commit
            log = [compiler.entries[number][:2] for number in numbers(told[f"{name}.log"])]
            assert log == [(entry.index, entry.term) for entry in node.log]


def test_every_packet_that_ends_was_sent_before(trace):
    compiler = RowCompiler()
    rows = [compiler.row(record) for record in trace]
    sent = {row.packet[0]: row.seq for row in rows if row.packet}
    ended = [(number, row.seq) for row in rows for number in row.ended]
    assert len(ended) > 100
    assert all(sent[number] < seq for number, seq in ended)


@pytest.mark.parametrize("all_messages", [False, True])
def test_thinned_rows_change_the_same_and_keep_the_news(trace, all_messages):
    compiler, other = RowCompiler(), RowCompiler()
    whole = [compiler.row(record) for record in trace]
    thinned = list(thin([other.row(record) for record in trace], all_messages))
    assert len(thinned) < len(whole) * (0.4 if all_messages else 0.9)
    state = {"cuts": []}
    assert patched(state, thinned) == flat(compiler)
    assert patched(state, thinned, forwards=False) == {}
    news = [row.text for row in whole if row.weight == NEWS]
    assert [row.text for row in thinned if row.weight == NEWS] == news
    assert thinned[-1].seq == whole[-1].seq


def test_a_huge_command_does_not_make_a_huge_row():
    cluster = Cluster(3, seed=1)
    cluster.wait_for_leader()
    cluster.client().put("big", "x" * 300_000)
    feed = Feed(cluster.trace)
    assert max(len(encode({"rows": [row.wire()]})) for row in feed.history) < LIMIT_BYTES / 2


def test_a_feed_after_a_rewind_is_that_of_a_trace_that_never_went_there():
    cluster = Cluster(3, seed=5)
    feed = Feed(cluster.trace)
    cluster.run(2)
    feed.sync()
    cluster.rewind(1.2)
    cluster.crash("n1")
    cluster.run(3)
    feed.sync()
    fresh = Feed(cluster.trace)
    assert flat(feed.compiler).keys() == flat(fresh.compiler).keys()
    for key, given in flat(fresh.compiler).items():
        if not key.endswith(LISTS):  # entries keep the numbers that they were told with
            assert flat(feed.compiler)[key] == given
    assert [row.seq for row in feed.history] == list(range(len(cluster.trace)))
