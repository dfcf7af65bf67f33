"""How a program writes a comparison or an operation of a transaction down.

>>> print(value("stock") > "0", "|", version("order") == 0, "|", put("order", 7 * "x"))
stock value > 0 | order version = 0 | put order=xxxxxxx
>>> print(get("job/", prefix=True, limit=3), "|", delete("a", range_end="c"))
get job/* | delete [a, c)
>>> version("order") >= 2
Traceback (most recent call last):
TypeError: etcd compares with ==, !=, > and < only: write > 1 in the place of >= 2

Source: etcd client/v3/compare.go, op.go.
"""

from __future__ import annotations

from typing import Any

from kvlearn.kv.requests import FROM_KEY, DeleteRange, Put, Range, as_bytes, prefix_range
from kvlearn.kv.txn import Compare

Text = str | bytes


class Field:
    """One field of a key's record, or of every key of an interval, waiting to be compared."""

    __slots__ = ("key", "range_end", "target")
    __hash__ = None

    def __init__(self, target: str, key: Text, range_end: Text | None, prefix: bool):
        self.key, self.range_end = interval_of(key, range_end, prefix, False)
        self.target = target

    def _compare(self, result: str, operand: Any) -> Compare:
        if self.target == "value":
            operand = as_bytes(operand)
        else:
            operand = lease_id(operand) if self.target == "lease" else operand
            if not isinstance(operand, int) or isinstance(operand, bool):
                raise TypeError(f"{self.target} is compared with a whole number, not {operand!r}")
        return Compare(self.key, self.target, result, operand, self.range_end)

    def __eq__(self, operand: Any) -> Compare:  # type: ignore[override]
        return self._compare("equal", operand)

    def __ne__(self, operand: Any) -> Compare:  # type: ignore[override]
        return self._compare("not_equal", operand)

    def __gt__(self, operand: Any) -> Compare:
        return self._compare("greater", operand)

    def __lt__(self, operand: Any) -> Compare:
        return self._compare("less", operand)

    def __ge__(self, operand: Any) -> Compare:
        raise TypeError(_ONLY.format(">", _beside(operand, -1), ">=", operand))

    def __le__(self, operand: Any) -> Compare:
        raise TypeError(_ONLY.format("<", _beside(operand, 1), "<=", operand))

    def __bool__(self) -> bool:
        raise TypeError(f"compare the {self.target} with something, as in version('k') == 2")

    def __repr__(self) -> str:
        return f"<the {self.target} of {self.key!r}, to be compared>"


_ONLY = "etcd compares with ==, !=, > and < only: write {} {} in the place of {} {}"


def _beside(operand: Any, step: int) -> Any:
    return operand + step if isinstance(operand, int) else "the value beside it"


def value(key: Text, range_end: Text | None = None, prefix: bool = False) -> Field:
    """The value of a key; that of a missing key stands in no relation to anything."""
    return Field("value", key, range_end, prefix)


def version(key: Text, range_end: Text | None = None, prefix: bool = False) -> Field:
    """How many puts this life of the key has seen; 0: there is no such key."""
    return Field("version", key, range_end, prefix)


def create_revision(key: Text, range_end: Text | None = None, prefix: bool = False) -> Field:
    """When this life of the key began; 0: there is no such key."""
    return Field("create", key, range_end, prefix)


def mod_revision(key: Text, range_end: Text | None = None, prefix: bool = False) -> Field:
    """When the key was changed last; 0: there is no such key."""
    return Field("mod", key, range_end, prefix)


def lease_of(key: Text, range_end: Text | None = None, prefix: bool = False) -> Field:
    """The lease that the key hangs on; 0: none."""
    return Field("lease", key, range_end, prefix)


def put(
    key: Text,
    value: Text = b"",
    lease: Any = None,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> Put:
    """Write a pair; see `Client.put`."""
    flags = prev_kv, ignore_value, ignore_lease
    return Put(as_bytes(key), as_bytes(value), lease_id(lease), *flags)


def get(
    key: Text,
    range_end: Text | None = None,
    *,
    prefix: bool = False,
    from_key: bool = False,
    sort: str = "key",
    descending: bool | None = None,
    **options: Any,
) -> Range:
    """Read a key or an interval; see `Client.get` for all options."""
    start, end = interval_of(key, range_end, prefix, from_key)
    order = "none" if descending is None else "descend" if descending else "ascend"
    return Range(start, end, sort_order=order, sort_target=sort, **options)


def delete(
    key: Text,
    range_end: Text | None = None,
    *,
    prefix: bool = False,
    from_key: bool = False,
    prev_kv: bool = False,
) -> DeleteRange:
    """Delete a key or an interval; see `Client.delete`."""
    return DeleteRange(*interval_of(key, range_end, prefix, from_key), prev_kv)


def lease_id(lease: Any) -> int:
    """The id of a lease, given the lease, the id or None (no lease).

    Raises: TypeError for anything else.
    """
    found = 0 if lease is None else getattr(lease, "id", lease)
    if not isinstance(found, int) or isinstance(found, bool):
        raise TypeError(f"a lease is what client.lease(ttl_s) gives, or its id, not {lease!r}")
    return found


def interval_of(
    key: Text, range_end: Text | None, prefix: bool, from_key: bool
) -> tuple[bytes, bytes]:
    """The (key, range_end) of etcd for what a caller said.

    Raises: ValueError if more than one of range_end, prefix and from_key is given.
    """
    start = as_bytes(key)
    if (range_end is not None) + prefix + from_key > 1:
        raise ValueError("range_end, prefix and from_key exclude each other: give one of them")
    if prefix:
        return prefix_range(start)
    if from_key:
        return start or b"\0", FROM_KEY
    return start, as_bytes(range_end) if range_end is not None else b""
