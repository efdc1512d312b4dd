import io
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from own_data import encoded, photo
from synthbridge.data.encoding import _can_read_heic, encode_image, inspect_image

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


def _heic(image, **options):
    """Return the bytes of a HEIC file."""
    pillow_heif.register_heif_opener()
    return encoded(image, "HEIF", quality=95, **options)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_photographs_of_phones_become_jpeg(kind):
    content = _heic(RGB) if kind == "HEIF" else encoded(RGB, kind, quality=95)
    extension, pixels, changes = _encode(content)
    assert (extension, changes) == ("jpg", (kind,))
    assert np.abs(pixels - PIXELS).mean() < 10  # chroma is stored at half the size


def test_heic_is_set_upright_once():
    """Its reader turns it, whatever EXIF says besides."""
    exif = Image.Exif()
    exif[0x0112] = 6
    _, pixels, _ = _encode(_heic(RGB, exif=exif.tobytes()))
    assert np.abs(pixels - np.rot90(PIXELS, -1)).mean() < 10


def test_heic_without_its_reader_is_refused_by_name(monkeypatch):
    content = _heic(RGB)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    _can_read_heic.cache_clear()
    with pytest.raises(ValueError, match=r"^a.heic is HEIC, which needs pillow-heif; install"):
        inspect_image(content, "a.heic", None)
    _can_read_heic.cache_clear()


def _damage(content, mark, by=b"\xff\x00\xff\x00"):
    """Overwrite what follows the first `mark`."""
    start = content.index(mark) + len(mark)
    return content[:start] + by + content[start + len(by) :]


EXIF = Image.Exif()
EXIF[0x010F] = "a camera's maker"


@pytest.mark.parametrize(
    ("kind", "mark"), [("JPEG", b"Exif\0\0"), ("WEBP", b"EXIF\x2c\0\0\0"), ("PNG", b"eXIf")]
)
def test_image_with_damaged_exif_is_used(kind, mark):
    whole = encoded(RGB, kind, exif=EXIF)
    damaged = _damage(whole, mark)
    inspection = inspect_image(damaged, "x", None)
    assert inspection.has_damage and not inspect_image(whole, "x", None).has_damage
    assert inspection.sha256 == inspect_image(whole, "x", None).sha256
    _, result = encode_image(damaged, "x", None)
    assert inspect_image(result, "x", None).sha256 == inspection.sha256 or kind == "WEBP"
    assert (result == damaged) == (kind == "JPEG")  # its reader passes over EXIF


@pytest.mark.parametrize("mark", [b"tEXtTitle", b"zTXtNote", b"iCCPICC Profile"])
def test_png_with_a_damaged_chunk_is_used(mark):
    texts = PngInfo()
    texts.add_text("Title", "a bird, by me")
    texts.add_text("Note", "a bird, by me", zip=True)
    whole = encoded(RGB, "PNG", pnginfo=texts, icc_profile=bytes(range(200)))
    damaged = _damage(whole, mark)
    extension, pixels, changes = _encode(damaged)
    assert (extension, changes) == ("png", ("damaged beside its pixels",))
    assert np.array_equal(pixels, PIXELS)
    assert inspect_image(damaged, "x", None).has_damage


def test_damage_of_the_pixels_is_refused():
    with pytest.raises(ValueError, match="^x "):
        inspect_image(_damage(encoded(RGB, "PNG"), b"IDAT", b"\xff" * 9), "x", None)
