"""The page in a real browser: every control works, no errors, nothing fetched, at every width."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fake_artifacts import fill, fill_explorer, fill_series, fill_studies
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.page import build

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader", "--disable-background-networking")
LOCAL = ("file:", "data:", "blob:", "about:")
COMPLAINTS, DRIVER = ("error", "warning", "assert"), "GL Driver Message"  # the software renderer's note on its speed
WIDTHS = (360, 390, 768, 1024, 1920)
DRAWN = "Surface.gl === null || (Surface.sides ?? []).length === 2"  # or WebGL is missing
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section that it can have."""
    ws = fill(Workspace(tmp_path_factory.mktemp("page"), "msd", "standard"))
    for more in (fill_explorer, fill_studies, fill_series):
        more(ws)
    return build.build(ws, source="0" * 64)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests; starting it takes longer than most of them."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """An empty tab; errors, warnings and requests of its page fail the test at its end."""
    page, wrong = browser.new_page(viewport={"width": 1280, "height": 900}, has_touch=True), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda one: wrong.append(one.text) if one.type in COMPLAINTS and DRIVER not in one.text else None
    )
    page.on("request", lambda one: None if one.url.startswith(LOCAL) else wrong.append(one.url))
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def page(tab: Page, html: Path) -> Page:
    """The page in the browser."""
    tab.goto(html.as_uri())
    return tab


@pytest.fixture
def viewer(page: Page) -> Page:
    """The page at the explorer, with its first case."""
    page.locator("#viewer").scroll_into_view_if_needed()
    expect(page.locator("#v-scores tbody tr")).to_have_count(4)
    page.wait_for_function(DRAWN)
    return page


def drawing(page: Page, selector: str) -> str:
    """What a canvas shows, as text that changes with it."""
    return page.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector)


def shown(page: Page, table: str = "runs") -> list[str]:
    """The first cells of a table's rows that are not filtered out."""
    return page.locator(f"#{table} tbody tr:not([hidden]) th").all_inner_texts()


def test_every_column_sorts_and_the_atlas_stays_first(page: Page) -> None:
    heads = page.locator("#runs thead th")
    assert heads.count() == 11
    for column in range(heads.count()):
        for wanted in ("ascending", "descending") if column == 0 else ("descending", "ascending"):
            heads.nth(column).locator("button").click()
            assert heads.nth(column).get_attribute("aria-sort") == wanted
            assert shown(page)[0].startswith("atlas-no-image")
            assert page.locator("#runs [aria-sort]").count() == 1
    page.locator("form[data-filters=runs] button").click()
    heads.nth(3).locator("button").press("Enter")
    values = [float(one.get_attribute("value")) for one in page.locator("#runs td:nth-child(4) > data").all()]
    assert values[1:] == sorted(values[1:], reverse=True) and len(values) == 17


def test_the_tables_filter(page: Page) -> None:
    assert len(shown(page)) == 5, "the main runs at first"
    page.locator("form[data-filters=runs] button").click()
    assert len(shown(page)) == 17
    page.fill("form[data-filters=runs] input", "flip")
    assert all(text.startswith("unet3d+flip") for text in shown(page))
    assert page.locator("form[data-filters=runs] output").inner_text() == "3 of 17 rows"
    page.locator("form[data-filters=runs] button").click()
    page.select_option("form[data-filters=runs] [data-field=folds]", "grouped 2")
    assert len(shown(page)) == 2 and shown(page)[0].startswith("atlas")
    page.select_option("form[data-filters=conclusion-rows] select", "worse")
    assert shown(page, "conclusion-rows") == []


def test_the_explorer_shows_cases_and_models(viewer: Page) -> None:
    text, scores = viewer.locator("#v-text"), viewer.locator("#v-scores tbody")
    expect(text).to_contain_text("the median one of unet2d")
    first = drawing(viewer, "[data-axis='0'] canvas")
    viewer.click("#v-after")
    expect(text).not_to_contain_text("median")
    assert drawing(viewer, "[data-axis='0'] canvas") != first
    viewer.click("#v-before")
    expect(text).to_contain_text("median")
    assert drawing(viewer, "[data-axis='0'] canvas") == first
    for rule in ("best", "worst"):
        viewer.click(f"#v-rules >> text={rule}")
        expect(text).to_contain_text(f"the {rule} one")
        assert viewer.locator("#v-rules [aria-pressed=true]").count() == 1
    before = scores.inner_text()
    viewer.select_option("#v-model", index=1)
    assert scores.inner_text() != before and "0.708" in scores.inner_text()
    viewer.locator("#plot-cases .dot[data-case='5']").click()
    expect(text).to_contain_text("Case 005")


def test_slices_scroll_by_key_and_pointer_and_layers_toggle(viewer: Page) -> None:
    sliders = [viewer.locator(f"[data-axis='{axis}'] input") for axis in range(3)]
    for axis, size in enumerate((20, 26, 18)):
        before, at = drawing(viewer, f"[data-axis='{axis}'] canvas"), int(sliders[axis].input_value())
        sliders[axis].press("ArrowRight")
        assert int(sliders[axis].input_value()) == at + 1
        assert drawing(viewer, f"[data-axis='{axis}'] canvas") != before
        assert sliders[axis].get_attribute("aria-valuetext").endswith(f"of {size}")
    canvas = viewer.locator("[data-axis='0'] canvas")
    places = []
    for x, y in ((90, 90), (170, 150)):
        canvas.click(position={"x": x, "y": y})
        places.append([slider.input_value() for slider in sliders[1:]])
    assert all(a != b for a, b in zip(*places, strict=True))
    pictures = {drawing(viewer, "[data-axis='1'] canvas")}
    for layer in ("#v-truth", "#v-mask", "#v-wrong"):
        viewer.click(layer)
        pictures.add(drawing(viewer, "[data-axis='1'] canvas"))
    assert len(pictures) == 4


def test_the_surface_turns(viewer: Page) -> None:
    if viewer.evaluate("Surface.gl === null"):
        assert "no WebGL" in viewer.locator(".solid").inner_text()
        pytest.skip("this browser offers no WebGL")
    canvas, seen = viewer.locator("#v-surface"), []

    def turned() -> None:
        seen.append(drawing(viewer, "#v-surface"))
        assert len(seen) == len(set(seen)), "nothing changed"

    turned()
    for button in (0, 2, 4):  # the others turn back, or shrink again
        viewer.locator("[data-turn]").nth(button).click()
        turned()
    for key in ("ArrowLeft", "ArrowUp", "+"):
        canvas.press(key)
        turned()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.mouse.move(x, y)
    viewer.mouse.down()
    viewer.mouse.move(x + 60, y + 20)
    viewer.mouse.up()
    turned()
    session, size = viewer.context.new_cdp_session(viewer), viewer.evaluate("Surface.zoom")
    for kind, fingers in (("touchStart", [-20]), ("touchStart", [-20, 20]), ("touchMove", [-60, 60]), ("touchEnd", [])):
        points = [{"x": x + at, "y": y, "id": finger} for finger, at in enumerate(fingers)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert viewer.evaluate("Surface.zoom") > 1.5 * size, "two fingers enlarge"
    turned()
    for layer in ("#v-truth", "#v-mask"):
        viewer.click(layer)
        turned()


def test_the_wheel_scrolls_the_page_until_a_picture_has_the_focus(viewer: Page) -> None:
    states = {
        "#v-surface": "Surface.zoom",
        "[data-axis='1'] canvas": "document.querySelectorAll('.pane input')[1].value",
    }
    for selector, state in states.items():
        if selector == "#v-surface" and viewer.evaluate("Surface.gl === null"):
            continue
        viewer.locator(selector).hover()
        before, at = viewer.evaluate(state), viewer.evaluate("scrollY")
        viewer.mouse.wheel(0, 60)
        viewer.wait_for_function(f"scrollY > {at}")
        assert viewer.evaluate(state) == before
        viewer.locator(selector).click()
        pressed, at = viewer.evaluate(state), viewer.evaluate("scrollY")
        viewer.mouse.wheel(0, 60)
        viewer.wait_for_function(f"{state} != {pressed}")
        assert viewer.evaluate("scrollY") == at


def test_surfaces_have_the_masks_volume(viewer: Page) -> None:
    # The divergence theorem on the browser's mesh, against the voxels of the mask that it was made from.
    volumes, voxels = viewer.evaluate(
        "Volumes.load(3).then(({ masks, shape }) => [Mesh.surfaces(masks[0], shape)"
        ".map(({ vertices: p, triangles: t }) => {"
        "let sum = 0; for (let i = 0; i < t.length; i += 3) { const [a, b, c] = [3 * t[i], 3 * t[i + 1], 3 * t[i + 2]];"
        "sum += p[a] * (p[b + 1] * p[c + 2] - p[b + 2] * p[c + 1]) + p[a + 1] * (p[b + 2] * p[c] - p[b] * p[c + 2])"
        "+ p[a + 2] * (p[b] * p[c + 1] - p[b + 1] * p[c]); } return sum / 6; }),"
        "[1, 2].map((k) => masks[0].filter((v) => v === k).length)])"
    )
    for volume, expected in zip(volumes, voxels, strict=True):
        assert volume == pytest.approx(expected, rel=0.08), "outwards, closed, and of the right size"


def test_dots_show_their_values(page: Page) -> None:
    text, texts = page.locator("#plot-cases .plot-text"), []
    for _ in range(2):
        texts.append(text.inner_text())
        page.locator("#plot-cases").press("ArrowRight")
    assert len({*texts, text.inner_text()}) == 3
    dot = page.locator("#plot-cases .dot").first
    dot.hover()
    assert text.inner_text() == dot.get_attribute("data-tip")


def test_albums_open_and_figures_enlarge(page: Page) -> None:
    album, dialog = page.locator("#notebook-02 .album"), page.locator("#zoom")
    album.locator("summary").click()
    album.locator(".paper img").first.click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    album.locator(".zoom-button").first.press("Enter")
    dialog.locator("button").click()
    expect(dialog).to_be_hidden()
    page.evaluate("document.getElementById('limits').scrollIntoView({ behavior: 'instant' })")
    page.wait_for_function("document.querySelector('.toc [aria-current]')?.hash === '#limits'")


def test_it_fits_every_width(page: Page) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"at {width} pixels"
        small = page.evaluate(
            "[...document.querySelectorAll('main button, main select, main summary')].filter((e) => e.offsetParent"
            " && !e.matches('th button, .zoom-button') && e.getBoundingClientRect().height < 24)"
            ".map((e) => e.outerHTML)"
        )
        assert small == [], "too small for a finger"


def test_without_script_tables_and_figures_show(browser: Browser, html: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(html.as_uri())
    assert page.locator("#runs tbody tr:visible").count() == 17 and page.locator("[hidden]").count() == 0
    assert page.locator(".without-js").is_visible() and not page.locator("#viewer").is_visible()
    assert page.locator("details.album img").count() >= 12
    page.context.close()


def test_it_prints(page: Page) -> None:
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") >= 4
    page.emulate_media(media="print")
    assert page.locator(":is(.toc, .filters, .viewer):visible").count() == 0
    assert page.locator("#runs").is_visible()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(viewer: Page, scheme: str, width: int) -> None:
    viewer.emulate_media(color_scheme=scheme)
    viewer.set_viewport_size({"width": width, "height": 900})
    viewer.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = Axe().run(viewer)
    assert found.violations_count == 0, found.generate_report()


def test_the_committed_page_is_quick(tab: Page) -> None:
    path = Workspace(project_root(), "msd", "standard").page
    if not path.is_file():
        pytest.skip("no page of the real data is here yet: run `make all` with HIPPOSEG_DATA set")
    tab.goto(path.as_uri())
    tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
    assert tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 1000
    tab.locator("#viewer").scroll_into_view_if_needed()
    expect(tab.locator("#v-scores tbody tr")).to_have_count(4)
