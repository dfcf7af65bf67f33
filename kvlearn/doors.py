"""Doors that open upward: how a low floor shows itself without knowing who draws.

A cluster can be shown and checked, but `sim` may not import `viz` or `check`, which read it. So
the few things that a low floor hands upward stand here by name, and are loaded when somebody asks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

DOORS = {
    "panel": ("kvlearn.viz.panels", "show"),  # (cluster, **options) -> a widget
    "live panel": ("kvlearn.viz.live_bench", "LiveBench"),  # the same, of a real cluster
    "export": ("kvlearn.viz.export", "export"),  # (cluster, path) -> a page that plays by itself
    "picture": ("kvlearn.viz", "picture"),  # (cluster) -> Svg, its static form
    "lanes": ("kvlearn.viz.lanes", "lanes"),  # (verdict on a history) -> Svg
    "invariants": ("kvlearn.check.invariants", "Invariants"),  # () -> a reader of the trace
    "service": ("kvlearn.check.service", "service"),  # (trace) -> what clients rely on
    "watches": ("kvlearn.check.watches", "watches"),  # (trace) -> what watchers rely on
    "leases": ("kvlearn.check.leases", "leases"),  # (trace) -> what holders of leases rely on
    "answers": ("kvlearn.check.answers", "answers"),  # (trace) -> a verdict on all answers
    "linearizable": ("kvlearn.check.linearizable", "linearizable"),  # (trace) -> a verdict
    "watch_mutants": ("kvlearn.course.watch_mutants", "WATCH_MUTANTS"),  # name -> a WatchHub
    "lease_mutants": ("kvlearn.course.lease_mutants", "LEASE_MUTANTS"),  # name -> a Lessor
    "mutants": ("kvlearn.course.mutants", "MUTANTS"),  # name -> a Raft with one broken rule
}


def door(name: str) -> Any:
    """What stands behind the door `name`, loaded now."""
    module, attribute = DOORS[name]
    return vars(import_module(module))[attribute]
