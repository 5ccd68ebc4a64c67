"""Opens Latent Lab in the browser: `python app.py`. Also the entry point of a Space."""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
# Read when torch is: threads that wait awake take the cores from a training, and it from them
# (measured side by side: a picture in 107 ms instead of 5).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def parse() -> argparse.Namespace:
    """The flags; every one has a sensible default."""
    from gan.cli import say

    parser = argparse.ArgumentParser(description=say("cli.app.about"))
    parser.add_argument("--host", help=say("cli.app.host"))
    parser.add_argument("--port", type=int, help=say("cli.app.port"))
    parser.add_argument("--model", help=say("cli.app.model"))
    parser.add_argument("--device", default="auto", help=say("cli.device"))
    parser.add_argument("--share", action="store_true", help=say("cli.app.share"))
    parser.add_argument("--training", choices=("on", "off"), help=say("cli.app.training"))
    parser.add_argument("--open", action="store_true", help=say("cli.app.open"))
    return parser.parse_args()


def main() -> None:
    """Draws the first picture while gradio is imported, then serves the page."""
    options = parse()
    note_host(options)
    with ThreadPoolExecutor(1) as beside:
        first = beside.submit(draw_first, options)
        from gan.errors import LabError
        from gan.ui.build import build_app, serve
    address = {"server_name": options.host, "server_port": options.port}
    try:
        demo = build_app(first.result())
        serve(demo, **address, share=options.share, inbrowser=options.open)
    except (LabError, OSError) as error:  # no such model or device; a port that is taken
        raise SystemExit(f"app.py: {error}") from None


def note_host(options: argparse.Namespace) -> None:
    """Notes, for all that strangers may not do, who can reach the page."""
    from gan import host

    host.serve_at(options.host, options.share)
    if options.training:
        os.environ["LATENT_LAB_TRAINING"] = options.training


def draw_first(options: argparse.Namespace) -> dict[str, Any]:
    """Opens the renderer and the first model."""
    from gan.ui.start import first_picture

    return first_picture(options.device, options.model)


if __name__ == "__main__":
    main()
