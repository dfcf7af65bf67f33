"""The verbs of a cluster and what one sees of it; nonsense is refused with a sentence."""

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.errors import TimedOut, Violation
from kvlearn.events import BecameFollower, BecameLeader, Sent, Started
from kvlearn.kv.members import MemberAdd
from kvlearn.kv.requests import Put
from kvlearn.raft import ConfState, Raft


class VotesTwice(Raft):
    def may_vote_for(self, candidate):
        return True

    def is_up_to_date(self, last):
        return True


def led(size: int = 3, seed: int = 1, **about) -> tuple[Cluster, str]:
    cluster = Cluster(size, seed=seed, **about)
    return cluster, cluster.wait_for_leader()


# Made ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 10))
def test_a_cluster_of_any_size_elects_and_serves(size):
    cluster, leader = led(size)
    assert list(cluster.nodes) == [f"n{k}" for k in range(1, size + 1)]
    assert cluster.client().put("k", "v").header.revision == 2
    assert leader in cluster.nodes


@pytest.mark.parametrize("size", [0, -1, 10, 2.5, "3", None])
def test_sizes_that_no_cluster_has(size):
    with pytest.raises(ValueError, match="a cluster has 1 to 9 nodes, not"):
        Cluster(size)


def test_a_raft_for_one_node_only():
    cluster = Cluster(3, raft={"n2": VotesTwice})
    kinds = [type(cluster._hosts[name].node.raft) for name in cluster.nodes]
    assert kinds == [Raft, VotesTwice, Raft]
    with pytest.raises(ValueError, match="no node 'n7'; the nodes are n1, n2, n3"):
        Cluster(3, raft={"n7": VotesTwice})


def test_a_config_of_its_own():
    cluster = Cluster(3, config=RaftConfig.paper())
    assert cluster.wait_for_leader(timeout_s=1.0)
    assert cluster.now < 1.0


@pytest.mark.parametrize(
    "part, words",
    [
        ({"config": "etcd"}, "config is a RaftConfig, such as RaftConfig.paper.., not 'etcd'"),
        ({"raft": "Raft"}, "n1 runs Raft or a class derived from it, not 'Raft'"),
        ({"raft": {"n2": None}}, "n2 runs Raft or a class derived from it, not None"),
        ({"raft": dict}, "n1 runs Raft or a class derived from it"),
        ({"links": {"loss": 1}}, "links are Links"),
    ],
)
def test_parts_that_no_cluster_is_made_of(part, words):
    with pytest.raises(ValueError, match=words):
        Cluster(3, **part)


def test_each_seed_is_another_story():
    stories = {tuple(Cluster(3, seed=seed).trace.lines()) for seed in range(10)}
    assert len(stories) == 10


# Looked at ----------------------------------------------------------------------------------


def test_the_leader_is_the_one_with_the_highest_term():
    cluster, old = led(5, config=RaftConfig())  # a leader that is cut off goes on leading
    cluster.isolate(old)
    cluster.run(4)
    claims = [name for name, node in cluster.nodes.items() if node.role == "leader"]
    assert old in claims and len(claims) == 2
    assert cluster.leader != old
    assert cluster.nodes[cluster.leader].term > cluster.nodes[old].term


def test_a_leader_that_hears_no_majority_steps_down():
    cluster, old = led(5)
    cluster.isolate(old)
    cluster.run(4)
    assert cluster.nodes[old].role == "follower" and cluster.leader != old
    steps = [r.event.reason for r in cluster.trace.of(BecameFollower, node=old)]
    assert steps[-1] == "QUORUM_LOST"
    assert cluster.nodes[old].term == 1, "it asks in vain, and enters no term for it"


def test_a_leader_that_is_down_or_paused_is_none():
    for verb in ("crash", "pause"):
        cluster, leader = led()
        getattr(cluster, verb)(leader)
        assert cluster.leader is None


def test_what_a_node_shows():
    cluster, leader = led()
    cluster.client(leader).put("k", "v")
    cluster.run(1)
    node = cluster.nodes[leader]
    assert (node.name, node.alive, node.paused, node.role) == (leader, True, False, "leader")
    assert (node.term, node.vote, node.leader) == (1, leader, leader)
    assert (len(node.log), node.commit, node.applied, node.revision) == (2, 2, 2, 2)
    assert node.conf == ConfState(("n1", "n2", "n3"))
    assert str(node.store.get(b"k")) == "k=v"
    assert "role leader" in repr(node) and "<td>leader</td>" in node._repr_html_()


def test_what_a_node_shows_that_is_down():
    cluster, leader = led()
    cluster.client(leader).put("k", "v")
    cluster.run(1)
    node = cluster.nodes[leader]
    before = (node.term, node.vote, node.log, node.applied)
    cluster.crash(leader)
    assert (node.alive, node.role, node.leader, node.revision) == (False, "down", None, None)
    assert node.store is None
    assert (node.term, node.vote, node.log, node.applied) == before
    assert "role down" in repr(node)


def test_views_are_of_now():
    cluster = Cluster(3, seed=1)
    nodes = cluster.nodes
    cluster.client().put("k", "v")
    assert max(node.applied for node in nodes.values()) == 2


def test_status_is_a_table_with_a_row_a_node():
    cluster, leader = led()
    frame = cluster.status()
    assert list(frame.index) == ["n1", "n2", "n3"]
    assert frame.loc[leader, "role"] == "leader" and frame.loc[leader, "term"] == 1
    assert {"vote", "leader", "last", "commit", "applied", "revision"} <= set(frame.columns)


def test_a_node_that_is_not_there():
    cluster = Cluster(3)
    with pytest.raises(KeyError, match="there is no node 'n4'; the nodes are n1, n2, n3"):
        cluster.nodes["n4"]
    assert "n4" not in cluster.nodes and len(cluster.nodes) == 3


def test_a_cluster_says_where_it_is():
    cluster, leader = led(seed=7)
    assert repr(cluster).startswith("<Cluster of 3, seed 7, at ")
    assert f"{leader} leads term 1" in repr(cluster)
    cluster.crash(leader)
    assert "no leader" in repr(cluster)
    assert all(name in repr(cluster.nodes) for name in cluster.nodes)
    assert "<table>" in cluster.nodes._repr_html_()


# Time ---------------------------------------------------------------------------------------


def test_time_passes_as_told():
    cluster = Cluster(3)
    cluster.run(1.25)
    cluster.run(0)
    assert cluster.now == 1.25


@pytest.mark.parametrize("seconds", [-1, -1e-9, float("nan"), float("inf")])
def test_time_that_cannot_pass(seconds):
    cluster = Cluster(3)
    with pytest.raises(ValueError, match="a number from 0 on"):
        cluster.run(seconds)
    assert cluster.now == 0


def test_many_short_runs_are_one_long_run():
    long, short = Cluster(3, seed=4), Cluster(3, seed=4)
    long.run(5)
    for _ in range(50):
        short.run(0.1)
    assert list(long.trace.lines()) == list(short.trace.lines())


def test_steps_are_the_same_story():
    whole, steps = Cluster(3, seed=4), Cluster(3, seed=4)
    whole.run(3)
    records = list(steps.trace)
    while steps.now < 3:
        caused = steps.step()
        assert caused, "a step makes at least one record while nodes are up"
        records += caused
    assert records == list(steps.trace)
    common = len(whole.trace)
    assert list(steps.trace)[:common] == list(whole.trace)


def test_a_step_ends_where_nothing_ever_happens():
    """The only node's heartbeat timer runs on, and it has nobody to speak to."""
    cluster = Cluster(1, seed=1)
    cluster.wait_for_leader()
    cluster.run(1)
    assert cluster.step() == []
    assert cluster.now < 100


def test_time_passes_up_to_a_moment():
    cluster = Cluster(3)
    cluster.run_to(1.1)
    cluster.run_to(0.5)  # is past
    assert cluster.now == 1.1
    for moment in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a number of virtual seconds"):
            cluster.run_to(moment)


def test_run_until_stops_at_once():
    cluster = Cluster(3, seed=1)
    cluster.run_until(lambda c: c.leader is not None)
    [won] = cluster.trace.of(BecameLeader)
    assert won.time == cluster.now
    cluster.run_until(lambda c: True, timeout_s=0)
    assert cluster.now == won.time


def test_run_until_gives_up():
    cluster = Cluster(3, seed=1)
    with pytest.raises(TimedOut, match="not met within 2.5 virtual seconds"):
        cluster.run_until(lambda c: False, timeout_s=2.5)
    assert cluster.now == 2.5


@pytest.mark.parametrize("timeout_s", [-1, float("nan")])
def test_a_timeout_is_not_negative(timeout_s):
    cluster = Cluster(3, seed=1)
    cluster.run(1)
    with pytest.raises(ValueError, match="timeout_s is a number of seconds from 0 on"):
        cluster.run_until(lambda c: False, timeout_s=timeout_s)
    assert cluster.now == 1


def test_no_leader_in_time_says_who_runs():
    cluster = Cluster(3, seed=1)
    cluster.crash("n1"), cluster.pause("n2")
    with pytest.raises(TimedOut, match="running: n3 of 3; a leader needs a majority"):
        cluster.wait_for_leader(timeout_s=5)


# Verbs --------------------------------------------------------------------------------------

def test_nodes_that_begin_anew_do_not_elect_each_other_by_a_membership_of_the_past():
    """A fresh n1 replays the log, and finds n1 to n5 among the founders; n2 and n3, as fresh, would
    vote for it. But these were others."""
    cluster = Cluster(5, seed=1, config=RaftConfig(max_entries_per_message=1, max_inflight=1))
    leader = cluster.wait_for_leader()
    *lost, other = (name for name in cluster.nodes if name != leader)
    client = cluster.client(leader)
    client.put("k", "v"), cluster.run(0.5)
    for two in lost[:2], lost[2:]:
        for name in two:
            cluster.wipe(name)
        for name in two:
            client.remove_member(name)
        cluster.run(0.5)
    for name in lost:
        cluster.add_node(name)
    cluster.submit(MemberAdd(lost[0], True), leader)
    cluster.run_until(lambda cluster: cluster.nodes[lost[0]].log)
    cluster.isolate(leader), cluster.isolate(other)
    cluster.run(20.0)
    assert cluster.nodes[lost[0]].role != "leader"
    cluster.heal(), cluster.run(5.0)
    assert cluster.leader in (leader, other) and cluster.nodes[lost[0]].role == "learner"


NAMED = "crash restart pause resume wipe isolate campaign".split()


@pytest.mark.parametrize("verb", NAMED)
@pytest.mark.parametrize("name", ["n4", "", "N1", None, 1])
def test_a_verb_for_a_node_that_is_not_there(verb, name):
    cluster, _ = led()
    before = len(cluster.trace)
    with pytest.raises(ValueError, match="there is no node .*; the nodes are n1, n2, n3"):
        getattr(cluster, verb)(name)
    assert len(cluster.trace) == before


@pytest.mark.parametrize(
    "state, verb, words",
    [
        ("running", "restart", "n1 is running; crash it first"),
        ("paused", "restart", "n1 is running; crash it first, or resume it"),
        ("down", "crash", "n1 is down; restart it first"),
        ("down", "pause", "n1 is down; restart it first"),
        ("down", "resume", "n1 is down; restart it first"),
        ("down", "campaign", "n1 is down; restart it first"),
        ("paused", "pause", "n1 is paused already; resume it"),
        ("running", "resume", "n1 is not paused"),
        ("paused", "campaign", "n1 is paused; resume it first"),
    ],
)
def test_a_verb_that_does_not_fit_the_nodes_state(state, verb, words):
    cluster = Cluster(3)
    if state != "running":
        cluster.pause("n1") if state == "paused" else cluster.crash("n1")
    before = list(cluster.trace.lines())
    with pytest.raises(ValueError, match=words):
        getattr(cluster, verb)("n1")
    assert list(cluster.trace.lines()) == before


@pytest.mark.parametrize("state", ["running", "paused", "down"])
def test_a_disk_can_be_wiped_in_any_state(state):
    cluster, leader = led()
    if state != "running":
        cluster.pause(leader) if state == "paused" else cluster.crash(leader)
    cluster.wipe(leader)
    node = cluster.nodes[leader]
    assert (node.alive, node.log, node.term, node.vote) == (False, (), 0, None)
    cluster.restart(leader)
    assert node.alive


def test_a_node_stands_for_election_when_told():
    cluster, leader = led(config=RaftConfig())
    cluster.run(1)  # until the others have its first entry
    other = next(name for name in cluster.nodes if name != leader)
    cluster.campaign(other)
    cluster.run(0.1)
    assert cluster.leader == other and cluster.nodes[other].term == 2
    with pytest.raises(ValueError, match="leads already"):
        cluster.campaign(other)


def test_a_node_that_stands_against_a_leader_that_is_heard_changes_nothing():
    cluster, leader = led()
    cluster.run(1)
    other = next(name for name in cluster.nodes if name != leader)
    cluster.campaign(other)
    cluster.run(1)
    assert cluster.leader == leader and {node.term for node in cluster.nodes.values()} == {1}


def test_an_old_leader_may_stand_again():
    cluster, old = led(config=RaftConfig())
    cluster.isolate(old)
    cluster.run(4)
    assert cluster.nodes[old].role == "leader" != cluster.leader
    cluster.campaign(old)
    assert cluster.nodes[old].role == "candidate"


def test_verbs_do_not_let_anything_else_happen():
    cluster, leader = led()
    happened = cluster.happened
    cluster.isolate(leader), cluster.heal(), cluster.pause(leader), cluster.resume(leader)
    assert cluster.happened == happened


def test_boots_are_counted():
    cluster = Cluster(3)
    for _ in range(3):
        cluster.crash("n1"), cluster.restart("n1")
    assert [r.event.boot for r in cluster.trace.of(Started, node="n1")] == [1, 2, 3, 4]


# Promises -----------------------------------------------------------------------------------


def broken(seed: int, invariants: bool = True) -> Cluster:
    cluster = Cluster(5, seed=seed, raft=VotesTwice, invariants=invariants)
    for name in cluster.nodes:  # all stand at once, and everybody votes for everybody
        cluster.campaign(name)
    return cluster


def test_a_broken_promise_is_raised_once_with_record_and_seed():
    cluster = broken(3)
    with pytest.raises(Violation, match="Election Safety is broken") as caught:
        cluster.run(5)
    assert caught.value.seed == 3 and "(seed 3)" in str(caught.value)
    record = caught.value.record
    assert isinstance(record.event, BecameLeader) and cluster.trace[record.seq] == record
    assert cluster.now == record.time, "it stops where it happened"
    cluster.run(1)  # it can be looked at, and goes on


def test_without_invariants_nobody_looks():
    cluster = broken(3, invariants=False)
    cluster.run(1)
    terms = [r.event.term for r in cluster.trace.of(BecameLeader)]
    assert len(terms) > len(set(terms))


def test_going_back_before_a_violation_lets_it_be_raised_again():
    cluster = broken(3)
    with pytest.raises(Violation) as first:
        cluster.run(5)
    cluster.run(0.5)
    cluster.rewind(first.value.record.time / 2)
    with pytest.raises(Violation) as second:
        cluster.run(5)
    assert str(second.value) == str(first.value)


# Asking without waiting ---------------------------------------------------------------------


@pytest.mark.parametrize("request_", ["put a 1", None, 5, b"a", Put])
def test_what_is_not_a_request(request_):
    cluster = Cluster(3)
    with pytest.raises(ValueError, match="a request is a Put, Range, Txn, LeaseGrant …, not"):
        cluster.submit(request_)
    cluster.run(0.1)
    cluster.rewind(0.05)


def test_operations_that_are_not_there():
    cluster, leader = led()
    first = cluster.submit(Put(b"k", b"v"), leader)
    for verb in (cluster.operation, cluster.give_up):
        for op_id in (first + 1, 0, "x", None):
            with pytest.raises(ValueError, match="there is no operation .*: 1 to 1 were asked"):
                verb(op_id)
    with pytest.raises(ValueError, match="no node 'n9'"):
        cluster.submit(Put(b"k", b"v"), "n9")


def test_a_packet_in_a_paused_nodes_mailbox_says_where_it_is():
    """It is off the wire: no hand can drop, delay or deliver it, and the error tells why."""
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    other = next(name for name in cluster.nodes if name != leader)
    cluster.pause(other)
    cluster.run(0.3)
    sent = [r for r in cluster.trace.of(Sent) if r.event.message.target == other][-1]
    for verb in (cluster.drop, cluster.deliver, lambda packet: cluster.delay(packet, 1.0)):
        with pytest.raises(ValueError, match=f"{other} is paused and will read it"):
            verb(sent.event.packet)
    cluster.resume(other)
    cluster.run(0.3)
    with pytest.raises(ValueError, match="not on the wire"):
        cluster.drop(sent.event.packet)
