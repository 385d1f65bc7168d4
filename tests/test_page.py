"""The page in a real browser: every control used, nothing complained about, nothing fetched, at every width."""

import base64
import json
from pathlib import Path

import axe_playwright_python
import pytest
from browser import Browser, program
from fake_artifacts import fill, fill_explorer, fill_series, fill_studies

from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.page import build

WIDTHS = (360, 390, 768, 1024, 1920)
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium on this machine (Debian: apt install chromium)")
DRAWN = "Surface.gl === null || (Surface.sides ?? []).length === 2"  # or there is no WebGL


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section that there can be."""
    ws = fill(Workspace(tmp_path_factory.mktemp("page"), "msd", "standard"))
    for more in (fill_explorer, fill_studies, fill_series):
        more(ws)
    return build.build(ws, source="0" * 64)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory):
    """One browser for all tests; starting it takes longer than most of them."""
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def open_page(tab: Browser, page: Path):
    """The page in the browser; whatever it complained about or asked for fails the test at its end."""
    tab.errors.clear(), tab.requests.clear()
    tab.open(page)
    yield tab
    assert tab.errors == []
    assert tab.requests == []


def drawing(tab: Browser, selector: str) -> str:
    """What a canvas shows, as text that changes with it."""
    return tab.js(f"document.querySelector({json.dumps(selector)}).toDataURL()")


def ready(tab: Browser) -> None:
    """Go to the explorer and wait for its first case."""
    tab.place("#viewer")
    tab.until("document.querySelectorAll('#v-scores tbody tr').length === 4")


def test_every_column_sorts_and_the_atlas_stays_first(open_page: Browser) -> None:
    heads = open_page.js("document.querySelectorAll('#runs thead button').length")
    assert heads == 11
    for column in range(1, heads + 1):
        for wanted in ("ascending", "descending") if column == 1 else ("descending", "ascending"):
            open_page.js(f"document.querySelector('#runs th:nth-child({column}) button').click()")
            assert open_page.js(f"document.querySelector('#runs th:nth-child({column})').ariaSort") == wanted
            assert open_page.js("document.querySelector('#runs tbody tr').dataset.run").startswith("atlas-no-image")
            assert open_page.js("document.querySelectorAll('#runs [aria-sort]').length") == 1
    cells = "[...document.querySelectorAll('#runs tbody tr')].slice(1).map((r) => r.cells[3])"
    shown = f"{cells}.map((cell) => Number(cell.querySelector('data').value))"
    open_page.key("#runs th:nth-child(4) button", "Enter")
    values = open_page.js(shown)
    assert values == sorted(values, reverse=True) and len(values) == 16


def test_the_table_filters(open_page: Browser) -> None:
    seen = "[...document.querySelectorAll('#runs tbody tr')].filter((r) => !r.hidden).map((r) => r.dataset.run)"
    main = open_page.js(seen)
    assert len(main) == 5 and all(".grouped0.s0.standard" in run for run in main), "the main runs at first"
    open_page.click("form[data-filters=runs] button[type=reset]")
    assert len(open_page.js(seen)) == 17
    open_page.key("form[data-filters=runs] input", *"flip")
    assert open_page.js(seen) == [f"unet3d+flip.grouped0.s{seed}.standard" for seed in (2, 1, 0)]
    assert open_page.js("document.querySelector('form[data-filters=runs] output').textContent") == "3 of 17 rows"
    open_page.click("form[data-filters=runs] button[type=reset]")
    open_page.choose("form[data-filters=runs] select[data-field=folds]", 3)
    kept = open_page.js(seen)
    assert len(kept) == 2 and kept[0].startswith("atlas") and ".grouped2." in kept[1]
    open_page.choose("form[data-filters=verdict-rows] select", 2)
    assert open_page.js("document.querySelectorAll('#verdict-rows tbody tr:not([hidden])').length") == 0


def test_the_explorer_shows_cases_and_models(open_page: Browser) -> None:
    tab = open_page
    ready(tab)
    said = "document.getElementById('v-said').textContent"
    assert "the median one of unet2d" in tab.js(said)
    first = drawing(tab, "[data-axis='0'] canvas")
    tab.click("#v-after")
    tab.until(f"!{said}.includes('median')")
    assert drawing(tab, "[data-axis='0'] canvas") != first
    tab.click("#v-before")
    tab.until(f"{said}.includes('median')")
    assert drawing(tab, "[data-axis='0'] canvas") == first
    for rule in ("best", "worst"):
        tab.js(f"[...document.querySelectorAll('#v-rules button')].find((b) => b.textContent === '{rule}').click()")
        tab.until(f"{said}.includes('the {rule} one')")
        assert tab.js("document.querySelectorAll('#v-rules [aria-pressed=true]').length") == 1
    scores = tab.js("document.getElementById('v-scores').tBodies[0].textContent")
    tab.choose("#v-model", 1)
    assert tab.js("document.getElementById('v-scores').tBodies[0].textContent") != scores
    assert "0.708" in tab.js("document.getElementById('v-scores').tBodies[0].textContent")
    tab.choose("#v-case", 2)
    tab.until(f"{said}.startsWith('Case 005')")


def test_slices_scroll_by_key_and_pointer_and_layers_toggle(open_page: Browser) -> None:
    tab = open_page
    ready(tab)
    for axis, size in enumerate((20, 26, 18)):
        pane = f"[data-axis='{axis}']"
        before, at = drawing(tab, f"{pane} canvas"), tab.js(f'document.querySelector("{pane} input").value')
        tab.key(f"{pane} input", "ArrowRight")
        assert int(tab.js(f'document.querySelector("{pane} input").value')) == int(at) + 1
        assert drawing(tab, f"{pane} canvas") != before
        assert tab.js(f'document.querySelector("{pane} input").ariaValueText').endswith(f"of {size}")
    x, y = tab.place("[data-axis='0'] canvas")
    tab.mouse(x - 40, y - 30)
    sliders = "[1, 2].map((n) => document.querySelector(`[data-axis='${n}'] input`).value)"
    moved = tab.js(sliders)
    tab.mouse(x + 40, y + 30)
    assert all(a != b for a, b in zip(moved, tab.js(sliders), strict=True))
    pictures = {drawing(tab, "[data-axis='1'] canvas")}
    for layer in ("#v-truth", "#v-mask", "#v-wrong"):
        tab.click(layer)
        pictures.add(drawing(tab, "[data-axis='1'] canvas"))
    assert len(pictures) == 4


def test_the_surface_turns(open_page: Browser) -> None:
    tab = open_page
    ready(tab)
    tab.until(DRAWN)
    if not tab.js("Surface.gl !== null"):
        assert "no WebGL" in tab.js("document.querySelector('.solid').textContent")
        pytest.skip("this browser offers no WebGL")
    canvas, seen = "#v-surface", []

    def turned() -> None:
        seen.append(drawing(tab, canvas))
        assert len(seen) == len(set(seen)), "nothing changed"

    turned()
    coloured = tab.js(
        "(() => { const g = Surface.gl, p = new Uint8Array(4 * g.drawingBufferWidth * g.drawingBufferHeight);"
        "g.readPixels(0, 0, g.drawingBufferWidth, g.drawingBufferHeight, g.RGBA, g.UNSIGNED_BYTE, p);"
        "let n = 0; for (let i = 3; i < p.length; i += 4) n += p[i] > 0; return n / (p.length / 4); })()"
    )
    assert coloured > 0.02
    for button in range(6):
        tab.js(f"document.querySelectorAll('[data-turn]')[{button}].click()")
        if button % 2 == 0:  # each second one turns back, or shrinks again
            turned()
    for keys in (("ArrowLeft",), ("ArrowUp",), ("+",), ("-", "-")):
        tab.key(canvas, *keys)
        turned()
    x, y = tab.place(canvas)
    tab.mouse(x, y, to=(x + 60, y + 20))
    turned()
    tab.send("Emulation.setTouchEmulationEnabled", enabled=True)
    tab.touch(x, y, to=(x - 90, y))
    turned()
    size = tab.js("Surface.zoom")
    tab.pinch((x - 20, y), (x + 20, y), apart=40)
    tab.send("Emulation.setTouchEmulationEnabled", enabled=False)
    assert tab.js("Surface.zoom") > 1.5 * size
    turned()
    for layer in ("#v-truth", "#v-mask"):
        tab.click(layer)
        turned()


def test_the_wheel_is_the_page_s_until_a_picture_has_the_focus(open_page: Browser) -> None:
    tab = open_page
    ready(tab)
    tab.until(DRAWN)
    cases = (
        ("#v-surface", "Surface.zoom"),
        ("[data-axis='1'] canvas", "document.querySelector('[data-axis=\\'1\\'] input').value"),
    )
    for canvas, state in cases:
        if canvas == "#v-surface" and tab.js("Surface.gl === null"):
            continue
        x, y = tab.place(canvas)
        before, at = tab.js(state), tab.js("scrollY")
        tab.wheel(x, y, 60)
        tab.until(f"scrollY > {at}")
        assert tab.js(state) == before
        tab.click(canvas)
        pressed, at = tab.js(state), tab.js("scrollY")
        tab.wheel(*tab.place(canvas), 60)
        tab.until(f"{state} != {pressed}")
        assert tab.js("scrollY") == at


def test_surfaces_have_the_masks_volume(open_page: Browser) -> None:
    # The divergence theorem on the browser's mesh, against the voxels of the mask that it was made from.
    tab = open_page
    ready(tab)
    volumes, voxels = tab.js(
        "Volumes.load(3).then(({ masks, shape }) => [Mesh.surfaces(masks[0], shape)"
        ".map(({ vertices: p, triangles: t }) => {"
        "let sum = 0; for (let i = 0; i < t.length; i += 3) { const [a, b, c] = [3 * t[i], 3 * t[i + 1], 3 * t[i + 2]];"
        "sum += p[a] * (p[b + 1] * p[c + 2] - p[b + 2] * p[c + 1]) + p[a + 1] * (p[b + 2] * p[c] - p[b] * p[c + 2])"
        "+ p[a + 2] * (p[b] * p[c + 1] - p[b + 1] * p[c]); } return sum / 6; }),"
        "[1, 2].map((k) => masks[0].filter((v) => v === k).length)])"
    )
    for volume, expected in zip(volumes, voxels, strict=True):
        assert volume == pytest.approx(expected, rel=0.08), "outwards, closed, and of the right size"


def test_panels_are_chosen_and_plots_speak(open_page: Browser) -> None:
    tab = open_page
    for box in ("#inflation [data-choose]", "#trust [data-choose=Method]", "#trust [data-choose^=Width]"):
        visible = f"[...document.querySelectorAll('{box} > [data-choice]')].map((p) => !p.hidden)"
        assert tab.js(visible) == [True, False]
        tab.choose(f"{box} select", 1)
        assert tab.js(visible) == [False, True]
    for plot in tab.js("[...document.querySelectorAll('[data-plot]')].filter((p) => p.offsetParent).map((p) => p.id)"):
        said = f"document.querySelector('#{plot} .plot-said').textContent"
        hint = tab.js(said)
        tab.key(f"#{plot}", "ArrowRight")
        first = tab.js(said)
        tab.key(f"#{plot}", "ArrowRight")
        assert len({hint, first, tab.js(said)}) == 3
        x, y = tab.place(f"#{plot} .dot")
        tab.mouse(x, y)
        assert tab.js(said) in tab.js(f"[...document.querySelectorAll('#{plot} .dot')].map((d) => d.dataset.tip)")


def test_a_dot_opens_its_case(open_page: Browser) -> None:
    open_page.click("#plot-cases .dot[data-case='5']")
    open_page.until("document.getElementById('v-said').textContent.startsWith('Case 005')")


def test_albums_open_and_figures_enlarge(open_page: Browser) -> None:
    tab = open_page
    tab.click("#notebook-02 .album summary")
    assert tab.js("document.querySelector('#notebook-02 .album').open")
    tab.click("#notebook-02 .paper img")
    assert tab.js("document.getElementById('zoom').open")
    tab.key("#zoom button", "Escape")
    assert not tab.js("document.getElementById('zoom').open")
    tab.key("#notebook-02 .zoom-button", "Enter")
    assert tab.js("document.getElementById('zoom').open")
    tab.click("#zoom button")
    assert not tab.js("document.getElementById('zoom').open")
    tab.click("#notebook-02 .facts summary")
    assert tab.js("document.querySelector('#notebook-02 .facts').open")
    tab.js("document.getElementById('limits').scrollIntoView({ behavior: 'instant' })")
    tab.until("document.querySelector('.toc [aria-current]')?.hash === '#limits'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width(open_page: Browser, scheme: str) -> None:
    for width in WIDTHS:
        open_page.resize(width, scheme=scheme)
        found = open_page.js("[document.documentElement.scrollWidth, innerWidth]")
        assert found[0] <= found[1] == width, f"{width} pixels: the page is {found[0]} wide"
        small = open_page.js(
            "[...document.querySelectorAll('main button, main select, main summary')].filter((e) => e.offsetParent"
            " && !e.matches('th button, .zoom-button') && e.getBoundingClientRect().height < 24)"
            ".map((e) => e.outerHTML)"
        )
        assert small == [], "too small for a finger"
        names = "[...document.querySelectorAll('.forest-name')].filter((e) => e.offsetParent).map((e) => e.offsetWidth)"
        assert min(open_page.js(names)) >= 120, "a name of one or two letters a line"


def test_without_script_tables_and_figures_show(tab: Browser, page: Path) -> None:
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(page)
        document = tab.send("DOM.getDocument", depth=-1)["root"]
        counts = {
            selector: len(tab.send("DOM.querySelectorAll", nodeId=document["nodeId"], selector=selector)["nodeIds"])
            for selector in ("#runs tbody tr", ".lightbox svg.slice", "details.album img", "[data-choice]", "[hidden]")
        }
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)
    assert counts["#runs tbody tr"] == 17 and counts[".lightbox svg.slice"] == 12
    assert counts["[data-choice]"] == 6 and counts["[hidden]"] == 0
    assert counts["details.album img"] >= 12


def test_it_prints(open_page: Browser) -> None:
    pdf = base64.b64decode(open_page.send("Page.printToPDF", printBackground=False)["data"])
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") >= 4
    open_page.send("Emulation.setEmulatedMedia", media="print")
    gone = "[...document.querySelectorAll('.toc, .filters, .viewer, .choose')].filter((e) => e.offsetParent).length"
    assert open_page.js(gone) == 0
    assert open_page.js("document.querySelector('#runs').offsetHeight") > 0
    open_page.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Browser, scheme: str, width: int) -> None:
    open_page.resize(width, scheme=scheme)
    ready(open_page)
    open_page.js("for (const d of document.querySelectorAll('details')) d.open = true")
    open_page.js(AXE.read_text(encoding="utf-8") + ";0")
    found = open_page.js(
        "axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 120))]))"
    )
    assert found == []


@pytest.fixture
def committed(tab: Browser):
    """The page of the real data in the browser."""
    path = Workspace(project_root(), "msd", "standard").page
    if not path.is_file():
        pytest.skip("no page of the real data is here yet: run `make all` with HIPPOSEG_DATA set")
    tab.errors.clear(), tab.requests.clear()
    tab.open(path)
    yield tab
    assert tab.errors == [] and tab.requests == []


def test_the_committed_page_is_quick(committed: Browser) -> None:
    committed.until("performance.getEntriesByName('first-contentful-paint').length > 0")
    assert committed.js("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 1000


def test_the_committed_page_s_controls_work(committed: Browser) -> None:
    tab = committed
    rows = "[...document.querySelectorAll('#runs tbody tr')].filter((r) => !r.hidden)"
    tab.key("#runs th:nth-child(4) button", "Enter")
    values = tab.js(f"{rows}.slice(1).map((r) => Number(r.cells[3].querySelector('data').value))")
    assert len(values) > 1 and values == sorted(values, reverse=True)
    tab.click("form[data-filters=runs] button[type=reset]")
    every = tab.js(f"{rows}.length")
    tab.key("form[data-filters=runs] input", *"attention")
    assert 0 < tab.js(f"{rows}.length") < every
    ready(tab)
    said = tab.js("document.getElementById('v-said').textContent")
    tab.choose("#v-case", 1)
    tab.until(f"document.getElementById('v-said').textContent !== {json.dumps(said)}")
    tab.until(DRAWN)
    if tab.js("Surface.gl === null"):
        pytest.skip("this browser offers no WebGL")
    for layer, sides in (("#v-truth", 1), ("#v-mask", 0), ("#v-truth", 1)):
        before = drawing(tab, "#v-surface")
        tab.click(layer)
        assert tab.js("Surface.sides.length") == sides and drawing(tab, "#v-surface") != before
