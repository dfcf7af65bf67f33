"""Histories: from traces, and from files that Jepsen recorded."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, Trace, check
from kvlearn.check import Append, Cas, Operation, Read, Write, history_of, load_jepsen
from kvlearn.check.histories import parse_jepsen
from kvlearn.events import Invoked, Returned
from kvlearn.kv.requests import Put, PutResult, Range, RangeResult

REGISTER = """
INFO  jepsen.util - 0	:invoke	:write	1
INFO  jepsen.util - 1	:invoke	:read	nil
INFO  jepsen.util - 1	:ok	:read	nil
INFO  jepsen.util - 0	:ok	:write	1
INFO  jepsen.util - :nemesis	:info	:start	nil
INFO  jepsen.util - 2   :invoke :cas    [1 2]
INFO  jepsen.util - 2   :ok     :cas    [1 2]
INFO  jepsen.util - 1   :invoke :cas    [1 3]
INFO  jepsen.util - 1   :fail   :cas    [1 3]
INFO  jepsen.util - 0	:invoke	:read	nil
INFO  jepsen.util - 0	:fail	:read	:timed-out
INFO  jepsen.util - 0	:invoke	:write	4
INFO  jepsen.util - 0	:info	:write	:timed-out
INFO  jepsen.util - 1	:invoke	:write	5
INFO  jepsen.util - 1	:fail	:write	:refused
INFO  jepsen.util - 2	:invoke	:cas	[2 6]
INFO  jepsen.util - 2	:fail	:cas	:refused
INFO  jepsen.util - 5	:invoke	:read	nil
INFO  jepsen.util - 5	:ok	:read	2
INFO  jepsen.util - 6	:invoke	:cas	[2 7]
"""

TEXTS = r"""
{:process 0, :type :invoke, :f :append, :key "7", :value "x 0 0 y"}
{:process 1, :type :invoke, :f :get, :key "7", :value nil}
{:process 1, :type :ok, :f :get, :key "7", :value ""}
{:process 0, :type :ok, :f :append, :key "7", :value "x 0 0 y"}
{:process 1, :type :invoke, :f :put, :key "a \" b", :value ""}
{:process 1, :type :ok, :f :put, :key "a \" b", :value ""}
{:process 0, :type :invoke, :f :get, :key "7", :value nil}
{:process 0, :type :ok, :f :get, :key "7", :value "x 0 0 y"}
{:process 2, :type :invoke, :f :append, :key "7", :value "lost"}
"""


def test_a_register_that_jepsen_recorded():
    """Times are line numbers; what failed is left out, but for a swap that saw another value."""
    history = parse_jepsen(REGISTER.splitlines())
    assert [(op.client, op.call_s, op.return_s, op.input, op.output) for op in history] == [
        ("c0", 2, 5, Write(1), None),
        ("c1", 3, 4, Read(), None),
        ("c2", 7, 8, Cas(1, 2), True),
        ("c1", 9, 10, Cas(1, 3), False),
        ("c0", 13, None, Write(4), None),
        ("c5", 19, 20, Read(), 2),
        ("c6", 21, None, Cas(2, 7), None),
    ]
    assert check.linearizable(history).ok


def test_texts_under_keys(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text(TEXTS, encoding="utf-8")
    history = load_jepsen(path)
    assert [(op.client, op.input, op.output) for op in history] == [
        ("c0", Append("x 0 0 y", "7"), None),
        ("c1", Read("7"), ""),
        ("c1", Write("", 'a " b'), None),
        ("c0", Read("7"), "x 0 0 y"),
        ("c2", Append("lost", "7"), None),
    ]
    verdict = check.linearizable(history)
    assert verdict.ok and "on 2 keys" in verdict.why


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hello", "line 3: neither a line of a register's history nor of a key-value history"),
        ("INFO  jepsen.util - x\t:invoke\t:read\tnil", "a process is a number, not x"),
        ("INFO  jepsen.util - 1\t:asks\t:read\tnil", "not :asks"),
        ("INFO  jepsen.util - 1\t:invoke\t:pop\tnil", "unknown function :pop"),
        ("INFO  jepsen.util - 1\t:invoke\t:cas\t[1]", r"cas takes \[old new\]"),
        ("INFO  jepsen.util - 1\t:invoke\t:write\tx", "a value is nil, a number or a text"),
        ("INFO  jepsen.util - 1\t:ok\t:read\tnil", "process 1 gets an answer and has asked noth"),
        ("INFO  jepsen.util - 0\t:invoke\t:read\tnil", "process 0 still waits since line 2"),
        ("INFO  jepsen.util - 0\t:ok\t:write\t8", "not to what was asked in line 2, write 7"),
        ('{:process 1, :type :invoke, :f :put, :key "a", :value "b}', "a value is nil"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_its_number(line, why, tmp_path):
    path = tmp_path / "bad.log"
    path.write_text(f"\nINFO  jepsen.util - 0\t:invoke\t:write\t7\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=why) as caught:
        load_jepsen(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert repr(line) in str(caught.value)


# Traces ---------------------------------------------------------------------------------------


def test_a_trace_tells_what_was_asked_and_what_nobody_knows():
    trace = Trace(seed=3)
    put, get, stale = Put(b"a", b"1"), Range(b"a"), Range(b"a", serializable=True)
    asked = [
        (1.0, "c1", Invoked(1, "n1", put)),
        (1.1, "c2", Invoked(2, "n1", get)),
        (1.2, "c2", Returned(2, "n1", RangeResult(), 1)),
        (1.3, "c1", Returned(1, "n1", PutResult(), 2)),
        (2.0, "c1", Invoked(3, "n2", put)),  # refused
        (2.1, "c1", Returned(3, "n2", None, 0, "etcdserver: no leader")),
        (3.0, "c1", Invoked(4, "n2", put)),  # who knows
        (3.1, "c1", Returned(4, "n2", None, 0, "etcdserver: request timed out", True)),
        (4.0, "c2", Invoked(5, "n2", get)),  # a read without an answer
        (4.1, "c2", Returned(5, "n2", None, 0, "etcdserver: request timed out")),
        (5.0, "c2", Invoked(6, "n2", stale)),
        (5.1, "c2", Returned(6, "n2", RangeResult(), 1)),
        (6.0, "c3", Invoked(7, "n3", put)),  # still under way
        (6.1, "c3", Invoked(8, "n3", get)),
    ]
    for time, client, event in asked:
        trace.add(time, client, event, None)
    history = history_of(trace)
    assert [(op.client, op.call_s, op.return_s, op.seq) for op in history] == [
        ("c1", 1.0, 1.3, 0),
        ("c2", 1.1, 1.2, 1),
        ("c1", 3.0, None, 6),
        ("c3", 6.0, None, 12),
    ]
    assert history[0].output.header.revision == 2 and history[0].output.result == PutResult()
    verdict = check.linearizable(trace)
    assert verdict.ok and verdict.seed == 3
    assert "4 operations of 3 clients (2 without an answer)" in verdict.why


def test_a_saved_trace_has_the_same_verdict(tmp_path):
    cluster = Cluster(3, seed=5)
    client = cluster.client()
    for number in range(10):
        client.put("k", str(number))
        client.get("k")
    client.delete("k")
    cluster.trace.save(tmp_path / "run.jsonl")
    loaded = check.linearizable(Trace.load(tmp_path / "run.jsonl"))
    alive = check.linearizable(cluster)
    assert alive.ok and str(alive) == str(loaded) and alive.history == loaded.history
    assert [str(op.input) for op in alive.order[:2]] == ["put k=0", "get k"]


def test_operations_print_as_one_line():
    assert str(Operation("c1", 0, 1, Write(5, "k"))) == "c1: write k=5"
    assert str(Operation("c1", 0, 1, Read("k"))) == "c1: read k → None"
    assert str(Operation("c1", 0, None, Cas(1, 2))) == "c1: cas 1→2 → ?"
    assert str(Operation("c1", 0, 1, Cas(1, 2, "k"), True)) == "c1: cas k 1→2 → True"
    assert str(Operation("c1", 0, 1, Append(3))) == "c1: append 3"
