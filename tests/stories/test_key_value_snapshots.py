"""The key-value store as its clients see it, while logs are compacted and snapshots are sent."""


from kvlearn import Cluster
from kvlearn.events import LogCompacted, SnapshotInstalled
from tests.stories.service import answers, use
from tests.stories.stage import Story, both, seeds
from tests.stories.test_key_value import SLOWEST_S
from tests.stories.test_snapshots import EVERY, KEPT, small_logs


def compacted(cluster: Cluster) -> bool:
    """Whether every node has compacted its log, and all logs are short."""
    nodes = cluster.nodes
    done = {record.node for record in cluster.trace.of(LogCompacted, SnapshotInstalled)}
    return done == {*nodes} and all(len(nodes[name].log) < KEPT + EVERY for name in nodes)


@both
@seeds(3)
def test_an_operation_is_quick_although_logs_are_compacted(seed, config):
    """As without snapshots: five hundred operations, a third of a heartbeat's interval each."""
    story = Story(3, seed, small_logs(config))
    story.wait_for_leader()
    client = story.cluster.client()
    start = story.cluster.now
    for number in range(250):
        client.put("k", str(number))
        assert client.get("k").text == str(number)
    assert story.cluster.now - start < 500 * SLOWEST_S
    story.agree()
    assert compacted(story.cluster)


@both
@seeds(3)
def test_snapshots_restarts_and_one_client(seed, config):
    """Three times all nodes crash and start again from snapshot and log."""
    cluster = use(seed, small_logs(config), clients=1, restarts=True)
    assert answers(cluster) >= 50 and compacted(cluster)


@both
@seeds(2)
def test_snapshots_restarts_and_twenty_clients(seed, config):
    """The same with twenty clients on four keys."""
    cluster = use(seed, small_logs(config), clients=20, keys=4, restarts=True)
    assert answers(cluster) >= 500 and compacted(cluster)


@both
@seeds(3)
def test_snapshots_and_bad_links(seed, config):
    """Packets get lost, doubled, late and overtaken, chunks of snapshots among them."""
    cluster = use(seed, small_logs(config), clients=5, bad_links=True)
    assert answers(cluster) >= 200 and compacted(cluster)


@both
@seeds(3)
def test_snapshots_restarts_and_bad_links(seed, config):
    """And three times all nodes crash and start again."""
    cluster = use(seed, small_logs(config), clients=5, restarts=True, bad_links=True)
    assert answers(cluster) >= 150 and compacted(cluster)


@both
@seeds(3)
def test_snapshots_restarts_partitions_and_bad_links(seed, config):
    """And the links are cut anew all the time: who was on the smaller side gets a snapshot."""
    trouble = dict(restarts=True, partitions=True, bad_links=True)
    cluster = use(seed, small_logs(config), clients=5, **trouble)
    assert answers(cluster) >= 50 and compacted(cluster)


@both
@seeds(3)
def test_snapshots_and_all_trouble_seven_nodes_and_fifteen_clients(seed, config):
    """All trouble at one time, for fifteen clients of seven nodes on twenty keys."""
    trouble = dict(restarts=True, partitions=True, bad_links=True)
    cluster = use(seed, small_logs(config), nodes=7, clients=15, keys=20, **trouble)
    assert answers(cluster) >= 100 and compacted(cluster)
    assert list(cluster.trace.of(SnapshotInstalled))
