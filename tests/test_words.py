"""Comparisons and operations as a program writes them down."""

import pytest

from kvlearn import create_revision, delete, get, lease_of, mod_revision, put, value, version
from kvlearn.kv.requests import FROM_KEY, DeleteRange, Put, Range
from kvlearn.kv.txn import Compare
from kvlearn.words import interval_of, lease_id


class Held:
    id = 7


@pytest.mark.parametrize(
    "written, meant",
    [
        (lambda: value("k") == "v", Compare(b"k", "value", "equal", b"v")),
        (lambda: value("k") != b"v", Compare(b"k", "value", "not_equal", b"v")),
        (lambda: value("k") > "é", Compare(b"k", "value", "greater", "é".encode())),
        (lambda: value(b"\xff") < "", Compare(b"\xff", "value", "less", b"")),
        (lambda: version("k") == 0, Compare(b"k", "version", "equal", 0)),
        (lambda: create_revision("k") > 5, Compare(b"k", "create", "greater", 5)),
        (lambda: mod_revision("k") != 5, Compare(b"k", "mod", "not_equal", 5)),
        (lambda: lease_of("k") == Held(), Compare(b"k", "lease", "equal", 7)),
        (lambda: lease_of("k") != 7, Compare(b"k", "lease", "not_equal", 7)),
        (lambda: lease_of("k") == None, Compare(b"k", "lease", "equal", 0)),  # noqa: E711
        (lambda: 5 == version("k"), Compare(b"k", "version", "equal", 5)),
        (lambda: 5 < version("k"), Compare(b"k", "version", "greater", 5)),
        (lambda: "a" > value("k"), Compare(b"k", "value", "less", b"a")),
        (lambda: version("k", prefix=True) == 0, Compare(b"k", "version", "equal", 0, b"l")),
        (lambda: version("", prefix=True) == 0, Compare(b"\0", "version", "equal", 0, FROM_KEY)),
        (lambda: value("a", range_end="c") == "v", Compare(b"a", "value", "equal", b"v", b"c")),
        (lambda: value("a", "c") == "v", Compare(b"a", "value", "equal", b"v", b"c")),
    ],
)
def test_comparisons(written, meant):
    assert written() == meant and isinstance(written(), Compare)


@pytest.mark.parametrize(
    "written, why",
    [
        (lambda: version("k") >= 2, "write > 1 in the place of >= 2"),
        (lambda: version("k") <= 2, "write < 3 in the place of <= 2"),
        (lambda: value("k") >= "a", "the value beside it"),
        (lambda: version("k") == "2", "version is compared with a whole number, not '2'"),
        (lambda: version("k") == 2.0, "whole number"),
        (lambda: version("k") == True, "whole number"),  # noqa: E712
        (lambda: mod_revision("k") > None, "whole number"),
        (lambda: value("k") == 5, "str or bytes"),
        (lambda: value("k") == None, "str or bytes"),  # noqa: E711
        (lambda: lease_of("k") == "seven", "client.lease"),
        (lambda: lease_of("k") == True, "client.lease"),  # noqa: E712
        (lambda: bool(version("k")), "compare the version with something"),
        (lambda: not value("k"), "compare the value with something"),
        (lambda: value(5), "str or bytes"),
        (lambda: {version("k")}, "unhashable"),
    ],
)
def test_what_cannot_be_compared(written, why):
    with pytest.raises(TypeError, match=why):
        written()


def test_a_field_reads():
    assert repr(version("k")) == "<the version of b'k', to be compared>"


@pytest.mark.parametrize(
    "made, request_",
    [
        (put("k", "v"), Put(b"k", b"v")),
        (put("k"), Put(b"k", b"")),
        (put("k", "v", lease=Held()), Put(b"k", b"v", 7)),
        (put("k", "v", 7, True), Put(b"k", b"v", 7, True)),
        (put("k", ignore_value=True), Put(b"k", ignore_value=True)),
        (put("k", ignore_lease=True), Put(b"k", ignore_lease=True)),
        (get("k"), Range(b"k")),
        (get("k", prefix=True), Range(b"k", b"l")),
        (get("", prefix=True), Range(b"\0", FROM_KEY)),
        (get("", from_key=True), Range(b"\0", FROM_KEY)),
        (get("k", from_key=True), Range(b"k", FROM_KEY)),
        (get("a", "c"), Range(b"a", b"c")),
        (
            get("a", sort="mod", descending=True),
            Range(b"a", sort_target="mod", sort_order="descend"),
        ),
        (
            get("a", sort="value", descending=False),
            Range(b"a", sort_target="value", sort_order="ascend"),
        ),
        (get("a", limit=3, revision=5), Range(b"a", limit=3, revision=5)),
        (delete("k"), DeleteRange(b"k")),
        (delete("k", prefix=True, prev_kv=True), DeleteRange(b"k", b"l", True)),
        (delete("a", "c"), DeleteRange(b"a", b"c")),
    ],
)
def test_operations(made, request_):
    assert made == request_


@pytest.mark.parametrize(
    "how",
    [
        dict(range_end="z", prefix=True),
        dict(range_end="", from_key=True),
        dict(prefix=True, from_key=True),
        dict(range_end="z", prefix=True, from_key=True),
    ],
)
@pytest.mark.parametrize("word", [get, delete])
def test_one_way_to_name_an_interval(word, how):
    with pytest.raises(ValueError, match="exclude each other"):
        word("a", **how)


def test_an_unknown_option_is_a_mistake():
    with pytest.raises(TypeError, match="limits"):
        get("a", limits=3)
    with pytest.raises(TypeError):
        delete("a", True)  # a range_end that is none
    with pytest.raises(TypeError):
        put("a", 5)


def test_interval_of():
    assert interval_of("a", None, False, False) == (b"a", b"")
    assert interval_of("a", "", False, False) == (b"a", b"")
    assert interval_of(b"a\xff", None, True, False) == (b"a\xff", b"b")
    assert interval_of(b"\xff\xff", None, True, False) == (b"\xff\xff", FROM_KEY)


def test_lease_id():
    assert [lease_id(one) for one in (None, 0, -3, Held())] == [0, 0, -3, 7]
    for wrong in ("7", 7.0, True, b"7", [7]):
        with pytest.raises(TypeError, match="client.lease"):
            lease_id(wrong)


def test_a_chain_of_comparisons_is_refused():
    with pytest.raises(TypeError, match="a comparison stands for itself"):
        1 < version("k") < 3
