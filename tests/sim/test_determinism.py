"""The same seed and the same verbs tell the same story, byte for byte: twice in one process, in
processes of their own with other hash seeds, and on every Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvlearn import Cluster
from tests.sim.busy import busy, digest

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("digests.txt")  # "seed digest", the same on every Python
SEEDS = (1, 2, 3)


def by_itself(seed: int, hash_seed: str, python: str = sys.executable) -> str:
    """The digest of the busy life, lived in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [python, "-m", "tests.sim.busy", str(seed)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("seed", SEEDS)
def test_twice_in_one_process(seed):
    first, second = busy(seed, 8), busy(seed, 8)
    assert list(first.trace.lines()) == list(second.trace.lines())
    assert len(first.trace) > 500, "a busy life"


def test_another_seed_is_another_story():
    assert digest(busy(1, 3)) != digest(busy(3, 3))


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_whatever_the_hash_seed(hash_seed):
    assert by_itself(2, hash_seed) == digest(busy(2))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_digest_is_the_stored_one(seed, request):
    """The digests are stored: a run on another Python, or another day, must find the same. If the
    story was changed on purpose, `pytest tests/sim/test_determinism.py --rewrite` stores anew."""
    mine = digest(busy(seed))
    lines = STORED.read_text(encoding="utf-8").splitlines() if STORED.exists() else []
    stored = dict(line.split() for line in lines)
    if request.config.getoption("--rewrite"):
        stored[str(seed)] = mine
        told = "".join(f"{key} {stored[key]}\n" for key in sorted(stored, key=int))
        STORED.write_text(told, encoding="utf-8")
    assert stored.get(str(seed)) == mine, (
        f"the busy life of seed {seed} on Python {sys.version.split()[0]} has digest {mine}, and "
        f"{STORED.name} has {stored.get(str(seed))}. If the story was to change, run\n"
        "    pytest tests/sim/test_determinism.py --rewrite\n"
        "and see that it is the same on Python 3.11, 3.12 and 3.13"
    )


def test_looking_changes_nothing():
    """Whatever one asks a cluster, it goes on as if nobody had looked."""
    seen, unseen = Cluster(3, seed=5), Cluster(3, seed=5)
    for cluster in (seen, unseen):
        for _ in range(20):
            cluster.run(0.2)
            if cluster is seen:
                repr(cluster), cluster.status(), cluster.in_flight, cluster.cuts, cluster.leader
                repr(cluster.nodes), repr(cluster.links), cluster.clock("n1").shows
                cluster.nodes["n1"].row(), list(cluster.trace), cluster.fork()
    assert list(seen.trace.lines()) == list(unseen.trace.lines())


def test_clusters_do_not_disturb_each_other():
    alone = Cluster(3, seed=5)
    alone.run(4)
    one, two = Cluster(3, seed=5), Cluster(3, seed=6)
    for _ in range(40):
        one.run(0.1), two.run(0.1)
    assert list(one.trace.lines()) == list(alone.trace.lines())


def test_with_and_without_invariants_it_is_the_same_story():
    watched, unwatched = Cluster(5, seed=2), Cluster(5, seed=2, invariants=False)
    for cluster in (watched, unwatched):
        cluster.client().put("k", "v")
        cluster.run(3)
    assert list(watched.trace.lines()) == list(unwatched.trace.lines())
