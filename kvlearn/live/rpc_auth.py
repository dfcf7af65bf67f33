"""Auth: users, roles, permissions, and who a call comes from.

What is random or slow stays here; the log gets what came of it (`kvlearn/kv/auth.py`):

    UserAdd(name, password)      ─ salt, 20 ms of hashing in a thread ─▶  UserAdd(name, hashed)
    Authenticate(name, password) ─ read index, compare in a thread ─▶  Authenticate(name, token)
                                 ◀─ "qPHvKcUoGdgnQYqK.57": token, and the index of its entry
    every other call, with `token: qPHvKcUoGdgnQYqK.57` ─▶  who that is, as this member remembers

The index in a token is for members that lag: they wait until they have applied that entry before
they say that nobody has such a token. What a call may do is decided elsewhere, in the log or when
its answer is read. A few methods never look at tokens, as in etcd.

Passwords are hashed with PBKDF2 (RFC 8018), which the standard library has; `--bcrypt-cost` says
how slow: 2 to that power, times 64.

Source: etcd server/etcdserver/v3_server.go (Authenticate), server/auth/simple_token.go, store.go
(AuthInfoFromCtx, AuthInfoFromTLS). Differs: etcd uses bcrypt; a token means nothing while
authentication is off, where etcd 3.5.1 refuses it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from functools import partial
from hashlib import pbkdf2_hmac
from string import ascii_letters
from typing import TYPE_CHECKING, Any

from kvlearn.errors import (
    AuthFailed, AuthNotEnabled, NoPasswordUser, PermissionNotGiven, RequestError
)  # fmt: skip
from kvlearn.kv import auth
from kvlearn.kv.members import MemberList
from kvlearn.kv.requests import Answer
from kvlearn.live.method import Call, Method, refuse, table, unary
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.live.wire import header_of, word

if TYPE_CHECKING:
    from kvlearn.live.rpc import Services

TOKEN_LETTERS = 16
ROUNDS = 64  # times 2 ** cost: about as slow as bcrypt of the same cost is
LOOK_S = 0.001  # until it is looked again whether the entry of a token is here; then twice that
LOOKS_S = 0.05  # at most between two looks
WAIT_S = 5.0  # for it, at most
NAMELESS = {  # what never looks at a token
    "/etcdserverpb.Auth/Authenticate",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/MoveLeader",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Lease/LeaseLeases",
}


# Passwords and tokens -----------------------------------------------------------------------


def hash_password(password: str, cost: int) -> str:
    """The method, its rounds, a new salt and the sum, as text. Slow on purpose."""
    salt, rounds = secrets.token_bytes(16), ROUNDS << cost
    return f"pbkdf2-sha256${rounds}${salt.hex()}${_sum(password, salt, rounds).hex()}"


def fits(password: str, hashed: str) -> bool:
    """Whether `hash_password` made `hashed` of this password; "" fits none."""
    method, _, rest = hashed.partition("$")
    if method != "pbkdf2-sha256":
        return False
    rounds, salt, sum = rest.split("$")
    tried = _sum(password, bytes.fromhex(salt), int(rounds))
    return hmac.compare_digest(tried, bytes.fromhex(sum))


def _sum(password: str, salt: bytes, rounds: int) -> bytes:
    return pbkdf2_hmac("sha256", password.encode(), salt, rounds)


def new_token() -> str:
    """Random letters; the log adds the index of the entry."""
    return "".join(secrets.choice(ascii_letters) for _ in range(TOKEN_LETTERS))


def token_of(call: Call) -> str:
    """The token that a call brings; "": none."""
    said = call.metadata.get("token") or call.metadata.get("authorization", "")
    return said.removeprefix("Bearer ")


# Who calls ----------------------------------------------------------------------------------


def user_of(services: Services, call: Call) -> str:
    """Who a call comes from: by its token, or else by the certificate of its connection; "" if
    nobody says so, or while authentication is off. Raises: InvalidAuthToken."""
    node = services.member.node
    if not node.machine.auth.enabled or call.path in NAMELESS:
        return ""
    if token := token_of(call):
        return node.tokens.user_of(token, services.member.now)
    if services.member.config.client_cert_auth:
        return call.peer_common_name
    return ""


def settle(services: Services, call: Call) -> None:
    """Keep the messages of a call that has just begun until this member has applied the entry of
    its token."""
    token = token_of(call)
    if not token or call.path in NAMELESS:
        return
    _, _, number = token.rpartition(".")
    index, machine = int(number) if number.isdecimal() else 0, services.member.node.machine
    if machine.applied < index <= services.member.node.raft.log.last_index + (1 << 20):
        Settling(services, call, index)


class Settling:
    """A call that is held back. What comes meanwhile is handed on in its order."""

    def __init__(self, services: Services, call: Call, index: int):
        self._member, self._call, self._index = services.member, call, index
        self._on_message, self._on_end = call.on_message, call.on_end
        self._came: list[Callable[[], None]] = []
        call.on_message = self._keep
        call.on_end = lambda: self._came.append(self._call.on_end)
        self._until, self._pause = self._member.loop.time() + WAIT_S, LOOK_S
        self._look()

    def _keep(self, message: bytes) -> None:
        self._came.append(lambda: self._call.on_message(message))

    def _look(self) -> None:
        loop, here = self._member.loop, self._member.node.machine.applied >= self._index
        if self._call.closed:
            return
        if not here and loop.time() < self._until:
            loop.call_later(self._pause, self._look)
            self._pause = min(2 * self._pause, LOOKS_S)
            return
        call = self._call
        call.on_message, call.on_end = self._on_message, self._on_end
        for hand_on in self._came:
            if not call.closed:
                hand_on()


# The service --------------------------------------------------------------------------------


class Auth:
    """What the service does: each method asks the member for one entry of the log."""

    def __init__(self, services: Services):
        self._services, self._member = services, services.member
        self._cost = services.member.config.bcrypt_cost

    def _in_thread(self, call: Call, then: Callable[[Any], None], slow: Callable, *given) -> None:
        """Compute and go on with the result; a RequestError on the way ends the call."""

        def done(future: Any) -> None:
            if call.closed:
                return
            try:
                then(future.result())
            except RequestError as error:
                refuse(call, error)

        self._member.loop.run_in_executor(None, slow, *given).add_done_callback(done)

    def _ask(self, call: Call, request: Any, response: type, **told: str) -> None:
        """`told`: field of the response -> attribute of the result."""

        def encode(answer: Answer) -> bytes:
            fields = {field: getattr(answer.result, name) for field, name in told.items()}
            return response(header=header_of(answer.header), **fields).SerializeToString()

        self._services.ask(call, request, encode)

    def enable(self, call: Call, _: Any) -> None:
        self._ask(call, auth.AuthEnable(), rpc.AuthEnableResponse)

    def disable(self, call: Call, _: Any) -> None:
        self._ask(call, auth.AuthDisable(), rpc.AuthDisableResponse)

    def status(self, call: Call, _: Any) -> None:
        told = {"enabled": "enabled", "authRevision": "revision"}
        self._ask(call, auth.AuthStatus(), rpc.AuthStatusResponse, **told)

    def authenticate(self, call: Call, message: Any) -> None:
        """First of all a read index: which password is right is what the log says now."""
        op_id = self._member.ask(MemberList(), partial(self._compare, call, message))
        call.on_close = partial(self._member.forget, op_id)

    def _compare(self, call: Call, message: Any, answer: Answer) -> None:
        known = self._member.node.machine.auth
        user = known.users.get(message.name)
        if answer.error:
            refuse(call, answer.failure)
        elif not known.enabled:
            refuse(call, AuthNotEnabled())
        elif user is None:
            refuse(call, AuthFailed())
        elif user.no_password:
            refuse(call, NoPasswordUser())
        else:
            then = partial(self._assign, call, message.name, user.hashed)
            self._in_thread(call, then, fits, message.password, user.hashed)

    def _assign(self, call: Call, name: str, hashed: str, fit: bool) -> None:
        if not fit:
            raise AuthFailed()
        request = auth.Authenticate(name, new_token(), hashed)
        self._ask(call, request, rpc.AuthenticateResponse, token="token")

    def user_add(self, call: Call, message: Any) -> None:
        """With a password, unless the options say that there is none."""
        self._services.user_of(call)  # a token that is none costs no hashing

        def add(hashed: str) -> None:
            request = auth.UserAdd(message.name, hashed, message.options.no_password)
            self._ask(call, request, rpc.AuthUserAddResponse)

        if message.options.no_password:
            add("")
        else:
            self._in_thread(call, add, hash_password, message.password, self._cost)

    def user_change_password(self, call: Call, message: Any) -> None:
        """Tokens got with the old one end."""
        self._services.user_of(call)

        def change(hashed: str) -> None:
            request = auth.UserChangePassword(message.name, hashed)
            self._ask(call, request, rpc.AuthUserChangePasswordResponse)

        self._in_thread(call, change, hash_password, message.password, self._cost)

    def user_get(self, call: Call, message: Any) -> None:
        self._ask(call, auth.UserGet(message.name), rpc.AuthUserGetResponse, roles="names")

    def user_list(self, call: Call, _: Any) -> None:
        self._ask(call, auth.UserList(), rpc.AuthUserListResponse, users="names")

    def user_delete(self, call: Call, message: Any) -> None:
        self._ask(call, auth.UserDelete(message.name), rpc.AuthUserDeleteResponse)

    def user_grant_role(self, call: Call, message: Any) -> None:
        request = auth.UserGrantRole(message.user, message.role)
        self._ask(call, request, rpc.AuthUserGrantRoleResponse)

    def user_revoke_role(self, call: Call, message: Any) -> None:
        request = auth.UserRevokeRole(message.name, message.role)
        self._ask(call, request, rpc.AuthUserRevokeRoleResponse)

    def role_add(self, call: Call, message: Any) -> None:
        self._ask(call, auth.RoleAdd(message.name), rpc.AuthRoleAddResponse)

    def role_get(self, call: Call, message: Any) -> None:
        """Permissions in the order of their keys."""

        def encode(answer: Answer) -> bytes:
            response = rpc.AuthRoleGetResponse(header=header_of(answer.header))
            for one in answer.result.permissions:
                kind = auth.KINDS.index(one.kind)
                response.perm.add(permType=kind, key=one.key, range_end=one.range_end)
            return response.SerializeToString()

        self._services.ask(call, auth.RoleGet(message.role), encode)

    def role_list(self, call: Call, _: Any) -> None:
        self._ask(call, auth.RoleList(), rpc.AuthRoleListResponse, roles="names")

    def role_delete(self, call: Call, message: Any) -> None:
        self._ask(call, auth.RoleDelete(message.role), rpc.AuthRoleDeleteResponse)

    def role_grant_permission(self, call: Call, message: Any) -> None:
        """Raises: PermissionNotGiven."""
        if not message.HasField("perm"):
            raise PermissionNotGiven()
        perm = message.perm
        kind = word(auth.KINDS, perm.permType)
        request = auth.RoleGrantPermission(message.name, perm.key, perm.range_end, kind)
        self._ask(call, request, rpc.AuthRoleGrantPermissionResponse)

    def role_revoke_permission(self, call: Call, message: Any) -> None:
        request = auth.RoleRevokePermission(message.role, message.key, message.range_end)
        self._ask(call, request, rpc.AuthRoleRevokePermissionResponse)


def methods(services: Services) -> dict[str, Method]:
    """The service by paths; from here on, the other services know who calls."""
    services.name_user = partial(user_of, services)
    services.settle = partial(settle, services)
    services.member.node.tokens.ttl_s = services.member.config.auth_token_ttl_s
    service = Auth(services)
    ways = {
        "AuthEnable": service.enable,
        "AuthDisable": service.disable,
        "AuthStatus": service.status,
        "Authenticate": service.authenticate,
        "UserAdd": service.user_add,
        "UserGet": service.user_get,
        "UserList": service.user_list,
        "UserDelete": service.user_delete,
        "UserChangePassword": service.user_change_password,
        "UserGrantRole": service.user_grant_role,
        "UserRevokeRole": service.user_revoke_role,
        "RoleAdd": service.role_add,
        "RoleGet": service.role_get,
        "RoleList": service.role_list,
        "RoleDelete": service.role_delete,
        "RoleGrantPermission": service.role_grant_permission,
        "RoleRevokePermission": service.role_revoke_permission,
    }
    unaries = {name: unary(way) for name, way in ways.items()}
    return table(rpc.FILE, "etcdserverpb.Auth", unaries)
