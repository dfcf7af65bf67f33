"""The directory of real members: which number and which addresses belong to a name.

Raft knows its members by a `NodeId`; etcd's clients know them by a number of 64 bits, a name that
the member tells when it starts, and URLs. The directory says what belongs together. It is
replicated as the keys are, and changes only by entries of the log:

```
   MemberAdd  an entry without a name: the member has not started, it gets the NodeId n<k> that was
              never used before
   Publish    the member has started: its name, and where clients find it
   MemberUpdate  other peer URLs          MemberRemove  the entry goes, its number never comes back
```

>>> two = founded({"n1": ("http://a:2380",), "n2": ("http://b:2380",)}, "token")
>>> [f"{one.node} {one.id:x}" for one in two.members], f"{cluster_id_of(two.founders):x}"
(['n2 d8b509fc17d4c04e', 'n1 e69dd08201643ffa'], 'b0dd0bbb39b2c5aa')
>>> add = two.named(MemberAdd(peer_urls=("http://c:2380",), id=77))
>>> print(add, "|", *two.after(add).members[:1])
add n3 | n3 (not started)

Simulated clusters have an empty directory, and names alone.

Source: etcd server/etcdserver/api/membership (member.go: computeMemberId; cluster.go: genID,
ValidateConfigurationChange, IsReadyToAddVotingMember). Differs: etcd's Raft knows members by the
number, too; there an added member's number is a sum over its URLs and the second of the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha1
from typing import Any

from kvlearn.errors import (
    BadMemberUrls, InvalidArgument, MemberExists, MemberNotFound, NotEnoughStarted, PeerUrlsExist
)  # fmt: skip
from kvlearn.kv.members import (
    Member, MemberAdd, MemberChange, MemberPromote, MemberRemove, MembersResult, members_of
)  # fmt: skip
from kvlearn.raft.types import ConfState, NodeId
from kvlearn.values import value

Urls = tuple[str, ...]


@value
class MemberUpdate:
    """The member `id` is to be reached by other members at `peer_urls`."""

    id: int
    peer_urls: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"update {self.id:x}"


@value
class Publish:
    """The member with Raft's name `node` has started: its own name, and its URLs for clients."""

    node: NodeId
    name: str
    client_urls: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"publish {self.node}" + (f" as {self.name}" if self.name != self.node else "")


LOGGED = (MemberUpdate, Publish)  # plain entries: they change nothing for Raft


@value
class MemberInfo:
    """`node` is Raft's name, `name` what the member calls itself: "" before it has started."""

    node: NodeId
    id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.node} ({self.name or 'not started'})"


def sum_of(data: bytes) -> int:
    """The first 8 bytes of the SHA-1, as a number."""
    return int.from_bytes(sha1(data).digest()[:8], "big")


def id_of(peer_urls: Urls, token: str, moment: str = "") -> int:
    """The number of a member; `moment` makes that of an added one differ from all before it."""
    return sum_of(("".join(sorted(peer_urls)) + token + moment).encode())


def cluster_id_of(founders: tuple[MemberInfo, ...]) -> int:
    """The number of a cluster: a sum over its founders' numbers."""
    return sum_of(b"".join(id.to_bytes(8, "big") for id in sorted(one.id for one in founders)))


def founded(peer_urls: Mapping[NodeId, Urls], token: str) -> Directory:
    """The directory before the first entry, of founders by their names."""
    return Directory.of(
        tuple(MemberInfo(n, id_of(urls, token), n, tuple(urls)) for n, urls in peer_urls.items())
    )


@value
class Directory:
    """All members, by their numbers. Empty: nobody needs numbers.

    Invariant: `ever` has (NodeId, number) of all who were members at any time, in their order of
    arrival; neither ever belongs to another member. Whoever joins begins with the `founders` too,
    and so comes to the same directory as everybody else.
    """

    members: tuple[MemberInfo, ...] = ()
    founders: tuple[MemberInfo, ...] = ()
    ever: tuple[tuple[NodeId, int], ...] = ()

    @classmethod
    def of(cls, founders: tuple[MemberInfo, ...]) -> Directory:
        """The directory of a cluster that begins."""
        members = tuple(sorted(founders, key=lambda one: one.id))
        return cls(members, members, tuple((one.node, one.id) for one in members))

    def __bool__(self) -> bool:
        return bool(self.members)

    # Who is who -------------------------------------------------------------------------------

    def get(self, node: NodeId) -> MemberInfo | None:
        """The present member with Raft's name `node`, or None."""
        return next((one for one in self.members if one.node == node), None)

    def number(self, node: NodeId) -> int | None:
        """The number that belongs to `node`, member or removed; None: it never was one."""
        return dict(self.ever).get(node)

    def node_of(self, id: int) -> NodeId | None:
        """Raft's name of the present member with this number, or None."""
        return next((one.node for one in self.members if one.id == id), None)

    def named(self, request: Any) -> Any:
        """A client's request with Raft's name for the member that it means by a number, or that it
        adds. Raises: MemberNotFound, InvalidArgument, BadMemberUrls."""
        match request:
            case MemberAdd():
                if not request.peer_urls or not request.id:
                    raise BadMemberUrls(hint="a member is added by its peer URLs")
                used = [int(n[1:]) for n, _ in self.ever if n[:1] == "n" and n[1:].isdecimal()]
                return replace(request, name=f"n{max(used, default=0) + 1}")
            case MemberRemove(name, id) | MemberPromote(name, id) if id or not self.get(name):
                if (node := self.node_of(id)) is None:
                    raise MemberNotFound(hint=f"the members are {self}")
                return replace(request, name=node, id=id)
            case MemberChange():
                raise InvalidArgument(hint="real members are added and removed one by one")
        return request

    def check_started(self, request: Any, conf: ConfState) -> None:
        """Refuse a change after which those that have started would be no majority.

        Raises: NotEnoughStarted.
        """
        voters = {one.node: bool(one.name) for one in self.members if conf.votes(one.node)}
        before = len(voters)
        match request:
            case MemberAdd(learner=False):
                voters[request.name] = False
            case MemberPromote(name) if name in conf.learners:
                voters[name] = True
            case MemberRemove(name) if voters.pop(name, None) is not None:
                pass
            case _:
                return
        started = sum(voters.values())
        # The second of two may start later: a cluster of one grows in no other way.
        grows = isinstance(request, MemberAdd) and started == before == 1
        if started < len(voters) // 2 + 1 and not grows:
            raise NotEnoughStarted(hint=f"{started} of {len(voters)} voters would have started")

    # What entries change ----------------------------------------------------------------------

    def after(self, request: Any) -> Directory:
        """The directory after an entry with this request.

        Raises: MemberExists, PeerUrlsExist, MemberNotFound.
        """
        match request:
            case MemberAdd(node, _, urls, id):
                if any(node == known or id == number for known, number in self.ever):
                    raise MemberExists(hint=f"{node} or {id:x} was given to another; try again")
                self._check_free(urls)
                return self._with((*self.members, MemberInfo(node, id, "", urls)), (node, id))
            case MemberRemove(node):
                return self._with([one for one in self.members if one.node != node])
            case MemberUpdate(id, urls):
                if (node := self.node_of(id)) is None:
                    raise MemberNotFound(hint=f"the members are {self}")
                self._check_free(urls, node)
                return self._put(node, peer_urls=urls)
            case Publish(node, name, urls):  # one that was removed meanwhile tells in vain
                return self._put(node, name=name, client_urls=urls)
        return self

    def _check_free(self, urls: Urls, node: NodeId = "") -> None:
        for one in self.members:
            if one.node != node and not set(urls).isdisjoint(one.peer_urls):
                raise PeerUrlsExist(hint=f"{one} has them")

    def _put(self, node: NodeId, **fields: Any) -> Directory:
        return self._with([replace(m, **fields) if m.node == node else m for m in self.members])

    def _with(self, members: Any, *came: tuple[NodeId, int]) -> Directory:
        by_id = tuple(sorted(members, key=lambda one: one.id))
        return replace(self, members=by_id, ever=(*self.ever, *came))

    def __str__(self) -> str:
        return ", ".join(f"{one.id:x}" for one in self.members)


def listed(directory: Directory, conf: ConfState) -> MembersResult:
    """The members as clients see them, by their numbers; by their names where there are none."""
    if not directory:
        return members_of(conf)
    return MembersResult(
        tuple(
            Member(one.id, one.name, not conf.votes(one.node), one.peer_urls, one.client_urls)
            for one in directory.members
        )
    )
