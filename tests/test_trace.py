"""The trace: records in order, readers, causes, files, frames and logs."""

import copy
import json
import logging

import pytest

from kvlearn import Cluster, Trace
from kvlearn.events import BecameLeader, Committed, Healed, Invoked, Paused, Resumed
from kvlearn.raft.types import ZERO
from kvlearn.trace import Record
from tests.sim.busy import busy


def story() -> Trace:
    trace = Trace(seed=7, about={"nodes": ["n1", "n2"]})
    asked = trace.add(0.5, "c1", Invoked(1, "n1", "put a"), None)
    done = trace.add(0.75, "n1", Committed(3, 1, 2), asked)
    trace.add(0.75, "", Healed(), None)
    trace.add(1.0, "n2", Committed(3, 1, 2), done)
    return trace


# Looking ------------------------------------------------------------------------------------


def test_records_are_numbered_in_order():
    trace = story()
    assert len(trace) == 4 and [record.seq for record in trace] == [0, 1, 2, 3]
    assert trace[1] == Record(1, 0.75, "n1", Committed(3, 1, 2), 0)
    assert trace[-1] == trace[3]
    assert trace[1:3] == [trace[1], trace[2]] and trace[::-2] == [trace[3], trace[1]]
    assert trace[9:] == []
    with pytest.raises(IndexError):
        trace[4]


def test_a_record_is_one_line():
    assert [str(record) for record in story()] == [
        "c1 asks n1: put a",
        "n1 commits entry 3, up to 3@1",
        "network: all links work again",
        "n2 commits entry 3, up to 3@1",
    ]


def test_some_records():
    trace = story()
    assert [r.seq for r in trace.of(Committed)] == [1, 3]
    assert [r.seq for r in trace.of(Committed, Healed)] == [1, 2, 3]
    assert [r.seq for r in trace.of(Committed, node="n2")] == [3]
    assert [r.seq for r in trace.of(Committed, start=2)] == [3]
    assert list(trace.of()) == list(trace.of(Paused)) == []


def test_a_chain_of_causes_nearest_first():
    trace = story()
    assert [r.seq for r in trace.causes(3)] == [1, 0]
    assert trace.causes(0) == trace.causes(2) == []


def test_a_trace_says_how_long_it_is():
    assert repr(story()) == "<Trace of 4 records, 1.000 s, seed 7>"
    assert repr(Trace()) == "<Trace of 0 records, 0 s, seed None>"
    html = story()._repr_html_()
    assert "c1 asks n1: put a" in html and html.count("<tr>") == 5


def test_what_is_told_is_escaped_in_html():
    trace = Trace()
    trace.add(0.0, "c1", Invoked(1, "n1", "put <script>"), None)
    assert "<script>" not in trace._repr_html_()


# Readers ------------------------------------------------------------------------------------


def test_readers_hear_of_the_kinds_that_they_asked_for():
    trace, heard, other = Trace(), [], []
    trace.subscribe(heard.append, Paused, Resumed)
    trace.subscribe(other.append, Paused)
    trace.add(1.0, "n1", Paused(), None)
    trace.add(2.0, "n1", Healed(), None)
    trace.add(3.0, "n1", Resumed(), 0)
    assert heard == [trace[0], trace[2]] and other == [trace[0]]


def test_a_reader_hears_after_the_record_stands():
    trace, seen = Trace(), []
    trace.subscribe(lambda record: seen.append(trace[record.seq] == record), Paused)
    trace.add(1.0, "n1", Paused(), None)
    assert seen == [True]


def test_a_reader_that_is_gone_hears_nothing():
    trace, heard = Trace(), []
    trace.subscribe(heard.append, Paused, Resumed)
    trace.unsubscribe(heard.append)
    trace.unsubscribe(print)  # nobody: ignored
    trace.add(1.0, "n1", Paused(), None)
    assert heard == []


def test_a_reader_may_leave_while_it_reads():
    trace, heard = Trace(), []

    def once(record):
        heard.append(record.seq)
        trace.unsubscribe(once)

    trace.subscribe(once, Paused)
    trace.subscribe(lambda record: heard.append("other"), Paused)
    trace.add(1.0, "n1", Paused(), None), trace.add(2.0, "n1", Paused(), None)
    assert heard == [0, "other", "other"]


def test_log_to_logs_a_line_a_record(caplog):
    trace = Trace()
    trace.log_to(logging.getLogger("kvlearn.test"))
    with caplog.at_level(logging.INFO, "kvlearn.test"):
        trace.add(1.5, "n1", BecameLeader(2, ("n1", "n3"), ZERO), None)
    assert caplog.messages == ["    1.500000 n1 becomes leader in term 2 with the votes of n1 n3"]


# What is looked at late ---------------------------------------------------------------------


@pytest.mark.parametrize("listens", [True, False])
def test_what_was_noted_is_a_record_like_any_other(listens):
    """`note` makes its event when somebody looks, or at once if a reader listens."""
    trace, heard = Trace(seed=1), []
    if listens:
        trace.subscribe(heard.append, Committed)
    assert trace.note(0.5, "n1", Committed, (3, 1, 2), None) == 0
    trace.add(0.5, "n2", Committed(3, 1, 2), 0)
    other = copy.deepcopy(trace)
    for one in (trace, other):
        assert one[0] == Record(0, 0.5, "n1", Committed(3, 1, 2), None)
        assert [r.node for r in one.of(Committed)] == ["n1", "n2"]
        assert one[:] == list(one) and one.causes(1) == [one[0]]
        assert list(Trace.parse(one.lines())) == list(one)
        assert list(one.to_pandas()["kind"]) == ["Committed"] * 2
    assert heard == (list(trace) if listens else [])


# Files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_trace_survives_a_file(tmp_path, seed):
    """Whatever happened: the records are equal, and saving again gives the same bytes."""
    trace = busy(seed, 6).trace
    path, again = tmp_path / "run.jsonl", tmp_path / "again.jsonl"
    trace.save(path)
    back = Trace.load(path)
    assert list(back) == list(trace)
    assert (back.seed, back.about) == (trace.seed, trace.about)
    back.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_any_key_and_any_value_survive_a_file(tmp_path):
    """Also the characters at which text is split into lines, but JSON is not."""
    cluster = Cluster(1, seed=1)
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("Å\x85\u2028\n\r\x0b\x1c", bytes(range(256)))
    client.get("Å", prefix=True)
    cluster.trace.save(tmp_path / "run.jsonl")
    assert list(Trace.load(tmp_path / "run.jsonl")) == list(cluster.trace)


def test_an_empty_trace_survives_a_file(tmp_path):
    Trace(seed=3, about={"nodes": ["n1"]}).save(tmp_path / "run.jsonl")
    back = Trace.load(str(tmp_path / "run.jsonl"))
    assert len(back) == 0 and back.seed == 3 and back.about == {"nodes": ["n1"]}


def test_the_first_line_says_what_the_file_is():
    head, first, *_ = story().lines()
    assert json.loads(head) == {"kvlearn": 1, "seed": 7, "nodes": ["n1", "n2"]}
    row = json.loads(first)
    assert (row["seq"], row["time"], row["node"], row["cause"]) == (0, 0.5, "c1", None)
    assert row["event"]["is"] == "Invoked"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty: a trace has at least a header line"),
        ("hello\n", "line 1: not a line of a trace"),
        ("{}\n", "line 1: not a line of a trace"),
        ("[1, 2]\n", "line 1: not a line of a trace"),
        ('{"kvlearn": 2, "seed": 1}\n', "line 1: .*written by a newer version"),
        ('{"kvlearn": 1}\n', "line 1: not a line of a trace: 'seed'"),
        ('{"kvlearn": 1, "seed": 1}\n{"seq": 0}\n', "line 2: not a line of a trace: 'event'"),
        ('{"kvlearn": 1, "seed": 1}\n\n', "line 2: not a line of a trace"),
        (
            '{"kvlearn": 1, "seed": 1}\n'
            '{"seq": 0, "time": 1, "node": "", "cause": null, "event": {"is": "Gone"}}\n',
            "line 2: .*unknown word 'Gone'",
        ),
        (
            '{"kvlearn": 1, "seed": 1}\n'
            '{"seq": 0, "time": 1, "node": "", "cause": null, "event": {"is": "Healed", "x": 1}}\n',
            "line 2: not a line of a trace",
        ),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_the_line(tmp_path, text, words):
    path = tmp_path / "odd.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words) as caught:
        Trace.load(path)
    assert "odd.jsonl" in str(caught.value)


def test_a_file_that_was_cut_short_is_noticed(tmp_path):
    path = tmp_path / "cut.jsonl"
    story().save(path)
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    with pytest.raises(ValueError, match="line 5: not a line of a trace"):
        Trace.load(path)


# Frames -------------------------------------------------------------------------------------


def test_a_frame_has_a_row_a_record():
    frame = story().to_pandas()
    assert list(frame.columns) == ["time", "node", "kind", "text", "cause"]
    assert list(frame.index) == [0, 1, 2, 3] and frame.index.name == "seq"
    assert list(frame["kind"]) == ["Invoked", "Committed", "Healed", "Committed"]
    assert frame["cause"].isna().tolist() == [True, False, True, False]
    assert frame.loc[3, "cause"] == 1 and str(frame["cause"].dtype) == "Int64"


def test_a_frame_of_nothing():
    frame = Trace().to_pandas()
    assert len(frame) == 0 and list(frame.columns) == ["time", "node", "kind", "text", "cause"]


# Whole runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_invariant_of_a_trace(seed):
    """Times never decrease; a cause is smaller than its record's number; every line has text."""
    trace = busy(seed, 6).trace
    time = 0.0
    for record in trace:
        assert record.time >= time
        time = record.time
        assert record.cause is None or 0 <= record.cause < record.seq
        assert str(record) and "\n" not in str(record)


def test_replaced_records_keep_the_readers_and_grow_the_era():
    trace, other, heard = story(), Trace(), []
    trace.subscribe(heard.append, Paused)
    other.add(0.0, "n1", Resumed(), None)
    assert trace.replaced_by(other) is trace and len(trace) == 1 and trace.era == 1
    trace.add(1.0, "n1", Paused(), None)
    assert len(heard) == 1
