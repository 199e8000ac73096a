"""Client of sed-serve, a gRPC server for open-vocabulary semantic segmentation."""

from .aio import AsyncClient
from .async_live import AsyncLive
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
from .frames import LiveAnswer
from .live import Live
from .preparation import Preparation
from .request import ImageId, Options, Picture, WordOptions, Words
from .result import (
    Ambiguity,
    Box,
    Category,
    CocoResult,
    Contrast,
    InputWarning,
    Level,
    Rejection,
    Segmentation,
    StageTime,
    Timings,
)
from .retries import Retry
from .shapes import CocoRle, Polygon, polygons, rle
from .stream import Request, StreamItem
from .vocabulary import Vocabulary

__all__ = [
    "Ambiguity",
    "AsyncClient",
    "AsyncLive",
    "Box",
    "Category",
    "Client",
    "CocoResult",
    "CocoRle",
    "Contrast",
    "DeadlineExceeded",
    "ImageId",
    "InputWarning",
    "InvalidRequest",
    "Level",
    "Live",
    "LiveAnswer",
    "NotFound",
    "Options",
    "Overloaded",
    "PermissionDenied",
    "Picture",
    "Polygon",
    "Preparation",
    "Rejection",
    "Request",
    "Retry",
    "SedError",
    "Segmentation",
    "StageTime",
    "StreamItem",
    "Timings",
    "Unauthenticated",
    "Unavailable",
    "Vocabulary",
    "WordOptions",
    "Words",
    "polygons",
    "rle",
]
