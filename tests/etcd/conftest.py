"""One etcd for all tests here."""

from __future__ import annotations

import pytest

from tests.etcd.server import Etcd, find_etcd
from tests.etcd.sides import Theirs


@pytest.fixture(scope="session")
def etcd():
    """A running etcd."""
    program = find_etcd()
    if program is None:
        pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD to the program")
    server = Etcd(program)
    yield server
    server.stop()


@pytest.fixture
def theirs(etcd):
    """etcd's side of the comparison."""
    side = Theirs(etcd.port)
    yield side
    side.close()
