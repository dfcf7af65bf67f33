"""The wires: order, loss, duplicates, overtaking, cuts, and packets moved by hand."""

from random import Random

import pytest

from kvlearn import Cluster, Links
from kvlearn.events import Delayed, Dropped, Healed, LinksChanged, LinksCut, Received, Sent
from kvlearn.kv.requests import Command, Put
from kvlearn.raft.messages import AppendEntries, ForwardProposal, Heartbeat, RequestVote
from kvlearn.sim.clock import VirtualClock
from kvlearn.sim.network import Network
from kvlearn.trace import Trace


def wires(links: Links | None = None, seed: int = 1) -> Network:
    return Network(VirtualClock(), Trace(seed), links or Links(), Random(seed))


def beat(number: int = 0, source="n1", target="n2") -> Heartbeat:
    return Heartbeat(source, target, 1, number)


def arrivals(network: Network) -> list:
    """What arrives, in order, with all that is on the wire delivered."""
    packets = network.in_flight()
    return [packet.message.commit for packet in packets if network.arrives(packet)]


# Quality ------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency", [(0.0, 0.0), (0.01, 0.01), (0.002, 0.2)])
def test_latency_lies_between_its_bounds(latency):
    network = wires(Links(latency_s=latency))
    for k in range(50):
        network.send(beat(k, target=f"n{k}"), None)
    ways = [packet.arrives_s - packet.sent_s for packet in network.in_flight()]
    assert all(latency[0] <= way <= latency[1] + 1e-12 for way in ways)
    if latency[1] > latency[0]:
        assert len(set(ways)) == 50


@pytest.mark.parametrize("seed", range(5))
def test_a_link_keeps_its_order(seed):
    network = wires(Links(latency_s=(0.0, 1.0)), seed)
    for k in range(50):
        network.clock.now += 0.01
        network.send(beat(k), None)
    assert arrivals(network) == list(range(50))


def test_other_links_have_an_order_of_their_own():
    network = wires(Links(latency_s=(0.0, 1.0)))
    for k in range(20):
        network.send(beat(k, target="n2" if k % 2 else "n3"), None)
    order = arrivals(network)
    assert order != sorted(order)
    assert [k for k in order if k % 2] == sorted(k for k in order if k % 2)


def test_with_reorder_packets_are_overtaken():
    network = wires(Links(reorder=0.5))
    for k in range(50):
        network.send(beat(k), None)
    order = arrivals(network)
    assert sorted(order) == list(range(50)) != order


@pytest.mark.parametrize("loss, low, high", [(0.0, 200, 200), (0.3, 110, 170), (1.0, 0, 0)])
def test_loss(loss, low, high):
    network = wires(Links(loss=loss))
    for k in range(200):
        network.send(beat(k), None)
    assert len(network.in_flight()) == 200, "one sees them until they would arrive"
    assert low <= len(arrivals(network)) <= high
    lost = [r.event for r in network.trace.of(Dropped)]
    assert {event.reason for event in lost} == ({"LOST"} if loss else set())
    assert all("the network lost it" in str(event) for event in lost)


def test_duplicates_come_twice_but_a_proposal_never():
    network = wires(Links(duplicate=1.0))
    network.send(beat(), None)
    network.send(ForwardProposal("n1", "n2", 0, Command("n1", 1, Put(b"a"))), None)
    kinds = [type(packet.message).__name__ for packet in network.in_flight()]
    assert sorted(kinds) == ["ForwardProposal", "Heartbeat", "Heartbeat"]
    numbers = [packet.number for packet in network.in_flight()]
    assert len(set(numbers)) == 3, "each has a number of its own"


@pytest.mark.parametrize(
    "setting, bad",
    [
        ("loss", -0.1),
        ("loss", 1.1),
        ("loss", "half"),
        ("loss", None),
        ("duplicate", float("nan")),
        ("reorder", 2),
        ("latency_s", -1),
        ("latency_s", (0.2, 0.1)),
        ("latency_s", (0.1,)),
        ("latency_s", (0.1, 0.2, 0.3)),
        ("latency_s", (0, float("inf"))),
        ("latency_s", float("nan")),
        ("latency_s", "slow"),
        ("latency_s", None),
    ],
)
def test_a_quality_that_makes_no_sense_is_named(setting, bad):
    with pytest.raises(ValueError, match=setting):
        Links(**{setting: bad})
    cluster = Cluster(3)
    before = repr(cluster.links)
    with pytest.raises(ValueError, match=setting):
        setattr(cluster.links, setting, bad)
    assert repr(cluster.links) == before


def test_an_unknown_quality_is_answered_with_the_known_ones():
    for links in (Links(), Cluster(3).links):
        with pytest.raises(AttributeError, match="latency_s, loss, duplicate and reorder"):
            links.speed = 3


def test_a_change_of_quality_is_told_and_read_back():
    cluster = Cluster(3)
    cluster.links.loss = 0.25
    cluster.links.latency_s = 0.01
    told = [(r.event.setting, r.event.new) for r in cluster.trace.of(LinksChanged)]
    assert told == [("loss", 0.25), ("latency_s", (0.01, 0.01))]
    assert (cluster.links.loss, cluster.links.latency_s) == (0.25, (0.01, 0.01))


def test_the_links_that_were_given_stay_the_users_own():
    mine = Links(loss=0.5)
    cluster = Cluster(3, links=mine)
    cluster.links.loss = 0.0
    mine.loss = 1.0
    assert cluster.links.loss == 0.0
    cluster.rewind(0.0)
    assert cluster.links.loss == 0.5


# Cuts ---------------------------------------------------------------------------------------


def test_what_is_sent_on_a_cut_link_is_lost_even_if_it_heals_in_time():
    network = wires()
    network.cut([("n1", "n2")], "n1→n2 is cut")
    network.send(beat(1), None)
    network.send(beat(2, "n2", "n1"), None)
    network.heal()
    assert arrivals(network) == [2], "the other way was open all the time"
    [dropped] = [record.event for record in network.trace.of(Dropped)]
    assert dropped.reason == "CUT" and "the link from n1 to n2 is cut" in str(dropped)


def test_what_is_on_the_wire_when_the_link_is_cut_is_lost():
    network = wires()
    network.send(beat(1), None)
    network.cut([("n1", "n2")], "")
    assert arrivals(network) == []


def test_what_meets_a_cut_only_on_its_way_arrives_after_the_heal():
    network = wires()
    network.send(beat(1), None)
    network.cut([("n1", "n2")], "")
    network.heal()
    assert arrivals(network) == [1]


def links_of(*names: str) -> set:
    return {(a, b) for a in names for b in names if a != b}


def test_a_partition_cuts_between_groups_and_mends_the_rest():
    cluster = Cluster(5)
    cluster.cut("n1", "n2")
    cluster.partition(["n1", "n2"], ["n3", "n4", "n5"])
    every = links_of("n1", "n2", "n3", "n4", "n5")
    assert set(cluster.cuts) == every - links_of("n1", "n2") - links_of("n3", "n4", "n5")
    [event] = [r.event for r in cluster.trace.of(LinksCut)][1:]
    assert str(event) == "network: partition (n1 n2) (n3 n4 n5)"


def test_nodes_that_are_not_named_form_a_group():
    one, two = Cluster(5), Cluster(5)
    one.partition(["n1", "n2"])
    two.partition(["n1", "n2"], ["n3", "n4", "n5"])
    assert one.cuts == two.cuts
    three = Cluster(5)
    three.partition(["n1"], ["n2"])  # three groups
    assert set(three.cuts) == links_of(*three.nodes) - links_of("n3", "n4", "n5")


def test_isolate_and_cut_add_to_what_is_cut():
    cluster = Cluster(3)
    cluster.isolate("n1")
    assert set(cluster.cuts) == links_of("n1", "n2", "n3") - links_of("n2", "n3")
    cluster.cut("n2", "n3", one_way=True)
    assert ("n2", "n3") in cluster.cuts and ("n3", "n2") not in cluster.cuts
    cluster.heal()
    assert cluster.cuts == () and isinstance(cluster.trace[-1].event, Healed)


def test_a_one_way_cut_lets_the_other_way_through():
    cluster = Cluster(2, seed=1)
    leader = cluster.wait_for_leader()
    other = "n1" if leader == "n2" else "n2"
    cluster.cut(other, leader, one_way=True)
    start = len(cluster.trace)
    cluster.run(2)
    heard = list(cluster.trace.of(Received, start=start))
    assert {record.node for record in heard} == {other}


@pytest.mark.parametrize(
    "verb, words",
    [
        (lambda c: c.partition(), "two groups"),
        (lambda c: c.partition(["n1", "n2", "n3"]), "two groups"),
        (lambda c: c.partition([], []), "two groups"),
        (lambda c: c.partition(["n1"], ["n1", "n2"]), "one group only"),
        (lambda c: c.partition(["n9"], ["n1"]), "no node 'n9'; the nodes are n1, n2, n3"),
        (lambda c: c.isolate("n9"), "no node 'n9'"),
        (lambda c: c.cut("n1", "n9"), "no node 'n9'"),
        (lambda c: c.cut("n1", "n1"), "no link to itself"),
    ],
)
def test_cuts_that_make_no_sense(verb, words):
    cluster = Cluster(3)
    with pytest.raises(ValueError, match=words):
        verb(cluster)
    assert cluster.cuts == ()


# By hand ------------------------------------------------------------------------------------


def in_flight(size: int = 3, seed: int = 7) -> Cluster:
    """A cluster with packets on the wire."""
    cluster = Cluster(size, seed=seed)
    cluster.run_until(lambda c: len(c.in_flight) >= 2)
    return cluster


def test_packets_are_listed_soonest_first():
    cluster = in_flight(5)
    times = [packet.arrives_s for packet in cluster.in_flight]
    assert times == sorted(times) and min(times) >= cluster.now
    packet = cluster.in_flight[0]
    assert f"packet {packet.number}: {packet.message.source}→" in repr(packet)


def test_a_dropped_packet_never_arrives():
    cluster = in_flight()
    packet = cluster.in_flight[0]
    cluster.drop(packet)
    assert packet.number not in [other.number for other in cluster.in_flight]
    dropped = cluster.trace[-1]
    assert dropped.event.reason == "BY_HAND" and dropped.event.packet == packet.number
    assert cluster.trace[dropped.cause].event.packet == packet.number
    cluster.run(3)
    assert packet.number not in [r.event.packet for r in cluster.trace.of(Received)]


def test_a_delivered_packet_arrives_now_and_once():
    cluster = in_flight()
    packet = cluster.in_flight[-1]
    before = cluster.now
    cluster.deliver(packet.number)  # by its number
    assert cluster.now - before < 1e-5
    cluster.run(3)
    arrived = [r for r in cluster.trace.of(Received) if r.event.packet == packet.number]
    assert len(arrived) == 1 and arrived[0].time - before < 1e-5


def test_a_lost_packet_can_still_be_delivered_by_hand():
    cluster = Cluster(3, seed=7, links=Links(loss=1.0))
    cluster.run_until(lambda c: c.in_flight)
    packet = cluster.in_flight[0]
    assert packet.fate == "LOST"
    cluster.deliver(packet)
    assert [r.event.packet for r in cluster.trace.of(Received)] == [packet.number]


def test_a_delayed_packet_arrives_later_and_others_overtake_it():
    cluster = in_flight()
    packet = cluster.in_flight[0]
    cluster.delay(packet, 0.5)
    [event] = [record.event for record in cluster.trace.of(Delayed)]
    assert event.arrives_s == pytest.approx(packet.arrives_s + 0.5)
    assert cluster.in_flight[-1].number == packet.number
    cluster.delay(packet.number, 0.25)  # and once more
    cluster.run(2)
    [arrived] = [r for r in cluster.trace.of(Received) if r.event.packet == packet.number]
    assert arrived.time == pytest.approx(packet.arrives_s + 0.75)


def test_what_is_delivered_to_a_node_that_is_down_is_lost():
    cluster = in_flight()
    packet = cluster.in_flight[0]
    cluster.crash(packet.message.target)
    cluster.deliver(packet)
    assert [r.event.reason for r in cluster.trace.of(Dropped)][-1] == "DOWN"


@pytest.mark.parametrize("verb", ["drop", "deliver", "delay"])
@pytest.mark.parametrize("which", ["gone", 10**9, "x", None])
def test_a_packet_that_is_not_on_the_wire(verb, which):
    cluster = in_flight()
    if which == "gone":
        which = cluster.in_flight[0]
        cluster.drop(which)
    more = (0.1,) if verb == "delay" else ()
    with pytest.raises(ValueError, match="is not on the wire; cluster.in_flight lists"):
        getattr(cluster, verb)(which, *more)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_delay_that_makes_no_sense(seconds):
    cluster = in_flight()
    with pytest.raises(ValueError, match="a delay is a number above 0"):
        cluster.delay(cluster.in_flight[0], seconds)


def test_a_hand_is_quicker_than_any_packet():
    """Packets of one link may share their instant of arrival; the second can still be dropped
    after the first has come."""
    cluster = Cluster(2, seed=1)
    leader = cluster.wait_for_leader()
    cluster.links.latency_s = (0.0, 0.2)
    while True:
        cluster.submit(Put(b"k"), leader)
        cluster.step()
        due = [packet for packet in cluster.in_flight if packet.arrives_s == cluster.now]
        if due:
            break
        assert cluster.now < 20, "no two packets came at one instant"
    cluster.drop(due[0])
    cluster.run(0.1)
    assert due[0].number not in [r.event.packet for r in cluster.trace.of(Received)]


# The story ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_every_packet_ends_once_and_points_at_its_departure(seed):
    cluster = Cluster(5, seed=seed, links=Links(loss=0.1, duplicate=0.1, reorder=0.1))
    for name in ("n1", "n2", "n3"):
        cluster.pause(name)
        cluster.run(1.5)
        cluster.crash(name)  # with mail that it never looked at
        cluster.run(1.5)
        cluster.restart(name)
    cluster.isolate("n4")
    cluster.run(2)
    cluster.heal()
    cluster.run(2)
    sent = {r.event.packet: r for r in cluster.trace.of(Sent)}
    ended: dict[int, str] = {}
    for record in cluster.trace.of(Received, Dropped):
        number = record.event.packet
        assert number not in ended and record.cause == sent[number].seq
        assert record.event.message == sent[number].event.message
        ended[number] = type(record.event).__name__
    flying = {packet.number for packet in cluster.in_flight}
    assert set(sent) == set(ended) | flying and not set(ended) & flying


# A copy by hand ------------------------------------------------------------------------------


def on_its_way(cluster: Cluster, kind: type):
    """Run until a message of that kind is on the wire, and return its packet."""

    def found():
        return [packet for packet in cluster.in_flight if isinstance(packet.message, kind)]

    cluster.run_until(lambda c: found())
    return found()[0]


def test_a_copy_by_hand_flies_as_long_as_the_first_and_throws_no_dice():
    cluster = Cluster(3, seed=7)
    packet = on_its_way(cluster, AppendEntries)
    cluster.run(0.0005)
    other, dice = cluster.fork(), cluster._network._rng.getstate()
    cluster.duplicate(packet)
    assert cluster._network._rng.getstate() == dice
    (copy,) = [p for p in cluster.in_flight if p.number == cluster._network.newest]
    assert copy.message == packet.message and copy.number != packet.number
    assert copy.sent_s == cluster.now
    assert copy.arrives_s - copy.sent_s == pytest.approx(packet.arrives_s - packet.sent_s)
    last = cluster.trace[-1]
    assert last.event == Sent(packet.message, copy.number, copy.arrives_s, "")
    assert last.cause == cluster.trace[packet.cause].cause
    cluster.run(1)
    came = [r.event.packet for r in cluster.trace.of(Received) if r.event.message is copy.message]
    assert came == [packet.number, copy.number]
    assert [packet.number] == [
        r.event.packet
        for r in (other.run(1) or other).trace.of(Received)
        if r.event.message == copy.message
    ]


def test_the_copy_of_a_lost_packet_arrives_and_one_on_a_cut_link_does_not():
    cluster = Cluster(3, seed=7, links=Links(loss=1.0))
    packet = on_its_way(cluster, RequestVote)
    assert packet.fate == "LOST"
    cluster.duplicate(packet.number)
    first = cluster._network.newest
    cluster.run(0.1)
    fates = [(r.event.packet, r.event.reason) for r in cluster.trace.of(Dropped)]
    assert (packet.number, "LOST") in fates and first not in [number for number, _ in fates]
    packet = on_its_way(cluster, RequestVote)
    cluster.cut(packet.message.source, packet.message.target)
    cluster.duplicate(packet)
    second = cluster._network.newest
    cluster.run(0.1)
    assert (second, "CUT") in [(r.event.packet, r.event.reason) for r in cluster.trace.of(Dropped)]


def test_what_cannot_be_doubled_is_refused():
    cluster = Cluster(3, seed=7)
    leader = cluster.wait_for_leader()
    cluster.run(1)
    follower = next(name for name in cluster.nodes if name != leader)
    cluster.submit(Put(b"k", b"v"), follower)
    packet = on_its_way(cluster, ForwardProposal)
    done = len(cluster._done)
    with pytest.raises(ValueError, match="at most once"):
        cluster.duplicate(packet)
    with pytest.raises(ValueError, match="packet 999999 is not on the wire"):
        cluster.duplicate(999_999)
    assert len(cluster._done) == done
