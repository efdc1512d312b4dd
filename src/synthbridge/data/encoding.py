"""From any image file to what a shard holds: an upright JPEG or PNG with 8 bits a channel.

A JPEG or PNG that every reader decodes alike passes byte for byte; so does a grey one, since every
reader makes three equal channels of it. Everything else is encoded anew: as PNG if the file was
lossless, so that it gains no artefact; as JPEG of quality 95 without chroma subsampling if it was
lossy, since a PNG would spend several times the bytes on noise that is already there.

What is damaged beside the pixels (EXIF, colour profile, text) costs nobody an image.
"""

import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import numpy as np
from PIL import ExifTags, Image

from synthbridge.data.looks import look_of
from synthbridge.data.shards import encode_jpeg, encode_png

# EPS is left out (Pillow would start Ghostscript), and with it formats that no camera writes.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
PASSING = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png"}  # MPO: a JPEG with a second picture behind
LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF", "HEIF")
# The brands by which a file of phones says that it is HEIC (ISO/IEC 23008-12, annex B).
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
QUALITY = 95
MODES = {  # that become 8-bit RGB, and what people call them
    "1": "black-and-white",
    "P": "palette",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    **dict.fromkeys(("I", "I;16", "I;16B", "I;16L", "I;16N"), "16-bit"),
}
PNG_MARK = b"\x89PNG\r\n\x1a\n"
DAMAGED = "damaged beside its pixels"
TURNS = {  # EXIF's orientation -> what sets the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Inspection:
    """What decoding an image once tells."""

    sha256: str  # of the upright 8-bit RGB pixels and their size
    changes: tuple[str, ...]  # why it is encoded anew; empty: it passes byte for byte
    num_bytes: int  # that the shard will need; an upper bound where it is encoded anew
    look: bytes | None  # data.looks; None if it is too small for one
    has_damage: bool  # in EXIF or another part that says nothing of the pixels


def inspect_image(content: bytes, name: str, max_side: int | None) -> Inspection:
    """Decode an image wholly.

    Args:
        content: the bytes of the file.
        name: what errors call it.
        max_side: pixels; a shorter side above it will be reduced to it.

    Raises:
        ValueError: if it is no image, not whole, too large, or of a kind we cannot convert.
    """
    with _open_image(content, name) as image:
        changes = _changes(image, max_side, content)
        has_damage = DAMAGED in changes or _has_damaged_exif(image)
        num_bytes = len(content)
        if changes:
            width, height = _reduced_size(image.size, max_side)
            num_bytes = width * height * (1 if image.format in LOSSY else 3)
        pixels = _upright_rgb(image)
        digest = hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes()).hexdigest()
        return Inspection(digest, changes, num_bytes, look_of(pixels), has_damage)


def decode_image(content: bytes, name: str) -> np.ndarray:
    """Decode an image, upright and on white where transparent: (H, W, 3) uint8.

    Raises:
        ValueError: as `inspect_image`.
    """
    with _open_image(content, name) as image:
        return np.asarray(_upright_rgb(image))


def read_look(content: bytes, name: str) -> bytes | None:
    """Return what an image looks like; None if it is too small to tell.

    Raises:
        ValueError: as `inspect_image`.
    """
    with _open_image(content, name) as image:
        return look_of(_upright_rgb(image))


def when_taken(content: bytes, name: str) -> tuple[str, datetime] | None:
    """Return the camera that took an image and its time, as EXIF says; None if it says none.

    Raises:
        ValueError: as `inspect_image`.
    """
    with _open_image(content, name) as image:
        try:
            exif = image.getexif()
            times = exif.get_ifd(ExifTags.IFD.Exif)
            said = times.get(ExifTags.Base.DateTimeOriginal) or exif[ExifTags.Base.DateTime]
            time = datetime.strptime(str(said).strip(" \0"), "%Y:%m:%d %H:%M:%S")
            camera = [exif.get(tag, "") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
            return " ".join(str(part).strip(" \0") for part in camera), time
        except Exception:  # Pillow's reader of EXIF raises almost anything
            return None


def encode_image(content: bytes, name: str, max_side: int | None) -> tuple[str, bytes]:
    """Return the extension ("jpg" or "png") and the bytes that a shard holds of an image file.

    Raises:
        ValueError: as `inspect_image`.
    """
    with _open_image(content, name) as image:
        if not _changes(image, max_side, content):
            return PASSING[str(image.format)], content
        pixels = _upright_rgb(image)
        size = _reduced_size(pixels.size, max_side)
        if size != pixels.size:
            pixels = pixels.resize(size, Image.Resampling.BICUBIC)
        if image.format in LOSSY:
            return "jpg", encode_jpeg(np.asarray(pixels), QUALITY)
        return "png", encode_png(np.asarray(pixels))


@contextmanager
def _open_image(content: bytes, name: str) -> Iterator[Image.Image]:
    """Open an image, and name it in whatever goes wrong until the block ends."""
    if not content:
        raise ValueError(f"{name} is empty (0 bytes); copy it again or remove it")
    Image.init()
    if _is_heic(content) and not _can_read_heic():
        raise ValueError(
            f"{name} is HEIC, which needs pillow-heif; install that (pip install pillow-heif), or "
            "save the image as JPEG"
        )
    if content.startswith(b"version https://git-lfs"):
        raise ValueError(f"{name} is a pointer of Git LFS and no image yet; run 'git lfs pull'")
    sound = io.BytesIO(_without_damaged_chunks(content))
    try:
        with Image.open(sound, formats=[f for f in FORMATS if f in Image.OPEN]) as im:
            yield im
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise ValueError(
            f"{name} has more than {limit} million pixels, which Pillow refuses to decode; "
            "reduce it or remove it"
        ) from None
    except Image.UnidentifiedImageError:
        raise ValueError(
            f"{name} is no image that Pillow can read; save it as JPEG or PNG, or remove it"
        ) from None
    except Exception as error:  # a broken file makes Pillow's readers raise almost anything
        raise ValueError(
            f"{name} cannot be decoded ({error}); copy it again or remove it"
        ) from None


def _is_heic(content: bytes) -> bool:
    """Say whether a file is HEIC; AVIF has the same container."""
    return content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS and b"avif" not in content[:64]


@cache
def _can_read_heic() -> bool:
    """Let Pillow read HEIC, if pillow-heif is there."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def _without_damaged_chunks(content: bytes) -> bytes:
    """Take from a PNG the ancillary chunks with a wrong checksum: Pillow refuses the whole file.

    Damage in the others is Pillow's to tell.
    """
    if not content.startswith(PNG_MARK):
        return content
    damaged, start = [], len(PNG_MARK)
    while start + 12 <= len(content):  # length, kind, data, CRC-32 of kind and data
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        kind, chunk = content[start + 4 : start + 8], memoryview(content)[start:end]
        is_ancillary = kind[:1].islower() and kind != b"tRNS"  # it says what is transparent
        if is_ancillary and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            damaged.append((start, end))
        start = end
    for start, end in reversed(damaged):
        content = content[:start] + content[end:]
    return content


def _orientation(image: Image.Image) -> int:
    """Return what the EXIF tag says of a camera's turn, 1 to 8; 1 if EXIF cannot be read."""
    if image.format == "PNG":
        image.load()  # here, so that its errors are heard: a PNG may hold EXIF behind the pixels
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) or 1
    except Exception:  # Pillow's reader of EXIF raises almost anything
        return 1


def _has_damaged_exif(image: Image.Image) -> bool:
    try:
        Image.Exif().load(image.info.get("exif") or b"")  # getexif raises once alone
    except Exception:  # as above
        return True
    return False


def _changes(image: Image.Image, max_side: int | None, content: bytes) -> tuple[str, ...]:
    """Say why an image does not pass as it is; only the header has been read."""
    kind = str(image.format)
    num_frames = getattr(image, "n_frames", 1)
    if kind == "TIFF" and num_frames > 1:
        raise ValueError(f"it holds {num_frames} pages, one is possible")
    changes = [] if kind in PASSING else [kind]
    if image.mode in MODES:
        changes.append(MODES[image.mode])
    if image.has_transparency_data:
        changes.append("transparent")
    elif image.mode not in (*MODES, "L", "RGB"):
        changes.append(f"mode {image.mode}")
    if kind != "MPO" and num_frames > 1:
        changes.append("several, the main one" if kind == "HEIF" else "animated, first frame")
    if _orientation(image) != 1:
        changes.append("rotated")
    if kind == "PNG" and len(_without_damaged_chunks(content)) < len(content):
        changes.append(DAMAGED)
    if max_side is not None and min(image.size) > max_side:
        changes.append("huge")
    return tuple(changes)


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF tag says and make it 8-bit RGB, on white where transparent."""
    image.load()
    turn = TURNS.get(_orientation(image))
    image = image.copy() if turn is None else image.transpose(turn)
    if MODES.get(image.mode) == "16-bit":
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values do not fit 16 bits")
        # By the format's whole range, not the image's: equal values stay equal across images.
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("it holds floating-point values")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _reduced_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return the size (width, height) with the shorter side at most `max_side`."""
    if max_side is None or min(size) <= max_side:
        return size
    scale = max_side / min(size)
    return max(max_side, round(size[0] * scale)), max(max_side, round(size[1] * scale))
