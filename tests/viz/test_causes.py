"""The graph of causes holds what a decision stands on, and its text says the same."""

from __future__ import annotations

import re

import pytest

from kvlearn import Cluster
from kvlearn import events as ev
from kvlearn.raft import messages as msg
from kvlearn.trace import Trace
from kvlearn.viz import Moment, Svg, causes, theme
from kvlearn.viz.causes import MOST, reasons
from kvlearn.viz.dot import engine
from tests.viz import scenes
from tests.viz.test_store_runs import run_of


@pytest.fixture(scope="module")
def run():
    cluster = Cluster(5, seed=3)
    cluster.wait_for_leader()
    client = cluster.client(cluster.leader)
    client.watch("a")
    client.put("a", "1")
    client.get("a")
    cluster.crash(cluster.leader)
    client = cluster.client(cluster.wait_for_leader())
    client.put("b", "2")
    cluster.run(1)
    return cluster


def nodes_of(graph):
    return {int(one) for one in re.findall(r"^  r(\d+) \[", graph.source, re.MULTILINE)}


def arrows_of(graph):
    found = re.findall(r"^  r(\d+) -> r(\d+)$", graph.source, re.MULTILINE)
    return {(int(one), int(other)) for one, other in found}


def last_of(trace, kind, fits=lambda event: True):
    return [record for record in trace.of(kind) if fits(record.event)][-1]


def test_an_election_stands_on_its_votes(run):
    trace = run.trace
    won = last_of(trace, ev.BecameLeader)
    stands_on = [trace[seq] for seq in reasons(trace, won)]
    voted = {one.event.message.source for one in stands_on if isinstance(one.event, ev.Received)}
    assert voted | {won.node} == set(won.event.votes)
    assert any(isinstance(one.event, ev.BecameCandidate) for one in stands_on)


def test_a_commit_stands_on_a_majority_of_disks(run):
    trace = run.trace
    commits = [one for one in trace.of(ev.Committed)
               if isinstance(trace[one.cause].event.message, msg.AppendResponse)]  # fmt: skip
    assert len(commits) > 3
    for commit in commits:
        stands_on = [trace[seq].event for seq in reasons(trace, commit)]
        acks = {one.message.source for one in stands_on if isinstance(one, ev.Received)}
        saved = [one for one in stands_on if isinstance(one, ev.Saved)]
        assert len(acks) + len(saved) >= 3 and len(saved) <= 1
        assert all(one.last >= commit.event.index for one in saved)


def test_a_commit_that_was_heard_of_stands_on_the_message_alone(run):
    trace = run.trace
    told = msg.AppendEntries, msg.Heartbeat
    commits = trace.of(ev.Committed)
    heard = [one for one in commits if isinstance(trace[one.cause].event.message, told)]
    assert heard and all(reasons(trace, one) == (one.cause,) for one in heard)


def test_an_answer_stands_on_the_question_and_the_entry(run):
    trace = run.trace
    answer = last_of(trace, ev.Returned, lambda event: event.revision and not event.error)
    graph = causes(run, answer.seq)
    kinds = {type(trace[number].event) for number in nodes_of(graph)}
    assert {ev.Invoked, ev.Appended, ev.Committed, ev.Applied, ev.Saved, ev.Sent} <= kinds


def test_news_stand_on_the_entry_that_made_them(run):
    trace = run.trace
    told = last_of(trace, ev.Notified, lambda event: getattr(event.response, "events", ()))
    assert ev.Applied in {type(trace[seq].event) for seq in reasons(trace, told)}


def test_a_read_stands_on_the_answers_of_its_round(run):
    trace = run.trace
    read = last_of(trace, ev.ReadConfirmed, lambda event: event.acks)
    asked = {trace[seq].event.message.source for seq in reasons(trace, read)
             if isinstance(trace[seq].event, ev.Received)}  # fmt: skip
    assert asked | {read.node} == set(read.event.acks)


def test_arrows_lead_from_before_to_after_and_say_nothing_twice(run):
    trace = run.trace
    for seq in range(0, len(trace), 97):
        graph = causes(trace, seq)
        arrows, drawn = arrows_of(graph), nodes_of(graph)
        assert seq in drawn and len(drawn) <= 2 * MOST
        assert all(before < after for before, after in arrows)
        assert {one for arrow in arrows for one in arrow} <= drawn
        for before, after in arrows:
            others = {one for one, end in arrows if end == after} - {before}
            assert not any(reached(arrows, before, other) for other in others)


def reached(arrows, start, end):
    row, seen = [end], set()
    while row:
        here = row.pop()
        if here == start:
            return True
        for before, after in arrows:
            if after == here and before not in seen:
                seen.add(before)
                row.append(before)
    return False


def test_the_text_says_what_is_drawn(run):
    trace = run.trace
    for seq in range(5, len(trace), 131):
        graph = causes(trace, seq)
        lines = graph.text.splitlines()
        told = {int(re.match(r"record (\d+), ", line)[1]) for line in lines[1:]
                if line.startswith("record")}  # fmt: skip
        assert told == nodes_of(graph)
        assert re.match(rf"{len(told) - 1} causes? of record {seq}[.,]", lines[0])
        for before, after in arrows_of(graph):
            (line,) = [line for line in lines if line.startswith(f"record {after}, ")]
            assert re.search(rf"because of records? .*\b{before}\b", line)
        assert (", and more before them" in lines[0]) == ("more" in graph.source)


def test_depth_says_how_far_back(run):
    won = last_of(run.trace, ev.BecameLeader)
    assert nodes_of(causes(run, won.seq, depth=0)) == {won.seq}
    sizes = [len(nodes_of(causes(run, won.seq, depth=depth))) for depth in range(6)]
    assert sizes == sorted(sizes) and sizes[1] == 1 + len(reasons(run.trace, won))
    with pytest.raises(ValueError):
        causes(run, won.seq, depth=-1)
    for wrong in (-1, len(run.trace)):
        with pytest.raises(IndexError):
            causes(run, wrong)
    with pytest.raises(IndexError):
        causes(Trace())


def test_any_subject_will_do_and_the_cursor_counts(run):
    trace = run.trace
    won = last_of(trace, ev.BecameLeader)
    assert causes(Moment.at(trace, won.seq)).source == causes(trace, won.seq).source
    assert causes(run).source == causes(trace, len(trace) - 1).source


def test_colours_are_those_of_the_terms(run):
    won = last_of(run.trace, ev.BecameLeader)
    graph = causes(run, won.seq, depth=1)
    (line,) = [one for one in graph.source.splitlines() if one.startswith(f"  r{won.seq} [")]
    assert f'fillcolor="{theme.term_colour(won.event.term)}"' in line
    assert f"term {won.event.term}" in line  # colour is never alone


@pytest.mark.skipif(engine() is None, reason="no Graphviz here")
def test_it_is_drawn(run):
    graph = causes(run, last_of(run.trace, ev.BecameLeader).seq)
    assert isinstance(graph, Svg) and "becomes leader" in graph.svg()
    assert graph.source.startswith("digraph causes {")


def test_what_is_written_cannot_break_out_of_the_picture():
    trace = scenes.three()
    trace.add(9.0, "c1", ev.Invoked(7, "n1", 'put "a"=<b>\\n&{x}' + "long" * 30), None)
    graph = causes(trace)
    assert '\\"a\\"=' in graph.source
    assert "<b>" not in graph.svg()


@pytest.mark.parametrize("seed", range(3))
def test_every_record_of_a_run_has_its_graph(seed):
    trace = run_of(seed).trace
    for seq in range(0, len(trace), 5):
        known = reasons(trace, trace[seq])
        assert list(known) == sorted(set(known)) and all(one < seq for one in known), (
            f"run_of({seed})"
        )
        cause = trace[seq].cause
        assert cause is None or cause in known, f"run_of({seed})"
