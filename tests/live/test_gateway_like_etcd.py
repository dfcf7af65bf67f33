"""The same questions over HTTP to a real etcd and to a member: the answers are the same JSON.

What differs from server to server (ids, tokens, sizes, hashes) is told as "…", and so is what
differs between etcd's versions where ours follows the other one: see `told`.
"""

from __future__ import annotations

import json

import pytest

pytest.importorskip("aiohttp", reason="the gateway stands on it")
pytest.importorskip("google.protobuf", reason="its messages are protobuf's")

from tests.etcd.server import Etcd, find_etcd
from tests.live.served import Served, fetch, stream
from tests.live.test_gateway import BAR, FOO, b64

VARIES = {"cluster_id", "member_id", "raft_term", "leader", "hash", "token", "version", "dbSize"}
VARIES |= {"dbSizeInUse", "raftIndex", "raftTerm", "raftAppliedIndex", "peerURLs", "clientURLs"}
VARIES |= {"etcdserver", "etcdcluster"}
ALARM = {"memberID": "7", "alarm": "NOSPACE"}
LEADER = {"name": b64("e"), "key": b64("e/4d"), "lease": "77"}
KEYS = {"key": b64("k"), "range_end": b64("l")}
USER = {"name": "u", "password": "p"}
ROOT = {"name": "root", "password": "r"}


def put(key: str, value: str = "", **more) -> dict:
    return {"key": b64(key), "value": b64(value), **more}


TALK = [  # path below /v3/ and body, in this order
    ("kv/put", {"key": FOO, "value": BAR}),
    ("kv/put", {"key": FOO, "value": "", "prev_kv": True}),
    ("kv/put", {"key": FOO, "ignoreValue": True, "prevKv": True}),
    ("kv/put", {"key": FOO, "value": BAR, "ignore_value": True}),
    ("kv/put", {"value": BAR}),
    ("kv/put", {"key": FOO, "lease": "404"}),
    ("kv/put", {"key": b64("none"), "ignore_lease": True}),
    *(("kv/put", put(f"k{i}", f"v{9 - i}")) for i in range(5)),
    ("kv/range", KEYS),
    ("kv/range", KEYS | {"limit": 2}),
    ("kv/range", KEYS | {"limit": "2", "keys_only": True}),
    ("kv/range", KEYS | {"count_only": True}),
    ("kv/range", KEYS | {"sort_order": "DESCEND", "sort_target": "VALUE"}),
    ("kv/range", KEYS | {"sortOrder": 1, "sortTarget": 3}),
    ("kv/range", KEYS | {"min_mod_revision": "6", "max_mod_revision": 7}),
    ("kv/range", {"key": FOO, "revision": 2}),
    ("kv/range", {"key": FOO, "revision": 10_000}),
    ("kv/range", {"key": FOO, "serializable": True}),
    ("kv/range", {"key": "AA==", "range_end": "AA=="}),
    ("kv/range", {"key": b64("nobody")}),
    ("kv/range", ""),
    ("kv/range", {"key": 5}),
    ("kv/range", {"key": "Zm9"}),
    ("kv/range", {"key": FOO, "limit": "x"}),
    ("kv/range", {"key": FOO, "limit": 1.5}),
    ("kv/range", {"key": FOO, "serializable": "true"}),
    ("kv/range", "{"),
    ("kv/range", "nonsense"),
    ("kv/range", []),
    ("kv/deleterange", {"key": b64("k4"), "prev_kv": True}),
    ("kv/deleterange", {"key": b64("k4")}),
    (
        "kv/txn",
        {
            "compare": [{"key": FOO, "target": "VERSION", "result": "GREATER", "version": "1"}],
            "success": [
                {"request_put": put("t", "1")},
                {"request_range": KEYS | {"limit": 1}},
                {"request_delete_range": {"key": b64("k3"), "prev_kv": True}},
                {"request_txn": {"failure": [{"request_put": put("never")}]}},
            ],
        },
    ),
    (
        "kv/txn",
        {
            "compare": [{"key": FOO, "target": "VALUE", "value": b64("no")}],
            "failure": [{"requestRange": {"key": b64("t")}}],
        },
    ),
    ("kv/txn", {}),
    ("kv/txn", {"success": [{}]}),
    ("kv/txn", {"success": [{"request_put": put("d")}, {"request_put": put("d")}]}),
    ("kv/txn", {"success": {}}),
    ("kv/compaction", {"revision": "5", "physical": True}),
    ("kv/compaction", {"revision": "5"}),
    ("kv/compaction", {"revision": 10_000}),
    ("kv/range", {"key": FOO, "revision": "4"}),
    ("lease/grant", {"ID": 77, "TTL": "500"}),
    ("lease/grant", {"ID": 77, "TTL": 500}),
    ("lease/grant", {"TTL": "9000000001"}),
    ("lease/grant", {"ID": "-5", "TTL": 0}),
    ("kv/put", put("leased", "1", lease="77")),
    ("kv/range", {"key": b64("leased")}),
    ("lease/leases", ""),
    ("kv/lease/leases", {}),
    ("lease/timetolive", {"ID": "404"}),
    ("lease/keepalive", {"ID": "77"}),
    ("lease/keepalive", '{"ID":77}{"ID":404}'),
    ("lease/keepalive", ""),
    ("lease/keepalive", "x"),
    ("lock/lock", {"name": b64("lk"), "lease": "77"}),
    ("lock/lock", {"name": b64("lk"), "lease": "77"}),
    ("lock/lock", {"name": b64("lk"), "lease": "404"}),
    ("lock/unlock", {"key": b64("lk/4d")}),
    ("lock/unlock", {"key": b64("nobody's")}),
    ("election/leader", {"name": b64("e")}),
    ("election/campaign", {"name": b64("e"), "value": BAR, "lease": 77}),
    ("election/leader", {"name": b64("e")}),
    ("election/proclaim", {"leader": LEADER | {"rev": "1"}, "value": FOO}),
    ("election/resign", {"leader": LEADER | {"rev": "1"}}),
    ("kv/lease/timetolive", {"ID": "77", "keys": True}),
    ("kv/lease/revoke", {"ID": "77"}),
    ("lease/revoke", {"ID": "77"}),
    ("cluster/member/list", {}),
    ("cluster/member/remove", {"ID": "5"}),
    ("cluster/member/update", {"ID": "5", "peerURLs": ["http://127.0.0.1:1111"]}),
    ("cluster/member/promote", {"ID": "5"}),
    ("cluster/member/add", {"peerURLs": ["nonsense"]}),
    ("cluster/member/add", {"peerURLs": "nonsense"}),
    ("maintenance/status", ""),
    ("maintenance/hash", ""),
    ("maintenance/alarm", {}),
    ("maintenance/alarm", ALARM | {"action": "ACTIVATE"}),
    ("maintenance/alarm", {"action": "GET"}),
    ("maintenance/status", ""),
    ("kv/put", put("full", "1")),
    ("kv/deleterange", {"key": b64("full")}),
    ("maintenance/alarm", ALARM | {"action": 2}),
    ("maintenance/transfer-leadership", {"targetID": "9"}),
    ("maintenance/defragment", ""),
    ("auth/enable", {}),
    ("auth/disable", {}),
    ("auth/authenticate", USER),
    ("auth/user/add", USER),
    ("auth/user/add", USER),
    ("auth/user/add", {"password": "p"}),
    ("auth/user/add", ROOT),
    ("auth/role/add", {"name": "root"}),
    ("auth/role/add", {"name": "r"}),
    ("auth/role/add", {"name": "r"}),
    ("auth/role/grant", {"name": "r", "perm": KEYS | {"permType": "READWRITE"}}),
    ("auth/role/grant", {"name": "x", "perm": KEYS | {"permType": "READ"}}),
    ("auth/role/get", {"role": "r"}),
    ("auth/role/list", ""),
    ("auth/user/grant", {"user": "root", "role": "root"}),
    ("auth/user/grant", {"user": "u", "role": "r"}),
    ("auth/user/get", {"name": "u"}),
    ("auth/user/list", {}),
    ("auth/user/changepw", {"name": "nobody", "password": "x"}),
    ("auth/enable", ""),
    ("auth/authenticate", USER | {"password": "wrong"}),
    ("kv/range", {"key": FOO}),
    ("auth/authenticate", USER),
    ("kv/range", KEYS | {"count_only": True}),  # from here on with the token of `u`
    ("kv/range", {"key": FOO}),
    ("kv/put", put("k1", "by u")),
    ("auth/user/list", {}),
    ("auth/authenticate", ROOT),
    ("auth/disable", {}),  # with that of `root`, and without any from here on
    ("auth/role/revoke", {"role": "r", **KEYS}),
    ("auth/user/revoke", {"name": "u", "role": "r"}),
    ("auth/role/delete", {"role": "r"}),
    ("auth/user/delete", {"name": "u"}),
]
WATCHES = [  # body of a watch, and how many lines to read
    ({"create_request": {"key": FOO, "start_revision": 6}}, 1),
    ({"create_request": KEYS | {"start_revision": "6"}}, 2),
    ({"create_request": KEYS | {"start_revision": "6", "filters": ["NOPUT"], "prev_kv": 1}}, 1),
    ({"create_request": KEYS | {"startRevision": 10, "filters": ["NOPUT"], "prevKv": True}}, 2),
    ({"create_request": {"key": FOO, "start_revision": "1"}}, 2),
    ({"create_request": {"key": b64("b"), "range_end": b64("a")}}, 1),
    ('{"create_request":{"key":"Zm9v","watch_id":9}}{"cancel_request":{"watch_id":9}}', 2),
    ('{"create_request":{"key":"Zm9v"}}{"create_request":{"key":"Zm9v"}} x', 2),
    ("x", 1),
]
PLAIN = [
    *(("GET", path) for path in ("/health", "/health?serializable=true", "/version", "/", "/v3/")),
    *(("GET", path) for path in ("/v3/kv/range", "/v3/watch", "/v3/kv/nope", "/v2/keys")),
    *(("POST", path) for path in ("/health", "/version", "/v3/kv/nope", "/v3alpha/kv/range")),
    *(("PUT", path) for path in ("/v3/kv/put", "/health")),
]


def told(value, path: str = ""):
    """An answer without what differs from server to server."""
    if isinstance(value, list):
        return [told(one, path) for one in value]
    if not isinstance(value, dict):
        return value
    known = {}
    for name, one in value.items():
        if name in VARIES or (name == "ID" and "cluster" in path):
            one = "…"
        elif name == "TTL" and "timetolive" in path and int(one) > 0:
            one = "…"  # a second may have passed
        elif name == "errors":
            one = [text.split(" alarm:")[1] for text in one]
        elif name in ("keys", "leases", "users", "roles"):
            one = sorted(one, key=str)
        known[name] = told(one, path)
    if "alarm" in path or "health" in path:
        known.pop("header", None)  # etcd 3.5 gives one, 3.4 does not
        known.pop("reason", None)
    return known


def answers(port: int) -> list:
    """What is answered to TALK."""
    heard, token = [], {}
    for path, body in TALK:
        status, headers, text = fetch(port, "POST", f"/v3/{path}", body, **token)
        lines = [json.loads(line) for line in text.splitlines()]
        if status == 200 and path == "auth/authenticate":
            token = {"Authorization": lines[0]["token"]}
        if path == "auth/disable":
            token = {}
        if status == 412:
            status = 400  # FAILED_PRECONDITION in 3.4 and in 3.5
        content = headers["Content-Type"]
        heard.append((path, body, status, content, [told(line, path) for line in lines]))
    return heard


@pytest.fixture(scope="module")
def ports():
    """etcd's port and ours."""
    program = find_etcd()
    if program is None:
        pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD to the program")
    etcd, served = Etcd(program), Served()
    yield etcd.port, served.port
    served.stop()
    etcd.stop()


def test_the_answers_are_those_of_etcd(ports):
    theirs, ours = map(answers, ports)
    assert [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.parametrize("number", range(len(WATCHES)))
def test_watches_tell_what_etcds_tell(ports, number):
    """Runs after the talk above, on the history that it has left."""
    body, lines = WATCHES[number]
    heard = []
    for port in ports:
        with stream(port, "/v3/watch", body) as line:
            heard.append([told(line()) for _ in range(lines)])
    theirs, ours = heard
    assert ours == theirs


@pytest.mark.parametrize("method, path", PLAIN)
def test_what_is_no_service_is_answered_alike(ports, method, path):
    heard = []
    for port in ports:
        status, headers, text = fetch(port, method, path, "{}" if method == "POST" else None)
        if text.startswith("{"):
            text = json.dumps(told(json.loads(text), path))
        heard.append((status, headers["Content-Type"], text))
    theirs, ours = heard
    assert ours == theirs
