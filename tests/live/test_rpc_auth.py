"""Users through etcd's Auth service: passwords, tokens, and who a call comes from."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from types import SimpleNamespace

import pytest

pytest.importorskip("google.protobuf", reason="etcd's messages are protobuf")
pytest.importorskip("aiohttp", reason="the gateway stands on it")
pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.errors import InvalidAuthToken
from kvlearn.kv.auth import Auth, Tokens
from kvlearn.live import rpc_auth
from kvlearn.live.codec import encode
from kvlearn.live.gateway import JsonCall
from kvlearn.live.http2 import Http2
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.live.rpc import Services
from tests.etcd.server import Etcd, find_etcd
from tests.live.calls import KeptCall
from tests.live.fakes import InProcess, lone_member
from tests.live.served import Served, fetch

BAD_TOKEN = "UNAUTHENTICATED", "etcdserver: invalid auth token"
DENIED = "PERMISSION_DENIED", "etcdserver: permission denied"
NOBODY = "INVALID_ARGUMENT", "etcdserver: user name is empty"
WRONG = "INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password"
READ, WRITE, READWRITE = range(3)


class Site:
    """Members and the services of each; `tokens` of those who are somebody."""

    def __init__(self, members):
        self.at = [Services(member) for member in members]
        self.tokens: dict[str, str] = {}

    def call(self, path: str, request, who: str = "", at: int = 0, **metadata: str) -> KeptCall:
        if who:
            metadata["token"] = self.tokens[who]
        return KeptCall(self.at[at], f"/etcdserverpb.{path}", request, **metadata)

    async def ask(self, path: str, request, who: str = "", at: int = 0, **metadata: str):
        """The answer; (code, text) where it is refused."""
        return await self.call(path, request, who, at, **metadata).answer()

    async def auth(self, verb: str, who: str = "", at: int = 0, **fields):
        """An RPC of the service, which has to work."""
        name = verb if verb.startswith("Auth") else f"Auth{verb}"
        answer = await self.ask(f"Auth/{verb}", getattr(rpc, f"{name}Request")(**fields), who, at)
        assert not isinstance(answer, tuple), (verb, fields, answer)
        return answer

    async def login(self, name: str, password: str, at: int = 0) -> str:
        request = rpc.AuthenticateRequest(name=name, password=password)
        answer = await self.ask("Auth/Authenticate", request, at=at)
        assert not isinstance(answer, tuple), answer
        self.tokens[name] = answer.token
        return answer.token

    async def people(self) -> None:
        """root, and ann who may do all to [a, c); authentication is on, and both have tokens."""
        for name, password in (("root", "r"), ("ann", "secret of ann")):
            await self.auth("UserAdd", name=name, password=password)
        await self.auth("UserGrantRole", user="root", role="root")
        await self.auth("RoleAdd", name="low")
        perm = {"key": b"a", "range_end": b"c", "permType": READWRITE}
        await self.auth("RoleGrantPermission", name="low", perm=perm)
        await self.auth("UserGrantRole", user="ann", role="low")
        await self.auth("AuthEnable")
        await self.login("root", "r")
        await self.login("ann", "secret of ann")


def alone(test):
    """A test with one member."""

    def played():
        async def within():
            member = await lone_member(bcrypt_cost=4)
            try:
                await test(Site([member]))
            finally:
                await member.stop()

        asyncio.run(asyncio.wait_for(within(), 60))

    played.__name__, played.__doc__ = test.__name__, test.__doc__
    return played


def put(key: bytes) -> rpc.PutRequest:
    return rpc.PutRequest(key=key, value=b"1")


def get(key: bytes, **more) -> rpc.RangeRequest:
    return rpc.RangeRequest(key=key, **more)


# Passwords -----------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", "secret", "pässword\n", "x" * 300])
def test_only_the_password_fits_its_hash(password):
    hashed = rpc_auth.hash_password(password, 4)
    assert rpc_auth.fits(password, hashed)
    assert not any(
        rpc_auth.fits(other, hashed) for other in (password + " ", password.upper() + "X")
    )
    assert rpc_auth.hash_password(password, 4) != hashed, "another salt"
    assert not password or password not in hashed


@pytest.mark.parametrize("hashed", ["", "secret", "bcrypt$4$00$00"])
def test_what_is_no_hash_fits_no_password(hashed):
    assert not any(rpc_auth.fits(password, hashed) for password in ("", "secret"))


def test_a_higher_cost_means_more_rounds():
    rounds = [int(rpc_auth.hash_password("p", cost).split("$")[1]) for cost in (4, 5, 10)]
    assert rounds == [1024, 2048, 65536]


def test_tokens_differ():
    made = {rpc_auth.new_token() for _ in range(100)}
    assert len(made) == 100 and all(len(one) == 16 and one.isalpha() for one in made)


# The service ---------------------------------------------------------------------------------


@alone
async def test_users_and_roles_are_told_as_they_were_made(site):
    await site.people()
    assert list((await site.auth("UserList", "root")).users) == ["ann", "root"]
    assert list((await site.auth("UserGet", "ann", name="ann")).roles) == ["low"]
    assert list((await site.auth("RoleList", "root")).roles) == ["low"]
    for kind, end in ((READ, b""), (WRITE, b"\0")):
        perm = {"key": b"x", "range_end": end, "permType": kind}
        await site.auth("RoleGrantPermission", "root", name="low", perm=perm)
    told = (await site.auth("RoleGet", "ann", role="low")).perm
    assert [(one.permType, one.key, one.range_end) for one in told] == [
        (READWRITE, b"a", b"c"), (READ, b"x", b""), (WRITE, b"x", b"\0"),
    ]  # fmt: skip
    await site.auth("RoleRevokePermission", "root", role="low", key=b"x", range_end=b"\0")
    assert len((await site.auth("RoleGet", "ann", role="low")).perm) == 2
    status = await site.auth("AuthStatus", "root")
    assert status.enabled and status.authRevision == 10
    await site.auth("UserRevokeRole", "root", name="ann", role="low")
    await site.auth("RoleDelete", "root", role="low")
    assert list((await site.auth("UserGet", "ann", name="ann")).roles) == []
    await site.auth("AuthDisable", "root")
    assert not (await site.auth("AuthStatus")).enabled


@alone
async def test_answers_have_the_whole_header(site):
    await site.people()
    member = site.at[0].member
    for answer in (
        await site.auth("UserList", "root"),
        await site.auth("RoleGet", "root", role="low"),
        await site.auth("AuthStatus", "root"),
        await site.auth("UserAdd", "root", name="new"),
    ):
        header = answer.header
        assert (header.cluster_id, header.member_id) == (member.cluster_id, member.id)
        assert (header.revision, header.raft_term) == (1, 1)


@alone
async def test_no_password_enters_the_log(site):
    await site.people()
    await site.auth("UserChangePassword", "root", name="ann", password="another secret")
    entries = b"".join(map(encode, site.at[0].member.node.raft.log.entries))
    assert b"ann" in entries and b"secret" not in entries


@alone
async def test_who_nobody_knows_gets_no_token(site):
    request = rpc.AuthenticateRequest(name="root", password="r")
    off = "FAILED_PRECONDITION", "etcdserver: authentication is not enabled"
    assert await site.ask("Auth/Authenticate", request) == off
    await site.people()
    await site.auth("UserAdd", "root", name="cert", options={"no_password": True})
    for name, password in (("root", "R"), ("root", ""), ("ghost", "r"), ("", "")):
        request = rpc.AuthenticateRequest(name=name, password=password)
        assert await site.ask("Auth/Authenticate", request) == WRONG
        assert await site.ask("Auth/Authenticate", request, token="junk") == WRONG
    request = rpc.AuthenticateRequest(name="cert", password="")
    no_password = "auth: authentication failed, password was given for no password user"
    assert await site.ask("Auth/Authenticate", request) == ("UNKNOWN", no_password)


@alone
async def test_a_permission_has_to_be_given(site):
    request = rpc.AuthRoleGrantPermissionRequest(name="low")
    said = await site.ask("Auth/RoleGrantPermission", request)
    assert said == ("INVALID_ARGUMENT", "etcdserver: permission not given")
    request.perm.key, request.perm.permType = b"a", 7
    assert (await site.ask("Auth/RoleGrantPermission", request))[0] == "INVALID_ARGUMENT"


# Who calls -----------------------------------------------------------------------------------


@alone
async def test_a_call_is_its_token_s(site):
    await site.people()
    assert (await site.ask("KV/Put", put(b"a"), "ann")).header.revision == 2
    for path, request in (("KV/Put", put(b"x")), ("KV/Range", get(b"x"))):
        assert await site.ask(path, request, "ann") == DENIED
        assert await site.ask(path, request) == NOBODY
        for junk in ("junk", "junk.1", "junk.x", ".", "a.b.c", "junk.-1", "junk.²"):
            assert await site.ask(path, request, token=junk) == BAD_TOKEN
    ann = site.tokens["ann"]
    for metadata in ({"authorization": ann}, {"authorization": f"Bearer {ann}"}, {"token": ann}):
        assert (await site.ask("KV/Range", get(b"a"), **metadata)).count == 1
    assert (await site.ask("KV/Range", get(b"x", serializable=True))) == NOBODY


@alone
async def test_some_methods_never_look_at_tokens(site):
    await site.people()
    for path, request in (
        ("Cluster/MemberList", rpc.MemberListRequest()),
        ("Maintenance/Status", rpc.StatusRequest()),
        ("Lease/LeaseLeases", rpc.LeaseLeasesRequest()),
        ("Lease/LeaseKeepAlive", rpc.LeaseKeepAliveRequest(ID=5)),
    ):
        for token in ("junk.1", ""):
            answer = await site.ask(path, request, **({"token": token} if token else {}))
            assert answer.HasField("header"), (path, token, answer)
    grant = rpc.LeaseGrantRequest(TTL=9)
    assert (await site.ask("Lease/LeaseGrant", grant)).TTL == 9, "nobody is asked"
    assert await site.ask("Lease/LeaseGrant", grant, token="junk.1") == BAD_TOKEN


@alone
async def test_while_it_is_off_a_token_means_nothing(site):
    assert (await site.ask("KV/Put", put(b"x"), token="junk.1")).header.revision == 2


@alone
async def test_what_needs_root_is_refused_at_every_door(site):
    await site.people()
    for path, request in (
        ("Maintenance/Hash", rpc.HashRequest()),
        ("Maintenance/HashKV", rpc.HashKVRequest()),
        ("Maintenance/Defragment", rpc.DefragmentRequest()),
        ("Maintenance/Snapshot", rpc.SnapshotRequest()),
        ("Cluster/MemberRemove", rpc.MemberRemoveRequest(ID=5)),
        ("Auth/UserList", rpc.AuthUserListRequest()),
    ):
        assert await site.ask(path, request, "ann") == DENIED, path
        assert await site.ask(path, request) == NOBODY, path


@alone
async def test_a_watch_of_foreign_keys_ends_in_band(site):
    await site.people()
    nobody = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
    for key, user, told in ((b"a", "ann", ""), (b"x", "ann", DENIED[1]), (b"a", "", nobody)):
        request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key))
        call = site.call("Watch/Watch", request, user)
        [answer] = await call.hear(1)
        assert answer.created and answer.canceled == bool(told)
        assert told in answer.cancel_reason and call.status is None


@alone
async def test_tokens_end_with_the_password_and_the_user(site):
    await site.people()
    await site.auth("UserChangePassword", "root", name="ann", password="new")
    assert await site.ask("KV/Range", get(b"a"), "ann") == BAD_TOKEN
    request = rpc.AuthenticateRequest(name="ann", password="secret of ann")
    assert await site.ask("Auth/Authenticate", request) == WRONG
    await site.login("ann", "new")
    assert (await site.ask("KV/Range", get(b"a"), "ann")).count == 0
    await site.auth("UserDelete", "root", name="ann")
    assert await site.ask("KV/Range", get(b"a"), "ann") == BAD_TOKEN


@alone
async def test_a_token_that_nobody_uses_ends(site):
    await site.people()
    member = site.at[0].member
    member.node.tokens.ttl_s = 0.0  # of every use from now on
    assert (await site.ask("KV/Range", get(b"a"), "ann")).count == 0
    assert await site.ask("KV/Range", get(b"a"), "ann") == BAD_TOKEN


# A member that lags --------------------------------------------------------------------------


@alone
async def test_a_call_waits_until_the_entry_of_its_token_is_here(site):
    await site.people()
    member = site.at[0].member
    # ann's token, as if a later entry had made it
    index = member.node.machine.applied + 2
    call = site.call("KV/Range", get(b"a"), token=f"later.{index}")
    stream = site.call("Watch/Watch", rpc.WatchRequest(), token=f"later.{index}")
    stream.on_message(b"\x0a\x03\x0a\x01a")  # a create_request for a
    for _ in range(5):
        await asyncio.sleep(0)
    assert call.status is None and stream.status is None and not stream.sent
    await site.ask("KV/Put", put(b"a"), "ann")
    assert call.status is None, "one entry more is missing"
    member.node.tokens.assign(f"later.{index}", "ann", member.now)
    await site.ask("KV/Put", put(b"a"), "ann")
    assert (await call.answer()).count == 1
    assert (await stream.hear(1))[0].created, "and what came meanwhile, came in"


@alone
async def test_who_hangs_up_waits_for_nothing(site):
    await site.people()
    index = site.at[0].member.node.machine.applied + 1
    call = site.call("KV/Put", put(b"a"), token=f"later.{index}")
    call.closed = True
    call.on_close()
    await site.ask("KV/Put", put(b"b"), "ann")
    await asyncio.sleep(2 * rpc_auth.LOOKS_S)
    assert (await site.ask("KV/Range", get(b"a"), "ann")).count == 0


@alone
async def test_nobody_waits_for_what_never_comes(site):
    await site.people()
    was, rpc_auth.WAIT_S = rpc_auth.WAIT_S, 0.01
    try:
        index = site.at[0].member.node.machine.applied + 5
        assert await site.ask("KV/Range", get(b"a"), token=f"later.{index}") == BAD_TOKEN
    finally:
        rpc_auth.WAIT_S = was


def test_a_token_is_good_at_every_member_at_once():
    async def within():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.leader()
            site = Site(cluster.members.values())
            await site.people()
            for turn in range(12):
                name, password = (("root", "r"), ("ann", "secret of ann"))[turn % 2]
                await site.login(name, password, at=turn % 3)
                for at in range(3):
                    answer = await site.ask("KV/Put", put(b"a"), name, at)
                    assert not isinstance(answer, tuple), (turn, at, answer)
            for at in range(3):
                assert await site.ask("KV/Range", get(b"x"), "ann", at) == DENIED
            await site.auth("UserDelete", "root", at=1, name="ann")
            assert await site.ask("KV/Put", put(b"a"), "ann", at=1) == BAD_TOKEN

    asyncio.run(asyncio.wait_for(within(), 60))


# Certificates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asks", "common_name", "token", "user"),
    [
        (True, "ann", "", "ann"),
        (True, "ann", "t.1", "bob"),
        (True, "", "", ""),
        (False, "ann", "", ""),
        (True, JsonCall.peer_common_name, "", ""),  # the gateway's calls
    ],
)
def test_without_a_token_the_certificate_says_who_calls(asks, common_name, token, user):
    auth, tokens = Auth(), Tokens()
    auth.enabled = True
    tokens.assign("t.1", "bob", 0.0)
    node = SimpleNamespace(machine=SimpleNamespace(auth=auth), tokens=tokens)
    config = SimpleNamespace(client_cert_auth=asks)
    services = SimpleNamespace(member=SimpleNamespace(node=node, config=config, now=1.0))
    metadata = {"token": token} if token else {}
    told = dict(metadata=metadata, peer_common_name=common_name)
    call = SimpleNamespace(path="/etcdserverpb.KV/Put", **told)
    assert rpc_auth.user_of(services, call) == user
    call.metadata = {"token": "junk"}
    with pytest.raises(InvalidAuthToken):
        rpc_auth.user_of(services, call)


def test_the_certificate_of_a_real_connection_names_its_user(tmp_path):
    grpc = pytest.importorskip("grpc", reason="a client with a certificate")
    trustme = pytest.importorskip("trustme", reason="makes certificates")
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    ann = authority.issue_cert("ann@example.org", common_name="ann")
    files = {"cert_file": server.cert_chain_pems[0], "key_file": server.private_key_pem}
    files["trusted_ca_file"] = authority.cert_pem
    for name, blob in files.items():
        blob.write_to_path(tmp_path / name)
    paths = {name: str(tmp_path / name) for name in files}
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=paths["trusted_ca_file"])
    context.load_cert_chain(paths["cert_file"], paths["key_file"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    own = ann.private_key_pem.bytes(), ann.cert_chain_pems[0].bytes()
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), *own)

    async def within():
        urls = {f"{side}_client_urls": ("https://127.0.0.1:0",) for side in ("listen", "advertise")}
        member = await lone_member(bcrypt_cost=4, client_cert_auth=True, **paths, **urls)
        site = Site([member])
        await site.people()
        opened = site.at[0].open
        listening = await member.loop.create_server(
            lambda: Http2(opened), "127.0.0.1", 0, ssl=context
        )
        port = listening.sockets[0].getsockname()[1]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            ask = channel.unary_unary("/etcdserverpb.KV/Put", rpc.PutRequest.SerializeToString)
            await ask(put(b"a"), timeout=20)
            codes = []
            for key, token in ((b"x", ()), (b"a", (("token", "junk"),))):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask(put(key), timeout=20, metadata=token)
                codes.append(refused.value.code().name)
        assert codes == ["PERMISSION_DENIED", "UNAUTHENTICATED"]
        listening.close()
        await member.stop()

    asyncio.run(asyncio.wait_for(within(), 60))


# As etcd does it -----------------------------------------------------------------------------


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


MAKING = [  # while it is off
    *(
        ("user/add", {"name": n, "password": p})
        for n, p in (("root", "r"), ("u", "p"), ("root", ""))
    ),
    *(
        ("enable", {}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("role/add", {"name": "r"}),
    ),
    *(("role/get", {"role": "root"}), ("user/grant", {"user": "u", "role": "r"})),
    ("role/grant", {"name": "r", "perm": {"key": b64("m"), "range_end": b64("n"), "permType": 2}}),
    ("role/grant", {"name": "r", "perm": {"key": b64("a"), "range_end": b64("c")}}),
    ("role/grant", {"name": "r", "perm": {"key": b64("c"), "range_end": b64("e")}}),
    ("role/grant", {"name": "r", "perm": {"key": b64("z"), "permType": "WRITE"}}),
    *(("role/get", {"role": "r"}), ("role/revoke", {"role": "r", "key": b64("m")})),
    *(("user/grant", {"user": "u", "role": "x"}), ("user/revoke", {"name": "u", "role": "root"})),
    ("user/add", {"name": "n", "options": {"no_password": True}}),
    ("enable", {}),
    *(("authenticate", {"name": n, "password": p}) for n, p in (("n", ""), ("x", ""), ("u", ""))),
]
M, X, LEASED = {"key": b64("m")}, {"key": b64("x")}, {"lease": "7"}
ASKED = [  # of each path, by nobody, by root, by u and with a token that is none
    *(("kv/range", {"key": b64(k), "range_end": b64(e)}) for k, e in ("ac", "ae", "af", "mn")),
    *(("kv/range", {"key": b64(k), "range_end": b64(e)}) for k, e in ("ba", "xa", "m\0", "\0\0")),
    *(("kv/range", M | {"serializable": True}), ("kv/range", X | {"serializable": True})),
    *(("kv/put", M), ("kv/put", X), ("kv/put", {"key": b64("a")}), ("kv/put", M | {"prev_kv": 1})),
    *(("kv/put", {"key": b64("z")} | more) for more in ({}, {"prev_kv": True})),
    *(("lease/grant", {"TTL": 500, "ID": 7}), ("lease/grant", {"TTL": 500, "ID": 8})),
    *(("kv/put", X | LEASED), ("kv/put", M | {"lease": "8"}), ("kv/put", M | LEASED)),
    *(("kv/put", M | {"lease": "9"}), ("kv/put", X | {"lease": "9"}), ("lease/revoke", {"ID": 9})),
    *(("lease/revoke", {"ID": 7}), ("lease/revoke", {"ID": 8}), ("lease/keepalive", {"ID": 7})),
    *(("kv/deleterange", M), ("kv/deleterange", X), ("kv/deleterange", X | {"prev_kv": True})),
    *(("kv/txn", {}), ("kv/txn", {"compare": [M]}), ("kv/txn", {"compare": [X]})),
    *(("kv/txn", {branch: [{"request_put": X}]}) for branch in ("success", "failure")),
    *(("kv/txn", {branch: [{"request_range": X}]}) for branch in ("success", "failure")),
    ("kv/txn", {"success": [{"request_put": M}, {"request_range": M}]}),
    *(("kv/compaction", {"revision": 2}), ("cluster/member/list", {})),
    *(("cluster/member/remove", {"ID": 5}), ("cluster/member/promote", {"ID": 5})),
    *(("auth/user/get", {"name": name}) for name in ("u", "root", "x", "")),
    *(("auth/role/get", {"role": role}) for role in ("r", "root", "x", "")),
    *(("auth/user/list", {}), ("auth/role/list", {}), ("auth/user/add", {"name": ""})),
    ("auth/user/delete", {"name": "root"}),
    ("auth/user/revoke", {"name": "root", "role": "root"}),
    *(("auth/role/delete", {"role": "x"}), ("auth/enable", {}), ("auth/role/add", {"name": ""})),
    ("auth/user/changepw", {"name": "x", "password": "x"}),
]  # fmt: skip


def said(port: int, path: str, body, token: str = "") -> dict:
    """The JSON of an answer, without what differs from server to server."""
    _, _, text = fetch(
        port, "POST", f"/v3/{path}", body, **({"Authorization": token} if token else {})
    )
    answer = json.loads(text.splitlines()[0])
    for one in (answer, answer.get("result", {})):
        one.pop("header", None)
        one.pop("message", None)
    for member in answer.get("members", ()):
        member.clear()
    return answer


def test_everybody_hears_what_a_real_etcd_says():
    """All who call, one after the other, on both sides; tokens are each side's own."""
    program = find_etcd()
    if program is None:
        pytest.skip("no etcd program: set KVLEARN_ETCD or install etcd-server")
    etcd, ours = Etcd(program), Served(bcrypt_cost=4)
    try:
        ports = etcd.port, ours.port
        for path, body in MAKING:
            told, mine = (said(port, f"auth/{path}", body) for port in ports)
            assert told == mine, (path, body)
        tokens = [
            {name: said(port, "auth/authenticate", who)["token"] for name, who in
             (("root", {"name": "root", "password": "r"}), ("u", {"name": "u", "password": "p"}))}
            for port in ports
        ]  # fmt: skip
        assert all(len(one["u"].split(".")[0]) == 16 for one in tokens)
        for path, body in ASKED:
            for who in ("", "root", "u", "junk.1"):
                told, mine = (
                    said(port, path, body, known.get(who, who))
                    for port, known in zip(ports, tokens)
                )
                assert told == mine, (path, body, who)
    finally:
        etcd.stop()
        ours.stop()
