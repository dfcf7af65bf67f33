"""A run as a short text: it opens the same moment elsewhere, or says why it does not."""

import string
from random import Random
from zlib import crc32

import pytest

from kvlearn import Cluster, Links, RaftConfig
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.kinds import REQUESTS
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft import Raft
from kvlearn.sim import sharing
from kvlearn.sim.squeeze import Reader, Writer, number, symbol
from kvlearn.sim.told import WORDS, Told
from tests.sim.busy import busy
from tests.sim.hands import panel, program

LETTERS = string.ascii_letters + string.digits + "-_"


def lines(cluster: Cluster) -> list[str]:
    return list(cluster.trace.lines())


def short() -> Cluster:
    cluster = Cluster(3, seed=7)
    cluster.wait_for_leader()
    cluster.crash(cluster.leader)
    cluster.run(0.5)
    return cluster


# There and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_200_verbs_of_a_panel_fit_into_1500_characters(seed):
    cluster = panel(seed)
    assert len(cluster._done) == 200
    code = cluster.code()
    print(f"python -m tests.sim.hands {seed}: {len(code)} characters for 200 verbs")
    assert len(code) <= 1500
    assert set(code) <= set(LETTERS) and code.startswith("kv1-")
    twin = Cluster.from_code(code)
    assert twin.journal() == cluster.journal() and lines(twin) == lines(cluster)


@pytest.mark.parametrize("seed", range(20, 28))
def test_whatever_a_program_does_comes_back(seed):
    cluster = program(seed)
    code = cluster.code()
    twin = Cluster.from_code(code)
    assert twin.journal() == cluster.journal(), f"replay: program({seed}).code()"
    assert lines(twin) == lines(cluster) and twin.code() == code
    assert twin.client().name == cluster.client().name


def test_a_busy_life_with_times_of_all_kinds():
    cluster = busy(2, 6)
    assert lines(Cluster.from_code(cluster.code())) == lines(cluster)


@pytest.mark.parametrize("steps", range(12))
def test_hands_between_things_of_one_instant(steps):
    """With links and disks of one speed many things have the same time, and a hand comes between:
    its time does not tell between which."""
    cluster = Cluster(5, seed=1, links=Links(0.004), fsync_s=0.001)
    cluster.run_until(lambda c: len(c.in_flight) >= 4)
    for _ in range(steps):
        cluster.step()
    for packet in cluster.in_flight[:2]:
        cluster.duplicate(packet)
    cluster.isolate("n2")
    cluster.step()
    cluster.heal()
    assert lines(Cluster.from_code(cluster.code())) == lines(cluster)


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"size": 1, "seed": -5},
        {"seed": 2**80, "fsync_s": 0.1 / 3, "invariants": False},
        {"seed": "a text", "links": Links((0, 0.1), 0.25, 1 / 3, 1)},
        {"config": RaftConfig.paper(max_drift=0.2), "store": StoreConfig(sync_s=1 / 3)},
        {"config": RaftConfig.etcd(tick_s=0.05, lease_reads=True, check_quorum=True)},
        {"config": RaftConfig(), "store": StoreConfig(min_ttl_s=1, compact_behind=5)},
    ],
    ids=str,
)
def test_whatever_it_was_made_with(made):
    cluster = Cluster(**made)
    cluster.run(1 / 3)
    twin = Cluster.from_code(cluster.code())
    assert twin.journal() == cluster.journal() and lines(twin) == lines(cluster)
    assert repr(twin.journal().made_with) == repr(cluster.journal().made_with), "1 is not 1.0"


def test_a_code_is_opened_at_the_same_moment_and_goes_on_alike():
    cluster = short()
    twin = Cluster.from_code("\n " + cluster.code() + " \n")  # as a mail may give it
    assert repr(twin.in_flight) == repr(cluster.in_flight)
    for one in (cluster, twin):
        one.client().put("k", "v")
        one.run(1)
    assert lines(twin) == lines(cluster)


# Refused --------------------------------------------------------------------------------------


def test_every_mistyped_character_is_refused():
    code = short().code()
    for place in range(len(code)):
        for letter in LETTERS + "=+/ .é":
            if letter != code[place]:
                with pytest.raises(ValueError, match="kv1-|mistyped"):
                    Cluster.from_code(code[:place] + letter + code[place + 1 :])


def test_every_place_of_a_long_code_counts():
    code = panel(1).code()
    rng = Random(1)
    for place in range(len(code)):
        letter = rng.choice([letter for letter in LETTERS if letter != code[place]])
        for wrong in (
            code[:place] + letter + code[place + 1 :],
            code[:place],
            code[:place] + code[place + 1 :],
            code[:place] + letter + code[place:],
        ):
            with pytest.raises(ValueError, match="kv1-|mistyped|no code"):
                Cluster.from_code(wrong)
        twisted = code[:place] + code[place : place + 2][::-1] + code[place + 2 :]
        if twisted != code:
            with pytest.raises(ValueError):
                Cluster.from_code(twisted)


@pytest.mark.parametrize("wrong", ["", "kv1", "hello", "https://x", "kv-AAAA", None, 7, b"kv1-"])
def test_what_is_no_code(wrong):
    with pytest.raises(ValueError, match="no code of a run: one begins with kv1-"):
        Cluster.from_code(wrong)


def test_a_code_of_another_version():
    code = short().code()
    with pytest.raises(ValueError, match="form 'kv2', and this version of kvlearn reads 'kv1'"):
        Cluster.from_code(code.replace("kv1-", "kv2-"))


def forged(body: bytes) -> str:
    """A code with a right check."""
    return sharing.PREFIX + sharing._text(crc32(body).to_bytes(4, "big") + body)


def test_a_run_that_comes_out_another_is_refused(monkeypatch):
    code = short().code()
    body = sharing._checked(code)
    assert forged(body) == code
    with pytest.raises(ValueError, match="comes out another here; open it with the version"):
        Cluster.from_code(forged(bytes([body[0] ^ 1]) + body[1:]))
    monkeypatch.setattr(Raft, "may_vote_for", lambda self, *_: False)
    with pytest.raises(ValueError, match="comes out another|cannot be lived here"):
        Cluster.from_code(code)


@pytest.mark.parametrize("seed", range(12))
def test_noise_with_a_right_check_is_refused_in_time(seed, monkeypatch):
    monkeypatch.setattr(sharing, "MOST_THINGS", 2000)
    noise = Random(seed).randbytes(40)
    with pytest.raises(ValueError, match="of this code c"):
        Cluster.from_code(forged(noise)), f"replay: forged(Random({seed}).randbytes(40))"


def test_what_a_code_cannot_tell_is_refused():
    class Mine(Raft):
        pass

    class MyHub(WatchHub):
        pass

    class MyLessor(Lessor):
        pass

    for parts in (
        {"raft": Mine},
        {"raft": {"n3": Mine}},
        {"store": StoreConfig(hub=MyHub)},
        {"store": StoreConfig(lessor=MyLessor)},
    ):
        with pytest.raises(ValueError, match="is a class of your own.*VotesTwice|Hub|Lessor"):
            Cluster(3, seed=1, **parts).code()
    VotesTwice = type("VotesTwice", (Raft,), {})
    with pytest.raises(ValueError, match="VotesTwice is a class of your own"):
        Cluster(3, seed=1, raft=VotesTwice).code()  # it only bears the name of a known one
    cluster = Cluster(3, seed=1)
    cluster.submit(Put(b"k", b"v" * 1001))
    with pytest.raises(ValueError, match=r"1,001 bytes.*too long for a code.*save\(path\)"):
        cluster.code()


def test_a_code_that_would_be_too_long_is_refused(monkeypatch):
    cluster = Cluster(3, seed=1)
    rng = Random(1)
    for _ in range(10):
        cluster.submit(Put(rng.randbytes(900), rng.randbytes(900)))
    with pytest.raises(ValueError, match=r"characters, and 8,000 are the most; cluster.save"):
        cluster.code()
    monkeypatch.setattr(sharing, "MOST_THINGS", 50)
    with pytest.raises(ValueError, match=r"more than 50 things happen"):
        cluster = Cluster(3, seed=1)
        cluster.run(10)
        cluster.code()


def test_a_run_that_no_verb_explains_is_refused():
    cluster = Cluster(3, seed=1)
    cluster.run(1)
    cluster._network.links.loss = 0.9  # behind everybody's back
    cluster.run(3)
    with pytest.raises(ValueError):
        cluster.code()


# What codes are made of -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_numbers_come_back_from_few_bits(seed):
    rng = Random(seed)
    told = [(rng.choice("ab"), rng.randrange(1 << rng.randrange(1, 126))) for _ in range(seed * 2)]
    writer = Writer()
    for context, n in told:
        number(writer, context, n)
        symbol(writer, context, 3, n % 8)
    reader = Reader(writer.finish())
    for context, n in told:
        assert number(reader, context) == n and symbol(reader, context, 3) == n % 8, seed


def test_what_is_expected_takes_next_to_nothing():
    writer = Writer()
    for _ in range(1000):
        number(writer, "same", 12345)
    assert len(writer.finish()) < 1000 * 2
    writer = Writer()
    for _ in range(1000):
        symbol(writer, "same", 8, 200)
    assert len(writer.finish()) < 20


def test_values_come_back_with_their_types():
    nested = Txn((Compare(b"k", operand=0), Compare(b"k", "value", "less", b"")), (), (Txn(),))
    things = (
        *(None, True, False, 0, 1, 1.0, 0.0, -0.0, -3, 2**63, 1e-300, 0.1, 1 / 3, float("inf")),
        *("", "n1", "é\ud800", b"", b"\xff\0", (), (1, (2.5, "x")), "n1", b"\xff\0", 2**63, 1 / 3),
        *(Range(b"a", limit=-1), DeleteRange(b"a", b"\0"), nested, Put(b"k", lease=2**62), nested),
    )
    writer = Writer()
    told = Told(writer)
    for thing in things:
        told.thing("x", thing)
    told = Told(Reader(writer.finish()))
    back = [told.thing("x") for _ in things]
    assert list(map(repr, back)) == list(map(repr, things))
    with pytest.raises(ValueError, match="cannot tell .*set"):
        Told(Writer()).thing("x", {1})
    with pytest.raises(ValueError, match="numbers from 0 to"):
        Told(Writer()).thing("x", 2**126)


def test_every_request_has_a_word_and_every_verb_a_name():
    assert set(WORDS) >= {*REQUESTS, WatchCreate, WatchCancel, WatchProgress, Compare}
    assert len(WORDS) < 1 << 5 and len(sharing.NAMES) <= 1 << sharing.VERB_BITS
    done = {verb[2] for seed in range(36) for verb in program(seed, 40)._done}
    assert done <= set(sharing.VERBS)


def test_words_and_verbs_keep_their_places():
    """Codes that were handed out tell places in these lists: a change of order is a new VERSION."""
    assert sharing.VERSION == 1
    assert " ".join(sharing.NAMES) == (
        "crash restart pause resume isolate campaign drop deliver duplicate delay partition heal "
        "ask give_up cut links wipe compact forget_leader set_rate set_fsync add_node open_stream "
        "ask_stream close_stream hold_stream unkeep keep pause_client resume_client end_client "
    )
    assert " ".join(word.__name__ for word in WORDS) == (
        "Put Range DeleteRange Txn Compare WatchCreate WatchCancel WatchProgress LeaseGrant "
        "LeaseRevoke LeaseKeepAlive LeaseTimeToLive LeaseLeases Compact MemberList MemberAdd "
        "MemberRemove MemberPromote MemberChange MoveLeader Status HashKV Defragment "
        "SnapshotState Alarm"
    )
