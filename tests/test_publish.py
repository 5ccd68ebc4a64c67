"""gan.publish: up to a Hub on this machine by the real client, and back by two lines of Python."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

import gan
from gan import cli
from gan.converting import convert
from gan.errors import LabError
from gan.publish import FILES, outlook, publish
from tests.hub_server import TOKEN, HubServer, sha256
from tests.tiny import tiny_model, tiny_network

# huggingface_hub 2.4 uploads by a way that httpx2 calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with HubServer() as own:
        monkeypatch.setenv("HF_ENDPOINT", own.url)
        yield own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with a card, and with what must stay at home."""
    tiny_model(tmp_path / "mine")
    (tmp_path / "mine" / "README.md").write_text("---\nlicense: mit\n---\n\n# Mine\n")
    (tmp_path / "mine" / "notes.txt").write_text("private")
    return tmp_path / "mine"


def test_a_folder_goes_up_and_comes_back_byte_for_byte(server: HubServer, folder: Path):
    done = publish(folder, "someone/mine", private=True)
    assert (done.repo, done.url) == ("someone/mine", f"{server.url}/someone/mine")
    repo = server.repos["someone/mine"]
    commit, files = repo.commits[-1]
    assert repo.private
    assert done.commit == commit
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert files == {name: (folder / name).read_bytes() for name in files}
    assert set(files) <= set(FILES)

    generator = gan.from_pretrained("someone/mine")
    weights = (folder / "model.safetensors").read_bytes()
    assert generator.info.path.read_bytes() == weights
    assert generator.info.hash == sha256(weights)
    for key, tensor in tiny_network().state_dict().items():
        assert torch.equal(generator.state_dict()[key], tensor)


def test_a_second_commit_changes_the_newest_only(server: HubServer, folder: Path):
    first = publish(folder, "someone/mine")
    tiny_model(folder, seed=4)
    second = publish(folder, "someone/mine")
    assert first.commit != second.commit
    before = gan.from_pretrained(f"someone/mine@{first.commit}")
    assert before.info.hash != gan.from_pretrained("someone/mine").info.hash


def test_any_model_gets_a_card(server: HubServer, folder: Path):
    done = publish(folder / "model.safetensors", "someone/other")
    files = server.repos["someone/other"].commits[-1][1]
    assert b"library_name" in files["README.md"]
    assert gan.from_pretrained(f"someone/other@{done.commit}").info.resolution == 16


def test_the_card_says_how_the_model_is_opened_from_there(server: HubServer, tmp_path: Path):
    tiny_model(tmp_path / "first")
    folder = convert(tmp_path / "first", tmp_path / "mine")
    assert (
        'gan.load_generator("mine")  # where this folder is' in (folder / "README.md").read_text()
    )
    (folder / "README.md").write_text(
        (folder / "README.md").read_text() + "python -m gan generate --model mine --seeds 0-63\n"
    )
    for source in (folder, folder / "model.safetensors"):
        publish(source, "someone/mine")
        card = server.repos["someone/mine"].commits[-1][1]["README.md"].decode()
        assert 'generator = gan.from_pretrained("someone/mine")\n' in card
        assert "load_generator" not in card
        assert "--model mine" not in card
        code = card.partition("```python\n")[2].partition("```")[0]
        names: dict[str, Any] = {}
        exec(code, names)
        assert names["picture"].size == (16, 16)
    publish(folder, "someone/mine")
    card = server.repos["someone/mine"].commits[-1][1]["README.md"].decode()
    assert "python -m gan generate --model someone/mine --seeds" in card


def test_the_command_line_publishes(
    server: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["publish", str(folder), "someone/mine"]) == 0
    assert 'gan.from_pretrained("someone/mine")' in capsys.readouterr().out


def test_what_is_refused(server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch):
    def code() -> str:
        with pytest.raises(LabError) as caught:
            publish(folder, "someone/mine")
        return caught.value.code

    for name in ("mine", "someone/mine@main", "a/b/c"):
        with pytest.raises(LabError) as caught:
            publish(folder, name)
        assert caught.value.code in ("hub_bad_name", "publish_name")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert code() == "publish_bad_token"
    monkeypatch.delenv("HF_TOKEN")
    assert code() == "publish_token"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert code() == "hub_unreachable"
    assert server.repos == {}


def test_what_is_there_already_is_not_overwritten(server: HubServer, folder: Path):
    def code(**files: bytes) -> LabError:
        server.commit("someone/mine", {name.replace("_", "."): files[name] for name in files})
        with pytest.raises(LabError) as caught:
            publish(folder, "someone/mine")
        return caught.value

    refused = code(tokenizer_json=b"{}")
    assert (refused.code, refused.values["files"]) == ("publish_taken", "tokenizer.json")
    assert code(config_json=b'{"model_type": "bert"}', model_safetensors=b"x").code == refused.code
    assert code(model_safetensors=b"x").code == refused.code
    assert code(config_json=b"<html>").code == refused.code
    server.commit("someone/mine", {".gitattributes": b"", "README.md": b"# Mine"})
    publish(folder, "someone/mine")
    with pytest.raises(LabError) as caught:
        publish(folder, "someone/mine", private=True)
    assert caught.value.code == "publish_public"


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "publish_bad_token"), (403, "publish_refused"), (404, "publish_nowhere")],
)
def test_each_refusal_of_the_hub_has_its_words(
    server: HubServer, folder: Path, status: int, code: str
):
    server.write_status = status
    with pytest.raises(LabError) as caught:
        publish(folder, "someone/mine")
    assert caught.value.code == code
    assert TOKEN not in str(caught.value.to_json())


def test_it_tells_how_far_it_is(server: HubServer, folder: Path):
    told: list[tuple[str, int, int]] = []
    publish(folder, "someone/mine", token=TOKEN, tell=lambda *how: told.append(how))
    assert list(dict.fromkeys(step for step, *_ in told)) == ["checking", "measuring", "uploading"]
    sent = [(sent, total) for step, sent, total in told if step == "uploading"]
    total = sum((folder / name).stat().st_size for name in FILES if (folder / name).is_file())
    assert sent == sorted(sent)
    assert sent[0] == (0, total)
    assert sent[-1] == (total, total)


def test_a_file_tells_how_it_went_and_the_token_comes_by_itself(
    server: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = tmp_path / "publish.json"
    flags = ["--token-stdin", "--progress", str(told)]
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    for token, state in (("hf_other", "failed"), (TOKEN, "done")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
        code = cli.main(["publish", str(folder), "someone/mine", *flags])
        assert (code == 0) is (state == "done")
        assert json.loads(told.read_text())["state"] == state
        assert token not in told.read_text()
    assert json.loads(told.read_text())["url"] == f"{server.url}/someone/mine"


def test_who_was_to_get_a_token_does_not_take_the_machines_own(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """The page's process died before it gave the person's."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.main(["publish", str(folder), "someone/mine", "--token-stdin"]) == 2
    assert "token" in capsys.readouterr().err
    assert "someone/mine" not in server.repos


def test_the_outlook_is_what_would_be_sent(tmp_path: Path):
    with pytest.raises(LabError) as caught:
        outlook(tmp_path)
    assert caught.value.code == "run_without_model"
    tiny_model(tmp_path / "model")
    shown = outlook(tmp_path)
    assert [each["name"] for each in shown["files"]] == [*FILES[:-1]]
    line = json.dumps({"images_seen": 1, "quality": {"q": 0.5}}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(2 * line)
    assert [each["name"] for each in outlook(tmp_path)["files"]] == list(FILES)
    sizes = {each["name"]: each["bytes"] for each in shown["files"]}
    assert sizes["model.safetensors"] == (tmp_path / "model" / "model.safetensors").stat().st_size
    assert sizes["README.md"] is None
