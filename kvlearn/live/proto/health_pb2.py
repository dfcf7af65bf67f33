"""Generated from health.proto by `python -m kvlearn.live.proto`: do not edit."""

# ruff: noqa
from kvlearn.live.proto.pool import File

FILE = File(
    b'\n\x0chealth.proto\x12\x0egrpc.health.v1".\n\x12HealthCheckRequest\x12\x18\n\x07service'
    b'\x18\x01 \x01(\tR\x07service"\xb1\x01\n\x13HealthCheckResponse\x12I\n\x06status\x18\x01'
    b' \x01(\x0e21.grpc.health.v1.HealthCheckResponse.ServingStatusR\x06status"O\n\rServingSt'
    b'atus\x12\x0b\n\x07UNKNOWN\x10\x00\x12\x0b\n\x07SERVING\x10\x01\x12\x0f\n\x0bNOT_SERVING'
    b'\x10\x02\x12\x13\n\x0fSERVICE_UNKNOWN\x10\x032\xae\x01\n\x06Health\x12P\n\x05Check\x12"'
    b'.grpc.health.v1.HealthCheckRequest\x1a#.grpc.health.v1.HealthCheckResponse\x12R\n\x05Wa'
    b'tch\x12".grpc.health.v1.HealthCheckRequest\x1a#.grpc.health.v1.HealthCheckResponse0\x01'
    b'b\x06proto3'
)

HealthCheckRequest = FILE.messages["HealthCheckRequest"]
HealthCheckResponse = FILE.messages["HealthCheckResponse"]
