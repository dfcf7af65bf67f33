"""The course's kit: what lessons need besides the product itself.

    predict(question, options)        say what will happen, before it does; then `.reveal(fact)`
    show(Raft.may_commit)             a rule, read from the running code
    blank(Raft, "may_vote_for")       Raft without that rule, for you to write
    check(answer, exercise=...)       a verdict at once: what broke, where, under which rule
    compare(scenario, Mutant)         the first difference between two runs
    strips({...}), summary({...})     many measurements as dots, and their numbers as a table

Broken rules are in `mutants`. In a notebook, `%load_ext kvlearn.course` adds `%%transcript` and
lets tables of records show whole sentences.
"""

from kvlearn.course.chart import strips, summary
from kvlearn.course.comparison import compare
from kvlearn.course.grade import check
from kvlearn.course.predictions import calibration, predict
from kvlearn.course.rules import blank, show

__all__ = ["blank", "calibration", "check", "compare", "predict", "show", "strips", "summary"]


def load_ipython_extension(shell) -> None:
    """What `%load_ext kvlearn.course` does."""
    from kvlearn.course import magics

    magics.register(shell)
