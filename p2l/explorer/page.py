"""The Gradio page: its inputs and buttons, and when each part is drawn."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import gradio as gr

from p2l.errors import ConfigError, P2LError, PromptError
from p2l.explorer.prices import Prices
from p2l.explorer.session import BEST, SECOND_BEST, TURN_BREAK, Controls, Explorer, RankedPrompt, read_prompt
from p2l.explorer.views import message
from p2l.html import Html, join, tag
from p2l.models.predictor import Predictor

log = logging.getLogger(__name__)

TITLE = "P2L explorer"
MOST_CHARACTERS = 1_000_000
_MOST_WAITING = 200
_STATE_SECONDS = 24 * 3600.0
# label -> prompt, second prompt, conversation
EXAMPLES: dict[str, tuple[str, str, bool]] = {
    "code or verse": (
        "Write a Python function that merges overlapping intervals.",
        "Write a sonnet about a lighthouse keeper who is afraid of the sea.",
        False,
    ),
    "a proof": ("Prove that there are infinitely many primes of the form 4k + 3.", "", False),
    "small talk": ("hey, how was your day?", "", False),
    "a conversation": (
        f"Plan three days in Lisbon for a family.\n{TURN_BREAK}\nNow without any museums, and on a small budget.",
        "",
        True,
    ),
    "another language": (
        "Объясни, чем отличается мьютекс от семафора.",
        "Explain how a mutex differs from a semaphore.",
        False,
    ),
}


@dataclass(frozen=True)
class _PromptInputs:
    """The inputs for prompts, and the button that ranks them."""

    boxes: tuple[gr.Textbox, gr.Textbox, gr.Checkbox]
    button: gr.Button
    loaded: Any  # the event of an example filled into the boxes


@dataclass(frozen=True)
class _ResultViews:
    """The result views and their controls, in the order of ``Views`` and ``Controls``."""

    views: tuple[gr.HTML, ...]
    controls: tuple[gr.Slider | gr.Textbox | gr.Dropdown, ...]


def build_page(predictor: Predictor, prices: Prices | None = None) -> gr.Blocks:
    """Return the page of a predictor, to launch or mount; it uses no network and sends no analytics.

    To mount it: ``gradio.mount_gradio_app(app, build_page(predictor), "/explorer", theme=theme(), run_history=False)``.
    The page has no key check: everybody who reaches the app can use it. ``prices`` adds costs and budgets; raises
    ``ConfigError`` if the list has none of the checkpoint's LLMs.
    """
    explorer = Explorer(predictor, prices)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        _html(header(explorer))
        typed = _boxes()
        status = _html()
        shown = _results(explorer)
        _connect(page, explorer, typed, status, shown)
    page.queue(max_size=_MOST_WAITING, default_concurrency_limit=1)
    return page


def serve(page: gr.Blocks, host: str, port: int | None, *, block: bool = True) -> str:
    """Serve a page until the process is interrupted (or in the background, without ``block``); return its address.

    Raises ``ConfigError`` if the port is taken.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio uses it to check that its own server is up
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            theme=theme(),
            quiet=True,
            prevent_thread_lock=True,
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            footer_links=[],
            max_file_size="1kb",  # the page has no uploads
        )
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}:{port}, which is taken or not ours; give host= or port=") from error
    log.info("the explorer is at %s", url)
    if block:
        page.block_thread()
    return url


def theme() -> gr.themes.Base:
    """Return the theme: colours that match the bars, and system fonts, so that none is fetched."""
    return gr.themes.Default(
        primary_hue="blue",
        font=[gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")],
        font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
    )


def header(explorer: Explorer) -> Html:
    """Return the style sheet and the heading of the page."""
    style = Html(f"<style>{files('p2l.explorer').joinpath('page.css').read_text(encoding='utf-8')}</style>")
    models, family = explorer.predictor.models, explorer.predictor.family
    text = f"Type a prompt: {len(models)} LLMs are ranked for it alone. Family of outcomes: {family.name}."
    warning = explorer.predictor.warning
    note = tag("p.warning", f"Warning: this model is {warning}.") if warning else Html()
    return join((style, tag("header.p2l", tag("h1", TITLE), note, tag("p.soft", text))))


def _boxes() -> _PromptInputs:
    text, other, conversation = next(iter(EXAMPLES.values()))
    with gr.Row():
        first = gr.Textbox(text, label="Prompt", lines=3, max_lines=12, max_length=MOST_CHARACTERS, min_width=300)
        second = gr.Textbox(
            other,
            label="Another prompt, to compare",
            placeholder="Optional",
            lines=3,
            max_lines=12,
            max_length=MOST_CHARACTERS,
            min_width=300,
        )
    with gr.Row():
        label = f"Conversation: a line {TURN_BREAK} separates the turns of the user"
        turns = gr.Checkbox(conversation, label=label, min_width=320)
        button = gr.Button("Rank", variant="primary", min_width=320)
    boxes = (first, second, turns)
    examples = gr.Examples(
        [list(example) for example in EXAMPLES.values()],
        list(boxes),
        example_labels=list(EXAMPLES),
        cache_examples=False,
    )
    return _PromptInputs(boxes, button, examples.load_input_event)


def _results(explorer: Explorer) -> _ResultViews:
    """Lay out leaderboard and costs on the left, comparisons on the right."""
    names = explorer.predictor.models
    with gr.Row():
        with gr.Column(min_width=340):
            leaderboard, top, search = _leaderboard(len(names))
            with gr.Column(visible=explorer.prices is not None):
                _title("Cost and quality")
                budget = gr.Slider(0, 100, 50, step=1, label="Budget: 0 is the cheapest LLM, 100 the most expensive")
                costs = _html()
        with gr.Column(min_width=340):
            _title("Two LLMs, head to head")
            with gr.Row():
                a = _choice("LLM a", "best", BEST, names)
                b = _choice("LLM b", "second best", SECOND_BEST, names)
            pair = _html()
            _title("Two prompts: who moves up or down")
            comparison = _html()
    return _ResultViews((leaderboard, pair, comparison, costs), (top, search, a, b, budget))


def _choice(label: str, default: str, value: int, names: Sequence[str]) -> gr.Dropdown:
    choices = [(default, value), *((name, i) for i, name in enumerate(names))]
    return gr.Dropdown(choices, value=value, label=label, min_width=140)


def _leaderboard(num_models: int) -> tuple[gr.HTML, gr.Slider, gr.Textbox]:
    _title("Leaderboard")
    with gr.Row():
        top = gr.Slider(1, max(2, num_models), min(num_models, 15), step=1, label="LLMs shown", min_width=140)
        search = gr.Textbox(label="Only LLMs named", placeholder="part of a name", max_length=200, min_width=140)
    return _html(), top, search


def _title(text: str) -> None:
    _html(tag("div.p2l", tag("h2", text)))


def _html(content: str = "") -> gr.HTML:
    return gr.HTML(content, apply_default_css=False)


def _connect(page: gr.Blocks, explorer: Explorer, typed: _PromptInputs, status: gr.HTML, shown: _ResultViews) -> None:
    """Rank on request and when the page opens; draw after that and when a control changes."""
    state = gr.State((), time_to_live=_STATE_SECONDS)

    def rank(first: str, second: str, conversation: bool) -> tuple[tuple[RankedPrompt, ...], str]:
        return _rank(explorer, [first, second], conversation)

    def draw(ranked: tuple[RankedPrompt, ...], *controls: Any) -> list[str]:
        return [_on_page(view) for view in explorer.views(ranked, Controls(*controls))]

    first, second, _ = typed.boxes
    asked = [typed.button.click, first.submit, second.submit, page.load]
    ranked = gr.on(asked, rank, list(typed.boxes), [state, status], api_name="rank", show_progress_on=status)
    clicked = typed.loaded.then(rank, list(typed.boxes), [state, status], api_visibility="private")
    drawn = {"inputs": [state, *shown.controls], "outputs": list(shown.views)}
    for event in (ranked, clicked):
        event.then(draw, **drawn, show_progress="hidden", api_visibility="private")
    gr.on(
        [control.change for control in shown.controls],
        draw,
        **drawn,
        api_name="draw",
        show_progress="hidden",
        trigger_mode="always_last",
    )


def _rank(explorer: Explorer, texts: Sequence[str], conversation: bool) -> tuple[tuple[RankedPrompt, ...], str]:
    """Return the ranked prompts and the status line, or no prompts and the error message."""
    try:
        if any(len(text or "") > MOST_CHARACTERS for text in texts):
            raise PromptError(f"a prompt may have {MOST_CHARACTERS:,} characters")
        ranked = explorer.rank([read_prompt(text, conversation) for text in texts])
    except P2LError as error:
        return (), _on_page(message(str(error)))
    return ranked, _on_page(explorer.status(ranked))


def _on_page(view: Html) -> str:
    return str(tag("div.p2l", view))
