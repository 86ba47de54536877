"""Decode images of files by Pillow, for training and for a version alike.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

MODES = {"grey": "L", "rgb": "RGB", "rgba": "RGBA"}
CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
_ALPHA = ("RGBA", "RGBa", "LA", "PA")


class ImageError(ValueError):
    """Bytes that are no image that can be decoded."""


def decode_image(content: bytes, size: tuple[int, int] | None = None, channels: int = 3) -> np.ndarray:
    """Decode the bytes of an image file to (height, width, channels) uint8; ImageError if they are no whole image.

    `size` is (height, width), reached by bilinear interpolation over all pixels (Pillow's BILINEAR), whatever the
    proportions are; None: that of the image. A turn that a camera notes is applied, the first picture of several is
    taken, and 16 bits of grey become 8. With 1 or 3 channels, transparency is dropped.
    """
    mode = next(MODES[name] for name, count in CHANNELS.items() if count == channels)
    with _opened(content) as image:
        converted = _upright(_eight_bits(image)).convert(mode)
        if size is not None and converted.size != (size[1], size[0]):
            from PIL import Image  # noqa: PLC0415 - loaded since the image was opened

            converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(converted, dtype=np.uint8).reshape(converted.size[1], converted.size[0], channels)


def image_form(content: bytes) -> tuple[int, int, str]:
    """Return height, width and colour, "grey" or "rgb", as the head of an image file says; ImageError if it has none.

    The rest of the file may still be damaged.
    """
    with _opened(content, is_whole=False) as image:
        turned = image.getexif().get(0x0112, 1) >= 5  # orientation: from 5 on, sides are swapped
        width, height = image.size[::-1] if turned else image.size
        return height, width, "grey" if image.mode in _GREY else "rgb"


def has_transparency(content: bytes) -> bool:
    """True if the head of an image file says that some of it is transparent; ImageError if it has none."""
    with _opened(content, is_whole=False) as image:
        return image.mode in _ALPHA or "transparency" in image.info


def _opened(content: bytes, is_whole: bool = True) -> Any:
    """Open an image, and decode it wholly, so that one that is cut off is found."""
    from PIL import Image  # noqa: PLC0415 - only for images

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of damaged notes of cameras, beside the picture
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content))
            if is_whole:
                image.load()
    except MemoryError:
        raise
    except Exception as error:  # what a decoder raises for damaged files is up to it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ImageError("not an image of a known kind" if "cannot identify" in reason else reason) from error
    return image


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Return 16 bits of grey as 8; Pillow would cut all above 255 to white."""
    from PIL import Image  # noqa: PLC0415 - loaded since the image was opened

    if not image.mode.startswith("I"):
        if image.mode == "F":
            raise ImageError("its pixels are floats; save it with 8 bits per channel")
        return image
    levels = np.asarray(image)
    if levels.size and (levels.min() < 0 or levels.max() >= 2**16):
        raise ImageError("its pixels have more than 16 bits; save it with 8 bits per channel")
    grey = Image.fromarray((levels.astype(np.uint32) // 257).astype(np.uint8))
    grey.info = dict(image.info)
    return grey


def _upright(image: "Image.Image") -> "Image.Image":
    from PIL import ImageOps  # noqa: PLC0415 - loaded since the image was opened

    return ImageOps.exif_transpose(image)
