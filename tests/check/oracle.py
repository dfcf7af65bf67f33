"""A judge of small histories that looks at every order: slow, short, and shares no code with the
checker. And a generator of small histories, legal ones and ones that are nearly so."""

from __future__ import annotations

from math import inf

from kvlearn.check import Append, Cas, Operation, Read, Write
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

# What one client alone would see: (state, input) -> (answer, state), each kind in its own words.


def register(state, ask):
    match ask:
        case Write(new):
            return None, new
        case Cas(old, new):
            return state == old, new if state == old else state
        case Read():
            return state, state


def grows(state, ask):
    match ask:
        case Append(new):
            return None, (state or ()) + (new,)
        case Read():
            return state or (), state


def text(state, ask):
    match ask:
        case Write(new):
            return None, new
        case Append(new):
            return None, (state or "") + new
        case Read():
            return state or "", state


def store(state, ask):
    """etcd: a state is (revision, pairs); no state is an empty store."""
    revision, pairs = state or (1, ())
    table = {kv.key: kv for kv in pairs}
    inside = [kv for kv in pairs if ask.key == kv.key or ask.key < kv.key < ask_end(ask)]
    match ask:
        case Range():
            result = RangeResult(tuple(inside), False, len(inside))
        case Put(key, value):
            revision += 1
            old = table.get(key)
            born, version = (old.create_revision, old.version + 1) if old else (revision, 1)
            table[key] = KeyValue(key, value, born, revision, version)
            result = PutResult(old if ask.prev_kv else None)
        case DeleteRange():
            revision += bool(inside)
            for kv in inside:
                del table[kv.key]
            result = DeleteResult(len(inside), tuple(inside) if ask.prev_kv else ())
    after = (revision, tuple(table[key] for key in sorted(table)))
    return Answer(0, Header(revision=revision), result), after


def ask_end(ask):
    return getattr(ask, "range_end", b"") or ask.key


def bare_store(state, ask):
    """The same without any revision in the answers."""
    answer, after = store(state, ask)
    result = answer.result
    if isinstance(result, RangeResult):
        kvs = tuple(KeyValue(kv.key, kv.value) for kv in result.kvs)
        result = RangeResult(kvs, result.more, result.count)
    elif isinstance(result, PutResult) and result.prev_kv:
        result = PutResult(KeyValue(result.prev_kv.key, result.prev_kv.value))
    elif isinstance(result, DeleteResult):
        prev = tuple(KeyValue(kv.key, kv.value) for kv in result.prev_kvs)
        result = DeleteResult(result.deleted, prev)
    return result, after


def telling_pairs(state, ask):
    """Answers without a header: revisions are told by the pairs alone."""
    answer, after = store(state, ask)
    return answer.result, after


def possible(history, alone, state=None):
    """Whether some order explains the history: every order is tried, none is remembered."""
    must = [op for op in history if op.known]
    if not must:
        return True
    first_return = min(op.return_s for op in must)
    for op in history:
        if op.call_s > first_return:
            continue
        answer, after = alone(state, op.input)
        if op.known and answer != op.output:
            continue
        if possible([other for other in history if other is not op], alone, after):
            return True
    return False


# Small histories ------------------------------------------------------------------------------


def register_asks(rng):
    return rng.choice([Read(), Read(), Write(rng.randint(1, 3))])


def cas_asks(rng):
    return rng.choice([Read(), Write(rng.randint(1, 3)), Cas(rng.randint(1, 3), rng.randint(1, 3))])


def list_asks(rng):
    return rng.choice([Read(), Append(rng.randint(1, 3))])


def far_list_asks(rng):
    """Seldom the same twice: then a read tells where each stands."""
    return rng.choice([Read(), Append(rng.randint(1, 20))])


def growing_text_asks(rng):
    """Texts that can be put together in several ways, and never begin anew."""
    return rng.choice([Read(), Append(rng.choice(["a", "ab", "b", "ba", "c"]))])


def text_asks(rng):
    new = rng.choice(["a", "b", "ab"])
    return rng.choice([Read(), Read(), Append(new), Append(new), Write(new)])


def store_asks(rng):
    key, value = rng.choice([b"a", b"b"]), rng.choice([b"1", b"2"])
    end = rng.choice([b"", b"", b"c"])
    return rng.choice(
        [
            Put(key, value, prev_kv=rng.random() < 0.3),
            Put(key, value),
            Range(key, end),
            Range(key, end),
            DeleteRange(key, end, prev_kv=rng.random() < 0.3),
        ]
    )


def one_key_asks(rng):
    """No intervals: such a history is split by key if no answer carries a revision."""
    ask = store_asks(rng)
    return type(ask)(ask.key) if isinstance(ask, (Range, DeleteRange)) else ask


KINDS = {
    "register": (register, register_asks),
    "cas": (register, cas_asks),
    "list": (grows, list_asks),
    "far list": (grows, far_list_asks),
    "text": (text, text_asks),
    "growing text": (text, growing_text_asks),
    "store": (store, store_asks),
    "lost writes": (store, store_asks),
    "telling pairs": (telling_pairs, store_asks),
    "bare store": (bare_store, store_asks),
    "bare keys": (bare_store, one_key_asks),
}


LOST = {"lost writes": 0.5}  # how many answers nobody gets; of the others a tenth


def small_history(rng, kind, most=6):
    """At most `most` operations that really happened in some order, some then told wrongly: an
    answer from another state, another time, or no answer at all. Times are few, so many are equal.
    """
    alone, asks = KINDS[kind]
    state, history, early = None, [], []
    for moment in range(2, 2 + rng.randint(3, most)):
        ask = asks(rng)
        answer, state = alone(state, ask)
        early.append(state)
        call, end = moment - rng.choice([0, 0, 0.5, 2]), moment + rng.choice([0, 0, 0.5, 2])
        if rng.random() < 0.25:
            call, end = call + 2, end + 2
        if rng.random() < 0.35:
            answer, _ = alone(rng.choice(early), ask)
        if rng.random() < LOST.get(kind, 0.1):
            end, answer = rng.choice([None, inf]), None
        history.append(Operation(f"c{rng.randint(1, 3)}", call, end, ask, answer))
    rng.shuffle(history)
    return history
