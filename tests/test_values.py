"""Values: frozen, slotted, equal by value, and the vocabulary by which files find them again."""

import copy
import dataclasses
import json
import pickle

import pytest

from kvlearn.raft.types import Entry, EntryID
from kvlearn.values import VOCABULARY, from_json, to_json, value


@value
class Pair:
    one: int
    two: object = None


@value(order=True)
class Version:
    major: int
    minor: int = 0


@value
class Empty:
    pass


@value
class Checked:
    size: int = 1

    def __post_init__(self):
        if self.size < 1:
            raise ValueError("a size is at least 1")


def test_values_are_equal_by_value_and_can_be_keys():
    assert Pair(1, "a") == Pair(1, "a") != Pair(1, "b")
    assert {Pair(1, (2, 3)): "x"}[Pair(1, (2, 3))] == "x"
    assert Pair(1) != Version(1), "of another kind"
    assert Empty() == Empty()


@pytest.mark.parametrize("change", [lambda v: setattr(v, "one", 2), lambda v: delattr(v, "one")])
def test_values_never_change(change):
    pair = Pair(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        change(pair)
    assert pair == Pair(1)


def test_values_have_slots():
    with pytest.raises((AttributeError, TypeError)):
        Pair(1).three = 3
    assert not hasattr(Pair(1), "__dict__")


def test_values_are_made_by_place_or_by_name_with_defaults():
    assert Pair(1) == Pair(one=1) == Pair(two=None, one=1)
    with pytest.raises(TypeError):
        Pair()
    with pytest.raises(TypeError):
        Pair(1, 2, 3)
    with pytest.raises(TypeError):
        Pair(1, three=3)


def test_what_a_value_checks_is_checked():
    assert Checked().size == 1
    with pytest.raises(ValueError, match="at least 1"):
        Checked(0)


def test_ordered_values_compare_field_by_field():
    assert sorted([Version(2), Version(1, 9), Version(1, 2)]) == [
        Version(1, 2),
        Version(1, 9),
        Version(2),
    ]
    with pytest.raises(TypeError):
        Pair(1) < Pair(2)


def test_copies_share_values():
    pair = Pair(1, EntryID(2, 7))
    assert copy.copy(pair) is pair and copy.deepcopy(pair) is pair
    assert copy.deepcopy([pair])[0] is pair
    assert dataclasses.replace(pair, one=5) == Pair(5, EntryID(2, 7))
    assert pickle.loads(pickle.dumps(Version(3, 1))) == Version(3, 1)


def test_a_value_shows_itself():
    assert repr(Pair(1, b"x")) == "Pair(one=1, two=b'x')" and repr(Empty()) == "Empty()"


THINGS = [
    None,
    True,
    0,
    -1.5,
    1e-300,
    "",
    "käse …",
    "\u2028\x85\x00",
    b"",
    bytes(range(256)),
    (),
    (1, ("a", b"b"), None),
    Pair(1, "x"),
    Pair(1, (Pair(2, b"\xff"), EntryID(2, 7))),
    Entry(3, 2, Pair(1)),
    Empty(),
    Version(1, 2),
]


@pytest.mark.parametrize("thing", THINGS, ids=repr)
def test_things_survive_a_file(thing):
    text = json.dumps(to_json(thing), ensure_ascii=False)
    back = from_json(json.loads(text))
    assert back == thing and type(back) is type(thing)


def test_lists_come_back_as_tuples():
    assert from_json(to_json([1, [2]])) == (1, (2,))


@pytest.mark.parametrize("thing", [object(), {1, 2}, {"a": 1}, Exception("x"), Pair])
def test_what_is_no_value_cannot_be_saved(thing):
    with pytest.raises(TypeError, match="cannot be saved: only values"):
        to_json(thing)
    with pytest.raises(TypeError, match="cannot be saved"):
        to_json(Pair(1, (thing,)))


@pytest.mark.parametrize("data", [{"is": "NoSuchWord"}, {"a": 1}, {}])
def test_words_that_nobody_knows(data):
    with pytest.raises(ValueError, match="unknown word .*another version of kvlearn"):
        from_json(data)


def test_a_word_with_other_fields_than_it_has():
    with pytest.raises(TypeError):
        from_json({"is": "Pair", "one": 1, "three": 3})


def test_every_word_of_the_house_is_found_under_its_name():
    house = {name: kind for name, kind in VOCABULARY.items() if kind.__module__[:7] == "kvlearn"}
    assert len(house) > 40
    for name, kind in house.items():
        assert kind.__name__ == name and dataclasses.is_dataclass(kind)
        assert "__slots__" in vars(kind) and "__setattr__" in vars(kind), f"{name} can change"


def test_two_rooms_may_not_use_one_name():
    impostor = type("EntryID", (), {"__annotations__": {"x": int}, "__module__": "kvlearn.nowhere"})
    with pytest.raises(AssertionError, match="two values named EntryID"):
        value(impostor)
    assert VOCABULARY["EntryID"] is EntryID
