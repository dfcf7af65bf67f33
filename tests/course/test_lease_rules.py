"""The rules of the lessor are shown, left blank and broken as those of Raft are."""

from __future__ import annotations

import pytest

from kvlearn.course import blank, compare, show
from kvlearn.course.lease_mutants import LEASE_MUTANTS, LeavesTheRest, StartsFromNothing
from kvlearn.course.rules import LESSOR_GUARDS
from kvlearn.errors import Blank
from kvlearn.lease import Lessor


def test_what_guards_a_promise_is_what_its_mutants_break():
    assert set(LESSOR_GUARDS) == {mutant.rule for mutant in LEASE_MUTANTS.values()}
    for mutant in LEASE_MUTANTS.values():
        assert mutant.promise in LESSOR_GUARDS[mutant.rule]


@pytest.mark.parametrize("rule", LESSOR_GUARDS)
def test_a_rule_of_the_lessor_is_shown_with_its_source_and_its_promise(rule):
    shown = " ".join(str(show(getattr(Lessor, rule))).split())
    assert shown.startswith(f"Lessor.{rule}: ")
    assert "Source: etcd" in shown or "Source: Gray 1989" in shown
    assert f"Guards: {LESSOR_GUARDS[rule]}." in shown
    assert "Asked by: " in shown and "kvlearn/lease.py" in shown


@pytest.mark.parametrize("mutant", LEASE_MUTANTS.values(), ids=list(LEASE_MUTANTS))
def test_a_broken_lessor_is_shown_beside_the_whole_one(mutant):
    assert f"{mutant.__name__}: Lessor with another {mutant.rule}" in str(show(mutant))


def test_a_blank_lessor_asks_for_its_rule():
    empty = blank(Lessor, "time_of")
    with pytest.raises(Blank, match="time_of is not written yet"):
        empty().time_of(None)
    with pytest.raises(ValueError, match="the rules are is_expired"):
        blank(Lessor, "may_vote_for")


def leader_crashes(cluster):
    """The leader crashes as soon as a lease is granted."""
    client = cluster.client()
    client.put("a", "1", lease=client.lease(5, id=7))
    cluster.crash(cluster.leader)
    cluster.run(10)


def test_two_lessors_are_compared_by_how_they_count():
    comparison = compare(leader_crashes, StartsFromNothing, size=3)
    assert [line.partition(": ")[2] for line in comparison.first] == ["7 has 6 s", "7 has 1 s"]
    assert comparison.rows[-1][0] == "✓ every promise is kept"
    assert comparison.rows[-1][1].startswith("✗ Lease Safety is broken")
    assert compare(leader_crashes, Lessor, size=3).first is None


def test_what_a_reader_gets_tells_them_apart():
    def look(cluster):
        client = cluster.client()
        lease = client.lease(5, id=7)
        client.put("a", "1", lease=lease)
        client.put("b", "1", lease=lease)
        cluster.run(7)
        client.get("a", "c")

    comparison = compare(look, LeavesTheRest, size=3)
    assert ["b=1" in line for line in comparison.first] == [False, True]
    assert comparison.rows[-1][1].startswith("✗ One Revision is broken")
