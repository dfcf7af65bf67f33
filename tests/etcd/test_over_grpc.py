"""The same programs over gRPC, on both sides: a real etcd, and a real member of kvlearn.

Each is compared with kvlearn's store, answer by answer and event by event; so what is the same as
that on both sides, is the same. `--etcd-operations`, `--etcd-seed` and KVLEARN_ETCD as in
test_differential.py; KVLEARN_ENDPOINT names another member, whose keys and leases are deleted.
"""

from __future__ import annotations

import os

import pytest

from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Put
from kvlearn.live import LocalCluster
from tests.etcd import differential, programs
from tests.etcd.over_grpc import OverGrpc
from tests.etcd.sides import Ours

SIZE = 80  # operations in a program
SHARE = 4  # of the operations that are asked over JSON


@pytest.fixture(scope="module")
def member():
    """The endpoint of a running member of kvlearn's."""
    if endpoint := os.environ.get("KVLEARN_ENDPOINT"):
        yield endpoint
        return
    with LocalCluster(1, trace=False) as members:
        members.wait_for_leader()
        yield members.endpoints[0]


@pytest.fixture
def side(request):
    """One real side: `etcd` or `kvlearn`."""
    if request.param == "etcd":
        endpoint = f"127.0.0.1:{request.getfixturevalue('etcd').port}"
    else:
        endpoint = request.getfixturevalue("member")
    made = OverGrpc(endpoint)
    yield made
    made.close()


both = pytest.mark.parametrize("side", ["etcd", "kvlearn"], indirect=True)


@both
def test_random_programs_agree_over_grpc(side, pytestconfig, capsys, request):
    seed, count = pytestconfig.getoption("--etcd-seed"), differential.Count()
    wanted = pytestconfig.getoption("--etcd-operations") // SHARE
    while count.operations < wanted and count.programs < (1 if seed else wanted):
        name = seed or f"grpc {count.programs}"
        program = programs.write(name, SIZE)
        if differential.run(program, Ours(), side, count):
            pytest.fail(differential.report(name, program, side), pytrace=False)
    with capsys.disabled():
        print(f"\n{request.node.callspec.id} over gRPC: {count}")
    assert count.programs and (seed or count.events and count.refused), "nothing was compared"


class Forgetful(KVMachine):
    """Keeps a key's lease although a put does not name one."""

    def _put(self, put, txn):
        old = self.store.get(put.key)
        if old is not None and old.lease and not put.lease and not put.ignore_lease:
            put = Put(put.key, put.value, old.lease, put.prev_kv, put.ignore_value)
        return super()._put(put, txn)


@both
def test_what_differs_would_be_found(side):
    wrong = (programs.write(f"wrong {seed}", SIZE) for seed in range(50))
    assert any(differential.run(program, Ours(machine=Forgetful), side) for program in wrong)
