"""Generated from flat.proto by `python -m kvlearn.live.proto`: do not edit."""

# ruff: noqa
from kvlearn.live.proto.pool import File

FILE = File(
    b'\n\nflat.proto\x12\x07kvlearn"S\n\x03Txn\x12\x18\n\x07compare\x18\x01 \x03(\x0cR\x07com'
    b'pare\x12\x18\n\x07success\x18\x02 \x03(\x0cR\x07success\x12\x18\n\x07failure\x18\x03 '
    b'\x03(\x0cR\x07failure":\n\x02Op\x12$\n\x0brequest_txn\x18\x04 \x01(\x0cH\x00R\nrequestT'
    b'xn\x88\x01\x01B\x0e\n\x0c_request_txnb\x06proto3'
)

Txn = FILE.messages["Txn"]
Op = FILE.messages["Op"]
