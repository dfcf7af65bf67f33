"""Majorities: arithmetic on values, nothing else.

A joint configuration (section 6) has two sets of voters, and every decision needs a majority of
each. An empty set decides nothing and agrees with everything, so a simple configuration is a joint
one whose outgoing half is empty.

Source: paper 5.2, 5.3, section 6; etcd-io/raft quorum/majority.go, quorum/joint.go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from kvlearn.raft.types import ConfState, Index, NodeId

WON, LOST, PENDING = "won", "lost", "pending"
_NO_LIMIT = 2**63 - 1  # the committed index of an empty half: it does not hold the other back


def majority(size: int) -> int:
    """The smallest number of nodes of which any two groups share a member.

    >>> [majority(n) for n in (1, 2, 3, 4, 5)]
    [1, 2, 2, 3, 3]
    """
    return size // 2 + 1


def committed_index(conf: ConfState, match: Callable[[NodeId], Index]) -> Index:
    """The highest index that a quorum has; `match(node)` is how far a node's log agrees.

    With times instead of indices it tells when a quorum was heard last.

    >>> have = {"n1": 5, "n2": 3, "n3": 4}
    >>> committed_index(ConfState(("n1", "n2", "n3")), have.get)
    4
    >>> committed_index(ConfState(("n1",), outgoing=("n1", "n2", "n3")), have.get)
    4
    """
    index = _half_committed(conf.voters, match)
    if conf.outgoing:
        index = min(index, _half_committed(conf.outgoing, match))
    return 0 if index == _NO_LIMIT else index


def _half_committed(voters: Collection[NodeId], match: Callable[[NodeId], Index]) -> Index:
    if not voters:
        return _NO_LIMIT
    return sorted(map(match, voters), reverse=True)[majority(len(voters)) - 1]


def granted(votes: Mapping[NodeId, bool]) -> tuple[NodeId, ...]:
    """Who said yes, in the order of their names."""
    return tuple(sorted(node for node, yes in votes.items() if yes))


def vote_result(conf: ConfState, votes: Mapping[NodeId, bool]) -> str:
    """WON, LOST or still PENDING; a node that is missing in `votes` has not answered yet.

    >>> five = ConfState(("n1", "n2", "n3", "n4", "n5"))
    >>> vote_result(five, {"n1": True, "n2": True, "n3": False})
    'pending'
    >>> vote_result(five, {"n1": True, "n2": True, "n3": False, "n4": True})
    'won'
    """
    halves = (_half_result(conf.voters, votes), _half_result(conf.outgoing, votes))
    if LOST in halves:
        return LOST
    return PENDING if PENDING in halves else WON


def _half_result(voters: Collection[NodeId], votes: Mapping[NodeId, bool]) -> str:
    if not voters:
        return WON
    granted = sum(votes.get(voter, False) for voter in voters)
    missing = sum(voter not in votes for voter in voters)
    need = majority(len(voters))
    if granted >= need:
        return WON
    return PENDING if granted + missing >= need else LOST
