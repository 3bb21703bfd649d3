"""Every page by axe-core, in both themes and at two widths: nothing that it calls serious or critical."""

from urllib.parse import quote

import pytest

from tests.pipeline.view.browse.conftest import HOSTILE

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

PAGES = (
    "/", "/?split=test", "/videos", "/videos?status=failed", "/videos?q=nothing+is+called+so",
    f"/video?id={quote('videos/clip 01')}", f"/video?id={quote(HOSTILE)}", "/video?id=videos/garbage",
    "/video?id=nobody", "/runs", "/run?name=tiny", "/compare?a=tiny&b=tiny", "/nothing",
)  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_has_a_serious_fault(browser, site, theme, width):
    context = browser.new_context(
        base_url=site.url, viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
    )
    page, faults = context.new_page(), []
    for path in PAGES:
        page.goto(path, wait_until="networkidle")
        found = axe.Axe().run(page).response
        assert found["passes"], path  # it ran
        faults += [
            (
                path,
                fault["id"],
                fault["help"],
                [(node["html"][:120], node.get("failureSummary", "")) for node in fault["nodes"][:3]],
            )
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    context.close()
    assert not faults, "\n".join(map(str, faults))
