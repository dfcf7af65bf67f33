"""The cursor tells the truth: at any record the panel's state is that of a run up to there."""

import json
from random import Random

from tests.viz.front_end import numbers, resolved
from tests.viz.runs import busy_run

from kvlearn import Cluster
from kvlearn.viz.store_rows import LISTS
from kvlearn.viz.timeline_rows import RowCompiler

CURSORS = 1000
RECORDS = 5000


def digest(state: dict, tables: dict) -> int:
    """A number for all that is shown; packets are told by the rows, not by the state."""
    told = {k: v for k, v in state.items() if not (k[0] == "p" and k[1:].isdigit())}
    return hash(json.dumps(resolved(told, tables), sort_keys=True))


def moved(state: dict, row, forwards: bool) -> None:
    """Apply a row's patches to a state as the browser does."""
    for patch in row.patches if forwards else reversed(row.patches):
        key, *rest = json.loads(json.dumps(patch))
        if len(rest) == 3:
            old, new = (rest[1], rest[2]) if forwards else (rest[2], rest[1])
            numbered = state.setdefault(key, [])
            numbered[rest[0] : rest[0] + len(numbers(old))] = numbers(new)
        else:
            state[key] = rest[1] if forwards else rest[0]


def lived_again(cluster: Cluster, cursors: list[int]) -> dict[int, int]:
    """The digest at each cursor of a second run of the same, compiled as far as it has come."""
    twin = Cluster.from_journal(cluster.journal())
    assert [str(r) for r in twin.trace] == [str(r) for r in cluster.trace]
    compiler, wanted, found = RowCompiler(), set(cursors), {}
    for record in twin.trace:
        compiler.row(record)
        if record.seq in wanted:
            state = {k: numbers(v) if k.endswith(LISTS) else v for k, v in _plain(compiler)}
            found[record.seq] = digest(state, json.loads(json.dumps(compiler.tables)))
    return found


def _plain(compiler: RowCompiler) -> list:
    return [(k, v) for k, v in json.loads(json.dumps(compiler.state())) if k != "packet"]


def test_at_a_thousand_random_cursors_the_state_is_that_of_the_run_up_to_there():
    seed = 11
    cluster = busy_run(seed, RECORDS)
    compiler = RowCompiler()
    rows = [compiler.row(record) for record in cluster.trace]
    tables = json.loads(json.dumps(compiler.tables))
    rng = Random(seed)
    cursors = [rng.randrange(len(rows)) for _ in range(CURSORS)]
    truth = lived_again(cluster, cursors)
    state, place, wrong = {}, -1, []
    for cursor in sorted(cursors[:500]) + sorted(cursors[500:], reverse=True):
        while place < cursor:
            place += 1
            moved(state, rows[place], forwards=True)
        while place > cursor:
            moved(state, rows[place], forwards=False)
            place -= 1
        if digest(state, tables) != truth[cursor]:
            wrong.append(cursor)
    assert not wrong, f"busy_run({seed}, {RECORDS}): another state at records {wrong[:5]}"
