"""Models from a Hub on this machine: the real client, real HTTP, and what goes wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

import gan
from gan import rendering
from gan.device import Device
from gan.errors import LabError
from gan.loading import hub, hub_cache, hub_transfer, load_generator
from gan.loading.hub import fetch, look_up
from gan.loading.hub_choice import choose_file
from gan.loading.hub_names import HubName, is_hub_name
from gan.loading.policy import MEGABYTE, Policy
from gan.rendering import Renderer
from tests.asking import refused
from tests.hub_server import TOKEN, Fault, HubServer, sha256
from tests.tiny import tiny_model

OPEN = Policy()
BYTES = bytes(range(256)) * 12_000  # 3 MB that are no model: fetching doesn't read them


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty Hub; this process's client asks it, with an empty cache and without a token."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub_transfer, "_pause", lambda failures: None)
    with HubServer() as own:
        monkeypatch.setenv("HF_ENDPOINT", own.url)
        yield own


@pytest.fixture
def model(tmp_path: Path) -> dict[str, bytes]:
    """The files of a tiny model of our own."""
    tiny_model(tmp_path / "made" / "tiny")
    return {path.name: path.read_bytes() for path in (tmp_path / "made" / "tiny").iterdir()}


# Names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner/name", HubName("owner/name")),
        ("hf://owner/name", HubName("owner/name")),
        ("owner/name@v1.0", HubName("owner/name", "v1.0")),
        ("owner/name@refs/pr/1", HubName("owner/name", "refs/pr/1")),
        ("owner/name:deep/file.pkl", HubName("owner/name", None, "deep/file.pkl")),
        ("hf://o/n@abc:f.pkl", HubName("o/n", "abc", "f.pkl")),
        (" https://huggingface.co/o/n ", HubName("o/n")),
        ("https://huggingface.co/o/n/tree/main", HubName("o/n", "main")),
        ("https://huggingface.co/o/n/blob/main/a/f.pkl?x=1", HubName("o/n", "main", "a/f.pkl")),
        ("https://huggingface.co/o/n/resolve/v2/f.pkl", HubName("o/n", "v2", "f.pkl")),
        ("huggingface.co/o/n", HubName("o/n")),
        ("hf.co/o/n/blob/main/f.pkl", HubName("o/n", "main", "f.pkl")),
        (
            "https://huggingface.co/o/n/blob/refs%2Fpr%2F1/my%20cats%28a%29.pkl",
            HubName("o/n", "refs/pr/1", "my cats(a).pkl"),
        ),
    ],
)
def test_names_are_read(text: str, expected: HubName):
    assert HubName.parse(text) == expected
    assert is_hub_name(text)
    assert HubName.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "name", "/name", "owner/", "a/b/c", "../name", "o/n:../../etc/passwd", "o/n@../x"),
        *("o/n:/etc/passwd", "o/n:a//b", "o/n:a\\b", "o/n@", "https://evil.example/o/n", "o/n\n"),
        *("https://huggingface.co/o/n/blob/main/a/%2e%2e/b", "hf.co/o/n/blob/main/a%00b"),
        *("http://huggingface.co/o/n", "o/n:" + "x" * 300, "о/n"),  # the last о is Cyrillic
    ],
)
def test_what_is_no_name(text: str):
    if text != "o/n\n":  # spaces around a name are a slip of the hand
        assert refused(lambda: HubName.parse(text)).code == "hub_bad_name"


@pytest.mark.parametrize(("kind", "told"), [("spaces", "space"), ("datasets", "data")])
@pytest.mark.parametrize("start", ["https://huggingface.co/", "hf.co/", "hf://", ""])
def test_links_to_what_is_no_model_are_named(kind: str, told: str, start: str):
    for text in (f"{start}{kind}/o/n", f"{start}{kind}/o/n/tree/main?x=1"):
        error = refused(lambda text=text: load_generator(text))
        assert (error.code, error.values["repo"]) == (f"hub_link_to_{told}", "o/n")
    assert HubName.parse("datasets/n") == HubName("datasets/n"), "an owner may be called so"


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["README.md", "model.safetensors", "discriminator.safetensors"], "model.safetensors"),
        (["pytorch_model.bin", "config.json"], "pytorch_model.bin"),
        (["a.pkl", "b.safetensors"], "b.safetensors"),
        (["net-000100.pkl", "net-010000.pkl", "net-009999.pkl"], "net-010000.pkl"),
        (["net-snapshot-010000.pkl", "net-snapshot-final.pkl"], "net-snapshot-final.pkl"),
        (["netD.pth", "netG.pth"], "netG.pth"),
        (["D_epoch_9.pth", "G_epoch_9.pth", "G_epoch_10.pth"], "G_epoch_10.pth"),
        (["optimizer.pt", "training_args.bin", "x.pt"], "x.pt"),
        (["deep/er/model.pkl", "top.pkl"], "top.pkl"),
        (
            ["discriminator/model.safetensors", "generator/model.safetensors"],
            "generator/model.safetensors",
        ),
        (["latent_avg.pt", "projected_w.pt", "stylegan2.pt"], "stylegan2.pt"),
        (["eg3d.pkl"], "eg3d.pkl"),
        (["gan_3d.pt", "d.pt"], "gan_3d.pt"),
        (["cinema.pt", "faces_ema.pt"], "faces_ema.pt"),
        (["text_encoder/model.safetensors"], None),
        (["discriminator.pth", "README.md"], None),
        (["README.md", "picture.png"], None),
        ([], None),
    ],
)
def test_a_sane_file_is_chosen(files: list[str], chosen: str | None):
    assert choose_file(files) == chosen
    assert choose_file(files[::-1]) == chosen


# What is known before the download


def test_what_is_no_gan_is_named_before_the_download(server: HubServer):
    weights = "v1-5-pruned-emaonly.safetensors"
    server.commit("o/stable", {"model_index.json": b"{}", weights: BYTES})
    server.commit("o/lora", {"lora.safetensors": BYTES}, library="peft")
    for repo, library in (("o/stable", "diffusers"), ("o/lora", "peft")):
        error = refused(lambda repo=repo: look_up(repo, OPEN))
        assert (error.code, error.values["library"]) == ("hub_no_gan", library)
    assert look_up(f"o/stable:{weights}", OPEN).file == weights, "who names a file means it"
    for suffix in ("onnx", "gguf", "h5"):
        server.commit("o/other", {f"model.{suffix}": BYTES, "README.md": b""})
        error = refused(lambda: look_up("o/other", OPEN))
        assert error.code.startswith("file_is_")
        assert error.values["path"] == f"o/other:model.{suffix}"
    assert server.asked("GET", "resolve") == server.asked("GET", "cdn") == []


def test_who_loads_by_a_name_reads_size_and_licence_first(
    server: HubServer,
    model: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("LC_ALL", "C")
    server.commit("o/n", model, licence="cc0-1.0")
    began: list[str] = []
    transfer = hub_transfer.transfer
    monkeypatch.setattr(
        hub, "transfer", lambda *given: (began.append(capsys.readouterr().err), transfer(*given))
    )
    gan.load_generator("o/n")
    size = f"{len(model['model.safetensors']) / 1e6:.1f} MB"
    assert began == [f"o/n: model.safetensors, size: {size}, licence: cc0-1.0\n"]
    gan.load_generator("o/n")
    assert capsys.readouterr() == ("", ""), "nothing is downloaded again"
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    server.commit("o/other", model)
    gan.from_pretrained("o/other")
    assert "许可证：未知" in began[-1]


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_a_diffusion_model_in_a_single_file_is_named_before_most_of_it_has_come(
    server: HubServer, suffix: str, tmp_path: Path
):
    tensors = {"model.diffusion_model.out.2.weight": torch.zeros(2**21)}
    if suffix == "safetensors":
        save_file(tensors, tmp_path / "sd.safetensors")
    else:
        torch.save({"state_dict": tensors}, tmp_path / "sd.ckpt")
    content = (tmp_path / f"sd.{suffix}").read_bytes()
    server.commit("o/stable", {f"sd-v1-4.{suffix}": content})
    came: list[int] = []
    error = refused(
        lambda: fetch(look_up("o/stable", OPEN), OPEN, progress=lambda here, _: came.append(here))
    )
    assert error.code == "looks_like_diffusion"
    assert error.values["path"] == f"o/stable:sd-v1-4.{suffix}"
    assert came[-1] < 2**21 < len(content)
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.part")), "and none of it stays"


def test_a_terminal_shows_how_far_a_download_is(
    server: HubServer,
    model: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    server.commit("o/n", model)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    gan.load_generator("o/n")
    _, *shown = capsys.readouterr().err.splitlines()
    assert "100%" in shown[-1]
    gan.load_generator("o/n")
    assert capsys.readouterr().err == ""


def test_size_and_licence_are_known_before_a_byte_is_fetched(server: HubServer):
    commit = server.commit(
        "o/n",
        {"G.pkl": BYTES, "D.pkl": BYTES, "old/G.pkl": b"x", "config.json": b"{}"},
        licence="mit",
    )
    found = look_up("o/n", OPEN)
    assert (found.commit, found.file, found.size_bytes) == (commit, "G.pkl", len(BYTES))
    assert (found.licence, found.sha256) == ("mit", sha256(BYTES))
    assert found.others == ("old/G.pkl",)
    assert found.companions == ("config.json",)
    assert not found.is_cached
    assert not found.is_private
    assert server.asked("GET", "resolve") == server.asked("GET", "cdn") == []


def test_a_revision_is_pinned_to_its_commit(server: HubServer):
    first = server.commit("o/n", {"G.pkl": b"old"})
    second = server.commit("o/n", {"G.pkl": b"new"})
    assert look_up("o/n", OPEN).commit == second
    assert look_up(f"o/n@{first}", OPEN).source == f"hf://o/n@{first}:G.pkl"
    found = look_up(f"o/n@{first}", OPEN)
    server.commit("o/n", {"G.pkl": b"newer"})
    assert fetch(found, OPEN).read_bytes() == b"old"


def test_a_file_that_changed_under_its_name_is_found_again_by_its_hash(server: HubServer):
    first = server.commit("o/n", {"G.pkl": b"old", "other.pkl": b"another"})
    server.commit("o/n", {"G.pkl": b"new"})
    assert fetch(look_up("o/n", OPEN), OPEN).read_bytes() == b"new"
    found = look_up("o/n", OPEN, digest=sha256(b"old")[:12])
    assert found.commit == first
    assert fetch(found, OPEN).read_bytes() == b"old"
    assert look_up("o/n", OPEN, digest=sha256(b"another")[:12]).file == "other.pkl"
    assert refused(lambda: look_up("o/n", OPEN, digest="0" * 12)).code == "hub_revision_gone"


# Downloading


def test_the_cache_is_honoured_and_shared_with_the_client(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    found = look_up("o/n", OPEN)
    path = fetch(found, OPEN)
    assert path.read_bytes() == BYTES
    assert look_up("o/n", OPEN).is_cached
    before = len(server.requests)
    assert fetch(found, OPEN) == path
    assert len(server.requests) == before, "the network was asked for what is here"
    from huggingface_hub import hf_hub_download

    asked = len(server.asked("GET", "cdn"))
    assert hf_hub_download("o/n", "G.pkl", cache_dir=constants.HF_HUB_CACHE, endpoint=server.url)
    assert len(server.asked("GET", "cdn")) == asked, "the client fetched it once more"


def test_progress_rises_to_the_whole(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    seen: list[tuple[int, int | None]] = []
    fetch(look_up("o/n", OPEN), OPEN, progress=lambda here, size: seen.append((here, size)))
    assert seen == sorted(seen)
    assert seen[-1] == (len(BYTES), len(BYTES))
    assert len(seen) > 5


def test_a_line_that_is_cut_is_taken_up_where_it_ended(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    server.faults["G.pkl"] = Fault(cut_after=1_000_000, times=2)
    assert fetch(look_up("o/n", OPEN), OPEN).read_bytes() == BYTES
    starts = [int(heads.get("Range", "bytes=0-")[6:-1]) for heads in server.asked("GET", "cdn")]
    assert len(starts) == 3
    assert starts[0] == 0
    assert 500_000 < starts[1] < starts[2] <= 2_000_000


def test_a_strangers_failed_connection_ends_nobody_elses_request(server: HubServer):
    """The client closes what all threads share where one of them can't connect."""
    from huggingface_hub import close_session, get_session

    server.commit("o/n", {"G.pkl": BYTES})
    found = look_up("o/n", OPEN)
    about_to_ask = get_session()
    close_session()
    assert about_to_ask.head(f"{server.url}/api/models/o/n").is_success
    assert fetch(found, OPEN, progress=lambda *_: close_session()).read_bytes() == BYTES
    assert len(server.asked("GET", "cdn")) == 1, "it was cut"


def test_what_had_arrived_is_there_for_the_next_call(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    found = look_up("o/n", OPEN)

    class StoppedError(Exception):
        pass

    def stop(here: int, size: int | None) -> None:
        if here > 1_000_000:
            raise StoppedError

    with pytest.raises(StoppedError):
        fetch(found, OPEN, progress=stop)
    assert fetch(found, OPEN).read_bytes() == BYTES
    assert int(server.asked("GET", "cdn")[-1]["Range"][6:-1]) > 1_000_000


def test_a_server_without_ranges_begins_anew(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    server.faults["G.pkl"] = Fault(cut_after=1_000_000, times=1)
    found = look_up("o/n", OPEN)

    def forget(here: int, size: int | None) -> None:
        if here >= 750_000:
            server.faults["G.pkl"] = Fault(ignores_range=True)

    assert fetch(found, OPEN, progress=forget).read_bytes() == BYTES


def test_a_line_that_stays_dead_is_told_with_what_is_here(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    server.faults["G.pkl"] = Fault(cut_after=0)
    error = refused(lambda: fetch(look_up("o/n", OPEN), OPEN))
    assert error.code == "hub_cut"
    assert len(server.asked("GET", "cdn")) == hub_transfer.RETRIES + 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "hub_lfs_pointer"),
        (b"<!DOCTYPE html><title>502</title>", "hub_html_page"),
        (b"\n  <html><body>Log in to this network</body></html>", "hub_html_page"),
        (b"something else", "hub_changed"),
        (BYTES[:-1] + b"!", "hub_changed"),  # right length, wrong bytes
    ],
)
@pytest.mark.parametrize("honest", [True, False])
def test_what_comes_in_place_of_the_file(
    server: HubServer, content: bytes, code: str, honest: bool
):
    """`honest`: whether the etag is the real file's, or that of what comes in its place."""
    server.commit("o/n", {"G.pkl": BYTES})
    server.faults["G.pkl"] = Fault(content=content, honest_size=honest)
    assert refused(lambda: fetch(look_up("o/n", OPEN), OPEN)).code == code
    del server.faults["G.pkl"]
    assert fetch(look_up("o/n", OPEN), OPEN).read_bytes() == BYTES, "the bad one was kept"


def test_a_small_file_is_compared_too(server: HubServer):
    server.commit("o/n", {"G.ckpt": b"small model"})
    assert fetch(look_up("o/n", OPEN), OPEN).read_bytes() == b"small model"
    server.commit("o/n", {"G.ckpt": b"small modem"})
    server.faults["G.ckpt"] = Fault(content=b"small model")
    assert refused(lambda: fetch(look_up("o/n", OPEN), OPEN)).code == "hub_changed"


# Refusals


def test_what_is_not_there(server: HubServer):
    commit = server.commit("o/n", {"G.pkl": BYTES, "README.md": b""})
    server.commit("o/text", {"README.md": b"", "notes.txt": b""})
    assert refused(lambda: look_up("o/nobody", OPEN)).code == "hub_no_repo"
    assert refused(lambda: look_up("o/n@v9", OPEN)).code == "hub_no_revision"
    missing = refused(lambda: look_up("o/n:H.pkl", OPEN))
    assert (missing.code, missing.values["known"]) == ("hub_no_file", "G.pkl")
    assert refused(lambda: look_up("o/text", OPEN)).values["files"] == "README.md, notes.txt"
    found = look_up(f"o/n@{commit}", OPEN)
    server.repos["o/n"].commits[0] = (commit, {})
    assert refused(lambda: fetch(found, OPEN)).code == "hub_no_file"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((401, "hub_bad_token"), (403, "hub_gated"), (404, "hub_no_repo")),
        *((429, "hub_busy"), (500, "hub_failed"), (503, "hub_failed")),
    ],
)
def test_refusals_of_the_hub(server: HubServer, status: int, code: str):
    server.commit("o/n", {"G.pkl": BYTES})
    server.api_faults["o/n"] = Fault(status=status)
    assert refused(lambda: look_up("o/n", OPEN)).code == code
    server.api_faults.clear()
    found = look_up("o/n", OPEN)
    server.faults["G.pkl"] = Fault(status=status)
    assert refused(lambda: fetch(found, OPEN)).code in (code, "hub_no_file")


def test_a_login_page_in_place_of_the_hub(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    server.api_faults["o/n"] = Fault(content=b"<html>Welcome to the airport</html>")
    assert refused(lambda: look_up("o/n", OPEN)).code == "hub_strange_answer"


def test_a_private_repository_needs_the_persons_token(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    server.commit("o/n", {"G.pkl": BYTES}, private=True)
    assert refused(lambda: look_up("o/n", OPEN)).code == "hub_no_repo"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    found = look_up("o/n", OPEN)
    assert found.is_private
    assert fetch(found, OPEN).read_bytes() == BYTES
    assert "Authorization" not in server.asked("GET", "cdn")[-1], "the token went to another host"
    public = Policy(public=True, hub_token=False)
    assert refused(lambda: look_up("o/n", public)).code == "hub_no_repo"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert refused(lambda: look_up("o/n", OPEN)).code == "hub_bad_token"


def test_a_gated_repository_says_where_to_ask(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    server.commit("o/n", {"G.pkl": BYTES}, gated=True)
    found = look_up("o/n", OPEN)
    assert refused(lambda: fetch(found, OPEN)).code == "hub_gated"
    assert fetch(found, OPEN, token=TOKEN).read_bytes() == BYTES


def test_what_the_host_allows(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    assert refused(lambda: look_up("o/n", Policy(hub=False))).code == "hub_off"
    few = Policy(hub_allow=("catalogue", "p/*"))
    assert refused(lambda: look_up("o/n", few)).code == "hub_not_allowed"
    assert refused(lambda: look_up("huggan/dcgan-mnist", few)).code == "hub_no_repo"  # it was asked
    found = look_up("o/n", Policy(hub_allow=("O/*",)))
    small = Policy(hub_most_bytes=MEGABYTE)
    assert refused(lambda: fetch(found, small)).code == "hub_too_large"
    assert server.asked("GET", "cdn") == []


def go_offline(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", told)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody is there


@pytest.mark.parametrize("told", [True, False], ids=["told to be", "really"])
def test_without_a_network_what_was_opened_here_opens_again(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, told: bool
):
    files = {"G.pkl": BYTES, "D.pkl": b"", "old/G.pkl": b"older"}
    commit = server.commit("o/n", files, licence="mit")
    # The page looks at the branch, then opens the commit that it found.
    fetch(look_up(look_up("o/n", OPEN).source, OPEN), OPEN)
    go_offline(monkeypatch, told)
    for name in ("o/n", "o/n@main", "o/n:G.pkl", f"o/n@{commit}", f"hf://o/n@{commit}:G.pkl"):
        found = look_up(name, OPEN)
        assert (found.commit, found.file, found.is_cached) == (commit, "G.pkl", True)
        assert (found.licence, found.is_private) == ("mit", False)
        assert fetch(found, OPEN).read_bytes() == BYTES
        assert hub_cache.is_in_cache(name)
    assert look_up("o/n", OPEN).was_offline
    assert look_up("o/n", OPEN, digest=sha256(BYTES)[:12]).file == "G.pkl"
    missing = refused(lambda: look_up(f"o/n@{commit}:old/G.pkl", OPEN))
    assert (missing.code, missing.values["known"]) == ("hub_not_downloaded", "G.pkl")
    for name in ("o/other", "o/n@v2"):
        assert refused(lambda name=name: look_up(name, OPEN)).code == "hub_unreachable"
        assert not hub_cache.is_in_cache(name)


def test_the_official_client_finds_our_download_without_a_network(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import hf_hub_download, scan_cache_dir

    first = server.commit("o/n", {"G.pkl": b"old"})
    fetch(look_up(f"o/n@{first}", OPEN), OPEN)
    server.commit("o/n", {"G.pkl": BYTES})
    fetch(look_up("o/n", OPEN), OPEN)
    cache = Path(constants.HF_HUB_CACHE)
    scanned = scan_cache_dir(cache)
    assert not scanned.warnings
    (repo,) = scanned.repos
    assert list(repo.refs) == ["main"]
    go_offline(monkeypatch, True)
    assert Path(hf_hub_download("o/n", "G.pkl", cache_dir=cache)).read_bytes() == BYTES


def test_the_cache_of_the_official_client_answers_too(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import hf_hub_download

    server.commit("o/n", {"G.pkl": BYTES})
    hf_hub_download("o/n", "G.pkl", cache_dir=constants.HF_HUB_CACHE, endpoint=server.url)
    go_offline(monkeypatch, True)
    assert fetch(look_up("o/n", OPEN), OPEN).read_bytes() == BYTES


def test_a_commits_file_that_is_here_isnt_asked_for(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES, "H.pkl": b""}, licence="mit")
    found = look_up("o/n", OPEN)
    fetch(found, OPEN)
    server.requests.clear()
    again = look_up(found.source, OPEN)
    fetch(again, OPEN)
    assert server.requests == []
    assert (again.licence, again.others, again.was_offline) == ("mit", ("H.pkl",), False)


def test_what_came_as_private_is_asked_for_again(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    server.commit("o/n", {"G.pkl": BYTES}, private=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    found = look_up("o/n", OPEN)
    fetch(found, OPEN)
    assert look_up(found.source, OPEN).is_private
    stranger = Policy(public=True, hub_token=False)
    assert refused(lambda: look_up(found.source, stranger)).code == "hub_no_repo"
    go_offline(monkeypatch, True)
    assert look_up(found.source, OPEN).is_private, "it would be listed"


def test_where_the_hub_fails_the_cache_answers(server: HubServer):
    server.commit("o/n", {"G.pkl": BYTES})
    fetch(look_up("o/n", OPEN), OPEN)
    server.api_faults["o/n"] = Fault(status=503)
    assert look_up("o/n", OPEN).is_cached
    server.api_faults["o/n"] = Fault(status=404)
    assert refused(lambda: look_up("o/n", OPEN)).code == "hub_no_repo"


# A model


def test_a_model_from_the_hub_is_the_published_one(
    server: HubServer, model: dict[str, bytes], tmp_path: Path
):
    commit = server.commit("o/n", model, licence="cc0-1.0")
    generator = load_generator("o/n")
    info = generator.info
    assert (info.name, info.source) == ("o/n", f"hf://o/n@{commit}:model.safetensors")
    assert info.hash == sha256(model["model.safetensors"])
    assert info.title["zh"] == "微型 tiny", "config.json came along"
    here = load_generator(tmp_path / "made" / "tiny")
    recipe = gan.Recipe("o/n", seed=4)
    assert gan.render(recipe, generator).tobytes() == gan.render(recipe, here).tobytes()
    assert gan.from_pretrained(f"o/n@{commit}").info == info


@pytest.mark.parametrize(
    ("name", "family", "files"),
    [
        ("sg2_skip_m8", "stylegan2", ["network.pkl"]),
        ("rosinality_64", "stylegan2", ["stylegan2-small.pt"]),
        ("biggan_deep_tiny", "biggan", ["pytorch_model.bin", "config.json"]),
        ("r3gan_32", "r3gan", ["network.pkl"]),
    ],
)
def test_files_of_others_come_from_the_hub(
    server: HubServer, oracles: Path, name: str, family: str, files: list[str]
):
    contents = {file: (oracles / name / file).read_bytes() for file in files}
    server.commit("o/published-model", contents | {"README.md": b"# hello"}, licence="mit")
    info = load_generator("o/published-model").info
    assert (info.name, info.family, info.licence) == ("o/published-model", family, "mit")
    assert info.title["en"] == "published-model"
    assert info.hash == sha256(contents[files[0]])
    assert info.source.endswith(f":{files[0]}")


def test_a_recipe_alone_brings_its_model(
    server: HubServer,
    model: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """“Copy as Python” names the model and its weights; nothing else has to be opened before."""
    own = Renderer(Device("cpu", "float32", 1), OPEN)
    monkeypatch.setattr(rendering, "_shared", [own])
    server.commit("o/n", model)
    tiny_model(tmp_path / "newer", seed=5)
    server.commit("o/n", {"model.safetensors": (tmp_path / "newer/model.safetensors").read_bytes()})
    recipe = gan.Recipe("o/n", revision=sha256(model["model.safetensors"])[:12], seed=4)
    expected = gan.render(recipe, load_generator(tmp_path / "made" / "tiny"))
    assert gan.render(recipe).tobytes() == expected.tobytes()
    with pytest.raises(LabError) as caught:
        gan.render(gan.Recipe("_file/mine", revision="0" * 12))
    assert caught.value.code == "model_not_open"
    own.close()


def test_a_path_that_is_there_goes_before_the_hub(
    server: HubServer, model: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert load_generator("made/tiny").info.source == ""
    assert server.requests == []


def test_a_path_with_a_slip_in_it_isnt_called_a_name_on_the_hub(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert refused(lambda: load_generator("runs/digts")).code == "no_such_path"
    assert refused(lambda: load_generator("run/digits")).code == "hub_no_repo"
    server.commit("runs/digits", {"README.md": b""})
    assert refused(lambda: load_generator("runs/digits")).code == "hub_no_model"
    for name in ("~nobody-here/x", "x" * 300, f"runs/{'x' * 300}"):
        assert refused(lambda name=name: load_generator(name)).code == "unknown_model"
