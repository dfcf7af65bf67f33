"""The set-up of a newcomer's machine: whole, or not there, and one clear sentence if not."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from kvlearn.cli import environment
from kvlearn.cli.environment import Stop
from tests.cli.newcomer import Newcomer


@pytest.fixture
def newcomer(tmp_path):
    """Nothing is set up yet."""
    person = Newcomer(tmp_path)
    person.shelve("kvtiny", "1.10")
    return person


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Set up once for all tests of this module, on a machine whose uv fails where pip works."""
    home = tmp_path_factory.mktemp("settled")
    person = Newcomer(home)
    person.shelve("kvtiny", "1.10")
    (home / "uv").write_text('#!/bin/sh\n[ "$1" = --version ]\n')
    (home / "uv").chmod(0o755)
    person.env["PATH"] = f"{home}{os.pathsep}{person.env['PATH']}"
    person.first = person.type("lab", "--port", "1")
    return person


def one_sentence(err: str) -> str:
    """What the command said last; of the lines before it only `setting up` is allowed."""
    *before, last = err.strip().splitlines()
    assert all(line.startswith("kvlearn: ") and line.endswith("…") for line in before), err
    assert last.startswith("kvlearn: ")
    return last


def test_the_first_start_sets_up_and_the_second_goes_straight_on(settled):
    first = settled.first
    assert first.returncode == 7, first.stderr
    assert "setting up" in first.stderr
    assert f"ran in {settled.venv} with ['--port', '1']" in first.stdout
    assert str(settled.venv) in first.stdout.rpartition("and")[2]  # its programs come first
    second = settled.type("lab")
    assert second.returncode == 7 and second.stderr == ""


def test_an_environment_grows_and_a_failed_update_changes_nothing(settled):
    failed = settled.type("test")  # needs one package more, which is not to be had
    assert failed.returncode == 1
    assert "connect this machine to the network" in one_sentence(failed.stderr)
    assert settled.type("lab").stderr == ""
    settled.shelve("kvtinier", "1.0")
    grown = settled.type("test")
    assert grown.returncode == 7 and "up to date" in grown.stderr
    assert settled.type("test").stderr == settled.type("lab").stderr == ""


def test_another_pyproject_means_an_update(settled):
    project = settled.root / "pyproject.toml"
    before = project.read_text()
    project.write_text(before + "# touched\n")
    updated = settled.type("lab")
    assert updated.returncode == 7 and "up to date" in updated.stderr
    project.write_text(before)
    assert settled.type("lab").returncode == 7


def test_an_environment_of_the_users_own_is_left_alone(settled):
    stamp = settled.venv / "kvlearn-setup.json"
    project = settled.root / "pyproject.toml"
    kept, before = stamp.read_text(), project.read_text()
    stamp.unlink()  # now it looks like anybody's
    project.write_text(before.replace('"kvtinier"', '"kvtinier", "kvtiniest"'))
    assert settled.type("lab").returncode == 7
    lacking = settled.type("test")
    project.write_text(before)
    stamp.write_text(kept)
    assert lacking.returncode == 1
    sentence = one_sentence(lacking.stderr)
    assert "is your own and lacks kvtiniest" in sentence and "[test]'" in sentence


def test_the_environment_of_another_place_is_not_taken_for_ours(settled, monkeypatch):
    """A copied or moved repository: the programs in its .venv still name the old place."""
    stamp = settled.venv / "kvlearn-setup.json"
    monkeypatch.setattr(environment, "STAMP", stamp)
    monkeypatch.setattr(environment, "PYTHON", settled.venv / "bin" / "python")
    monkeypatch.setattr(environment, "VENV", settled.venv)
    assert environment._stamp() == json.loads(stamp.read_text())
    monkeypatch.setattr(environment, "VENV", settled.venv.with_name("elsewhere"))
    assert environment._stamp() == {}


def test_without_a_network_it_says_so_and_leaves_nothing(newcomer):
    (newcomer.shelf / "kvtiny-1.10-py3-none-any.whl").unlink()
    newcomer.shelve("kvtiny", "1.1")  # too old to count
    done = newcomer.type("lab")
    assert done.returncode == 1
    assert "connect this machine to the network" in one_sentence(done.stderr)
    assert not newcomer.venv.exists()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_set_up_that_is_broken_off_is_never_taken_for_whole(newcomer, end):
    with socket.create_server(("127.0.0.1", 0)) as gate:
        gate.settimeout(120)
        process = newcomer.start("lab", GATE=str(gate.getsockname()[1]))
        connection, _ = gate.accept()  # pip is in the middle of it
        with connection:
            assert json.loads((newcomer.venv / "kvlearn-setup.json").read_text()) == {}
            os.killpg(process.pid, end)
            _, err = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGKILL)
    assert "Traceback" not in err
    if end == signal.SIGINT:
        assert not newcomer.venv.exists()
        assert err.strip().endswith("kvlearn: stopped")
        return
    after = newcomer.type("lab")
    assert after.returncode == 7 and "setting up" in after.stderr


def test_an_old_python_gets_a_sentence():
    code = (
        "import runpy, sys; sys.version_info = (3, 8, 18, 'final', 0);"
        "runpy.run_module('kvlearn', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=environment.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert one_sentence(done.stderr).startswith(
        "kvlearn: this is Python 3.8, and kvlearn needs 3.11 or newer: install one"
    )


# What a test machine does not have, in its own process ---------------------------------------


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """`environment` believes that `tmp_path` is its repository, and nothing is set up."""
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "kvlearn-setup.json")
    monkeypatch.setattr(environment, "_uv", lambda: None)
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def test_without_ensurepip_it_says_what_to_install(bare, monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Stop, match="sudo apt install python3-venv"):
        environment.build("lab")
    assert not environment.VENV.exists()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EROFS, "cannot be written .*copy the repository to a folder of your own"),
        (errno.EACCES, "cannot be written .*copy the repository to a folder of your own"),
        (errno.ENOSPC, "the disk is full: make room"),
    ],
)
def test_a_folder_that_cannot_be_written(bare, monkeypatch, code, sentence):
    def refuse(path, *_, **__):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(environment.Path, "open", refuse)
    with pytest.raises(Stop, match=sentence):
        environment.build("lab")


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("WARNING: Retrying after NewConnectionError: [Errno 111]", "connect this machine"),
        ("ERROR: No matching distribution found for pandas", "connect this machine"),
        ("The environment was not created, ensurepip is not available.", "apt install"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("something\nnobody has seen", "pip failed; mend .*\n  something\n  nobody has seen"),
    ],
)
def test_what_pip_says_becomes_one_sentence(output, sentence):
    assert re.search(sentence, environment._why(output, "pip"))


@pytest.mark.parametrize(
    ("have", "line", "meets"),
    [
        ("4.2.0", "x >=4.2,<5", True),
        ("4.10", "x >=4.2,<5", True),
        ("4.1.9", "x >=4.2,<5", False),
        ("5.0.0a1", "x >=4.2,<5", False),
        ("1.0", "x", True),
    ],
)
def test_versions_are_compared_as_numbers(monkeypatch, have, line, meets):
    monkeypatch.setattr(environment.importlib.metadata, "version", lambda name: have)
    assert environment.satisfied(line) is meets


def test_a_package_that_is_not_there_is_missing():
    assert environment.missing(["kvlearn-no-such-package >=1"]) == ["kvlearn-no-such-package >=1"]
