"""Majorities: tables, and both halves of joint configurations against a slow, literal count."""

from itertools import combinations, product

import pytest

from kvlearn.raft.quorum import LOST, PENDING, WON, committed_index, majority, vote_result
from kvlearn.raft.types import ConfState

YES, NO = True, False


@pytest.mark.parametrize(
    "size, need", [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (8, 5), (9, 5)]
)
def test_majority(size, need):
    assert majority(size) == need


@pytest.mark.parametrize("size", range(1, 8))
def test_any_two_majorities_share_a_member_and_smaller_groups_need_not(size):
    nodes, need = range(size), majority(size)
    groups = [set(group) for group in combinations(nodes, need)]
    assert all(one & other for one, other in product(groups, groups))
    smaller = [set(group) for group in combinations(nodes, need - 1)]
    assert not all(set(nodes) - group < group for group in smaller)


@pytest.mark.parametrize(
    "match, index",
    [
        ([0], 0),
        ([7], 7),
        ([7, 3], 3),
        ([5, 5, 5], 5),
        ([9, 4, 0], 4),
        ([9, 9, 0], 9),
        ([8, 6, 4, 2], 4),
        ([9, 7, 5, 3, 1], 5),
        ([9, 0, 0, 0, 9], 0),
        ([9, 9, 0, 0, 9], 9),
    ],
)
def test_committed_index_is_what_a_majority_has(match, index):
    names = tuple(f"n{k}" for k in range(len(match)))
    have = dict(zip(names, match))
    assert committed_index(ConfState(names), have.get) == index
    assert committed_index(ConfState(names[::-1]), have.get) == index, "order means nothing"


@pytest.mark.parametrize(
    "incoming, outgoing, index",
    [
        ("abc", "", 5),  # 9 5 1
        ("abc", "abc", 5),
        ("abc", "a", 5),  # the outgoing half alone would say 9
        ("a", "abc", 5),
        ("ab", "bc", 1),  # 5 and 1: the smaller decides
        ("abc", "cde", 1),  # 5, and 1 of 1 9 0
        ("a", "d", 9),
        ("", "abc", 5),
        ("", "", 0),  # nobody at all commits nothing
    ],
)
def test_a_joint_configuration_commits_what_both_halves_have(incoming, outgoing, index):
    have = {"a": 9, "b": 5, "c": 1, "d": 9, "e": 0}
    assert committed_index(ConfState(tuple(incoming), tuple(outgoing)), have.get) == index


@pytest.mark.parametrize(
    "size, votes, result",
    [
        (1, {}, PENDING),
        (1, {"n1": YES}, WON),
        (1, {"n1": NO}, LOST),
        (2, {"n1": YES}, PENDING),
        (2, {"n1": YES, "n2": NO}, LOST),
        (3, {"n1": YES}, PENDING),
        (3, {"n1": YES, "n2": YES}, WON),
        (3, {"n1": YES, "n2": NO}, PENDING),
        (3, {"n1": YES, "n2": NO, "n3": NO}, LOST),
        (3, {"n2": NO, "n3": NO}, LOST),
        (4, {"n1": YES, "n2": YES}, PENDING),
        (4, {"n1": YES, "n2": YES, "n3": NO, "n4": NO}, LOST),  # half is not a majority
        (4, {"n3": NO, "n4": NO}, LOST),
        (5, {"n1": YES, "n2": YES, "n3": YES}, WON),
        (5, {"n1": YES, "n2": YES, "n3": NO, "n4": NO}, PENDING),
        (5, {"n1": YES, "n9": YES, "n8": YES}, PENDING),  # strangers do not count
    ],
)
def test_vote_result(size, votes, result):
    conf = ConfState(tuple(f"n{k}" for k in range(1, size + 1)))
    assert vote_result(conf, votes) == result


@pytest.mark.parametrize(
    "votes, result",
    [
        ({"a": YES, "b": YES}, PENDING),  # wins (a b c), and waits for (c d e)
        ({"a": YES, "b": YES, "d": YES, "e": YES}, WON),
        ({"a": YES, "b": YES, "d": NO, "e": NO}, LOST),  # one half is enough to lose
        ({"a": NO, "b": NO, "d": YES, "e": YES}, LOST),
        ({"c": YES, "a": YES, "d": YES}, WON),  # c counts in both
        ({"a": YES, "b": YES, "c": NO, "d": YES}, PENDING),
    ],
)
def test_a_joint_vote_needs_both_halves(votes, result):
    assert vote_result(ConfState(tuple("abc"), tuple("cde")), votes) == result


def test_learners_have_no_say():
    conf = ConfState(("a", "b", "c"), learners=("d", "e"))
    assert vote_result(conf, {"a": YES, "d": YES, "e": YES}) == PENDING
    assert committed_index(conf, {"a": 3, "b": 2, "c": 1, "d": 9, "e": 9}.get) == 2


@pytest.mark.parametrize("incoming", ["a", "ab", "abc", "abcd"])
@pytest.mark.parametrize("outgoing", ["", "a", "bc", "cde"])
def test_both_answers_agree_with_a_literal_count(incoming, outgoing):
    """For every way to vote, and the same question asked as "who has index 1"."""
    conf = ConfState(tuple(incoming), tuple(outgoing))
    halves = [half for half in (incoming, outgoing) if half]
    nodes = sorted(set(incoming + outgoing))
    for answers in product((YES, NO, None), repeat=len(nodes)):
        votes = {node: said for node, said in zip(nodes, answers) if said is not None}
        yes = [sum(votes.get(n) is YES for n in half) * 2 > len(half) for half in halves]
        never = [sum(votes.get(n) is not NO for n in half) * 2 <= len(half) for half in halves]
        expected = WON if all(yes) else LOST if any(never) else PENDING
        assert vote_result(conf, votes) == expected
        have = {node: int(votes.get(node) is YES) for node in nodes}
        assert committed_index(conf, have.get) == int(all(yes))
