"""The state of preparing words."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .result import InputWarning, seconds, warnings_of

if TYPE_CHECKING:
    from .v1 import vocabulary_pb2


@dataclasses.dataclass(frozen=True)
class Preparation:
    """The progress of preparing the words of a vocabulary.

    phrases: the different names and synonyms to prepare, those of contrast words included.
    known: those whose text embeddings were there when the call began; embedded: those that are ready on every device.
    remaining: predicted seconds until all are ready; None while nothing is known of it.
    ready: True in the last state: the next request with these words does not wait for them.
    replica: the host that prepares. Another replica holds the same only if they share a folder of text embeddings.
    devices: for each of its devices, for example `cuda:0`, the phrases that are ready there.
    warnings: advice on the words, in the last state.
    """

    phrases: int
    known: int
    embedded: int
    remaining: float | None
    ready: bool
    replica: str
    devices: tuple[tuple[str, int], ...]
    warnings: tuple[InputWarning, ...]


def preparation(message: vocabulary_pb2.PrepareVocabularyResponse) -> Preparation:
    """Reads a state from a message."""
    return Preparation(
        phrases=message.phrases,
        known=message.known,
        embedded=message.embedded,
        remaining=seconds(message.remaining) if message.HasField("remaining") else None,
        ready=message.ready,
        replica=message.replica,
        devices=tuple((device.device, device.embedded) for device in message.devices),
        warnings=warnings_of(message.warnings),
    )
