"""The Train page under a real hand, with real trainings: what it shows is what is on disk."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan.runs import RunDirectory
from gan.system import Process, end_process, process_alive
from gan.training import checkpoint
from gan.workshop import TrainRequest
from gan.workshop.records import About, owner_hash
from tests.waiting import wait_until

from .conftest import Held, asks, serving
from .test_look import CHINESE, CONTRAST, assert_fits

PATIENCE = 240_000  # milliseconds: for machines that are busy with other things


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def training_app(models: Path, runs: Path) -> Iterator[str]:
    """A public host whose host has switched training on."""
    environment = {"LATENT_LAB_MODELS": str(models), "LATENT_LAB_RUNS": str(runs)}
    command = ["app.py", "--model", "tiny", "--port"]
    with serving(command, LATENT_LAB_TRAINING="on", **environment) as url:
        yield url
    for path in runs.glob("run-*/status.json"):  # trainings outlive their server
        end_training(path.parent)


def end_training(run: Path) -> None:
    """Whatever state it is in: afterwards nobody writes there."""
    told = json.loads((run / "status.json").read_text())
    if told.get("pid"):
        end_process(Process(told["pid"], told["started"]), force=True)
        wait_until(lambda: not process_alive(told["pid"], told["started"]))


@pytest.fixture(scope="module")
def old_run(runs: Path) -> str:
    """A run that somebody else has finished, with everything that a page can show of one."""
    folder = runs / "run-00000000000000aa"
    (folder / "samples").mkdir(parents=True)
    request = TrainRequest("digits-tiny", images=9000, target_quality=0.9)
    About("A very long name that doesn’t fit", owner_hash("b" * 32), 1e9, request).write(folder)
    alarm = {"name": "collapse", "level": "warn", "signals": {"close_pairs": 0.07}, "since": 40}
    status = {"state": "finished", "finished": "budget", "images_seen": 9000, "images": 9000}
    told = status | {"alarms": [alarm], "resolution": 8, "target_quality": 0.9}
    (folder / "status.json").write_text(json.dumps(told))
    lines = "".join(json.dumps(report(90 * step)) + "\n" for step in range(1, 101))
    (folder / "metrics.jsonl").write_text(lines)
    samples = ("samples/000000000", "samples/000000500", "samples/000009000")
    for name in (*samples, "samples/between-000009000", "reals"):
        Image.effect_noise((64, 64), 90).save(folder / f"{name}.png")
    return folder.name


def report(seen: int) -> dict[str, Any]:
    """A line of metrics with all figures."""
    losses = {"loss_g": 0.7, "loss_d": 1.3, "r1": 0.02, "r2": 0.03}
    quality = {"q": seen / 1e4, "q_low": seen / 1.1e4, "q_high": seen / 9e3, "kid": 0.4}
    rest = {"floor": 0.01, "coverage": 0.5, "real_coverage": 0.97, "copies": 0.0}
    return {
        "images_seen": seen,
        "images_per_second": 90.0 + seen % 7,
        "losses": losses,
        "quality": quality | rest if seen % 900 == 0 else None,
        "histogram": {"edges": [-1, 0, 1, 2], "real": [1, 4, 9], "fake": [8, 3, 1]},
        "pair_accuracy": 0.8,
        "grad_norm_g": 1.5,
        "grad_norm_d": 2.5,
    }


class TrainPage:
    """The Train page in one browser context."""

    def __init__(self, lab: Any):
        self.lab, self.page = lab, lab.page
        self.page.set_default_timeout(PATIENCE)

    def open(self, query: str = "") -> "TrainPage":
        self.page.goto(f"{self.lab.app}/{query}#train")
        self.page.wait_for_selector("#train-command", state="attached")
        return self

    def start(self, images: int) -> str:
        """Starts a training on tiny digits; → its id."""
        self.page.locator(".data-tiles .tile-art img").nth(2).wait_for()  # all of the form is there
        self.page.locator(".data-tiles [value=digits-tiny]").check(force=True)
        self.page.locator("#train-more summary").click()
        self.page.locator("#train-images").fill(str(images))
        self.page.locator("[data-train=start]").click()
        self.page.wait_for_function("new URLSearchParams(location.search).get('run')")
        return self.page.evaluate("new URLSearchParams(location.search).get('run')")

    def wait_state(self, state: str) -> None:
        self.page.wait_for_selector(f"#train-state[data-state={state}]")

    def wait_samples(self, more_than: int = -1) -> int:
        """Waits until newer samples are painted; → the images seen then."""
        self.page.wait_for_function(
            "(seen) => Number(document.querySelector('#train-canvas').dataset.seen ?? -1) > seen",
            arg=more_than,
        )
        return int(self.page.locator("#train-canvas").get_attribute("data-seen"))

    def show(self, seen: int) -> None:
        """Moves the timeline to a picture."""
        scrub = self.page.locator("#train-scrub")
        scrub.press("Home")
        for _ in range(int(scrub.get_attribute("max"))):
            if scrub.get_attribute("aria-valuetext") == f"at {seen:,} images":
                return
            scrub.press("ArrowRight")

    def do(self, name: str) -> None:
        self.page.locator(f"[data-train={name}]").click()

    @property
    def names(self) -> list[str]:
        return self.page.locator("#train-runs b").all_text_contents()


@pytest.fixture
def train(new_lab: Callable[..., Any], training_app: str) -> TrainPage:
    return TrainPage(new_lab(url=training_app)).open()


def status(runs: Path, run: str) -> dict[str, Any]:
    return json.loads((runs / run / "status.json").read_text())


def test_who_explores_measures_no_training(new_lab: Callable[..., Any], training_app: str) -> None:
    """What one would cost is measured by a process; it begins when somebody looks at the form."""
    lab = new_lab(url=training_app)
    asked: list[Any] = []
    lab.page.on("request", lambda one: asked.append(one))  # noqa: PLW0108
    lab.open()
    lab.page.wait_for_timeout(500)
    for name in ("sight", "command", "estimate"):
        assert not any(asks(one, name) for one in asked), name
    with lab.page.expect_request(lambda one: asks(one, "estimate"), timeout=PATIENCE):
        lab.page.locator("a[data-page=train]").click()
    lab.page.locator(".data-tiles .tile-art img").first.wait_for()


@pytest.mark.slow  # a training is a process of its own that has to load first
def test_start_watch_stop_resume_finish_and_open_in_explore(train: TrainPage, runs: Path) -> None:
    page = train.page
    run = train.start(images=6000)
    first = train.wait_samples()
    train.wait_samples(more_than=first)
    page.locator("#train-chart-losses .lines path").first.wait_for(state="attached")
    train.do("stop")
    train.wait_state("stopped")
    assert status(runs, run)["state"] == "stopped"
    seen = status(runs, run)["images_seen"]
    page.reload()  # the page knows nothing but what is on disk
    train.wait_state("stopped")
    assert page.locator("[data-train=stop]").is_hidden()
    page.locator("#train-more").wait_for(state="attached")
    train.do("resume")
    train.wait_state("finished")
    assert status(runs, run)["images_seen"] >= 6000 > seen
    assert page.locator("[data-train=resume]").is_hidden()
    train.do("explore")
    page.wait_for_function("document.documentElement.dataset.page === 'explore'")
    page.wait_for_function(
        "(run) => document.querySelector('#lab-canvas').dataset.recipe?.startsWith(`m=${run}`)",
        arg=run,
    )
    chosen = page.locator("#lab-model option:checked").text_content()
    assert chosen == "digits-tiny · 8 px"
    assert "run=" not in page.evaluate("location.search")


@pytest.mark.slow  # a training is a process of its own that has to load first
def test_a_run_is_steered_all_the_way_and_forked_from_what_was_saved(
    train: TrainPage, runs: Path
) -> None:
    page = train.page
    run = train.start(images=1_000_000)
    train.wait_samples()
    train.do("pause")
    train.wait_state("paused")
    saved = status(runs, run)["images_seen"]
    train.do("save")
    page.wait_for_selector("[data-train=save]:enabled")  # not before it is written
    assert checkpoint.every(runs / run / "checkpoints")[-1].stem == f"{saved:012d}"
    page.wait_for_selector(f"#train-canvas[data-seen='{saved}']")
    page.fill("#train-budget-images", "900000")
    train.do("change")
    page.wait_for_function(FACTS_SAY, arg=f"{saved:,} of 900,000 images")
    train.do("resume")
    train.wait_state("training")
    train.do("stop")
    train.wait_state("stopped")
    stopped = status(runs, run)
    assert (stopped["images"], stopped["images_seen"] >= saved) == (900_000, True)
    train.do("resume")
    train.wait_state("training")
    train.do("save")  # heard though the numbers of its orders are those of another process
    page.wait_for_selector("[data-train=save]:enabled")
    kept = int(checkpoint.every(runs / run / "checkpoints")[-1].stem)
    assert kept >= stopped["images_seen"]
    train.show(kept)
    train.do("fork")
    page.locator("#train-fork-at").select_option(str(kept))  # newer ones may have come
    page.locator("#train-loss").select_option("hinge")
    train.do("start")
    train.wait_state("queued")  # one trains at a time
    forked = page.evaluate("new URLSearchParams(location.search).get('run')")
    train.open(f"?run={run}")
    train.do("stop")
    train.wait_state("stopped")
    train.open(f"?run={forked}")
    train.wait_state("training")
    page.wait_for_function(FACTS_SAY, arg=" images/s")
    about = About.read(runs / forked)
    assert about is not None
    assert about.forked_from is not None
    assert (about.forked_from["run"], about.forked_from["images_seen"]) == (run, kept)
    assert f"at {kept:,} images, a checkpoint" in page.locator("#train-origin").text_content()
    config, _ = RunDirectory(runs / forked).read_config()
    assert (config.loss, config.warm_start) == ("hinge", None)
    assert status(runs, forked)["images_seen"] >= kept
    train.do("stop")
    train.wait_state("stopped")


FACTS_SAY = "(text) => document.querySelector('#train-facts').textContent.includes(text)"


@pytest.mark.slow  # a training is a process of its own that has to load first
def test_a_reload_in_mid_training_loses_nothing_and_a_stranger_only_watches(
    train: TrainPage, new_lab: Callable[..., Any], training_app: str, runs: Path
) -> None:
    run = train.start(images=200_000)
    seen = train.wait_samples()
    train.page.reload()
    train.wait_state("training")
    assert train.wait_samples() >= seen
    assert train.page.locator("[data-train=stop]").is_visible()
    other = TrainPage(new_lab(url=training_app)).open()
    other.page.wait_for_function("document.querySelector('[data-train=new]').ariaCurrent")
    assert other.names == []
    other.open(f"?run={run}")
    other.wait_state("training")
    for name in ("stop", "pause", "save", "resume", "download-run"):
        assert other.page.locator(f"[data-train={name}]").is_hidden()
    assert other.page.locator("#train-name").get_attribute("readonly") is not None
    assert "you are watching" in (other.page.locator("#train-facts").text_content() or "")
    train.do("pause")
    train.wait_state("paused")
    other.wait_state("paused")
    train.do("stop")
    train.wait_state("stopped")
    with train.page.expect_download() as download:
        train.do("menu")
        train.do("download-run")
    assert download.value.suggested_filename == f"{run}.zip"
    train.do("menu")
    train.do("delete")
    train.page.locator(".toast button").first.click()
    train.wait_state("stopped")


@pytest.mark.slow  # a training is a process of its own that has to load first
def test_the_projector_view_shows_timeline_quality_and_lamps(
    train: TrainPage, tmp_path: Path
) -> None:
    page = train.page
    train.start(images=3000)
    train.wait_state("finished")
    train.do("project")
    for shown in (".timeline", ".quality", ".lamps", "[data-train=leave]"):
        assert page.locator(shown).is_visible()
    assert page.locator(".beside").is_hidden()
    assert page.screenshot(path=tmp_path / "projector.png")
    train.do("leave")
    page.locator(".beside").wait_for()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080)])
def test_the_projector_view_fits_the_screen(
    new_lab: Callable[..., Any], training_app: str, old_run: str, width: int, height: int
) -> None:
    """The sheet lost its last row, the way out lay over a long name's state, and on a low screen
    the chart over its legend."""
    train = TrainPage(new_lab(width, height, url=training_app)).open(f"?run={old_run}")
    page = train.page
    train.wait_state("finished")
    train.wait_samples()
    train.do("project")
    page.wait_for_function("document.fullscreenElement !== null")
    page.wait_for_timeout(500)  # what full screen changes is laid out
    inside = [(".quality .chart", ".quality"), (".timeline .sheet-frame", ".timeline")]
    for part, whole in [*inside, (".lamps ul", ".lamps"), (".scrub", ".timeline")]:
        one, around = (page.locator(each).bounding_box() for each in (part, f".card{whole}"))
        assert around["y"] <= one["y"] <= one["y"] + one["height"] <= around["y"] + around["height"]
    frame = page.locator(".timeline .sheet-frame").bounding_box()
    assert abs(frame["width"] - frame["height"]) < 1, "as square as the eight rows"
    state, leave = page.locator("#train-state"), page.locator("[data-train=leave]")
    right_end = state.bounding_box()["x"] + state.bounding_box()["width"]
    assert right_end <= leave.bounding_box()["x"]
    small = page.locator("#train-q-interval").evaluate("(one) => getComputedStyle(one).fontSize")
    assert float(small.removesuffix("px")) >= 15
    if height > 800:  # what a calm lamp says: its name alone reads like an alarm
        assert page.locator("#train-lamps [data-level=calm] p").first.is_visible()


def test_where_training_is_off_the_page_says_how_it_is_switched_on(lab: Any) -> None:
    lab.page.locator("nav.pages a[data-page=train]").click()
    off = lab.page.locator("#train-off")
    off.wait_for()
    assert "LATENT_LAB_TRAINING=on" in (off.text_content() or "")
    assert lab.page.locator("#train-form").is_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_form_and_a_run_fit_and_can_be_read(
    new_lab: Callable[..., Any],
    training_app: str,
    old_run: str,
    theme: str,
    width: int,
    tmp_path: Path,
) -> None:
    lab = new_lab(width, 844, url=training_app, color_scheme=theme)
    train = TrainPage(lab).open()
    page = train.page
    page.locator(".data-tiles img").first.wait_for()
    page.locator("#train-more summary").click()
    page.locator(".data-tiles [value=own]").check(force=True)
    assert_fits(lab, width)
    assert page.evaluate(CONTRAST) == []
    assert page.screenshot(path=tmp_path / "form.png")
    train.open(f"?run={old_run}")
    train.wait_state("finished")
    train.wait_samples()
    assert_fits(lab, width)
    assert page.evaluate(CONTRAST) == []
    assert page.screenshot(path=tmp_path / "run.png")


def test_a_run_is_watched_as_its_files_tell_it(
    new_lab: Callable[..., Any], training_app: str, old_run: str
) -> None:
    train = TrainPage(new_lab(url=training_app)).open(f"?run={old_run}")
    page = train.page
    train.wait_state("finished")
    assert train.wait_samples() == 9000
    assert page.locator("#train-q").text_content() == "0.90"
    page.locator("#train-scrub").press("ArrowLeft")
    page.wait_for_selector("#train-canvas[data-seen='500']")
    train.do("play")  # from here to the end, where it follows the training again
    page.wait_for_selector("#train-canvas[data-seen='9000']")
    page.wait_for_selector("[data-train=play][aria-pressed=false]")
    levels = page.locator("#train-lamps li").evaluate_all(
        "(all) => all.map((o) => o.dataset.level)"
    )
    assert levels == ["warn", "calm", "calm", "calm", "calm"]
    lit = page.locator("#train-lamps li").first.text_content() or ""
    assert "share of pairs too close 0.07" in lit
    assert page.locator("#train-chart-logits .real path").count() == 1
    page.locator("[name=train-beside][value=between]").check(force=True)
    page.wait_for_selector("#train-beside[src$='/between-000009000.png']")
    asked: list[Any] = []
    page.on("request", lambda one: asked.append(one))  # noqa: PLW0108
    page.wait_for_timeout(5000)
    looks = [each for each in asked if asks(each, "look")]  # Explore may draw its strips
    assert len(looks) <= 1, "a run that is over is seldom asked about"


@pytest.fixture
def own_run(train: TrainPage, runs: Path) -> Iterator[str]:
    """A run of the page's person that has failed before its first picture."""
    token = train.page.evaluate("localStorage.getItem('latent-lab.token.v1')")
    folder = runs / "run-00000000000000bb"
    folder.mkdir()
    About("mine", owner_hash(token), 2e9, TrainRequest("digits-tiny", images=9000)).write(folder)
    (folder / "status.json").write_text(json.dumps({"state": "failed", "damaged": ["5.x"]}))
    yield folder.name
    end_training(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("width", [390, 1280])
def test_what_has_ended_goes_on_and_what_was_deleted_comes_back(
    train: TrainPage, runs: Path, own_run: str, width: int
) -> None:
    page = train.page
    page.set_viewport_size({"width": width, "height": 844})
    train.open(f"?run={own_run}")
    train.wait_state("failed")
    notice = page.locator("#train-notice-text").text_content() or ""
    assert "5.x" in notice
    assert "Resume begins it anew" in notice
    assert page.locator("#train-budget").is_visible()
    assert_fits(train.lab, width)
    assert page.evaluate(CONTRAST) == []
    train.do("menu")
    train.do("delete")
    page.wait_for_selector("#train-deleted:not([hidden])")
    page.locator("#train-deleted summary").click()
    assert_fits(train.lab, width)
    restore = page.get_by_role("button", name="Restore: mine")
    label = page.locator("#train-deleted-runs span")
    label.evaluate("(one) => (one.textContent += ' mine'.repeat(40))")
    restore.evaluate("(one) => (one.textContent = '恢复')")  # a line may end between the two
    assert restore.evaluate("(one) => one.scrollHeight <= one.clientHeight"), "in one line"
    restore.click()
    train.wait_state("failed")
    page.wait_for_selector("#train-deleted", state="hidden")
    page.fill("#train-more-minutes", "2")
    train.do("go-on")
    train.wait_state("training")
    about = About.read(runs / own_run)
    assert about is not None
    assert about.request.minutes == 2
    train.do("stop")
    train.wait_state("stopped")


def test_a_run_that_is_gone_leaves_who_has_gone_on_alone(train: TrainPage) -> None:
    page = train.page
    held = Held(page, "look")
    page.goto(f"{train.lab.app}/?run=run-00000000000000ff#train")
    held.wait(1)
    page.locator("[data-train=new]").click()
    page.locator("#train-form").wait_for()
    held.let_go(0)
    held.wait(2)  # what the form asks is asked after that answer was heard
    assert page.evaluate("saidInPassing") == []
    assert page.locator("#train-form").is_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_run_and_a_form_are_read_from_the_top(train: TrainPage, own_run: str, width: int) -> None:
    page = train.page
    page.set_viewport_size({"width": width, "height": 500})
    train.open(f"?run={own_run}")
    train.wait_state("failed")
    assert page.evaluate(TO_THE_END) > 100
    page.locator("[data-train=new]").dispatch_event("click")  # a phone's list is far above
    page.wait_for_selector("#train-form:not([hidden])")
    assert page.locator("#train-form h1").bounding_box()["y"] > 0
    page.locator("#train-more summary").click()
    assert page.evaluate(TO_THE_END) > 100
    page.locator("#train-runs button").first.dispatch_event("click")
    page.wait_for_selector("#train-watch:not([hidden])")
    assert page.locator("#train-name").bounding_box()["y"] > 0


TO_THE_END = """() => {
  const [main, page] = [".train-main", "#page-train"].map((one) => document.querySelector(one));
  for (const one of [main, page]) one.scrollTo(0, one.scrollHeight);
  return main.scrollTop + page.scrollTop;
}"""


@pytest.fixture
def forked(own_run: str, runs: Path) -> Iterator[str]:
    """A run that was forked from the person's own, of which a moment and a checkpoint are there."""
    parent, folder = runs / own_run, runs / "run-00000000000000cc"
    for name in ("moments/000000500/", "checkpoints/000000000900.safetensors"):
        place = parent / name
        place.parent.mkdir()
        place.mkdir() if name.endswith("/") else place.touch()
    about = About.read(parent)
    assert about is not None
    origin = {"run": own_run, "name": "mine", "images_seen": 900, "kind": "checkpoint"}
    folder.mkdir()
    replace(about, name="branch", forked_from=origin).write(folder)
    (folder / "status.json").write_text(json.dumps({"state": "stopped", "images_seen": 900}))
    yield folder.name
    shutil.rmtree(folder)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_fork_says_where_it_comes_from_and_offers_every_place(
    train: TrainPage, forked: str, own_run: str, width: int, new_lab: Any, training_app: str
) -> None:
    page = train.page
    page.set_viewport_size({"width": width, "height": 844})
    train.open(f"?run={forked}")
    train.wait_state("stopped")
    told = "Forked from mine at 900 images, a checkpoint: everything went on from there"
    assert page.locator("#train-origin").text_content() == told
    assert_fits(train.lab, width)
    stranger = TrainPage(new_lab(url=training_app)).open(f"?run={forked}").page
    stranger.wait_for_selector("#train-origin:not([hidden])")
    assert stranger.locator("#train-origin").text_content() == told
    assert stranger.locator("#train-origin a").count() == 0, "a link to it is its owner's to give"
    page.locator("#train-origin a").click()
    train.wait_state("failed")
    assert f"run={own_run}" in page.url
    train.do("fork")
    places = page.locator("#train-fork-at")
    page.wait_for_selector("#train-fork:not([hidden])")
    offered = places.locator("option").all_text_contents()
    assert offered == ["500 images · kept moment", "900 images · checkpoint"]
    assert places.input_value() == "900"
    assert 0 < places.bounding_box()["y"] < 844, "in sight"
    assert page.locator("#train-data").is_hidden(), "a checkpoint goes on with the same pictures"
    assert_fits(train.lab, width)
    assert page.evaluate(CONTRAST) == []
    places.select_option("500")
    page.locator("#train-data").wait_for()
    assert page.locator("#train-warm").is_hidden()
    assert "warm start" in page.locator("#train-fork-hint").text_content()
    train.do("new")
    page.wait_for_selector("#train-fork", state="hidden")


def test_what_a_training_can_begin_with_is_what_is_here_now(
    train: TrainPage, models: Path, own_run: str, runs: Path
) -> None:
    page, later = train.page, models / "later"
    later.mkdir()
    try:
        for name in ("model.safetensors", "config.json"):
            shutil.copy(models / "tiny" / name, later)
        (later / "discriminator.safetensors").touch()
        (runs / own_run / "status.json").write_text('{"state": "stopped", "images_seen": 900}')
        page.evaluate("location.hash = '#about'")
        page.evaluate("location.hash = '#train'")
        for name in ("later", own_run):
            page.wait_for_selector(f"#train-warm option[value='{name}']", state="attached")
        assert page.locator("#train-warm option[value=tiny]").count() == 0, "half of it isn't there"
    finally:
        shutil.rmtree(later)


def test_a_double_click_starts_one_training(train: TrainPage, runs: Path) -> None:
    page = train.page
    before = set(runs.glob("run-*"))
    page.locator("#train-more summary").click()
    page.locator("#train-lesson").select_option("collapse")
    assert page.locator("#train-loss").input_value() == "nonsaturating"
    assert page.locator("#train-loss").is_disabled()
    assert page.locator("#train-minutes").input_value() == "5"
    button = "document.querySelector('[data-train=start]')"
    page.evaluate(f"() => {{ {button}.click(); {button}.click(); }}")
    train.wait_state("training")
    train.do("stop")
    train.wait_state("stopped")
    assert len(set(runs.glob("run-*")) - before) == 1


def test_in_chinese_the_page_stays_chinese(
    new_lab: Callable[..., Any], training_app: str, old_run: str
) -> None:
    train = TrainPage(new_lab(url=training_app, locale="zh-CN")).open()
    train.page.locator(".data-tiles img").first.wait_for()
    texts = train.page.evaluate(WORDS)
    train.open(f"?run={old_run}")
    train.wait_state("finished")
    texts += train.page.evaluate(WORDS)
    english = {each for each in texts if re.search(r"[A-Za-z]{3,}", each)}
    assert {each for each in english if not CHINESE.search(each)} <= {"owner/name"}
    assert not [each for each in texts if "digits" in each], "the data has a name in Chinese"
    assert len(texts) > 100


WORDS = """() => {
  const texts = [];
  for (const one of document.querySelectorAll(".train, .train *")) {
    for (const name of ["title", "aria-label", "alt", "placeholder"]) {
      if (one.getAttribute(name)) texts.push(one.getAttribute(name));
    }
    if (one.closest("select, svg, .command")) continue;
    const words = [...one.childNodes].filter((node) => node.nodeType === 3);
    texts.push(...words.map((node) => node.textContent.trim()));
  }
  return texts.filter(Boolean);
}"""
