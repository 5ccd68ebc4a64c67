"""Runs of who is signed in on the Hub: found from any browser, and nobody else's to touch."""

import asyncio
import importlib.machinery
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.context import LocalContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from gan.ui import sign_in, train_files, train_server
from gan.workshop import Workshop
from tests.asking import idle_workshop

HOME, SCHOOL = "a" * 32, "b" * 32  # tokens of two browsers
OURS = {"sec-fetch-site": "same-origin"}


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setenv("LATENT_LAB_TRAINING", "on")
    with idle_workshop(tmp_path / "runs", monkeypatch) as made:
        yield made


def session(user: str, **facts: Any) -> dict[str, Any]:
    """What Gradio keeps of a sign-in."""
    userinfo = {"sub": user, "preferred_username": user.title()}
    about = {"access_token": "hf_secret", "expires_at": time.time() + 600}
    return {"oauth_info": about | {"userinfo": userinfo} | facts}


def request(session: dict[str, Any] | None, headers: dict[str, str] = OURS) -> Request:
    """Stands in for what the browser sends."""
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "headers": lines}
    return Request(scope if session is None else scope | {"session": session})


def ask(name: str, by: Request | None, /, **asked: Any) -> Any:
    """A server function's answer to a request, as Gradio calls it."""
    (function,) = (each for each in train_server.FUNCTIONS if each.__name__ == name)

    async def answer() -> Any:
        LocalContext.request.set(by)  # pyright: ignore[reportArgumentType]
        return await asyncio.wait_for(function(asked), 30)

    return json.loads(json.dumps(asyncio.run(answer())))


def started(by: Request | None, token: str) -> str:
    asked = {"data": "digits-tiny", "images": 64, "name": "mine"}
    return ask("start", by, token=token, request=asked)["run"]


def runs_of(by: Request | None, token: str) -> list[str]:
    return sorted(each["run_id"] for each in ask("look", by, token=token, runs=True)["runs"])


def test_a_users_runs_are_found_from_any_browser(shop: Workshop) -> None:
    ada = request(session("ada"))
    run = started(ada, HOME)
    assert runs_of(ada, SCHOOL) == [run]
    assert ask("look", ada, token=SCHOOL, run=run)["snapshot"]["mine"] is True
    asked = {"run": run, "action": "rename", "name": "from school"}
    assert ask("act", ada, token=SCHOOL, **asked) == {}
    assert ask("look", ada, token=SCHOOL, runs=True)["user"] == "Ada"
    for by, token in ((None, HOME), (request(session("bob")), HOME), (request({}), SCHOOL)):
        assert runs_of(by, token) == [], "the browser alone is nobody's"
        assert ask("act", by, token=token, **asked)["error"]["code"] == "not_your_run"


def test_what_the_browser_has_started_before_stays_within_reach(shop: Workshop) -> None:
    before, ada = started(None, HOME), request(session("ada"))
    after = started(ada, HOME)
    assert runs_of(ada, HOME) == sorted([before, after])
    assert runs_of(ada, SCHOOL) == [after]
    assert runs_of(None, HOME) == [before], "after signing out"


def test_nothing_is_stored_of_a_user_but_a_hash(shop: Workshop) -> None:
    started(request(session("ada-lovelace")), HOME)
    texts = [path.read_text() for path in shop.root.rglob("*") if path.is_file()]
    assert any("mine" in text for text in texts)
    for secret in ("ada-lovelace", "Ada-Lovelace", "hf_secret", HOME):
        assert not any(secret in text for text in texts)


@pytest.mark.parametrize(
    "by",
    [
        request(session("ada"), {}),
        request(session("ada"), {"sec-fetch-site": "cross-site"}),
        request(session("ada"), {"sec-fetch-site": "same-site"}),  # another Space
        request(session("ada", expires_at=1)),
        request(session("ada", userinfo=None)),
        request({"oauth_info": None}),
        request(None),
    ],
)
def test_a_cookie_counts_where_our_page_sends_it_and_while_it_holds(
    by: Request, shop: Workshop
) -> None:
    run = started(request(session("ada")), HOME)
    assert runs_of(by, HOME) == []
    answer = ask("act", by, token=HOME, run=run, action="stop")
    assert answer["error"]["code"] == "not_your_run"


@pytest.mark.parametrize("token", ["hub:ada", "hub:" + "ada" * 8, "", None, {"user": "ada"}])
def test_no_token_makes_a_user(token: Any, shop: Workshop) -> None:
    started(request(session("ada")), HOME)
    answer = ask("look", None, token=token, runs=True)
    assert answer["error"]["code"] in ("bad_owner", "bad_request")


def test_a_download_knows_who_is_signed_in(shop: Workshop) -> None:
    run = started(request(session("ada")), HOME)
    server = Starlette(routes=train_files.routes())
    server.auth = server.auth_dependency = None  # pyright: ignore[reportAttributeAccessIssue]
    known: dict[str, Any] = {}

    async def with_session(scope: Any, receive: Any, send: Any) -> None:
        await server(dict(scope) | {"app": server, "session": known}, receive, send)

    client = TestClient(with_session)

    def status() -> int:
        form = {"token": SCHOOL}
        return client.post(f"/runs/{run}/run.zip", data=form, headers=OURS).status_code

    assert status() == 403
    known |= session("ada")
    assert status() == 200


def test_it_is_offered_on_a_space_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def routes() -> bool:
        with gr.Blocks() as demo:
            gr.Markdown()
        sign_in.offer(demo)
        assert not demo.fns, "no calls of its own"
        return demo.expects_oauth

    found = importlib.machinery.ModuleSpec("authlib", None)
    monkeypatch.setattr(sign_in, "find_spec", lambda _name: found)
    monkeypatch.setattr("gradio.routes.attach_oauth", lambda _app: None)  # needs the packages
    for name in (*sign_in.NEEDED, "SYSTEM", "SPACE_ID"):
        monkeypatch.setenv(name, "spaces" if name == "SYSTEM" else "x")
    assert routes()
    monkeypatch.delenv("OAUTH_CLIENT_ID")
    assert not routes()
    monkeypatch.setenv("OAUTH_CLIENT_ID", "x")
    monkeypatch.setattr(sign_in, "find_spec", lambda _name: None)
    assert not routes()
