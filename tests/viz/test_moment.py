"""The fold of records: what a moment says is what the records said."""

import random
import time

import pytest

from kvlearn import events as ev
from kvlearn.raft import messages as m
from kvlearn.raft.types import ZERO, Entry, EntryID
from kvlearn.trace import Trace
from kvlearn.viz.moment import Moment, Timeline, line, look, seq_at
from kvlearn.viz.nodes import Entries, Peer
from tests.viz.scenes import THREE, elect, start


@pytest.fixture
def trace():
    told = Trace()
    start(told, *THREE)
    elect(told, "n1", ("n2", "n3"), 1, 1.0)
    return told


def test_an_empty_trace_is_an_empty_moment():
    moment = Moment.at(Trace())
    assert (moment.seq, moment.time, moment.names, moment.leader) == (-1, 0.0, [], None)
    assert moment.sentence == "" and moment.why == ""


def test_the_election_is_seen_step_by_step(trace):
    candidate = next(trace.of(ev.BecameCandidate)).seq
    moment = Moment.at(trace, candidate)
    assert moment.nodes["n1"].role == "candidate"
    assert moment.nodes["n1"].votes == {"n1": True}
    assert moment.leader is None
    after = next(
        r.seq for r in trace.of(ev.Received) if isinstance(r.event.message, m.VoteResponse)
    )
    assert Moment.at(trace, after).nodes["n1"].votes == {"n1": True, "n2": True}
    end = Moment.at(trace)
    assert end.leader == "n1" and end.term == 1
    assert end.nodes["n1"].progress == {"n2": Peer(0, 1, "probe"), "n3": Peer(0, 1, "probe")}
    assert [str(entry) for entry in end.nodes["n1"].log] == ["1@1(no-op)"]
    assert end.nodes["n2"].vote == "n1"


def test_a_refused_vote_is_a_vote_that_was_not_granted():
    trace = Trace()
    start(trace, *THREE)
    trace.add(1.0, "n1", ev.BecameCandidate(1, ZERO, 12, 10), None)
    trace.add(1.1, "n1", ev.Received(m.VoteResponse("n2", "n1", 1, False), 7), None)
    trace.add(1.1, "n1", ev.Received(m.VoteResponse("n3", "n1", 0, True), 8), None)  # an old term's
    assert Moment.at(trace).nodes["n1"].votes == {"n1": True, "n2": False}


def test_packets_are_in_flight_between_send_and_arrival(trace):
    sent = next(trace.of(ev.Sent))
    moment = Moment.at(trace, sent.seq)
    (packet,) = moment.packets.values()
    assert (packet.source, packet.target, packet.sent_s, packet.arrives_s) == (
        "n1",
        "n2",
        1.0,
        1.01,
    )
    assert packet.way(1.0) == 0 and packet.way(1.005) == pytest.approx(0.5) and packet.way(9) == 1
    assert Moment.at(trace).packets == {}


def test_delay_drop_and_duplicates():
    trace = Trace()
    beat = m.Heartbeat("n1", "n2", 1, 0)
    trace.add(0.0, "n1", ev.Sent(beat, 1, 0.1), None)
    trace.add(0.0, "n1", ev.Delayed(beat, 1, 0.5), None)
    assert Moment.at(trace).packets[1].arrives_s == 0.5
    trace.add(0.2, "", ev.Dropped(beat, 1, "BY_HAND"), None)
    trace.add(0.3, "n2", ev.Received(beat, 1), None)  # its twin: nothing to take away any more
    assert Moment.at(trace).packets == {}


def test_a_packet_of_unknown_arrival_is_half_way():
    trace = Trace()
    trace.add(0.0, "n1", ev.Sent(m.Heartbeat("n1", "n2", 1, 0), 1), None)
    assert Moment.at(trace).packets[1].way(123.0) == 0.5


def test_replication_moves_match_next_and_the_log(trace):
    entries = (Entry(2, 1, "put a=1"), Entry(3, 1, "put b=2"))
    trace.add(2.0, "n1", ev.Appended(entries), None)
    trace.add(2.0, "n1", ev.Progressed("n2", "replicate", 1, 2), None)
    append = m.AppendEntries("n1", "n2", 1, EntryID(1, 1), entries, 1)
    trace.add(2.0, "n1", ev.Sent(append, 500, 2.01), None)
    probing = m.AppendEntries("n1", "n3", 1, EntryID(1, 1), entries, 1)
    trace.add(2.0, "n1", ev.Sent(probing, 501, 2.01), None)
    leader = Moment.at(trace).nodes["n1"]
    assert leader.next == {"n2": 4, "n3": 1}  # n3 is only probed
    assert leader.match == {"n2": 1, "n3": 0}
    trace.add(2.1, "n1", ev.Committed(3, 1, 0), None)
    trace.add(2.1, "n1", ev.Applied(2, 1, "put a=1", 2), None)
    trace.add(2.1, "n1", ev.Saved(1, "n1", 3, 1, 3), None)
    leader = Moment.at(trace).nodes["n1"]
    assert (leader.commit, leader.applied, leader.revision, leader.durable) == (3, 2, 2, 3)
    assert leader.saved == (1, "n1", 3)


def test_a_conflict_replaces_the_tail():
    trace = Trace()
    start(trace, "n1")
    trace.add(1, "n1", ev.Appended((Entry(1, 1), Entry(2, 1, "old"), Entry(3, 1, "old"))), None)
    before = Moment.at(trace)
    trace.add(2, "n1", ev.Truncated(1, (EntryID(1, 2), EntryID(1, 3)), EntryID(2, 2)), None)
    trace.add(2, "n1", ev.Appended((Entry(2, 2, "new"),)), None)
    assert [str(e.id) for e in Moment.at(trace).nodes["n1"].log] == ["1@1", "2@2"]
    assert [str(e.id) for e in before.nodes["n1"].log] == ["1@1", "2@1", "3@1"]


def test_a_crash_keeps_what_was_durable(trace):
    trace.add(3, "n1", ev.Saved(1, "n1", 0, 1, 1), None)
    trace.add(3, "n1", ev.Appended((Entry(2, 1, "lost"),)), None)
    trace.add(3, "n1", ev.Committed(1, 1, 0), None)
    trace.add(3, "n1", ev.Crashed(1), None)
    node = Moment.at(trace).nodes["n1"]
    assert node.role == "down" and node.progress == {} and node.votes == {}
    assert (len(node.log), node.term, node.vote, node.commit) == (1, 1, "n1", 0)
    assert Moment.at(trace).leader is None
    again = dict(boot=2, term=1, vote="n1", entries=(Entry(1, 1),), applied=1, commit=1, revision=1)
    start(trace, "n1", time=4, **again)
    node = Moment.at(trace).nodes["n1"]
    assert (node.role, node.boots, node.revision, len(node.log)) == ("follower", 2, 1, 1)


def test_a_wiped_node_has_nothing(trace):
    trace.add(3, "n1", ev.Crashed(0), None)
    trace.add(3, "n1", ev.Wiped(), None)
    node = Moment.at(trace).nodes["n1"]
    assert (node.role, node.term, node.vote, len(node.log)) == ("down", 0, None, 0)


def test_pause_hides_the_role_and_keeps_it(trace):
    trace.add(3, "n1", ev.Paused(), None)
    node = Moment.at(trace).nodes["n1"]
    assert (node.role, node.raft_role) == ("paused", "leader")
    trace.add(4, "n1", ev.Resumed(), None)
    assert Moment.at(trace).nodes["n1"].role == "leader"


def test_a_learner_stays_a_learner():
    trace = Trace()
    start(trace, "n4", learners=("n4",))
    assert Moment.at(trace).nodes["n4"].role == "learner"
    assert Moment.at(trace).nodes["n4"].timer_left(0.5) is None


def test_the_election_timer_runs_out_and_is_refilled(trace):
    n2 = Moment.at(trace).nodes["n2"]
    assert (n2.timer_reset_s, n2.timeout_s) == (1.01, 1.5)  # a vote granted; 15 ticks of 0.1 s
    assert n2.timer_left(1.76) == pytest.approx(0.5)
    assert n2.timer_left(99) == 0
    trace.add(1.8, "n2", ev.BecameFollower(1, "n1", 20, "LEADER_HEARD"), None)
    trace.add(2.0, "n2", ev.Received(m.Heartbeat("n1", "n2", 1, 0), 9), None)
    trace.add(2.1, "n2", ev.Received(m.Heartbeat("n3", "n2", 0, 0), 10), None)  # of an old term
    n2 = Moment.at(trace).nodes["n2"]
    assert (n2.timer_reset_s, n2.timeout_s, n2.leader) == (2.0, 2.0, "n1")
    assert Moment.at(trace).nodes["n1"].timer_left(2.0) is None  # it leads


def test_cuts_and_heal(trace):
    trace.add(3, "", ev.LinksCut((("n1", "n2"),), "n1 is isolated"), None)
    assert Moment.at(trace).cuts == {("n1", "n2")}
    trace.add(3, "", ev.LinksCut((("n2", "n1"),)), None)  # an event names all links that are cut
    assert Moment.at(trace).cuts == {("n2", "n1")}
    trace.add(4, "", ev.Healed(), None)
    assert Moment.at(trace).cuts == frozenset()


def test_a_client_and_its_last_operation():
    trace = Trace()
    trace.add(1, "c1", ev.Invoked(1, "n1", "put a=1"), None)
    asked = Moment.at(trace).clients["c1"]
    assert (asked.request, asked.returned_s) == ("put a=1", None)
    trace.add(2, "c1", ev.Returned(0, "n1", "late"), None)  # the answer to an earlier question
    assert Moment.at(trace).clients["c1"].returned_s is None
    trace.add(3, "c1", ev.Returned(1, "n2", "ok", 7), None)
    answered = Moment.at(trace).clients["c1"]
    assert (answered.returned_s, answered.result, answered.revision) == (3, "ok", 7)


def test_the_last_record_and_what_led_to_it(trace):
    seq = next(trace.of(ev.VoteGranted)).seq
    moment = Moment.at(trace, seq)
    assert moment.sentence == "n2 votes for n1 in term 1"
    assert moment.why.startswith(
        "because n2 receives Vote? t1 0@0 from n1, because n1 sends Vote? t1 0@0 to n2, "
        "because n1 becomes candidate in term 1"
    )
    assert "and so back over" in Moment.at(trace).why  # long chains end with their beginning
    assert "because n1 becomes candidate" not in Moment.at(trace).why


def test_a_lost_message_says_between_whom():
    trace = Trace()
    trace.add(0.0, "", ev.Dropped(m.Heartbeat("n1", "n2", 1, 0), 1, "LOST"), None)
    assert line(trace[0]) == "n1→n2: Beat is lost: the network lost it"
    trace.add(0.2, "", ev.Delayed(m.Heartbeat("n1", "n2", 1, 0), 1, 0.5), None)
    assert line(trace[-1]) == "n1→n2: Beat is held up until 0.500 s"


def test_at_time_takes_all_records_up_to_then(trace):
    moment = Moment.at_time(trace, 1.005)
    assert moment.time == 1.005 and moment.nodes["n1"].role == "candidate"
    assert seq_at(trace, -1) == -1 and seq_at(trace, 99) == len(trace) - 1


def test_look_takes_a_moment_a_trace_or_a_cluster(trace):
    class Cluster:
        now = 7.5

    cluster = Cluster()
    cluster.trace = trace
    assert look(trace) == Moment.at(trace)
    assert look(cluster).time == 7.5 and look(cluster).seq == len(trace) - 1
    assert look(cluster, seq=3) == Moment.at(trace, 3)
    assert look(look(trace), at=1.005) == Moment.at_time(trace, 1.005)
    with pytest.raises(ValueError):
        look(trace, at=1.0, seq=3)
    with pytest.raises(ValueError):
        look(Moment(), seq=3)
    with pytest.raises(TypeError):
        look("n1")


def test_names_are_in_natural_order():
    trace = Trace()
    start(trace, "n10", "n2", "n1")
    assert Moment.at(trace).names == ["n1", "n2", "n10"]


def test_entries_of_a_log_that_was_compacted():
    log = Entries((Entry(5, 2), Entry(6, 2)))
    assert (log.base, log.last, log.find(4), log.find(6)) == (4, 6, None, Entry(6, 2))
    twin = log.copy()
    twin.extend((Entry(6, 3), Entry(7, 3)))
    assert [str(e.id) for e in log] == ["5@2", "6@2"] and twin.last == 7
    assert twin[1:] == [Entry(6, 3), Entry(7, 3)] and twin[-1] == Entry(7, 3)


def long_trace(records, seed=3):
    rng = random.Random(seed)
    trace = Trace()
    start(trace, *THREE)
    elect(trace, "n1", ("n2", "n3"), 1, 1.0)
    index, packet, now, flying = 1, 1000, 2.0, []
    while len(trace) < records:
        now += 0.001
        peer = rng.choice(("n2", "n3"))
        match rng.randrange(8):
            case 0:
                index += 1
                trace.add(now, "n1", ev.Appended((Entry(index, 1, f"put k={index}"),)), None)
            case 1:
                trace.add(now, "n1", ev.Progressed(peer, "replicate", index - 1, index), None)
            case 2:
                trace.add(now, "n1", ev.Committed(index, 1, index - 1), None)
            case 3 | 4:
                packet += 1
                beat = m.Heartbeat("n1", peer, 1, 0)
                sent = trace.add(now, "n1", ev.Sent(beat, packet, now + 0.01), None)
                flying.append((beat, packet, sent))
            case 5 | 6 if flying:
                beat, number, sent = flying.pop(0)
                trace.add(now, beat.target, ev.Received(beat, number), sent)
            case 7:
                end = index - rng.randrange(2)
                if end >= 1:
                    dropped = tuple(EntryID(1, k) for k in range(end + 1, index + 1))
                    trace.add(now, "n1", ev.Truncated(end, dropped, EntryID(2, end + 1)), None)
                    index = end
    return trace


def test_a_timeline_says_what_the_fold_says():
    trace = long_trace(1600)
    timeline = Timeline(trace, every=100)
    rng = random.Random(1)
    for _ in range(150):
        seq = rng.randrange(-1, len(trace))
        assert timeline.at(seq) == Moment.at(trace, seq), seq
    for seq in (0, 1, 2, 99, 100, 98, 101, 1599, 0):
        assert timeline.at(seq) == Moment.at(trace, seq)


def test_a_timeline_follows_a_trace_that_grows_and_is_rewound():
    whole = long_trace(900)
    trace = Trace()
    timeline = Timeline(trace, every=50)
    assert timeline.at().seq == -1
    for record in whole:
        trace.add(record.time, record.node, record.event, record.cause)
        if record.seq % 37 == 0:
            assert timeline.at() == Moment.at(trace)
    rewound = long_trace(420)
    rewound.add(99.0, "n1", ev.Committed(1, 1, 0), None)  # another future
    for _ in range(60):
        rewound.add(99.0, "n2", ev.Paused(), None)
    trace.replaced_by(rewound)
    for seq in (400, 419, 420, 455, 480):
        assert timeline.at(seq) == Moment.at(trace, seq)
    assert timeline.at(900).seq == len(rewound) - 1


def test_what_a_timeline_hands_out_is_the_callers():
    trace = long_trace(300)
    timeline = Timeline(trace, every=100)
    mine = timeline.at(150)
    mine.fold(trace[151:])
    assert timeline.at(150) == Moment.at(trace, 150)
    assert mine == Moment.at(trace)


def test_fifty_thousand_records_fold_quickly():
    trace = long_trace(50_000)
    began = time.process_time()
    Moment.at(trace)
    spent = time.process_time() - began
    plain = time.process_time()
    for record in trace:
        record.event
    plain = time.process_time() - plain
    assert spent < 0.25 + 10 * plain  # a budget that holds on a busy machine too
