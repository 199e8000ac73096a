"""The table of retries: for each reason of a failed call, whether the same call may succeed later, and when."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from .errors import SedError


class Retry(enum.Enum):
    """A rule for trying a failed call again."""

    NEVER = "never"
    """The same call fails again, or only the caller can change what it failed for."""

    ADVICE = "advice"
    """After the delay that the server sends, until the call's timeout is used up. Without one see `rule`."""

    WORDS = "words"
    """After the server's delay, each time with the full timeout, until the client's ready_timeout is used up."""

    ONCE = "once"
    """At once, but a single time: a line that was held up may flow again, a slow one is slow again."""

    BACKOFF = "backoff"
    """After growing pauses, a few times: nothing says that a server will be there."""


TABLE: dict[str, Retry] = {
    # The request itself is at fault, or exceeds a limit.
    "FIELD_MISSING": Retry.NEVER,
    "IMAGE_CORRUPT": Retry.NEVER,
    "IMAGE_TOO_LARGE": Retry.NEVER,
    "IMAGE_UNSUPPORTED": Retry.NEVER,
    "VOCABULARY_EMPTY": Retry.NEVER,
    "VOCABULARY_TOO_LARGE": Retry.NEVER,
    "CATEGORY_NAME_INVALID": Retry.NEVER,
    "CATEGORY_DUPLICATE": Retry.NEVER,
    "OPTION_INVALID": Retry.NEVER,
    "OUTPUT_TOO_LARGE": Retry.NEVER,
    "MESSAGE_TOO_LARGE": Retry.NEVER,
    "REQUEST_MALFORMED": Retry.NEVER,
    "STREAM_ID_INVALID": Retry.NEVER,
    "TENSOR_INVALID": Retry.NEVER,
    "VOCABULARY_BUILT_IN": Retry.NEVER,
    # The server does not have it, and gets it only from the caller: send the picture or the words.
    "VOCABULARY_NOT_FOUND": Retry.NEVER,
    "IMAGE_NOT_FOUND": Retry.NEVER,
    "MODEL_NOT_FOUND": Retry.NEVER,
    # The credentials are at fault.
    "TOKEN_MISSING": Retry.NEVER,
    "TOKEN_INVALID": Retry.NEVER,
    "VOCABULARY_NOT_OWNED": Retry.NEVER,
    # The time is over, or too short; under the same deadline less of it is left each time.
    "DEADLINE_EXCEEDED": Retry.NEVER,
    "DEADLINE_TOO_SHORT": Retry.NEVER,
    "DEADLINE_UNREACHABLE": Retry.NEVER,
    # The device, the registry or the model cannot do it at all.
    "DEVICE_OUT_OF_MEMORY": Retry.NEVER,
    "TOO_MANY_VOCABULARIES": Retry.NEVER,
    "RESULT_NOT_FINITE": Retry.NEVER,
    "INTERNAL": Retry.NEVER,
    # The server has no room, is not ready, or goes: it says when to come again.
    "QUEUE_FULL": Retry.ADVICE,
    "MEMORY_EXHAUSTED": Retry.ADVICE,
    "MODEL_NOT_READY": Retry.ADVICE,
    "SHUTTING_DOWN": Retry.ADVICE,
    "DEVICE_LOST": Retry.ADVICE,
    "RECONNECT": Retry.ADVICE,
    "VOCABULARY_NOT_READY": Retry.WORDS,
    "UPLOAD_TOO_SLOW": Retry.ONCE,
}
"""The rule for each reason of proto/sed/v1/error_reason.proto."""

_RETRYABLE_CODES = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


def rule(error: SedError) -> Retry:
    """Returns the rule for an error. One with an unknown reason, or without any, is judged by its code and delay.

    RESOURCE_EXHAUSTED without a delay is NEVER: the server says of what can never fit that waiting does not help.
    """
    known = TABLE.get(error.reason, Retry.ADVICE if error.code in _RETRYABLE_CODES else Retry.NEVER)
    if error.retry_after is not None:
        return known
    if known is Retry.ADVICE and error.code is grpc.StatusCode.UNAVAILABLE:
        return Retry.BACKOFF
    return Retry.NEVER if known in (Retry.ADVICE, Retry.WORDS) else known
