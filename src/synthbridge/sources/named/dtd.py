"""DTD, the describable textures (Cimpoi et al. 2014), as in `dtd-r1.0.1.tar.gz`."""

from pathlib import Path

from synthbridge.sources.named.listing import Listing, read_lines, readable


def list_dtd(raw: Path) -> Listing:
    """List split 1 of ten: its train and val parts to train on, its test part."""
    train1, val1, test = (
        [
            (f"dtd/images/{line}", line.partition("/")[0])
            for line in read_lines(raw / f"dtd/labels/{part}1.txt")
        ]
        for part in ("train", "val", "test")
    )
    train = train1 + val1
    classes = {key: readable(key) for key in sorted({key for _, key in train})}
    return Listing(classes, train, test)
