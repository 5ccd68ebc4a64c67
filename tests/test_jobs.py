"""gan.jobs: a training on the Hub's machines, here on this one: started, followed and cancelled by
the real client over HTTP, the job being a real process."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

import gan
from gan import cli
from gan.control import Order, give
from gan.errors import LabError
from gan.jobs import launch, work
from gan.jobs.follow import WANTED, follow
from gan.jobs.launch import Job, hardware, start, stop
from gan.runs import RunDirectory
from gan.system import this_process
from gan.workshop import TrainRequest
from tests.hub_server import TOKEN, USER
from tests.jobs_server import JobsServer

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = f"{USER}/rented"
TINY = TrainRequest("digits-tiny", images=320)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsServer]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_XET"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "machines").mkdir()
    with JobsServer(tmp_path / "machines") as own:
        monkeypatch.setenv("HF_ENDPOINT", own.url)
        yield own


def refusal(act: Callable[[], Any]) -> LabError:
    with pytest.raises(LabError) as caught:
        act()
    assert TOKEN not in str(caught.value.to_json())
    return caught.value


def job_of(script: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job that does something shorter than to train."""
    monkeypatch.setattr(launch, "SCRIPT", script)
    return start(TINY, run, REPO)


@pytest.mark.slow  # a whole training with its card, in processes that have to load first
def test_a_training_runs_there_and_is_seen_here(
    server: JobsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, log = tmp_path / "run", list[str]()
    quick = launch.SCRIPT.replace("jobs work", "jobs work --samples 20")
    monkeypatch.setattr(launch, "SCRIPT", quick)
    start(TINY, run, REPO, hardware="cpu-basic", hours=0.5)
    assert follow(run, say=log.append, every=0.3) == "finished", log
    directory = RunDirectory(run)
    status = directory.status() or {}
    assert (status["state"], status["finished"], status["images_seen"]) == (
        "finished",
        "budget",
        320,
    )
    assert status["job"]["repo"] == REPO
    assert directory.metrics()[-1]["images_seen"] == 320
    assert (run / "samples" / "000000320.png").is_file()
    assert gan.load_generator(run).info.resolution == 8
    assert any("320" in line for line in log), "the job's log is heard here"

    repo = server.repos[REPO]
    assert repo.private
    files = repo.commits[-1][1]
    assert {"model.safetensors", "README.md", "run/metrics.jsonl", "source.zip"} <= set(files)
    assert b"## Quality" in files["README.md"]
    (job,) = server.jobs.values()
    assert TOKEN not in json.dumps(job.spec)
    assert job.spec["timeoutSeconds"] == 1800
    texts = [job.log, *(path for path in run.rglob("*") if path.is_file())]
    assert all(TOKEN.encode() not in path.read_bytes() for path in texts)


def test_a_stopped_run_cancels_its_job(
    server: JobsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, ended = tmp_path / "run", list[str]()
    job_of("echo begun; exec sleep 600", run, monkeypatch)
    follower = threading.Thread(
        target=lambda: ended.append(follow(run, say=lambda _line: None, every=0.1))
    )
    follower.start()
    until = time.monotonic() + 60
    while not (run / "status.json").is_file():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert RunDirectory(run).is_training()
    give(run, Order(1, this_process().pid, action="stop"))
    follower.join(60)
    assert ended == ["stopped"]
    status = RunDirectory(run).status() or {}
    assert (status["state"], status["acknowledged"]) == ("stopped", 1)


def test_a_job_that_fails_says_so(
    server: JobsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, log = tmp_path / "run", list[str]()
    job = job_of("echo trying; echo no room; exit 3", run, monkeypatch)

    def say(line: str) -> None:
        time.sleep(0.5)  # as slow as a busy machine
        log.append(line)

    assert follow(run, say=say, every=0.1) == "failed"
    assert log == ["trying", "no room"], "why is said in its last line"
    message = (RunDirectory(run).status() or {})["message"]
    assert message == {"code": "job_failed", "values": {"job": job.id, "reason": "Exit code 3"}}


def test_only_files_of_a_run_are_taken(
    server: JobsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    job_of("exit 0", run, monkeypatch)
    (_, files) = server.repos[REPO].commits[-1]
    status = b'{"state": "finished", "finished": "budget", "pid": 1, "images_seen": 64}'
    extra = {
        "run/status.json": status,
        "run/metrics.jsonl": b'{"images_seen": 64}\n',
        "run/control.json": b"{}",
        "run/about.json": b"{}",
        "run/job.json": b"{}",
        "run/samples/a.png": b"x",
        "README.md": b"x",
    }
    server.commit(REPO, files | extra, private=True)
    assert follow(run, say=lambda _line: None, every=0.1) == "finished"
    found = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    assert found == ["job.json", "metrics.jsonl", "status.json"]
    told = RunDirectory(run).status() or {}
    assert (told["images_seen"], told["pid"]) == (64, this_process().pid)


@pytest.mark.parametrize(
    "name", ["run/../x.png", "run/samples/../../x", "run/model/evil.py", "status.json", "run/x"]
)
def test_no_other_place_can_be_written(name: str):
    assert not WANTED.fullmatch(name)


def test_prices_are_by_the_hour(server: JobsServer):
    shown = [(each.name, each.dollars_per_hour) for each in hardware()]
    assert shown == [("cpu-basic", 0.01), ("a10g-small", 1.0)]


def test_what_is_refused(server: JobsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = tmp_path / "run"
    own = TrainRequest(str(tmp_path), images=64)
    assert refusal(lambda: start(own, run, REPO)).code == "job_needs_files"
    assert refusal(lambda: start(TINY, run, "rented")).code == "hub_bad_name"
    assert refusal(lambda: start(TINY, run, "others/rented")).code == "publish_refused"
    assert refusal(lambda: start(TINY, run, REPO, token="hf_wrong")).code == "publish_bad_token"
    assert refusal(lambda: follow(run)).code == "job_unknown"
    gone = Job(REPO, "f" * 24, "cpu-basic", 1.0)
    assert refusal(lambda: stop(gone, token="hf_wrong")).code == "publish_bad_token"
    monkeypatch.delenv("HF_TOKEN")
    assert refusal(lambda: start(TINY, run, REPO)).code == "publish_token"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert refusal(hardware).code == "hub_unreachable"
    assert server.jobs == {}


def test_a_job_gets_the_program_but_not_the_page():
    with zipfile.ZipFile(io.BytesIO(launch.source())) as archive:
        names = archive.namelist()
        needs = archive.read(launch.REQUIREMENTS).decode()
    assert {"gan/__main__.py", "gan/locale/texts/cli.json"} <= set(names)
    assert any(name.startswith("assets/datasets/digits/") for name in names)
    assert not any("__pycache__" in name or name.startswith("assets/models") for name in names)
    assert "torch==" in needs
    assert "gradio" not in needs


def test_a_push_sends_the_large_seldom_and_forgets_old_checkpoints(
    server: JobsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    server.commit(REPO, {}, private=True)
    for name in ("status.json", "control.json", "samples/000000064.png", "samples/raw-64.png"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(name)
    old, new = (tmp_path / "run" / "checkpoints" / f"{n}.safetensors" for n in (1, 2))
    old.parent.mkdir()
    old.write_text("old")
    work.push(REPO, heavy=False)
    light = {"run/status.json", "run/samples/000000064.png"}
    assert set(server.repos[REPO].commits[-1][1]) == light
    work.push(REPO, heavy=True)
    old.rename(new)
    work.push(REPO, heavy=True)
    assert set(server.repos[REPO].commits[-1][1]) == light | {"run/checkpoints/2.safetensors"}


def test_the_command_line_tells_the_price_first(
    server: JobsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(launch, "SCRIPT", "exit 3")
    run = str(tmp_path / "run")
    asked = ["jobs", "start", REPO, "--out", run, "--data", "digits-tiny", "--images", "320"]
    asked += ["--hardware", "a10g-small", "--hours", "2"]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert cli.main(asked) == cli.INTERRUPTED
    assert "$1.00/h, at most $2.00" in capsys.readouterr().out
    assert server.jobs == {}
    assert cli.main([*asked, "--yes"]) == 0
    assert f"jobs follow {run}" in capsys.readouterr().out
    assert cli.main(["jobs", "follow", run]) == 1
    assert cli.main([*asked, "--hardware", "magic"]) == 2
    assert "a10g-small" in capsys.readouterr().err
    assert cli.main(["jobs", "hardware"]) == 0
    assert "CPU Basic" in capsys.readouterr().out
