"""Which file of a repository holds the generator, by the list of its files alone; and what the
repository is where none does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from gan.errors import LabError
from gan.loading.sniffing import foreign

_WEIGHTS = (".safetensors", ".pkl", ".pt", ".pth", ".bin", ".ckpt", ".tar")
# A repository holds more than its generator; these words tell, in the names of files and folders.
_OTHERS = re.compile(
    r"discriminator|optimizer|optim|scheduler|training_args|encoder|e4e|lpips|vgg|inception"
    r"|latent_(?:avg|mean|codes?)|d?latents|mean_latent|projected|w_avg|boundar(?:y|ies)|direction"
    r"|(?:^|[^a-z0-9])(?:net)?d(?:[^a-z]|$)",
    re.IGNORECASE,
)
_GENERATORS = re.compile(
    r"(?:^|[^a-z])g?_?ema(?:[^a-z]|$)|generator|(?:^|[^a-z0-9])(?:net)?g(?:[^a-z]|$)", re.IGNORECASE
)
# Libraries that the Hub names, of whose models none is a GAN's generator
_LIBRARIES = {
    *("diffusers", "sentence-transformers", "peft", "timm", "gguf", "ultralytics", "adapters"),
    *("setfit", "spacy", "flair", "speechbrain", "nemo", "open_clip", "mlx", "sklearn"),
}


def choose_file(files: Sequence[str]) -> str | None:
    """The file that most likely holds the generator; None where none looks like one.

    Safetensors before pickles, the averaged generator before others, the last snapshot before
    earlier ones, what lies on top before what lies deep.
    """
    found = candidates(files)
    return found[0] if found else None


def candidates(files: Sequence[str]) -> list[str]:
    """What may be a generator, the likeliest first."""
    weights = [name for name in files if name.lower().endswith(_WEIGHTS)]
    return sorted((name for name in weights if not _says(_OTHERS, name)), key=_likelihood)


def refuse_what_is_no_gan(repo: str, files: Sequence[str], library: str | None = None) -> None:
    """LabError for a repository that says of itself that it is something else: thousands of
    megabytes needn't come before that is known. `library` is what the Hub names for it."""
    if "model_index.json" in files:
        library = "diffusers"
    if library in _LIBRARIES:
        raise LabError("hub_no_gan", repo=repo, library=library)


def no_model(repo: str, files: Sequence[str]) -> LabError:
    """Why none of these is a generator."""
    for name in sorted(files):
        if told := foreign(name, f"{repo}:{name}"):
            return told
    return LabError("hub_no_model", repo=repo, files=", ".join(sorted(files)[:8]) or "–")


def _says(pattern: re.Pattern[str], name: str) -> bool:
    """Does the file's name, or that of a folder in which it lies, hold one of the words?"""
    path = PurePosixPath(name)
    return any(pattern.search(part) for part in (*path.parent.parts, path.stem))


def _likelihood(name: str) -> tuple[Any, ...]:
    path = PurePosixPath(name)
    stem, suffix = path.stem.lower(), path.suffix.lower()
    numbers = [int(number) for number in re.findall(r"\d{1,12}", stem)]
    return (
        name != "model.safetensors",
        suffix != ".safetensors",
        not (_says(_GENERATORS, name) or "final" in stem),
        name.count("/"),
        _WEIGHTS.index(suffix),
        re.sub(r"\d+", "", stem),
        [-number for number in numbers],
        name,
    )
