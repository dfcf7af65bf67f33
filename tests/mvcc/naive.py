"""A store without cleverness: one plain dict per revision, copied whole at each change.

It knows nothing of indexes, generations, trees or batches, so that it cannot share their mistakes.
"""

from __future__ import annotations

from random import Random

# Few enough that lives end and begin again; prefixes of each other, and bytes at both ends.
KEYS = (b"a", b"ab", b"a\x00", b"a\xff", b"b", b"c", b"\x00", b"\xff", b"\xff\xff")


class NaiveStore:
    """`states[r]` is the whole content at main revision r: key -> (value, create, mod, version)."""

    def __init__(self):
        self.states: list[dict[bytes, tuple[bytes, int, int, int]]] = [{}, {}]

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def change(self, changes: list[tuple]) -> None:
        """("put", key, value) and ("delete", key, range_end), all in one revision."""
        before = self.states[-1]
        state = dict(before)
        main = self.revision + 1
        changed = False
        for verb, key, other in changes:
            if verb == "put":
                _, create, _, version = state.get(key, (b"", main, 0, 0))
                state[key] = (other, create, main, version + 1)
                changed = True
            else:
                for gone in [k for k in state if within(k, key, other)]:
                    del state[gone]
                    changed = True
        if changed:
            self.states.append(state)

    def range(self, key: bytes, range_end: bytes, revision: int = 0) -> list[tuple]:
        """(key, value, create, mod, version) in key order."""
        state = self.states[revision if revision > 0 else -1]
        return [(k, *state[k]) for k in sorted(state) if within(k, key, range_end)]


def within(key: bytes, start: bytes, range_end: bytes) -> bool:
    """Whether `key` is in the interval, by etcd's convention."""
    if range_end == b"":
        return key == start
    if range_end == b"\0":
        return key >= start
    return start <= key < range_end


def plain(kvs) -> list[tuple]:
    """KeyValues as the naive store's tuples."""
    return [(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in kvs]


def some_key(rng: Random) -> bytes:
    return rng.choice(KEYS)


def some_range_end(rng: Random) -> bytes:
    return rng.choice([b"", b"", b"\0", some_key(rng), some_key(rng)])


def some_changes(rng: Random) -> list[tuple]:
    """What one transaction may do: a key is changed once, as etcd demands."""
    if rng.random() < 0.3:
        return [("delete", some_key(rng), some_range_end(rng))]
    keys = dict.fromkeys(some_key(rng) for _ in range(rng.choice([1, 1, 1, 2, 3])))
    return [("put", key, b"%d" % rng.randrange(100)) for key in keys]
