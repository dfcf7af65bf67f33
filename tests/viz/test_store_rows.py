"""What the browser is told of the store is what the trace tells, wherever the cursor stands."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest

from kvlearn import Cluster
from kvlearn import events as ev
from kvlearn.course.lease_mutants import LEASE_MUTANTS
from kvlearn.course.lease_mutants import WITNESSES as LEASE_WITNESSES
from kvlearn.course.watch_mutants import WATCH_MUTANTS, WITNESSES
from kvlearn.errors import RequestError
from kvlearn.kv.leases import Compact
from kvlearn.kv.watches import WatchCreate
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import Revision
from kvlearn.mvcc.store import Store
from kvlearn.viz import look_store, revisions, trees
from kvlearn.viz.feed import Feed
from kvlearn.viz.store_rows import LISTS, StoreRows
from tests.viz import store_scenes
from tests.viz.front_end import numbers
from tests.viz.store_facts import state_facts, trace_facts
from tests.viz.test_store_runs import NAMES, ask, disturb, run_of

SEEDS = range(6)
VIZ = Path(__file__).parents[2] / "kvlearn" / "viz"
FILES = ("player", "pictures", "axis", "pane_revisions", "pane_trees")
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


def edges():
    """A watch from a deletion that was swept away; one that ends with deletions it did not want;
    one whose node was further than it seemed when the watch was asked for."""
    run = store_scenes.Run("n1")
    run.watch("c1/w1", "n1", "a", prefix=True, filters=("delete",))
    for key in ("a", "b"):
        run.put(key, "1")
    run.delete("a")
    run.cancel("c1/w1")
    run.delete("b")
    run.enter(Compact(4))
    run.watch("c2/w1", "n1", "a", start_revision=4)
    run.ask_progress("c2/w1")
    run.put("b", "2")
    hub, request = run.hubs["n1"], WatchCreate(b"b")
    run.tell("n1", ev.WatchAsked("c3/w1", request, hub.store.revision - 2))
    run.streams["c3/w1"] = "n1"
    hub.create("c3/w1", b"b")
    run.hand_out("n1")
    run.put("b", "3")
    return run.trace


def test_so_it_does_at_the_edges():
    trace = edges()
    swept, late = trace_facts(trace, len(trace))["watchers"][1:]
    assert swept["facts"][3] >= 4 and not swept["missed"]
    assert late["facts"][2] == 7 and late["told"] == [["b", 7]]
    check(trace, 1, where="edges")


@pytest.mark.parametrize("name", SCENES)
def test_whoever_begins_in_the_middle_knows_the_same(name):
    trace, rng = getattr(store_scenes, name)().trace, Random(4)
    for seq in [len(trace) - 1, *(rng.randrange(len(trace)) for _ in range(6))]:
        rows = StoreRows()
        rows.begin(trace, seq)
        state, tables = plain(dict(rows.state())), plain(rows.tables)
        state = {k: numbers(v) if k.endswith(LISTS) else v for k, v in state.items()}
        told, true = state_facts(state, tables), plain(trace_facts(trace, seq))
        for fact in ("changes", "holes", "index", "pages", "fork"):
            assert told[fact] == true[fact], f"{name}, record {seq}: {fact}"


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


# A compaction before it happens: pane_revisions.js shows what it would remove -----------------


def vanishing(changes, revision):
    """The rule of `vanishing` in pane_revisions.js, on (main, sub, kind, key, ...) lists."""
    old = [change for change in changes if change[0] <= revision]
    newest = {change[3]: change for change in old}
    return [change for change in old if newest[change[3]] is not change or change[2] == "delete"]


def written(seed):
    """A store with a random history, and its changes as the browser knows them."""
    rng, store, changes = Random(seed), Store(MemoryBackend()), []
    for number in range(rng.randrange(1, 40)):
        with store.write() as txn:
            for key in rng.sample([b"a", b"b", b"c", b"d"], rng.randrange(1, 4)):
                if rng.random() < 0.35:
                    txn.delete_range(key)
                else:
                    txn.put(key, b"%d" % number)
        for sub, kv in enumerate(txn.changes):
            kind = "delete" if not kv.version else "create" if kv.version == 1 else "modify"
            changes.append([kv.mod_revision, sub, kind, kv.key])
    return rng, store, changes


def records(store):
    return {(at.main, at.sub) for at in (Revision.parse(key) for key, _ in store.backend.range())}


def test_what_would_vanish_is_what_a_compaction_removes():
    gone = 0
    for seed in range(200):
        rng, store, changes = written(seed)
        for _ in range(3):
            if store.compacted >= store.revision:
                break
            revision = rng.randrange(store.compacted + 1, store.revision + 1)
            before = records(store)
            there = [change for change in changes if tuple(change[:2]) in before]
            told = {tuple(change[:2]) for change in vanishing(there, revision)}
            store.compact(revision)
            while store.sweeping:
                store.sweep(3)
            assert told == before - records(store), f"written({seed}), compacted at {revision}"
            gone += len(told)
    assert gone > 1000


# The browser's own files, where something can run them -----------------------------------------

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def asked_of_javascript(page, places, asks):
    """What player.js, pictures.js and the panes make of the rows."""
    tables = {name: [[0, table]] for name, table in page.tables.items()}
    run = {"rows": page.rows, "tables": tables}
    chosen = [[seq + 1, [round(t * 1e6) for t in times]] for seq, times in places]
    told = json.dumps({"run": run, "cursors": chosen, "asks": asks})
    reader = Path(__file__).with_name("store_facts.js")
    files = [str(VIZ / f"{name}.js") for name in FILES]
    done = subprocess.run(
        ["node", str(reader), *files], input=told, capture_output=True, text=True, timeout=60
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@needs_node
@pytest.mark.parametrize("name", [*SEEDS, "edges", "strange", "watched", "leased", "StartsTooLate"])
def test_javascript_tells_the_facts_of_the_trace(name):
    if name in WATCH_MUTANTS:
        trace = WITNESSES[WATCH_MUTANTS[name].witness](WATCH_MUTANTS[name])
    else:
        scene = run_of(name) if name in SEEDS else getattr(store_scenes, name, None)
        trace = edges() if scene is None else scene.trace if name in SEEDS else scene().trace
    page, places = Page(trace), cursors(trace, 7, 25)
    true = plain(trace_facts(trace, len(trace)))
    asks = list(range(1, true["revision"] + 2))
    told = asked_of_javascript(page, places, asks)
    for (seq, times), facts in zip(places, told["told"], strict=True):
        for watcher in facts["watchers"]:
            watcher["told"].sort()
        if name in SEEDS:
            same_words(trace, seq, facts["words"])
        agree(facts, plain(trace_facts(trace, seq, times)), f"{name}, record {seq}")
    holes = [tuple(hole) for hole in true["holes"]]
    there = [change for change in true["changes"] if tuple(change[:2]) not in holes]
    for answer in told["answers"]:
        vanish = [change[:2] for change in vanishing(there, answer["revision"])]
        assert answer["vanish"] == vanish, f"{name}, compaction at {answer['revision']}"


def same_words(trace, seq, words):
    """The panes say line by line what the static pictures say."""
    store = look_store(trace, seq=seq)
    if not store.changes:
        return
    twins = [draw(store).text.splitlines() for draw in (revisions, trees)]
    for said, twin in zip(words, twins, strict=True):
        assert said[1:] == [line for line in twin[1:] if line != store.caveat], f"record {seq}"


@needs_node
@pytest.mark.parametrize("seed", SEEDS)
def test_a_read_in_the_past_answers_what_a_node_answers(seed):
    cluster = run_of(seed)
    name = max(NAMES, key=lambda name: cluster._host(name).node.machine.revision)
    store = cluster._host(name).node.machine.store
    asks = list(range(1, store.revision + 3))
    told = asked_of_javascript(Page(cluster.trace), [], asks)
    kinds = set()
    for answer in told["answers"]:
        for key, have in answer["get"].items():
            want = read(store, key.encode(), answer["revision"])
            kinds.add(want if isinstance(want, str) else type(want))
            assert have == want, f"run_of({seed}): {key} at {answer['revision']}"
    assert {list, type(None)} <= kinds


def read(store, key, revision):
    try:
        store.readable(revision)
        kv = store.get(key, revision)
    except RequestError as error:
        return error.text.removeprefix("etcdserver: mvcc: ")
    if kv is None:
        return None
    at = Revision.parse(store.index.find(key, revision))
    return [at.main, at.sub, kv.value.decode(), kv.version]
