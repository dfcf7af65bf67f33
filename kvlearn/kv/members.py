"""Requests about the membership, and what they ask of Raft.

>>> from kvlearn.raft.types import ConfState
>>> conf = ConfState(("n1", "n2", "n3"), learners=("n4",))
>>> changes_of(MemberPromote("n4"), conf)
((Change(node='n4', role='voter'),), 'auto')
>>> changes, transition = changes_of(MemberChange(add=("n5",), remove=("n1",)), conf)
>>> print(*changes, transition)
+n5 -n1 implicit
>>> changes_of(MemberAdd("n3"), conf)
Traceback (most recent call last):
kvlearn.errors.MemberExists: etcdserver: member ID already exist (n3 is a member)

Source: etcd server/etcdserver/server.go (AddMember, PromoteMember, RemoveMember, MoveLeader),
api/membership/cluster.go (ValidateConfigurationChange). Differs: etcd names members by a number and
their URLs (see `kvlearn/kv/directory.py`), and has no request for a joint change, although its Raft
can do it.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from kvlearn.errors import (
    InvalidArgument, MemberExists, MemberNotFound, MemberNotLearner, TooManyLearners
)  # fmt: skip
from kvlearn.raft.confchange import AUTO, EXPLICIT, GONE, IMPLICIT, LEARNER, VOTER, Change
from kvlearn.raft.types import ConfState, NodeId
from kvlearn.values import value

MAX_LEARNERS = 1  # etcd: --max-learners


@value
class MemberList:
    """Who is a member? Read like a key; `linearizable` false: as this node knows."""

    linearizable: bool = True

    def __str__(self) -> str:
        return "members"


@value
class MemberAdd:
    """`name` becomes a voter, or with `learner` a member without a vote.

    Real members are added by `peer_urls` and a new number `id`; the node chooses their name.
    """

    name: NodeId = ""
    learner: bool = False
    peer_urls: tuple[str, ...] = ()
    id: int = 0

    def __str__(self) -> str:
        return f"add {'learner ' if self.learner else ''}{self.name}"


@value
class MemberRemove:
    """The member with this name, or this number, goes."""

    name: NodeId = ""
    id: int = 0

    def __str__(self) -> str:
        return f"remove {self.name}"


@value
class MemberPromote:
    """The learner with this name, or this number, gets a vote."""

    name: NodeId = ""
    id: int = 0

    def __str__(self) -> str:
        return f"promote {self.name}"


@value
class MemberChange:
    """Several changes at once, through a joint configuration (thesis 4.3).

    `transition` is that of `ConfChange`: explicit stays joint until a MemberChange without any node
    leaves it; auto takes the short way where one change allows it.
    """

    add: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    remove: tuple[NodeId, ...] = ()
    transition: str = IMPLICIT

    def __str__(self) -> str:
        signs = (("+", self.add), ("~", self.learners), ("-", self.remove))
        named = " ".join(f"{sign}{name}" for sign, names in signs for name in names)
        return f"members {named}" if named else "leave joint"


@value
class MoveLeader:
    """Let `target` lead."""

    target: NodeId

    def __str__(self) -> str:
        return f"move leader to {self.target}"


CHANGES = (MemberAdd, MemberRemove, MemberPromote, MemberChange)
MEMBERSHIP = (MemberList, MoveLeader, *CHANGES)


@value
class Member:
    """What a client is told of a member; a real one that has not started yet has no name."""

    id: int
    name: str
    learner: bool = False
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}{' (learner)' if self.learner else ''}"


@value
class MembersResult:
    members: tuple[Member, ...] = ()

    def __str__(self) -> str:
        return ", ".join(map(str, self.members))


def member_id(name: NodeId) -> int:
    """The number of a member, which stands in headers: 3 for n3, a hash for other names."""
    return int(name[1:]) if name[:1] == "n" and name[1:].isdecimal() else crc32(name.encode())


def members_of(conf: ConfState) -> MembersResult:
    """The members of a configuration, in the order of their names."""
    return MembersResult(
        tuple(Member(member_id(name), name, not conf.votes(name)) for name in conf.members)
    )


def changes_of(request: Any, conf: ConfState) -> tuple[tuple[Change, ...], str]:
    """What a request changes in `conf`, and by what kind of transition.

    Raises: MemberExists, MemberNotFound, MemberNotLearner, TooManyLearners, InvalidArgument.
    """
    match request:
        case MemberAdd(name, learner):
            if name in conf.members:
                raise MemberExists(hint=f"{name} is a member")
            changes, kind = (Change(name, LEARNER if learner else VOTER),), AUTO
        case MemberRemove(name):
            changes, kind = (Change(name, GONE),), AUTO
        case MemberPromote(name):
            _known(name, conf)
            if name not in conf.learners:
                raise MemberNotLearner(hint=f"{name} has a vote already")
            changes, kind = (Change(name),), AUTO
        case MemberChange(add, learners, remove, kind):
            roles = ((VOTER, add), (LEARNER, learners), (GONE, remove))
            changes = tuple(Change(name, role) for role, names in roles for name in names)
    _check(changes, kind, conf)
    return changes, kind


def _check(changes: tuple[Change, ...], kind: str, conf: ConfState) -> None:
    names = [change.node for change in changes]
    if not all(isinstance(n, str) and n for n in names) or len(set(names)) < len(names):
        raise InvalidArgument(hint="name each node once, like n4")
    if kind not in (AUTO, IMPLICIT, EXPLICIT):
        raise InvalidArgument(hint=f"a transition is auto, implicit or explicit, not {kind!r}")
    if not (names or conf.outgoing):
        raise InvalidArgument(hint=f"{conf} is not joint: there is nothing to leave")
    learners = set(conf.learners) - set(names)
    for change in changes:
        if change.role == GONE:
            _known(change.node, conf)
        elif change.role == LEARNER:
            learners.add(change.node)
            if len(learners) > MAX_LEARNERS:
                raise TooManyLearners(hint=f"{MAX_LEARNERS} at a time")


def _known(name: NodeId, conf: ConfState) -> None:
    if name not in conf.members:
        raise MemberNotFound(hint=f"the members are {' '.join(conf.members)}")
