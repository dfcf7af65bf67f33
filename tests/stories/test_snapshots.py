"""Snapshots: logs stay short, and who missed what is no longer in any log gets the state itself."""

from dataclasses import replace

from kvlearn import RaftConfig
from kvlearn.events import LogCompacted, SnapshotInstalled
from kvlearn.raft.messages import InstallSnapshot
from tests.stories.counter import Counter
from tests.stories.stage import KEY, Story, both, seeds

EVERY, KEPT, CHUNK = (
    10,
    3,
    16,
)  # entries from one snapshot to the next, kept; records a message


def small_logs(config: RaftConfig) -> RaftConfig:
    """The same, but logs are compacted soon, and a snapshot takes many messages."""
    return replace(config, snapshot_entries=EVERY, kept_entries=KEPT, chunk_records=CHUNK)


class Album(Story):
    """A story in which logs are compacted early."""

    def __init__(self, size: int, seed: int, config):
        super().__init__(size, seed, small_logs(config))
        self.asked: list[str] = []

    def fill(self, count: int, names=None) -> None:
        """Have so many new values applied by all of `names`."""
        values = [f"v{len(self.asked) + k}" for k in range(count)]
        self.asked += values
        self.commit_all(values, names)

    def stored(self, name: str) -> list[str]:
        """All that was ever written, as this node's store knows it, in order."""
        store = self.cluster.nodes[name].store
        pairs = (store.get(KEY, revision) for revision in range(2, store.revision + 1))
        return [pair.value.decode() for pair in pairs]

    def check(self) -> None:
        """All agree, nothing is missing, and no log is longer than what is kept and what has come
        since the last snapshot."""
        self.agree()
        for name in self.names:
            assert set(self.stored(name)) == set(self.asked)
            assert len(self.cluster.nodes[name].log) < KEPT + EVERY

    def installed(self, name: str) -> int:
        """How many snapshots this node took over."""
        return len(list(self.cluster.trace.of(SnapshotInstalled, node=name)))


@both
@seeds(5)
def test_logs_stay_short(seed, config):
    """Where nobody fails every node compacts its own log again and again; nobody needs to send a
    snapshot, and nothing is lost."""
    story = Album(3, seed, config)
    for _ in range(15):
        story.fill(8)
    story.check()
    for name in story.names:
        assert len(list(story.cluster.trace.of(LogCompacted, node=name))) >= 8
        assert story.installed(name) == 0


def lag(story: Album, trouble: str) -> None:
    """Twelve times somebody (each third time the leader) is away, cut off or down, while the others
    write so much that what it missed is in no log any more. It is back, and needs a snapshot."""
    for turn in range(12):
        story.wait_for_leader(timeouts=10)
        leader = story.cluster.leader
        away = leader if turn % 3 == 1 else story.rng.choice(story.others(leader))
        if trouble == "crashes":
            story.crash(away)
        else:
            story.alone(away)
        # Twice, because after the first time what it missed may just still be kept.
        for _ in range(2):
            story.fill(EVERY + KEPT + story.rng.randrange(EVERY), story.others(away))
        before = story.installed(away)
        if trouble == "crashes":
            story.restart(away)
        else:
            story.alone()
        story.fill(1)
        assert story.installed(away) > before
    chunks = story.sent(InstallSnapshot)
    assert max(sent.total for sent in chunks) > 8 * CHUNK
    assert all(len(sent.records) <= CHUNK for sent in chunks)


@both
@seeds(5)
def test_who_was_cut_off_gets_a_snapshot(seed, config):
    """Somebody loses touch while the others compact their logs: it gets a snapshot, then what
    came after it, and agrees."""
    story = Album(3, seed, config)
    lag(story, "cuts")
    story.check()


@both
@seeds(5)
def test_who_was_cut_off_gets_a_snapshot_on_bad_links(seed, config):
    """The same, and parts of the snapshot get lost, come twice, late and in another order."""
    story = Album(3, seed, config)
    story.trouble_links()
    lag(story, "cuts")
    story.mend()
    story.check()


@both
@seeds(5)
def test_who_was_down_gets_a_snapshot(seed, config):
    """Somebody crashes while the others compact their logs."""
    story = Album(3, seed, config)
    lag(story, "crashes")
    story.check()


@both
@seeds(5)
def test_who_was_down_gets_a_snapshot_on_bad_links(seed, config):
    """The same, and parts of the snapshot get lost, come twice, late and in another order."""
    story = Album(3, seed, config)
    story.trouble_links()
    lag(story, "crashes")
    story.mend()
    story.check()


@both
@seeds(5)
def test_all_restart_from_snapshot_and_log(seed, config):
    """Five times all nodes crash and start again from what their disks have, a snapshot and the
    log behind it: indices go on from where they were."""
    story = Album(3, seed, config)
    for _ in range(5):
        story.fill(EVERY // 2 + story.rng.randrange(EVERY))
        last = max(story.place.values())
        story.crash(*story.names)
        story.restart(*story.names)
        story.fill(1)
        assert max(story.place.values()) > last
    story.check()


@both
@seeds(5)
def test_a_restart_after_a_restart_keeps_the_snapshot(seed, config):
    """After a restart from a snapshot the next write to the disk must not lose it: one value, all
    crash again, and all is still there."""
    story = Album(3, seed, config)
    story.fill(EVERY + 1)
    for _ in range(3):
        story.crash(*story.names)
        story.restart(*story.names)
        story.fill(1)
    story.check()
    assert {*story.names} == {r.node for r in story.cluster.trace.of(LogCompacted)}


@both
@seeds(5)
def test_a_majority_forgets_what_one_missed_and_then_needs_it(seed, config):
    """One of three is cut off while fifty keys are written: the other two do not keep their logs
    for it. Then one of the two is cut off, so that nothing goes without the one that lags: it has
    to catch up by a snapshot, and what clients read is all there."""
    story = Story(3, seed, small_logs(config))
    cluster = story.cluster
    lagging = story.rng.choice(story.others(story.wait_for_leader()))
    first, second = story.others(lagging)
    cluster.client().put("a", "A")
    story.alone(lagging)
    client = story.client((first, second), "m")
    for number in range(50):
        client.put(f"key {number}", str(number))
    story.wait(1)
    for name in (first, second):
        assert len(cluster.nodes[name].log) < KEPT + EVERY
    leader = story.wait_for_leader((first, second))
    gone, stays = (
        (leader, *story.others(leader, lagging))
        if seed % 2
        else (*story.others(leader, lagging), leader)
    )
    story.alone(gone)
    client = story.client((stays, lagging), "n")
    story.wait_for_leader((stays, lagging))
    client.put("c", "C")
    told = {kv.key_text: kv.text for kv in client.get("", from_key=True).kvs}
    assert told == {
        "a": "A",
        "c": "C",
        **{f"key {number}": str(number) for number in range(50)},
    }
    assert list(cluster.trace.of(SnapshotInstalled, node=lagging))
    story.alone()
    story.wait_for_leader()
    cluster.client().put("e", "E")
    story.agree()


@both
@seeds(3)
def test_a_snapshot_is_as_large_as_the_state(seed, config):
    """Two hundred times the same key is put and read: logs stay short, and the snapshot that a
    node gets holds each revision once (and a few facts), however long ago it was written."""
    story = Story(3, seed, small_logs(config))
    away = story.rng.choice(story.others(story.wait_for_leader()))
    story.alone(away)
    client = story.client(story.others(away), "m")
    for number in range(200):
        client.put("x", str(number % 2))
        assert client.get("x").text == str(number % 2)
    story.alone()
    client.put("x", "end")
    story.agree()
    for name in story.names:
        assert len(story.cluster.nodes[name].log) < KEPT + EVERY
    (installed,) = story.cluster.trace.of(SnapshotInstalled, node=away)
    assert installed.event.records <= 200 + 5
    # Each record crosses the link once; but a heartbeat's answer that meets a chunk under way lets
    # the leader send that chunk again, and thirteen chunks take less than two heartbeats.
    crossed = sum(len(sent.records) for sent in story.sent(InstallSnapshot))
    assert installed.event.records <= crossed <= installed.event.records + 2 * CHUNK


@both
@seeds(5)
def test_a_counter_is_restored_from_snapshots(seed, config):
    """The state machine's counter: somebody misses sixty steps, all crash and start again, and
    steps go on from the right number, with short logs."""
    story = Counter(3, seed, small_logs(config))
    away = story.rng.choice(story.others(story.wait_for_leader()))
    assert story.steps(5) == list(range(1, 6))
    story.alone(away)
    story.wait_for_leader(story.others(away))
    assert story.steps(60) == list(range(6, 66))
    story.alone()
    story.wait_for_leader()
    assert story.steps(1) == [66]
    story.agree()
    assert list(story.cluster.trace.of(SnapshotInstalled, node=away))
    story.crash(*story.names)
    story.restart(*story.names)
    story.wait_for_leader()
    assert story.steps(10) == list(range(67, 77))
    story.agree()
    assert story.counts() == [76] * 3
    for name in story.names:
        assert len(story.cluster.nodes[name].log) < KEPT + EVERY
