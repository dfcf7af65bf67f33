"""Message classes from compiled descriptions, in a pool that nobody else uses.

Source: the protobuf package's descriptor_pool and message_factory, which are its public interface
in every release from 4.22 on.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()
Service = dict[str, tuple[type, type, bool, bool]]


class File:
    """One .proto file: its messages by name, its enums, and what its services offer.

    `methods` maps a path like "/etcdserverpb.KV/Put" to the class of the request, that of the
    answer, and whether the client and the server send a stream of them.
    """

    def __init__(self, compiled: bytes):
        """`compiled` is a FileDescriptorProto; the files that it imports come first."""
        POOL.AddSerializedFile(compiled)
        described = FileDescriptorProto.FromString(compiled)
        found = POOL.FindFileByName(described.name)
        types = found.message_types_by_name
        self.messages = {name: GetMessageClass(type) for name, type in types.items()}
        enums = found.enum_types_by_name
        self.enums: dict[str, Any] = {name: EnumTypeWrapper(enum) for name, enum in enums.items()}
        self.methods: Service = {
            f"/{described.package}.{service.name}/{method.name}": (
                _class_of(method.input_type),
                _class_of(method.output_type),
                method.client_streaming,
                method.server_streaming,
            )
            for service in described.service
            for method in service.method
        }


def _class_of(name: str) -> type:
    return GetMessageClass(POOL.FindMessageTypeByName(name.lstrip(".")))
