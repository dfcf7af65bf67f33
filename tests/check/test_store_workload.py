"""The workload `store`: it keeps all promises, replays by its seed, and finds what is broken."""

from __future__ import annotations

import pytest

from kvlearn.check.answers import answers
from kvlearn.check.leases import leases
from kvlearn.check.store_workload import StoreChaos
from kvlearn.check.sweep import Case, play, replay, sweep
from kvlearn.check.watches import watches
from kvlearn.check.workloads import WORKLOADS, Driver
from kvlearn.course.lease_mutants import LEASE_MUTANTS
from kvlearn.course.watch_mutants import WATCH_MUTANTS
from kvlearn.events import Applied, LeaseExpired, Notified
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import Compact
from kvlearn.kv.txn import Txn
from kvlearn.raft.raft import Raft
from kvlearn.sim.cluster import Cluster

SHORT = StoreChaos(virtual_s=12.0)


def test_it_keeps_its_promises():
    table = sweep(SHORT, range(6))
    assert list(table.verdict) == ["ok"] * 6, "\n".join(table.replay[table.verdict != "ok"])
    assert table.acknowledged.min() > 50


def test_it_uses_all_of_the_store():
    trace = play(Case(WORKLOADS["store"], 3, 3)).cluster.trace
    done = {type(getattr(record.event.command, "request", None)) for record in trace.of(Applied)}
    assert {Txn, Compact} <= done
    assert any(record.event.response.events for record in trace.of(Notified))
    assert next(trace.of(LeaseExpired), None) is not None


def test_a_seed_gives_the_same_run():
    first, second = play(Case(SHORT, 3, 5)), play(Case(SHORT, 3, 5))
    assert first.digest == second.digest
    assert list(first.cluster.trace.lines()) == list(second.cluster.trace.lines())
    assert replay(first).digest == first.digest


def test_a_run_can_be_written_down_as_a_program(capsys):
    run = play(Case(StoreChaos(virtual_s=6.0), 3, 4))
    names: dict = {}
    exec(compile(run.script(), "run", "exec"), names)
    told = capsys.readouterr().out
    assert "Answers is kept" in told and "broken" not in told
    assert len(names["cluster"].trace) == len(run.cluster.trace)


def is_broken(promise: str, config: StoreConfig, check, seeds: range) -> bool:
    """Whether a store of this make breaks the promise in chaos, under one of the seeds."""
    for seed in seeds:
        plain = SHORT.setup(3, seed)
        kinds = {"hub": config.hub, "lessor": config.lessor}
        fields = {n: getattr(plain.store, n) for n in StoreConfig.__slots__} | kinds
        made = plain._made_with[:-1]
        driver = Driver(Cluster(*made, store=StoreConfig(**fields)), seed)
        SHORT.start(driver)
        SHORT.finish(driver)
        if not check(driver.cluster.trace)[promise].ok:
            return True
    return False


@pytest.mark.parametrize("name", ["ExpiresEarly", "StartsFromNothing", "AddsUp"])
def test_chaos_finds_broken_lessors(name):
    mutant = LEASE_MUTANTS[name]
    assert is_broken(mutant.promise, StoreConfig(lessor=mutant), leases, range(4))


@pytest.mark.parametrize("name", ["RepeatsItself", "ForgetsTheSlow", "TearsTransactions"])
def test_chaos_finds_broken_hubs(name):
    mutant = WATCH_MUTANTS[name]
    assert is_broken(mutant.promise, StoreConfig(hub=mutant), watches, range(4))


def test_answers_finds_a_wrong_answer():
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    client.put("a", "1")
    client.get("a")
    assert answers(cluster.trace).ok
    other = Cluster(3, seed=7)
    liar = other.client()
    liar.put("a", "2")
    liar.get("a")
    told = [record for record in other.trace if record.node == "c1"]
    mixed = type(cluster.trace)(seed=7)
    for record in cluster.trace:
        event = record.event
        if record.node == "c1":
            event = told.pop(0).event
        mixed.add(record.time, record.node, event, record.cause)
    verdict = answers(mixed)
    assert not verdict.ok
    assert "a=2 at revision 2; but it is a=1" in verdict.why


@pytest.mark.parametrize("raft", [Raft])
def test_every_kind_of_trouble_may_come(raft):
    assert WORKLOADS["store"].nemeses == WORKLOADS["chaos"].nemeses
    assert WORKLOADS["store"].setup(3, 1, raft).store != StoreConfig()
