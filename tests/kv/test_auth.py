"""Users, roles and permissions: etcd's texts, who may do what, and that all nodes agree."""

from __future__ import annotations

import json
import random

import pytest

from kvlearn import errors
from kvlearn.errors import RequestError
from kvlearn.kv.auth import (
    KINDS, LOGGED, NEEDS_ROOT, READ, READWRITE, ROOT, TOKEN_TTL_S, WRITE, Auth, AuthDisable,
    AuthEnable, Authenticate, AuthStatus, NamesResult, Permission, RoleAdd, RoleDelete, RoleGet,
    RoleGrantPermission, RoleList, RoleResult, RoleRevokePermission, Tokens, UserAdd,
    UserChangePassword, UserDelete, UserGet, UserGrantRole, UserList, UserRevokeRole,
)  # fmt: skip
from kvlearn.kv.directory import MemberUpdate
from kvlearn.kv.leases import (
    Compact, LeaseCheckpoint, LeaseGrant, LeaseKeepAlive, LeaseLeases, LeaseRevoke, LeaseTimeToLive
)  # fmt: skip
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.members import MemberAdd, MemberList, MemberPromote, MemberRemove, MoveLeader
from kvlearn.kv.requests import FROM_KEY, Command, DeleteRange, Put, Range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.upkeep import Alarm, Defragment, HashKV, SnapshotState, Status
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.node import Node
from kvlearn.values import from_json, to_json
from tests.raft.net import CALM, voters

PRECONDITION, INVALID = "FAILED_PRECONDITION", "INVALID_ARGUMENT"
NO_USER = PRECONDITION, "etcdserver: user name not found"
NO_ROLE = PRECONDITION, "etcdserver: role name not found"
NOBODY = INVALID, "etcdserver: user name is empty"
DENIED = "PERMISSION_DENIED", "etcdserver: permission denied"
STRANGE = INVALID, "etcdserver: invalid argument"
NO_KEYS = INVALID, "etcdserver: invalid auth management"


class Driver:
    """A machine whose log is what is asked of it, by whom."""

    def __init__(self, backend=None):
        self.machine = KVMachine(backend or MemoryBackend())

    def __call__(self, request, user: str = ""):
        machine = self.machine
        index = machine.applied + 1
        result, error = machine.apply(index, 1, Command("n1", index, request, user))
        if error is not None:
            raise error
        return result

    def refusal(self, request, user: str = "") -> tuple[str, str] | None:
        """Code and text with which it is refused, which changes nothing; None: it is not."""
        before = self.machine.save()[1:]  # all but the index
        try:
            self(request, user)
        except RequestError as error:
            assert self.machine.save()[1:] == before, "a refused request changed something"
            return error.code, error.text
        return None


def driver(*requests) -> Driver:
    do = Driver()
    for request in requests:
        do(request)
    return do


# root, and ann who may read [a, c), do both to [m, n) and write z; bob who may nothing
PEOPLE = (
    *(UserAdd("root", "#r"), UserGrantRole("root", "root")),
    *(UserAdd("ann", "#a"), UserAdd("bob", "#b"), RoleAdd("lower"), RoleAdd("middle")),
    *(
        RoleGrantPermission("lower", b"a", b"c", READ),
        RoleGrantPermission("lower", b"z", b"", WRITE),
    ),
    RoleGrantPermission("middle", b"m", b"n", READWRITE),
    *(UserGrantRole("ann", "middle"), UserGrantRole("ann", "lower")),
)


@pytest.fixture
def do() -> Driver:
    """Authentication is on; b and x are there, and so are the leases 7 (of x) and 8 (of m)."""
    before = *PEOPLE, LeaseGrant(100, 7), LeaseGrant(100, 8), Put(b"b", b"1")
    return driver(*before, Put(b"x", b"1", lease=7), Put(b"m", b"1", lease=8), AuthEnable())


# What changes users and roles --------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "request_", "refusal"),
    [
        ((), AuthEnable(), (PRECONDITION, "etcdserver: root user does not exist")),
        (
            (UserAdd("root"),),
            AuthEnable(),
            (PRECONDITION, "etcdserver: root user does not have root role"),
        ),
        ((), Authenticate("a", "t", "#"), (PRECONDITION, errors.AuthNotEnabled.text)),
        ((), UserAdd(""), NOBODY),
        ((UserAdd("a"),), UserAdd("a"), (PRECONDITION, "etcdserver: user name already exists")),
        ((), UserDelete("a"), NO_USER),
        ((), UserGet("a"), NO_USER),
        ((), UserChangePassword("a", "#"), NO_USER),
        ((RoleAdd("r"),), UserGrantRole("a", "r"), NO_USER),
        ((UserAdd("a"),), UserGrantRole("a", "r"), NO_ROLE),
        ((RoleAdd("r"),), UserRevokeRole("a", "r"), NO_USER),
        (
            (UserAdd("a"),),
            UserRevokeRole("a", "r"),
            (PRECONDITION, "etcdserver: role is not granted to the user"),
        ),
        ((), RoleAdd(""), (INVALID, "etcdserver: role name is empty")),
        ((RoleAdd("r"),), RoleAdd("r"), (PRECONDITION, "etcdserver: role name already exists")),
        ((), RoleGet("r"), NO_ROLE),
        ((), RoleGet("root"), NO_ROLE),
        ((), RoleDelete("r"), NO_ROLE),
        ((), RoleGrantPermission("r", b"a"), NO_ROLE),
        ((), RoleRevokePermission("r", b"a"), NO_ROLE),
        (
            (RoleAdd("r"), RoleGrantPermission("r", b"a", b"c")),
            RoleRevokePermission("r", b"a", b"b"),
            (PRECONDITION, "etcdserver: permission is not granted to the role"),
        ),
        ((RoleAdd("r"),), RoleGrantPermission("r", b""), NO_KEYS),
        ((RoleAdd("r"),), RoleGrantPermission("r", b"", FROM_KEY), NO_KEYS),
        ((RoleAdd("r"),), RoleGrantPermission("r", b"b", b"a"), NO_KEYS),
        ((RoleAdd("r"),), RoleGrantPermission("r", b"b", b"b"), NO_KEYS),
        ((RoleAdd("r"),), RoleGrantPermission("r", b"b", b"", "ALL"), STRANGE),
        ((), UserAdd(b"a"), STRANGE),
        ((), UserGrantRole("a", None), STRANGE),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_etcd_s_words(before, request_, refusal):
    assert driver(*before).refusal(request_) == refusal


@pytest.mark.parametrize(
    "request_", [UserDelete("root"), RoleDelete("root"), UserRevokeRole("root", "root")]
)
def test_somebody_stays_root_while_it_is_on(request_):
    do = driver(RoleAdd("root"), *PEOPLE, AuthEnable())
    assert do.refusal(request_, "root") == (INVALID, "etcdserver: invalid auth management")
    do(AuthDisable(), "root")
    do(request_)


def test_names_and_permissions_are_told_in_order():
    do = driver(*PEOPLE)
    assert do(UserList()) == NamesResult(("ann", "bob", "root"))
    assert do(RoleList()) == NamesResult(("lower", "middle"))
    assert do(UserGet("ann")) == NamesResult(("lower", "middle"))
    for key in (b"q", b"b", b"d"):
        do(RoleGrantPermission("middle", key, b"", WRITE))
    kept = [one.key for one in do(RoleGet("middle")).permissions]
    assert kept == [b"b", b"d", b"m", b"q"]


def test_a_permission_granted_again_changes_its_kind_and_stays_one():
    do = driver(RoleAdd("r"))
    for kind, end in ((READ, b""), (WRITE, b"c"), (WRITE, b""), (READ, b"")):
        do(RoleGrantPermission("r", b"a", end, kind))
    assert do(RoleGet("r")) == RoleResult((Permission(b"a"), Permission(b"a", b"c", WRITE)))


def test_a_role_that_is_deleted_is_nobody_s():
    do = driver(*PEOPLE, RoleDelete("lower"))
    assert do(UserGet("ann")) == NamesResult(("middle",))
    do(RoleAdd("lower"))
    assert do(UserGet("ann")) == NamesResult(("middle",)), "another role of the same name"


def test_the_revision_counts_changes_and_nothing_else():
    do = Driver()
    counted = [do(AuthStatus()).revision]
    for request in (
        *(UserAdd("root"), UserAdd("root"), UserGrantRole("root", "root")),
        *(UserGrantRole("root", "root"), UserGet("root"), UserList(), RoleList()),
        *(AuthDisable(), AuthEnable(), AuthEnable(), AuthDisable(), AuthDisable()),
    ):
        do.refusal(request, "root")
        counted.append(do.machine.auth.revision)
    assert counted == [1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4]
    assert do.machine.revision == 1, "no revision of the store"


def test_a_user_without_a_password_has_no_hash():
    do = driver(UserAdd("n", "#", True), UserChangePassword("n", "#"))
    assert do.machine.auth.users["n"].hashed == ""


def test_a_log_cell_tells_names_and_no_hash():
    for kind in LOGGED:
        given = {"name": "ann", "role": "jobs", "hashed": "#secret", "token": "#s", "key": b"#k"}
        shown = str(kind(**{k: v for k, v in given.items() if k in kind.__slots__}))
        assert "#" not in shown and len(shown) < 48
    assert str(UserGrantRole("ann", "jobs")) == "user grant role ann jobs"


# Random histories against a model ----------------------------------------------------------


class Model:
    """Users and roles as sets of facts."""

    def __init__(self):
        self.users, self.roles, self.has, self.may = {}, set(), set(), {}
        self.enabled, self.revision = False, 1

    def __call__(self, r) -> str:
        """What is said: a word, or the name of an error."""
        said = self._do(r)
        self.revision += said == "changed"
        return said

    def _do(self, r) -> str:
        name, role = getattr(r, "name", ""), getattr(r, "role", "")
        kind = type(r).__name__
        root_at_stake = self.enabled and (
            (kind == "UserDelete" and name == ROOT)
            or (kind == "RoleDelete" and role == ROOT)
            or (kind == "UserRevokeRole" and name == role == ROOT)
        )
        if root_at_stake:
            return "InvalidAuthManagement"
        if kind in ("UserAdd", "RoleAdd"):
            known, one = (self.users, name) if kind == "UserAdd" else (self.roles, role)
            if not one:
                return "UserEmpty" if kind == "UserAdd" else "RoleEmpty"
            if one in known:
                return "UserExists" if kind == "UserAdd" else "RoleExists"
            known.update({one: r.hashed} if kind == "UserAdd" else {one})
            return "changed"
        if kind == "AuthEnable":
            if ROOT not in self.users:
                return "RootUserMissing"
            if (ROOT, ROOT) not in self.has:
                return "RootRoleMissing"
            self.enabled = True
            return "same"
        if kind == "AuthDisable":
            was, self.enabled = self.enabled, False
            return "changed" if was else "same"
        if "name" in type(r).__slots__ and name not in self.users:
            return "UserNotFound"
        if kind == "UserDelete":
            del self.users[name]
            self.has = {one for one in self.has if one[0] != name}
        elif kind == "UserChangePassword":
            self.users[name] = r.hashed
        elif kind == "UserGrantRole":
            if (name, role) in self.has:
                return "same"
            if role != ROOT and role not in self.roles:
                return "RoleNotFound"
            self.has.add((name, role))
        elif kind == "UserRevokeRole":
            if (name, role) not in self.has:
                return "RoleNotGranted"
            self.has.remove((name, role))
        elif role not in self.roles:
            return "RoleNotFound"
        elif kind == "RoleDelete":
            self.roles.remove(role)
            self.has = {one for one in self.has if one[1] != role}
            self.may = {k: v for k, v in self.may.items() if k[0] != role}
        elif kind == "RoleGrantPermission":
            self.may[role, r.key, r.range_end] = r.kind
        elif (role, r.key, r.range_end) not in self.may:
            return "PermissionNotGranted"
        else:
            del self.may[role, r.key, r.range_end]
        return "changed"

    @property
    def state(self):
        roles = {name: {r for n, r in self.has if n == name} for name in self.users}
        return self.enabled, self.revision, self.users, roles, self.roles, self.may


def state_of(auth: Auth):
    """The same facts of the real one."""
    may = {(r, *where): kind for r, held in auth.roles.items() for where, kind in held.items()}
    return (
        *(auth.enabled, auth.revision, {u.name: u.hashed for u in auth.users.values()}),
        *({u.name: set(u.roles) for u in auth.users.values()}, set(auth.roles), may),
    )


def some_interval(rng: random.Random) -> tuple[bytes, bytes]:
    key = bytes([rng.choice(b"abcdef")]) + rng.choice([b"", b"", b"\0"])
    ends = [b"", FROM_KEY, key + b"\0", *(bytes([c]) for c in b"bcdefg" if bytes([c]) > key)]
    return key, rng.choice(ends)


def some_change(rng: random.Random):
    name, role = rng.choice(["root", "ann", "bob", ""]), rng.choice(["root", "r1", "r2", ""])
    interval = some_interval(rng)
    return rng.choice([
        AuthEnable(), AuthDisable(), UserAdd(name, str(rng.random())), UserDelete(name),
        UserChangePassword(name, str(rng.random())), UserGrantRole(name, role),
        UserGrantRole(name, role), UserRevokeRole(name, role), RoleAdd(role), RoleDelete(role),
        RoleGrantPermission(role, *interval, rng.choice(KINDS)),
        RoleGrantPermission(role, *interval, rng.choice(KINDS)),
        RoleRevokePermission(role, *interval),
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_random_changes_do_what_the_model_says(seed):
    """Replay: pytest tests/kv/test_auth.py -k 'random_changes and <seed>'."""
    rng, auth, model = random.Random(seed), Auth(), Model()
    for step in range(300):
        request = some_change(rng)
        expected = model(request)
        try:
            auth.apply(request, step)
            said = expected if expected in ("same", "changed") else "nothing"
        except RequestError as error:
            said = type(error).__name__
        assert said == expected, (seed, step, request)
        assert state_of(auth) == model.state, (seed, step, request)
        if step % 20 == 0:  # as after a restart
            auth = Auth(from_json(json.loads(json.dumps(to_json(auth.save())))))


# Ranges ------------------------------------------------------------------------------------

POINTS = sorted({bytes([c]) + tail for c in b"abcdefgh" for tail in (b"", b"\0", b"\0\0", b"x")})


def meant(key: bytes, range_end: bytes) -> set[bytes]:
    """Those of the points that an interval means; what is above all of them stands for itself."""
    points = [*POINTS, b"\xff"]
    if not range_end:
        return {p for p in points if p == key}
    return {p for p in points if key <= p and (range_end == FROM_KEY or p < range_end)}


@pytest.mark.parametrize("seed", range(5))
def test_a_request_has_to_lie_within_the_union_of_permissions(seed):
    """Against a model that looks at every point, ends of permissions and what is behind them."""
    rng = random.Random(seed)
    assert set().union(*(union_of_some_permissions(rng, seed) for _ in range(6))) == {True, False}


def union_of_some_permissions(rng: random.Random, seed: int) -> set[bool]:
    auth = Auth()
    granted: list[tuple] = []
    for request in (UserAdd("ann"), RoleAdd("r1"), RoleAdd("r2")):
        auth.apply(request, 1)
    for role in ("r1", "r2"):
        auth.apply(UserGrantRole("ann", role), 1)
        held = {some_interval(rng): rng.choice(KINDS) for _ in range(rng.randrange(6))}
        for interval, kind in held.items():
            auth.apply(RoleGrantPermission(role, *interval, kind), 1)
            granted.append((interval, kind))
    told = set()
    for _ in range(300):
        key, range_end = some_interval(rng)
        for kind in (READ, WRITE):
            may = set().union(*(meant(*one) for one, k in granted if k in (kind, READWRITE)))
            fine = meant(key, range_end) <= may
            told.add(fine)
            assert auth.permits("ann", kind, key, range_end) == fine, (seed, key, range_end, kind)
            assert auth.permits("nobody", kind, key, range_end) is False
    return told


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        (((b"a", b"c"), (b"c", b"e")), (b"a", b"e"), True),
        (((b"a", b"c"), (b"d", b"e")), (b"a", b"e"), False),
        (((b"a", b""), (b"a\0", b"b")), (b"a", b"b"), True),
        (((b"a", b""), (b"b", b"")), (b"a", b"c"), False),
        (((b"a", b"c"),), (b"a", b"d"), False),
        (((b"a", b"c"),), (b"a", FROM_KEY), False),
        (((b"a", FROM_KEY),), (b"b", FROM_KEY), True),
        (((b"\0", FROM_KEY),), (b"\0", FROM_KEY), True),
        (((b"b", FROM_KEY),), (b"a", FROM_KEY), False),
        (((b"a", b"c"),), (b"b", b"a"), True),  # nothing is meant, and b may be read
        (((b"a", b"c"),), (b"d", b"a"), False),  # as etcd has it
        ((), (b"a", b""), False),
    ],
)
def test_intervals_that_touch_are_one(granted, asked, allowed):
    auth = Auth()
    for request in (
        *(UserAdd("ann"), RoleAdd("r"), UserGrantRole("ann", "r")),
        *(RoleGrantPermission("r", *one, READ) for one in granted),
    ):
        auth.apply(request, 1)
    assert auth.permits("ann", READ, *asked) is allowed
    assert not auth.permits("ann", WRITE, *asked)


# Who may do what ---------------------------------------------------------------------------

NESTED = Txn((), (), (Txn((), (), (Put(b"x", b""),)),))
MAY_READ = Range(b"a", b"c"), Range(b"b"), Range(b"m", b"n"), Range(b"m1", b"m2", serializable=True)
MAY_WRITE = Put(b"m", b""), Put(b"z", b""), DeleteRange(b"m", b"n"), DeleteRange(b"z")
ANN_MAY = (
    *(*MAY_READ, *MAY_WRITE, Put(b"m", b"", prev_kv=True), DeleteRange(b"m", prev_kv=True)),
    Txn((Compare(b"b"),), (Put(b"m", b""), Range(b"b")), (DeleteRange(b"z"),)),
    *(Put(b"m", b"", lease=8), LeaseRevoke(8), LeaseTimeToLive(8, True), LeaseTimeToLive(7)),
    *(UserGet("ann"), RoleGet("lower")),
)
ANN_MAY_NOT = (
    *(Range(b"a", b"d"), Range(b"z"), Range(b"\0", FROM_KEY), Range(b"m", FROM_KEY)),
    *(Put(b"b", b""), Put(b"x", b""), DeleteRange(b"b"), DeleteRange(b"m", b"o")),
    *(Put(b"z", b"", prev_kv=True), DeleteRange(b"z", prev_kv=True)),
    *(Txn((Compare(b"x"),)), Txn((Compare(b"b", range_end=b"d"),))),
    *(Txn((), (Range(b"x"),)), Txn((), (), (Range(b"x"),)), Txn((), (), (Put(b"x", b""),)), NESTED),
    *(Txn((), (Put(b"z", b"", prev_kv=True),)), Txn((), (Put(b"m", b"", lease=7),))),
    *(Put(b"m", b"", lease=7), LeaseRevoke(7), LeaseTimeToLive(7, True)),
    *(UserGet("bob"), UserGet("nobody"), RoleGet("root"), RoleGet("nothing")),
)
EVERYBODY_MAY = (
    *(LeaseGrant(5, 99), LeaseKeepAlive(7), LeaseLeases(), LeaseTimeToLive(7), Compact(2)),
    *(MemberList(), MoveLeader("n2"), Status(), Alarm(), Alarm("deactivate"), Txn()),
    Authenticate("ann", "t", "#a"),
)
ROOT_ONLY = (
    *(AuthEnable(), AuthDisable(), AuthStatus(), UserAdd("c"), UserDelete("bob"), UserList()),
    *(UserChangePassword("bob", "#"), UserGrantRole("bob", "lower")),
    *(UserRevokeRole("ann", "lower"), RoleAdd("new"), RoleDelete("lower"), RoleList()),
    *(RoleGrantPermission("lower", b"k"), RoleRevokePermission("lower", b"z")),
    *(HashKV(), Defragment(), SnapshotState()),
    *(MemberAdd("n4"), MemberRemove("n2"), MemberPromote("n2"), MemberUpdate(5, ("http://a:1",))),
)  # fmt: skip


def told(do: Driver, request, user: str) -> tuple[str, str] | None:
    try:
        do.machine.allow(user, request)
    except RequestError as error:
        return error.code, error.text
    return None


@pytest.mark.parametrize("request_", [*ANN_MAY, *ANN_MAY_NOT], ids=str)
def test_what_a_user_may_is_what_the_roles_say(do, request_):
    assert told(do, request_, "ann") == (None if request_ in ANN_MAY else DENIED)
    assert told(do, request_, "root") is None
    if request_ != LeaseTimeToLive(7):
        assert told(do, request_, "") == NOBODY
        unknown = NO_USER if isinstance(request_, (UserGet, RoleGet)) else DENIED
        assert told(do, request_, "ghost") == unknown
        assert told(do, request_, "bob") == (None if request_ == UserGet("bob") else DENIED)


@pytest.mark.parametrize("request_", EVERYBODY_MAY, ids=str)
def test_some_requests_need_nobody_s_permission(do, request_):
    assert [told(do, request_, user) for user in ("", "ghost", "bob", "ann", "root")] == [None] * 5


@pytest.mark.parametrize("request_", ROOT_ONLY, ids=str)
def test_some_requests_need_root(do, request_):
    refusals = [told(do, request_, user) for user in ("", "ghost", "bob", "ann", "root")]
    assert refusals == [NOBODY, NO_USER, DENIED, DENIED, None]


def test_no_request_was_forgotten():
    asked = {type(one) for one in (*ANN_MAY, *ANN_MAY_NOT, *EVERYBODY_MAY, *ROOT_ONLY)}
    assert set(LOGGED) <= asked and set(NEEDS_ROOT) - asked <= {*NEEDS_ROOT[-1:]}


def test_while_it_is_off_nobody_is_asked():
    do = driver(*PEOPLE)
    for request in (*ANN_MAY, *ANN_MAY_NOT, *ROOT_ONLY):
        assert told(do, request, "") is None


IN_LOG_ONLY = [one for one in ANN_MAY_NOT if isinstance(one, (Put, Txn, LeaseRevoke))]


@pytest.mark.parametrize("request_", IN_LOG_ONLY, ids=str)
def test_the_log_asks_when_an_entry_is_applied(do, request_):
    assert do.refusal(request_, "ann") == DENIED
    assert do.refusal(request_, "") == NOBODY
    assert do.refusal(request_, "root") is None


def test_the_checks_of_the_request_and_of_the_room_come_first(do):
    assert do.refusal(Put(b"", b""), "bob") == (INVALID, errors.EmptyKey.text)
    do(Alarm("activate", 1, "NOSPACE"))
    assert do.refusal(Put(b"x", b""), "bob") == ("RESOURCE_EXHAUSTED", errors.NoSpace.text)


def test_permission_comes_before_what_the_store_says(do):
    assert do.refusal(Put(b"x", b"", lease=404), "ann") == DENIED
    assert do.refusal(Put(b"m", b"", lease=404), "ann") == ("NOT_FOUND", errors.LeaseNotFound.text)
    assert do.refusal(LeaseRevoke(404), "") == ("NOT_FOUND", errors.LeaseNotFound.text)


def test_a_node_s_own_commands_need_nobody(do):
    machine = do.machine
    for request in (LeaseCheckpoint(((7, 5),)), LeaseRevoke(7), Compact(3)):
        _, error = machine.apply(machine.applied + 1, 1, Command("n1", 0, request))
        assert error is None
    assert machine.store.get(b"x") is None


def test_what_a_role_may_no_more_is_known_at_once(do):
    assert told(do, Range(b"b"), "ann") is None
    do(RoleRevokePermission("lower", b"a", b"c"), "root")
    assert told(do, Range(b"b"), "ann") == DENIED
    do(RoleGrantPermission("middle", b"b", b"", READ), "root")
    assert told(do, Range(b"b"), "ann") is None
    do(UserRevokeRole("ann", "middle"), "root")
    assert told(do, Range(b"b"), "ann") == DENIED
    do(UserGrantRole("ann", "root"), "root")
    assert told(do, Range(b"b"), "ann") is None


# Authenticate, and tokens -------------------------------------------------------------------


def test_a_token_has_the_index_of_its_entry(do):
    index = do.machine.applied + 1
    assert do(Authenticate("ann", "abc", "#a")).token == f"abc.{index}"


@pytest.mark.parametrize("hashed", ["#b", "", "#A"])
@pytest.mark.parametrize("name", ["ann", "ghost", ""])
def test_a_password_that_was_changed_meanwhile_names_nobody(do, name, hashed):
    said = do.refusal(Authenticate(name, "abc", hashed))
    assert said == (INVALID, "etcdserver: authentication failed, invalid user ID or password")


def test_who_has_no_password_has_no_token(do):
    do(UserAdd("n", "", True), "root")
    assert do.refusal(Authenticate("n", "abc", "")) == (INVALID, errors.AuthFailed.text)


@pytest.mark.parametrize("seed", range(10))
def test_a_token_lives_from_its_last_use(seed):
    """Against a model that remembers every use."""
    rng, tokens, now = random.Random(seed), Tokens(), 0.0
    ends: dict[str, tuple[str, float]] = {}
    for step in range(400):
        now += rng.choice([0.0, 1.0, 40.0, 299.0])
        if rng.random() < 0.3:
            token, user = f"t{step}", rng.choice(["ann", "bob"])
            tokens.assign(token, user, now)
            ends[token] = user, now + TOKEN_TTL_S
            alive = sum(now < end for _, end in ends.values())
            assert len(tokens._known) <= alive, "what is over is forgotten"
        elif rng.random() < 0.1:
            request = rng.choice([UserDelete("ann"), UserChangePassword("bob", "#"), AuthDisable()])
            tokens.end(request)
            gone = getattr(request, "name", None)
            ends = {t: one for t, one in ends.items() if gone not in (None, one[0])}
        elif ends:
            token = rng.choice(list(ends))
            user, end = ends[token]
            if now < end:
                assert tokens.user_of(token, now) == user
                ends[token] = user, now + TOKEN_TTL_S
            else:
                with pytest.raises(errors.InvalidAuthToken):
                    tokens.user_of(token, now)
    with pytest.raises(errors.InvalidAuthToken):
        tokens.user_of("junk", now)


# On disks and on nodes -----------------------------------------------------------------------


def test_before_any_change_no_snapshot_knows_of_users():
    do = driver(Put(b"a", b"1"), UserList(), AuthDisable())
    assert "auth" not in dict(do.machine.save())
    assert to_json(Command("n1", 1, Put(b"a"))).keys() == {"is", "origin", "op_id", "request"}
    asked = Command("n1", 1, Put(b"a"), "ann")
    assert from_json(to_json(asked)) == asked


def test_users_are_in_snapshots_and_no_part_of_the_hash(do):
    plain = driver(*(LeaseGrant(100, 7), LeaseGrant(100, 8), Put(b"b", b"1")))
    for request in (Put(b"x", b"1", lease=7), Put(b"m", b"1", lease=8)):
        plain(request)
    assert do.machine.store.hash() == plain.machine.store.hash()
    other = Driver()
    other.machine.load(from_json(json.loads(json.dumps(to_json(do.machine.save())))))
    assert state_of(other.machine.auth) == state_of(do.machine.auth)
    assert other.machine.save() == do.machine.save()
    assert other.refusal(Put(b"x", b""), "ann") == DENIED


def test_users_survive_a_crash_as_far_as_their_entries():
    do = driver(*PEOPLE)
    do.machine.commit()
    do(AuthEnable())
    backend = do.machine.backend
    backend.rollback()  # what was not durable
    again = KVMachine(backend)
    assert not again.auth.enabled and set(again.auth.users) == {"root", "ann", "bob"}


class Three:
    """Three nodes; what one sends, the others have at once."""

    def __init__(self):
        self.backends = {name: MemoryBackend() for name in ("n1", "n2", "n3")}
        self.nodes: dict[str, Node] = {}
        self.held: set[str] = set()  # whoever hears nothing
        self.asked, self.answers = 0, {}
        for name in self.backends:
            self.start(name)
        self.nodes["n1"].raft.campaign()
        self.drive()

    def start(self, name: str, **about) -> None:
        conf, seed = voters(3), random.Random(name)
        backend = self.backends[name]
        self.nodes[name] = Node(name, conf, CALM, seed, lambda event: None, backend, **about)

    def drive(self) -> None:
        busy = True
        while busy:
            busy = False
            for name, node in self.nodes.items():
                while (ready := node.ready()) is not None:
                    busy = True
                    for message in ready.messages:
                        if message.target not in self.held and name not in self.held:
                            self.nodes[message.target].step(message)
                    node.advance(ready, 0.0)
                for answer in node.responses:
                    self.answers[answer.op_id] = answer
                node.responses.clear()

    def ask(self, name: str, request, user: str = ""):
        """The result; a refusal as (code, text)."""
        self.asked += 1
        self.nodes[name].request(self.asked, request, user)
        self.drive()
        answer = self.answers[self.asked]
        return (answer.failure.code, answer.failure.text) if answer.error else answer.result

    def states(self) -> list:
        return [node.machine.save()[1:] for node in self.nodes.values()]


@pytest.mark.parametrize("name", ["n1", "n2", "n3"])
def test_every_node_asks_the_same(name):
    three = Three()
    for request in (*PEOPLE, LeaseGrant(100, 7), Put(b"x", b"1", lease=7), AuthEnable()):
        three.ask(name, request)
    for request, user, refusal in (
        (Put(b"x", b"2"), "ann", DENIED),
        (Put(b"x", b"2"), "", NOBODY),
        (Range(b"x"), "ann", DENIED),
        (Range(b"x", serializable=True), "ann", DENIED),
        (Txn((), (Range(b"x"),)), "ann", DENIED),
        (LeaseTimeToLive(7, True), "ann", DENIED),
        (HashKV(), "ann", DENIED),
        (Defragment(), "", NOBODY),
        (MemberRemove("n3"), "ann", DENIED),
        (MemberRemove("n3"), "", NOBODY),
        (UserAdd("c", "#"), "ann", DENIED),
    ):
        assert three.ask(name, request, user) == refusal, request
    for request in (Put(b"m", b"2"), Range(b"b"), LeaseTimeToLive(7), LeaseKeepAlive(7)):
        assert not isinstance(three.ask(name, request, "ann"), tuple), request
    assert three.ask(name, Range(b"x"), "root").count == 1
    assert three.ask(name, LeaseTimeToLive(7, True), "root").keys == (b"x",)
    assert three.states()[1:] == three.states()[:-1]


def test_an_entry_from_before_is_judged_by_what_is_so_at_its_place():
    three = Three()
    for request in (*PEOPLE, AuthEnable()):
        three.ask("n1", request)
    node = three.nodes["n1"]
    for op_id, request, user in (
        (101, RoleRevokePermission("middle", b"m", b"n"), "root"),
        (102, Put(b"m", b"1"), "ann"),
        (103, AuthDisable(), "root"),
        (104, Put(b"m", b"2"), "ann"),
    ):
        node.request(op_id, request, user)  # all of them before any is applied
    three.drive()
    said = [three.answers[op_id].error for op_id in range(101, 105)]
    assert said == ["", "PermissionDenied", "", ""]


def test_what_was_asked_on_the_word_of_an_old_password_is_refused_when_it_is_applied():
    three = Three()
    for request in (*PEOPLE, AuthEnable()):
        three.ask("n1", request)
    node = three.nodes["n1"]
    for op_id, request, user in (
        (101, Put(b"m", b"0"), "ann"),
        (102, UserChangePassword("ann", "#new"), "root"),
        (103, Put(b"m", b"1"), "ann"),  # the node has not applied the change yet
        (104, Put(b"m", b"2"), "root"),
        (105, UserDelete("bob"), "root"),
        (106, Put(b"m", b"1"), "bob"),
    ):
        node.request(op_id, request, user)
    three.drive()
    said = [three.answers[op_id].error for op_id in range(101, 107)]
    assert said == ["", "", "InvalidAuthToken", "", "", "InvalidAuthToken"]
    assert not isinstance(three.ask("n2", Put(b"m", b"3"), "ann"), tuple)
    assert three.states()[1:] == three.states()[:-1]


def test_tokens_are_known_to_every_node_and_end_on_all_of_them():
    three = Three()
    for request in (*PEOPLE, AuthEnable()):
        three.ask("n1", request)

    def known(token: str) -> list[str]:
        users = []
        for node in three.nodes.values():
            try:
                users.append(node.tokens.user_of(token, node.now))
            except errors.InvalidAuthToken:
                users.append("")
        return users

    ann, bob, again = (
        three.ask("n2", Authenticate(name, token, hashed)).token
        for name, token, hashed in (("ann", "t1", "#a"), ("bob", "t2", "#b"), ("ann", "t3", "#a"))
    )
    assert known(ann) == known(again) == ["ann"] * 3 and known(bob) == ["bob"] * 3
    three.ask("n3", UserChangePassword("ann", "#new"), "root")
    assert known(ann) == known(again) == [""] * 3 and known(bob) == ["bob"] * 3
    three.ask("n3", UserDelete("bob"), "ann")
    assert known(bob) == ["bob"] * 3, "a refused request ends nothing"
    three.ask("n3", UserDelete("bob"), "root")
    assert known(bob) == [""] * 3
    root = three.ask("n1", Authenticate("root", "t4", "#r")).token
    three.ask("n1", AuthDisable(), "root")
    assert known(root) == [""] * 3


def test_a_node_that_starts_over_from_a_snapshot_agrees_and_knows_no_token():
    three = Three()
    for request in (*PEOPLE, AuthEnable()):
        three.ask("n1", request)
    token = three.ask("n1", Authenticate("ann", "t", "#a")).token
    three.held = {"n3"}
    three.ask("n1", UserAdd("new", "#"), "root")
    three.ask("n1", UserDelete("ann"), "root")
    three.nodes["n1"].compact(kept_entries=0)
    three.held = set()
    assert three.nodes["n3"].tokens.user_of(token, 0.0) == "ann"
    for _ in range(3):  # heartbeats, until the snapshot is asked for and taken
        three.nodes["n1"].tick(three.nodes["n1"].now + 2 * CALM.heartbeat_ticks * CALM.tick_s)
        three.drive()
    assert three.states()[1:] == three.states()[:-1]
    with pytest.raises(errors.InvalidAuthToken):
        three.nodes["n3"].tokens.user_of(token, 0.0)


def test_the_leader_is_not_told_who_asks_what_only_its_clock_knows():
    three = Three()
    for request in (*PEOPLE, LeaseGrant(100, 7), Put(b"x", b"1", lease=7), AuthEnable()):
        three.ask("n1", request)
    assert three.ask("n2", LeaseTimeToLive(7, True), "root").keys == (b"x",)
    assert three.ask("n2", LeaseTimeToLive(7, True), "ann") == DENIED
