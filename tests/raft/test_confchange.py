"""Changes of the membership as arithmetic: each kind of change, from each kind of configuration.

Nodes are single characters here. A change is written `+4` (voter), `~4` (learner) or `-4`
(no member).

Source: the situations of etcd-io/raft confchange/testdata, in a table of our own.
"""

from itertools import product
from random import Random

import pytest

from kvlearn.errors import ConfChangeError
from kvlearn.raft.confchange import (
    AUTO,
    EXPLICIT,
    GONE,
    IMPLICIT,
    LEARNER,
    VOTER,
    Change,
    ConfChange,
    changed,
)
from kvlearn.raft.quorum import WON, vote_result
from kvlearn.raft.types import ConfState

ROLES = {"+": VOTER, "~": LEARNER, "-": GONE}
THREE = ConfState(tuple("123"))
JOINT = ConfState(tuple("234"), tuple("123"), auto_leave=True)


def change(text: str, transition: str = AUTO) -> ConfChange:
    """`+4 -1` as the change that it stands for; empty text leaves a joint configuration."""
    return ConfChange(tuple(Change(part[1:], ROLES[part[0]]) for part in text.split()), transition)


def with_learner(voters: str = "12", learners: str = "3") -> ConfState:
    return ConfState(tuple(voters), learners=tuple(learners))


@pytest.mark.parametrize(
    "before, what, after",
    [
        (THREE, "+4", "(1 2 3 4)"),
        (THREE, "-3", "(1 2)"),
        (THREE, "~4", "(1 2 3) learners(4)"),
        (THREE, "~1", "(2 3) learners(1)"),  # a voter loses its vote
        (with_learner(), "+3", "(1 2 3)"),  # a learner gets one
        (with_learner(), "-3", "(1 2)"),
        (with_learner(), "~4", "(1 2) learners(3 4)"),
        (with_learner(), "+4", "(1 2 4) learners(3)"),
        (ConfState(), "+1", "(1)"),  # the very first
        (ConfState(("2",)), "+1", "(1 2)"),
        (ConfState(("9",)), "+10", "(10 9)"),  # sorted as names
    ],
)
def test_a_simple_change(before, what, after):
    assert str(changed(before, change(what))) == after


@pytest.mark.parametrize(
    "before, what",
    [
        (THREE, "+1"),  # has a vote already; etcd's update of an address is such a change
        (THREE, "-4"),  # was never here
        (with_learner(), "~3"),  # learns already
        (with_learner(), "-9"),
    ],
)
def test_a_change_that_changes_nothing_is_none(before, what):
    assert changed(before, change(what)) == before


@pytest.mark.parametrize("transition, auto", [(AUTO, 1), (IMPLICIT, 1), (EXPLICIT, 0)])
@pytest.mark.parametrize(
    "before, what, after",
    [
        (THREE, "+4 -1", "(2 3 4)&&(1 2 3)"),
        (THREE, "+4 +5", "(1 2 3 4 5)&&(1 2 3)"),
        (THREE, "-1 -2", "(3)&&(1 2 3)"),
        (THREE, "~4 ~5", "(1 2 3)&&(1 2 3) learners(4 5)"),
        (THREE, "+1 +2", "(1 2 3)&&(1 2 3)"),  # nothing new, and joint all the same
        (THREE, "-8 -9", "(1 2 3)&&(1 2 3)"),
        (ConfState(("1",)), "+2 -1", "(2)&&(1)"),  # a lone node hands over
        (with_learner(), "+3 +4", "(1 2 3 4)&&(1 2)"),
        (with_learner(), "-3 +4", "(1 2 4)&&(1 2)"),
        (with_learner(), "+3 -1", "(2 3)&&(1 2)"),
        (with_learner("12", "34"), "+3 -4", "(1 2 3)&&(1 2)"),
    ],
)
def test_several_changes_are_joint(before, what, after, transition, auto):
    text = after + " auto-leave" * auto
    assert str(changed(before, change(what, transition))) == text


@pytest.mark.parametrize("transition, auto", [(IMPLICIT, " auto-leave"), (EXPLICIT, "")])
@pytest.mark.parametrize(
    "what, after",
    [
        ("+4", "(1 2 3 4)&&(1 2 3)"),
        ("-1", "(2 3)&&(1 2 3)"),
        ("~4", "(1 2 3)&&(1 2 3) learners(4)"),
        ("~1", "(2 3)&&(1 2 3) next(1)"),
        ("+1", "(1 2 3)&&(1 2 3)"),
    ],
)
def test_one_change_is_joint_where_that_is_asked_for(what, after, transition, auto):
    assert str(changed(THREE, change(what, transition))) == after + auto


@pytest.mark.parametrize(
    "before, what, joint, left",
    [
        (THREE, "~1 +4", "(2 3 4)&&(1 2 3) next(1)", "(2 3 4) learners(1)"),
        (THREE, "~1 ~2", "(3)&&(1 2 3) next(1 2)", "(3) learners(1 2)"),
        (
            with_learner("12", "5"),
            "~1 +4",
            "(2 4)&&(1 2) learners(5) next(1)",
            "(2 4) learners(1 5)",
        ),
        (with_learner(), "+3 ~1", "(2 3)&&(1 2) next(1)", "(2 3) learners(1)"),  # they swap
        (with_learner(), "+3 ~3", "(1 2)&&(1 2) learners(3)", "(1 2) learners(3)"),
    ],
)
def test_who_still_votes_in_the_old_half_learns_when_that_is_left(before, what, joint, left):
    there = changed(before, change(what))
    assert str(there) == joint + " auto-leave"
    assert str(changed(there, ConfChange())) == left


@pytest.mark.parametrize(
    "what, after",
    [
        ("+4 -4", "(1 2 3)&&(1 2 3)"),
        ("-4 +4", "(1 2 3 4)&&(1 2 3)"),
        ("~4 +4", "(1 2 3 4)&&(1 2 3)"),
        ("+4 ~4", "(1 2 3)&&(1 2 3) learners(4)"),
        ("~1 +1", "(1 2 3)&&(1 2 3)"),
        ("~1 -1", "(2 3)&&(1 2 3)"),
        ("-1 ~1", "(2 3)&&(1 2 3) next(1)"),
        ("-1 +1", "(1 2 3)&&(1 2 3)"),
    ],
)
def test_of_two_words_about_a_node_the_last_counts(what, after):
    assert str(changed(THREE, change(what))) == after + " auto-leave"


@pytest.mark.parametrize("transition", [AUTO, IMPLICIT, EXPLICIT])
@pytest.mark.parametrize(
    "before, what",
    [
        (ConfState(("1",)), "-1"),
        (ConfState(("1",)), "~1"),
        (ConfState(("1",)), "~2 ~1"),
        (ConfState(), "~1"),
        (ConfState(), "-1"),
        (THREE, "-1 -2 -3"),
        (with_learner("1", "2"), "-1"),
    ],
)
def test_one_voter_must_remain(before, what, transition):
    with pytest.raises(ConfChangeError, match="at least one voter must remain") as raised:
        changed(before, change(what, transition))
    assert raised.value.reason == "NO_VOTERS"


@pytest.mark.parametrize("transition", [AUTO, IMPLICIT, EXPLICIT])
@pytest.mark.parametrize("what", ["+5", "+5 -4", "~5", "-4", "+2"])
def test_a_joint_configuration_is_left_before_anything_else(what, transition):
    with pytest.raises(ConfChangeError, match="is joint: leave it before") as raised:
        changed(JOINT, change(what, transition))
    assert raised.value.reason == "JOINT"


@pytest.mark.parametrize("before", [THREE, with_learner(), ConfState()])
def test_only_a_joint_configuration_can_be_left(before):
    with pytest.raises(ConfChangeError, match="not joint") as raised:
        changed(before, ConfChange())
    assert raised.value.reason == "NOT_JOINT"


def test_whatever_the_transition_says_without_changes_it_leaves():
    for transition in (AUTO, IMPLICIT, EXPLICIT):
        assert changed(JOINT, ConfChange((), transition)) == ConfState(tuple("234"))


# What holds of every change -----------------------------------------------------------------


def walk(seed: int) -> list[tuple[ConfState, ConfChange, ConfState]]:
    """Thirty changes of a cluster of up to six."""
    rng, conf, steps = Random(seed), ConfState(("1",)), []
    while len(steps) < 30:
        picks = rng.sample("123456", rng.randint(1, 3))
        parts = tuple(Change(node, rng.choice(list(ROLES.values()))) for node in picks)
        asked = ConfChange(() if conf.outgoing else parts, rng.choice((AUTO, IMPLICIT, EXPLICIT)))
        try:
            after = changed(conf, asked)
        except ConfChangeError:
            continue
        steps.append((conf, asked, after))
        conf = after
    return steps


@pytest.mark.parametrize("seed", range(20))
def test_nobody_has_two_roles(seed):
    for _, _, conf in walk(seed):
        voters, outgoing = set(conf.voters), set(conf.outgoing)
        learners, following = set(conf.learners), set(conf.learners_next)
        assert voters and not learners & (voters | outgoing)
        assert following <= outgoing - voters
        assert not conf.auto_leave or outgoing
        for group in (conf.voters, conf.outgoing, conf.learners, conf.learners_next):
            assert list(group) == sorted(set(group))


@pytest.mark.parametrize("seed", range(20))
def test_two_neighbours_in_history_never_elect_two_leaders(seed):
    """Thesis 4.1: a majority of one and a majority of the next share a member."""
    for before, _, after in walk(seed):
        nodes = sorted({*before.members, *after.members})
        for side in product((True, False), repeat=len(nodes)):
            ones = dict(zip(nodes, side))
            others = {node: not yes for node, yes in ones.items()}
            assert not (vote_result(before, ones) == vote_result(after, others) == WON)


@pytest.mark.parametrize("seed", range(20))
def test_the_joint_way_ends_where_the_simple_steps_end(seed):
    for before, asked, after in walk(seed):
        if not before.outgoing and after.outgoing:
            stepped = before
            try:
                for one in asked.changes:
                    stepped = changed(stepped, ConfChange((one,)))
            except ConfChangeError:
                continue  # on its way it would be without a voter
            assert changed(after, ConfChange()) == stepped
