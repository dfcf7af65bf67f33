"""How long is a module, really? Lines that hold code: no comments, no docstrings, no blanks."""

from __future__ import annotations

import ast
import io
import tokenize

EMPTY = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
BODIES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold code.

    >>> sorted(code_lines('"Doc."\\nx = 1  # why\\n\\n# because\\ny = (\\n  2\\n)\\n'))
    [2, 5, 6, 7]
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in EMPTY:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for body in ast.walk(ast.parse(source)):
        if isinstance(body, BODIES) and ast.get_docstring(body, clean=False) is not None:
            lines -= set(range(body.body[0].lineno, body.body[0].end_lineno + 1))
    return lines


def functions(source: str) -> dict[str, int]:
    """Every function with its number of code lines, from `def` to its end.

    >>> functions('class A:\\n    def f(self):\\n        "Doc."\\n\\n        return 1\\n')
    {'f:2': 2}
    """
    lines = code_lines(source)
    return {
        f"{node.name}:{node.lineno}": len(lines & set(range(node.lineno, node.end_lineno + 1)))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, FUNCTIONS)
    }
