import io

import numpy as np
import pytest
from PIL import Image

from own_data import encoded, photo
from synthbridge.data.encoding import encode_image, inspect_image

RGB = photo(0)
PIXELS = np.asarray(RGB).astype(int)


def _encode(content, max_side=None):
    """Encode and inspect, which must agree; return extension, RGB pixels, changes, same bytes?"""
    extension, result = encode_image(content, "x", max_side)
    inspection = inspect_image(content, "x", max_side)
    assert (result == content) == (inspection.changes == ())
    assert len(result) <= inspection.num_bytes + 1000  # headers
    with Image.open(io.BytesIO(result)) as image:
        assert image.format == {"jpg": "JPEG", "png": "PNG"}[extension]
        assert image.mode == "RGB" or not inspection.changes
        return extension, np.asarray(image.convert("RGB")).astype(int), inspection.changes


@pytest.mark.parametrize(
    ("content", "extension"),
    [
        (encoded(RGB, quality=80), "jpg"),
        (encoded(RGB.convert("L")), "jpg"),
        (encoded(RGB, "PNG"), "png"),
        (encoded(RGB.convert("L"), "PNG"), "png"),
        (encoded(RGB, exif=Image.Exif()), "jpg"),
    ],
)
def test_what_needs_nothing_passes_byte_for_byte(content, extension):
    assert encode_image(content, "x", None) == (extension, content)
    assert encode_image(content, "x", 20) == (extension, content)
    assert inspect_image(content, "x", None).changes == ()


def test_lossless_files_become_png_with_the_same_pixels():
    for kind in ("BMP", "TIFF", "PPM"):
        extension, pixels, changes = _encode(encoded(RGB, kind))
        assert (extension, changes) == ("png", (kind,))
        assert np.array_equal(pixels, PIXELS)


def test_lossy_files_become_jpeg_near_the_original():
    for kind in ("WEBP", "JPEG2000"):
        content = encoded(RGB, kind)
        extension, pixels, changes = _encode(content)
        assert (extension, changes) == ("jpg", (kind,))
        with Image.open(io.BytesIO(content)) as image:
            assert np.abs(pixels - np.asarray(image.convert("RGB"))).mean() < 3


def test_cmyk_becomes_rgb():
    extension, pixels, changes = _encode(encoded(RGB.convert("CMYK"), quality=95))
    assert (extension, changes) == ("jpg", ("CMYK",))
    assert np.abs(pixels - PIXELS).mean() < 4


def test_palette_and_black_and_white_keep_their_colours():
    palette = RGB.quantize(16)
    _, pixels, changes = _encode(encoded(palette, "PNG"))
    assert changes == ("palette",)
    assert np.array_equal(pixels, np.asarray(palette.convert("RGB")))
    bilevel = RGB.convert("1")
    _, pixels, changes = _encode(encoded(bilevel, "PNG"))
    assert changes == ("black-and-white",)
    assert np.array_equal(pixels, np.asarray(bilevel.convert("RGB")))


def test_transparent_pixels_become_white():
    rgba = RGB.convert("RGBA")
    rgba.paste((10, 20, 30, 0), (0, 0, 12, 20))
    extension, pixels, changes = _encode(encoded(rgba, "PNG"))
    assert (extension, changes) == ("png", ("transparent",))
    assert (pixels[:, :12] == 255).all() and np.array_equal(pixels[:, 12:], PIXELS[:, 12:])
    palette = Image.new("P", (4, 4), 0)
    _, pixels, changes = _encode(encoded(palette, "PNG", transparency=0))
    assert changes == ("palette", "transparent") and (pixels == 255).all()


def test_16_bits_are_scaled_not_cut():
    values = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        _, pixels, changes = _encode(encoded(Image.fromarray(values), kind))
        assert changes[-1] == "16-bit"
        assert np.abs(pixels[:, :, 0] - values / 257).max() <= 0.5


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise to see it
    content = encoded(RGB, exif=exif)
    extension, pixels, changes = _encode(content)
    assert (extension, changes) == ("jpg", ("rotated",))
    with Image.open(io.BytesIO(content)) as image:
        assert np.abs(pixels - np.rot90(np.asarray(image), -1)).mean() < 3


def test_an_animation_gives_its_first_frame():
    frames = [photo(1), photo(2)]
    content = encoded(RGB, "WEBP", save_all=True, append_images=frames, lossless=True)
    extension, pixels, changes = _encode(content)
    assert (extension, changes) == ("jpg", ("WEBP", "animated, first frame"))
    assert np.abs(pixels - PIXELS).mean() < 3
    content = encoded(RGB, "PNG", save_all=True, append_images=frames)
    extension, pixels, changes = _encode(content)
    assert (extension, changes) == ("png", ("animated, first frame",))
    assert np.array_equal(pixels, PIXELS)


def test_a_huge_image_is_reduced_by_its_shorter_side():
    content = encoded(photo(0, (300, 200)))
    extension, pixels, changes = _encode(content, max_side=40)
    assert (extension, changes, pixels.shape) == ("jpg", ("huge",), (40, 60, 3))
    assert encode_image(content, "x", 200) == ("jpg", content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "x is empty (0 bytes); copy it again or remove it"),
        (b"<svg></svg>", "x is no image that Pillow can read; save it as JPEG or PNG"),
        (encoded(photo(0, (200, 200)))[:-800], "x cannot be decoded (image file is truncated"),
        (encoded(RGB, "PNG")[:200], "x cannot be decoded"),
        (
            encoded(RGB, "TIFF", save_all=True, append_images=[RGB]),
            "x cannot be decoded (it holds 2 pages, one is possible)",
        ),
        (
            encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
            "x cannot be decoded (it holds floating-point values)",
        ),
        (
            encoded(Image.fromarray(np.full((4, 4), 70000, np.int32)), "TIFF"),
            "x cannot be decoded (its values do not fit 16 bits)",
        ),
    ],
)
def test_what_is_no_whole_image_is_named(content, sentence):
    with pytest.raises(ValueError) as error:
        inspect_image(content, "x", None)
    assert str(error.value).startswith(sentence)


def test_a_decompression_bomb_is_a_sentence(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6 // 4)
    content = encoded(Image.new("1", (1000, 1000)), "PNG")
    with pytest.raises(ValueError, match="x has more than 0 million pixels, which Pillow refuses"):
        encode_image(content, "x", 100)


def test_the_hash_is_of_the_upright_pixels():
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = encoded(RGB.transpose(Image.Transpose.ROTATE_180), "PNG", exif=exif)
    copies = [encoded(RGB, "PNG"), encoded(RGB, "BMP"), encoded(RGB.convert("RGBA"), "PNG"), turned]
    hashes = {inspect_image(content, "x", None).sha256 for content in copies}
    assert len(hashes) == 1
    assert inspect_image(encoded(photo(1), "PNG"), "x", None).sha256 not in hashes
    grey = RGB.convert("L")
    assert (
        inspect_image(encoded(grey, "PNG"), "x", None).sha256
        == inspect_image(encoded(grey.convert("RGB"), "PNG"), "x", None).sha256
    )
