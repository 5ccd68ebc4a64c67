"""Data sets from a Hub on this machine: the real client, real HTTP, hostile repositories."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from gan import cli
from gan.loading.policy import Policy
from gan.training import hub_data, pictures
from gan.training.data import load_dataset, load_stand_in, located, short_name
from gan.training.hub_names import DEFAULT_MOST, NO_CLASSES, HubData
from gan.workshop import TrainRequest
from gan.workshop.limits import PUBLIC, Limits
from tests.asking import refused
from tests.hub_pictures import COUNTED, README, labelled, parquet, png, stored
from tests.hub_server import TOKEN, HubServer

DATA = "data/train-00000-of-00001.parquet"
OPEN = Policy()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHOLE = HubData("o/n", COMMIT, "default", "train", "image", "label", 500)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty Hub; this process's clients ask it, with empty caches and without a token."""
    datasets = pytest.importorskip("datasets", reason="the optional package isn't installed")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets-cache"))
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 1)
    monkeypatch.setattr(datasets.config, "STREAMING_OPEN_MAX_RETRIES", 1)
    with HubServer() as own:
        monkeypatch.setenv("HF_ENDPOINT", own.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, own.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", own.url)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", own.url)
        yield own


def look(name: str) -> hub_data.Look:
    return hub_data.look(HubData.parse(name), OPEN)


def settled(name: str) -> HubData:
    return hub_data.settled(HubData.parse(name), OPEN)


# Names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hub:owner/name", HubData("owner/name")),
        ("owner/name", HubData("owner/name")),
        (" https://huggingface.co/datasets/o/n ", HubData("o/n")),
        ("https://huggingface.co/datasets/o/n/tree/v2/data?x=1", HubData("o/n", "v2")),
        ("hub:o/n@refs/pr/1", HubData("o/n", "refs/pr/1")),
        ("hub:o/n,split=test,most=50", HubData("o/n", split="test", most=50)),
        ("hub:o/n@v1,column=my%20picture", HubData("o/n", "v1", column="my picture")),
        (str(WHOLE), WHOLE),
    ],
)
def test_names_are_read(text: str, expected: HubData):
    assert HubData.parse(text) == expected
    assert HubData.parse(str(expected)) == expected
    assert located(str(expected)) == str(expected)
    assert short_name(str(expected)) == expected.repo


@pytest.mark.parametrize(
    "odd", ["a,b", "a=b", "图片", "a b", "100%", "a/b", "@", "x;rm -rf", "$(x)"]
)
def test_a_value_may_hold_anything_and_needs_no_quotes_in_a_shell(odd: str):
    import shlex

    name = str(replace(WHOLE, column=odd, classes=odd))
    assert HubData.parse(name) == replace(WHOLE, column=odd, classes=odd)
    assert shlex.quote(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *("hub:", "hub:name", "hub:a/b/c", "hub:../n", "hub:o/n@", "hub:o/n@../x", "hub:o/n,"),
        *("hub:o/n,colour=red", "hub:o/n,split", "hub:o/n,split=", "hub:o/n,split=a,split=b"),
        *("https://evil.example/datasets/o/n", "hub:о/n"),  # the last о is Cyrillic
    ],
)
def test_what_is_no_name(text: str):
    assert refused(lambda: HubData.parse(text)).code == "hub_data_name"


@pytest.mark.parametrize("rows", ["0", "1", "-5", "x", "1000001", "9" * 500])
def test_rows_are_bounded(rows: str):
    assert refused(lambda: HubData.parse(f"hub:o/n,most={rows}")).code == "bad_setting"


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ("hub:o/n", True),
        ("hub:o/n@main", True),  # a branch may be at any commit
        ("hub:o/n,split=train", True),
        (str(WHOLE), True),
        ("hub:o/other", False),
        ("hub:o/n,split=test", False),
        (f"hub:o/n@{COMMIT[::-1]}", False),
    ],
)
def test_which_names_may_mean_the_same(asked: str, same: bool):
    assert HubData.parse(asked).covers(WHOLE) is same
    assert WHOLE.is_complete
    assert not replace(WHOLE, revision="main").is_complete
    assert not replace(WHOLE, column=None).is_complete


# Who may, and with what


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    def none(_: str) -> str:
        raise hub_data.metadata.PackageNotFoundError

    monkeypatch.setattr(hub_data.metadata, "version", none)
    error = refused(lambda: look("o/n"))
    assert error.code == "hub_data_package"
    assert 'pip install "datasets>=' in error.message()


def test_a_package_that_runs_scripts_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_data.metadata, "version", lambda _: "3.6.0")
    assert refused(lambda: look("o/n")).code == "hub_data_old_package"


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [
        ({}, True),
        ({"LATENT_LAB_HUB_DATA": "off"}, False),
        ({"LATENT_LAB_HUB": "off"}, False),
        ({"LATENT_LAB_HUB_DATA": "other/*"}, False),
        ({"LATENT_LAB_HUB_DATA": "x/y, O/*"}, True),
        ({"LATENT_LAB_PUBLIC": "on"}, False),
        ({"LATENT_LAB_PUBLIC": "on", "LATENT_LAB_HUB_DATA": "on"}, True),
        ({"SPACE_ID": "a/b", "LATENT_LAB_HUB_ALLOW": "*"}, False),  # that is about models
    ],
)
def test_a_host_decides(
    environment: dict[str, str], allowed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("SPACE_ID", "LATENT_LAB_PUBLIC", "LATENT_LAB_HUB", "LATENT_LAB_HUB_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Policy.from_environment().allows_data("o/n") is allowed
    request = TrainRequest(data="hub:o/n", minutes=1.0).settled(Limits())
    if allowed:
        request.check(Limits(), tmp_path)
    else:
        code = refused(lambda: request.check(Limits(), tmp_path)).code
        assert code == "hub_data_not_allowed"
        assert refused(lambda: hub_data.look(HubData("o/n"))).code in (code, "hub_off")


def test_a_public_host_bounds_the_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LATENT_LAB_HUB_DATA", "on")
    request = TrainRequest(data="hub:o/n", minutes=1.0)
    assert HubData.parse(request.settled(PUBLIC).data).most == PUBLIC.hub_rows < DEFAULT_MOST
    assert HubData.parse(request.settled(Limits()).data).most == DEFAULT_MOST
    greedy = replace(request, data="hub:o/n,most=100000").settled(PUBLIC)
    assert refused(lambda: greedy.check(PUBLIC, tmp_path)).values["name"] == "most"


def test_without_a_network_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_data, "check_package", lambda: None)
    assert refused(lambda: look("o/n")).code == "hub_data_unreachable"  # conftest: HF_HUB_OFFLINE


# Looking


def test_everything_is_known_before_the_training(server: HubServer):
    commit = server.commit("datasets/o/n", {DATA: labelled(), "README.md": COUNTED}, licence="mit")
    found = look("hub:o/n")
    assert found.source == HubData(
        "o/n", commit, "default", "train", "image", "label", DEFAULT_MOST
    )
    assert found.source.is_complete
    assert (found.licence, found.rows, found.missing) == ("mit", 30, None)
    assert found.repository_bytes == len(labelled()) + len(COUNTED)
    assert found.choices["column"] == ("image",)
    assert found.choices["classes"] == ("label", NO_CLASSES)
    assert found.page == "https://huggingface.co/datasets/o/n"


def test_where_there_is_a_choice_it_is_named(server: HubServer):
    import datasets

    two = {"photo": datasets.Image(), "mask": datasets.Image(), "text": datasets.Value("string")}
    two |= {"kind": datasets.ClassLabel(names=["a", "b"]), "age": datasets.ClassLabel(names=["1"])}
    rows = {"photo": [stored(png(1))], "mask": [stored(png(2))], "text": ["x"]}
    content = parquet(rows | {"kind": [0], "age": [0]}, two)
    server.commit(
        "datasets/o/n", {"data/test-0.parquet": content, "data/validation-0.parquet": content}
    )
    steps = [
        ("hub:o/n", "split", {"test", "validation"}),
        ("hub:o/n,split=test", "column", {"photo", "mask"}),
        ("hub:o/n,split=test,column=mask", "classes", {"kind", "age", "none", "text"}),
    ]
    for name, part, choices in steps:
        assert look(name).missing == part
        assert set(look(name).choices[part]) == choices
        error = refused(lambda name=name: settled(name))
        assert (error.code, error.values["part"]) == ("hub_data_choose", part)
        assert all(choice in error.message() for choice in choices)
    assert settled("hub:o/n,split=test,column=mask,classes=none").is_complete
    error = refused(lambda: look("hub:o/n,split=test,column=picture"))
    assert (error.code, error.values["value"]) == ("hub_data_no_such", "picture")


def test_subsets_are_named(server: HubServer):
    named = [f"- config_name: {name}\n  data_files: {name}/*\n" for name in ("cats", "dogs")]
    card = f"---\nconfigs:\n{''.join(named)}---\n".encode()
    server.commit(
        "datasets/o/n",
        {"README.md": card, "cats/a.parquet": labelled(), "dogs/a.parquet": labelled()},
    )
    assert look("hub:o/n").choices == {"config": ("cats", "dogs")}
    assert settled("hub:o/n,config=dogs").config == "dogs"


def test_a_data_set_without_pictures(server: HubServer):
    import datasets

    texts = parquet({"text": ["a", "b"]}, {"text": datasets.Value("string")})
    server.commit("datasets/o/n", {DATA: texts})
    assert refused(lambda: settled("hub:o/n")).code == "hub_data_no_column"


def test_what_the_hub_refuses_is_said(server: HubServer):
    server.commit("datasets/o/private", {DATA: b""}, private=True)
    assert refused(lambda: look("hub:o/private")).code == "hub_data_no_repo"
    assert refused(lambda: look("hub:o/none")).code == "hub_data_no_repo"
    server.commit("datasets/o/n", {DATA: labelled()})
    assert refused(lambda: look("hub:o/n@v9")).code == "hub_no_revision"


def test_a_private_one_is_opened_with_the_token(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    server.commit("datasets/o/n", {DATA: labelled()}, private=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert look("hub:o/n").is_private
    assert len(load_dataset("hub:o/n", 8)) == 30
    own = Policy(hub_token=False)
    assert refused(lambda: hub_data.look(HubData("o/n"), own)).code == "hub_data_no_repo"


# Reading


def test_pictures_are_those_of_a_folder(server: HubServer):
    commit = server.commit("datasets/o/n", {DATA: labelled(), "README.md": README}, licence="mit")
    data = load_dataset("hub:o/n", 8)
    expected = [pictures.square(png(number), 8) for number in range(30)]
    assert np.array_equal(data.images, np.stack(expected))
    assert data.classes == ("round", "square")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1] * 15
    assert (data.name, data.licence) == ("o/n", "mit")
    assert commit in data.attribution
    assert "https://huggingface.co/datasets/o/n" in data.attribution
    assert load_dataset("hub:o/n").resolution == 16


def test_what_was_fetched_needs_no_network(server: HubServer):
    server.commit("datasets/o/n", {DATA: labelled(), "README.md": README}, licence="mit")
    name = str(settled("hub:o/n"))
    first = load_dataset(name)
    server.requests.clear()
    server.repos.clear()
    again = load_dataset(name)
    assert server.requests == []
    assert np.array_equal(first.images, again.images)
    assert (again.fingerprint, again.licence, again.classes) == (
        first.fingerprint,
        "mit",
        first.classes,
    )


def test_no_more_rows_are_read_than_asked_for(server: HubServer):
    server.commit("datasets/o/n", {DATA: labelled()})
    seen: list[tuple[int, int]] = []
    data = load_dataset("hub:o/n,most=7", 8, progress=lambda *at: seen.append(at))
    assert len(data) == 7
    assert seen[-1] == (7, 7)


def test_classes_are_a_column_of_choice(server: HubServer):
    import datasets

    rows = {
        "image": [stored(png(number, grey=True)) for number in range(6)],
        "digit": [10, 2, 2, 10, 1, 1],
        "painter": ["Ada", "Bo", None, "Ada", "Bo", "Cy"],
    }
    kinds = {"digit": datasets.Value("int64"), "painter": datasets.Value("string")}
    server.commit("datasets/o/n", {DATA: parquet(rows, {"image": datasets.Image()} | kinds)})
    plain = load_dataset("hub:o/n", 8)
    assert (plain.classes, plain.labels, plain.channels) == (None, None, 1)
    assert load_dataset("hub:o/n,classes=digit", 8).classes == ("1", "2", "10")
    painters = load_dataset("hub:o/n,classes=painter", 8)
    assert painters.classes == ("Ada", "Bo", "Cy")
    assert painters.skipped == (("o/n #2", "error.picture_without_class"),)


def test_files_in_folders_and_archives_are_read(server: HubServer):
    files = {f"train/{kind}/{n}.png": png(n) for kind in ("cat", "dog") for n in range(3)}
    server.commit("datasets/o/folders", files)
    data = load_dataset("hub:o/folders", 8)
    assert (len(data), data.classes) == (6, ("cat", "dog"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.png", png(number))
    server.commit("datasets/o/zip", {"train.zip": packed.getvalue()})
    assert len(load_dataset("hub:o/zip", 8)) == 5


def test_a_stand_in_costs_as_much(server: HubServer):
    server.commit("datasets/o/n", {DATA: labelled(90), "README.md": README})
    few = load_stand_in("hub:o/n,most=5000", 8)
    assert (len(few), few.num_classes, few.resolution) == (5000, 2, 8)
    whole = load_dataset("hub:o/n,most=70", 8)
    stand_in = load_stand_in("hub:o/n,most=70", 8)
    assert np.array_equal(stand_in.images[:64], whole.images[:64])
    assert np.array_equal(stand_in.images[64:], whole.images[:6])


# Strangers


def test_hostile_pictures_are_skipped_and_counted(server: HubServer, tmp_path: Path):
    import datasets

    ours = tmp_path / "secret.png"
    ours.write_bytes(png(77))
    other = server.commit("datasets/o/other", {"secret.png": png(78)})
    images = [
        *(stored(png(1)), stored(png(2)), stored(b"no picture"), stored(png(3)[:40]), stored(None)),
        *(stored(None, str(ours)), stored(None, f"file://{ours}")),
        *(stored(None, f"{server.url}/x.png"), stored(None, "http://localhost/x.png")),
        stored(None, f"hf://datasets/o/other@{other}/secret.png"),
        stored(None, f"zip://a.png::{ours}"),
    ]
    server.commit("datasets/o/n", {DATA: parquet({"image": images}, {"image": datasets.Image()})})
    commit = server.repos["datasets/o/n"].commits[-1][0]
    data = load_dataset("hub:o/n", 8)
    assert len(data) == 2
    reasons = [reason for _, reason in data.skipped]
    assert reasons == ["error.picture_broken"] * 2 + ["error.picture_elsewhere"] * 7
    assert not [path for _, path, _ in server.requests if "x.png" in path or "secret" in path]
    opened = hub_data._Opened(HubData("o/n", commit), False)
    assert opened.owns(f"hf://datasets/o/n@{commit}/a/b.png")
    assert opened.owns(f"zip://b.png::hf://datasets/o/n@{commit}/a.zip")
    assert not opened.owns(f"hf://datasets/o/n@{commit}/../../o/other@{other}/secret.png")
    assert not opened.owns(f"file://x::hf://datasets/o/n@{commit}/a.zip")


def test_a_card_cannot_name_files_of_this_machine(server: HubServer, tmp_path: Path):
    (tmp_path / "ours.parquet").write_bytes(labelled())
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {tmp_path}/ours.parquet\n---\n"
    server.commit("datasets/o/n", {"README.md": card.encode(), DATA: labelled()})
    assert refused(lambda: settled("hub:o/n")).code in ("hub_data_foreign", "hub_data_unreadable")


def test_a_folder_here_is_not_taken_for_the_hub(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "o" / "n").mkdir(parents=True)
    (tmp_path / "o" / "n" / "ours.parquet").write_bytes(labelled(5))
    server.commit("datasets/o/n", {DATA: labelled(9)})
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("hub:o/n", 8)) == 9


def test_scripts_are_never_run(server: HubServer, tmp_path: Path):
    script = f"open({str(tmp_path / 'ran')!r}, 'w')\nimport datasets\n".encode()
    server.commit("datasets/o/n", {"n.py": script, "README.md": README})
    error = refused(lambda: settled("hub:o/n"))
    assert error.code == "hub_data_unreadable"
    assert "scripts" in error.message()
    assert not (tmp_path / "ran").exists()


def test_formats_that_hold_no_pictures_are_not_opened(server: HubServer):
    server.commit("datasets/o/n", {"data.csv": b"a,b\n1,2\n"})
    assert refused(lambda: settled("hub:o/n")).values["kind"] == "csv"


def test_broken_files_are_a_sentence(server: HubServer):
    server.commit("datasets/o/n", {DATA: b"PAR1" + bytes(100) + b"PAR1"})
    assert refused(lambda: settled("hub:o/n")).code == "hub_data_unreadable"
    import datasets

    nothing = parquet({"image": [stored(b"x")] * 3}, {"image": datasets.Image()})
    server.commit("datasets/o/empty", {DATA: nothing})
    error = refused(lambda: load_dataset("hub:o/empty", 8))
    assert (error.code, error.values["skipped"]) == ("hub_data_too_few", 3)


def test_too_many_classes_are_refused(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_data, "MOST_CLASSES", 1)
    server.commit("datasets/o/n", {DATA: labelled()})
    assert refused(lambda: load_dataset("hub:o/n", 8)).code == "hub_data_too_many_classes"


def test_the_disk_is_asked_first(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_data, "_SPARE_BYTES", 1 << 60)
    server.commit("datasets/o/n", {DATA: labelled()})
    assert refused(lambda: load_dataset("hub:o/n", 8)).code == "hub_data_no_room"


# The command line


def test_look_tells_a_person(server: HubServer, capsys: pytest.CaptureFixture[str]):
    server.commit("datasets/o/n", {DATA: labelled(), "README.md": COUNTED}, licence="mit")
    assert cli.main(["look", "hub:o/n"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("Licence: mit", "30 rows", "label", "datasets/o/n"))
    assert cli.main(["look", "--json", "hub:o/n,column=x"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "hub_data_no_such"


def test_a_training_says_what_it_learns_from_and_goes_on_without_the_hub(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from gan.cards import write_model_folder

    server.commit("datasets/o/n", {DATA: labelled(40), "README.md": README}, licence="cc-by-4.0")
    run = tmp_path / "run"
    command = [
        "train",
        "--data",
        "hub:o/n",
        "--out",
        str(run),
        "--preset",
        "tiny",
        "--threads",
        "1",
    ]
    command += ["--resolution", "8", "--batch", "8"]
    assert cli.main([*command, "--images", "64"]) == 0
    said = capsys.readouterr().out
    assert 0 < said.index("cc-by-4.0") < said.index(str(run))  # before the training, which ends so
    commit = server.repos["datasets/o/n"].commits[-1][0]
    server.commit("datasets/o/n", {DATA: labelled(20)})  # the branch has moved on
    server.requests.clear()
    assert (
        cli.main([*command, "--quiet", "--images", "128"]) == 0
    )  # the same data, and nothing is asked
    assert server.requests == []
    stored_config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert f"@{commit}" in stored_config["training"]["data"]
    folder = write_model_folder(run, tmp_path / "model", samples=16, size=32)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-4.0" in card
    assert f"https://huggingface.co/datasets/o/n, commit {commit}" in card
    assert f"hub:o/n@{commit}" in card
