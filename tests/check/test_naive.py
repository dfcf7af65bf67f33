"""The list of changes that judges the store, against what is written down about etcd.

What the store and the list say of random programs is in tests/mvcc/test_programs.py.
"""

from __future__ import annotations

import ast
import inspect

import pytest

from kvlearn.check import naive as naive_module
from kvlearn.check.naive import NaiveStore
from kvlearn.kv.leases import Compact, LeaseGrant, LeaseRevoke
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.kv.txn import Compare, Txn


def store(*requests) -> NaiveStore:
    naive = NaiveStore()
    for request in requests:
        assert naive.apply(request)[1] == ""
    return naive


def test_it_shares_no_code_with_what_it_judges():
    """It takes words (requests, results, pairs), and no machinery."""
    imported = {
        f"{node.module}.{name.name}"
        for node in ast.walk(ast.parse(inspect.getsource(naive_module)))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("kvlearn")
        for name in node.names
    }
    rooms = {name.rpartition(".")[0] for name in imported}
    assert rooms == {"kvlearn.kv.leases", "kvlearn.kv.requests", "kvlearn.kv.txn"} | {
        "kvlearn.mvcc.revision"
    }
    assert all(name.rpartition(".")[2][0].isupper() for name in imported)  # classes, no functions


def test_revisions_count_requests_that_change_something():
    """Facts 1 to 6."""
    naive = NaiveStore()
    assert naive.revision == 1
    for request, revision in [
        (Put(b"a", b"1"), 2),
        (Put(b"a", b"1"), 3),
        (DeleteRange(b"x"), 3),
        (Txn((), (Range(b"a"),)), 3),
        (Txn((), (Put(b"b"), Put(b"c"))), 4),
        (DeleteRange(b"a", b"z"), 5),
        (LeaseGrant(9, 7), 5),
        (LeaseRevoke(7), 5),
        (Compact(4), 5),
        (Put(b"a", b"2"), 6),
    ]:
        assert naive.apply(request)[1] == ""
        assert naive.revision == revision, request
    assert [str(change) for change in naive.changes] == [
        *("2.0 put a=1", "3.0 put a=1", "4.0 put b=", "4.1 put c="),
        *("5.0 delete a", "5.1 delete b", "5.2 delete c", "6.0 put a=2"),
    ]
    kv = naive.get(b"a", 3)
    assert (kv.create_revision, kv.mod_revision, kv.version) == (2, 3, 2)
    kv = naive.get(b"a")
    assert (kv.create_revision, kv.mod_revision, kv.version) == (6, 6, 1)


def test_the_past_is_what_it_was():
    naive = store(Put(b"a", b"1"), Put(b"b", b"2"), Put(b"a", b"3"), DeleteRange(b"a"))
    told = {
        revision: " ".join(map(str, naive.range(b"a", b"z", revision))) for revision in range(1, 6)
    }
    assert told == {1: "", 2: "a=1", 3: "a=1 b=2", 4: "a=3 b=2", 5: "b=2"}
    assert [str(c) for c in naive.events(b"a", b"", 4)] == ["4.0 put a=3", "5.0 delete a"]
    assert [str(c) for c in naive.events(b"a", b"\0", 3)][0] == "3.0 put b=2"


@pytest.mark.parametrize(
    "request_, reason",
    [
        (Put(b"a", b"", 5), "LeaseNotFound"),
        (Put(b"x", ignore_value=True), "KeyNotFound"),
        (Put(b"x", ignore_lease=True), "KeyNotFound"),
        (Put(b"x", lease=5, ignore_value=True), "LeaseNotFound"),
        (Txn((), (Put(b"x", lease=5, ignore_value=True),)), "KeyNotFound"),  # fact 21
        (Txn((), (Put(b"y"), Range(b"a", revision=9))), "FutureRevision"),
        (Txn((), (Put(b"y"), Range(b"a", revision=2))), "Compacted"),
        (Txn((), (Range(b"a", revision=9), Put(b"y", lease=5))), "LeaseNotFound"),
        (Txn((), (Txn((), (Put(b"y", lease=5),)),)), "LeaseNotFound"),
        (Compact(3), "Compacted"),
        (Compact(5), "FutureRevision"),
        (LeaseGrant(5, 1), "LeaseExists"),
        (LeaseGrant(9_000_000_001, 2), "LeaseTtlTooLarge"),
        (LeaseRevoke(5), "LeaseNotFound"),
    ],
)
def test_refusals_change_nothing(request_, reason):
    naive = store(Put(b"a"), Put(b"a"), Put(b"a"), LeaseGrant(9, 1), Compact(3))
    assert naive.apply(request_) == (None, reason)
    assert (naive.revision, len(naive.changes), naive.compacted) == (4, 3, 3)
    assert list(naive.leases) == [1]


def test_the_branch_that_does_not_run_refuses_nothing():
    missing = (Put(b"y", lease=5),)
    naive = store(Txn((), (Put(b"a"),), missing))
    assert naive.revision == 2


@pytest.mark.parametrize(
    "compare, holds",
    [
        (Compare(b"x", "version", "equal", 0), True),
        (Compare(b"x", "value", "not_equal", b"1"), False),  # fact 24
        (Compare(b"x", "value", "equal", b""), False),
        (Compare(b"a", "value", "greater", b"1"), True),
        (Compare(b"a", "value", "equal", 2), False),  # fact 25: another kind counts as empty
        (Compare(b"a", "mod", "less", 4), True),
        (Compare(b"a", "create", "equal", 2), True),
        (Compare(b"a", "lease", "equal", 1), False),
        (Compare(b"a", "version", "greater", 0, b"c"), True),
        (Compare(b"a", "version", "greater", 1, b"c"), False),  # fact 26: b has version 1
        (Compare(b"x", "version", "equal", 0, b"z"), True),
    ],
)
def test_comparisons(compare, holds):
    naive = store(Put(b"a", b"1"), Put(b"a", b"2"), Put(b"b", b"3"))
    result, _ = naive.apply(Txn((compare,)))
    assert result.succeeded is holds


def test_a_nested_comparison_does_not_see_what_was_written_but_a_read_does():
    """Facts 27, 28 and 30."""
    inner = Txn((Compare(b"a", "version", "equal", 0),), (Put(b"b"),), (Put(b"c"),))
    result, _ = store().apply(Txn((), (Range(b"a"), Put(b"a", b"1"), inner, Range(b"a", b"z"))))
    assert [response.revision for response in result.responses] == [1, 2, 0, 2]
    assert result.responses[2].result.succeeded
    assert [kv.key for kv in result.responses[3].result.kvs] == [b"a", b"b"]


def test_leases_take_their_keys_along():
    naive = store(LeaseGrant(1, 7), LeaseGrant(9, 8))
    assert naive.leases == {7: 2, 8: 9}  # too short a time is raised
    for key, lease in (b"b", 7), (b"a", 7), (b"c", 8), (b"d", 7):
        naive.apply(Put(key, b"", lease))
    naive.apply(Put(b"d"))  # fact 19: detached
    naive.apply(Put(b"b", b"2", ignore_lease=True))
    naive.apply(LeaseRevoke(7))
    assert [str(change) for change in naive.changes[-2:]] == ["8.0 delete a", "8.1 delete b"]
    assert [kv.key for kv in naive.range(b"\0", b"\0")] == [b"c", b"d"]


def test_a_compaction_is_a_number():
    naive = store(Put(b"a", b"1"), DeleteRange(b"a"), Put(b"b"), Compact(3))
    assert (naive.compacted, naive.revision, naive.get(b"a", 2).value) == (3, 4, b"1")
    assert naive.apply(Range(b"a", revision=2)) == (None, "Compacted")
    assert naive.apply(Range(b"a", revision=3))[1] == ""


def test_reads_filter_sort_and_cut():
    naive = store(Put(b"a", b"3"), Put(b"b", b"1"), Put(b"c", b"2"), Put(b"a", b"4"))

    def read(**fields) -> str:
        result, _ = naive.apply(Range(b"a", b"z", **fields))
        more = " …" if result.more else ""
        return " ".join(kv.key_text for kv in result.kvs) + more + f" ({result.count})"

    assert read() == "a b c (3)"
    assert read(limit=2) == "a b … (3)"
    assert read(limit=2, min_mod_revision=4) == "a c (3)"
    assert read(sort_target="value") == "b c a (3)"
    assert read(sort_order="descend") == "c b a (3)"
    assert read(max_create_revision=3, sort_target="mod", sort_order="descend") == "a b (3)"
    assert read(count_only=True, limit=1) == " (3)"
    assert naive.apply(Range(b"a", keys_only=True))[0].kvs[0].value == b""


def test_what_does_not_concern_the_keys_gives_nothing():
    naive = store(Put(b"a"))
    assert naive.apply(None) == (None, "")
    assert naive.apply(object()) == (None, "")
    assert naive.revision == 2
