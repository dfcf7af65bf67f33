"""The picture of the members says what the leader counts by, knows and would answer."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kvlearn import Cluster
from kvlearn.kv.members import MemberAdd, MemberChange, MemberRemove
from kvlearn.raft.admission import refusal_of
from kvlearn.raft.confchange import Change, ConfChange
from kvlearn.raft.config import RaftConfig
from kvlearn.trace import Trace
from kvlearn.viz import Timeline
from kvlearn.viz.members import changes_of, members, seat, standings
from kvlearn.viz.moment import Moment
from tests.viz.test_real_runs import churned

SEEDS = (11, 21, 24, 36)


def hooked(svg, name):
    root = ElementTree.fromstring(svg.html())
    return [e for e in root.iter() if e.get(f"data-kv-{name}") is not None]


def raft_of(cluster):
    """The leader as it lives, or None."""
    host = cluster._hosts.get(cluster.leader)
    return host.node.raft if host is not None and host.node is not None else None


def test_match_lag_and_promotion_are_the_leader_s():
    seen = {"learner": 0, "yes": 0, "behind": 0, "joint": 0}
    for seed in SEEDS:
        timeline = None
        for cluster in churned(seed):
            timeline = timeline or Timeline(cluster.trace)
            raft = raft_of(cluster)
            if raft is None or raft.role != "leader":
                continue
            moment = timeline.at()
            moment.time = cluster.now
            replay = f"churned({seed}) at {cluster.now:.4f} s"
            for row in standings(moment):
                assert row.standing == seat(raft.conf, row.name), replay
                if row.name == raft.id:
                    assert row.match == raft.log.stable, replay
                elif row.name in raft.progress:
                    known = raft.progress[row.name]
                    told = (row.match, row.next, row.state)
                    assert told == (known.match, known.next, known.state), replay
                    assert row.lag == raft.log.last_index - known.match, replay
                else:
                    assert row.match is None, replay
                if row.name in raft.conf.learners:
                    count_promotion(raft, row, seen, replay)
            seen["joint"] += bool(raft.conf.outgoing)
    assert all(seen.values()), seen


def count_promotion(raft, row, seen, replay):
    """May the learner be promoted? The picture and the leader say the same."""
    refused = refusal_of(raft, ConfChange((Change(row.name),)))
    code = refused[0] if refused else ""
    if code == "UNHEALTHY" or "answered lately" in row.promote:
        return  # counted in ticks by the leader, and by the trace's clock in the picture
    assert (code == "") == (row.promote == "yes"), (replay, refused, row)
    seen["learner"] += 1
    seen["yes"] += code == ""
    seen["behind"] += code == "LEARNER_BEHIND" and "nine tenths" in row.promote


@pytest.mark.parametrize("seed", SEEDS)
def test_the_changes_are_those_that_the_nodes_hold(seed):
    *_, cluster = churned(seed)
    told = {change.index: change for change in changes_of(Moment.at(cluster.trace))}
    for name, view in cluster.nodes.items():
        for entry in view.log:
            if isinstance(entry.data, ConfChange) and entry.index <= view.applied:
                assert told[entry.index].term == entry.term, (seed, name)
                assert told[entry.index].time is not None, (seed, name)
    done = [change for change in told.values() if change.conf is not None]
    if cluster.leader and done and raft_of(cluster).log.applied >= done[-1].index:
        assert done[-1].conf == raft_of(cluster).conf, f"churned({seed})"


def test_a_joint_configuration_is_two_boxes():
    cluster = Cluster(3, seed=7, config=RaftConfig.etcd())
    leader = cluster.wait_for_leader()
    cluster.add_node("n4", learner=False)
    cluster.run(1)
    cluster.submit(MemberChange(("n4",), (), ("n1",), "explicit"), leader)
    cluster.run(0.5)
    drawn = members(cluster)
    assert [e.get("data-kv-set") for e in hooked(drawn, "set")] == ["old", "new"]
    standing = {e.get("data-kv-member"): e.get("data-kv-standing") for e in hooked(drawn, "member")}
    assert standing == {
        "n1": "voter, then outside",
        "n2": "voter of both sets",
        "n3": "voter of both sets",
        "n4": "voter of the new set",
    }
    assert "joint: 2 of n2 n3 n4 and 2 of n1 n2 n3 decide" in drawn.text
    assert "data-kv-joint" in drawn.html()
    cluster.submit(MemberChange(), cluster.leader)
    cluster.run(0.5)
    drawn = members(cluster)
    assert [e.get("data-kv-set") for e in hooked(drawn, "set")] == ["voters"]
    assert "2 of n2 n3 n4 decide" in drawn.text and "n1: " in drawn.text
    assert [e.get("data-kv-entry") for e in hooked(drawn, "entry")] == [
        f"{c.index}@{c.term}" for c in changes_of(Moment.at(cluster.trace))
    ]


def test_a_change_that_waits_is_dashed_and_holds_the_next_one_up():
    cluster = Cluster(3, seed=7)
    leader = cluster.wait_for_leader()
    cluster.add_node("n4", learner=True)
    cluster.submit(MemberAdd("n4", True), leader)
    cluster.run(1)
    (row,) = [row for row in standings(Moment.at(cluster.trace)) if row.standing == "learner"]
    assert row.name == "n4" and row.promote == "yes" and row.lag == 0
    cluster.isolate(leader)
    gone = next(name for name in ("n1", "n2", "n3") if name != leader)
    cluster.submit(MemberRemove(gone), leader)
    drawn = members(cluster)
    (cell,) = [e for e in hooked(drawn, "entry") if e.get("data-kv-committed") == "false"]
    dash = [e.get("stroke-dasharray") for e in cell.iter() if e.tag.endswith("}rect")]
    assert dash == ["4 3"] and f"{gone} leaves; not applied yet" in drawn.text
    index = int(cell.get("data-kv-entry").split("@")[0])
    assert f"may be promoted: not now: entry {index} is not applied yet" in drawn.text
    refused = refusal_of(raft_of(cluster), ConfChange((Change("n4"),)))
    assert refused[0] == "CHANGE_PENDING" and dict(refused[1])["index"] == index


@pytest.mark.parametrize("seed", SEEDS)
def test_every_moment_can_be_drawn_and_nothing_leaves_the_page(seed):
    *_, cluster = churned(seed)
    timeline = Timeline(cluster.trace)
    for seq in range(-1, len(cluster.trace), 61):
        drawn = members(timeline.at(seq))
        root = ElementTree.fromstring(drawn.svg())
        for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
            right = float(rect.get("x", 0)) + float(rect.get("width"))
            assert right <= drawn.width + 0.1, f"churned({seed}), seq={seq}"
    again = Trace.parse(cluster.trace.lines())
    assert members(again).svg() == members(cluster.trace).svg()


def test_nine_nodes_fit():
    cluster = Cluster(9, seed=1)
    leader = cluster.wait_for_leader()
    for name in ("n10", "n11", "n12"):
        cluster.add_node(name, learner=True)
    cluster.run(1)
    come = ("n10", "n11", "n12")
    cluster.submit(MemberChange(come, (), ("n1", "n2", "n3"), "explicit"), leader)
    cluster.run(0.5)
    drawn = members(cluster)
    seats = [e for e in hooked(drawn, "standing") if e.get("data-kv-node")]
    assert len(seats) == 12
    places = [re.search(r"translate\(([\d.]+)", ElementTree.tostring(e).decode())[1] for e in seats]
    assert max(map(float, places)) < drawn.width - 14
    assert len(set(places)) == 12


def test_an_empty_trace_has_no_members():
    assert members(Trace()).text == "The trace is empty: no node has started yet."
