"""A picture: SVG markup that shows itself in a notebook, in a file and as text.

Drawing functions make markup with `el` (one element) and hand it to `Svg` with a title, a
description in words and a *text twin*: the same facts as plain text, for terminals, screen readers
and tests. Markup has no ids at all, so any number of pictures can stand in one page.

>>> print(el("text", "a < b", x=1.50, data_kv_node="n1"))
<text x="1.5" data-kv-node="n1">a &lt; b</text>
>>> picture = Svg("dot", el("circle", r=1), 4, 4, "A dot", "One black dot.", "o")
>>> picture
o
>>> sorted(picture._repr_mimebundle_())
['image/svg+xml', 'text/html', 'text/plain']
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from kvlearn.viz import theme

# What XML 1.0 cannot hold (C0 controls but tab, newline, return; surrogates; two non-characters).
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_PLAIN = re.compile('[^&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]*')


def esc(text: object) -> str:
    """Text made safe for markup; characters that XML cannot hold become control pictures or �."""
    told = str(text)
    if _PLAIN.fullmatch(told):  # nearly always
        return told
    told = _NOT_XML.sub(lambda m: chr(0x2400 + ord(m[0])) if m[0] < " " else "�", told)
    told = told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return told.replace('"', "&quot;").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")


def one_line(text: str) -> str:
    """Text without control characters, which terminals obey and XML cannot hold."""
    return "".join(chr(0x2400 + ord(char)) if char < " " else char for char in text)


@lru_cache(8192)
def num(number: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros, no minus zero."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


@cache
def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


class Markup(str):
    """Text that is markup already."""


def el(tag: str, *inside: object, **attributes: object) -> Markup:
    """One element. `data_kv_node` becomes `data-kv-node`, `class_` `class`; None leaves one out."""
    told = []
    for name, given in attributes.items():
        if given is None:
            continue
        text = num(given) if isinstance(given, float) else esc(given)
        told.append(f' {_attribute(name)}="{text}"')
    body = "".join(part if isinstance(part, Markup) else esc(part) for part in inside)
    return Markup(f"<{tag}{''.join(told)}>{body}</{tag}>" if body else f"<{tag}{''.join(told)}/>")


def group(parts: Iterable[str], **attributes: object) -> Markup:
    """Elements together."""
    return el("g", Markup("".join(parts)), **attributes)


def path(*points: tuple[float, float]) -> str:
    """The path through points, straight."""
    return "M" + " L".join(f"{num(x)},{num(y)}" for x, y in points)


# Text, whose width nobody tells us: measured by rough tables, on the wide side. ----------------

_EMS = dict.fromkeys("iIjl.,:;'|!()[]ft r-·", 0.36)
_EMS |= dict.fromkeys("mwMWGOQ@%→←—…", 0.86) | dict.fromkeys("0123456789=", 0.64)


@lru_cache(4096)
def width(text: str, size: float = theme.SIZES["text"], mono: bool = False) -> float:
    """About how wide `text` is drawn."""
    ems = 0.0
    for char in text:
        if unicodedata.east_asian_width(char) in "WF":
            ems += 1.05
        elif mono:
            ems += 0.61
        else:
            ems += _EMS.get(char, 0.58)
    return ems * size


def fit(text: str, room: float, size: float = theme.SIZES["text"], mono: bool = False) -> str:
    """`text`, shortened with … in the middle so that it fits into `room`."""
    if width(text, size, mono) <= room:
        return text
    keep = len(text) - 1
    while keep > 1:
        head = (keep * 2 + 2) // 3
        short = text[:head] + "…" + text[len(text) - (keep - head) :]
        if width(short, size, mono) <= room:
            return short
        keep -= 1
    return "…"


def wrap(text: str, room: float, size: float = theme.SIZES["text"], lines: int = 2) -> list[str]:
    """`text` in at most `lines` lines that fit into `room`; what is too much ends in …"""
    told: list[str] = []
    for word in text.split():
        if told and width(f"{told[-1]} {word}", size) <= room:
            told[-1] += f" {word}"
        elif len(told) < lines:
            told.append(fit(word, room, size))
        else:
            while told[-1] and width(f"{told[-1]} …", size) > room:
                told[-1] = told[-1][:-1]
            told[-1] = told[-1].rstrip(" ,;") + " …"
            break
    return told


class Box(NamedTuple):
    """A rectangle: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def hits(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Room:
    """Who already stands where: labels ask it for a free place.

    It looks only at the rows that a rectangle touches, so that asking stays cheap.
    """

    ROW = 24.0

    def __init__(self, taken: Iterable[Box] = ()):
        self._rows: dict[int, list[Box]] = {}
        self.take(taken)

    def take(self, boxes: Iterable[Box]) -> None:
        """These rectangles are occupied from now on."""
        for box in boxes:
            for row in self._span(box):
                self._rows.setdefault(row, []).append(box)

    def free(self, boxes: Iterable[Box], but: Sequence[Box] = ()) -> bool:
        """Whether none of the rectangles hits one that is occupied (`but` these do not count)."""
        rows = self._rows
        for box in boxes:
            for row in self._span(box):
                for other in rows.get(row, ()):
                    if box.hits(other) and other not in but:
                        return False
        return True

    def _span(self, box: Box) -> range:
        return range(int(box.top // self.ROW), int(box.bottom // self.ROW) + 1)


def first_free(
    tries: Iterable[Sequence[Box]],
    hard: Room,
    soft: Room | None = None,
    own: Sequence[Box] = (),
) -> int | None:
    """The number of the first try (rectangles) that hits nothing, which it then takes in `hard`.

    What stands in `soft`, except `own`, is avoided if that is possible. None: there is no place.
    """
    second = None
    for number, boxes in enumerate(tries):
        if not hard.free(boxes):
            continue
        if soft is None or soft.free(boxes, own):
            hard.take(boxes)
            return number
        second = (number, boxes) if second is None else second
    if second is None:
        return None
    hard.take(second[1])
    return second[0]


def line_boxes(a: tuple[float, float], b: tuple[float, float], half: float = 2.0) -> list[Box]:
    """A straight line as a row of small rectangles, for `Room`."""
    (ax, ay), (bx, by) = a, b
    pieces = max(1, int(max(abs(bx - ax), abs(by - ay)) // 12))
    boxes = []
    for piece in range(pieces):
        x0, x1 = ax + (bx - ax) * piece / pieces, ax + (bx - ax) * (piece + 1) / pieces
        y0, y1 = ay + (by - ay) * piece / pieces, ay + (by - ay) * (piece + 1) / pieces
        boxes.append(Box(min(x0, x1), min(y0, y1) - half, max(x0, x1), max(y0, y1) + half))
    return boxes


def text_box(x: float, y: float, text: str, size: float, anchor: str, bold: bool = False) -> Box:
    """The rectangle of a line of text whose baseline starts, is centred or ends at (x, y)."""
    wide = width(text, size) * (1.1 if bold else 1.0)
    left = {"start": x, "middle": x - wide / 2, "end": x - wide}[anchor]
    return Box(left - 1, y - 0.85 * size, left + wide + 1, y + 0.3 * size)


def label(x: float, y: float, text: str, **style: object) -> Markup:
    """A line of text with a halo of the surface's colour, so that it reads on any line below it.

    `tone` (a tone's name, ink), `size`, `anchor` (start), `mono`, `bold` and further attributes.
    """
    size = style.pop("size", theme.SIZES["text"])
    mono = style.pop("mono", False)
    bold = style.pop("bold", False)
    halo = style.pop("halo", True)
    named = style.pop("tone", "ink")
    return el(
        "text",
        text,
        x=float(x),
        y=float(y),
        font_size=float(size),
        text_anchor=_unless(style.pop("anchor", "start"), "start"),
        font_family="var(--kv-mono)" if mono else None,
        font_weight=600 if bold else None,
        fill=style.pop("fill", None) or theme.tone(named),
        stroke=theme.tone("surface") if halo else None,
        stroke_width=3.5 if halo else None,
        stroke_linejoin="round" if halo else None,
        paint_order="stroke" if halo else None,
        **style,
    )


def _unless(given, default):
    return None if given == default else given


def cross(x: float, y: float, r: float, **style: object) -> Markup:
    """Two strokes that cross in (x, y)."""
    way = path((x - r, y - r), (x + r, y + r)) + " " + path((x - r, y + r), (x + r, y - r))
    return el("path", **{"d": way, "fill": "none", "stroke_linecap": "round", **style})


# The picture ------------------------------------------------------------------------------------


class Svg:
    """A finished picture. Equal input gives equal bytes.

    `kind` names the picture (data-kv-picture), `title` and `desc` say in words what it shows,
    `text` is its text twin, `hooks` further attributes of the root.
    """

    def __init__(
        self,
        kind: str,
        body: str,
        width: float,
        height: float,
        title: str,
        desc: str,
        text: str,
        hooks: dict[str, object] | None = None,
    ):
        self.kind, self.body = kind, Markup(body)
        self.width, self.height = float(width), float(height)
        self.title, self.desc, self.text = title, desc, text
        self.hooks = hooks or {}

    def html(self) -> str:
        """The picture for a page: it follows the page's theme."""
        tones = "".join(f"--kv-{name}:{css};" for name, (css, _, _) in theme.TONES.items())
        tones += f"--kv-mono:{theme.MONO_CSS};"
        look = f"font-family:{theme.FONT_CSS};max-width:100%;height:auto;{tones}"
        return self._root(self.body, look)

    def svg(self, dark: bool = False) -> str:
        """The picture on a card of its own, for a file or an image: no page reaches into it."""
        card = el(
            "rect",
            x=0.5,
            y=0.5,
            width=self.width - 1,
            height=self.height - 1,
            rx=8,
            fill=theme.tone("surface"),
            stroke=theme.tone("faint"),
        )
        markup = self._root(Markup(card + self.body), f"font-family:{theme.FONT}")
        for name, (_, light, night) in theme.TONES.items():
            markup = markup.replace(f"var(--kv-{name})", night if dark else light)
        return markup.replace("var(--kv-mono)", esc(theme.MONO))

    def save(self, path: str | Path, dark: bool = False) -> None:
        """Write the picture on its own card, light or dark, as an SVG file."""
        Path(path).write_text(self.svg(dark), encoding="utf-8")

    def _root(self, body: Markup, look: str) -> str:
        return el(
            "svg",
            el("title", self.title),
            el("desc", self.desc),
            body,
            xmlns="http://www.w3.org/2000/svg",
            role="img",
            class_="kvlearn-picture",
            data_kv_picture=self.kind,
            **self.hooks,
            viewBox=f"0 0 {num(self.width)} {num(self.height)}",
            width=self.width,
            height=self.height,
            font_size=theme.SIZES["text"],
            style=look,
        )

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {
            "text/html": self.html(),
            "image/svg+xml": self.svg(),
            "text/plain": self.text,
        }

    def __repr__(self) -> str:
        return self.text
