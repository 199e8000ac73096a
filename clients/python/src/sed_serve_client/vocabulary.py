"""Vocabularies that the server knows by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .result import InputWarning, warnings_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .v1 import vocabulary_pb2, warning_pb2


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A vocabulary that the server knows by name.

    name: the `vocabulary` of a request. size: number of its categories. built_in: True if it comes with the server.
    categories: for each its name and synonyms; empty unless it was requested by name. warnings: those about its words;
    empty unless it was just created.
    """

    name: str
    size: int
    built_in: bool
    categories: tuple[tuple[str, ...], ...]
    warnings: tuple[InputWarning, ...] = ()


def vocabulary(message: vocabulary_pb2.NamedVocabulary, warnings: Iterable[warning_pb2.Warning] = ()) -> Vocabulary:
    """Reads a vocabulary from a message."""
    return Vocabulary(
        name=message.name,
        size=message.size,
        built_in=message.built_in,
        categories=tuple((category.name, *category.synonyms) for category in message.categories),
        warnings=warnings_of(warnings),
    )
