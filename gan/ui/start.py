"""What happens once, before the page is served: the renderer opens, the first picture is drawn."""

from typing import Any

from gan import device as devices
from gan import images, rendering
from gan.recipe import Recipe
from gan.ui import explore_server


def first_picture(device: str = "auto", source: str | None = None) -> dict[str, Any]:
    """What the page starts with: {"recipe", "models", "image": data URL}; blocks.

    `source` names the model to start with, or a folder, a run or a file. Without any model the
    recipe is None and the image "". Raises LabError where the device or the source isn't there.
    """
    renderer = rendering.shared(devices.choose(device))
    if source is None:
        return explore_server.first_picture()
    revision = ""
    if source not in {info.name for info in renderer.models()}:
        added = renderer.add(source)
        source, revision = added.name, added.revision
    recipe = Recipe(source, revision=revision, seed=explore_server.FIRST_SEED)
    pixels = renderer.model(source, revision).draw_exact(recipe)
    return {
        "recipe": recipe.to_json(),
        "models": [explore_server.describe(info) for info in renderer.models()],
        "image": explore_server.data_url(images.bare_png_bytes(pixels), "image/png"),
    }
