"""Stands in for `python -m gan train`: keeps the same files and obeys the same orders, but learns
nothing and starts at once. FAKE_TRAINER makes it "deaf" (to orders and signals), or "fail", or
"late": it never comes to begin."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from gan.control import Listener, Order
from gan.files import write_atomic
from gan.system import this_process

STEP_SECONDS = 0.02


def main() -> int:
    run = Path(flag("--out"))
    if os.environ.get("FAKE_TRAINER") == "fail":
        print("it can't be done", file=sys.stderr)
        return 2
    while os.environ.get("FAKE_TRAINER") == "late":
        time.sleep(1)
    deaf = os.environ.get("FAKE_TRAINER") == "deaf"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else lambda *_: sys.exit(130))
    before = json.loads((run / "status.json").read_text())
    process = this_process()
    facts: dict[str, Any] = {
        "state": "training",
        "pid": process.pid,
        "started": process.started,
        "images_seen": before.get("images_seen", 0),
        "images": int(flag("--images")),
        "argv": sys.argv[1:],
    }

    def write(**changes: Any) -> None:
        facts.update(changes)
        write_atomic(run / "status.json", json.dumps(facts).encode())

    def noted(order: Order) -> None:
        facts.update(acknowledged=order.id, stopping=order.action == "stop")

    write()
    with Listener(run, noted) as orders:
        while facts["images_seen"] < facts["images"]:
            order = None if deaf else orders.take()
            if order is not None:
                facts["images"] = order.images or facts["images"]
                if order.action == "stop":
                    write(state="stopped")
                    return 130
                state = {"pause": "paused", "resume": "training"}.get(order.action or "")
                saved = order.action == "save"
                write(state=state or facts["state"], saved=saved, obeyed=order.id)
            if facts["state"] == "training":
                facts["images_seen"] += 32
                line = json.dumps({"images_seen": facts["images_seen"], "losses": {"loss_g": 1.0}})
                with (run / "metrics.jsonl").open("a") as file:
                    file.write(line + "\n")
                write()
            time.sleep(STEP_SECONDS)
    write(state="finished", finished="budget")
    return 0


def flag(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


if __name__ == "__main__":
    sys.exit(main())
