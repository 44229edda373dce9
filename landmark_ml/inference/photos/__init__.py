"""From the bytes of a photo to its pixels: the one decoder of training, evaluation and serving."""

from landmark_ml.inference.photos.decoder import (
    decode_photo,
    read_at_most,
    read_capture,
    read_location,
    read_photo,
)
from landmark_ml.inference.photos.headers import (
    DEFAULT_LIMITS,
    PhotoError,
    PhotoErrorCode,
    PhotoLimits,
)
