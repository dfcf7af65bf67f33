"""The rules of the watch hub are shown, left blank and broken as those of Raft are."""

from __future__ import annotations

import pytest

from kvlearn.course import blank, compare, show
from kvlearn.course.rules import HUB_GUARDS
from kvlearn.course.watch_mutants import WATCH_MUTANTS, ForgetsTheSlow
from kvlearn.errors import Blank
from kvlearn.mvcc.watch import WatchHub


def test_what_guards_a_promise_is_what_its_mutants_break():
    assert set(HUB_GUARDS) == {mutant.rule for mutant in WATCH_MUTANTS.values()}
    for mutant in WATCH_MUTANTS.values():
        assert HUB_GUARDS[mutant.rule] == mutant.promise


@pytest.mark.parametrize("rule", HUB_GUARDS)
def test_a_rule_of_the_hub_is_shown_with_its_source_and_its_promise(rule):
    shown = str(show(getattr(WatchHub, rule)))
    assert shown.startswith(f"WatchHub.{rule}: ")
    assert "Source: etcd" in shown and f"Guards: {HUB_GUARDS[rule]}." in " ".join(shown.split())
    assert "Asked by: " in shown and "kvlearn/mvcc/watch.py" in shown


@pytest.mark.parametrize("mutant", WATCH_MUTANTS.values(), ids=list(WATCH_MUTANTS))
def test_a_broken_hub_is_shown_beside_the_whole_one(mutant):
    shown = str(show(mutant))
    assert f"{mutant.__name__}: WatchHub with another {mutant.rule}" in shown
    assert "\n      - " in shown and "\n      + " in shown


def test_a_blank_hub_asks_for_its_rule():
    empty = blank(WatchHub, "stands_at")
    with pytest.raises(Blank, match="stands_at is not written yet"):
        empty.stands_at(None, None, 3)
    with pytest.raises(ValueError, match="the rules are starts_at"):
        blank(WatchHub, "may_vote_for")


def slow(cluster):
    """A client that reads nothing for a while."""
    watcher, writer = cluster.client().watch("a"), cluster.client()
    watcher.hold()
    for number in range(5):
        writer.put("a", str(number))
    cluster.run(0.5)
    watcher.release()
    cluster.run(0.5)


def test_two_hubs_are_compared_by_what_they_tell():
    comparison = compare(slow, ForgetsTheSlow, size=3, watch_queue=2)
    assert [line.count("put a=") for line in comparison.first] == [3, 2]
    assert comparison.rows[-1][0] == "✓ every promise is kept"
    assert comparison.rows[-1][1].startswith("✗ Reliable is broken")
    assert compare(slow, WatchHub, size=3).first is None
