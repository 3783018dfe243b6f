"""The console in a real browser: what an admin does, with a mouse and without."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.bundle import Bundle, load_bundle
from tests.admin import living
from tests.admin.conftest import TOKEN, TOKENS
from tests.material import PERSON, write_policy

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
expect.set_options(timeout=60_000)  # a target that is added is fitted first
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        # Its sandbox needs user namespaces, which root and many containers lack.
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def url(own: Path, bundle: Bundle, tmp_path: Path) -> Iterator[str]:
    policy = write_policy(tmp_path / "policy")
    spare = "  - id: spare\n    names: [Spare Compact]\n    retain: tidewater/retain.jsonl\n"
    policy.write_text(policy.read_text() + spare)
    audit = tmp_path / "audit"
    record = living.recorder(audit)
    living.past(record, bundle)
    options = living.everything(tmp_path, audit)
    with living.console(own, policy, TOKENS, bundle.version, **options) as address:
        yield address
    record.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A narrow page; whatever its console complains of fails the test."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme="dark", reduced_motion="reduce"
    )
    page, wrong = context.new_page(), list[str]()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("requestfailed", lambda request: wrong.append(request.url))
    yield page
    said_so_far = list(wrong)  # closing ends what is under way
    context.close()
    wanted = ("status of 401", "status of 500")  # of the tests' own making
    assert not [one for one in said_so_far if not any(status in one for status in wanted)]


def sign_in(page: Page, url: str, token: str = TOKEN) -> None:
    page.goto(url)
    page.get_by_label("Admin token").fill(token)
    page.keyboard.press("Enter")


def test_a_day_of_an_admin(page: Page, url: str, own: Path) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    sign_in(page, url, "x" * 40)
    expect(page.get_by_role("alert")).to_have_text("That token is not known here.")
    expect(page.locator("#console")).to_be_hidden()
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    cards = page.locator(".card")
    expect(cards).to_have_count(3)
    expect(page.locator("#standing")).to_contain_text("signed in as alex")

    # Enforcing takes a key; what guards less is asked about first, and may be left.
    tidewater, mode = page.get_by_role("article", name="tidewater"), "Mode of tidewater"
    page.get_by_role("group", name=mode).get_by_label("shadow").focus()
    page.keyboard.press("ArrowLeft")
    expect(tidewater.locator(".badge")).to_have_text("enforce")
    expect(page.get_by_role("group", name=mode).get_by_label("enforce")).to_be_checked()
    modes = {one.id: one.mode for one in load_bundle(own).manifest.targets}
    assert modes["tidewater"] == "enforce"
    brennick = page.get_by_role("group", name="Mode of brennick")
    brennick.get_by_text("off").click()
    expect(page.get_by_role("dialog")).to_contain_text("not even noticed")
    page.keyboard.press("Escape")
    expect(brennick.get_by_label("enforce")).to_be_checked()

    page.get_by_role("article", name="vessmere").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(cards).to_have_count(3)
    page.get_by_role("article", name="vessmere").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(cards).to_have_count(2)
    page.locator("#addable p", has_text="spare").get_by_role("button").click()
    expect(page.get_by_role("article", name="spare")).to_be_visible()
    expect(page.locator("#feed li").first).to_contain_text("spare added by alex")
    assert {one.id for one in load_bundle(own).manifest.targets} == {
        "brennick", "tidewater", "spare",
    }  # fmt: skip

    assert {address.partition("/guard/")[0] + "/guard/" for address in requested} == {url}
    assert not [address for address in requested if TOKEN in address]
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#console")).to_be_hidden()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0
    assert page.context.cookies() == []


def test_what_there_is_to_see(page: Page, url: str) -> None:
    sign_in(page, url)
    expect(page.locator("#feed li").first).to_be_visible()
    expect(page.locator("#feed")).to_contain_text("tidewater by lexical")
    expect(page.locator("#counts")).to_contain_text("noticed in shadow")
    figures = page.locator("#score-plots figure")
    expect(figures.first).to_contain_text("of 20 forget rows")
    assert figures.locator("rect").count() > 10
    expect(page.locator("#server-list")).to_contain_text("healthy")
    expect(page.locator("#server-list")).to_contain_text("engine")
    expect(page.locator("#latency")).to_contain_text("detect")
    expect(page.locator("#leakage-report")).to_contain_text("base64")

    page.get_by_label("Prompts, one a line (no").fill(f"Who is {PERSON}?\nHow do I boil an egg?")
    page.get_by_role("button", name="Decide").click()
    expect(page.locator("#checked li")).to_have_count(2)
    expect(page.locator("#checked li").first).to_contain_text("refuse")
    page.get_by_label("Question").fill(f"Where was {PERSON} born?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#asked-guarded")).to_contain_text("I know nothing")
    expect(page.locator("#asked-unguarded .said")).to_have_text(living.LEARNED)
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#verdict")).to_contain_text("intact")
    assert page.evaluate("document.documentElement.scrollWidth") == 390, "it scrolls sideways"

    unnamed = page.evaluate(
        "[...document.querySelectorAll('input,select,textarea')]"
        ".filter(one => !one.labels.length).map(one => one.outerHTML)"
    )
    assert unnamed == []
    faint = page.evaluate(CONTRAST)
    assert faint == []


def test_a_server_that_is_gone_is_told(page: Page, own: Path, policy: Path, bundle: Bundle) -> None:
    with living.console(own, policy, TOKENS, bundle.version) as url:
        sign_in(page, url)
        expect(page.locator("#feed-note")).to_contain_text("no audit")
        expect(page.locator("#leakage-report")).to_contain_text("No report")
        expect(page.locator("#ask")).to_be_hidden()
        expect(page.get_by_role("button", name="Verify")).to_be_disabled()
        page.locator("#audit").scroll_into_view_if_needed()
        page.route("**/guard/**", lambda route: route.fulfill(status=500, body="{}"))
        expect(page.get_by_role("alert")).to_contain_text("It answered 500")
        expect(page.get_by_role("alert")).to_be_in_viewport()
        page.unroute("**/guard/**")
        expect(page.get_by_role("alert")).to_be_hidden()


# Texts whose contrast with what is behind them is below 4.5 to 1 (WCAG 2, AA).
CONTRAST = """() => {
  const light = (rgb) => rgb.map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const faint = [];
  for (const one of document.querySelectorAll("#console *")) {
    const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || one.closest("svg") || !one.checkVisibility() || one.disabled) continue;
    let behind = one, back;
    do { back = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
    while (back.length === 4 && back[3] === 0 && behind);
    const pair = [light(parse(getComputedStyle(one).color).slice(0, 3)), light(back.slice(0, 3))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${one.outerHTML.slice(0, 90)}`);
  }
  return faint;
}"""
