"""What the browser is told of the store is what the trace tells, wherever the cursor stands."""

from __future__ import annotations

import json
from random import Random

import pytest

from kvlearn import Cluster
from kvlearn.course.lease_mutants import LEASE_MUTANTS
from kvlearn.course.lease_mutants import WITNESSES as LEASE_WITNESSES
from kvlearn.course.watch_mutants import WATCH_MUTANTS, WITNESSES
from kvlearn.errors import RequestError
from kvlearn.viz.feed import Feed
from kvlearn.viz.store_rows import LISTS
from tests.viz import store_scenes
from tests.viz.front_end import numbers
from tests.viz.store_facts import state_facts, trace_facts
from tests.viz.test_store_runs import NAMES, ask, disturb, run_of

SEEDS = range(6)
SCENES = ("shop", "long", "strange", "watched", "leased", "crowded")


class Page:
    """The rows of a feed, as they travel, under a cursor that goes to and fro."""

    def __init__(self, trace):
        feed = Feed(trace)
        self.trace = trace
        self.rows = json.loads(json.dumps([row.wire() for row in feed.history]))
        self.tables = json.loads(json.dumps(feed.compiler.tables))
        self.last = {k: v for k, v in json.loads(json.dumps(feed.compiler.state()))}
        self.state, self.place = {}, 0

    def go(self, place):
        while self.place < place:
            for patch in self._patches(self.place):
                self._patch(patch, True)
            self.place += 1
        while self.place > place:
            self.place -= 1
            for patch in reversed(self._patches(self.place)):
                self._patch(patch, False)

    def _patches(self, place):
        return self.rows[place][3] if len(self.rows[place]) > 3 else []

    def _patch(self, patch, forwards):
        key, *rest = patch
        if len(rest) == 3:
            gone, come = numbers(rest[1]), numbers(rest[2])
            old, new = (gone, come) if forwards else (come, gone)
            had = self.state.setdefault(key, [])
            assert had[rest[0] : rest[0] + len(old)] == old, key
            had[rest[0] : rest[0] + len(old)] = new
        else:
            old, new = rest if forwards else rest[::-1]
            assert (self.state.get(key) or None) == (old or None) or key[1:].isdigit(), key
            self.state[key] = new


def cursors(trace, seed, count):
    """Record numbers in no order, and for each a few times before the next record, in seconds."""
    rng, chosen = Random(seed), []
    for seq in [len(trace) - 1, *(rng.randrange(len(trace)) for _ in range(count))]:
        begin = trace[seq].time
        end = trace[seq + 1].time if seq + 1 < len(trace) else begin + 2
        gap = end - begin
        chosen.append((seq, [begin + gap * k / 4 for k in (1, 2, 3)] if gap > 1e-5 else []))
    return chosen


def agree(told, true, where):
    for name in true:
        if name != "leases":
            assert told[name] == true[name], f"{where}: {name}"
    assert told["leases"].keys() == true["leases"].keys(), where
    for id, lease in true["leases"].items():
        left = lease.pop("left")
        for have, want in zip(told["leases"][id].pop("left"), left, strict=True):
            assert (have is None) == (want is None), f"{where}: lease {id}"
            assert want is None or abs(have - want) < 5, f"{where}: lease {id}"
    assert told["leases"] == true["leases"], where


def check(trace, seed, count=40, where=""):
    page = Page(trace)
    for seq, times in cursors(trace, seed, count):
        page.go(seq + 1)
        told = state_facts(page.state, page.tables, times)
        agree(told, plain(trace_facts(trace, seq, times)), f"{where}, record {seq}")
    page.go(0)
    assert not any(given for given in page.state.values()), where


def plain(facts):
    return json.loads(json.dumps(facts))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_state_at_any_record_tells_the_facts_of_the_trace(seed):
    check(run_of(seed).trace, seed, where=f"run_of({seed})")


@pytest.mark.parametrize("name", SCENES)
def test_so_it_does_for_scenes_with_much_in_them(name):
    check(getattr(store_scenes, name)().trace, 1, where=name)


@pytest.mark.parametrize("name", WATCH_MUTANTS)
def test_so_it_does_where_a_watch_hub_is_broken(name):
    mutant = WATCH_MUTANTS[name]
    trace = WITNESSES[mutant.witness](mutant)
    check(trace, 2, 12, where=name)
    assert any(w["odd"] or w["missed"] for w in trace_facts(trace, len(trace))["watchers"]) or (
        name not in ("RepeatsItself", "IgnoresFilters", "StartsTooEarly", "ShowsThePresent")
    )


@pytest.mark.parametrize("name", LEASE_MUTANTS)
def test_so_it_does_where_a_lessor_is_broken(name):
    mutant = LEASE_MUTANTS[name]
    check(LEASE_WITNESSES[mutant.witness](mutant), 3, 12, where=name)


def rewound(seed):
    """A cluster that goes back now and then, and the feed that saw all of it."""
    rng, cluster = Random(seed), Cluster(3, seed=seed)
    feed = Feed(cluster.trace)
    cluster.wait_for_leader()
    client, granted = cluster.client(), []
    for number in range(50):
        try:
            ask(rng, client, granted, number) if rng.random() < 0.7 else disturb(rng, cluster)
            if rng.random() < 0.06:
                cluster.wipe(rng.choice(NAMES))
        except (RequestError, ValueError):
            pass  # refused, or a node is down already
        if rng.random() < 0.12:
            feed.sync()
            cluster.rewind(cluster.now * (0.5 + rng.random() / 2))
            granted = [lease for lease in granted if lease.id in known(cluster)]
            feed.sync()
    cluster.run(1)
    feed.sync()
    return cluster, feed


def known(cluster):
    return {int(id) for id in trace_facts(cluster.trace, len(cluster.trace))["leases"]}


@pytest.mark.parametrize("seed", SEEDS)
def test_so_it_does_after_the_run_went_back_and_on(seed):
    cluster, feed = rewound(seed)
    page, where = Page(cluster.trace), f"rewound({seed})"
    page.rows = plain([row.wire() for row in feed.history])
    page.tables = plain(feed.compiler.tables)
    assert len(page.rows) == len(cluster.trace), where
    for seq, times in cursors(cluster.trace, seed, 30):
        page.go(seq + 1)
        told = state_facts(page.state, page.tables, times)
        agree(told, plain(trace_facts(cluster.trace, seq, times)), f"{where}, record {seq}")
    page.go(len(page.rows))
    state = dict(plain(feed.compiler.state()))
    for key in [key for key in page.state if key[:2] in ("s.", "w.", "l.") or key[:5] == "page."]:
        given = state.get(key)
        given = numbers(given or []) if key.endswith(LISTS) else given
        assert (page.state[key] or None) == (given or None), f"{where}: {key}"
