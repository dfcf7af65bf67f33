"""etcd's v3 API as a black box, on one member and on three: see spec_kit and the spec_*.py.

KVLEARN_SPEC_ENDPOINTS=host:port,host:port   aim it at a cluster that runs already
KVLEARN_SPEC_SERVER="etcd"                   start members of this program instead
"""

from __future__ import annotations

import itertools
import os
import shlex
import sys

import pytest

from tests.live import (
    spec_auth,
    spec_json,
    spec_kv,
    spec_lease,
    spec_lock,
    spec_odd,
    spec_own,
    spec_txn,
    spec_upkeep,
    spec_watch,
    spec_wire,
)
from tests.live.spec_kit import CASES, WAYS, Api, Servers, View, leader_of, until

AREAS = (spec_kv, spec_txn, spec_watch, spec_lease, spec_lock, spec_upkeep, spec_auth, spec_json)
AREAS += (spec_wire, spec_own, spec_odd)
POINTS = 68
ENDPOINTS = [one for one in os.environ.get("KVLEARN_SPEC_ENDPOINTS", "").split(",") if one]
SERVER = shlex.split(os.environ.get("KVLEARN_SPEC_SERVER", ""))
COMMAND = SERVER or [sys.executable, "-m", "kvlearn", "node"]
SIZES = {**WAYS, "own": 1}
RUNS = [
    pytest.param(way, case, id=f"{way}-{case.name}")
    for way, size in SIZES.items()
    for case in CASES
    if way in case.ways and (not ENDPOINTS or (size == 1) == (len(ENDPOINTS) == 1))
]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def clusters():
    """The members of a cluster by its size; started when first asked for."""
    started: dict[int, Servers] = {}

    def of(size: int) -> list[Api]:
        if ENDPOINTS:
            return given
        if size not in started:
            started[size] = Servers(COMMAND, size, bcrypt_cost="4")
        started[size].check()
        return started[size].apis

    given = [Api(endpoint) for endpoint in ENDPOINTS]
    yield of
    for servers in started.values():
        servers.close()


def view_of(apis: list[Api], way: str) -> View:
    """Which members a case talks to."""
    lead = until(lambda: leader_of(apis), "a leader")
    rest = [api for api in apis if api is not lead] or [lead]
    a = lead if way in ("lone", "leader") else rest[0]
    b = rest[-1] if way == "across" else a
    return View(a, b, apis, way, b"/spec/%d/" % next(_numbers), [] if ENDPOINTS else COMMAND)


@pytest.mark.parametrize("way, case", RUNS)
def test_as_etcd_does(clusters, way, case):
    view = view_of(clusters(SIZES[way]), way)
    with view.undo:
        view.undo.callback(lambda: view.a.DeleteRange(key=view.space, range_end=view.end))
        case.run(view)


def test_every_point_has_a_case():
    covered = {point for case in CASES for point in case.points}
    assert covered == set(range(1, POINTS + 1))
    assert {case.run.__module__ for case in CASES} == {area.__name__ for area in AREAS}
