"""Joint configurations: what is decided while answers come in, and what no answer can change.

`123/345` is a configuration of the voters 1 2 3 whose outgoing half is 3 4 5.

Source: the situations of etcd-io/raft quorum/testdata, in tables of our own; thesis 4.3.
"""

from __future__ import annotations

from itertools import combinations, product

import pytest

from kvlearn.raft.quorum import LOST, PENDING, WON, committed_index, vote_result
from kvlearn.raft.types import ConfState

SHAPES = ["1/2", "1/1", "13/2", "12/2", "12/34", "12/23", "12/12", "123/456", "123/145"]
SHAPES += ["123/234", "123/123", "123/4", "1234/34", "12345/567"]


def joint(shape: str) -> ConfState:
    voters, _, outgoing = shape.partition("/")
    return ConfState(tuple(voters), tuple(outgoing))


def commit(shape: str, have: dict[str, int]) -> int:
    return committed_index(joint(shape), lambda node: have.get(node, 0))


@pytest.mark.parametrize(
    "shape, story",
    [
        # (node, how far its log agrees, what is committed then)
        ("1/2", [("1", 9, 0), ("2", 5, 5), ("2", 9, 9)]),  # two of two halves
        ("1/1", [("1", 9, 9)]),  # the halves are the same node
        ("13/2", [("1", 9, 0), ("3", 6, 0), ("2", 4, 4), ("2", 9, 6)]),
        ("12/2", [("2", 9, 0), ("1", 5, 5)]),  # 2 is all of one half, and half of the other
        ("12/34", [("1", 8, 0), ("3", 7, 0), ("2", 6, 0), ("4", 5, 5), ("4", 9, 6)]),
        ("12/23", [("2", 9, 0), ("3", 8, 0), ("1", 7, 7)]),
        ("12/12", [("2", 4, 0), ("1", 5, 4)]),
        ("123/456", [("1", 9, 0), ("2", 8, 0), ("4", 7, 0), ("5", 6, 6), ("6", 7, 7)]),
        ("123/145", [("1", 9, 0), ("2", 9, 0), ("3", 9, 0), ("4", 7, 7), ("5", 8, 8)]),
        ("123/145", [("2", 9, 0), ("4", 8, 0), ("5", 7, 0), ("3", 8, 7), ("1", 9, 8)]),
        ("123/234", [("2", 9, 0), ("3", 8, 8), ("1", 9, 8), ("4", 9, 9)]),  # 2 and 3 are enough
        ("123/234", [("1", 9, 0), ("4", 9, 0), ("2", 5, 5)]),  # one of both, and one of each
        ("123/123", [("1", 9, 0), ("2", 5, 5), ("3", 7, 7)]),
    ],
)
def test_what_is_committed_while_acknowledgements_come(shape, story):
    have: dict[str, int] = {}
    assert commit(shape, have) == 0
    for node, index, committed in story:
        have[node] = index
        assert commit(shape, have) == committed, f"after {node} has {index}"


@pytest.mark.parametrize(
    "shape, answers, result",
    [
        ("1/2", "", PENDING),
        ("1/2", "+1", PENDING),
        ("1/2", "+1 +2", WON),
        ("1/2", "+1 -2", LOST),
        ("1/2", "-1", LOST),  # whatever 2 will say
        ("1/1", "+1", WON),
        ("12/34", "+1 +2", PENDING),
        ("12/34", "+1 +2 -3", LOST),
        ("12/34", "+1 +2 +3", PENDING),
        ("12/34", "+1 +2 +3 +4", WON),
        ("12/23", "-2", LOST),  # needed by both halves
        ("12/23", "+1 +2", PENDING),
        ("12/23", "+1 +2 +3", WON),
        ("12/12", "+1", PENDING),
        ("12/12", "+1 -2", LOST),
        ("123/234", "-2", PENDING),
        ("123/234", "-2 -3", LOST),
        ("123/234", "+2 +3", WON),
        ("123/234", "+1 +2", PENDING),
        ("123/234", "+1 +2 -3", PENDING),
        ("123/234", "+1 +2 -3 -4", LOST),
        ("123/234", "+1 +2 -3 +4", WON),
        ("123/123", "+1 -2", PENDING),
    ],
)
def test_what_is_decided_while_votes_come(shape, answers, result):
    votes = {word[1]: word[0] == "+" for word in answers.split()}
    assert vote_result(joint(shape), votes) == result


@pytest.mark.parametrize("shape", SHAPES)
def test_the_halves_are_alike(shape):
    there, back = joint(shape), ConfState(joint(shape).outgoing, joint(shape).voters)
    for levels in product((0, 1, 2), repeat=len(there.members)):
        have = dict(zip(there.members, levels))
        assert committed_index(there, have.get) == committed_index(back, have.get)
        votes = {node: level == 2 for node, level in have.items() if level}
        assert vote_result(there, votes) == vote_result(back, votes)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_decision_stands_whatever_comes_later(shape):
    conf = joint(shape)
    for answers in product((True, False, None), repeat=len(conf.members)):
        votes = {node: said for node, said in zip(conf.members, answers) if said is not None}
        result = vote_result(conf, votes)
        missing = [node for node in conf.members if node not in votes]
        ends = {
            vote_result(conf, votes | dict(zip(missing, rest)))
            for rest in product((True, False), repeat=len(missing))
        }
        assert ends == ({WON, LOST} if result == PENDING else {result})


@pytest.mark.parametrize("shape", SHAPES)
def test_two_decisions_of_one_configuration_share_a_voter(shape):
    """Or two leaders could be elected in a term, or an entry be committed that a leader lacks."""
    conf = joint(shape)
    groups = _winners(conf, conf.members)
    assert groups and all(one & other for one, other in combinations(groups, 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_joint_decision_shares_a_voter_with_those_of_either_half(shape):
    """So the leaders of the old list, of both and of the new one can never be two at a time."""
    conf = joint(shape)
    together = _winners(conf, conf.members)
    for half in (conf.voters, conf.outgoing):
        alone = _winners(ConfState(half), conf.members)
        assert all(one & other for one, other in product(together, alone))


def _winners(conf: ConfState, nodes: tuple[str, ...]) -> list[set[str]]:
    groups = (set(group) for size in range(len(nodes) + 1) for group in combinations(nodes, size))
    return [group for group in groups if vote_result(conf, dict.fromkeys(group, True)) == WON]
