"""The teacher's version of a lesson: solutions between markers, hidden tests below the checks.

The lessons in `notebooks/` are what students get: in an exercise's cell stands `# your answer`, and
what follows is theirs to replace. For nbgrader, whose `source` folder holds the notebooks of the
teacher, this puts the solution there, between nbgrader's markers:

    python3 -m kvlearn.course.teacher notebooks/02_election.ipynb source/02/02_election.ipynb

`nbgrader generate_assignment` takes solutions and hidden tests out again.

Source: nbgrader's cell metadata, schema version 3, and its markers BEGIN SOLUTION, BEGIN HIDDEN
TESTS.
"""

from __future__ import annotations

import ast
import json
import sys
from copy import deepcopy
from pathlib import Path

from kvlearn.course.exercises import EXERCISES

ANSWER = "# your answer"  # in the student's cell; from here to the end of the cell
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def teacher_version(notebook: dict) -> dict:
    """A copy of the student's notebook with all exercises solved.

    Raises: ValueError for an exercise cell that has no check, or no place for the answer.
    """
    filled = deepcopy(notebook)
    cells = {mark["grade_id"]: cell for cell in filled["cells"] if (mark := _mark(cell))}
    for name, cell in cells.items():
        if not _mark(cell)["solution"]:
            continue
        check = cells.get(f"{name}-check")
        if check is None:
            raise ValueError(f"the exercise cell {name!r} has no cell {name + '-check'!r}")
        exercise = EXERCISES[exercise_of("".join(check["source"]))]
        cell["source"] = _lines(_fill("".join(cell["source"]), exercise.solution))
        check["source"] = _lines(_with_hidden_test("".join(check["source"])))
    return filled


def exercise_of(source: str) -> str:
    """The exercise that a check cell names.

    >>> exercise_of('check(Mine, exercise="election/may_vote_for")')
    'election/may_vote_for'
    """
    for part in ast.walk(ast.parse(source)):
        if isinstance(part, ast.keyword) and part.arg == "exercise":
            return ast.literal_eval(part.value)
    raise ValueError(f"this cell checks no exercise: {source}")


def _mark(cell: dict) -> dict | None:
    return cell["metadata"].get("nbgrader")


def _fill(source: str, solution: str) -> str:
    head, answer, _ = source.partition(ANSWER)
    if not answer:
        raise ValueError(f"an exercise cell has no line {ANSWER!r}: {source}")
    indent = head.rpartition("\n")[2]
    return f"{head}{BEGIN}\n{solution.rstrip()}\n{indent}{END}"


def _with_hidden_test(source: str) -> str:
    return f"{source}\n### BEGIN HIDDEN TESTS\nassert {source.strip()}.ok\n### END HIDDEN TESTS"


def _lines(source: str) -> list[str]:
    return source.splitlines(keepends=True)


def main(argv: list[str]) -> int:
    """Read one notebook, write the other; returns the exit status."""
    if len(argv) != 2:
        print("usage: python3 -m kvlearn.course.teacher LESSON.ipynb OUTPUT.ipynb", file=sys.stderr)
        return 2
    lesson, output = map(Path, argv)
    filled = teacher_version(json.loads(lesson.read_text(encoding="utf-8")))
    output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(filled, indent=1, sort_keys=True, ensure_ascii=False)
    output.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
