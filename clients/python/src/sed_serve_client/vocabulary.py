"""Vocabularies that the server knows by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .v1 import vocabulary_pb2


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A vocabulary that the server knows by name.

    name: what to give as `vocabulary` of a request. size: how many categories it has. built_in: it came with the
    server. categories: for each its name and synonyms; empty unless it was got by name.
    """

    name: str
    size: int
    built_in: bool
    categories: tuple[tuple[str, ...], ...]


def vocabulary(message: vocabulary_pb2.NamedVocabulary) -> Vocabulary:
    """Reads a vocabulary from a message."""
    return Vocabulary(
        name=message.name,
        size=message.size,
        built_in=message.built_in,
        categories=tuple((category.name, *category.synonyms) for category in message.categories),
    )
