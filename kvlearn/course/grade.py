"""`check`: a verdict on an answer, at once.

>>> print(check(2, exercise="start/majority"))  # doctest: +ELLIPSIS
✓ Right: 2
...
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from kvlearn.course.verdicts import Judgement


def check(answer: Any, exercise: str) -> Judgement:
    """Judge an answer: a value, a class derived from Raft or a scene, as the exercise asks.

    The judgement shows itself; `.ok` is True, False, or None where nothing is filled in yet.
    Raises: ValueError for the name of an exercise that does not exist.
    """
    from kvlearn.course.exercises import EXERCISES

    if exercise not in EXERCISES:
        near = get_close_matches(str(exercise), EXERCISES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f": there are {', '.join(EXERCISES)}"
        raise ValueError(f"there is no exercise {exercise!r}{hint}")
    return EXERCISES[exercise].judge(answer)
