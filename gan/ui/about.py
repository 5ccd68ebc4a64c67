"""The About page: what this is, how it works, what it may not be used for. Text and equations."""

import gradio as gr

from gan.ui import bundle


def about() -> gr.HTML:
    """Adds the page to the Blocks being built."""
    return gr.HTML(
        html_template=bundle.read("about.html"),
        js_on_load="window.LatentLab.translate(element);",
        apply_default_css=False,
        elem_id="about",
    )
