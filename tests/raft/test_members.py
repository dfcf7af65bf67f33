"""Changes of the membership in a running Raft: when they count and for whom (paper 6, thesis 4)."""

from dataclasses import replace

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.errors import ConfChangeError, ProposalDropped
from kvlearn.events import BecameCandidate, BecameFollower, ConfChanged, Refused
from kvlearn.raft import ConfState, Entry, EntryID
from kvlearn.raft.confchange import EXPLICIT, GONE, LEARNER, Change, ConfChange
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    RequestVote,
    VoteResponse,
)
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, Net, voters

ADD = ConfChange((Change("n4"),))
LEAVE = ConfChange()
SWAP = ConfChange((Change("n4"), Change("n3", GONE)))
LEARNS = ConfState(("n1", "n2", "n3"), learners=("n4",))
JOINT = ConfState(("n1", "n2", "n4"), ("n1", "n2", "n3"))


def without(name: str) -> ConfChange:
    return ConfChange((Change(name, GONE),))


def ack(source: str, match: int, term: int = 1) -> AppendResponse:
    return AppendResponse(source, "n1", term, match)


def leader(conf: ConfState | int = 3, config=CALM) -> Member:
    """Its no-op, 1@1, is everywhere and applied."""
    member = Member(conf=conf, config=config).lead()
    member.hear(*(ack(peer, 1) for peer in member.raft.peers))
    assert member.raft.log.applied == 1
    return member


def changing(change: ConfChange, conf: ConfState | int = 3, config=CALM) -> Member:
    """A leader that has proposed the change: 2@1, on its own disk only."""
    member = leader(conf, config)
    member.raft.propose(change), member.drive()
    return member


def targets(sent: list, kind: type) -> list[str]:
    return sorted({m.target for m in sent if isinstance(m, kind)})


# When it counts -----------------------------------------------------------------------------


def test_a_change_counts_when_it_is_applied_and_not_before():
    member = changing(ADD)
    assert member.raft.conf == voters(3) and member.raft.peers == ("n2", "n3")
    member.raft.step(ack("n2", 2))
    assert member.raft.log.committed == 2 and member.raft.conf == voters(3)
    sent = member.drive()
    assert member.raft.conf == voters(4) and member.raft.peers == ("n2", "n3", "n4")
    assert member.heard(ConfChanged) == [ConfChanged(voters(4))]
    assert "n4" in targets(sent, AppendEntries), "the new one is told at once"


def test_a_follower_changes_with_its_own_log():
    member = Member()
    member.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, ADD),), 0))
    assert member.raft.conf == voters(3)
    member.hear(Heartbeat("n2", "n1", 1, 1))
    assert member.raft.conf == voters(4) and member.raft.progress == {}


def test_a_change_that_does_not_fit_changes_nothing_anywhere():
    for member in (leader(), Member()):
        with pytest.raises(ConfChangeError, match="is not joint"):
            member.raft.apply_change(LEAVE)
        assert member.raft.conf == voters(3) and not member.heard(ConfChanged)


def test_apply_change_tells_the_new_configuration():
    assert leader().raft.apply_change(ADD) == voters(4)


def test_the_change_is_committed_by_the_old_majority():
    member = changing(ConfChange((Change("n3", GONE),)))
    member.hear(ack("n3", 2))
    assert member.raft.conf == ConfState(("n1", "n2")), "it had a say in its own removal"


# Who is talked to ---------------------------------------------------------------------------


def test_a_new_member_is_probed_from_the_end_and_counts_for_the_majority():
    member = changing(ADD)
    member.hear(ack("n2", 2))
    assert str(member.raft.progress["n4"]) == "probe match=0 next=3"
    member.raft.propose("x"), member.drive()
    member.hear(ack("n2", 3))
    assert member.raft.log.committed == 2, "two of four are no majority"
    member.hear(AppendResponse("n4", "n1", 1, 0, 2, ZERO))
    member.hear(ack("n4", 3))
    assert member.raft.log.committed == 3


def test_what_is_known_of_the_others_stays():
    member = changing(ADD)
    member.hear(ack("n2", 2))
    assert str(member.raft.progress["n2"]) == "replicate match=2 next=3"


def test_a_removed_member_gets_nothing_and_has_no_say():
    member = changing(without("n3"), 4)
    member.hear(ack("n2", 2), ack("n4", 2))
    assert "n3" not in member.raft.progress
    member.raft.propose("x")
    assert targets(member.drive(), AppendEntries) == ["n2", "n4"]
    member.raft.tick()
    assert targets(member.drive(), Heartbeat) == ["n2", "n4"]
    assert member.hear(ack("n3", 3), HeartbeatResponse("n3", "n1", 1)) == []
    assert member.raft.log.committed == 2


def test_fewer_voters_may_be_a_majority_already():
    member = leader(4)
    member.raft.propose(without("n4"))
    member.raft.propose("x"), member.drive()
    member.hear(ack("n2", 3))
    assert member.raft.log.committed == 1, "two of four"
    member.hear(ack("n4", 2))
    assert member.raft.conf == voters(3)
    assert member.raft.log.committed == 3, "two of three, without another word"


def test_fewer_voters_may_confirm_a_read_already():
    member = leader(4)
    member.raft.propose(without("n4")), member.raft.read_index("r"), member.drive()
    member.hear(HeartbeatResponse("n2", "n1", 1, 1))
    assert member.reads == []
    member.hear(ack("n2", 2), ack("n3", 2))
    assert [read.context for read in member.reads] == ["r"]


# Learners -----------------------------------------------------------------------------------


def test_a_learner_gets_the_log_and_has_no_say():
    member = leader(LEARNS)
    member.raft.propose("x")
    assert "n4" in targets(member.drive(), AppendEntries)
    member.hear(ack("n4", 2))
    assert member.raft.log.committed == 1
    member.hear(ack("n2", 2))
    assert member.raft.log.committed == 2


def test_a_learner_does_not_stand_for_election():
    member = Member("n4", LEARNS, terms=(1,))
    member.raft.tick(CALM.election_ticks)
    assert member.raft.role == "follower" and not member.heard(BecameCandidate)
    member.raft.campaign()
    event = member.heard(Refused)[-1]
    assert (event.action, event.reason) == ("campaign", "NO_VOTER")
    assert member.raft.term == 1


def test_nobody_asks_a_learner_for_its_vote_and_an_answer_of_it_elects_nobody():
    member = Member(conf=LEARNS)
    member.raft.campaign()
    assert targets(member.drive(), RequestVote) == ["n2", "n3"]
    member.hear(VoteResponse("n4", "n1", 1, True))
    assert member.raft.role == "candidate"


def test_a_learner_votes_all_the_same_when_it_is_asked():
    """It may be a voter by now and not know it yet (etcd: learners answer too)."""
    member = Member("n4", LEARNS, terms=(1,))
    [answer] = member.hear(RequestVote("n1", "n4", 2, EntryID(1, 1)))
    assert answer.granted


def test_a_promoted_learner_has_a_vote():
    member = leader(LEARNS)
    member.raft.propose(ADD), member.drive()
    member.hear(ack("n2", 2), ack("n3", 2))
    assert member.raft.conf == voters(4)
    member.raft.propose("x"), member.drive()
    member.hear(ack("n2", 3))
    assert member.raft.log.committed == 2
    member.hear(ack("n4", 3))
    assert member.raft.log.committed == 3


def test_a_demoted_voter_learns():
    member = changing(ConfChange((Change("n3", LEARNER),)))
    member.hear(ack("n2", 2))
    assert str(member.raft.conf) == "(n1 n2) learners(n3)"
    member.raft.propose("x"), member.drive(), member.hear(ack("n3", 3))
    assert member.raft.log.committed == 2


def test_a_lone_voter_with_learners_leads_only_when_its_vote_is_saved():
    """Others hear of its term: were the vote lost, there could be two leaders in that term."""
    conf = ConfState(("n1",), learners=("n2",))
    member = Member(conf=conf)
    member.raft.campaign()
    assert member.raft.role == "candidate"
    ready = member.raft.ready()
    assert ready.hard_state.vote == "n1" and ready.must_sync and ready.messages == ()
    assert member.raft.role == "candidate", "the disk still writes"
    member.carry_out(ready)
    assert member.raft.role == "leader"
    member.drive()
    assert member.raft.log.committed == 1


def test_a_save_of_an_earlier_term_makes_nobody_leader():
    conf = ConfState(("n1",), learners=("n2",))
    member = Member(conf=conf)
    member.raft.campaign()
    first = member.raft.ready()
    member.raft.step(Heartbeat("n2", "n1", 3, 0))
    member.raft.campaign()
    assert member.raft.term == 4
    member.carry_out(first)
    assert member.raft.role == "candidate", "what is saved is the vote of term 1"
    member.drive()
    assert member.raft.role == "leader"


def test_a_candidate_s_own_vote_counts_when_it_is_saved():
    member = Member(conf=3)
    member.raft.campaign()
    ready = member.raft.ready()
    assert all(m.after_save for m in ready.messages), "nobody can have answered before"
    member.carry_out(ready)
    assert member.raft.role == "candidate"
    member.hear(VoteResponse("n2", "n1", 1, True))
    assert member.raft.role == "leader"


# Joint configurations -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "acks, committed",
    [(("n2",), True), (("n3",), False), (("n4",), False), (("n3", "n4"), True)],
)
def test_a_joint_configuration_commits_with_both_majorities(acks, committed):
    member = leader(JOINT)
    member.raft.propose("x"), member.drive()
    member.hear(*(ack(peer, 2) for peer in acks))
    assert (member.raft.log.committed == 2) == committed


@pytest.mark.parametrize(
    "votes, elected",
    [(("n2",), True), (("n3",), False), (("n4",), False), (("n3", "n4"), True)],
)
def test_a_joint_configuration_elects_with_both_majorities(votes, elected):
    member = Member(conf=JOINT)
    member.raft.campaign()
    assert targets(member.drive(), RequestVote) == ["n2", "n3", "n4"]
    member.hear(*(VoteResponse(peer, "n1", 1, True) for peer in votes))
    assert (member.raft.role == "leader") == elected


@pytest.mark.parametrize(
    "acks, confirmed", [(("n2",), True), (("n3",), False), (("n3", "n4"), True)]
)
def test_a_joint_configuration_reads_with_both_majorities(acks, confirmed):
    member = leader(JOINT)
    member.raft.read_index("r"), member.drive()
    member.hear(*(HeartbeatResponse(peer, "n1", 1, 1) for peer in acks))
    assert bool(member.reads) == confirmed


def test_the_leader_leaves_by_itself():
    member = changing(SWAP)
    member.hear(ack("n2", 2))
    assert str(member.raft.conf) == "(n1 n2 n4)&&(n1 n2 n3) auto-leave"
    assert member.raft.log.entries[-1].data == LEAVE and member.raft.log.last_index == 3
    member.hear(ack("n2", 3))
    assert str(member.raft.conf) == "(n1 n2 n4)"
    assert member.raft.log.last_index == 3, "once"


def test_it_leaves_with_both_majorities_only():
    member = changing(ConfChange((Change("n2", GONE), Change("n4"), Change("n5"))))
    member.hear(ack("n2", 2))
    assert str(member.raft.conf) == "(n1 n3 n4 n5)&&(n1 n2 n3) auto-leave"
    member.hear(ack("n2", 3), ack("n3", 3))
    assert member.raft.conf.outgoing, "two of four are no majority of the new ones"
    member.hear(ack("n4", 3))
    assert str(member.raft.conf) == "(n1 n3 n4 n5)"


def test_an_explicit_one_stays_until_somebody_leaves_it():
    member = changing(ConfChange((Change("n4"),), EXPLICIT))
    member.hear(ack("n2", 2), ack("n3", 2))
    assert str(member.raft.conf) == "(n1 n2 n3 n4)&&(n1 n2 n3)"
    assert member.raft.log.last_index == 2
    member.raft.propose(LEAVE), member.drive()
    member.hear(ack("n2", 3), ack("n3", 3))
    assert member.raft.conf == voters(4)


def test_the_next_leader_leaves_what_the_last_one_entered():
    conf = replace(JOINT, auto_leave=True)
    member = Member(conf=conf, terms=(1, 1)).lead()
    assert member.terms == [1, 1, 2], "first what came before has to be applied"
    member.hear(ack("n2", 3, term=2))
    assert member.raft.log.entries[-1].data == LEAVE and member.terms == [1, 1, 2, 2]
    member.hear(ack("n2", 4, term=2))
    assert str(member.raft.conf) == "(n1 n2 n4)"


def test_a_transfer_does_not_keep_a_joint_configuration_alive():
    member = changing(SWAP)
    member.raft.transfer_leadership("n3"), member.drive()
    member.hear(ack("n2", 2))
    assert member.raft.log.entries[-1].data == LEAVE


def test_a_follower_leaves_nothing_by_itself():
    member = Member()
    member.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, SWAP),), 1))
    assert member.raft.conf.auto_leave and member.raft.log.last_index == 1


def test_who_votes_in_the_old_half_only_learns_when_that_is_left():
    member = changing(ConfChange((Change("n3", LEARNER), Change("n4"))))
    member.hear(ack("n2", 2))
    assert str(member.raft.conf) == "(n1 n2 n4)&&(n1 n2 n3) next(n3) auto-leave"
    member.hear(ack("n2", 3))
    assert str(member.raft.conf) == "(n1 n2 n4) learners(n3)" and "n3" in member.raft.progress


# The leader goes ----------------------------------------------------------------------------


def test_a_leader_that_removed_itself_leads_on_without_a_say_in_plain_raft():
    """Thesis 4.2.2: it manages a cluster that it is not part of, until another is elected."""
    member = changing(without("n1"))
    member.hear(ack("n2", 2), ack("n3", 2))
    assert str(member.raft.conf) == "(n2 n3)" and member.raft.role == "leader"
    with pytest.raises(ProposalDropped) as raised:
        member.raft.propose("x")
    assert raised.value.reason == "REMOVED"
    member.raft.tick()
    assert targets(member.drive(), Heartbeat) == ["n2", "n3"]


def test_its_own_log_counts_for_nothing_then():
    member = leader(3)
    member.raft.propose(without("n1")), member.raft.propose("x"), member.drive()
    member.hear(ack("n2", 2))
    assert str(member.raft.conf) == "(n2 n3)" and member.raft.log.committed == 2
    member.hear(ack("n2", 3))
    assert member.raft.log.committed == 2, "one of two"
    member.hear(ack("n3", 3))
    assert member.raft.log.committed == 3


@pytest.mark.parametrize("change", [without("n1"), ConfChange((Change("n1", LEARNER),))], ids=str)
def test_it_may_step_down_at_once(change):
    member = changing(change, config=replace(CALM, step_down_on_removal=True))
    member.hear(ack("n2", 2), ack("n3", 2))
    assert member.raft.role == "follower" and member.raft.leader is None
    event = member.heard(BecameFollower)[-1]
    assert event.reason == "REMOVED" and member.raft.progress == {}


def test_in_the_joint_half_of_its_going_it_still_leads():
    out = ConfChange((Change("n1", GONE), Change("n4")))
    member = changing(out, config=replace(CALM, step_down_on_removal=True))
    member.hear(ack("n2", 2), ack("n3", 2))
    assert str(member.raft.conf) == "(n2 n3 n4)&&(n1 n2 n3) auto-leave"
    assert member.raft.role == "leader"
    member.hear(ack("n2", 3), ack("n3", 3))
    assert member.raft.role == "follower" and str(member.raft.conf) == "(n2 n3 n4)"


def test_whoever_is_no_member_stands_for_nothing():
    member = Member("n1", ConfState(("n2", "n3")), terms=(1,))
    member.raft.tick(50)
    assert member.raft.role == "follower" and member.raft.term == 1


def test_the_others_elect_whom_they_like_without_the_removed():
    net = Net(3, config=replace(CALM, step_down_on_removal=True))
    net.elect("n1")
    net["n1"].propose(without("n1")), net.settle()
    net.beat("n1")
    net["n2"].campaign(), net.settle()
    assert net["n2"].role == "leader" and str(net["n2"].conf) == "(n2 n3)"


# Elections and changes ----------------------------------------------------------------------


def test_a_committed_change_is_applied_before_an_election():
    member = Member()
    member.raft.step(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, ADD),), 1))
    member.raft.tick(CALM.election_ticks)
    assert member.raft.role == "follower"
    assert member.heard(Refused)[-1].reason == "CHANGE_UNAPPLIED"
    member.drive()
    member.raft.tick(CALM.election_ticks)
    assert member.raft.role == "candidate"
    assert targets(member.drive(), RequestVote) == ["n2", "n3", "n4"]


def test_a_change_that_may_still_be_undone_hinders_no_election():
    member = Member()
    member.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, ADD),), 0))
    member.raft.campaign()
    assert member.raft.role == "candidate" and targets(member.drive(), RequestVote) == ["n2", "n3"]


def test_a_change_of_an_earlier_leader_is_undone_like_any_entry():
    member = Member()
    member.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, ADD),), 0))
    member.hear(AppendEntries("n3", "n1", 2, ZERO, (Entry(1, 2),), 1))
    assert member.raft.conf == voters(3) and not member.heard(ConfChanged)


def test_a_node_of_no_cluster_votes_like_any_other():
    """It may be a member by a list that it has not heard of; whose vote counts, the candidate
    knows."""
    member = Member("n4", ConfState())
    [answer] = member.hear(RequestVote("n1", "n4", 1, ZERO))
    assert answer.granted and member.raft.vote == "n1"
    [answer] = member.hear(RequestVote("n2", "n4", 1, ZERO))
    assert not answer.granted, "once a term"


@pytest.mark.parametrize("etcd", [False, True])
def test_a_leader_that_restarts_is_elected_by_a_voter_that_has_heard_nothing_yet(etcd):
    """Two of two are a majority; if the new one refused its vote, nobody could ever lead again."""
    cluster = Cluster(1, seed=1, config=RaftConfig.etcd() if etcd else RaftConfig())
    cluster.wait_for_leader(), cluster.run(1.0)
    cluster.add_node("n2"), cluster.cut("n1", "n2")
    cluster.client("n1").add_member("n2")
    cluster.crash("n1"), cluster.heal(), cluster.restart("n1")
    cluster.run(10.0)
    assert cluster.leader == "n1" and cluster.nodes["n2"].role == "follower"


@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_leader_that_removed_itself_tells_the_last_voter_so_by_refusing_its_vote(pre_vote):
    """Two voters, and the leader n1 leaves. If n2 does not hear that this is committed, it needs
    n1's vote; n1 refuses, as it took entries that n2 lacks, and may not lead either."""
    config = replace(CALM, pre_vote=pre_vote)
    member = Member("n2", voters(2), config=config)
    member.hear(AppendEntries("n1", "n2", 1, ZERO, (Entry(1, 1), Entry(2, 1, without("n1"))), 1))
    member.raft.campaign()
    [question] = member.drive()
    gone = Member("n1", ConfState(("n2",)), config=config, terms=(1, 1, 1), commit=2)
    [answer] = gone.hear(question)
    assert not answer.granted and answer.committed == EntryID(1, 2)
    member.hear(answer)
    assert str(member.raft.conf) == "(n2)" and member.raft.role == "follower"
    member.raft.campaign(), member.drive()
    assert member.raft.role == "leader"


def test_what_is_told_to_be_committed_must_be_in_the_log():
    member = Member(terms=(1, 1))
    member.raft.campaign(), member.drive()
    for foreign in EntryID(2, 2), EntryID(1, 3):
        member.hear(VoteResponse("n2", "n1", 1, False, False, foreign))
    assert member.raft.log.committed == 0


def test_a_node_of_no_cluster_learns_all_from_the_leader():
    """Its configuration is the one before the first entry, so the log makes it what it is."""
    member = Member("n4", voters(3))
    member.hear(AppendEntries("n1", "n4", 1, ZERO, (Entry(1, 1), Entry(2, 1, ADD)), 2))
    assert member.raft.conf == voters(4) and member.raft.log.applied == 2
    again = Member("n5", ConfState())
    chunk = InstallSnapshot("n1", "n5", 1, EntryID(1, 2), voters(5), 0, ("a",), 1)
    again.hear(chunk)
    assert again.raft.conf == voters(5)


# Together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CALM, replace(CALM, pre_vote=True, check_quorum=True)])
def test_a_cluster_grows_and_shrinks_under_way(config):
    net = Net(3, config=config)
    net.elect("n1")
    for name in ("n4", "n5"):
        net.members[name] = Member(name, voters(3), config=config)  # as it was at first
        net["n1"].propose(ConfChange((Change(name),))), net.settle()
        net.beat("n1", 2)
    assert {str(net[name].conf) for name in net.members} == {"(n1 n2 n3 n4 n5)"}
    for name in ("n3", "n2"):
        net["n1"].propose(without(name)), net.settle()
        net.beat("n1")
    net["n1"].propose("x"), net.settle()
    assert {str(net[name].conf) for name in ("n1", "n4", "n5")} == {"(n1 n4 n5)"}
    assert {net[name].log.committed for name in ("n1", "n4", "n5")} == {net["n1"].log.last_index}


def test_three_nodes_are_replaced_by_three_others_in_one_step():
    net = Net(3)
    net.elect("n1")
    names = ("n4", "n5", "n6")
    for name in names:
        net.members[name] = Member(name, voters(3))
    parts = [Change(name) for name in names] + [Change(f"n{k}", GONE) for k in (1, 2, 3)]
    net["n1"].propose(ConfChange(tuple(parts))), net.settle()
    net.beat("n1", 4)
    assert {str(net[name].conf) for name in names} == {"(n4 n5 n6)"}
    net["n4"].campaign(), net.settle()
    assert net["n4"].role == "leader"
