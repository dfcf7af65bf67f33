"""`kvlearn lab`: which notebook, which port, and a real JupyterLab from start to end."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from kvlearn import cli
from kvlearn.cli import kernels, lab
from kvlearn.cli.environment import Stop

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    for name in ("00_start_here", "02_election", "02b_more"):
        (tmp_path / f"{name}.ipynb").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    "typed", ["02_election.ipynb", "02_election", "02_", "notebooks/02_election.ipynb"]
)
def test_a_notebook_is_found_by_its_name_or_how_it_begins(folder, typed):
    assert lab.find(typed, folder) == "02_election.ipynb"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("02_elction", "no notebook '02_elction'; did you mean 02_election?"),
        ("02", "there are 00_start_here, 02_election, 02b_more"),
        ("zebra", "there are 00_start_here, 02_election, 02b_more"),
    ],
)
def test_a_notebook_that_is_not_there(folder, typed, told):
    with pytest.raises(Stop, match=re.escape(told)):
        lab.find(typed, folder)


def test_a_folder_without_notebooks(tmp_path):
    with pytest.raises(Stop, match="run this in a clone of the repository"):
        lab.find(lab.START, tmp_path)


def test_a_port_in_use_is_refused_and_another_is_found(monkeypatch):
    with socket.create_server((lab.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Stop, match=f"port {port} cannot be used .*--port N"):
            lab.free_port(port)
        monkeypatch.setattr(lab, "PORT", port)
        assert lab.free_port(None) > port
    assert lab.free_port(port) == port


@pytest.mark.parametrize("typed", ["0", "70000", "x"])
def test_a_port_that_is_no_port(typed, capsys):
    with pytest.raises(SystemExit, match="2"):
        lab.main(["--port", typed])
    assert f"invalid port number value: '{typed}'" in capsys.readouterr().err


def test_the_token_is_not_on_the_command_line():
    token = "secret"
    assert lab.surroundings(token)["JUPYTER_TOKEN"] == token
    words = lab.command("00_start_here.ipynb", 1234, quiet=True)
    assert token not in " ".join(words)
    assert "--ServerApp.ip=127.0.0.1" in words and "--no-browser" in words


def test_kernels_start_quietly(monkeypatch):
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    assert kernels.QuietKernels().get_kernel_spec("python3").argv[-1] == kernels.QUIET


@pytest.fixture
def served():
    """A JupyterLab as `python3 -m kvlearn lab --no-browser` starts it, and its address."""
    port = lab.free_port(None)
    process = subprocess.Popen(
        [sys.executable, "-m", "kvlearn", "lab", "--no-browser", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = iter(process.stdout.readline, "")
    url = next((line.strip() for line in lines if "http://" in line), None)
    assert url, process.stderr.read()
    try:
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_real_lab_serves_the_notebooks_and_ends_at_ctrl_c(served):
    process, url = served
    base, _, token = url.partition("/lab/tree/00_start_here.ipynb?token=")
    assert base.startswith("http://127.0.0.1:")
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def ask(path: str):
        return json.load(straight(f"{base}/{path}?token={token}", timeout=30))

    there = {item["name"] for item in ask("api/contents")["content"]}
    assert lab.START in there
    news = ask("lab/api/settings/@jupyterlab/apputils-extension:notification")
    assert news["schema"]["properties"]["fetchNews"]["default"] == "false"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        straight(f"{base}/api/contents", timeout=30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.strip().endswith("JupyterLab has ended.")
    assert "Traceback" not in err
    assert lab.free_port(int(base.rpartition(":")[2]))


def test_a_lab_that_cannot_start_says_so(monkeypatch, tmp_path, capfd):
    (tmp_path / lab.START).write_text("{}")
    monkeypatch.setattr(lab, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(
        lab, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('no lab today')"]
    )
    monkeypatch.setattr(cli.environment, "enter", lambda need, argv: None)
    assert cli.main(["lab", "--port", str(lab.free_port(None))]) == 1
    told = capfd.readouterr().err
    assert "no lab today" in told and "JupyterLab ended before it was ready" in told
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "ours is left behind"
