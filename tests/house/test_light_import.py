"""`import kvlearn` costs next to nothing, and so does a look at the command line."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kvlearn

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"pandas", "numpy", "ipywidgets", "anywidget", "IPython", "matplotlib", "graphviz", "grpc"}
HEAVY |= {"lmdb"}
MODULES = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{MODULES}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_import_kvlearn_loads_the_standard_library_alone():
    fresh = modules_after("import kvlearn, kvlearn.cli") - modules_after("pass")
    assert fresh <= {*sys.stdlib_module_names, "kvlearn"}


def test_a_simulated_cluster_needs_nothing_heavy():
    loaded = modules_after(
        "from kvlearn import Cluster\n"
        "cluster = Cluster(3, seed=1)\n"
        "cluster.wait_for_leader()\n"
        "client = cluster.client()\n"
        "client.put('k', 'v')\n"
        "assert client.get('k').text == 'v'\n"
    )
    assert "kvlearn" in loaded
    assert loaded & HEAVY == set()


def test_import_time_is_small(record_property):
    """The budget is 0.3 s; what a busy machine measures is reported, not judged."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import kvlearn"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    row = next(r for r in done.stderr.splitlines() if r.rpartition("|")[2].strip() == "kvlearn")
    microseconds = int(row.split("|")[1])
    record_property("import kvlearn, ms", microseconds / 1000)
    assert microseconds > 0


@pytest.mark.parametrize("name", kvlearn.__all__)
def test_every_name_in_the_shop_window_is_there(name):
    assert getattr(kvlearn, name) is not None
    assert name in dir(kvlearn)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'kvlearn' has no attribute 'Klaster'"):
        _ = kvlearn.Klaster


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py"])
def test_an_old_python_can_read_the_front_door(name):
    """Python 3.7's grammar: such a Python must come as far as the sentence about its age."""
    source = (ROOT / "kvlearn" / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    assert "import annotations" not in source
