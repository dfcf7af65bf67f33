"""Elections: somebody leads, somebody else takes over, nobody leads without a majority."""

import pytest

from kvlearn import RaftConfig
from kvlearn.errors import TimedOut
from kvlearn.events import BecameCandidate, BecameLeader
from tests.stories.stage import Story, both, seeds

ROUNDS = 10


@both
@seeds(5)
def test_one_leader_and_then_peace(seed, config):
    """Three nodes that know nothing elect a leader soon, and all hear of it. As long as nothing
    fails nobody stands for election again: leader and term stay what they are."""
    story = Story(3, seed, config)
    leader = story.wait_for_leader()
    term, page = story.cluster.nodes[leader].term, story.page
    assert term >= 1
    story.wait(5)
    assert story.elections(since=page) == []
    assert story.is_led(story.names)
    assert (story.claims(), story.cluster.nodes[leader].term) == ([leader], term)


@both
@seeds(5)
def test_a_lost_leader_is_replaced_and_its_return_disturbs_nobody(seed, config):
    """The leader loses touch: the other two elect one of themselves, in a newer term. When the
    lost one is back it follows, and the new leader keeps its term."""
    story = Story(3, seed, config)
    first = story.wait_for_leader()
    old_term = story.cluster.nodes[first].term
    story.alone(first)
    second = story.wait_for_leader(story.others(first))
    term, page = story.cluster.nodes[second].term, story.page
    assert second != first and term > old_term
    story.alone()
    assert story.wait_for_leader(timeouts=1) == second
    story.wait(3)
    assert story.claims() == [second] and story.cluster.nodes[second].term == term
    assert story.told(BecameLeader, since=page) == []


@both
@seeds(5)
def test_without_a_majority_there_is_no_new_leader(seed, config):
    """Of three nodes two are cut off: whatever they try, nobody wins an election. As soon as a
    second one is back the two elect a leader, and the third one joins them."""
    story = Story(3, seed, config)
    leader = story.wait_for_leader()
    low, high = story.others(leader)
    story.alone(leader, low)
    page = story.page
    story.wait(8)
    assert story.told(BecameLeader, since=page) == []
    assert story.told(BecameCandidate, since=page) or config.pre_vote  # not for want of trying
    story.alone(leader)
    assert story.wait_for_leader((low, high)) in (low, high)
    story.alone()
    story.wait_for_leader()
    story.wait(3)
    assert len(story.claims()) == 1 and story.is_led(story.names)


@seeds(5)
def test_a_plain_leader_that_is_cut_off_believes_in_itself(seed):
    """Nobody tells a leader of the paper's Raft that it is alone: it goes on claiming its term, so
    there are two who claim to lead, in two terms, until the links work again."""
    story = Story(3, seed, RaftConfig())
    first = story.wait_for_leader()
    story.alone(first)
    second = story.wait_for_leader(story.others(first))
    story.wait(5)
    assert story.claims() == [first, second]
    with pytest.raises(TimedOut):
        story.wait_for_leader(timeouts=3)
    story.alone()
    assert story.wait_for_leader(timeouts=1) == second


@seeds(5)
def test_a_checked_leader_that_is_cut_off_steps_down(seed):
    """With etcd's checks a leader that hears no majority for an election timeout gives up, before
    or after the others elect another; alone it stands for nothing, so its term does not grow
    and its return costs nobody anything."""
    story = Story(3, seed, RaftConfig.etcd())
    first = story.wait_for_leader()
    term = story.cluster.nodes[first].term
    story.alone(first)
    second = story.wait_for_leader(story.others(first))
    story.wait(5)
    assert story.claims() == [second]
    assert story.cluster.nodes[first].term == term
    page = story.page
    story.alone()
    assert story.wait_for_leader(timeouts=1) == second
    assert story.elections(since=page) == []


@both
@seeds(5)
def test_ten_elections_of_seven_nodes(seed, config):
    """Again and again three of seven nodes lose touch, any three: the other four have a leader or
    elect one soon, and never two in a term."""
    story = Story(7, seed, config)
    story.wait_for_leader()
    for _ in range(ROUNDS):
        lost = story.rng.sample(story.names, 3)
        story.alone(*lost)
        story.wait_for_leader(story.others(*lost), timeouts=8)
        story.alone()
        story.wait_for_leader(timeouts=8)
    # One term an election, and no storm of them: rounds in which nobody wins are the exception.
    assert story.cluster.nodes[story.claims()[-1]].term <= 6 * ROUNDS
    terms = [event.term for event in story.told(BecameLeader)]
    assert len(terms) == len(set(terms))
