"""The messages that etcd's clients and a member speak, as Python classes.

```
kv.proto        mvccpb         a pair, an event
auth.proto      authpb         users, roles, permissions
rpc.proto       etcdserverpb   the services and all their messages
lock.proto      v3lockpb       locks as a service
election.proto  v3electionpb   elections as a service
health.proto    grpc.health.v1 whether a server serves
flat.proto      kvlearn        transactions once more, for those that are very deep
```

>>> from kvlearn.live.proto import rpc_pb2
>>> put = rpc_pb2.PutRequest(key=b"a", value=b"1")
>>> put.SerializeToString()
b'\\n\\x01a\\x12\\x011'
>>> rpc_pb2.PutRequest.FromString(b"\\n\\x01a").key
b'a'

What protoc generates itself is bound to the version of the protobuf runtime, and enters its types
in a list that all of the process share: two packages that both bring etcd's types would meet there.
So the modules here hold the compiled description and nothing else, and make their classes in a
pool of their own. `python -m kvlearn.live.proto` makes them anew.

Source: etcd api/mvccpb, api/authpb, api/etcdserverpb; server/etcdserver/api/v3lock, v3election;
grpc doc/health-checking.md.
Differs: one file name a package; nothing about HTTP stands in them (see kvlearn/live/gateway.py).
"""
