"""The store folded from the trace is the store of the nodes, whatever happens to them."""

from __future__ import annotations

import re
from random import Random

import pytest

from kvlearn import Cluster, RaftConfig, StoreConfig, put, version
from kvlearn.course.lease_mutants import LEASE_MUTANTS, WITNESSES
from kvlearn.errors import RequestError
from kvlearn.events import StateLoaded
from kvlearn.lease import Lessor
from kvlearn.viz import fork, leases, look_store, revisions, streams, trees

SEEDS = range(8)
NAMES = ("n1", "n2", "n3")


def run_of(seed, steps=60):
    """Writes, watches, leases and compactions while nodes crash, pause, are cut off and run fast;
    few kept entries, so that who comes back gets a snapshot."""
    rng = Random(seed)
    config = RaftConfig.etcd(snapshot_entries=8, kept_entries=2)
    store = StoreConfig(checkpoint_s=2.0, sweep_records=3)
    cluster = Cluster(3, seed=seed, config=config, store=store)
    cluster.wait_for_leader()
    client, granted = cluster.client(), []
    for number in range(steps):
        try:
            ask(rng, client, granted, number) if rng.random() < 0.7 else disturb(rng, cluster)
        except (RequestError, ValueError):
            pass  # refused, or a node is down already
    for name in NAMES:
        if not cluster.nodes[name].alive:
            cluster.restart(name)
    cluster.run(4)
    return cluster


def ask(rng, client, granted, number):
    key = rng.choice(["a", "b", "c/1", "c/2"])
    match rng.randrange(9):
        case 0 | 1 | 2:
            client.put(key, str(number), lease=rng.choice([0, *granted]))
        case 3:
            client.delete(key)
        case 4:
            txn = client.txn().if_(version(key) > rng.randrange(3))
            txn.then(put("a", str(number)), put("z", str(number))).else_(put("e", "1")).commit()
        case 5:
            start, prefix = rng.choice([0, 2, 5]), rng.random() < 0.3
            client.watch(key[0], prefix=prefix, start_revision=start, prev_kv=rng.random() < 0.5)
        case 6:
            granted.append(client.lease(rng.randrange(3, 12)))
        case 7:
            client.compact(rng.randrange(1, 30))
        case 8:
            rng.choice(granted).keep_alive_once() if granted else None


def disturb(rng, cluster):
    name = rng.choice(NAMES)
    match rng.randrange(6):
        case 0:
            down = [other for other in NAMES if not cluster.nodes[other].alive]
            cluster.restart(down[0]) if down else cluster.crash(name)
        case 1:
            cluster.isolate(name)
            cluster.run(rng.random() * 3)
            cluster.heal()
        case 2:
            cluster.pause(name)
            cluster.run(rng.random() * 3)
            cluster.resume(name)
        case 3:
            cluster.clock(name).rate = rng.choice([0.5, 1.0, 2.0])
        case _:
            cluster.run(rng.random() * 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fold_of_a_run_is_what_its_nodes_hold(seed):
    cluster = run_of(seed)
    for name in NAMES:
        machine, store = cluster._host(name).node.machine, look_store(cluster, node=name)
        told = f"run_of({seed}), {name}"
        assert not store.caveat, told
        assert (store.applied, store.revision) == (machine.applied, machine.revision), told
        assert store.compacted == machine.store.compacted, told
        held = {id: tuple(sorted(lease.keys)) for id, lease in machine.lessor.leases.items()}
        assert store.held == held, told
        if not machine.store.sweeping:
            assert store.lines == {k: str(i) for k, i in machine.store.index.items()}, told


@pytest.mark.parametrize("seed", SEEDS)
def test_watchers_are_told_what_they_asked_for_and_the_lanes_say_so(seed):
    for life in look_store(run_of(seed)).watches:
        assert not life.missed, f"run_of({seed}), {life.name}"
        assert all(told.times == 1 and not told.wrong for told in life.told), f"run_of({seed})"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_time_left_is_what_the_leader_answers(seed):
    cluster = run_of(seed)
    lives = {life.id: life for life in look_store(cluster).leases if not life.end}
    host = cluster._host(cluster.leader)
    lessor, now = host.node.machine.lessor, host.own_clock.read(cluster.now)
    assert set(lives) == set(lessor.leases), f"run_of({seed})"
    for id, life in lives.items():
        assert life.left == pytest.approx(lessor.remaining(id, now), abs=0.15), f"run_of({seed})"


def test_every_picture_of_every_run_can_be_drawn_and_some_loaded_a_snapshot():
    loaded = 0
    for seed in SEEDS:
        cluster = run_of(seed)
        loaded += sum(1 for _ in cluster.trace.of(StateLoaded))
        for draw in (revisions, trees, streams, leases, fork):
            assert draw(cluster).svg()
    assert loaded


def test_a_lease_that_ends_too_early_is_seen():
    witness = WITNESSES[LEASE_MUTANTS["ExpiresEarly"].witness]
    assert "too early" in leases(witness(LEASE_MUTANTS["ExpiresEarly"])).text
    for name in sorted(WITNESSES):
        assert "too early" not in leases(WITNESSES[name](Lessor)).text, name


class LeavesOne(Lessor):
    """The first key of a lease outlives it."""

    def goes_with(self, lease):
        return super().goes_with(lease)[1:]


@pytest.mark.parametrize("lessor", [Lessor, LeavesOne])
def test_a_cluster_s_own_lessor_carries_its_entries_out(lessor):
    cluster = Cluster(3, seed=1, store=StoreConfig(lessor=lessor, min_ttl_s=4))
    cluster.wait_for_leader()
    client = cluster.client()
    lease = client.lease(2)
    for key in "a", "b":
        client.put(key, "x", lease=lease)
    (life,) = look_store(cluster).leases
    assert life.ttl_s == 4
    lease.revoke()
    store = look_store(cluster)
    (life,) = store.leases
    assert not store.caveat and (life.end, life.revision) == ("revoked", 4)
    assert life.keys == ((b"a", b"b") if lessor is Lessor else (b"b",))


def test_what_has_run_out_and_goes_on_is_seen():
    adds_up = LEASE_MUTANTS["AddsUp"]
    drawn = leases(WITNESSES[adds_up.witness](adds_up))
    (life,) = look_store(WITNESSES[adds_up.witness](adds_up)).leases
    assert life.left == 0 and life.stretches[-1].empty == pytest.approx(life.granted + 5, abs=0.5)
    assert re.search(r"ran out [67].\d s ago", drawn.text)
