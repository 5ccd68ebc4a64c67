"""The whole page: header, one column for each page, and the options it is launched with."""

from typing import Any

import gradio as gr

from gan.loading.policy import MEGABYTE, Policy
from gan.ui import bundle, live_socket, model_files, public_api, sign_in, train_files
from gan.ui.about import about
from gan.ui.explore import explore
from gan.ui.theme import head, theme
from gan.ui.train import train

LEAST_UPLOAD = 64  # megabytes, whatever the host says of models


def build_app(first: dict[str, Any]) -> gr.Blocks:
    """The app, ready to launch with `launch_options()`. `first`: the picture of the first paint,
    its recipe and the models that are there (`explore_server.first_picture()`)."""
    with gr.Blocks(title="Latent Lab", fill_width=True, delete_cache=(600, 1200)) as demo:
        gr.HTML(
            html_template=bundle.read("header.html"),
            js_on_load="window.LatentLab.mountHeader(element);",
            apply_default_css=False,
            elem_id="header",
        )
        with gr.Column(elem_id="page-explore", elem_classes="lab-page"):
            explore(first)
        with gr.Column(elem_id="page-train", elem_classes="lab-page"):
            train()
        with gr.Column(elem_id="page-about", elem_classes="lab-page"):
            about()
        public_api.attach(demo)
    sign_in.offer(demo)
    return demo


# Gradio looks into its queue of calls a thousand times a second, also when nobody is there: four
# processor seconds a minute. Only the public API's calls come by it; they wait this long at most.
QUEUE_SECONDS = 0.05  # what Gradio itself takes on Windows
PROGRESS_SECONDS = 1.0  # a hundred times a second it looks for progress, which no call reports


def serve(demo: gr.Blocks, *, block: bool = True, **options: Any) -> str:
    """Launches the app with our look and our fast line; → its address. `options` are launch()'s."""
    _, address, _ = demo.launch(prevent_thread_lock=True, **launch_options(), **options)
    live_socket.without_compression(demo.server)
    demo._queue.sleep_when_free = QUEUE_SECONDS
    demo._queue.progress_update_sleep_when_free = PROGRESS_SECONDS
    if block:
        demo.block_thread()
    return address


def launch_options() -> dict[str, Any]:
    """What `launch()` needs so that the page looks and behaves as it should."""
    upload = Policy.from_environment().upload_most_bytes
    return {
        "app_kwargs": {
            "routes": [*live_socket.routes(), *train_files.routes(), *model_files.routes()]
        },
        "theme": theme(),
        "head": head(),
        "footer_links": [],
        "run_history": False,  # it would copy every answer into the browser's storage
        "enable_monitoring": False,
        "max_file_size": f"{max(LEAST_UPLOAD, upload // MEGABYTE)}mb",
        "show_error": False,
    }
