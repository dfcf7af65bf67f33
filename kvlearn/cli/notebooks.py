"""`kvlearn clean-notebooks`: notebooks as they are committed, without what running leaves behind.

A clean notebook has no outputs, no execution counts, and no metadata but what a lesson needs: so a
diff shows what an author changed, and nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

from kvlearn.cli import Parser
from kvlearn.cli.environment import ROOT, Stop

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_KEEPS = {"tags", "nbgrader", "jupyter"}  # all else is an editor's own mark


def main(argv: list[str]) -> int:
    """Clean the named notebooks, or all; with `--check` only name those that are not clean."""
    parser = Parser("clean-notebooks", "Take outputs and editors' marks out of notebooks.")
    parser.add_argument("notebook", nargs="*", type=Path, help="(all of notebooks/)")
    parser.add_argument("--check", action="store_true", help="change nothing, only tell")
    arguments = parser.parse_args(argv)
    dirty = 0
    for path in arguments.notebook or sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Stop(f"{path} cannot be read as a notebook: {error}") from None
        after = clean(before)
        if after == before:
            continue
        dirty += 1
        print(f"{path.name} {'is not clean' if arguments.check else 'cleaned'}")
        if not arguments.check:
            path.write_text(_text(after), encoding="utf-8")
    return 1 if arguments.check and dirty else 0


def clean(notebook: dict) -> dict:
    """The notebook without outputs, execution counts and odd metadata; a new one.

    >>> cell = {"cell_type": "code", "id": "a", "source": "1", "execution_count": 4,
    ...         "metadata": {"scrolled": True, "tags": ["x"]}, "outputs": [{}]}
    >>> clean({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})["cells"]
    [{'cell_type': 'code', 'id': 'a', 'source': '1', 'execution_count': None, \
'metadata': {'tags': ['x']}, 'outputs': []}]
    """
    return {**notebook, "metadata": KERNEL, "cells": [_clean(cell) for cell in notebook["cells"]]}


def _text(notebook: dict) -> str:
    """As Jupyter writes it: a cleaned notebook that is opened and saved stays as it is."""
    cells = [
        {**cell, "source": "".join(cell["source"]).splitlines(keepends=True)}
        for cell in notebook["cells"]
    ]
    whole = {**notebook, "cells": cells}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _clean(cell: dict) -> dict:
    metadata = {key: mark for key, mark in cell["metadata"].items() if key in CELL_KEEPS}
    hidden = {k: v for k, v in metadata.pop("jupyter", {}).items() if k == "source_hidden"}
    if hidden:
        metadata["jupyter"] = hidden
    ran = {"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {}
    return {**cell, "metadata": metadata, **ran}
