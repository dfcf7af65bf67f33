"""The teacher's version of every lesson: all exercises solved, all hidden tests pass."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from kvlearn.course import teacher
from kvlearn.course.exercises import EXERCISES

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_with_its_solutions_every_check_is_content(path, tmp_path):
    output = tmp_path / "source" / path.name
    assert teacher.main([str(path), str(output)]) == 0
    notebook = nbformat.read(output, as_version=4)
    NotebookClient(
        notebook, timeout=60, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()  # fmt: skip
    checks = [c for c in notebook.cells if "### BEGIN HIDDEN TESTS" in c.source]
    assert checks
    assert [
        c.source for c in checks if not c.source.rstrip().endswith("### END HIDDEN TESTS")
    ] == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_solution_stands_between_nbgrader_s_markers_and_nowhere_else(path):
    lesson = json.loads(path.read_text(encoding="utf-8"))
    filled = teacher.teacher_version(lesson)
    for before, after in zip(lesson["cells"], filled["cells"]):
        if not before["metadata"].get("nbgrader", {}).get("solution"):
            continue
        old, new = "".join(before["source"]), "".join(after["source"])
        head, _, rest = new.partition(teacher.BEGIN)
        body, _, tail = rest.partition(teacher.END)
        assert old.startswith(head) and body.strip() and tail == ""
        assert teacher.ANSWER not in new and teacher.BEGIN not in old


def test_a_wrong_solution_is_found_by_the_hidden_test(tmp_path):
    lesson = next(path for path in LESSONS if path.stem == "00_start_here")
    filled = teacher.teacher_version(json.loads(lesson.read_text(encoding="utf-8")))
    cells = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in filled["cells"]}
    source = "".join(cells["start-majority-check"]["source"])
    names = {"at_most": 3}
    exec("from kvlearn.course import check", names)
    with pytest.raises(AssertionError):
        exec(source, names)


def test_every_exercise_stands_in_a_lesson():
    asked = set()
    for path in LESSONS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade"):
                asked.add(teacher.exercise_of("".join(cell["source"])))
    assert asked == set(EXERCISES)


def test_an_exercise_without_a_check_is_refused():
    mark = {"grade_id": "lonely", "solution": True, "grade": False}
    cell = {"cell_type": "code", "metadata": {"nbgrader": mark}, "source": ["x = None"]}
    with pytest.raises(ValueError, match="lonely-check"):
        teacher.teacher_version({"cells": [cell]})


def test_an_exercise_without_a_place_for_the_answer_is_refused():
    mark = {"grade_id": "x", "solution": True, "grade": False}
    check = {"grade_id": "x-check", "solution": False, "grade": True}
    cells = [
        {"cell_type": "code", "metadata": {"nbgrader": mark}, "source": ["x = None"]},
        {
            "cell_type": "code",
            "metadata": {"nbgrader": check},
            "source": ['check(x, exercise="start/majority")'],
        },
    ]
    with pytest.raises(ValueError, match="# your answer"):
        teacher.teacher_version({"cells": cells})


def test_it_says_how_to_call_it(capsys):
    assert teacher.main(["one.ipynb"]) == 2
    assert "usage" in capsys.readouterr().err
