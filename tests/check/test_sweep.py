"""Sweeps: the same seed gives the same row anywhere, and what is wrong is found and told."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from kvlearn import Cluster, Raft, check
from kvlearn.check.sweep import COLUMNS, Case, _context, play, rows
from kvlearn.check.service import no_stale_read
from kvlearn.check.workloads import Chaos, acknowledged, convergence, progress
from kvlearn.cli import main
from kvlearn.course.mutants import MUTANTS
from kvlearn.events import Invoked, Returned
from kvlearn.kv.requests import Put, Range
from kvlearn.trace import Trace

SHORT = Chaos(virtual_s=4.0)


def same(row: dict) -> dict:
    """What must be equal of two rows: all but the time that it took."""
    return {name: row[name] for name in COLUMNS if name != "wall_ms"}


@pytest.mark.parametrize("nodes", [1, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_reference_keeps_its_promises(nodes, seed):
    run = play(Case(Chaos(), nodes, seed))
    assert run.verdict != "violated", f"{run.broken}\nto play it again: {run.case.line()}"
    assert len(run.acts) > 100 and run.mending and run.cluster.now == pytest.approx(28.0, abs=0.01)
    row = run.row()
    assert row["acknowledged"] > 20 and row["operations"] > row["acknowledged"]


def test_a_table_has_a_row_a_seed():
    table = check.sweep(SHORT, seeds=[3, 1, 2], nodes=3)
    assert list(table.index) == [3, 1, 2] and table.index.name == "seed"
    assert ["seed", *table.columns] == COLUMNS
    assert set(table.verdict) == {"ok"} and (table.events > 100).all()
    assert table.digest.nunique() == 3, "different seeds, different runs"
    line = "kvlearn sweep --workload chaos --nodes 3 --virtual-s 4.0 --seed 1"
    assert table.replay[1] == line
    assert check.sweep(SHORT, seeds=[]).empty


def test_a_row_plays_again():
    table = check.sweep(SHORT, seeds=range(2), nodes=5)
    for failing in (table.loc[1], table.replay[1], table.replay[1].case):
        run = check.replay(failing)
        assert (run.digest, run.case.seed) == (table.digest[1], 1)
    assert check.replay(run).digest == run.digest
    with pytest.raises(ValueError, match="in a shell: kvlearn sweep --seed 1"):
        check.replay("kvlearn sweep --seed 1")


def test_the_line_that_is_printed_plays_the_same(capsys):
    mutant = {"n2": MUTANTS["CountsMinority"]}
    workload = Chaos("crashes", 5.0, 2, 1, ("crash", "loss"), (0.01, 0.3))
    for case in (Case(SHORT, 3, 11), Case(workload, 5, 4, mutant), Case(Chaos(nemeses=()), 3, 0)):
        row = play(case).row()
        program, *words = row["replay"].split()
        assert program == "kvlearn"
        main(words)
        told = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines()[:7])
        assert (told["digest"], told["replay"]) == (row["digest"], row["replay"])


def test_another_process_with_another_hash_seed_plays_the_same():
    case = Case(SHORT, 3, 6)
    done = subprocess.run(
        [sys.executable, "-m", *case.line().split()],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    assert play(case).digest in done.stdout


class Machines:
    """As much of `dask.distributed.Client` as a sweep needs: futures that are not there at once."""

    def __init__(self):
        self.tasks = []

    def map(self, function, items):
        self.tasks += [(function, item) for item in items]
        return list(range(len(self.tasks)))

    def gather(self, futures):
        return [self.tasks[number][0](self.tasks[number][1]) for number in futures]


def test_seeds_spread_over_processes_and_machines():
    here = [same(row) for row in rows(SHORT, range(10))]
    assert [same(row) for row in rows(SHORT, range(10), processes=2)] == here
    machines = Machines()
    assert [same(row) for row in rows(SHORT, range(10), client=machines)] == here
    assert len(machines.tasks) == 2, "a task is several seeds"


def test_what_a_notebook_defines_is_found_by_a_forked_process():
    Mine = type("Mine", (Raft,), {"__module__": "__main__"})
    assert _context(SHORT, Raft).get_start_method() == "spawn"
    assert _context(SHORT, {"n1": Mine}).get_start_method() == "fork"


# What is wrong is found ---------------------------------------------------------------------

CONVICTED = {  # mutants that chaos alone convicts, of some seeds
    "VotesTwice": 5,
    "VotesForStaleLogs": 5,
    "TrustsAnyPrev": 5,
    "CountsMinority": 5,
    "CommitsBlindly": 5,
    "ReadsWithoutAsking": 5,
}


@pytest.mark.parametrize("name", CONVICTED)
def test_chaos_convicts_a_mutant(name):
    mutant = MUTANTS[name]
    first = 30 if name == "ReadsWithoutAsking" else 0  # leaders that step down hide it mostly
    for seed in range(first, first + 10):
        row = play(Case(Chaos(), CONVICTED[name], seed, mutant)).row()
        if row["verdict"] == "violated":
            assert row["promise"] == mutant.promise and row["why"]
            assert f"--raft {name} " in row["replay"]
            return
    raise AssertionError("no seed convicts it")


class Stumbles(Raft):
    """A bug of the plain kind."""

    def may_commit(self, index):
        return super().may_commit(index) and index // (index < 9)


def test_an_error_of_the_code_is_a_finding():
    run = play(Case(SHORT, 3, 2, Stumbles))
    assert (run.verdict, run.promise) == ("violated", "ZeroDivisionError")
    assert run.verdicts.broken[0].why.startswith("integer ") and "ZeroDivisionError" in str(run)


class VotesOnce(Raft):
    """Nobody gets a vote after the first term."""

    def may_vote_for(self, candidate):
        return self.term < 2 and super().may_vote_for(candidate)


def test_a_cluster_that_does_not_recover_makes_no_progress():
    crashes = Chaos(nemeses=("crash",), virtual_s=10.0)
    runs = [play(Case(crashes, 3, seed, VotesOnce)) for seed in range(8)]
    (run, *_) = [run for run in runs if run.verdict == "violated"]
    assert run.promise == "Progress" and "no leader" in run.why


def told(*answers: tuple[int, int, int]) -> Trace:
    """A story of reads: (operation asked, operation answered, revision); 0 is none."""
    trace = Trace(seed=1)
    for asked, answered, revision in answers:
        if asked:
            trace.add(1.0, "c1", Invoked(asked, "n1", Range(b"a")), None)
        if answered:
            trace.add(1.0, "c1", Returned(answered, "n1", None, revision), None)
    return trace


def test_a_stale_read_is_seen():
    assert no_stale_read(told((1, 1, 5), (2, 2, 5), (3, 3, 6))).ok
    assert no_stale_read(told((1, 0, 0), (2, 2, 6), (0, 1, 5))).ok, "they were under way together"
    stale = no_stale_read(told((1, 1, 6), (2, 2, 5)))
    assert not stale.ok and "is told revision 5 by n1, and revision 6 was known" in stale.why


def test_stores_that_differ_are_seen():
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    client.put("a", "1")
    cluster.run(1)
    assert convergence(cluster).ok and acknowledged(cluster).ok
    cluster.isolate("n2")
    client.put("a", "2")
    verdict = convergence(cluster)
    assert not verdict.ok and "; n2: " in verdict.why
    verdict = acknowledged(cluster)
    assert not verdict.ok and "put a=2 was acknowledged at revision 3; n2 has None" in verdict.why


def test_a_probe_without_an_answer_is_no_progress():
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    cluster.isolate("n2")
    cluster.submit(Put(b"a", b"1"), "n2", "probe")
    cluster.run(1)
    assert not progress(cluster).ok and "n2 " in progress(cluster).why


def test_a_search_that_ends_undecided_is_unknown(monkeypatch):
    monkeypatch.setattr("kvlearn.check.workloads.BUDGET", 5)
    run = play(Case(SHORT, 3, 2))
    assert (run.verdict, run.promise, run.why) == ("unknown", "Linearizability", "")


@dataclass(frozen=True)
class OnePut:
    """A workload of one's own: any object with these names."""

    name: str = "one-put"

    def setup(self, nodes, seed, raft):
        return Cluster(nodes, seed, raft=raft)

    def start(self, driver):
        driver.cluster.wait_for_leader()

    def finish(self, driver):
        driver.hand.ask("c1", driver.cluster.leader, Put(b"a", b"1"))
        driver.end_trouble(driver.cluster.now + 1.0)

    def check(self, cluster):
        return [convergence(cluster)]


def test_a_workload_of_ones_own():
    table = check.sweep(OnePut(), seeds=range(2), nodes=3)
    assert list(table.verdict) == ["ok", "ok"] and list(table.acknowledged) == [1, 1]
    assert table.replay[0] == "kvlearn sweep --workload one-put --nodes 3 --seed 0"


# The command --------------------------------------------------------------------------------


def test_the_command_sums_up(capsys):
    assert main(["sweep", "--seeds", "3", "--first", "1", "--virtual-s", "4"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("3 seeds of chaos on 3 nodes: 3 ok, 0 violated, 0 unknown\n")


def test_the_command_tells_what_is_wrong_and_shrinks_it(capsys):
    words = ["sweep", "--nodes", "5", "--raft", "VotesForStaleLogs"]
    assert main([*words, "--seeds", "1"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("seed 0: Leader Completeness violated: n")
    assert main([*told[1].split()[1:], "--shrink", "--tries", "60"]) == 1
    assert "The smallest run found that breaks Leader Completeness:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--workload clam", "no workload 'clam'; did you mean calm?"),
        ("--workload nowhere:X", "no 'X' in a module 'nowhere'"),
        ("--raft VotesTwise", "no Raft 'VotesTwise'; did you mean VotesTwice?"),
        ("--nodes 10", "1 to 9 nodes, not 10"),
        ("--seed 1 --seeds 5", "--seed plays one seed"),
        ("--shrink", "--shrink needs the --seed"),
        ("--nemeses crush", "no nemesis 'crush'"),
        ("--keys 0", "nothing to do"),
        ("--think-s long", "--think-s: invalid"),
        ("--processes 0", "at least 1"),
        ("--seeds 0", "--seeds is at least 1"),
        ("--virtual-s nan", "above 0, not nan"),
    ],
)
def test_what_the_command_cannot_do(words, why, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", *words.split()])
    assert why in capsys.readouterr().err
