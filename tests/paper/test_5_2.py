"""Paper, section 5.2 (leader election), claim by claim, in the order of the text."""

import pytest

from kvlearn import Cluster
from kvlearn.events import BecameCandidate, BecameFollower, BecameLeader, Received
from kvlearn.raft import EntryID, RaftConfig
from kvlearn.raft.messages import AppendEntries, Heartbeat, RequestVote, VoteResponse
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, Net


def test_heartbeats_decide_whether_there_is_an_election():
    """5.2: the absence of heartbeats is what triggers an election."""
    cluster = Cluster(3, seed=1, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.run(1)
    before = len(list(cluster.trace.of(BecameCandidate)))
    cluster.run(30)
    assert len(list(cluster.trace.of(BecameCandidate))) == before
    cluster.crash(leader)
    cluster.run(3)
    assert len(list(cluster.trace.of(BecameCandidate))) > before


def test_servers_start_as_followers():
    """5.2: a server that starts is a follower, also one that led before it crashed."""
    assert {node.role for node in Cluster(5, config=RaftConfig()).nodes.values()} == {"follower"}
    cluster = Cluster(3, seed=1, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.crash(leader), cluster.restart(leader)
    assert cluster.nodes[leader].role == "follower"


@pytest.mark.parametrize(
    "word", [Heartbeat("n2", "n1", 1, 0), AppendEntries("n2", "n1", 1, ZERO, (), 0)], ids=str
)
def test_a_follower_stays_one_while_it_hears_a_leader(word):
    """5.2: a server remains a follower as long as it gets valid messages of a leader."""
    member = Member(term=1)
    for _ in range(20):
        member.raft.tick(9)
        member.hear(word)
    assert (member.raft.role, member.raft.term) == ("follower", 1)


def test_a_follower_stays_one_while_candidates_get_its_vote():
    """5.2: ... or of a candidate (to whom it gives its vote)."""
    member = Member()
    for term in range(1, 20):
        member.raft.tick(9)
        member.hear(RequestVote("n2", "n1", term, ZERO))
    assert member.raft.role == "follower"


def test_leaders_send_heartbeats_to_all():
    """5.2: a leader sends heartbeats to all followers again and again, to keep its authority."""
    member = Member(conf=5).lead()
    for _ in range(3):
        member.raft.tick(member.raft.config.heartbeat_ticks)
        beats = [m.target for m in member.drive() if isinstance(m, Heartbeat)]
        assert beats == ["n2", "n3", "n4", "n5"]


def test_silence_for_an_election_timeout_starts_an_election():
    """5.2: a follower that hears nothing for the election timeout takes it that nobody leads."""
    member = Member(config=CALM)
    member.raft.tick(CALM.election_ticks)
    assert member.raft.role == "candidate" and member.raft.leader is None


def test_an_election_begins_with_a_new_term():
    """5.2: to begin an election a follower increments its term and becomes a candidate."""
    member = Member(term=6)
    member.raft.campaign()
    assert (member.raft.term, member.raft.role) == (7, "candidate")


def test_a_candidate_votes_for_itself_and_asks_all_others():
    """5.2: it votes for itself, then asks every other server for its vote, all in parallel."""
    member = Member(conf=5)
    member.raft.campaign()
    assert member.raft.vote == "n1" and member.raft.votes == {"n1": True}
    assert {(type(m), m.target) for m in member.drive()} == {
        (RequestVote, name) for name in ("n2", "n3", "n4", "n5")
    }


@pytest.mark.parametrize(
    "outcome, role", [("wins", "leader"), ("another", "follower"), ("nobody", "candidate")]
)
def test_a_candidate_stays_one_until_one_of_three_things_happens(outcome, role):
    """5.2: it wins, another server becomes the leader, or time passes without a winner."""
    member = Member(config=CALM)
    member.raft.campaign()
    member.drive()
    member.raft.tick(9)
    assert (member.raft.role, member.raft.term) == ("candidate", 1)
    match outcome:
        case "wins":
            member.hear(VoteResponse("n3", "n1", 1, True))
        case "another":
            member.hear(Heartbeat("n2", "n1", 1, 0))
        case "nobody":
            member.raft.tick()
            assert member.raft.term == 2
    assert member.raft.role == role


def test_a_candidate_wins_with_a_majority_of_the_full_cluster():
    """5.2: the votes of a majority of all servers win, not of those that happen to be up."""
    net = Net(5)
    net.cut("n3", "n4", "n5")  # n1 and n2 can reach each other
    net["n1"].campaign()
    net.settle()
    assert net["n1"].votes == {"n1": True, "n2": True} and net["n1"].role == "candidate"
    net.heal()
    net.elect("n1")


def test_votes_of_different_terms_do_not_add_up():
    """5.2: the majority must have voted in the same term."""
    member = Member(conf=5)
    member.raft.campaign(), member.drive()
    member.hear(VoteResponse("n2", "n1", 1, True))
    member.raft.campaign(), member.drive()
    member.hear(VoteResponse("n3", "n1", 1, True))
    member.hear(VoteResponse("n4", "n1", 2, True))
    assert member.raft.role == "candidate"
    member.hear(VoteResponse("n5", "n1", 2, True))
    assert member.raft.role == "leader"


def test_a_server_votes_once_a_term_for_whoever_comes_first():
    """5.2: a server votes for at most one candidate in a term, the first that asks."""
    member = Member(conf=5)
    answers = member.hear(*(RequestVote(name, "n1", 1, ZERO) for name in ("n4", "n2", "n3")))
    assert [(m.target, m.granted) for m in answers] == [
        ("n4", True),
        ("n2", False),
        ("n3", False),
    ]
    [next_term] = member.hear(RequestVote("n2", "n1", 2, ZERO))
    assert next_term.granted


@pytest.mark.parametrize("seed", range(10))
def test_the_majority_rule_lets_one_candidate_win(seed):
    """5.2: a majority of votes can go to one candidate only (Election Safety, figure 3)."""
    net = Net(5, seed=seed)
    for name in ("n1", "n2", "n3", "n4", "n5")[: 2 + seed % 4]:
        net[name].campaign()
    net.gather()
    while net.wire:  # every seed another order
        net.deliver(net.wire[(seed * 7 + len(net.wire) * 3) % len(net.wire)])
    in_term_1 = [m for m in net.members.values() if any(e.term == 1 for e in m.heard(BecameLeader))]
    assert len(in_term_1) <= 1


def test_a_new_leader_speaks_at_once_to_prevent_elections():
    """5.2: the winner sends messages to all others to establish its authority."""
    cluster = Cluster(5, seed=1, config=RaftConfig())
    cluster.wait_for_leader()
    won = next(cluster.trace.of(BecameLeader))
    cluster.run(0.05)
    heard = {
        record.node
        for record in cluster.trace.of(Received, start=won.seq)
        if isinstance(record.event.message, (AppendEntries, Heartbeat))
    }
    assert heard == set(cluster.nodes) - {won.node}
    started = [r.event.term for r in cluster.trace.of(BecameCandidate, start=won.seq)]
    assert started == []


@pytest.mark.parametrize("term", [1, 2, 5])
def test_a_candidate_recognises_a_leader_whose_term_is_not_older(term):
    """5.2: entries of a leader with at least its own term turn a candidate into a follower."""
    member = Member()
    member.raft.campaign(), member.drive()
    member.hear(AppendEntries("n3", "n1", term, ZERO, (), 0))
    assert (member.raft.role, member.raft.leader, member.raft.term) == ("follower", "n3", term)


def test_a_candidate_refuses_a_leader_of_an_older_term_and_goes_on():
    """5.2: entries of an older term are refused, and the candidate stays one."""
    member = Member(term=4)
    member.raft.campaign(), member.drive()
    [refusal] = member.hear(AppendEntries("n3", "n1", 4, ZERO, (), 0))
    assert refusal.rejected and refusal.term == 5
    assert (member.raft.role, member.raft.term) == ("candidate", 5)


def test_candidates_of_the_same_moment_may_split_the_votes():
    """5.2: if many become candidates at the same time, nobody may get a majority."""
    net = Net(4)
    net["n1"].campaign(), net["n2"].campaign()
    ask = {name: net.members[name].drive() for name in ("n1", "n2")}
    net.wire = [
        next(m for m in ask["n1"] if m.target == "n3"),
        next(m for m in ask["n2"] if m.target == "n4"),
    ]
    net.settle()
    assert [len(net[name].votes) for name in ("n1", "n2")] == [2, 2]
    assert {net[name].role for name in ("n1", "n2")} == {"candidate"}


def test_after_a_split_vote_each_candidate_times_out_and_tries_a_new_term():
    """5.2: then each times out and starts an election anew, in another term, asking all again."""
    member = Member(config=CALM)
    member.raft.campaign(), member.drive()
    member.raft.tick(CALM.election_ticks)
    assert {(m.term, m.target) for m in member.drive()} == {(2, "n2"), (2, "n3")}


def test_without_randomness_votes_could_be_split_for_ever():
    """5.2: without more ado split votes could repeat without end; equal timeouts show it."""
    net = Net(4, config=CALM)
    for round in range(1, 30):
        for name in ("n1", "n2"):
            net[name].tick(CALM.election_ticks)
        for m in net.members["n1"].drive() + net.members["n2"].drive():
            if (m.source, m.target) in (("n1", "n3"), ("n2", "n4")):
                net.wire.append(m)
        net.settle()
        assert {net[name].role for name in ("n1", "n2")} == {"candidate"}
        assert net["n1"].term == net["n2"].term == round


@pytest.mark.parametrize("size", [3, 5])
def test_random_timeouts_make_split_votes_rare_and_short(size):
    """5.2: with random timeouts split votes are rare, and resolved quickly."""
    terms = []
    for seed in range(40):
        cluster = Cluster(size, seed=seed, config=RaftConfig.paper(), invariants=False)
        cluster.wait_for_leader()
        terms.append(max(node.term for node in cluster.nodes.values()))
    assert terms.count(1) >= 30, "most elections need one term"
    assert max(terms) <= 4


def test_timeouts_are_drawn_from_a_fixed_interval():
    """5.2: election timeouts are chosen at random from a fixed interval, such as 150 to 300 ms."""
    config = RaftConfig.paper()
    drawn = {Member(config=config, seed=seed).raft.timeout_ticks for seed in range(300)}
    assert config.tick_s == 0.001 and min(drawn) >= 150 and max(drawn) <= 300
    assert len(drawn) > 80


def test_mostly_one_server_times_out_first_and_wins_before_the_others_do():
    """5.2: the spread makes one server time out alone, win and be heard before any other does."""
    alone = 0
    for seed in range(30):
        cluster = Cluster(5, seed=seed, config=RaftConfig.paper(), invariants=False)
        cluster.crash(cluster.wait_for_leader())
        start = len(cluster.trace)
        cluster.run(0.6)
        alone += len(list(cluster.trace.of(BecameCandidate, start=start))) == 1
    assert alone >= 20


def test_each_candidate_draws_a_new_timeout_at_the_start_of_its_election():
    """5.2: a candidate restarts its random timeout when an election begins, and waits it out
    before the next; so another split vote becomes unlikely."""
    member = Member(config=RaftConfig.paper(), seed=5)
    drawn = []
    for _ in range(20):
        member.raft.tick(member.raft.deadline - member.raft.now - 1)
        before = member.raft.term
        member.raft.tick()
        assert member.raft.term == before + 1
        drawn.append(member.raft.timeout_ticks)
    assert len(set(drawn)) > 10


def test_no_server_ranks_above_another():
    """5.2: there are no ranks: whoever times out first may win, whatever its name."""
    winners = {Cluster(3, seed=seed, config=RaftConfig()).wait_for_leader() for seed in range(12)}
    assert winners == {"n1", "n2", "n3"}


def test_a_vote_given_to_a_dead_candidate_delays_but_never_blocks():
    """5.2: a term whose candidate died passes, and the next election decides."""
    net = Net(3)
    net["n1"].campaign()
    net.gather()
    net.deliver(net.wire[0])
    net.cut("n1")
    assert net["n2"].vote == "n1"
    net["n3"].campaign()
    net.settle()
    assert (net["n3"].role, net["n3"].term) == ("candidate", 1)
    net.elect("n3")
    assert net["n3"].term == 2 and net["n2"].vote == "n3"
    assert net.members["n2"].heard(BecameFollower)[-1].leader == "n3"
    assert net["n3"].log.last == EntryID(2, 1)
