"""The client: what it may repeat, whom it asks, what it raises and what it gives back."""

import pytest

from kvlearn import Cluster, Links, RaftConfig, errors
from kvlearn.client import RETRY_S, Client
from kvlearn.errors import (
    EmptyKey,
    FutureRevision,
    InvalidArgument,
    InvalidSortOption,
    KeyNotFound,
    LeaseNotFound,
    LeaseProvided,
    NoLeader,
    RequestError,
    Stopped,
    TimedOut,
    Unavailable,
    ValueProvided,
)
from kvlearn.events import Applied, Invoked, Returned
from kvlearn.kv.members import MoveLeader
from kvlearn.kv.requests import (
    Answer,
    Command,
    DeleteRange,
    Header,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from kvlearn.words import interval_of


class Script:
    """A channel that plays a part: what each try gives back, and what it was asked."""

    def __init__(self, *acts, endpoints=("a", "b", "c")):
        self.acts = list(acts)
        self.endpoints = endpoints
        self.try_s = 1.0
        self.asked: list = []
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def call(self, endpoint, request, timeout_s) -> Answer:
        self.asked.append((endpoint, request, timeout_s))
        act = self.acts.pop(0) if self.acts else "ok"
        if act == "hang":
            self.time += timeout_s
            raise TimedOut()
        if isinstance(act, Exception):
            raise act
        result = RangeResult() if isinstance(request, Range) else PutResult()
        return Answer(1, Header(revision=7), result)

    @property
    def endpoints_asked(self) -> list[str]:
        return [endpoint for endpoint, *_ in self.asked]


# Who is asked, and what is repeated ---------------------------------------------------------


def test_a_client_keeps_to_an_endpoint_that_answers():
    script = Script()
    client = Client(script)
    for _ in range(5):
        client.put("k", "v")
    assert script.endpoints_asked == ["a"] * 5


@pytest.mark.parametrize("error", [NoLeader(), Stopped(), Unavailable()])
@pytest.mark.parametrize("call", ["put", "get", "delete"])
def test_where_nothing_was_done_the_next_is_asked(error, call):
    script = Script(error, error)
    client = Client(script)
    client.put("k", "v") if call == "put" else getattr(client, call)("k")
    assert script.endpoints_asked == ["a", "b", "c"]
    client.get("k")
    assert script.endpoints_asked[-1] == "c", "and it stays there"


def test_after_a_whole_round_it_waits_a_little():
    script = Script(*[NoLeader()] * 7)
    Client(script).put("k", "v")
    assert script.time == pytest.approx(2 * RETRY_S)
    assert len(script.asked) == 8


def test_a_client_of_one_node_asks_only_that_one_and_waits_between():
    script = Script(*[NoLeader()] * 3, endpoints=("a",))
    Client(script).put("k", "v")
    assert script.endpoints_asked == ["a"] * 4 and script.time == pytest.approx(3 * RETRY_S)


@pytest.mark.parametrize("call", ["put", "delete"])
def test_a_write_without_an_answer_is_never_repeated(call):
    script = Script("hang")
    client = Client(script, timeout_s=2.0)
    with pytest.raises(TimedOut):
        client.put("k", "v") if call == "put" else client.delete("k")
    assert len(script.asked) == 1 and script.time == 2.0


def test_after_such_a_write_the_next_call_asks_somebody_else():
    script = Script("hang")
    client = Client(script)
    with pytest.raises(TimedOut):
        client.put("k", "v")
    client.put("k", "v")
    assert script.endpoints_asked == ["a", "b"]


def test_a_read_without_an_answer_is_asked_elsewhere():
    script = Script("hang", "hang")
    assert Client(script, timeout_s=5.0).get("k").count == 0
    assert script.endpoints_asked == ["a", "b", "c"]
    assert script.time == pytest.approx(2.0), "a second each"


@pytest.mark.parametrize("timeout_s", [0.3, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("call", ["put", "get"])
@pytest.mark.parametrize("act", ["hang", "refuse"])
def test_it_gives_up_in_time(timeout_s, call, act):
    script = Script(*(["hang"] if act == "hang" else [NoLeader()]) * 1000)
    client = Client(script, timeout_s)
    with pytest.raises(TimedOut if act == "hang" else NoLeader):
        client.put("k", "v") if call == "put" else client.get("k")
    assert timeout_s - 2 * RETRY_S <= script.time <= timeout_s + 1e-9


@pytest.mark.parametrize("error", [EmptyKey(), FutureRevision(), LeaseNotFound()])
def test_a_refusal_is_not_repeated(error):
    script = Script(error)
    with pytest.raises(type(error)):
        Client(script).get("k")
    assert len(script.asked) == 1


def test_the_requests_are_etcds():
    script = Script()
    client = Client(script)
    client.put("k", "v", lease=5, prev_kv=True)
    client.put("k", b"", ignore_value=True)
    client.get("a", "c", limit=3, revision=9, sort="mod", descending=True, keys_only=True)
    client.get("a", prefix=True, serializable=True, min_mod_revision=2, max_create_revision=8)
    client.get("", prefix=True)
    client.get("m", from_key=True, descending=False, count_only=True)
    client.delete("a", prefix=True, prev_kv=True)
    assert [request for _, request, _ in script.asked] == [
        Put(b"k", b"v", 5, True),
        Put(b"k", b"", ignore_value=True),
        Range(b"a", b"c", 3, 9, "descend", "mod", keys_only=True),
        Range(b"a", b"b", serializable=True, min_mod_revision=2, max_create_revision=8),
        Range(b"\0", b"\0"),
        Range(b"m", b"\0", sort_order="ascend", count_only=True),
        DeleteRange(b"a", b"b", True),
    ]


@pytest.mark.parametrize(
    "about",
    [
        {"range_end": "b", "prefix": True},
        {"range_end": "b", "from_key": True},
        {"prefix": True, "from_key": True},
        {"range_end": "", "prefix": True},
    ],
)
def test_intervals_exclude_each_other(about):
    client = Client(Script())
    for call in (client.get, client.delete):
        with pytest.raises(ValueError, match="exclude each other"):
            call("a", **about)


@pytest.mark.parametrize(
    "given, interval",
    [
        (("a", None, False, False), (b"a", b"")),
        (("a", "c", False, False), (b"a", b"c")),
        (("ab", None, True, False), (b"ab", b"ac")),
        (("a", None, False, True), (b"a", b"\0")),
        (("", None, False, True), (b"\0", b"\0")),
        (("ä", None, False, False), ("ä".encode(), b"")),
        ((b"\xff", None, True, False), (b"\xff", b"\0")),
    ],
)
def test_interval_of(given, interval):
    assert interval_of(*given) == interval


@pytest.mark.parametrize("bad", [5, 1.5, None, ["a"]])
def test_keys_and_values_are_text_or_bytes(bad):
    script = Script()
    client = Client(script)
    for call in (
        lambda: client.put("k", bad),
        lambda: client.put(bad, "v"),
        lambda: client.get(bad),
        lambda: client.delete(bad),
    ):
        with pytest.raises(TypeError, match="keys and values are str or bytes, not"):
            call()
    assert script.asked == []


# In a cluster -------------------------------------------------------------------------------


def led(size: int = 3, seed: int = 1, **about) -> tuple[Cluster, str, list[str]]:
    cluster = Cluster(size, seed=seed, **about)
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    return cluster, leader, [name for name in cluster.nodes if name != leader]


def applied(cluster: Cluster, name: str) -> list[str]:
    """The writes that a node carried out, in order."""
    return [str(r.event.command) for r in cluster.trace.of(Applied, node=name) if r.event.command]


def test_what_a_put_a_get_and_a_delete_give_back():
    cluster, leader, _ = led()
    client = cluster.client()
    put = client.put("k", "v")
    assert put.header.revision == 2 and put.prev_kv is None
    assert put.header.raft_term == 1 and put.header.cluster_id and put.header.member_id
    again = client.put("k", "w", prev_kv=True)
    assert (again.prev_kv.value, again.prev_kv.version) == (b"v", 1)
    got = client.get("k")
    assert (got.value, got.text, got.count, got.more) == (b"w", "w", 1, False)
    assert (got.kv.create_revision, got.kv.mod_revision, got.kv.version) == (2, 3, 2)
    gone = client.delete("k", prev_kv=True)
    assert gone.deleted == 1 and gone.prev_kvs == (got.kv,)
    nothing = client.get("k")
    assert (nothing.value, nothing.text, nothing.kv, nothing.kvs) == (None, None, None, ())
    assert nothing.header.revision == 4 and client.get("k", revision=2).text == "v"


def test_replies_show_themselves():
    cluster, *_ = led()
    client = cluster.client()
    assert repr(client.put("k", "<b>")) == "<ok at revision 2>"
    assert repr(client.get("k")) == "<k=<b> at revision 2>"
    assert "&lt;b&gt;" in client.get("k")._repr_html_()
    assert client.put("k", "v")._repr_html_() == "<code>ok at revision 3</code>"
    assert repr(client) == "<Client of n1, n2, n3>"
    assert repr(cluster.client("n2")) == "<Client of n2>"


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda c: c.put("", "v"), EmptyKey),
        (lambda c: c.get(""), EmptyKey),
        (lambda c: c.get("", "z"), EmptyKey),
        (lambda c: c.delete(""), EmptyKey),
        (lambda c: c.get("k", revision=99), FutureRevision),
        (lambda c: c.get("k", revision=99, serializable=True), FutureRevision),
        (lambda c: c.get("k", sort="colour"), InvalidSortOption),
        (lambda c: c.put("k", "v", ignore_value=True), ValueProvided),
        (lambda c: c.put("k", "v", lease=1, ignore_lease=True), LeaseProvided),
        (lambda c: c.put("none", "", ignore_value=True), KeyNotFound),
        (lambda c: c.put("none", "v", ignore_lease=True), KeyNotFound),
        (lambda c: c.put("k", "v", lease=77), LeaseNotFound),
    ],
)
@pytest.mark.parametrize("through", ["leader", "follower"])
def test_refusals_have_their_types_and_change_nothing(call, error, through):
    cluster, leader, (follower, _) = led()
    client = cluster.client(leader if through == "leader" else follower)
    client.put("k", "v")
    with pytest.raises(error) as caught:
        call(client)
    assert isinstance(caught.value, RequestError) and str(caught.value).startswith("etcdserver: ")
    assert client.get("k").header.revision == 2


def test_through_any_node_the_whole_cluster_answers():
    cluster, *_ = led(5)
    for k, name in enumerate(cluster.nodes):
        cluster.client(name).put(f"k{k}", name)
    for name in cluster.nodes:
        assert cluster.client(name).get("k", prefix=True).count == 5


def test_a_client_finds_a_node_that_serves():
    cluster, leader, (one, two) = led()
    cluster.crash("n1")
    client = cluster.client()  # begins with n1
    client.put("k", "v")
    assert client.get("k").text == "v"


def test_a_pinned_client_does_not_wander():
    cluster, leader, (follower, _) = led()
    client = cluster.client(follower, timeout_s=2.0)
    cluster.crash(follower)
    with pytest.raises(Stopped, match=f"{follower} is down; ask another node"):
        client.put("k", "v")
    assert {r.event.node for r in cluster.trace.of(Invoked)} == {follower}
    cluster.restart(follower)
    client.put("k", "v")
    with pytest.raises(ValueError, match="there is no node 'n9'"):
        cluster.client("n9")


def test_a_call_waits_through_an_election():
    cluster, leader, _ = led()
    cluster.crash(leader)
    before = cluster.now
    cluster.client().put("k", "v")
    assert 0.5 < cluster.now - before < 5


@pytest.mark.parametrize("seed", range(6))
def test_a_leader_killed_in_the_middle_of_a_put(seed):
    """The client learns that the outcome is not known; the write is there once or not at all."""
    cluster, leader, _ = led(seed=seed)
    op_id = cluster.submit(Put(b"k", b"v"), leader, "c1")
    cluster.run(0.001 * seed)
    cluster.crash(leader)
    operation = cluster.operation(op_id)
    if operation.error is not None:
        assert isinstance(operation.error, TimedOut)
        assert f"{leader} crashed before it answered" in str(operation.error)
        assert "whether it was carried out is not known" in str(operation.error)
        assert [r.event.unknown for r in cluster.trace.of(Returned)] == [True]
    new = cluster.wait_for_leader()
    kv = cluster.client(new).get("k").kv
    assert kv is None or kv.version == 1
    assert operation.error is not None or kv is not None


def test_a_put_on_the_minority_side_is_of_unknown_outcome():
    cluster, leader, (one, two) = led()
    cluster.isolate(leader)
    client = cluster.client(leader, timeout_s=2.0)
    before = cluster.now
    with pytest.raises(TimedOut, match="whether it was carried out is not known"):
        client.put("k", "lost")
    assert cluster.now - before == pytest.approx(2.0, abs=0.01)
    cluster.heal()
    cluster.client(cluster.wait_for_leader()).put("k", "kept")
    cluster.run(2)
    assert applied(cluster, leader) == ["put k=kept"], "this one was lost"


def test_a_put_that_the_leader_refuses_through_a_follower_is_told_why():
    """And at once: the refusal comes back on the way of the request."""
    cluster, leader, (follower, other) = led()
    cluster.crash(other)
    cluster.submit(MoveLeader(other), leader)
    cluster.run(0.05)
    asked = cluster.submit(Put(b"k", b"v"), follower)
    cluster.run(0.05)
    [answer] = [r.event for r in cluster.trace.of(Returned) if r.event.op_id == asked]
    assert answer.error and f"leadership is on its way to {other}" in str(answer)


def test_a_client_of_all_nodes_leaves_a_minority_after_one_lost_put():
    cluster, leader, _ = led(5, config=RaftConfig())  # it goes on leading
    minority = cluster.client(timeout_s=2.0)
    minority._turn = list(cluster.nodes).index(leader)
    cluster.isolate(leader)
    cluster.run(3)
    with pytest.raises(TimedOut):
        minority.put("k", "lost")
    minority.put("k", "kept")
    assert minority.get("k").text == "kept"


@pytest.mark.parametrize("seed", range(8))
def test_no_write_is_carried_out_twice(seed):
    """Loss, duplicates, reordering, crashes, retries: each value is applied at most once, and
    exactly once if its put was acknowledged."""
    cluster = Cluster(
        5, seed=seed, links=Links(loss=0.05, duplicate=0.2, reorder=0.2, latency_s=(0.001, 0.05))
    )
    client = cluster.client(timeout_s=2.0)
    acknowledged = []
    for k in range(24):
        victim = f"n{k % 5 + 1}"
        if k % 4 == 1:
            cluster.crash(victim)
        if k % 4 == 3 and not cluster.nodes[f"n{(k - 2) % 5 + 1}"].alive:
            cluster.restart(f"n{(k - 2) % 5 + 1}")
        try:
            client.put("k", f"{k}")
        except RequestError:
            continue
        acknowledged.append(f"put k={k}")
    for name, node in cluster.nodes.items():
        if not node.alive:
            cluster.restart(name)
    cluster.links.loss = 0.0
    cluster.run(10)
    [log] = {tuple(node.log) for node in cluster.nodes.values()}
    writes = [str(entry.data) for entry in log if entry.data is not None]
    assert len(writes) == len(set(writes)), "a write stands twice in the log"
    assert set(acknowledged) <= set(writes) and len(acknowledged) >= 12


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda c: c.call(Put(b"k", b"v", "x")), "lease is int, not 'x'"),
        (lambda c: c.call(Put(b"k", b"v", 0.5)), "lease is int, not 0.5"),
        (lambda c: c.get("k", limit="x"), "limit is int, not 'x'"),
        (lambda c: c.get("k", revision=2.5), "revision is int, not 2.5"),
        (lambda c: c.get("k", min_mod_revision=None), "min_mod_revision is int, not None"),
        (lambda c: c.get("k", sort=["mod"]), "sort_target is str, not"),
        (lambda c: c.reconfigure(add="n4"), "are lists of names, like"),
        (lambda c: c.reconfigure(add=[["n4"]]), "name each node once"),
        (lambda c: c.add_member(["n4"]), "name each node once"),
    ],
)
@pytest.mark.parametrize("through", ["leader", "follower"])
def test_an_argument_of_a_wrong_type_harms_nobody(call, words, through):
    """It does not get into the log, where every node would stumble over it."""
    cluster, leader, (follower, _) = led()
    client = cluster.client(leader if through == "leader" else follower)
    with pytest.raises(InvalidArgument, match=words):
        call(client)
    assert client.put("k", "v").header.revision == 2
    assert {len(node.log) for node in cluster.nodes.values()} <= {1, 2}


@pytest.mark.parametrize(
    "poison", [Put("k", "v"), Put(b"k", "v"), Put(b"k", b"v", "x"), DeleteRange("k")], ids=repr
)
def test_a_poisoned_request_is_refused_by_whoever_gets_it(poison):
    """At the door; and by every node alike, if a faulty one let it into the log."""
    cluster, leader, _ = led()
    operation = cluster.operation(cluster.submit(poison, leader))
    assert isinstance(operation.error, InvalidArgument)
    cluster._hosts[leader].node.raft.propose(Command(leader, 99, poison))
    cluster.client(leader).put("k", "v")
    cluster.run(1)
    assert {node.revision for node in cluster.nodes.values()} == {2}
    refused = [r.event.error for r in cluster.trace.of(Applied) if r.event.error]
    assert refused == ["etcdserver: invalid argument"] * 3


@pytest.mark.parametrize("timeout_s", [-1, float("nan")])
def test_a_client_waits_a_number_of_seconds(timeout_s):
    with pytest.raises(ValueError, match="timeout_s is a number of seconds from 0 on"):
        Cluster(3).client(timeout_s=timeout_s)


# Reads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_read_through_any_node_sees_every_acknowledged_write(seed):
    cluster, *_ = led(5, seed=seed)
    writer = cluster.client()
    for k in range(6):
        revision = writer.put("k", str(k)).header.revision
        for name in cluster.nodes:
            reply = cluster.client(name).get("k")
            assert reply.text == str(k) and reply.header.revision >= revision


def test_a_read_on_the_minority_side_times_out_and_a_serializable_one_is_served():
    cluster, leader, (one, two, *_) = led(5)
    cluster.client(leader).put("k", "old")
    cluster.run(0.5)
    cluster.partition([leader, one])
    rest = cluster.client(two)
    cluster.run(3)
    rest.put("k", "new")
    for name in (leader, one):
        minority = cluster.client(name, timeout_s=2.0)
        with pytest.raises((TimedOut, NoLeader)):
            minority.get("k")
        assert minority.get("k", serializable=True).text == "old", "stale, and served"
    cluster.heal()
    cluster.run(2)
    assert cluster.client(leader).get("k").text == "new"


def test_a_read_that_got_no_answer_finds_another_node():
    cluster, leader, (one, two) = led()
    cluster.client(leader).put("k", "v")
    cluster.isolate("n1")
    cluster.run(3)
    client = cluster.client()  # begins with n1
    assert client.get("k").text == "v"
    assert {r.event.node for r in cluster.trace.of(Invoked)} >= {"n1", "n2"}


def test_an_old_leader_serves_no_stale_read():
    cluster, old, others = led(3, config=RaftConfig())
    cluster.client(old).put("k", "old")
    cluster.isolate(old)
    new = None
    while new in (None, old):
        cluster.run(0.5)
        new = cluster.leader
    cluster.client(new).put("k", "new")
    assert cluster.nodes[old].role == "leader", "it does not know yet"
    with pytest.raises(TimedOut):
        cluster.client(old, timeout_s=3.0).get("k")


# History ------------------------------------------------------------------------------------


def test_the_history_of_a_key_that_died_and_came_back():
    cluster, *_ = led()
    client = cluster.client()
    client.put("k", "1"), client.put("other", "x"), client.put("k", "2")
    client.delete("k")
    client.put("other", "y"), client.put("k", "3"), client.put("k", "4")
    frame = client.history("k")
    assert list(frame.index) == [2, 4, 7, 8] and frame.index.name == "mod_revision"
    assert list(frame["value"]) == ["1", "2", "3", "4"]
    assert list(frame["version"]) == [1, 2, 1, 2]
    assert list(frame["create_revision"]) == [2, 2, 7, 7]


def test_the_history_of_a_deleted_and_of_an_unknown_key():
    cluster, *_ = led()
    client = cluster.client()
    client.put("k", "1"), client.delete("k")
    assert list(client.history("k")["value"]) == ["1"]
    frame = client.history("never")
    assert len(frame) == 0 and list(frame.columns) == ["version", "create_revision", "value"]


def test_errors_carry_etcds_codes():
    table = {
        "EmptyKey": ("INVALID_ARGUMENT", "etcdserver: key is not provided"),
        "KeyNotFound": ("INVALID_ARGUMENT", "etcdserver: key not found"),
        "FutureRevision": (
            "OUT_OF_RANGE",
            "etcdserver: mvcc: required revision is a future revision",
        ),
        "LeaseNotFound": ("NOT_FOUND", "etcdserver: requested lease not found"),
        "NoLeader": ("UNAVAILABLE", "etcdserver: no leader"),
        "TimedOut": ("UNAVAILABLE", "etcdserver: request timed out"),
    }
    for name, (code, text) in table.items():
        error = vars(errors)[name]()
        assert (error.code, error.text, str(error)) == (code, text, text)
        back = errors.request_error(name, text, "why")
        assert type(back) is type(error) and str(back) == f"{text} (why)"
    assert type(errors.request_error("NoSuchThing", "x")) is RequestError
    assert errors.NoLeader() == errors.NoLeader() != errors.NoLeader(hint="n1")


@pytest.mark.parametrize("lease", ["x", 0.5, True])
def test_a_lease_is_a_lease_or_its_id(lease):
    with pytest.raises(TypeError, match="a lease is what client.lease"):
        Cluster(3, seed=1).client().put("k", "v", lease=lease)
