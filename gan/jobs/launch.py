"""A job: what it runs, on what, at which price; started and cancelled by the Hub's own client.

The token goes to the job as a secret, which the Hub encrypts: it is in no command, no variable that
anybody can read, and no log.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.files import write_atomic
from gan.loading import hub_client
from gan.loading.hub_names import HubName
from gan.publish import check_place, repo_name

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from gan.workshop import TrainRequest

IMAGE = "python:3.11"
FILE = "job.json"  # in the run directory here: which job it follows
SOURCE, REQUIREMENTS = "source.zip", "requirements-job.txt"
PAGE_ONLY = ("gradio", "websockets", "httptools", "uvloop")  # what a training does without
LEFT_OUT = ("assets/models", "assets/readme")
# `hf` reads the token from HF_TOKEN; `work` brings back what an earlier job left.
SCRIPT = """set -e
pip install -q huggingface_hub
hf download {repo} {source} --local-dir . --quiet
python -m zipfile -e {source} latent-lab
cd latent-lab
pip install -q -r {requirements}
exec python -m gan jobs work {repo} {flags}
"""
_PROJECT = Path(__file__).parents[2]
_HOURS = {"second": 1 / 3600, "minute": 1 / 60, "hour": 1.0}


@dataclass(frozen=True)
class Hardware:
    """A kind of machine. `dollars_per_hour` is None where the Hub doesn't say."""

    name: str
    title: str
    dollars_per_hour: float | None


@dataclass(frozen=True)
class Job:
    """A job that was started: all that is needed to find it again, but the token."""

    repo: str  # "owner/name": whose owner pays
    id: str
    hardware: str
    hours: float

    @property
    def owner(self) -> str:
        return self.repo.partition("/")[0]

    @classmethod
    def read(cls, run: Path) -> Job:
        """The job that a run directory follows; LabError where it follows none."""
        try:
            return cls(**json.loads((run / FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise LabError("job_unknown", path=run) from error

    def write(self, run: Path) -> None:
        write_atomic(run / FILE, (json.dumps(asdict(self), indent=1) + "\n").encode())


def hardware(token: str | None = None) -> list[Hardware]:
    """What there is, the cheapest first. Blocks; raises LabError."""
    with hub_client.understood(HubName("jobs/hardware")):
        listed = hub_client.client(token or False).list_jobs_hardware()
    found = [
        Hardware(each.name, each.pretty_name, _per_hour(each.unit_cost_usd, each.unit_label))
        for each in listed
    ]
    return sorted(found, key=lambda each: (each.dollars_per_hour is None, each.dollars_per_hour))


def _per_hour(dollars: float | None, unit: str) -> float | None:
    hours = _HOURS.get(unit)
    return None if hours is None or dollars is None else round(dollars / hours, 4)


def start(
    request: TrainRequest,
    run: Path,
    repo: str,
    *,
    hardware: str = "cpu-basic",
    hours: float = 1.0,
    private: bool = True,
    token: str | None = None,
) -> Job:
    """Sends this program to the repository `repo`, made where it isn't there yet, and starts the
    training there; the Hub ends it after `hours`. The directory `run` will follow it.

    Blocks; raises LabError for what the Hub refuses and for what can't be trained there.
    """
    name, token = repo_name(repo), required_token(token)
    command = ["bash", "-c", script(request, repo)]
    env = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # a log of lines
    if endpoint := os.environ.get("HF_ENDPOINT"):
        env["HF_ENDPOINT"] = endpoint
    run.mkdir(parents=True, exist_ok=True)
    with hub_client.understood(name, writing=True):
        api = hub_client.client(token)
        api.create_repo(repo, private=private, exist_ok=True)
        check_place(api, repo, private)
        api.upload_file(path_or_fileobj=source(), path_in_repo=SOURCE, repo_id=repo)
        begun = api.run_job(
            image=IMAGE,
            command=command,
            env=env,
            secrets={"HF_TOKEN": token},
            flavor=hardware,
            timeout=round(hours * 3600),
            labels={"app": "latent-lab"},
            namespace=repo.partition("/")[0],
        )
    job = Job(repo, begun.id, hardware, hours)
    job.write(run)
    return job


def stop(job: Job, token: str | None = None) -> None:
    """Cancels a job; what it has sent until then stays in its repository. Blocks; LabError."""
    with hub_client.understood(HubName(job.repo), writing=True):
        hub_client.client(required_token(token)).cancel_job(job_id=job.id, namespace=job.owner)


def required_token(token: str | None) -> str:
    """The one given, or this machine's; LabError where there is none."""
    token = token or hub_client.own_token()
    if not token:
        raise LabError("publish_token")
    return token


def script(request: TrainRequest, repo: str) -> str:
    """What the job's shell runs. LabError for a training that needs files of this machine."""
    from gan.training.data import BUNDLED

    if request.data not in BUNDLED or request.warm_start is not None:
        raise LabError("job_needs_files", known=", ".join(BUNDLED))
    flags = shlex.join(request.command("run")[1:])
    return SCRIPT.format(repo=repo, source=SOURCE, requirements=REQUIREMENTS, flags=flags)


def source() -> bytes:
    """This program as a zip file: the code, the small data, and what to install for a training."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted([*_PROJECT.glob("gan/**/*"), *_PROJECT.glob("assets/**/*")]):
            name = path.relative_to(_PROJECT).as_posix()
            if path.is_file() and "__pycache__" not in name and not name.startswith(LEFT_OUT):
                archive.write(path, name)
        archive.writestr(REQUIREMENTS, requirements())
    return buffer.getvalue()


def requirements() -> str:
    """Those of the project that a training needs, one a line."""
    try:
        lines = (_PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise LabError("job_without_source") from error
    return "".join(line + "\n" for line in lines if not line.startswith(PAGE_ONLY))


def client(token: str | None) -> HfApi:
    """The Hub's client with the token that a job is followed by."""
    return hub_client.client(required_token(token))


def facts(job: Job) -> dict[str, Any]:
    """What a status says of the job."""
    return asdict(job)
