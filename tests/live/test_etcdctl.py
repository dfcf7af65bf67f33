"""etcd's own command line, at kvlearn's members and at etcd's: the same output, the same status.

Each script of `etcdctl_scripts.py` is played on both, on one member and on three. What differs
from run to run (ids, sizes, times) is given names first. DIFFERENT has what kvlearn does otherwise,
with the reason; what it allows has to differ, or it is out of date.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")

from kvlearn.errors import NoSpace
from kvlearn.kv.leases import LeaseRevoke
from kvlearn.live import LocalCluster
from tests.etcd.server import find_etcd, free_ports
from tests.live.etcd_cluster import EtcdCluster
from tests.live.etcdctl import (
    MISSING,
    WAIT_S,
    Background,
    Ctl,
    Done,
    Names,
    Play,
    find_etcdctl,
    run,
    surroundings,
    until,
)
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
    with LocalCluster(request.param, trace=False, bcrypt_cost=4) as mine:
        usual = dict(heartbeat_interval="100", election_timeout="1000", bcrypt_cost="4")
        real = EtcdCluster(etcd, request.param, **usual)
        try:
            mine.wait_for_leader(30)
            yield Ctl(etcdctl, mine), Ctl(etcdctl, real)
        finally:
            real.close()


def level(pair) -> None:
    """Nothing is there, the revisions are equal, n1 leads."""
    clients = [ctl.members.client(timeout_s=20) for ctl in pair]
    for ctl, client in zip(pair, clients):
        if ctl.members.wait_for_leader() != ctl.order[0]:
            client.move_leader(ctl.order[0])
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


def same(mine: list[tuple[str, str]], real: list[tuple[str, str]]) -> None:
    """What both told is equal, but for what is known to differ, and that differs."""
    wrong = []
    nothing = ("", "nothing\n")
    for (line, told), (_, expected) in zip_longest(mine, real, fillvalue=nothing):
        stuck = told.startswith("status -1\n")
        if stuck or (told == expected) == (line in DIFFERENT):
            wrong.append(f"{line}\n--- kvlearn: {told}--- etcd: {expected}")
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_does_the_same_as_with_etcd(pair, name):
    level(pair)
    try:
        mine, real = both(pair, lambda ctl: played(ctl, SCRIPTS[name]))
    finally:
        if "auth" in SCRIPTS[name]:
            both(pair, lambda ctl: [run(ctl.command(words)) for words in CLEAN_UP])
    same(mine, real)


# Members come and go ------------------------------------------------------------------------


class Newcomer:
    """A node that is started with what `member add` printed, and with nothing else."""

    def __init__(self, ctl: Ctl, folder: Path):
        self.ctl, self.folder = ctl, folder
        self.client, self.peer, self.elsewhere = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.names, self.told = Names(ctl), []
        for use, address in (("client", self.client), ("peer", self.peer)):
            self.names.call(address, f"n9 {use}")
        self.names.call(self.elsewhere, "elsewhere")
        self.process = None

    def do(self, *words: str, at: str = "n1") -> Done:
        """A command; what it did is kept to be compared."""
        flags = self.ctl.flags
        where = self.client if at == "n9" else self.ctl.endpoints(at)
        done = run([self.ctl.program, f"--endpoints={where}", *flags, *words])
        # ids have 15 or 16 digits, and are random, and so is the order of members
        plain = re.sub("  +", " ", self.names.plain(done)).replace('"', "")
        lines = [",".join(sorted(re.split(r"[,=](?=n\d=)", line))) for line in plain.splitlines()]
        self.told.append((" ".join(words), "\n".join(sorted(lines)) + "\n"))
        return done

    def at_last(self, *words: str) -> Done:
        """The command again and again, until it is done; only that is kept."""
        tried: list[Done] = []

        def is_done() -> bool:
            tried.append(self.do(*words))
            if tried[-1].status:
                self.told.pop()
            return not tried[-1].status

        try:
            until(is_done, "refused")
        except AssertionError:
            raise AssertionError(f"{self.ctl}: {tried[-1]}") from None
        return tried[-1]

    def start(self, printed: str) -> None:
        """With the environment that etcdctl tells to use."""
        told = dict(re.findall(r'^(ETCD_\w+)="?([^"\n]*)"?$', printed, re.MULTILINE))
        assert told.keys() >= {"ETCD_NAME", "ETCD_INITIAL_CLUSTER", "ETCD_INITIAL_CLUSTER_STATE"}
        told["ETCD_DATA_DIR"] = str(self.folder / "n9")
        told["ETCD_LISTEN_CLIENT_URLS"] = told["ETCD_ADVERTISE_CLIENT_URLS"] = self.url(self.client)
        told["ETCD_LISTEN_PEER_URLS"] = self.url(self.peer)
        own = isinstance(self.ctl.members, LocalCluster)
        command = [sys.executable, "-m", "kvlearn.cli.node"] if own else [find_etcd()]
        with (self.folder / "n9.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**surroundings(), **told}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip

    @staticmethod
    def url(address: str) -> str:
        return f"http://{address}"

    def id(self) -> str:
        """Its number, as etcdctl wants it."""
        members = self.ctl.json("member", "list", who="n1")["members"]
        own = ([self.url(self.peer)], [self.url(self.elsewhere)])
        found = [f"{one['ID']:x}" for one in members if one["peerURLs"] in own]
        assert found, (members, self.told)
        return found[0]

    def until_started(self) -> None:
        def started() -> bool:
            members = self.ctl.json("member", "list", who="n1")["members"]
            return any(one.get("name") == "n9" for one in members)

        until(started, "it did not start: " + (self.folder / "n9.log").read_text())

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def member_life(ctl: Ctl, folder: Path) -> list[tuple[str, str]]:
    """A learner is added, started, promoted, moved, and removed again."""
    new = Newcomer(ctl, folder)
    try:
        new.do("put", "before", "1")
        # etcd wants all members to have been connected for five seconds
        added = new.at_last("member", "add", "n9", f"--peer-urls={new.url(new.peer)}", "--learner")
        members = ctl.json("member", "list", who="n1")["members"]
        taken = next(one["peerURLs"][0] for one in members if one.get("name") == ctl.order[0])
        new.do("member", "add", "n9", f"--peer-urls={taken}", "--learner")
        new.do("member", "add", "more", f"--peer-urls={new.url(new.elsewhere)}", "--learner")
        new.do("member", "promote", new.id())
        new.do("member", "list")
        new.start(added.out)
        new.until_started()
        new.do("member", "list")
        new.do("get", "before", at="n9")
        new.at_last("member", "promote", new.id())  # once it has caught up
        new.do("member", "promote", new.id())
        new.do("member", "list")
        new.do("get", "before", at="n9")
        new.do("put", "through", "n9", at="n9")
        new.do("get", "through")
        # elsewhere it could not be reached; and etcd 3.4 takes an updated learner for a voter
        new.do("member", "update", new.id(), f"--peer-urls={new.url(new.peer)}")
        new.do("member", "list")
        new.at_last("member", "remove", new.id())
        if isinstance(ctl.members, LocalCluster):
            new.process.wait(WAIT_S)  # it hears of it, and ends; etcd's now and then does not
        new.do("member", "list")
        new.do("put", "after", "1")
        return new.told
    finally:
        new.close()


def test_a_member_is_added_started_as_printed_promoted_and_removed(pair, tmp_path):
    level(pair)
    folders = [tmp_path / "mine", tmp_path / "real"]
    for folder in folders:
        folder.mkdir()
    mine, real = both(pair, lambda ctl: member_life(ctl, folders[pair.index(ctl)]))
    same(mine, real)


def test_leadership_moves(pair):
    level(pair)

    def moves(ctl: Ctl) -> list[tuple[str, str]]:
        numbers = {one["name"]: one["ID"] for one in ctl.json("member", "list")["members"]}
        target, first = (f"{numbers[ctl.order[k]]:x}" for k in (-1, 0))
        names, told = Names(ctl), []
        for who, number in (("n1", target), ("n1", target), ("all", first)):
            done = run(ctl.command(["move-leader", number], who))
            told.append((f"move-leader at {who}", names.plain(done)))
            ctl.members.wait_for_leader()
        return told

    same(*both(pair, moves))


def test_a_mirror_goes_from_one_to_the_other_and_back(pair):
    level(pair)
    for source, target in (pair, pair[::-1]):
        prefix = f"mirror{pair.index(source)}/"
        with source.members.client(timeout_s=20) as here, target.members.client() as there:
            for k in range(20):
                here.put(f"{prefix}{k}", str(k))
            where = target.endpoints("n1")
            words = ["make-mirror", "--prefix", prefix, "--dest-prefix", "copy/", where]
            mirror = Background(source.command(words, "n1"))
            try:
                count = partial(there.get, "copy/", prefix=True, count_only=True)
                until(lambda: count().count == 20, "the first keys")
                here.put(f"{prefix}new", "")
                here.delete(f"{prefix}0")
                until(lambda: there.get("copy/new").kvs and not there.get("copy/0").kvs, "more")
                assert there.get("copy/7").text == "7"
            finally:
                mirror.interrupt()
                mirror.end()
                there.delete("copy/", prefix=True)


def test_the_command_of_a_whole_cluster_says_how_etcdctl_finds_it(etcdctl):
    command = [sys.executable, "-m", "kvlearn", "cluster", "--size=3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stdout if "export" in line)
        told = dict(word.split("=", 1) for word in line.split()[1:])
        assert len(told["ETCDCTL_ENDPOINTS"].split(",")) == 3
        for words, out in (
            (("put", "colour", "blue"), "OK\n"),
            (("get", "colour"), "colour\nblue\n"),
        ):
            done = run([etcdctl, *words], **told)
            assert (done.status, done.out) == (0, out), done
        assert str(run([etcdctl, "endpoint", "health"], **told)).count("is healthy") == 3
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.communicate()


# A disk that is full ------------------------------------------------------------------------

FULL = """
    @n1 alarm list
    put a 1
    txn << | | put a 1 | | |
    lease grant 100
    get nothing
    lease list
    del full/ --prefix
    compaction $rev
    @n1 defrag
    @n1 alarm disarm
    @n1 alarm list
    put a 1
"""


def test_a_store_that_is_full_and_made_room_in(etcdctl):
    etcd = find_etcd() or pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD")
    quota = 4 << 20

    def filled(ctl: Ctl) -> list[tuple[str, str]]:
        with ctl.members.client(timeout_s=20) as client, pytest.raises(NoSpace):
            for k in range(100):
                client.put(f"full/{k % 10}", b"x" * 200_000)
        with ctl.members.client(timeout_s=20) as client:
            count = client.get("full/", prefix=True, count_only=True).count
            assert count == 10
        told = played(ctl, FULL)  # how much went in, and with it the revision, differs
        return [(line, re.sub(r"revision \d+", "revision …", did)) for line, did in told]

    with LocalCluster(1, trace=False, quota_backend_bytes=quota) as mine:
        real = EtcdCluster(etcd, 1, quota_backend_bytes=str(quota))
        try:
            same(*both([Ctl(etcdctl, mine), Ctl(etcdctl, real)], filled))
        finally:
            real.close()
