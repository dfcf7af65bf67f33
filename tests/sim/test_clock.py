"""Virtual time: the queue's order, the clocks of the nodes, and clocks that run wrong."""

from heapq import heappop

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.events import BecameCandidate, LinksChanged, Sent
from kvlearn.raft.messages import Heartbeat
from kvlearn.sim.clock import PACKET, TIMER, NodeClock, VirtualClock, rate_of_clock


def test_the_queue_is_ordered_by_time_and_then_by_coming():
    clock = VirtualClock()
    for time, what in [(2.0, "d"), (1.0, "a"), (1.0, "b"), (1.0, "c")]:
        clock.push(time, PACKET, what)
    assert [heappop(clock.queue)[3] for _ in range(4)] == ["a", "b", "c", "d"]


def test_what_happens_at_one_instant_need_not_be_comparable():
    clock = VirtualClock()
    clock.push(1.0, TIMER, {"no": "order"})
    clock.push(1.0, TIMER, {"at": "all"})
    assert heappop(clock.queue)[3] == {"no": "order"}


@pytest.mark.parametrize("rate", [0.01, 0.5, 1, 1.1, 100])
def test_a_clock_shows_time_at_its_rate_and_tells_when(rate):
    clock = NodeClock(10.0, 0.25, rate)
    assert clock.read(10.0) == 0.25
    assert clock.read(12.0) == pytest.approx(0.25 + 2 * rate)
    assert clock.when(clock.read(17.0)) == pytest.approx(17.0)


def test_a_new_rate_goes_on_from_what_the_clock_shows():
    clock = NodeClock(0.0, 0.0)
    clock.set_rate(2.0, 5.0)
    assert clock.read(5.0) == 5.0 and clock.read(6.0) == 7.0
    clock.set_rate(0.5, 6.0)
    assert clock.read(6.0) == 7.0 and clock.read(8.0) == 8.0 and clock.rate == 0.5


@pytest.mark.parametrize("rate", [0, -1, 0.001, 101, float("nan"), float("inf"), "fast", None])
def test_a_rate_that_no_clock_has(rate):
    with pytest.raises(ValueError, match="between 0.01 and 100"):
        rate_of_clock(rate)


# In a cluster -------------------------------------------------------------------------------


def test_clocks_start_at_a_random_phase_below_a_tick():
    cluster = Cluster(9, seed=1)
    shown = [cluster.clock(name).shows for name in cluster.nodes]
    assert all(0 <= s < cluster.config.tick_s for s in shown) and len(set(shown)) == 9


def test_a_restarted_node_has_a_clock_that_begins_anew_at_the_same_rate():
    cluster = Cluster(3, seed=1)
    cluster.clock("n1").rate = 1.5
    cluster.run(3)
    cluster.crash("n1"), cluster.restart("n1")
    assert cluster.clock("n1").shows < 0.1 and cluster.clock("n1").rate == 1.5


def test_a_fast_clock_makes_a_node_impatient():
    cluster = Cluster(3, seed=1, config=RaftConfig())  # nobody protects the leader from it
    leader = cluster.wait_for_leader()
    fast = next(name for name in cluster.nodes if name != leader)
    cluster.run(1)
    cluster.clock(fast).rate = 100  # its second is 10 ms: far less than a heartbeat interval
    cluster.run(1)
    assert [r.node for r in cluster.trace.of(BecameCandidate)][-1] == fast
    assert cluster.leader == fast, "it rose up, won, and now speaks a hundred times as often"


@pytest.mark.parametrize("rate, beats", [(0.5, 10), (1, 20), (2, 40)])
def test_a_leader_speaks_by_its_own_clock(rate, beats):
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    cluster.clock(leader).rate = rate
    start = len(cluster.trace)
    cluster.run(1.9999)
    sent = [
        record
        for record in cluster.trace.of(Sent, start=start, node=leader)
        if isinstance(record.event.message, Heartbeat) and record.event.message.target != "n9"
    ]
    assert abs(len(sent) / 2 - beats) <= 1


def test_a_rate_can_be_set_on_a_node_that_is_down_or_paused():
    cluster = Cluster(3, seed=1)
    cluster.crash("n1"), cluster.pause("n2")
    for name in ("n1", "n2"):
        cluster.clock(name).rate = 1.25
    cluster.restart("n1"), cluster.resume("n2")
    cluster.wait_for_leader()
    assert [cluster.clock(name).rate for name in cluster.nodes] == [1.25, 1.25, 1.0]


def test_the_trace_tells_of_a_new_rate():
    cluster = Cluster(3, seed=1)
    cluster.clock("n2").rate = 1.5
    record = cluster.trace[-1]
    assert record.event == LinksChanged("clock rate", 1.5) and record.node == "n2"
    assert str(record) == "n2 clock rate is now 1.5"


@pytest.mark.parametrize("rate", [0, 1000, float("nan"), "x"])
def test_a_bad_rate_changes_nothing_and_rewind_still_works(rate):
    cluster = Cluster(3, seed=1)
    cluster.run(0.5)
    before = list(cluster.trace.lines())
    with pytest.raises(ValueError, match="a clock's rate"):
        cluster.clock("n1").rate = rate
    assert list(cluster.trace.lines()) == before
    cluster.rewind(0.25)
    assert cluster.clock("n1").rate == 1.0


def test_a_clock_has_a_rate_and_nothing_else_to_set():
    cluster = Cluster(3)
    with pytest.raises(AttributeError, match="a clock has a rate, but no 'shows'"):
        cluster.clock("n1").shows = 5
    with pytest.raises(ValueError, match="there is no node 'n4'; the nodes are n1, n2, n3"):
        cluster.clock("n4")
    assert "rate 1.0" in repr(cluster.clock("n1"))


def test_times_never_decrease_whatever_the_clocks_do():
    cluster = Cluster(3, seed=3)
    for k, rate in enumerate((0.01, 100, 0.5, 3, 1)):
        cluster.clock(f"n{k % 3 + 1}").rate = rate
        cluster.run(1)
    times = [record.time for record in cluster.trace]
    assert times == sorted(times) and times[-1] <= cluster.now
