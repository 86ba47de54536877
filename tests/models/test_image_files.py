"""Image files are decoded to pixels as people see them, or refused."""

import io

import numpy as np
import pytest
from PIL import Image

from nightune.models.serving.image_files import ImageError, decode_image, has_transparency, image_form

random = np.random.default_rng(3)
PICTURE = random.integers(0, 256, (6, 4, 3), dtype=np.uint8)
GREY = PICTURE[..., 0]


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    content = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_pixels_of_kinds_without_loss_are_kept(kind):
    np.testing.assert_array_equal(decode_image(encoded(PICTURE, kind)), PICTURE)
    np.testing.assert_array_equal(decode_image(encoded(GREY, kind), channels=1)[..., 0], GREY)


@pytest.mark.parametrize("kind", ["GIF", "JPEG", "WEBP"])
def test_other_kinds_are_decoded_to_the_size_and_channels(kind):
    assert decode_image(encoded(PICTURE, kind), (3, 5), 1).shape == (3, 5, 1)


def test_sizes_are_reached_by_means_of_all_pixels():
    halves = np.repeat([[0, 200]], 8, axis=0).repeat(8, axis=1).astype(np.uint8)
    assert decode_image(encoded(halves), (1, 1), 1).item() == pytest.approx(100, abs=1)


def test_sixteen_bits_of_grey_become_eight_instead_of_white():
    deep = GREY.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(encoded(deep), channels=1)[..., 0], GREY)


def test_a_turn_that_the_camera_notes_is_applied():
    image = Image.fromarray(PICTURE)
    notes = image.getexif()
    notes[0x0112] = 6  # turned by 90 degrees
    content = encoded(image, "PNG", exif=notes)
    np.testing.assert_array_equal(decode_image(content), np.rot90(PICTURE, -1))
    assert image_form(content) == (4, 6, "rgb")


def test_form_is_read_from_the_file():
    assert image_form(encoded(GREY)) == (6, 4, "grey")
    assert image_form(encoded(PICTURE, "JPEG")) == (6, 4, "rgb")
    assert image_form(encoded(np.dstack([PICTURE, GREY]))) == (6, 4, "rgb")
    assert has_transparency(encoded(np.dstack([PICTURE, GREY])))
    assert not has_transparency(encoded(PICTURE))


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", encoded(PICTURE)[:80], encoded(np.tile(PICTURE, (20, 20, 1)), "JPEG")[:400]],
    ids=["empty", "text", "png cut off", "jpeg cut off"],
)
def test_what_is_no_whole_image_is_refused(content):
    with pytest.raises(ImageError):
        decode_image(content)


def test_floats_of_pixels_are_refused_with_the_remedy():
    with pytest.raises(ImageError, match="8 bits"):
        decode_image(encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"))
