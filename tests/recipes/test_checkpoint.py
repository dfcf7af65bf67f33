"""Checkpoints: a job goes on where it was, and nobody throws it back."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, delete, put
from kvlearn.errors import Fenced, TimedOut
from kvlearn.kv.txn import Txn
from kvlearn.recipes import Checkpoint
from tests.recipes.stage import line_at, past, play


def workers(count: int, ttl_s: int = 4, seed: int = 7):
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    return cluster, [Checkpoint(cluster.client(), "job", ttl_s) for _ in range(count)]


def test_a_job_begins_without_progress_and_goes_on_from_what_was_saved():
    cluster, (one, other) = workers(2)
    assert one.claim() and one.progress is None
    one.save({"page": 3, "seen": ["a", "ö"]})
    kv = cluster.client().get("job/progress").kv
    assert kv.text == '{"page": 3, "seen": ["a", "\\u00f6"]}' and kv.lease == 0
    assert not other.claim(wait=False) and other.progress is None
    assert one.release() and other.claim()
    assert other.progress == {"page": 3, "seen": ["a", "ö"]} and other.token > 0


@pytest.mark.parametrize("seed", range(3))
def test_another_takes_over_when_the_worker_crashes(seed):
    cluster, (one, other) = workers(2, seed=seed)
    with one:
        one.save(1), one.save(2)
        cluster.crash("c1")
        cluster.crash(cluster.leader)  # and the leader of the store with it
        assert other.claim(timeout_s=30) and other.progress == 2
        other.save(3)


@pytest.mark.parametrize("seed", range(3))
def test_a_worker_that_slept_cannot_throw_the_job_back(seed):
    cluster, (slow, quick) = workers(2, seed=seed)
    slow.claim(), slow.save(1)
    cluster.pause("c1")
    assert quick.claim(timeout_s=20) and quick.progress == 1
    quick.save(2)
    cluster.resume("c1")
    assert slow.state == "held", "so it believes"
    with pytest.raises(Fenced, match="the claim is lost"):
        slow.save(1.5)
    assert slow.lost and not slow.is_ours() and quick.is_ours()
    assert cluster.client().get("job/progress").text == "2"
    assert slow.claim(wait=False) is False and quick.release() and slow.claim()
    assert slow.progress == 2, "what it knew itself is of no use"


def test_only_who_has_the_job_saves():
    _, (one, other) = workers(2)
    with pytest.raises(Fenced, match="claim it first"):
        one.save(1)
    one.claim(), other.claim(wait=False)
    with pytest.raises(Fenced):
        other.save(1)
    with pytest.raises(Fenced):
        _ = other.guard
    one.save(1)


def test_what_is_no_json_is_refused_before_anything_is_asked():
    cluster, [one] = workers(1)
    one.claim()
    with pytest.raises(TypeError):
        one.save(object())
    assert cluster.client().get("job/progress").kv is None


def answers_lost(client, carried_out: bool, times: int = 1) -> list:
    """The answers to the client's next saves get lost."""
    channel, call, asked = client.channel, client.channel.call, []

    def between(endpoint, request, timeout_s):
        if not (isinstance(request, Txn) and request.writes):
            return call(endpoint, request, timeout_s)
        asked.append(request)
        if len(asked) > times:
            return call(endpoint, request, timeout_s)
        if carried_out:
            call(endpoint, request, timeout_s)
        raise TimedOut()

    channel.call = between
    return asked


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_save_without_an_answer_is_looked_up(carried_out):
    cluster, [one] = workers(1)
    one.claim(), one.save(0)
    asked = answers_lost(one._client, carried_out)
    one.save(1)
    assert len(asked) == (1 if carried_out else 2) and one.progress == 1
    one.save(2)
    assert [event.kv.text for event in past(cluster, "job/progress")] == ["0", "1", "2"]


def test_a_save_that_comes_late_does_not_undo_a_later_one():
    cluster, [one] = workers(1)
    one.claim()
    asked = answers_lost(one._client, carried_out=False, times=3)
    with pytest.raises(TimedOut):
        one.save(1)
    one.save(2)
    assert not one._client.call(asked[0]).succeeded
    assert cluster.client().get("job/progress").text == "2"


def test_a_save_that_came_after_all_does_not_block_the_next_one():
    cluster, [one] = workers(1)
    one.claim()
    asked = answers_lost(one._client, carried_out=False, times=3)
    with pytest.raises(TimedOut):
        one.save(1)
    assert one._client.call(asked[0]).succeeded, "late"
    one.save(2)
    assert cluster.client().get("job/progress").text == "2"


def test_who_cannot_know_whether_it_was_saved_says_so():
    cluster, [one] = workers(1)
    one.claim()
    client = cluster.client()
    channel, call = one._client.channel, one._client.channel.call

    def between(endpoint, request, timeout_s):
        channel.call = call
        call(endpoint, request, timeout_s)
        client.delete("job/claim/", prefix=True)
        raise TimedOut()

    channel.call = between
    with pytest.raises(Fenced, match="whether it was saved is not known"):
        one.save(1)


def test_the_progress_can_be_written_in_one_transaction_with_the_work():
    """Effect and progress together, or neither."""
    cluster, [one] = workers(1)
    one.claim()
    txn = one._client.txn().if_(one.guard).then(put("sum", "10"), put("job/progress", "5"))
    assert txn.commit().succeeded
    cluster.client().txn().then(delete(one._place.key)).commit()
    assert not txn.commit().succeeded


class Worker:
    """Claims the job, counts on from where it was, and gives it back now and then."""

    def __init__(self, client):
        self.job = Checkpoint(client, "job", ttl_s=3)
        self.saved: list[int] = []

    def __call__(self) -> None:
        job = self.job
        match job._place.state:
            case "held" if job._loaded:
                number = (job.progress or 0) + 1
                job.save(number)
                self.saved.append(number)
                if number % 5 == 0:
                    job.release()
            case "held" | "waiting":
                job.poll()
            case _:
                job.claim(wait=False)


@pytest.mark.parametrize("seed", range(6))
def test_progress_only_goes_forward(seed):
    cluster = Cluster(3, seed=seed)
    cluster.wait_for_leader()
    actors = {}
    for _ in range(3):
        client = cluster.client(timeout_s=1)
        actors[client.name] = Worker(client)
    play(seed, cluster, actors, 120, "npllccx")
    line = past(cluster, "job/claim/")
    saves = past(cluster, "job/progress")
    numbers = [int(event.kv.text) for event in saves]
    assert numbers == list(range(1, len(numbers) + 1)), f"seed {seed}: {numbers}"
    assert len(numbers) > 10, f"seed {seed}: too little happened"
    assert {number for actor in actors.values() for number in actor.saved} <= set(numbers)
    leases = {event.kv.create_revision: event.kv.lease for event in line if event.type == "put"}
    assert len(leases) > 1, f"seed {seed}: nobody took over"
    for event in saves:
        assert line_at(line, event.kv.mod_revision), f"seed {seed}: {event} without a claim"


def test_the_window_shows_what_there_is():
    from kvlearn import recipes

    assert set(recipes.__all__) >= {
        *("Election", "Lock", "Semaphore", "Barrier", "DoubleBarrier", "Registry", "Stm"),
        *("Informer", "Checkpoint", "Session"),
    }
    cluster, [one] = workers(1)
    one.claim()
    for thing in (one, recipes.Lock(cluster.client(), "l"), recipes.Stm(cluster.client())):
        assert len(repr(thing)) < 100 and "object at" not in repr(thing)
