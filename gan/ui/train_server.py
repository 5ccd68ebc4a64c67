"""What the Train page may ask for: plain JSON in, plain JSON out, like `explore_server`.

It translates between the page and `gan.workshop`, and decides nothing itself: whose a run is, what
the host allows and how a run is doing is known there, from the files. `train_files` serves the
pictures and the downloads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gan import rendering, workshop
from gan.errors import LabError
from gan.loading import ModelInfo, has_name
from gan.loading.native import read_info
from gan.loading.policy import Policy
from gan.locale import LANGUAGES
from gan.recipe import Recipe
from gan.ui import sign_in, train_files, train_hub, train_uploads
from gan.ui.explore_server import Json, answering, data_url, describe
from gan.workshop import Owner, Snapshot, TrainRequest
from gan.workshop.records import ALIVE, read_status, state_of

MOST_LOOKS = 4  # at data sets on the Hub that wait at once, everybody's together
LONGEST_DATA = 2000  # characters of a name on the Hub with its choices
_FOLDERS = re.compile(r"""(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[^\\/:"']+[\\/])*""")  # of a file's place
MOST_MEASUREMENTS = 8  # estimates that wait at once, everybody's together
ACTIONS = (
    *("pause", "resume", "save", "stop", "delete", "undelete", "rename", "change", "go_on"),
    "stop_publishing",
)
DISCRIMINATOR = "discriminator.safetensors"
SAVED_SECONDS = 10.0  # that somebody who opens a training in Explore waits for the newest

# What a person chooses instead of networks: minutes, and a preset where the data's own isn't meant.
GOALS: tuple[Json, ...] = (
    {"name": "demo", "minutes": 1, "preset": "quick"},
    {"name": "lunch", "minutes": 40, "preset": None},
    {"name": "overnight", "minutes": 480, "preset": None},
    {"name": "gpu", "minutes": 120, "preset": "gpu"},
)
# Numbers of a report that the charts draw: name → where it stands.
COLUMNS: dict[str, tuple[str, ...]] = {
    "images_seen": ("images_seen",),
    "loss_g": ("losses", "loss_g"),
    "loss_d": ("losses", "loss_d"),
    "reconstruction": ("losses", "reconstruction"),
    "r1": ("losses", "r1"),
    "r2": ("losses", "r2"),
    "grad_g": ("grad_norm_g",),
    "grad_d": ("grad_norm_d",),
    "pairs": ("pair_accuracy",),
    "speed": ("images_per_second",),
}
QUALITIES = ("q", "q_low", "q_high", "kid", "floor", "coverage", "real_coverage", "copies")


def facts() -> Json:
    """What the page is served with: what can be chosen, and whether anything may be started."""
    from gan.training.data import BUNDLED, bundled_card
    from gan.training.losses import LOSSES

    told = ("name", "resolution", "count", "licence")
    shop = workshop.shared()
    limits = shop.limits
    return {
        "enabled": shop.enabled,
        "sign_in": sign_in.is_offered(),
        "own_paths": limits.own_paths,
        "most": {
            "minutes": limits.minutes,
            "resolution": limits.resolution,
            "batch": limits.batch,
            "megabytes": train_uploads.MOST_BYTES >> 20,
            "file_megabytes": train_uploads.MOST_FILE_MEGABYTES,
            "files": train_uploads.MOST_FILES,
        },
        "goals": [dict(goal, minutes=_allowed(goal["minutes"], limits.minutes)) for goal in GOALS],
        "losses": [{"name": loss.name, "penalties": loss.penalties} for loss in LOSSES.values()],
        "lessons": lessons(),
        "hub_data": hub_data_facts(),
        "datasets": [{key: bundled_card(name)[key] for key in told} for name in BUNDLED],
        "columns": list(COLUMNS),
        "qualities": ["images_seen", "resolution", *QUALITIES],
    }


def _allowed(minutes: float, most: float | None) -> float:
    return minutes if most is None else min(minutes, most)


def lessons() -> list[Json]:
    """Trainings that fail on purpose, for a class to watch, with the loss and penalties that each
    of them has, whatever else is asked for."""
    from gan.training.config import LESSONS
    from gan.training.losses import LOSSES

    found = []
    for name, settings in LESSONS.items():
        loss = LOSSES[settings["loss"]]
        penalties = settings.get("penalties", loss.penalties)
        found.append({"name": name, "loss": loss.name, "penalties": penalties})
    return found


def hub_data_facts() -> Json:
    """Whether data sets from the Hub may be used here, and whether they can be."""
    from gan.training.hub_names import PACKAGE

    allowed = bool(Policy.from_environment().hub_data) and Policy.from_environment().hub
    line = f'pip install "{PACKAGE}"'
    return {"allowed": allowed, "installed": find_spec("datasets") is not None, "line": line}


@answering
async def sight(asked: Json) -> Json:
    """{"data": a bundled name} → {"image": data URL of some of its pictures}."""
    from gan.training.data import BUNDLED, bundled_tile

    name = asked.get("data")
    if name not in BUNDLED:
        raise LabError("bad_request", reason="data")
    return {"image": data_url(bundled_tile(name), "image/png")}


@answering
async def look_at_hub(asked: Json) -> Json:
    """{"token", "data": a name or link} → what a data set on the Hub is: see `gan look`. Some of
    its pictures are in "image", where every choice is made."""
    data = asked.get("data")
    sign_in.asking(asked)  # refuses who has none
    if not isinstance(data, str) or len(data) > LONGEST_DATA:
        raise LabError("bad_request", reason="data")
    if not _waiting_looks.acquire(blocking=False):
        raise LabError("busy", waiting=MOST_LOOKS)
    try:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(_looker, workshop.shared().look_at_hub, data)
    finally:
        _waiting_looks.release()
    pictures = found.get("pictures")
    image = f"data:image/png;base64,{pictures}" if pictures else None
    return {name: value for name, value in found.items() if name != "pictures"} | {"image": image}


# Starting


@answering
async def command(asked: Json) -> Json:
    """{"request"} → {"command"}: what would run, as a person types it."""
    return {"command": read_request(asked).command_line("RUN")}


@answering
async def estimate(asked: Json) -> Json:
    """{"token", "request"} → the measured costs of such a training on this machine. May take a
    minute the first time."""
    request, owner = read_request(asked), sign_in.asking(asked)
    if not _measurements.acquire(blocking=False):
        raise LabError("busy", waiting=MOST_MEASUREMENTS)
    try:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(_measurer, workshop.shared().estimate, request, owner)
    finally:
        _measurements.release()
    return found.to_json()


@answering
async def start(asked: Json) -> Json:
    """{"token", "request"} → {"run"}: started, or in the queue."""
    request, owner = read_request(asked), sign_in.asking(asked)
    return {"run": await asyncio.to_thread(workshop.shared().start, request, owner)}


@answering
async def gather(asked: Json) -> Json:
    """{"token", "files": [{"path", "name"}]} → {"source", "name", "count"}: what was uploaded
    becomes the person's own data."""
    files = asked.get("files")
    if not isinstance(files, list):
        raise LabError("bad_request", reason="files")
    return await asyncio.to_thread(
        train_uploads.gather, workshop.shared(), sign_in.asking(asked), files
    )


def read_request(asked: Json) -> TrainRequest:
    return TrainRequest.from_json(asked.get("request"))


# Watching


@answering
async def look(asked: Json) -> Json:
    """{"token", "run"?, "since"?, "runs"?: bool, "starts"?: bool} → {"snapshot": how the run is,
    "runs": the person's runs, "deleted": those that can be brought back, "user": the name of who is
    signed in, or null, "starts": see `starts`}: each only where it was asked for."""
    return await asyncio.to_thread(_look, asked)


def _look(asked: Json) -> Json:
    shop, answer = workshop.shared(), {}
    run, since = asked.get("run"), asked.get("since")
    if asked.get("runs"):
        summaries = shop.list(sign_in.asking(asked))
        answer["runs"] = [each.to_json() for each in summaries if not each.deleted]
        answer["deleted"] = [each.to_json() for each in summaries if each.deleted]
        answer["user"] = sign_in.asking_name()
    if asked.get("starts"):
        answer["starts"] = starts()
    if run is not None:
        if not isinstance(since, int | None):
            raise LabError("bad_request", reason="since")
        snapshot = shop.snapshot(run)
        mine = train_files.is_own(shop.path(run), sign_in.asking(asked))
        answer["snapshot"] = shown(snapshot, since, mine) | train_hub.state(run, mine)
    return answer


def starts() -> list[Json]:
    """The models that a training can begin with, beside a person's own runs: those here now, also
    the ones that were opened since the program started, whose two networks are both there."""
    found, own_paths = [], workshop.shared().limits.own_paths
    for info in rendering.shared().models():
        name = info.name if has_name(info) else str(info.path.parent) if own_paths else None
        if name is not None and is_whole(info.path):
            found.append({"name": name, "title": dict(info.title) or {"en": info.name}})
    return found


def is_whole(weights: Path) -> bool:
    """Whether a discriminator lies beside these weights, as a warm start needs it."""
    return weights.name == train_files.WEIGHTS and (weights.parent / DISCRIMINATOR).is_file()


def shown(snapshot: Snapshot, since: int | None, mine: bool) -> Json:
    """A snapshot as the page takes it: reports as rows of numbers, those after `since` only;
    "restart" where the run went back behind it, and all reports come anew. Where things lie on this
    machine is told to the run's owner alone, and in the command line only where the machine is
    the owner's too."""
    is_at_home = mine and workshop.shared().limits.own_paths
    for_others = TrainRequest.from_json(snapshot.request).without_places()
    status, metrics = snapshot.status, snapshot.metrics
    seen = metrics[-1]["images_seen"] if metrics else 0
    restart = since is None or since > seen
    newer = metrics if restart else [each for each in metrics if each["images_seen"] > since]
    histograms = [each["histogram"] for each in newer if each.get("histogram")]
    told = {name: status.get(name) for name in TOLD}
    return told | {
        "id": snapshot.run_id,
        "name": snapshot.name,
        "state": snapshot.state,
        "stopping": snapshot.stopping,
        "mine": mine,
        "created": snapshot.created,
        "command": snapshot.command if is_at_home else for_others.command_line("RUN"),
        "request": snapshot.request if mine else for_others.to_json(),
        "settings": snapshot.settings,
        "forked_from": origin(snapshot, mine),
        "place": snapshot.place,
        "samples": snapshot.samples,
        "moments": snapshot.moments,
        "checkpoints": snapshot.checkpoints,
        "silent": silent_seconds(snapshot),
        "pictures": snapshot.pictures,
        "exports": train_files.exports(workshop.shared().path(snapshot.run_id)),
        "alarms": snapshot.alarms,
        "message": snapshot.message if is_at_home else without_folders(snapshot.message),
        "log": snapshot.log_end if mine else None,
        "restart": restart,
        "points": [row(each) for each in newer],
        "qualities": [quality_row(each) for each in newer if each.get("quality")],
        "histogram": histograms[-1] if histograms else None,
        "seen": seen,
    }


def origin(snapshot: Snapshot, mine: bool) -> Json | None:
    """What a fork goes back to. Who has only the fork's link gets no link to the other run."""
    known = snapshot.forked_from
    return known if known is None or mine else known | {"run": None}


TOLD = (
    *("images_seen", "images", "seconds", "seconds_left", "images_per_second", "resolution"),
    *("target_quality", "finished", "started", "acknowledged", "obeyed"),
    *("fetched", "to_fetch", "job", "damaged"),
)


def silent_seconds(snapshot: Snapshot) -> int | None:
    """How long ago a training on this machine has last shown that it lives; None for what isn't
    training. Who still starts has nothing to show yet. Told by the clock that all processes of a
    machine share and nobody sets."""
    status = snapshot.status
    trains = snapshot.state == status.get("state") == "training" and not status.get("job")
    if not trains or "beat" not in status:
        return None
    return max(0, round(time.monotonic() - status["beat"]))


def without_folders(message: Json | None) -> Json | None:
    """A refusal with the files that it names, but without the folders that they lie in."""
    if message is None:
        return None
    values = {
        name: _FOLDERS.sub("", value) if isinstance(value, str) else value
        for name, value in message.get("values", {}).items()
    }
    return message | {"values": values}


def row(report: Json) -> list[float | None]:
    """A report's numbers, in the order of COLUMNS, short enough to travel often."""
    return [_short(_at(report, place)) for place in COLUMNS.values()]


def quality_row(report: Json) -> list[float | None]:
    """Another resolution is another measure: its number stands beside."""
    measured = [_short(report["quality"].get(name)) for name in QUALITIES]
    return [report["images_seen"], report.get("resolution"), *measured]


def _at(report: Json, place: tuple[str, ...]) -> Any:
    value: Any = report
    for name in place:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _short(value: Any) -> float | None:
    if not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) else float(f"{value:.4g}")


# Steering


@answering
async def act(asked: Json) -> Json:
    """{"token", "run", "action", …} → {}. "rename" takes a "name"; "change" takes "images" and
    "target_quality"; "go_on" takes "minutes"."""
    action, run = asked.get("action"), asked.get("run", "")
    if action not in ACTIONS:
        raise LabError("bad_request", reason="action")
    deed = _deeds(action, asked)
    await asyncio.to_thread(deed, run, sign_in.asking(asked))
    return {}


def _deeds(action: str, asked: Json) -> Callable[[str, Owner], object]:
    shop = workshop.shared()
    if action == "rename":
        return lambda run, owner: shop.rename(run, owner, str(asked.get("name", "")))
    if action == "change":
        changes = {name: asked.get(name) for name in ("images", "target_quality")}
        return lambda run, owner: shop.change(run, owner, **changes)
    if action == "go_on":
        minutes = asked.get("minutes")
        if not isinstance(minutes, int | float):
            raise LabError("bad_request", reason="minutes")
        return lambda run, owner: shop.go_on(run, owner, minutes)
    return getattr(shop, "save_now" if action == "save" else action)


@answering
async def clone(asked: Json) -> Json:
    """{"token", "run"} → {"request"}: the settings of a run, to start another with changes."""
    run, owner = asked.get("run", ""), sign_in.asking(asked)
    return {"request": (await asyncio.to_thread(workshop.shared().clone, run, owner)).to_json()}


@answering
async def fork(asked: Json) -> Json:
    """{"token", "run", "images_seen", "request"} → {"run"}: a new run that goes on from a kept
    moment of another, with other settings."""
    seen, run, owner = asked.get("images_seen"), asked.get("run", ""), sign_in.asking(asked)
    if not isinstance(seen, int):
        raise LabError("bad_request", reason="images_seen")
    request = read_request(asked)
    return {"run": await asyncio.to_thread(_fork, run, owner, seen, request)}


def _fork(run: str, owner: Owner, seen: int, request: TrainRequest) -> str:
    """Only what differs from the run's own settings is a change of it."""
    shop = workshop.shared()
    before, after = shop.clone(run, owner).to_json(), request.to_json()
    changes = {name: value for name, value in after.items() if value != before[name]}
    return shop.fork(run, owner, seen, **changes)


# Into Explore


@answering
async def own_runs(asked: Json) -> Json:
    """{"token"} → {"runs": [{"run", "name"}]}: a person's trainings that have begun to draw, the
    newest first."""
    owner = sign_in.asking(asked)
    summaries = await asyncio.to_thread(workshop.shared().list, owner)
    drawing = [each for each in summaries if not each.deleted and each.images_seen]
    return {"runs": [{"run": each.run_id, "name": each.name} for each in drawing]}


@answering
async def explore(asked: Json) -> Json:
    """{"run", "images_seen"?, "revision"?, "token"?} → {"model": what Explore has to know,
    "recipe"}: the newest generator of a run, also while it trains, for its owner, whose token it
    is, as it is now; the one of a kept moment; or the one whose weights have this revision."""
    run, seen, revision = asked.get("run", ""), asked.get("images_seen"), asked.get("revision", "")
    if not isinstance(revision, str):
        raise LabError("bad_request", reason="revision")
    if seen is None and not revision and isinstance(asked.get("token"), str):
        await _saved(run, sign_in.asking(asked))
    return await asyncio.to_thread(_explore, run, seen, revision)


async def _saved(run: str, owner: Owner) -> None:
    """Waits until the training has written its newest generator, but not for ever: in the middle
    of an evaluation it may take a while, and the one before is there."""
    shop = workshop.shared()
    try:
        number = await asyncio.to_thread(shop.export_now, run, owner)
    except LabError:  # it doesn't train, or isn't this person's
        return
    path, ends = shop.path(run), time.monotonic() + SAVED_SECONDS
    while time.monotonic() < ends:
        status = await asyncio.to_thread(read_status, path)
        if (status.get("obeyed") or 0) >= number or state_of(status) not in ALIVE:
            return
        await asyncio.sleep(0.1)


def _explore(run: str, seen: Any, revision: str) -> Json:
    snapshot = workshop.shared().snapshot(run)
    if seen is not None and seen not in snapshot.moments:
        raise LabError("no_such_moment", images=seen)
    folder = workshop.shared().path(run)
    if revision:
        place = of_revision(folder, snapshot, revision)
    else:
        place = moment(folder, seen) if seen is not None else newest(folder, snapshot)
    if place is None:
        info, images_seen = _still_open(run, revision), None
        title = snapshot.name
    else:
        seen = int(place.name) if revision and place.parent.name == "moments" else seen
        title = snapshot.name if seen is None else f"{snapshot.name} · {seen:,}"
        # Unlisted: who has neither the run's id nor its revision doesn't learn of it.
        info = rendering.shared().add(place, name=run, title=title, is_listed=False)
        images_seen = images_seen_by(place)
    about = {"run": run, "run_name": snapshot.name, "moment": seen, "moments": snapshot.moments}
    about |= {"images_seen": images_seen, "title": dict.fromkeys(LANGUAGES, title)}
    recipe = Recipe(info.name, revision=info.revision, seed=0)
    return {"model": describe(info) | about, "recipe": recipe.to_json()}


def _still_open(run: str, revision: str) -> ModelInfo:
    """A generator that the training has overwritten since, as long as somebody looks at it."""
    try:
        return rendering.shared().model(run, revision).info
    except LabError as error:
        raise LabError("run_went_on", revision=revision) from error


def moment(folder: Path, images_seen: int) -> Path:
    return folder / f"moments/{images_seen:09d}"


def generators(folder: Path, snapshot: Snapshot) -> list[Path]:
    """The model folders of a run: the best, the latest, and every moment that was kept."""
    exported = [folder / name for name in train_files.exports(folder)]
    return exported + [moment(folder, seen) for seen in snapshot.moments]


def of_revision(folder: Path, snapshot: Snapshot, revision: str) -> Path | None:
    """Where the weights of this revision lie; None where they no longer do."""
    for place in generators(folder, snapshot):
        with contextlib.suppress(LabError):  # it was replaced, or thinned out, in this moment
            if read_info(place / train_files.WEIGHTS).revision == revision:
                return place
    return None


def images_seen_by(place: Path) -> int | None:
    """How far the training was that wrote this model folder; None where it doesn't say."""
    try:
        stored = json.loads((place / "config.json").read_text(encoding="utf-8"))
        seen = stored["training"]["images_seen"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seen if isinstance(seen, int) else None


def newest(folder: Path, snapshot: Snapshot) -> Path:
    """The newest generator of a run: of its last checkpoint, or of a moment after that."""
    found = [folder / name for name in train_files.exports(folder)]
    found += [moment(folder, seen) for seen in snapshot.moments[-1:]]
    if not found:
        raise LabError("nothing_to_open")
    return max(found, key=lambda each: (images_seen_by(each) or 0, _written(each)))


def _written(place: Path) -> float:
    """When, by a clock that may have been set since: the images seen come before it."""
    return (place / train_files.WEIGHTS).stat().st_mtime


# Measuring takes long: it has a thread of its own, so that nobody's look waits behind it.
_measurer = ThreadPoolExecutor(1, thread_name_prefix="measure")
_looker = ThreadPoolExecutor(1, thread_name_prefix="look")
_waiting_looks = threading.BoundedSemaphore(MOST_LOOKS)
_measurements = threading.BoundedSemaphore(MOST_MEASUREMENTS)

FUNCTIONS = (
    *(sight, look_at_hub, command, estimate, start, gather, look, act, clone, fork),
    *(own_runs, explore),
    *train_hub.FUNCTIONS,
)
