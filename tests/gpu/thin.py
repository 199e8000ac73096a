"""Copies a .safetensors file with only those tensors that a check reads.

    python3 tests/gpu/thin.py FROM TO NAME ...

NAME is a tensor's name; `*` in it stands for anything. A name that no tensor has is an error.
"""

import fnmatch
import json
import pathlib
import struct
import sys


def thinned(content: bytes, names: list[str]) -> bytes:
    """The content of a file with the tensors of these names, in their order."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    for name in names:
        if not fnmatch.filter(header, name):
            raise SystemExit(f"no tensor `{name}`; there are {', '.join(sorted(header))}")
    kept, parts, end = {}, [], 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if any(fnmatch.fnmatchcase(name, wanted) for wanted in names):
            first, last = entry["data_offsets"]
            kept[name] = entry | {"data_offsets": [end, end + last - first]}
            parts.append(data[first:last])
            end += last - first
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def main() -> None:
    """Command line."""
    source, destination, *names = sys.argv[1:]
    pathlib.Path(destination).write_bytes(thinned(pathlib.Path(source).read_bytes(), names))


if __name__ == "__main__":
    main()
