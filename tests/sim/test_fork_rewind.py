"""Other futures: copies that go their own way, and going back in time."""

from random import Random

import pytest

from kvlearn import Cluster, Links, RaftConfig
from kvlearn.errors import TimedOut, Violation
from kvlearn.events import BecameLeader, Committed, Crashed, Dropped, Received, Sent
from kvlearn.kv.requests import Put
from kvlearn.raft import Raft
from tests.sim.busy import busy, trouble


def lines(cluster: Cluster) -> list[str]:
    return list(cluster.trace.lines())


def lived(seed: int = 1, seconds: float = 3.0) -> Cluster:
    """A cluster of five that has had its troubles."""
    return busy(seed, seconds)


# Fork ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_fork_has_the_same_future(seed):
    original = lived(seed)
    twin = original.fork()
    assert lines(twin) == lines(original)
    for cluster in (original, twin):
        cluster.run(2)
        cluster.heal()
        cluster.client().get("k1", serializable=True)
        cluster.run(2)
    assert lines(twin) == lines(original)


@pytest.mark.parametrize("seed", range(4))
def test_what_happens_to_a_fork_does_not_happen_to_the_original(seed):
    original, untouched = lived(seed), lived(seed)
    twin = original.fork()
    rng = Random(99)
    for _ in range(12):
        trouble(twin, rng)
        twin.run(0.3)
    twin.links.latency_s = 0.5
    assert lines(original) == lines(untouched)
    original.run(3), untouched.run(3)
    assert lines(original) == lines(untouched) != lines(twin)


def test_a_fork_in_mid_flight_has_packets_of_its_own():
    original = Cluster(3, seed=7)
    original.run_until(lambda c: len(c.in_flight) >= 2)
    twin = original.fork()
    assert [repr(p) for p in twin.in_flight] == [repr(p) for p in original.in_flight]
    for packet in twin.in_flight:
        twin.drop(packet.number)
    assert twin.in_flight == [] and len(original.in_flight) >= 2


def test_a_fork_in_the_middle_of_a_save_and_a_pause():
    original = Cluster(3, seed=1, fsync_s=0.1)
    leader = original.wait_for_leader()
    original.submit(Put(b"k", b"v"), leader)
    original.pause(leader)
    original.run(0.3)
    twin = original.fork()
    for cluster in (original, twin):
        cluster.resume(leader)
        cluster.run(1)
    assert lines(twin) == lines(original)


def test_a_fork_of_a_fork_and_a_fork_that_goes_back():
    original = lived(2)
    second = original.fork().fork()
    second.rewind(1.0)
    assert second.now == 1.0 and original.now >= 3.0
    again = original.fork()
    again.rewind(1.0)
    assert lines(second) == lines(again)


def test_a_fork_is_checked_too_and_by_itself():
    original = Cluster(3, seed=1)
    heard: list = []
    original.trace.subscribe(heard.append, BecameLeader)
    twin = original.fork()
    twin.wait_for_leader()
    assert heard == [], "readers stay with the original"
    original.wait_for_leader()
    assert len(heard) == 1
    assert twin._reader is not original._reader


# Rewind -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_back_and_on_again_is_the_same_story(seed):
    """To any time, busy or quiet: what follows without a hand is what followed before."""
    cluster = Cluster(5, seed=seed, config=RaftConfig.paper(), links=Links(loss=0.05))
    rng = Random(seed)
    cluster.run(3)
    whole = lines(cluster)
    for _ in range(6):
        cluster.rewind(rng.random() * cluster.now)
        mine = lines(cluster)
        assert mine == whole[: len(mine)]
        assert all(record.time <= cluster.now for record in cluster.trace)
        cluster.run(3 - cluster.now)
        assert lines(cluster) == whole


@pytest.mark.parametrize("seed", range(8))
def test_back_into_the_middle_of_trouble(seed):
    """Crashes, pauses, cuts, clocks, qualities, packets moved by hand and clients are all relived:
    the trace that is left is the beginning of the old one, and so is the state."""
    cluster = lived(seed, 6)
    whole = lines(cluster)
    times = sorted({record.time for record in cluster.trace})
    for time in (times[-1], times[len(times) // 2], times[len(times) // 3] + 0.0007, 0.0):
        witness = cluster.fork()
        cluster.rewind(time)
        assert cluster.now == time
        mine = lines(cluster)
        assert mine == whole[: len(mine)]
        later = [r for r in witness.trace[len(mine) - 1 :] if r.time < time]
        assert later == [], "no record of before is missing"
        cluster.run(0.01)


def relive(cluster: Cluster) -> None:
    """One fixed hour of a hand: every verb that there is."""
    leader = cluster.leader
    first, second, *_ = [name for name in cluster.nodes if name != leader]
    cluster.submit(Put(b"k", b"1"), leader)
    packet = cluster.in_flight[0]
    cluster.delay(packet, 0.2)
    cluster.drop(cluster.in_flight[0])
    cluster.run(0.001)
    cluster.deliver(cluster.in_flight[-1])
    cluster.links.loss = 0.1
    cluster.links.latency_s = (0.001, 0.05)
    cluster.clock(first).rate = 1.5
    cluster.run(0.3)
    cluster.cut(leader, first, one_way=True)
    cluster.pause(second)
    cluster.run(1)
    cluster.crash(leader)
    cluster.heal()
    cluster.resume(second)
    cluster.run(1.5)
    cluster.wipe(leader), cluster.restart(leader)
    cluster.partition([leader], [first, second])
    cluster.isolate(second)
    cluster.run(1)
    op_id = cluster.submit(Put(b"k", b"2"), first, "c7")
    cluster.give_up(op_id)
    cluster.heal()
    cluster.links.loss = 0.0
    try:
        cluster.client(timeout_s=3).put("k", "3")
    except TimedOut:
        pass
    cluster.run(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_verbs_after_going_back_tell_the_same_story(seed):
    cluster = Cluster(5, seed=seed)
    cluster.wait_for_leader()
    cluster.run(1.05)
    start = cluster.now
    relive(cluster)
    whole, end = lines(cluster), cluster.now
    for _ in range(2):
        cluster.rewind(start)
        cluster.run(0)
        relive_client_free(cluster)
        mine = lines(cluster)
        assert mine == whole and cluster.now == end


def relive_client_free(cluster: Cluster) -> None:
    """The same again. Clients get a new name each time, so that no two are one."""
    cluster._desk.clients = 0
    relive(cluster)


def test_another_hand_makes_another_future():
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    start = cluster.now
    cluster.run(3)
    assert cluster.leader == leader
    cluster.rewind(start)
    cluster.crash(leader)
    cluster.run(3)
    assert cluster.leader != leader


def test_what_was_read_before_a_verb_undoes_it():
    cluster = Cluster(3, seed=1)
    cluster.run(2)
    before = cluster.now
    cluster.crash("n1")
    cluster.rewind(before)
    assert cluster.nodes["n1"].alive and not list(cluster.trace.of(Crashed))
    cluster.crash("n1")
    cluster.rewind(cluster.now)  # to now: nothing is undone
    assert not cluster.nodes["n1"].alive


def test_a_packet_that_was_dropped_by_hand_flies_again():
    cluster = Cluster(3, seed=7)
    cluster.run_until(lambda c: len(c.in_flight) >= 2)
    before, packet = cluster.now, cluster.in_flight[0]
    cluster.drop(packet)
    cluster.run(2)
    cluster.rewind(before)
    assert packet.number in [other.number for other in cluster.in_flight]
    cluster.run(1)
    assert packet.number in [r.event.packet for r in cluster.trace.of(Received)]
    assert not list(cluster.trace.of(Dropped))


def test_a_packet_that_was_dropped_before_stays_dropped():
    cluster = Cluster(3, seed=7)
    cluster.run_until(lambda c: len(c.in_flight) >= 2)
    packet = cluster.in_flight[0]
    cluster.drop(packet)
    cluster.run(2)
    whole = lines(cluster)
    cluster.rewind(cluster.now - 0.5)
    assert [r.event.packet for r in cluster.trace.of(Dropped)] == [packet.number]
    cluster.run(0.5)
    assert lines(cluster) == whole


def test_links_and_clocks_are_as_they_were():
    cluster = Cluster(3, seed=1, links=Links(loss=0.2))
    cluster.run(1)
    cluster.links.loss = 0.0
    cluster.clock("n2").rate = 2.0
    cluster.cut("n1", "n2")
    cluster.run(1)
    cluster.links.loss = 0.5
    cluster.clock("n2").rate = 0.5
    cluster.heal()
    cluster.rewind(1.5)
    assert (cluster.links.loss, cluster.clock("n2").rate) == (0.0, 2.0)
    assert cluster.cuts == (("n1", "n2"), ("n2", "n1"))
    cluster.rewind(0.5)
    assert (cluster.links.loss, cluster.clock("n2").rate, cluster.cuts) == (0.2, 1.0, ())


def test_objects_in_the_users_hands_stay_good():
    """Views, clients and the trace show the cluster as it is after going back."""
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    node, nodes, trace, links = cluster.nodes[leader], cluster.nodes, cluster.trace, cluster.links
    client, clock, disk = cluster.client(leader), cluster.clock("n1"), cluster.disk("n1")
    client.put("k", "1")
    middle = cluster.now
    client.put("k", "2")
    links.loss, clock.rate, disk.fsync_s = 0.5, 2.0, 0.1
    assert node.applied == 3
    cluster.rewind(middle)
    assert (node.applied, nodes[leader].revision, links.loss, clock.rate) == (2, 2, 0.0, 1.0)
    assert cluster.trace is trace and disk.fsync_s == (0.0005, 0.002)
    assert client.get("k").text == "1"
    assert client.put("k", "3").header.revision == 3
    assert node.applied == 3
    links.loss, clock.rate = 0.1, 1.1
    assert (cluster.links.loss, cluster.clock("n1").rate) == (0.1, 1.1)


def test_operations_that_were_asked_later_are_gone():
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    first = cluster.submit(Put(b"k", b"1"), leader)
    cluster.run(1)
    middle = cluster.now
    second = cluster.submit(Put(b"k", b"2"), leader)
    cluster.rewind(middle)
    assert cluster.operation(first).done
    with pytest.raises(ValueError, match=f"there is no operation {second}"):
        cluster.operation(second)
    assert cluster.submit(Put(b"k", b"3"), leader) == second


def test_new_clients_get_new_names_after_going_back():
    cluster = Cluster(3, seed=1)
    names = [cluster.client().channel.name]
    cluster.run(1)
    names.append(cluster.client().channel.name)
    cluster.rewind(0.5)
    names.append(cluster.client().channel.name)
    assert names == ["c1", "c2", "c3"]


def test_a_reader_of_the_trace_survives_and_sees_that_the_past_was_replaced():
    cluster = Cluster(3, seed=1)
    heard: list = []
    cluster.trace.subscribe(heard.append, Committed)
    cluster.run(3)
    before, era = len(heard), cluster.trace.era
    assert before > 0
    cluster.rewind(0.5)
    assert cluster.trace.era == era + 1 and len(heard) == before, "nothing is told twice meanwhile"
    cluster.run(3)
    assert len(heard) == 2 * before
    cluster.rewind(0.1)
    assert cluster.trace.era == era + 2
    assert heard[:before] == heard[before:], "it was the same future"


def test_the_old_checker_does_not_go_on_listening():
    """After a hundred rewinds there is one checker, and it has read the trace from the start."""
    cluster = Cluster(3, seed=1)
    cluster.run(2)
    readers = {kind: len(them) for kind, them in cluster.trace._readers.items()}
    for _ in range(5):
        cluster.rewind(1.5)
    assert {kind: len(them) for kind, them in cluster.trace._readers.items()} == readers


def test_a_promise_broken_before_stays_broken_and_is_raised_once():
    kind = type("VotesTwice", (Raft,), {"may_vote_for": lambda self, candidate: True})
    cluster = Cluster(5, seed=3, raft=kind)
    for name in cluster.nodes:
        cluster.campaign(name)
    with pytest.raises(Violation):
        cluster.run(5)
    broken_at = cluster.now
    cluster.run(0.2)
    cluster.rewind(broken_at + 0.1)
    assert cluster._reader.broken is not None
    cluster.run(0.1)  # raised the first time already


@pytest.mark.parametrize("seed", range(3))
def test_to_a_record(seed):
    """`rewind(seq=...)` goes to the thing that made the record: the record is the trace's last, or
    stands among those that came of the same thing."""
    cluster = lived(seed, 4)
    whole = lines(cluster)
    rng = Random(seed)
    for seq in sorted((rng.randrange(len(cluster.trace)) for _ in range(8)), reverse=True):
        time = cluster.trace[seq].time
        cluster.rewind(seq=seq)
        assert cluster.now == time and len(cluster.trace) > seq
        assert {record.time for record in cluster.trace[seq:]} == {time}
        assert lines(cluster) == whole[: len(cluster.trace) + 1]


@pytest.mark.parametrize(
    "where, words",
    [
        ({}, "a time .to_s. or a record number"),
        ({"to_s": 1.0, "seq": 3}, "a time .to_s. or a record number"),
        ({"to_s": -0.1}, "between 0 and now"),
        ({"to_s": 99.0}, "between 0 and now, 2 s, not 99.0"),
        ({"to_s": float("nan")}, "between 0 and now"),
        ({"seq": -1}, "the trace has records 0 to"),
        ({"seq": 10**6}, "the trace has records 0 to .*, but no 1000000"),
    ],
)
def test_places_where_one_cannot_go(where, words):
    cluster = Cluster(3, seed=1)
    cluster.run(2)
    before = lines(cluster)
    with pytest.raises(ValueError, match=words):
        cluster.rewind(**where)
    assert lines(cluster) == before and cluster.now == 2


def test_back_to_the_very_beginning_is_a_new_cluster():
    cluster = lived(3, 2)
    cluster.rewind(0.0)
    assert cluster.now == 0 and len(cluster.trace) == len(Cluster(5).trace)
    assert not list(cluster.trace.of(Sent)) and cluster.happened == 0
