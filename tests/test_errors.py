"""The three kinds of error: etcd's codes and texts, equality, and the way to another process."""

import copy
import pickle

import pytest

from kvlearn import errors
from kvlearn.errors import (
    KVLearnError,
    ProposalDropped,
    RequestError,
    TimedOut,
    Unavailable,
    Violation,
    request_error,
    request_errors,
)
from kvlearn.events import Healed
from kvlearn.trace import Record

REQUEST_ERRORS = list(request_errors())


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.__name__)
def test_an_answer_has_etcds_code_and_text(kind):
    error = kind()
    assert error.text == kind.text and str(error) == kind.text
    assert error.code.isupper()
    plain = errors.RecipeError, errors.NoPasswordUser  # etcd has no code for these, only a text
    assert error.text.startswith("etcdserver: ") or isinstance(error, plain)
    assert str(kind("etcdserver: other words")) == "etcdserver: other words"
    assert str(kind(hint="look at n1")) == f"{kind.text} (look at n1)"


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.__name__)
def test_an_answer_is_found_again_by_its_name(kind):
    error = kind(hint="why")
    back = request_error(kind.__name__, error.text, error.hint)
    assert back == error and type(back) is kind


def test_an_unknown_name_gives_the_root():
    assert type(request_error("FromTheFuture", "etcdserver: new")) is RequestError
    assert type(request_error("Violation")) is RequestError, "no answer to a client"


def test_errors_are_equal_by_kind_and_words():
    assert TimedOut() == TimedOut() != TimedOut(hint="n1")
    assert Unavailable() != RequestError(Unavailable.text)
    assert len({TimedOut(), TimedOut(), Unavailable()}) == 2


def test_asking_again_is_safe_after_some_and_not_after_a_timeout():
    assert not issubclass(TimedOut, Unavailable), "what timed out may have been carried out"
    assert issubclass(errors.NoLeader, Unavailable) and issubclass(errors.Stopped, Unavailable)


RECORD = Record(3, 1.5, "n1", Healed(), None)


@pytest.mark.parametrize(
    "error",
    [
        *(kind(hint="why") for kind in REQUEST_ERRORS),
        ProposalDropped("NO_LEADER", "no leader is known in term 3"),
        Violation("Election Safety", "two led term 2", RECORD, 7),
        Violation("Log Matching", "they differ"),
        errors.Blank("may_commit"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "way", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_an_error_survives_the_way_to_another_process(error, way):
    back = way(error)
    assert type(back) is type(error) and str(back) == str(error) and vars(back) == vars(error)


def test_a_violation_tells_promise_place_and_seed():
    told = str(Violation("Election Safety", "two led term 2", RECORD, 7))
    assert told == ("Election Safety is broken: two led term 2 [record 3, t=1.500000 s] (seed 7)")
    assert str(Violation("Log Matching", "they differ")) == "Log Matching is broken: they differ"


def test_all_that_is_raised_on_purpose_has_one_root():
    for kind in (RequestError, ProposalDropped, Violation, errors.Blank, errors.StorageError):
        assert issubclass(kind, KVLearnError)
