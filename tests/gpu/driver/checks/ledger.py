"""Compares the ledger of checks/ledger.cpp with what that program does."""

import json
import sys
from pathlib import Path


def main(path: str) -> None:
    """Fails where a line differs from what is expected, or one is missing."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    between = [line.pop("between_ns") for line in lines]
    assert between[0] == 0 and all(passed >= 0 for passed in between), between
    stage = 'one "quoted"'
    kernel = {
        "op": "kernel", "device": 0, "stream": 1, "name": "sigmoid_f32",
        "grid": [2, 1, 1], "block": [256, 1, 1], "shared": 0,
        "args": [
            {"pointer": 3072, "element": 4, "written": False},
            {"pointer": 2048, "element": 4, "written": True},
            {"i64": 512}, {"pointer": 0, "element": 4, "written": True}, {"i32": 0},
        ],
    }
    product = {
        "op": "product", "device": 0, "stream": 1, "library": "cublas", "m": 4, "n": 8, "k": 2, "batch": 1,
        "type": "bf16", "transa": "T", "transb": "N", "epilogue": "DEFAULT", "slices": 1, "c": False,
    }
    copy = {"op": "copy"}
    expected = [
        {"op": "alloc", "call": "cublasCreate", "device": 0, "bytes": 32 << 20, "stage": ""},
        {"op": "alloc", "call": "cuMemHostAlloc", "bytes": 4096, "stage": ""},
        {"op": "stage", "name": stage, "stage": stage},
        {"op": "alloc", "call": "cuMemAllocAsync", "device": 0, "bytes": 4096, "stage": stage},
        {"op": "alloc", "call": "cuMemAllocAsync", "device": 0, "bytes": 2048, "stage": stage},
        {"op": "memset", "stream": 1, "bytes": 4096, "stage": stage},
        copy | {"direction": "h2d", "bytes": 64, "host": "pageable", "waits": False, "stage": stage},
        copy | {"direction": "h2d", "bytes": 4096, "host": "pinned", "waits": False, "stage": stage},
        {"op": "module_load", "device": 0, "image": "binary", "stage": stage},
        {"op": "function_load", "device": 0, "name": "sigmoid_f32", "stage": stage},
        kernel | {"stage": stage},
        product | {"stage": stage},
        {"op": "stage", "name": "two", "stage": "two"},
        copy | {"direction": "d2d", "bytes": 64, "waits": False, "stage": "two"},
        copy | {"direction": "d2h", "bytes": 64, "host": "pageable", "waits": True, "stage": "two"},
        copy | {"direction": "d2h", "bytes": 64, "host": "pinned", "waits": False, "stage": "two"},
        {"op": "wait", "call": "cuStreamSynchronize", "stage": "two"},
        {"op": "free", "call": "cuMemFreeAsync", "stage": "two"},
        {"op": "free", "call": "cuMemFreeAsync", "stage": "two"},
    ]
    for number, (line, want) in enumerate(zip(lines, expected, strict=False), 1):
        if line != want:
            sys.exit(f"line {number} is\n{line}\nexpected\n{want}")
    if len(lines) != len(expected):
        sys.exit(f"{len(lines)} lines, expected {len(expected)}")


if __name__ == "__main__":
    main(sys.argv[1])
