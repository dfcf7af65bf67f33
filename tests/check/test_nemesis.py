"""Every kind of trouble strikes as it says, and leaves nothing behind when it is over."""

from __future__ import annotations

import pickle
from random import Random

import pytest

from kvlearn import Cluster, RaftConfig, check
from kvlearn.check.bearable import membership
from kvlearn.check.hand import Act, Hand
from kvlearn.check.nemesis import NEMESES, SPARE, Trouble, nemeses_named
from kvlearn.events import ConfChanged, Crashed
from kvlearn.kv.members import MemberAdd, MemberChange, MemberPromote, MemberRemove, MoveLeader
from kvlearn.kv.requests import Put, Range

every_one = pytest.mark.parametrize("nemesis", NEMESES.values(), ids=str)
SNAPSHOTS = RaftConfig.etcd(snapshot_entries=3, kept_entries=1)
STEPS = "wipe", "members"  # they change what stays
mended = [nemesis for nemesis in NEMESES.values() if nemesis.name not in STEPS]


def busy(size: int = 5, seed: int = 7) -> Hand:
    """A hand on a cluster with a leader that saves something just now."""
    cluster = Cluster(size, seed=seed)
    leader = cluster.wait_for_leader()
    cluster.run(1.0)
    hand = Hand(cluster)
    hand.ask("c1", leader, Put(b"a", b"1"))
    return hand


def state(cluster: Cluster) -> tuple:
    """All that a nemesis may change."""
    nodes = cluster.nodes.items()
    return (
        cluster.cuts,
        repr(cluster.links),
        [(node.alive, node.paused, node.fsync_s) for _, node in nodes],
        [cluster.clock(name).rate for name, _ in nodes],
    )


@pytest.mark.parametrize("nemesis", mended, ids=str)
@pytest.mark.parametrize("size", [3, 5])
def test_it_strikes_and_leaves_nothing_behind(nemesis, size):
    for seed in range(8):
        hand, rng = busy(size), Random(seed)
        fair = state(hand.cluster)
        acts = len(hand.acts)
        nemesis.strike(hand, rng)
        assert len(hand.acts) > acts, "it found nothing to do"
        if nemesis.name != "reboot":
            assert state(hand.cluster) != fair
        nemesis.calm(hand, rng)
        assert state(hand.cluster) == fair


@every_one
def test_it_travels_to_other_processes(nemesis):
    there, here = busy(), busy()
    pickle.loads(pickle.dumps(nemesis)).strike(there, Random(2))
    nemesis.strike(here, Random(2))
    assert there.acts == here.acts


def reach(cluster: Cluster) -> dict[str, set[str]]:
    """Whom each node can talk to in both directions, itself included."""
    cuts = set(cluster.cuts)
    return {
        a: {b for b in cluster.nodes if (a, b) not in cuts and (b, a) not in cuts}
        for a in cluster.nodes
    }


@pytest.mark.parametrize("size", [4, 5, 7, 9])
def test_in_a_ring_everybody_has_a_majority_of_its_own(size):
    hand = Hand(Cluster(size, seed=1))
    NEMESES["ring"].strike(hand, Random(1))
    seen = list(reach(hand.cluster).values())
    assert all(len(group) > size / 2 for group in seen)
    assert len({frozenset(group) for group in seen}) == size


@pytest.mark.parametrize("size", [3, 5, 9])
def test_over_a_bridge_only_one_node_goes(size):
    hand = Hand(Cluster(size, seed=1))
    NEMESES["bridge"].strike(hand, Random(1))
    seen = reach(hand.cluster)
    assert [len(group) for group in seen.values()].count(size) == 1
    assert sum(len(group) == (size - 1) // 2 + 1 for group in seen.values()) == size - 1


def test_a_leader_is_left_without_a_majority():
    for seed in range(10):
        hand = busy(5)
        leader = hand.cluster.leader
        NEMESES["leader"].strike(hand, Random(seed))
        assert 1 <= len(reach(hand.cluster)[leader]) <= 2


def test_one_way_links_work_in_the_other_direction():
    hand = busy(5)
    NEMESES["one_way"].strike(hand, Random(3))
    assert hand.cluster.cuts
    assert any((b, a) not in hand.cluster.cuts for a, b in hand.cluster.cuts)


def test_a_torn_write_hits_a_node_that_saves():
    hand = busy()
    (leader,) = hand.leaders()
    assert [name for name in hand.cluster.nodes if hand.cluster.disk(name).saving] == [leader]
    NEMESES["torn"].strike(hand, Random(1))
    assert [r.node for r in hand.cluster.trace.of(Crashed)] == [leader]
    hand = Hand(Cluster(3, seed=7))
    NEMESES["torn"].strike(hand, Random(1))
    assert hand.acts == [], "nobody saves, so there is nothing to tear"


def test_a_slow_disk_delays_what_it_is_asked_to_keep():
    took = []
    for fsync_s in (0.001, 0.3):
        hand = Hand(Cluster(3, seed=7))
        leader = hand.cluster.wait_for_leader()
        hand.cluster.run(1.0)
        for name in hand.cluster.nodes:
            hand.do("disk", name, (fsync_s, fsync_s))
        number = hand.ask("c1", leader, Put(b"a", b"1"))
        hand.cluster.run(2.0)
        operation = hand.cluster.operation(number)
        took.append(operation.return_s - operation.call_s)
        assert not hand.cluster.disk(leader).saving
    assert took[0] < 0.05 and took[1] > 0.3


def strikes(name: str, hand: Hand, seed: int, count: int) -> None:
    """Let a nemesis strike so often, with time between to see what comes of it."""
    rng = Random(seed)
    for _ in range(count):
        NEMESES[name].strike(hand, rng)
        hand.cluster.run(0.5)


@pytest.mark.parametrize("config", [RaftConfig.etcd(), RaftConfig(), SNAPSHOTS], ids=repr)
@pytest.mark.parametrize("size", [3, 5])
def test_a_lost_disk_is_replaced_step_by_step(size, config):
    hand = Hand(Cluster(size, seed=7, config=config))
    hand.cluster.wait_for_leader()
    strikes("wipe", hand, 1, 60)
    conf, told = membership(hand.cluster), [act.words() for act in hand.acts]
    wiped = [words.split()[1] for words in told if words.startswith("wipe")]
    assert len(wiped) > 1 and not hand.lost.intersection(conf.voters)
    assert size - 1 <= len(conf.voters) <= size, "one may be on its way"
    for name in wiped:
        at = told.index(f"wipe {name}")
        assert any(words.endswith(f"remove {name}") for words in told[at:])
    assert "restart" not in {act.verb for act in hand.acts}
    assert check.invariants(hand.cluster).ok
    assert any(words == f"add_node {name}" for name in wiped for words in told), "an old name"


def test_no_disk_is_taken_that_the_others_cannot_spare():
    for seed in range(10):
        hand = Hand(Cluster(3, seed=seed))
        hand.cluster.wait_for_leader()
        hand.do("crash", "n1")
        strikes("wipe", hand, seed, 20)
        assert not [act for act in hand.acts if act.verb == "wipe"]


def test_members_come_and_go_and_lead_in_turn():
    confs, verbs = set(), set()
    for seed in range(6):
        hand = Hand(Cluster(3, seed=seed))
        hand.cluster.wait_for_leader()
        strikes("members", hand, seed, 40)
        told = hand.cluster.trace.of(ConfChanged)
        confs |= {record.event.conf for record in told}
        verbs |= {type(act.arguments[-1]) for act in hand.acts if act.verb == "ask"}
        assert check.invariants(hand.cluster).ok
        assert len(hand.cluster.nodes) <= hand.size + SPARE
    assert verbs == {MemberAdd, MemberChange, MemberPromote, MemberRemove, MoveLeader}
    assert {len(conf.voters) for conf in confs} > {2, 3, 4, 5}
    assert any(conf.learners for conf in confs) and any(conf.learners_next for conf in confs)
    assert {conf.auto_leave for conf in confs if conf.outgoing} == {True, False}
    assert not all({"n1", "n2", "n3"}.intersection(conf.voters) for conf in confs)


def test_with_lease_reads_a_clock_is_only_as_wrong_as_the_leases_allow():
    rates = {True: set(), False: set()}
    for lease in rates:
        config = RaftConfig.etcd(lease_reads=lease)
        for seed in range(30):
            hand = Hand(Cluster(3, seed=1, config=config))
            NEMESES["clock"].strike(hand, Random(seed))
            rates[lease].add(hand.acts[0].arguments[1])
    assert 0.9 <= min(rates[True]) < 1 < max(rates[True]) <= 1.1
    assert min(rates[False]) < 0.8 and max(rates[False]) > 1.3


def test_an_actor_strikes_and_calms_in_turn():
    hand = busy()
    actor = Trouble(NEMESES["pause"], hand, Random(4))
    told = []
    for _ in range(6):
        hand.cluster.run_to(actor.due)
        actor.wake(hand)
        told.append([act.verb for act in hand.acts[1:]])
    assert told[-1] == ["pause", "resume"] * 3
    assert actor.due > hand.now


def test_a_nemesis_that_does_not_exist():
    with pytest.raises(ValueError, match="there is no nemesis 'crush'; there are crash, "):
        nemeses_named(("crush",))


# What a cluster can bear --------------------------------------------------------------------


def test_a_lost_disk_does_not_come_back_under_its_name_while_it_counts():
    hand = Hand(Cluster(3, seed=7, config=SNAPSHOTS))
    cluster, leader = hand.cluster, hand.cluster.wait_for_leader()
    lost, other = (name for name in cluster.nodes if name != leader)
    hand.do("wipe", lost)
    for verb, *arguments in (
        ("restart", lost),
        ("wipe", lost),
        ("wipe", other),
        ("wipe", leader),
        ("add_node", lost),
        ("ask", 1, "c1", leader, MemberRemove(other)),
        ("ask", 1, "c1", leader, MemberAdd("n4")),
        ("ask", 1, "c1", leader, MemberChange(remove=(lost,), add=("n4",))),
    ):
        with pytest.raises(ValueError):
            hand.do(verb, *arguments)
    assert [act.words() for act in hand.acts] == [f"wipe {lost}"]
    assert hand.objection("ask", 1, "c1", leader, MoveLeader(other)) == ""
    hand.ask("c1", leader, MemberRemove(lost))
    cluster.run(1.0)
    with pytest.raises(ValueError, match="does not run"):
        hand.ask("c1", leader, MemberAdd(lost))
    assert hand.objection("add_node", lost) == ""
    hand.do("pause", other)
    assert "is paused" in hand.objection("add_node", lost)
    hand.do("resume", other)
    hand.do("add_node", lost)
    assert hand.lost == set()
    hand.ask("c1", leader, MemberAdd(lost))
    cluster.run(2.0)
    assert membership(cluster).voters == ("n1", "n2", "n3")
    assert cluster.nodes[lost].role == "follower" and check.invariants(cluster).ok


def test_while_a_change_of_members_is_under_way_no_disk_is_taken():
    hand = Hand(Cluster(5, seed=7))
    leader = hand.cluster.wait_for_leader()
    hand.cluster.run(1.0)
    follower = next(name for name in hand.cluster.nodes if name != leader)
    assert hand.objection("wipe", follower) == ""
    hand.do("partition", (leader,))
    hand.ask("c1", leader, MemberRemove(follower))
    assert "not applied everywhere" in hand.objection("wipe", follower)


# The hand -----------------------------------------------------------------------------------


def test_what_a_hand_did_can_be_done_again():
    hand = busy()
    rng = Random(5)
    strikes("wipe", hand, 1, 12)
    for k, nemesis in enumerate(NEMESES.values()):
        nemesis.strike(hand, rng)
        hand.ask("c2", rng.choice(list(hand.cluster.nodes)), Range(b"a"))
        hand.cluster.run_to(hand.now + 0.3)
        if k % 2:
            nemesis.calm(hand, rng)
    hand.mend()
    hand.cluster.run_to(hand.now + 5)
    assert {"wipe", "add_node"} <= {act.verb for act in hand.acts}
    again = Cluster(5, seed=7)
    again.wait_for_leader()
    again.run(1.0)
    other = Hand(again)
    other.repeat(hand.acts)
    again.run_to(hand.now)
    assert other.acts == hand.acts
    assert list(again.trace.lines()) == list(hand.cluster.trace.lines())
    assert check.invariants(again).ok


def test_what_makes_no_sense_is_left_out_of_a_repetition():
    hand = Hand(Cluster(3, seed=7))
    acts = [Act(0.5, "restart", ("n1",)), Act(0.6, "give_up", (9,)), Act(0.7, "crash", ("n1",))]
    hand.repeat([*acts, Act(2.0, "restart", ("n1",))], until_s=1.0)
    assert [str(act) for act in hand.acts] == [" 0.700000 s  crash n1"]


def test_a_verb_that_a_hand_does_not_know():
    with pytest.raises(ValueError, match="a hand cannot 'shake'; it can crash, restart"):
        Hand(Cluster(1)).do("shake", "n1")
