"""Persistence: nodes crash and come back, and nothing that was committed is ever lost."""

from dataclasses import replace

import pytest

from kvlearn import RaftConfig
from kvlearn.course.mutants import CommitsOldTerms
from kvlearn.errors import TimedOut, Violation
from kvlearn.events import BecameLeader, Refused, Truncated
from tests.stories.stage import Story, both, seeds


@both
@seeds(5)
def test_all_crash_and_come_back(seed, config):
    """A value is committed, all nodes crash, all start again: the value is there, and the next one
    comes behind it. Then a leader crashes and comes back, a leader crashes and misses a value, a
    follower crashes and misses one: each catches up."""
    story = Story(3, seed, config)
    first = story.commit("1")
    story.crash(*story.names)
    story.restart(*story.names)
    assert story.commit("2") > first
    leader = story.wait_for_leader()
    story.crash(leader)
    story.restart(leader)
    story.commit("3")
    leader = story.wait_for_leader()
    story.crash(leader)
    story.commit("4", story.others(leader))
    story.restart(leader)
    story.commit("5")
    follower = story.rng.choice(story.others(story.wait_for_leader()))
    story.crash(follower)
    story.commit("6", story.others(follower))
    story.restart(follower)
    story.commit("7")
    story.agree()
    for name in story.names:
        assert list(dict.fromkeys(story.values(name))) == list("1234567")


@both
@seeds(5)
def test_crashes_in_turn(seed, config):
    """Five nodes, five rounds. Two crash and three go on; the three crash, the two start again with
    one of the three: these have a majority, and the one has all that was committed."""
    story = Story(5, seed, config)
    values = []
    for turn in range(5):
        leader = story.wait_for_leader(timeouts=8)
        values += [f"five {turn}", f"three {turn}", f"two and one {turn}"]
        story.commit(values[-3])
        gone = [story.names[(story.names.index(leader) + k) % 5] for k in (1, 2)]
        three = story.others(*gone)
        story.crash(*gone)
        story.commit(values[-2], three)
        story.crash(*three)
        story.restart(*gone)
        bridge = story.rng.choice(three)
        story.restart(bridge)
        story.commit(values[-1], (*gone, bridge))
        story.restart(*(name for name in three if name != bridge))
    story.commit("end")
    story.agree()
    for name in story.names:
        assert list(dict.fromkeys(story.values(name))) == [*values, "end"]


@both
@seeds(5)
def test_the_majority_changes_while_nodes_crash(seed, config):
    """Three nodes of which only two at a time are there, never the same two: what one majority
    committed the next one knows, because they have a node in common."""
    story = Story(3, seed, config)
    leader = story.wait_for_leader()
    one, other = story.others(leader)
    story.commit("all")
    story.alone(other)
    story.commit("leader and one", (leader, one))
    story.crash(leader, one)
    story.alone()
    story.restart(leader)
    story.commit("leader and other", (leader, other))
    story.restart(one)
    story.crash(leader)
    story.commit("one and other", (one, other))
    story.restart(leader)
    story.commit("end")
    story.agree()
    order = ["all", "leader and one", "leader and other", "one and other", "end"]
    for name in story.names:
        assert list(dict.fromkeys(story.values(name))) == order


# Figure 8: entries of old terms ---------------------------------------------------------------

ONE_BY_ONE = RaftConfig(max_entries_per_message=1)


def win(story: Story, name: str) -> None:
    """Let this node stand for election until it wins."""
    for _ in range(10):
        story.cluster.campaign(name)
        try:  # long enough for the votes, too short for another candidate
            return story.cluster.run_until(lambda cluster: name in story.claims(), 0.03)
        except TimedOut:
            continue
    raise AssertionError(f"{name} does not win{story.state()}")


def half_replicated(story: Story) -> tuple[str, str, str]:
    """The first moments of the paper's figure 8. Of the nodes a, c and e that are returned, a
    leads b and c, these three have a value of its old term, and a knows it; e is down and has an
    entry of a term between, which nobody else has."""
    cluster, nodes = story.cluster, story.cluster.nodes
    a = story.wait_for_leader()
    b, c, d, e = story.others(a)
    story.commit("all")
    cluster.partition((a, b))
    story.ask("half", a)
    cluster.run(0.05)
    place = len(nodes[b].log)
    story.crash(a)
    cluster.partition((c, d, e))
    win(story, e)
    story.alone(e)  # before anybody gets the entry with which its term begins
    cluster.run(0.05)
    story.crash(e)
    story.restart(a)
    cluster.partition((a, b, c))
    page = story.page
    win(story, a)
    story.until(
        lambda: (
            nodes[a].commit == place
            or "COMMIT_OLD_TERM" in {event.reason for event in story.told(Refused, since=page)}
        )
    )
    assert [nodes[name].log[place - 1].data.request.value for name in (a, b, c)] == [b"half"] * 3
    assert nodes[c].log[-1].index == place
    return a, c, e


@seeds(5)
def test_an_old_value_on_a_majority_may_still_vanish(seed):
    """A leader has got a value of its old term onto three of five nodes and crashes. Another one,
    whose log ends in a newer term, wins and overwrites the value: so it was right that nobody had
    applied it (figure 8, a to d)."""
    story = Story(5, seed, ONE_BY_ONE)
    a, c, e = half_replicated(story)
    story.crash(a)
    story.restart(e)
    rest = [name for name in story.names if story.cluster.nodes[name].log[-1].term < 2]
    story.cluster.partition((e, *rest))
    win(story, e)
    story.commit("other", (e, *rest))
    story.mend()
    story.commit("end")
    story.agree()
    assert story.anywhere() == {"all", "other", "end"}


@seeds(5)
def test_an_old_value_is_safe_behind_a_new_one(seed):
    """The same, but the leader goes on until an entry of its own term is committed: then the value
    before it is committed too, and the other one can win no election (figure 8, e)."""
    story = Story(5, seed, ONE_BY_ONE)
    a, c, e = half_replicated(story)
    story.until(lambda: {"half"} <= set(story.values(c)))
    story.crash(a)
    story.restart(e)
    story.alone()
    assert story.wait_for_leader(story.others(a)) != e
    story.mend()
    story.commit("end")
    story.agree()
    assert story.anywhere() == {"all", "half", "end"}


@seeds(5)
def test_who_counts_old_terms_breaks_a_promise(seed):
    """A Raft that commits what it finds on a majority, of whatever term, is caught in figure 8."""
    story = Story(5, seed, ONE_BY_ONE, raft=CommitsOldTerms)
    a, c, e = half_replicated(story)
    assert "half" in story.anywhere()
    story.crash(a)
    story.restart(e)
    rest = [name for name in story.names if story.cluster.nodes[name].log[-1].term < 2]
    story.cluster.partition((e, *rest))
    with pytest.raises(Violation, match="Leader Completeness"):
        win(story, e)


def play_figure_8(story: Story, moves: int) -> None:
    """Leaders take a value each and crash, mostly before it is committed; three nodes stay."""
    for move in range(moves):
        for name in story.claims():
            story.ask(f"{name} {move}", name)
        hurry = story.rng.random() < 0.9
        story.cluster.run(story.rng.uniform(0, 0.012) if hurry else story.rng.uniform(0, 1.0))
        for name in story.claims():
            if story.rng.random() < 0.5 or not hurry:
                story.crash(name)
        down = [name for name in story.names if name not in story.alive()]
        if len(down) > 2:
            story.restart(story.rng.choice(down))
        try:
            story.until(story.claims, timeouts=1)
        except TimedOut:
            continue


@both
@seeds(5)
def test_figure_8(seed, config):
    """Leaders crash so soon that entries of several old terms lie half replicated, the situation
    of the paper's figure 8. Such an entry may be overwritten as long as nothing newer is committed
    behind it; what any node has applied stays. In the end all start again and agree."""
    story = Story(5, seed, replace(config, max_entries_per_message=1))
    story.wait_for_leader()
    play_figure_8(story, moves=120)
    assert len(story.told(BecameLeader)) >= 20
    assert "COMMIT_OLD_TERM" in {event.reason for event in story.told(Refused)}
    assert story.told(Truncated)  # entries that lay half replicated were overwritten
    story.mend()
    story.commit("end")
    story.agree()


def in_touch(story: Story, lost: list[str]) -> str | None:
    """The leader of the newest term, unless it is cut off."""
    leader = story.cluster.leader
    return leader if leader not in lost else None


@both
@seeds(5)
def test_figure_8_on_bad_links(seed, config):
    """As figure 8, and packets get lost, doubled, late and overtaken; leaders are cut off instead
    of crashing. Progress is not promised then, but whatever was applied agrees, and a while after
    the links are good again all nodes do."""
    story = Story(5, seed, replace(config, max_entries_per_message=1))
    story.wait_for_leader()
    story.trouble_links()
    lost: list[str] = []
    for move in range(40):
        if move == 20:
            story.trouble_links(loss=0.2, longest_s=0.08)
            story.cluster.links.reorder = 0.5
        for name in story.names:
            story.ask(f"{name} {move}", name)
        story.cluster.run(story.rng.uniform(0, 0.3))
        if (leader := in_touch(story, lost)) and story.rng.random() < 0.7:
            lost.append(leader)
        if len(lost) > 2:
            lost.pop(story.rng.randrange(3))
        story.alone(*lost)
        try:
            story.until(lambda: in_touch(story, lost), timeouts=2)
        except TimedOut:
            continue
    assert len(story.told(BecameLeader)) >= 5
    assert "COMMIT_OLD_TERM" in {event.reason for event in story.told(Refused)}
    story.mend()
    story.commit("end")
    story.agree()


@both
@seeds(5)
def test_agreement_on_bad_links(seed, config):
    """A tenth of all packets gets lost, others come twice, late or in another order: a hundred
    values, asked five at a time, are all applied by all, each once."""
    story = Story(5, seed, config)
    story.wait_for_leader()
    story.trouble_links()
    asked = [[f"v{turn}.{k}" for k in range(5)] for turn in range(20)]
    for values in asked:
        story.commit_all(values, [story.cluster.leader or "n1"])
    story.mend()
    story.commit("end")
    story.agree()
    for name in story.names:
        assert set(story.values(name)) == {"end", *sum(asked, [])}


def churn(story: Story, moves: int) -> dict[str, int]:
    """Nodes lose touch, crash and come back while three clients ask whoever seems to lead, each its
    next value when it has an answer, or none for a while. What was asked, value -> operation."""
    asked: dict[str, int] = {}
    waits: dict[str, tuple[int, float]] = {}  # client -> its operation, until when it waits
    for move in range(moves * 10):
        for client in ("a", "b", "c"):
            number, give_up_s = waits.get(client, (0, 0.0))
            if number and not story.cluster.operation(number).done:
                if story.cluster.now < give_up_s:
                    continue
                story.cluster.give_up(number)
            value = f"{client}{move}"
            target = story.rng.choice(story.claims() or story.names)
            asked[value] = number = story.ask(value, target)
            waits[client] = (
                number,
                story.cluster.now + story.rng.uniform(0.1, 1) * story.longest_s,
            )
        story.cluster.run(story.rng.uniform(0, 0.1))
        if move % 10 == 0:
            churn_nodes(story)
    return asked


def churn_nodes(story: Story) -> None:
    """Now and then one loses touch, crashes, or all links work and all nodes run again."""
    kind, name = story.rng.random(), story.rng.choice(story.names)
    down = [name for name in story.names if name not in story.alive()]
    if kind < 0.3:
        story.cluster.isolate(name)
    elif kind < 0.5:
        story.cluster.heal()
    elif kind < 0.8 and name not in down and len(down) < 2:
        story.crash(name)
    else:
        story.restart(*down)


@both
@pytest.mark.parametrize("links", ["good", "bad"])
@seeds(3)
def test_churn(seed, links, config):
    """Nodes come and go all the time, and three clients go on asking (on good links and on bad
    ones). What they were told is done, is in every log in the end; all logs are alike, and each
    operation is there once at most."""
    story = Story(5, seed, config)
    story.wait_for_leader()
    if links == "bad":
        story.trouble_links()
    asked = churn(story, moves=40)
    story.mend()
    story.commit("end")
    story.agree()
    done = {value for value, number in asked.items() if story.acknowledged(number)}
    assert len(done) >= 20
    for name in story.names:
        values = story.values(name)
        assert done <= set(values) <= {*asked, "end"}
        assert len(values) - values.count("end") == len(set(values)) - 1
