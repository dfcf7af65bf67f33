"""One door for values: frozen, slotted, equal by value, cheap to make.

Everything that crosses a boundary of the house (entries, messages, events, requests, answers) is a
value. `@value` is a frozen, slotted dataclass with two additions:

* it is made about twice as fast as a plain frozen dataclass, because the simulator makes three
  values for every packet;
* its name enters the *vocabulary*, which is how a trace that was saved as JSON lines finds the
  classes again.

>>> @value
... class Point:
...     x: int
...     y: int = 0
>>> Point(1) == Point(1, 0), from_json(to_json(Point(1)))
(True, Point(x=1, y=0))
"""

from __future__ import annotations

import dataclasses
from math import inf
from typing import Any, dataclass_transform

VOCABULARY: dict[str, type] = {}
_ABSENT = dataclasses.MISSING
LEFT_OUT = "left out"  # of a saved value while it is empty: the mark of a field that came later


class Shown:
    """Shows itself in a notebook as in a terminal, without the angle brackets."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from html import escape

        return f"<code>{escape(repr(self)[1:-1])}</code>"


def check_timeout(timeout_s: Any, least: float = 0.0) -> None:
    """Refuse what would never end, as virtual time has no end, and what is no number.

    Raises: ValueError.
    """
    try:
        fine = least <= timeout_s < inf
    except TypeError:
        fine = False
    if not fine:
        raise ValueError(f"timeout_s is a number of seconds from 0 on, not {timeout_s!r}")


def _itself(self, memo=None):
    return self


@dataclass_transform(frozen_default=True)
def value(cls: type | None = None, *, order: bool = False):
    """Make `cls` a frozen, slotted dataclass (`order=True`: compared field by field)."""
    if cls is None:
        return lambda decorated: value(decorated, order=order)
    quick = not hasattr(cls, "__post_init__")
    made = dataclasses.dataclass(init=not quick, frozen=True, slots=True, order=order)(cls)
    if quick:
        made.__init__ = _quick_init(made)
    made.__copy__ = made.__deepcopy__ = _itself  # a value never changes: copies share it
    # Doctests and notebooks may define a class twice; two rooms of the house may not.
    known = VOCABULARY.get(made.__name__)
    assert known is None or known.__module__ == made.__module__ or made.__module__ == "__main__", (
        f"two values named {made.__name__}: {known.__module__} and {made.__module__}"
    )
    VOCABULARY[made.__name__] = made
    return made


def _quick_init(cls: type):
    """An __init__ that fills the slots directly instead of going through object.__setattr__."""
    names: dict[str, Any] = {}
    parameters, body = [], []
    for field in dataclasses.fields(cls):
        names[f"_set_{field.name}"] = getattr(cls, field.name).__set__
        parameter = field.name
        if field.default is not _ABSENT:
            names[f"_default_{field.name}"] = field.default
            parameter += f"=_default_{field.name}"
        assert field.default_factory is _ABSENT, "a value's defaults are values themselves"
        parameters.append(parameter)
        body.append(f"    _set_{field.name}(self, {field.name})")
    code = f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(body or ["    pass"])
    exec(code, names)  # as dataclasses does; the text is made of field names only
    return names["__init__"]


def to_json(thing: Any) -> Any:
    """Plain JSON data for a value and for what values are made of: tuples, bytes, numbers, text."""
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, bytes):
        return {"bytes": thing.decode("latin-1")}
    if isinstance(thing, (tuple, list)):
        return [to_json(item) for item in thing]
    name = type(thing).__name__
    if VOCABULARY.get(name) is not type(thing):
        raise TypeError(f"a {name} cannot be saved: only values (@value) and plain data can")
    fields = {
        f.name: to_json(field)
        for f in dataclasses.fields(thing)
        if (field := getattr(thing, f.name)) or not f.metadata.get(LEFT_OUT)
    }
    return {"is": name, **fields}


def from_json(data: Any) -> Any:
    """The value that `to_json` made `data` from; lists come back as tuples.

    Raises: ValueError for a name that is not in the vocabulary.
    """
    if isinstance(data, list):
        return tuple(from_json(item) for item in data)
    if not isinstance(data, dict):
        return data
    if "bytes" in data and len(data) == 1:
        return data["bytes"].encode("latin-1")
    fields = {key: from_json(item) for key, item in data.items() if key != "is"}
    name = data.get("is")
    if name not in VOCABULARY:
        raise ValueError(
            f"unknown word {name!r}: this trace was written by another version of kvlearn"
        )
    return VOCABULARY[name](**fields)
