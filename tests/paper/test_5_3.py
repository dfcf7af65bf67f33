"""Paper, section 5.3 (log replication), claim by claim, in the order of the text."""

import pytest

from kvlearn import Cluster
from kvlearn.events import Appended, Applied, Committed, Received, Refused, Returned, Truncated
from kvlearn.kv.requests import Put
from kvlearn.raft import EntryID, RaftConfig
from kvlearn.raft.messages import AppendEntries, AppendResponse, Heartbeat, VoteResponse
from kvlearn.raft.types import ZERO
from tests.raft.net import Member, Net, entries_of

FIGURE_7 = {  # the leader of term 8, and what its followers may hold
    "leader": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6),
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


def figure_7(which: str) -> Net:
    """The leader with one follower of the figure and one that agrees; the leader just won."""
    logs = {"n1": FIGURE_7["leader"], "n2": FIGURE_7["leader"], "n3": FIGURE_7[which]}
    net = Net(3, logs=logs)
    for member in net.members.values():
        member.raft.term = 7
    net["n1"].campaign()
    net.gather()
    net.wire = [m for m in net.wire if m.target == "n2"]
    while net["n1"].role != "leader":
        net.deliver(net.wire[0])
    return net


def ack(source: str, match: int, term: int = 1) -> AppendResponse:
    return AppendResponse(source, "n1", term, match)


# How an entry gets into the logs ------------------------------------------------------------


def test_a_leader_appends_first_and_asks_all_others_in_parallel():
    """5.3: the leader appends a command to its own log and sends it to every other server, to
    all at the same time."""
    net = Net(5)
    leader = net.elect("n1")
    leader.propose("x")
    assert leader.log.entries[-1].data == "x"
    ready = leader.ready()
    assert [m.target for m in ready.messages] == ["n2", "n3", "n4", "n5"]


@pytest.mark.parametrize("seed", range(5))
def test_an_entry_is_applied_and_answered_when_it_is_safely_replicated(seed):
    """5.3: when a majority has the entry the leader applies it, and only then answers."""
    cluster = Cluster(3, seed=seed, config=RaftConfig())
    leader = cluster.wait_for_leader()
    client = cluster.client(leader)
    cluster.run(1)
    start = len(cluster.trace)
    client.put("k", "v")
    story = [
        type(record.event)
        for record in cluster.trace.of(Appended, Committed, Applied, Returned, start=start)
        if record.node in (leader, "c1")
    ]
    assert story == [Appended, Committed, Applied, Returned]


@pytest.mark.parametrize("reason", ["crash", "slow", "loss"])
def test_a_leader_repeats_itself_until_everybody_has_everything(reason):
    """5.3: followers that crash or are slow, and messages that get lost, make the leader repeat
    its entries without end, also after it answered the client."""
    cluster = Cluster(3, seed=5, config=RaftConfig())
    leader = cluster.wait_for_leader()
    other = next(name for name in cluster.nodes if name != leader)
    if reason == "crash":
        cluster.crash(other)
    elif reason == "slow":
        cluster.pause(other)
    else:
        cluster.cut(leader, other, one_way=True)
    client = cluster.client(leader)
    for k in range(5):
        client.put("k", str(k))
    assert cluster.nodes[other].applied < cluster.nodes[leader].applied
    cluster.run(0.5)
    if reason == "crash":
        cluster.restart(other)
    elif reason == "slow":
        cluster.resume(other)
    else:
        cluster.heal()
    cluster.run(3)
    assert cluster.nodes[other].log == cluster.nodes[leader].log
    assert cluster.nodes[other].applied == cluster.nodes[leader].applied


def test_an_entry_has_a_command_a_term_and_an_index():
    """5.3: an entry keeps the command, the term in which the leader got it, and its place."""
    net = Net(3)
    net.elect("n1"), net.elect("n2")
    net["n2"].propose("x")
    entry = net["n2"].log.entries[-1]
    assert (entry.index, entry.term, entry.data) == (3, 2, "x")
    assert str(entry) == "3@2(x)"


@pytest.mark.parametrize("seed", range(3))
def test_indices_are_places_and_terms_never_decrease_along_a_log(seed):
    """5.3 (figure 6): entries are numbered one after the other, and terms rise along the log."""
    cluster = Cluster(3, seed=seed, config=RaftConfig())
    for _ in range(3):
        leader = cluster.wait_for_leader()
        cluster.client(leader).put("k", "v")
        cluster.crash(leader)
        cluster.wait_for_leader()
        cluster.restart(leader)
    cluster.run(3)
    for node in cluster.nodes.values():
        assert [entry.index for entry in node.log] == list(range(1, len(node.log) + 1))
        terms = [entry.term for entry in node.log]
        assert terms == sorted(terms) and len(set(terms)) >= 3


# Commitment ---------------------------------------------------------------------------------


def test_the_leader_decides_when_an_entry_is_committed():
    """5.3: it is the leader who decides that an entry may be applied; followers wait for it."""
    net = Net(3)
    net.elect("n1")
    net["n1"].propose("x"), net.gather()
    to_n2 = next(m for m in net.wire if m.target == "n2")
    net.deliver(to_n2)
    assert net["n2"].log.last_index == 2 and net["n2"].log.committed == 1


@pytest.mark.parametrize("seed", range(5))
def test_committed_entries_survive_and_reach_all(seed):
    """5.3: what is committed is durable, and every server that is up applies it in the end."""
    cluster = Cluster(5, seed=seed, config=RaftConfig())
    client = cluster.client(cluster.wait_for_leader())
    client.put("k", "v")
    for name in cluster.nodes:
        cluster.crash(name)
    for name in cluster.nodes:
        cluster.restart(name)
    cluster.wait_for_leader()
    cluster.run(2)
    for name in cluster.nodes:
        assert cluster.client(name).get("k", serializable=True).text == "v"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_an_entry_is_committed_when_a_majority_has_it(size):
    """5.3: an entry is committed once its leader has replicated it on a majority."""
    member = Member(conf=size).lead()
    have = 1
    for peer in member.raft.peers:
        assert member.raft.log.committed == (1 if have * 2 > size else 0)
        member.hear(ack(peer, 1))
        have += 1
    assert member.raft.log.committed == 1


def test_a_commit_takes_all_that_precede_with_it():
    """5.3: it commits all entries before it too, those of earlier leaders among them."""
    member = Member(terms=(1, 2, 2), term=3).lead()
    member.hear(ack("n2", 4, 4))
    assert member.heard(Committed) == [Committed(4, 4, 0)]
    assert [entry.term for entry in member.applied] == [1, 2, 2, 4]


def test_the_commit_index_travels_with_entries_and_heartbeats():
    """5.3: the leader puts its commit index into all that it sends later, heartbeats too, so
    that the others learn of it."""
    member = Member().lead()
    member.hear(ack("n2", 1), ack("n3", 1))
    member.raft.propose("x")
    assert {m.commit for m in member.drive() if isinstance(m, AppendEntries)} == {1}
    member.raft.tick()
    assert {m.commit for m in member.drive() if isinstance(m, Heartbeat)} == {1}


def test_a_follower_applies_what_it_knows_to_be_committed_in_the_order_of_the_log():
    """5.3: as soon as a follower learns that an entry is committed it applies it, in log order."""
    member = Member()
    member.hear(AppendEntries("n2", "n1", 1, ZERO, entries_of(1, 1, 1, 1), 2))
    assert [entry.index for entry in member.applied] == [1, 2]
    member.hear(Heartbeat("n2", "n1", 1, 4))
    assert [entry.index for entry in member.applied] == [1, 2, 3, 4]


# Log matching -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_same_index_and_term_mean_the_same_command_and_the_same_past(seed):
    """5.3 (Log Matching): entries of equal index and term hold the same command, and all that
    precedes them is equal too."""
    cluster = Cluster(5, seed=seed, invariants=False, config=RaftConfig())
    for k in range(4):
        leader = cluster.wait_for_leader()
        for name in cluster.nodes:
            if cluster.nodes[name].alive:
                cluster.submit(Put(b"k%d" % k, name.encode()), name)
        cluster.isolate(leader)
        cluster.submit(Put(b"lost", b""), leader)
        cluster.run(3)
        logs = [node.log for node in cluster.nodes.values()]
        for one in logs:
            for two in logs:
                same = [k for k, (a, b) in enumerate(zip(one, two)) if a.term == b.term]
                if same:
                    assert one[: same[-1] + 1] == two[: same[-1] + 1]
        cluster.heal()


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_makes_one_entry_a_place_and_entries_never_move(seed):
    """5.3: a leader creates at most one entry with a given index in its term."""
    cluster = Cluster(3, seed=seed, invariants=False, config=RaftConfig())
    client = cluster.client(cluster.wait_for_leader())
    for k in range(10):
        client.put("k", str(k))
    made: dict = {}
    for record in cluster.trace.of(Appended):
        for entry in record.event.entries:
            assert made.setdefault(entry.id, entry) == entry


@pytest.mark.parametrize(
    "log, prev, taken",
    [
        ((1, 1), EntryID(1, 2), True),
        ((1, 1), EntryID(1, 3), False),  # nothing there
        ((1, 1), EntryID(2, 2), False),  # another term there
        ((), ZERO, True),  # the empty beginning always agrees
    ],
)
def test_entries_are_taken_only_behind_the_entry_that_precedes_them(log, prev, taken):
    """5.3: the leader names the entry before the new ones, and a follower without it refuses."""
    member = Member(terms=log)
    [answer] = member.hear(AppendEntries("n2", "n1", 2, prev, (), 0))
    assert (answer.rejected == 0) is taken


def test_an_acknowledgement_tells_that_the_logs_are_equal_up_to_there():
    """5.3: when a follower has taken the entries, its log equals the leader's up to their end."""
    net = figure_7("d")
    net.settle()
    match = net["n1"].progress["n3"].match
    assert match == 11
    assert net["n1"].log.entries[:match] == net["n3"].log.entries[:match]


@pytest.mark.parametrize("seed", range(5))
def test_in_normal_operation_the_check_never_fails(seed):
    """5.3: while leader and followers are up their logs stay consistent, and nobody refuses."""
    cluster = Cluster(5, seed=seed, config=RaftConfig())
    client = cluster.client(cluster.wait_for_leader())
    for k in range(20):
        client.put("k", str(k))
    assert [r for r in cluster.trace.of(Refused) if r.event.action == "append"] == []
    assert list(cluster.trace.of(Truncated)) == []


def test_a_leader_that_crashes_may_leave_logs_that_differ():
    """5.3: if a leader crashes before its entries got around, logs become inconsistent."""
    cluster = Cluster(3, seed=6, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.isolate(leader)
    cluster.submit(Put(b"k", b"v"), leader)
    cluster.run(0.05)
    cluster.crash(leader)
    others = [node for name, node in cluster.nodes.items() if name != leader]
    assert all(len(cluster.nodes[leader].log) > len(node.log) for node in others)


@pytest.mark.parametrize(
    "which, missing, extra",
    [("a", 1, 0), ("b", 6, 0), ("c", 0, 1), ("d", 0, 2), ("e", 5, 2), ("f", 7, 8)],
)
def test_a_follower_may_miss_entries_and_have_others(which, missing, extra):
    """5.3 (figure 7): it may lack entries, have too many, or both, over several terms; the leader
    makes it equal to its own log."""
    mine, theirs = entries_of(*FIGURE_7["leader"]), entries_of(*FIGURE_7[which])
    assert len(set(mine) - set(theirs)) == missing
    assert len(set(theirs) - set(mine)) == extra
    net = figure_7(which)
    net.settle(), net.beat("n1", 2)
    assert net["n3"].log.entries == net["n1"].log.entries
    dropped = [id for event in net.members["n3"].heard(Truncated) for id in event.dropped]
    assert len(dropped) == extra


# Repair -------------------------------------------------------------------------------------


def test_conflicting_entries_are_overwritten_with_the_leaders():
    """5.3: the leader forces followers to duplicate its log; what differs is replaced."""
    member = Member(terms=(1, 2, 2, 2))
    member.hear(AppendEntries("n2", "n1", 3, EntryID(1, 1), entries_of(1, 3, 3)[1:], 0))
    assert member.terms == [1, 3, 3]


@pytest.mark.parametrize("which", "abcdef")
def test_what_agrees_is_kept_and_all_behind_it_comes_from_the_leader(which):
    """5.3: the leader finds the last entry on which both agree; the follower drops what lies
    behind it and takes the leader's."""
    net = figure_7(which)
    net.settle(), net.beat("n1")
    agreed = 0
    for one, two in zip(FIGURE_7["leader"], FIGURE_7[which]):
        if one != two:
            break
        agreed += 1
    fresh = [e.index for event in net.members["n3"].heard(Appended) for e in event.entries]
    assert fresh[0] == agreed + 1 and fresh == list(range(agreed + 1, 12))


def test_repair_is_done_by_the_consistency_check_alone():
    """5.3: all of this happens by the ordinary messages; there is no other kind for it."""
    net = figure_7("f")
    kinds = set()
    while net.wire:
        kinds |= {type(m) for m in net.wire if "n3" in (m.source, m.target)}
        net.deliver(net.wire[0])
    assert kinds == {AppendEntries, AppendResponse}


def test_a_new_leader_begins_just_behind_its_own_last_entry():
    """5.3: nextIndex starts as the index after the leader's last entry."""
    member = Member(terms=(1, 1, 2), term=2)
    member.raft.campaign(), member.drive()
    member.raft.step(VoteResponse("n2", "n1", 3, True))
    assert [(p.next, p.match) for p in member.raft.progress.values()] == [(4, 0), (4, 0)]


def test_after_a_refusal_the_leader_goes_back_and_tries_again():
    """5.3: the check fails at first; the leader lowers nextIndex and tries again at once."""
    net = figure_7("f")
    leader = net["n1"]
    before = leader.progress["n3"].next
    tries = []
    while net.wire:
        message = net.wire[0]
        if isinstance(message, AppendEntries) and message.target == "n3":
            tries.append(message.prev.index)
        net.deliver(message)
    assert before == 11 and tries[0] == 10 and tries == sorted(tries, reverse=True)[: len(tries)]
    assert len(tries) >= 2


@pytest.mark.parametrize("which", "abcdef")
def test_in_the_end_nextindex_reaches_the_place_where_the_logs_agree(which):
    """5.3: in the end the check succeeds, which removes what conflicts and adds what is missing."""
    net = figure_7(which)
    net.settle()
    progress = net["n1"].progress["n3"]
    assert (progress.state, progress.match, progress.next) == ("replicate", 11, 12)


def test_once_equal_the_logs_stay_equal_for_the_term():
    """5.3: after one success the follower's log agrees with the leader's for the rest of the
    term."""
    net = figure_7("f")
    net.settle()
    for k in range(20):
        net["n1"].propose(k)
        net.settle()
        assert net["n3"].log.entries == net["n1"].log.entries
    late = [e for e in net.members["n3"].said if isinstance(e, (Refused, Truncated))]
    assert len([e for e in late if isinstance(e, Truncated)]) == 1


@pytest.mark.parametrize("theirs, terms_that_differ", [(2, 1), (3, 2), (5, 4)])
def test_one_refusal_a_term_is_enough(theirs, terms_that_differ):
    """5.3 (end): by the term of the entry that conflicts a whole term is skipped with one
    message, not one entry."""
    odd = tuple(1 + 2 * (k // 10) for k in range(10 * theirs))  # 1 1 ... 3 3 ... 5 5 ...
    even = (1,) + tuple(2 + 2 * (k // 10) for k in range(10 * theirs - 1))
    top = max(odd + even)
    net = Net(3, logs={"n1": even, "n2": even, "n3": odd})
    for member in net.members.values():
        member.raft.term = top
    net.elect("n1") if even[-1] >= odd[-1] else net.elect("n3")
    net.beat("n1" if net["n1"].role == "leader" else "n3", 2)
    follower = net.members["n3"] if net["n1"].role == "leader" else net.members["n1"]
    refusals = [e for e in follower.heard(Refused) if e.action == "append"]
    assert 1 <= len(refusals) <= terms_that_differ + 1 < 10
    assert net["n1"].log.entries == net["n3"].log.entries


def test_a_new_leader_does_nothing_special():
    """5.3: it takes no special action to restore consistency; it just sends what comes next."""
    member = Member(terms=(1, 1), term=1)
    member.raft.campaign(), member.drive()
    sent = member.hear(VoteResponse("n2", "n1", 2, True))
    assert {(type(m), m.prev, len(m.entries)) for m in sent} == {(AppendEntries, EntryID(1, 2), 1)}


@pytest.mark.parametrize("which", "abcdef")
def test_a_leader_never_overwrites_or_deletes_its_own_entries(which):
    """5.3 (Leader Append-Only): the leader's own log only grows."""
    net = figure_7(which)
    before = list(net["n1"].log.entries)
    net.settle(), net.beat("n1")
    assert net["n1"].log.entries[: len(before)] == before
    assert net.members["n1"].heard(Truncated) == []


# What it gives ------------------------------------------------------------------------------


def test_new_entries_are_accepted_while_a_majority_is_up():
    """5.3: entries are accepted, replicated and applied as long as a majority is up."""
    cluster = Cluster(5, seed=3, config=RaftConfig())
    leader = cluster.wait_for_leader()
    for name in [name for name in cluster.nodes if name != leader][:2]:
        cluster.crash(name)
    cluster.client(leader).put("k", "v")
    assert cluster.nodes[leader].revision == 2


def test_normally_one_round_of_messages_is_enough():
    """5.3: an entry needs a single round of messages to a majority."""
    net = Net(3)
    net.elect("n1")
    net["n1"].propose("x"), net.gather()
    ask = next(m for m in net.wire if m.target == "n2")
    net.deliver(ask)
    answer = next(m for m in net.wire if m.source == "n2")
    net.deliver(answer)
    assert net["n1"].log.committed == 2


def test_a_slow_follower_holds_nobody_up():
    """5.3: one slow follower does not make the others slower."""
    times = []
    for slow in (False, True):
        cluster = Cluster(3, seed=3, config=RaftConfig())
        leader = cluster.wait_for_leader()
        if slow:
            cluster.pause(next(name for name in cluster.nodes if name != leader))
        client, start = cluster.client(leader), cluster.now
        for k in range(20):
            client.put("k", str(k))
        times.append(cluster.now - start)
    assert times[1] < 2 * times[0]
    heard = [r for r in cluster.trace.of(Received) if isinstance(r.event.message, AppendResponse)]
    assert {r.event.message.source for r in heard if r.time > start} == {
        name for name in cluster.nodes if name != leader and not cluster.nodes[name].paused
    }


def test_a_window_of_messages_is_sent_without_waiting():
    """5.3: replication goes on while earlier messages are still unanswered (house: inflight)."""
    member = Member(config=RaftConfig(max_inflight=4)).lead()
    member.hear(ack("n2", 1))
    for k in range(4):
        member.raft.propose(k)
        assert [m.prev.index for m in member.drive() if m.target == "n2"] == [k + 1]
    member.raft.propose("one too many")
    assert [m for m in member.drive() if m.target == "n2"] == []
