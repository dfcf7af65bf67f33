"""Every transcript tells what happens. `pytest --rewrite` writes down what does; review the diff.

A transcript without a broken Raft keeps every promise, whatever it does to the cluster.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvlearn.sim.script import Block, parse, play

HERE = Path(__file__).parent
SCENES = sorted(HERE.rglob("*.txt"))
NAMES = [path.relative_to(HERE).with_suffix("").as_posix() for path in SCENES]


@pytest.fixture
def rewrite(request) -> bool:
    return request.config.getoption("--rewrite")


def mutants(text: str) -> list[str]:
    """The broken classes that a transcript names."""
    blocks = [part for part in parse(text) if isinstance(part, Block)]
    lines = [line for block in blocks for _, line in block.commands if line.startswith("cluster ")]
    return [name for line in lines for name in re.findall(r"\b(?:raft|n\d|hub|lessor)=(\w+)", line)]


def test_there_are_transcripts():
    assert len(SCENES) >= 12


@pytest.mark.parametrize("path", SCENES, ids=NAMES)
def test_it_tells_what_happens(path, rewrite):
    text = path.read_text(encoding="utf-8")
    playback = play(text)
    if rewrite and not playback.ok:
        path.write_text(playback.text + "\n", encoding="utf-8")
    assert rewrite or playback.ok, playback.diff(path.name, "what happens")
    assert text.startswith("# "), "a header says what the transcript shows, and its source"
    assert "# Source: " in text.partition("\n\n")[0]
    if not mutants(text):
        assert playback.verdicts().ok


@pytest.mark.parametrize("path", SCENES, ids=NAMES)
def test_it_happens_twice_the_same_way(path):
    text = path.read_text(encoding="utf-8")
    first, second = play(text), play(text)
    assert list(first.trace.lines()) == list(second.trace.lines())
