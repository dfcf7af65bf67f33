"""Every rule of the lessor has a broken twin, and every broken twin a witness against it.

A witness is a program of `kvlearn/course/lease_mutants.py`. Played with the mutant, it breaks the
promise that the mutant names; played with the lessor itself, it breaks none.
"""

from __future__ import annotations

import ast
import inspect

import pytest

from kvlearn import lease as lease_module
from kvlearn.check.leases import LEASE_PROMISES, leases
from kvlearn.course.lease_mutants import LEASE_MUTANTS, WITNESSES
from kvlearn.events import Applied
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import LeaseRevoke
from kvlearn.lease import Lessor

mutants = pytest.mark.parametrize("mutant", LEASE_MUTANTS.values(), ids=list(LEASE_MUTANTS))


def rules() -> set[str]:
    """The methods of the lessor below the line `# Rules`."""
    source = inspect.getsource(lease_module)
    start = next(n for n, line in enumerate(source.splitlines(), 1) if "# Rules ---" in line)
    (cls,) = [n for n in ast.parse(source).body if getattr(n, "name", "") == "Lessor"]
    return {n.name for n in cls.body if isinstance(n, ast.FunctionDef) and n.lineno > start}


@mutants
def test_a_mutant_breaks_one_rule(mutant):
    own = [name for name, thing in vars(mutant).items() if inspect.isfunction(thing)]
    assert mutant.__bases__ == (Lessor,)
    assert own == [mutant.rule]
    assert mutant.__doc__
    assert StoreConfig(lessor=mutant).lessor is mutant


def test_every_rule_has_a_mutant_and_every_promise_is_broken():
    assert rules() == {mutant.rule for mutant in LEASE_MUTANTS.values()}
    assert {mutant.promise for mutant in LEASE_MUTANTS.values()} == set(LEASE_PROMISES)


def test_every_rule_has_a_sentence_with_its_source():
    for rule in rules():
        doc = inspect.getdoc(getattr(Lessor, rule))
        assert "(etcd" in doc or "(Gray" in doc, rule


def test_every_witness_has_its_mutant():
    assert set(WITNESSES) == {mutant.witness for mutant in LEASE_MUTANTS.values()}


@mutants
def test_its_witness_convicts_it(mutant):
    broken = leases(WITNESSES[mutant.witness](mutant)).broken
    assert [verdict.promise for verdict in broken] == [mutant.promise]
    assert broken[0].record is not None


@pytest.mark.parametrize("witness", WITNESSES.values(), ids=list(WITNESSES))
def test_the_reference_is_acquitted_by_every_witness(witness):
    trace = witness(Lessor)
    assert leases(trace).ok
    entries = [record.event.command for record in trace.of(Applied)]
    assert any(command and isinstance(command.request, LeaseRevoke) for command in entries)


@mutants
def test_a_witness_is_the_same_every_time(mutant):
    once, again = (list(WITNESSES[mutant.witness](mutant).lines()) for _ in range(2))
    assert once == again
