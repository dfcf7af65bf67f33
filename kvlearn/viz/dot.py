"""Graphviz pictures: what is truly a graph, drawn by `dot`, with its source for whoever wants it.

`render_dot` takes the first engine that works: the program `dot`, then `graphviz-pure` (from PyPI,
no system package needed), then `pygraphviz`. Without any of them a `Graph` shows its DOT text and
one line that says what to install.

A drawing names tones (`ink`, `dim`, ... of the theme) as colours `tone:ink`; they become the same
variables as in every other picture, so that a graph follows the page's theme too.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from typing import Any

from kvlearn.viz import theme
from kvlearn.viz.svg import Markup, Svg, label, one_line, wrap

INSTALL = (
    "To see this picture install Graphviz's program `dot` (apt install graphviz, "
    "brew install graphviz, conda install -c conda-forge graphviz) or: pip install graphviz-pure"
)
TIMEOUT_S = 30.0
# `dot` knows no variables: each tone travels as a colour that no picture uses otherwise.
_MARKS = {name: f"#0102{number:02x}" for number, name in enumerate(theme.TONES, start=16)}


def _program(name: str) -> Callable[[str], str]:
    def run(source: str) -> str:
        done = subprocess.run(
            [name, "-Kdot", "-Tsvg"], input=source.encode(), capture_output=True, timeout=TIMEOUT_S
        )
        if done.returncode:
            raise ValueError(done.stderr.decode(errors="replace").strip())
        return done.stdout.decode()

    return run


def _pygraphviz(source: str) -> str:
    import pygraphviz

    return pygraphviz.AGraph(string=source).draw(format="svg", prog="dot").decode()


@functools.cache
def engine() -> tuple[str, Callable[[str], str]] | None:
    """The first engine that is there, as (name, source -> SVG); None if there is none."""
    # A kernel's PATH may lack the scripts of its own environment.
    places = os.pathsep.join([os.environ.get("PATH", ""), sysconfig.get_path("scripts")])
    for name in ("dot", "graphviz-pure"):
        if found := shutil.which(name, path=places):
            return name, _program(found)
    if importlib.util.find_spec("pygraphviz"):
        return "pygraphviz", _pygraphviz
    return None


@functools.lru_cache(64)
def render_dot(source: str) -> str | None:
    """The SVG text of a DOT source; None if no engine is there.

    Raises: ValueError with the engine's words if the source is not DOT.
    """
    found = engine()
    if found is None:
        return None
    try:
        return found[1](source)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{found[0]} cannot draw this graph: {error}") from error


def tones(source: str) -> str:
    """DOT source with the theme's tones as the marks that `Graph` will find again."""
    return re.sub(r"tone:([a-z]+)", lambda m: _MARKS[m[1]], source)


class Graph(Svg):
    """A picture drawn by Graphviz. `source` is its DOT text, in the light card's colours."""

    def __init__(
        self,
        kind: str,
        source: str,
        title: str,
        desc: str,
        text: str,
        hooks: dict[str, object] | None = None,
    ):
        self.source = re.sub(r"tone:([a-z]+)", lambda m: theme.TONES[m[1]][1], source)
        drawn = render_dot(tones(source))
        if drawn is None:
            body, wide, high = _as_text(self.source)
            text = f"{text}\n{INSTALL}"
        else:
            body, wide, high = _inside(drawn)
        super().__init__(kind, body, wide, high, title, desc, text, hooks)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {**super()._repr_mimebundle_(include, exclude), "text/vnd.graphviz": self.source}


def _inside(drawn: str) -> tuple[Markup, float, float]:
    """Graphviz's markup without its head, its ids and its tooltips, in our tones and fonts."""
    box = re.search(r'viewBox="[\d.\-]+ [\d.\-]+ ([\d.]+) ([\d.]+)"', drawn)
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<title>.*?</title>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<g) id="[^"]*"', r"\1", body)
    body = re.sub(r' font-family="[^"]*"', "", body)
    halo = f'<text stroke="{theme.tone("surface")}" stroke-width="3.5" paint-order="stroke"'
    edges = re.compile('<g class="edge">.*?</g>', re.DOTALL)  # words may lie on their own arrow
    body = edges.sub(lambda m: m[0].replace("<text", halo), body)
    for name, mark in _MARKS.items():
        body = body.replace(mark, theme.tone(name))
    return Markup(body.replace("\n", "")), float(box[1]), float(box[2])


def _as_text(source: str) -> tuple[Markup, float, float]:
    small = theme.SIZES["small"]
    told = wrap(INSTALL, 560, small, 3)
    lines = [(text, False) for text in told] + [(line, True) for line in source.splitlines()]
    body = "".join(
        label(16, 26 + 16 * number, text, size=small, mono=mono, halo=False)
        for number, (text, mono) in enumerate(lines)
    )
    return Markup(body), 620.0, 30.0 + 16 * len(lines)


def quoted(text: object) -> str:
    """Text as a DOT string."""
    told = one_line(str(text)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{told}"'
