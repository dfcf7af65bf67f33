"""`kvlearn cluster`: prints where it serves, ends with Ctrl-C, starts again where it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")

from kvlearn.cli import cluster
from kvlearn.live import connect
from kvlearn.live.process import running

QUICK = ("--heartbeat-interval", "50", "--election-timeout=500")


class Started:
    """The command, and what it printed until all members served."""

    def __init__(self, folder, *more: str):
        argv = [sys.executable, "-m", "kvlearn", "cluster", "--data-dir", str(folder)]
        self.process = subprocess.Popen(
            [*argv, *QUICK, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.printed = ""
        for line in self.process.stdout:
            self.printed += line
            if "Ctrl-C" in line:
                break
        found = re.findall(r"^  (n\d)  http://(\S+)  process (\d+)$", self.printed, re.M)
        self.endpoints = {name: endpoint for name, endpoint, _ in found}
        self.pids = {name: int(pid) for name, _, pid in found}

    def gone(self) -> bool:
        """Whether all members have ended, soon."""
        end = time.monotonic() + 20
        while any(running(pid, "kvlearn.cli.node") for pid in self.pids.values()):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        assert self.gone()


def free_base(ports: int) -> str:
    """A port with free ones behind it."""
    for base in range(18_000 + os.getpid() % 1000, 20_000, 7):
        try:
            for port in range(base, base + ports):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return str(base)
    raise AssertionError("no free ports")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end_and_starts_again_where_it_was(tmp_path, number):
    base = free_base(2)
    with Started(tmp_path / "d", "--size", "1", "--base-port", base) as first:
        assert first.endpoints == {"n1": f"127.0.0.1:{base}"}, first.process.stderr.read()
        assert f"ETCDCTL_ENDPOINTS=127.0.0.1:{base}" in first.printed
        with connect(first.endpoints["n1"], write=True, timeout_s=20) as client:
            client.put("a", "1")
        first.process.send_signal(number)
        _, err = first.process.communicate(timeout=30)
        assert first.process.returncode == 0 and err == "\nkvlearn: all members have ended\n"
        assert first.gone()
    with Started(tmp_path / "d", "--size=1", "--base-port", "7") as again:
        assert again.endpoints == first.endpoints
        assert "--base-port 7 changes nothing" in again.process.stderr.readline()
        with connect(again.endpoints["n1"], timeout_s=20) as client:
            assert client.get("a").text == "1"


def test_a_member_that_ends_is_told_of_and_etcdctl_goes_on_with_the_others(tmp_path):
    with Started(tmp_path / "d", "--size=3", "--base-port", free_base(6)) as started:
        assert len(started.endpoints) == 3, started.process.stderr.read()
        os.kill(started.pids["n2"], signal.SIGKILL)
        told = started.process.stderr.readline()
        assert told.startswith("kvlearn: n2 is down: it was ended by SIGKILL (to have it back: ")
        if not (etcdctl := shutil.which("etcdctl")):
            pytest.skip("etcdctl is not there: apt install etcd-client")
        told = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": ",".join(started.endpoints.values())}
        for argv, out in ((["put", "a", "1"], "OK\n"), (["get", "a"], "a\n1\n")):
            done = subprocess.run(
                [etcdctl, "--dial-timeout=10s", "--command-timeout=20s", *argv],
                capture_output=True,
                text=True,
                env={**os.environ, **told},
                timeout=60,
            )
            assert done.stdout == out, done.stderr


def test_a_user_of_etcds_ports_is_told_that_others_are_taken(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        monkeypatch.setattr(cluster, "BASE_PORT", port)
        asked = cluster.parser().parse_args(["--size=1"])
        with cluster._started(asked, {}) as started:
            assert started.endpoints != (f"127.0.0.1:{port}",)
    told = capsys.readouterr().err
    assert told == f"kvlearn: port {port} is in use, so free ones are taken\n"


def test_members_end_with_a_command_that_is_killed(tmp_path):
    with Started(tmp_path / "d", "--size=1", "--base-port", free_base(2)) as started:
        assert started.pids
        started.process.kill()
        assert started.gone()
    book = json.loads((tmp_path / "d" / "cluster.json").read_text())
    assert book["members"].keys() == {"n1"}


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--name", "n1"], "--name differs from member to member: see `kvlearn node`"),
        (["--lifeline"], "--lifeline differs from member to member"),
        (["--trace"], "--trace needs a --data-dir that stays"),
        (["--sise", "3"], "kvlearn cluster: error: unrecognized arguments: --sise 3; did you mean"),
        (["--sise", "3"], "did you mean --size?"),
        (["--election-timeout", "soon"], "a whole number, not 'soon'"),
    ],
)
def test_what_does_not_fit_is_told_with_status_2(argv, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        cluster.main(argv)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--size", "12"], "a cluster has 1 to 9 nodes, not 12"),
        (["--election-timeout", "10"], "--election-timeout (10 ms) should be at least 5 times"),
        (["--base-port", "0"], "port 0 is none: they go from 1 to 65535"),
    ],
)
def test_what_cannot_be_is_one_sentence(argv, told):
    command = [sys.executable, "-m", "kvlearn", "cluster", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith(f"kvlearn: {told}"), done.stderr
    assert done.stderr.count("\n") == 1
