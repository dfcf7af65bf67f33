"""Paper, section 5.1 (Raft basics), claim by claim, in the order of the text."""

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.events import BecameCandidate, BecameFollower, BecameLeader, Refused, Sent
from kvlearn.raft import EntryID
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    ForwardProposal,
    Heartbeat,
    HeartbeatResponse,
    RequestVote,
    VoteResponse,
)
from kvlearn.raft.types import ZERO
from tests.raft.net import Member, Net


@pytest.mark.parametrize("size, failures", [(1, 0), (3, 1), (5, 2), (7, 3)])
def test_a_cluster_goes_on_while_a_majority_is_up(size, failures):
    """5.1: a cluster survives the failure of less than half of its servers; five survive two."""
    cluster = Cluster(size, seed=1, config=RaftConfig())
    for _ in range(failures):
        cluster.crash(cluster.wait_for_leader())
    cluster.wait_for_leader()
    assert cluster.client().put("k", "v").header.revision == 2


def test_with_one_failure_more_it_stands_still():
    """5.1: and with half of them gone or more, it does not survive."""
    cluster = Cluster(4, seed=1, config=RaftConfig())
    cluster.crash("n1"), cluster.crash("n2")
    cluster.run(20)
    assert cluster.leader is None


@pytest.mark.parametrize("seed", range(5))
def test_every_server_is_in_one_of_three_states(seed):
    """5.1: at any time a server is a leader, a candidate or a follower, and nothing else."""
    cluster = Cluster(5, seed=seed, config=RaftConfig())
    seen = set()
    while cluster.now < 4:
        cluster.step()
        seen |= {node.role for node in cluster.nodes.values()}
    assert seen == {"leader", "candidate", "follower"}


@pytest.mark.parametrize("seed", range(5))
def test_normally_one_leads_and_all_others_follow(seed):
    """5.1: in normal operation exactly one server leads and all the others follow it."""
    cluster = Cluster(5, seed=seed, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.run(1)
    for _ in range(50):
        cluster.run(0.1)
        roles = [node.role for node in cluster.nodes.values()]
        assert sorted(roles) == ["follower"] * 4 + ["leader"]
        assert {node.leader for node in cluster.nodes.values()} == {leader}


def test_followers_are_passive():
    """5.1: a follower sends nothing of its own; it only answers leaders and candidates."""
    member = Member(term=1)
    for _ in range(9):
        member.raft.tick()
        assert member.drive() == []
    [answer] = member.hear(Heartbeat("n2", "n1", 1, 0))
    assert isinstance(answer, HeartbeatResponse)
    [answer] = member.hear(AppendEntries("n2", "n1", 1, ZERO, (), 0))
    assert isinstance(answer, AppendResponse)
    [answer] = member.hear(RequestVote("n3", "n1", 2, ZERO))
    assert isinstance(answer, VoteResponse)


def test_the_leader_handles_what_clients_ask_of_followers():
    """5.1: the leader handles all requests of clients; a follower passes them on to it."""
    net = Net(3)
    net.elect("n1")
    net["n3"].propose("x")
    net.gather()
    assert net.wire == [ForwardProposal("n3", "n1", 0, "x")]
    net.settle()
    assert net["n1"].log.entries[-1].data == "x"


def test_a_leader_comes_from_a_candidate():
    """5.1: the candidate state is the way to a new leader (figure 4)."""
    cluster = Cluster(5, seed=3, config=RaftConfig())
    cluster.crash(cluster.wait_for_leader())
    cluster.wait_for_leader()
    roles: dict[str, type] = {}
    for record in cluster.trace.of(BecameFollower, BecameCandidate, BecameLeader):
        if isinstance(record.event, BecameLeader):
            assert roles[record.node] is BecameCandidate
        roles[record.node] = type(record.event)


def test_terms_are_consecutive_numbers():
    """5.1: terms have numbers, one after the other; the next election takes the next number."""
    member = Member(term=4)
    for term in (5, 6, 7):
        member.raft.campaign()
        assert member.raft.term == term


@pytest.mark.parametrize("seed", range(5))
def test_a_term_begins_with_an_election(seed):
    """5.1: no term begins but by a candidate that stands for election in it."""
    cluster = Cluster(5, seed=seed, config=RaftConfig())
    cluster.crash(cluster.wait_for_leader())
    cluster.run(5)
    opened = {0}
    for record in cluster.trace.of(BecameFollower, BecameCandidate, BecameLeader):
        if isinstance(record.event, BecameCandidate):
            opened.add(record.event.term)
        assert record.event.term in opened


def test_the_winner_leads_for_the_rest_of_the_term():
    """5.1: who wins the election is leader until the term ends."""
    net = Net(3)
    leader = net.elect("n1")
    for _ in range(50):
        net.beat("n1")
        assert (leader.role, leader.term) == ("leader", 1)
    net.elect("n2")
    assert leader.role == "follower"


def test_a_term_may_have_no_leader():
    """5.1: if the votes are split the term has no leader, and another term begins soon."""
    net = Net(2)
    net["n1"].campaign(), net["n2"].campaign()
    net.settle()
    assert [net[name].role for name in ("n1", "n2")].count("leader") == 0
    assert net["n1"].term == net["n2"].term == 1
    net.elect("n2")
    assert net["n2"].term == 2


@pytest.mark.parametrize("seed", range(10))
def test_a_term_has_at_most_one_leader(seed):
    """5.1: there is at most one leader in a term."""
    cluster = Cluster(5, seed=seed, invariants=False, config=RaftConfig())
    for _ in range(6):
        leader = cluster.wait_for_leader()
        cluster.isolate(leader) if seed % 2 else cluster.crash(leader)
        cluster.run(3)
        cluster.heal()
        if not cluster.nodes[leader].alive:
            cluster.restart(leader)
    terms = [record.event.term for record in cluster.trace.of(BecameLeader)]
    assert len(terms) == len(set(terms)) >= 4


def test_a_server_may_miss_whole_terms():
    """5.1: a server may see the change of terms later than others, or miss terms altogether."""
    net = Net(3)
    net.cut("n3")
    for name in ("n1", "n2", "n1"):
        net.elect(name)
    assert net["n3"].term == 0
    net.heal()
    net.beat("n1")
    seen = [event.term for event in net.members["n3"].heard(BecameFollower)]
    assert seen == [0, 3], "terms 1 and 2 passed it by"


def test_terms_tell_old_news_from_new():
    """5.1: terms are a logical clock by which servers know outdated leaders."""
    net = Net(3)
    net.elect("n1")
    net.cut("n1")
    net.elect("n2")
    net["n1"].propose("of the old leader")
    net.heal()
    net.settle()
    stale = [e for e in net.members["n3"].heard(Refused) if e.reason == "TERM_OLD"]
    assert [(event.action, event.peer) for event in stale] == [("append", "n1")]
    assert net["n1"].role == "follower"
    net.beat("n2")
    assert all("of the old leader" != e.data for e in net["n3"].log.entries)


@pytest.mark.parametrize("seed", range(5))
def test_the_term_of_a_server_never_falls(seed):
    """5.1: the current term of a server only grows, also across crashes."""
    cluster = Cluster(3, seed=seed, config=RaftConfig())
    terms = dict.fromkeys(cluster.nodes, 0)
    for k in range(40):
        cluster.run(0.25)
        if k % 8 == 4:
            cluster.crash(f"n{k // 8 % 3 + 1}")
        elif k % 8 == 7:
            cluster.restart(f"n{k // 8 % 3 + 1}")
        for name, node in cluster.nodes.items():
            assert node.term >= terms[name]
            terms[name] = node.term


def test_terms_travel_with_every_message():
    """5.1: servers tell each other their terms whenever they talk."""
    cluster = Cluster(3, seed=2, config=RaftConfig())
    cluster.wait_for_leader()
    cluster.run(1)
    terms = {name: 0 for name in cluster.nodes}
    for record in cluster.trace.of(Sent, BecameCandidate, BecameFollower):
        if isinstance(record.event, Sent):
            assert record.event.message.term == terms[record.node]
        else:
            terms[record.node] = record.event.term


@pytest.mark.parametrize(
    "message",
    [
        RequestVote("n2", "n1", 7, ZERO),
        VoteResponse("n2", "n1", 7, False),
        AppendEntries("n2", "n1", 7, ZERO, (), 0),
        AppendResponse("n2", "n1", 7, 0),
        Heartbeat("n2", "n1", 7, 0),
        HeartbeatResponse("n2", "n1", 7),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_the_larger_term_wins(role, message):
    """5.1: a server that hears of a larger term takes it over, and if it was a candidate or a
    leader it becomes a follower at once."""
    member = Member()
    if role == "candidate":
        member.raft.campaign()
    elif role == "leader":
        member.lead()
    member.raft.step(message)
    assert (member.raft.term, member.raft.role) == (7, "follower")


@pytest.mark.parametrize(
    "message",
    [
        RequestVote("n2", "n1", 2, EntryID(2, 99)),
        AppendEntries("n2", "n1", 2, ZERO, (), 0),
        Heartbeat("n2", "n1", 2, 0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_request_of_an_old_term_is_refused(message):
    """5.1: a request that speaks of an outdated term is rejected."""
    member = Member(term=3)
    [answer] = member.hear(message)
    assert answer.term == 3 and member.raft.leader is None and member.raft.vote is None
    assert not getattr(answer, "granted", False) and not getattr(answer, "match", 0)


def test_two_kinds_of_question_are_enough_for_consensus():
    """5.1: consensus needs only votes asked for by candidates and entries sent by leaders
    (heartbeats are such messages without entries; here they have a name of their own)."""
    cluster = Cluster(5, seed=4, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.client(leader).put("k", "v")
    cluster.run(1)
    cluster.crash(leader)
    cluster.wait_for_leader()
    kinds = {type(record.event.message) for record in cluster.trace.of(Sent)}
    questions = {kind for kind in kinds if not kind.__name__.endswith("Response")}
    assert questions == {RequestVote, AppendEntries, Heartbeat}


def test_candidates_ask_for_votes_and_leaders_send_entries():
    """5.1: requests for votes come from candidates, entries and heartbeats from leaders."""
    cluster = Cluster(5, seed=4, config=RaftConfig())
    cluster.crash(cluster.wait_for_leader())
    cluster.run(4)
    roles = {}
    for record in cluster.trace.of(Sent, BecameFollower, BecameCandidate, BecameLeader):
        if not isinstance(record.event, Sent):
            roles[record.node] = type(record.event)
        elif isinstance(record.event.message, (AppendEntries, Heartbeat)):
            assert roles[record.node] is BecameLeader
        elif isinstance(record.event.message, RequestVote):
            # It leaves when the disk has the vote; a slow disk may see the election decided.
            assert roles[record.node] is BecameCandidate


def test_questions_go_out_to_all_at_once():
    """5.1: servers ask all others at the same time, and wait for nobody in between."""
    member = Member(conf=5)
    member.raft.campaign()
    assert [m.target for m in member.raft.ready().messages] == ["n2", "n3", "n4", "n5"]


def test_what_gets_no_answer_is_asked_again():
    """5.1: a server that gets no answer in time sends its question again."""
    net = Net(3)
    net.cut("n3")
    net.elect("n1")
    net["n1"].propose("x"), net.settle()
    net.heal()
    net.beat("n1", 2)
    assert net["n3"].log.entries == net["n1"].log.entries
