"""The page reader against LMDB's own counts, in both formats; and against damaged files."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from kvlearn.errors import StorageError
from kvlearn.live import lmdb_pages

lmdb = pytest.importorskip("lmdb", reason="without the package lmdb there are no files to read")
NAMES = (b"one", b"two")


def engines() -> list[int]:
    """LMDB's major versions that the package can write; an old one knows 0 alone."""
    try:
        return [0, 1] if lmdb.version(lib_version=1) else [0]
    except (TypeError, lmdb.Error):
        return [0]


def opened(folder, engine: int = 0):
    options = {"lib_version": engine} if len(engines()) > 1 else {}
    return lmdb.open(str(folder), max_dbs=2, map_size=1 << 26, sync=False, **options)


def some_value(rng: random.Random) -> bytes:
    size = rng.choice([0, 1, 7, 50, 50, 50, 400, 2000, 5000, 40_000])
    return rng.randbytes(size)


def fill(env, rng: random.Random, model: dict[bytes, dict[bytes, bytes]]) -> None:
    """Some transactions of puts and deletions in two named trees."""
    trees = {name: env.open_db(name) for name in NAMES}
    for _ in range(rng.randrange(1, 6)):
        with env.begin(write=True) as txn:
            for _ in range(rng.choice([1, 20, 300])):
                name = rng.choice(NAMES)
                held = model.setdefault(name, {})
                if held and rng.random() < 0.3:
                    key = rng.choice(sorted(held))
                    txn.delete(key, db=trees[name])
                    del held[key]
                else:
                    key, value = rng.randbytes(rng.randrange(1, 40)), some_value(rng)
                    txn.put(key, value, db=trees[name])
                    held[key] = value


def value_of(cell: lmdb_pages.Cell, data: bytes, page_bytes: int, header: int) -> bytes:
    if cell.page is None:
        return cell.value
    at = cell.page * page_bytes + header
    return data[at : at + cell.value_bytes]


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize("seed", range(12))
def test_pages_are_what_lmdb_counts(tmp_path, seed, engine):
    rng = random.Random(seed)
    model: dict[bytes, dict[bytes, bytes]] = {}
    with opened(tmp_path, engine) as env:
        fill(env, rng, model)
        with env.begin() as txn:
            stats = {name: txn.stat(env.open_db(name, txn)) for name in NAMES}
        stats[b"main"] = env.stat()
        info = env.info()
    lmdb_pages.check(tmp_path)
    pages, trees = lmdb_pages.pages(tmp_path), lmdb_pages.trees(tmp_path)
    assert [page.number for page in pages] == list(range(info["last_pgno"] + 1))
    assert sorted(trees) == ["free list", "main", "one", "two"]
    count = Counter((page.tree, page.kind) for page in pages)
    assert count["", "meta"] == 2
    older, newer = sorted(pages[:2], key=lambda page: page.transaction)
    assert newer.transaction == older.transaction + 1 == info["last_txnid"]
    roots = {cell.key.decode(): cell.page for cell in newer.cells}
    assert roots == {name: trees[name].root for name in ("free list", "main")}
    data = (tmp_path / "data.mdb").read_bytes()
    for name, stat in stats.items():
        tree = trees[name.decode()]
        told = tree.depth, tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries
        kinds = "depth", "branch_pages", "leaf_pages", "overflow_pages", "entries"
        assert told == tuple(stat[kind] for kind in kinds)
        for kind in ("branch", "leaf", "overflow"):
            assert count[tree.name, kind] == stat[f"{kind}_pages"]
        levels = lmdb_pages.levels(tmp_path, tree.name)
        assert len(levels) == tree.depth
        leaves = [cell for page in (levels or [[]])[-1] for cell in page.cells]
        assert len(leaves) == tree.entries
        if name in model:
            header = 24 if engine else 16
            found = [(cell.key, value_of(cell, data, stat["psize"], header)) for cell in leaves]
            assert found == sorted(model[name].items())


@pytest.mark.parametrize("engine", engines())
def test_every_page_is_in_one_tree_or_on_the_free_list(tmp_path, engine):
    rng = random.Random(5)
    with opened(tmp_path, engine) as env:
        for _ in range(8):
            fill(env, rng, {})
    free = {page.number for page in lmdb_pages.pages(tmp_path) if page.kind == "free"}
    with lmdb_pages._opened(tmp_path) as file:
        assert free == file.free and len(free) > 10


@pytest.mark.parametrize("engine", engines())
def test_a_branch_leads_to_the_keys_that_it_promises(tmp_path, engine):
    with opened(tmp_path, engine) as env, env.begin(write=True) as txn:
        for number in range(20_000):
            txn.put(b"%08d" % (number * 7919 % 20_000), b"v" * 40)
    levels = lmdb_pages.levels(tmp_path, "main")
    assert len(levels) == 3 and [len(level) for level in levels] == sorted(map(len, levels))
    for level in levels[:-1]:
        for branch in level:
            assert branch.keys[0] == b""
            for cell, after in zip(branch.cells, [*branch.cells[1:], None], strict=True):
                child = next(p for below in levels for p in below if p.number == cell.page)
                assert cell.key <= max(child.keys[:2])
                assert after is None or child.keys[-1] < after.key
    for page in (page for level in levels for page in level):
        assert 0 < page.bytes_used <= 4096 or page.bytes_used <= 65536
        assert page.bytes_used >= sum(len(c.key) + len(c.value) for c in page.cells)


def test_an_empty_file_has_two_pages(tmp_path):
    opened(tmp_path).close()
    assert [page.kind for page in lmdb_pages.pages(tmp_path)] == ["meta", "meta"]
    assert lmdb_pages.levels(tmp_path / "data.mdb", "main") == []
    with pytest.raises(KeyError):
        lmdb_pages.levels(tmp_path, "records")


# Damage -----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    """A file with branches, leaves, a large value and a free list."""
    rng = random.Random(1)
    with opened(tmp_path) as env:
        for _ in range(6):
            fill(env, rng, {})
    return tmp_path / "data.mdb"


@pytest.mark.parametrize("engine", engines())
def test_a_file_that_is_cut_off_is_refused_at_any_length(tmp_path, engine):
    with opened(tmp_path, engine) as env:
        fill(env, random.Random(3), {})
    file = tmp_path / "data.mdb"
    data = file.read_bytes()
    used = [page.number for page in lmdb_pages.pages(file) if page.kind != "free"]
    page_bytes = len(data) // (len(lmdb_pages.pages(file)))
    for length in {0, 1, 100, 5000, *range(0, max(used) * page_bytes, 3 * page_bytes + 77)}:
        file.write_bytes(data[:length])
        with pytest.raises(StorageError, match="data.mdb: "):
            lmdb_pages.check(file)
    with pytest.raises(StorageError, match="the file is empty"):
        file.write_bytes(b"")
        lmdb_pages.check(file)


@pytest.mark.parametrize("text", [b"SQLite format 3\0", b"\x00" * 9000, b"#!/bin/sh\n" * 2000])
def test_other_files_are_told_apart(tmp_path, text):
    other = tmp_path / "other"
    other.write_bytes(text)
    with pytest.raises(StorageError, match="this is no LMDB file"):
        lmdb_pages.pages(other)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        lmdb_pages.pages(tmp_path / "nothing")


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_is_refused_or_harmless(file, seed):
    """No damage may raise anything else, or lead outside the file: else LMDB would be handed it."""
    rng = random.Random(seed)
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 3, 40])):
        page = rng.randrange(len(data) // 4096) * 4096
        data[page + rng.choice([rng.randrange(32), rng.randrange(4096)])] = rng.randrange(256)
    file.write_bytes(data)
    try:
        pages = lmdb_pages.pages(file)
    except StorageError:
        return
    assert all(cell.page is None or cell.page < len(pages) for p in pages for cell in p.cells)


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (0, "it says"),  # its own number
        (10, "it says"),  # flags
        (12, "its room is"),  # lower
        (16, "a node leads out of it"),  # the first pointer
    ],
)
def test_a_damaged_header_is_named(file, place, what):
    root = lmdb_pages.trees(file)["one"].root
    page_bytes = file.stat().st_size // len(lmdb_pages.pages(file))
    data = bytearray(file.read_bytes())
    data[root * page_bytes + place : root * page_bytes + place + 2] = b"\xfe\xff"
    file.write_bytes(data)
    with pytest.raises(StorageError, match=f"page {root} .*{what}"):
        lmdb_pages.check(file)
