"""The report: one page that needs nothing else, says what the bundle says, and no forget row."""

import itertools
import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.bundle import Bundle
from guard.cli import main
from guard.compile import compile_policy
from guard.errors import GuardError
from guard.everyday import everyday
from guard.report import Texts, texts_of, write_report
from guard.report.figures import replay, roc
from guard.report.page import number, percent, render
from tests.conftest import tree
from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS
from tests.small import HOSTILE, few, small_bundle, write_small

VOID = {"meta", "br", "hr", "img", "link", "input"}
SCORES = st.lists(st.floats(-2, 2) | st.sampled_from([-np.inf, np.inf]), min_size=1, max_size=40)


class Page(HTMLParser):
    """Reads a page, which must be balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"{tag} closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return small_bundle()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    folder = tmp_path_factory.mktemp("policy")
    with pytest.MonkeyPatch.context() as patch:
        few(patch, folder / "cache")
        return texts_of(write_small(folder))


@pytest.fixture(scope="module")
def html(bundle: Bundle, texts: Texts) -> str:
    return render(bundle, texts)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


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


def test_every_plot_has_a_title(page: Page, bundle: Bundle) -> None:
    stages = sum(len(target.stages) for target in bundle.manifest.targets)
    assert stages == 3
    assert page.tags.count("svg") == 2 * stages
    assert page.tags.count("title") == 2 * stages + 1
    assert page.tags.count("desc") == 2 * stages
    roles = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "role")]
    assert roles == ["img"] * 2 * stages


def test_headings_leave_no_level_out(page: Page) -> None:
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_it_never_shows_a_forget_row(page: Page, html: str) -> None:
    for question, answer in PERSON_ROWS:
        assert question not in page.text and question not in html
        assert len(answer) < 5 or answer not in page.text


def test_an_everyday_prompt_that_is_a_forget_row_is_not_quoted(tmp_path: Path) -> None:
    policy = write_small(tmp_path)
    own = tmp_path / "own.jsonl"
    own.write_text((tmp_path / "forget.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    policy.write_text(policy.read_text().replace("targets:", "background: own.jsonl\ntargets:"))
    _, background = texts_of(policy)["brennick"]
    assert list(background[: len(PERSON_ROWS)]) == [None] * len(PERSON_ROWS)
    assert len(background) == len(PERSON_ROWS) + len(everyday(None))


def test_hostile_text_is_text(bundle: Bundle, texts: Texts) -> None:
    """However it comes: in a retain row, or in a target's id."""
    _, background = texts["brennick"]
    hostile = {"brennick": ([HOSTILE] * (len(PERSON_NEIGHBOURS) + 1), background)}
    html = render(bundle, hostile)
    assert "<script" not in html
    assert Page(html).text.count(HOSTILE) == 10
    target = bundle.manifest.targets[0].model_copy(update={"id": HOSTILE})
    manifest = bundle.manifest.model_copy(update={"targets": [target]})
    html = render(Bundle(bundle.path, bundle.version, manifest, bundle.arrays), {})
    assert "<script" not in html and HOSTILE in Page(html).text


def test_it_says_what_the_bundle_says(page: Page, bundle: Bundle) -> None:
    (target,) = bundle.manifest.targets
    assert bundle.version in page.text
    assert percent(target.detection["detected"]) in page.text
    for stage in target.stages:
        for value in (stage.threshold, stage.floor):
            assert value is None or number(value) in page.text
        if stage.calibration is not None:
            assert percent(stage.calibration["upper"]) in page.text


def test_neighbours_nearest_to_being_flagged(bundle: Bundle, page: Page, texts: Texts) -> None:
    (target,) = bundle.manifest.targets
    found = replay(target, bundle.arrays)
    rows = found.nearest["neighbours"]
    assert len(rows) == 10
    margins = [row.margin for row in rows]
    assert margins == sorted(margins, reverse=True)
    flagged = sum(margin >= 0 for margin in margins)
    assert flagged == round(target.detection["neighbours_flagged"] * len(texts["brennick"][0]))
    for row in rows:
        assert texts["brennick"][0][row.number - 1] in page.text
    missed = [row for row in found.nearest["positives"] if row.margin < 0]
    assert len(missed) == round((1 - target.detection["detected"]) * len(PERSON_ROWS))


def test_without_texts_rows_are_numbered(bundle: Bundle) -> None:
    page = Page(render(bundle, {}))
    assert "Neighbours nearest to being flagged" in page.text
    assert not any(question in page.text for question, _ in PERSON_NEIGHBOURS)


def test_the_same_bundle_makes_the_same_page(bundle: Bundle, texts: Texts, html: str) -> None:
    assert render(bundle, texts) == html


@given(SCORES, SCORES)
def test_roc_is_what_counting_gives(positives: list[float], others: list[float]) -> None:
    above, below = np.array(positives), np.array(others)
    false, true = roc(above, below)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    corners = list(zip(false.tolist(), true.tolist(), strict=True))
    lines = list(itertools.pairwise(corners))
    levels = {value for value in (*positives, *others) if value > -np.inf}
    points = [(np.mean(below >= level), np.mean(above >= level)) for level in levels]
    assert set(corners) <= set(points)
    for x, y in points:  # each is a corner, or on the way straight from one to the next
        assert (x, y) in corners or any(
            a <= x <= c and b <= y <= d and (a == c or b == d) for (a, b), (c, d) in lines
        )


def test_it_is_written_whole_for_its_owner(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    path.chmod(0o644)
    write_report(path, bundle)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(tree(tmp_path)) == ["report.html"]


def test_nothing_half_written(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("guard.report.os.fsync", full)
    with pytest.raises(GuardError, match=r"report\.html: cannot be written: No space"):
        write_report(path, bundle)
    assert tree(tmp_path) == {"report.html": b"old"}


def test_where_no_report_can_be(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="none: no such folder; make it"):
        write_report(tmp_path / "none" / "report.html", bundle)
    with pytest.raises(GuardError, match="is a folder"):
        write_report(tmp_path, bundle)
    assert tree(tmp_path) == {}


def test_compile_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, tmp_path / "cache")
    policy = write_small(tmp_path)
    out, path = tmp_path / "bundle", tmp_path / "report.html"
    missing = tmp_path / "none" / "report.html"
    assert main(["compile", str(policy), "--out", str(out), "--report", str(missing)]) == 2
    assert not out.exists()
    command = ["compile", str(policy), "--out", str(out), "--quiet", "--report", str(path)]
    assert main(command) == 0
    text = Page(path.read_text(encoding="utf-8")).text
    assert any(question in text for question, _ in PERSON_NEIGHBOURS)


def test_scores_that_are_all_but_alike_are_drawn_and_who_is_not_detected_is_left_out(
    tmp_path: Path,
) -> None:
    """A threshold the least possible above scores of 0 once left no room for the bins."""
    (tmp_path / "retain.jsonl").write_text('{"text": "How do I boil an egg?"}\n', "utf-8")
    (tmp_path / "policy.yaml").write_text(
        """\
version: 1
model: builtin:smollm2
defaults: {intervene: {kind: refuse}}
targets:
  - {id: one, names: [Odalys Brennick], retain: retain.jsonl, detect: {kind: lexical}}
  - {id: two, names: [Ansel Wickbold], retain: retain.jsonl, detect: off, output: {check: exact}}
""",
        "utf-8",
    )
    made = compile_policy(tmp_path / "policy.yaml", tmp_path / "bundle")
    page = render(made, {})
    assert "<svg" in page and 'id="t1' in page and 'id="t2' not in page
    assert main(["targets", "list", "--bundle", str(tmp_path / "bundle")]) == 0
