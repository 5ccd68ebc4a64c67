"""Packs what draw.mjs drew: `python pack.py avatars` reads avatars.rgb and avatars.json.

Writes ../data.npz and the pixels' sha256 into ../card.json. A vector figure repeats itself: at each
of the 8 × 8 places of a picture, the archive lists the different tiles that occur there and, for
every picture, which one. LZMA does the rest; `numpy.load` reads it.
"""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

SIZE, TILE = 64, 8  # px
ACROSS = SIZE // TILE


def tiles_of(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """images uint8 [N, 64, 64, 3] → tiles [T, 8, 8, 3], first tile of each place [64], [N, 64]."""
    grid = images.reshape(-1, ACROSS, TILE, ACROSS, TILE, 3).transpose(1, 3, 0, 2, 4, 5)
    tiles, indices = [], []
    for place in grid.reshape(ACROSS * ACROSS, len(images), -1):
        rows = np.ascontiguousarray(place).view(f"V{place.shape[1]}").ravel()
        distinct, index = np.unique(rows, return_inverse=True)
        tiles.append(distinct.view(np.uint8).reshape(-1, TILE, TILE, 3))
        indices.append(index.astype(np.uint16))
    starts = np.cumsum([0, *(len(part) for part in tiles)])[:-1].astype(np.uint32)
    return np.concatenate(tiles), starts, np.stack(indices, axis=1)


def save_lzma(path: Path, **arrays: np.ndarray) -> None:
    """Like numpy.savez_compressed, but with LZMA and without dates: equal arrays, equal file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_LZMA)


def pack(drawn: Path, folder: Path) -> None:
    images = np.fromfile(drawn.with_suffix(".rgb"), np.uint8).reshape(-1, SIZE, SIZE, 3)
    about = json.loads(drawn.with_suffix(".json").read_text())
    tiles, starts, indices = tiles_of(images)
    save_lzma(
        folder / "data.npz",
        tiles=tiles,
        starts=starts,
        indices=indices,
        attributes=np.array(about["rows"], np.uint8),
        values=np.array(json.dumps(about["values"])),
    )
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card |= {"count": len(images), "sha256": hashlib.sha256(images.tobytes()).hexdigest()}
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(__file__).parents[1])
