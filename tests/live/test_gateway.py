"""The JSON gateway: etcd's API for whoever has no gRPC, word for word."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import random

import pytest

pytest.importorskip("aiohttp", reason="the gateway stands on it")
pytest.importorskip("google.protobuf", reason="its messages are protobuf's")

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from kvlearn.live.gateway import FULL_BYTES, METHODS, PATHS, JsonCall
from kvlearn.live.proto import kv_pb2, rpc_pb2
from kvlearn.live.proto_json import JsonError, Values, decoded, fields_of, from_json, to_json
from tests.etcd.gateway import WebSocket
from tests.live.served import Served, fetch, post, stream

FOO, BAR = "Zm9v", "YmFy"


def b64(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def served():
    server = Served()
    yield server
    server.stop()


# Messages as JSON ---------------------------------------------------------------------------


def test_names_are_those_of_the_proto_and_requests_may_use_camel_case():
    snake = {"key": FOO, "range_end": "AA==", "sort_order": "DESCEND", "keys_only": True}
    camel = {"key": FOO, "rangeEnd": "AA==", "sortOrder": 2, "keysOnly": True}
    kind = rpc_pb2.RangeRequest
    assert from_json(kind, snake) == from_json(kind, camel)
    assert json.loads(to_json(from_json(kind, camel))) == snake
    assert from_json(rpc_pb2.LeaseGrantRequest, {"ID": "7", "TTL": 5}).ID == 7
    assert from_json(rpc_pb2.LeaseGrantRequest, {"id": "7"}).ID == 0, "case matters, as in etcd"


def test_numbers_of_64_bits_are_strings_and_defaults_are_left_out():
    message = rpc_pb2.HashKVResponse(hash=5, compact_revision=-1)
    assert to_json(message) == '{"hash":5,"compact_revision":"-1"}'
    event = kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"a"))
    assert to_json(event) == '{"kv":{"key":"YQ=="}}'
    nested = rpc_pb2.TxnResponse()
    nested.header.SetInParent()
    assert to_json(nested) == '{"header":{}}', "what is there and empty is not what is absent"


@pytest.mark.parametrize(
    "body, why",
    [
        ({"key": 5}, "json: cannot unmarshal number into Go value of type []uint8"),
        ({"key": "Zm9"}, "illegal base64 data at input byte 0"),
        ({"key": "Zm9vZ"}, "illegal base64 data at input byte 4"),
        ({"key": "Zm9vZg="}, "illegal base64 data at input byte 7"),
        ({"key": "Zm9vZg==="}, "illegal base64 data at input byte 8"),
        ({"key": "Zm9vZg==Zg=="}, "illegal base64 data at input byte 8"),
        ({"key": "Zm9vZ==="}, "illegal base64 data at input byte 5"),
        ({"key": "Zm9v!A=="}, "illegal base64 data at input byte 4"),
        ({"key": "Zm=v"}, "illegal base64 data at input byte 2"),
        ({"key": "ü"}, "illegal base64 data at input byte 0"),
        ({"limit": "x"}, "invalid character 'x' looking for beginning of value"),
        ({"limit": ""}, "unexpected end of JSON input"),
        ({"limit": True}, "json: cannot unmarshal bool into Go value of type int64"),
        ({"limit": {}}, "json: cannot unmarshal object into Go value of type int64"),
        ({"limit": 2**63}, f"json: cannot unmarshal number {2**63} into Go value of type int64"),
        ({"serializable": "true"}, "json: cannot unmarshal string into Go value of type bool"),
        (
            {"sort_order": "NOPE"},
            'unknown value "NOPE" for enum etcdserverpb.RangeRequest_SortOrder',
        ),
        ([], "json: cannot unmarshal array into Go value of type map[string]json.RawMessage"),
        ("a", "json: cannot unmarshal string into Go value of type map[string]json.RawMessage"),
    ],
)
def test_what_does_not_fit_is_refused_in_etcds_words(body, why):
    with pytest.raises(JsonError) as error:
        from_json(rpc_pb2.RangeRequest, body)
    assert str(error.value) == why


@pytest.mark.parametrize(
    "text, why",
    [
        ("{", "unexpected EOF"),
        ('{"key":"Zm9v', "unexpected EOF"),
        ('{"key":"Zm9v"', "unexpected EOF"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ("{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
        ('{"a":nul}', "invalid character '}' in literal null (expecting 'l')"),
        ("tru", "unexpected EOF"),
        ('{"a":NaN}', "invalid character 'N' looking for beginning of value"),
    ],
)
def test_what_is_no_json_is_refused_in_etcds_words(text, why):
    with pytest.raises(JsonError) as error:
        decoded(text.encode())
    assert str(error.value) == why


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 10_000, '{"\\ud800":"'])
def test_strange_text_is_refused_and_does_no_harm(text):
    with pytest.raises(JsonError):
        decoded(text.encode())


def test_deep_transactions_are_refused_and_do_no_harm():
    body = {}
    for _ in range(5000):
        body = {"success": [{"request_txn": body}]}
    with pytest.raises(JsonError, match="max depth"):
        from_json(rpc_pb2.TxnRequest, body)


def test_base64_may_use_urls_letters_and_lines():
    assert from_json(kv_pb2.KeyValue, {"key": "-_-_"}).key == b"\xfb\xff\xbf"
    assert from_json(kv_pb2.KeyValue, {"key": "Zm\r\n9v\n"}).key == b"foo"


def random_message(rng: random.Random, kind: type, depth: int = 0):
    """Any message: each field is set with a chance of a half."""
    message = kind()
    known = fields_of(message.DESCRIPTOR)
    for field, repeated in (known[field.name] for field in message.DESCRIPTOR.fields):
        if rng.random() < 0.5 or depth > 3:
            continue
        count = rng.randrange(3) if repeated else 1
        for _ in range(count):
            if field.message_type is not None:
                inner = random_message(rng, GetMessageClass(field.message_type), depth + 1)
                place = getattr(message, field.name)
                (place.add() if repeated else place).CopyFrom(inner)
                continue
            value = random_scalar(rng, field)
            if repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def random_scalar(rng: random.Random, field):
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    kinds = {
        FieldDescriptor.CPPTYPE_BOOL: lambda: rng.random() < 0.5,
        FieldDescriptor.CPPTYPE_INT64: lambda: rng.randrange(-(1 << 63), 1 << 63),
        FieldDescriptor.CPPTYPE_UINT64: lambda: rng.randrange(1 << 64),
        FieldDescriptor.CPPTYPE_INT32: lambda: rng.randrange(-(1 << 31), 1 << 31),
        FieldDescriptor.CPPTYPE_UINT32: lambda: rng.randrange(1 << 32),
        FieldDescriptor.CPPTYPE_STRING: lambda: (
            rng.randbytes(rng.randrange(9))
            if field.type == FieldDescriptor.TYPE_BYTES
            else "".join(rng.choices('aZ"\\\n{}[]é漢😀', k=rng.randrange(9)))
        ),
    }
    return kinds[field.cpp_type]()


@pytest.mark.parametrize("seed", range(20))
def test_every_message_survives_the_way_through_json(seed):
    """Replay: `random_message(random.Random(f"{seed}/{name}"), kind)`."""
    for path, (asked, answered, _, _) in METHODS.items():
        for kind in (asked, answered):
            name = kind.DESCRIPTOR.full_name
            message = random_message(random.Random(f"{seed}/{name}"), kind)
            text = to_json(message)
            assert from_json(kind, decoded(text.encode())) == message, (seed, path, text)
            camel = MessageToDict(message)
            assert from_json(kind, json.loads(json.dumps(camel))) == message, (seed, path, camel)


def test_a_body_may_be_cut_anywhere():
    told = [{"a": '}{"\\'}, [1, ["]"]], {}, {"b": {"c": ["\\\\", "é"]}}]
    text = "\n ".join(json.dumps(one, ensure_ascii=False) for one in told).encode()
    for cut in range(len(text) + 1):
        values = Values()
        assert values.feed(text[:cut]) + values.feed(text[cut:]) + values.end() == told, cut
    values = Values()
    assert [one for byte in text for one in values.feed(bytes([byte]))] == told
    assert not len(values)


def test_a_lone_value_is_complete_when_the_body_ends():
    values = Values()
    assert values.feed(b" nu") == values.feed(b"ll ") == []
    assert values.end() == [None]
    assert Values().end() == []


def test_what_comes_before_nonsense_counts():
    values = Values()
    assert values.feed(b'{"a":1} x') == [{"a": 1}]
    with pytest.raises(JsonError, match="'x'"):
        values.end()
    with pytest.raises(JsonError, match="'x'"):
        values.feed(b'{"b":1}')


# Calls --------------------------------------------------------------------------------------


def play(test) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_a_call_is_full_until_its_client_reads():
    async def test():
        call, drained = JsonCall("/x", {}), []
        call.on_drain = lambda: drained.append(call.full)
        call.send(b"x" * FULL_BYTES)
        assert not call.full
        call.send(b"y")
        assert call.full
        call.written(await call.next())
        assert drained == [False] and not call.full
        call.written(await call.next())
        assert drained == [False], "told once"

    play(test)


def test_a_call_ends_once():
    async def test():
        ends = []
        call = JsonCall("/x", {})
        call.on_close, call.on_finish = lambda: ends.append("closed"), ends.append
        call.reply(b"a")
        call.finish(5, "late")
        call.send(b"late")
        call.close()
        assert [await call.next(), await call.next()] == [b"a", None]
        assert ends == [0] and call.closed and not call.code

    play(test)


def test_a_call_whose_client_is_gone_takes_nothing_more():
    async def test():
        ends = []
        call = JsonCall("/x", {})
        call.on_close, call.on_finish = lambda: ends.append("closed"), ends.append
        waits = asyncio.ensure_future(call.next())
        await asyncio.sleep(0)
        call.close()
        call.close()
        call.reply(b"late")
        assert await waits is None
        assert ends == [1, "closed"]

    play(test)


# Requests -----------------------------------------------------------------------------------


def test_every_path_leads_to_a_service(served):
    missing = {f"/{name}" for name in PATHS.values()} - served.services.methods.keys()
    assert not missing


def test_a_put_and_a_get(served):
    status, headers, text = fetch(
        served.port, "POST", "/v3/kv/put", {"key": FOO, "value": BAR}, Content_Type="text/plain"
    )
    assert (status, headers["Content-Type"]) == (200, "application/json")
    header = json.loads(text)["header"]
    assert header["cluster_id"] == str(served.member.cluster_id)
    assert header["member_id"] == str(served.member.id)
    for path in ("/v3/kv/range", "/v3beta/kv/range"):
        status, told = post(served.port, path, {"key": FOO})
        assert status == 200 and told["count"] == "1"
        assert told["kvs"][0]["value"] == BAR and told["kvs"][0]["mod_revision"] == "2"
    status, told = post(served.port, "/v3/kv/range", '{"key":"Zm9v"} and more')
    assert status == 200, "what follows a request is nobody's business"


def test_an_empty_body_is_an_empty_request(served):
    for body in ("", "  \n", "null", "{}", '{"nothing": {"of": ["this"]}}'):
        status, told = post(served.port, "/v3/kv/range", body)
        text = "etcdserver: key is not provided"
        assert (status, told) == (400, {"error": text, "message": text, "code": 3})
        assert post(served.port, "/v3/lease/leases", body)[0] == 200


@pytest.mark.parametrize(
    "method, path, status, text",
    [
        ("POST", "/v3/kv/nope", 404, "Not Found\n"),
        ("POST", "/v3/kv/range/", 404, "Not Found\n"),
        ("GET", "/v3/", 404, "Not Found\n"),
        ("GET", "/", 404, "404 page not found\n"),
        ("GET", "/v2/keys", 404, "404 page not found\n"),
        ("POST", "/v3alpha/kv/range", 404, "404 page not found\n"),
        ("GET", "/v3/kv/range", 405, "Method Not Allowed\n"),
        ("DELETE", "/v3/kv/range", 405, "Method Not Allowed\n"),
        ("POST", "/health", 405, "Method Not Allowed\n"),
        ("POST", "/version", 405, "Method Not Allowed\n"),
    ],
)
def test_what_is_not_there_is_said_in_plain_text(served, method, path, status, text):
    got, headers, said = fetch(served.port, method, path, "{}" if method == "POST" else None)
    assert (got, said) == (status, text)
    assert headers["Content-Type"].startswith("text/plain")


def test_a_large_request_is_refused_as_grpc_refuses_it(served):
    def put(size):
        return post(served.port, "/v3/kv/put", {"key": FOO, "value": b64(b"x" * size)})

    assert put(1_500_000)[0] == 200
    assert put(1_600_000)[1]["error"] == "etcdserver: request is too large"
    status, told = put(2_097_152)
    text = "grpc: received message larger than max (2097162 vs. 2097152)"
    assert (status, told["code"], told["error"]) == (429, 8, text)


def test_a_body_without_end_is_cut_off(served):
    status, told = post(served.port, "/v3/kv/put", '{"key":"' + "A" * (17 << 20))
    assert (status, told["code"]) == (429, 8)


def test_who_waits_for_a_go_ahead_gets_it(served):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.connect()
    body = b'{"key":"Zm9v"}'
    head = f"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    connection.sock.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert connection.sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sock.sendall(body)
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    connection.close()


def test_who_does_not_want_to_wait_says_so(served):
    lock = {"name": b64("patience"), "lease": "0"}
    assert post(served.port, "/v3/lock/lock", lock)[0] == 200
    status, told = post(served.port, "/v3/lock/lock", lock, Grpc_Timeout="20m")
    assert (status, told["code"], told["error"]) == (504, 4, "context deadline exceeded")
    status, told = post(served.port, "/v3/kv/range", {"key": FOO}, Grpc_Timeout="bad")
    assert (status, told["error"]) == (400, "invalid grpc-timeout: bad")
    watch = {"create_request": {"key": FOO}}
    with stream(served.port, "/v3/watch", watch, Grpc_Timeout="200m") as line:
        assert line()["result"]["created"]
        error = line()["error"]
        assert line() is None
    assert error["grpc_code"] == 4 and error["http_code"] == 504
    assert error["http_status"] == "Gateway Timeout"


def test_an_error_that_comes_first_in_a_stream_gives_the_status(served):
    status, told = post(served.port, "/v3/watch", "x")
    assert status == 500 and told["code"] == 2
    assert told["error"] == "invalid character 'x' looking for beginning of value"
    lost = Served(leads=False)
    try:
        watch = {"create_request": {"key": FOO}}
        status, told = post(lost.port, "/v3/watch", watch, Grpc_Metadata_Hasleader="true")
    finally:
        lost.stop()
    error = {"grpc_code": 14, "http_code": 503, "message": "etcdserver: no leader"}
    assert (status, told) == (503, {"error": error | {"http_status": "Service Unavailable"}})


# Streams ------------------------------------------------------------------------------------


def watchers(served: Served) -> int:
    hub = served.member.node.hub
    return sum(len(stream.watchers) for stream in hub.streams.values())


def test_a_watch_answers_line_by_line_and_ends_with_its_client(served):
    key = b64("lines")
    with stream(served.port, "/v3/watch", {"createRequest": {"key": key}}) as line:
        assert line()["result"]["created"] is True
        for value in ("1", "2"):
            post(served.port, "/v3/kv/put", {"key": key, "value": b64(value)})
            result = line()["result"]
            assert [event["kv"]["value"] for event in result["events"]] == [b64(value)]
        post(served.port, "/v3/kv/deleterange", {"key": key})
        event = line()["result"]["events"][0]
        assert event["type"] == "DELETE" and event["kv"].keys() == {"key", "mod_revision"}
        assert served.call(lambda: watchers(served)) == 1
    served.until(lambda: not watchers(served))


def test_a_watch_can_be_asked_more_while_it_answers(served):
    """The body is kept open: HTTP/1.1 in both directions at once."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.putrequest("POST", "/v3/watch")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()

    def say(text: str) -> None:
        data = text.encode()
        connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    create = json.dumps({"create_request": {"key": b64("both"), "watch_id": "7"}})
    say(create[:20])
    say(create[20:])
    response = connection.getresponse()

    def line() -> dict:
        return json.loads(response.readline())["result"]

    assert line().items() >= {"created": True, "watch_id": "7"}.items()
    say('{"progress_request":{}}{"cancel_request":')
    assert line()["watch_id"] == "-1"
    say('{"watch_id":7}}')
    assert line().items() >= {"canceled": True, "watch_id": "7"}.items()
    connection.close()
    served.until(lambda: not served.member.node.hub.streams)


def test_a_watcher_that_does_not_read_holds_up_nobody_and_misses_nothing(served, monkeypatch):
    """What it has not read waits in the store, not in the connection."""
    calls = []
    opened = served.services.open
    monkeypatch.setattr(served.services, "open", lambda call: (calls.append(call), opened(call)))
    key, value = b64("slow"), b64(b"x" * 500_000)
    with stream(served.port, "/v3/watch", {"create_request": {"key": key}}) as line:
        assert line()["result"]["created"]
        for _ in range(40):
            assert post(served.port, "/v3/kv/put", {"key": key, "value": value})[0] == 200
        watch = next(call for call in calls if call.path.endswith("/Watch"))
        waiting = served.call(lambda: sum(map(len, watch.sent)))
        assert waiting < 2 * FULL_BYTES, "20 MB were written"
        versions = []
        while len(versions) < 40:
            versions += [int(one["kv"]["version"]) for one in line()["result"]["events"]]
        assert versions == list(range(1, 41))


def test_a_watch_over_a_websocket(served):
    socket = WebSocket(served.port, "/v3/watch")
    key = b64("socket")
    socket.send({"create_request": {"key": key}})
    assert socket.receive()["created"]
    post(served.port, "/v3/kv/put", {"key": key, "value": BAR})
    assert socket.receive()["events"][0]["kv"]["value"] == BAR
    socket.send({"cancel_request": {}})
    assert socket.receive()["canceled"]
    socket.close()
    served.until(lambda: not served.member.node.hub.streams)


def test_one_question_over_a_websocket(served):
    socket = WebSocket(served.port, "/v3/kv/range")
    socket.send({"key": FOO})
    assert "header" in socket.receive()
    socket.close()


def test_a_keep_alive_answers_each_and_ends_with_its_body(served):
    post(served.port, "/v3/lease/grant", {"ID": "700", "TTL": "60"})
    status, _, text = fetch(served.port, "POST", "/v3/lease/keepalive", '{"ID":700}{"ID":"701"} x')
    assert status == 200
    first, second = (json.loads(line)["result"] for line in text.splitlines())
    assert (first["ID"], first["TTL"]) == ("700", "60")
    assert second["ID"] == "701" and "TTL" not in second
    assert fetch(served.port, "POST", "/v3/lease/keepalive", "")[::2] == (200, "")


def test_a_client_that_gives_up_its_place_in_a_line_leaves_no_key(served):
    line = {"name": b64("line")}
    post(served.port, "/v3/lock/lock", line)
    keys = {"key": b64("line/"), "range_end": b64("line0"), "count_only": True}

    def waiting() -> int:
        return int(post(served.port, "/v3/kv/range", keys)[1]["count"])

    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("POST", "/v3/lock/lock", json.dumps(line))
    assert any(waiting() == 2 for _ in range(2000))
    connection.close()
    assert any(waiting() == 1 for _ in range(2000))


def test_the_token_travels_in_a_header_of_http():
    served = Served()
    try:
        for path, body in (
            ("user/add", {"name": "root", "password": "x"}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("enable", {}),
        ):
            assert post(served.port, f"/v3/auth/{path}", body)[0] == 200, path
        status, told = post(served.port, "/v3/kv/range", {"key": FOO})
        assert (status, told["error"]) == (400, "etcdserver: user name is empty")
        status, told = post(served.port, "/v3/kv/range", {"key": FOO}, Authorization="no.1")
        assert (status, told["code"]) == (401, 16)
        asked = {"name": "root", "password": "x"}
        token = post(served.port, "/v3/auth/authenticate", asked)[1]["token"]
        for name in ("Authorization", "Grpc_Metadata_Token"):
            assert post(served.port, "/v3/kv/range", {"key": FOO}, **{name: token})[0] == 200
        assert fetch(served.port, "GET", "/health")[0] == 200, "health is told to everybody"
    finally:
        served.stop()


# How it is ----------------------------------------------------------------------------------


def health(served: Served, query: str = "") -> tuple[int, dict]:
    status, _, text = fetch(served.port, "GET", f"/health{query}")
    return status, json.loads(text)


def test_a_member_is_healthy_until_an_alarm_is_raised(served):
    assert health(served) == (200, {"health": "true"})
    alarm = {"action": "ACTIVATE", "memberID": "7", "alarm": "NOSPACE"}
    post(served.port, "/v3/maintenance/alarm", alarm)
    assert health(served) == (503, {"health": "false", "reason": "ALARM NOSPACE"})
    assert health(served, "?exclude=NOSPACE")[0] == 200
    status, told = post(served.port, "/v3/kv/put", {"key": FOO})
    assert (status, told["code"]) == (429, 8)
    post(served.port, "/v3/maintenance/alarm", alarm | {"action": "DEACTIVATE"})
    assert health(served)[0] == 200


def test_without_a_leader_a_member_is_not_healthy_but_can_be_read():
    served = Served(leads=False)
    try:
        assert health(served) == (503, {"health": "false", "reason": "RAFT NO LEADER"})
        assert health(served, "?serializable=true") == (200, {"health": "true"})
    finally:
        served.stop()


def test_the_version(served):
    status, headers, text = fetch(served.port, "GET", "/version")
    told = json.loads(text)
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert told["etcdserver"] == post(served.port, "/v3/maintenance/status")[1]["version"]
    assert told["etcdcluster"].split(".")[:2] == told["etcdserver"].split(".")[:2]
