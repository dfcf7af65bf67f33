"""Generated from kv.proto by `python -m kvlearn.live.proto`: do not edit."""

# ruff: noqa
from kvlearn.live.proto.pool import File

FILE = File(
    b'\n\x08kv.proto\x12\x06mvccpb"\xae\x01\n\x08KeyValue\x12\x10\n\x03key\x18\x01 \x01(\x0cR'
    b"\x03key\x12'\n\x0fcreate_revision\x18\x02 \x01(\x03R\x0ecreateRevision\x12!\n\x0cmod_re"
    b'vision\x18\x03 \x01(\x03R\x0bmodRevision\x12\x18\n\x07version\x18\x04 \x01(\x03R\x07ver'
    b'sion\x12\x14\n\x05value\x18\x05 \x01(\x0cR\x05value\x12\x14\n\x05lease\x18\x06 \x01('
    b'\x03R\x05lease"\xa3\x01\n\x05Event\x12+\n\x04type\x18\x01 \x01(\x0e2\x17.mvccpb.Event.E'
    b'ventTypeR\x04type\x12 \n\x02kv\x18\x02 \x01(\x0b2\x10.mvccpb.KeyValueR\x02kv\x12)\n\x07'
    b'prev_kv\x18\x03 \x01(\x0b2\x10.mvccpb.KeyValueR\x06prevKv" \n\tEventType\x12\x07\n\x03P'
    b'UT\x10\x00\x12\n\n\x06DELETE\x10\x01b\x06proto3'
)

KeyValue = FILE.messages["KeyValue"]
Event = FILE.messages["Event"]
