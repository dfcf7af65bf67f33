"""Transactions: each table is a numbered fact of what etcd 3.4 and 3.5 were seen to do."""

import pytest

from kvlearn import errors
from kvlearn.kv.leases import Compact, LeaseGrant
from kvlearn.kv.requests import (
    FROM_KEY,
    DeleteRange,
    DeleteResult,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from kvlearn.kv.txn import MAX_OPS, RESULTS, Compare, OpResult, Txn, TxnResult
from tests.kv.driver import Driver

INVALID = "INVALID_ARGUMENT"
NO_KEY = (INVALID, "etcdserver: key is not provided")
NOT_FOUND = (INVALID, "etcdserver: key not found")
VALUE = (INVALID, "etcdserver: value is provided")
LEASE = (INVALID, "etcdserver: lease is provided")
DUPLICATE = (INVALID, "etcdserver: duplicate key given in txn request")
TOO_MANY = (INVALID, "etcdserver: too many operations in txn request")
NO_LEASE = ("NOT_FOUND", "etcdserver: requested lease not found")
FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
COMPACTED = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")


@pytest.fixture
def do() -> Driver:
    """2: a=1, 3: b=2, 4: b=3, 5: c=4 on lease 7, 6: delete d, put at 6 and 7 deleted."""
    do = Driver()
    do(LeaseGrant(100, 7))
    for put in (Put(b"a", b"1"), Put(b"b", b"2"), Put(b"b", b"3"), Put(b"c", b"4", 7), Put(b"d")):
        do(put)
    do(DeleteRange(b"d"))
    return do


def holds(do: Driver, *compares: Compare) -> bool:
    before = do.machine.revision
    succeeded = do(Txn(compares)).succeeded
    assert do.machine.revision == before
    return succeeded


# Fact 24: a missing key -------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"nobody", b"d"])
@pytest.mark.parametrize("target", ["version", "create", "mod", "lease"])
@pytest.mark.parametrize(
    ("result", "against_0", "against_1", "against_minus_1"),
    [
        ("equal", True, False, False),
        ("not_equal", False, True, True),
        ("less", False, True, False),
        ("greater", False, False, True),
    ],
)
def test_numbers_of_a_missing_key_are_0(
    do, key, target, result, against_0, against_1, against_minus_1
):
    for operand, expected in ((0, against_0), (1, against_1), (-1, against_minus_1)):
        assert holds(do, Compare(key, target, result, operand)) == expected


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("operand", [b"", b"x", None, 5])
def test_a_missing_key_has_no_value_to_compare(do, result, operand):
    assert not holds(do, Compare(b"nobody", "value", result, operand))
    assert not holds(do, Compare(b"d", "value", result, operand, range_end=b"e"))


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (Compare(b"b", "version", "equal", 2), True),
        (Compare(b"b", "version", "greater", 2), False),
        (Compare(b"b", "version", "greater", 1), True),
        (Compare(b"b", "version", "less", 3), True),
        (Compare(b"b", "create", "equal", 3), True),
        (Compare(b"b", "mod", "equal", 4), True),
        (Compare(b"b", "mod", "not_equal", 4), False),
        (Compare(b"b", "value", "equal", b"3"), True),
        (Compare(b"b", "value", "equal", b"2"), False),
        (Compare(b"b", "value", "greater", b"10"), True),  # bytes, not numbers
        (Compare(b"b", "value", "less", b"30"), True),
        (Compare(b"b", "lease", "equal", 0), True),
        (Compare(b"c", "lease", "equal", 7), True),
        (Compare(b"c", "lease", "less", 7), False),
    ],
)
def test_compare(do, compare, expected):
    assert holds(do, compare) == expected


# Fact 25: operands of another kind --------------------------------------------------------------


def test_an_operand_that_does_not_fit_counts_as_nothing(do):
    assert holds(do, Compare(b"a", "version", "greater", None))
    assert holds(do, Compare(b"a", "version", "greater", b"9"))
    assert not holds(do, Compare(b"a", "mod", "equal", b"2"))
    assert holds(do, Compare(b"a", "value", "greater", None))
    assert holds(do, Compare(b"a", "value", "greater", 1))
    assert not holds(do, Compare(b"a", "value", "equal", 1))
    do(Put(b"empty"))
    assert holds(do, Compare(b"empty", "value", "equal", 1))


# Fact 26: intervals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (Compare(b"a", "version", "greater", 0, b"c"), True),
        (Compare(b"a", "version", "equal", 1, b"c"), False),  # b has 2
        (Compare(b"a", "version", "equal", 1, b"b"), True),
        (Compare(b"a", "value", "less", b"5", FROM_KEY), True),
        (Compare(b"a", "value", "less", b"4", FROM_KEY), False),
        (Compare(b"\0", "mod", "less", 6, FROM_KEY), True),
        (Compare(b"x", "version", "equal", 0, b"z"), True),  # nobody there: one missing key
        (Compare(b"x", "version", "not_equal", 0, b"z"), False),
        (Compare(b"x", "value", "equal", b"", b"z"), False),
        (Compare(b"b", "version", "equal", 0, b"b"), True),  # empty, though b exists
        (Compare(b"c", "version", "equal", 0, b"a"), True),  # inverted
    ],
)
def test_a_compare_must_hold_for_every_key_of_the_interval(do, compare, expected):
    assert holds(do, compare) == expected


def test_all_compares_must_hold(do):
    yes, no = Compare(b"a", operand=1), Compare(b"a", operand=2)
    assert holds(do)
    assert holds(do, yes, yes)
    assert not holds(do, yes, no)
    assert not holds(do, no, yes)


# Facts 27 to 30: what sees what, and the small headers ------------------------------------------


def test_nested_compares_see_the_state_before_the_transaction(do):
    inner = Txn((Compare(b"new", operand=0),), (Put(b"seen", b"missing"),), (Put(b"seen", b"no"),))
    result = do(Txn(success=(Put(b"new", b"1"), inner)))
    assert result.responses[1].result.succeeded
    assert "seen=missing@8" in do.state


def test_reads_see_earlier_writes_of_the_transaction(do):
    everything = Range(b"\0", FROM_KEY)
    result = do(
        Txn(
            success=(
                everything,
                Put(b"b", b"new"),
                Range(b"b"),
                DeleteRange(b"a", prev_kv=True),
                Range(b"\0", FROM_KEY, limit=1, sort_order="descend"),
                Put(b"e", prev_kv=True),
                Range(b"\0", FROM_KEY, count_only=True),
            )
        )
    )
    a, b, c = (
        KeyValue(b"a", b"1", 2, 2, 1),
        KeyValue(b"b", b"3", 3, 4, 2),
        KeyValue(b"c", b"4", 5, 5, 1, 7),
    )
    new_b = KeyValue(b"b", b"new", 3, 8, 3)
    assert result == TxnResult(
        True,
        (
            OpResult(7, RangeResult((a, b, c), False, 3)),
            OpResult(8, PutResult()),
            OpResult(8, RangeResult((new_b,), False, 1)),
            OpResult(8, DeleteResult(1, (a,))),
            OpResult(8, RangeResult((c,), True, 2)),
            OpResult(8, PutResult(None)),
            OpResult(8, RangeResult((), False, 3)),
        ),
    )
    assert do.machine.revision == 8


def test_an_old_revision_can_be_read_and_the_one_in_the_making_cannot(do):
    reads = tuple(Range(b"b", revision=revision) for revision in (3, 4, 7))
    result = do(Txn(success=(Put(b"b", b"new"), *reads)))
    assert [str(one) for one in result.responses[1:]] == ["b=2", "b=3", "b=3"]
    assert do.refusal(Txn(success=(Put(b"b", b"newer"), Range(b"b", revision=9)))) == FUTURE


def test_a_header_has_the_old_revision_up_to_the_first_change(do):
    nothing = DeleteRange(b"nobody")
    inner = Txn(success=(Range(b"a"), Put(b"x"), Range(b"a")))
    result = do(Txn(success=(nothing, inner, nothing)))
    assert [one.revision for one in result.responses] == [7, 0, 8], "a nested one has none"
    assert [one.revision for one in result.responses[1].result.responses] == [7, 8, 8]


def test_a_branch_that_writes_nothing_takes_no_revision(do):
    absent = Compare(b"a", operand=0)
    for txn in (
        Txn(),
        Txn(success=(Range(b"a"),)),
        Txn(success=(DeleteRange(b"nobody"),)),
        Txn((absent,), success=(Put(b"a", b"x"),)),
        Txn(success=(Txn((absent,), (Put(b"a"),)),)),
    ):
        result = do(txn)
        assert do.machine.revision == 7 and not do.machine.changes
        assert {one.revision for one in result.responses} <= {0, 7}


def test_all_writes_share_a_revision_and_keep_their_order(do):
    inner = Txn((Compare(b"a", operand=9),), (), (DeleteRange(b"b"), Put(b"z", b"2")))
    do(Txn(success=(Put(b"y", b"1"), inner, DeleteRange(b"a"), Put(b"x", b"3"))))
    assert do.changes == ["y=1", "-b", "z=2", "-a", "x=3"]
    assert {kv.mod_revision for kv in do.machine.changes} == {8}
    assert do.state == "c=4@5 x=3@8 y=1@8 z=2@8"


# Fact 31: what is checked where -----------------------------------------------------------------

ON_THE_REQUEST = [
    (Put(b""), NO_KEY),
    (Range(b""), NO_KEY),
    (DeleteRange(b"", FROM_KEY), NO_KEY),
    (Put(b"a", b"x", ignore_value=True), VALUE),
    (Put(b"a", b"", 7, ignore_lease=True), LEASE),
    (Txn((Compare(b""),)), NO_KEY),
    (Txn(failure=(Put(b"q"), Put(b"q"))), DUPLICATE),
    (None, NOT_FOUND),  # fact 36
]
ON_THE_STORE = [
    (Put(b"a", lease=99), NO_LEASE),
    (Put(b"nobody", ignore_value=True), NOT_FOUND),
    (Put(b"d", b"x", ignore_lease=True), NOT_FOUND),
    (Put(b"nobody", lease=99, ignore_value=True), NOT_FOUND),  # fact 21: not the lease
    (Range(b"a", revision=8), FUTURE),
    (Range(b"nobody", revision=3), COMPACTED),
    (Range(b"a", revision=-1), COMPACTED),  # as in etcd; outside of a transaction it is now
]


@pytest.mark.parametrize(("op", "answer"), ON_THE_REQUEST)
def test_a_malformed_operation_is_refused_in_either_branch(do, op, answer):
    write = Put(b"w")
    for txn in (
        Txn(success=(write, op)),
        Txn(failure=(op,)),
        Txn(failure=(write, Txn(failure=(op,)))),
    ):
        assert do.refusal(txn) == answer
        with pytest.raises(errors.InvalidArgument):
            do.machine.check(txn)


@pytest.mark.parametrize(("op", "answer"), ON_THE_STORE)
def test_the_store_is_asked_only_about_branches_that_run(do, op, answer):
    do(Compact(4))
    write, absent = Put(b"w"), Compare(b"a", operand=0)
    assert do.refusal(Txn(success=(write, op))) == answer
    assert do.refusal(Txn((absent,), failure=(op, write))) == answer
    assert do.refusal(Txn(success=(write, Txn((absent,), failure=(op,))))) == answer
    do.machine.check(Txn(success=(op,)))
    assert not do(Txn((absent,), success=(op,))).succeeded
    do(Txn(success=(write, Txn((absent,), success=(op,)))))
    assert do.state.endswith("w=@8")


def test_of_two_refusals_the_one_about_a_put_is_told(do):
    read, put = Range(b"a", revision=99), Put(b"a", lease=99)
    assert do.refusal(Txn(success=(read, put))) == NO_LEASE
    assert do.refusal(Txn(success=(Txn(success=(read,)), put))) == NO_LEASE


def test_operations_are_looked_at_before_their_overlaps(do):
    twice = Txn(success=(Put(b"q"), Put(b"q")))
    assert do.refusal(Txn(success=(twice, Put(b"")))) == NO_KEY
    assert do.refusal(Txn(success=(Put(b"q"), Put(b"q")), failure=(None,))) == NOT_FOUND


@pytest.mark.parametrize(
    "compare",
    [Compare("a"), Compare(b"a", range_end=None), Compare(b"a", "size"), Compare(b"a", result="~")],
)
def test_a_comparison_that_no_node_could_make_is_refused(do, compare):
    assert do.refusal(Txn((compare,)))[0] == INVALID


# Facts 32 and 33: a key twice -------------------------------------------------------------------


def nested(*ops) -> Txn:
    return Txn(success=ops)


@pytest.mark.parametrize(
    "ops",
    [
        (Put(b"k"), Put(b"k", b"2")),
        (Put(b"k"), DeleteRange(b"k")),
        (DeleteRange(b"k"), Put(b"k")),
        (DeleteRange(b"a", b"z"), Put(b"k")),
        (Put(b"k"), DeleteRange(b"a", b"z")),
        (Put(b"k"), nested(Put(b"k"))),
        (nested(Put(b"k")), Put(b"k")),
        (nested(Put(b"k")), nested(Put(b"k"))),
        (Txn((), (Put(b"k"),)), Txn((), (), (Put(b"k"),))),  # only one could run
        (nested(Put(b"k")), DeleteRange(b"k")),
        (DeleteRange(b"j", b"l"), nested(nested(Put(b"k")))),
        (Put(b"k"), nested(nested(DeleteRange(b"k")))),
        (nested(DeleteRange(b"k")), nested(Put(b"k"))),
        # these two escape etcd
        (DeleteRange(b"a", FROM_KEY), Put(b"k")),
        (nested(Put(b"k")), nested(DeleteRange(b"k"))),
    ],
)
def test_a_key_is_changed_once(do, ops):
    assert do.refusal(Txn(success=ops)) == DUPLICATE
    assert do.refusal(Txn(failure=ops)) == DUPLICATE, "also in the branch that does not run"


@pytest.mark.parametrize(
    ("txn", "left"),
    [
        (Txn((), (Put(b"k"),), (Put(b"k"), DeleteRange(b"j"))), "k"),
        (nested(Txn((), (Put(b"k"),), (Put(b"k"),))), "k"),
        (nested(Txn((), (Put(b"k"),), (DeleteRange(b"k"),))), "k"),
        (nested(DeleteRange(b"a"), DeleteRange(b"a", b"c")), ""),
        (nested(DeleteRange(b"a", b"k"), Put(b"k")), "k"),
        (nested(DeleteRange(b"z", b"a"), Put(b"k")), "k"),
        (nested(Put(b"k"), Put(b"k\0")), "k"),
        (nested(Put(b"k"), Range(b"k"), Range(b"k")), "k"),
    ],
)
def test_what_may_be_repeated(do, txn, left):
    do(txn)
    assert (b"k" in [kv.key for kv in do.machine.read(Range(b"k")).kvs]) == bool(left)


# Fact 34: nothing is done by halves -------------------------------------------------------------


def test_a_refused_read_undoes_nothing_because_nothing_was_done(do):
    do(Compact(5))
    for revision, answer in ((99, FUTURE), (3, COMPACTED)):
        read = Range(b"a", revision=revision)
        assert do.refusal(Txn(success=(Put(b"a", b"x"), DeleteRange(b"b"), read))) == answer
        assert do.refusal(Txn(success=(Put(b"a", b"x"), nested(read)))) == answer
    assert do.state == "a=1@2 b=3@4 c=4@5"


# Facts 35 and 36: how much ----------------------------------------------------------------------


def reads(count: int) -> tuple:
    return (Range(b"a", count_only=True),) * count


@pytest.mark.parametrize(
    ("fits", "too_many"),
    [
        (Txn(success=reads(MAX_OPS)), Txn(success=reads(MAX_OPS + 1))),
        (Txn(failure=reads(128)), Txn(failure=reads(129))),
        (Txn((Compare(b"a"),) * 128), Txn((Compare(b"a"),) * 129)),
        (Txn((Compare(b"a"),) * 128, reads(128), reads(128)), Txn((), reads(1), reads(129))),
        (
            Txn((), (Txn((), reads(28)), *reads(99))),
            Txn((), (Txn((), reads(29)), *reads(99))),
        ),
        # the largest list counts, wherever the nested one stands
        (Txn((), (Txn((), reads(28)),), reads(100)), Txn((), (Txn((), reads(29)),), reads(100))),
        (
            Txn((), (nested(nested(*reads(26))), *reads(99))),
            Txn((), (nested(nested(*reads(28))), *reads(99))),
        ),
        (Txn((), (nested(), *reads(127))), Txn((), (nested(*reads(1)), *reads(127)))),
    ],
)
def test_128_operations_and_no_more(do, fits, too_many):
    do(fits)
    do.machine.check(fits, MAX_OPS)
    with pytest.raises(errors.TooManyOps) as refused:
        do.machine.check(too_many, MAX_OPS)
    assert (refused.value.code, refused.value.text) == TOO_MANY
    do(too_many)  # in the log it is taken by all, whatever each of them takes from clients


@pytest.mark.parametrize("op", [None, "put a 1", LeaseGrant(10, 1), Compare(b"a"), Compact(2)])
def test_what_is_no_operation(do, op):
    assert do.refusal(Txn(success=(op,))) == NOT_FOUND


# Leases in transactions -------------------------------------------------------------------------


def test_a_transaction_moves_and_detaches_leases(do):
    lessor = do.machine.lessor
    do(Txn(success=(Put(b"a", b"x", 7), Put(b"c", b"y"), Put(b"b", lease=7, ignore_value=True))))
    assert sorted(lessor.leases[7].keys) == [b"a", b"b"]
    assert do.state == "a=x@8 b=3@8 c=y@8"
    do(Txn(success=(Put(b"a", b"z", ignore_lease=True), DeleteRange(b"b"))))
    assert sorted(lessor.leases[7].keys) == [b"a"]
