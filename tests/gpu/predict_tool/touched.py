"""Bytes that a launch moves to and from memory.

A pointer counts with the bytes up to the end of its allocation: tensors have allocations of their own. Where a kernel
reads parts of a larger tensor, or memory that no argument shows, its rule says so. What all blocks read (weights) stays
in the second-level cache and counts once.
"""

import collections.abc
import typing

from instructions_tool.reference import family
from instructions_tool.walk import Lost

Entry = dict[str, typing.Any]
Args = list[dict[str, typing.Any]]


def plain(entry: Entry) -> float:
    """Everything behind the pointers, once."""
    return float(sum(arg.get("pointer", 0) for arg in entry["args"]))


def rows(entry: Entry) -> float:
    """stack, and gather_rows of the committed trace: as many rows read and written as the grid has; the source is
    larger, or not an argument."""
    width, element = entry["args"][-1]["i64"], written(entry["args"])["element"]
    return 2.0 * entry["grid"][1] * width * element


def gathered(entry: Entry) -> float:
    """gather_pairs: as many rows of each tensor read and written as the grid has; the sources are larger."""
    width = sum(arg["i64"] for arg in entry["args"] if "i64" in arg)
    return 2.0 * entry["grid"][1] * width * written(entry["args"])["element"]


def compacted(entry: Entry) -> float:
    """compact_pairs: marks, and three tables read and written; the written ones lie in a larger tensor."""
    parts, words, capacity = (entry["args"][place]["i32"] for place in (11, 12, 13))
    return 4.0 * (parts * words + 6 * capacity)


def argmax(entry: Entry) -> float:
    """upsample_argmax: the maps are a view of a batch's; ranked, three planes beside the indices."""
    args = entry["args"]
    scores = args[4]["i32"] * args[5]["i32"] * args[6]["i32"] * args[0]["element"]
    planes = 4 if "ranked" in entry["name"] else 1
    return float(min(scores, args[0]["pointer"]) + 2 * planes * args[9]["i32"] * args[10]["i32"])


def finished_scores(entry: Entry) -> float:
    """finish_scores: read and written in place."""
    return 2.0 * entry["args"][0]["pointer"]


def single_values(entry: Entry) -> float:
    """Maps of single values: no tensor of values is longer than they are."""
    values = next(arg["i64"] for arg in entry["args"] if "i64" in arg)
    return float(sum(min(arg["pointer"], values * arg["element"]) for arg in entry["args"] if "pointer" in arg))


def in_place(entry: Entry) -> float:
    """gelu: the values are read and written."""
    return 2.0 * written(entry["args"])["pointer"]


def added(entry: Entry) -> float:
    """add: both addends are read, one is written."""
    return 3.0 * written(entry["args"])["pointer"]


def attention(entry: Entry) -> float:
    """attention_sums reads keys and values of query, key, value; attention_apply the queries, a third as well."""
    args = entry["args"]
    third = 2 / 3 if entry["name"].startswith("attention_sums") else 1 / 3
    return plain(entry) - args[0]["pointer"] * (1 - third)


def feed_forward(entry: Entry) -> float:
    """mlp_relu: the rows that are normed are the first addend, too."""
    return plain(entry) - entry["args"][0]["pointer"]


def copy_of_rows(entry: Entry) -> float:
    """copy2d of candle: rows of columns, read and written; its tensors are larger."""
    numbers = [arg[kind] for arg in entry["args"] for kind in ("i32", "i64") if kind in arg]
    element = next(arg["element"] for arg in entry["args"] if "pointer" in arg)
    return 2.0 * numbers[0] * numbers[1] * element


def written(args: Args) -> dict[str, typing.Any]:
    """The pointer that is written."""
    return next(arg for arg in args if arg.get("written"))


RULES: dict[str, collections.abc.Callable[[Entry], float]] = {
    "gather_rows": rows,
    "gather_pairs": gathered,
    "gather_pairs16": gathered,
    "compact_pairs": compacted,
    "stack": rows,
    "upsample_argmax": argmax,
    "upsample_argmax_ranked": argmax,
    "gelu": in_place,
    "add": added,
    "finish_scores": finished_scores,
    "sigmoid": single_values,
}


def touched(entry: Entry) -> float:
    """Bytes of a launch."""
    try:
        return by_rule(family(entry["name"]), entry)
    except (KeyError, IndexError, StopIteration) as error:
        raise Lost(f"{entry['name']} takes other arguments than its rule in touched.py expects") from error


def by_rule(name: str, entry: Entry) -> float:
    """The rule of a kernel, or everything behind its pointers."""
    if name.startswith("copy2d"):
        return copy_of_rows(entry)
    if name.startswith("attention_"):
        return attention(entry)
    if name.startswith("mlp_relu"):
        return feed_forward(entry)
    return RULES.get(name, plain)(entry)
