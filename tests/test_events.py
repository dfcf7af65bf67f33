"""The vocabulary of the story: each event is one English line, each reason code one sentence, and
the core uses every one of them."""

import dataclasses
import re
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest

import kvlearn
from kvlearn import Cluster, Links, events
from kvlearn.errors import ProposalDropped
from kvlearn.events import REASONS, Dropped, Event, Refused, facts, sentence, span
from kvlearn.kv.requests import Put, Range
from kvlearn.kv.watches import WatchCreate
from kvlearn.mvcc.watch import WatchResponse
from kvlearn.raft import ConfState, Entry, EntryID, HardState, raft
from kvlearn.raft.confchange import GONE, Change, ConfChange
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    Heartbeat,
    InstallSnapshot,
    ReadIndex,
    RequestVote,
    VoteResponse,
)
from kvlearn.raft.types import ZERO
from kvlearn.values import VOCABULARY, from_json, to_json
from tests.raft.net import CALM, Member
from tests.sim.busy import busy

KINDS = sorted(
    (
        kind
        for kind in VOCABULARY.values()
        if kind.__module__ == events.__name__ and kind is not Event
    ),
    key=lambda kind: kind.__name__,
)
KNOWN = facts(
    source="n1", target="n2", term=3, theirs=2, mine=4, vote="n3", prev="5@2", entry="4@2",
    leader="n2", ticks=4, to="n4", waiting=9, limit=8, index=7, applied=6, why="nobody would vote",
    node="n4", match=3, last="7@2", committed=7, conf="(n1 n2)",
)  # fmt: skip

CHECKED = replace(CALM, check_quorum=True)
UNFIT = {"NO_VOTERS", "NOT_JOINT"}  # of a ConfChangeError, which is told as CHANGE_WRONG
BEAT = Heartbeat("n1", "n2", 3, 4)
PUT = Put(b"a", b"1")
HIGHER = facts(source="n2", theirs=5, mine=4)
LINES = {  # event -> its line, in the order of events.py
    events.Started(
        2, "n1", (Entry(1, 1),), 1, 1, ("n1",), 2
    ): "starts in term 2 with its log up to 1@1",
    events.Started(2, "n1", (), 7, 7, ("n1",), 2, base=EntryID(2, 7)): (
        "starts in term 2 with its log up to 7@2"
    ),
    events.Started(0, None, (), 0, 0, ("n1",), 1): "starts in term 0 with its log up to 0@0",
    events.BecameFollower(5, None, 10, "HIGHER_TERM", HIGHER): (
        "is a follower in term 5: n2 speaks of term 5, newer than 4"
    ),
    events.BecameFollower(5, "n2", 10, "LEADER_HEARD", facts(source="n2", term=5)): (
        "is a follower of n2 in term 5: n2 leads term 5"
    ),
    events.BecameCandidate(3, EntryID(2, 7), 12, 10): (
        "becomes candidate in term 3: heard no leader for 10 ticks, its log ends at 7@2"
    ),
    events.AskedPreVote(3, EntryID(2, 7), 12, 10): (
        "asks for pre-votes for term 3: heard no leader for 10 ticks, its log ends at 7@2"
    ),
    events.TransferStarted("n2", 4, 6): ("hands leadership to n2, which has 4 of 6 entries"),
    events.TransferAborted("n2"): "keeps leadership: n2 did not take over in time",
    events.ConfChanged(ConfState(("n1",), ("n1", "n2"))): "counts by (n1)&&(n1 n2)",
    events.LogCompacted(EntryID(2, 7), EntryID(2, 9)): (
        "compacts its log up to 7@2; its snapshot is of 9@2"
    ),
    events.SnapshotInstalled(EntryID(2, 9), 12): (
        "replaces its log by the snapshot of 9@2 (12 records)"
    ),
    events.StateLoaded(9, 2, 5): "loads the state of 9@2 (revision 5)",
    events.BecameLeader(3, ("n1", "n2"), ZERO): (
        "becomes leader in term 3 with the votes of n1 n2"
    ),
    events.VoteGranted(3, "n2"): "votes for n2 in term 3",
    events.VoteGranted(3, "n2", True): "would vote for n2 in term 3",
    events.Refused("vote", "n2", 3, "LEADER_ALIVE", facts(leader="n1", ticks=4)): (
        "refuses n2's vote request in term 3: n1 leads, and was heard lately (ticks ago: 4)"
    ),
    events.Refused("snapshot", "n2", 3, "SNAPSHOT_OLD", facts(last="5@2", committed=7)): (
        "refuses n2's snapshot in term 3: 5@2 is not beyond 7, which is committed here"
    ),
    events.Refused("transfer", None, 3, "NO_VOTER", facts(to="n9")): (
        "cannot transfer leadership in term 3: n9 has no vote and cannot lead"
    ),
    events.Refused("campaign", None, 3, "CHANGE_UNAPPLIED"): (
        "does not stand for election in term 3: "
        "it knows of a change of members that is not applied yet"
    ),
    events.Refused("vote", "n2", 3, "VOTE_TAKEN", facts(term=3, vote="n1")): (
        "refuses n2's vote request in term 3: my vote of term 3 went to n1"
    ),
    events.Refused("append", "n2", 3, "LOG_GAP", facts(prev="5@2", mine="3@1")): (
        "refuses n2's entries in term 3: it continues 5@2, and my log ends at 3@1"
    ),
    events.Refused("commit", None, 3, "COMMIT_OLD_TERM", facts(entry="4@2", term=3)): (
        "may not commit in term 3: 4@2 is on a majority, but it is not of my own term 3"
    ),
    events.Refused("proposal", None, 3, "NO_LEADER", facts(term=3)): (
        "cannot take a proposal in term 3: no leader is known in term 3"
    ),
    events.Refused("read", "n2", 3, "READ_NOT_YET", facts(term=3)): (
        "cannot serve a read in term 3: nothing of my own term 3 is committed yet"
    ),
    events.Truncated(3, (EntryID(1, 4), EntryID(1, 5)), EntryID(2, 4)): (
        "drops 4@1 5@1: the leader has 4@2 there"
    ),
    events.Appended((Entry(1, 1), Entry(2, 1, PUT))): "appends 1@1(no-op) 2@1(put a=1)",
    events.Progressed("n2", "replicate", 4, 5): "knows n2 in state replicate: match 4, next 5",
    events.Committed(4, 2, 3): "commits entry 4, up to 4@2",
    events.Committed(6, 2, 3): "commits entries 4 to 6, up to 6@2",
    events.ReadConfirmed(4, ("n1", "n2"), 1): "confirms a read at index 4 with n1 n2",
    events.ReadConfirmed(4, ("n1", "n2"), 3): "confirms 3 reads at index 4 with n1 n2",
    events.ReadConfirmed(4, (), 1): "confirms a read at index 4 by its lease, without asking",
    events.Applied(4, 2, PUT, 5): "applies 4@2: put a=1 (revision 5)",
    events.Applied(1, 2, None, 1): "applies 1@2: a no-op (revision 1)",
    events.Applied(4, 2, PUT, 5, "no"): "applies 4@2: put a=1 (revision 5), refused: no",
    events.Saved(3, "n1", 2, 4, 6): "saved term 3, vote n1, entries 4 to 6",
    events.Saved(3, None, 2): "saved term 3, vote -",
    events.Crashed(5): "crashes; its disk keeps the log up to 5",
    events.Wiped(): "loses its disk: log, term and vote are gone",
    events.Paused(): "is paused: it neither hears nor speaks, its clock goes on",
    events.Resumed(): "goes on after its pause",
    events.Sent(BEAT, 1, 0.5): "sends Beat",
    events.Sent(BEAT, 1, 0.5, "LOST"): "sends Beat (lost)",
    events.Received(BEAT, 1): "receives Beat",
    events.Dropped(BEAT, 1, "CUT", facts(source="n1", target="n2")): (
        "Beat is lost: the link from n1 to n2 is cut"
    ),
    events.Delayed(BEAT, 1, 0.5): "Beat is held up until 0.500 s",
    events.LinksCut((("n1", "n2"),)): "network: n1→n2 cut",
    events.LinksCut((("n1", "n2"),), "n1 is isolated"): "network: n1 is isolated",
    events.Healed(): "network: all links work again",
    events.LinksChanged("loss", 0.1): "loss is now 0.1",
    events.Invoked(1, "n1", PUT): "asks n1: put a=1",
    events.Returned(1, "n1", "ok", 5): "gets ok from n1 at revision 5",
    events.Returned(1, "n1", None, 0, "no leader"): "gets an error from n1: no leader",
    events.WatchAsked("c1/w1", WatchCreate(b"a", start_revision=5), 7): (
        "is asked by c1/w1: watch a from 5"
    ),
    events.Notified("c1/w1", WatchResponse(0, 7, created=True)): (
        "tells c1/w1: watch 0 created at revision 7"
    ),
    events.StreamClosed("c1/w1"): "forgets the watchers of c1/w1",
    events.LeasesCounted(3, ((26, 9.5),)): "counts the leases anew in term 3: 1a has 9.5 s",
    events.LeasesCounted(3, ()): "counts the leases anew in term 3: there are none",
    events.LeaseRenewed(26, 10): "keeps lease 1a alive for 10 s",
    events.ClientChanged("pauses"): "pauses",
    events.LeaseExpired(26, 10): "finds that lease 1a has run out (10 s)",
}


@pytest.mark.parametrize("event, line", LINES.items(), ids=lambda it: type(it).__name__)
def test_an_event_is_one_line(event, line):
    assert str(event) == line


@pytest.mark.parametrize("event", LINES, ids=lambda it: type(it).__name__)
def test_an_event_survives_a_file(event):
    assert from_json(to_json(event)) == event


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_has_a_line_of_its_own_and_an_example_here(kind):
    assert "__str__" in vars(kind), f"{kind.__name__} prints like a data structure"
    assert kind in {type(event) for event in LINES}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_core_tells_every_event(kind):
    code = [path.read_text(encoding="utf-8") for path in house() if path.name != "events.py"]
    assert any(re.search(rf"\b{kind.__name__}\(", text) for text in code)


@pytest.mark.parametrize("seed", range(2))
def test_whole_runs_are_told_in_lines(seed):
    for record in busy(seed, 6).trace:
        line = str(record)
        assert line == line.strip() and "\n" not in line and "{" not in line and "None" not in line
        assert not line.startswith(type(record.event).__name__)


# Reasons ------------------------------------------------------------------------------------


def house() -> list[Path]:
    return sorted(Path(kvlearn.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_renders_as_a_sentence(code):
    text = sentence(code, KNOWN)
    assert text and "{" not in text and not text.endswith(".")
    fields = {field for _, field, *_ in Formatter().parse(REASONS[code]) if field}
    assert fields <= dict(KNOWN).keys(), "a new fact: name it above"


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_is_used_by_the_core(code):
    rooms = [path for path in house() if path.name != "events.py"]
    rooms = [path for path in rooms if path.parent.name in ("raft", "sim", "kvlearn")]
    assert any(f'"{code}"' in path.read_text(encoding="utf-8") for path in rooms)


def test_the_core_uses_no_reason_that_is_not_in_the_table():
    spelled = re.compile(r'"([A-Z]+(?:_[A-Z]+)+|LOST|CUT|DOWN|STARTED)"')
    for path in house():
        if path.parent.name in ("raft", "sim") and path.name not in ("quorum.py", "commands.py"):
            for code in spelled.findall(path.read_text(encoding="utf-8")):
                assert code in REASONS or code in UNFIT, f"{path.name}: {code}"


def elections() -> list[Member]:
    """Nodes that know a leader, or no majority, when somebody campaigns."""
    knows = Member(config=CHECKED)
    knows.hear(Heartbeat("n2", "n1", 1, 0))
    knows.hear(RequestVote("n3", "n1", 1, ZERO), RequestVote("n3", "n1", 2, ZERO))
    stranger = Member()
    stranger.raft.joins = True
    stranger.raft.campaign()
    asks = Member(config=replace(CHECKED, pre_vote=True))
    asks.raft.campaign()
    for peer in ("n2", "n3"):
        asks.hear(VoteResponse(peer, "n1", 0, False, pre=True))
    lonely = Member(config=CHECKED).lead()
    lonely.raft.tick(CHECKED.election_ticks)
    return [knows, stranger, asks, lonely]


def changes() -> list[Member]:
    """Leaders that are asked for what they cannot take."""
    conf = ConfState(("n1", "n2", "n3"), learners=("n4",))
    config = replace(CHECKED, check_quorum=False, step_down_on_removal=True, strict_reconfig=True)
    new = Member(terms=(1,), config=replace(CHECKED, max_uncommitted=3)).lead()
    with pytest.raises(ProposalDropped):
        new.raft.propose(ConfChange((Change("n4"),)))  # what came before may hold another
    new.raft.propose("x")
    with pytest.raises(ProposalDropped):
        new.raft.propose("y")
    leader = Member(conf=conf, terms=(1,) * 9, config=config).lead()
    leader.hear(AppendResponse("n2", "n1", 2, 10))
    for change in ((), (Change("n4"),)):
        with pytest.raises(ProposalDropped):
            leader.raft.propose(ConfChange(change))
    leader.raft.tick(config.election_ticks)
    with pytest.raises(ProposalDropped):
        leader.raft.propose(ConfChange((Change("n5"),)))
    leader.hear(AppendResponse("n2", "n1", 2, 10), AppendResponse("n3", "n1", 2, 10))
    leader.raft.propose(ConfChange((Change("n1", GONE),)))
    for to in ("n9", "n2"):
        try:
            leader.raft.transfer_leadership(to)
        except ProposalDropped:
            assert to == "n9"
    with pytest.raises(ProposalDropped):
        leader.raft.propose("z")
    leader.hear(AppendResponse("n2", "n1", 2, 11), AppendResponse("n3", "n1", 2, 11))
    unready = Member()
    entry = Entry(1, 1, ConfChange((Change("n4"),)))
    unready.raft.step(AppendEntries("n2", "n1", 1, ZERO, (entry,), 1))
    unready.raft.campaign()
    return [new, leader, unready]


def protected() -> list[Member]:
    """A leader and a follower that hold to their leader, until they shall forget it."""
    leader = Member(terms=(1,), config=CHECKED).lead()
    leader.hear(RequestVote("n2", "n1", 9, EntryID(1, 1)))
    follower = Member(config=CHECKED)
    follower.hear(Heartbeat("n2", "n1", 1, 0))
    follower.raft.forget_leader()
    return [leader, follower]


def transfers_aborted() -> list[str]:
    """The reasons that are told to whoever asked, and are no event's."""
    leader = Member(terms=(1,)).lead()
    leader.raft.transfer_leadership("n2")
    leader.raft.tick(leader.raft.config.election_ticks)
    return [reason for _, reason, _ in leader.raft.dropped]


def snapshots() -> list[Member]:
    """A follower that has what a snapshot holds."""
    ahead = Member(terms=(1, 1, 1), commit=3)
    ahead.hear(InstallSnapshot("n2", "n1", 1, EntryID(1, 2), ahead.raft.conf, 0, (), 0))
    return [ahead]


def occasions() -> dict[str, set[str]]:
    """Reason -> the lines that a few scenes told with it."""
    told: dict[str, set[str]] = {}

    def note(event) -> None:
        reason = getattr(event, "reason", "")
        if reason:
            told.setdefault(reason, set()).add(str(event))
        if getattr(event, "fate", ""):
            told.setdefault(event.fate, set()).add(str(event))

    for seed in range(4):
        for record in busy(seed, 10).trace:
            note(record.event)
    cluster = Cluster(3, seed=2, links=Links(loss=0.2))
    cluster.submit(Put(b"k", b"v"))
    leader = cluster.wait_for_leader()
    cluster.submit(Range(b"k"), leader)  # nothing of its term is committed yet
    cluster.drop(cluster.in_flight[0])
    cluster.crash("n1")
    cluster.run(20)
    for record in cluster.trace:
        note(record.event)
    old = Member(conf=5, terms=(1, 2), term=3).lead()
    old.hear(AppendResponse("n2", "n1", 4, 2), AppendResponse("n3", "n1", 4, 2))
    follower = Member(terms=(1, 1), term=2)
    follower.hear(ReadIndex("n2", "n1", 0, 1))
    follower.hear(AppendEntries("n2", "n1", 2, EntryID(2, 2), (), 0))
    for reason in transfers_aborted():
        told.setdefault(reason, set()).add(reason)
    for member in (old, follower, *protected(), *elections(), *changes(), *snapshots()):
        for event in member.said:
            note(event)
    return told


def test_every_reason_has_an_occasion():
    """Each code of the table is really told by a node, a host or the network."""
    told = occasions()
    assert set(REASONS) - told.keys() == set()
    assert told.keys() - set(REASONS) == set()


@pytest.mark.parametrize(
    "action", [*"vote append snapshot commit proposal read transfer campaign".split()]
)
def test_every_action_that_is_refused_has_its_words(action):
    assert str(Refused(action, "n2", 3, "NO_LEADER", KNOWN)).endswith(
        "no leader is known in term 3"
    )
    told = Path(raft.__file__).read_text(encoding="utf-8")
    assert f'Refused("{action}"' in told or f'_drop("{action}"' in told


def test_a_refusal_without_its_facts_is_a_mistake_in_the_core():
    with pytest.raises(KeyError):
        str(Dropped(BEAT, 1, "CUT"))


def test_facts_are_plain():
    known = facts(last=EntryID(2, 7), term=3, share=0.5, vote=None, name="n1")
    assert known == (("last", "7@2"), ("term", 3), ("share", 0.5), ("vote", "None"), ("name", "n1"))
    assert all(isinstance(fact, (int, float, str)) for _, fact in known)


@pytest.mark.parametrize("first, last, words", [(4, 4, "entry 4"), (4, 6, "entries 4 to 6")])
def test_span(first, last, words):
    assert span(first, last) == words


def test_events_are_values_of_plain_parts():
    for kind in KINDS:
        assert dataclasses.is_dataclass(kind) and issubclass(kind, Event)
    assert HardState() in {HardState()}
