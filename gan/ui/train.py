"""The Train page: one component, in which trainings are started, watched and steered.

What the page shows comes from the runs' directories (`gan.workshop`); its own state, such as a form
that is half filled in, lives in the browser, in `live/train_reducer.js`.
"""

import gradio as gr

from gan.ui import bundle, train_files, train_server
from gan.ui.explore import space_name


def train() -> gr.HTML:
    """Adds the page to the Blocks being built."""
    start = train_server.facts() | {"files": train_files.PATH, "space": space_name()}
    return gr.HTML(
        html_template=bundle.read("train.html"),
        js_on_load=bundle.script("train.js", "startTrain({ element, server, props, upload });"),
        server_functions=list(train_server.FUNCTIONS),
        apply_default_css=False,
        elem_id="train-page",
        start=start,
    )
