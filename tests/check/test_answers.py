"""Answers held against the log: right ones, and each kind of wrong one."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, StoreConfig
from kvlearn.check.answers import answers
from kvlearn.events import Applied, Invoked, Returned
from kvlearn.kv.leases import Compact, CompactResult, LeaseGrant, LeaseResult
from kvlearn.kv.requests import (
    Command,
    DeleteRange,
    DeleteResult,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from kvlearn.kv.txn import Compare, OpResult, Txn, TxnResult
from kvlearn.mvcc.revision import KeyValue
from kvlearn.trace import Trace

ONE = KeyValue(b"a", b"1", 2, 2, 1)
TWO = KeyValue(b"a", b"2", 2, 3, 2)


class Story:
    """What clients asked and the log did, in the order of the calls."""

    def __init__(self):
        self.trace = Trace(seed=7)
        self.index = 0

    def tell(self, who, event):
        self.trace.add(0.0, who, event, None)

    def ask(self, op_id, request):
        self.tell("c1", Invoked(op_id, "n1", request))

    def log(self, op_id, request, revision, error=""):
        self.index += 1
        self.tell("n1", Applied(self.index, 1, Command("n1", op_id, request), revision, error))

    def told(self, op_id, result, revision, error=""):
        self.tell("c1", Returned(op_id, "n1", result, revision, error))

    def write(self, op_id, request, result, revision):
        self.ask(op_id, request)
        self.log(op_id, request, revision)
        self.told(op_id, result, revision)

    def read(self, op_id, request, result, revision):
        self.ask(op_id, request)
        self.told(op_id, result, revision)


def two_puts() -> Story:
    story = Story()
    story.write(1, Put(b"a", b"1"), PutResult(), 2)
    story.write(2, Put(b"a", b"2", prev_kv=True), PutResult(ONE), 3)
    return story


def pairs(*kvs):
    return RangeResult(kvs, False, len(kvs))


def test_right_answers():
    story = two_puts()
    story.read(3, Range(b"a"), pairs(TWO), 3)
    story.read(4, Range(b"a", revision=2), pairs(ONE), 3)
    story.read(5, Range(b"a", serializable=True), pairs(ONE), 2)
    txn = Txn((Compare(b"a", "value", "equal", b"2"),), (DeleteRange(b"a"), Range(b"a")))
    done = TxnResult(True, (OpResult(4, DeleteResult(1)), OpResult(4, pairs())))
    story.write(6, txn, done, 4)
    look = Txn((Compare(b"a"),), (Range(b"a"),))
    story.read(7, look, TxnResult(True, (OpResult(4, pairs()),)), 4)
    story.write(8, LeaseGrant(1, 5), LeaseResult(5, 2), 4)
    story.write(9, Compact(4), CompactResult(), 4)
    verdict = answers(story.trace)
    assert verdict.ok, verdict.why
    assert "8 answers" in verdict.why


def test_what_was_refused_or_is_not_answered_promises_nothing():
    story = two_puts()
    story.ask(3, Put(b"a", b"3"))
    story.ask(4, Put(b"a", b"4"))
    story.told(4, None, 0, error="no leader")
    story.ask(5, Put(b"a", b"5"))
    story.log(5, Put(b"a", b"5"), 4)
    assert answers(story.trace).ok


WRONG = [
    (lambda s: s.read(3, Range(b"a"), pairs(ONE), 3), "but it is a=2"),
    (lambda s: s.read(3, Range(b"a"), pairs(ONE), 2), "is told revision 2, and 3 was known"),
    (lambda s: s.read(3, Range(b"a"), pairs(TWO), 9), "at revision 9, which never was"),
    (lambda s: s.write(3, DeleteRange(b"a"), DeleteResult(2), 4), "entry 3 gives 1 deleted at 4"),
    (lambda s: s.write(3, Put(b"a", b"3"), PutResult(), 5), "entry 3 gives ok at 4"),
    (lambda s: s.read(3, Put(b"a", b"3"), PutResult(), 4), "and the log does not have it"),
    (lambda s: s.log(3, Put(b"a", b"3"), 3, "no"), "entry 3, put a=3, is no"),
    (lambda s: s.log(3, Put(b"a", b"3", 9), 4), "it should be LeaseNotFound"),
]


@pytest.mark.parametrize(("wrong", "why"), WRONG, ids=[why for _, why in WRONG])
def test_wrong_answers(wrong, why):
    story = two_puts()
    assert answers(story.trace).ok
    wrong(story)
    verdict = answers(story.trace)
    assert not verdict.ok
    assert why in verdict.why


def test_a_write_that_came_before_what_was_known():
    """Its entry stands before one that a client had heard of when it asked."""
    story = Story()
    late = Put(b"b", b"1")
    story.ask(1, Put(b"a", b"1"))
    story.log(2, late, 2)
    story.log(1, Put(b"a", b"1"), 3)
    story.told(1, PutResult(), 3)
    story.ask(2, late)
    story.told(2, PutResult(), 2)
    assert "3 was known before" in answers(story.trace).why


def test_a_log_with_a_gap_is_not_judged():
    story = two_puts()
    story.index += 1
    story.log(3, Put(b"a", b"3"), 4)
    with pytest.raises(ValueError, match="what entry 3 of the log did"):
        answers(story.trace)


def test_the_trace_tells_the_shortest_time_to_live_of_its_store():
    cluster = Cluster(1, seed=3, store=StoreConfig(min_ttl_s=7))
    assert cluster.client().lease(1).ttl_s == 7
    assert answers(cluster.trace).ok
    assert not answers(cluster.trace, min_ttl_s=2).ok
