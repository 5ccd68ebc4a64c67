"""gan.ui: what the page is made of fits together, and nothing of it comes from elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr
import pytest

from gan.locale import LANGUAGES, table
from gan.ui import bundle, theme
from gan.ui.build import build_app, launch_options, serve
from gan.ui.explore import space_name
from tests.waiting import wait_until

SCRIPTS = ["explore.js", "train.js", "shell.js"]
MARKUP = ["icons.html", "header.html", "explore.html", "train.html", "about.html"]
FIRST = {
    "recipe": {"model": "tiny", "seed": 0},
    "models": [{"name": "tiny", "num_ws": 8, "layers": [4] * 8, "classes": None}],
    "image": "data:image/png;base64,AAAA",
}
PUBLIC = {"generate", "interpolate", "directions", "edit", "models"}


def live_files(*endings: str) -> list[Path]:
    return [path for path in sorted(bundle.LIVE.iterdir()) if path.suffix in endings]


# The script


@pytest.mark.parametrize("entry", SCRIPTS)
def test_the_bundle_is_one_script_that_a_browser_can_read(entry: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    script = tmp_path / "script.js"
    script.write_text(f"(() => {{ {bundle.script(entry, '')} }});", encoding="utf-8")
    subprocess.run([node, "--check", script], check=True, capture_output=True)
    assert not re.search(r"^\s*(import|export)\b", script.read_text("utf-8"), re.MULTILINE)


def test_a_module_comes_after_those_that_it_imports() -> None:
    script = bundle.script("explore.js", "")
    order = re.findall(r"modules\['([\w.]+)'\] = ", script)
    assert order[-1] == "explore.js"
    assert len(order) == len(set(order))
    for place, name in enumerate(order):
        for imported in re.findall(r'from "\./([\w.]+)"', bundle.read(name)):
            assert order.index(imported) < place


def test_modules_that_import_each_other_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.js").write_text('import { b } from "./two.js";\nexport const a = 1;\n')
    (tmp_path / "two.js").write_text('import { a } from "./one.js";\nexport const b = 1;\n')
    monkeypatch.setattr(bundle, "LIVE", tmp_path)
    with pytest.raises(ValueError, match=r"one\.js → two\.js → one\.js"):
        bundle.script("one.js", "")


def test_every_module_is_used() -> None:
    used = {name for entry in SCRIPTS for name in re.findall(r"\w+\.js", bundle.script(entry, ""))}
    assert {path.name for path in live_files(".js")} - used == set()


def test_what_the_scripts_look_for_is_in_the_markup() -> None:
    markup = "".join(bundle.read(name) for name in MARKUP)
    scripts = "".join(path.read_text("utf-8") for path in live_files(".js"))
    wanted = set(re.findall(r'\$\(\s*"([#.][\w-]+)', scripts))
    for kind in ("do", "train"):
        names = re.findall(rf"\[data-{kind}=([\w-]+)\]", scripts)
        wanted |= {f'data-{kind}="{name}"' for name in names}
    assert len(wanted) > 30
    names = set(re.findall(r"(?:class|id)=\"([^\"]+)\"", markup))
    known = {word for name in names for word in name.split()}
    missing = [one for one in wanted if one.lstrip("#.") not in known and one not in markup]
    assert missing == []


def test_every_button_does_something() -> None:
    deeds = "".join(bundle.read(f"{name}.js") for name in ("deeds", "controls", "models"))
    offered = set(re.findall(r'data-do="([\w-]+)"', bundle.read("explore.html")))
    steps = {f"{seed}-{how}" for seed in ("seed", "seed2") for how in ("less", "more", "dice")}
    known = set(re.findall(r'^ {4}"?([\w-]+)"?[,:]', deeds, re.MULTILINE)) | steps
    known |= set(re.findall(r"\[data-do=([\w-]+)\]", deeds))
    assert len(offered) > 20
    assert offered - known == set()


def test_every_button_of_the_train_page_does_something() -> None:
    scripts = "".join(path.read_text("utf-8") for path in live_files(".js"))
    offered = set(re.findall(r'data-train="([\w-]+)"', bundle.read("train.html")))
    known = set(re.findall(r'^ {4}"?([\w-]+)"?[,:]', bundle.read("train_deeds.js"), re.MULTILINE))
    known |= set(re.findall(r"\[data-train=([\w-]+)\]\"\)\.addEventListener", scripts))
    for name in ("train_publish.js", "train_rent.js"):  # dialogs with deeds of their own
        deeds = bundle.read(name).split("const deeds = {")[1].split("};")[0]
        known |= set(re.findall(r'^ {4}"?([\w-]+)"?[,:]', deeds, re.MULTILINE))
    submits = r'type="submit"[^>]*data-train="([\w-]+)"'  # their forms listen
    known |= set(re.findall(submits, bundle.read("train.html")))
    known |= {"pause", "resume", "save", "stop"}  # the orders, by their names
    assert len(offered) > 20
    assert offered - known == set()


def test_icons_that_are_shown_are_drawn() -> None:
    drawn = set(re.findall(r'id="(i-\w+)"', bundle.read("icons.html")))
    every = "".join(path.read_text("utf-8") for path in live_files(".js", ".html"))
    assert set(re.findall(r"#(i-\w+)", every)) == drawn


# The markup and the styles


@pytest.mark.parametrize("name", MARKUP)
def test_gradio_takes_the_markup_as_it_is(name: str) -> None:
    """It reads templates as Handlebars, then as a JavaScript template string."""
    markup = bundle.read(name)
    assert not re.search(r"\{\{|`|\\|<script", markup)
    assert set(re.findall(r"\$\{(\w+)", markup)) <= {"first"}


def test_nothing_is_fetched_from_elsewhere() -> None:
    names = re.compile(r"https?://[^\s\"')]+|@import|url\(")
    allowed = {"https://huggingface.co/spaces/<owner>/<name>.", "https://huggingface.co"}
    allowed |= {"http://www.w3.org/2000/svg"}  # a name, not a place
    every = "".join(path.read_text("utf-8") for path in live_files(".js", ".css", ".html"))
    assert {found.rstrip(",;") for found in names.findall(every)} <= allowed
    look = theme.theme()
    assert set(re.findall(r"https?://[^/]+", look._get_theme_css())) <= {"http://www.w3.org"}
    assert look._stylesheets == []


def test_colours_are_named_once_and_exist() -> None:
    styles = "".join(path.read_text("utf-8") for path in live_files(".css"))
    used = set(re.findall(r"var\((--[\w-]+)", styles + Path(theme.__file__).read_text("utf-8")))
    given = set(re.findall(r"(--[\w-]+):", styles)) | {"--from", "--to", "--length"}
    given |= {"--seconds", "--share", "--done"}
    assert used - given == set()
    light, dark = bundle.read("shell.css").split(':root[data-theme="dark"]')[:2]
    of = re.compile(r"(--[\w-]+): (?:#|0 )")
    assert set(of.findall(dark.split("}")[0])) == set(of.findall(light.split("}")[0]))


def test_the_head_carries_every_text_and_no_text_can_end_it() -> None:
    head = theme.head()
    found = re.search(r"window\.LatentLabTexts = (.*);</script>", head)
    assert found
    assert json.loads(found[1].replace("<\\/", "</")) == {lang: table(lang) for lang in LANGUAGES}
    assert "</script>" not in theme._in_script("</script><b>")


# The app


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    return build_app(FIRST)


def test_only_the_public_verbs_are_public(demo: gr.Blocks) -> None:
    handlers = demo.config.get("dependencies", [])
    public = {each["api_name"] for each in handlers if each.get("api_visibility") == "public"}
    assert public == PUBLIC


def test_the_first_picture_travels_with_the_page(demo: gr.Blocks) -> None:
    (page,) = [
        each
        for each in demo.config.get("components", [])
        if each["props"].get("elem_id") == "explore"
    ]
    props = page["props"]["props"]
    assert props["first"] == FIRST["image"]
    assert props["start"]["recipe"] == FIRST["recipe"]
    wanted = {"draw", "directions", "strip", "export", "read", "explore"}
    assert set(page["props"]["server_fns"]) >= wanted


def test_options_that_keep_the_page_quick_and_private() -> None:
    options = launch_options()
    assert options["run_history"] is False, "it copies every answer into the browser's storage"
    assert options["enable_monitoring"] is False
    assert options["footer_links"] == []


def test_a_server_at_rest_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio alone would look into its queue a thousand times a second, and a hundred times for
    progress."""
    demo, looks = build_app(FIRST), []
    queue = type(demo._queue)
    count = queue.__len__
    monkeypatch.setattr(queue, "__len__", lambda each: looks.append(1) or count(each))

    usual = demo._queue.progress_update_sleep_when_free  # there under this name
    serve(demo, block=False, quiet=True, ssr_mode=False)
    try:
        wait_until(lambda: looks)
        looks.clear()
        time.sleep(1)
        assert len(looks) <= 100
        wait_until(lambda: looks)
        assert demo._queue.progress_update_sleep_when_free > usual
    finally:
        demo.close(verbose=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--model", "no-such-model"], "There is no model “no-such-model”"),
        (["--device", "abacus"], "There is no device “abacus”"),
    ],
)
def test_a_bad_flag_is_answered_in_one_line(flags: list[str], told: str, project: Path) -> None:
    command = [sys.executable, "app.py", *flags]
    environment = os.environ | {"PYTHONUTF8": "1"}
    done = subprocess.run(
        command,
        check=False,
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_space_is_known_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert space_name() == ""
    monkeypatch.setenv("SPACE_ID", "owner/lab")
    assert space_name() == "owner/lab"
