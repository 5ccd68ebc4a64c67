"""Who is signed in with Hugging Face: on a Space that offers it (`hf_oauth` in its card).

Gradio does the signing in, at /login/huggingface and /logout, and keeps its outcome in a signed
cookie. Here is read who it is, and nothing of it is stored: a run keeps a hash of the user's id.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from gradio.utils import get_space
from starlette.requests import Request

from gan.errors import LabError
from gan.workshop import Owner, Person

NEEDED = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
PACKAGES = ("authlib", "itsdangerous")  # of gradio[oauth], which every Space has


def is_offered() -> bool:
    """Whether people can sign in here."""
    told = get_space() is not None and all(os.environ.get(name) for name in NEEDED)
    return told and all(find_spec(name) is not None for name in PACKAGES)


def offer(demo: gr.Blocks) -> None:
    """Gives an app Gradio's routes for it, where people can sign in. They come with its button,
    which nobody sees: the page has a link of its own, that asks the server nothing when it opens.
    """
    if is_offered():
        button = gr.LoginButton(visible=False)  # outside of the Blocks it gets no events
        with demo:
            button.render()


def asking(asked: Mapping[str, Any]) -> Owner:
    """Whose runs a server function may touch that was asked this."""
    return owner(asked.get("token"), _request())


def asking_name() -> str | None:
    """What who asks a server function is called on the Hub; None for who isn't signed in."""
    user = _user(_request())
    return str(user.get("preferred_username", "")) if user else None


def owner(token: Any, request: Request | None) -> Owner:
    """Whose runs a request may touch, that came with a browser's token. LabError without one."""
    if not isinstance(token, str):
        raise LabError("bad_request", reason="token")
    user = _user(request)
    return Person(str(user["sub"]), token) if user else token


def _request() -> Request | None:
    """That of the server function that is being answered."""
    found: Any = LocalContext.request.get(None)
    return found


def _user(request: Request | None) -> dict[str, Any] | None:
    """The Hub's facts of who is signed in. The cookie comes with every site's requests, because a
    Space is shown in a frame: it counts only for those that our own page has sent."""
    if request is None or "session" not in request.scope:
        return None
    if request.headers.get("sec-fetch-site") != "same-origin":
        return None
    told = request.session.get("oauth_info") or {}
    if told.get("expires_at", 0) < time.time():
        return None
    user = told.get("userinfo") or {}
    return user if user.get("sub") else None
