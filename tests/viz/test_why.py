"""Every decision names its rule, and every sentence is true of the scene that it is asked of."""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from types import SimpleNamespace

import pytest

from kvlearn import Cluster
from kvlearn import events as ev
from kvlearn.check.verdict import Verdict
from kvlearn.course.rules import KINDS
from kvlearn.kv.leases import Compact, LeaseRevoke
from kvlearn.raft import messages as msg
from kvlearn.raft.types import ConfState, Entry, EntryID
from kvlearn.trace import Trace
from kvlearn.viz import Moment, Timeline, look_store, why, why_marks, why_store
from kvlearn.viz.asking import Desk
from kvlearn.viz.why import (
    LINKS,
    NO_RULE,
    RULE_OF,
    Why,
    link_of,
    rule_source,
    why_entry,
    why_key,
    why_lease,
    why_message,
    why_node,
    why_operation,
    why_promise,
    why_txn,
    why_watch,
)
from kvlearn.viz.why_functions import DONE_BY, FUNCTIONS, function_named
from kvlearn.viz.why_marks import ABOUT
from kvlearn.viz.why_rules import LONGEST, because, finished
from tests.viz import scenes, store_scenes

CLASSES = [one for one in vars(ev).values() if isinstance(one, type) and issubclass(one, ev.Event)]
RULES = [(kind, name) for kind, guards in KINDS.items() for name in guards]


# Rules ----------------------------------------------------------------------------------------


def test_every_event_and_every_reason_has_a_rule_or_a_reason_why_not():
    told = {*CLASSES, *ev.REASONS}
    assert len(CLASSES) > 30 and len(ev.REASONS) > 30
    assert RULE_OF.keys() | NO_RULE.keys() == told
    assert not RULE_OF.keys() & NO_RULE.keys()
    assert all(why_not and why_not[-1] != "." for why_not, _ in NO_RULE.values())


@pytest.mark.parametrize("kind, name", RULES, ids=lambda one: getattr(one, "__name__", one))
def test_a_rule_is_shown_as_it_stands(kind, name):
    rule, source = getattr(kind, name), rule_source(name)
    assert source.title == f"{kind.__name__}.{name}"
    assert source.code == textwrap.dedent(inspect.getsource(rule)).rstrip()
    path, line = source.where.split(", line ")
    assert inspect.getsourcefile(rule).endswith(path) and path.startswith("kvlearn/")
    assert inspect.getsourcelines(rule)[1] == int(line)
    assert source.promise.split()[0] in rule.__doc__ and source.promise.endswith(".")
    assert link_of(source.section).startswith("https://")


def test_every_rule_that_is_named_is_one():
    assert set(RULE_OF.values()) <= {name for _, name in RULES}
    tried = {name for kind, _ in RULES for cls in kind.__mro__ for name in vars(cls)}
    assert len(tried) > 150
    assert {name for name in tried if _is_shown(name)} == {name for _, name in RULES}


def test_a_function_is_shown_as_it_stands():
    for name, section in FUNCTIONS.items():
        made, source = function_named(name), rule_source(name)
        assert source.title == name and f"def {name.split('.')[1]}(" in source.code
        assert source.code == textwrap.dedent(inspect.getsource(made)).rstrip()
        path, line = source.where.split(", line ")
        assert inspect.getsourcefile(made).endswith(path) and path.startswith("kvlearn/")
        assert inspect.getsourcelines(made)[1] == int(line)
        assert link_of(section), name
        assert len(json.dumps(Desk.rule(name))) < 4096
    assert rule_source("Store.compact").promise.startswith("Give up the history below")
    for wrong in ("Store.sweep", "Store.", "os.system", "Raft.__init__"):
        with pytest.raises(KeyError, match="no rule and no function"):
            rule_source(wrong)


def test_what_a_function_has_made_is_decided_by_no_rule():
    assert set(DONE_BY.values()) <= FUNCTIONS.keys() and not DONE_BY.keys() & RULE_OF.keys()
    assert {one for one in DONE_BY if one in ev.REASONS or one in CLASSES} <= NO_RULE.keys()
    messages = {one for one in ABOUT if one.__module__ == msg.__name__}
    assert len(messages) > 12 and messages <= DONE_BY.keys()
    modules = sys.modules["kvlearn.viz.why"], why_marks, why_store
    source = "".join(map(inspect.getsource, modules))
    named = {name for name in FUNCTIONS if f'"{name}"' in source}
    named |= {"KeyIndex.put", "KeyIndex.tombstone", *DONE_BY.values()}
    assert named == FUNCTIONS.keys(), "a function that nothing names"


@pytest.mark.parametrize("kind, function", sorted(
    (one, name) for one, name in DONE_BY.items() if isinstance(one, str)))  # fmt: skip
def test_a_reason_is_given_by_the_function_that_is_shown(kind, function):
    assert f'"{kind}"' in rule_source(function).code


@pytest.mark.parametrize("kind, function", [
    (one, name) for one, name in DONE_BY.items() if isinstance(one, type)],
    ids=lambda one: getattr(one, "__name__", one))  # fmt: skip
def test_what_is_made_is_named_in_the_function_that_is_shown(kind, function):
    elsewhere = {ev.Progressed, ev.Applied, ev.StreamClosed, ev.ConfChanged, ev.LogCompacted}
    code = rule_source(function).code
    assert kind in elsewhere or f"{kind.__name__}(" in code, (kind, function)


def test_a_why_without_a_rule_says_why_there_is_none():
    told = because("n1 is down", 3, ev.Crashed)
    assert (told.rule, told.unruled) == ("", "a fault")
    assert "no rule: a fault" in told._repr_html_()
    told = because("a was written", 3, "KeyIndex.put")
    assert told.unruled == "" and told.section == "etcd mvcc"
    assert "function <code>KeyIndex.put</code> (kvlearn/mvcc/key_index.py, line" in (
        told._repr_html_())  # fmt: skip


def _is_shown(name):
    try:
        return bool(rule_source(name))
    except KeyError:
        return False


def test_every_section_that_is_named_can_be_read():
    named = {section for _, section in NO_RULE.values()} | set(ABOUT.values())
    assert all(link_of(section) for section in named if section)
    assert link_of("") == "" and set(map(type, LINKS.values())) == {str}


def test_a_sentence_is_finished():
    assert finished("n1  leads: ") == "n1 leads."
    assert finished("is it?") == "is it?"
    long = finished("n1 " + "says " * 100)
    assert len(long) <= LONGEST and long.endswith("…")


def test_a_why_shows_itself():
    told = because("n1 <may> not", 7, "COMMIT_OLD_TERM")
    page = told._repr_html_()
    assert "n1 &lt;may&gt; not." in page and "record 7" in page and "Raft.may_commit" in page
    assert "href='https://raft.github.io/raft.pdf'" in page and str(told) == told.sentence
    assert Why("n1 leads.")._repr_html_() == "<p>n1 leads.</p>"


# Records --------------------------------------------------------------------------------------


def said(trace, kind, node=None, place=-1):
    return str(why(trace, [record.seq for record in trace.of(kind, node=node)][place]))


def test_why_a_leader_and_a_commit():
    trace = scenes.three()
    assert said(trace, ev.BecameLeader) == (
        "n1 leads term 1 with the votes of n1 n2 n3, 3 of 3: 2 were needed.")  # fmt: skip
    told = why(trace, next(trace.of(ev.Committed, node="n1")).seq)
    assert "2 of 3, had it, 2 were needed" in told.sentence
    assert (told.rule, told.section) == ("may_commit", "Raft paper, section 5.4.2, figure 8")


def test_any_subject_with_a_trace_will_do():
    trace = scenes.three()
    seq = next(trace.of(ev.BecameLeader)).seq
    subjects = trace, SimpleNamespace(trace=trace), Timeline(trace), Moment.at(trace, 3)
    assert len({why(subject, seq) for subject in subjects}) == 1
    assert why(Moment.at(trace, seq)) == why(trace, seq)
    assert why(trace) == why(trace, len(trace) - 1)
    for wrong in (-1, len(trace)):
        with pytest.raises(IndexError):
            why(trace, wrong)
    with pytest.raises(TypeError):
        why(7)


def test_a_trace_that_went_back_is_read_anew():
    cluster = Cluster(3, seed=5)
    cluster.wait_for_leader()
    now, before = cluster.now, [str(why(cluster, seq)) for seq in range(len(cluster.trace))]
    cluster.crash(cluster.leader)
    cluster.run(3)
    cluster.rewind(now)
    assert [str(why(cluster, seq)) for seq in range(len(before))] == before
    assert why_node(Moment.at(cluster.trace), cluster.leader).rule == "election_result"


def test_an_entry_of_an_older_term_is_not_committed_by_counting():
    trace = Trace()
    scenes.start(trace, *scenes.FIVE, members=scenes.FIVE)
    scenes.elect(trace, "n1", ("n2", "n3"), 4, 1.0)
    old = Entry(2, 2, "put a=1")
    trace.add(1.1, "n1", ev.Appended((Entry(1, 1), old)), None)
    trace.add(1.2, "n1", ev.Saved(4, "n1", 0, 1, 2), None)
    trace.add(1.3, "n1", ev.Progressed("n2", "replicate", 2, 3), None)
    got = trace.add(1.4, "n1", ev.Received(msg.AppendResponse("n3", "n1", 4, 2), 9), None)
    known = (("entry", "2@2"), ("term", 4))
    seq = trace.add(1.4, "n1", ev.Refused("commit", None, 4, "COMMIT_OLD_TERM", known), got)
    told = why(trace, seq)
    assert told.sentence == (
        "n1 may not commit 2@2 yet: n1 n2 n3, 3 of 5, have it, but it is not of its own term 4."
    )
    trace.add(1.4, "n1", ev.Progressed("n3", "replicate", 2, 3), got)
    told = why_entry(Moment.at(trace), "n1", 2)
    assert told.rule == "may_commit" and "n1 n2 n3, 3 of 5, have it, but n1 leads term 4" in str(
        told
    )


# Marks of ring and logs -----------------------------------------------------------------------


def test_why_an_entry_waits_for_its_majority():
    trace = scenes.five()
    told = why_entry(Moment.at(trace), "n3", 4)
    assert "nobody, 0 of 5, has it on disk, and 3 are needed" in str(told)
    assert told.rule == "quorum_index" and isinstance(trace[told.seq].event, ev.Appended)
    trace.add(1.5, "n3", ev.Saved(1, "n3", 3, 4, 5), None)
    trace.add(1.5, "n3", ev.Progressed("n1", "replicate", 5, 6), None)
    assert "n1 n3, 2 of 5, have it on disk, and 3 are needed" in str(
        why_entry(Moment.at(trace), "n3", 4))  # fmt: skip


def test_why_an_entry_is_committed():
    moment = Moment.at(scenes.three())
    told = why_entry(moment, "n1", 1)
    assert "Entry 1@1 is committed on n1: " in str(told) and told.rule == "may_commit"
    assert isinstance(moment.trace[told.seq].event, ev.Committed)
    assert "has not come to n2: its log ends at" in str(why_entry(moment, "n2", 99))
    with pytest.raises(KeyError):
        why_entry(moment, "n9", 1)


def test_why_an_entry_is_there_no_more():
    trace = scenes.three()
    trace.add(3.0, "n2", ev.Truncated(1, (EntryID(1, 2),), EntryID(2, 2)), None)
    told = why_entry(Moment.at(trace), "n2", 2)
    assert "Entry 2@1 is not on n2 any more: its leader had 2@2" in str(told)
    assert told.seq == len(trace) - 1 and told.rule == "store_entries"
    trace.add(3.1, "n1", ev.LogCompacted(EntryID(1, 1), EntryID(1, 2)), None)
    told = why_entry(Moment.at(trace), "n1", 1)
    assert "begins after 1@1" in str(told) and told.seq == len(trace) - 1


def test_why_a_node_is_what_it_is():
    trace = scenes.trouble()
    moment = Moment.at(trace)
    assert "n2 is down: it crashed at 1.500 s" in str(why_node(moment, "n2"))
    assert "n3 is paused since 1.700 s" in str(why_node(moment, "n3"))
    assert "n4 stands in term 2: it has the votes of n4, 1 of 5, n5 refused, and 3 are" in str(
        why_node(moment, "n4"))  # fmt: skip
    assert why_node(moment, "n4").rule == "election_result"
    assert str(why_node(moment, "n1")).startswith("n1 is a follower")
    with pytest.raises(KeyError):
        why_node(moment, "n9")


def test_why_a_node_has_no_vote():
    trace = scenes.three()
    trace.add(4.0, "n3", ev.ConfChanged(ConfState(("n1", "n2"), (), ("n3",))), None)
    told = why_node(Moment.at(trace), "n3")
    assert "n3 is a learner" in str(told) and "voters are n1 n2" in str(told)
    trace.add(4.1, "n3", ev.ConfChanged(ConfState(("n1", "n2"))), None)
    assert "n3 is no member, as far as it knows" in str(why_node(Moment.at(trace), "n3"))
    trace.add(4.2, "n3", ev.Wiped(), None)
    assert "lost its disk at 4.200 s" in str(why_node(Moment.at(trace), "n3"))


def test_joint_majorities_are_counted_apart():
    joint = ConfState(("n1", "n4", "n5"), ("n1", "n2", "n3"))
    trace = scenes.three()
    trace.add(4.0, "n1", ev.ConfChanged(joint), None)
    trace.add(4.1, "n1", ev.Appended((Entry(3, 1, "put z=1"),)), None)
    trace.add(4.1, "n1", ev.Saved(1, "n1", 2, 3, 3), None)
    trace.add(4.1, "n1", ev.Progressed("n2", "replicate", 3, 4), None)
    told = str(why_entry(Moment.at(trace), "n1", 3))
    assert "n1, 1 of 3 new voters, and n1 n2, 2 of 3 old ones, have it" in told
    assert "2 and 2 are needed" in told


def test_why_a_message_will_not_arrive_or_waits():
    trace = scenes.trouble()
    moment = Moment.at(trace)
    ends = {packet.target: str(why_message(moment, packet)) for packet in moment.packets.values()
            if packet.source == "n4" and isinstance(packet.message, msg.RequestVote)}  # fmt: skip
    assert "it will not arrive: the link from n4 to n2 is cut" in ends["n2"]
    moment.time = 9.0
    waits = [str(why_message(moment, number)) for number, packet in moment.packets.items()
             if packet.target == "n3" and not packet.fate]  # fmt: skip
    assert waits and any("n3 is paused" in one for one in waits)
    with pytest.raises(KeyError):
        why_message(moment, 10**9)


def test_every_kind_of_message_has_its_purpose():
    assert set(ABOUT) >= {one for one in vars(msg).values() if isinstance(one, type)
                          and issubclass(one, msg.Message)
                          and one not in (msg.Message, msg.ForNode)}  # fmt: skip


# Marks of the store ---------------------------------------------------------------------------


def test_why_there_is_a_hole():
    store = look_store(store_scenes.shop().trace)
    told = {(one.kv.key, one.revision): str(why_key(store, one.kv.key, one.revision))
            for one in store.changes}  # fmt: skip
    assert sum("is gone" in one for one in told.values()) == len(store.holes) > 3
    rules = {(one.kind == "delete", one.removed > 0): why_key(store, one.kv.key, one.revision).rule
             for one in store.changes}  # fmt: skip
    assert rules[False, False] == "KeyIndex.put" and rules[False, True] == "Store.compact"
    assert rules.get((True, False), "KeyIndex.tombstone") == "KeyIndex.tombstone"
    assert why_key(store, b"stock", 999).rule == "Store.readable"
    assert why_key(store, b"never", 3).rule == "KeyIndex.find"
    assert (
        "and that is the deletion at" in told[b"colour", 3] or "was revision" in told[b"colour", 3]
    )
    assert "kept only the newest at or below 9, which was revision" in told[b"stock", 2]
    hole = next(one for one in store.holes)
    seq = why_key(store, hole.kv.key, hole.revision).seq
    assert str(store.trace[seq].event.command).startswith("compact at 9")
    assert "was not there at revision 2" in str(why_key(store, b"order/1", 2))
    assert "the store is at" in str(why_key(store, b"stock", 999))
    assert "nobody has written it" in str(why_key(store, b"never", 3))
    last = store.changes[-1]
    assert why_key(store, last.kv.key, last.revision).seq == last.seq


def test_why_a_watch_is_where_it_is():
    store = look_store(store_scenes.watched().trace)
    told = {life.name: (life, why_watch(store, life)) for life in store.watches}
    for life, answer in told.values():
        assert life.name in str(answer)
        match life.state:
            case "behind":
                assert f"behind by {len(life.behind)} event" in str(answer)
                assert answer.rule == "is_synced"
            case "synced":
                assert "is synced" in str(answer) or "waits for revision" in str(answer)
    assert all(answer.rule for _, answer in told.values())
    assert {answer.rule for life, answer in told.values() if life.end} >= {
        "has_lost", "WatchHub.cancel"}  # fmt: skip
    ends = " ".join(str(answer) for _, answer in told.values())
    assert "is compacted" in ends and "cancelled by its client" in ends and "behind by" in ends


def test_why_a_lease_has_its_time():
    run = store_scenes.leased()
    store = look_store(run.trace, at=run.now)
    told = {life.id: why_lease(store, life) for life in store.leases}
    assert "expired: n1 found" in str(told[0x10]) and told[0x10].rule == "is_expired"
    assert "its 1 key went with it" in str(told[0x10])
    assert "was revoked by request" in str(told[0x15]) and told[0x15].rule == "goes_with"
    assert "since its holder kept it alive" in str(told[0x12])
    assert isinstance(run.trace[told[0x12].seq].event, ev.LeaseRenewed)
    assert "as the log had noted" in str(told[0x19]) and told[0x19].rule == "time_of"
    early = look_store(run.trace, at=0.3)
    told = why_lease(early, early.leases[0])
    assert "n1 counts down from 5 s since it was granted" in str(told)
    assert told.rule == "Lessor.started"
    assert early.trace[told.seq].event.command.request.id == early.leases[0].id


def test_why_nobody_counts_a_lease():
    run = store_scenes.leased()
    crash = next(run.trace.of(ev.Crashed))
    store = look_store(run.trace, seq=crash.seq)
    told = [str(why_lease(store, life)) for life in store.leases if not life.end]
    assert told and all("is counted by nobody since" in one for one in told)
    noted = next(one for one in told if one.startswith("Lease 19 "))
    assert "begins with 20 of " in noted


def test_why_a_transaction_took_its_branch():
    store = look_store(store_scenes.shop().trace)
    took, refused = store.forks
    assert (
        "took its first branch" in str(why_txn(store, took))
        and why_txn(store, took).seq == took.seq
    )
    assert why_txn(store, took).rule == why_txn(store, refused).rule == "Compare.holds"
    told = str(why_txn(store, refused))
    assert "took its else branch" in told and "(order/1 version = 0) failed" in told
    assert "saw 1" in told


def test_why_an_operation_took_so_long_or_failed():
    cluster = Cluster(3, seed=2)
    cluster.wait_for_leader()
    client = cluster.client(cluster.leader, timeout_s=0.5)
    client.put("a", "1")
    cluster.isolate(cluster.leader)
    with pytest.raises(Exception, match="timed out"):
        client.put("a", "2")
    asked = [record.event.op_id for record in cluster.trace.of(ev.Invoked)]
    told = str(why_operation(cluster.trace, asked[0]))
    assert "took 0.0" in told and "until" in told
    told = str(why_operation(cluster.trace, asked[-1]))
    assert "no answer from" in told and "nobody has applied that" in told
    with pytest.raises(KeyError):
        why_operation(cluster.trace, 999)
    first = next(cluster.trace.of(ev.Invoked)).seq
    assert "has waited for 0.000 s for" in str(why_operation(cluster.trace, asked[0], first))
    assert "no node has it in its log" in str(why_operation(cluster.trace, asked[0], first))
    with pytest.raises(KeyError):
        why_operation(cluster.trace, asked[0], first - 1)


def test_why_a_promise_is_broken():
    trace = scenes.three()
    record = next(trace.of(ev.Committed))
    broken = Verdict("Leader Completeness", False, "entry 4@1 is gone", record, "5.4.2")
    told = why_promise(broken)
    assert told.seq == record.seq and told.section == "Raft paper, section 5.4.2"
    assert str(told).startswith(f"Leader Completeness is broken (record {record.seq}, ")
    kept = why_promise(Verdict("Election Safety", True, "2 terms had a leader", None, "5.2"))
    assert str(kept) == "Election Safety is kept: 2 terms had a leader." and kept.seq is None


def test_why_a_key_went_with_its_lease():
    run = store_scenes.leased()
    run.put("held", "x", 0x15 + 1)
    run.enter(LeaseRevoke(0x15 + 1))
    store = look_store(run.trace, at=run.now)
    put, gone = (one for one in store.changes if one.kv.key == b"gone")
    life = next(one for one in store.leases if one.id == 0x10)
    told = why_key(store, b"gone", gone.revision)
    assert str(told) == (
        f"Key gone was deleted as lease 10 expired (its 5 s were over at {life.ran_out:.3f} s), so "
        f"its keys went at revision {gone.at} by entry {gone.index}@{gone.term}, "
        f"at {gone.time:.3f} s."
    )
    assert (told.seq, told.rule, told.section) == (gone.seq, "is_expired", "Gray 1989, 2")
    told = str(why_key(store, b"gone", put.revision))
    assert "s, on lease 10; it was deleted at revision" in told
    assert told.endswith(f"at revision {gone.revision}, as lease 10 expired.")
    revoked = next(one for one in store.changes if one.kv.key == b"held" and one.kind == "delete")
    told = why_key(store, b"held", revoked.revision)
    assert "deleted as lease 16 was revoked by a client, so its keys went" in str(told)
    assert told.rule == "goes_with"
    run.enter(Compact(store.revision))
    told = str(why_key(look_store(run.trace), b"gone", gone.revision))
    assert f"by entry {gone.index}@{gone.term}, as lease 10 expired, is gone: " in told


def test_what_a_compaction_kept_is_told_with_its_border():
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    client = cluster.client()
    for number in range(2, 6):
        client.put("a" if number != 4 else "b", str(number))
    client.compact(4)
    told = str(why_key(look_store(cluster), b"a", 3))
    assert told.endswith("at revision 5, and the compaction at 4 kept it as the newest at or "
                         "below 4.")  # fmt: skip


def test_what_became_of_a_message_is_told_in_its_tense():
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    cluster.client().put("a", "1")
    trace = cluster.trace
    came = next(record for record in trace.of(ev.Received) if record.seq > 50)
    sent = trace[came.cause]
    told = why(trace, sent.seq)
    way = f"{came.node} received it at {came.time:.3f} s, after {came.time - sent.time:.3f} s."
    assert str(told).endswith(way) and "due" not in str(told)
    assert str(why(trace, sent.seq, came.seq)) == str(told)
    assert str(why(trace, sent.seq, came.seq - 1)).endswith(f"it is due at {came.time:.3f} s.")
    assert why(Moment.at(trace, came.seq - 1), sent.seq) == why(trace, sent.seq, came.seq - 1)
    cluster.isolate(cluster.leader)
    cluster.run(0.3)
    lost = next(trace.of(ev.Dropped))
    assert "it did not arrive: " in str(why(trace, lost.cause))
