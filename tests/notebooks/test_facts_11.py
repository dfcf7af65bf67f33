"""What lesson 11 says of its runs is so."""

from __future__ import annotations

import re

import pytest

from kvlearn import Cluster, delete, put
from kvlearn.course.exercises.revisions import eight_changes
from kvlearn.course.exercises.trees import (
    QUOTA,
    NoFile,
    fates,
    full_cluster,
    looked_up,
    on_disk,
    pages,
    real_file,
    real_member,
    side_by_side,
    small_pages,
)
from kvlearn.course.store_mutants import (
    CountsRecords,
    KeepsDeletions,
    TakesAllBelow,
    TellsNobody,
    against_naive,
)
from kvlearn.errors import Compacted, DuplicateKey, NoSpace
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.bptree import BPlusTree
from kvlearn.mvcc.revision import Revision
from kvlearn.mvcc.store import Store
from kvlearn.viz import trees


def test_what_was_put_once_is_there_after_a_compaction():
    client = Cluster(3, seed=2).client()
    assert client.put("config", "blue").header.revision == 2
    for number in range(40):
        last = client.put("counter", str(number)).header.revision
    assert last == 42
    client.compact(30)
    assert client.get("config").kv.mod_revision == 2
    with pytest.raises(Compacted):
        client.get("config", revision=29)


def test_the_picture_and_the_two_steps():
    cluster = eight_changes()
    told = str(trees(cluster, key="key1"))
    assert "key2: {7.0 9.0(t)} {11.0}" in told and "key3: {8.0 12.0(t)} {}" in told
    drawn = trees(cluster, key="key1").html()
    assert f"hold {MemoryBackend().tree.order}." in drawn
    assert "pages of 4" in told and "5.0 8.0 10.0" in told
    store = cluster.nodes["n1"].store
    led = [
        at and str(Revision.parse(at))
        for at in (store.index.find(*asked) for asked in ((b"key1", 7), (b"key2", 8),
                                                          (b"key2", 9), (b"key2", 10)))
    ]  # fmt: skip
    assert led == ["6.0", "7.0", None, None]
    before = [str(history) for history in cluster.nodes["n2"].store.index.values()]
    cluster.crash("n2")
    assert cluster.nodes["n2"].store is None
    cluster.restart("n2")
    assert [str(history) for history in cluster.nodes["n2"].store.index.values()] == before


def test_a_b_plus_tree_is_low():
    found = {}
    for count in (512, 10_000, 100_000, 1_000_000):
        tree = BPlusTree(order=512)
        for revision in range(count):
            tree.put(revision, "record")
        found[count] = len(tree.pages())
    assert found == {512: 1, 10_000: 2, 100_000: 2, 1_000_000: 3}
    assert MemoryBackend().tree.order == 512


def test_six_go_and_six_stay():
    cluster = eight_changes()
    told = fates(cluster, 9)
    assert list(told.index[told.fate == "goes"]) == ["2.0", "3.0", "4.0", "5.0", "7.0", "9.0"]
    assert cluster.nodes["n1"].store.compacted == 0
    future = cluster.fork()
    future.client().compact(9)
    future.run(0.5)
    for name, node in future.nodes.items():
        left = [str(Revision.parse(at)) for at, _ in node.store.backend.range()]
        assert left == list(told.index[told.fate == "stays"]), name
    told = str(trees(future, key="key1"))
    assert [at for at in "2345679" if f"{at}.0 gone" in told] == ["4", "5", "7", "9"]
    hashes = {future.client(name).hash_kv().hash for name in future.nodes}
    assert len(hashes) == 1
    reply = future.client().get("key", prefix=True, revision=9)
    assert [str(kv) for kv in reply.kvs] == ["key1=a", "key3=c", "key4=d"]
    with pytest.raises(Compacted):
        future.client().get("key1", revision=8)


def test_the_sweep_in_steps():
    small = small_pages(eight_changes().nodes["n1"].store)
    small.compact(9)
    told = [pages(small)]
    gone = []
    while small.sweeping:
        gone.append(small.sweep(limit=3))
        told.append(pages(small))
    assert gone == [3, 2, 1, 0]
    assert told[0] == "2.0 3.0 4.0 | 5.0 6.0 7.0 | 8.0 8.1 9.0 | 10.0 11.0 12.0"
    assert told[1].startswith("(2.0) (3.0) (4.0) 5.0 6.0 7.0 | 8.0") and "(2.0)" not in told[2]
    assert small.backend.defragment() == 444
    assert pages(small) == "6.0 8.0 8.1 10.0 | 11.0 12.0"


def test_a_commit_writes_no_page_over_and_the_applied_index_goes_with_it():
    pytest.importorskip("lmdb")
    file = real_file()
    try:
        file.put("a", "1")
        file.put("b", "1")
        before = file.pages()
        file.put("a", "2")
        now = file.pages()
        for tree in ("main", "records", "facts"):
            was, there = (
                [number for number, text in shown.items() if text.startswith(f"{tree}: ")]
                for shown in (before, now)
            )
            assert len(was) == len(there) == 1 and was != there, tree
            assert now[was[0]] == "free"
        ticked = [[n for n, text in shown.items() if "✓" in text] for shown in (before, now)]
        assert sorted(ticked) == [[0], [1]]
        assert any(text == "facts: applied=3" for text in now.values())
        assert list(side_by_side(before, now).columns) == ["before", "after one more put"]
        file.put("a", "3", commit=False)
        assert file.state() == "applied 4, revision 5"
        file.crash()
        assert file.state() == "applied 3, revision 4"
    finally:
        file.close()


def test_a_compaction_makes_pages_free_and_the_file_no_smaller():
    pytest.importorskip("lmdb")
    file = real_file()

    def count() -> tuple[int, int]:
        words = file.sizes().split()
        return int(words[0]), int(words[2])

    try:
        for number in range(300):
            file.put("abc"[number % 3], "x" * 100)
        full, _ = count()
        file.compact()
        compacted, free = count()
        assert compacted >= full and free > compacted / 2
        file.defragment()
        assert count()[0] < full / 2 and count()[1] == 0
    finally:
        folder = file._folder
        file.close()
    from pathlib import Path

    assert not Path(folder).exists()


def test_the_meta_pages_take_turns_and_what_was_freed_last_rests_once_more():
    pytest.importorskip("lmdb")
    file = real_file()
    try:
        file.put("a", "1")
        file.put("b", "1")
        file.put("a", "2")
        told = file.watch("3", "4", "5", "6", "7")
    finally:
        file.close()
    assert list(told["meta page"]) in ([0, 1, 0, 1, 0], [1, 0, 1, 0, 1])
    numbers = list(told["its number"])
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    wrote, free = ([set(text.split()) for text in told[f"pages {what}"]]
                   for what in ("written", "free"))  # fmt: skip
    for before, now in zip(range(5), range(1, 5)):
        assert wrote[now] <= free[before]  # nothing that is in use is written over
        freed = free[now] - free[before]
        assert freed == wrote[before]
        if now < 4:
            assert not wrote[now + 1] & freed  # it rests once more
    assert wrote[0] == wrote[3] and wrote[1] == wrote[4]  # three sets take turns


def test_a_member_that_is_killed_has_all_and_its_store_lags_behind_its_log():
    pytest.importorskip("lmdb")
    member = real_member()
    try:
        client = member.client()
        for number in range(50):
            client.put("counter", str(number))
        member.crash("n1")
        told = on_disk(member)
        found = re.fullmatch(r"the log ends with entry (\d+)@\d+\(.*\); .* is at entry (\d+)", told)
        assert found, told
        last, applied = found.groups()
        assert int(applied) <= int(last)
        member.restart("n1")
        kv = member.client().get("counter").kv
        assert (kv.text, kv.version) == ("49", 50)
    finally:
        member.close()


def test_where_no_member_can_run_the_cells_say_so(monkeypatch):
    def cannot(*_, **__):
        raise OSError("no processes here")

    monkeypatch.setattr("kvlearn.live.local_cluster.Process", cannot)
    member = real_member()
    assert isinstance(member, NoFile) and on_disk(member) is member
    assert member.client().put("a", "1") is member


def test_without_lmdb_the_section_says_so(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "lmdb", None)
    monkeypatch.delitem(sys.modules, "kvlearn.live.lmdb_backend", raising=False)
    monkeypatch.delitem(sys.modules, "kvlearn.live.lmdb_pages", raising=False)
    file = real_file()
    assert isinstance(file, NoFile) and "pip install lmdb" in str(file)
    assert side_by_side(file.pages(), file.pages()) is file.put("a", "1") is file


def test_the_way_out_of_a_full_store():
    full = full_cluster()
    client = full.client()
    assert QUOTA == 3000 and client.alarms().alarms

    def refused() -> bool:
        try:
            client.put("k0", "new")
        except NoSpace:
            return True
        return False

    assert refused() and client.get("k0").kvs
    client.compact(client.get("k0").header.revision)
    full.run(1)
    status = client.status()
    assert refused() and status.db_bytes > QUOTA > status.db_in_use_bytes
    client.disarm()
    assert refused()
    full.run(1)
    assert client.alarms().alarms
    for name in full.nodes:
        full.client(name).defragment()
    assert client.status().db_bytes < QUOTA and refused()
    client.disarm()
    assert not refused()
    full.run(1)
    assert client.delete("k0").deleted == 1


def test_the_broken_stores():
    assert list(against_naive(Store)["should be"]) == ["as the naive store"]
    lost = against_naive(TakesAllBelow)
    assert ["get key4", "d", "nothing"] in lost.values.tolist()
    every = len(against_naive(TakesAllBelow, most=99))
    assert list(lost.iloc[-1]) == [f"and {every - 9} more", "", ""] and len(lost) == 10
    kept = against_naive(KeepsDeletions, most=99)
    assert not kept.question.str.startswith(("get", "revision")).any()
    assert list(kept.KeepsDeletions[kept.question == "index of key3"]) == ["12.0"] * 3
    untold = against_naive(TellsNobody, most=99)
    assert untold.question.str.startswith("index").all()
    assert len(kept) < 9 and len(untold) < 9  # their tables are whole in the notebook
    assert set(untold.index) == {"after compact(9)", "after compact(12)"}
    back = against_naive(CountsRecords, most=99).reset_index()
    assert back.iloc[0].tolist() == ["after restart", "revision", "12", "11"]


def test_a_key_is_not_deleted_and_put_again_in_one_revision():
    client = Cluster(3, seed=1).client()
    client.put("a", "1")
    with pytest.raises(DuplicateKey):
        client.txn().then(delete("a"), put("a", "2")).commit()


def test_the_index_of_the_first_exercise():
    cluster = looked_up()
    store = cluster.nodes["n1"].store
    assert str(store.index[b"job"]) == "job: {3.0 5.0 8.0(t)} {11.0}" and store.revision == 13
