"""A run written down: lived again it is the same run, in memory, in place and from a file."""

import json

import pytest

from kvlearn import Cluster
from kvlearn.course.lease_mutants import LEASE_MUTANTS
from kvlearn.course.mutants import MUTANTS
from kvlearn.course.watch_mutants import WATCH_MUTANTS
from kvlearn.errors import RequestError, Violation
from kvlearn.events import Crashed
from kvlearn.kv.config import StoreConfig
from kvlearn.raft import Raft, RaftConfig
from kvlearn.sim.branches import load_branches, save_branches
from kvlearn.sim.journal import digest
from tests.sim.busy import busy
from tests.sim.hands import panel, program


def lines(cluster: Cluster) -> list[str]:
    return list(cluster.trace.lines())


def go_on(cluster: Cluster) -> list[str]:
    """The same future for everybody."""
    for do in (cluster.heal, lambda: cluster.client().put("q", "r"), lambda: cluster.run(1)):
        try:
            do()
        except (RequestError, Violation, AssertionError):
            pass
    return lines(cluster)


@pytest.mark.parametrize("seed", range(12))
def test_a_journal_is_the_run_and_has_its_future(seed, tmp_path):
    cluster = program(seed)  # python -m tests.sim.hands is the panel's; this one: program(seed)
    journal = cluster.journal()
    cluster.save(tmp_path / "run.json")
    twins = Cluster.from_journal(journal), Cluster.load(tmp_path / "run.json")
    told = lines(cluster)
    for twin in twins:
        assert lines(twin) == told, f"replay: program({seed})"
        assert twin.now == cluster.now and twin.happened == cluster.happened
        assert twin.journal() == journal
    whole = go_on(cluster)
    for twin in twins:
        assert go_on(twin) == whole, f"replay: program({seed})"


def test_a_busy_life_in_the_middle_of_an_instant():
    cluster = busy(3, 4)
    cluster.step()
    twin = Cluster.from_journal(cluster.journal())
    assert lines(twin) == lines(cluster) and repr(twin.in_flight) == repr(cluster.in_flight)


def test_journals_are_equal_by_value():
    one, other = (Cluster(3, seed=4, raft={"n1": MUTANTS["VotesTwice"]}) for _ in range(2))
    assert one.journal() == other.journal() != Cluster(3, seed=4).journal()
    one.partition(["n1"])
    assert one.journal() != other.journal()
    other.partition(("n1",))
    assert one.journal() == other.journal(), "lists and tuples are one"
    assert str(one.journal()) == "3 nodes, seed 4, 1 verb, until 0.000 s"


# Going over -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_back_and_forth_between_branches(seed):
    """As at the bench: back to a moment, one thing done otherwise, and to and fro again."""
    cluster = panel(seed, verbs=30, size=3)
    trace = cluster.trace
    middle = trace[len(trace) // 2].time
    old, before = cluster.journal(), lines(cluster)
    cluster.rewind(middle)
    cluster.heal()
    cluster.run(1)
    new, after = cluster.journal(), lines(cluster)
    assert before != after
    for _ in range(2):
        era = trace.era
        cluster.go_to(old)
        assert lines(cluster) == before, f"replay: panel({seed}, 30, 3)"
        assert cluster.trace is trace and trace.era == era + 1, "panels can tell"
        cluster.rewind(middle)
        cluster.go_to(new)
        assert lines(cluster) == after, f"replay: panel({seed}, 30, 3)"
    assert cluster.journal() == new


def test_clients_stay_usable_and_no_name_is_given_twice():
    cluster = Cluster(3, seed=7)
    start = cluster.journal()
    first = cluster.client()
    first.put("k", "1")
    watcher = first.watch("k")
    lived = cluster.journal()
    cluster.go_to(start)
    second = cluster.client()
    assert (first.name, second.name) == ("c1", "c2")
    assert watcher.canceled, "it was opened in the other branch"
    first.put("k", "2")
    assert second.get("k").text == "2"
    assert first.watch("k").stream != watcher.stream
    cluster.go_to(lived)
    first.put("k", "3")
    cluster.run(0.2)
    assert not watcher.canceled
    assert cluster.client().name == "c3"


def test_a_journal_of_another_cluster_is_gone_over_to_with_all_its_settings():
    cluster = Cluster(3, seed=1)
    cluster.run(1)
    other = Cluster(5, seed=2, config=RaftConfig.paper(), store=StoreConfig(min_ttl_s=7))
    other.run(1)
    heard = []
    cluster.trace.subscribe(heard.append, Crashed, *{type(r.event) for r in other.trace})
    cluster.go_to(other.journal())
    assert lines(cluster) == lines(other) and cluster.config == other.config
    assert heard == [], "what is lived again is no news"
    cluster.crash("n5")
    assert heard, "what follows is"


def test_what_a_branch_broke_is_not_raised_again():
    cluster = Cluster(1, seed=40)
    client = cluster.client()
    client.put("k", "1")
    cluster.wipe("n1"), cluster.restart("n1")
    with pytest.raises(Violation):
        client.put("k", "2")
    broken = cluster.journal()
    twin = Cluster.from_journal(broken)
    twin.run(1)
    cluster.run(1)
    assert lines(twin) == lines(cluster)


def test_a_journal_that_cannot_be_lived_changes_nothing():
    from dataclasses import replace

    cluster = Cluster(3, seed=1)
    cluster.run(1)
    told, journal = lines(cluster), cluster.journal()
    wrong = (
        (replace(journal, done=((0, 0.5, "crash", ("n9",)),)), r"crash\(n9\) failed"),
        (replace(journal, done=((10**6, 0.5, "heal", ()),)), "ends before its last verb"),
        (replace(journal, digest="0" * 64), "came out another"),
        ("kv1-", "what cluster.journal"),
    )
    for one, why in wrong:
        with pytest.raises(ValueError, match=why):
            cluster.go_to(one)
        with pytest.raises(ValueError, match=why):
            Cluster.from_journal(one)
    assert lines(cluster) == told and cluster.trace.era == 0


# Files ----------------------------------------------------------------------------------------


def branches(tmp_path) -> tuple:
    cluster = Cluster(3, seed=7, store=StoreConfig(hub=WATCH_MUTANTS["IgnoresFilters"]))
    cluster.run(1.5)
    calm = cluster.journal()
    cluster.client().put('é\u2028"', b"\xff\0")
    cluster.crash("n1")
    path = tmp_path / "runs.json"
    save_branches(path, {"calm": calm, "n1 stürzt ab": cluster.journal()})
    return path, calm, cluster


def test_branches_by_name(tmp_path):
    path, calm, cluster = branches(tmp_path)
    read = load_branches(path)
    assert list(read) == ["calm", "n1 stürzt ab"]
    assert read == {"calm": calm, "n1 stürzt ab": cluster.journal()}
    assert lines(Cluster.load(path, "n1 stürzt ab")) == lines(cluster)
    assert lines(Cluster.load(path)) == lines(Cluster.from_journal(calm))
    assert '"do": "crash", "with": ["n1"]}' in path.read_text(encoding="utf-8"), "readable"
    with pytest.raises(ValueError, match="no branch 'x'; it has calm, n1 stürzt ab"):
        Cluster.load(path, "x")


@pytest.mark.parametrize(
    "parts",
    [
        {"raft": MUTANTS["CommitsOldTerms"]},
        {"raft": {"n2": MUTANTS["VotesTwice"]}},
        {"store": StoreConfig(lessor=LEASE_MUTANTS["AddsUp"], checkpoint_s=0.5)},
        {"store": StoreConfig(hub=WATCH_MUTANTS["RepeatsItself"]), "invariants": False},
    ],
    ids=str,
)
def test_broken_kinds_of_the_course_are_known_by_name(parts, tmp_path):
    cluster = Cluster(3, seed=2, **parts)
    cluster.run(2)
    cluster.save(tmp_path / "run.json")
    for twin in (Cluster.load(tmp_path / "run.json"), Cluster.from_code(cluster.code())):
        assert twin.journal() == cluster.journal()
        assert twin._made_with[3] == cluster._made_with[3] and twin.store == cluster.store


def test_a_file_that_was_damaged_is_refused(tmp_path):
    path, _, _ = branches(tmp_path)
    text = path.read_text(encoding="utf-8")
    data = json.loads(text)
    other = {**data, "format": 2}
    for wrong, why in (
        (text[: len(text) // 2], "damaged or cut off.*save it anew"),
        ("", "damaged or cut off"),
        ("[1]", "no file of branches"),
        ('{"kvlearn": 1}', "no file of branches"),
        (json.dumps({**data, "branches": {}}), "holds no branches"),
        (json.dumps(other), "of format 2.*version that wrote it"),
        (text.replace('"with": ["n1"]', '"with": ["n2"]'), "branch 'n1 stürzt ab' was damaged"),
        (text.replace('"seed": 7', '"seed": 8'), "branch 'calm' was damaged"),
        (text.replace('"check": "', '"check": "0'), "was damaged"),
        (json.dumps({**data, "branches": {"a": 3}}), "branch 'a' was damaged"),
    ):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(ValueError, match=why):
            load_branches(path)


def test_a_file_whose_run_comes_out_another_is_refused(tmp_path, monkeypatch):
    path, _, _ = branches(tmp_path)
    monkeypatch.setattr(Raft, "may_commit", lambda self, index: False)
    assert list(load_branches(path)) == ["calm", "n1 stürzt ab"], "the file is in order"
    with pytest.raises(ValueError, match="came out another.*same version of kvlearn"):
        Cluster.load(path)


def test_what_cannot_be_saved_is_refused(tmp_path):
    class Mine(Raft):
        pass

    cluster = Cluster(3, seed=1, raft=Mine)
    cluster.run(1)
    assert lines(Cluster.from_journal(cluster.journal())) == lines(cluster), "it can be kept"
    with pytest.raises(ValueError, match="Mine is a class of your own"):
        cluster.save(tmp_path / "run.json")
    with pytest.raises(ValueError, match="no branches to save"):
        save_branches(tmp_path / "run.json", {})
    with pytest.raises(ValueError, match="called by a text"):
        save_branches(tmp_path / "run.json", {"": cluster.journal()})
    assert not (tmp_path / "run.json").exists()


def test_the_digest_is_of_every_byte():
    one, other = Cluster(3, seed=1), Cluster(3, seed=1)
    one.run(1), other.run(1)
    assert digest(one.trace) == digest(other.trace) and len(digest(one.trace)) == 64
    other.heal()
    assert digest(one.trace) != digest(other.trace)
