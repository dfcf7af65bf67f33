"""Cases about users, roles and permissions: points 63 to 65 of etcd's semantics."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager

import grpc

from tests.live.spec_kit import (
    Api,
    View,
    case,
    delete,
    fails,
    get,
    nested,
    permissions,
    put,
    when,
)  # fmt: skip

EMPTY_USER = "etcdserver: user name is empty"
BAD_TOKEN = "etcdserver: invalid auth token"
DENIED = "etcdserver: permission denied"
NO_USER = "etcdserver: user name not found"
NO_ROLE = "etcdserver: role name not found"
NOT_ENABLED = "etcdserver: authentication is not enabled"
WRONG = "etcdserver: authentication failed, invalid user ID or password"
PRECONDITION, BAD = "FAILED_PRECONDITION", "INVALID_ARGUMENT"


def permission(kind: str, key: bytes, end: bytes = b""):
    return permissions.Permission(permType=kind, key=key, range_end=end)


@contextmanager
def secured(v: View, **users: list):
    """Authentication is on; `users` name permissions. Yields root's members and theirs."""
    with contextlib.suppress(grpc.RpcError):
        v.a.UserAdd(name="root", password="root")
        v.a.RoleAdd(name="root")
    v.a.UserGrantRole(user="root", role="root")
    for name, granted in users.items():
        v.a.UserAdd(name=name, password=name)
        v.a.RoleAdd(name=f"{name}s")
        for one in granted:
            v.a.RoleGrantPermission(name=f"{name}s", perm=one)
        v.a.UserGrantRole(user=name, role=f"{name}s")
    v.a.AuthEnable()
    root = v.a.as_user("root", "root")
    try:
        clients = [v.closing(v.b.as_user(name, name)) for name in users]
        yield [root, *clients]
    finally:
        root.AuthDisable()
        root.close()
        for name in v.a.UserList().users:
            v.a.UserDelete(name=name)
        for name in v.a.RoleList().roles:
            v.a.RoleDelete(role=name)


@case(63)
def authentication_that_is_off(v: View):
    fails(v.a.Authenticate, PRECONDITION, NOT_ENABLED, name="root", password="x")
    v.a.AuthDisable()
    fails(v.a.AuthEnable, PRECONDITION, "etcdserver: root user does not exist")
    v.a.UserAdd(name="root", password="root")
    try:
        fails(v.a.AuthEnable, PRECONDITION, "etcdserver: root user does not have root role")
    finally:
        v.a.UserDelete(name="root")
    odd = Api(v.a.endpoint, "no.token")
    with contextlib.suppress(AssertionError):  # 3.4 and 3.5 look at a token that nobody asked for
        fails(odd.Put, "UNAUTHENTICATED", BAD_TOKEN, key=v.key("a"))
    odd.close()
    try:
        status = v.b.AuthStatus()
    except grpc.RpcError as error:
        assert error.code().name == "UNIMPLEMENTED", "3.4 has none"
    else:
        assert not status.enabled and status.header.cluster_id


@case(63)
def users(v: View):
    v.a.UserAdd(name="u", password="p")
    try:
        taken = "etcdserver: user name already exists"
        fails(v.a.UserAdd, PRECONDITION, taken, name="u", password="q")
        fails(v.a.UserAdd, BAD, EMPTY_USER, name="", password="q")
        assert list(v.b.UserList().users) == ["u"] and not v.b.UserGet(name="u").roles
        for call in (v.a.UserGet, v.a.UserDelete):
            fails(call, PRECONDITION, NO_USER, name="nobody")
        fails(v.a.UserChangePassword, PRECONDITION, NO_USER, name="nobody", password="x")
        fails(v.a.UserGrantRole, PRECONDITION, NO_USER, user="nobody", role="r")
        fails(v.a.UserGrantRole, PRECONDITION, NO_ROLE, user="u", role="none")
        fails(v.a.UserRevokeRole, PRECONDITION, NO_USER, name="nobody", role="r")
        not_granted = "etcdserver: role is not granted to the user"
        fails(v.a.UserRevokeRole, PRECONDITION, not_granted, name="u", role="none")
        assert v.a.UserChangePassword(name="u", password="new").header.cluster_id
    finally:
        v.a.UserDelete(name="u")
    assert not v.a.UserList().users


@case(63)
def roles(v: View):
    v.a.RoleAdd(name="r")
    v.a.UserAdd(name="u", options=permissions.UserAddOptions(no_password=True))
    try:
        taken = "etcdserver: role name already exists"
        fails(v.a.RoleAdd, PRECONDITION, taken, name="r")
        for call in (v.a.RoleGet, v.a.RoleDelete):
            fails(call, PRECONDITION, NO_ROLE, role="none")
        first = permission("READ", b"a", b"c")
        fails(v.a.RoleGrantPermission, PRECONDITION, NO_ROLE, name="none", perm=first)
        v.a.RoleGrantPermission(name="r", perm=first)
        v.a.RoleGrantPermission(name="r", perm=permission("WRITE", b"x"))
        v.a.RoleGrantPermission(name="r", perm=permission("READWRITE", b"a", b"c"))
        granted = [(p.permType, p.key, p.range_end) for p in v.b.RoleGet(role="r").perm]
        assert granted == [(2, b"a", b"c"), (1, b"x", b"")], "the same range is replaced"
        v.a.RoleRevokePermission(role="r", key=b"a", range_end=b"c")
        missing = "etcdserver: permission is not granted to the role"
        gone = {"role": "r", "key": b"a", "range_end": b"c"}
        fails(v.a.RoleRevokePermission, PRECONDITION, missing, **gone)
        fails(v.a.RoleRevokePermission, PRECONDITION, NO_ROLE, role="none", key=b"a")
        v.a.UserGrantRole(user="u", role="r")
        v.a.UserGrantRole(user="u", role="r")
        assert list(v.b.UserGet(name="u").roles) == ["r"]
        assert list(v.b.RoleList().roles) == ["r"]
    finally:
        v.a.RoleDelete(role="r")
        assert not v.b.UserGet(name="u").roles, "a role that is gone is taken from its users"
        v.a.UserDelete(name="u")


@case(63, once=True)
def tokens(v: View):
    with secured(v) as (root,):
        for call in (v.a.Put, v.b.Range, v.b.DeleteRange):
            fails(call, BAD, EMPTY_USER, key=v.key("a"))
        fails(v.a.Txn, BAD, EMPTY_USER, success=[put(v.key("a"))])
        fails(v.a.UserList, BAD, EMPTY_USER)
        for token in ("bad", "bad.1", "x.y.z"):
            odd = Api(v.b.endpoint, token)
            fails(odd.Range, "UNAUTHENTICATED", BAD_TOKEN, key=v.key("a"))
            fails(odd.Put, "UNAUTHENTICATED", BAD_TOKEN, key=v.key("a"))
            fails(odd.Range, BAD, "etcdserver: key is not provided")
            fails(odd.Txn, BAD, "etcdserver: key is not provided", failure=[put(b"")])
            odd.close()
        for name, password in (("root", "wrong"), ("nobody", "x"), ("root", "")):
            fails(v.b.Authenticate, BAD, WRONG, name=name, password=password)
        everywhere = [Api(api.endpoint, root.token) for api in v.all]
        for api in everywhere:
            assert api.Put(key=v.key("a")).header.revision
            api.close()
        fails(root.UserDelete, BAD, "etcdserver: invalid auth management", name="root")
        old = v.closing(Api(v.b.endpoint))
        named = old.Authenticate(name="root", password="root").token
        metadata = [("authorization", named)]
        try:
            old.Range(key=v.key("a"), metadata=metadata)
        except grpc.RpcError as error:
            assert error.details() == EMPTY_USER


@case(63, once=True)
def what_needs_no_permission(v: View):
    with secured(v, ann=[]) as (root, ann):
        for one in (v.b, ann):
            assert one.MemberList().members and one.Status().version
            one.Alarm()
        lease = ann.LeaseGrant(TTL=60).ID
        v.undo.callback(v._revoke, lease)
        assert ann.LeaseLeases().leases
        with ann.stream("LeaseKeepAlive") as stream:
            stream.send(ID=lease)
            assert stream.next().TTL == 60
        now = root.Put(key=v.key("a")).header.revision
        ann.Compact(revision=now)
        for call, fields in (
            (ann.Put, {"key": v.key("a")}),
            (ann.Range, {"key": v.key("a")}),
            (ann.Range, {"key": v.key("a"), "serializable": True}),
            (ann.DeleteRange, {"key": v.key("a")}),
            (ann.UserAdd, {"name": "x", "password": "y"}),
            (ann.UserList, {}), (ann.RoleList, {}), (ann.AuthDisable, {}),
            (ann.RoleAdd, {"name": "x"}), (ann.UserGet, {"name": "root"}),
            (ann.RoleGet, {"role": "root"}), (ann.UserDelete, {"name": "ann"}),
            (ann.UserChangePassword, {"name": "ann", "password": "z"}),
        ):  # fmt: skip
            fails(call, "PERMISSION_DENIED", DENIED, **fields)
        assert list(ann.UserGet(name="ann").roles) == ["anns"], "of oneself"
        assert not ann.RoleGet(role="anns").perm


@case(63, once=True)
def members_and_upkeep_under_authentication(v: View):
    with secured(v, ann=[permission("READWRITE", v.key(), v.end)]) as (root, ann):
        fails(ann.MemberRemove, "PERMISSION_DENIED", DENIED, ID=4711)
        either = ("PERMISSION_DENIED", "UNKNOWN"), DENIED, "auth: permission denied"
        fails(ann.Defragment, *either)
        fails(ann.HashKV, *either)
        fails(ann.Hash, *either)
        root.Defragment()
        assert root.HashKV().header.member_id
        fails(root.MemberRemove, "NOT_FOUND", ID=4711)
        fails(lambda: list(ann.Snapshot()), *either)


@case(64, once=True)
def ranges_of_permissions(v: View):
    key = v.key
    granted = [
        permission("READ", key("a"), key("c")), permission("READ", key("c"), key("e")),
        permission("WRITE", key("w")), permission("READWRITE", key("x"), b"\0"),
    ]  # fmt: skip
    with secured(v, ann=granted) as (root, ann):
        denied = "PERMISSION_DENIED", DENIED
        assert ann.Range(key=key("a"), range_end=key("e")).count == 0, "neighbours join up"
        ann.Range(key=key("b"), range_end=key("d"))
        ann.Range(key=key("d"))
        for low, high in (("a", "f"), ("A", "b"), ("a", "e\0"), ("e", ""), ("w", "")):
            fails(ann.Range, *denied, key=key(low), range_end=key(high) if high else b"")
        fails(ann.Put, *denied, key=key("a"))
        assert ann.Put(key=key("w"))
        fails(ann.DeleteRange, *denied, key=key("w"), range_end=key("x"))
        assert ann.DeleteRange(key=key("w")).deleted == 1
        assert ann.Range(key=key("x"), range_end=b"\0", limit=1).header
        fails(ann.Range, *denied, key=key("w"), range_end=b"\0")
        assert ann.Put(key=b"\xff" + key("z")).header.revision
        root.DeleteRange(key=b"\xff", range_end=b"\0")
        with v.b.as_user("ann", "ann").watch(key=key("a"), range_end=key("c")) as stream:
            stream.created()
            root.Put(key=key("a"))
            stream.events(1)


@case(64, once=True)
def watching_without_permission(v: View):
    with secured(v, ann=[permission("READ", v.key("a"))]) as (_, ann):
        with ann.watch(key=v.key("b")) as stream:
            refused = stream.next()
            assert refused.created and refused.canceled and refused.watch_id in (-1, 0)
            assert "permission denied" in refused.cancel_reason
            stream.create(key=v.key("a"))
            assert stream.created().watch_id >= 0
        with v.b.watch(key=v.key("a")) as stream:
            with contextlib.suppress(grpc.RpcError):
                assert stream.next().canceled


@case(64, once=True)
def prev_kv_needs_reading(v: View):
    with secured(v, ann=[permission("WRITE", v.key("w"))]) as (_, ann):
        denied = "PERMISSION_DENIED", DENIED
        ann.Put(key=v.key("w"))
        fails(ann.Put, *denied, key=v.key("w"), prev_kv=True)
        fails(ann.DeleteRange, *denied, key=v.key("w"), prev_kv=True)
        fails(ann.Range, *denied, key=v.key("w"))
        fails(ann.Txn, *denied, success=[delete(v.key("w"), prev_kv=True)])
        assert ann.DeleteRange(key=v.key("w")).deleted == 1


@case(64, once=True)
def both_branches_are_checked(v: View):
    w, r, other = v.key("w"), v.key("r"), v.key("o")
    with secured(v, ann=[permission("WRITE", w), permission("READ", r)]) as (_, ann):
        denied = "PERMISSION_DENIED", DENIED
        fine = ann.Txn(compare=[when(r, "VERSION")], success=[put(w)], failure=[get(r)])
        assert fine.succeeded
        for bad in (put(other), get(other), delete(other), put(r), get(w)):
            careful = v.is_etcd() and bad.HasField("request_range")  # point 34
            fails(ann.Txn, *denied, success=[] if careful else [put(w)], failure=[bad])
            fails(ann.Txn, *denied, success=[bad])
        fails(ann.Txn, *denied, compare=[when(w, "VERSION")])
        fails(ann.Txn, *denied, compare=[when(other, "VERSION")], success=[put(w)])
        fails(ann.Txn, *denied, compare=[when(r, "VERSION", "EQUAL", v.key("z"))])
        ours = [nested(put(other)), put(w, prev_kv=True)]
        for escaped in ours:
            with contextlib.suppress(AssertionError):  # both escape in 3.4 and 3.5
                fails(ann.Txn, *denied, success=[escaped])


@case(65, once=True)
def leases_of_others(v: View):
    with secured(v, ann=[permission("READWRITE", v.key("a"))]) as (root, ann):
        denied = "PERMISSION_DENIED", DENIED
        lease = root.LeaseGrant(TTL=60).ID
        ann.Put(key=v.key("a"), lease=lease)
        root.Put(key=v.key("secret"), lease=lease)
        fails(ann.Put, *denied, key=v.key("a"), lease=lease)
        fails(ann.LeaseRevoke, *denied, ID=lease)
        root.DeleteRange(key=v.key("secret"))
        assert ann.Put(key=v.key("a"), lease=lease).header.revision
        assert ann.LeaseRevoke(ID=lease).header.revision
        assert root.Range(key=v.key("a")).count == 0


@case(65, once=True)
def tokens_end_with_their_users(v: View):
    mine = [permission("READWRITE", v.key(), v.end)]
    with secured(v, ann=mine, bob=mine) as (root, ann, bob):
        for one in (ann, bob):
            assert one.Put(key=v.key("a")).header.revision
        root.UserChangePassword(name="ann", password="new")
        root.UserDelete(name="bob")
        for one in (ann, bob):  # whether this member knows of it already or not
            fails(one.Put, "UNAUTHENTICATED", BAD_TOKEN, key=v.key("a"))
            fails(one.Range, "UNAUTHENTICATED", BAD_TOKEN, key=v.key("a"))
        fails(v.b.Authenticate, BAD, WRONG, name="ann", password="ann")
        again = v.closing(v.b.as_user("ann", "new"))
        assert again.Put(key=v.key("a")).header.revision


@case(64, once=True)
def roles_that_change_under_a_user(v: View):
    with secured(v, ann=[permission("READWRITE", v.key("a"))]) as (root, ann):
        denied = "PERMISSION_DENIED", DENIED
        assert ann.Put(key=v.key("a")).header.revision
        root.RoleRevokePermission(role="anns", key=v.key("a"))
        fails(again(v, "ann").Put, *denied, key=v.key("a"))
        root.RoleGrantPermission(name="anns", perm=permission("READWRITE", b"\0", b"\0"))
        assert again(v, "ann").Put(key=v.key("b")).header.revision
        assert again(v, "ann").Range(key=b"\0", range_end=b"\0", count_only=True).count
        root.UserRevokeRole(name="ann", role="anns")
        fails(again(v, "ann").Put, *denied, key=v.key("b"))


def again(v: View, name: str) -> Api:
    """With a token of now: an old one may be refused as of an old revision."""
    return v.closing(v.b.as_user(name, name))


@case(63, 67, once=True)
def authentication_over_json(v: View):
    with secured(v) as (root,):
        status, answer = v.b.post("/v3/kv/range", {"key": "YQ=="})
        assert (status, answer["code"], answer["error"]) == (400, 3, EMPTY_USER)
        status, answer = v.b.post("/v3/kv/range", {"key": "YQ=="}, Authorization="bad")
        assert (status, answer["code"], answer["error"]) == (401, 16, BAD_TOKEN)
        login = {"name": "root", "password": "root"}
        status, answer = v.b.post("/v3/auth/authenticate", login)
        assert status == 200
        token = answer["token"]
        status, answer = v.b.post("/v3/kv/put", {"key": "YQ=="}, Authorization=token)
        assert status == 200 and answer["header"]["revision"]
        status, answer = v.b.post("/v3/auth/user/list", {}, Authorization=token)
        assert answer["users"] == ["root"]
        login["password"] = "wrong"
        status, answer = v.b.post("/v3/auth/authenticate", login)
        assert (status, answer["error"]) == (400, WRONG)
        root.DeleteRange(key=b"a")


@case(63, once=True)
def a_user_without_a_password(v: View):
    with secured(v) as (root,):
        root.UserAdd(name="eve", options=permissions.UserAddOptions(no_password=True))
        for password in ("", "x"):
            odd = "auth: authentication failed, password was given for no password user"
            fails(v.b.Authenticate, (BAD, "UNKNOWN"), WRONG, odd, name="eve", password=password)
