"""The state machine: etcd's semantics of reading and writing, as etcd 3.4 and 3.5 show them."""

import copy
import random

import pytest

from kvlearn import errors
from kvlearn.kv.leases import Compact
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import (
    FROM_KEY,
    SORT_TARGETS,
    Command,
    DeleteRange,
    DeleteResult,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from kvlearn.mvcc.backend import MemoryBackend
from tests.mvcc.naive import NaiveStore, plain, some_key, some_range_end


class Driver:
    """Applies requests as a log would: one entry each."""

    def __init__(self):
        self.machine = KVMachine(MemoryBackend())

    def __call__(self, request):
        """The result of a request, or the error raised."""
        machine = self.machine
        command = Command("n1", machine.applied + 1, request)
        result, error = machine.apply(machine.applied + 1, 1, command)
        if error is not None:
            raise error
        return result


@pytest.fixture
def do() -> Driver:
    """2: b=1, 3: a=3, 4: c=2, 5: a=0, 6: delete c, 7: c=9, 8: d=5."""
    do = Driver()
    for key, value in ((b"b", b"1"), (b"a", b"3"), (b"c", b"2"), (b"a", b"0")):
        do(Put(key, value))
    do(DeleteRange(b"c"))
    do(Put(b"c", b"9"))
    do(Put(b"d", b"5"))
    return do


def everything(**options) -> Range:
    return Range(b"\0", FROM_KEY, **options)


# Refusals, to the letter -----------------------------------------------------------------------

NO_KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")
NOT_FOUND = ("INVALID_ARGUMENT", "etcdserver: key not found")
VALUE = ("INVALID_ARGUMENT", "etcdserver: value is provided")
LEASE = ("INVALID_ARGUMENT", "etcdserver: lease is provided")
SORT = ("INVALID_ARGUMENT", "etcdserver: invalid sort option")
NO_LEASE = ("NOT_FOUND", "etcdserver: requested lease not found")
FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")


@pytest.mark.parametrize(
    ("request_", "answer", "on_its_own"),
    [
        (Put(b"", b"1"), NO_KEY, True),
        (Range(b""), NO_KEY, True),
        (Range(b"", b"z"), NO_KEY, True),
        (DeleteRange(b""), NO_KEY, True),
        (DeleteRange(b"", FROM_KEY), NO_KEY, True),
        (Put(b"", b"1", ignore_value=True), NO_KEY, True),
        (Put(b"a", b"1", ignore_value=True), VALUE, True),
        (Put(b"a", b"1", 5, ignore_value=True, ignore_lease=True), VALUE, True),
        (Put(b"a", b"1", 5, ignore_lease=True), LEASE, True),
        (Put(b"nobody", b"1", 5, ignore_lease=True), LEASE, True),
        (Range(b"a", sort_order="sideways"), SORT, True),
        (Range(b"a", sort_target="lease"), SORT, True),
        (Put(b"nobody", ignore_value=True), NOT_FOUND, False),
        (Put(b"nobody", b"1", ignore_lease=True), NOT_FOUND, False),
        (Put(b"a", b"1", lease=5), NO_LEASE, False),
        (Put(b"nobody", lease=5, ignore_value=True), NO_LEASE, False),  # the lease wins
        (Range(b"a", revision=9), FUTURE, False),
        (Range(b"nobody", revision=9, count_only=True), FUTURE, False),
        (Range(b"a", revision=9, serializable=True), FUTURE, False),
    ],
)
def test_refusals_have_etcds_code_and_text(do, request_, answer, on_its_own):
    if on_its_own:
        with pytest.raises(errors.RequestError) as caught:
            do.machine.check(request_)
        assert (caught.value.code, caught.value.text) == answer
    else:
        do.machine.check(request_)
    before = do.machine.store.hash(), do.machine.revision
    index = do.machine.applied + 1
    result, error = do.machine.apply(index, 1, Command("n1", 1, request_))
    assert result is None
    assert (error.code, error.text) == answer
    assert (do.machine.store.hash(), do.machine.revision) == before, "nothing was done"
    assert do.machine.applied == index, "a refusal is an outcome: the entry counts as applied"


def test_a_refused_read_raises():
    machine = Driver().machine
    with pytest.raises(errors.EmptyKey):
        machine.read(Range(b""))
    with pytest.raises(errors.FutureRevision):
        machine.read(Range(b"a", revision=2))


# Reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "found", "more", "count"),
    [
        (Range(b"a"), "a=0", False, 1),
        (Range(b"nobody"), "", False, 0),
        (everything(), "a=0 b=1 c=9 d=5", False, 4),
        # zero or negative is now; the pairs are those of the revision asked for
        (everything(revision=-7), "a=0 b=1 c=9 d=5", False, 4),
        (everything(revision=1), "", False, 0),
        (everything(revision=4), "a=3 b=1 c=2", False, 3),
        (everything(revision=6), "a=0 b=1", False, 2),
        # intervals
        (Range(b"b", b"d"), "b=1 c=9", False, 2),
        (Range(b"b", FROM_KEY), "b=1 c=9 d=5", False, 3),
        (Range(b"b", b"b"), "", False, 0),
        (Range(b"c", b"b"), "", False, 0),
        # limit, more, count
        (everything(limit=3), "a=0 b=1 c=9", True, 4),
        (everything(limit=4), "a=0 b=1 c=9 d=5", False, 4),
        (everything(limit=5), "a=0 b=1 c=9 d=5", False, 4),
        (everything(limit=-1), "a=0 b=1 c=9 d=5", False, 4),
        (everything(limit=1, revision=4), "a=3", True, 3),
        (everything(limit=1, min_mod_revision=7), "c=9", True, 4),
        (everything(limit=2, min_mod_revision=7), "c=9 d=5", False, 4),
        (everything(limit=1, sort_order="descend"), "d=5", True, 4),
        (everything(limit=4, sort_order="descend"), "d=5 c=9 b=1 a=0", False, 4),
        # count_only: nothing else, whatever else was asked
        (everything(count_only=True), "", False, 4),
        (everything(count_only=True, limit=1), "", False, 4),
        (everything(count_only=True, min_mod_revision=8, keys_only=True), "", False, 4),
        (everything(count_only=True, revision=6), "", False, 2),
        # filters are inclusive
        (everything(min_mod_revision=5), "a=0 c=9 d=5", False, 4),
        (everything(max_mod_revision=5), "a=0 b=1", False, 4),
        (everything(min_mod_revision=5, max_mod_revision=7), "a=0 c=9", False, 4),
        (everything(min_create_revision=3), "a=0 c=9 d=5", False, 4),
        (everything(max_create_revision=3), "a=0 b=1", False, 4),
        (everything(min_create_revision=3, max_mod_revision=7), "a=0 c=9", False, 4),
        (everything(max_mod_revision=4, revision=4), "a=3 b=1 c=2", False, 3),
        # sorting
        (everything(sort_order="ascend"), "a=0 b=1 c=9 d=5", False, 4),
        (everything(sort_target="value"), "a=0 b=1 d=5 c=9", False, 4),
        (everything(sort_target="value", sort_order="ascend"), "a=0 b=1 d=5 c=9", False, 4),
        (everything(sort_target="value", sort_order="descend"), "c=9 d=5 b=1 a=0", False, 4),
        (everything(sort_target="create"), "b=1 a=0 c=9 d=5", False, 4),
        (everything(sort_target="create", sort_order="descend"), "d=5 c=9 a=0 b=1", False, 4),
        (everything(sort_target="mod"), "b=1 a=0 c=9 d=5", False, 4),
        (everything(sort_target="mod", sort_order="descend", limit=2), "d=5 c=9", True, 4),
        (everything(sort_target="version", sort_order="descend", limit=1), "a=0", True, 4),
        (everything(sort_target="create", sort_order="ascend", limit=1), "b=1", True, 4),
        # keys_only empties the value and nothing else, also when sorting by it
        (everything(keys_only=True), "a= b= c= d=", False, 4),
        (everything(keys_only=True, sort_target="value"), "a= b= d= c=", False, 4),
    ],
)
def test_read(do, request_, found, more, count):
    result = do.machine.read(request_)
    assert (" ".join(map(str, result.kvs)), result.more, result.count) == (found, more, count)
    assert do(request_) == result, "a read that goes through the log gives the same"
    assert do.machine.revision == 8


def test_without_an_order_a_limit_cuts_before_the_sort():
    do = Driver()
    for key, value in ((b"a", b"3"), (b"b", b"2"), (b"c", b"1")):
        do(Put(key, value))
    first = everything(sort_target="value", limit=1)
    assert str(do(first)) == "b=2 …"  # of a and b: one more than the limit, in key order
    assert str(do(everything(sort_target="value", limit=1, sort_order="ascend"))) == "c=1 …"
    assert str(do(everything(sort_target="value", limit=1, min_mod_revision=1))) == "c=1 …"


def test_keys_only_keeps_revisions_and_version(do):
    assert do.machine.read(Range(b"a", keys_only=True)).kvs == (KeyValue(b"a", b"", 3, 5, 2),)
    assert do.machine.read(Range(b"a")).kvs == (KeyValue(b"a", b"0", 3, 5, 2),)


def test_keys_are_ordered_as_raw_bytes():
    do = Driver()
    for key in (b"\xff", b"\x80", b"a", b"aa", b"B", b"\0", "ä".encode()):
        do(Put(key))
    kvs = do.machine.read(everything()).kvs
    assert [kv.key for kv in kvs] == [b"\0", b"B", b"a", b"aa", b"\x80", "ä".encode(), b"\xff"]


# Writing ---------------------------------------------------------------------------------------


def test_prev_kv_is_the_whole_previous_record_if_there_is_one(do):
    old = KeyValue(b"a", b"0", 3, 5, 2)
    assert do(Put(b"a", b"x")) == PutResult()
    assert do(Put(b"b", b"x", prev_kv=True)) == PutResult(KeyValue(b"b", b"1", 2, 2, 1))
    assert do(Put(b"new", b"x", prev_kv=True)) == PutResult(None)
    do(DeleteRange(b"new"))
    assert do(Put(b"new", b"x", prev_kv=True)) == PutResult(None)
    assert do.machine.read(Range(b"a", revision=8)).kvs == (old,)


def test_ignore_value_writes_the_old_value_anew(do):
    assert do(Put(b"a", ignore_value=True, prev_kv=True)).prev_kv.mod_revision == 5
    assert do.machine.read(Range(b"a")).kvs == (KeyValue(b"a", b"0", 3, 9, 3),)


def test_ignore_lease_writes_the_new_value(do):
    do(Put(b"a", b"x", ignore_lease=True))
    do(Put(b"a", ignore_value=True, ignore_lease=True))
    assert do.machine.read(Range(b"a")).kvs == (KeyValue(b"a", b"x", 3, 10, 4),)


def test_delete_counts_and_gives_what_was_there_in_key_order(do):
    assert do(DeleteRange(b"nobody")) == DeleteResult(0)
    assert do(DeleteRange(b"b", b"b")) == DeleteResult(0)
    assert do(DeleteRange(b"c", b"b", prev_kv=True)) == DeleteResult(0)
    assert do.machine.revision == 8
    gone = (KeyValue(b"b", b"1", 2, 2, 1), KeyValue(b"c", b"9", 7, 7, 1))
    assert do(DeleteRange(b"b", b"d", prev_kv=True)) == DeleteResult(2, gone)
    assert do.machine.revision == 9
    assert do(DeleteRange(b"\0", FROM_KEY)) == DeleteResult(2)
    assert do.machine.revision == 10
    assert do.machine.read(everything()) == RangeResult()


# The log ---------------------------------------------------------------------------------------


def test_a_no_op_moves_the_index_and_not_the_revision():
    machine = KVMachine(MemoryBackend())
    assert machine.apply(1, 1, None) == (None, None)
    assert (machine.applied, machine.revision) == (1, 1)


def test_no_entry_is_applied_twice(do):
    with pytest.raises(AssertionError, match="entry 7 again: 7 is applied already"):
        do.machine.apply(7, 1, None)


def test_what_is_no_request_stops_the_node(do):
    with pytest.raises((TypeError, AttributeError)):
        do.machine.apply(8, 1, Command("n1", 1, "put a 1"))


def test_a_crash_loses_the_open_batch_and_the_index_with_it():
    backend = MemoryBackend()
    machine = KVMachine(backend)
    machine.apply(1, 1, None)
    machine.apply(2, 1, Command("n1", 1, Put(b"a", b"1")))
    machine.commit()
    machine.apply(3, 1, Command("n1", 2, Put(b"a", b"2")))
    backend.rollback()
    machine = KVMachine(backend)
    assert (machine.applied, machine.revision) == (2, 2)
    assert machine.read(Range(b"a")).kvs == (KeyValue(b"a", b"1", 2, 2, 1),)
    machine.apply(3, 1, Command("n1", 2, Put(b"a", b"2")))  # the log still has it
    assert machine.read(Range(b"a")).kvs == (KeyValue(b"a", b"2", 2, 3, 2),)


def test_a_copy_goes_its_own_way(do):
    do.machine.commit()
    twin = copy.deepcopy(do.machine)
    assert twin.backend is twin.store.backend
    twin.apply(8, 1, Command("n1", 1, Put(b"a", b"twin")))
    twin.commit()
    assert (do.machine.applied, do.machine.revision) == (7, 8)
    assert do.machine.read(Range(b"a")).text == "0"
    assert twin.read(Range(b"a")).text == "twin"


# Random programs -------------------------------------------------------------------------------


def naive_read(naive: NaiveStore, request: Range) -> tuple[list, bool, int]:
    """Pairs, more, count: the steps of the rule, one after the other."""
    rows = naive.range(request.key, request.range_end, request.revision)
    count = len(rows)
    if request.count_only:
        return [], False, count
    _, _, create, mod, _ = range(5)
    for low, high, column in (
        (request.min_mod_revision, request.max_mod_revision, mod),
        (request.min_create_revision, request.max_create_revision, create),
    ):
        rows = [row for row in rows if low <= row[column] <= (high or 10**9)]
    filters = request.min_mod_revision, request.max_mod_revision
    filters += request.min_create_revision, request.max_create_revision
    if request.sort_order == "none" and request.limit > 0 and filters == (0, 0, 0, 0):
        rows = rows[: request.limit + 1]
    column = ("key", "value", "create", "mod", "version").index(request.sort_target)
    rows = sorted(rows, key=lambda row: row[column], reverse=request.sort_order == "descend")
    more = 0 < request.limit < len(rows)
    rows = rows[: request.limit] if request.limit > 0 else rows
    if request.keys_only:
        rows = [(row[0], b"", *row[2:]) for row in rows]
    return rows, more, count


def some_range(rng: random.Random, revision: int) -> Range:
    def maybe(number: int) -> int:
        return rng.choice([0, 0, 0, number])

    return Range(
        some_key(rng),
        rng.choice([some_range_end(rng), FROM_KEY]),
        limit=rng.choice([-1, 0, 1, 2, 3, 9]),
        revision=maybe(rng.randint(-1, revision)),
        sort_order=rng.choice(["none", "ascend", "descend"]),
        sort_target=rng.choice(sorted(SORT_TARGETS)),
        serializable=rng.random() < 0.2,
        keys_only=rng.random() < 0.2,
        count_only=rng.random() < 0.1,
        min_mod_revision=maybe(rng.randint(1, revision)),
        max_mod_revision=maybe(rng.randint(1, revision)),
        min_create_revision=maybe(rng.randint(1, revision)),
        max_create_revision=maybe(rng.randint(1, revision)),
    )


def do_both(rng: random.Random, machine: KVMachine, naive: NaiveStore) -> None:
    """One write on both, its answer compared."""
    key, flag = some_key(rng), rng.random() < 0.5
    held = naive.range(key, b"")
    if rng.random() < 0.7:
        keep = rng.random() < 0.2
        value = b"" if keep else b"%d" % rng.randrange(9)
        request = Put(key, value, prev_kv=flag, ignore_value=keep)
        result, error = machine.apply(machine.applied + 1, 1, Command("n1", 1, request))
        if keep and not held:
            assert error == errors.KeyNotFound()
            return
        prev = plain([result.prev_kv]) if result.prev_kv else []
        assert prev == (held if flag else [])
        naive.change([("put", key, held[0][1] if keep else value)])
    else:
        end = some_range_end(rng)
        held = naive.range(key, end)
        request = DeleteRange(key, end, prev_kv=flag)
        result, error = machine.apply(machine.applied + 1, 1, Command("n1", 1, request))
        assert (error, result.deleted) == (None, len(held))
        assert plain(result.prev_kvs) == (held if flag else [])
        naive.change([("delete", key, end)])


@pytest.mark.parametrize("batch", range(10))
def test_random_programs_agree_with_the_naive_store(batch):
    for seed in range(40):
        rng = random.Random(f"{batch} {seed}")
        backend = MemoryBackend()
        machine, naive = KVMachine(backend), NaiveStore()
        for _ in range(40):
            do_both(rng, machine, naive)
            if rng.random() < 0.05:
                machine.commit()
                machine = KVMachine(backend)
            request = some_range(rng, naive.revision)
            result, (rows, more, count) = machine.read(request), naive_read(naive, request)
            assert machine.revision == naive.revision
            assert (result.more, result.count) == (more, count), request
            # Among equals of the sort target the order is nobody's promise.
            if request.sort_target == "key" or not more:
                assert sorted(plain(result.kvs)) == sorted(rows), request
            field = SORT_TARGETS[request.sort_target]
            if not request.keys_only or field != "value":
                at = ("key", "value", "create", "mod", "version").index(request.sort_target)
                got = [row[at] for row in plain(result.kvs)]
                assert got == [row[at] for row in rows], request


def test_a_defragmentation_first_removes_what_a_compaction_gave_up():
    do = Driver()
    for k in range(5):
        do(Put(b"a", b"%d" % k))
    do(Compact(5))
    store = do.machine.store
    assert store.sweeping
    before = len(list(store.backend.range(b"", b"\xff")))
    do.machine.defragment()
    assert not store.sweeping and len(list(store.backend.range(b"", b"\xff"))) == before - 3
