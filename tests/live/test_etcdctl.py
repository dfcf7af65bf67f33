"""etcd's own command line, at kvlearn's members and at etcd's: the same output, the same status.

Each script of `etcdctl_scripts.py` is played on both, on one member and on three. What differs
from run to run (ids, sizes, times) is given names first. DIFFERENT has what kvlearn does otherwise,
with the reason; what it allows has to differ, or it is out of date.
"""

from __future__ import annotations

import threading
from itertools import zip_longest

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")

from kvlearn.kv.leases import LeaseRevoke
from kvlearn.live import LocalCluster
from tests.etcd.server import find_etcd
from tests.live.etcd_cluster import EtcdCluster
from tests.live.etcdctl import MISSING, Ctl, Names, Play, find_etcdctl
from tests.live.etcdctl_scripts import CLEAN_UP, SCRIPTS

# line of a script -> why kvlearn's answer is another
_NEWER = "what is attached is told to those alone who may read it, as from etcd 3.4.26 on"
_UNKNOWN = "a missing permission is PERMISSION_DENIED; etcd lets an inner error out as UNKNOWN"
DIFFERENT = {
    "lease timetolive $L --keys --user=alice:a": _NEWER,
    "@n1 endpoint hashkv --user=alice:a": _UNKNOWN,
    "@n1 defrag --user=alice:a": _UNKNOWN,
    "@n1 snapshot save $dir/s.db --user=alice:a": _UNKNOWN,
}


@pytest.fixture(scope="module")
def etcdctl():
    return find_etcdctl() or pytest.skip(MISSING)


@pytest.fixture(scope="module", params=[1, 3], ids=["one", "three"])
def pair(request, etcdctl):
    """kvlearn's members and etcd's, n1 leading both."""
    etcd = find_etcd() or pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD")
    with LocalCluster(request.param, trace=False) as mine:
        real = EtcdCluster(etcd, request.param, heartbeat_interval="100", election_timeout="1000")
        try:
            mine.wait_for_leader(30)
            yield Ctl(etcdctl, mine), Ctl(etcdctl, real)
        finally:
            real.close()


def level(pair) -> None:
    """Nothing is there, the revisions are equal, n1 leads."""
    clients = [ctl.members.client(timeout_s=20) for ctl in pair]
    for ctl, client in zip(pair, clients):
        if ctl.members.wait_for_leader() != "n1":
            client.move_leader("n1")
        for lease in client.leases().ids:
            client.call(LeaseRevoke(lease))
        client.delete("\0", from_key=True)
    revisions = [client.get("x").header.revision for client in clients]
    for client, revision in zip(clients, revisions):
        for _ in range(max(revisions) - revision):
            client.put("x", "")
        client.delete("x")
        client.close()


def both(pair, function) -> list:
    """The function of both, at the same time."""
    made: list = [None, None]
    failures: list[BaseException] = []

    def play(k: int) -> None:
        try:
            made[k] = function(pair[k])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=play, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return made


def played(ctl: Ctl, script: str) -> list[tuple[str, str]]:
    names = Names(ctl)
    return [(line, names.plain(done)) for line, done in Play(ctl, script).run()]


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_does_the_same_as_with_etcd(pair, name):
    level(pair)
    try:
        mine, real = both(pair, lambda ctl: played(ctl, SCRIPTS[name]))
    finally:
        if "auth" in SCRIPTS[name]:
            both(pair, lambda ctl: [ctl.run(words) for words in CLEAN_UP])
    wrong = []
    nothing = ("", "nothing\n")
    for (line, told), (_, expected) in zip_longest(mine, real, fillvalue=nothing):
        stuck = told.startswith("status -1\n")
        if stuck or (told == expected) == (line in DIFFERENT):
            wrong.append(f"{line}\n--- kvlearn: {told}--- etcd: {expected}")
    assert not wrong, "\n".join(["", *wrong])
