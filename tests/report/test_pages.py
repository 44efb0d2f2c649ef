"""Chromium opens the pages of runs of every kind."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from report_runs import HOSTILE

KINDS = ("sft", "dpo", "dialled", "refused", "dying", "damaged", "hostile", "long", "live")
PLOTS = {
    "sft": {"losses", "drift", "axes", "lengths", "mixture", "speed", "memory", "time"},
    "dpo": {"losses", "drift", "margins", "accuracies", "logps", "axes", "lengths", "mixture",
            "speed", "memory", "time"},
    "dialled": {"losses", "drift", "axes", "dial", "lengths", "mixture", "speed", "memory", "time"},
    "dying": {"losses", "drift", "lengths", "speed", "memory", "time"},
    "damaged": {"losses", "time"},
}  # fmt: skip
PLOTS |= {
    "refused": PLOTS["dialled"], "hostile": PLOTS["sft"], "long": PLOTS["dying"],
    "live": PLOTS["dying"],
}  # fmt: skip


@dataclass
class Opened:
    """A page, what it said on the console, and what it asked the network or the disk for."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def text(self, what: str = "body") -> str:
        return str(self.page.inner_text(what))


@pytest.fixture(scope="module")
def opened(browser, made) -> dict[str, Opened]:
    found = {}
    for kind in KINDS:
        tab = Opened(browser.new_page(viewport={"width": 1200, "height": 900}))
        tab.page.on("console", lambda message, tab=tab: tab.console.append(message.text))
        tab.page.on("pageerror", lambda error, tab=tab: tab.console.append(str(error)))
        tab.page.on("request", lambda request, tab=tab: tab.requests.append(request.url))
        started = time.monotonic()
        tab.page.goto(made[kind].report.as_uri())
        tab.seconds = time.monotonic() - started
        found[kind] = tab
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing_and_complains_of_nothing(opened, made, kind):
    assert opened[kind].console == []
    assert opened[kind].requests == [made[kind].report.as_uri()]
    assert opened[kind].page.title() == f"{kind} - appliance"


@pytest.mark.parametrize("kind", KINDS)
def test_every_plot_has_its_question_its_label_and_its_answer(opened, kind):
    page = opened[kind].page
    found = page.eval_on_selector_all(
        "figure",
        """all => all.map(f => ({
            name: f.id, question: f.querySelector('h3').textContent,
            said: f.querySelector('figcaption').textContent,
            label: f.querySelector('svg[role=img]').getAttribute('aria-labelledby').split(' ')
                .map(id => f.querySelector('#' + id).textContent),
        }))""",
    )
    assert {f["name"] for f in found} == PLOTS[kind]
    for figure in found:
        assert figure["label"] == [figure["question"], figure["said"]]
        assert figure["question"].endswith("?")
        assert len(figure["said"]) > 30
    assert page.locator("svg").count() == len(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [360, 1200])
def test_a_page_is_no_wider_than_the_screen(opened, kind, width):
    page = opened[kind].page
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_plots_stand_out_in_the_light_and_in_the_dark(opened, scheme):
    """Contrast of at least 4.5 for text (WCAG 2, AA) and 3 for what is drawn."""
    page = opened["dialled"].page
    page.emulate_media(color_scheme=scheme)
    found = page.evaluate(
        """() => {
        const channel = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = css => {
            const [r, g, b] = css.match(/[\\d.]+/g).map(Number).map(v => channel(v / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        const contrast = css => {
            const mine = light(css);
            return (Math.max(mine, paper) + 0.05) / (Math.min(mine, paper) + 0.05);
        };
        const of = (selector, key) => [...document.querySelectorAll(selector)]
            .map(e => getComputedStyle(e)[key]).filter(c => c.startsWith('rgb('));
        return {
            text: of('p, td, th, h1, h2, h3, a, figcaption, span, li', 'color').map(contrast),
            written: of('svg text', 'fill').map(contrast),
            drawn: of('svg [id^=line2d] > path', 'stroke').map(contrast),
        };
    }"""
    )
    assert min(found["text"]) >= 4.5
    assert min(found["written"]) >= 4.5
    assert min(found["drawn"]) >= 3
    assert len(found["drawn"]) > 20


def test_what_the_data_says_is_text(opened):
    tab = opened["hostile"]
    assert tab.page.locator("script").count() == 0
    assert tab.page.locator("img").count() == 0
    assert tab.page.title() == "hostile - appliance"
    for part in ("#examples-task", "#recited", "#learned ~ *", "main"):
        if part != "#learned ~ *":
            assert HOSTILE in tab.page.locator(part).text_content()


def test_a_long_run_opens_at_once(opened, made):
    best = opened["long"].seconds
    for _ in range(4):  # other work may be beside it
        started = time.monotonic()
        opened["long"].page.reload()
        best = min(best, time.monotonic() - started)
    assert best < 2
    assert made["long"].report.stat().st_size < 500_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_small(made, kind):
    assert made[kind].report.stat().st_size < 2_000_000


def test_only_the_page_of_a_run_that_goes_on_renews_itself(opened):
    for kind, tab in opened.items():
        renews = tab.page.locator("meta[http-equiv=refresh]").count()
        assert renews == (kind == "live"), kind
    assert "Step 40 of 231" in opened["live"].text("#state")
    assert "renews itself" in opened["live"].text("#next")


@pytest.mark.parametrize(
    ("kind", "part", "said"),
    [
        ("sft", "#state", "came to its end"),
        ("sft", "#ship", "Yes"),
        ("sft", "#forgotten", "Nothing that was measured is lost for sure"),
        ("sft", "#next", "appliance chat"),
        ("dialled", "#ship", "at strength 0.4"),
        ("dialled", "#dial", "chosen is 0.4"),
        ("refused", "#state", "the gate refused the export"),
        ("refused", "#ship", "No."),
        ("refused", "#forgotten", "Broken: answering other prompts as before"),
        ("refused", "#next", "train.learning_rate=0.0001"),
        ("dying", "#state", "ended in the stage train without a word"),
        ("dying", "#next", "appliance doctor"),
        ("dying", "#absent", "verdict.json (gate)"),
        ("damaged", "#damaged", "verdict.json is damaged: ship"),
        ("damaged", "#damaged", "recipe.yaml cannot be read"),
        ("damaged", "#absent", "manifest.json (baseline)"),
        ("dpo", "#result ~ .wide", "Reward margin of the held-out pairs"),
        ("sft", "#losses", "Alarms (triangles): loss under at step 115"),
        ("sft", "#mixture", "the base's own dialogues: 30% of the rows"),
    ],
)
def test_the_page_says_in_words_how_it_stands(opened, kind, part, said):
    assert said in opened[kind].page.locator(part).first.inner_text()
