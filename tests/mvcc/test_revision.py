"""Revisions, their backend keys, and records."""

import random

import pytest

from kvlearn.mvcc.revision import KeyValue, Revision, after, is_tombstone, put_key, short
from kvlearn.values import from_json, to_json


@pytest.mark.parametrize(
    ("revision", "tombstone", "key"),
    [
        (Revision(0), False, "0000000000000000 5f 0000000000000000"),
        (Revision(2), False, "0000000000000002 5f 0000000000000000"),
        (Revision(2, 1), True, "0000000000000002 5f 0000000000000001 74"),
        (Revision(2**40 + 3, 256), False, "0000010000000003 5f 0000000000000100"),
    ],
)
def test_a_backend_key_is_etcds(revision, tombstone, key):
    made = revision.key(tombstone)
    assert made == bytes.fromhex(key)
    assert len(made) == 18 if tombstone else 17
    assert Revision.parse(made) == revision
    assert is_tombstone(made) is tombstone
    assert tombstone or put_key(revision.main, revision.sub) == made


def test_the_order_of_keys_is_the_order_of_revisions():
    rng = random.Random(1)
    sizes = (2, 300, 2**33)
    revisions = [
        Revision(rng.randrange(rng.choice(sizes)), rng.randrange(rng.choice(sizes)))
        for _ in range(300)
    ]
    by_bytes = sorted(revisions, key=lambda r: r.key(tombstone=rng.random() < 0.5))
    assert by_bytes == sorted(revisions)
    for revision in revisions:
        for bound in (revision.main - 1, revision.main, revision.main + 1):
            if bound >= 0:
                assert (revision.key(tombstone=True) < after(bound)) == (revision.main <= bound)


def test_revisions_print_as_main_and_sub():
    assert str(Revision(4)) == "4.0"
    assert str(Revision(12, 3)) == "12.3"


def test_a_record_is_a_value():
    kv = KeyValue(b"k\xff", "käse".encode(), 2, 4, 2, 7)
    assert from_json(to_json(kv)) == kv
    assert (kv.text, kv.key_text) == ("käse", "k\\xff")
    assert str(kv) == "k\\xff=käse"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"plain", "plain"),
        (b"two words", "two words"),
        (b"a\nb\x00", "a\\nb\\x00"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("naïve → ✓".encode(), "naïve → ✓"),
        (b"x" * 24, "x" * 24),
        (b"x" * 25, "x" * 23 + "…"),
        ("é".encode() * 100, "é" * 23 + "…"),
        (b"\0" * 50, "\\x00" * 5 + "\\x0" + "…"),
    ],
)
def test_short_prints_any_bytes_in_one_line_of_bounded_length(data, shown):
    assert short(data) == shown
