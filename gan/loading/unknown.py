"""Answers for files that hold no generator that can be opened: what it looks like, what is missing,
what would work.

By the names of tensors and classes alone; nothing is computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gan.errors import LabError
from gan.generators import dcgan
from gan.loading.networks import Network
from gan.loading.sniffing import DIFFUSION

_SHOWN = 3  # names of tensors, in a message

_DIFFUSION = "|".join(
    (*map(re.escape, DIFFUSION), r"(unet\.)?(down_blocks|up_blocks|mid_block)\.|time_embed\w*\.")
)
_ENCODER, _DECODER = (
    re.compile(rf"(?:.*[._-])?(?:{name})(?:[._-].*)?", re.IGNORECASE)
    for name in ("enc|encoder", "dec|decoder")
)
_STYLEGAN1 = r".*(StyleMod|style_mod|\badain\w*\b|progression\.\d).*|g_synthesis\.blocks\..*"
_DISCRIMINATOR = r"b\d+\.fromrgb\.weight|b4\.(mbstd|fc|out)\..*|final_conv\..*|final_linear\..*"
_PARTS_OF_STYLEGAN2 = {
    "mapping": r"mapping\.fc0\.weight|style\.1\.weight|mapping/Dense0/weight",
    "synthesis": r"synthesis\.b4\..*|conv1\.conv\.modulation\..*|synthesis/4x4/.*",
}


def explained(path: str, found: list[Network]) -> LabError:
    """The error to raise for a file in which no family was recognised."""
    names = [name for network in found for name in network.tensors]
    classes = {each for network in found for each in network.classes}
    if not names:
        return LabError("file_without_tensors", path=path)
    return (
        _other_gan(path, names, classes)
        or _no_gan(path, names)
        or _more_than_dcgan(path, found)
        or _part_of_one(path, found, names)
        or LabError(
            "family_not_recognised",
            path=path,
            count=len(set(names)),
            names=", ".join(sorted(set(names))[:_SHOWN]),
        )
    )


def decodes(network: Network, found: list[Network]) -> bool:
    """Is this the decoder of an autoencoder, whose encoder is in a table beside it?"""
    place, _, name = network.label.rpartition("/")
    beside = (other.label.rpartition("/") for other in found)
    return bool(_DECODER.fullmatch(name)) and any(
        where == place and _ENCODER.fullmatch(other) for where, _, other in beside
    )


def _has(names: Iterable[str], pattern: str) -> bool:
    search = re.compile(pattern).match
    return any(search(name) for name in names)


def _other_gan(path: str, names: list[str], classes: set[str]) -> LabError | None:
    """GANs of families that aren't here yet."""
    if _has(names, r".*embed_proj\.") or any("Superres" in each for each in classes):
        return LabError("looks_like_stylegan_xl", path=path)
    if _has(names, r"synthesis\.(init|feat_\d+|se_\d+)\.") or _has(names, r"feature_networks?\."):
        return LabError("looks_like_projected_gan", path=path)
    if _has(names, _STYLEGAN1):
        return LabError("looks_like_stylegan1", path=path)
    if _has(names, r"(G|GE)\.blocks\.\d+\.(to_style1|conv1)") or _has(names, r"S\.net\.\d"):
        return LabError("looks_like_lucidrains_stylegan2", path=path)
    if _has(names, r"((G|GE)\.)?(initial_conv\.|layers\.\d+\.[01]\.[0-3]\.|sle_modules)"):
        return LabError("looks_like_lightweight_gan", path=path)
    if _has(names, r"(module\.)?(shared\.weight|blocks\.0\.0\.(conv1|bn1)\.)"):
        return LabError("looks_like_biggan", path=path)
    if _has(names, r".*model\.\d+\.conv_block\."):
        return LabError("looks_like_translation", path=path)
    return None


def _no_gan(path: str, names: list[str]) -> LabError | None:
    if _has(names, _DIFFUSION) or _has(names, r"transformer_blocks\.|single_blocks\."):
        return LabError("looks_like_diffusion", path=path)
    if _has(names, r"(encoder|decoder)\.(mid|conv_in|up|down)") or _has(names, r"quant_conv\."):
        return LabError("looks_like_autoencoder", path=path)
    if _has(names, r".*(self_attn|attention\.self|q_proj|c_attn)\."):
        return LabError("looks_like_transformer", path=path)
    return None


def _more_than_dcgan(path: str, found: list[Network]) -> LabError | None:
    """A network that has a DCGAN's layers and others: an autoencoder, or a GAN built otherwise."""
    if any(decodes(network, found) for network in found):
        return LabError("looks_like_autoencoder", path=path)
    for network in found:
        more = dcgan.more_than_a_column(network.shapes)
        if any("encoder" in name.lower() for name in more):
            return LabError("looks_like_autoencoder", path=path)
        if more:
            names = ", ".join(more[:_SHOWN])
            return LabError("network_has_more", path=path, family="DCGAN", names=names)
    return None


def _part_of_one(path: str, found: list[Network], names: list[str]) -> LabError | None:
    """One half of a network, or the network that judges."""
    halves = {half: _has(names, pattern) for half, pattern in _PARTS_OF_STYLEGAN2.items()}
    if halves["mapping"] != halves["synthesis"]:
        missing = "synthesis" if halves["mapping"] else "mapping"
        return LabError("half_a_network", path=path, family="StyleGAN2", missing=missing)
    if _has(names, r"synthesis\.(input|L\d+_)"):
        return LabError("half_a_network", path=path, family="StyleGAN3", missing="mapping.fc0")
    if any(network.is_called_generator for network in found):
        return None  # one that isn't known, whatever is beside it
    if _has(names, _DISCRIMINATOR) or not any(network.is_generator for network in found):
        return LabError("discriminator_only", path=path)
    return LabError("discriminator_only", path=path) if _judges(found) else None


def _judges(found: list[Network]) -> bool:
    """Convolutions from colours to a single number: a discriminator as tutorials write it."""
    for network in found:
        shapes = [shape for shape in network.shapes.values() if len(shape) == 4]
        if len(shapes) > 1 and shapes[0][1] in (1, 3, 4) and shapes[-1][0] == 1:
            return True
    return False
