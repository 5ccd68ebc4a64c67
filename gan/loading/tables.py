"""Reads safetensors files: a table of tensors in JSON, then their bytes.

Whose tensors these are is the business of `native.py` (ours) and `formats.py` (everybody else's).
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch

from gan.errors import LabError
from gan.loading.content import MOST_DIMENSIONS, Content, LazyTensor, Storage

_MOST_HEADER = 16 * 2**20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read(content: Content) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """→ the tensors, not yet read, and the metadata (texts). Raises LabError "damaged_model"."""
    try:
        return _read(content)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        reason = f"{error}" or type(error).__name__
        raise LabError("damaged_model", path=content.name, reason=reason) from error


def _read(content: Content) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    length = int.from_bytes(content.read(0, 8), "little")
    if content.size < 8 or length > min(content.size - 8, _MOST_HEADER):
        raise ValueError("no safetensors header")
    table = json.loads(content.read(8, length))
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise TypeError("its metadata are no table")
    first, taken = 8 + length, 0
    tensors = {}
    for name, entry in table.items():
        tensor = _tensor(content, entry, first)
        tensors[name], taken = tensor, taken + tensor.size_bytes
    if taken != content.size - first:  # neither holes nor the same bytes twice
        raise ValueError("its table of tensors doesn't fit its bytes")
    return tensors, {key: value for key, value in metadata.items() if isinstance(value, str)}


def _tensor(content: Content, entry: dict[str, Any], first: int) -> LazyTensor:
    dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
        raise TypeError("its table of tensors is no table")
    if not all(type(n) is int and 0 <= n < 2**62 for n in (*shape, begin, end)):
        raise ValueError("its table of tensors is no table")
    count = math.prod(shape)
    if end - begin != count * dtype.itemsize or first + end > content.size:
        raise ValueError("a tensor that reaches outside the file")
    stride = tuple(math.prod(max(n, 1) for n in shape[i + 1 :]) for i in range(len(shape)))
    return LazyTensor(Storage(content, dtype, count, first + begin), 0, tuple(shape), stride)
