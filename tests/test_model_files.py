"""Model files on their way in: a place that can't be guessed, and nothing stays of a half."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from gan.ui import model_files


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setenv("LATENT_LAB_UPLOAD_MAX_MB", "1")
    return tmp_path / "uploads"


def open_app() -> Any:
    """An app without a login."""
    app: Any = Starlette(routes=model_files.routes())
    app.auth = app.auth_dependency = None
    app.cookie_id, app.tokens = "x", {}
    return app


@pytest.fixture
def client(uploads: Path) -> TestClient:
    return TestClient(open_app())


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("My faces.PKL", ".pkl"), ("none", ""), ("../../a.sh/b", ""), ("x.a b", "")],
)
def test_a_file_arrives_whole_under_another_name(
    client: TestClient, uploads: Path, name: str, suffix: str
) -> None:
    content = os.urandom(300_000)
    paths = [
        Path(client.post(model_files.PATH, params={"name": name}, content=content).json()["path"])
        for _ in range(2)
    ]
    assert len(set(paths)) == 2
    for path in paths:
        assert (path.parent, path.suffix) == (uploads, suffix)
        assert path.read_bytes() == content


@pytest.mark.parametrize("is_honest", [True, False])
def test_what_is_too_large_is_refused_and_deleted(
    client: TestClient, uploads: Path, is_honest: bool
) -> None:
    parts = (bytes(2**19) for _ in range(3))  # sent in pieces, it doesn't say its length
    content = bytes(2**20 + 1) if is_honest else parts
    assert client.post(model_files.PATH, content=content).status_code == 413
    assert list(uploads.iterdir()) == []


def test_nothing_stays_of_what_was_stopped(uploads: Path) -> None:
    said = iter([{"type": "http.request", "body": b"half", "more_body": True}])
    seen: list[int] = []

    async def receive() -> dict[str, Any]:
        seen.append(len(list(uploads.glob("model-*"))))
        return next(said, {"type": "http.disconnect"})

    scope = {"type": "http", "method": "POST", "path": model_files.PATH, "query_string": b""}
    asyncio.run(model_files.receive(Request(scope | {"headers": [], "app": open_app()}, receive)))
    assert seen == [1, 1], "it was being written"
    assert list(uploads.iterdir()) == []


def test_who_has_to_log_in_sends_nothing(uploads: Path) -> None:
    app = open_app()
    app.auth = [("me", "secret")]
    assert TestClient(app).post(model_files.PATH, content=b"x").status_code == 404
    assert not uploads.exists()


def test_what_nobody_opens_is_deleted_later(client: TestClient, uploads: Path) -> None:
    old = Path(client.post(model_files.PATH, content=b"old").json()["path"])
    os.utime(old, (0, time.time() - model_files.KEPT_SECONDS - 1))
    new = Path(client.post(model_files.PATH, content=b"new").json()["path"])
    assert list(uploads.iterdir()) == [new]
