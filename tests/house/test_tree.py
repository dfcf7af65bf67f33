"""What is committed: clean notebooks, two lists of packages in step, no machine's own paths."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from kvlearn import __main__ as front_door
from kvlearn.cli import environment
from kvlearn.cli.notebooks import clean

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# conda-forge's name -> PyPI's; None: conda's alone
CONDA = {"python": None, "pip": None, "graphviz": None, "python-graphviz": "graphviz"}
CONDA |= {"python-lmdb": "lmdb", "msgpack-python": "msgpack"}
CONDA["prometheus_client"] = "prometheus-client"
# conda-forge's build of playwright brings browsers that we do not want; it has neither axe nor
# the client of etcd's gateway.
BY_PIP = {"playwright", "axe-playwright-python", "etcd3gw"}


def committed(pattern: str) -> dict[str, str]:
    """Path -> text of the files that git would commit; in an unpacked archive, all files.

    A student's notebooks hold outputs in the working tree; what counts is the index.
    """
    if not (ROOT / ".git").exists():
        return {str(p.relative_to(ROOT)): _text(p.read_bytes()) for p in ROOT.glob(pattern)}
    names = _git("ls-files", "-z", "--", pattern).decode().split("\0")
    return {name: _text(_git("show", f":{name}")) for name in names if name}


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


# Notebooks ----------------------------------------------------------------------------------


def imports(notebook: dict) -> set[str]:
    """The packages that a notebook's cells import."""
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    plain = [re.sub(r"^\s*[%!].*", "", cell, flags=re.M) for cell in cells if cell[:2] != "%%"]
    found = set()
    for node in (node for cell in plain for node in ast.walk(ast.parse(cell))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found


def test_committed_notebooks_are_clean():
    notebooks = committed("notebooks/*.ipynb")
    dirty = [n for n, text in notebooks.items() if clean(json.loads(text)) != json.loads(text)]
    assert dirty == [], "run `python3 -m kvlearn clean-notebooks`"


def test_notebooks_import_kvlearn_alone():
    notebooks = committed("notebooks/*.ipynb")
    assert {n: imports(json.loads(text)) - {"kvlearn"} for n, text in notebooks.items()} == {
        name: set() for name in notebooks
    }


def test_what_running_leaves_behind_is_noticed_and_taken_out():
    cell = {"cell_type": "code", "id": "a", "source": "1", "metadata": {}, "outputs": []}
    tidy = {"cells": [{**cell, "execution_count": None}], "nbformat": 4, "nbformat_minor": 5}
    tidy = clean(tidy)
    assert clean(tidy) == tidy
    for mark in ({"outputs": [{}]}, {"execution_count": 3}, {"metadata": {"scrolled": True}}):
        touched = {**tidy, "cells": [{**tidy["cells"][0], **mark}]}
        assert touched != tidy and clean(touched) == tidy
    assert clean({**tidy, "metadata": {"widgets": {}}}) == tidy
    assert imports({"cells": [{"cell_type": "code", "source": "import os.path"}]}) == {"os"}


# Packages -----------------------------------------------------------------------------------


def conda_packages(text: str) -> tuple[dict[str, str], list[str]]:
    """Name -> version condition of environment.yml's conda part, and its pip part."""
    conda, pip = {}, []
    for line in text.split("dependencies:", 1)[1].splitlines():
        item = re.fullmatch(r"( *)- ([^#]*[^#:\s]) *(#.*)?", line)
        if item and len(item[1]) > 2:
            pip.append(item[2])
        elif item:
            name, version = re.fullmatch(r"([a-z0-9_-]+) ?(.*)", item[2]).groups()
            conda[name] = version
    return conda, pip


def test_environment_yml_is_in_step_with_pyproject():
    conda, pip = conda_packages((ROOT / "environment.yml").read_text(encoding="utf-8"))
    lines = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    wanted = {}
    for name, conditions in map(environment.split, lines):
        wanted[name] = ",".join(sign + bound for sign, bound in conditions)
    have = {CONDA.get(name, name): version for name, version in conda.items()}
    have.pop(None)
    assert pip == ["-e .[test]"]
    assert have == {name: version for name, version in wanted.items() if name not in BY_PIP}


def test_conda_gets_an_exact_python_that_is_new_enough():
    conda, _ = conda_packages((ROOT / "environment.yml").read_text(encoding="utf-8"))
    exact = re.fullmatch(r"=(\d+)\.(\d+)", conda["python"])
    assert exact and tuple(map(int, exact.groups())) >= front_door.OLDEST


def test_the_front_door_and_pyproject_ask_for_the_same_python():
    assert PROJECT["requires-python"] == ">={}.{}".format(*front_door.OLDEST)


def test_the_core_needs_what_pyproject_says():
    assert set(environment.CORE) <= set(PROJECT["dependencies"])


@pytest.mark.parametrize("line", sum(PROJECT["optional-dependencies"].values(), []))
def test_the_set_up_understands_every_requirement(line):
    name, conditions = environment.split(line)
    assert line.replace(" ", "") == name + ",".join(sign + bound for sign, bound in conditions)


# Paths --------------------------------------------------------------------------------------

OWN = re.compile(r"/(?:root|home/[a-z]+|Users/[A-Za-z]+|work|opt)/\w|[A-Z]:\\Users")


def test_no_path_of_one_machine_is_committed():
    mine = Path(__file__).relative_to(ROOT).as_posix()
    found = [n for n, text in committed("*").items() if n != mine and OWN.search(text)]
    assert found == []


@pytest.mark.parametrize("text", ["/home" "/ada/x", "cd /root" "/kv", "C:\\Users\\ada", "/opt/kv"])
def test_such_a_path_would_be_noticed(text):
    assert OWN.search(text)
