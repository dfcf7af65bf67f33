"""Elections: who leads, what is proclaimed, and who looks on."""

from __future__ import annotations

import pytest

from kvlearn import Cluster
from kvlearn.errors import ElectionNoLeader, ElectionNotLeader, TimedOut
from kvlearn.recipes import Election
from tests.recipes.stage import line_at, past, play


def candidates(count: int, ttl_s: int = 4, seed: int = 7):
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    return cluster, [Election(cluster.client(), "boss", ttl_s) for _ in range(count)]


def test_the_first_one_leads_and_the_next_one_when_it_resigns():
    cluster, (one, other) = candidates(2)
    with pytest.raises(ElectionNoLeader, match="election: no leader"):
        one.leader()
    assert one.campaign("ann") and not other.campaign("bob", wait=False)
    leader = other.leader()
    assert leader.text == "ann" and leader.create_revision == one.token == leader.mod_revision
    assert leader.key_text == one.key == f"boss/{one.session.lease.id:x}"
    assert one.resign() and one.resign(), "who does not stand, resigns from nothing"
    assert other.campaign("bob") and one.leader().text == "bob" and other.is_leader()


def test_campaigning_again_changes_the_value_in_place():
    cluster, (one, _) = candidates(2)
    one.campaign("ann")
    token = one.token
    assert one.campaign("ann, again") and one.token == token
    twin = Election(one.session, "boss")  # the same lease
    assert twin.campaign("her twin") and twin.token == token
    kv = one.leader()
    assert (kv.text, kv.create_revision, kv.version) == ("her twin", token, 3)


def test_a_proclamation_says_something_else_in_the_same_reign():
    cluster, (one, other) = candidates(2)
    one.campaign("ann")
    one.proclaim("ann: free beer")
    assert other.leader().text == "ann: free beer"
    assert other.leader().lease == one.session.lease.id, "it still hangs on the lease"
    assert other.leader().create_revision == one.token


def test_only_the_leader_proclaims():
    cluster, (one, other) = candidates(2)
    one.campaign("ann"), other.campaign("bob", wait=False)
    with pytest.raises(ElectionNotLeader, match="election: not leader"):
        other.proclaim("me!")
    with pytest.raises(ElectionNotLeader):
        _ = other.guard
    assert one.leader().text == "ann"


@pytest.mark.parametrize("seed", range(3))
def test_a_leader_that_slept_too_long_cannot_proclaim(seed):
    cluster, (one, other) = candidates(2, seed=seed)
    one.campaign("ann")
    cluster.pause("c1")
    assert other.campaign("bob", timeout_s=20) and other.token > one.token
    cluster.resume("c1")
    assert one.state == "held", "so it believes"
    with pytest.raises(ElectionNotLeader):
        one.proclaim("still me")
    assert one.lost and not one.is_leader() and one.leader().text == "bob"


def test_a_proclamation_without_an_answer_is_looked_up():
    cluster, (one, _) = candidates(2)
    one.campaign("ann")
    channel, call = one.session.client.channel, one.session.client.channel.call

    def lossy(endpoint, request, timeout_s):
        call(endpoint, request, timeout_s)
        channel.call = call
        raise TimedOut()

    channel.call = lossy
    one.proclaim("once")
    assert one.leader().version == 2, "said once"
    one.proclaim("twice")
    assert one.leader().text == "twice"


def test_a_proclamation_that_comes_late_does_not_undo_a_later_one():
    cluster, (one, _) = candidates(2)
    one.campaign("ann")
    client, old = one.session.client, []
    channel, call = client.channel, client.channel.call

    def late(endpoint, request, timeout_s):
        channel.call = call
        old.append(request)
        raise TimedOut()

    channel.call = late
    one.proclaim("first")  # asked again, since it was not carried out
    one.proclaim("second")
    assert not client.call(old[0]).succeeded and one.leader().text == "second"


def test_a_candidate_that_lost_its_lease_stands_anew():
    cluster, (one, _) = candidates(2, ttl_s=3)
    one.campaign("ann")
    token = one.token
    cluster.pause("c1")
    cluster.run(10)
    cluster.resume("c1")
    cluster.run(1)
    assert one.lost and one.campaign("ann is back") and one.token > token
    assert one.leader().text == "ann is back" and not one.lost


# Looking on ---------------------------------------------------------------------------------


def test_who_looks_on_hears_each_leader_and_what_it_says():
    cluster, (one, other, third) = candidates(3)
    with third.observe() as leaders:
        assert leaders.poll() == []
        one.campaign("ann"), other.campaign("bob", wait=False)
        assert [kv.text for kv in leaders.wait()] == ["ann"]
        one.proclaim("ann: 1"), one.proclaim("ann: 2")
        cluster.run(0.5)
        assert [kv.text for kv in leaders.poll()] == ["ann: 1", "ann: 2"]
        one.resign()  # bob's key is older than ann's last word
        cluster.run(0.5)
        assert [kv.text for kv in leaders.poll()] == ["bob"] and leaders.poll() == []
        cluster.crash("c2")
        with pytest.raises(TimedOut):
            leaders.wait(timeout_s=1)
        third.campaign("eve", timeout_s=20)
        assert [kv.text for kv in leaders.wait()] == ["eve"]


def test_looking_on_goes_on_when_the_node_crashes_or_history_is_gone():
    cluster, (one, other) = candidates(2)
    leaders = other.observe()
    one.campaign("ann")
    assert [kv.text for kv in leaders.poll()] == ["ann"]
    leaders._watcher.hold()
    cluster.crash(cluster._clients.streams[leaders._watcher.stream].node)
    one.proclaim("unheard")
    one.proclaim("latest")
    client = cluster.client()
    client.compact(client.get("x").header.revision)
    leaders._watcher.release()
    cluster.run(2)
    assert [kv.text for kv in leaders.poll()][-1] == "latest"
    assert [kv.text for kv in leaders] == [], "and nothing twice"


def test_a_leader_whose_going_was_compacted_away_is_found_gone():
    cluster, (one, other) = candidates(2)
    leaders = other.observe()
    one.campaign("ann"), other.campaign("bob", wait=False)
    assert [kv.text for kv in leaders.poll()] == ["ann"]
    one.proclaim("ann: last word")
    cluster.run(0.5)
    assert [kv.text for kv in leaders.poll()] == ["ann: last word"]
    node = cluster._clients.streams[leaders._watcher.stream].node
    cluster.isolate(node)
    cluster.run(2)
    client = cluster.client()
    client.compact(client.delete(one.key).header.revision)
    cluster.crash(node)
    cluster.run(2)
    assert [kv.text for kv in leaders.poll()] == ["bob"]
    assert other.campaign("bob", timeout_s=10)


def test_the_same_leader_is_not_told_twice_when_one_has_to_look_again():
    cluster, (one, other) = candidates(2)
    leaders = other.observe()
    one.campaign("ann")
    assert [kv.text for kv in leaders.poll()] == ["ann"]
    watcher = leaders._watcher
    watcher.hold()
    cluster.crash(cluster._clients.streams[watcher.stream].node)
    client = cluster.client()
    for _ in range(3):
        revision = client.put("x", "").header.revision
    client.compact(revision)
    watcher.release()
    cluster.run(2)
    assert leaders.poll() == [] and leaders._watcher is not watcher, "it looked again"


# In trouble ---------------------------------------------------------------------------------


class Candidate:
    """Stands, reigns for a while, proclaims, resigns, and stands again."""

    def __init__(self, client):
        self.election = Election(client, "boss", ttl_s=3)
        self.left = 0
        self.reigns: list[tuple[int, int]] = []

    def __call__(self) -> None:
        election = self.election
        match election._place.state:
            case "held" if self.left:
                self.left -= 1
                election.proclaim(f"{election.token} says {self.left}")
            case "held":
                election.resign()
            case "waiting":
                self.began(election.poll())
            case _:
                self.began(election.campaign("new", wait=False))

    def began(self, leads: bool) -> None:
        if leads:
            self.left = 2
            self.reigns.append((self.election.token, self.election._place.held_from))


@pytest.mark.parametrize("seed", range(5))
def test_there_is_one_leader_and_who_looks_on_hears_them_in_order(seed):
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    actors = {}
    for _ in range(3):
        client = cluster.client(timeout_s=1)
        actors[client.name] = Candidate(client)
    watch = cluster.client(timeout_s=1)
    leaders, heard = Election(watch, "boss").observe(), []
    play(seed, cluster, {**actors, watch.name: lambda: heard.extend(leaders.poll())}, 120, "nplcc")
    history = past(cluster, "boss/")
    reigns = sorted(reign for actor in actors.values() for reign in actor.reigns)
    assert len(reigns) > 4, f"seed {seed}: too little happened"
    for token, revision in reigns:
        assert line_at(history, revision)[0] == token, f"seed {seed}: {token} at {revision}"
    for event in history:
        if event.type == "put" and b"says" in event.kv.value:
            line = line_at(history, event.kv.mod_revision)
            assert line[0] == event.kv.create_revision, f"seed {seed}: {event} by no leader"
    heard += leaders.poll()
    assert [kv.create_revision for kv in heard] == sorted(kv.create_revision for kv in heard)
    assert len({kv.mod_revision for kv in heard}) == len(heard), f"seed {seed}: told twice"
    try:
        assert heard[-1] == actors["c1"].election.leader()
    except ElectionNoLeader:
        pass


def test_errors_arrive_as_from_etcds_service():
    assert ElectionNoLeader().code == ElectionNotLeader().code == "UNKNOWN"
    assert str(ElectionNoLeader()) == "election: no leader"
    assert str(ElectionNotLeader()) == "election: not leader"
