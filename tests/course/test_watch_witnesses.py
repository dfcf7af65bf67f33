"""Every rule of the watch hub has a broken twin, and every broken twin a witness against it.

A witness is a program of `kvlearn/course/watch_mutants.py`. Played with the mutant, it breaks the
promise that the mutant names and no other; played with the hub itself, it breaks none.
"""

from __future__ import annotations

import ast
import inspect

import pytest

from kvlearn.check.watches import WATCH_PROMISES, watches
from kvlearn.course.watch_mutants import WATCH_MUTANTS, WITNESSES
from kvlearn.events import Notified
from kvlearn.kv.config import StoreConfig
from kvlearn.mvcc import watch as hub_module
from kvlearn.mvcc.watch import WatchHub

mutants = pytest.mark.parametrize("mutant", WATCH_MUTANTS.values(), ids=list(WATCH_MUTANTS))


def rules() -> set[str]:
    """The methods of the hub below the line `# Rules`."""
    source = inspect.getsource(hub_module)
    start = next(n for n, line in enumerate(source.splitlines(), 1) if "# Rules ---" in line)
    (cls,) = [n for n in ast.parse(source).body if getattr(n, "name", "") == "WatchHub"]
    return {n.name for n in cls.body if isinstance(n, ast.FunctionDef) and n.lineno > start}


@mutants
def test_a_mutant_breaks_one_rule(mutant):
    own = [name for name, thing in vars(mutant).items() if inspect.isfunction(thing)]
    assert mutant.__bases__ == (WatchHub,)
    assert own == [mutant.rule]
    assert mutant.__doc__
    assert StoreConfig(hub=mutant).hub is mutant


def test_every_rule_has_a_mutant_and_every_promise_is_broken():
    assert rules() == {mutant.rule for mutant in WATCH_MUTANTS.values()}
    assert {mutant.promise for mutant in WATCH_MUTANTS.values()} == set(WATCH_PROMISES)


def test_every_rule_has_a_sentence_with_its_source():
    for rule in rules():
        assert "(etcd" in inspect.getdoc(getattr(WatchHub, rule)), rule


def test_every_witness_has_its_mutant():
    assert sorted(WITNESSES) == sorted(mutant.witness for mutant in WATCH_MUTANTS.values())


@mutants
def test_its_witness_convicts_it(mutant):
    broken = watches(WITNESSES[mutant.witness](mutant)).broken
    assert [verdict.promise for verdict in broken] == [mutant.promise]
    assert isinstance(broken[0].record.event, Notified)


@pytest.mark.parametrize("witness", WITNESSES.values(), ids=list(WITNESSES))
def test_the_reference_is_acquitted_by_every_witness(witness):
    trace = witness(WatchHub)
    assert watches(trace).ok
    assert any(record.event.response.events for record in trace.of(Notified))


@mutants
def test_a_witness_is_the_same_every_time(mutant):
    once, again = (list(WITNESSES[mutant.witness](mutant).lines()) for _ in range(2))
    assert once == again
