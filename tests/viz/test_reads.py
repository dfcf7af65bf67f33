"""Read paths: what is drawn and counted is what the run did."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.events import Sent
from kvlearn.kv.requests import Put, Range
from kvlearn.trace import Trace
from kvlearn.viz.reads import ReadPath, read_costs, read_paths

READ = Range(b"colour")


def quiet(seed: int = 7, **config) -> Cluster:
    """Three nodes, some time after a put, between two heartbeats."""
    cluster = Cluster(3, seed=seed, config=RaftConfig.etcd(**config))
    cluster.client(cluster.wait_for_leader()).put("colour", "blue")
    cluster.run(1.03)
    return cluster


def served(cluster: Cluster, request=READ, node: str | None = None, name: str = "it") -> ReadPath:
    asked = cluster.submit(request, node or cluster.leader)
    cluster.run(0.05)
    return ReadPath.of(name, cluster, [asked])


@pytest.mark.parametrize("seed", range(5))
def test_a_round_of_three_nodes_is_four_messages_of_which_two_are_awaited(seed):
    path = served(quiet(seed))
    assert [type(flight.message).__name__ for flight in path.flights].count("Heartbeat") == 2
    assert (len(path.flights), path.in_a_row, path.rounds, path.entries) == (4, 2, 1, 0)
    awaited = [flight for flight in path.flights if flight.awaited]
    assert [awaited[0].message.source, awaited[1].message.target] == [path.asked[0][1]] * 2
    assert awaited[-1].end_s - path.asked[0][0] == pytest.approx(path.latency_s)


def test_a_write_in_the_same_window_is_not_counted_as_the_read_s():
    cluster = quiet()
    start = len(cluster.trace)
    put = cluster.submit(Put(b"size", b"1"), cluster.leader)
    read = cluster.submit(READ, cluster.leader)
    cluster.run(0.05)
    paths = [ReadPath.of("x", cluster, ops) for ops in ([put], [read], [put, read])]
    assert [path.entries for path in paths] == [1, 0, 1]
    assert [len(path.saves) for path in paths] == [3, 0, 3]
    apart, together = len(paths[0].flights) + len(paths[1].flights), len(paths[2].flights)
    assert apart == together <= sum(1 for _ in cluster.trace.of(Sent, start=start))


def test_ordinary_heartbeats_are_nobody_s():
    cluster = quiet()
    asked = cluster.submit(READ, cluster.leader)
    cluster.run(1.0)
    assert len(ReadPath.of("it", cluster, [asked]).flights) == 4


def test_a_read_that_is_not_answered_says_so():
    cluster = quiet()
    cluster.isolate(cluster.leader)
    path = served(cluster)
    assert path.latency_s is None and path.answers == () and path.in_a_row == 0
    assert "not answered" in str(path) and "not answered" in read_paths([path]).body
    assert all(flight.end_s is None and not flight.awaited for flight in path.flights)
    assert read_costs([path]).loc["it", "messages"] == 2


def test_reads_that_wait_for_the_disk_share_a_round():
    cluster = quiet()
    cluster.submit(Put(b"size", b"1"), cluster.leader)
    asked = [cluster.submit(READ, cluster.leader) for _ in range(7)]
    cluster.run(0.05)
    path = ReadPath.of("seven", cluster, asked)
    assert len(path.answers) == 7 and path.rounds == 1 and len(path.flights) == 4
    assert path.row()["messages a read"] == round(4 / 7, 2)


def test_the_picture_and_its_twin_have_a_line_for_each_message():
    cluster = quiet()
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    paths = [served(cluster), served(cluster, node=follower, name="through a follower")]
    svg = read_paths(paths)
    root = ElementTree.fromstring(svg.svg())
    assert root.get("data-kv-picture") == "read-paths"
    drawn = [part for part in root.iter() if part.get("class") == "kv-message"]
    assert len(drawn) == sum(len(path.flights) for path in paths) == 10
    awaited = [part for part in drawn if part.get("data-kv-awaited") is not None]
    assert len(awaited) == sum(path.in_a_row for path in paths) == 6
    assert len(re.findall(r"^  n\d→n\d ", svg.text, re.MULTILINE)) == 10
    assert str(paths[1]) in svg.text and "through a follower" in svg.desc


def test_time_runs_downwards_on_one_scale():
    svg = read_paths([served(quiet()), served(quiet(lease_reads=True))])
    root = ElementTree.fromstring(svg.svg())
    ends = []
    for part in root.iter():
        if part.get("class") == "kv-message":
            way = next(child for child in part if child.tag.endswith("path")).get("d")
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", way)]
            assert numbers[3] > numbers[1]
            ends.append(numbers[3])
    assert len(ends) == 4 and max(ends) < svg.height


def test_a_learner_s_line_is_marked_and_the_leader_stands_first():
    cluster = quiet()
    cluster.add_node("n4", learner=True)
    cluster.client().add_member("n4", learner=True)
    cluster.run(0.5)
    path = served(cluster, node="n4")
    roles = [role for _, role, _ in path.nodes]
    assert roles[0] == "leader" and roles[-1] == "learner"
    assert ">learner</text>" in read_paths([path]).body


def test_without_a_path_or_a_question_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="no path"):
        read_paths([])
    with pytest.raises(ValueError, match="was asked"):
        ReadPath.of("it", quiet(), [99])


@pytest.mark.parametrize("given", [Cluster(3, seed=1), Trace(), 5, "ReadIndex", [Trace()]],
                         ids=lambda given: type(given).__name__)  # fmt: skip
def test_what_is_no_path_is_refused_in_words(given):
    for draw in (read_paths, read_costs):
        with pytest.raises(TypeError, match=f"{draw.__name__} takes a list of paths, .ReadPath.of"):
            draw(given)
    with pytest.raises(ValueError, match="no path"):
        read_costs([])
