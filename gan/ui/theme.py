"""The look: one Gradio theme for what is Gradio's, and the document's head for all that is ours.

System fonts only and nothing fetched from elsewhere. Our own colours are CSS variables in
`live/shell.css`; the theme hands the same variables to Gradio's components, so that there is one
palette, in light and in dark.
"""

import json

from gradio.themes import Base
from gradio.themes.utils import sizes

from gan import locale
from gan.ui import bundle

SANS = (
    *("-apple-system", "BlinkMacSystemFont", "Segoe UI", "Roboto", "Helvetica Neue", "Arial"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"),
)
MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Menlo", "Consolas", "Liberation Mono")

STYLES = ("shell.css", "explore.css", "beside.css", "models.css", "train.css", "about.css")


def theme() -> Base:
    """Gradio's own components in our colours, with more room and fewer boxes."""
    base = Base(font=SANS, font_mono=MONO, text_size=sizes.text_md, radius_size=sizes.radius_lg)
    look = {
        "body_background_fill": "var(--paper)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--ink-2)",
        "background_fill_primary": "var(--paper)",
        "background_fill_secondary": "var(--paper)",
        "block_background_fill": "var(--surface)",
        "block_border_width": "0px",
        "block_shadow": "none",
        "block_label_text_color": "var(--ink-2)",
        "block_title_text_color": "var(--ink)",
        "border_color_primary": "var(--line)",
        "border_color_accent": "var(--accent)",
        "color_accent": "var(--accent)",
        "color_accent_soft": "var(--accent-soft)",
        "input_background_fill": "var(--surface)",
        "input_border_color": "var(--line)",
        "input_border_color_focus": "var(--accent)",
        "slider_color": "var(--accent)",
        "link_text_color": "var(--accent-ink)",
        "button_primary_background_fill": "var(--accent)",
        "button_primary_background_fill_hover": "var(--accent-ink)",
        "button_primary_text_color": "var(--on-accent)",
        "button_secondary_background_fill": "var(--surface)",
        "button_secondary_background_fill_hover": "var(--hover)",
        "button_secondary_border_color": "var(--line)",
        "button_secondary_text_color": "var(--ink)",
    }
    # The variables change with light and dark by themselves: both get the same names.
    both = look.keys() - {"block_border_width", "color_accent"}
    dark = {f"{name}_dark": look[name] for name in both}
    return base.set(**look, **dark)


def head() -> str:
    """Styles, texts in every language, and the shell, for the document's head."""
    texts = {lang: locale.table(lang) for lang in locale.LANGUAGES}
    styles = "\n".join(bundle.read(name) for name in STYLES)
    start = "window.LatentLab = startShell(window.LatentLabTexts);"
    return "\n".join(
        [
            '<meta name="color-scheme" content="light dark">',
            f"<style>{styles}</style>",
            f"<script>window.LatentLabTexts = {_in_script(texts)};</script>",
            f"<script>(() => {{\n{bundle.script('shell.js', start)}}})();</script>",
        ]
    )


def _in_script(value: object) -> str:
    """JSON that can't end the script it stands in."""
    return json.dumps(value, ensure_ascii=False).replace("</", "<\\/")
