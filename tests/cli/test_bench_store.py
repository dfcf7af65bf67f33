"""`kvlearn bench store` measures what it says; the figures themselves are no matter for a test."""

import sys

import pytest

from kvlearn.cli import bench_store

GOAL = "goal: "


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, size in (("PUTS", 600), ("REVISIONS", 3000), ("LIVE", 300), ("HOT_KEYS", 20)):
        monkeypatch.setattr(bench_store, name, size)


def goals(rows):
    return [(what.strip(), remark) for what, _, _, remark in rows if remark.startswith(GOAL)]


def test_puts_are_beside_a_sorted_dictionary():
    rows = bench_store.bench_puts(1)
    assert goals(rows) == [("ratio", "goal: at least 20 %")] * 3
    own, peer, ratio = (figure for _, figure, _, _ in rows[:3])
    assert ratio == pytest.approx(100 * peer / own) and own > 0


@pytest.mark.parametrize(
    ("order", "keys", "rising"),
    [("sequence", 600, True), ("shuffled", 600, False), ("overwritten", 20, False)],
)
def test_the_pairs_are_what_they_are_called(order, keys, rising):
    pairs = bench_store.some_pairs(order, 600)
    named = [key for key, _ in pairs]
    assert len(pairs) == 600 and len(set(named)) == keys
    assert (named == sorted(named)) == rising
    store = bench_store.filled(pairs)
    assert store.revision == 601
    assert dict(bench_store.inserted(pairs)) == {key: store.get(key).value for key in store.index}


def test_reads_are_beside_a_lookup_and_beside_lmdb():
    pytest.importorskip("lmdb", reason="the row is left out where lmdb is missing")
    rows = bench_store.bench_reads(1)
    assert [remark for _, remark in goals(rows)] == ["goal: at least 20 %", "goal: at least 30 %"]


def test_a_missing_lmdb_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    *_, (what, figure, _, remark) = bench_store.bench_reads(1)
    assert (what, remark) == ("range of 100 keys", "no ratio: lmdb is not installed")
    assert figure > 0


def test_the_memory_is_that_of_a_fresh_python():
    """Here only what it holds: the subprocess holds a million."""
    held = bench_store.hold("dict", 100, 8)
    assert len(held) == 3000 and len({id(key) for key, _ in held.values()}) == 100
    assert len(bench_store.hold("dict", 3000, 8)) == 3000
    assert bench_store.hold("store", 100, 8).revision == 3001
    assert bench_store.resident() > 1 << 20


def test_compaction_leaves_the_living_and_tells_its_longest_step():
    rows = bench_store.bench_compaction()
    assert [remark for _, remark in goals(rows)] == ["goal: at most 20 ms"] * 2


def test_all_watchers_are_told():
    rows = bench_store.bench_watch(1, revisions=2)
    assert [remark for _, remark in goals(rows)] == ["goal: under 2"] * 2
