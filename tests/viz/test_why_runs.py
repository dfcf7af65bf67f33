"""Random runs: nothing is refused, lost, cancelled or unknown without a true reason.

Each failure prints the line that plays the run again.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest

from kvlearn import events as ev
from kvlearn.check.sweep import Case, play
from kvlearn.check.workloads import WORKLOADS, workload_named
from kvlearn.course.mutants import MUTANTS
from kvlearn.kv.txn import Txn
from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchResponse
from kvlearn.raft import messages as msg
from kvlearn.raft.rules import Rules
from kvlearn.sim.script import play as transcript
from kvlearn.viz import Timeline, look_store, why
from kvlearn.viz.why import (
    link_of,
    rule_source,
    why_entry,
    why_key,
    why_lease,
    why_message,
    why_node,
    why_operation,
    why_txn,
    why_watch,
)
from kvlearn.viz.why_marks import purpose

RUNS = [(name, 3 + 2 * (seed % 2), seed)
        for seed, name in enumerate(sorted(WORKLOADS), start=11) if name != "calm"]  # fmt: skip
RUNS += [("churn", 3, 2), ("store", 3, 12), ("store", 5, 13)]
STORES = [run for run in RUNS if run[0] == "store"]
NAME = r"[a-z]\w*\d+(?:/w\d+)?"  # n1, c2, c1/w1
SCENES = Path(__file__).resolve().parents[1] / "transcripts" / "mutants"
COUNTED = re.compile(rf"((?:{NAME} )*{NAME}|nobody), (\d+) of (\d+)\b")
RAW = ("None", "b'", 'b"', "(('", "object at", "<kvlearn", "Entry(", "EntryID(", "{", "frozenset")


@cache
def run_of(name, nodes, seed):
    """The cluster of a run, and the line that plays it again."""
    run = play(Case(replace(workload_named(name), virtual_s=20.0), nodes, seed))
    return run.cluster, run.case.line()


@cache
def names_in(trace):
    """Nodes and clients."""
    return {record.node for record in trace.of(ev.Started, ev.Invoked, ev.ClientChanged)}


def well_formed(told, trace, line):
    """A sentence as it may be shown to anybody, with a rule and a section that exist."""
    text = told.sentence
    assert 8 <= len(text) <= 220 and "\n" not in text and "  " not in text, (text, line)
    first = text.split()[0].rstrip(":")
    assert text[0].isupper() or first in names_in(trace), (text, line)
    assert text.endswith((".", "…")) and text[-2].isalnum() | (text[-2] in ")'%*>=/…-+"), (
        text,
        line,
    )
    assert not any(raw in text for raw in RAW), (text, line)
    for names, count, size in COUNTED.findall(text):
        said = [] if names == "nobody" else names.split()
        assert len(said) == int(count) <= int(size), (text, line)
        assert len(set(said)) == len(said), (text, line)
    assert told.seq is None or 0 <= told.seq < len(trace), (text, line)
    assert bool(told.rule) != bool(told.unruled), (told, line)
    if told.rule:
        assert rule_source(told.rule).code, (text, line)
    if told.section:
        assert link_of(told.section), (told.section, line)


# What the trace tells by itself: nothing here asks the code under test ---------------------------


class Disks:
    """Which entries were ever durable where, who counts by whom, who voted for whom."""

    def __init__(self):
        self.log, self.kept, self.snapshot, self.conf = {}, {}, {}, {}
        self.votes, self.no = {}, {}

    def take(self, record):
        event, node = record.event, record.node
        log = self.log.setdefault(node, {})
        match event:
            case ev.Started():
                self.log[node] = {entry.index: entry.id for entry in event.entries}
                self.kept.setdefault(node, set()).update(self.log[node].values())
                base = event.base.index if event.base else 0
                self.snapshot[node] = max(self.snapshot.get(node, 0), base, event.applied)
                voters = event.voters or set(event.members) - set(event.learners)
                self.conf[node] = (set(voters), set(event.outgoing))
            case ev.ConfChanged(conf=conf):
                self.conf[node] = (set(conf.voters), set(conf.outgoing))
            case ev.Appended(entries=entries):
                log.update({entry.index: entry.id for entry in entries})
            case ev.Truncated(after=after):
                self.log[node] = {index: id for index, id in log.items() if index <= after}
            case ev.Saved(last=last):
                kept = self.kept.setdefault(node, set())
                kept.update(id for index, id in log.items() if index <= last)
            case ev.SnapshotInstalled(last=last):
                self.log[node] = {}
                self.snapshot[node] = max(self.snapshot.get(node, 0), last.index)
            case ev.BecameCandidate(term=term):
                self.votes[node, term] = {node}
            case ev.VoteGranted(term=term, candidate=candidate, pre=False):
                self.votes.setdefault((candidate, term), set()).add(node)
            case ev.Refused(action="vote", peer=peer):
                self.no.setdefault(peer, set()).add(node)

    def had(self, node, id):
        return id in self.kept.get(node, ()) or self.snapshot.get(node, 0) >= id.index

    def parts(self, node):
        """The halves that must agree."""
        return [part for part in self.conf[node] if part]


def counts(text, disks, node, line, majority=True):
    """The counted names of a sentence, held against the configuration of its node."""
    parts, found = disks.parts(node), COUNTED.findall(text)
    assert len(found) == len(parts), (text, line)
    names = set()
    for part, (said, count, size) in zip(parts, found, strict=True):
        here = set() if said == "nobody" else set(said.split())
        assert int(size) == len(part) and here <= part, (text, line)
        assert not majority or int(count) > len(part) / 2, (text, line)
        names |= here
    need = [str(len(part) // 2 + 1) for part in parts]
    if "needed" in text:
        assert re.search(rf"\b{' and '.join(need)} (is|was|are|were) needed", text), (text, line)
    return names


def judge(record, text, disks, trace, line):
    """The numbers of a record's sentence, recomputed."""
    event, node = record.event, record.node
    match event:
        case ev.BecameLeader(term=term):
            assert counts(text, disks, node, line) <= disks.votes[node, term], (text, line)
        case ev.Committed(index=index, term=term) if "needed" in text:
            names = counts(text, disks, node, line)
            (id,) = {disks.log[node][index]}
            assert id.term == term and all(disks.had(name, id) for name in names), (text, line)
        case ev.Committed():
            cause = trace[record.cause].event.message
            assert not isinstance(cause, msg.AppendResponse), (text, line)
            assert cause.source in text, (text, line)
        case ev.Refused(reason="COMMIT_OLD_TERM"):
            names = counts(text, disks, node, line)
            index = int(dict(event.facts)["entry"].split("@")[0])
            assert all(disks.had(name, disks.log[node][index]) for name in names), (text, line)
        case ev.ReadConfirmed(acks=acks) if acks:
            assert counts(text, disks, node, line) <= set(acks), (text, line)
        case ev.ReadConfirmed():
            assert "without asking" in text, (text, line)
        case ev.BecameFollower(reason="ELECTION_LOST" | "PRE_VOTE_LOST") if "needed" in text:
            names = counts(text, disks, node, line, majority=False)
            assert names and names <= disks.no.get(node, set()), (text, line)
        case ev.VoteGranted():
            cause = trace[record.cause].event.message
            assert f"ends at {cause.last} " in text, (text, line)
            own = max(disks.log[node].values(), default=None, key=lambda id: id.index)
            if own is not None:
                assert f"which ends at {own}." in text and own <= cause.last, (text, line)


def reasoned(record, text, line):
    """A refusal's facts, and its reason, are in the sentence."""
    event = record.event
    match event:
        case ev.Refused(reason=reason, facts=known) | ev.BecameFollower(reason=reason, facts=known):
            if "refused, and it" in text or reason == "COMMIT_OLD_TERM":
                return
            told = ev.sentence(reason, known)
            assert told.rstrip(".") in text, (text, line)
            for name in re.findall(r"{(\w+)}", ev.REASONS[reason]):
                assert str(dict(known)[name]) in text, (name, text, line)
        case ev.Dropped(reason=reason, facts=known):
            assert ev.sentence(reason, known) in text, (text, line)
        case ev.Sent(fate=fate, message=message) if fate:
            ends = (("source", message.source), ("target", message.target))
            assert ev.sentence(fate, ends) in text, (text, line)
        case ev.Notified(response=WatchResponse(canceled=True) as response):
            at = response.compact_revision
            assert f"below {at}, which is compacted" in text if at else "cancelled:" in text, line
        case ev.Returned(error=error) if error and not event.unknown:
            assert error.removeprefix("etcdserver: ")[:40] in text, (text, line)
        case ev.Returned(unknown=True):
            assert "unknown to its client" in text, (text, line)


@pytest.mark.parametrize("name, nodes, seed", RUNS)
def test_no_record_of_a_run_is_without_its_true_reason(name, nodes, seed):
    cluster, line = run_of(name, nodes, seed)
    trace, disks, seen = cluster.trace, Disks(), set()
    for record in trace:
        event, kind = record.event, type(record.event)
        if kind in (ev.ConfChanged, ev.Started):
            disks.take(record)
        # Of routine every eleventh is enough; of what decides, all.
        if kind in (ev.Sent, ev.Received) and not getattr(event, "fate", "") and record.seq % 11:
            continue
        told = why(trace, record.seq)
        well_formed(told, trace, line)
        reasoned(record, told.sentence, line)
        disks.take(record)
        judge(record, told.sentence, disks, trace, line)
        if kind in (ev.Refused, ev.Dropped, ev.BecameFollower):
            assert event.reason in ev.REASONS and (told.rule or told.section or True)
            seen.add(event.reason)
    assert seen, line


def test_the_runs_refuse_for_many_reasons():
    kinds = ev.Refused, ev.BecameFollower, ev.Dropped
    seen = {one.event.reason for run in RUNS for one in run_of(*run)[0].trace.of(*kinds)}
    assert len(seen) > 18, sorted(set(ev.REASONS) - seen)


@pytest.mark.parametrize("name, nodes, seed", RUNS)
def test_every_mark_of_ring_and_logs_is_explained(name, nodes, seed):
    cluster, line = run_of(name, nodes, seed)
    trace, timeline, rng = cluster.trace, Timeline(cluster.trace), Random(seed)
    disks, upto = Disks(), 0
    for seq in sorted(rng.randrange(len(trace)) for _ in range(30)):
        for record in trace[upto : seq + 1]:
            disks.take(record)
        upto, moment = seq + 1, timeline.at(seq)
        where = f"{line}, record {seq}"
        for node, now in moment.nodes.items():
            told = why_node(moment, node)
            well_formed(told, trace, where)
            assert told.sentence.startswith(f"{node} "), (told, where)
            if now.role == "leader":
                assert trace[told.seq].event.term == now.term, (told, where)
            for index in {
                1,
                now.log.base,
                now.commit,
                now.commit + 1,
                now.applied,
                now.log.last + 1,
            }:
                entry(why_entry(moment, node, index), moment, now, index, disks, where)
        for packet in moment.packets.values():
            told = why_message(moment, packet)
            well_formed(told, trace, where)
            assert told.seq == packet.seq
            assert purpose(trace, trace[packet.seq], packet.message)[:60] in told.sentence, where


def entry(told, moment, now, index, disks, where):
    """An entry's sentence says what its log says."""
    text = told.sentence
    well_formed(told, moment.trace, where)
    found = now.log.find(index)
    if found is None:
        assert " not " in text, (text, where)
        return
    assert str(found.id) in text, (text, where)
    if index > now.commit and "knows, " in text and now.raft_role == "leader":
        names = counts(text, disks, now.name, where, majority=False)
        assert all(disks.had(name, found.id) for name in names), (text, where)
        enough = quorate(disks.parts(now.name), names)
        assert enough == ("it has not counted since" in text), (text, where)
    committed = "is committed on" in text
    assert committed == (index <= now.commit), (text, where)
    if committed and told.seq is not None:
        event = moment.trace[told.seq].event
        assert event.old < index <= event.index, (text, where)


def quorate(parts, names):
    return all(len(part & names) > len(part) / 2 for part in parts)


@pytest.mark.parametrize("name, nodes, seed", STORES)
def test_every_mark_of_the_store_is_explained(name, nodes, seed):
    cluster, line = run_of(name, nodes, seed)
    trace, rng = cluster.trace, Random(seed)
    for seq in sorted({rng.randrange(len(trace)) for _ in range(6)} | {len(trace) - 1}):
        store, where = look_store(cluster, seq=seq), f"{line}, record {seq}"
        for change in rng.sample(store.changes, min(40, len(store.changes))):
            key = change.kv.key
            told = why_key(store, key, change.revision)
            well_formed(told, trace, where)
            hole(told.sentence, store, change, where)
        for life in store.watches:
            told = why_watch(store, life)
            well_formed(told, trace, where)
            lacks = re.search(r"behind by (\d+) event", told.sentence)
            assert bool(lacks) == (life.state == "behind"), (told, where)
            if lacks:
                covered = [one for one in store.changes if one.revision > life.position
                           and one.revision <= store.revisions[life.served[-1].node]
                           and one.revision >= life.first and covers(life.request, one.kv.key)
                           and one.kind.replace("create", "put").replace("modify", "put")
                           not in life.request.filters]  # fmt: skip
                assert len(covered) >= int(lacks[1]) > 0, (told, where)
        for life in store.leases:
            told = why_lease(store, life)
            well_formed(told, trace, where)
            if life.left is not None and "left:" in told.sentence:
                assert f" {life.left:.3f} of {life.ttl_s} s" in told.sentence, (told, where)
        for fork in store.forks[-20:]:
            well_formed(why_txn(store, fork), trace, where)


def covers(request, key):
    end = request.range_end
    return key == request.key if not end else request.key <= key and (end == b"\0" or key < end)


def hole(text, store, change, where):
    """A mark is in the index of the store, a hole is not; what was kept instead is."""
    there = any(at == change.at for one in store.index.get(change.kv.key, ())
                for at in one.revisions)  # fmt: skip
    assert ("is gone" in text) == bool(change.removed), (text, where)
    assert there == (not change.removed), (text, where)
    kept = re.search(r"at or below (\d+), which was revision (\d+)\.$", text)
    if kept:
        border, newest = map(int, kept.groups())
        mine = [one.revision for one in store.changes if one.kv.key == change.kv.key]
        assert change.revision < newest <= border, (text, where)
        assert not any(newest < one <= border for one in mine), (text, where)


@pytest.mark.parametrize("name, nodes, seed", STORES)
def test_a_transaction_s_branch_is_the_one_that_its_client_was_told(name, nodes, seed):
    cluster, line = run_of(name, nodes, seed)
    trace, store = cluster.trace, look_store(cluster)
    asked = {one.event.op_id: one.event for one in trace.of(ev.Invoked)}
    compared = 0
    forks = {fork.index: fork for fork in store.forks}
    entries = {}
    for record in trace.of(ev.Applied):
        command = record.event.command
        if isinstance(getattr(command, "request", None), Txn) and command.op_id in asked:
            entries[command.op_id] = record.event.index
    for record in trace.of(ev.Returned):
        op_id, result = record.event.op_id, record.event.result
        if op_id in entries and hasattr(result, "succeeded"):
            text = str(why_txn(store, forks[entries[op_id]]))
            assert ("first branch" in text) == result.succeeded, (text, line)
            assert ("else branch" in text) == (not result.succeeded), (text, line)
            compared += 1
    assert compared, line


@pytest.mark.parametrize("name, nodes, seed", RUNS)
def test_an_operation_took_what_its_parts_took(name, nodes, seed):
    cluster, line = run_of(name, nodes, seed)
    trace = cluster.trace
    returned = {one.event.op_id: one for one in trace.of(ev.Returned)}
    for asked in list(trace.of(ev.Invoked))[::7]:
        told = why_operation(trace, asked.event.op_id)
        well_formed(told, trace, line)
        answer = returned.get(asked.event.op_id)
        if answer is None:
            assert "has waited for" in told.sentence, (told, line)
            continue
        seconds = f"{answer.time - asked.time:.3f} s"
        assert seconds in told.sentence, (told, line)
        part = re.search(r"longest part of it, ([\d.]+) s", told.sentence)
        assert part is None or float(part[1]) <= answer.time - asked.time + 0.001, (told, line)
        assert asked.seq <= told.seq, (told, line)


def test_rules_that_decide_are_named_in_the_runs():
    """Of the rules that a run can show, most do show."""
    named = set()
    for run in RUNS:
        trace = run_of(*run)[0].trace
        for record in trace.of(ev.Refused, ev.BecameFollower, ev.BecameLeader, ev.Committed,
                               ev.Notified, ev.LeaseExpired, ev.LeaseRenewed, ev.LeasesCounted,
                               ev.ReadConfirmed, ev.VoteGranted, ev.Saved):  # fmt: skip
            if record.seq % 3 == 0 or not isinstance(record.event, (ev.Saved, ev.Committed)):
                named.add(why(trace, record.seq).rule)
    assert {
        "may_commit",
        "election_result",
        "may_vote_for",
        "is_up_to_date",
        "read_quorum",
    } <= named
    assert {"is_expired", "renewed_until", "time_of", "next_after", "has_lost"} <= named
    assert all(
        hasattr(Rules, one) or hasattr(Lessor, one) or rule_source(one) for one in named if one
    )


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_sentences_are_true_of_broken_rules_too(name):
    """What a broken rule does is told as it was: with too few votes, of an old term, or twice."""
    scene = SCENES / f"{MUTANTS[name].witness}.txt"
    cluster = transcript(scene.read_text("utf-8")).cluster
    trace, disks, voted, told = cluster.trace, Disks(), {}, ""
    for record in trace:
        event, text = record.event, str(why(trace, record.seq))
        told += text
        well_formed(why(trace, record.seq), trace, scene.name)
        disks.take(record)
        match event:
            case ev.Committed(term=term) if "needed" in text:
                leads = max(one.event.term for one in trace.of(ev.BecameLeader, node=record.node)
                            if one.seq < record.seq)  # fmt: skip
                assert ("but" in text) == (term != leads), (text, scene.name)
                counts(text, disks, record.node, scene.name, majority=False)
            case ev.BecameLeader(term=term):
                names = counts(text, disks, record.node, scene.name, majority=False)
                assert names <= disks.votes[record.node, term], (text, scene.name)
            case ev.BecameCandidate(term=term):
                voted[record.node, term] = record.node
            case ev.VoteGranted(term=term, candidate=candidate, pre=False):
                before = voted.setdefault((record.node, term), candidate)
                twice = f"it had voted for {before} in it" in text
                assert twice == (before != candidate), (text, scene.name)
    shows = {"CommitsOldTerms": "was not of its own term", "VotesTwice": "though it had voted for"}
    assert shows.get(name, "") in told, scene.name
