"""The rules in isolation: each as a table, each with a docstring, each asked where it is needed.

That a broken rule breaks a promise is shown elsewhere; here every rule is shown to be *asked*: a
Raft that overrides it behaves differently.
"""

import inspect
import re
from dataclasses import replace

import pytest

from kvlearn.raft import Entry, EntryID, HardState, Raft, ReadState, admission
from kvlearn.raft.confchange import Change, ConfChange
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    RequestVote,
)
from kvlearn.raft.rules import Rules
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, entries_of

RULES = (
    "may_vote_for hard_state is_up_to_date election_result in_lease quorum_active "
    "log_matches store_entries quorum_index may_commit commit_for own_match "
    "may_read read_quorum holds_lease may_reconfigure wants_snapshot"
).split()


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_one_short_sentence_with_its_source(rule):
    method = vars(Rules)[rule]
    doc = inspect.getdoc(method)
    assert doc.endswith(").") and any(c.isdigit() for c in doc), f"{rule} names no section"
    code = inspect.getsource(method).split('"""')[-1].strip().splitlines()
    assert 1 <= len([line for line in code if line.strip()]) <= 9


def test_the_rules_are_the_last_section():
    source = inspect.getsource(Rules)
    last = source[source.index("# Rules ---") :]
    assert re.findall(r"^    def (\w+)", last, re.MULTILINE) == RULES


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_asked(rule):
    """And not at many places: whoever breaks it must know what that changes."""
    places = "".join(map(inspect.getsource, (Rules, Raft, admission)))
    asked = re.findall(rf"\b(?:self|raft)\.{rule}\b", places)
    assert 1 <= len(asked) <= 3


@pytest.mark.parametrize(
    "vote, candidate, may",
    [(None, "n2", True), ("n2", "n2", True), ("n3", "n2", False), ("n1", "n2", False)],
)
def test_may_vote_for(vote, candidate, may):
    assert Member(term=1, vote=vote).raft.may_vote_for(candidate) is may


@pytest.mark.parametrize(
    "last, yes",
    [
        (EntryID(2, 3), True),
        (EntryID(2, 4), True),
        (EntryID(2, 2), False),
        (EntryID(3, 1), True),
        (EntryID(1, 9), False),
        (ZERO, False),
    ],
)
def test_is_up_to_date(last, yes):
    assert Member(terms=(1, 1, 2)).raft.is_up_to_date(last) is yes


def test_hard_state():
    raft = Member(terms=(1, 1), term=4, vote="n3", commit=1).raft
    assert raft.hard_state() == HardState(4, "n3", 1)


@pytest.mark.parametrize(
    "votes, result",
    [
        ({"n1": True}, "pending"),
        ({"n1": True, "n2": True}, "won"),
        ({"n2": False, "n3": False}, "lost"),
    ],
)
def test_election_result(votes, result):
    raft = Member().raft
    raft.votes = votes
    assert raft.election_result() == result


@pytest.mark.parametrize(
    "prev, yes",
    [(ZERO, True), (EntryID(1, 2), True), (EntryID(2, 2), False), (EntryID(2, 4), False)],
)
def test_log_matches(prev, yes):
    assert Member(terms=(1, 1, 2)).raft.log_matches(prev) is yes


@pytest.mark.parametrize(
    "mine, theirs, after",
    [
        ((1, 1, 1), (1, 1), [1, 1, 1]),
        ((1, 1, 1), (), [1, 1, 1]),
        ((1, 1, 1), (1, 2), [1, 2]),
        ((1,), (1, 1, 2), [1, 1, 2]),
        ((), (3,), [3]),
    ],
)
def test_store_entries(mine, theirs, after):
    member = Member(terms=mine)
    member.raft.store_entries(entries_of(*theirs))
    assert member.terms == after


@pytest.mark.parametrize(
    "own, others, index", [(5, (3, 4), 4), (5, (0, 0), 0), (2, (5, 5), 5), (2, (3, 0), 2)]
)
def test_quorum_index(own, others, index):
    member = Member(terms=(1,) * 5).lead()
    raft = member.raft
    raft.log.stable = own
    for peer, match in zip(raft.peers, others):
        raft.progress[peer].match = match
    assert raft.quorum_index() == index


@pytest.mark.parametrize("index, may", [(1, False), (3, False), (4, True)])
def test_may_commit(index, may):
    member = Member(terms=(1, 1, 2)).lead()  # its no-op is 4@3
    assert member.raft.may_commit(index) is may


@pytest.mark.parametrize("match, committed, told", [(1, 3, 1), (3, 3, 3), (4, 3, 3), (0, 3, 0)])
def test_commit_for(match, committed, told):
    member = Member(terms=(1,) * 3, commit=committed).lead()
    member.raft.progress["n2"].match = match
    assert member.raft.commit_for("n2") == told


def test_own_match():
    member = Member().lead()
    member.raft.propose("x")
    assert member.raft.own_match() == 1 and member.raft.log.last_index == 2


def test_may_read():
    member = Member(terms=(1, 1), commit=2).lead()
    assert not member.raft.may_read(), "2@1 is committed, but 3@2 is not"
    member.hear(AppendResponse("n2", "n1", 2, 3))
    assert member.raft.may_read()


@pytest.mark.parametrize(
    "acks, yes",
    [({"n1"}, False), ({"n1", "n4"}, False), ({"n1", "n2"}, True), ({"n2", "n3"}, True)],
)
def test_read_quorum(acks, yes):
    assert Member().raft.read_quorum(acks) is yes


# Broken on purpose --------------------------------------------------------------------------


def broken(rule: str, outcome) -> type[Raft]:
    """Raft with one rule that always says the same."""
    return type("Broken", (Raft,), {rule: lambda self, *args: outcome})


def test_without_may_vote_for_it_votes_twice():
    member = Member(raft=broken("may_vote_for", True))
    answers = member.hear(RequestVote("n2", "n1", 1, ZERO), RequestVote("n3", "n1", 1, ZERO))
    assert [answer.granted for answer in answers] == [True, True]


def test_without_is_up_to_date_it_votes_for_a_log_that_is_behind():
    member = Member(raft=broken("is_up_to_date", True), terms=(1,))
    [answer] = member.hear(RequestVote("n2", "n1", 2, ZERO))
    assert answer.granted


def test_without_hard_state_a_vote_does_not_survive():
    member = Member(raft=broken("hard_state", HardState(1, None, 0)))
    member.hear(RequestVote("n2", "n1", 1, ZERO))
    [answer] = member.again().hear(RequestVote("n3", "n1", 1, ZERO))
    assert answer.granted, "twice in one term"


def test_without_election_result_it_leads_alone():
    member = Member(conf=5, raft=broken("election_result", "won"))
    member.raft.campaign(), member.drive()
    assert member.raft.role == "leader"


def test_without_log_matches_a_follower_leaves_out_what_it_lacks():
    member = Member(raft=broken("log_matches", True), terms=(1, 1))
    message = AppendEntries("n2", "n1", 2, EntryID(2, 2), (Entry(3, 2),), 0)
    [answer] = member.hear(message)
    assert answer.match == 3 and member.terms == [1, 1, 2]


def test_without_store_entries_nothing_is_stored():
    member = Member(raft=broken("store_entries", None))
    member.hear(AppendEntries("n2", "n1", 1, ZERO, entries_of(1), 0))
    assert member.terms == []


def test_without_quorum_index_and_may_commit_it_commits_what_it_likes():
    eager = Member(raft=broken("quorum_index", 1)).lead()
    eager.hear(AppendResponse("n2", "n1", 1, 1))
    assert eager.raft.log.committed == 1
    old = Member(terms=(1, 1), raft=broken("may_commit", True)).lead()
    old.hear(AppendResponse("n2", "n1", 2, 2))
    assert old.raft.log.committed == 2, "an entry of an old term, by counting"


def test_without_commit_for_a_heartbeat_says_too_much():
    member = Member(conf=3, raft=broken("commit_for", 7)).lead()
    member.raft.tick()
    assert {m.commit for m in member.drive() if isinstance(m, Heartbeat)} == {7}


def test_without_own_match_it_counts_a_disk_that_still_writes():
    member = Member(raft=broken("own_match", 99)).lead()
    member.hear(AppendResponse("n2", "n1", 1, 1))
    member.raft.propose("x")
    member.raft.ready()  # not saved
    member.raft.step(AppendResponse("n2", "n1", 1, 2))
    assert member.raft.log.committed == 2


def test_without_may_read_a_new_leader_reads_too_early():
    member = Member(terms=(1, 1), raft=broken("may_read", True)).lead()
    member.raft.read_index("r"), member.drive()
    member.hear(HeartbeatResponse("n2", "n1", 2, 1))
    assert member.reads[0].index == 0


def test_without_read_quorum_it_asks_nobody():
    member = Member(raft=broken("read_quorum", True)).lead()
    member.hear(AppendResponse("n2", "n1", 1, 1))
    member.raft.read_index("r"), member.drive()
    assert member.reads == [ReadState("r", 1)], "nobody has answered"


def test_without_in_lease_a_follower_helps_to_depose_a_leader():
    config = replace(CALM, check_quorum=True)
    for rule, votes in ((Raft, 0), (broken("in_lease", False), 1)):
        member = Member(config=config, raft=rule)
        member.hear(Heartbeat("n2", "n1", 1, 0))
        assert len(member.hear(RequestVote("n3", "n1", 2, ZERO))) == votes


def test_without_quorum_active_a_leader_leads_on_alone():
    config = replace(CALM, check_quorum=True)
    member = Member(config=config, raft=broken("quorum_active", True)).lead()
    member.raft.tick(500)
    assert member.raft.role == "leader"


def test_without_holds_lease_it_reads_without_any_heartbeat():
    member = Member(raft=broken("holds_lease", True)).lead()
    member.hear(AppendResponse("n2", "n1", 1, 1))
    member.raft.read_index("r")
    assert member.drive() == [] and member.reads == [ReadState("r", 1)]


def test_without_may_reconfigure_a_second_change_overtakes_the_first():
    member = Member(raft=broken("may_reconfigure", True)).lead()
    for node in ("n4", "n5"):
        member.raft.propose(ConfChange((Change(node),)))
    assert member.raft.log.last_index == 3


def test_without_wants_snapshot_an_old_one_replaces_what_is_newer():
    member = Member(terms=(1, 1, 1), commit=3, raft=broken("wants_snapshot", True))
    member.drive()
    conf = member.raft.conf
    member.hear(InstallSnapshot("n2", "n1", 2, EntryID(2, 2), conf, 0, (), 0))
    assert member.raft.log.committed == 2, "it was 3"
