"""Rounds of reads: who joins which, and what an answer confirms."""

from kvlearn.raft.reads import ReadRounds


def two_of_three(acks: set) -> bool:
    return len(acks) >= 2


def off(reads: ReadRounds) -> None:
    """Heartbeats leave, because of reads or because it is time."""
    reads.leave()
    reads.sent()


def test_reads_join_a_round_until_it_leaves():
    reads = ReadRounds()
    assert reads.ask("n1", "a", 5, "n1"), "the first needs a round"
    assert reads.leave() == 1
    assert not reads.ask("n2", "b", 5, "n1"), "the second joins it, as it is still in the outbox"
    reads.sent()
    assert not reads.ask("n1", "c", 5, "n1"), "it left: another round, which waits for this one"
    assert [round.number for round in reads.rounds] == [1, 2]
    assert reads.rounds[0].asked == [("n1", "a"), ("n2", "b")]


def test_reads_that_come_meanwhile_share_the_next_round():
    reads = ReadRounds()
    reads.ask("n1", 0, 5, "n1")
    off(reads)
    assert not any(reads.ask("n1", context, 5, "n1") for context in range(1, 100))
    assert not reads.due
    [first] = reads.ack("n2", 1, two_of_three)
    assert len(first.asked) == 1 and reads.due, "now the others may be asked for"
    assert reads.leave() == 2 and not reads.due
    reads.sent()
    [second] = reads.ack("n2", 2, two_of_three)
    assert len(second.asked) == 99 and reads.rounds == []


def test_the_next_heartbeat_takes_along_who_waits():
    """The round before may be lost; what waits for it must not wait for ever."""
    reads = ReadRounds()
    reads.ask("n1", "a", 5, "n1")
    off(reads)
    reads.ask("n1", "b", 5, "n1")
    off(reads)
    both = reads.ack("n2", 2, two_of_three)
    assert [round.asked for round in both] == [[("n1", "a")], [("n1", "b")]]
    assert not reads.due and reads.leave() == 0


def test_a_read_that_joins_later_waits_for_all_that_was_committed_by_then():
    reads = ReadRounds()
    reads.ask("n1", "a", 5, "n1")
    reads.ask("n1", "b", 7, "n1")
    assert reads.rounds[0].index == 7


def test_a_round_waits_for_a_quorum_that_the_leader_is_part_of():
    reads = ReadRounds()
    reads.ask("n1", "a", 5, "n1")
    off(reads)
    assert reads.ack("n2", 1, lambda acks: len(acks) >= 3) == []
    [round] = reads.ack("n3", 1, lambda acks: len(acks) >= 3)
    assert round.acks == {"n1", "n2", "n3"} and reads.rounds == []


def test_one_voice_twice_is_one_voice():
    reads = ReadRounds()
    reads.ask("n1", "a", 5, "n1")
    off(reads)
    for _ in range(3):
        assert reads.ack("n2", 1, lambda acks: len(acks) >= 3) == []


def test_an_answer_to_a_later_round_answers_the_earlier_ones():
    reads = ReadRounds()
    for context in "abc":
        reads.ask("n1", context, 5, "n1")
        off(reads)
    confirmed = reads.ack("n2", 2, two_of_three)
    assert [round.number for round in confirmed] == [1, 2]
    assert [round.number for round in reads.rounds] == [3]


def test_answers_to_different_rounds_add_up_for_the_earlier():
    """Three of five: the leader, n2 by its answer to round 2, and n3."""
    reads = ReadRounds()
    for context in "ab":
        reads.ask("n1", context, 5, "n1")
        off(reads)
    assert reads.ack("n2", 2, lambda acks: len(acks) >= 3) == []
    [round] = reads.ack("n3", 1, lambda acks: len(acks) >= 3)
    assert (round.number, round.acks) == (1, {"n1", "n2", "n3"})


def test_an_answer_to_an_earlier_round_says_nothing_of_the_later():
    reads = ReadRounds()
    for context in "ab":
        reads.ask("n1", context, 5, "n1")
        off(reads)
    [round] = reads.ack("n2", 1, two_of_three)
    assert round.number == 1
    assert reads.ack("n2", 1, two_of_three) == [], "an old answer confirms nothing new"


def test_after_a_confirmation_the_next_read_opens_a_round():
    reads = ReadRounds()
    reads.ask("n1", "a", 5, "n1")
    reads.ack("n1", 1, lambda acks: True)  # alone in the cluster: confirmed before it left
    assert reads.ask("n1", "b", 5, "n1")
    assert reads.number == 2
