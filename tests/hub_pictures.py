"""Data sets as they lie on the Hub, made here: the files of a repository, for `HubServer.commit`.

Needs the optional package `datasets`, of which tests that use this skip without it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

README = b"---\nlicense: cc-by-4.0\n---\n# Some pictures\n"
COUNTED = b"""---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': round
          '1': square
  splits:
  - name: train
    num_bytes: 1000
    num_examples: 30
  download_size: 1000
  dataset_size: 1000
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
---
"""


def png(number: int, side: int = 16, grey: bool = False) -> bytes:
    """A picture of noise that is its number's own."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(file, "PNG")
    return file.getvalue()


def stored(content: bytes | None, path: str | None = None) -> dict[str, Any]:
    """A picture as a row of parquet holds it."""
    return {"bytes": content, "path": path}


def parquet(columns: Mapping[str, Sequence[Any]], features: Mapping[str, Any]) -> bytes:
    """A parquet file with the features told in it, as `push_to_hub` writes it; values as they are
    stored."""
    import datasets
    import pyarrow as pa
    from pyarrow import parquet as pq

    schema = datasets.Features(dict(features)).arrow_schema
    file = io.BytesIO()
    pq.write_table(pa.table(dict(columns), schema=schema), file)
    return file.getvalue()


def labelled(count: int = 30, classes: Sequence[str] = ("round", "square")) -> bytes:
    """Pictures in a column "image", classes in turn in a column "label"."""
    import datasets

    return parquet(
        {
            "image": [stored(png(number)) for number in range(count)],
            "label": [number % len(classes) for number in range(count)],
        },
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))},
    )
