"""The README's pictures are drawn from runs, so they cannot show what the code does not do.

And what it says that one can do with a run can be done.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from kvlearn import Cluster
from kvlearn.course.exercises.revisions import eight_changes
from kvlearn.kv.requests import Put
from kvlearn.viz import picture, revisions

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def ring() -> str:
    """The README's ten lines, and then a put on its way to the followers."""
    cluster = Cluster(5, seed=7)
    client = cluster.client()
    client.put("colour", "blue")
    cluster.crash(cluster.leader)
    client.get("colour")
    client.put("colour", "green")
    cluster.run(0.3)
    cluster.submit(Put(b"colour", b"red"), cluster.leader)
    cluster.run(0.0025)
    return picture(cluster).svg()


def compacted() -> str:
    """Lesson 10's eight changes, and then a compaction."""
    cluster = eight_changes()
    cluster.client().compact(8)
    cluster.run(1.0)
    return revisions(cluster).svg()


PICTURES = {"ring": ring, "revisions": compacted}


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_what_the_code_draws(name, request):
    """Shows: run with --rewrite to draw it anew, and look at it."""
    path, drawn = ROOT / "docs" / f"{name}.svg", PICTURES[name]()
    if request.config.getoption("--rewrite"):
        path.write_text(drawn, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == drawn
    assert f"(docs/{name}.svg)" in README


def test_what_is_said_of_the_bench_can_be_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```pycon\n(.*?)```", README, re.S)
    names: dict = {}
    for step in doctest.DocTestParser().get_examples(example):
        exec(compile(step.source, "README.md", "single"), names)
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 3 and "LocalCluster" in blocks[2]  # that one is real, and not played here
    for block in blocks[:2]:
        exec(block, names)
    assert names["code"].startswith("kv1-")
    assert names["viz"].compare(names["cluster"], names["there"]).equal
    assert {path.name for path in tmp_path.iterdir()} == {"run.html", "run.json"}
