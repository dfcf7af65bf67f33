"""Every rule of Raft has a broken twin, and every broken twin a witness that convicts it.

A witness is a transcript in `tests/transcripts/mutants`. Played with the mutant, it breaks the
promise that the mutant names, and none before that; played with Raft itself, the same commands
break nothing.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from kvlearn import Cluster
from kvlearn.course.mutants import MUTANTS
from kvlearn.raft import rules as rules_module
from kvlearn.raft.raft import Raft
from kvlearn.sim.script import Block, parse, play

SCENES = Path(__file__).resolve().parents[1] / "transcripts"
WITNESSES = {path.stem: path.read_text("utf-8") for path in (SCENES / "mutants").glob("*.txt")}
mutants = pytest.mark.parametrize("mutant", MUTANTS.values(), ids=list(MUTANTS))


def rules() -> set[str]:
    """The methods below the line `# Rules` of rules.py."""
    source = inspect.getsource(rules_module)
    start = next(n for n, line in enumerate(source.splitlines(), 1) if "# Rules ---" in line)
    (cls,) = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]
    return {n.name for n in cls.body if isinstance(n, ast.FunctionDef) and n.lineno > start}


def own_methods(cls: type) -> list[str]:
    return [name for name, thing in vars(cls).items() if inspect.isfunction(thing)]


def honest(text: str) -> str:
    """The same scene with Raft as it is."""
    return re.sub(r" (raft|n\d)=[A-Z]\w+", "", text)


@mutants
def test_a_mutant_breaks_one_rule(mutant):
    assert mutant.__bases__ == (Raft,)
    assert own_methods(mutant) == [mutant.rule]
    assert mutant.rule in rules()
    assert mutant.__doc__


def test_every_rule_has_a_mutant():
    broken = {mutant.rule for mutant in MUTANTS.values()}
    assert rules() == broken


def test_every_witness_has_its_mutant():
    assert sorted(WITNESSES) == sorted(mutant.witness for mutant in MUTANTS.values())


@mutants
def test_its_witness_convicts_it(mutant):
    text = WITNESSES[mutant.witness]
    assert f"={mutant.__name__}" in text
    playback = play(text)
    broken = [verdict.promise for verdict in playback.verdicts().broken]
    assert broken[0] == mutant.promise
    assert f"{mutant.promise} is broken: " in playback.text


@pytest.mark.parametrize("name", sorted(WITNESSES))
def test_the_reference_is_acquitted_by_every_witness(name):
    text = honest(WITNESSES[name])
    assert text != WITNESSES[name]
    assert play(text).verdicts().ok


def test_there_are_enough_of_them():
    assert len(MUTANTS) >= 20
    assert len({mutant.promise for mutant in MUTANTS.values()}) >= 7


@pytest.mark.parametrize(
    "name", sorted({path.stem for path in SCENES.glob("*.txt")} & {*WITNESSES})
)
def test_a_witness_beside_a_transcript_gives_the_same_commands(name):
    """So the difference between the two texts is what the broken rule does."""
    whole = commands((SCENES / f"{name}.txt").read_text("utf-8"))
    broken = commands(WITNESSES[name])
    assert [honest(command) for command in broken] == whole != broken


def commands(text: str) -> list[str]:
    return [line for b in parse(text) if isinstance(b, Block) for _, line in b.commands]


@mutants
def test_in_fair_weather_nobody_notices(mutant):
    """A broken rule does its harm on a bad day only; that is why tests alone do not find it."""
    cluster = Cluster(3, seed=5, raft=mutant)
    client = cluster.client()
    client.put("k", "v")
    cluster.run(3)
    assert client.get("k").text == "v"
