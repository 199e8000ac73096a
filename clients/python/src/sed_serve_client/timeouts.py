"""The check of every timeout that a caller gives."""

from __future__ import annotations

import math
from numbers import Real

LONGEST = (2**31 - 1) / 1000
"""Seconds of the longest timeout, some 24 days: gRPC takes a much longer one for a deadline that is over."""


def checked(name: str, value: float) -> float:
    """Returns a timeout in seconds; inf, for one without a limit, where it is inf or longer than `LONGEST`.

    Raises a TypeError for what is not a number, and a ValueError for NaN and for less than 0; both name the parameter.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}, and must be a number of seconds")
    if not value >= 0:  # NaN, too
        raise ValueError(f"{name} is {value!r}, and must be 0 or more seconds, or inf")
    return math.inf if value > LONGEST else float(value)


def of_call(own: float | None, otherwise: float) -> float:
    """Returns the timeout of one call in seconds: its own, or that of its client where it has none."""
    return checked("timeout", otherwise if own is None else own)


def for_grpc(seconds: float) -> float | None:
    """Returns the timeout as gRPC accepts it; None, for no deadline, where it has no limit."""
    return None if math.isinf(seconds) else seconds
