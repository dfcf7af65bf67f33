"""What lesson 14's prose says of its seeded runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Raft, StoreConfig
from kvlearn.check.leases import SAFETY, leases
from kvlearn.course import compare
from kvlearn.course.exercises.leases import (
    at_rate,
    cut_off_holder,
    leader_change,
    lived,
    restless,
    two_keys,
)
from kvlearn.course.lease_mutants import LeavesTheRest, StartsFromNothing
from kvlearn.course.mutants import ReadsWithoutAsking
from kvlearn.errors import RequestError
from kvlearn.events import (
    Applied,
    BecameLeader,
    Crashed,
    LeaseExpired,
    LeaseRenewed,
    LeasesCounted,
    Notified,
)
from kvlearn.kv.leases import LeaseCheckpoint, LeaseGrant, LeaseKeepAlive, LeaseRevoke
from kvlearn.sim import Cluster
from kvlearn.sim.script import play


def commands(cluster, kind, node):
    """The commands of this kind that a node has applied."""
    applied = cluster.trace.of(Applied, node=node)
    return [r for r in applied if isinstance(getattr(r.event.command, "request", None), kind)]


def test_two_keys_go_sixteen_seconds_after_the_grant_in_one_revision():
    cluster, lease = two_keys()
    assert cluster.leader == "n3" and lease.id == 7
    assert str(cluster.trace[-1]) == "c1 gets lease 7 of 10 s from n1 at revision 3"
    watcher = cluster.client().watch("key", prefix=True)
    cluster.run(12)
    (end,) = cluster.trace.of(LeaseExpired)
    assert end.node == "n3" and lived(cluster) == 16.1
    assert {commands(cluster, LeaseRevoke, node)[0].event.revision for node in cluster.nodes} == {4}
    told = [r.event.response for r in cluster.trace.of(Notified) if r.event.response.events]
    assert [[event.kv.key for event in response.events] for response in told] == [
        [b"key1", b"key2"]
    ]
    assert [event.kv.mod_revision for event in watcher.events()] == [4, 4]
    # “It deletes nothing. It writes a command”: the keys go when the command is applied, later.
    assert end.time < commands(cluster, LeaseRevoke, "n3")[0].time


FACTS = """cluster 3
quiet
campaign n1
stabilize
lease n1 grant 10 id=7
put n1 key1=a lease=7
stabilize
tick n1 30
stabilize
loud
leases
quiet
lease n1 keep 7
stabilize
loud
leases
log n1
"""


def test_the_leader_alone_counts_and_a_keep_alive_is_not_in_the_log():
    told = play(FACTS).text.partition("----\n")[2].splitlines()
    assert told[0].endswith("7 s left") and told[3].endswith("10 s left")
    assert all(line.endswith("does not count") for line in (*told[1:3], *told[4:6]))
    assert "keep" not in told[6] and told[6].count("@1") == 3


def test_after_a_crash_a_lease_of_ten_seconds_lives_for_nineteen_and_a_half():
    cluster = leader_change(checkpoint_s=0)
    assert lived(cluster) == 19.6
    (crash,) = cluster.trace.of(Crashed)
    (counts,) = cluster.trace.of(LeasesCounted)
    (grant,) = commands(cluster, LeaseGrant, "n3")
    assert (crash.node, counts.node) == ("n3", "n1")
    assert round(crash.time - grant.time) == 7 and round(counts.time - crash.time, 1) == 1.5
    assert counts.event.left == ((7, 11.0),)
    assert len(list(cluster.trace.of(BecameLeader))) == 2


def test_with_checkpoints_it_lives_for_thirteen_and_a_half_and_ends_though_leaders_change():
    cluster = leader_change(checkpoint_s=2)
    (counts,) = cluster.trace.of(LeasesCounted)
    assert lived(cluster) == 13.6 and counts.node == "n1"
    assert counts.event.left == ((7, 5.0),)  # 4 s, and the second of the election
    assert restless(0) is None and 10 < restless(2) < 16


def test_a_note_is_taken_back_before_the_holder_hears_yes():
    cluster = Cluster(3, seed=7, store=StoreConfig(checkpoint_s=2))
    lease = cluster.client().lease(10, id=7)
    cluster.run(5)
    notes = commands(cluster, LeaseCheckpoint, cluster.leader)
    assert notes and notes[-1].event.command.request.left[0][1] > 0
    lease.keep_alive_once()
    (yes,) = cluster.trace.of(LeaseRenewed)
    back = commands(cluster, LeaseCheckpoint, cluster.leader)[len(notes)]
    assert back.event.command.request.left == ((7, 0),) and back.seq < yes.seq


def test_the_clock_of_the_leader_decides():
    found = {rate: at_rate(rate) for rate in (0.5, 0.8, 1, 1.25, 2, 3)}
    assert [lives for _, lives in found.values()] == [True] * 5 + [False]
    assert [found[rate][0] for rate in (0.5, 1, 2)] == [20.2, 10.1, 5.0]
    assert all(0 <= silent * rate - 10 < 0.3 for rate, (silent, _) in found.items())


ASKING = """cluster 3
quiet
campaign n1
stabilize
lease n1 grant 10 id=7
stabilize
tick n1 20
stabilize
partition n1 | n2 n3
loud
lease n1 keep 7
stabilize
leases n1
heal
tick n1
stabilize
leases n1
"""


def test_a_leader_that_is_cut_off_says_nothing():
    before, _, after = play(ASKING).text.partition("----\n")[2].partition("network: all links")
    assert "8 s left" in before and "c1 gets" not in before and before.count("✗ cut") == 2
    assert "c1 gets lease 7 of 10 s" in after and "10 s left" in after
    assert after.index("confirms a read") < after.index("keeps lease 7 alive")


@pytest.mark.parametrize(("raft", "kept"), [(Raft, True), (ReadsWithoutAsking, False)])
def test_who_does_not_ask_promises_what_another_ends(raft, kept):
    cluster, lease = cut_off_holder(raft)
    assert cluster.client(cluster.leader).get("here").text is None
    assert leases(cluster.trace)[SAFETY].ok is kept
    if kept:
        with pytest.raises(RequestError):
            lease.keep_alive_once()
    else:
        assert lease.keep_alive_once().ttl_s == 10
    old = next(
        n for n in cluster.nodes if n != cluster.leader and cluster.nodes[n].role == "leader"
    )
    assert cluster.nodes[old].term < cluster.nodes[cluster.leader].term
    yes = [
        r for r in cluster.trace if isinstance(getattr(r.event, "request", None), LeaseKeepAlive)
    ]
    assert len(yes) > 2  # “again and again”


def leader_crashes(cluster):
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("here", "me", lease=client.lease(5, id=7))
    cluster.crash(cluster.leader)
    cluster.run(10)


def somebody_looks(cluster):
    cluster.wait_for_leader()
    client = cluster.client()
    lease = client.lease(5, id=7)
    client.put("web/address", "10.0.0.1", lease=lease)
    client.put("web/port", "80", lease=lease)
    cluster.run(7)
    client.get("web/", prefix=True)


def test_what_was_never_noted_has_one_second():
    comparison = compare(leader_crashes, StartsFromNothing, size=3)
    one, other = comparison.first
    assert one.endswith("7 has 6 s") and other.endswith("7 has 1 s")
    assert comparison.rows[-1][1].startswith("✗ Lease Safety is broken")


def test_half_a_server_is_left():
    comparison = compare(somebody_looks, LeavesTheRest, size=3)
    one, other = comparison.first
    assert "gets nothing" in one and "web/port=80" in other
    assert comparison.rows[-1][1].startswith("✗ One Revision is broken")


def test_the_times_that_the_first_exercise_tells():
    from kvlearn.course.exercises import EXERCISES

    trace = EXERCISES["leases/when"].fact().trace
    grant = next(
        r for r in trace.of(Applied)
        if isinstance(getattr(r.event.command, "request", None), LeaseGrant)
    )  # fmt: skip
    (crash,), (counts,) = trace.of(Crashed), trace.of(LeasesCounted)
    assert round(crash.time - grant.time, 1) == 9.9 and round(counts.time - grant.time, 1) == 11.4
