"""Checkers: did a run keep what Raft and the store promise? They read the trace, nothing else.

* `check.invariants(trace)`: the promises of the paper's figure 3, and that no acknowledged write
  is lost. `check.Invariants` is the same checker, reading while the run goes on.
* `check.service(trace)`: what clients and operators rely on beyond that: no stale read, and with
  CheckQuorum a leader that keeps its term while it is heard, and gives it up while it is not.
* `check.watches(trace)`: what watchers rely on: every change since a revision, in order, none twice
  and none missing.
* `check.leases(trace)`: what holders of leases rely on: no lease ends too early, each ends, and all
  its keys go with it.
* `check.answers(trace)`: whether every answer is what one store would have given that carries out
  the log: quick, for histories of any length, where the log is known.
* `check.linearizable(trace)`: whether one order of the clients' operations explains every answer;
  also of a history by hand (a list of `Operation`) or a recorded one (`check.load_jepsen(path)`),
  held against a model (`Register`, `CasRegister`, `AppendList`, `AppendText`, `KV`, and `KVTxn` for
  transactions and leases).
* `check.sweep(workload, seeds)`: clients and faults under many seeds, a table with a row a seed;
  `check.replay(row)` plays one again, `check.shrink(row)` finds a smaller run that breaks the same.
* `check.split_votes`, `check.downtime` and `check.figure_16` count and time elections, as the
  thesis (chapter 9) and the paper (figure 16) do.

Every checker's answer is a list of verdicts: the promise, whether it was kept, and one sentence
that says why, with the record that broke it and the seed that shows it again.
"""

from kvlearn.check.answers import answers
from kvlearn.check.elections import Downtime, SplitVotes, downtime, figure_16, split_votes
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
from kvlearn.check.leases import leases
from kvlearn.check.linearizable import Linearizability, linearizable
from kvlearn.check.models import AppendList, AppendText, CasRegister, Model, Register
from kvlearn.check.nemesis import NEMESES, Nemesis
from kvlearn.check.service import service
from kvlearn.check.shrink import shrink
from kvlearn.check.store_workload import StoreChaos
from kvlearn.check.sweep import Case, Run, replay, sweep
from kvlearn.check.txn_model import KVTxn
from kvlearn.check.verdict import Verdict, Verdicts
from kvlearn.check.watches import watches
from kvlearn.check.workloads import WORKLOADS, Chaos

__all__ = [
    "Append",
    "AppendList",
    "AppendText",
    "Cas",
    "CasRegister",
    "Case",
    "Chaos",
    "Downtime",
    "Invariants",
    "KV",
    "KVTxn",
    "Linearizability",
    "Model",
    "NEMESES",
    "Nemesis",
    "Operation",
    "Read",
    "Register",
    "Run",
    "StoreChaos",
    "SplitVotes",
    "UNKNOWN",
    "Verdict",
    "Verdicts",
    "WORKLOADS",
    "Write",
    "answers",
    "downtime",
    "figure_16",
    "history_of",
    "invariants",
    "leases",
    "linearizable",
    "load_jepsen",
    "replay",
    "service",
    "shrink",
    "split_votes",
    "sweep",
    "watches",
]
