"""Latent Lab's library: open, steer and train GANs.

>>> import gan
>>> generator = gan.load_generator("avatars")
>>> picture = gan.render(gan.Recipe(model="avatars", seed=12))

`import gan` is cheap: torch is imported at the first use of one of these names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan.loading import from_pretrained, load_generator
    from gan.recipe import Recipe
    from gan.rendering import render

__version__ = "0.1.0"
__all__ = ["Recipe", "from_pretrained", "load_generator", "render"]

_HOMES = {
    "Recipe": "gan.recipe",
    "from_pretrained": "gan.loading",
    "load_generator": "gan.loading",
    "render": "gan.rendering",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gan' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
