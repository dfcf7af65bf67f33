"""Cards: what the course says, once as HTML that follows the page's theme and once as plain text.

A card has a mood (good, fault, open or plain), a title, and parts that each know both forms. Marks
stand beside colours, so that nothing is said by colour alone.

>>> print(Card("fault", "Not yet", [Words("n3 voted twice.")]))
✗ Not yet
  n3 voted twice.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Protocol

from kvlearn.viz.theme import MONO_CSS, TONES

MONO = escape(MONO_CSS)  # its quotes would end a style attribute
MARKS = {"good": "✓", "fault": "✗", "open": "○", "plain": ""}
COLOURS = {name: css for name, (css, _, _) in TONES.items()}
BLOCK = f"var(--jp-cell-editor-background,{COLOURS['sunken']})"  # behind code
MOOD_COLOURS = {"good": "good", "fault": "fault", "open": "line", "plain": "line"}
WIDE = 100  # columns of the plain form


class Part(Protocol):
    """One piece of a card."""

    def html(self) -> str:
        """For a page."""

    def text(self) -> str:
        """For a terminal."""


@dataclass(frozen=True)
class Words:
    """A paragraph; text in `backticks` is code."""

    words: str
    dim: bool = False

    def html(self) -> str:
        colour = f"color:{COLOURS['dim']};" if self.dim else ""
        return f"<p style='margin:6px 0;{colour}'>{_ticks(self.words)}</p>"

    def text(self) -> str:
        return textwrap.fill(self.words, WIDE - 2)


def _ticks(words: str) -> str:
    """Backticks become <code>."""
    pieces = escape(words).split("`")
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(pieces))


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the row number `bold` is the one to look at."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: int | None = None

    def html(self) -> str:
        """For a page."""
        side = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;background:none;"
        head = "".join(f"<th style='{side}'>{escape(name)}</th>" for name in self.head)
        told = ""
        for number, row in enumerate(self.rows):
            mark = f"font-weight:600;color:{COLOURS['fault']};" if number == self.bold else ""
            whole = ["white-space:nowrap;"] * (len(row) - 1) + [""]  # only the last may wrap
            cells = "".join(
                f"<td style='{side}{mark}{wrap}'>{escape(cell)}</td>"
                for cell, wrap in zip(row, whole)
            )
            told += f"<tr style='background:none'>{cells}</tr>"
        style = "margin:6px 0;border:none;border-collapse:collapse;"
        return f"<table style='{style}'><tr style='background:none'>{head}</tr>{told}</table>"

    def text(self) -> str:
        """For a terminal; the row to look at is marked."""
        grid = [list(self.head), *map(list, self.rows)]
        wide = [max(len(row[place]) for row in grid) for place in range(len(self.head))]
        lines = []
        for number, row in enumerate(grid):
            mark = "▶ " if self.bold is not None and number == self.bold + 1 else "  "
            cells = "  ".join(cell.ljust(size) for cell, size in zip(row, wide))
            lines.append((mark + cells).rstrip())
        return "\n".join(lines)


@dataclass(frozen=True)
class Fold:
    """Something that a page shows when it is clicked; a terminal shows `words` instead."""

    label: str
    inside: str  # HTML
    words: str = ""

    def html(self) -> str:
        summary = f"<summary style='cursor:pointer'>{escape(self.label)}</summary>"
        return f"<details style='margin:6px 0'>{summary}{self.inside}</details>"

    def text(self) -> str:
        return self.words


@dataclass(frozen=True)
class Code:
    """Lines of Python, coloured as the page colours its editors; `plain` ones are no Python."""

    source: str
    plain: bool = False

    def html(self) -> str:
        """For a page, coloured."""
        from kvlearn.course.colours import coloured

        style = (
            f"font-family:{MONO};font-size:var(--jp-code-font-size,13px);line-height:1.4;"
            f"background:{BLOCK};color:{COLOURS['ink']};padding:8px 10px;margin:6px 0;"
            "overflow-x:auto;white-space:pre-wrap;border-radius:3px;"
        )
        told = escape(self.source) if self.plain else coloured(self.source)
        return f"<pre style='{style}'>{told}</pre>"

    def text(self) -> str:
        return textwrap.indent(self.source, "    ")


@dataclass
class Card:
    """A titled box. `str` and `repr` are its plain form."""

    mood: str
    title: str
    parts: list[Part] = field(default_factory=list)

    def _repr_html_(self) -> str:
        colour = COLOURS[MOOD_COLOURS[self.mood]]
        ink = colour if self.mood in ("good", "fault") else COLOURS["ink"]
        mark = f"{MARKS[self.mood]} " if MARKS[self.mood] else ""
        title = f"<div style='font-weight:600;color:{ink}'>{mark}{_ticks(self.title)}</div>"
        style = (
            f"border-left:4px solid {colour};padding:4px 0 4px 12px;margin:4px 0;max-width:60em;"
            f"color:{COLOURS['ink']};font-family:var(--jp-content-font-family,sans-serif);"
        )
        inside = "".join(part.html() for part in self.parts)
        hooks = f"class='kvlearn-card' data-kv-mood='{self.mood}'"
        return f"<div {hooks} style='{style}'>{title}{inside}</div>"

    def __str__(self) -> str:
        told = [f"{MARKS[self.mood]} {self.title}".strip()]
        told += [textwrap.indent(text, "  ") for part in self.parts if (text := part.text())]
        return "\n".join(told)

    __repr__ = __str__
