"""What a store like this is for: locks, elections, discovery and their kin.

All of them are written on the client alone, so they run on every kind of cluster. And all of them
are made of four things: a *revision* orders what happens, a *transaction* does something only if
what was seen is still so, a *lease* makes what a dead holder leaves go away, and a *watch* tells
who waits that it is time.

| recipe | what it is for |
|---|---|
| `Lock`, `Semaphore` | one, or n, at a time, with a fencing token: a lock alone protects nothing |
| `Election` | who leads, and what the leader says |
| `Barrier`, `DoubleBarrier` | wait until somebody opens; until all are there, until all are gone |
| `Registry` | who serves what, and where |
| `Informer` | a copy of a part of the store that keeps itself up to date |
| `Stm` | read and write as if alone |
| `Checkpoint` | a long job that survives its worker |

Waiting. What waits has two forms. The plain one waits (`acquire()`); in a simulated cluster that
lets virtual time pass. With `wait=False` it only gets in line, and `poll()` tells whether its turn
has come: so several actors can be played in one program. Where the cluster gives no answer, calls
raise `TimedOut` or `Unavailable`, as the client does.

Unknown outcomes. A write without an answer may have been carried out, or may be later. The recipes
look before they repeat one, tie a repetition to what was before, and where neither helps they give
up the lease that it hangs on, so that it will be refused.

Source: etcd client/v3/concurrency, client/v3/experimental/recipes; client-go tools/cache.
"""

from kvlearn.recipes.barrier import Barrier, DoubleBarrier
from kvlearn.recipes.checkpoint import Checkpoint
from kvlearn.recipes.election import Election, Leaders
from kvlearn.recipes.informer import Change, Informer
from kvlearn.recipes.lock import Lock, Semaphore
from kvlearn.recipes.registry import Registration, Registry, View
from kvlearn.recipes.session import Session
from kvlearn.recipes.stm import (
    READ_COMMITTED,
    REPEATABLE_READS,
    SERIALIZABLE,
    SERIALIZABLE_SNAPSHOT,
    Draft,
    Stm,
)

__all__ = [
    "READ_COMMITTED",
    "REPEATABLE_READS",
    "SERIALIZABLE",
    "SERIALIZABLE_SNAPSHOT",
    "Barrier",
    "Change",
    "Checkpoint",
    "DoubleBarrier",
    "Draft",
    "Election",
    "Informer",
    "Leaders",
    "Lock",
    "Registration",
    "Registry",
    "Semaphore",
    "Session",
    "Stm",
    "View",
]
