"""Vocabularies that the server knows by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from .result import InputWarning, warnings_of
from .v1 import vocabulary_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .v1 import warning_pb2


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A vocabulary that the server knows by name.

    name: the `vocabulary` of a request. size: number of its categories. built_in: True if it comes with the server.
    categories: for each its name and synonyms; empty unless it was requested by name. warnings: those about its words;
    empty unless it was just created.
    phrases: its different names and synonyms, those of its contrast words included; embedded_phrases: those of them
    whose text embeddings are in the memory of every device of the server.
    synonym_mode: `mean` or `best`. contrast_size: number of its contrast words.
    """

    name: str
    size: int
    built_in: bool
    categories: tuple[tuple[str, ...], ...]
    phrases: int
    embedded_phrases: int
    synonym_mode: Literal["mean", "best"]
    contrast_size: int
    warnings: tuple[InputWarning, ...] = ()


def vocabulary(message: vocabulary_pb2.NamedVocabulary, warnings: Iterable[warning_pb2.Warning] = ()) -> Vocabulary:
    """Reads a vocabulary from a message."""
    return Vocabulary(
        name=message.name,
        size=message.size,
        built_in=message.built_in,
        categories=tuple((category.name, *category.synonyms) for category in message.categories),
        phrases=message.phrases,
        embedded_phrases=message.embedded_phrases,
        synonym_mode="best" if message.synonym_mode == vocabulary_pb2.SYNONYM_MODE_BEST else "mean",
        contrast_size=message.contrast_size,
        warnings=warnings_of(warnings),
    )
