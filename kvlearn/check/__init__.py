"""Checkers: did a run keep what Raft and the store promise? They read the trace, nothing else.

* `check.invariants(trace)`: the promises of the paper's figure 3, and that no acknowledged write
  is lost. `check.Invariants` is the same checker, reading while the run goes on.
* `check.linearizable(trace)`: whether one order of the clients' operations explains every answer;
  also of a history by hand (a list of `Operation`) or a recorded one (`check.load_jepsen(path)`),
  held against a model (`Register`, `CasRegister`, `AppendList`, `AppendText`, `KV`).

Every answer is a list of verdicts: the promise, whether it was kept, and one sentence that says
why, with the record that broke it and the seed that shows it again.
"""

from kvlearn.check.histories import (
    UNKNOWN,
    Append,
    Cas,
    Operation,
    Read,
    Write,
    history_of,
    load_jepsen,
)
from kvlearn.check.invariants import Invariants, invariants
from kvlearn.check.kv_model import KV
from kvlearn.check.linearizable import Linearizability, linearizable
from kvlearn.check.models import AppendList, AppendText, CasRegister, Model, Register
from kvlearn.check.verdict import Verdict, Verdicts

__all__ = [
    "Append",
    "AppendList",
    "AppendText",
    "Cas",
    "CasRegister",
    "Invariants",
    "KV",
    "Linearizability",
    "Model",
    "Operation",
    "Read",
    "Register",
    "UNKNOWN",
    "Verdict",
    "Verdicts",
    "Write",
    "history_of",
    "invariants",
    "linearizable",
    "load_jepsen",
]
