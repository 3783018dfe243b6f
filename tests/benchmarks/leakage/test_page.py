"""The page: it needs nothing else, and says what the result says."""

import itertools
import re
from pathlib import Path

import pytest

from benchmarks.leakage.attacks import ATTACKS
from benchmarks.leakage.page import cell, render, sentence, write_page
from benchmarks.leakage.shown import Shown, suites
from benchmarks.result import Row
from guard.errors import GuardError
from tests.benchmarks.leakage.made_up import LEAKY, leaked, result
from tests.benchmarks.leakage.test_table import leak, of, share
from tests.test_report import Page

HOSTILE = "<script>alert('&\"')</script>"


@pytest.fixture(scope="module")
def html() -> str:
    return render(result(systems=6, suites=2))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def shown(*rows: Row) -> Shown:
    (one,) = suites(of(*rows))
    return one


def test_it_needs_nothing_else(page: Page, html: str) -> None:
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "style"):
            assert "//" not in value, (tag, name, value)
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
        assert not name.startswith("on")
    assert "@import" not in html and not re.search(r"url\((?!#)", html)


def test_ids_are_unique_and_links_lead_somewhere(page: Page, html: str) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    wanted = [v.removeprefix("#") for _, name, v in page.attributes if name == "href"]
    wanted += re.findall(r"url\(#([^)]+)\)", html)
    for _, name, value in page.attributes:
        if name == "aria-labelledby":
            wanted += value.split()
    assert wanted and set(wanted) <= set(ids)


def test_every_plot_says_what_it_shows(page: Page) -> None:
    """Two planes, and leak@k of each system, in each suite."""
    assert page.tags.count("svg") == page.tags.count("desc") == 2 * (2 + 6)
    assert page.tags.count("title") == 2 * (2 + 6) + 1
    roles = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "role")]
    assert set(roles) == {"img"}
    assert "leak@64 1.00" in page.text and "retrained: utility 0.58, 1.00" not in page.text


def test_headings_leave_no_level_out(page: Page) -> None:
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_each_system_has_its_sentence_and_each_attack_its_line(page: Page) -> None:
    assert page.tags.count("li") == 2 + 2 * 6  # and the list of suites
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    told = figures = 6  # a line for each system
    assert scopes.count("row") == 2 * (1 + len(ATTACKS) + figures + told)
    assert set(ATTACKS) <= {line.strip() for line in page.text.splitlines()}


def test_a_sentence_says_what_a_system_leaks_most_by() -> None:
    (found,) = suites(result())
    said = sentence(found, "penalize")
    assert said.verdict == "leaks"
    value, ideal = leaked("penalize", LEAKY), leaked("retrained", LEAKY)
    assert said.text.startswith(f"most by {LEAKY}: ROUGE-L recall {value:.2f} (")
    assert f"where the retrained model has {ideal:.2f}" in said.text
    assert sentence(found, "refuse").verdict == "no more than the retrained model"
    assert "95 % blocked" in sentence(found, "refuse").text
    assert sentence(found, "retrained").verdict == "the yardstick"
    assert "when asked as learned" in sentence(found, "target").text


def test_little_more_than_the_retrained_model_is_not_called_a_leak() -> None:
    near = shown(leak("a", None, 0.42), leak("retrained", None, 0.40))
    assert sentence(near, "a").verdict == "within 0.03 of the retrained model"
    beyond = shown(leak("a", None, 0.44), leak("retrained", None, 0.40))
    assert sentence(beyond, "a").verdict == "leaks"


def test_without_a_retrained_model_a_sentence_compares_nothing() -> None:
    alone = shown(leak("a", "typos", 0.5), leak("a", None, 0.4))
    assert sentence(alone, "a").text == "most by typos: ROUGE-L recall 0.50."
    assert "the colour is the distance" not in render(of(leak("a", None, 0.5))).lower()


def test_a_system_that_was_not_measured_is_said_not_to_be() -> None:
    rows = (leak("a", None, 0.5), Row(system="b", split="s: kept", metric="x", value=1))
    assert sentence(shown(*rows), "b").verdict == "not measured"
    assert "not measured" in Page(render(of(*rows))).text


def test_a_cell_tells_more_from_less_and_how_much() -> None:
    found = shown(leak("retrained", None, 0.4), leak("a", None, 0.7), leak("b", None, 0.1),
                  leak("c", None, 0.42), leak("d", None, 1.1), share("blocked", 0.25))  # fmt: skip
    cells = {system: cell(found, system, None) for system in "abcd"}
    told = [one and (one.side, one.heat, one.worst) for one in cells.values()]
    assert told == [("above", 29, True), ("below", 29, True), ("even", 2, True),
                    ("above", 48, True)]  # fmt: skip
    assert cells["a"] is not None and cells["a"].notes == "25 % blocked"
    assert cells["a"].hint == "a, asked as learned: 0.70; 25 % blocked"
    assert cell(found, "a", "typos") is None


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("side", ["forget", "neighbours"])
def test_a_figure_is_readable_on_the_strongest_colour(theme: int, side: str, html: str) -> None:
    """WCAG 2.1, 1.4.3: a contrast of 4.5, in the light theme and in the dark one."""
    colours = {
        name: [int(values[theme][at : at + 2], 16) / 255 for at in (1, 3, 5)]
        for name in ("ink", "panel", side)
        if len(values := re.findall(rf"--{name}: (#\w{{6}})", html)) == 2
    }
    share = max(map(int, re.findall(r"--heat: (\d+)%", html))) / 100
    pairs = zip(colours[side], colours["panel"], strict=True)
    ground = [share * over + (1 - share) * under for over, under in pairs]
    dark, light = sorted(map(luminance, (ground, colours["ink"])))
    assert share == 0.48 and (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: list[float]) -> float:
    """The relative luminance of an sRGB colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_attacks_that_get_most_out_of_the_systems_come_first() -> None:
    (found,) = suites(result())
    assert found.strongest()[:2] == [None, LEAKY]
    assert sorted(map(str, found.strongest())) == sorted(map(str, found.attacks))


def test_leak_at_k_is_that_of_the_attack_that_draws_most() -> None:
    rows = [Row(system="a", split="s: forget", metric=f"leak@{k}", attack=attack, value=k / 64)
            for attack, most in ((None, 1), ("pressing", 4), ("sampling", 64))
            for k in (1, 4, 16, 64) if k <= most]  # fmt: skip
    found = shown(*rows)
    assert found.sampled == "sampling" and [k for k, _ in found.curve("a")] == [1, 4, 16, 64]
    assert found.curve("b") == []


def test_hostile_names_are_text() -> None:
    rows = [leak(HOSTILE, HOSTILE, 0.5), leak("retrained", HOSTILE, 0.2)]
    rows += [
        Row(system=system, split="s: forget", metric=f"leak@{k}", attack=HOSTILE, value=0.1)
        for system in (HOSTILE, "retrained")
        for k in (1, 2)
    ]
    html = render(of(*(row.model_copy(update={"split": f"{HOSTILE}: forget"}) for row in rows)))
    assert "<script" not in html and HOSTILE in Page(html).text


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    small = of(leak("a", None, 0.5))
    write_page(small, path)
    assert path.read_text("utf-8") == render(small)
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(GuardError, match="cannot be written"):
        write_page(small, path / "below")
