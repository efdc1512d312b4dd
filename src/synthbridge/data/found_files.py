"""Files as people keep them: texts in their encodings, and what systems leave beside them."""

import codecs
from pathlib import Path

# What systems and programs leave behind, in small letters. Hidden files are left out as well.
LEFT_OVERS = (
    "$recycle.bin",
    "#recycle",
    "@eadir",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "icon\r",
    "lost+found",
    "picasa.ini",
    "system volume information",
    "thumbs.db",
)
# Hidden folders that hold no class; any other one may be a class (`.net`).
HIDDEN_FOLDERS = (
    ".@__thumb",
    ".appledouble",
    ".cache",
    ".documentrevisions-v100",
    ".dvc",
    ".fseventsd",
    ".git",
    ".huggingface",
    ".idea",
    ".ipynb_checkpoints",
    ".picasaoriginals",
    ".spotlight-v100",
    ".stfolder",
    ".stversions",
    ".temporaryitems",
    ".thumbnails",
    ".trash",
    ".trashes",
    ".venv",
    ".vscode",
)


def list_folder(folder: Path) -> list[Path]:
    """List what lies in `folder`, without what systems leave behind."""
    return sorted(path for path in folder.iterdir() if not is_left_over(path))


def is_left_over(path: Path) -> bool:
    """Say whether a system or program left a file or folder here, or hid it."""
    name = path.name.casefold()
    if not name.startswith("."):
        return name in LEFT_OVERS
    return name in HIDDEN_FOLDERS or name.startswith((".trash-", "._")) or not path.is_dir()


def read_text(path: Path) -> str:
    """Read a text in UTF-8, or in UTF-16 where it begins with that one's mark.

    Raises:
        ValueError: naming the file and the line that is neither.
    """
    return decode_text(path.read_bytes(), str(path))


def decode_text(content: bytes, where: str) -> str:
    """Decode a text as `read_text` does; `where` is what errors call it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"  # -sig: Excel writes a mark first
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        kind = "UTF-16, as its mark says" if encoding == "utf-16" else "UTF-8"
        raise ValueError(
            f"{where}, line {line}, is not {kind} (Latin-1 or Windows-1252, perhaps); save the "
            "file as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(
            f"{where} holds bytes of zero (UTF-16 without its mark, perhaps); save the file as "
            "UTF-8"
        )
    return text
