"""The state machine behind the log: a counter that every node keeps.

Each put of one key makes its version one more, on every node; the answer tells what it was before.
So whoever asks learns the number of its step: no number is told twice, none is left out.
"""

from tests.stories.counter import Counter
from tests.stories.stage import both, seeds


@both
@seeds(5)
def test_ten_steps(seed, config):
    """Ten steps, one after the other, are told 1 to 10, and soon every node has counted ten."""
    story = Counter(3, seed, config)
    story.wait_for_leader()
    assert story.steps(10) == list(range(1, 11))
    story.agree()
    assert story.counts() == [10] * 3


@both
@seeds(5)
def test_fifty_steps_at_one_time(seed, config):
    """Fifty steps that are asked of all nodes at one time are told fifty different numbers."""
    story = Counter(3, seed, config)
    story.wait_for_leader()
    asked = [story.step(story.names[k % 3]) for k in range(50)]
    story.until(lambda: all(map(story.acknowledged, asked)))
    assert sorted(map(story.number, asked)) == list(range(1, 51))
    story.agree()
    assert story.counts() == [50] * 3


@both
@seeds(5)
def test_the_leader_is_lost_between_two_steps(seed, config):
    """The leader loses touch after a step: the next one is carried out by the other two, and the
    lost one counts it when it is back."""
    story = Counter(3, seed, config)
    first = story.wait_for_leader()
    assert story.steps(1) == [1]
    story.agree()
    story.alone(first)
    rest = story.others(first)
    story.wait_for_leader(rest)
    assert story.steps(1) == [2]
    assert story.counts(first) == [1]
    story.alone()
    assert story.wait_for_leader() in rest
    assert story.steps(1) == [3]
    story.agree()
    assert story.counts() == [3] * 3


@both
@seeds(5)
def test_steps_of_a_leader_that_is_cut_off(seed, config):
    """A leader that has lost touch with the majority is asked for a hundred steps. None is told as
    done, then or later: when it is back its entries are overwritten, and are counted by nobody."""
    story = Counter(3, seed, config)
    first = story.wait_for_leader()
    assert story.steps(1) == [1]
    story.alone(first)
    asked = [story.step(first) for _ in range(100)]
    rest = story.others(first)
    story.wait_for_leader(rest)
    assert story.steps(5) == [2, 3, 4, 5, 6]
    assert not any(map(story.acknowledged, asked))
    story.alone()
    story.wait_for_leader()
    story.wait(2)
    assert story.steps(1) == [7]
    story.agree()
    assert story.counts() == [7] * 3
    assert not any(map(story.acknowledged, asked))
    assert not set(asked) & set(story.index_of)


@both
@seeds(5)
def test_a_hundred_steps_are_counted_after_a_restart(seed, config):
    """After a hundred steps all nodes crash and start again: each has its hundred steps as soon as
    there is a leader, and the next one is the hundred and first."""
    story = Counter(3, seed, config)
    story.wait_for_leader()
    assert story.steps(100) == list(range(1, 101))
    story.agree()
    story.crash(*story.names)
    story.wait(1)
    story.restart(*story.names)
    story.wait_for_leader()
    story.agree()
    assert story.counts() == [100] * 3
    assert story.steps(1) == [101]
    story.agree()
    assert story.counts() == [101] * 3


@both
@seeds(5)
def test_nobody_waits_for_nodes_that_are_gone(seed, config):
    """All nodes crash with a hundred steps under way: each client learns at once that it will get
    no answer, and that it cannot know whether its step was carried out."""
    story = Counter(3, seed, config)
    story.wait_for_leader()
    asked = [story.step(story.names[k % 3]) for k in range(100)]
    story.cluster.run(story.rng.uniform(0, 0.01))
    story.crash(*story.names)
    operations = [story.cluster.operation(op_id) for op_id in asked]
    assert all(operation.done for operation in operations)
    lost = [operation for operation in operations if operation.error]
    assert lost
    for operation in lost:
        assert "not known" in operation.error.hint


@both
@seeds(5)
def test_steps_before_and_after_a_restart_are_not_confused(seed, config):
    """All nodes crash with a hundred steps under way, and start again. Each of the hundred was
    carried out or not, once at most; the next steps are told their own numbers."""
    story = Counter(3, seed, config)
    story.wait_for_leader()
    assert story.steps(20) == list(range(1, 21))
    asked = [story.step(story.names[k % 3]) for k in range(100)]
    story.cluster.run(story.rng.uniform(0.004, 0.02))
    story.crash(*story.names)
    done = sum(map(story.acknowledged, asked))
    story.wait(1)
    story.restart(*story.names)
    story.wait_for_leader()
    story.agree()
    (count,) = set(story.counts())
    assert 20 + done <= count <= 120
    assert sum(op_id in story.index_of for op_id in asked) == count - 20
    assert story.steps(20) == list(range(count + 1, count + 21))
    assert sum(map(story.acknowledged, asked)) == done
    story.agree()
