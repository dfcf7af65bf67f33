"""Cases about gRPC itself: compression, deadlines, unknown calls, many calls at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from tests.live.spec_kit import Api, View, case, fails, pb, until


@case()
def compressed_requests(v: View):
    with_gzip = v.closing(Api(v.b.endpoint, compression=grpc.Compression.Gzip))
    try:
        answer = with_gzip.Put(key=v.key("a"), value=b"x" * 100_000)
    except grpc.RpcError as error:
        assert error.code().name == "UNIMPLEMENTED", "etcd has no gzip on board"
        return
    assert answer.header.revision and len(v.get("a").value) == 100_000


@case()
def deadlines(v: View):
    with v.a.watch() as stream:
        stream.create(key=v.key("a"))
        stream.created()
    held = v.a.Lock(name=v.key("m"), lease=v.lease())
    for timeout in (0.05, 0.3):
        late = ("DEADLINE_EXCEEDED", "UNKNOWN")  # the server's own clock may be the first
        fails(v.b.Lock, late, name=v.key("m"), lease=v.lease(), timeout=timeout)
    v.a.Unlock(key=held.key)
    assert v.put("a")


@case()
def unknown_calls(v: View):
    for path in ("/etcdserverpb.KV/Nope", "/nope.Nope/Nope"):
        text = fails(v.a.raw, "UNIMPLEMENTED", path=path, message=b"")
        assert text.startswith("unknown "), text
    assert v.put("a")


@case()
def paths_that_name_no_method(v: View):
    for path in ("nope", "/nope"):
        malformed = f'malformed method name: "{path}"'
        fails(v.a.raw, ("RESOURCE_EXHAUSTED", "UNIMPLEMENTED"), malformed, path=path, message=b"")
    fails(v.a.raw, "UNIMPLEMENTED", "unknown service ", path="//", message=b"")


def asks_about(service: bytes) -> bytes:
    return b"\x0a%c" % len(service) + service


@case()
def health_by_grpc(v: View):
    """Only the server as a whole has a state; what is not known may come later."""
    check, serving, unknown = "/grpc.health.v1.Health/Check", b"\x08\x01", b"\x08\x03"
    for api in v.all:
        assert api.raw(check, b"") == api.raw(check, asks_about(b"")) == serving
        for service in (b"etcdserverpb.KV", b"nope"):
            fails(api.raw, "NOT_FOUND", "unknown service", path=check, message=asks_about(service))
        watch = api.channel.unary_stream("/grpc.health.v1.Health/Watch")
        for service, state in ((b"", serving), (b"nope", unknown)):
            heard = watch(asks_about(service), timeout=15)
            assert next(heard) == state
            heard.cancel()


@case()
def unknown_fields_are_ignored(v: View):
    strange = pb.PutRequest(key=v.key("a"), value=b"1").SerializeToString() + b"\xfa\x3f\x01x"
    pb.PutResponse.FromString(v.a.raw("/etcdserverpb.KV/Put", strange))
    assert v.get("a").value == b"1"


@case()
def a_field_given_twice_counts_last(v: View):
    one = pb.PutRequest(key=v.key("a"), value=b"1").SerializeToString()
    two = pb.PutRequest(value=b"2").SerializeToString()
    v.a.raw("/etcdserverpb.KV/Put", one + two)
    assert v.get("a").value == b"2"


@case(once=True)
def a_hundred_calls_at_once(v: View):
    def write(n: int) -> int:
        return v.all[n % len(v.all)].Put(key=v.key(f"k{n}")).header.revision

    with ThreadPoolExecutor(100) as pool:
        revisions = list(pool.map(write, range(300)))
    assert len(set(revisions)) == 300
    assert v.range(count_only=True).count == 300


@case(once=True)
def counters_by_compare_and_swap(v: View):
    """Many clients increase one number through all members; no step is lost."""
    v.put("n", b"0")

    def add(n: int) -> None:
        api = v.all[n % len(v.all)]
        while True:
            kv = api.Range(key=v.key("n")).kvs[0]
            same = pb.Compare(key=v.key("n"), target="MOD", mod_revision=kv.mod_revision)
            value = b"%d" % (int(kv.value) + 1)
            change = pb.RequestOp(request_put=pb.PutRequest(key=v.key("n"), value=value))
            if api.Txn(compare=[same], success=[change]).succeeded:
                return

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(60)))
    assert v.get("n").value == b"60" and v.get("n").version == 61


@case()
def new_connections(v: View):
    for n in range(10):
        api = Api(v.b.endpoint)
        assert api.Put(key=v.key("a"), value=b"%d" % n).header.revision
        api.close()
    assert v.get("a").value == b"9"


@case()
def cancelled_calls(v: View):
    held = v.a.Lock(name=v.key("m"), lease=v.lease())
    calls = [v.b.later("Lock", name=v.key("m"), lease=v.lease()) for _ in range(5)]
    until(lambda: v.b.Range(key=v.key("m/"), range_end=v.key("m0")).count == 6, "all queue")
    for call in calls:
        call.cancel()
    only = v.key("m/"), v.key("m0")
    until(lambda: v.b.Range(key=only[0], range_end=only[1]).count == 1, "all but the holder go")
    v.a.Unlock(key=held.key)


@case()
def an_empty_message(v: View):
    text = fails(v.a.raw, "INVALID_ARGUMENT", path="/etcdserverpb.KV/Range", message=b"")
    assert text == "etcdserver: key is not provided"
    assert pb.StatusResponse.FromString(v.a.raw("/etcdserverpb.Maintenance/Status", b"")).version
