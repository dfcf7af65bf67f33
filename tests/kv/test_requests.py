"""Requests and answers: how they read, and that they are values."""

import pytest

from kvlearn import errors
from kvlearn.kv.requests import (
    FROM_KEY,
    Answer,
    Command,
    DeleteRange,
    DeleteResult,
    Header,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
    as_bytes,
    prefix_end,
    prefix_range,
)
from kvlearn.values import from_json, to_json

KV = KeyValue(b"a", b"1", 2, 4, 2)


@pytest.mark.parametrize(
    ("thing", "line"),
    [
        (Put(b"a", b"1"), "put a=1"),
        (Put(b"a"), "put a="),
        (Put(b"a", ignore_value=True), "put a, value kept"),
        (Put(b"k" * 40, b"v\n" * 40), f"put {'k' * 23}…={'v' + chr(92) + 'n' + 'v'}"),
        (Range(b"a"), "get a"),
        (Range(b"a", b"c"), "get [a, c)"),
        (Range(b"a", b"b"), "get a*"),
        (Range(b"a/", prefix_end(b"a/"), revision=5), "get a/* at 5"),
        (Range(b"a", FROM_KEY), "get a and above"),
        (Range(b"\0", FROM_KEY, count_only=True), "count everything"),
        (Range(b"a", revision=-1), "get a"),
        (DeleteRange(b"a"), "delete a"),
        (DeleteRange(b"a", b"c"), "delete [a, c)"),
        (Command("n1", 7, Put(b"a", b"1")), "put a=1"),
        (RangeResult(), "nothing"),
        (RangeResult(count=3), "3 keys"),
        (RangeResult((KV,), False, 1), "a=1"),
        (RangeResult((KV,) * 2, True, 5), "a=1 a=1 …"),
        (RangeResult((KV,) * 5, False, 5), "a=1 a=1 a=1 a=1 …"),
        (PutResult(), "ok"),
        (PutResult(KV), "ok (was a=1)"),
        (DeleteResult(2), "2 deleted"),
        (Answer(1, Header(), PutResult()), "ok"),
        (Answer.refusal(1, Header(), errors.EmptyKey()), "etcdserver: key is not provided"),
    ],
)
def test_everything_prints_as_one_short_line(thing, line):
    shown = str(thing)
    assert "\n" not in shown
    assert shown.startswith(line) if line.startswith("put kk") else shown == line
    assert len(shown) <= 64


@pytest.mark.parametrize(
    "thing",
    [
        Put(b"\xff", b"\0", 3, True, False, True),
        Range(b"a", b"c", 5, 6, "descend", "mod", True, True, False, 1, 2, 3, 4),
        DeleteRange(b"a", FROM_KEY, True),
        Command("n2", 9, DeleteRange(b"a")),
        Answer(3, Header(1, 2, 3, 4), RangeResult((KV,), True, 9)),
        Answer(3, Header(1, 2, 3, 4), DeleteResult(1, (KV,))),
        Answer.refusal(3, Header(1, 2, 3, 4), errors.FutureRevision(hint="9")),
    ],
)
def test_all_of_it_survives_json(thing):
    assert from_json(to_json(thing)) == thing


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        (b"a", b"b"),
        (b"job/", b"job0"),
        (b"a\xff", b"b"),
        (b"a\xff\xff", b"b"),
        (b"\xff", FROM_KEY),
        (b"", FROM_KEY),
        (b"\0", b"\1"),
    ],
)
def test_prefix_end(prefix, end):
    assert prefix_end(prefix) == end
    assert prefix_range(prefix) == (prefix or b"\0", end)


def test_keys_may_be_given_as_text():
    assert as_bytes("käse") == "käse".encode()
    assert as_bytes(b"\xff") == as_bytes(bytearray(b"\xff")) == b"\xff"
    with pytest.raises(TypeError, match="keys and values are str or bytes, not int: 5"):
        as_bytes(5)


def test_a_result_gives_its_first_value():
    result = RangeResult((KeyValue(b"a", "ä".encode()), KV))
    assert (result.value, result.text) == ("ä".encode(), "ä")
    assert (RangeResult().value, RangeResult().text) == (None, None)


@pytest.mark.parametrize(
    "error", [errors.EmptyKey(), errors.NoLeader(hint="n3 is alone"), errors.TimedOut("late")]
)
def test_an_error_travels_as_a_value_and_comes_back(error):
    answer = Answer.refusal(7, Header(revision=3), error)
    assert answer.failure == error
    assert (answer.failure.code, answer.failure.text) == (error.code, error.text)
    assert (answer.op_id, answer.header.revision, answer.result) == (7, 3, None)


def test_an_answer_without_an_error_has_no_failure():
    assert Answer(7, Header(), PutResult()).failure is None


def test_an_error_of_an_unknown_kind_keeps_its_text():
    error = errors.request_error("FromTheFuture", "etcdserver: something new")
    assert type(error) is errors.RequestError
    assert (error.code, error.text) == ("UNKNOWN", "etcdserver: something new")
