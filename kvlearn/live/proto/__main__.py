"""Make the modules of the .proto files anew: `python -m kvlearn.live.proto`. Needs grpcio-tools."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

HERE = Path(__file__).parent
FILES = ("auth", "kv", "rpc", "lock", "election", "flat", "health")  # in the order of their imports
WIDTH = 90  # columns of a description in a line


def compiled() -> dict[str, bytes]:
    """File name -> its FileDescriptorProto. Raises: SystemExit where protoc finds a mistake."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as room:
        target = Path(room, "all.bin")
        names = [f"{name}.proto" for name in FILES]
        if protoc.main(["protoc", f"-I{HERE}", f"--descriptor_set_out={target}", *names]):
            sys.exit("protoc refuses the files")
        found = FileDescriptorSet.FromString(target.read_bytes()).file
    return {one.name: one.SerializeToString(deterministic=True) for one in found}


def parts_of(description: bytes) -> list[bytes]:
    """The description in parts that take a line each, written as literals."""
    parts = [b""]
    for at in range(len(description)):
        byte = description[at : at + 1]
        if len(repr(parts[-1] + byte)) > WIDTH:
            parts.append(b"")
        parts[-1] += byte
    return parts


def module_of(name: str, description: bytes) -> str:
    """The text of a module that has the classes of one file."""
    file = FileDescriptorProto.FromString(description)
    imports = "".join(
        f"import kvlearn.live.proto.{Path(needed).stem}_pb2  # noqa: F401\n"
        for needed in file.dependency
    )
    lines = [f'"""Generated from {name} by `python -m kvlearn.live.proto`: do not edit."""\n']
    lines += ["# ruff: noqa\n" + imports + "from kvlearn.live.proto.pool import File\n"]
    lines += ["FILE = File("]
    lines += [f"    {part!r}" for part in parts_of(description)]
    lines += [")\n"]
    lines += [f'{one.name} = FILE.messages["{one.name}"]' for one in file.message_type]
    for enum in file.enum_type:
        lines += [f'{enum.name} = FILE.enums["{enum.name}"]']
        lines += [f"{value.name} = {value.number}" for value in enum.value]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all modules beside their .proto files."""
    for name, description in compiled().items():
        HERE.joinpath(f"{Path(name).stem}_pb2.py").write_text(module_of(name, description))


if __name__ == "__main__":
    main()
