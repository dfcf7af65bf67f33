"""Generated from lock.proto by `python -m kvlearn.live.proto`: do not edit."""

# ruff: noqa
import kvlearn.live.proto.rpc_pb2  # noqa: F401
from kvlearn.live.proto.pool import File

FILE = File(
    b'\n\nlock.proto\x12\x08v3lockpb\x1a\trpc.proto"7\n\x0bLockRequest\x12\x12\n\x04name\x18'
    b'\x01 \x01(\x0cR\x04name\x12\x14\n\x05lease\x18\x02 \x01(\x03R\x05lease"V\n\x0cLockRespo'
    b'nse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12'
    b'\x10\n\x03key\x18\x02 \x01(\x0cR\x03key"!\n\rUnlockRequest\x12\x10\n\x03key\x18\x01 '
    b'\x01(\x0cR\x03key"F\n\x0eUnlockResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdser'
    b'verpb.ResponseHeaderR\x06header2z\n\x04Lock\x125\n\x04Lock\x12\x15.v3lockpb.LockRequest'
    b'\x1a\x16.v3lockpb.LockResponse\x12;\n\x06Unlock\x12\x17.v3lockpb.UnlockRequest\x1a\x18.'
    b'v3lockpb.UnlockResponseb\x06proto3'
)

LockRequest = FILE.messages["LockRequest"]
LockResponse = FILE.messages["LockResponse"]
UnlockRequest = FILE.messages["UnlockRequest"]
UnlockResponse = FILE.messages["UnlockResponse"]
