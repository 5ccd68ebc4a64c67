"""The verbs: what a page may do with trainings, for those who may, as far as the host allows.

Every decision is taken under one lock that all servers on this folder share, from what the files
say. Nothing is remembered here that a restart would lose.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.files import file_lock, user_runs_dir, writing
from gan.jobs.launch import script as job_script
from gan.system import Process, end_process, wait_gone
from gan.workshop import publications, queue, rented, upkeep
from gan.workshop.estimate import Estimate, Estimates
from gan.workshop.forks import fork, kind_at
from gan.workshop.limits import Limits, limits_here, training_is_on
from gan.workshop.longer import longer
from gan.workshop.looking import Looks
from gan.workshop.queue import Queue
from gan.workshop.records import (
    ALIVE,
    RUN_ID,
    About,
    Owner,
    RunSummary,
    now,
    owner_hash,
    owner_keys,
    owns,
    read_status,
    state_of,
    summarise,
    write_json,
)
from gan.workshop.rented import Rental
from gan.workshop.requests import LONGEST_NAME, TrainRequest
from gan.workshop.snapshot import Snapshot, Snapshots

TICK_SECONDS = 2.0
UPKEEP_SECONDS = 30.0
ASKED_AGAIN, ENDED = 4.0, 9.0  # seconds after a stop: SIGTERM, SIGKILL
KILLED = 2.0  # seconds that a killed process may take
FILES = re.compile(
    r"(samples/(raw-|between-)?\d{9}|reals|neighbours)\.png|metrics\.jsonl|log\.txt"
    r"|(model|latest|moments/\d{9})/(model|discriminator)\.safetensors"
)


class Workshop:
    """All trainings under one folder. Safe to call from any thread; all but `estimate` take
    milliseconds."""

    def __init__(self, root: Path | None = None, limits: Limits | None = None):
        self.root = Path(root or user_runs_dir()).absolute()
        self.limits = limits or limits_here()
        self.queue = Queue(self.root)
        self.snapshots = Snapshots(self._place)
        self.estimates = Estimates()
        self.looks = Looks()
        self.clock = upkeep.Clock()
        self._ticked = self._tidied = -UPKEEP_SECONDS
        self._caring = threading.Lock()

    @property
    def enabled(self) -> bool:
        """Whether people may train here; what is there may be watched in any case."""
        return training_is_on()

    # ---- starting and watching

    def start(self, request: TrainRequest, owner: Owner) -> str:
        """A new run; it trains at once, or when it is its turn. → its id."""
        return self._create(owner, lambda _made, _home: self._settled(request, owner))

    def list(self, owner: Owner) -> list[RunSummary]:
        """A person's runs, the newest first; deleted ones too, marked, until they are purged."""
        mine = owner_keys(owner)
        self.tick()
        places = {run: i + 1 for i, run in enumerate(self.queue.waiting())}
        abouts = [(run, About.read(run)) for run in self.queue.runs()]
        found = [
            summarise(run, about, places.get(run))
            for run, about in abouts
            if about is not None and about.owner in mine
        ]
        return sorted(found, key=lambda each: each.created, reverse=True)

    def snapshot(self, run_id: str, since: int | None = None) -> Snapshot:
        """How a run is, for everybody who has its id; at most a second old."""
        run, about = self._find(run_id)
        self.tick()
        return self.snapshots.take(run, about).since(since)

    def file(self, run_id: str, name: str) -> Path:
        """The place of a file that a page may show or hand out: "samples/000000500.png"."""
        run, _ = self._find(run_id)
        if not FILES.fullmatch(name) or not (run / name).is_file():
            raise LabError("no_such_file", name=name)
        return run / name

    def path(self, run_id: str) -> Path:
        """The run's directory."""
        return self._find(run_id)[0]

    def data_folder(self, owner: Owner) -> Path:
        """Where a person's own pictures are kept, for `TrainRequest.data`; made here."""
        folder = self._data_folders(owner)[0]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _data_folders(self, owner: Owner) -> list[Path]:
        return [self.root / "data" / key[:32] for key in owner_keys(owner)]

    def check_upload(self, size: int) -> None:
        """LabError where nobody may train, or where the disk has no room for `size` bytes more."""
        self._check_enabled()
        self.root.mkdir(parents=True, exist_ok=True)
        if problem := upkeep.room(self.root, self.limits, coming=size):
            raise problem

    def estimate(self, request: TrainRequest, owner: Owner | None = None) -> Estimate:
        """What it would cost: measured here, which takes a while the first time; then known.

        Without an `owner`, only of what is bundled, or where the host allows any path."""
        self._check_enabled()
        if owner is None:
            request = replace(request, warm_start=None).settled(self.limits)
            request.check(self.limits, self.root)
        else:
            request = self._settled(request, owner)
        return self.estimates.of(request, is_busy=lambda: bool(self.queue.at_work()))

    def look_at_hub(self, data: str) -> dict[str, Any]:
        """What a data set on the Hub is (see `gan.workshop.looking`); takes seconds."""
        self._check_enabled()
        return self.looks.of(data, self.limits)

    # ---- steering

    def pause(self, run_id: str, owner: Owner) -> None:
        """Waits where it is, in memory; put away (stopped) when somebody else is waiting."""
        self._order(run_id, owner, action="pause")

    def save_now(self, run_id: str, owner: Owner) -> int:
        """Writes a checkpoint and the newest generator at the next step, a moment that stays. → the
        order's number: the status names the last one that was "obeyed"."""
        return self._order(run_id, owner, action="save")

    def export_now(self, run_id: str, owner: Owner) -> int:
        """The same for somebody who looks: the moment doesn't stay."""
        return self._order(run_id, owner, action="export")

    def stop(self, run_id: str, owner: Owner) -> None:
        """Acknowledged in the status within a second; saved and gone within ten."""
        with self._mine(run_id, owner) as (run, _):
            self._stop(run)

    def resume(self, run_id: str, owner: Owner) -> None:
        """Goes on: a paused run at once, any other one when it is its turn."""
        self._check_enabled()
        with self._mine(run_id, owner) as (run, about):
            status = read_status(run)
            rented.check_here(status)
            state = state_of(status)
            if state in ALIVE:
                queue.give_order(run, action="resume")
            elif state != "queued":
                if problem := upkeep.overrun(status, self.limits):
                    raise problem
                self._check_queue(about.owner)
                replace(about, message=None, deleted=None).write(run)
                queue.enqueue(run)
        self.tick(at_once=True)

    def go_on(self, run_id: str, owner: Owner, minutes: float) -> None:
        """A run that has ended, in whatever way, trains for so many minutes more."""
        self._check_enabled()
        with self._mine(run_id, owner) as (run, about):
            status = read_status(run)
            rented.check_here(status)
            if state_of(status) in (*ALIVE, "queued"):
                raise LabError("run_is_not_over")
            about.request.changed(minutes=minutes).check(self.limits, *self._data_folders(owner))
            total, most = minutes + status.get("seconds", 0.0) / 60, self.limits.minutes
            if most is not None and total > most:
                raise LabError("run_too_long", minutes=round(total, 1), most=most)
            self._check_queue(about.owner)
            request = about.request.changed(**longer(run, minutes))
            replace(about, request=request, message=None, deleted=None).write(run)
            images = request.images or status.get("images")
            queue.enqueue(run, images=images, finished=None)
        self.tick(at_once=True)

    def change(
        self,
        run_id: str,
        owner: Owner,
        images: int | None = None,
        target_quality: float | None = None,
    ) -> None:
        """Another budget or target, on the fly or for when it goes on; a target of 0 is none."""
        with self._mine(run_id, owner) as (run, about):
            rented.check_here(read_status(run))
            changes = {"images": images, "target_quality": target_quality}
            changes = {name: value for name, value in changes.items() if value is not None}
            request = about.request.changed(**changes)
            request.check(self.limits, *self._data_folders(owner))
            replace(about, request=request).write(run)
            queue.give_order(run, **changes)

    def rename(self, run_id: str, owner: Owner, name: str) -> None:
        """What people call it; its id and its link stay."""
        with self._mine(run_id, owner) as (run, about):
            replace(about, name=_name(name, about.request)).write(run)

    def delete(self, run_id: str, owner: Owner) -> None:
        """Stops it and takes it out of sight; `undelete` brings it back for a day."""
        with self._mine(run_id, owner) as (run, about):
            self._stop(run)
            _end_upload(run)
            replace(about, deleted=now()).write(run)

    def undelete(self, run_id: str, owner: Owner) -> None:
        """Brings a deleted run back, stopped."""
        with self._mine(run_id, owner) as (run, about):
            replace(about, deleted=None).write(run)

    def clone(self, run_id: str, owner: Owner, **changes: Any) -> TrainRequest:
        """What was asked for, with other values: to be started as a run of its own."""
        with self._mine(run_id, owner) as (_, about):
            return about.request.changed(**{"name": about.name} | changes)

    def fork(self, run_id: str, owner: Owner, images_seen: int, **changes: Any) -> str:
        """A new run from a checkpoint or a kept moment of this one. → its id."""
        run, about = self._find(run_id)
        if not owns(owner, about):
            raise LabError("not_your_run")
        origin = {"run": run_id, "name": about.name, "images_seen": images_seen}
        origin["kind"] = kind_at(run, images_seen)
        changes = {"name": about.name} | changes

        def fill(made: Path, home: Path) -> TrainRequest:
            asked = about.request.changed(**changes)
            asked.check(self.limits, *self._data_folders(owner))
            return fork(run, made, home, about.request, images_seen, changes)

        return self._create(owner, fill, origin)

    # ---- on rented machines

    def rent(self, request: TrainRequest, owner: Owner, rental: Rental, token: str) -> str:
        """A new run that trains on Hugging Face's machines, with the person's own `token`, and is
        followed here. → its id."""
        token = publications.check_token(token)
        job_script(request, rental.repo)  # refuses what needs files of this machine
        request.check(Limits(), *self._data_folders(owner))
        run_id = self._create(owner, lambda _made, _home: request, rental=rental)
        with self._mine(run_id, owner) as (run, about):
            rented.launch(run, about.request, rental, token)
        return run_id

    def follow_again(self, run_id: str, owner: Owner, token: str) -> None:
        """Follows the job of a run whose follower is gone; nothing where one is there."""
        token = publications.check_token(token)
        with self._mine(run_id, owner) as (run, _):
            if state_of(read_status(run)) not in ALIVE:
                rented.follow(run, token)

    # ---- to the Hub

    def publish(self, run_id: str, owner: Owner, repo: str, private: bool, token: str) -> None:
        """Begins to send a run's model to the Hub, with the person's own `token` for it. Not
        while it trains: what is measured for the card and what is sent have to be the same."""
        self._check_enabled()
        token = publications.check_token(token)
        with self._mine(run_id, owner) as (run, _):
            if state_of(read_status(run)) == "training":
                raise LabError("publish_while_training")
            uploads = sum(publications.process_of(each) is not None for each in self.queue.runs())
            if uploads >= self.limits.uploads_at_once:
                raise LabError("publish_later", most=self.limits.uploads_at_once)
            publications.start(run, repo, private, token, self.limits.card_samples)

    def stop_publishing(self, run_id: str, owner: Owner) -> None:
        """Ends an upload; the Hub shows nothing of it, because the last step alone is what shows
        the files."""
        with self._mine(run_id, owner) as (run, _):
            _end_upload(run)

    # ---- the queue, and what the host does by itself

    def tick(self, at_once: bool = False) -> bool:
        """Starts whoever is next, if the device is free. → whether anything is at work or waits.

        Called by everything that looks, and by a thread of ours while there is anything to do.
        """
        if not at_once and time.monotonic() - self._ticked < TICK_SECONDS:
            return True
        self._ticked = time.monotonic()
        if not self.root.is_dir():
            return False
        with self._alone():
            at_work, waiting = self.queue.at_work(), self.queue.waiting()
            tidy = time.monotonic() - self._tidied >= UPKEEP_SECONDS
            if tidy:
                self._tidied = time.monotonic()
                self._keep_bounds(at_work)
                upkeep.purge(self.root, self.queue.runs(), at_work, self.clock)
            free = self.limits.at_once - len(at_work)
            for run in waiting[: max(free, 0)] if self.enabled else ():
                queue.launch(run)
                self.snapshots.forget(run)
            if waiting and free <= 0:
                self._put_paused_away(at_work)
        if at_work or waiting:
            self._care()
        return bool(at_work or waiting)

    def _keep_bounds(self, at_work: list[Path]) -> None:
        full = upkeep.room(self.root, self.limits) if at_work else None
        for run in at_work:
            problem = full or upkeep.overrun(self.queue.status(run), self.limits)
            if problem is not None:
                self._stop(run, problem)

    def _put_paused_away(self, at_work: list[Path]) -> None:
        """Who has paused gives the device to those who wait."""
        for run in at_work:
            status = self.queue.status(run)
            if status.get("state") == "paused" and not status.get("stopping"):
                self._stop(run, LabError("run_put_away"))

    def _care(self) -> None:
        """Sees to it that the next one starts though nobody looks at the page."""
        if self._caring.acquire(blocking=False):
            threading.Thread(target=self._tick_on, name="queue", daemon=True).start()

    def _tick_on(self) -> None:
        try:
            while self.tick():
                time.sleep(TICK_SECONDS)
        finally:
            self._caring.release()

    def _place(self, run_id: str) -> int | None:
        names = [run.name for run in self.queue.waiting()]
        return names.index(run_id) + 1 if run_id in names else None

    # ---- how it is done

    def _settled(self, request: TrainRequest, owner: Owner) -> TrainRequest:
        """A request as it will run: checked, with everything it names found from anywhere."""
        request = request.settled(self.limits)
        request.check(self.limits, *self._data_folders(owner))
        if request.warm_start is None:
            return request
        return replace(request, warm_start=self._warm_start(request.warm_start, owner))

    def _warm_start(self, start: str, owner: Owner) -> str:
        """A model's name here, one's own run by its id, or a place where the host allows any."""
        from gan.loading import list_models

        if RUN_ID.fullmatch(start):
            run, about = self._find(start)
            if not owns(owner, about):
                raise LabError("not_your_run")
            return str(run)
        if start in {info.name for info in list_models()}:
            return start
        if not self.limits.own_paths:
            raise LabError("not_your_model", model=Path(start).name)
        return str(Path(start).expanduser().resolve())

    def _create(
        self,
        owner: Owner,
        fill: Callable[[Path, Path], TrainRequest],
        origin: dict[str, Any] | None = None,
        rental: Rental | None = None,
    ) -> str:
        """Makes a run's folder, by `fill(made, home)`, and puts it into the queue."""
        mine = owner_hash(owner)
        self._check_enabled()
        with writing(self.root.name), self._alone():
            self._check_room(mine)
            made = self.root / f".new-{secrets.token_hex(8)}"
            made.mkdir()
            try:
                run_id = self._fill(made, mine, fill, origin, rental)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
        self.tick(at_once=True)
        return run_id

    def _fill(
        self,
        made: Path,
        mine: str,
        fill: Callable[[Path, Path], TrainRequest],
        origin: dict[str, Any] | None,
        rental: Rental | None,
    ) -> str:
        token = secrets.token_hex(8)
        home = self.root / f"run-{token}"
        request = fill(made, home)
        name = _name(request.name, request)
        About(name, mine, now(), request, forked_from=origin).write(made)
        if rental is None:
            queue.enqueue(made)
        else:
            rented.note(made, rental)
        made.rename(home)  # from now on it is there, as a whole
        return home.name

    def _order(self, run_id: str, owner: Owner, **what: Any) -> int:
        with self._mine(run_id, owner) as (run, _):
            rented.check_here(read_status(run))
            number = queue.give_order(run, **what)
        if number is None:
            raise LabError("run_is_not_training")
        return number

    def _stop(self, run: Path, reason: LabError | None = None) -> None:
        """Does nothing to a run that has stopped. `reason` is shown to its owner."""
        status = read_status(run)
        state, about = state_of(status), About.read(run)
        if reason is not None and about is not None:
            replace(about, message=reason.to_json()).write(run)
        if state == "queued":
            write_json(run / "status.json", status | {"state": "stopped"})
        elif state in ALIVE and rented.is_rented(status):
            queue.give_order(run, action="stop")  # and no force: who cancels the job must live
        elif state in ALIVE:
            process = Process(status["pid"], status["started"])
            if status["state"] == "starting":  # nobody listens yet, and there is nothing to save
                end_process(process, force=True)
                wait_gone(process, KILLED)  # it writes nothing after us
                queue.sweep(run)
                write_json(run / "status.json", status | {"state": "stopped"})
                return
            queue.give_order(run, action="stop")
            threading.Thread(target=_see_it_gone, args=(process,), daemon=True).start()

    def _find(self, run_id: str) -> tuple[Path, About]:
        """A run by its id, which may come from anybody: no name of a folder but a run's."""
        about = None
        if isinstance(run_id, str) and RUN_ID.fullmatch(run_id):
            about = About.read(self.root / run_id)
        if about is None:
            raise LabError("no_such_run")
        return self.root / run_id, about

    @contextlib.contextmanager
    def _mine(self, run_id: str, owner: Owner) -> Iterator[tuple[Path, About]]:
        """A run that belongs to `owner`, while nobody else changes anything."""
        owner_keys(owner)
        self._find(run_id)
        with writing(self.root.name), self._alone():
            run, about = self._find(run_id)
            if not owns(owner, about):
                raise LabError("not_your_run")
            yield run, about
        self.snapshots.forget(run)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with file_lock(self.root / ".lock"):
            yield

    # ---- what is refused

    def _check_enabled(self) -> None:
        if not self.enabled:
            raise LabError("training_is_off")

    def _check_room(self, mine: str) -> None:
        """LabError where one more run is one too many, for its owner or for the host."""
        abouts = [About.read(run) for run in self.queue.runs()]
        kept = [about for about in abouts if about is not None]
        own = [about for about in kept if about.owner == mine and about.deleted is None]
        if len(own) >= self.limits.runs_each:
            raise LabError("too_many_runs", most=self.limits.runs_each)
        if len(kept) >= self.limits.runs:
            raise LabError("host_is_full", most=self.limits.runs)
        self._check_queue(mine)
        if problem := upkeep.room(self.root, self.limits):
            raise problem

    def _check_queue(self, mine: str) -> None:
        abouts = [About.read(run) for run in self.queue.waiting()]
        own = [about for about in abouts if about is not None and about.owner == mine]
        if len(own) >= self.limits.waiting_each:
            raise LabError("too_many_waiting", most=self.limits.waiting_each)


def _name(given: str, request: TrainRequest) -> str:
    """One line of a bounded length; the data's name where nothing was given."""
    from gan.training.data import short_name

    name = " ".join(given.split())[:LONGEST_NAME]
    return name or short_name(request.data)


def _end_upload(run: Path) -> None:
    """Does nothing where nothing is being sent."""
    process = publications.process_of(run)
    if process is not None:
        end_process(process)
        threading.Thread(target=_see_it_gone, args=(process,), daemon=True).start()


def _see_it_gone(process: Process) -> None:
    """Asks a process that was told to stop once more, then ends it: nothing may hold the device."""
    if wait_gone(process, ASKED_AGAIN):
        return
    end_process(process)
    if not wait_gone(process, ENDED - ASKED_AGAIN):
        end_process(process, force=True)


def shared() -> Workshop:
    """This process's workshop. The first call makes it and starts whoever is waiting."""
    with _shared_lock:
        if not _shared:
            _shared.append(Workshop())
            _shared[0].tick(at_once=True)
        return _shared[0]


_shared: list[Workshop] = []
_shared_lock = threading.Lock()
