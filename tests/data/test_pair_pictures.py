import io

import numpy as np
from PIL import Image

from synthbridge.data.pair_pictures import PAIRS_A_ROW, TILE, draw_pairs


def test_pairs_stand_side_by_side():
    red, blue = (np.full((40, 90, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    pixels = np.asarray(Image.open(io.BytesIO(draw_pairs([(red, blue)] * 5))))
    assert pixels.shape == (2 * TILE, 2 * PAIRS_A_ROW * TILE, 3)
    assert (pixels[5, 5] == (255, 0, 0)).all() and (pixels[5, TILE + 5] == (0, 0, 255)).all()
    assert (pixels[TILE + 5, 2 * TILE + 5] == 255).all()  # no sixth pair
