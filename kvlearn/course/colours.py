"""Python source in the colours of the page's own editor, light or dark.

>>> coloured("return None")
"<span style='color:var(--jp-mirror-editor-keyword-color,#8250DF)'>return</span> \
<span style='color:var(--jp-mirror-editor-keyword-color,#8250DF)'>None</span>"
"""

from __future__ import annotations

import io
import keyword
import token
import tokenize
from html import escape

# JupyterLab's variables; the second colour reads on light and on dark where they are not known.
_COLOURS = {
    "keyword": "var(--jp-mirror-editor-keyword-color,#8250DF)",
    "def": "var(--jp-mirror-editor-def-color,#0969DA)",
    "string": "var(--jp-mirror-editor-string-color,#B35900)",
    "comment": "var(--jp-mirror-editor-comment-color,#6E7781)",
    "number": "var(--jp-mirror-editor-number-color,#1A7F37)",
}


def coloured(source: str) -> str:
    """`source` as HTML spans; what is not Python is shown as it stands."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return escape(source)
    lines = source.splitlines(keepends=True)
    told, row, column, before = "", 1, 0, ""
    for kind, text, (row_from, column_from), (row_to, column_to), _ in tokens:
        if kind in (token.ENDMARKER, token.INDENT, token.DEDENT):
            continue
        told += escape(_between(lines, row, column, row_from, column_from))
        colour = _COLOURS.get(_kind(kind, text, before))
        piece = escape(_between(lines, row_from, column_from, row_to, column_to))
        told += f"<span style='color:{colour}'>{piece}</span>" if colour and piece else piece
        row, column, before = row_to, column_to, text
    return told


def _kind(kind: int, text: str, before: str) -> str:
    if kind == token.NAME:
        return "keyword" if keyword.iskeyword(text) else "def" if before in ("def", "class") else ""
    names = {token.STRING: "string", tokenize.COMMENT: "comment", token.NUMBER: "number"}
    return names.get(kind, "")


def _between(lines: list[str], row: int, column: int, row_to: int, column_to: int) -> str:
    """The text from one place (row from 1, column from 0) to another."""
    if row > len(lines):
        return ""
    if row == row_to:
        return lines[row - 1][column:column_to]
    rest = "".join(lines[row : row_to - 1])
    last = lines[row_to - 1][:column_to] if row_to <= len(lines) else ""
    return lines[row - 1][column:] + rest + last
