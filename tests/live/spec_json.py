"""Cases about the JSON gateway: points 66 to 68 of etcd's semantics."""

from __future__ import annotations

import base64
import json

from tests.live.spec_kit import View, case, until


def text(data: bytes) -> str:
    """Bytes as JSON has them."""
    return base64.b64encode(data).decode()


def ok(v: View, path: str, body=None, **headers):
    status, answer = v.b.post(path, {} if body is None else body, **headers)
    assert status == 200, (status, answer)
    return answer


@case(66)
def numbers_and_bytes(v: View):
    first = v.put("a", b"\x00\xff")
    v.put("a", b"\x00\xff")
    answer = ok(v, "/v3/kv/range", {"key": text(v.key("a"))})
    assert answer["kvs"] == [{
        "key": text(v.key("a")), "value": text(b"\x00\xff"), "version": "2",
        "create_revision": str(first), "mod_revision": str(first + 1),
    }]  # fmt: skip
    assert answer["count"] == "1" and "more" not in answer
    header = answer["header"]
    assert set(header) == {"cluster_id", "member_id", "revision", "raft_term"}
    assert all(isinstance(value, str) and int(value) > 0 for value in header.values())
    assert int(header["member_id"]) == v.b.Status().header.member_id


@case(66)
def numbers_in_requests(v: View):
    first = v.put("a", b"1")
    v.put("a", b"2")
    for revision in (first, str(first)):
        answer = ok(v, "/v3/kv/range", {"key": text(v.key("a")), "revision": revision})
        assert answer["kvs"][0]["value"] == text(b"1")
    for limit in (1, "1", -1, "-1", 0):
        ok(v, "/v3/kv/range", {"key": text(v.key("a")), "limit": limit})
    lease = ok(v, "/v3/lease/grant", {"TTL": "60", "ID": str(2**62)})
    assert (lease["ID"], lease["TTL"]) == (str(2**62), "60")
    assert ok(v, "/v3/lease/revoke", {"ID": 2**62})["header"]
    negative = ok(v, "/v3/lease/grant", {"TTL": 60, "ID": -5})
    assert negative["ID"] == "-5"
    ok(v, "/v3/lease/revoke", {"ID": "-5"})


@case(66)
def enums(v: View):
    v.put("a")
    v.put("b")
    request = {"key": text(v.space), "range_end": text(v.end)}
    for order in ("DESCEND", 2):
        answer = ok(v, "/v3/kv/range", {**request, "sort_order": order, "sort_target": "KEY"})
        assert [kv["key"] for kv in answer["kvs"]] == [text(v.key("b")), text(v.key("a"))]
    for target in ("VALUE", 3):
        compare = {"key": text(v.key("a")), "target": target, "value": text(b"v")}
        assert ok(v, "/v3/kv/txn", {"compare": [compare]})["succeeded"] is True
    status, answer = v.b.post("/v3/kv/range", {**request, "sort_order": "SIDEWAYS"})
    assert status == 400 and answer["code"] == 3


@case(66)
def names_of_fields(v: View):
    v.put("a")
    v.put("b")
    snake = {"key": text(v.space), "range_end": text(v.end), "count_only": True}
    camel = {"key": text(v.space), "rangeEnd": text(v.end), "countOnly": True}
    for request in (snake, camel):
        answer = ok(v, "/v3/kv/range", {**request, "unknown": {"x": [1]}, "other": 1})
        assert answer["count"] == "2" and "kvs" not in answer
    lease = v.lease(60)
    answer = ok(v, "/v3/lease/timetolive", {"ID": lease})
    assert answer["grantedTTL"] == "60" and int(answer["TTL"]) >= 58
    members = ok(v, "/v3/cluster/member/list")["members"]
    assert len(members) == len(v.all)
    assert all(m["peerURLs"] and m["clientURLs"] and m["ID"].isdigit() for m in members)
    assert "isLearner" not in members[0]


@case(66)
def bodies_and_content_types(v: View):
    v.put("a")
    body = json.dumps({"key": text(v.key("a"))}).encode()
    for kind in ("application/json", "text/plain", "nonsense"):
        headers = {"Content-Type": kind}
        status, answer = v.b.post("/v3/kv/range", body, **headers)
        assert status == 200 and answer["count"] == "1"
    status, answer = v.b.post("/v3/maintenance/status", b"")
    assert status == 200 and answer["version"]
    status, answer = v.b.post("/v3/kv/range", b"")
    assert status == 400 and answer["error"] == "etcdserver: key is not provided"
    for broken in (b"{", b"[]", b"nonsense", b'{"key": 5}', b'{"key": "#"}', b'{"limit": "x"}'):
        status, answer = v.b.post("/v3/kv/range", broken)
        assert status == 400 and answer["code"] == 3 and answer["error"], (broken, answer)


@case(66)
def bases_of_64(v: View):
    key = v.key(b"\xfb\xff\xfe")
    v.a.Put(key=key, value=b"1")
    status, answer = v.b.post("/v3/kv/range", {"key": text(key)})
    assert status == 200 and answer["count"] == "1"
    encoded = base64.urlsafe_b64encode(key).decode()
    status, answer = v.b.post("/v3/kv/range", {"key": encoded})
    assert status == 200 or (status == 400 and answer["code"] == 3), "3.4 does not take it"


@case(66)
def defaults_are_left_out(v: View):
    answer = ok(v, "/v3/kv/range", {"key": text(v.key("none"))})
    assert set(answer) == {"header"}
    answer = ok(v, "/v3/kv/put", {"key": text(v.key("a")), "value": ""})
    assert set(answer) == {"header"}
    kv = ok(v, "/v3/kv/range", {"key": text(v.key("a"))})["kvs"][0]
    assert set(kv) == {"key", "create_revision", "mod_revision", "version"}
    compare = {"key": text(v.key("a")), "target": "VERSION", "version": "9"}
    answer = ok(v, "/v3/kv/txn", {"compare": [compare]})
    assert set(answer) == {"header"}
    answer = ok(v, "/v3/kv/deleterange", {"key": text(v.key("none"))})
    assert set(answer) == {"header"}
    answer = ok(v, "/v3/kv/deleterange", {"key": text(v.key("a")), "prev_kv": True})
    assert answer["deleted"] == "1" and len(answer["prev_kvs"]) == 1


@case(66)
def transactions_over_json(v: View):
    operations = [
        {"request_put": {"key": text(v.key("a")), "value": text(b"1")}},
        {"requestRange": {"key": text(v.key("a"))}},
        {"request_delete_range": {"key": text(v.key("none"))}},
        {"request_txn": {"success": [{"request_range": {"key": text(v.key("a"))}}]}},
    ]
    answer = ok(v, "/v3/kv/txn", {"success": operations})
    assert answer["succeeded"] is True and int(answer["header"]["revision"]) > 1
    kinds = [next(iter(one)) for one in answer["responses"]]
    assert kinds == ["response_put", "response_range", "response_delete_range", "response_txn"]
    assert answer["responses"][1]["response_range"]["kvs"][0]["value"] == text(b"1")
    assert answer["responses"][3]["response_txn"]["succeeded"] is True


@case(67)
def errors(v: View):
    key = text(v.key("a"))
    future = v.put("a") + 100
    for path, body, code, statuses, error in (
        ("kv/range", {}, 3, (400,), "etcdserver: key is not provided"),
        ("kv/range", {"key": key, "revision": future}, 11, (400,),
         "etcdserver: mvcc: required revision is a future revision"),
        ("kv/put", {"key": key, "lease": 12345}, 5, (404,),
         "etcdserver: requested lease not found"),
        ("lease/revoke", {"ID": 12345}, 5, (404,), "etcdserver: requested lease not found"),
        ("cluster/member/remove", {"ID": 4711}, 5, (404,), "etcdserver: member not found"),
        ("auth/authenticate", {"name": "x"}, 9, (400, 412),
         "etcdserver: authentication is not enabled"),
        ("election/leader", {"name": key}, 2, (500,), "election: no leader"),
        ("lock/lock", {"name": key, "lease": 12345}, 2, (500,),
         "etcdserver: requested lease not found"),
    ):  # fmt: skip
        status, answer = v.b.post(f"/v3/{path}", body)
        assert status in statuses, (path, status, answer)
        assert (answer["error"], answer["message"], answer["code"]) == (error, error, code)


@case(67)
def paths_and_verbs(v: View):
    for path in ("/v3/nothing", "/v3/kv/nothing", "/v3"):
        status, plain = v.b.http("POST", path, b"{}")
        assert status == 404 and not plain.startswith("{"), (path, status, plain)
    status, plain = v.b.http("GET", "/v3/kv/range")
    assert status == 405 and not plain.startswith("{"), (status, plain)
    assert v.b.http("PUT", "/v3/kv/put", b"{}")[0] == 405


@case(68)
def a_watch_is_lines(v: View):
    request = {"create_request": {"key": text(v.key("a"))}}
    with v.b.open("POST", "/v3/watch", request) as lines:
        first = json.loads(lines.readline())["result"]
        assert first["created"] is True and "watch_id" not in first
        revision = v.put("a", b"1")
        heard = json.loads(lines.readline())["result"]
        event = heard["events"][0]
        assert "type" not in event and event["kv"]["value"] == text(b"1")
        assert heard["header"]["revision"] == event["kv"]["mod_revision"] == str(revision)
        v.delete("a")
        event = json.loads(lines.readline())["result"]["events"][0]
        assert event["type"] == "DELETE" and set(event["kv"]) == {"key", "mod_revision"}


@case(68)
def watches_with_more(v: View):
    start = v.put("a", b"1")
    v.put("a", b"2")
    request = {"createRequest": {
        "key": text(v.space), "rangeEnd": text(v.end), "startRevision": str(start),
        "watchId": "7", "prevKv": True, "filters": ["NODELETE"],
    }}  # fmt: skip
    with v.b.open("POST", "/v3/watch", request) as lines:
        first = json.loads(lines.readline())["result"]
        assert first["created"] is True and first["watch_id"] == "7"
        heard = json.loads(lines.readline())["result"]["events"]
        while len(heard) < 2:
            heard += json.loads(lines.readline())["result"]["events"]
        assert heard[1]["prev_kv"]["value"] == text(b"1")


@case(68)
def keeping_alive_is_a_line(v: View):
    lease = v.lease(60)
    with v.b.open("POST", "/v3/lease/keepalive", {"ID": lease}) as lines:
        answer = json.loads(lines.readline())["result"]
    assert (answer["ID"], answer["TTL"]) == (str(lease), "60")
    with v.b.open("POST", "/v3/lease/keepalive", {"ID": 12345}) as lines:
        answer = json.loads(lines.readline())["result"]
    assert answer["ID"] == "12345" and "TTL" not in answer


@case(66, 68)
def the_other_services(v: View):
    lease = v.lease(60)
    answer = ok(v, "/v3/lock/lock", {"name": text(v.key("m")), "lease": lease})
    assert answer["key"] == text(v.key("m") + b"/%x" % lease)
    ok(v, "/v3/lock/unlock", {"key": answer["key"]})
    campaign = {"name": text(v.key("e")), "lease": lease, "value": text(b"x")}
    won = ok(v, "/v3/election/campaign", campaign)["leader"]
    assert won["lease"] == str(lease) and won["rev"].isdigit()
    assert ok(v, "/v3/election/leader", {"name": text(v.key("e"))})["kv"]["value"] == text(b"x")
    ok(v, "/v3/election/proclaim", {"leader": won, "value": text(b"y")})
    ok(v, "/v3/election/resign", {"leader": won})
    leases = ok(v, "/v3/lease/leases")["leases"]
    assert {"ID": str(lease)} in leases
    assert ok(v, "/v3/kv/compaction", {"revision": str(v.put("a"))})["header"]["revision"]
    answer = ok(v, "/v3/maintenance/hash")
    assert isinstance(answer["hash"], int)
    assert "alarms" not in ok(v, "/v3/maintenance/alarm", {"action": "GET"})
    status = ok(v, "/v3/maintenance/status")
    assert all(status[name].isdigit() for name in ("dbSize", "leader", "raftIndex", "raftTerm"))
    assert ok(v, "/v3/maintenance/defragment") == {}


@case(68)
def a_snapshot_in_lines(v: View):
    with v.b.open("POST", "/v3/maintenance/snapshot", {}) as lines:
        first = json.loads(lines.readline())["result"]
    assert base64.b64decode(first["blob"])


@case(67)
def health_and_version(v: View):
    status, body = v.b.http("GET", "/health")
    assert status == 200 and json.loads(body)["health"] == "true"
    status, body = v.b.http("GET", "/version")
    assert json.loads(body)["etcdserver"].startswith("3.") and "etcdcluster" in body
    assert "etcd_server_has_leader 1" in v.b.http("GET", "/metrics")[1]


@case(68)
def a_watch_that_is_left(v: View):
    for _ in range(10):
        request = {"create_request": {"key": text(v.key("a"))}}
        with v.b.open("POST", "/v3/watch", request) as lines:
            assert b"created" in lines.readline()
    until(lambda: v.put("a"), "it serves on")
