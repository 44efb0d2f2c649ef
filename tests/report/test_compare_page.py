"""Chromium opens the page of a comparison: five runs on a wide screen and on a telephone."""

from __future__ import annotations

import pytest
from made_runs import measured

from appliance.compare.column import columns
from appliance.compare.page import write
from appliance.compare.results import compare
from appliance.run import RunDir

NAMES = ("default", "plain", "a-run-with-a-name-that-is-longer-than-any-column-would-be",
         "<script>document.title='owned'</script>", "r64")  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    runs = [
        measured(
            RunDir(root / name.replace("/", "_")),
            [1.0] * (20 + 15 * n) + [0.0] * (80 - 15 * n),
            leak=[n == 1] * 64,
            axes={"knowledge": [1.0] * (60 - 9 * n) + [0.0] * 9 * n},
            kl=[0.01 + 0.3 * n] * 30,
            sets=[f"train.epochs={n + 1}"],
        )
        for n, name in enumerate(NAMES)
    ]
    path = root / "compared.html"
    write(compare(columns(tuple(run.root for run in runs))), path)
    return path


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
def test_it_fits_the_screen_and_says_nothing_to_the_network(browser, page, width, scheme):
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    assert (said, asked) == ([], [page.as_uri()])
    assert "compared" in tab.title()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("h2", has_text="against default").count() == 4
    assert tab.locator("svg.plot").count() == 2
    first = tab.locator("table.columns").first
    assert first.locator("tr").first.locator("th").count() == 2 + len(NAMES) + 1
    # What is wider than the screen is scrolled in its own box, and the measure's name stays.
    box = first.locator("xpath=..")
    box.evaluate("box => box.scrollLeft = 10000")
    assert first.locator("tr").nth(1).locator("th").bounding_box()["x"] >= 0
    if width < 400:
        assert box.evaluate("box => box.scrollLeft") > 0
    tab.close()
