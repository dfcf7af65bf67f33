"""Where clients ask: each operation is invoked once, answered at most once, and told truly."""

import pytest

from kvlearn import Cluster
from kvlearn.errors import EmptyKey, NoLeader, Stopped, TimedOut
from kvlearn.events import Invoked, Returned
from kvlearn.kv.requests import Answer, DeleteRange, Header, Put, PutResult, Range
from kvlearn.sim.clock import VirtualClock
from kvlearn.sim.desk import Desk
from kvlearn.trace import Trace

PUT = Put(b"k", b"v")


def open_desk() -> Desk:
    return Desk(VirtualClock(), Trace(1))


def test_operations_are_numbered_and_clients_named():
    desk = open_desk()
    assert [desk.name_client(), desk.name_client()] == ["c1", "c2"]
    assert [desk.ask("c1", "n1", PUT).op_id, desk.ask("c2", "n2", PUT).op_id] == [1, 2]


def test_an_answer_closes_an_operation_and_its_record_points_at_the_cause():
    desk = open_desk()
    asked = desk.ask("c1", "n1", PUT)
    assert not asked.done
    desk.clock.now = 0.5
    desk.answered(Answer(1, Header(revision=2), PutResult()), asked.seq)
    done = desk.operations[1]
    assert (done.done, done.call_s, done.return_s, done.error) == (True, 0.0, 0.5, None)
    [record] = desk.trace.of(Returned)
    assert record.cause == asked.seq and record.node == "c1"
    assert record.event == Returned(1, "n1", PutResult(), 2)
    assert not asked.done, "an operation is a value: what was looked at stays as it was"


def test_a_second_answer_is_not_told():
    desk = open_desk()
    asked = desk.ask("c1", "n1", PUT)
    desk.give_up(1)
    desk.answered(Answer(1, Header(), PutResult()), asked.seq)
    desk.broken(1, asked.seq)
    assert len(list(desk.trace.of(Returned))) == 1
    assert isinstance(desk.operations[1].error, TimedOut)


@pytest.mark.parametrize("request_", [PUT, DeleteRange(b"k"), Range(b"k")], ids=str)
@pytest.mark.parametrize("how", ["broken", "give_up", "refused"])
def test_only_a_write_without_an_answer_is_of_unknown_outcome(request_, how):
    desk = open_desk()
    asked = desk.ask("c1", "n1", request_)
    {
        "broken": lambda: desk.broken(1, asked.seq),
        "give_up": lambda: desk.give_up(1),
        "refused": lambda: desk.refused(1),
    }[how]()
    [record] = desk.trace.of(Returned)
    unknown = how != "refused" and not isinstance(request_, Range)
    assert record.event.unknown is unknown
    assert ("whether it was carried out is not known" in record.event.error) is unknown
    assert record.cause == asked.seq


def test_a_refusal_comes_back_as_the_error_that_it_was():
    desk = open_desk()
    asked = desk.ask("c1", "n1", Put(b""))
    desk.answered(Answer.refusal(1, Header(revision=7), EmptyKey()), asked.seq)
    assert desk.operations[1].error == EmptyKey()
    [record] = desk.trace.of(Returned)
    assert record.event.revision == 7 and not record.event.unknown


# In a cluster -------------------------------------------------------------------------------


def test_a_node_that_is_down_refuses_at_once():
    cluster = Cluster(3, seed=1)
    cluster.crash("n1")
    operation = cluster.operation(cluster.submit(PUT, "n1"))
    assert operation.done and isinstance(operation.error, Stopped)
    assert "n1 is down; ask another node" in str(operation.error)


def test_without_a_leader_a_node_refuses_at_once():
    cluster = Cluster(3, seed=1)
    for request in (PUT, Range(b"k")):
        operation = cluster.operation(cluster.submit(request, "n2"))
        assert operation.done and isinstance(operation.error, NoLeader)
    serializable = cluster.operation(cluster.submit(Range(b"k", serializable=True), "n2"))
    assert serializable.answer.result.count == 0 and serializable.error is None


def test_giving_up_ends_the_waiting_but_not_the_write():
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    op_id = cluster.submit(PUT, leader)
    cluster.give_up(op_id)
    cluster.give_up(op_id)  # once is enough, twice does no harm
    assert isinstance(cluster.operation(op_id).error, TimedOut)
    cluster.run(1)
    assert isinstance(cluster.operation(op_id).error, TimedOut), "a late answer changes nothing"
    assert cluster.client(leader).get("k").text == "v"
    assert len([r for r in cluster.trace.of(Returned) if r.event.op_id == op_id]) == 1


def test_a_request_that_is_wrong_in_itself_never_reaches_the_log():
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    cluster.run(1)
    operation = cluster.operation(cluster.submit(Put(b""), leader))
    assert isinstance(operation.error, EmptyKey)
    cluster.run(1)
    assert len(cluster.nodes[leader].log) == 1


@pytest.mark.parametrize("seed", range(3))
def test_every_question_has_at_most_one_end(seed):
    cluster = Cluster(3, seed=seed)
    for k in range(60):
        cluster.run(0.1)
        cluster.submit(Put(b"k", b"%d" % k), f"n{k % 3 + 1}", f"c{k}")
        if k % 20 == 10:
            cluster.crash("n1")
        if k % 20 == 19:
            cluster.restart("n1")
    cluster.run(3)
    asked = [r.event.op_id for r in cluster.trace.of(Invoked)]
    ended = [r.event.op_id for r in cluster.trace.of(Returned)]
    assert asked == list(range(1, 61))
    assert len(ended) == len(set(ended)) and set(ended) <= set(asked) and len(ended) > 40
    for record in cluster.trace.of(Returned):
        operation = cluster.operation(record.event.op_id)
        assert operation.return_s == record.time and operation.client == record.node
