"""Checkers: did a run keep what Raft and the store promise? They read the trace, nothing else.

* `check.invariants(trace)`: the promises of the paper's figure 3, and that no acknowledged write
  is lost. `check.Invariants` is the same checker, reading while the run goes on.

Every answer is a list of verdicts: the promise, whether it was kept, and one sentence that says
why, with the record that broke it and the seed that shows it again.
"""

from kvlearn.check.invariants import Invariants, invariants
from kvlearn.check.verdict import Verdict, Verdicts

__all__ = ["Invariants", "Verdict", "Verdicts", "invariants"]
