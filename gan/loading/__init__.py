"""Where generators come from: a source is given, a generator with its `info` is returned.

Sources: a bundled model's name, a model folder, a run directory, a file in any format that GANs
are published in, a name on the Hugging Face Hub. Nothing that is read here can run; what can't be
read safely is refused by name.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from gan.device import Device
from gan.errors import LabError
from gan.generators.base import Generator
from gan.loading import hub, tables
from gan.loading.content import Content
from gan.loading.formats import Room, load_file, open_file
from gan.loading.hub_names import is_hub_name
from gan.loading.native import ModelInfo, is_ours, read_info, read_model, save_model
from gan.loading.policy import Policy
from gan.loading.sniffing import foreign, sniff
from gan.locale import terminal_language, text
from gan.recipe import model_name

__all__ = [
    "ModelInfo",
    "from_hub",
    "from_pretrained",
    "has_name",
    "here",
    "list_models",
    "load_generator",
    "look_up",
    "named_folder",
    "open_file",
    "renamed",
    "save_model",
]

_WEIGHTS = "model.safetensors"
_SUFFIXES = {".safetensors", ".pkl", ".pt", ".pth", ".bin", ".ckpt", ".tar"}
_RUN_EXPORTS = ("model", "latest")  # the best so far, or else the newest


def load_generator(
    source: str | Path,
    device: Device | torch.device | None = None,
    room: Room | None = None,
) -> Generator:
    """A generator, ready to draw (evaluation mode, no gradients), with `.info: ModelInfo`.

    `source` is a bundled name, a run directory (its best model, or else its newest), a model
    folder, a file (.safetensors, a StyleGAN snapshot, a PyTorch checkpoint), or a name on the Hub
    ("owner/name", "owner/name@revision", "owner/name:file"; a path that is there goes first).
    What must be downloaded is announced on stderr with its size and licence, and a terminal shows
    how far it is: Ctrl-C keeps what has come, and the next call goes on from there.
    `device` is the CPU where none is given. `room` is told before the weights are read how many
    numbers they are, and may raise. Raises LabError for a source that is missing, damaged,
    unsafe or of a family that can't be opened yet.
    """
    target = device.torch if isinstance(device, Device) else device or torch.device("cpu")
    named = _named_folders().get(source) if isinstance(source, str) else None
    if named is not None:
        return _read(named / _WEIGHTS, room, named.name).to(target)
    path = here(source)
    if path is None and isinstance(source, str) and is_hub_name(source):
        found = look_up(source)
        with _told(found) as progress:
            return from_hub(found, progress=progress, room=room).to(target)
    if path is None:
        raise LabError("unknown_model", name=source, known=", ".join(_named_folders()))
    return _read(_weights_file(path), room).to(target)


@contextlib.contextmanager
def _told(found: hub.HubFile) -> Iterator[hub.Progress | None]:
    """Inside, what is given the bytes of a download says on stderr how far it is."""
    if found.is_cached:
        yield None
        return
    from tqdm import tqdm

    sys.stderr.write(f"{_about(found)}\n")
    form = {"unit": "B", "unit_scale": True, "dynamic_ncols": True}
    with tqdm(total=found.size_bytes, disable=not sys.stderr.isatty(), **form) as bar:

        def progress(here: int, size: int | None) -> None:
            bar.total = size
            bar.update(here - bar.n)

        yield progress


def _about(found: hub.HubFile) -> str:
    """What will be downloaded, in the terminal's language."""
    language, size = terminal_language(), found.size_bytes
    unknown = text("models.unknown", language)
    return text(
        "models.downloading",
        language,
        name=found.repo,
        file=found.file,
        size=unknown if size is None else f"{size / 1e6:,.1f} MB",
        licence=found.licence or unknown,
    )


def here(source: str | Path) -> Path | None:
    """What is on this disk under that name ("~" is the home); None: nothing is, or nothing can be
    called so, as it is too long or the home of nobody."""
    try:
        path = Path(source).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def look_up(
    name: str, policy: Policy | None = None, *, digest: str = "", token: str | None = None
) -> hub.HubFile:
    """`hub.look_up`, where a name may also be a path with a slip in it ("runs/digts"): whose folder
    is here, and which the Hub doesn't know. Raises LabError."""
    policy = policy or Policy.from_environment()
    try:
        return hub.look_up(name, policy, digest=digest, token=token)
    except LabError as error:
        is_unknown = error.code in ("hub_no_repo", "hub_unreachable", "hub_off")
        folder = here(Path(name).parent) if is_unknown and policy.paths else None
        if folder is None or not folder.is_dir():
            raise
        raise LabError("no_such_path", path=name) from error


def _read(file: Path, room: Room | None = None, name: str | None = None) -> Generator:
    """`name` is that of a model of ours, where it has one of its own."""
    content = Content(file, str(file))
    if name is None and not (sniff(content) == "safetensors" and is_ours(content)):
        return load_file(file, room=room)
    if room:
        room(sum(tensor.numel for tensor in tables.read(content)[0].values()))
    return read_model(file, name)


def from_hub(
    found: hub.HubFile,
    policy: Policy | None = None,
    progress: hub.Progress | None = None,
    token: str | None = None,
    room: Room | None = None,
) -> Generator:
    """The generator in a file on the Hub, fetched if need be, on the CPU; called "owner/name".
    `token` is a person's own (`hub.fetched`). Raises LabError."""
    with hub.fetched(found, policy, progress=progress, token=token) as path:
        generator = _read(path, room)
    info = renamed(generator.info, found.repo, found.repo.partition("/")[2])
    licence = info.licence or found.licence
    generator.info = replace(info, source=found.source, licence=licence)
    return generator


def renamed(info: ModelInfo, name: str, title: str) -> ModelInfo:
    """`info` under another name; `title` is shown where the model has none of its own."""
    has_title = any(each != info.name for each in info.title.values())
    titles = info.title if has_title else dict.fromkeys(("en", "zh"), title)
    return replace(info, name=name, title=titles)


def from_pretrained(name: str, device: Device | torch.device | None = None) -> Generator:
    """The generator that was published as `name` on the Hub: "owner/name" or
    "owner/name@revision". The same as `load_generator`, in the words that people know."""
    return load_generator(name, device)


def list_models() -> list[ModelInfo]:
    """The models that have a name: those of `assets/models`, then those of the folders that
    LATENT_LAB_MODELS lists. Damaged ones are left out."""
    found = []
    for name, folder in _named_folders().items():
        with contextlib.suppress(LabError):
            found.append(read_info(folder / _WEIGHTS, name))
    return found


def has_name(info: ModelInfo) -> bool:
    """Can this model be opened by its name alone, here and now?"""
    folder = _named_folders().get(info.name)
    return folder is not None and info.path == folder / _WEIGHTS


def named_folder(name: str) -> Path | None:
    """The folder of the model that has this name."""
    return _named_folders().get(name)


def _named_folders() -> dict[str, Path]:
    """Name → model folder. A model is called as its folder, whatever its training was called."""
    homes = [Path(__file__).parents[2] / "assets" / "models"]
    homes += map(Path, filter(None, os.environ.get("LATENT_LAB_MODELS", "").split(os.pathsep)))
    found: dict[str, Path] = {}
    for home in homes:
        for weights in sorted(home.glob(f"*/{_WEIGHTS}")):
            found.setdefault(model_name(weights.parent.name), weights.parent)
    return found


def _weights_file(path: Path) -> Path:
    """The file that holds the weights of what is called `path`."""
    if path.is_file():
        return path
    for folder in (path, *(path / export for export in _RUN_EXPORTS)):
        if (folder / _WEIGHTS).is_file():
            return folder / _WEIGHTS
    return _only_one(path)


def _only_one(folder: Path) -> Path:
    """The model in somebody else's folder, where there is no doubt which."""
    if (folder / "model_index.json").is_file() or (folder / "unet").is_dir():
        raise LabError("folder_of_diffusion", path=folder)
    inside = sorted(folder.iterdir())
    found = [each for each in inside if each.suffix.lower() in _SUFFIXES]
    if not found:
        for each in inside:
            if told := foreign(each.name, each):
                raise told
        raise LabError("folder_without_model", source=folder)
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise LabError("folder_with_many", path=folder, names=names)
    return found[0]
