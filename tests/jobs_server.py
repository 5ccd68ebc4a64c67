"""Hugging Face Jobs on this machine, beside its Hub: a job is really run, as a process in a folder
of its own, with the command, the variables and the secrets that it was started with.

    with JobsServer(folder) as hub:
        job = HfApi(endpoint=hub.url).run_job(…)

`pip` does nothing there: what is installed here is what a job would install.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.hub_server import TOKEN, USER, HubServer, _Handler

HARDWARE = [("a10g-small", "Nvidia A10G - small", 16667), ("cpu-basic", "CPU Basic", 167)]
KEPT = ("PYTHONPATH", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "HF_HUB_DISABLE_XET")


@dataclass
class RunningJob:
    """One job: what was asked for (without the secrets' values), and its process."""

    id: str
    spec: dict[str, Any]
    process: subprocess.Popen[bytes]
    log: Path
    is_cancelled: bool = False

    @property
    def stage(self) -> str:
        code = self.process.poll()
        if code is None:
            return "RUNNING"
        return "CANCELED" if self.is_cancelled else "ERROR" if code else "COMPLETED"

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class JobsServer(HubServer):
    """A Hub with Jobs; its processes end with the `with` block."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.jobs = folder, dict[str, RunningJob]()
        stubs = folder / "bin"
        stubs.mkdir()
        pip = stubs / "pip"
        pip.write_text("#!/bin/sh\nexit 0\n")
        pip.chmod(0o755)
        self.path = os.pathsep.join(
            [str(stubs), str(Path(sys.executable).parent), os.environ["PATH"]]
        )

    def __exit__(self, *about: object) -> None:
        for job in self.jobs.values():
            job.end()
        super().__exit__(*about)

    def launch(self, spec: dict[str, Any]) -> RunningJob:
        number = f"{len(self.jobs):024x}"
        home = self.folder / number
        home.mkdir()
        ours = {name: os.environ[name] for name in KEPT if name in os.environ}
        given = spec.get("environment", {}) | spec.pop("secrets", {})
        environment = ours | {"PATH": self.path, "HOME": str(home)} | given
        with (home / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                spec["command"],
                cwd=home,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.jobs[number] = RunningJob(number, spec, process, home / "log.txt")
        return self.jobs[number]

    def _handler(self) -> type[_Handler]:
        class Handler(_JobsHandler):
            server_hub = self

        return Handler


class _JobsHandler(_Handler):
    server_hub: JobsServer

    def do_GET(self) -> None:  # noqa: N802 (its name there)
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[:2] != ["api", "jobs"]:
            super().do_GET()
        elif parts[2:] == ["hardware"]:
            self._json([_machine(*each) for each in HARDWARE])
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif parts[3] not in self.server_hub.jobs:
            self._refuse(404, "")
        elif parts[4:] == ["logs"]:
            self._stream(self.server_hub.jobs[parts[3]])
        else:
            self._json(_about(self.server_hub.jobs[parts[3]]))

    def do_POST(self) -> None:  # noqa: N802 (its name there)
        hub, parts = self.server_hub, urlsplit(self.path).path.strip("/").split("/")
        if parts[:2] != ["api", "jobs"]:
            super().do_POST()
            return
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif parts[2] != USER:
            self._refuse(403, "")
        elif parts[4:] == ["cancel"]:
            job = hub.jobs[parts[3]]
            job.is_cancelled = True
            os.killpg(job.process.pid, signal.SIGTERM)
            self._json({})
        else:
            self._json(_about(hub.launch(json.loads(body))))

    def _stream(self, job: RunningJob) -> None:
        """The log from its beginning, an event a line, until the job has ended."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with job.log.open("rb") as log:
            is_over = False
            while not is_over:
                is_over = job.stage != "RUNNING"
                for line in log.read().decode(errors="replace").splitlines():
                    event = {"data": line, "timestamp": "2024-05-01T10:00:00.000Z"}
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.05)


def _machine(name: str, title: str, micro_dollars: int) -> dict[str, Any]:
    price = {"unitCostMicroUSD": micro_dollars, "unitCostUSD": micro_dollars / 1e6}
    about = {"name": name, "prettyName": title, "cpu": "2 vCPU", "ram": "16 GB"}
    return about | price | {"unitLabel": "minute"}


def _about(job: RunningJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "createdAt": "2024-05-01T10:00:00.000Z",
        "dockerImage": job.spec["dockerImage"],
        "command": job.spec["command"],
        "environment": job.spec["environment"],
        "flavor": job.spec["flavor"],
        "owner": {"id": "1", "name": USER, "type": "user"},
        "status": {"stage": job.stage, "message": "Exit code 3" if job.stage == "ERROR" else None},
    }
