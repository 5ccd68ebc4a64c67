"""Draws some pictures from all over each bundled data set into its tile.png, for the page to show
without reading the data: `python assets/datasets/tiles.py`."""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from gan import images  # noqa: E402
from gan.training.data import BUNDLED, load_dataset  # noqa: E402

COLUMNS, ROWS = 4, 2


def tile(name: str) -> np.ndarray:
    """→ uint8 [2 r, 4 r, 3]"""
    every = load_dataset(name).images
    pictures = every[np.linspace(0, len(every) - 1, COLUMNS * ROWS).astype(int)]
    colour = np.repeat(pictures, 3, axis=3) if pictures.shape[3] == 1 else pictures
    return images.grid(colour, COLUMNS)


if __name__ == "__main__":
    for name in BUNDLED:
        (HERE / name / "tile.png").write_bytes(images.bare_png_bytes(tile(name)))
