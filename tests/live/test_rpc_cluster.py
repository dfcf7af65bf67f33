"""Members through etcd's Cluster service: whoever is asked, in etcd's words."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("google.protobuf", reason="etcd's messages are protobuf")
pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.errors import BadMemberUrls
from kvlearn.kv.directory import MemberInfo
from kvlearn.kv.requests import Put
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.live.rpc import Services
from kvlearn.live.rpc_cluster import checked
from tests.live.calls import KeptCall
from tests.live.fakes import InProcess

CLUSTER = "/etcdserverpb.Cluster/Member"
URL = "http://127.0.0.1:1"  # nobody listens there
STRANGER = 12345


class Site:
    """Members in one process, and the service of each."""

    def __init__(self, *names: str):
        self.names = names

    async def __aenter__(self) -> Site:
        self.cluster = await InProcess.of(*self.names)
        await self.cluster.leader()
        self.at = {name: Services(member) for name, member in self.cluster.members.items()}
        for name in self.names:  # all have told where their clients find them
            await self.until(lambda: all(one.client_urls for one in self.shown(name)))
        return self

    async def __aexit__(self, *error) -> None:
        await self.cluster.__aexit__()

    async def until(self, holds) -> None:
        await self.cluster.until(holds)

    def shown(self, name: str) -> tuple[MemberInfo, ...]:
        """What a member knows of all."""
        return self.cluster.members[name].node.machine.directory.members

    async def ask(self, name: str, verb: str, **asked):
        """What the member `name` answers; (code, text) where it refuses."""
        request = getattr(rpc, f"Member{verb}Request")(**asked)
        return await KeptCall(self.at[name], CLUSTER + verb, request).answer()

    def id(self, name: str) -> int:
        return self.cluster.members[name].id


def play(*names: str):
    """A test with these members."""

    def decorate(test):
        def played():
            async def within():
                async with Site(*names) as site:
                    await test(site)

            asyncio.run(asyncio.wait_for(within(), 60))

        played.__name__, played.__doc__ = test.__name__, test.__doc__
        return played

    return decorate


@play("n1", "n2", "n3")
async def test_all_members_are_listed_by_their_numbers(site):
    for name in site.names:
        told = await site.ask(name, "List", linearizable=True)
        assert [one.ID for one in told.members] == sorted(site.id(n) for n in site.names)
        assert {one.name for one in told.members} == {*site.names}
        assert all(one.peerURLs and one.clientURLs for one in told.members)
        header = told.header
        assert header.member_id == site.id(name) and header.cluster_id and header.raft_term
        assert header.revision == 0, "a change of members changes no key"


@play("n1", "n2", "n3")
async def test_a_learner_comes_and_goes_through_any_member(site):
    leader = await site.cluster.leader()
    follower, other = (name for name in site.names if name != leader)
    added = await site.ask(follower, "Add", peerURLs=["http://127.0.0.1:2", URL], isLearner=True)
    assert list(added.member.peerURLs) == [URL, "http://127.0.0.1:2"]
    assert (added.member.name, added.member.isLearner) == ("", True)
    assert len(added.members) == 4 and added.member in added.members
    second = await site.ask(leader, "Add", peerURLs=["http://127.0.0.1:3"], isLearner=True)
    assert second == (
        "FAILED_PRECONDITION",
        "etcdserver: too many learner members in cluster",
    )
    taken = await site.ask(leader, "Add", peerURLs=[URL], isLearner=True)
    assert taken == ("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists")
    early = await site.ask(other, "Promote", ID=added.member.ID)
    text = "etcdserver: can only promote a learner member which is in sync with leader"
    assert early == ("FAILED_PRECONDITION", text)
    removed = await site.ask(other, "Remove", ID=added.member.ID)
    assert len(removed.members) == 3
    again = await site.ask(follower, "Remove", ID=added.member.ID)
    assert again == ("NOT_FOUND", "etcdserver: member not found")


@play("n1")
async def test_the_same_urls_get_another_number_and_name_next_time(site):
    seen = set()
    for _ in range(3):
        added = await site.ask("n1", "Add", peerURLs=[URL], isLearner=True)
        seen.add(added.member.ID)
        await site.ask("n1", "Remove", ID=added.member.ID)
    directory = site.cluster.members["n1"].node.machine.directory
    assert len(seen) == 3 and [node for node, _ in directory.ever] == ["n1", "n2", "n3", "n4"]


@play("n1")
async def test_a_learner_that_has_caught_up_gets_a_vote(site):
    for k in range(20):
        await site.cluster.ask("n1", Put(b"%d" % k))
    added = await site.cluster.add("n2", learner=True)
    log = site.cluster.members["n1"].node.raft.log
    await site.until(lambda: added.node.machine.applied == log.last_index and not added._ops)
    refused = await KeptCall(Services(added), CLUSTER + "List", rpc.MemberListRequest()).answer()
    assert refused == ("UNAVAILABLE", "etcdserver: rpc not supported for learner")
    promoted = await site.ask("n1", "Promote", ID=added.id)
    assert [one.isLearner for one in promoted.members] == [False, False]
    again = await site.ask("n1", "Promote", ID=added.id)
    assert again == ("FAILED_PRECONDITION", "etcdserver: can only promote a learner member")


@play("n1", "n2", "n3")
async def test_a_member_that_removes_itself_is_told_so(site):
    leader = await site.cluster.leader()
    gone = next(name for name in site.names if name != leader)
    number = site.id(gone)
    removed = await site.ask(gone, "Remove", ID=number)
    assert number not in {one.ID for one in removed.members} and len(removed.members) == 2
    stopped = site.cluster.members.pop(gone)
    assert stopped.node.is_outside
    await stopped.stop()


@play("n1", "n2", "n3")
async def test_the_leader_may_be_removed(site):
    leader = await site.cluster.leader()
    left = [name for name in site.names if name != leader]
    removed = await site.ask(left[0], "Remove", ID=site.id(leader))
    assert len(removed.members) == 2
    stopped = site.cluster.members.pop(leader)
    assert await site.cluster.leader() in left
    assert not (await site.cluster.ask(left[0], Put(b"a"))).error
    await stopped.stop()


@play("n1", "n2", "n3")
async def test_no_voter_comes_and_none_goes_while_another_is_away(site):
    leader = await site.cluster.leader()
    down, up = (name for name in site.names if name != leader)
    await site.cluster.kill(down)
    left = {name: site.cluster.members[name].node.raft for name in (leader, up)}

    def is_missed() -> bool:
        leads = [raft for raft in left.values() if raft.role == "leader"]
        ticks = [raft.now - raft.progress[down].heard for raft in leads]
        return any(silent >= raft.config.election_ticks for raft, silent in zip(leads, ticks))

    for name, other in ((leader, up), (up, leader)):
        for asked in (dict(verb="Add", peerURLs=[URL]), dict(verb="Remove", ID=site.id(other))):
            await site.until(is_missed)
            refused = await site.ask(name, **asked)
            assert refused == ("UNAVAILABLE", "etcdserver: unhealthy cluster")
    assert len((await site.ask(up, "List", linearizable=True)).members) == 3


@play("n1")
async def test_what_a_cluster_of_one_refuses(site):
    own = site.id("n1")
    [me] = site.shown("n1")
    unknown = "NOT_FOUND", "etcdserver: member not found"
    invalid = "INVALID_ARGUMENT", "etcdserver: given member URLs are invalid"
    few = "etcdserver: re-configuration failed due to not enough started members"
    exists = "FAILED_PRECONDITION", "etcdserver: Peer URLs already exists"
    for asked, refused in (
        (dict(verb="Remove", ID=own), ("UNKNOWN", few)),
        (dict(verb="Remove", ID=STRANGER), unknown),
        (dict(verb="Remove", ID=0), unknown),
        (dict(verb="Promote", ID=STRANGER), unknown),
        (dict(verb="Update", ID=STRANGER, peerURLs=[URL]), unknown),
        (dict(verb="Update", ID=own, peerURLs=["bad"]), invalid),
        (dict(verb="Add", peerURLs=[]), invalid),
        (dict(verb="Add", peerURLs=["bad"]), invalid),
        (dict(verb="Add", peerURLs=me.peer_urls), exists),
    ):
        assert await site.ask("n1", **asked) == refused, asked
    assert site.shown("n1") == (me,)


@play("n1")
async def test_a_member_moves(site):
    moved = await site.ask("n1", "Update", ID=site.id("n1"), peerURLs=["http://127.0.0.1:3", URL])
    assert [list(one.peerURLs) for one in moved.members] == [[URL, "http://127.0.0.1:3"]]
    [info] = site.shown("n1")
    assert info.peer_urls == (URL, "http://127.0.0.1:3")


@pytest.mark.parametrize(
    "url",
    [
        *("", "bad", "http://127.0.0.1", "ftp://127.0.0.1:1", "http://a:1/", "http://a:1/x"),
        *("http://a b:1", "http://a:b", "http://a:99999"),
    ],
)
def test_what_is_no_peer_url(url):
    with pytest.raises(BadMemberUrls):
        checked([url])


@pytest.mark.parametrize("url", ["http://a:1", "https://[::1]:2", "unix://a:1", " http://a:1 "])
def test_what_is_one(url):
    assert checked([url]) == (url.strip(),)
