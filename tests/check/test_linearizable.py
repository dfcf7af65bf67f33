"""Linearizability: against a judge that tries every order, on known cases, on runs, and in time."""

from __future__ import annotations

import re
import time
from itertools import count
from math import inf
from random import Random

import pytest

from kvlearn import Cluster, Raft, RaftConfig, check
from kvlearn.check import (
    KV,
    UNKNOWN,
    Append,
    AppendList,
    AppendText,
    Cas,
    CasRegister,
    Model,
    Operation,
    Read,
    Register,
    Write,
    linearizable,
)
from kvlearn.check.search import Search
from kvlearn.course.mutants import ReadsWithoutAsking
from kvlearn.errors import Violation
from kvlearn.kv.requests import (
    Answer,
    DeleteRange,
    DeleteResult,
    Header,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from tests.check import oracle
from tests.sim.test_faults import Trouble

MODELS = {
    "register": Register(),
    "cas": CasRegister(),
    "list": AppendList(),
    "far list": AppendList(),
    "text": AppendText(),
    "growing text": AppendText(),
    "store": KV(),
    "lost writes": KV(),
    "telling pairs": KV(),
    "bare store": KV(),
    "bare keys": KV(),
}


STORES = [model for model in MODELS.values() if isinstance(model, KV)]


def op(client, call, end, ask, answer=None):
    return Operation(client, call, end, ask, answer)


# Against every order --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_the_verdict_is_that_of_a_judge_who_tries_every_order(kind):
    """10,000 small histories a model, up to six operations each; of variants of it, 3,000."""
    rng = Random(f"oracle/{kind}")
    alone, found = oracle.KINDS[kind][0], {"ok": 0, "violated": 0}
    size = 10_000 if kind in ("register", "cas", "list", "text", "store") else 3_000
    for number in range(size):
        history = oracle.small_history(rng, kind)
        verdict = linearizable(history, MODELS[kind], shrink=False)
        wanted = "ok" if oracle.possible(history, alone) else "violated"
        assert verdict.verdict == wanted, f"{number}: {[str(op) for op in history]}"
        found[wanted] += 1
    assert min(found.values()) > size / 20, f"the histories are too easy: {found}"


@pytest.mark.parametrize("kind", MODELS)
def test_a_legal_order_is_one(kind):
    """What is shown as the order explains every answer, and is true to real time."""
    rng = Random(f"order/{kind}")
    model, seen = MODELS[kind], 0
    for _ in range(500):
        history = oracle.small_history(rng, kind)
        for part in model.partition(history).values():
            verdict = linearizable(part, model)
            if not verdict.ok:
                continue
            seen += 1
            returned = [op for op in part if op.known]
            assert {id(op) for op in returned} <= {id(op) for op in verdict.order}
            explains(verdict.order, oracle.KINDS[kind][0])
    assert seen > 100


def explains(order, alone):
    """Asked one after the other, one client alone gets these answers."""
    state, latest = None, -inf
    for number, operation in enumerate(order):
        latest = max(latest, operation.call_s)
        for later in order[number:]:
            assert not later.known or latest <= later.return_s, "an order against real time"
        answer, state = alone(state, operation.input)
        assert not operation.known or answer == operation.output


@pytest.mark.parametrize("kind", MODELS)
def test_the_core_is_impossible_and_nothing_in_it_can_be_spared(kind):
    rng = Random(f"core/{kind}")
    model, alone = MODELS[kind], oracle.KINDS[kind][0]
    seen = 0
    while seen < 300:
        history = oracle.small_history(rng, kind)
        verdict = linearizable(history, model)
        if verdict.verdict != "violated":
            continue
        seen += 1
        core = verdict.core
        assert core and not oracle.possible(core, alone), verdict
        assert verdict.stuck.known and verdict.core_is_smallest
        if verdict.core_since is None and model not in STORES:
            assert_smallest(core, part_of(history, verdict), model, alone)


def part_of(history, verdict):
    return verdict.model.partition(history).get(verdict.key, history)


def assert_smallest(core, part, model, alone):
    """The rest may come or not; with any one of the core freed as well, an order is found."""

    def freed(others):
        out = []
        for operation in others:
            if not model.is_read(operation.input, operation.told):
                end = max(op.return_s for op in core)
                if operation.call_s <= end:
                    out.append(op(operation.client, operation.call_s, None, operation.input))
        return out

    rest = [operation for operation in part if not any(operation is one for one in core)]
    assert not oracle.possible([*core, *freed(rest)], alone)
    for spared in core:
        kept = [one for one in core if one is not spared]
        assert oracle.possible([*kept, *freed([*rest, spared])], alone), (core, spared)


# Known cases ----------------------------------------------------------------------------------


def test_nothing_asked_is_linearizable():
    assert linearizable([]).ok
    assert "0 operations" in linearizable([]).why


def test_a_stale_read_and_the_three_that_show_it():
    history = [
        op("c1", 0, 1, Write(1)),
        op("c1", 2, 3, Write(2)),
        op("c2", 2.5, 6, Read(), 2),
        op("c3", 4, 5, Read(), 1),
    ]
    verdict = linearizable(history)
    assert verdict.verdict == "violated" and verdict.core == [history[0], history[1], history[3]]
    assert verdict.core_is_smallest and verdict.stuck == history[3]
    assert verdict.order == history[:2]
    assert "c3: read → 1 (4 to 5)" in verdict.why and "4 operations of 3 clients" in verdict.why
    with pytest.raises(Violation, match="Linearizability is broken"):
        verdict.raise_if_broken()


def test_a_read_may_see_a_write_under_way_but_then_all_later_ones_must():
    """Read new, then old, while one write is under way: the new-old inversion."""
    write = op("c1", 0, 10, Write("new"))
    new, old = op("c2", 1, 2, Read(), "new"), op("c3", 3, 4, Read(), None)
    assert linearizable([write, new]).ok and linearizable([write, old]).ok
    verdict = linearizable([write, new, old])
    assert verdict.core == [new, old]
    overlapping = op("c3", 1.5, 4, Read(), None)
    assert linearizable([write, new, overlapping]).ok


def test_intervals_are_closed():
    """Who returns in the instant in which another is called may come after it."""
    write, read = op("c1", 0, 1, Write(1)), op("c2", 1, 2, Read(), None)
    assert linearizable([write, read]).ok
    assert not linearizable([write, op("c2", 1.001, 2, Read(), None)]).ok


@pytest.mark.parametrize("end", [None, inf])
def test_a_write_without_an_answer_comes_late_or_never(end):
    lost = op("c1", 0, end, Write(1))
    assert linearizable([lost, op("c2", 5, 6, Read(), None)]).ok
    assert linearizable([lost, op("c2", 5, 6, Read(), None), op("c2", 90, 91, Read(), 1)]).ok
    once = [op("c2", t, t + 0.5, Read(), v) for t, v in ((1, None), (2, 1), (3, None))]
    assert not linearizable([lost, *once]).ok
    assert not linearizable([op("c1", 5, None, Write(1)), op("c2", 1, 2, Read(), 1)]).ok


def test_a_read_without_an_answer_says_nothing():
    history = [op("c1", 0, 1, Write(1)), op("c2", 0.5, None, Read(), "who knows")]
    assert linearizable(history).ok


def test_a_value_that_nobody_wrote_is_a_core_of_one():
    history = [op("c1", 0, 1, Write(1)), op("c2", 2, 3, Read(), 7), op("c1", 4, 5, Write(2))]
    verdict = linearizable(history)
    assert verdict.core == [history[1]] and "this one finds no moment" in verdict.why


def test_many_writes_of_few_values_and_still_a_small_core():
    """The stale value was written 300 times before: what counts is what came since."""
    history = [op("c1", t, t + 0.5, Write(t % 3)) for t in range(900)]
    history.append(op("c2", 900, 901, Read(), 1))  # the last write was of 2
    verdict = linearizable(history)
    assert verdict.core == history[-2:] and verdict.core_since == 899
    assert "whatever was there before 899" in verdict.why


def test_swaps_take_place_once():
    swap = [op(f"c{k}", 1, 2, Cas(0, k), True) for k in (1, 2)]
    start = op("c0", 0, 0.5, Write(0))
    assert linearizable([start, swap[0]]).ok
    verdict = linearizable([start, *swap])
    assert verdict.core == swap  # each needs the one 0 that was ever written
    failed = op("c3", 3, 4, Cas(0, 3), False)
    assert linearizable([start, swap[0], failed]).ok
    assert not linearizable([start, failed]).ok


def test_keys_are_kept_apart():
    history = [
        op("c1", 0, 1, Write(1, "x")),
        op("c1", 0, 1, Write(2, "y")),
        op("c2", 2, 3, Read("x"), 1),
        op("c2", 4, 5, Read("y"), 1),
    ]
    verdict = linearizable(history)
    assert verdict.key == "y" and "on key y" in verdict.why
    assert linearizable(history[:3]).why.startswith("3 operations of 2 clients on 2 keys")


def test_lists_and_texts_grow():
    appends = [op("c1", 0, 9, Append(1)), op("c2", 0, 9, Append(2))]
    assert linearizable([*appends, op("c3", 10, 11, Read(), (2, 1))]).ok
    assert linearizable([*appends, op("c3", 5, 6, Read(), (2,)), op("c3", 7, 8, Read(), (2, 1))]).ok
    assert not linearizable([*appends, op("c3", 10, 11, Read(), (2,))]).ok
    torn = [op("c3", 5, 6, Read(), (2,)), op("c3", 7, 8, Read(), (1, 2))]
    assert not linearizable([*appends, *torn]).ok
    words = [op("c1", 0, 1, Write("a")), op("c1", 2, 3, Append("b"))]
    assert linearizable([*words, op("c2", 4, 5, Read(), "ab")]).ok
    assert not linearizable([*words, op("c2", 4, 5, Read(), "ba")]).ok
    assert linearizable([op("c2", 4, 5, Read("k"), ""), op("c1", 5, 6, Append("x", "k"))]).ok


# etcd's keys ----------------------------------------------------------------------------------


def answer(revision, result):
    return Answer(0, Header(revision=revision), result)


def shows(*pairs, count=None):
    return RangeResult(tuple(pairs), False, len(pairs) if count is None else count)


def test_an_interval_is_seen_at_one_moment():
    """Two puts, and a range that saw the second without the first."""
    history = [
        op("c1", 0, 1, Put(b"a", b"1"), answer(2, PutResult())),
        op("c1", 2, 3, Put(b"b", b"1"), answer(3, PutResult())),
    ]
    b = KeyValue(b"b", b"1", 3, 3, 1)
    both = shows(KeyValue(b"a", b"1", 2, 2, 1), b)
    ask = Range(b"a", b"c")
    assert linearizable([*history, op("c2", 0, 9, ask, answer(3, both))]).ok
    assert not linearizable([*history, op("c2", 0, 9, ask, answer(3, shows(b)))]).ok
    bare = shows(KeyValue(b"b", b"1"))
    told = [op(o.client, o.call_s, o.return_s, o.input, o.output.result) for o in history]
    assert not linearizable([*told, op("c2", 0, 9, ask, bare)]).ok


@pytest.mark.parametrize(
    ("ask", "result", "fits"),
    [
        (Range(b"a"), shows(KeyValue(b"a", b"2", 2, 4, 2)), True),
        (Range(b"a"), shows(KeyValue(b"a", b"2", 2, 4, 1)), False),  # the version
        (Range(b"a"), shows(KeyValue(b"a", b"2", 4, 4, 2)), False),  # the create revision
        (Range(b"a", keys_only=True), shows(KeyValue(b"a", b"", 2, 4, 2)), True),
        (Range(b"a", b"z", count_only=True), RangeResult(count=2), True),
        (Range(b"a", b"z", count_only=True), RangeResult(count=3), False),
        (Range(b"a", b"z", limit=1), RangeResult((KeyValue(b"a", b"2"),), True, 2), True),
        (Range(b"a", b"z", limit=1), RangeResult((KeyValue(b"a", b"2"),), False, 2), False),
        (Range(b"a", b"\0", min_mod_revision=4), shows(KeyValue(b"a", b"2"), count=2), True),
        (Range(b"a", b"\0", max_mod_revision=3), shows(KeyValue(b"b", b"1"), count=2), True),
        (
            Range(b"a", b"z", sort_target="mod", sort_order="descend"),
            shows(KeyValue(b"a", b"2"), KeyValue(b"b", b"1")),
            True,
        ),
        (
            Range(b"a", b"z", sort_target="mod", sort_order="ascend"),
            shows(KeyValue(b"a", b"2"), KeyValue(b"b", b"1")),
            False,
        ),
        (Range(b"a", revision=2), shows(KeyValue(b"a", b"1", 2, 2, 1)), True),
        (Range(b"a", revision=2), shows(KeyValue(b"a", b"2", 2, 4, 2)), False),
        (Range(b"b", revision=2), shows(), True),
        (Range(b"c"), shows(), True),
        (Range(b"c"), shows(KeyValue(b"c", b"1")), False),
    ],
)
def test_what_a_range_may_say(ask, result, fits):
    """After a=1 (revision 2), b=1 (3), a=2 (4)."""
    puts = ((b"a", b"1"), (b"b", b"1"), (b"a", b"2"))
    history = [
        op("c1", t, t + 0.5, Put(key, new), answer(t + 2, PutResult()))
        for t, (key, new) in enumerate(puts)
    ]
    for revision in (4, 0):  # told or not
        last = op("c2", 5, 6, ask, answer(revision, result))
        assert linearizable([*history, last]).ok == fits


def test_revisions_that_two_writes_claim():
    first = op("c1", 0, 5, Put(b"a", b"1"), answer(2, PutResult()))
    second = op("c2", 0, 5, Put(b"b", b"1"), answer(2, PutResult()))
    verdict = linearizable([first, second])
    assert verdict.core == [first, second] and verdict.core_is_smallest


def test_a_gap_in_the_revisions_is_filled_by_a_write_without_an_answer():
    known = [
        op("c1", 0, 1, Put(b"a", b"1"), answer(2, PutResult())),
        op("c1", 5, 6, Put(b"a", b"3"), answer(4, PutResult())),
    ]
    assert not linearizable(known).ok
    lost = op("c2", 0.5, None, Put(b"b", b"2"))
    assert linearizable([*known, lost]).ok
    assert not linearizable([*known, op("c2", 7, None, Put(b"b", b"2"))]).ok  # asked too late
    seen = op("c3", 8, 9, Range(b"b"), answer(4, shows(KeyValue(b"b", b"2", 3, 3, 1))))
    assert linearizable([*known, lost, seen]).ok
    other = op("c3", 8, 9, Range(b"b"), answer(4, shows(KeyValue(b"b", b"9", 3, 3, 1))))
    assert not linearizable([*known, lost, other]).ok


def test_deletes_count_and_a_delete_of_nothing_is_a_read():
    put = op("c1", 0, 1, Put(b"a", b"1"), answer(2, PutResult()))
    gone = op("c2", 2, 3, DeleteRange(b"a"), answer(3, DeleteResult(1)))
    assert linearizable([put, gone, op("c3", 4, 5, Range(b"a"), answer(3, shows()))]).ok
    again = op("c2", 4, 5, DeleteRange(b"a", prev_kv=True), answer(3, DeleteResult(0)))
    assert linearizable([put, gone, again]).ok
    assert not linearizable([put, again]).ok


def test_a_serializable_read_may_be_stale():
    put = op("c1", 0, 1, Put(b"a", b"1"), answer(2, PutResult()))
    stale = op("c2", 2, 3, Range(b"a", serializable=True), answer(1, shows()))
    assert linearizable([put, stale]).ok
    assert not linearizable([put, op("c2", 2, 3, Range(b"a"), answer(1, shows()))]).ok


# Whole runs -----------------------------------------------------------------------------------


def busy(seed, raft=Raft, unlucky=True, rounds=60):
    """A cluster whose clients ask all the time, of anybody, while its leader comes and goes. With
    an odd seed it is the paper's Raft: a leader that is cut off goes on leading."""
    config = RaftConfig() if seed % 2 else RaftConfig.etcd()
    rng, cluster = Random(f"busy/{seed}"), Cluster(3, seed, config, raft, invariants=False)
    numbers = count(1)
    cluster.wait_for_leader()
    for turn in range(rounds):
        if unlucky and turn % 12 == 5:
            cluster.isolate(cluster.leader)
        if unlucky and turn % 12 == 11:
            cluster.heal()
        for client in ("c1", "c2", "c3", "c4"):
            key = rng.choice((b"a", b"b"))
            kind = rng.random()
            ask = Range(key) if kind < 0.5 else Put(key, b"%d" % next(numbers))
            if kind > 0.9:
                ask = rng.choice((DeleteRange(key), Range(b"a", b"c")))
            cluster.submit(ask, rng.choice(("n1", "n2", "n3")), client)
        cluster.run(rng.random() * 0.5)
    return cluster


@pytest.mark.parametrize("seed", range(10))
def test_runs_with_a_leader_that_comes_and_goes_are_linearizable(seed):
    verdict = linearizable(busy(seed))
    assert verdict.ok, verdict
    assert len(verdict.history) > 100 and isinstance(verdict.model, KV)
    assert any(not operation.known for operation in verdict.history)


@pytest.mark.parametrize("seed", [0, 24, 36, 38, 54, 56])
def test_runs_in_which_half_of_the_answers_are_lost_are_decided(seed):
    """The fault runs with the largest gaps in their revisions: who filled them is for the search
    to find out, from what later reads show."""
    verdict = linearizable(Trouble(5 if seed % 2 else 3, seed).play())
    assert verdict.ok and verdict.steps < 200_000
    assert sum(not operation.known for operation in verdict.history) > 25


def test_a_leader_that_does_not_ask_is_convicted():
    """A deposed leader answers from its own state, and the trace shows that it was stale."""
    verdict = linearizable(busy(3, ReadsWithoutAsking))
    assert verdict.verdict == "violated" and verdict.seed == 3
    read = verdict.core[-1]
    assert isinstance(read.input, Range) and len(verdict.core) <= 3 and verdict.core_is_smallest
    newer = verdict.core[0]
    assert newer.return_s < read.call_s
    assert newer.output.header.revision > read.output.header.revision
    assert "(seed 3)" in str(verdict)


def test_the_same_run_has_the_same_verdict():
    one, other = (linearizable(busy(3, ReadsWithoutAsking)) for _ in range(2))
    assert str(one) == str(other) and one.steps == other.steps and one.text == other.text


# Budgets --------------------------------------------------------------------------------------


def concurrent(size, clients, seed, values=None, reads=0.5, lost=0.0):
    """A legal history of one register: each operation really took place at some moment of its own,
    and the clients ask without a pause."""
    rng, free, places = Random(f"concurrent/{seed}"), [0.0] * clients, []
    for _ in range(size):
        client = min(range(clients), key=lambda c: free[c])
        call = free[client] + rng.random() * 0.2
        end = call + 0.01 + rng.random()
        free[client] = end
        places.append((rng.uniform(call, end), f"c{client}", call, end))
    value, history = None, []
    for number, (_, client, call, end) in enumerate(sorted(places)):
        if rng.random() < reads:
            history.append(op(client, call, end, Read(), value))
            continue
        value = number if values is None else rng.randrange(values)
        history.append(op(client, call, None if rng.random() < lost else end, Write(value)))
    return history


def spoil(history, part):
    """The same history with a read that saw what was overwritten long ago."""
    reads = [k for k, one in enumerate(history) if isinstance(one.input, Read)]
    k = reads[int(len(reads) * part)]
    stale = next(one.input.value for one in history[k // 2 :] if isinstance(one.input, Write))
    old = history[k]
    spoilt = op(old.client, old.call_s, old.return_s, Read(), stale)
    return [*history[:k], spoilt, *history[k + 1 :]]


@pytest.mark.parametrize("shape", [{}, {"values": 5}, {"reads": 0.3}, {"lost": 0.1}])
def test_a_thousand_operations_of_eight_clients_take_a_second_at_most(shape):
    """On one key, legal and not; measured in processor time, since others work here too."""
    history = concurrent(1000, 8, 1, **shape)
    for asked in (history, spoil(history, 0.5)):
        start = time.process_time()
        verdict = linearizable(asked, Register(), shrink=False)
        assert time.process_time() - start <= 1.0
        assert verdict.verdict == "ok" if asked is history else verdict.verdict != "unknown"


def test_a_stale_read_among_a_thousand_operations_has_a_small_core():
    verdict = linearizable(spoil(concurrent(1000, 8, 1), 0.5))
    assert verdict.verdict == "violated" and len(verdict.core) <= 4 and verdict.core_is_smallest


def test_a_budget_of_steps_ends_the_search_and_says_so():
    history = concurrent(200, 8, 2)
    verdict = linearizable(history, budget=50)
    assert verdict.verdict == "unknown" and not verdict.ok
    assert "no answer within 50 steps" in verdict.why and verdict.steps <= 51
    verdict.raise_if_broken()  # nothing was shown


def test_a_deadline_is_asked_now_and_then():
    asked = []

    def soon():
        asked.append(1)
        return len(asked) > 2

    history = concurrent(1000, 8, 2)
    verdict = linearizable(history, deadline=soon)
    assert verdict.verdict == "unknown" and "the deadline" in verdict.why and len(asked) == 3
    assert linearizable(history, deadline=lambda: False).ok


def test_too_many_operations_are_not_searched():
    verdict = linearizable(concurrent(20, 2, 3), max_operations=10)
    assert verdict.verdict == "unknown" and "at most 10" in verdict.why and verdict.steps == 0


def test_long_histories_and_long_operations():
    """20,000 operations one after the other, and one that lasts all the time."""
    history = [op("c1", t, t + 0.5, Write(t), None) for t in range(20_000)]
    history.append(op("c2", 0.2, 30_000, Read(), 19_000))
    verdict = linearizable(history)
    assert verdict.ok and verdict.steps < 50_000


# A model of one's own, and what cannot be checked ---------------------------------------------


class Stack(Model):
    """Push (a number) and pop (None)."""

    def init(self):
        return ()

    def step(self, state, input, output):
        if input is not None:
            return True, (*state, input)
        return output is UNKNOWN or output == (state[-1] if state else None), state[:-1]


def test_a_model_of_ones_own():
    pushes = [op("c1", 0, 5, 1), op("c2", 0, 5, 2)]
    assert linearizable([*pushes, op("c3", 6, 7, None, 1), op("c3", 8, 9, None, 2)], Stack()).ok
    assert not linearizable([*pushes, op("c3", 6, 7, None, 3)], Stack()).ok
    lost = op("c4", 5.5, None, None)
    assert linearizable([*pushes, lost, op("c3", 6, 7, None, 1), op("c3", 8, 9, None)], Stack()).ok
    with pytest.raises(NotImplementedError, match="Model has no init"):
        linearizable(pushes, Model())


def test_what_is_no_history_is_refused():
    with pytest.raises(ValueError, match="returns before it is called"):
        linearizable([op("c1", 2, 1, Write(1))])
    with pytest.raises(TypeError, match="a list of Operation"):
        linearizable([("c1", 0, 1, "write")])
    with pytest.raises(ValueError, match="no model has all of Append, Cas"):
        linearizable([op("c1", 0, 1, Append(1)), op("c1", 2, 3, Cas(1, 2), True)])
    with pytest.raises(TypeError, match="a tuple, not a list"):
        linearizable([op("c1", 0, 1, Write([1, 2]))])
    with pytest.raises(TypeError, match="Register does not know"):
        linearizable([op("c1", 0, 1, Cas(1, 2), True)], Register)


def test_the_model_is_chosen_by_the_inputs():
    chosen = {
        Register: [Write(1), Read()],
        CasRegister: [Read(), Cas(1, 2)],
        AppendList: [Append(1), Read()],
        AppendText: [Append("a"), Write("b")],
        KV: [Put(b"a")],
    }
    for kind, asks in chosen.items():
        history = [op("c1", t, None, ask) for t, ask in enumerate(asks)]
        assert type(linearizable(history).model) is kind


def test_states_are_never_looked_at_twice():
    """Writes that overlap: without memory the search would take factorial time."""
    history = [op(f"c{k}", 0, 10, Write(k % 2)) for k in range(14)]
    history.append(op("c0", 11, 12, Read(), 5))
    search = Search(CasRegister(), history)
    assert search.run() == "violated" and search.steps < 500_000


# What is shown --------------------------------------------------------------------------------


@pytest.fixture
def stale():
    return linearizable(
        [
            op("c2", 0, 1, Write("<b>red</b>")),
            op("c10", 2, 3, Write("blue")),
            op("c10", 2.5, None, Write("green")),
            op("c3", 4, 5, Read(), "<b>red</b>"),
            op("c3", 6, 7, Read(), "blue"),
        ]
    )


def test_lanes_are_plain_data(stale):
    lanes = stale.lanes()
    assert lanes["rows"] == ["c2", "c3", "c10", "c10"]  # c10 asked twice at once
    bars = {bar["text"]: bar for bar in lanes["bars"]}
    kinds = {text: bar["kind"] for text, bar in bars.items()}
    assert kinds["read → <b>red</b>"] == "stuck" and kinds["write blue"] == "placed"
    assert kinds["write green → ?"] == "never" and kinds["read → blue"] == "left"
    assert bars["write blue"]["place"] == 2 and bars["write green → ?"]["return"] is None
    assert bars["write blue"]["core"] and not bars["read → blue"]["core"]
    assert lanes["order"] == ["write <b>red</b>", "write blue"]
    assert lanes["verdict"] == "violated" and lanes["left_out"] == 0
    for bar in lanes["bars"]:
        if bar["moment"] is not None:
            assert bar["call"] <= bar["moment"] <= (bar["return"] or inf)


def test_moments_follow_the_order():
    verdict = linearizable(concurrent(60, 6, 4))
    bars = [bar for bar in verdict.lanes(limit=100)["bars"] if bar["place"]]
    moments = [bar["moment"] for bar in sorted(bars, key=lambda bar: bar["place"])]
    assert len(bars) == 60 and moments == sorted(moments)
    for bar in bars:
        assert bar["call"] <= bar["moment"] <= bar["return"]


def test_a_picture_of_a_long_history_shows_what_decides():
    verdict = linearizable(spoil(concurrent(1000, 8, 1), 0.5))
    lanes = verdict.lanes(limit=20)
    assert len(lanes["bars"]) == 20 and lanes["left_out"] == 980
    assert sum(bar["core"] for bar in lanes["bars"]) == len(verdict.core)
    assert [bar["kind"] for bar in lanes["bars"]].count("stuck") == 1
    assert "980 more are not shown" in lanes["text"]


def test_long_answers_are_told_with_their_ends():
    many = tuple(range(500))
    history = [op("c1", k, k + 0.5, Append(k)) for k in many]
    history += [op("c2", 600, 601, Read(), many), op("c3", 700, 701, Read(), many[:-1])]
    verdict = linearizable(history)
    assert verdict.core == history[-2:]
    assert max(map(len, str(verdict).splitlines())) < 130 and "498, 499)" in verdict.why
    assert all(len(bar["text"]) < 100 for bar in verdict.lanes()["bars"])


def test_it_shows_itself_as_text_and_as_a_page(stale):
    assert repr(stale).startswith("<Linearizability is broken: no order explains 5 operations")
    assert "c3: read → <b>red</b> (4 to 5): nowhere; of the core" in stale.text
    page = stale._repr_html_()
    assert "<b>red" not in page and "&lt;b&gt;red" in page
    assert len(re.findall("<tr>", page)) == 6
    kept = linearizable([op("c1", 0, 1, Write(1))])
    assert str(kept).startswith("Linearizability is kept: 1 operation of 1 client")
    assert check.linearizable is linearizable
