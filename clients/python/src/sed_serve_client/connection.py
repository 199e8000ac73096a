"""Connections to a server: address, credentials, limits; the same for both kinds of client."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TypeAlias

import grpc

Pem: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview
"""The path of a PEM file, or its content."""

CallMetadata: TypeAlias = tuple[tuple[str, str], ...]

MAX_REQUEST_BYTES = 32 << 20
MAX_ANSWER_BYTES = 128 << 20

# Without a retry policy of gRPC: it knows neither the server's delay nor its reason, see `retries`.
_SERVICE_CONFIG: dict[str, list[dict[str, dict[str, str]]]] = {"loadBalancingConfig": [{"round_robin": {}}]}

CHANNEL_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # A request that is larger than this buffer, 256 KiB by default, is not sent again where no server has seen it.
    ("grpc.per_rpc_retry_buffer_size", MAX_REQUEST_BYTES + (1 << 20)),
    # Detects a server that vanished without closing the connection while a call waits for it.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A replica that comes back is used within seconds; by default gRPC waits up to two minutes before it looks again.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.primary_user_agent", "sed-serve-client-python"),
]


def address(target: str) -> str:
    """Strips the scheme of a URL, which only says whether to use TLS; other targets are gRPC's own.

    Raises a ValueError for a target without a host, with a space, or with HTTP:// in capitals.
    """
    if not isinstance(target, str):
        raise TypeError(f"the target is {target!r}, and must be a str")
    found = re.sub("^https?://", "", target).rstrip("/")
    if not found or re.search(r"\s|^https?:", found, re.IGNORECASE):
        known = "HOST:PORT, a URL (http://HOST:PORT, https:// for TLS, in lower case) or a target of gRPC"
        raise ValueError(f"the target is {target!r}; give {known}, without spaces")
    return found


def credentials(
    target: str, ca: Pem | None, certificate: Pem | None, key: Pem | None
) -> grpc.ChannelCredentials | None:
    """TLS for an https URL and wherever a certificate is given, with public roots unless there is a `ca`; else None."""
    if (certificate is None) != (key is None):
        raise ValueError("certificate and key belong together: give both or neither")
    wanted = target.startswith("https://") or ca is not None or certificate is not None
    if not wanted:
        return None
    if target.startswith("http://"):
        raise ValueError("an http URL has no TLS: write https, or leave ca, certificate and key out")
    return grpc.ssl_channel_credentials(_pem(ca), _pem(key), _pem(certificate))


def call_metadata(token: str | None) -> CallMetadata:
    """The metadata of every call: the bearer token, if there is one.

    Raises a ValueError for a token that no header can hold, which does not show it: logs are no place for tokens.
    """
    if token is None:
        return ()
    if not isinstance(token, str):
        raise TypeError(f"token is of type {type(token).__name__}, and must be a str")
    wrong = next((at for at, letter in enumerate(token) if not "\x20" <= letter <= "\x7e"), None)
    if wrong is not None:
        what = f"character {wrong + 1} of {len(token)} is no printable ASCII"
        raise ValueError(f"token cannot be sent: {what}; strip the line break of the file that it was read from")
    return (("authorization", f"Bearer {token}"),)


def _pem(source: Pem | None) -> bytes | None:
    if source is None:
        return None
    return bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else Path(source).read_bytes()
