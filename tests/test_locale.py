"""gan.locale: the tables are complete in both languages, and say what the sources ask for."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan import locale
from gan.locale import LANGUAGES, MissingText, choose_language, table, text

PROJECT = Path(__file__).parents[1]
AREAS = sorted((PROJECT / "gan" / "locale" / "texts").glob("*.json"))
PLACEHOLDER = re.compile(r"\{(\w+)\}")
COMMENT = re.compile(r"^\s*(?://|/\*|\*|<!--).*$", re.MULTILINE)  # in JavaScript and HTML
KEY = re.compile(r"(?:error|cli|explore|train|about)\.[\w.-]*\w")
FILE = re.compile(r".*\.(?:py|js|css|html|json|svg|png)")
CHINESE = re.compile(r"[\u4e00-\u9fff]")

# What a Chinese text may leave as it is: names, and the field's own notation.
NAMES = [
    *("Latent Lab", "English", "PyTorch", "Gradio", "StyleGAN2", "GitHub", "Hugging Face"),
    *("Python", "PNG", "JPEG", "JSON", "URL", "API", "Apache-2.0", "CC BY 4.0", "DiceBear"),
    *("MNIST", "GAN", "PCA", "KID", "FID", "psi", "lerp", "slerp", "ms", "px"),
]


@dataclass
class Uses:
    """What the sources ask for: error codes and keys with the values given (None: unknown)."""

    errors: list[tuple[str, str, set[str] | None]] = field(default_factory=list)
    texts: list[tuple[str, str, set[str] | None]] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)  # where a code can't be read off
    literals: set[str] = field(default_factory=set)


def pairs(path: Path) -> list[tuple[str, dict[str, str]]]:
    """A table as it is written, doubles included."""
    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda found: found)


def entries() -> dict[str, dict[str, str]]:
    return {key: dict(entry) for path in AREAS for key, entry in pairs(path)}


def each_text() -> Iterator[tuple[str, str, str]]:
    for key, entry in entries().items():
        for lang in LANGUAGES:
            yield key, lang, entry.get(lang, "")


def sources(*endings: str) -> Iterator[Path]:
    yield from (path for ending in endings for path in PROJECT.glob(f"*.{ending}"))
    yield from (
        path for ending in endings for path in sorted((PROJECT / "gan").rglob(f"*.{ending}"))
    )


# The tables


def test_keys_are_dotted_and_appear_once() -> None:
    keys = [key for path in AREAS for key, _ in pairs(path)]
    assert keys
    assert sorted({key for key in keys if keys.count(key) > 1}) == []
    assert [key for key in keys if not re.fullmatch(r"[a-z][\w-]*(\.[\w-]+)+", key)] == []


def test_errors_are_in_their_own_areas() -> None:
    strays = [
        (path.name, key)
        for path in AREAS
        for key, _ in pairs(path)
        if key.startswith("error.") != path.name.startswith("errors")
    ]
    assert strays == []


def test_every_text_is_there_in_every_language_and_no_other() -> None:
    assert [key for key, entry in entries().items() if set(entry) != set(LANGUAGES)] == []
    assert [(key, lang) for key, lang, said in each_text() if not said.strip()] == []


def test_placeholders_agree_between_languages() -> None:
    differing = [
        key
        for key, entry in entries().items()
        if len({frozenset(PLACEHOLDER.findall(said)) for said in entry.values()}) > 1
    ]
    assert differing == []


def test_braces_are_only_placeholders() -> None:
    broken = [
        (key, lang) for key, lang, said in each_text() if set("{}") & set(PLACEHOLDER.sub("", said))
    ]
    assert broken == []


def words_to_translate(english: str) -> list[str]:
    """The English words that are neither names, nor notation, nor placeholders, nor addresses."""
    plain = re.sub(r"https?://\S+", "", PLACEHOLDER.sub("", english))
    for name in NAMES:
        plain = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "", plain)
    return re.findall(r"[A-Za-z]{2,}", plain)


def test_chinese_texts_are_chinese_and_english_ones_are_not() -> None:
    untranslated = [
        key
        for key, entry in entries().items()
        if words_to_translate(entry["en"]) and not CHINESE.search(entry["zh"])
    ]
    assert untranslated == []
    foreign = [
        key
        for key, entry in entries().items()
        if CHINESE.search(entry["en"].replace("简体中文", "").replace("中文", ""))
        and entry["en"] != entry["zh"]  # the label that has to be there in both at once
    ]
    assert foreign == []


def test_chinese_uses_its_own_punctuation() -> None:
    slips = [
        (key, said)
        for key, lang, said in each_text()
        if lang == "zh" and re.search(r"[\u4e00-\u9fff][,;!?]", said)
    ]
    assert slips == []


# What the sources ask for


@cache
def uses() -> Uses:
    found = Uses()
    for path in sources("py"):
        where = path.relative_to(PROJECT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                note_call(found, node, where)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.literals.add(node.value)
    for path in sources("js", "html"):
        content = COMMENT.sub("", path.read_text(encoding="utf-8"))
        where = path.relative_to(PROJECT).as_posix()
        asked = re.findall(r"""(?<![\w.$])t\(\s*["']([^"'`]+)["']""", content)
        asked += re.findall(r"""data-text[-\w]*=["']([^"'{$]+)["']""", content)
        found.texts += [(key, where, None) for key in asked if not key.endswith((".", "_"))]
        found.literals.update(re.findall(r"""["'`]([a-z][\w.-]*?)(?:["'`]|\$\{)""", content))
    return found


def note_call(found: Uses, call: ast.Call, where: str) -> None:
    called = ast.unparse(call.func)
    literals = [
        node.value
        for node in ast.walk(call.args[0])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    given: set[str] | None = {keyword.arg for keyword in call.keywords if keyword.arg}
    if any(keyword.arg is None for keyword in call.keywords):
        given = None  # **values
    if called in ("LabError", "errors.LabError"):
        found.errors += [(code, where, given) for code in literals]
        if not literals and where != "gan/errors.py":
            found.computed.append(f"{where}:{call.lineno}")
    elif called in ("text", "locale.text") and isinstance(call.args[0], ast.Constant):
        found.texts += [(key, where, given) for key in literals]
    else:  # a wrapper, whose values we don't know
        keys = [key for key in literals if KEY.fullmatch(key) and not FILE.fullmatch(key)]
        found.texts += [(key, where, None) for key in keys]


def test_every_error_raised_has_a_text_and_its_values() -> None:
    known = entries()
    assert [use for use in uses().errors if f"error.{use[0]}" not in known] == []
    assert uses().computed == [], "a code is written where it is raised, so that it can be found"
    unfilled = [
        (code, where, wanted - given)
        for code, where, given in uses().errors
        if given is not None
        for wanted in [set(PLACEHOLDER.findall(known[f"error.{code}"]["en"]))]
        if wanted - given
    ]
    assert unfilled == []


def test_every_text_asked_for_is_there_and_gets_its_values() -> None:
    known = entries()
    assert [use for use in uses().texts if use[0] not in known] == []
    unfilled = [
        (key, where, wanted - given)
        for key, where, given in uses().texts
        if given is not None
        for wanted in [set(PLACEHOLDER.findall(known[key]["en"]))]
        if wanted - given
    ]
    assert unfilled == []


def test_no_text_is_unused() -> None:
    raised = {f"error.{code}" for code, _, _ in uses().errors}
    literals = uses().literals
    # A key may be put together from a prefix, "explore.step." + name, but not from its area alone.
    prefixes = tuple(
        word for word in literals if word.endswith((".", "_")) and "." in word.rstrip("._")
    )
    unused = [
        key
        for key in entries()
        if key not in raised and key not in literals and not key.startswith(prefixes)
    ]
    assert unused == []


# The functions


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"a.greeting": {"en": "Hello {name}, {count} times", "zh": "{name} 你好，{count} 次"}}
    monkeypatch.setattr(locale, "_entries", lambda: made)


def test_text_is_filled_in_the_language_asked_for(example: None) -> None:
    assert text("a.greeting", name="Ada", count=3) == "Hello Ada, 3 times"
    assert text("a.greeting", "zh", name="Ada", count=3) == "Ada 你好，3 次"
    assert text("a.greeting", "xx", name="Ada", count=3) == "Hello Ada, 3 times"


@pytest.mark.parametrize("value", ["{count}", "{name}", "{", "}}", "\\1", "%s", "{0.__class__}"])
def test_a_value_is_never_read_as_a_template(example: None, value: str) -> None:
    assert text("a.greeting", name=value, count=1) == f"Hello {value}, 1 times"


def test_what_is_missing_warns_and_is_shown(example: None) -> None:
    with pytest.warns(MissingText, match=r"a\.farewell"):
        assert text("a.farewell") == "a.farewell"
    with pytest.warns(MissingText, match="count"):
        assert text("a.greeting", name="Ada") == "Hello Ada, {count} times"


def test_the_tables_have_the_same_keys_and_are_copies() -> None:
    english = table("en")
    assert set(english) == set(table("zh")) == set(entries())
    english.clear()
    assert table("en")


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        (None, "en"),
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("de-DE,de;q=0.9,zh;q=0.5,en;q=0.4", "zh"),
        ("ZH-hant-TW", "zh"),
        ("fr, ja;q=0.8", "en"),
        ("zh;q=0, en;q=0.1", "en"),
        ("zh; q=0.5, en; q=0.7", "en"),
        ("zh;q=often", "en"),
        ("*", "en"),
    ],
)
def test_the_language_follows_the_browser(header: str | None, lang: str) -> None:
    assert choose_language(header) == lang


@given(st.text(alphabet="zhen-,;q=0.19 *\t", max_size=60))
def test_no_header_can_break_it(header: str) -> None:
    assert choose_language(header) in LANGUAGES
