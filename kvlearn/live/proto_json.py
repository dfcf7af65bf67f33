"""Messages as JSON, the way etcd's gateway reads and writes them.

>>> from kvlearn.live.proto import kv_pb2
>>> print(to_json(kv_pb2.KeyValue(key=b"foo", mod_revision=7)))
{"key":"Zm9v","mod_revision":"7"}
>>> from_json(kv_pb2.KeyValue, {"key": "Zm9v", "modRevision": 7, "no_such_field": 1}).key
b'foo'

Numbers of 64 bits are strings in answers, since JavaScript has none, and strings or numbers in
requests; bytes are base64; enums are names (in requests also numbers); what has its default value
is left out. Names are those of the .proto file; requests may use camel case. A body may hold
several objects, one after the other, and may still be growing:

>>> values = Values()
>>> values.feed(b'{"a": 1} {"b"'), values.feed(b': "}"}')
([{'a': 1}], [{'b': '}'}])

Source: grpc-gateway runtime/marshal_jsonpb.go, golang/protobuf jsonpb (what is taken, what is
refused and with which words). Differs: base64's URL-safe letters are taken too.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from functools import cache
from os.path import commonprefix
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

OBJECT = "map[string]json.RawMessage"  # how Go calls what is expected
LIST = "[]json.RawMessage"
INTEGERS = {  # Go's name of the type, its least and its greatest value
    FieldDescriptor.CPPTYPE_INT32: ("int32", -(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: ("int64", -(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: ("uint32", 0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: ("uint64", 0, (1 << 64) - 1),
}
VALUE = "Expecting value"
SYNTAX = (  # the beginning of what Python says, and where Go says that a character is wrong
    (VALUE, "looking for beginning of value"),
    ("Expecting property name", "looking for beginning of object key string"),
    ("Illegal trailing comma", "looking for beginning of object key string"),
    ("Expecting ':'", "after object key"),
    ("Expecting ','", "after object key:value pair"),
    ("Invalid control character", "in string literal"),
    ("Invalid \\", "in string escape code"),
)


class JsonError(ValueError):
    """The text is no JSON, or not that of the message; it says why in the gateway's words."""


class Fraction(str):
    """A number that is not whole, as it was written."""


# Writing ------------------------------------------------------------------------------------


def to_json(message: Message) -> str:
    """A message in one line."""
    told = MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False)


# Reading ------------------------------------------------------------------------------------


def from_json(kind: type, found: Any) -> Message:
    """The message of class `kind` that a decoded value stands for.

    Raises: JsonError.
    """
    message = kind()
    if found is not None:
        try:
            _fill(message, found)
        except RecursionError:
            raise JsonError("exceeded max depth") from None
    return message


def _fill(message: Message, found: Any) -> None:
    if not isinstance(found, dict):
        raise _mismatch(found, OBJECT)
    known = fields_of(message.DESCRIPTOR)
    for name, value in found.items():
        if name not in known or value is None:
            continue
        field, repeated = known[name]
        if repeated:
            if not isinstance(value, list):
                raise _mismatch(value, LIST)
            _fill_list(getattr(message, field.name), field, value)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            _fill(inner, value)
        else:
            setattr(message, field.name, _scalar(field, value))


@cache
def fields_of(kind: Descriptor) -> dict[str, tuple[FieldDescriptor, bool]]:
    """The fields of a kind of message under all their names, and whether they are repeated."""
    told = DescriptorProto()
    kind.CopyToProto(told)  # a field itself says it in another way with every few releases
    repeated = {field.name for field in told.field if field.label == field.LABEL_REPEATED}
    names = {**kind.fields_by_camelcase_name, **kind.fields_by_name}
    return {name: (field, field.name in repeated) for name, field in names.items()}


def _fill_list(target: Any, field: FieldDescriptor, values: list) -> None:
    for value in values:
        if field.message_type is None:
            target.append(_scalar(field, value))
        elif value is None:
            target.add()
        else:
            _fill(target.add(), value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            if not isinstance(value, bool):
                raise _mismatch(value, "bool")
            return value
        case FieldDescriptor.CPPTYPE_ENUM:
            return _number_of(field.enum_type, value)
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return _bytes(value)
        case FieldDescriptor.CPPTYPE_STRING:
            if not isinstance(value, str) or isinstance(value, Fraction):
                raise _mismatch(value, "string")
            return value.encode("utf-8", "replace").decode()  # half a character is none
        case kind:
            return _integer(value, *INTEGERS[kind])


def _integer(value: Any, name: str, least: int, greatest: int) -> int:
    if isinstance(value, str) and not isinstance(value, Fraction):
        value = decoded(value.encode("utf-8", "replace"), "unexpected end of JSON input")
    if isinstance(value, bool) or not isinstance(value, int):
        number = f" {value}" if isinstance(value, Fraction) else ""
        raise _mismatch(value, name, number)
    if not least <= value <= greatest:
        raise _mismatch(value, name, f" {value}")
    return value


def _number_of(enum: Any, value: Any) -> int:
    if isinstance(value, str) and not isinstance(value, Fraction):
        if value not in enum.values_by_name:
            raise JsonError(f"unknown value {json.dumps(value)} for enum {_go_name(enum)}")
        return enum.values_by_name[value].number
    return _integer(value, _go_name(enum), -(1 << 31), (1 << 31) - 1)


def _go_name(enum: Any) -> str:
    package = enum.file.package
    return f"{package}.{enum.full_name[len(package) + 1 :].replace('.', '_')}"


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str) or isinstance(value, Fraction):
        raise _mismatch(value, "[]uint8")
    text = value.translate(_LETTERS)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise JsonError(f"illegal base64 data at input byte {_illegal_at(text)}") from None


_LETTERS = str.maketrans("-_", "+/", "\r\n")


def _illegal_at(text: str) -> int:
    """Where base64 stops to make sense, counted as Go does: an open group at its beginning."""
    start = re.match("(?:[A-Za-z0-9+/]{4})*", text).end()
    end = re.compile("[A-Za-z0-9+/]*").match(text, start).end()
    rest = text[end:]
    match end - start, rest[:1], rest[1:2]:
        case _, "", _:
            return start
        case 2, "=", "":
            return len(text)
        case 2, "=", "=":
            return end + 2
        case 3, "=", _:
            return end + 1
    return end


def _mismatch(value: Any, wanted: str, detail: str = "") -> JsonError:
    match value:
        case bool():
            kind = "bool"
        case int() | Fraction():
            kind = "number"
        case str():
            kind = "string"
        case list():
            kind = "array"
        case dict():
            kind = "object"
        case _:
            kind = "null"
    return JsonError(f"json: cannot unmarshal {kind}{detail} into Go value of type {wanted}")


# Text ---------------------------------------------------------------------------------------


def _constant(name: str) -> Any:
    """Python would take NaN and Infinity."""
    raise JsonError(f"invalid character '{name.lstrip('-')[0]}' looking for beginning of value")


_decoder = json.JSONDecoder(parse_float=Fraction, parse_constant=_constant)


def decoded(text: bytes, unfinished: str = "unexpected EOF") -> Any:
    """The first value in a text.

    Raises: JsonError; its text is `unfinished` if the value goes on where the text ends.
    """
    chars = text.decode("utf-8", "replace").strip(" \t\r\n")
    try:
        return _decoder.raw_decode(chars)[0]
    except json.JSONDecodeError as error:
        where = next((words for said, words in SYNTAX if error.msg.startswith(said)), "")
        at = error.pos
        for word in ("null", "true", "false"):
            if error.msg.startswith(VALUE) and chars[at : at + 1] == word[0]:
                right = len(commonprefix((word, chars[at:])))
                at, where = at + right, f"in literal {word} (expecting '{word[right]}')"
                break
        if at >= len(chars) or not where:
            raise JsonError(unfinished) from None
        raise JsonError(f"invalid character {_quoted(chars[at])} {where}") from None
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except ValueError as error:  # a number with thousands of digits; NaN
        raise JsonError(str(error)) from None


def _quoted(char: str) -> str:
    return {"'": r"'\''", "\\": r"'\\'", "\n": r"'\n'", "\t": r"'\t'"}.get(char, f"'{char}'")


class Values:
    """The values of a body that comes in pieces. Objects and lists are complete with their last
    bracket; anything else is known to be complete when the body ends."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._at = 0  # what is before it is looked through
        self._depth = 0
        self._quoted = False  # within a string
        self._error: JsonError | None = None  # of what came behind good values

    def __len__(self) -> int:
        """Bytes that wait for the rest of their value."""
        return len(self._text)

    def feed(self, data: bytes) -> list[Any]:
        """More of the body; returns the values that are complete with it.

        Raises: JsonError; where good values come before what is wrong, the next time.
        """
        if self._error is not None:
            raise self._error
        self._text += data
        found = []
        try:
            while (end := self._end()) is not None:
                found.append(decoded(bytes(self._text[:end])))
                del self._text[:end]
                self._at = 0
        except JsonError as error:
            if not found:
                raise
            self._error = error
        return found

    def end(self) -> list[Any]:
        """The body has ended; returns the value that nothing followed, if there is one.

        Raises: JsonError.
        """
        if self._error is not None:
            raise self._error
        return [decoded(bytes(self._text))] if self._text.strip() else []

    def _end(self) -> int | None:
        """The end of the first value, or None if it is not there yet."""
        if not self._depth:
            start = _BLANKS.match(self._text).end()
            del self._text[:start]
            if self._text[:1] not in (b"{", b"["):
                if self._text and self._text[0] not in b'"-0123456789tfn':
                    decoded(bytes(self._text))  # no value begins like this
                return None
        while mark := (_IN_STRING if self._quoted else _MARKS).search(self._text, self._at):
            self._at = mark.end()
            match mark.group()[:1]:
                case b'"':
                    self._quoted = not self._quoted
                case b"{" | b"[":
                    self._depth += 1
                case b"}" | b"]":
                    self._depth -= 1
                    if not self._depth:
                        return self._at
        self._at = len(self._text)
        if self._quoted and self._ends_in_escape():
            self._at -= 1  # the character that it escapes comes with the next piece
        return None

    def _ends_in_escape(self) -> bool:
        """Whether the last character is a backslash that is not escaped itself."""
        return (len(self._text) - len(self._text.rstrip(b"\\"))) % 2 == 1


_BLANKS = re.compile(rb"[ \t\r\n]*")
_MARKS = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'"|\\.', re.DOTALL)
