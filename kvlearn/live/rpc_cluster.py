"""Cluster: members come, go, move and get a vote.

    MemberAdd(peerURLs, isLearner)   the new member gets a number; it joins when it starts
    MemberRemove(ID)                 whoever is removed serves no more, the leader too
    MemberUpdate(ID, peerURLs)       the others reach it elsewhere from now on
    MemberPromote(ID)                a learner that has caught up gets a vote
    MemberList(linearizable)         sorted by number; without a name: not started yet

Headers have no revision here, as in etcd: a change of members changes no key.

Source: etcd server/etcdserver/api/v3rpc/member.go, client/pkg/types/urls.go. Differs: etcd takes
URLs into MemberUpdate that are none, and is then cut off from the member; here they are refused.
"""

from __future__ import annotations

from time import time_ns
from typing import Any
from urllib.parse import urlsplit

from kvlearn.errors import BadMemberUrls, Unhealthy
from kvlearn.kv.directory import MemberUpdate, id_of
from kvlearn.kv.members import Member, MemberAdd, MemberList, MemberPromote, MemberRemove
from kvlearn.kv.requests import Answer, Header
from kvlearn.live.method import Call, Method, table, unary
from kvlearn.live.proto import rpc_pb2

SCHEMES = "http", "https", "unix", "unixs"


def methods(services: Any) -> dict[str, Method]:
    """The service by paths."""
    cluster = Cluster(services)
    ways = {
        "MemberAdd": unary(cluster.add),
        "MemberRemove": unary(cluster.remove),
        "MemberUpdate": unary(cluster.update),
        "MemberList": unary(cluster.list),
        "MemberPromote": unary(cluster.promote),
    }
    return table(rpc_pb2.FILE, "etcdserverpb.Cluster", ways)


class Cluster:
    """What the service does: each method asks the member, whose answer lists all members."""

    def __init__(self, services: Any):
        self.services = services

    def add(self, call: Call, request: Any) -> None:
        """Raises: BadMemberUrls, Unhealthy."""
        urls = checked(request.peerURLs)
        self._check_connected()
        token = self.services.member.config.initial_cluster_token
        id = id_of(urls, token, str(time_ns()))

        def encode(answer: Answer) -> bytes:
            [added] = [one for one in answer.result.members if one.id == id]
            return _bytes(rpc_pb2.MemberAddResponse(member=_member(added)), answer)

        self.services.ask(call, MemberAdd("", request.isLearner, urls, id), encode)

    def _check_connected(self) -> None:
        """As in etcd nobody is added, not even a learner, while a voter cannot be reached; a
        connection is gone long before the leader misses the member. Raises: Unhealthy.
        """
        member = self.services.member
        node = member.node
        voters = (node.machine.directory.get(name) for name in node.raft.conf.voters)
        there = {node.name, *member.transport.connected}
        gone = [one.node for one in voters if one and one.name and one.node not in there]
        if gone and member.config.strict_reconfig_check:
            raise Unhealthy(hint=f"no connection to {', '.join(gone)}")

    def remove(self, call: Call, request: Any) -> None:
        """The number is never given to another."""
        self._ask(call, MemberRemove("", request.ID), rpc_pb2.MemberRemoveResponse)

    def update(self, call: Call, request: Any) -> None:
        """Of a member that is not there the URLs do not matter. Raises: BadMemberUrls."""
        there = self.services.member.node.node_of(request.ID) is not None
        changed = MemberUpdate(request.ID, checked(request.peerURLs) if there else ())
        self._ask(call, changed, rpc_pb2.MemberUpdateResponse)

    def promote(self, call: Call, request: Any) -> None:
        """The leader looks whether the learner has caught up."""
        self._ask(call, MemberPromote("", request.ID), rpc_pb2.MemberPromoteResponse)

    def list(self, call: Call, request: Any) -> None:
        """Not linearizable: as this member knows, also where there is no leader."""
        self._ask(call, MemberList(request.linearizable), rpc_pb2.MemberListResponse)

    def _ask(self, call: Call, request: Any, response: type) -> None:
        self.services.ask(call, request, lambda answer: _bytes(response(), answer))


def checked(urls: Any) -> tuple[str, ...]:
    """Peer URLs in etcd's order. Raises: BadMemberUrls.

    >>> checked(["http://b:1", " http://a:1"])
    ('http://a:1', 'http://b:1')
    >>> checked(["http://a"])
    Traceback (most recent call last):
    kvlearn.errors.BadMemberUrls: etcdserver: given member URLs are invalid ('http://a')
    """
    if not urls:
        raise BadMemberUrls(hint="there is none")
    return tuple(sorted(map(_checked, urls)))


def _checked(url: str) -> str:
    url = url.strip()
    try:
        parts = urlsplit(url)
        port = parts.port is not None or parts.scheme.startswith("unix")
        if parts.scheme in SCHEMES and port and not parts.path and " " not in url:
            return url
    except ValueError:
        pass  # a port that is no number
    raise BadMemberUrls(hint=repr(url))


def _bytes(response: Any, answer: Answer) -> bytes:
    header: Header = answer.header
    response.header.cluster_id, response.header.member_id = header.cluster_id, header.member_id
    response.header.raft_term = header.raft_term
    response.members.extend(map(_member, answer.result.members))
    return response.SerializeToString()


def _member(one: Member) -> Any:
    urls = dict(peerURLs=one.peer_urls, clientURLs=one.client_urls)
    return rpc_pb2.Member(ID=one.id, name=one.name, isLearner=one.learner, **urls)
