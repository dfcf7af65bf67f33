"""Values as bytes and back, and what comes of bytes that are none."""

from __future__ import annotations

import random
from dataclasses import fields

import pytest

pytest.importorskip("msgpack", reason="the codec is MessagePack")

from kvlearn.errors import StorageError
from kvlearn.kv.kinds import check_depth
from kvlearn.kv.requests import Command, Put
from kvlearn.kv.txn import MAX_OPS, Txn
from kvlearn.live import codec
from kvlearn.raft.types import Entry
from kvlearn.values import VOCABULARY

SAMPLES = {
    "int": -(2**63), "bool": True, "str": "n1", "bytes": b"a\0\xff", "Term": 7, "Index": 2**40,
    "NodeId": "n2", "Ticks": 9, "Any": Put(b"k", b"v", -5), "tuple": (1, (b"x", "y"), None),
}  # fmt: skip
NEVER_SENT = """
    Message Ready ReadState Chosen Status HashKV Defragment SnapshotState
    StatusResult HashResult DefragmentResult SnapshotStateResult
    AuthResult AuthStatusResult AuthenticateResult NamesResult RoleResult Permission User
""".split()


def sample(kind: type):
    """A value of `kind` with something in every field."""
    given = []
    for field in fields(kind):
        name = str(field.type).split("[")[0].split(" | ")[0]
        given.append(sample(VOCABULARY[name]) if name in VOCABULARY else SAMPLES[name])
    return kind(*given)


@pytest.mark.parametrize("name", codec.WORDS)
def test_every_word_comes_back_as_it_was(name):
    thing = sample(VOCABULARY[name])
    assert codec.decode(codec.encode(thing)) == thing


def test_every_request_and_message_has_a_number():
    rooms = {room.__name__ for room in codec.ROOMS}
    lacking = [n for n, kind in VOCABULARY.items() if kind.__module__ in rooms]
    lacking = [n for n in lacking if n not in codec.WORDS and n not in NEVER_SENT]
    assert not lacking, f"append them to codec.WORDS: {lacking}"


def test_a_word_has_one_number():
    assert len(set(codec.WORDS)) == len(codec.WORDS)


def test_an_entry_has_its_bytes_once():
    entry, bytes_of = Entry(7, 2, Command("n1", 5, Put(b"a", b"1"))), codec.EntryBytes()
    made = bytes_of.of(entry)
    assert bytes_of.of(entry) is made and bytes_of.read(made) == entry


def test_only_the_newest_bytes_are_kept():
    bytes_of = codec.EntryBytes()
    for index in range(3 * codec.RECENT):
        bytes_of.of(Entry(index, 1))
    assert len(bytes_of._recent) <= codec.RECENT


@pytest.mark.parametrize("seed", range(200))
def test_strange_bytes_are_refused_with_one_kind_of_error(seed):
    """Replay: pytest 'tests/live/test_codec.py' -k 'strange and SEED'"""
    rng = random.Random(seed)
    data = bytearray(codec.encode(Entry(7, 2, Command("n1", 5, Put(b"a", b"1")))))
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        codec.decode(bytes(data[: rng.randint(1, len(data))]))
    except StorageError:
        pass


def nested(begin: bytes, depth: int, end: bytes = b"\xc0") -> bytes:
    return begin * depth + end


ENTRY = b"\x81\0\x93\1\1"  # and its data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",  # a map of no pair, and of two
        b"\x82\0\x93\1\1\xc0\0\x93\1\1\xc0",
        b"\x81\xa1a\x90",  # words that are no numbers
        b"\x81\x91\1\x90",
        b"\x81" + nested(ENTRY, 400) + b"\x90",
        b"\x81\xcc\xff\x90",
        b"\x81\0\5",  # fields that are none, too few, too many
        b"\x81\0\x91\1",
        b"\x81\0\x94\1\1\1\1",
        b"\x81\0\x81\0\x93\1\1\xc0",
        b"\xdd\xff\xff\xff\xff",  # lengths
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        nested(b"\xdd\0\x0f\xff\xff", 500),
        nested(b"\x91", 1_000_000),
        nested(ENTRY, 100_000),
        nested(b"\x81", 100_000),
        b"\1\1",
        b"\xa1\xff",
        b"\xc1",
    ],
)
def test_hostile_bytes_are_refused_with_the_same_error_in_few_words(data):
    with pytest.raises(StorageError) as refused:
        codec.decode(data)
    assert len(str(refused.value)) < 200


def test_the_deepest_transaction_that_a_node_takes_comes_back_as_it_was():
    txn = Txn(success=(Put(b"a", b"1"),))
    for _ in range(MAX_OPS - 1):
        txn = Txn(success=(txn,))
    check_depth(txn)
    entry = Entry(7, 2, Command("n1", 5, txn))
    assert codec.decode(codec.encode(entry)) == entry


def test_room_for_a_large_value_is_given_back(monkeypatch):
    monkeypatch.setattr(codec, "_packers", [])
    codec.encode(b"x")
    assert len(codec._packers) == 1
    codec.encode(bytes(codec.LARGE))
    assert not codec._packers


def test_what_is_no_word_is_not_written():
    with pytest.raises(TypeError, match="none of the codec's words"):
        codec.encode(object())
