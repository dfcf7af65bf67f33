"""The house stands on its floors, and the judge who says so convicts a house that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import floors

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_nobody_imports_upward_or_sideways():
    found = floors.verdicts(ROOT / "kvlearn", floors.read(README))
    assert not found, "\n".join(found)


def test_every_room_of_the_table_exists():
    rooms = floors.read(README).floor
    assert [room for room in rooms if not (ROOT / "kvlearn" / room).exists()] == []


def test_the_table_reads_as_it_looks():
    table = floors.read(README)
    assert table.floor["raft/"] == 1 and table.floor["cli/"] == 5
    assert table.allows("trace.py", "values.py")  # along two arrows
    assert table.allows("client.py", "kv/") and not table.allows("kv/", "client.py")
    assert not table.allows("raft/", "mvcc/")


FAKE = """## The floors
```
 5  course/
 3  sim/  live/      hosts
 2  node.py → kv/
 1  raft/  mvcc/
 0  errors.py
```
"""


def convict(tmp_path: Path, where: str, code: str) -> list[str]:
    """The verdicts on a tree that holds one module."""
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    return floors.verdicts(tmp_path, floors.read(FAKE))


@pytest.mark.parametrize(
    ("where", "code", "why"),
    [
        ("raft/raft.py", "from kvlearn.node import Node", "upward: node.py"),
        ("raft/raft.py", "import kvlearn.sim.clock", "upward: sim/"),
        ("raft/raft.py", "def f():\n    from kvlearn import sim", "upward: sim/"),
        ("raft/raft.py", "from ..node import Node", "upward: node.py"),
        ("raft/raft.py", "from .. import mvcc", "sideways: mvcc/"),
        ("raft/raft.py", "from kvlearn.mvcc.store import Store", "sideways: mvcc/"),
        ("kv/machine.py", "from kvlearn.node import Node", "sideways: node.py"),
        ("sim/host.py", "import kvlearn.live", "sideways: live/"),
        ("sim/host.py", "from kvlearn import Cluster", "shop window"),
        ("sim/host.py", "import importlib\nimportlib.import_module('kvlearn.live')", "by name"),
        ("errors.py", "import numpy", "imports numpy"),
        ("errors.py", "import pandas", "imports pandas"),
        ("errors.py", "import time", "handed in"),
        ("mvcc/store.py", "from asyncio import sleep", "handed in"),
        ("node.py", "import random\nrandom.random()", "luck"),
        ("node.py", "from random import choice", "Random only"),
        ("node.py", "text = open('x').read()", "opens a file"),
        ("node.py", "import pathlib\npathlib.Path('x').open()", "opens a file"),
        ("attic/old.py", "", "no place"),
    ],
)
def test_a_house_that_breaks_a_rule_is_convicted(tmp_path, where, code, why):
    found = convict(tmp_path, where, code)
    assert len(found) == 1 and why in found[0], found


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("node.py", "from kvlearn.kv.machine import KVMachine\nfrom kvlearn.raft import Raft"),
        ("node.py", "import random\ndef f(rng: random.Random): return rng.random()"),
        ("node.py", "from random import Random\nimport sortedcontainers, json"),
        ("errors.py", "def to_pandas():\n    import pandas"),
        ("sim/host.py", "import time, logging\nopen('x')\nfrom .clock import Clock"),
        ("raft/raft.py", "from . import quorum\nfrom ..errors import Blank"),
        ("sim/host.py", "from kvlearn import __version__, errors"),
        ("course/exercises.py", "from kvlearn import Cluster"),
    ],
)
def test_a_house_that_breaks_no_rule_is_acquitted(tmp_path, where, code):
    assert convict(tmp_path, where, code) == []
