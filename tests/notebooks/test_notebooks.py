"""Every lesson runs from top to bottom, in time, without a word on stderr, and leaves no trace.

And each keeps the course's measure: one question, at most 3,000 words and 150 lines of code, its
parts in their order, nothing imported but kvlearn.
"""

from __future__ import annotations

import ast
import re
import shutil
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic

import nbformat
import pytest
from nbclient import NotebookClient

from kvlearn.course.exercises import EXERCISES
from kvlearn.course.teacher import ANSWER, exercise_of

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SECONDS, WORDS, LINES = 60, 3000, 150
GAIT = ["prediction", "Play", "See it in the code", "Break it", "Exercises", "In real etcd"]

lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@dataclass
class Run:
    """A lesson that was executed in a folder of its own."""

    notebook: nbformat.NotebookNode
    took_s: float
    left: list[str]  # names of files
    again: list  # the cells that reveal a prediction, run once more when all was over


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Runs a lesson in a kernel of this Python, once."""

    @cache
    def execute(path: Path) -> Run:
        folder = tmp_path_factory.mktemp(path.stem)
        notebook = nbformat.read(shutil.copy(path, folder), as_version=4)
        size = len(notebook.cells)
        notebook.cells += deepcopy([cell for cell in code(notebook) if ".reveal(" in cell.source])
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            store_widget_state=False,
        )
        began = monotonic()
        client.execute()
        took_s, again = monotonic() - began, notebook.cells[size:]
        del notebook.cells[size:]
        return Run(notebook, took_s, [child.name for child in folder.iterdir()], again)

    return execute


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def python(cell) -> str:
    """The cell without IPython's magics."""
    if cell.source.startswith("%%"):
        return ""
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))


def test_there_are_lessons():
    assert {"00_start_here", "02_election"} <= {path.stem for path in LESSONS}


@lesson
def test_it_runs_from_top_to_bottom(path, executed):
    before = path.read_bytes()
    run = executed(path)
    ran = run.notebook
    assert run.took_s < SECONDS
    said = [
        out.text for out in outputs(ran) if out.output_type == "stream" and out.name == "stderr"
    ]
    assert said == []
    assert [cell.execution_count for cell in code(ran)] == list(range(1, len(code(ran)) + 1))
    assert run.left == [path.name]  # it wrote no files
    assert path.read_bytes() == before


@lesson
def test_nothing_is_answered_yet_and_every_check_says_something(path, executed):
    ran = executed(path).notebook
    checks = [cell for cell in code(ran) if cell.source.startswith("check(")]
    assert checks
    for cell in checks:
        (output,) = cell.outputs
        assert output.data["text/plain"][0] in "○✗", cell.source
        assert "kvlearn-card" in output.data["text/html"]
    reveals = [cell for cell in code(ran) if ".reveal(" in cell.source]
    assert reveals
    for cell in reveals:
        assert "No prediction made" in cell.outputs[0].data["text/plain"]


@lesson
def test_a_prediction_made_late_is_told_the_same(path, executed):
    """Whoever runs all cells first is asked to choose an answer and to run the cell again."""
    run = executed(path)
    first = [cell for cell in code(run.notebook) if ".reveal(" in cell.source]
    for cell, again in zip(first, run.again, strict=True):
        told = [[out.data["text/html"] for out in one.outputs] for one in (cell, again)]
        assert told[0] == told[1], cell.source


@lesson
def test_it_keeps_the_measure_of_a_lesson(path):
    notebook = nbformat.read(path, as_version=4)
    told = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert sum(len(text.split()) for text in told) <= WORDS
    lines = [line.strip() for cell in code(notebook) for line in cell.source.splitlines()]
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= LINES


@lesson
def test_it_goes_the_course_s_gait(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    order = [next(n for n, head in enumerate(heads) if part in head) for part in GAIT]
    assert order == sorted(order), heads
    assert re.search(r"^\*\*.*\?\*\*$", text, re.MULTILINE), "the question stands below the title"
    first_prediction = next(n for n, c in enumerate(notebook.cells) if "predict(" in c.source)
    first_picture = next(n for n, c in enumerate(notebook.cells) if "cluster.show(" in c.source)
    assert first_prediction < first_picture


@lesson
def test_it_imports_nothing_but_kvlearn(path):
    notebook = nbformat.read(path, as_version=4)
    tree = ast.parse("\n".join(map(python, code(notebook))))
    modules = [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    modules += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert modules and {module.partition(".")[0] for module in modules} == {"kvlearn"}


@lesson
def test_its_exercises_carry_nbgrader_s_marks(path):
    notebook = nbformat.read(path, as_version=4)
    marks = [(c, c.metadata.nbgrader) for c in notebook.cells if "nbgrader" in c.metadata]
    ids = [mark.grade_id for _, mark in marks]
    assert len(ids) == len(set(ids))
    answers = {mark.grade_id for _, mark in marks if mark.solution}
    assert {f"{name}-check" for name in answers} == {m.grade_id for _, m in marks if m.grade}
    for cell, mark in marks:
        assert mark.schema_version == 3 and mark.task is False
        if mark.solution:
            assert cell.source.count(ANSWER) == 1 and "SOLUTION" not in cell.source
        else:
            assert mark.locked and mark.points > 0
            assert exercise_of(cell.source) in EXERCISES
