"""What the host says of itself in environment variables: switches, and whether strangers come."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gan.errors import LabError

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_ON, _OFF = {"1", "on", "yes", "true"}, {"0", "off", "no", "false"}


def switch(name: str, default: bool, environment: Mapping[str, str] | None = None) -> bool:
    """Whether the variable says "on"; `default` where it says nothing. LabError for other words."""
    given = os.environ if environment is None else environment
    word = given.get(name, "").strip().lower()
    if word and word not in _ON | _OFF:
        raise LabError("bad_switch", name=name, value=word)
    return word in _ON if word else default


def is_public(environment: Mapping[str, str] | None = None) -> bool:
    """Whether strangers can reach this host: a Space, or one that LATENT_LAB_PUBLIC says is so."""
    given = os.environ if environment is None else environment
    return switch("LATENT_LAB_PUBLIC", bool(given.get("SPACE_ID")), given)


def serve_at(address: str | None, shared: bool) -> None:
    """Notes who can reach a page that is served at `address` (None: this machine alone, unless
    Gradio's own variable says otherwise), or through a shared link."""
    address = address or os.environ.get("GRADIO_SERVER_NAME") or THIS_MACHINE[0]
    if shared or address not in THIS_MACHINE:
        os.environ.setdefault("LATENT_LAB_PUBLIC", "on")
