"""What lesson 06's prose says of its seeded runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.course import compare
from kvlearn.course.exercises.snapshots import (
    MEMBERS,
    ForgetsTooSoon,
    LeavesMembersOut,
    behind,
    caught_up,
    slow_follower,
    under_load,
)
from kvlearn.events import (
    Applied,
    Dropped,
    Progressed,
    Sent,
    SnapshotInstalled,
    StateLoaded,
)
from kvlearn.raft.messages import AppendEntries, InstallSnapshot, SnapshotResponse
from kvlearn.sim.script import play

RESTART = """cluster 3
quiet
campaign n1
stabilize
put n1 a=1
put n1 b=2
put n1 c=3
stabilize
compact n1 kept=1
put n1 d=4
ready n1
loud
crash n1
start n1
log n1
status n1
"""


def snapshots(cluster):
    """Messages of it on the wire that say "8 of 10"."""
    return [p for p in cluster.in_flight if str(p.message) == "Snap 10@1 8/10"]


def until_second_chunk():
    cluster = slow_follower()
    cluster.heal()
    cluster.run_until(snapshots)
    return cluster


def test_a_log_that_is_never_compacted_grows_with_the_writes():
    lengths = {}
    for every in (10_000, 50):
        config = RaftConfig(snapshot_entries=every, kept_entries=10)
        cluster = Cluster(3, seed=1, config=config)
        client, found = cluster.client(), []
        for number in range(240):
            client.put(f"k{number % 5}", str(number))
            found.append(len(cluster.nodes["n1"].log))
        lengths[every] = found
    assert lengths[10_000][19::20] == list(range(21, 242, 20))
    assert max(lengths[50]) <= 61 and min(lengths[50][50:]) >= 10


def test_the_scene_is_as_the_prediction_tells_it():
    cluster = slow_follower()
    assert cluster.leader == "n3"
    last = {name: node.log[-1].index for name, node in cluster.nodes.items()}
    assert last == {"n1": 17, "n2": 5, "n3": 17}
    bases = {name: node.base.index for name, node in cluster.nodes.items()}
    assert bases == {"n1": 7, "n2": 0, "n3": 7}
    known = [r.event for r in cluster.trace.of(Progressed, node="n3") if r.event.peer == "n2"]
    assert known[-1].match == 4


def test_the_follower_gets_the_state_of_10_and_the_entries_behind_it():
    future = slow_follower()
    start = len(future.trace)
    future.heal()
    future.run(0.3)
    node = future.nodes["n2"]
    assert (node.base.index, node.log[0].index, node.log[-1].index) == (10, 11, 17)
    states = [r.event.state for r in future.trace.of(Progressed, node="n3", start=start)]
    assert states == ["probe", "snapshot", "probe", "replicate", "replicate"]
    sent = [r.event.message for r in future.trace.of(Sent, start=start)]
    chunks = [str(m) for m in sent if isinstance(m, InstallSnapshot)]
    assert chunks == ["Snap 10@1 4/10", "Snap 10@1 8/10", "Snap 10@1 10/10"]
    entries = [m for m in sent if isinstance(m, AppendEntries) and m.entries]
    assert [str(m) for m in entries] == ["App 10@1→17@1"]
    (loaded,) = future.trace.of(StateLoaded, start=start)
    assert 1.933 < loaded.time < 1.982  # the stretch that the space-time picture shows
    assert 1.933 < future.trace[start].time + 0.105 and loaded.time < future.now


def test_a_lost_chunk_is_sent_again_after_the_next_heartbeat():
    cluster = until_second_chunk()
    start = len(cluster.trace)
    cluster.drop(snapshots(cluster)[0])
    cluster.run(0.3)
    (lost,) = cluster.trace.of(Dropped, start=start)
    again = [r for r in cluster.trace.of(Sent, start=start) if "8/10" in str(r.event.message)]
    assert len(again) == 1 and 0.05 < again[0].time - lost.time < 0.2
    assert cluster.nodes["n2"].log[-1].index == 17


def test_a_follower_that_crashes_begins_with_the_first_chunk_again():
    cluster = until_second_chunk()
    cluster.crash("n2")
    assert cluster.nodes["n2"].log[-1].index == 5  # and half a snapshot has changed nothing
    cluster.restart("n2")
    start = len(cluster.trace)
    cluster.run(0.3)
    sent = [r.event.message for r in cluster.trace.of(Sent, start=start)]
    assert [m.offset for m in sent if isinstance(m, SnapshotResponse)] == [0, 4, 8, 10]
    assert cluster.nodes["n2"].log[-1].index == 17


def test_if_the_leader_crashes_the_next_one_finishes():
    cluster = until_second_chunk()
    cluster.crash("n3")
    start = len(cluster.trace)
    cluster.run(3.0)
    assert cluster.leader == "n1"
    assert any(cluster.trace.of(SnapshotInstalled, start=start))
    assert cluster.nodes["n2"].applied == cluster.nodes["n1"].applied == 18


@pytest.mark.parametrize(
    ("missed", "kept", "entries", "records"),
    [(2, 0, 0, 43), (2, 10, 2, 0), (10, 10, 10, 0), (11, 10, 0, 52), (40, 10, 0, 81)],
)
def test_one_entry_beyond_the_tail_costs_the_whole_state(missed, kept, entries, records):
    assert caught_up(missed, kept) == {
        "entries": entries,
        "records of a snapshot": records,
    }


def test_a_leader_that_forgets_what_lies_behind_a_snapshot_is_never_caught_up_with():
    snapshots, lacks = under_load(3, ForgetsTooSoon)
    assert snapshots > 5 and lacks > 50
    assert under_load(20, ForgetsTooSoon) == under_load(3) == under_load(0) == (1, 0)


def test_a_node_starts_with_its_store_and_the_log_behind_the_snapshot():
    playback = play(RESTART)
    assert "n1: (3@1) 4@1(put c=3) | 5@1(put d=4)" in playback.text
    assert "commit 4, applied 4, revision 4" in playback.text
    boots = [r.seq for r in playback.trace if "n1 starts in term 1" in str(r)]
    assert list(playback.trace.of(Applied, node="n1", start=boots[-1])) == []


def test_members_that_are_left_out_make_two_leaders():
    told = str(compare(MEMBERS, LeavesMembersOut))
    assert "- n3 counts by (n1 n2 n3 n4 n5)" in told and "+ n3 counts by (n1 n2 n3)" in told
    assert "✗ Election Safety is broken: n4" in told and "- ✓ every promise is kept" in told


def test_in_the_picture_of_the_exercise_the_leader_begins_behind_6():
    bench = behind()
    bases = {name: host.node.raft.log.base.index for name, host in bench.hosts.items()}
    assert bases == {"n1": 6, "n2": 9, "n3": 4, "n4": 0, "n5": 0, "n6": 0, "n7": 0}
    match = {peer: p.match for peer, p in bench.hosts["n1"].node.raft.progress.items()}
    assert match == {"n2": 9, "n3": 9, "n4": 9, "n5": 6, "n6": 5, "n7": 1}
