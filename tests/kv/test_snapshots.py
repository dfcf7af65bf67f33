"""A node's state in a file: it comes back as it was, and nothing else comes back."""

from hashlib import sha256
from random import Random

import pytest

from kvlearn import Cluster
from kvlearn.errors import StorageError
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.snapshots import load_snapshot, save_snapshot
from kvlearn.mvcc.backend import MemoryBackend


def saved(tmp_path):
    """A node's state, and the file that it was saved into."""
    cluster = Cluster(1, seed=1)
    client = cluster.client()
    client.put("a", "Å…\u2028\x85 lines\r\n and\x0b\x1c\x1d separators")
    client.put(bytes(range(256)), bytes(range(256)))
    client.lease(60, id=7)
    client.put("leased", "x", lease=7)
    client.delete("a")
    client.compact(3)
    path = tmp_path / "state"
    size = client.snapshot(str(path))
    assert path.stat().st_size == size
    return cluster._hosts["n1"].node.machine, path


def with_sum(body: bytes) -> bytes:
    return body + sha256(body).hexdigest().encode() + b"\n"


def test_there_and_back(tmp_path):
    machine, path = saved(tmp_path)
    records = load_snapshot(path)
    assert records == machine.save()
    other = KVMachine(MemoryBackend())
    other.load(records)
    assert other.save() == machine.save()
    assert other.lessor.leases[7].keys == {b"leased"}
    assert other.store.hash() == machine.store.hash()


@pytest.mark.parametrize("seed", range(5))
def test_any_bytes(tmp_path, seed):
    """Whatever the values are, the lines stay lines."""
    rng = Random(seed)
    records = tuple((f"fact {k}", rng.randbytes(50)) for k in range(40))
    save_snapshot(tmp_path / "s", records)
    assert load_snapshot(tmp_path / "s") == records, f"seed {seed}"


def test_an_empty_state(tmp_path):
    save_snapshot(tmp_path / "s", ())
    assert load_snapshot(tmp_path / "s") == ()


def test_every_bit_counts(tmp_path):
    _, path = saved(tmp_path)
    whole = path.read_bytes()
    for at in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StorageError, match="damaged"):
            load_snapshot(path)


def test_cut_anywhere(tmp_path):
    _, path = saved(tmp_path)
    whole = path.read_bytes()
    lines = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for at in {*range(0, len(whole) - 1, 11), *lines[:-1]}:
        path.write_bytes(whole[:at])
        with pytest.raises(StorageError):
            load_snapshot(path)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello\n",
        b"\xff\xfe\n",
        b'{"kvlearn snapshot": 2}\n',
        b"[]\n",
        b'{"kvlearn snapshot": 1}\nnot json\n',
        b'{"kvlearn snapshot": 1}\n{"is": "Nothing"}\n',
        b'{"kvlearn snapshot": 1}\n{"is": "KeyValue", "keys": 1}\n',
    ],
)
def test_a_foreign_file_is_refused_even_with_a_sum(tmp_path, body):
    path = tmp_path / "foreign"
    path.write_bytes(with_sum(body))
    with pytest.raises(StorageError, match=r"no snapshot|damaged"):
        load_snapshot(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_snapshot(tmp_path / "nothing")
