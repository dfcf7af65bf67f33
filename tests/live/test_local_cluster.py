"""A real cluster of processes: broken, mended, looked at; and it never outlives who made it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")

from kvlearn import check
from kvlearn.errors import TimedOut, Unavailable
from kvlearn.events import (
    BecameLeader,
    Crashed,
    Healed,
    Invoked,
    LinksCut,
    Paused,
    Resumed,
    Returned,
    Started,
)
from kvlearn.live import LocalCluster, local_cluster
from kvlearn.live.process import MemberDown, running

QUICK = dict(heartbeat_ms=50, election_ms=500)


@pytest.fixture(scope="module")
def live():
    """Three members that all tests of this module may break, if they mend them."""
    with LocalCluster(3, **QUICK) as cluster:
        cluster.wait_for_leader(30)
        yield cluster


@pytest.fixture
def whole(live):
    """All three are up and agree, before the test and after it."""
    yield live
    live.heal()
    for name in live.names:
        if live.is_alive(name) and name in paused(live):
            live.resume(name)
    live.start()
    live.wait_for_leader(30)


def paused(live) -> set[str]:
    return {row["node"] for row in live._rows() if row["role"] == "paused"}


def exists(pid: int) -> bool:
    return running(pid, "kvlearn.cli.node")


def until(condition, what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


# The verbs ----------------------------------------------------------------------------------


def test_a_leader_is_killed_and_the_others_go_on(whole):
    with whole.client(timeout_s=20) as client:
        client.put("colour", "blue")
        old = whole.wait_for_leader(30)
        pid = whole.pid(old)
        whole.crash(old)
        assert not exists(pid)
        assert client.get("colour").text == "blue"
        assert whole.wait_for_leader(30) != old
        client.put("colour", "green")
        whole.restart(old)
        with whole.client(old, timeout_s=20) as there:
            assert there.get("colour").text == "green"
    crash = [r for r in whole.trace.of(Crashed) if r.node == old][-1]
    start = [r for r in whole.trace.of(Started) if r.node == old][-1]
    assert crash.time < start.time and start.event.boot == 2
    assert crash.event.last == start.event.entries[-1].index, "what the disk kept"


def test_a_status_is_a_row_a_node(whole):
    leader = whole.wait_for_leader(30)
    other = next(name for name in whole.names if name != leader)
    whole.crash(other)
    table = whole.status()
    assert list(table.index) == ["n1", "n2", "n3"]
    assert table.loc[leader, "role"] == "leader" and table.loc[other, "role"] == "down"
    assert table.loc[leader, "leader"] == leader and table.loc[leader, "commit"] > 0
    assert table.loc[other, "term"] == "–"
    assert table.loc[leader, "endpoint"] == whole.endpoint(leader)
    assert f"{other} down" in repr(whole) and f"{leader} leader" in repr(whole)


def test_a_paused_leader_is_replaced_and_finds_out_when_it_goes_on(whole):
    old = whole.wait_for_leader(30)
    whole.pause(old)
    new = whole.wait_for_leader(30)
    assert new != old and whole.status().loc[old, "role"] == "paused"
    with pytest.raises(ValueError, match="paused already"):
        whole.pause(old)
    whole.resume(old)
    with pytest.raises(ValueError, match="is not paused"):
        whole.resume(old)
    until(lambda: whole.status().loc[old, "leader"] not in (old, "–"), "it never learnt of it")
    told = [type(r.event) for r in whole.trace.of(Paused, Resumed)]
    assert told[-2:] == [Paused, Resumed]


def test_a_minority_cannot_write_and_the_majority_can(whole):
    old = whole.wait_for_leader(30)
    others = [name for name in whole.names if name != old]
    whole.partition([old], others)
    until(lambda: whole.leader in others, "the majority elected nobody")
    with whole.client(old, timeout_s=0.5) as alone, pytest.raises((TimedOut, Unavailable)):
        alone.put("a", "lost")

    def given_up() -> bool:  # and not open in the story for ever
        lost = [r for r in whole.trace.of(Invoked) if str(r.event.request) == "put a=lost"]
        told = [r for r in whole.trace.of(Returned) if r.event.op_id == lost[-1].event.op_id]
        return any(r.event.unknown and "waits no more" in r.event.error for r in told)

    until(given_up, "the story does not tell that the client is gone")
    with whole.client(others[0], timeout_s=20) as client:
        client.put("a", "kept")
    whole.crash(others[0])
    whole.restart(others[0])  # a member that starts anew is told of the cut
    until(lambda: whole.leader in others, "without a majority, and not healed")
    whole.heal()
    with whole.client(old, timeout_s=20) as client:
        assert client.get("a").text == "kept"
    cuts = [r.event for r in whole.trace.of(LinksCut, Healed)]
    assert cuts[-2].why == f"partition ({old}) ({' '.join(others)})" and cuts[-1] == Healed()


def test_an_isolated_member_and_a_single_cut(whole):
    leader = whole.wait_for_leader(30)
    other = next(name for name in whole.names if name != leader)
    whole.isolate(other)
    (event,) = [r.event for r in whole.trace.of(LinksCut)][-1:]
    assert {other in link for link in event.links} == {True} and len(event.links) == 4
    whole.heal()
    whole.cut("n1", "n2")
    (event,) = [r.event for r in whole.trace.of(LinksCut)][-1:]
    assert event.links == (("n1", "n2"), ("n2", "n1"))


@pytest.mark.parametrize(
    ("verb", "why"),
    [
        (lambda c: c.crash("n9"), "there is no node 'n9'; the nodes are n1, n2, n3"),
        (lambda c: c.client("n9"), "there is no node 'n9'"),
        (lambda c: c.restart("n1"), "n1 is running; crash it first"),
        (lambda c: c.partition(["n1", "n2", "n3"]), "needs two groups"),
        (lambda c: c.partition(["n1"], ["n1", "n2"]), "one group only"),
        (lambda c: c.cut("n1", "n1"), "needs no link to itself"),
    ],
)
def test_what_makes_no_sense_is_refused(live, verb, why):
    with pytest.raises(ValueError, match=why):
        verb(live)


def test_who_is_down_can_only_be_restarted(whole):
    whole.crash("n3")
    for verb in (whole.crash, whole.pause, whole.resume, whole.stop, whole.pid):
        with pytest.raises(ValueError, match="n3 is down; restart it first"):
            verb("n3")


# The story ----------------------------------------------------------------------------------


def test_one_story_of_all_members_satisfies_every_checker(whole):
    with whole.client(timeout_s=20) as client:
        for k in range(10):
            client.put(f"k{k % 3}", str(k))
            client.get(f"k{k % 3}")
    trace = whole.trace
    times = [record.time for record in trace]
    assert times == sorted(times) and times[0] >= 0
    assert all(r.cause is None or r.cause < r.seq for r in trace)
    assert {r.node for r in trace.of(Started)} == {"n1", "n2", "n3"}
    assert all(verdict.ok for verdict in check.invariants(trace)), check.invariants(trace)
    assert check.linearizable(trace).ok
    assert list(trace.of(BecameLeader)), "nobody ever led"


def test_it_shows_itself_as_a_simulated_one_does(whole):
    leader = whole.wait_for_leader(30)
    picture = whole.picture()
    assert f"{leader} leads" in picture.text
    assert sorted(whole._repr_mimebundle_()) == ["image/svg+xml", "text/html", "text/plain"]


# Its folder ---------------------------------------------------------------------------------


def test_the_same_folder_is_the_same_cluster(tmp_path):
    with LocalCluster(1, tmp_path / "d", trace=False, **QUICK) as first:
        endpoints = first.endpoints
        with first.client(timeout_s=20) as client:
            client.put("a", "1")
            member = client.get("a").header.member_id
        with pytest.raises(ValueError, match="n1 of an earlier life still runs on .*kill"):
            local_cluster.LEFT_OVER_S, usual = 0.0, local_cluster.LEFT_OVER_S
            try:
                LocalCluster(1, tmp_path / "d")
            finally:
                local_cluster.LEFT_OVER_S = usual
        assert first.leader == "n1", "and the first one was left alone"
    with pytest.raises(ValueError, match="closed"):
        first.start()
    with pytest.raises(ValueError, match="holds a cluster of 1, not 3: say LocalCluster.*--size 1"):
        LocalCluster(3, tmp_path / "d")
    with LocalCluster(1, tmp_path / "d", **QUICK) as again, again.client(timeout_s=20) as client:
        answer = client.get("a")
        assert (answer.text, answer.header.member_id) == ("1", member)
        assert again.endpoints == endpoints
        assert [r.event.boot for r in again.trace.of(Started)] == [2]


def test_a_member_that_was_added_is_there_the_next_time_too(tmp_path):
    with LocalCluster(1, tmp_path / "d", trace=False, **QUICK) as live:
        with live.client(timeout_s=20) as client:
            client.put("a", "1")
        assert live.add_node() == "n2" and live.names == ("n1", "n2")
        with live.client("n2", timeout_s=20) as client:
            assert client.get("a").text == "1"
    with LocalCluster(2, tmp_path / "d", trace=False, **QUICK) as again:
        with again.client("n2", timeout_s=20) as client:
            assert client.get("a").text == "1"
            told = {one.name: one.peer_urls for one in client.members().members}
        assert sorted(told) == ["n1", "n2"] and len(set(told.values())) == 2
        assert "speak of another cluster" not in again.log("n1")


def test_without_a_folder_nothing_is_left_but_the_story():
    live = LocalCluster(1, **QUICK)
    live.wait_for_leader(30)
    pid, folder = live.pid("n1"), live.data_dir
    assert folder.is_dir()
    live.close()
    assert not exists(pid) and not folder.exists()
    assert list(live.trace.of(BecameLeader)) and list(live.trace.of(Crashed))
    assert "closed" in repr(live)
    live.close()


def test_a_port_that_is_taken_in_the_meantime_is_no_problem(monkeypatch):
    usual = local_cluster._ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        drawn = [{"n1": (taken.getsockname()[1], 0)}]

        def ports(names, base):
            found = usual(names, base)
            return {"n1": (drawn.pop()["n1"][0], found["n1"][1])} if drawn else found

        monkeypatch.setattr(local_cluster, "_ports", ports)
        with LocalCluster(1, **QUICK) as live:
            assert not drawn and live.wait_for_leader(30) == "n1"


def test_a_port_that_was_asked_for_and_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is in use"):
            LocalCluster(1, base_port=port)


def test_a_file_is_no_folder_for_a_cluster(tmp_path):
    (tmp_path / "file").write_text("mine")
    told = r"file cannot hold a cluster \(Not a directory\): give another folder"
    with pytest.raises(ValueError, match=told):
        LocalCluster(1, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"election_timeout": 500}, "takes no election_timeout=: did you mean election_ms?"),
        ({"seed": 7}, "takes no seed=: see MemberConfig"),
    ],
)
def test_what_no_member_can_be_told_is_named(more, told):
    with pytest.raises(TypeError, match=told.replace("?", r"\?")):
        LocalCluster(1, **more)


def test_a_member_that_does_not_start_says_why(tmp_path):
    with LocalCluster(1, tmp_path / "d", trace=False, **QUICK) as live:
        live.wait_for_leader(30)
    (tmp_path / "d" / "n1" / "member.json").write_text("nonsense")
    with pytest.raises(MemberDown, match="n1 did not start: .*member.json is damaged"):
        LocalCluster(1, tmp_path / "d")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (dict(size=0), "1 to 9 nodes"),
        (dict(size="3"), "1 to 9 nodes"),
        (dict(election_ms=1), "--election-timeout"),
        (dict(timeout_s=-1), "timeout_s is a number"),
    ],
)
def test_what_no_cluster_can_be_made_of(told, why):
    with pytest.raises(ValueError, match=why):
        LocalCluster(**told)


def test_a_book_that_is_none_is_told(tmp_path):
    (tmp_path / "cluster.json").write_text("[]")
    with pytest.raises(ValueError, match="cluster.json is damaged"):
        LocalCluster(1, tmp_path)


def test_members_of_somebody_else_are_left_alone(tmp_path):
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "precious").write_text("")
    with pytest.raises(ValueError, match="has members, but no cluster.json"):
        LocalCluster(1, tmp_path)
    assert (tmp_path / "n1" / "precious").exists()


# Who ends with whom -------------------------------------------------------------------------

PARENT = """
import json, sys, time
from kvlearn.live import LocalCluster
live = LocalCluster(2, sys.argv[1], trace=False)
live.pause("n2")
print(json.dumps([live.pid("n1"), live.pid("n2")]), flush=True)
{}
"""


def parent(folder: Path, then: str) -> tuple[subprocess.Popen, list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then), str(folder)], stdout=subprocess.PIPE, text=True
    )
    return process, json.loads(process.stdout.readline())


@pytest.mark.parametrize(
    ("then", "end"),
    [("time.sleep(600)", signal.SIGKILL), ("raise SystemExit", None), ("live = None", None)],
)
def test_members_end_with_their_program_however_it_ends_and_also_paused_ones(tmp_path, then, end):
    process, pids = parent(tmp_path, then)
    try:
        if end is not None:
            process.send_signal(end)
        process.wait(30)
        until(lambda: not any(map(exists, pids)), f"left behind: {pids}")
    finally:
        process.kill()
        process.communicate()
        for pid in filter(exists, pids):
            os.kill(pid, signal.SIGKILL)


def test_a_fork_of_the_program_does_not_end_the_members_of_its_parent(whole):
    pid = os.fork()
    if pid == 0:  # what `sys.exit` in a forked worker comes to
        try:
            whole._finalizer()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert all(map(whole.is_alive, whole.names))


def test_a_verb_of_the_simulator_says_why_it_is_not_here():
    unmade = LocalCluster.__new__(LocalCluster)  # no process is needed to say so
    for verb in ("rewind", "run", "links"):
        with pytest.raises(AttributeError, match=f"time is real here: {verb} is a verb"):
            getattr(unmade, verb)
    with pytest.raises(AttributeError, match="has no 'revind'"):
        unmade.revind
