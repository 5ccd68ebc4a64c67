"""The Explore page: one component that holds the live picture and all its controls.

The page's state lives in the browser, in `live/reducer.js`, and nowhere else. This file gives the
component its markup, its script, the facts it starts with and the functions it may call.
"""

import os
from typing import Any

import gradio as gr

from gan import images
from gan.ui import bundle, explore_server, live_socket, models_server, train_server


def explore(first: dict[str, Any]) -> gr.HTML:
    """Adds the page to the Blocks being built. `first` is what `first_picture()` returned."""
    start = {"recipe": first["recipe"], "models": first["models"], "space": space_name()}
    start |= {"socket": live_socket.PATH, "most_pixels": images.LARGEST_DOWNLOAD}
    start |= {"recipe_within": images.RECIPE_WITHIN}
    return gr.HTML(
        html_template=bundle.read("icons.html") + bundle.read("explore.html"),
        js_on_load=bundle.script("explore.js", "startExplore({ element, server, props });"),
        server_functions=[
            *explore_server.FUNCTIONS,
            *models_server.FUNCTIONS,
            train_server.explore,
            train_server.own_runs,
        ],
        apply_default_css=False,
        elem_id="explore",
        first=first["image"],
        start=start,
    )


def space_name() -> str:
    """ "owner/name" of the Space that runs this, or "": links then lead to the Space's page."""
    return os.environ.get("SPACE_ID", "")
