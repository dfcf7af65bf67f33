"""Numbers, names and URLs of real members: who is who, and that all nodes agree on it."""

from dataclasses import replace

import pytest

from kvlearn.errors import (
    BadMemberUrls,
    InvalidArgument,
    MemberExists,
    MemberNotFound,
    NotEnoughStarted,
    PeerUrlsExist,
    RequestError,
)
from kvlearn.kv.directory import (
    Directory,
    MemberInfo,
    MemberUpdate,
    Publish,
    cluster_id_of,
    founded,
    id_of,
    listed,
)
from kvlearn.kv.machine import DIRECTORY, KVMachine
from kvlearn.kv.members import (
    MemberAdd,
    MemberChange,
    MemberList,
    MemberPromote,
    MemberRemove,
)
from kvlearn.kv.requests import Command, Put
from kvlearn.kv.upkeep import Status
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.node import CONF
from kvlearn.raft.confchange import Change, ConfChange
from kvlearn.raft.messages import AppendEntries, Heartbeat, ReadIndexResponse
from kvlearn.raft.types import ZERO, ConfState, Entry, HardState
from tests.raft.net import CALM
from tests.test_node import Held

STRICT = replace(CALM, strict_reconfig=True)
TWO, THREE = ("http://b:1",), ("http://c:1",)
FOUNDED = founded({"n1": ("http://a:1",), "n2": TWO, "n3": THREE}, "token")
NEW = ("http://d:1",)


def conf(*voters: str, learners: tuple = ()) -> ConfState:
    return ConfState(voters, learners=learners)


def test_numbers_are_those_that_etcd_gives():
    """Seen on etcd 3.5.1 with these URLs and this token."""
    urls = {f"e{k}": (f"http://127.0.0.1:{24301 + 2 * k}",) for k in (1, 2, 3)}
    directory = founded(urls, "tok")
    assert cluster_id_of(directory.founders) == 17599744451935164482
    assert {one.node: one.id for one in directory.members} == {
        "e1": 14528046858423808708,
        "e2": 5552662250462384302,
        "e3": 9931909303474334301,
    }


def test_an_added_member_gets_a_number_of_its_own():
    numbers = {id_of(NEW, "token", moment) for moment in ("", "1", "2")}
    assert len(numbers) == 3 and all(0 < number < 1 << 64 for number in numbers)
    assert id_of(("http://b", "http://a"), "t") == id_of(("http://a", "http://b"), "t")


def test_a_name_and_a_number_never_come_back():
    directory = FOUNDED
    for k in (4, 5, 6):
        add = directory.named(MemberAdd(peer_urls=NEW, id=k))
        assert add.name == f"n{k}"
        directory = directory.after(add)
        assert directory.node_of(k) == f"n{k}" and directory.number(f"n{k}") == k
        directory = directory.after(directory.named(MemberRemove(id=k)))
        assert directory.node_of(k) is None and directory.number(f"n{k}") == k
    with pytest.raises(MemberExists):
        directory.after(MemberAdd("n9", False, NEW, 5))
    with pytest.raises(MemberExists):
        directory.after(MemberAdd("n5", False, NEW, 99))
    with pytest.raises(MemberNotFound):
        directory.named(MemberRemove(id=5))


def test_names_of_founders_may_be_any():
    directory = founded({"infra": TWO, "n07": THREE}, "")
    assert directory.named(MemberAdd(peer_urls=NEW, id=1)).name == "n8"


def test_what_becomes_of_a_member():
    directory = FOUNDED.after(MemberAdd("n4", False, NEW, 5))
    assert directory.members[0] == MemberInfo("n4", 5, "", NEW)
    directory = directory.after(Publish("n4", "d", ("http://d:2",)))
    directory = directory.after(MemberUpdate(5, ("http://e:1",)))
    assert directory.get("n4") == MemberInfo("n4", 5, "d", ("http://e:1",), ("http://d:2",))
    told = [str(Publish("n4", "d")), str(Publish("n1", "n1"))]
    assert told == ["publish n4 as d", "publish n1"]  # the verb first, as in all entries
    removed = directory.after(MemberRemove("n4"))
    assert removed.members == FOUNDED.members and removed.founders == FOUNDED.founders
    assert removed.after(Publish("n4", "late")) == removed, "told in vain"


@pytest.mark.parametrize(
    "request_, error",
    [
        (MemberAdd("n4", False, TWO, 5), PeerUrlsExist),
        (MemberAdd("n4", False, (*NEW, *TWO), 5), PeerUrlsExist),
        (MemberUpdate(FOUNDED.number("n1"), THREE), PeerUrlsExist),
        (MemberUpdate(4, NEW), MemberNotFound),
    ],
    ids=str,
)
def test_what_an_entry_cannot_change(request_, error):
    with pytest.raises(error):
        FOUNDED.after(request_)


def test_a_member_may_keep_its_own_urls():
    number = FOUNDED.number("n2")
    assert FOUNDED.after(MemberUpdate(number, TWO)) == FOUNDED


@pytest.mark.parametrize(
    "request_, error",
    [
        (MemberAdd(id=4), BadMemberUrls),
        (MemberAdd("n4"), BadMemberUrls),
        (MemberRemove(), MemberNotFound),
        (MemberRemove(id=4), MemberNotFound),
        (MemberPromote(id=4), MemberNotFound),
        (MemberPromote("n9"), MemberNotFound),
        (MemberChange(add=("n4",)), InvalidArgument),
    ],
    ids=str,
)
def test_whom_a_request_cannot_mean(request_, error):
    with pytest.raises(error):
        FOUNDED.named(request_)


def test_by_name_or_by_number():
    number = FOUNDED.number("n2")
    assert FOUNDED.named(MemberRemove(id=number)).name == "n2"
    assert FOUNDED.named(MemberRemove("n2")).name == "n2"


@pytest.mark.parametrize(
    "started, request_, fine",
    [
        ("n1", MemberAdd("n2"), True),  # how a cluster of one grows
        ("n1 -n2", MemberAdd("n3"), False),
        ("n1 n2 -n3", MemberAdd("n4"), False),
        ("n1 n2 n3", MemberAdd("n4"), True),
        ("n1 n2 n3 -n4", MemberAdd("n5"), True),
        ("n1 -n2", MemberAdd("n3", learner=True), True),
        ("n1", MemberRemove("n1"), False),
        ("n1 -n2", MemberRemove("n2"), True),
        ("n1 -n2", MemberRemove("n1"), False),
        ("n1 n2 -n3", MemberRemove("n1"), False),
        ("n1 n2 n3", MemberRemove("n1"), True),
        ("n1 ~n2", MemberRemove("n2"), True),
        ("n1 ~n2", MemberPromote("n2"), True),
        ("n1 -n3 ~n2", MemberPromote("n2"), True),
        ("n1 -n3 -n4 ~n2", MemberPromote("n2"), False),
        ("n1 -n2", MemberPromote("n2"), True),  # no learner: refused elsewhere
    ],
)
def test_those_that_have_started_stay_a_majority(started, request_, fine):
    """-n2 has not started, ~n2 is a learner."""
    signs = {name.lstrip("-~"): name for name in started.split()}
    shown = {name: "" if sign[0] == "-" else name for name, sign in signs.items()}
    members = [MemberInfo(name, k, shown[name]) for k, name in enumerate(signs)]
    learners = tuple(name for name, sign in signs.items() if sign[0] == "~")
    now = conf(*(name for name in signs if name not in learners), learners=learners)
    directory = Directory.of(tuple(members))
    if fine:
        directory.check_started(request_, now)
    else:
        with pytest.raises(NotEnoughStarted):
            directory.check_started(request_, now)


def test_members_are_listed_by_their_numbers():
    directory = FOUNDED.after(MemberAdd("n4", True, NEW, 5))
    told = listed(directory, conf("n1", "n2", "n3", learners=("n4",))).members
    assert [one.id for one in told] == sorted(one.id for one in told)
    assert (told[0].id, told[0].name, told[0].learner, told[0].peer_urls) == (5, "", True, NEW)
    assert not any(one.learner for one in told[1:])


def test_without_numbers_nothing_has_changed():
    assert [one.id for one in listed(Directory(), conf("n1", "n2")).members] == [1, 2]
    machine = KVMachine(MemoryBackend())
    machine.apply(1, 1, None)
    assert DIRECTORY not in dict(fact for fact in machine.save() if isinstance(fact[0], str))


# In a node ----------------------------------------------------------------------------------


def real(size: int, config=STRICT, **about) -> Held:
    """A node that has numbers, in the hand."""
    urls = {f"n{k}": (f"http://{'abc'[k - 1]}:1",) for k in range(1, size + 1)}
    directory = founded(urls, "token")
    number = cluster_id_of(directory.founders)
    return Held(size, config=config, founders=directory.founders, cluster_id=number, **about)


def test_a_member_is_added_by_its_urls():
    held = real(1).lead()
    [answer] = held.ask(7, MemberAdd(peer_urls=NEW, id=99))
    assert {one.id for one in answer.result.members} == {held.node.member_id_of("n1"), 99}
    assert held.node.raft.conf.voters == ("n1", "n2") and held.node.node_of(99) == "n2"
    assert held.backend.get_meta(CONF) == held.node.raft.conf
    assert held.backend.get_meta(DIRECTORY).node_of(99) == "n2"


def test_headers_and_status_have_the_numbers():
    held = real(1).lead()
    [answer] = held.ask(7, Status())
    own = held.node.machine.directory.number("n1")
    assert own > 1 << 32
    assert answer.header.member_id == answer.result.leader == own
    assert answer.header.cluster_id == held.node.cluster_id


def test_a_follower_asks_first_who_the_members_are():
    """Its directory may be old: a member that was added a moment ago is found nevertheless."""
    held = real(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    assert held.ask(7, MemberPromote(id=99)) == []
    added = Command("n2", 3, MemberAdd("n4", True, NEW, 99))
    entry = Entry(1, 1, ConfChange((Change("n4", "learner"),), asked=added))
    held.hear(AppendEntries("n2", "n1", 1, ZERO, (entry,), 1))
    answers = held.hear(ReadIndexResponse("n2", "n1", 1, 7, 1))
    assert answers == [], "the promotion is on its way"
    assert str(held.sent[-1].data) == "+n4"


def test_a_change_of_the_directory_and_of_raft_are_one():
    """The second entry gives URLs that are taken meanwhile: neither of the two changes."""
    held = real(3)
    changes = [
        ConfChange((Change(name),), asked=Command("n1", op, MemberAdd(name, False, NEW, op)))
        for name, op in (("n4", 8), ("n5", 9))
    ]
    entries = tuple(Entry(k, 1, change) for k, change in enumerate(changes, 1))
    held.node._writes |= {8, 9}
    first, second = held.hear(AppendEntries("n2", "n1", 1, ZERO, entries, 2))
    assert (first.error, second.error) == ("", "PeerUrlsExist")
    assert held.node.raft.conf.voters == ("n1", "n2", "n3", "n4")
    assert held.node.machine.directory.node_of(9) is None
    assert held.node.machine.applied == 2


def test_what_does_not_fit_raft_leaves_the_directory_alone():
    """The last voter cannot go; a leader refuses that at its door, so the entry is forged."""
    held = real(1, config=CALM)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    held.node._writes.add(8)
    gone = ConfChange((Change("n1", "gone"),), asked=Command("n1", 8, MemberRemove("n1")))
    [answer] = held.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, gone),), 1))
    assert answer.error == "Unavailable" and held.node.machine.applied == 1
    assert held.node.raft.conf.voters == ("n1",) and held.node.machine.directory.get("n1")


@pytest.mark.parametrize(
    "request_, error",
    [
        (MemberAdd(peer_urls=("http://a:1",), id=9), "PeerUrlsExist"),
        (MemberAdd("n4"), "BadMemberUrls"),
        (MemberRemove(id=9), "MemberNotFound"),
        (MemberRemove("n1"), "NotEnoughStarted"),
        (MemberUpdate(9, NEW), "MemberNotFound"),
        (MemberPromote("n1"), "MemberNotLearner"),
    ],
    ids=str,
)
def test_what_a_cluster_of_one_refuses(request_, error):
    held = real(1).lead()
    [answer] = held.ask(7, request_)
    assert answer.error == error
    assert held.node.raft.conf.members == ("n1",)


def test_an_update_is_answered_with_all_members():
    held = real(1).lead()
    own = held.node.member_id_of("n1")
    [answer] = held.ask(7, MemberUpdate(own, NEW))
    assert [one.peer_urls for one in answer.result.members] == [NEW]
    [answer] = held.ask(8, Publish("n1", "shown", ("http://x:2",)))
    [answer] = held.ask(9, MemberList())
    assert [(one.name, one.client_urls) for one in answer.result.members] == [
        ("shown", ("http://x:2",))
    ]


def test_it_survives_a_restart():
    held = real(1).lead()
    held.ask(7, Publish("n1", "shown"))
    log = tuple(held.node.raft.log.entries)
    again = real(1, backend=held.backend, entries=log, hard_state=HardState(1, "n1", 2), boot=2)
    assert again.node.machine.directory.get("n1").name == "shown"
    assert again.node.member_id_of("n1") == held.node.member_id_of("n1")


def test_whoever_joins_gets_it_by_log_or_by_snapshot():
    held = real(1).lead()
    held.ask(6, Put(b"a", b"1"))
    held.ask(7, MemberAdd(peer_urls=NEW, id=99, learner=True))
    directory = held.node.machine.directory
    log = tuple(held.node.raft.log.entries)
    founders = dict(founders=directory.founders, conf=conf("n1"), joins=3)
    by_log = Held(name="n2", config=STRICT, **founders)
    by_log.hear(AppendEntries("n1", "n2", 1, ZERO, log, len(log)))
    snapshot = held.node._snapshot()
    at = dict(snapshot=snapshot, base=snapshot.last, hard_state=HardState(1, "n1", 3))
    by_snapshot = Held(name="n2", config=STRICT, **founders, **at)
    for joined in (by_log, by_snapshot):
        assert joined.node.machine.directory == directory
        assert joined.node.header().member_id == 99
    assert by_snapshot.node.machine.save() == by_log.node.machine.save()


def test_members_choose_different_leases():
    """Numbers of 64 bits may end alike; the order in which members came does not."""
    alike = tuple(MemberInfo(f"n{k}", k << 20, f"n{k}") for k in (1, 2))
    granted = set()
    for name in ("n1", "n2"):
        held = Held(name=name, conf=conf("n1", "n2"), config=STRICT, founders=alike)
        granted.add(held.node._new_lease())
    assert len(granted) == 2


def test_errors_have_etcd_s_words():
    told = {kind.text: kind.code for kind in (NotEnoughStarted, PeerUrlsExist, BadMemberUrls)}
    assert told == {
        "etcdserver: re-configuration failed due to not enough started members": "UNKNOWN",
        "etcdserver: Peer URLs already exists": "FAILED_PRECONDITION",
        "etcdserver: given member URLs are invalid": "INVALID_ARGUMENT",
    }
    assert issubclass(NotEnoughStarted, RequestError)
