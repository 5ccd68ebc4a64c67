"""`look`: what a data set on the Hub is, before anything of it is trained on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from gan.cli.terminal import GRID_COLUMNS, add_command, say
from gan.errors import LabError

LOOK_PICTURES = 16  # of the data set that are shown


def add_to(commands: Any) -> None:
    flags = add_command(commands, "look", "cli.look", look)
    flags.add_argument("data", metavar="hub:OWNER/NAME", help=say("cli.look.data"))
    flags.add_argument("--json", action="store_true", help=say("cli.evaluate.json"))


def look(options: argparse.Namespace) -> int:
    """Says what a data set on the Hub is, before anything of it is trained on."""
    if not options.json:
        for line in _look_lines(_looked_at(options.data)):
            print(line)
        return 0
    try:
        print(json.dumps(_looked_at(options.data)))
    except LabError as error:
        print(json.dumps({"error": error.to_json()}))
        return 2
    return 0


def _looked_at(data: str) -> dict[str, Any]:
    """What there is; "pictures", some of them as a PNG in base64, where every choice is made."""
    import base64

    from gan import images
    from gan.training import hub_data
    from gan.training.hub_names import HubData

    found = hub_data.look(HubData.parse(data))
    about: dict[str, Any] = {
        "source": str(found.source),
        "repo": found.source.repo,
        "page": found.page,
        "licence": found.licence,
        "is_private": found.is_private,
        "repository_bytes": found.repository_bytes,
        "rows": found.rows,
        "most": found.source.most,
        "missing": found.missing,
        "parts": {
            name: {"chosen": getattr(found.source, name), "choices": choices}
            for name, choices in found.choices.items()
        },
    }
    if found.missing:
        return about
    facts = hub_data.facts(found.source)
    few = hub_data.excerpt(found.source, facts.resolution)
    some = few.images[:LOOK_PICTURES]
    colour = some.repeat(3, axis=3) if some.shape[3] == 1 else some
    picture = images.bare_png_bytes(images.grid(colour, min(GRID_COLUMNS, len(some))))
    return about | {
        "resolution": facts.resolution,
        "skipped": len(few.skipped),
        "looked_at": len(few.images) + len(few.skipped),
        "pictures": base64.b64encode(picture).decode(),
    }


def _look_lines(about: dict[str, Any]) -> Iterator[str]:
    yield about["source"]
    yield about["page"]
    yield say("train.licence", licence=about["licence"] or say("train.hub_no_licence"))
    yield say("train.hub_bytes", megabytes=f"{about['repository_bytes'] / 1e6:,.1f}")
    if about["rows"]:
        yield say("train.hub_rows", rows=f"{about['rows']:,}")
    if "resolution" in about:
        yield say("train.hub_resolution", resolution=about["resolution"])
    for name, part in about["parts"].items():
        choices = ", ".join(part["choices"])
        yield f"{say(f'train.hub_part.{name}')}: {part['chosen'] or '?'} ({choices})"
    if about["missing"]:
        yield say("cli.look.missing", part=about["missing"], source=about["source"])
