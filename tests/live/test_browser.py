"""The live page in a real Chromium: what people see, and what they do by keyboard.

Where there is no Chromium these tests are skipped. Debian's: `apt-get install -y chromium`.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.data_folder import DataFolder, body
from support.deadline import HANG_S
from support.live import ago, land_now, running_live
from support.oracle import ENDED, STARTED

CHROMIUM = shutil.which("chromium")
HANG_MS = HANG_S * 1000
HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>\u202e👾"

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install -y chromium"),
]

# Every text in view, with the contrast of its color to what is behind it, as WCAG defines it.
CONTRASTS = """
() => {
    const channels = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => {
        const [r, g, b] = channels(color).slice(0, 3).map((value) => {
            const share = value / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let each = element; each; each = each.parentElement) {
            const color = getComputedStyle(each).backgroundColor;
            const parts = channels(color);
            if (parts.length === 3 || parts[3] > 0) return color;
        }
        return "rgb(255, 255, 255)";
    };
    const found = {};
    for (const element of document.querySelectorAll("body *")) {
        const has_text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!has_text || !element.checkVisibility() || element.closest("svg, option")) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
        found[element.textContent.trim().slice(0, 40)] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }
    return found;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for all tests of this file."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test if a script breaks, or if something is tried that our policy forbids."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(HANG_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console", lambda message: errors.append(message.text) if "policy" in message.text.lower() else None
    )
    yield opened
    context.close()
    assert errors == []


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    land_now(made, (STARTED, "c1", 90), (STARTED, "c2", 80), agent_id="desk")
    return made


def test_calls_appear_and_ages_grow_without_a_reload_and_what_has_the_focus_keeps_it(
    folder: DataFolder, tmp_path: Path, page: Page
) -> None:
    with running_live(tmp_path) as url:
        page.goto(url)
        page.evaluate("window.isSame = true")
        link = page.locator("#now").get_by_role("link", name="c1")
        link.focus()
        age = page.locator("#now tbody time").first
        shown = age.text_content()
        expect(age).not_to_have_text(shown or "", timeout=HANG_MS)
        land_now(folder, (STARTED, "c3", 5))
        expect(page.locator("#now")).to_contain_text("c3", timeout=HANG_MS)
        expect(page.locator("#now .big")).to_have_text("3", timeout=HANG_MS)
        expect(page.locator("#now").get_by_role("link", name="c1")).to_be_focused()
        assert page.evaluate("window.isSame")


def test_filters_and_a_call_are_reached_by_keyboard_and_have_an_address(
    folder: DataFolder, tmp_path: Path, page: Page
) -> None:
    land_now(folder, (STARTED, "other", 70), agent_id="sales")
    with running_live(tmp_path) as url:
        page.goto(url)
        focus_by_tab(page, "select")
        page.keyboard.type("sales")
        focus_by_tab(page, "button")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?agent=sales*")
        expect(page.locator("#now .big")).to_have_text("1")
        focus_by_tab(page, "a[href='/call?id=other']")
        page.keyboard.press("Enter")
        page.wait_for_url("**/call?id=other")
        expect(page.locator("#call_events")).to_contain_text(STARTED)
        land_now(folder, (ENDED, "other", 1), agent_id="sales")
        expect(page.locator("#call_events")).to_contain_text(ENDED, timeout=HANG_MS)


def focus_by_tab(page: Page, selector: str) -> None:
    """Press the tabulator until an element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} can't be reached by keyboard")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_and_a_phone_scrolls_in_one_direction(
    folder: DataFolder, tmp_path: Path, page: Page, scheme: str
) -> None:
    folder.land([b"no event", body("t9", "x" * 500, "y" * 500, ago(1), agent_id="z" * 500)])
    folder.sync()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    with running_live(tmp_path) as url:
        for path in ("/", "/call?id=c1", "/sql/live_now", "/?day=2020-01-01"):
            page.set_viewport_size({"width": 360, "height": 800})
            page.goto(url + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            contrasts = page.evaluate(CONTRASTS)
            assert len(contrasts) > 2
            assert {text: value for text, value in contrasts.items() if value < 4.5} == {}
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(17, 21, 26)" if scheme == "dark" else "rgb(244, 245, 247)"
        )


def test_hostile_values_do_nothing(folder: DataFolder, tmp_path: Path, page: Page) -> None:
    land_now(folder, (STARTED, HOSTILE, 5), (HOSTILE, HOSTILE, 4), agent_id=HOSTILE, status=HOSTILE)
    with running_live(tmp_path) as url:
        page.goto(url)
        expect(page.locator("#now")).to_contain_text("<img src=x")
        page.locator("#now a.id").first.click()
        expect(page.locator("#call")).to_contain_text("<img src=x")
        land_now(folder, (ENDED, HOSTILE, 1), agent_id=HOSTILE)
        expect(page.locator("#call_events")).to_contain_text(ENDED, timeout=HANG_MS)
        assert page.locator("main img, main script").count() == 0
        assert "broken" not in page.title().split("<")[0]


def test_a_page_says_that_its_server_is_gone_and_goes_on_when_it_is_back(
    folder: DataFolder, tmp_path: Path, page: Page
) -> None:
    with running_live(tmp_path) as url:
        page.goto(url)
        expect(page.locator("#offline")).to_be_hidden()
    expect(page.locator("#offline")).to_be_visible(timeout=HANG_MS)
    land_now(folder, (STARTED, "c3", 5))
    with running_live(tmp_path, port=urlsplit(url).port or 0):
        expect(page.locator("#now")).to_contain_text("c3", timeout=HANG_MS)
        expect(page.locator("#offline")).to_be_hidden(timeout=HANG_MS)


def test_a_page_that_slept_catches_up(folder: DataFolder, tmp_path: Path, page: Page) -> None:
    with running_live(tmp_path) as url:
        page.goto(url)
        browser = page.context.new_cdp_session(page)
        browser.send("Page.setWebLifecycleState", {"state": "frozen"})
        land_now(folder, (STARTED, "c3", 5))
        browser.send("Page.setWebLifecycleState", {"state": "active"})
        expect(page.locator("#now")).to_contain_text("c3", timeout=HANG_MS)


def test_behind_a_proxy_that_holds_back_what_is_streamed_a_page_asks_by_itself(
    folder: DataFolder, tmp_path: Path, page: Page
) -> None:
    def is_streamed(url: str) -> bool:
        return "/updates/" in url and "once=1" not in url

    page.route(is_streamed, lambda _: None)
    page.clock.install()
    with running_live(tmp_path) as url:
        page.goto(url)
        land_now(folder, (STARTED, "c3", 5))
        expect(page.locator("#now")).not_to_contain_text("c3")
        page.clock.fast_forward("00:20")
        expect(page.locator("#now")).to_contain_text("c3", timeout=HANG_MS)


def test_numbers_are_written_as_the_reader_writes_them(
    folder: DataFolder, tmp_path: Path, browser: Browser
) -> None:
    land_now(folder, *((STARTED, f"n{number}", 5 + number) for number in range(1000)))
    with running_live(tmp_path) as url:
        for locale, written in (("de-DE", "1.002"), ("en-US", "1,002")):
            context = browser.new_context(locale=locale)
            page = context.new_page()
            page.goto(url)
            expect(page.locator("#now .big data")).to_have_text(written, timeout=HANG_MS)
            context.close()
