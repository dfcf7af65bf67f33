"""The lamps of the promises show what the checkers say of the run up to the cursor."""

from __future__ import annotations

from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from kvlearn import Cluster, check
from kvlearn.course.lease_mutants import LEASE_MUTANTS
from kvlearn.course.lease_mutants import WITNESSES as LEASE_WITNESSES
from kvlearn.course.mutants import MUTANTS
from kvlearn.sim.script import play
from kvlearn.trace import Trace
from kvlearn.viz.verdicts import BROKEN, KEPT, NOTHING, UNKNOWN, lamps, verdicts
from tests.viz.test_real_runs import churned
from tests.viz.test_store_runs import run_of

SCENES = Path(__file__).resolve().parents[1] / "transcripts" / "mutants"
PROMISES = 20


def until(trace, seq):
    past = Trace(trace.seed, dict(trace.about))
    for record in trace[: seq + 1]:
        past.add(record.time, record.node, record.event, record.cause)
    return past


def judged(trace):
    """What the checkers say, without the lamps: promise -> verdict."""
    told = [*check.invariants(trace), *check.service(trace), check.answers(trace)]
    told += [*check.watches(trace), *check.leases(trace)]
    return {verdict.promise: verdict for verdict in told}


def hooked(svg, name):
    root = ElementTree.fromstring(svg.html())
    return [e for e in root.iter() if e.get(f"data-kv-{name}") is not None]


def witness(name):
    """The trace of a mutant's witness, in which a promise breaks."""
    return play((SCENES / f"{name}.txt").read_text("utf-8")).cluster.trace


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_at_every_cursor_the_lamps_are_the_verdicts_on_the_past(seed):
    trace, rng = run_of(seed).trace, Random(seed)
    last = {lamp.promise: lamp for lamp in lamps(trace)}
    assert len(last) == PROMISES
    for seq in sorted(rng.randrange(len(trace)) for _ in range(6)):
        replay, told = f"run_of({seed}), seq={seq}", judged(until(trace, seq))
        now = lamps(trace, seq=seq)
        assert [lamp.promise for lamp in now] == list(last), replay
        for lamp in now:
            assert (lamp.state == BROKEN) == (not told[lamp.promise].ok), (replay, lamp)
            assert lamp.state == NOTHING or lamp.why == told[lamp.promise].why, (replay, lamp)
            assert lamp.state == last[lamp.promise].state_at(seq), (replay, lamp)


def test_a_run_without_watches_and_leases_has_nothing_to_judge_there():
    cluster = Cluster(3, seed=7)
    states = {lamp.promise: lamp.state for lamp in lamps(cluster)}
    assert set(states.values()) == {NOTHING}
    cluster.client().put("a", "1")
    states = {lamp.promise: lamp.state for lamp in lamps(cluster)}
    kept = {promise for promise, state in states.items() if state == KEPT}
    assert kept >= {"Election Safety", "Log Matching", "Durability", "Fresh Reads", "Answers"}
    assert states["Reliable"] == states["Lease Safety"] == NOTHING


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_lamp_goes_out_at_the_record_that_breaks_its_promise(name):
    mutant = MUTANTS[name]
    trace = witness(mutant.witness)
    lamp = next(one for one in lamps(trace) if one.promise == mutant.promise)
    record = trace[lamp.record]
    assert (lamp.state, lamp.time) == (BROKEN, record.time) and lamp.section and lamp.event
    for seq in (lamp.record - 1, lamp.record):
        before = next(one for one in lamps(trace, seq=seq) if one.promise == mutant.promise)
        assert before.state == lamp.state_at(seq), seq
        assert (before.state == BROKEN) == (seq == lamp.record), seq


def test_a_broken_lamp_names_the_event_in_picture_and_words():
    mutant = LEASE_MUTANTS["ExpiresEarly"]
    cluster = LEASE_WITNESSES[mutant.witness](mutant)
    drawn, (lamp,) = verdicts(cluster), [one for one in lamps(cluster) if one.state == BROKEN]
    assert lamp.promise == "Lease Safety"
    (row,) = hooked(drawn, "record")
    assert row.get("data-kv-promise") == "Lease Safety" and row.get("data-kv-lamp") == BROKEN
    assert row.get("data-kv-record") == str(lamp.record)
    told = f"[record {lamp.record}, {lamp.time:.3f} s: {lamp.event}]"
    assert told in drawn.text and f"broken: {lamp.why} {told}" in drawn.text
    words = " ".join(e.text or "" for e in row.iter())
    assert f"broken by record {lamp.record} at {lamp.time:.3f} s" in words
    assert drawn.hooks["data_kv_broken"] == 1


def test_lamps_differ_in_shape_and_word():
    mutant = LEASE_MUTANTS["ExpiresEarly"]
    cluster = LEASE_WITNESSES[mutant.witness](mutant)
    shapes = {}
    for row in hooked(verdicts(cluster), "lamp"):
        texts = [e.text for e in row.iter() if e.tag.endswith("}text")]
        sign = next(e for e in row.iter() if e.tag.endswith("}g") and e is not row)
        look = [(e.tag, e.get("d"), e.get("stroke-dasharray")) for e in list(sign)]
        shapes[row.get("data-kv-lamp")] = str(look)
        word = {KEPT: "kept", BROKEN: "broken", NOTHING: "nothing to judge"}
        assert word[row.get("data-kv-lamp")] in texts
    assert len(shapes) == len(set(shapes.values())) == 3


def test_a_trace_that_lacks_entries_is_not_judged_by_them():
    cluster = Cluster(3, seed=7)
    cluster.client().put("a", "1")
    cluster.client().watch("a")
    cluster.run(0.1)
    part = Trace(7)
    for record in cluster.trace:
        if getattr(record.event, "index", 0) != 1 or "Applied" not in type(record.event).__name__:
            part.add(record.time, record.node, record.event, None)
    told = {lamp.promise: lamp for lamp in lamps(part) if lamp.state == UNKNOWN}
    assert set(told) == {"Answers", "all to watchers"}
    assert "entry 1" in told["Answers"].why
    assert "Answers (kvlearn): cannot tell: the trace does not tell" in verdicts(part).text


def test_the_cursor_is_a_time_or_a_record():
    trace = run_of(3).trace
    seq = len(trace) // 2
    record = trace[seq]
    at = verdicts(trace, at=record.time)
    assert at.hooks["data_kv_seq"] >= seq and "data-kv-time" in at.html()
    with pytest.raises(ValueError, match="not both"):
        verdicts(trace, at=1.0, seq=3)
    with pytest.raises(TypeError, match="needs a trace or a cluster"):
        verdicts(7)


@pytest.mark.parametrize("seed", [11, 36])
def test_every_run_with_changing_members_keeps_its_promises_and_can_be_drawn(seed):
    *_, cluster = churned(seed, 25)
    drawn = verdicts(cluster)
    assert drawn.hooks["data_kv_broken"] == 0, f"churned({seed}, 25)\n{drawn.text}"
    for dark in (False, True):
        markup = drawn.svg(dark)
        ElementTree.fromstring(markup)
        assert "var(" not in markup and " id=" not in markup


def test_an_empty_trace_has_nothing_to_judge():
    assert "20 nothing to judge" not in verdicts(Trace()).text  # no CheckQuorum in it: 18
    assert verdicts(Trace()).text.startswith("18 promises at 0.000 s: 18 nothing to judge")
