"""What lesson 12's prose says of its seeded runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, StoreConfig
from kvlearn import check as checks
from kvlearn.check.watches import WATCH_PROMISES
from kvlearn.course import compare
from kvlearn.course.exercises.watch import (
    SIX,
    first_break,
    how_far,
    node_fails,
    one_transaction,
    server_of,
    shop,
    six_breaks,
    slow_reader,
)
from kvlearn.course.watch_mutants import (
    ForgetsTheSlow,
    PromisesTooMuch,
    StartsTooLate,
    TearsTransactions,
)
from kvlearn.errors import Compacted
from kvlearn.mvcc.watch import WatchHub
from kvlearn.viz import streams


def revisions_of(watcher) -> list[int]:
    return [event.kv.mod_revision for event in watcher.events()]


def test_the_shop_is_at_revision_7_and_6_was_a_transaction():
    cluster, client = shop()
    assert {node.revision for node in cluster.nodes.values()} == {7}
    pairs = client.get("stock/", prefix=True, revision=6).kvs
    assert [kv.key_text for kv in pairs if kv.mod_revision == 6] == ["stock/apple", "stock/plum"]
    assert client.get("price/apple").kv.mod_revision == 7


def test_three_watches_of_the_past_the_present_and_the_future():
    cluster, writer = shop()
    reader = cluster.client()
    watchers = [reader.watch("stock/", prefix=True, start_revision=n) for n in (2, 0, 9)]
    cluster.run(0.5)
    writer.put("stock/apple", "6")
    writer.put("stock/apple", "5")
    cluster.run(0.5)
    assert list(map(revisions_of, watchers)) == [[2, 3, 4, 5, 6, 6, 8, 9], [8, 9], [9]]
    first, history, *present = watchers[0].responses
    assert first.created and first.revision == 7
    assert len(history.events) == 6 and [len(one.events) for one in present] == [1, 1]
    gone = reader.watch("stock/", prefix=True, start_revision=2, filters=("put",), prev_kv=True)
    cluster.run(0.5)
    (event,) = gone.events()
    assert (event.type, event.kv.mod_revision, event.prev_kv.text) == ("delete", 5, "4")


def test_a_slow_client_gets_all_and_a_quiet_one_learns_how_far_it_is():
    cluster = Cluster(3, seed=2, store=StoreConfig(watch_queue=2))
    watcher, writer = cluster.client().watch("a"), cluster.client()
    watcher.hold()
    for number in range(6):
        writer.put("a", str(number))
    cluster.run(0.5)
    assert "6 behind" in streams(cluster).text
    watcher.release()
    cluster.run(0.5)
    assert [len(one.events) for one in watcher.responses] == [0, 1, 1, 4]
    assert [event.kv.text for event in watcher.events()] == list("012345")
    quiet = cluster.client().watch("z")
    for number in range(5):
        writer.put("a", str(number))
    assert (quiet.revision, quiet.progress()) == (7, 12)
    writer.compact(10)
    late = cluster.client().watch("a", start_revision=4)
    with pytest.raises(Compacted):
        late.recv()
    created, canceled = late.responses
    assert created.created and canceled.compact_revision == 10
    assert checks.watches(cluster.trace).ok


def test_the_defaults_that_it_names():
    config = StoreConfig()
    assert (config.watch_queue, config.sync_s, config.progress_s) == (128, 0.1, 600.0)


def test_a_watch_goes_on_at_n2_and_loses_nothing():
    cluster = Cluster(3, seed=1)
    watcher = node_fails(cluster)
    assert [event.kv.text for event in watcher.events()] == ["1", "2", "3", "4"]
    assert not cluster.nodes["n1"].alive and server_of(cluster, watcher) == "n2"
    assert checks.watches(cluster.trace).ok


def test_each_of_the_six_is_broken_by_its_hub_and_by_no_other():
    assert [hub.promise for hub in SIX] == list(WATCH_PROMISES[:6])
    for hub, scene in SIX.items():
        assert first_break(scene, hub).startswith(f"{hub.promise}: ")
        assert first_break(scene, WatchHub) == ""
    told = str(six_breaks())
    assert all(f"{hub.__name__}  " in told and hub.promise in told for hub in SIX)


@pytest.mark.parametrize(
    ("scene", "mutant", "store"),
    [
        (slow_reader, ForgetsTheSlow, {"watch_queue": 2}),
        (one_transaction, TearsTransactions, {}),
        (node_fails, StartsTooLate, {}),
        (how_far, PromisesTooMuch, {}),
    ],
)
def test_the_comparisons_show_the_broken_promise(scene, mutant, store):
    comparison = compare(scene, mutant, size=3, **store)
    assert comparison.first is not None
    assert f"✗ {mutant.promise} is broken" in str(comparison)
    assert "✓ every promise is kept" in str(comparison)


def test_a_bookmark_that_says_too_much_hides_three_changes():
    told = str(compare(how_far, PromisesTooMuch, size=3))
    assert "at revision 4: progress" in told and "put a=1, put a=2, put a=3" in told
