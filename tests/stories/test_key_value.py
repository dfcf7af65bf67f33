"""The key-value store as its clients see it, while links, nodes and leaders fail."""

import pytest

from kvlearn.errors import RequestError
from kvlearn.kv.requests import Put, Range
from tests.stories.service import answers, use
from tests.stories.stage import Story, both, seeds

SLOWEST_S = 0.033  # an operation; three of them between two heartbeats


@both
@seeds(3)
def test_one_client(seed, config):
    """One client puts and gets where nothing fails: each question is answered."""
    cluster = use(seed, config, clients=1)
    assert answers(cluster) >= 100


@both
@seeds(5)
def test_an_operation_is_quicker_than_a_heartbeat(seed, config):
    """Five hundred puts and gets, one after the other, do not wait for a heartbeat each: a third of
    its interval is enough for all the ways there and back, and for the disks."""
    story = Story(3, seed, config)
    story.wait_for_leader()
    client = story.cluster.client()
    start = story.cluster.now
    for number in range(250):
        client.put("k", str(number))
        assert client.get("k").text == str(number)
    assert story.cluster.now - start < 500 * SLOWEST_S
    assert client.get("k").kv.version == 250


@both
@seeds(3)
def test_five_clients(seed, config):
    """Five clients on one key: they see one store, in one order."""
    cluster = use(seed, config, clients=5)
    assert answers(cluster) >= 500


@both
@seeds(3)
def test_five_clients_on_bad_links(seed, config):
    """The same, and packets get lost, doubled, late and overtaken: no put is done twice."""
    cluster = use(seed, config, clients=5, bad_links=True)
    assert answers(cluster) >= 200


class Halves(Story):
    """Five nodes: the leader and one other on one side, three on the other side."""

    def __init__(self, seed: int, config):
        super().__init__(5, seed, config)
        self.old = self.wait_for_leader()
        self.commit("before")
        mate, *self.majority = self.others(self.old)
        self.minority = [self.old, mate]
        self.cluster.partition(self.minority, self.majority)


@both
@seeds(5)
def test_the_majority_goes_on(seed, config):
    """The leader is on the smaller side: the larger one elects another, and its clients go on as
    soon as that is done."""
    story = Halves(seed, config)
    client = story.client(story.majority, "m")
    story.wait_for_leader(story.majority)
    start = story.cluster.now
    client.put("k", "after")
    assert client.get("k").text == "after"
    assert story.cluster.now - start < story.longest_s


@both
@seeds(5)
def test_the_minority_does_not(seed, config):
    """On the smaller side nobody is told that a put is done, and nobody gets an answer to a get,
    not even of the old leader that may still believe to lead: it cannot know what is new."""
    story = Halves(seed, config)
    asked = [story.cluster.submit(Put(b"k", b"lost"), name) for name in story.minority]
    asked += [story.cluster.submit(Range(b"k"), name) for name in story.minority]
    client = story.client(story.majority, "m")
    story.wait_for_leader(story.majority)
    client.put("k", "after")
    story.wait(3)
    assert not any(map(story.acknowledged, asked))
    for name in story.minority:
        with pytest.raises(RequestError):
            story.client([name], f"only {name}").get("k")
    assert client.get("k").text == "after"


@both
@seeds(5)
def test_when_the_halves_meet_all_is_answered(seed, config):
    """When the links work again clients of the smaller side get answers within two election
    timeouts: a get tells what the larger side wrote meanwhile, and a put that is asked again is
    carried out once."""
    story = Halves(seed, config)
    op_id = story.cluster.submit(Put(b"k", b"minority"), story.old)
    story.wait_for_leader(story.majority)
    story.client(story.majority, "m").put("k", "majority")
    story.wait(1)
    story.cluster.give_up(op_id)
    story.alone()
    start = story.cluster.now
    client = story.client(story.minority, "s")
    assert client.get("k").text == "majority"
    assert client.put("k", "minority").header.revision > 2
    assert story.cluster.now - start < 2 * story.longest_s
    assert client.get("k").text == "minority"
    story.agree()
    # before, majority, minority: the put that got no answer was overwritten, not carried out late
    assert client.get("k").kv.version == 3


@both
@seeds(3)
def test_partitions_and_one_client(seed, config):
    """The links are cut anew all the time, any way: one client asks whom it likes."""
    assert answers(use(seed, config, clients=1, partitions=True)) >= 20


@both
@seeds(3)
def test_partitions_and_five_clients(seed, config):
    """The same with five clients, who may talk to different sides: they still see one store."""
    assert answers(use(seed, config, clients=5, partitions=True)) >= 100


@both
@seeds(3)
def test_restarts_and_one_client(seed, config):
    """Three times all nodes crash and start again: what the client was told is still true."""
    assert answers(use(seed, config, clients=1, restarts=True)) >= 50


@both
@seeds(3)
def test_restarts_and_five_clients(seed, config):
    """The same with five clients."""
    assert answers(use(seed, config, clients=5, restarts=True)) >= 300


@both
@seeds(3)
def test_restarts_and_bad_links(seed, config):
    """All nodes crash and start again, and packets get lost, doubled, late and overtaken."""
    assert answers(use(seed, config, clients=5, restarts=True, bad_links=True)) >= 150


@both
@seeds(3)
def test_restarts_and_partitions(seed, config):
    """The links are cut anew all the time, and three times all nodes crash and start again."""
    assert answers(use(seed, config, clients=5, restarts=True, partitions=True)) >= 100


@both
@seeds(3)
def test_restarts_partitions_and_bad_links(seed, config):
    """All trouble at one time."""
    trouble = dict(restarts=True, partitions=True, bad_links=True)
    assert answers(use(seed, config, clients=5, **trouble)) >= 50


@both
@seeds(3)
def test_all_trouble_seven_nodes_and_fifteen_clients(seed, config):
    """All trouble at one time, for fifteen clients of seven nodes on twenty keys."""
    trouble = dict(restarts=True, partitions=True, bad_links=True)
    assert answers(use(seed, config, nodes=7, clients=15, keys=20, **trouble)) >= 100
