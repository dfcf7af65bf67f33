"""What a panel asks is answered for the moment where its cursor stands, whatever is asked."""

import pytest

from kvlearn import Cluster
from kvlearn import events as ev
from kvlearn.raft.types import ZERO
from kvlearn.trace import Trace
from kvlearn.viz import look_store
from kvlearn.viz.asking import Desk


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("a", "1")
    client.delete("a")
    return cluster


def two_leaders() -> Trace:
    """Term 2 has one leader, and from record 1 on two."""
    trace = Trace()
    for time, node in (0.5, "n1"), (0.75, "n3"):
        trace.add(time, node, ev.BecameLeader(2, (node,), ZERO), None)
    return trace


def promise(desk, name, cursor):
    return desk.why(["promise", name], None, cursor)


def test_a_promise_is_told_as_it_stands_at_the_cursor():
    desk = Desk(two_leaders(), None)
    desk.verdicts(now=True)
    kept, broken = (promise(desk, "Election Safety", cursor) for cursor in (0, 1))
    assert kept["sentence"] == "Election Safety is kept up to record 0." and kept["seq"] is None
    assert broken["sentence"].startswith("Election Safety is broken by record 1, at 0.750 s: ")
    assert broken["seq"] == 1
    assert broken["section"] == "Raft paper, section 5.2" and broken["url"].endswith("raft.pdf")


def test_a_promise_at_the_end_is_told_with_its_numbers(cluster):
    desk = Desk(cluster.trace, cluster)
    desk.verdicts(now=True)
    end, first = len(cluster.trace) - 1, next(cluster.trace.of(ev.Committed)).seq
    told = promise(desk, "Election Safety", end)
    assert told["sentence"] == (
        "Election Safety is kept so far: 1 term had a leader, and none had two."
    )
    assert "term" not in promise(desk, "Election Safety", end - 1)["sentence"], "not of then"
    assert promise(desk, "Leader Completeness", first - 1)["sentence"] == (
        f"Leader Completeness had nothing to judge up to record {first - 1}."
    )
    assert promise(desk, "Reliable", end)["sentence"] == (
        "Reliable had nothing to judge so far: nobody watches."
    )


def test_a_promise_beyond_what_was_looked_at_is_not_vouched_for(cluster):
    trace = two_leaders()
    desk = Desk(trace, None)
    desk.verdicts(now=True)
    trace.add(1.0, "n1", ev.Paused(), None)
    assert promise(desk, "Log Matching", 2)["sentence"] == (
        "Log Matching was not looked at yet beyond record 1."
    )
    assert promise(desk, "Election Safety", 2)["seq"] == 1, "what is broken stays so"
    assert "not looked at yet" in promise(desk, "Linearizability", 2)["sentence"]


def test_linearizability_is_a_lamp_that_can_be_asked(cluster):
    desk, end = Desk(cluster.trace, cluster), len(cluster.trace) - 1
    lamp = desk.linearizable()
    assert lamp["ok"] and lamp["upto"] == end and lamp["epoch"] == cluster.trace.era
    assert promise(desk, "Linearizability", end)["sentence"].startswith("Linearizability is kept")
    assert promise(desk, "Linearizability", 5)["sentence"] == (
        "Linearizability is kept up to record 5."
    )


def test_what_is_asked_before_it_happened_gets_a_sentence(cluster):
    desk = Desk(cluster.trace, cluster)
    asked = next(cluster.trace.of(ev.Invoked))
    told = desk.why(["operation", asked.event.op_id], asked.seq, asked.seq - 1)
    assert told["sentence"] == (
        f"Operation {asked.event.op_id} was not asked yet: that happens at {asked.time:.3f} s."
    )
    assert told["seq"] == asked.seq


@pytest.mark.parametrize(
    "what",
    [
        ["operation", 99],
        ["node", "n9"],
        ["entry", "n9", 1],
        ["entry", "n1", 10**9],
        ["packet", 10**9],
        ["record", 10**9],
        ["record", -1],
        ["key", "a", 99, 0],
        ["watch", "w.0"],
        ["watch", "w."],
        ["lease", "7"],
        ["lease", "seven"],
        ["txn", 3],
        ["promise", "Everything"],
        ["weather"],
    ],
    ids=str,
)
def test_what_nobody_knows_is_said_in_a_sentence(cluster, what):
    for cursor in (-1, 0, len(cluster.trace) - 1):
        told = Desk(cluster.trace, cluster).why(what, None, cursor)
        assert told["sentence"][0].isupper() and told["sentence"].endswith("."), told
        assert "Error" not in told["sentence"] and told["seq"] is None


def test_a_mark_of_what_is_gone_is_told_of_its_record(cluster):
    told = Desk(cluster.trace, cluster).why(["packet", 10**9], 0, 5)
    assert told["seq"] == 0 and "starts" in told["sentence"]


def test_what_was_deleted_was_not_replaced(cluster):
    wrote, gone = look_store(cluster).changes
    asked = ["key", "a", wrote.at.main, wrote.at.sub]
    told = Desk(cluster.trace, cluster).why(asked, None, len(cluster.trace) - 1)
    assert told["sentence"].endswith(f"; it was deleted at revision {gone.revision}.")


def test_a_message_that_arrived_is_told_as_past_and_before_that_as_due(cluster):
    trace = cluster.trace
    came = next(trace.of(ev.Received))
    for what in ["packet", came.event.packet], ["record", came.cause]:
        desk = Desk(trace, cluster)
        told = desk.why(what, came.cause, came.seq)["sentence"]
        assert f"received it at {came.time:.3f} s" in told
        due = desk.why(what, came.cause, came.seq - 1)["sentence"]
        assert due.endswith(f"at {came.time:.3f} s.") and "received" not in due
