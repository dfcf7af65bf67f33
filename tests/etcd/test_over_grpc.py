"""The same programs over gRPC, on both sides: a real etcd, and a real member of kvlearn.

Each is compared with kvlearn's store, answer by answer and event by event; so what is the same as
that on both sides, is the same. `--etcd-operations`, `--etcd-seed` and KVLEARN_ETCD as in
test_differential.py; KVLEARN_ENDPOINT names another member, whose keys and leases are deleted.
"""

from __future__ import annotations

import os

import pytest

from kvlearn.live import LocalCluster
from tests.etcd import differential, programs
from tests.etcd.over_grpc import OverGrpc
from tests.etcd.sides import Ours
from tests.etcd.test_differential import Forgetful

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
    count = differential.compare(side, pytestconfig, "grpc ", SHARE)
    with capsys.disabled():
        print(f"\n{request.node.callspec.id} over gRPC: {count}")


@both
def test_what_differs_would_be_found(side):
    wrong = (programs.write(f"wrong {seed}") for seed in range(50))
    assert any(differential.run(program, Ours(machine=Forgetful), side) for program in wrong)
