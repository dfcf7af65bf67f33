"""A snapshot of real members becomes a new cluster, with all that the old one knew.

Three members get puts, deletions, transactions, leases, users, a compaction; what they answer is
written down. Then three others begin with their snapshot, and have to answer the same.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")

from grpc import RpcError

from kvlearn import check, cli
from kvlearn.cli.bench_peers import KVLEARN, Members, until
from kvlearn.errors import StorageError
from kvlearn.events import Invoked, Started
from kvlearn.kv.leases import Compact, LeaseGrant
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, DeleteRange, Put
from kvlearn.kv.snapshots import load_snapshot, save_snapshot
from kvlearn.kv.upkeep import Alarm, SnapshotState
from kvlearn.live import LocalCluster, connect, restore
from kvlearn.live.config import MemberConfig
from kvlearn.live.folders import hold
from kvlearn.live.identity import found
from kvlearn.live.storage import Storage
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.node import CONF
from tests.live.etcdctl import MISSING, find_etcdctl, run
from tests.live.spec_kit import Api, pb

QUICK = "--heartbeat-interval=50", "--election-timeout=500", "--bcrypt-cost=4"
ROOT = dict(user="root", password="r")
SEED = int(os.environ.get("KVLEARN_SEED") or random.randrange(1 << 32))
COMPACTED = 30


def up(members: Members, *names: str) -> Api:
    """Wait until these members (all) serve and have a leader."""

    def leads(name: str) -> bool:
        try:
            return Api(members.endpoint(name)).Status(timeout=1).leader != 0
        except RpcError:
            process = members.processes[name]
            assert process.poll() is None, members.log(name)
            return False

    for name in names or members.names:
        until(lambda: leads(name), f"{name} has a leader")
    return Api(members.endpoint((names or members.names)[0]))


def fill(api: Api, rng: random.Random) -> None:
    """Some past, some present."""
    for ttl, id in ((5000, 7), (6000, 8)):
        api.LeaseGrant(TTL=ttl, ID=id)
    for number in range(60):
        key = b"k%d" % rng.randrange(9)
        match rng.randrange(6):
            case 0:
                api.DeleteRange(key=key)
            case 1:
                put = pb.PutRequest(key=b"both", value=b"%d" % number)
                other = pb.PutRequest(key=key, value=bytes(range(256)), lease=7)
                ops = [pb.RequestOp(request_put=put), pb.RequestOp(request_put=other)]
                api.Txn(success=ops)
            case 2:
                api.Put(key=key, value=b"\xff\n[%d" % number, lease=rng.choice((7, 8)))
            case _:
                api.Put(key=key, value=b"v%d" % number)
        if number == 40:
            api.Compact(revision=COMPACTED, physical=rng.random() < 0.5)
    api.UserAdd(name="root", password="r")
    api.UserAdd(name="al", password="a")
    for role in ("root", "reads"):
        api.RoleAdd(name=role)
    permission = dict(key=b"k1", range_end=b"k3")
    api.RoleGrantPermission(name="reads", perm=permission)
    api.UserGrantRole(user="root", role="root")
    api.UserGrantRole(user="al", role="reads")
    api.AuthEnable()


def told(endpoint: str) -> dict:
    """All that a member knows and a snapshot has to have."""
    root = Api(endpoint).as_user("root", "r")
    everything = dict(key=b"\0", range_end=b"\0", serializable=True)
    now = root.Range(**everything)
    past = {}
    for revision in range(1, now.header.revision + 1):
        try:
            past[revision] = root.Range(**everything, revision=revision).kvs
        except RpcError as error:
            past[revision] = error.details()
    leases = {}
    for lease in root.LeaseLeases().leases:
        known = root.LeaseTimeToLive(ID=lease.ID, keys=True)
        leases[lease.ID] = known.grantedTTL, sorted(known.keys)
    users = {name: list(root.UserGet(name=name).roles) for name in root.UserList().users}
    roles = {name: root.RoleGet(role=name).perm for name in root.RoleList().roles}
    auth, sums = root.AuthStatus(), root.HashKV()
    return {
        **{"revision": now.header.revision, "past": past, "leases": leases, "users": users},
        **{"roles": roles, "auth": (auth.enabled, auth.authRevision)},
        **{"hash": sums.hash, "compacted": sums.compact_revision},
    }


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """(members, what they told, the file that kvlearn's own client saved, leases that ended)."""
    print(f"replay: KVLEARN_SEED={SEED} pytest tests/live/test_restore.py")
    with Members(KVLEARN, 3, *QUICK) as members:
        api = up(members)
        gone = [Api(members.endpoint(name)).LeaseGrant(TTL=99).ID for name in members.names]
        for lease in gone:
            api.LeaseRevoke(ID=lease)
        fill(api, random.Random(SEED))
        file = tmp_path_factory.mktemp("saved") / "f"
        with connect(members.endpoint("n2"), **ROOT) as client:
            client.snapshot(str(file))
        known = told(members.endpoint("n1"))
        assert known["compacted"] == COMPACTED and known["past"][COMPACTED + 1]
        yield members, known, file, gone


def restored(members: Members, file: Path, *names: str, more: tuple = ()) -> None:
    """Make folders for members that have not begun."""
    founders = ",".join(f"{name}={members.peer_url(name)}" for name in members.names)
    for name in names or members.names:
        where = f"--name={name}", f"--data-dir={members.folder / name}"
        flags = *where, f"--initial-cluster={founders}", *more
        assert cli.main(["snapshot", "restore", str(file), *flags]) == 0


@pytest.fixture(scope="module")
def reborn(origin):
    """A cluster that began with the snapshot, on ports of its own."""
    members = Members(KVLEARN, 3, *QUICK)
    try:
        restored(members, origin[2])
        members.start()
        up(members)
        yield members
    finally:
        members.stop()


# What is there ------------------------------------------------------------------------------


def test_every_member_tells_what_the_old_ones_told(origin, reborn):
    for name in reborn.names:
        assert told(reborn.endpoint(name)) == origin[1]


def test_who_is_a_member_begins_anew(origin, reborn):
    headers = []
    for members in (origin[0], reborn):
        root = Api(members.endpoint("n1")).as_user("root", "r")
        listed = root.MemberList()
        headers.append((listed.header.cluster_id, listed.header.member_id))
        urls = {one.name: list(one.peerURLs) for one in listed.members}
        assert urls == {name: [members.peer_url(name)] for name in members.names}
    (old, old_member), (new, new_member) = headers
    assert old != new and old_member != new_member


def test_what_a_role_forbids_stays_forbidden(reborn):
    al = Api(reborn.endpoint("n2")).as_user("al", "a")
    al.Range(key=b"k1")
    with pytest.raises(RpcError, match="permission denied"):
        al.Range(key=b"k4")


def test_it_goes_on_and_a_restart_finds_all_of_it(origin, reborn):
    """One after the other: writes, a new lease, kill -9 of all, one more member."""
    root = Api(reborn.endpoint("n1")).as_user("root", "r")
    revision = root.Range(key=b"k1").header.revision
    leases = [
        Api(reborn.endpoint(name)).as_user("root", "r").LeaseGrant(TTL=4000).ID
        for name in reborn.names
    ]
    assert not set(leases) & set(origin[3]), "somebody may still renew one that ended long ago"
    lease = leases[0]
    for number in range(20):
        assert root.Put(key=b"new", value=b"%d" % number, lease=lease).header.revision > revision
    before = told(reborn.endpoint("n3"))
    assert before["past"] == {**before["past"], **origin[1]["past"]}
    for name in reborn.names:
        reborn.kill(name)
    reborn.start()
    up(reborn)
    for name in reborn.names:
        assert told(reborn.endpoint(name)) == before
    _grows(reborn)


def _grows(reborn: Members) -> None:
    """A member that joins gets all of it, though no log has it."""
    known = ",".join(f"{name}={reborn.peer_url(name)}" for name in reborn.names)
    fourth = Members(KVLEARN, 1)
    url = fourth.peer_url("n1")
    cluster = f"--initial-cluster={known},n4={url}", "--initial-cluster-state=existing"
    fourth._own = {"n1": (*QUICK, "--name=n4", *cluster)}
    root = Api(reborn.endpoint("n1")).as_user("root", "r")
    root.MemberAdd(peerURLs=[url])
    with fourth:
        up(fourth)
        want = told(reborn.endpoint("n1"))

        def has_all() -> bool:
            try:
                return told(fourth.endpoint("n1")) == want
            except RpcError:
                return False  # it has not come so far

        until(has_all, "the fourth has all")


def test_a_founder_that_ran_is_not_restored_once_more(origin, reborn):
    """It has voted, and would vote again."""
    reborn.kill("n3")
    kept = reborn.folder / "kept"
    (reborn.folder / "n3").rename(kept)
    restored(reborn, origin[2], "n3")
    reborn.start("n3")
    assert reborn.processes["n3"].wait(20) == 1  # which stays in there, to be ended if it runs
    assert "n3 has run before, and" in reborn.log("n3") and "restored anew" in reborn.log("n3")
    shutil.rmtree(reborn.folder / "n3")
    kept.rename(reborn.folder / "n3")
    reborn.start("n3")
    up(reborn, "n3")


def test_a_founder_without_the_snapshot_stays_outside(origin):
    """Two have it, the third began empty: it must not take part, whatever it is asked."""
    members = Members(KVLEARN, 3, *QUICK)
    try:
        restored(members, origin[2], "n1", "n2")
        members.start("n1", "n2")
        up(members, "n1", "n2")
        members.start("n3")
        until(lambda: "n3 refuses this member: cluster ID mismatch" in members.log("n1"), "heard")
        until(lambda: "founders begin with the same token and snap" in members.log("n3"), "")
        root = Api(members.endpoint("n1")).as_user("root", "r")
        root.Put(key=b"k", value=b"v")
        assert Api(members.endpoint("n3")).Status().leader == 0
    finally:
        members.stop()


def test_the_story_of_both_lives_passes_the_checkers(tmp_path):
    """Members that write down all they do, too, hand out snapshots."""
    with LocalCluster(1, tmp_path / "c") as live, live.client(timeout_s=20) as client:
        client.put("k", "old")
        client.snapshot(tmp_path / "f")
        asked = [r.event for r in live.trace.of(Invoked) if r.event.request == SnapshotState()]
        assert asked and live.is_alive("n1") and check.invariants(live.trace).ok
        flags = live._config("n1")
    shutil.rmtree(tmp_path / "c" / "n1")
    restore.restore(restore.read(tmp_path / "f"), flags)
    with LocalCluster(1, tmp_path / "c") as live, live.client(timeout_s=20) as client:
        assert client.get("k").text == "old"
        client.put("k", "new")
        live.add_node()
        live.crash("n1")
        live.restart("n1")
        client.put("k", "newer")
        story = live.trace
    assert check.invariants(story).ok, check.invariants(story)
    assert check.service(story).ok, check.service(story)
    began = [record.event for record in story.of(Started)]
    assert began[0].base == restore.FIRST and len(began) == 3


@pytest.fixture
def etcdctl():
    return find_etcdctl() or pytest.skip(MISSING)


def test_what_etcdctl_saves_is_restored(origin, etcdctl, tmp_path, capsys):
    """One member, because one is a cluster too; and the same as our own client's."""
    old, known, own, _ = origin
    file = tmp_path / "s"
    ctl = [etcdctl, f"--endpoints={old.endpoint('n2')}", "--user=root:r"]
    assert run([*ctl, "snapshot", "save", str(file)]).status == 0
    saved, own = (dict(restore.read(one).records) for one in (file, own))
    assert saved.pop("applied") >= own.pop("applied")  # the log goes on with every login
    assert saved == own == {k: v for k, v in load_snapshot(file) if k != "applied"}
    members = Members(KVLEARN, 1, *QUICK)
    try:
        restored(members, file)
        members.start()
        up(members)
        assert told(members.endpoint("n1")) == known
        ctl[1] = f"--endpoints={members.endpoint('n1')}"
        sums = json.loads(run([*ctl, "endpoint", "hashkv", "-w", "json"]).out)
        capsys.readouterr()
        assert cli.main(["snapshot", "status", str(file), "-w", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["hash"] == sums[0]["HashKV"]["hash"]
    finally:
        members.stop()


# Without processes --------------------------------------------------------------------------


def machine(*requests) -> KVMachine:
    """A state machine after these requests."""
    made = KVMachine(MemoryBackend())
    for index, request in enumerate(requests, start=1):
        _, error = made.apply(index, 1, Command("n1", index, request))
        assert error is None
    made.commit()
    return made


SOME = (
    *(LeaseGrant(100, 5), Put(b"a", b"1", 5), Put(b"b", b"[\n"), DeleteRange(b"a")),
    *(Put(b"a", b"2"), Compact(3), Alarm("activate", 77, "NOSPACE")),
)


@pytest.fixture
def file(tmp_path):
    """A small snapshot, as a member sends it."""
    path = tmp_path / "f"
    save_snapshot(path, machine(*SOME).save())
    text = path.read_bytes()
    text += b"\n" * (-len(text) % 512)
    path.write_bytes(text + restore.sha256(text).digest())
    return path


def config(folder: Path, **more) -> MemberConfig:
    return MemberConfig(name="n1", data_dir=folder, **more)


def make(file: Path, folder: Path, **more):
    return restore.restore(restore.read(file), config(folder, **more))


def test_a_folder_has_the_state_and_a_log_that_begins(file, tmp_path):
    identity = make(file, tmp_path / "n1")
    with Storage(tmp_path / "n1") as storage:
        start, opened = storage.start(), KVMachine(storage.backend)
        assert start.entries == () and start.snapshot is None and start.base == restore.FIRST
        assert opened.applied == start.hard_state.commit == start.hard_state.term == 1
        assert opened.directory.members == identity.founders and opened.alarms == ((77, "NOSPACE"),)
        old = machine(*SOME)
        assert opened.store.hash() == old.store.hash() and opened.lessor.save() == old.lessor.save()
        assert storage.facts["restored"] == restore.read(file).sum
        assert storage.backend.get_meta(CONF) == identity.arguments()["conf"]


def test_ids_of_leases_do_not_come_again(file, tmp_path):
    """They have the count of starts in them, and nobody knows how far the old one was."""
    boots = set()
    for name in ("n1", "n2", "n3"):
        make(file, tmp_path / name)
        with Storage(tmp_path / name) as storage:
            boots.add(storage.boot)
    assert len(boots) > 1


def test_ids_are_of_the_snapshot_too(file, tmp_path):
    """The same flags as the old cluster had, and still another cluster: who was in the old one is
    a stranger, and so is a founder with another snapshot."""
    first = make(file, tmp_path / "n1")
    save_snapshot(file, machine(Put(b"more", b""), *SOME).save())
    second = make(file, tmp_path / "n2")
    ids = {one.cluster_id for one in (first, second, found(config(tmp_path)))}
    assert len(ids) == len({first.founders[0].id, second.founders[0].id}) + 1 == 3


def test_the_same_file_without_what_it_was_sent_with_is_the_same(file, tmp_path):
    plain = tmp_path / "plain"
    save_snapshot(plain, load_snapshot(file))
    assert restore.read(plain).sum == restore.read(file).sum


def test_whatever_is_damaged_is_refused(file):
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StorageError):
            restore.read(file)
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        try:
            assert restore.read(file).records == load_snapshot(file)  # all but the sum it came with
        except StorageError:
            continue
        assert whole[end:].endswith(whole[-32:])


def test_a_sum_that_is_wrong_counts_unless_it_is_not_to_be_checked(file):
    text = file.read_bytes()
    file.write_bytes(text.replace(b'"value": {"bytes": "2"}', b'"value": {"bytes": "3"}'))
    with pytest.raises(StorageError, match="SHA-256"):
        restore.read(file)
    assert restore.read(file, check=False).machine().store.get(b"a").value == b"3"
    file.write_bytes(text[: text.index(b"NOSPACE") + 300])
    with pytest.raises(StorageError, match="cut off"):
        restore.read(file, check=False)


@pytest.mark.parametrize("line", [b"[1, 2]", b'["applied"]', b'[{"bytes": "a"}, 1]', b"[", b"[[]]"])
def test_a_line_that_is_no_record_is_named(file, line):
    head, first, rest = file.read_bytes().split(b"\n", 2)
    file.write_bytes(b"\n".join((head, first, line, rest)))
    with pytest.raises(StorageError, match="line 3 is no record"):
        restore.read(file, check=False)


# Half made ----------------------------------------------------------------------------------


class Kill(BaseException):
    """What no handler of errors takes."""


@pytest.mark.parametrize("place", ["write", "compact", "sync", "identify", "close"])
@pytest.mark.parametrize("error", [Kill(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_was_half_made_is_removed(file, tmp_path, monkeypatch, place, error):
    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Storage, place, fail)
        with pytest.raises((Kill, StorageError)) as caught:
            make(file, tmp_path / "n1")
    assert list(tmp_path.iterdir()) == [file]
    if isinstance(error, OSError):
        told = "n1 is not made, and nothing is left: No space left on device"
        assert str(caught.value).endswith(told)
    assert make(file, tmp_path / "n1")


def test_a_disk_with_hardly_any_room_is_refused(file, tmp_path, monkeypatch):
    monkeypatch.setattr("kvlearn.live.storage.LEAST_FREE", 1 << 60)
    with pytest.raises(StorageError, match="nothing is left: .*bytes are free on its disk"):
        make(file, tmp_path / "n1")
    assert list(tmp_path.iterdir()) == [file]


KILLED = """
import os, sys
from pathlib import Path
from kvlearn.live import restore
from kvlearn.live.config import MemberConfig
file, folder, left = sys.argv[1], Path(sys.argv[2]), 0
def dies_in_time(real):
    def step(*args, **more):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*args, **more)
    return step
for name in ("fsync", "replace", "mkdir"):
    setattr(os, name, dies_in_time(getattr(os, name)))
saved, config = restore.read(file), MemberConfig(name="n1", data_dir=folder)
for steps in range(100):
    child = os.fork()
    if not child:
        left = steps
        restore.restore(saved, config)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if folder.exists():
        print(steps)
        break
    assert os.waitstatus_to_exitcode(status) == 9
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is killed in its middle")
def test_kill_at_any_step_leaves_all_or_nothing(file, tmp_path):
    """Before each fsync, rename and new folder: until the last one there is no folder, and then it
    is whole, whatever the tries before have left."""
    folder = tmp_path / "n1"
    command = [sys.executable, "-c", KILLED, str(file), str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) > 10, done.stderr
    with Storage(folder) as storage:
        assert storage.last == restore.FIRST and storage.facts["restored"]
        assert KVMachine(storage.backend).store.hash() == machine(*SOME).store.hash()


def test_what_a_killed_restore_left_is_removed_and_one_at_work_is_not(file, tmp_path):
    draft = tmp_path / "n1.restoring"
    draft.mkdir()
    (draft / "lock").write_text("1\n")
    with (draft / "lock").open("a+b") as lock:
        hold(lock)
        with pytest.raises(StorageError, match="n1.restoring is in use"):
            make(file, tmp_path / "n1")
    assert make(file, tmp_path / "n1")
    assert not draft.exists()


def test_an_empty_folder_will_do(file, tmp_path):
    (tmp_path / "n1").mkdir()
    make(file, tmp_path / "n1")
    assert (tmp_path / "n1" / "member.json").exists()


# What is refused ----------------------------------------------------------------------------

ETCDS = bytes(16) + b"\xed\xda\x0c\xed" + bytes(492)
CLUSTER = "--initial-cluster=n1=http://127.0.0.1:1,n2=http://127.0.0.1:2"
REFUSED = {
    "full": ("data.dir", ["--data-dir=full"], "full exists and is not empty: .*another --data-dir"),
    "file": ("data.dir", ["--data-dir=f"], "f is no folder for a member"),
    "mounted": ("data.dir", ["--data-dir=/"], "/ is where a disk is mounted"),
    "absent": ("file", ["nothing"], "nothing cannot be read: No such file"),
    "folder": ("file", ["full"], "full is a folder, and no snapshot: .*etcdctl snapshot save"),
    "etcd": ("file", ["etcds"], "etcds is a snapshot of etcd's own.*make-mirror"),
    "text": ("file", ["text"], "text is no snapshot: take one with `etcdctl snapshot save"),
    "version": ("file", ["other"], "other is a snapshot of another version of kvlearn"),
    "stranger": ("flags", ["--name=n3", CLUSTER], "does not name this member: add n3=.*n1, n2"),
    "urls": (
        *("flags", ["--name=n1", CLUSTER, "--initial-advertise-peer-urls=http://127.0.0.1:2"]),
        "says that n1 is at http://127.0.0.1:1, but .*make them the same",
    ),
    "url": ("flags", ["--initial-cluster=n1=127.0.0.1:1", "--name=n1"], "not a URL|starts with"),
    "wal": ("flags", ["--wal-dir=w"], "--wal-dir is not offered: the log lies in --data-dir"),
    "bump": ("flags", ["--bump-revision", "9"], "--bump-revision is not offered: the revision"),
    "typo": ("flags", ["--data-dri=d"], "did you mean --data-dir"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_sentence_and_nothing_is_made(case, file, tmp_path, monkeypatch, capsys):
    kind, argv, why = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "etcds").write_bytes(ETCDS)
    (tmp_path / "text").write_text("colour blue\n")
    (tmp_path / "other").write_text('{"kvlearn snapshot": 2}\n')
    before = sorted(path.name for path in tmp_path.rglob("*"))
    argv = argv if kind == "file" else ["f", *argv]
    if kind == "flags":
        with pytest.raises(SystemExit, match="2"):
            cli.main(["snapshot", "restore", *argv])
    else:
        assert cli.main(["snapshot", "restore", *argv]) == 1
    out, err = capsys.readouterr()
    line = err.rstrip("\n").rpartition("\n")[2]
    assert not out and "Traceback" not in err and restore.re.search(why, line), err
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_made_is_told(file, tmp_path):
    with pytest.raises(StorageError, match="f/n1 (cannot be made|is no folder for a member)"):
        make(file, file / "n1")


def test_usage(capsys):
    assert cli.main(["snapshot", "--help"]) == 0 and cli.main(["snapshot"]) == 2
    assert capsys.readouterr().out.count("usage: kvlearn snapshot status FILE") == 2
    for typed, why in (
        ("save", "`etcdctl snapshot save FILE` saves"),
        ("resotre", "no command snapshot 'resotre'; did you mean restore?"),
    ):
        assert cli.main(["snapshot", typed, "f"]) == 1
        assert why in capsys.readouterr().err


# What is told -------------------------------------------------------------------------------


def test_status_in_all_forms(file, capsys):
    hash = machine(*SOME).store.hash()
    size = len(file.read_bytes()) - 32
    forms = {
        "simple": f"{hash:x}, 5, 4, {size / 1000:.1f} kB",
        "json": f'{{"hash":{hash},"revision":5,"totalKey":4,"totalSize":{size}}}',
        "fields": f'"Hash" : {hash}\n"Revision" : 5\n"Keys" : 4\n"Size" : {size}',
    }
    for form, want in forms.items():
        assert cli.main(["snapshot", "status", str(file), f"--write-out={form}"]) == 0
        assert capsys.readouterr().out == want + "\n"
    assert cli.main(["snapshot", "status", str(file)]) == 0
    assert capsys.readouterr().out == forms["simple"] + "\n"
    assert cli.main(["snapshot", "status", str(file), "-w", "table"]) == 0
    border, head, _, row, _ = capsys.readouterr().out.splitlines()
    assert len({len(border), len(head), len(row)}) == 1 and f"{hash:x}" in row
    assert head.split("|")[1:-1] == ["   HASH   ", " REVISION ", " TOTAL KEYS ", " TOTAL SIZE "]


def test_restore_tells_what_there_is_and_what_comes_next(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = "-name=n1", CLUSTER, "--initial-cluster-token", "t"
    assert cli.main(["snapshot", "restore", *flags, "f"]) == 0
    facts, alarm, cluster, start = capsys.readouterr().out.splitlines()
    what = "4 records of keys, compacted at 3, 1 lease"
    assert facts == f"kvlearn: n1.kvlearn holds revision 5: {what}"
    assert alarm == "kvlearn: it has an alarm, NOSPACE, until `etcdctl alarm disarm` ends it"
    with Storage("n1.kvlearn") as storage:
        number = storage.facts["cluster_id"]
    assert cluster == (
        f"kvlearn: it founds the cluster {number:x}. Restore the same file for n2, too. "
        "Then start it:"
    )
    assert start.startswith("  kvlearn node --name=n1 --data-dir=n1.kvlearn --initial-")
    assert {"--initial-cluster-token=t", CLUSTER} <= set(start.split())
    assert os.listdir() and not Path("n1.kvlearn.restoring").exists()
