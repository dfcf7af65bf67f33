"""kvlearn's store against a real etcd: the same programs, the same answers, field by field.

`--etcd-operations 100000` asks more, `--etcd-seed 17` runs one program again, and KVLEARN_ETCD
names another etcd. What may differ, and why, stands in `differential.DIFFERENCES`.
"""

from __future__ import annotations

import pytest

from kvlearn.errors import Compacted
from kvlearn.kv.leases import Compact, LeaseGrant
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import FROM_KEY, DeleteRange, Put, Range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate
from kvlearn.mvcc.watch import WatchHub
from tests.etcd import differential, programs
from tests.etcd.gateway import Connection, Refused
from tests.etcd.server import Etcd, find_etcd
from tests.etcd.sides import GrantAny, Inside, On, Ours
from tests.etcd.wire import PATHS, Wire


def test_random_programs_agree_with_etcd(theirs, etcd, pytestconfig, capsys):
    count = differential.compare(theirs, pytestconfig)
    with capsys.disabled():
        print(f"\netcd {etcd.version}: {count}")


# The comparison can fail ------------------------------------------------------------------------


class Forgetful(KVMachine):
    """Keeps a key's lease although a put does not name one."""

    def _put(self, put, txn):
        old = self.store.get(put.key)
        if old is not None and old.lease and not put.lease and not put.ignore_lease:
            put = Put(put.key, put.value, old.lease, put.prev_kv, put.ignore_value)
        return super()._put(put, txn)


class Lenient(KVMachine):
    """Reads what is compacted, as far as it is there."""

    def apply(self, index, term, command):
        result, error = super().apply(index, term, command)
        return result, None if isinstance(error, Compacted) else error


class Hasty(KVMachine):
    """Compares inside a nested transaction after the operations before it."""

    def _run(self, chosen, txn):
        result = super()._run(chosen, txn)
        last = [one for one in result.responses if hasattr(one.result, "responses")]
        return type(result)(not result.succeeded, result.responses) if last else result


class Fragile(KVMachine):
    """Stops over a request that others carry out."""

    def _delete(self, delete, txn):
        result = super()._delete(delete, txn)
        if result.deleted > 1:
            raise KeyError("gone")
        return result


class Deaf(WatchHub):
    """Does not tell what was before."""

    def _events(self, watcher, changes):
        events = super()._events(watcher, changes)
        return tuple(type(one)(one.type, one.kv) for one in events)


class Leaky(WatchHub):
    """Sends what a filter should have kept back."""

    def create(self, stream, key, range_end=b"", start=0, id=0, prev_kv=False, filters=(), *rest):
        super().create(stream, key, range_end, start, id, prev_kv, (), *rest)


WRONG = {
    "a lease that sticks": ({"machine": Forgetful}, 5),
    "compaction without end": ({"machine": Lenient}, 3),
    "a txn that turns its word": ({"machine": Hasty}, 3),
    "a node that stops": ({"machine": Fragile}, 3),
    "no previous pairs": ({"hub": Deaf}, 4),
    "filters without effect": ({"hub": Leaky}, 4),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_store_is_found_and_the_program_is_short(theirs, name):
    sides, most = WRONG[name]
    for seed in range(100):
        program = programs.write(f"wrong {seed}")
        if differential.run(program, Ours(**sides), theirs):
            break
    else:
        pytest.fail("100 programs did not find it")
    told = differential.report(f"wrong {seed}", program, theirs, lambda: Ours(**sides))
    head, *rest = told.splitlines()
    assert head.startswith("kvlearn and etcd part after ")
    assert int(head.split()[5]) <= most, told
    assert f"--etcd-seed 'wrong {seed}'" in rest[-1]
    # What is printed is Python: it can be run again as it stands.
    lines = rest[: next(n for n, line in enumerate(rest) if not line.startswith("    "))]
    again = eval(f"[{''.join(lines)}]", {
        kind.__name__: kind
        for kind in (
            Put, Range, DeleteRange, Txn, Compare, Compact, LeaseGrant, On, WatchCreate,
            WatchCancel, GrantAny, Inside,
        )
    })  # fmt: skip
    assert differential.run(again, Ours(**sides), theirs), "the short program shows it"
    assert differential.run(again, Ours(), theirs) is None, "and it is not the short one's fault"


# Large answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(700, 700), (200, 200, 200, 200), (1, 400, 400, 1, 500, 1)])
def test_large_answers_are_cut_at_the_same_places(theirs, sizes):
    """With the previous pairs an answer is twice as large as the request was."""
    ours = Ours()
    keys = [b"k%d" % n for n in range(len(sizes))]
    watch = On("s", WatchCreate(b"k", b"l", prev_kv=True, fragment=True))
    puts = [Put(key, b"-" * (size << 10)) for key, size in zip(keys, sizes)]
    for op in (*puts, watch, Txn(success=tuple(puts))):
        assert ours.run(op) == theirs.run(op)
    theirs.wait(ours.heard)
    assert ours.heard == theirs.heard
    mine, real = [
        [(len(answer.events), answer.fragment) for answer in side.answers if answer.events]
        for side in (ours, theirs)
    ]
    assert mine == real
    assert (len(mine) > 1) == (sum(sizes) > 1024), "2 MiB"


# What is not sent -------------------------------------------------------------------------------

NESTED_PUT = Txn(success=(Put(b"k"),))
NESTED_DELETE = Txn(success=(DeleteRange(b"k"),))


@pytest.mark.parametrize(
    ("ops", "missed"),
    [
        ((DeleteRange(b"a", FROM_KEY), Put(b"k")), True),
        ((Put(b"k"), DeleteRange(b"a", FROM_KEY)), True),
        ((NESTED_PUT, NESTED_DELETE), True),
        ((NESTED_DELETE, NESTED_PUT), False),
        ((DeleteRange(b"a", b"z"), Put(b"k")), False),
        ((DeleteRange(b"k"), NESTED_PUT), False),
        ((Put(b"k"), NESTED_DELETE), False),
    ],
)
def test_overlaps_that_etcd_misses(theirs, ops, missed):
    txn = Txn(success=ops)
    assert differential.is_missed_overlap(txn) == missed
    mine, real = Ours().run(txn), theirs.run(txn)
    assert mine.error[0] == "DuplicateKey"
    assert (real.error is None) == missed, "etcd carries it out"


# The listed differences are there ---------------------------------------------------------------


def test_a_fresh_etcd_compacts_at_0_once():
    program = find_etcd()
    if program is None:
        pytest.skip("no etcd found")
    server = Etcd(program)
    try:
        connection = Connection(server.port)
        compact, read = {"revision": "0"}, Txn(success=(Range(b"a", revision=-1),))
        connection.post(PATHS[Txn], Wire().encode(read))
        connection.post(PATHS[Compact], compact)
        for path, body in ((PATHS[Compact], compact), (PATHS[Txn], Wire().encode(read))):
            with pytest.raises(Refused, match="has been compacted"):
                connection.post(path, body)
        connection.close()
    finally:
        server.stop()
    ours = Ours()
    for request in (read, Compact(0), Compact(0), read, Put(b"a"), Compact(1)):
        assert ours.run(request).error is None
    for request in (Compact(0), read):
        assert ours.run(request).error[0] == "Compacted"


def test_a_watch_from_a_negative_revision(theirs):
    ours, program = Ours(), [Put(b"a"), Compact(2), On("s", WatchCreate(b"a", start_revision=-1))]
    for op in program:
        mine, real = ours.run(op), theirs.run(op)
    assert mine == real and mine.result[0].created
    theirs.wait({("s", 0): [None, None]})
    assert theirs.heard["s", 0][1].compact_revision == 2, "etcd: the distant past"
    assert len(ours.heard["s", 0]) == 1, "kvlearn: now"
