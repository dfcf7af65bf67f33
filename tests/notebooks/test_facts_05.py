"""What lesson 05's prose says of its seeded runs is so."""

from __future__ import annotations

from statistics import median

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.course import compare
from kvlearn.course.exercises.crashes import late_ack, put_times_s, torn_write
from kvlearn.course.mutants import ForgetsVote
from kvlearn.errors import Violation
from kvlearn.events import Invoked, Returned, Saved, Sent
from kvlearn.raft.messages import AppendEntries, AppendResponse, Message
from kvlearn.sim.script import play

BEGIN = "cluster 3\nquiet\ncampaign n1\nstabilize\n"


def test_three_disks_are_busy_and_nobody_has_acknowledged():
    cluster = late_ack()
    assert cluster.leader == "n3"
    assert all(cluster.disk(name).saving for name in cluster.nodes)
    assert all(len(node.log) == 2 and node.commit == 1 for node in cluster.nodes.values())
    (asked,) = cluster.trace.of(Invoked)
    sent = [r.event.message for r in cluster.trace.of(Sent, start=asked.seq)]
    assert [type(message) for message in sent] == [AppendEntries] * 2
    assert asked.seq == 98  # the cell tells what happened from record 97 on


def test_the_client_hears_ok_after_one_fsync_and_two_messages():
    future = late_ack()
    start = len(future.trace)
    future.run(0.5)
    (asked,), (told,) = future.trace.of(Invoked), future.trace.of(Returned)
    assert round(told.time - asked.time, 3) == 0.307
    saved = {r.node: r.time for r in future.trace.of(Saved, start=start)}
    assert len(saved) == 3
    for record in future.trace.of(Sent, start=start):
        if isinstance(record.event.message, AppendResponse):
            assert record.time >= saved[record.node]


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.3])
def test_a_follower_that_crashes_after_its_ack_has_the_entry(wait_s):
    cluster = late_ack()
    cluster.run(0.283 + wait_s)
    acked = [r.event.message for r in cluster.trace.of(Sent, node="n1")]
    assert any(isinstance(m, AppendResponse) and m.match == 2 for m in acked)
    cluster.crash("n1")
    cluster.restart("n1")
    assert len(cluster.nodes["n1"].log) == 2


def test_a_follower_that_crashes_now_loses_the_entry_and_gets_it_back():
    cluster = late_ack()
    cluster.crash("n1")
    cluster.restart("n1")
    assert [len(node.log) for node in cluster.nodes.values()] == [1, 2, 2]
    cluster.run(2.0)
    assert [len(node.log) for node in cluster.nodes.values()] == [2, 2, 2]


def test_if_both_followers_crash_now_nothing_was_promised():
    cluster = late_ack()
    cluster.crash("n1")
    cluster.crash("n2")
    assert [len(node.log) for node in cluster.nodes.values()] == [1, 1, 2]
    cluster.run(2.0)
    assert list(cluster.trace.of(Returned)) == []


def test_a_crash_between_two_lines_harms_nobody():
    text = BEGIN + "put n1 a=1\nready n1\ndeliver\nsave n2\ncrash n2\nwrite n3\ncrash n3\n"
    bench = play(text).cluster
    assert [len(bench.hosts[name].disk.entries) for name in ("n2", "n3")] == [2, 1]
    assert bench.select(target="n1") == []
    again = play(text + "start n2 n3\ntick n1\nstabilize\n").cluster
    assert again.check().ok
    assert [len(host.disk.entries) for host in again.hosts.values()] == [2, 2, 2]


def test_of_a_torn_write_the_records_before_the_tear_are_kept():
    text = BEGIN + "put n1 a=1\nput n1 a=2\nready n1\ndeliver n1→n2\nwrite n2\nloud\nlog n2\n"
    told = play(text + "crash n2 kept=1\nstart n2\nlog n2\n").text
    assert "n2: 1@1 | 2@1(put a=1)* 3@1(put a=2)*" in told
    assert "n2 starts in term 1 with its log up to 2@1" in told
    assert "\nn2: 1@1 | 2@1(put a=1)" in told


def test_the_messages_that_wait_for_the_disk():
    waiting = {kind.__name__ for kind in Message.__subclasses__() if kind.after_save}
    assert {"AppendResponse", "RequestVote", "VoteResponse"} <= waiting
    assert not AppendEntries.after_save


def test_a_forgotten_vote_makes_two_leaders():
    story = (
        "cluster 3\ncampaign n1 n3\nready n1 n3\ndeliver n1→n2\nready n2\ndeliver n2→n1\n"
        "crash n2\nstart n2\ndeliver n3→n2\nready n2\ndeliver n2→n3\n"
    )
    told = str(compare(story, ForgetsVote))
    assert "n2 starts in term 1" in told  # it knows the term
    assert "+   n3 becomes leader in term 1 with the votes of n2 n3" in told
    assert "+ ✗ Election Safety is broken: n1" in told and "- ✓ every promise is kept" in told


def test_a_wiped_disk_under_an_old_name_loses_a_committed_write():
    cluster = Cluster(3, seed=1, config=RaftConfig())
    leader = cluster.wait_for_leader()
    friend, other = (name for name in cluster.nodes if name != leader)
    cluster.run(0.5)
    cluster.isolate(other)
    assert cluster.client(leader).put("colour", "blue").header.revision == 2
    cluster.wipe(friend)
    cluster.partition([leader], [friend, other])
    cluster.restart(friend)
    with pytest.raises(Violation, match="put colour=blue") as broken:
        cluster.run(5)
    assert broken.value.promise == "Leader Completeness"


def test_one_or_two_slow_followers_cost_nothing_and_three_or_the_leader_all():
    fast, one, two, three = (put_times_s(count, False) for count in range(4))
    leader = put_times_s(0, True)
    assert abs(median(one) - median(fast)) < 0.001 and abs(median(two) - median(fast)) < 0.003
    assert max(fast + one + two) < 0.02
    assert min(three) > 0.05 and min(leader) > 0.0499


def test_the_picture_of_the_torn_tail_is_from_before_the_crash():
    bench = torn_write()
    assert bench.hosts["n1"].node.raft.term == 2 and bench.hosts["n2"].node is not None
    disks = {name: [str(e.id) for e in host.disk.entries] for name, host in bench.hosts.items()}
    assert disks["n2"] == ["1@1", "2@1", "3@1"]
    assert disks["n1"] == disks["n3"] == ["1@1", "2@2", "3@2", "4@2"]
