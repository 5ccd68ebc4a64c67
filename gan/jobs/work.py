"""What the job itself does, on the Hub's machine: trains, and sends the run to the repository.

Figures and pictures go often, what is large seldom. A job that was cut goes on where the last one
left its checkpoint; at the end the model is published beside the run, with its card.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gan.errors import LabError
from gan.jobs.launch import client
from gan.loading import hub_client
from gan.loading.hub_names import HubName
from gan.system import graceful_signals

RUN = Path("run")
LIGHT = (
    *("status.json", "config.json", "metrics.jsonl", "reals.png", "neighbours.png"),
    "samples/[0-9]*.png",
)
HEAVY = ("latest/*", "model/*", "checkpoints/*")
EVERY, EVERY_HEAVY = 30.0, 600.0  # seconds between two pushes; of all files
LOOK_SECONDS = 0.5
STOPPED = 130  # the training's own code for "stopped, saved"


def work(repo: str, flags: Sequence[str], samples: int = 1000, every: float = EVERY) -> int:
    """Trains in the folder `run` by the command `train` with these flags; → its exit code. The
    card is measured on `samples` pictures. What can't be sent in between is sent the next time:
    LabError at the end alone."""
    _bring_back(repo)
    command = [sys.executable, "-m", "gan", "train", *flags]
    with graceful_signals() as asked, subprocess.Popen(command) as training:
        pushed = heavy = time.monotonic()
        while training.poll() is None:
            time.sleep(LOOK_SECONDS)
            if asked.requested:
                training.terminate()
                training.wait()
            now = time.monotonic()
            if now - pushed >= every:
                is_heavy = now - heavy >= EVERY_HEAVY
                heavy = now if is_heavy else heavy
                _try_to_push(repo, is_heavy)
                pushed = time.monotonic()
    if training.returncode in (0, STOPPED):
        push(repo, heavy=True)
    if training.returncode == 0:
        from gan.publish import publish

        publish(RUN, repo, samples=samples)
    return training.returncode


def push(repo: str, heavy: bool) -> None:
    """Makes the repository's `run/` like the one here, as one commit; with `heavy` the models and
    the newest checkpoints too."""
    with hub_client.understood(HubName(repo), writing=True):
        client(None).upload_folder(
            repo_id=repo,
            folder_path=RUN,
            path_in_repo=RUN.name,
            allow_patterns=[*LIGHT, *(HEAVY if heavy else ())],
            delete_patterns=["checkpoints/*"] if heavy else None,
            commit_message="The run so far",
        )


def _try_to_push(repo: str, heavy: bool) -> None:
    try:
        push(repo, heavy)
    except LabError as error:
        sys.stderr.write(f"{error.message()}\n")


def _bring_back(repo: str) -> None:
    """What an earlier job for the same repository has left, so that the training goes on."""
    with hub_client.understood(HubName(repo)):
        client(None).snapshot_download(repo, allow_patterns=[f"{RUN.name}/*"], local_dir=".")
