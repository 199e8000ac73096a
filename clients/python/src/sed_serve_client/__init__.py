"""Client of sed-serve, a gRPC server for open-vocabulary semantic segmentation."""

from .aio import AsyncClient
from .client import Client
from .errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    SedError,
    Unauthenticated,
    Unavailable,
)
from .request import ImageId, Options, Picture, Words
from .result import Box, Category, InputWarning, Level, Rejection, Segmentation, StageTime, Timings
from .vocabulary import Vocabulary

__all__ = [
    "AsyncClient",
    "Box",
    "Category",
    "Client",
    "DeadlineExceeded",
    "ImageId",
    "InputWarning",
    "InvalidRequest",
    "Level",
    "NotFound",
    "Options",
    "Overloaded",
    "PermissionDenied",
    "Picture",
    "Rejection",
    "SedError",
    "Segmentation",
    "StageTime",
    "Timings",
    "Unauthenticated",
    "Unavailable",
    "Vocabulary",
    "Words",
]
