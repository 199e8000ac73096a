"""SED in plain PyTorch, written from the paper's computation and in the order of the official code: what this
project's own network is compared with and timed beside."""

from .sed import Sed

__all__ = ["Sed"]
