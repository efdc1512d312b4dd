"""Flowers-102 (Nilsback and Zisserman 2008): `102flowers.tgz`, `imagelabels.mat`, `setid.mat`."""

from pathlib import Path

from synthbridge.sources.named.listing import UNPACK_AGAIN, Listing, read_mat

# The names are on the authors' page, in none of their files, with two slips there mended (barberton
# daisy, pink-yellow dahlia); class ids start at 1.
FLOWERS = (
    "pink primrose",
    "hard-leaved pocket orchid",
    "canterbury bells",
    "sweet pea",
    "english marigold",
    "tiger lily",
    "moon orchid",
    "bird of paradise",
    "monkshood",
    "globe thistle",
    "snapdragon",
    "colt's foot",
    "king protea",
    "spear thistle",
    "yellow iris",
    "globe-flower",
    "purple coneflower",
    "peruvian lily",
    "balloon flower",
    "giant white arum lily",
    "fire lily",
    "pincushion flower",
    "fritillary",
    "red ginger",
    "grape hyacinth",
    "corn poppy",
    "prince of wales feathers",
    "stemless gentian",
    "artichoke",
    "sweet william",
    "carnation",
    "garden phlox",
    "love in the mist",
    "mexican aster",
    "alpine sea holly",
    "ruby-lipped cattleya",
    "cape flower",
    "great masterwort",
    "siam tulip",
    "lenten rose",
    "barberton daisy",
    "daffodil",
    "sword lily",
    "poinsettia",
    "bolero deep blue",
    "wallflower",
    "marigold",
    "buttercup",
    "oxeye daisy",
    "common dandelion",
    "petunia",
    "wild pansy",
    "primula",
    "sunflower",
    "pelargonium",
    "bishop of llandaff",
    "gaura",
    "geranium",
    "orange dahlia",
    "pink-yellow dahlia",
    "cautleya spicata",
    "japanese anemone",
    "black-eyed susan",
    "silverbush",
    "californian poppy",
    "osteospermum",
    "spring crocus",
    "bearded iris",
    "windflower",
    "tree poppy",
    "gazania",
    "azalea",
    "water lily",
    "rose",
    "thorn apple",
    "morning glory",
    "passion flower",
    "lotus",
    "toad lily",
    "anthurium",
    "frangipani",
    "clematis",
    "hibiscus",
    "columbine",
    "desert-rose",
    "tree mallow",
    "magnolia",
    "cyclamen",
    "watercress",
    "canna lily",
    "hippeastrum",
    "bee balm",
    "ball moss",
    "foxglove",
    "bougainvillea",
    "camellia",
    "mallow",
    "mexican petunia",
    "bromelia",
    "blanket flower",
    "trumpet creeper",
    "blackberry lily",
)


def list_flowers(raw: Path) -> Listing:
    """List trnid + valid and tstid of `setid.mat`; image and class ids start at 1."""
    (labels,) = read_mat(raw / "imagelabels.mat", "labels")
    trnid, valid, tstid = (
        [int(image) for image in ids]
        for ids in read_mat(raw / "setid.mat", "trnid", "valid", "tstid")
    )
    if len(labels) < max(trnid + valid + tstid):
        raise ValueError(f"{raw}/imagelabels.mat has only {len(labels)} labels; {UNPACK_AGAIN}")

    def images(ids: list[int]) -> list[tuple[str, int]]:
        return [(f"jpg/image_{image:05d}.jpg", int(labels[image - 1])) for image in ids]

    return Listing(
        classes=dict(enumerate(FLOWERS, start=1)),
        train=images(trnid + valid),
        test=images(tstid),
    )
