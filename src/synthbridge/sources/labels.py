"""What a list, a tar or a column of the hub may give as an image's label, and what stands for none.

The names of class folders, and the lines of a list of classes, are what they are: not read here.
"""

import re
from typing import Any

NO_LABELS = ("", "nan")  # how tables mark what nobody labelled
BELOW_ZERO = r"-\d+(\.\d*)?(e[+-]?\d+)?"  # how data sets of indices do


def read_label(value: Any, where: str) -> str:
    """Return the key of the class that a label names.

    Args:
        value: the label, of any type.
        where: what errors call the image.

    Raises:
        ValueError: if it is neither text nor number, or stands for no label.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{where} has the label {value!r}; a label is a name or a number")
    key = str(value).strip()
    if key.lower() in NO_LABELS or re.fullmatch(BELOW_ZERO, key.lower()):
        raise ValueError(
            f"{where} has the label '{key}', which stands for none; label it or leave it out"
        )
    return key
