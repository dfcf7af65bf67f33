"""What lesson 16 says of real members is so, and its exercises know the likely mistakes.

How long anything took is measured in the lesson, and never asserted: here, too, times are compared
with each other only, where the reason is that one waits for silence and the other does not.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from kvlearn import delete, put, value
from kvlearn.check import invariants, linearizable
from kvlearn.course import check, outside
from kvlearn.course.exercises import EXERCISES
from kvlearn.course.exercises import real as exercises
from kvlearn.course.exercises.trees import file_pages
from kvlearn.errors import RequestError, TimedOut
from kvlearn.events import Crashed
from kvlearn.live import LocalCluster
from kvlearn.live.process import MemberDown, running
from kvlearn.recipes import Election, Lock


@pytest.fixture
def cluster():
    with LocalCluster(3) as made:
        made.wait_for_leader()
        yield made


def follower(cluster) -> str:
    leader = cluster.wait_for_leader()
    return next(name for name in cluster.names if name != leader)


def plain(thing) -> str:
    """Its text in one line."""
    return " ".join(str(thing).split())


# The run ------------------------------------------------------------------------------------------


def test_the_timers_and_the_files_are_as_the_lesson_says(cluster):
    config = next(iter(cluster._configs.values()))
    assert (config.heartbeat_ms, config.election_ms) == (100, 1000)
    told = outside.files(cluster.data_dir / "n1")
    assert set(told.index) >= {"lock", "member.json", "wal", "snap", "store"} and all(told.what)


def test_a_kill_is_noticed_at_once_and_a_stop_by_silence_alone(cluster):
    killed = cluster.wait_for_leader()
    cluster.client().put("colour", "green")
    cluster.crash(killed)
    after_kill_s = outside.first_put(cluster, without=killed)
    cluster.client().put("colour", "red")
    cluster.restart(killed)
    assert cluster.client(killed).get("colour").text == "red"
    stopped = cluster.wait_for_leader()
    cluster.pause(stopped)
    after_stop_s = outside.first_put(cluster, without=stopped)
    states = outside.processes(cluster).state
    if sys.platform == "linux":
        assert states[stopped] == "stopped" and "stopped" not in states.drop(stopped).tolist()
    cluster.resume(stopped)
    assert after_kill_s < after_stop_s
    trace = cluster.trace
    (crash,) = [record for record in trace.of(Crashed) if record.node == killed]
    assert str(crash).startswith(f"{killed} crashes")  # the lesson finds it so
    assert not invariants(trace).broken and linearizable(trace).ok


def test_who_is_cut_off_knows_the_past_and_not_the_truth(cluster):
    old = cluster.wait_for_leader()
    client = cluster.client()
    client.put("colour", "red")
    rest = [name for name in cluster.names if name != old]
    cluster.partition([old], rest)
    outside.first_put(cluster, without=old)
    cluster.client(rest[0]).put("colour", "violet")
    here = cluster.client(old, timeout_s=0.5)
    assert here.get("colour", serializable=True).text == "red"
    with pytest.raises((TimedOut, RequestError)):
        here.get("colour")
    cluster.heal()
    assert cluster.client(old).get("colour").text == "violet"


def test_what_is_torn_is_mended_and_what_is_damaged_is_refused(cluster):
    client = cluster.client()
    for text in ("blue", "violet", "red"):
        client.put("colour", text)
    down = follower(cluster)
    assert cluster.client(down).get("colour").text == "red"
    cluster.stop(down)
    folder = cluster.data_dir / down
    records = outside.log_records(folder)
    ends = [one.at + one.size for one in records]
    assert [one.at for one in records[1:]] == ends[:-1]  # one behind the other
    (violet,) = [one for one in records if "violet" in one.what]
    assert violet.what.endswith("(put colour=violet)")
    shown = outside.hexdump(folder, violet).splitlines()
    assert len(shown) * 16 == violet.size and int(shown[0].split()[0]) == violet.at
    assert "viol" in shown[-1] + shown[-2] and len(outside.log_table(records[-8:])) <= 8
    told = " ".join(file_pages(folder / "store").what)
    assert "applied=" in told and told.count("meta ✓") == 1
    outside.tear(folder)
    assert outside.log_records(folder) == records  # what the tear left is no record
    cluster.restart(down)
    assert cluster.client(down).get("colour").text == "red"
    cluster.stop(down)
    outside.flip(folder, violet)
    with pytest.raises(MemberDown, match=f"is damaged at byte {violet.at}"):
        cluster.restart(down)
    client.remove_member(down)
    fresh = cluster.add_node()
    assert cluster.client(fresh).get("colour").text == "red"


def test_a_lock_and_an_election_outlive_the_leader(cluster):
    lock, boss = Lock(cluster.client(), "report"), Election(cluster.client(), "boss")
    lock.acquire()
    boss.campaign("bob")
    leader = cluster.wait_for_leader()
    cluster.crash(leader)
    outside.first_put(cluster, without=leader)
    assert lock.is_held() and boss.leader().text == "bob"
    assert lock.release() is True and boss.resign() is True


def tour(client) -> dict:
    """The lesson's cell."""
    client.delete("tour/", prefix=True)
    start = client.put("tour/a", "old").header.revision
    told = {"two puts": client.put("tour/a", "new").header.revision - start}
    told["as it was"] = client.get("tour/a", revision=start).text
    swap = client.txn().if_(value("tour/a") == "new").then(put("tour/b", "x"), delete("tour/a"))
    told["a transaction"] = swap.commit().succeeded
    with client.lease(30) as lease:
        told["under a lease"] = client.put("tour/c", "y", lease=lease).header.revision - start
    told["and after it"] = [kv.key_text for kv in client.get("tour/", prefix=True).kvs]
    with client.watch("tour/", prefix=True, start_revision=start) as watcher:
        told["heard"] = [f"{e.type} {e.kv.key_text}" for e in (watcher.recv() for _ in range(6))]
    try:
        client.get("tour/a", revision=start + 1000)
    except RequestError as error:
        told["from the future"] = f"{error.code}: {error.text}"
    return told


def test_the_same_cell_says_the_same_of_a_real_etcd(cluster):
    etcd = outside.real_etcd()
    if not etcd:
        pytest.skip(str(etcd))
    try:
        told = outside.same_cell(tour, cluster, etcd)
        ours, theirs = (told[column].tolist() for column in told)
        assert ours == theirs and len(ours) == 7
        assert list(told.columns) == ["kvlearn", f"etcd {etcd.version}"]
        again = outside.real_etcd(etcd.endpoint)  # one that runs already
        assert again and again.version == etcd.version
        again.close()
        with etcd.client() as client:
            assert client.get("tour/b").text == "x"
    finally:
        etcd.close()


def test_what_is_not_installed_is_told_and_not_missed(cluster, monkeypatch, capsys):
    monkeypatch.setattr(outside.shutil, "which", lambda name: None)
    etcd = outside.real_etcd()
    assert not etcd and "apt install etcd-server" in str(etcd)
    told = outside.same_cell(tour, cluster, etcd)
    assert (
        list(told.columns) == ["kvlearn"] and "apt install etcd-server" in capsys.readouterr().out
    )
    outside.etcdctl(cluster.endpoints, "get colour")
    assert "apt install etcd-client" in capsys.readouterr().out
    body = {"key": outside.base64("colour"), "value": outside.base64("grün")}
    door = cluster.endpoint("n1")
    assert "header" in outside.curl(door, "/v3/kv/put", body)
    reply = outside.curl(door, "/v3/kv/range", {"key": outside.base64("colour")})
    assert outside.from_base64(reply["kvs"][0]["value"]) == "grün"
    shown = capsys.readouterr().out
    assert "curl is not installed here" in shown and f"$ curl -s http://{door}/v3/kv/put" in shown
    assert outside.curl(door, "/v3/kv/range", {"key": 5})["code"] == 3  # errors, too
    etcd.close()


def test_an_etcd_that_does_not_start_says_why(monkeypatch, tmp_path):
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho no room left\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(outside.shutil, "which", lambda name: str(program))
    monkeypatch.setattr(outside, "START_S", 0.5)
    etcd = outside.real_etcd()
    assert not etcd and "it said last: no room left" in str(etcd)


def test_an_etcd_ends_with_the_program_that_started_it():
    if not outside.shutil.which("etcd"):
        pytest.skip("etcd is not installed")
    code = (
        "import os, signal\n"
        "from kvlearn.course.outside import real_etcd\n"
        "etcd = real_etcd()\n"
        "print(etcd._folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60)
    folder = done.stdout.decode().strip()
    assert folder
    if sys.platform == "linux":
        end = time.monotonic() + 20
        while any(_names(pid, folder) for pid in _pids()):
            assert time.monotonic() < end, "etcd outlived the program"
    outside.shutil.rmtree(folder, ignore_errors=True)


def _pids() -> list[int]:
    return [int(one.name) for one in outside.Path("/proc").iterdir() if one.name.isdecimal()]


def _names(pid: int, folder: str) -> bool:
    try:
        return running(pid, folder)
    except OSError:
        return False


# The exercises ------------------------------------------------------------------------------------


def test_the_four_logs():
    told = {letter: exercises.opened(letter) for letter in exercises.ACCIDENTS}
    assert [kept for kept, _ in told.values()] == [4, 4, 0, 0]
    assert all("is damaged" in why for _, why in told.values() if why)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("C", "D: the end of the power leaves sectors unwritten"),
        (["D"], "C: record 2 was forced"),
        (["B", "C", "D"], "B: a disk writes a sector or does not"),
        (["A", "B", "C", "D"], "A: who was told"),
        ([], "C: record 2 was forced"),
    ],
)
def test_likely_mistakes_about_the_logs_get_their_hint(answer, hint):
    judgement = check(answer, exercise="real/refused")
    assert judgement.ok is False and hint in plain(judgement)


@pytest.mark.parametrize("answer", ["E", ["c"], 5])
def test_what_is_no_letter_is_told(answer):
    assert check(answer, exercise="real/refused").title == "This cannot be read as an answer"


def first_misfit(records):
    kept = []
    for record in records:
        if not record.fits:
            break
        kept.append(record)
    return kept


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda records: records, "its checksum does not fit"),
        (lambda records: [r for r in records if r.fits], "Something behind b is kept"),
        (first_misfit, "was promised, and this log has lost it"),
        (lambda records: None, "Everything fits, and something is missing"),
        (
            lambda records: records if all(r.fits for r in records) else None,
            "A log that a power cut can leave was refused",
        ),
        (
            lambda records: (
                [r for r in records if r.batch < max(q.batch for q in records)]
                if any(not r.fits for r in records)
                else records
            ),
            "A record is lost that was whole",
        ),
        (lambda records: 7, "neither a list nor None"),
        (lambda records: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_log_that_is_read_wrong(read, told):
    judgement = check(read, exercise="real/read_log")
    assert judgement.ok is False and told in plain(judgement)


def test_texts_are_as_good_as_records():
    def read(records):
        kept = exercises.kept_of(records)
        return None if kept is None else [record.text for record in kept]

    judgement = check(read, exercise="real/read_log")
    assert judgement.ok is True
    told = plain(judgement)
    assert "nothing was written yet; " in told and told.endswith(" by chance.")
    assert told.count("by chance") == 1  # scenes that luck has made are counted, not listed


def test_the_scenes_have_all_kinds_of_logs():
    def kinds(records):
        kept = exercises.kept_of(records)
        seen.add("refused" if kept is None else "whole" if kept == records else "torn")
        return kept

    seen: set[str] = set()
    assert check(kinds, exercise="real/read_log").ok is True
    assert seen == {"refused", "whole", "torn"}


base64 = outside.base64


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (lambda prefix: {"key": prefix, "range_end": prefix}, "takes 'job/' for base64"),
        (lambda prefix: {"key": f"{prefix}?", "range_end": prefix}, "is not base64"),
        (lambda prefix: {"key": base64(prefix)}, "Without range_end it is one key"),
        (lambda prefix: {"range_end": base64(prefix)}, "There is no key"),
        (
            lambda prefix: {"key": base64(prefix), "range_end": base64(prefix + "zzz")},
            "first key behind all",
        ),
        (
            lambda prefix: {"key": base64(prefix), "range_end": base64(prefix + "\U0010ffff")},
            "the first key that is NOT in it",
        ),
        (lambda prefix: {"key": base64(prefix), "prefix": True}, "What is prefix?"),
        (lambda prefix: {"key": b"job"}, "is no text"),
        (lambda prefix: "job", "The answer is no dict"),
    ],
)
def test_a_body_that_asks_for_something_else(body, told):
    judgement = check(body, exercise="real/body")
    assert judgement.ok is False and told in plain(judgement)


def restarts(wait):
    def rolling(cluster, names):
        for name in names:
            cluster.crash(name)
            cluster.restart(name)
            wait(cluster, name)

    return rolling


def all_at_once(cluster, names):
    for name in names:
        cluster.crash(name)
    for name in names:
        cluster.restart(name)


def forgets_one(cluster, names):
    restarts(lambda cluster, name: cluster.client(name).get("written"))(cluster, names[:-1])


def leaves_one_down(cluster, names):
    forgets_one(cluster, names)
    cluster.crash(names[-1])


@pytest.mark.parametrize(
    ("rolling", "told"),
    [
        (restarts(lambda cluster, name: None), "n2 was taken down before n1 had caught up"),
        (
            restarts(lambda cluster, name: cluster.client(name).get("x", serializable=True)),
            "n2 was taken down before n1 had caught up",
        ),
        (restarts(lambda cluster, name: cluster.wait_for_leader()), "had caught up"),
        (all_at_once, "n2 and n1 are down at the same time"),
        (forgets_one, "n3 was never restarted"),
        (leaves_one_down, "n3 is still down"),
        (lambda cluster, names: None, "n1 was never restarted"),
    ],
)
def test_a_rolling_restart_that_is_too_early(rolling, told):
    judgement = check(rolling, exercise="real/rolling")
    assert judgement.ok is False and told in plain(judgement)


def test_the_solution_rolls_over_real_members_as_it_stands(cluster):
    known: dict = {}
    exec("def rolling(cluster, names):\n" + EXERCISES["real/rolling"].solution, known)
    cluster.client().put("written", "0")
    before = {name: cluster.pid(name) for name in cluster.names}
    known["rolling"](cluster, cluster.names)
    assert all(cluster.pid(name) != pid for name, pid in before.items())
    assert cluster.client().get("written").text == "0"
    assert not invariants(cluster.trace).broken


def test_the_solution_s_body_is_understood_by_a_member(cluster):
    known = {"base64": base64}
    exec("def body(prefix):\n" + EXERCISES["real/body"].solution, known)
    client = cluster.client()
    for key in ("job", "job/1", "job/é", "job0"):
        client.put(key, "x")
    reply = outside.curl(cluster.endpoint("n2"), "/v3/kv/range", known["body"]("job/"))
    found = [outside.from_base64(kv["key"]) for kv in reply["kvs"]]
    assert found == ["job/1", "job/é"]
