"""A run directory here that is kept like the one of a job there, so that everything which reads run
directories shows it. The job's log goes to the standard output.

Only files that a run directory has are taken, each as a whole. A line to the Hub that is cut for a
while does no harm: the job goes on without us.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.control import Listener, Order
from gan.errors import LabError
from gan.jobs.launch import Job, client, facts, stop
from gan.loading import hub_client
from gan.loading.hub_names import HubName
from gan.runs import RunDirectory

if TYPE_CHECKING:
    from huggingface_hub import HfApi

EVERY = 5.0  # seconds between two looks
LAST_WORDS = 10.0  # seconds at most until the log of a job that has ended is heard to its end
WANTED = re.compile(
    r"run/((?:status|config)\.json|metrics\.jsonl|(?:reals|neighbours|samples/\d{9})\.png"
    r"|(?:latest|model)/(?:config\.json|(?:model|discriminator)\.safetensors))"
)
ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
PASSING = ("hub_unreachable", "hub_busy", "hub_failed")  # errors that may be over soon


def follow(
    run: Path,
    token: str | None = None,
    *,
    say: Callable[[str], None] = print,
    every: float = EVERY,
) -> str:
    """Follows the job of the directory `run` to its end; → "finished", "stopped" or "failed".

    An order "stop" in the directory cancels the job. Blocks; raises LabError for a job that is gone
    or that the token may not see.
    """
    follower = _Follower(run, token)
    log = threading.Thread(target=follower.log, args=(say,), name="job-log", daemon=True)
    log.start()
    state = follower.until_the_end(every)
    log.join(LAST_WORDS)
    return state


class _Follower:
    def __init__(self, run: Path, token: str | None):
        self.job, self.token, self.api = Job.read(run), token, client(token)
        self.directory = RunDirectory(run)
        self.orders = Listener(run, self._noted)
        self.known: dict[str, str] = {}  # place → what is there, by the Hub's own name for it
        self.remote: dict[str, Any] = {}  # the status that the training there wrote last
        self.noted: dict[str, Any] = {}

    def until_the_end(self, every: float) -> str:
        """Looks every so many seconds; → how it ended."""
        with self.orders:
            while (state := self.look()) == "training":
                self.orders.wait(every)
                while order := self.orders.take():
                    if order.action == "stop":
                        return self.stop()
        return state

    def look(self) -> str:
        """One look at the job and its files; → the state, which the directory's status says too."""
        message = None
        try:
            with hub_client.understood(HubName(self.job.repo)):
                told = self.api.inspect_job(job_id=self.job.id, namespace=self.job.owner).status
                self._fetch(self.api)
        except LabError as error:
            if error.code not in PASSING:
                self._write("failed", error)
                raise
            return "training"
        state = self._state(str(getattr(told.stage, "value", told.stage)))
        if state == "failed":
            message = LabError("job_failed", job=self.job.id, reason=told.message or "–")
        self._write(state, message)
        return state

    def stop(self) -> str:
        """Cancels the job; says so where that fails, because a job that goes on costs."""
        try:
            stop(self.job, self.token)
        except LabError as error:
            reason = error.message()
            told = LabError("job_not_cancelled", job=self.job.id, reason=reason)
            self._write("failed", told)
            raise told from error
        self._write("stopped")
        return "stopped"

    def log(self, say: Callable[[str], None]) -> None:
        """Hands on what the job prints, from its beginning, until it ends. What goes wrong here is
        left to `look`, which asks the same Hub."""
        asked = {"job_id": self.job.id, "namespace": self.job.owner, "follow": True}
        try:
            with hub_client.understood(HubName(self.job.repo)):
                for line in self.api.fetch_job_logs(**asked):
                    say(line.rstrip("\n"))
        except LabError:
            return

    def _state(self, stage: str) -> str:
        if stage not in ENDED:
            return "training"
        if stage == "CANCELED":
            return "stopped"
        if stage != "COMPLETED":
            return "failed"
        said = self.remote.get("state")
        return said if said in ("finished", "stopped") else "failed"

    def _fetch(self, api: HfApi) -> None:
        """Takes the files that have changed, the status last: it tells of the others."""
        about = api.model_info(self.job.repo, files_metadata=True)
        changed = [
            each
            for each in about.siblings or []
            if WANTED.fullmatch(each.rfilename) and self.known.get(each.rfilename) != each.blob_id
        ]
        with tempfile.TemporaryDirectory(prefix="latent-lab-") as staging:
            for each in sorted(changed, key=lambda one: one.rfilename == "run/status.json"):
                got = api.hf_hub_download(
                    self.job.repo, each.rfilename, revision=about.sha, local_dir=staging
                )
                self._take(Path(got), each.rfilename.removeprefix("run/"))
                self.known[each.rfilename] = str(each.blob_id)

    def _take(self, got: Path, name: str) -> None:
        if name == "status.json":
            self.remote = json.loads(got.read_text(encoding="utf-8"))
            return
        place = self.directory.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        arriving = place.with_name(f".{place.name}.arriving")
        shutil.move(got, arriving)
        arriving.replace(place)

    def _write(self, state: str, message: LabError | None = None) -> None:
        """The status here: what the training there says, with our process as the one that lives."""
        about = {name: value for name, value in self.remote.items() if name not in _OURS}
        if message is not None:
            about["message"] = message.to_json()
        self.directory.write_status(state, **about | self.noted | {"job": facts(self.job)})

    def _noted(self, order: Order) -> None:
        self.noted = {"acknowledged": order.id, "stopping": order.action == "stop"}
        self._write("training")


_OURS = ("state", "pid", "started", "heartbeat", "beat", "acknowledged", "stopping")
