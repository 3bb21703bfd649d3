"""The page in a real browser: what a person does there."""

from urllib.parse import quote

import pytest

from tests.pipeline.view.browse.conftest import HOSTILE

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect


@pytest.fixture
def page(browser, site):
    """A page whose scripts made no error, and that asked nobody else for anything."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    page, errors, foreign = context.new_page(), [], []
    page.on("pageerror", lambda error: errors.append(error))
    page.on(
        "request",
        lambda request: foreign.append(request.url) if not request.url.startswith(("blob:", site.url)) else None,
    )
    yield page
    context.close()
    assert errors == [] and foreign == []


def test_a_bar_filters_and_the_way_back_works(page):
    page.goto("/")
    page.get_by_role("link", name="test", exact=False).first.click()
    page.wait_for_url("**split=test**")
    expect(page.get_by_text("6 of 13 videos")).to_be_visible()
    page.get_by_role("link", name="Show these videos").click()
    expect(page.locator("a.video")).to_have_count(6)
    page.go_back()
    page.go_back()
    expect(page.get_by_text("all 13 videos")).to_be_visible()


def test_the_player_steps_plays_and_shows_flow(page):
    page.goto(f"/video?id={quote('videos/clip 01')}")
    player = page.locator("#player")
    expect(player).to_have_attribute("data-row", "0")
    page.get_by_role("button", name="One frame on").click()
    expect(player).to_have_attribute("data-row", "1")
    page.locator("body").press("End")
    expect(player).to_have_attribute("data-row", "8")
    page.locator("body").press("Home")
    expect(player).to_have_attribute("data-row", "0")
    colours = """(id) => { const c = document.getElementById(id);
        return new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size }"""
    assert min(page.evaluate(colours, name) for name in ("frame", "colour", "plane-x", "plane-y")) > 5
    page.get_by_role("button", name="Play", exact=True).click()
    expect(player).not_to_have_attribute("data-row", "0")
    page.locator("#colour").hover()
    expect(page.locator("#value")).to_contain_text("pixels per step")
    expect(page.get_by_text("ShardReader(").first).to_be_visible()


def test_a_failed_video_is_explained(page):
    page.goto("/videos?status=failed")
    page.locator("a.video").first.click()
    expect(page.locator(".explained").first).to_contain_text("failed", ignore_case=True)
    expect(page.get_by_text("Nothing of this video is stored").first).to_be_visible()


def test_a_cell_of_the_confusion_opens_the_videos_behind_it(page):
    page.goto("/runs")
    page.get_by_role("link", name="tiny", exact=True).click()
    cell = page.locator("#confusion tbody tr", has_text="right").get_by_role("link").first
    count = int(cell.inner_text())
    cell.click()
    assert count > 0
    expect(page.locator("a.video")).to_have_count(count)
    expect(page.get_by_text("wrong: left").first).to_be_visible()


def test_an_unknown_video_has_a_page_that_says_so(page):
    assert page.goto("/video?id=nobody").status == 404
    assert page.get_by_role("heading", name="No such video").is_visible()


def test_a_name_that_is_a_script_is_shown_and_not_run(page):
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(f"/video?id={quote(HOSTILE)}")
    assert page.get_by_role("heading", level=1).inner_text() == HOSTILE


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_a_narrow_screen(browser, site, theme):
    context = browser.new_context(base_url=site.url, viewport={"width": 400, "height": 800}, color_scheme=theme)
    page = context.new_page()
    for path in ("/", "/videos", f"/video?id={quote('videos/clip 01')}", "/runs", "/run?name=tiny"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, path
    context.close()
