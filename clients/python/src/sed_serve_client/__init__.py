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
from .preparation import Preparation
from .request import ImageId, Options, Picture, WordOptions, Words
from .result import (
    Ambiguity,
    Box,
    Category,
    Contrast,
    InputWarning,
    Level,
    Rejection,
    Segmentation,
    StageTime,
    Timings,
)
from .vocabulary import Vocabulary

__all__ = [
    "Ambiguity",
    "AsyncClient",
    "Box",
    "Category",
    "Client",
    "Contrast",
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
    "Preparation",
    "Rejection",
    "SedError",
    "Segmentation",
    "StageTime",
    "Timings",
    "Unauthenticated",
    "Unavailable",
    "Vocabulary",
    "WordOptions",
    "Words",
]
