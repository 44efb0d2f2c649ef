"""The numbers on the page are those of the files, and report.json holds them too."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from appliance.report.page import number, render, write
from appliance.report.read import read
from appliance.run import RunDir


class Numbers(HTMLParser):
    """(where in the files, value, text as shown) of every number that says where it is from."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.open: dict[str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open = dict(attrs) if tag == "data" else None

    def handle_data(self, data):
        if self.open and "data-at" in self.open:
            self.found.append((self.open["data-at"], self.open["value"], data))
        self.open = None


def at(run: RunDir, place: str):
    """`scores_after.json axes.format.value` out of the run's files."""
    name, path = place.split(" ", 1)
    found = json.loads((run.root / name).read_text())
    for key in path.split("."):
        found = found[int(key) if isinstance(found, list) else key]
    return found


def is_shown(true: float, shown: str) -> bool:
    """Is `82%`, `+3%`, `0.734`, `37,250` or `1.25e+03` this number, rounded?"""
    text = shown.replace(",", "")
    if text.endswith("%"):
        return abs(float(text[:-1]) / 100 - true) <= 0.00501
    decimals = len(text.partition(".")[2]) if "e" not in text else 0
    return abs(float(text) - true) <= max(0.501 * 10**-decimals, 0.005 * abs(true))


@pytest.mark.parametrize("kind", ["sft", "dpo", "dialled", "refused", "dying", "hostile"])
def test_every_number_is_that_of_its_file(made, kind):
    run = made[kind]
    found = Numbers(run.report.read_text()).found
    assert len(found) > (2 if kind == "dying" else 40)
    for place, value, shown in found:
        true = at(run, place)
        assert float(value) == true, place
        assert is_shown(true, shown), (place, true, shown)


def test_the_top_of_the_page_has_each_check_with_its_interval_and_n(made):
    run = made["refused"]
    page = run.report.read_text()
    top = page[: page.index('<nav aria-label="Parts')]
    verdict = json.loads(run.verdict.read_text())
    shown = {place for place, _, _ in Numbers(top).found}
    for place, reason in enumerate(verdict["reasons"]):
        if reason["value"] is not None:
            assert f"verdict.json reasons.{place}.value" in shown
            form = "nats" if reason["name"] == "drift" else "points"
            low, high = (number(end, form) for end in reason["interval"])
            assert f"[{low}, {high}] n={reason['n']}" in top


def test_report_json_holds_what_the_files_hold(made):
    run = made["dialled"]
    found = json.loads(run.report_numbers.read_text())
    after = json.loads(run.scores_after.read_text())
    assert found["after"]["task"]["value"] == after["task"]["value"]
    assert found["after"]["axes"]["safety"]["interval"] == after["axes"]["safety"]["interval"]
    assert found["ship"]["may"] == "yes"
    assert found["ship"]["strength"] == 0.4
    assert [p["strength"] for p in found["dial"]["tried"]] == [1.0, 0.7, 0.4]
    assert found["series"]["held_out_loss"]["step"] == [57, 114, 171, 228]
    assert sum(part["rows"] for part in found["mixture"]) == 231 * 8 + 792


def test_only_a_run_that_came_to_its_end_has_a_report_json(made):
    for kind in ("sft", "refused", "dying", "live"):
        assert made[kind].report_numbers.is_file() == (kind in ("sft", "refused")), kind


def test_a_page_computes_nothing_from_the_time_of_day(made):
    """Twice the same but for the line that says when it was written."""
    reading = read(made["sft"])
    one, two = render(reading), render(reading)
    assert [line for line in one.splitlines() if "was written" not in line] == [
        line for line in two.splitlines() if "was written" not in line
    ]


def test_a_price_that_the_run_recorded_is_reckoned(tmp_path):
    from report_runs import whole

    run = whole(tmp_path / "priced")
    manifest = json.loads(run.manifest.read_text())
    run.manifest.write_text(json.dumps(manifest | {"price": {"per_hour": 6.0, "currency": "EUR"}}))
    reading = write(run)
    seconds = sum(reading.seconds.values())
    assert f"{seconds / 3600 * 6:.2f} EUR" in run.report.read_text()
