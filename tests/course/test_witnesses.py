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
from kvlearn.course.mutants import MUTANTS, NO_STALE_READ
from kvlearn.events import Invoked, Returned
from kvlearn.kv.requests import Range
from kvlearn.raft import rules as rules_module
from kvlearn.raft.raft import Raft
from kvlearn.sim.script import Block, parse, play
from kvlearn.trace import Record, Trace

SCENES = Path(__file__).resolve().parents[1] / "transcripts"
WITNESSES = {path.stem: path.read_text("utf-8") for path in (SCENES / "mutants").glob("*.txt")}
NOT_YET = {  # rules that have no mutant and witness yet
    *("may_stand", "in_lease", "quorum_active", "holds_lease"),
    *("may_reconfigure", "may_promote", "wants_snapshot"),
}
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


def stale_reads(trace: Trace) -> list[Record]:
    """Answers to reads that do not know of a write which was acknowledged before they were asked.

    A serializable read may be stale, so it is not looked at.
    """
    acknowledged = 0  # the highest revision of a write that a client has heard of
    asked: dict[int, int] = {}  # op_id of a read -> what was acknowledged when it was asked
    stale = []
    for record in trace.of(Invoked, Returned):
        event = record.event
        if isinstance(event, Invoked):
            if isinstance(event.request, Range) and not event.request.serializable:
                asked[event.op_id] = acknowledged
        elif not event.error and event.op_id in asked:
            if event.revision < asked[event.op_id]:
                stale.append(record)
        elif not event.error and not isinstance(request_of(trace, record), Range):
            acknowledged = max(acknowledged, event.revision)
    return stale


def request_of(trace: Trace, answer: Record):
    """What a Returned answers."""
    op_id = answer.event.op_id
    return next(r.event.request for r in trace.of(Invoked) if r.event.op_id == op_id)


@mutants
def test_a_mutant_breaks_one_rule(mutant):
    assert mutant.__bases__ == (Raft,)
    assert own_methods(mutant) == [mutant.rule]
    assert mutant.rule in rules()
    assert mutant.__doc__


def test_every_rule_has_a_mutant():
    broken = {mutant.rule for mutant in MUTANTS.values()}
    assert broken.isdisjoint(NOT_YET)
    assert rules() == broken | NOT_YET


def test_every_witness_has_its_mutant():
    assert sorted(WITNESSES) == sorted(mutant.witness for mutant in MUTANTS.values())


@mutants
def test_its_witness_convicts_it(mutant):
    text = WITNESSES[mutant.witness]
    assert f"={mutant.__name__}" in text
    playback = play(text)
    broken = [verdict.promise for verdict in playback.verdicts().broken]
    if mutant.promise == NO_STALE_READ:
        assert stale_reads(playback.trace) and broken == []
    else:
        assert broken[0] == mutant.promise
        assert f"{mutant.promise} is broken: " in playback.text


@pytest.mark.parametrize("name", sorted(WITNESSES))
def test_the_reference_is_acquitted_by_every_witness(name):
    text = honest(WITNESSES[name])
    assert text != WITNESSES[name]
    playback = play(text)
    assert playback.verdicts().ok
    assert stale_reads(playback.trace) == []


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


def test_a_stale_read_is_seen():
    told = play("cluster 1\ntick n1 20\nstabilize\nput n1 a=1\nput n1 a=2\nstabilize").trace
    assert stale_reads(told) == []
    told.add(9.0, "c2", Invoked(90, "n1", Range(b"a")), None)
    told.add(9.0, "c2", Returned(90, "n1", None, revision=2), None)
    told.add(9.0, "c2", Invoked(91, "n1", Range(b"a", serializable=True)), None)
    told.add(9.0, "c2", Returned(91, "n1", None, revision=2), None)
    assert [record.event.op_id for record in stale_reads(told)] == [90]
