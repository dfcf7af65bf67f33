"""Who may do what: users, the roles they have, and the keys that a role may read or write.

Part of what the log drives, like the store: every change is an entry, so all members know the same
users, and whether a request is allowed is decided when it is applied, by all of them alike. While
authentication is off nothing is asked. The role root may do everything.

>>> auth = Auth()
>>> for step in (
...     UserAdd("root", "hash of a password"), UserGrantRole("root", "root"),
...     UserAdd("ann", "hash of another"), RoleAdd("jobs"), UserGrantRole("ann", "jobs"),
...     RoleGrantPermission("jobs", b"a", b"m", READ),
...     RoleGrantPermission("jobs", b"m", b"n", READWRITE), AuthEnable(),
... ):
...     _ = auth.apply(step, index=1)
>>> auth.permits("ann", READ, b"a", b"n"), auth.permits("ann", WRITE, b"a", b"n")
(True, False)

Ranges that touch are one: what a request reads or writes has to lie within their union.

```
    a            m      n        READ       [a, m) and [m, n)  ->  [a, n)
    |--- READ ---|= RW =|        WRITE                             [m, n)
```

A password never comes here: `hashed` is made and compared on the way in, where there is chance for
a salt. So are the random tokens, which an `Authenticate` in the log makes known to every member. A
token lives on each member until nobody used it there for `TOKEN_TTL_S`; no snapshot has it.

Source: etcd server/auth/store.go, range_perm_cache.go, simple_token.go, etcdserver/apply_auth.go.
Differs: a transaction is checked with all that is nested in it, and with the leases and previous
pairs of its puts (etcd-semantics, fact 64); the permissions are those at the entry's place in the
log, so of the requests from before a change only those need a refusal whose user has another
password by now (etcd: all, "revision of auth store is old"); granting a range again changes its
kind, where etcd sometimes adds a second one; a permission without a key or on an empty range is
refused, as from etcd 3.5.20 on.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import fields, replace
from itertools import takewhile
from typing import Any

from kvlearn.errors import (
    AuthFailed, AuthNotEnabled, InvalidArgument, InvalidAuthManagement, InvalidAuthToken,
    PermissionDenied, PermissionNotGranted, RoleEmpty, RoleExists, RoleNotFound, RoleNotGranted,
    RootRoleMissing, RootUserMissing, UserEmpty, UserExists, UserNotFound,
)  # fmt: skip
from kvlearn.kv.directory import MemberUpdate
from kvlearn.kv.leases import LeaseRevoke, LeaseTimeToLive
from kvlearn.kv.members import MEMBERSHIP, MemberList, MoveLeader
from kvlearn.kv.requests import DeleteRange, Put, Range, interval
from kvlearn.kv.txn import Txn
from kvlearn.kv.upkeep import Defragment, HashKV, SnapshotState
from kvlearn.lease import Lessor
from kvlearn.mvcc.store import FROM_KEY
from kvlearn.values import value

ROOT = "root"  # the user that has to be there, and the role that may do everything
READ, WRITE, READWRITE = KINDS = "READ", "WRITE", "READWRITE"
TOKEN_TTL_S = 300.0  # etcd: --auth-token-ttl
FIRST_REVISION = 1  # before any change


class Asked:
    """How these requests look in a log cell: `user add ann`. A hash is nobody's business."""

    __slots__ = ()

    def __str__(self) -> str:
        words = re.sub("(?<!^)([A-Z])", r" \1", type(self).__name__).lower()
        named = (str(getattr(self, name, "")) for name in ("name", "role"))
        return " ".join(filter(None, (words, *named)))


@value
class AuthEnable(Asked):
    """From now on, everything needs permission."""


@value
class AuthDisable(Asked):
    """Everybody may do everything again."""


@value
class AuthStatus(Asked):
    """Is it on?"""


@value
class Authenticate(Asked):
    """The password fitted to `hashed`, so `token` (and the index of the entry) means this user."""

    name: str
    token: str
    hashed: str


@value
class UserAdd(Asked):
    """A user without roles; with `no_password` known by a certificate alone."""

    name: str
    hashed: str = ""
    no_password: bool = False


@value
class UserGet(Asked):
    """Which roles does the user have?"""

    name: str


@value
class UserList(Asked):
    """Which users are there?"""


@value
class UserDelete(Asked):
    """The user is gone, with all tokens."""

    name: str


@value
class UserChangePassword(Asked):
    """Another password; tokens got with the old one end."""

    name: str
    hashed: str


@value
class UserGrantRole(Asked):
    """The user gets a role."""

    name: str
    role: str


@value
class UserRevokeRole(Asked):
    """The user loses a role."""

    name: str
    role: str


@value
class RoleAdd(Asked):
    """A role without permissions."""

    role: str


@value
class RoleGet(Asked):
    """Which permissions has the role?"""

    role: str


@value
class RoleList(Asked):
    """Which roles are there?"""


@value
class RoleDelete(Asked):
    """The role is gone, and nobody has it any more."""

    role: str


@value
class RoleGrantPermission(Asked):
    """The role may do `kind` to an interval of keys, and nothing else to exactly these."""

    role: str
    key: bytes
    range_end: bytes = b""
    kind: str = READ  # of KINDS


@value
class RoleRevokePermission(Asked):
    """The permission on exactly this interval is gone."""

    role: str
    key: bytes
    range_end: bytes = b""


@value
class AuthResult:
    def __str__(self) -> str:
        return "ok"


@value
class AuthStatusResult:
    """`revision` counts the changes of users and roles."""

    enabled: bool
    revision: int


@value
class AuthenticateResult:
    """What stands for the user from now on."""

    token: str


@value
class NamesResult:
    """Names of users or of roles, in order."""

    names: tuple[str, ...] = ()


@value
class Permission:
    """What a role may do (`kind`, of KINDS) to the keys of an interval."""

    key: bytes
    range_end: bytes = b""
    kind: str = READ

    def __str__(self) -> str:
        return f"{self.kind} {interval(self.key, self.range_end)}"


@value
class RoleResult:
    """Permissions in the order of their keys."""

    permissions: tuple[Permission, ...] = ()


@value
class User:
    """`roles` in order; `hashed` "" fits no password. `since`: the revision of users and roles that
    the password came with; what was asked on the word of an older one counts no more."""

    name: str
    hashed: str = ""
    no_password: bool = False
    roles: tuple[str, ...] = ()
    since: int = 0


READS = (AuthStatus, UserGet, UserList, RoleGet, RoleList)
CHANGES_USER = (UserAdd, UserDelete, UserChangePassword, UserGrantRole, UserRevokeRole)
CHANGES_ROLE = (RoleAdd, RoleDelete, RoleGrantPermission, RoleRevokePermission)
ENDS_TOKENS = (AuthDisable, UserDelete, UserChangePassword)
LOGGED = (AuthEnable, AuthDisable, Authenticate, *READS, *CHANGES_USER, *CHANGES_ROLE)
NEEDS_ROOT = tuple(kind for kind in LOGGED if kind not in (Authenticate, UserGet, RoleGet))
NEEDS_ROOT += (HashKV, Defragment, SnapshotState, MemberUpdate)
NEEDS_ROOT += tuple(kind for kind in MEMBERSHIP if kind not in (MemberList, MoveLeader))


def check_auth(request: Any) -> None:
    """Refuse fields of another type, which would stop every node. Raises: InvalidArgument."""
    kinds = {"str": str, "bytes": bytes, "bool": bool}
    for field in fields(request):
        if not isinstance(given := getattr(request, field.name), kinds[field.type]):
            raise InvalidArgument(hint=f"{field.name} is {field.type}, not {given!r}")
    if isinstance(request, RoleGrantPermission) and request.kind not in KINDS:
        raise InvalidArgument(hint=f"a permission is {' or '.join(KINDS)}, not {request.kind!r}")


class Auth:
    """Invariant: every role of a user exists, except root; nobody who is enabled lacks root."""

    def __init__(self, saved: tuple = ()):
        """Take up what `save` gave; () is the state before any change."""
        self.enabled, self.revision, users, roles = saved or (False, FIRST_REVISION, (), ())
        self.users = {name: User(name, *rest) for name, *rest in users}
        self.roles = {  # name -> (key, range_end) -> kind
            name: {(key, range_end): kind for key, range_end, kind in granted}
            for name, granted in roles
        }
        self._merged: dict[tuple[str, str], list] = {}  # (user, kind) -> what it may touch

    def save(self) -> tuple:
        """The state as plain data, the same on every node; () before any change."""
        if self.revision == FIRST_REVISION:
            return ()
        users = sorted(
            (u.name, u.hashed, u.no_password, u.roles, u.since) for u in self.users.values()
        )
        roles = sorted(
            (name, tuple((*where, kind) for where, kind in granted.items()))
            for name, granted in self.roles.items()
        )
        return self.enabled, self.revision, tuple(users), tuple(roles)

    # What the log says ------------------------------------------------------------------------

    def apply(self, request: Any, index: int) -> Any:
        """Carry out one of LOGGED, the entry at `index`.

        Raises: UserEmpty, UserExists, UserNotFound, RoleEmpty, RoleExists, RoleNotFound,
        RoleNotGranted, PermissionNotGranted, InvalidAuthManagement, RootUserMissing,
        RootRoleMissing, AuthNotEnabled, AuthFailed.
        """
        match request:
            case Authenticate(name, token, hashed):
                return AuthenticateResult(self._authenticate(name, f"{token}.{index}", hashed))
            case AuthEnable():
                if ROOT not in self.users:
                    raise RootUserMissing()
                if ROOT not in self.users[ROOT].roles:
                    raise RootRoleMissing()
                self.enabled = True
                return AuthResult()
            case AuthDisable() if not self.enabled:
                return AuthResult()
            case AuthDisable():
                self.enabled = False
            case UserGrantRole(name, role) if role in self._user(name).roles:
                return AuthResult()
            case _ if isinstance(request, READS):
                return self._tell(request)
            case _ if isinstance(request, CHANGES_USER):
                self._change_user(request)
            case _:
                self._change_role(request)
        self.revision += 1
        self._merged.clear()
        return AuthResult()

    def _authenticate(self, name: str, token: str, hashed: str) -> str:
        if not self.enabled:
            raise AuthNotEnabled()
        user = self.users.get(name)
        if user is None or user.no_password or user.hashed != hashed:
            raise AuthFailed()  # the password was changed since it was compared
        return token

    def _tell(self, request: Any) -> Any:
        match request:
            case AuthStatus():
                return AuthStatusResult(self.enabled, self.revision)
            case UserGet(name):
                return NamesResult(self._user(name).roles)
            case RoleGet(role):
                granted = (Permission(*where, kind) for where, kind in self._role(role).items())
                return RoleResult(tuple(sorted(granted, key=lambda one: one.key)))
        known = self.users if isinstance(request, UserList) else self.roles
        return NamesResult(tuple(sorted(known)))

    def _change_user(self, request: Any) -> None:
        match request:
            case UserAdd("", _, _):
                raise UserEmpty()
            case UserAdd(name, hashed, no_password):
                if name in self.users:
                    raise UserExists(hint=name)
                hashed = "" if no_password else hashed
                self.users[name] = User(name, hashed, no_password, since=self.revision + 1)
            case UserDelete(name):
                self._keep_root(name == ROOT)
                del self.users[self._user(name).name]
            case UserChangePassword(name, hashed):
                user = self._user(name)
                hashed = "" if user.no_password else hashed
                self.users[name] = replace(user, hashed=hashed, since=self.revision + 1)
            case UserGrantRole(name, role):
                if role != ROOT:
                    self._role(role)
                self._set_roles(name, *self._user(name).roles, role)
            case UserRevokeRole(name, role):
                self._keep_root(name == role == ROOT)
                if role not in self._user(name).roles:
                    raise RoleNotGranted(hint=f"{role} to {name}")
                self._set_roles(name, *(one for one in self.users[name].roles if one != role))

    def _change_role(self, request: Any) -> None:
        match request:
            case RoleAdd(""):
                raise RoleEmpty()
            case RoleAdd(role):
                if role in self.roles:
                    raise RoleExists(hint=role)
                self.roles[role] = {}
            case RoleDelete(role):
                self._keep_root(role == ROOT)
                self._role(role)
                del self.roles[role]
                for user in list(self.users.values()):
                    self._set_roles(user.name, *(one for one in user.roles if one != role))
            case RoleGrantPermission(role, key, range_end, kind):
                if not key or (range_end not in (b"", FROM_KEY) and range_end <= key):
                    raise InvalidAuthManagement(hint=f"no key is in {interval(key, range_end)}")
                self._role(role)[key, range_end] = kind
            case RoleRevokePermission(role, key, range_end):
                if self._role(role).pop((key, range_end), None) is None:
                    raise PermissionNotGranted(hint=interval(key, range_end))

    def _user(self, name: str) -> User:
        if name not in self.users:
            raise UserNotFound(hint=name)
        return self.users[name]

    def _role(self, role: str) -> dict[tuple[bytes, bytes], str]:
        if role not in self.roles:
            raise RoleNotFound(hint=role)
        return self.roles[role]

    def _set_roles(self, name: str, *roles: str) -> None:
        self.users[name] = replace(self.users[name], roles=tuple(sorted(roles)))

    def _keep_root(self, at_stake: bool) -> None:
        if self.enabled and at_stake:
            raise InvalidAuthManagement(hint="somebody has to be root while authentication is on")

    # Who may do what --------------------------------------------------------------------------

    def check_since(self, user: str, told: int) -> None:
        """Refuse what was asked in the name of `user` by a member that had applied the changes of
        users up to `told` only (0: it does not say), and not the one that ended the tokens.

        Raises: InvalidAuthToken.
        """
        known = self.users.get(user)
        since = known.since if known else self.revision  # by which one it was deleted
        if self.enabled and 0 < told < since:
            raise InvalidAuthToken()

    def check(self, user: str, request: Any, lessor: Lessor) -> None:
        """Refuse what `user` ("": nobody said who) may not ask; call it only while `enabled`.

        Raises: UserEmpty, UserNotFound, PermissionDenied.
        """
        match request:
            case Put(key, lease=lease):
                self._need(user, WRITE, key)
                self._need_lease(user, WRITE, lease, lessor)
                if request.prev_kv:
                    self._need(user, READ, key)
            case Range(key, range_end):
                self._need(user, READ, key, range_end)
            case DeleteRange(key, range_end):
                self._need(user, WRITE, key, range_end)
                if request.prev_kv:
                    self._need(user, READ, key, range_end)
            case Txn():
                for compare in request.compare:
                    self._need(user, READ, compare.key, compare.range_end)
                for op in (*request.success, *request.failure):
                    self.check(user, op, lessor)
            case LeaseRevoke(id):
                self._need_lease(user, WRITE, id, lessor)
            case LeaseTimeToLive(id, keys) if keys:  # its answer has the names of the keys
                self._need_lease(user, READ, id, lessor)
            case UserGet(name) if name == user:
                pass
            case RoleGet(role) if user in self.users and role in self.users[user].roles:
                pass
            case _ if isinstance(request, (*NEEDS_ROOT, UserGet, RoleGet)):
                if not user:
                    raise UserEmpty()
                if ROOT not in self._user(user).roles:
                    raise PermissionDenied(hint=f"{user} does not have the role root")

    def _need(self, user: str, kind: str, key: bytes, range_end: bytes = b"") -> None:
        if not user:
            raise UserEmpty()
        if not self.permits(user, kind, key, range_end):
            raise PermissionDenied(hint=f"{user} may not {kind} {interval(key, range_end)}")

    def _need_lease(self, user: str, kind: str, id: int, lessor: Lessor) -> None:
        """Its end deletes all its keys: so nobody hangs keys on it, or ends it, who could not."""
        if lease := lessor.leases.get(id):
            for key in lease.keys:
                self._need(user, kind, key)

    def permits(self, user: str, kind: str, key: bytes, range_end: bytes = b"") -> bool:
        """Whether the user may READ or WRITE every key of the interval."""
        known = self.users.get(user)
        if known is None or ROOT in known.roles:
            return known is not None
        if (user, kind) not in self._merged:
            self._merged[user, kind] = self._merge(known.roles, kind)
        held = self._merged[user, kind]
        _, end = _bounds(key, range_end)
        start, up_to = held[max(0, bisect_right(held, key, key=lambda one: one[0]) - 1)]
        within = start <= key and (up_to is None or key < up_to)
        return within and (up_to is None or (end is not None and end <= up_to))

    def _merge(self, roles: tuple[str, ...], kind: str) -> list[tuple[bytes, bytes | None]]:
        """The union of what the roles allow: intervals that do not touch, in order; None: no end.
        One that is empty stands for no interval at all."""
        granted = (one for role in roles for one in self.roles.get(role, {}).items())
        wanted = [_bounds(*where) for where, may in granted if may in (kind, READWRITE)]
        merged: list[tuple[bytes, bytes | None]] = [(b"", b"")]
        for start, end in sorted(wanted, key=lambda one: one[0]):
            begin, up_to = merged[-1]
            if up_to is not None and start > up_to:
                merged.append((start, end))
            elif up_to is not None and (end is None or end > up_to):
                merged[-1] = begin, end
        return merged


def _bounds(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """First key, and the first that is not meant any more; None: all above are."""
    if range_end == FROM_KEY:
        return key, None
    return key, range_end or key + b"\0"


class Tokens:
    """Whom a token stands for, on this node: until `ttl_s` after it was used the last time.

    >>> tokens = Tokens()
    >>> tokens.assign("abc.7", "ann", now=0.0)
    >>> tokens.user_of("abc.7", now=299.0), tokens.user_of("abc.7", now=598.0)
    ('ann', 'ann')
    """

    def __init__(self, ttl_s: float = TOKEN_TTL_S):
        self.ttl_s = ttl_s
        self._known: dict[str, tuple[str, float]] = {}  # token -> user, end; the next to end first

    def assign(self, token: str, user: str, now: float) -> None:
        """The token is the user's; those that are over are forgotten."""
        for old in list(takewhile(lambda old: self._known[old][1] <= now, self._known)):
            del self._known[old]
        self._known[token] = user, now + self.ttl_s

    def user_of(self, token: str, now: float) -> str:
        """Who asks with this token, which lives on by that. Raises: InvalidAuthToken."""
        user, end = self._known.pop(token, ("", now))
        if now >= end:
            raise InvalidAuthToken()
        self._known[token] = user, now + self.ttl_s
        return user

    def end(self, request: Any) -> None:
        """One of ENDS_TOKENS was applied."""
        gone = getattr(request, "name", None)
        self._known = {t: one for t, one in self._known.items() if gone not in (None, one[0])}

    def clear(self) -> None:
        """A snapshot replaced what was known, perhaps the users, too."""
        self._known = {}
