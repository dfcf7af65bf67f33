"""Typing: commands, misspelt commands, help; the doctor; the notebooks' cleaner."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

import kvlearn
from kvlearn import cli
from kvlearn.cli import doctor, environment, notebooks, testing
from kvlearn.cli.environment import Stop


def test_every_command_is_there_and_listed(capsys):
    assert cli.main(["--help"]) == 0
    told = capsys.readouterr().out
    for name, (module, _, line) in cli.COMMANDS.items():
        assert f"  {name} " in told and line in told
        assert callable(importlib.import_module(module).main)


def test_no_command_shows_the_help_and_fails(capsys):
    assert cli.main([]) == 2
    assert "usage: kvlearn COMMAND" in capsys.readouterr().out


def test_the_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"kvlearn {kvlearn.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("tset", "kvlearn: no command 'tset'; did you mean test? "),
        ("zebra", "kvlearn: no command 'zebra' (`kvlearn --help` lists them)"),
    ],
)
def test_a_command_that_does_not_exist(typed, told, capsys):
    assert cli.main([typed]) == 2
    assert capsys.readouterr().err.startswith(told)


def test_an_option_that_does_not_exist(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["doctor", "--hepl"])
    assert "unrecognized arguments: --hepl; did you mean --help?" in capsys.readouterr().err


def test_what_cannot_be_done_is_one_sentence(monkeypatch, capsys):
    def refuse(argv):
        raise Stop("the moon is in the way: wait an hour")

    monkeypatch.setattr(doctor, "main", refuse)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == "kvlearn: the moon is in the way: wait an hour\n"


def test_a_python_without_our_packages_is_told_what_to_do():
    """`-S` leaves site-packages out, as on a machine that has none."""
    code = "import kvlearn\ntry: kvlearn.Cluster\nexcept ImportError as error: print(error)"
    bare = [sys.executable, "-S", "-c", code]
    done = subprocess.run(bare, cwd=testing.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("this Python lacks sortedcontainers: in a clone run `python3 -m ")
    assert "use .venv/bin/python" in done.stdout and "pip install" in done.stdout
    needed = environment.requirements("lab")
    assert set(kvlearn._PACKAGES) == {environment.split(line)[0] for line in needed}


def test_the_bench_of_imports_tells_both(capsys):
    assert cli.main(["bench", "import", "--rounds", "1"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^  import kvlearn +[\d.]+ ms +goal: under 300$", told, re.M)
    assert re.search(r"^  from kvlearn import Cluster +[\d.]+ ms$", told, re.M)


def test_the_arguments_of_test_go_to_pytest(monkeypatch, tmp_path):
    (tmp_path / "tests").mkdir()
    typed = []
    monkeypatch.setattr(pytest, "main", lambda argv: typed.append((argv, os.getcwd())) or 5)
    monkeypatch.setattr(testing, "ROOT", tmp_path)
    monkeypatch.chdir("/")
    assert testing.main(["tests/raft", "-x"]) == 5
    assert typed == [(["tests/raft", "-x"], str(tmp_path))]
    monkeypatch.setattr(testing, "ROOT", tmp_path / "elsewhere")
    with pytest.raises(Stop, match="run this in a clone"):
        testing.main([])


# The doctor ---------------------------------------------------------------------------------


def test_the_doctor_names_every_package_and_program(capsys):
    status = cli.main(["doctor"])
    table = capsys.readouterr().out
    wanted = "Python", "jupyterlab", "anywidget", "lmdb", "playwright", "dot", "chromium", "etcd"
    for what in wanted:
        assert f" {what} " in table
    assert (status == 0) == ("The lab has all that it needs." in table)


def test_the_doctor_says_what_is_missing_and_how_to_mend_it(monkeypatch, capsys):
    monkeypatch.setattr(doctor.environment, "requirements", lambda need: ["kvtiny >=2"])
    monkeypatch.setattr(doctor.environment, "extra", lambda name: ["pytest >=999"])
    monkeypatch.setenv("PATH", "")
    assert doctor.main([]) == 1
    told = capsys.readouterr().out
    table = {line[2:].split("  ")[0]: line for line in told.splitlines()}
    assert table["kvtiny"].startswith("! ")
    assert table["kvtiny"].endswith("missing: run `python3 -m kvlearn lab`")
    assert "is there, pytest >=999 is wanted" in table["pytest"]
    assert table["chromium"].startswith("- ")
    assert table["chromium"].endswith("apt install chromium")
    assert re.search(r"^The lab lacks .*kvtiny\.$", told, re.M)


def test_a_program_that_does_not_run_does_not_stop_the_doctor(tmp_path, monkeypatch):
    (tmp_path / "etcd").write_text("no program at all")
    (tmp_path / "etcd").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    etcd = next(found for found in doctor.programs() if found.what == "etcd")
    assert "it does not run" in etcd.found


# Notebooks ----------------------------------------------------------------------------------


def notebook(**cell) -> dict:
    made = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "source": "1"}
    made |= {"execution_count": None, **cell}
    return {"cells": [made], "metadata": notebooks.KERNEL, "nbformat": 4, "nbformat_minor": 5}


def test_cleaning_writes_what_jupyter_would_write(tmp_path, capsys):
    path = tmp_path / "n.ipynb"
    used = notebook(outputs=[{"output_type": "stream"}], execution_count=3)
    used["cells"][0]["source"] = "print('é')\n1"
    path.write_text(json.dumps(used))
    assert cli.main(["clean-notebooks", "--check", str(path)]) == 1
    assert json.loads(path.read_text()) == used, "--check changes nothing"
    assert cli.main(["clean-notebooks", str(path)]) == 0
    assert cli.main(["clean-notebooks", "--check", str(path)]) == 0
    assert capsys.readouterr().out == "n.ipynb is not clean\nn.ipynb cleaned\n"
    assert json.loads(path.read_text(encoding="utf-8")) == notebook(source=["print('é')\n", "1"])
    nbformat.write(nbformat.read(path, as_version=4), tmp_path / "again.ipynb")
    assert path.read_bytes() == (tmp_path / "again.ipynb").read_bytes()


def test_a_lesson_keeps_its_tags_and_hidden_cells():
    kept = {"tags": ["solution"], "nbgrader": {"grade": True}, "jupyter": {"source_hidden": True}}
    odd = {**kept, "collapsed": True, "jupyter": {"source_hidden": True, "outputs_hidden": True}}
    assert notebooks.clean(notebook(metadata=odd)) == notebook(metadata=kept)


def test_a_file_that_is_no_notebook_is_named(tmp_path, capsys):
    path = tmp_path / "n.ipynb"
    path.write_text("{")
    assert cli.main(["clean-notebooks", str(path)]) == 1
    assert f"{path} cannot be read as a notebook" in capsys.readouterr().err
