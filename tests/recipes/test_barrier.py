"""Barriers: nobody passes too early, nobody waits for the dead."""

from __future__ import annotations

from random import Random

import pytest

from kvlearn import Cluster
from kvlearn.errors import KeyExists, LockReleased, RequestError, SessionExpired, TimedOut
from kvlearn.kv.txn import Txn
from kvlearn.recipes import Barrier, DoubleBarrier
from tests.recipes.stage import past, play


def cluster_of_three(seed: int = 7) -> Cluster:
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    return cluster


def test_who_waits_goes_on_when_the_barrier_is_taken_down():
    cluster = cluster_of_three()
    gate, one, two = (Barrier(cluster.client(), "gate") for _ in range(3))
    one.wait(), two.wait()
    gate.hold()
    assert not one.poll() and not two.poll()
    with pytest.raises(TimedOut):
        one.wait(timeout_s=2)
    cluster.crash(cluster._clients.streams["c3/w1"].node)  # it served a watch
    assert gate.release() and not gate.release()
    one.wait(timeout_s=5), two.wait(timeout_s=5)


def test_a_barrier_is_put_up_once():
    cluster = cluster_of_three()
    gate = Barrier(cluster.client(), "gate")
    gate.hold()
    with pytest.raises(KeyExists, match="key already exists"):
        Barrier(cluster.client(), "gate").hold()
    kv = cluster.client().get("gate").kv
    assert kv.value == b"" and kv.lease == 0 and kv.version == 1


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_hold_without_an_answer_is_looked_up(carried_out):
    cluster = cluster_of_three()
    gate = Barrier(client := cluster.client(), "gate")
    channel, call = client.channel, client.channel.call

    def lossy(endpoint, request, timeout_s):
        if isinstance(request, Txn) and not carried_out:
            raise TimedOut()
        answer = call(endpoint, request, timeout_s)
        if isinstance(request, Txn):
            raise TimedOut()
        return answer

    channel.call = lossy
    if carried_out:
        gate.hold()
    else:
        with pytest.raises(TimedOut):
            gate.hold()
    assert gate.poll() != carried_out


# All together -------------------------------------------------------------------------------


def party(n: int, count: int, seed: int = 7, ttl_s: int = 4):
    cluster = cluster_of_three(seed)
    return cluster, [DoubleBarrier(cluster.client(), "party", n, ttl_s) for _ in range(count)]


def test_n_go_in_together_and_come_out_together():
    cluster, guests = party(3, 3)
    assert [guest.enter(wait=False) for guest in guests] == [False, False, True]
    cluster.run(0.5)
    assert [guest.poll() for guest in guests] == [True, True, True]
    assert [guest.leave(wait=False) for guest in guests] == [False, False, True]
    cluster.run(0.5)
    assert [guest.poll() for guest in guests[:2]] == [True, True]
    assert [guest.state for guest in guests] == ["idle"] * 3


def test_it_can_be_used_again_and_rounds_do_not_mix():
    cluster, guests = party(2, 4)
    first, second = guests[:2], guests[2:]
    for guest in first + second:
        guest.enter(wait=False)
    cluster.run(0.5)
    assert [guest.poll() for guest in guests] == [True, True, False, False], "two of four"
    first[0].leave(wait=False)
    assert not first[0].enter(wait=False), "it comes again, and is one of a later round"
    cluster.run(0.5)
    assert not any(guest.poll() for guest in second), "the last round has not ended"
    assert first[1].leave(timeout_s=5)
    cluster.run(0.5)
    assert [guest.poll() for guest in second] == [True, True] and not first[0].poll()


def test_who_came_just_after_the_last_one_is_not_let_in():
    cluster, guests = party(2, 3)
    for guest in guests:
        guest._place.join(b"", give_up=0)  # all are there before anybody looks
    assert [guest.poll() for guest in guests] == [True, True, False]


def test_who_opens_too_late_changes_nothing():
    """Two may see at once that all are there; the slower one may be slower by a whole round."""
    cluster, (one, two) = party(2, 2)
    one.enter(wait=False), two.enter()
    ready = cluster.client().get("party/ready").kv
    one._open(None, 1_000)
    assert cluster.client().get("party/ready").kv == ready


def test_who_gives_up_is_not_counted():
    cluster, (one, two, three) = party(2, 3)
    with pytest.raises(TimedOut):
        one.enter(timeout_s=2)
    assert one.state == "idle" and not two.enter(wait=False)
    assert three.enter() and two.enter()
    with pytest.raises(LockReleased, match="not inside"):
        one.leave()


def test_nobody_waits_for_the_dead():
    cluster, (one, two, three) = party(2, 3)
    one.enter(wait=False)
    cluster.crash("c1")
    cluster.run(12)
    assert not two.enter(wait=False), "one of the two is dead"
    assert three.enter() and two.enter()
    cluster.crash("c3")
    assert two.leave(timeout_s=20), "its key goes with its lease"


def test_who_slept_outside_is_told():
    cluster, (one, two) = party(2, 2, ttl_s=3)
    one.enter(wait=False)
    cluster.pause("c1")
    cluster.run(10)
    cluster.resume("c1")
    cluster.run(1)
    assert one.state == "lost"
    with pytest.raises(SessionExpired):
        one.poll()
    assert not two.enter(wait=False) and one.enter() and two.enter()


class Guest:
    """Comes in, stays a while, leaves, and comes again."""

    def __init__(self, client, rng: Random):
        self.barrier = DoubleBarrier(client, "party", 3, ttl_s=3)
        self.rng = rng
        self.rounds: list[int] = []

    def __call__(self) -> None:
        barrier = self.barrier
        match barrier.state:
            case "inside":
                if self.rng.random() < 0.5:
                    barrier.leave(wait=False)
            case "waiting":
                self.came(barrier.poll())
            case "leaving":
                barrier.poll()
            case _:
                self.came(barrier.enter(wait=False))

    def came(self, inside: bool) -> None:
        if inside:
            self.rounds.append(self.barrier._round)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_was_let_in_before_all_were_there(seed):
    cluster = cluster_of_three(seed)
    guests = {}
    for number in range(4):
        client = cluster.client(timeout_s=1)
        guests[client.name] = Guest(client, Random(f"{seed}/{number}"))
    play(seed, cluster, guests, 150, "nplcx")
    there: dict[bytes, int] = {}
    at_best: list[int] = []  # who was there when the last one came
    opened = [0]
    for event in past(cluster, "party/"):
        if event.kv.key == b"party/ready":
            upto = int(event.kv.text)
            assert sum(revision <= upto for revision in at_best) >= 3, f"seed {seed}"
            assert not any(r <= opened[-1] for r in there.values()), f"seed {seed}: still inside"
            opened.append(upto)
        elif event.type == "put":
            there[event.kv.key] = event.kv.create_revision
            at_best = [*there.values()]
        else:
            del there[event.kv.key]
    rounds = [one for guest in guests.values() for one in guest.rounds]
    assert len(opened) > 2, f"seed {seed}: too little happened"
    assert set(rounds) <= set(opened)
    assert all(rounds.count(one) <= 3 for one in opened), f"seed {seed}: more than three inside"


@pytest.mark.parametrize("n", [0, "2"])
def test_a_barrier_for_nobody_is_refused(n):
    with pytest.raises(ValueError, match="number of participants"):
        DoubleBarrier(Cluster(1).client(), "party", n)


def test_a_barrier_without_an_answer_may_be_tried_again():
    cluster, (one, two) = party(2, 2)
    for name in ("n2", "n3"):
        cluster.crash(name)
    one._client.timeout_s = 1
    with pytest.raises(RequestError):
        one.enter(timeout_s=2)
    for name in ("n2", "n3"):
        cluster.restart(name)
    cluster.wait_for_leader()
    one._client.timeout_s = 5
    assert not one.enter(wait=False) and two.enter() and one.enter()
