"""What a file is, by its first bytes, whatever its name says; what can't be a model says so."""

from __future__ import annotations

from gan.errors import LabError
from gan.loading.content import Content
from gan.loading.pickles import LEGACY_MAGIC

_PICKLE_STARTS = b"\x80(]}cViItlLdN\x8c\x95"  # a protocol's number, or the old ones' first opcodes
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")
_HEAD = 4096
# What the tensors of a diffusion model in a single file are called: its three networks
DIFFUSION = ("model.diffusion_model.", "cond_stage_model.", "first_stage_model.")


def sniff(content: Content) -> str:
    """ "zip", "legacy" (torch), "pickle" or "safetensors". Raises LabError for anything else."""
    head, name = content.read(0, _HEAD), content.name
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(LEGACY_MAGIC):
        return "legacy"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < content.size:
        return "safetensors"
    _refuse_what_is_no_model(head, name)
    if name.endswith(".safetensors"):
        return "safetensors"  # whose own reader says what is wrong
    if head[:1] in [bytes([start]) for start in _PICKLE_STARTS]:
        return "pickle"
    raise LabError("unknown_format", path=name, start=head[:16].hex(" "))


def names_diffusion(head: bytes) -> bool:
    """Do the first bytes of a file list the tensors of a diffusion model? Both safetensors and
    torch's zip begin with their table, so some hundred kilobytes tell."""
    return any(name.encode() in head for name in DIFFUSION)


def foreign(name: str, path: object = None) -> LabError | None:
    """What is said of a file of another program, by the end of its name alone; None: nothing."""
    path, suffix = path or name, name.lower().rpartition(".")[2]
    if suffix == "onnx":
        return LabError("file_is_onnx", path=path)
    if suffix == "gguf":
        return LabError("file_is_gguf", path=path)
    if suffix in ("h5", "hdf5"):
        return LabError("file_is_keras", path=path)
    return None


def _refuse_what_is_no_model(head: bytes, name: str) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head and not name.endswith(".safetensors"):
        raise LabError("file_is_empty", path=name)
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise LabError("file_is_a_page", path=name)
    if head.startswith(b"version https://git-lfs"):
        raise LabError("file_is_a_pointer", path=name)
    if head.startswith(b"GGUF"):
        raise LabError("file_is_gguf", path=name)
    if name.lower().endswith(".onnx") or _is_onnx(head):
        raise LabError("file_is_onnx", path=name)
    if head.startswith(b"\x89HDF"):
        raise LabError("file_is_keras", path=name)
    if head.startswith(_PICTURES):
        raise LabError("file_is_a_picture", path=name)
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        raise LabError("file_is_an_archive", path=name)


def _is_onnx(head: bytes) -> bool:
    """A protocol buffer whose first field is a small version number, with a producer's name."""
    return head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x3a", b"\x42") and b"\x12" in head
