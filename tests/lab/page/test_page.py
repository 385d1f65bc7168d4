"""The pages in a real browser: every control works, no errors, nothing fetched, at every width, within budget."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def watched(browser: Browser, **options: object) -> Iterator[Page]:
    """An empty tab; errors, warnings and requests of its page fail the test at its end."""
    page, wrong = browser.new_page(viewport={"width": 1280, "height": 900}, has_touch=True, **options), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda one: wrong.append(one.text) if one.type in COMPLAINTS and DRIVER not in one.text else None
    )
    page.on("request", lambda one: None if one.url.startswith(LOCAL) else wrong.append(one.url))
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A watched tab in which tests may evaluate text, which the pages' own policy refuses."""
    with watched(browser, bypass_csp=True) as page:
        yield page


@pytest.fixture
def strict(browser: Browser) -> Iterator[Page]:
    """A watched tab under the pages' own policy; what it refuses is an error in the console."""
    with watched(browser) as page:
        yield page


@pytest.fixture
def page(tab: Page, html: Path) -> Page:
    """The front page in the browser."""
    tab.goto(html.as_uri())
    return tab


@pytest.fixture
def lab(tab: Page, html: Path) -> Page:
    """The laboratory in the browser."""
    tab.goto((html.parent / "artifacts" / "page" / "laboratory.html").as_uri())
    return tab


@pytest.fixture
def viewer(page: Page) -> Page:
    """The front page with the explorer's first case."""
    expect(page.locator("#v-scores tbody tr")).to_have_count(4)
    page.wait_for_function(DRAWN)
    return page


def drawing(page: Page, selector: str) -> str:
    """What a canvas shows, as text that changes with it."""
    return page.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector)


def shown(page: Page, table: str = "runs") -> list[str]:
    """The first cells of a table's rows that are not filtered out."""
    return page.locator(f"#{table} tbody tr:not([hidden]) th").all_inner_texts()


def test_every_column_sorts_and_the_atlas_stays_first(lab: Page) -> None:
    heads = lab.locator("#runs thead th")
    assert heads.count() == 11
    for column in range(heads.count()):
        for wanted in ("ascending", "descending") if column == 0 else ("descending", "ascending"):
            heads.nth(column).locator("button").click()
            assert heads.nth(column).get_attribute("aria-sort") == wanted
            assert "atlas-no-image" in shown(lab)[0]
            assert lab.locator("#runs [aria-sort]").count() == 1
    lab.locator("form[data-filters=runs] button").click()
    heads.nth(3).locator("button").press("Enter")
    values = [float(one.get_attribute("value")) for one in lab.locator("#runs td:nth-child(4) > data").all()]
    assert values[1:] == sorted(values[1:], reverse=True) and len(values) == 17


def test_the_tables_filter_and_count_what_they_hide(lab: Page) -> None:
    form = lab.locator("form[data-filters=runs]")
    assert len(shown(lab)) == 5, "the main runs at first"
    form.locator("input").fill("flip")
    assert form.locator("output").inner_text() == "0 of 17 rows; 3 more hits hidden by the other filters"
    form.locator("button").click()
    assert len(shown(lab)) == 17
    form.locator("input").fill("flip")
    assert all("unet3d+flip" in text for text in shown(lab))
    assert form.locator("output").inner_text() == "3 of 17 rows"
    form.locator("button").click()
    form.locator("[data-field=folds]").select_option("grouped 2")
    assert len(shown(lab)) == 2 and "atlas" in shown(lab)[0]
    lab.select_option("form[data-filters=conclusion-rows] select", "worse")
    assert shown(lab, "conclusion-rows") == []


def test_an_address_opens_what_it_names(lab: Page) -> None:
    assert not lab.locator("#notebook-02 img").first.is_visible()
    lab.goto(f"{lab.url}#notebook-02")
    expect(lab.locator("#notebook-02 img").first).to_be_visible()
    assert abs(lab.evaluate("document.getElementById('notebook-02').getBoundingClientRect().top")) < 40


def test_the_explorer_shows_cases_and_models(viewer: Page) -> None:
    text, scores = viewer.locator("#v-text"), viewer.locator("#v-scores tbody")
    expect(text).to_contain_text("the median of The model unet2d")
    assert viewer.locator("#v-rules").inner_text().startswith("By Dice of The model unet2d:")
    first = drawing(viewer, "[data-axis='0'] canvas")
    viewer.click("#v-after")
    expect(text).not_to_contain_text("median")
    assert drawing(viewer, "[data-axis='0'] canvas") != first
    viewer.click("#v-before")
    expect(text).to_contain_text("median")
    assert drawing(viewer, "[data-axis='0'] canvas") == first
    for rule in ("best", "worst"):
        viewer.click(f"#v-rules button >> text={rule}")
        expect(text).to_contain_text(f"the {rule} of The model unet2d")
        assert viewer.locator("#v-rules [aria-pressed=true]").count() == 1
    before = scores.text_content()
    viewer.select_option("#v-model", index=1)
    expect(text).to_contain_text("The model atlas-no-image: Dice")
    assert scores.text_content() != before
    viewer.locator("#plot-cases .dot[data-case='5']").click()
    expect(text).to_contain_text("Case 005")


def test_the_next_case_comes_in_under_a_third_of_a_second(viewer: Page) -> None:
    took = viewer.evaluate(
        "new Promise((done) => { const from = performance.now(), text = document.getElementById('v-text');"
        "new MutationObserver(() => done(performance.now() - from)).observe(text, { childList: true });"
        "document.getElementById('v-after').click(); })"
    )
    assert took < 300


def test_slices_move_by_key_and_pointer_and_layers_toggle(viewer: Page) -> None:
    sliders = [viewer.locator(f"[data-axis='{axis}'] input") for axis in range(3)]
    for axis, size in enumerate((20, 26, 18)):
        before, at = drawing(viewer, f"[data-axis='{axis}'] canvas"), int(sliders[axis].input_value())
        sliders[axis].press("ArrowRight")
        assert int(sliders[axis].input_value()) == at + 1
        assert drawing(viewer, f"[data-axis='{axis}'] canvas") != before
        assert sliders[axis].get_attribute("aria-valuetext").endswith(f"of {size}")
    canvas = viewer.locator("[data-axis='0'] canvas")
    found = []
    for x, y in ((110, 90), (150, 112)):
        canvas.click(position={"x": x, "y": y})
        found.append([slider.input_value() for slider in sliders[1:]])
    assert all(a != b for a, b in zip(*found, strict=True))
    pictures = {drawing(viewer, "[data-axis='1'] canvas")}
    for layer in ("#v-truth", "#v-mask", "#v-wrong"):
        viewer.click(layer)
        pictures.add(drawing(viewer, "[data-axis='1'] canvas"))
    viewer.locator("#v-truth").check()
    viewer.locator("#v-opacity").fill("90")
    pictures.add(drawing(viewer, "[data-axis='1'] canvas"))
    assert len(pictures) == 5


def test_a_held_key_hides_the_outlines(viewer: Page) -> None:
    seen = drawing(viewer, "[data-axis='0'] canvas")
    viewer.keyboard.down("b")
    bare = drawing(viewer, "[data-axis='0'] canvas")
    viewer.keyboard.up("b")
    assert bare != seen == drawing(viewer, "[data-axis='0'] canvas")
    viewer.locator("#v-blink").hover()
    viewer.mouse.down()
    assert drawing(viewer, "[data-axis='0'] canvas") == bare
    viewer.mouse.up()
    assert drawing(viewer, "[data-axis='0'] canvas") == seen


def test_tissue_is_interpolated_and_masks_are_not(viewer: Page) -> None:
    # Inside one voxel the grey changes; the colour of a filled mask, drawn over black, does not.
    found = viewer.evaluate("""() => {
      const canvas = document.createElement("canvas"), paper = canvas.getContext("2d", { willReadFrequently: true });
      [canvas.width, canvas.height] = [40, 40];
      const place = { left: 0, top: 0, scale: 20, ratio: 1 }, seen = [];
      const at = (x) => paper.getImageData(x + 1, 10, 1, 1).data.join();
      const row = () => new Set(Array.from({ length: 18 }, (_, x) => at(x))).size;
      Slices.grey(paper, { grey: [0, 255, 0, 255] }, 2, 2, (h, v) => 2 * v + h, place);
      seen.push(row());
      paper.clearRect(0, 0, 40, 40);
      Slices.paint(paper, 2, 2, place, 1, (h) => (h ? [255, 0, 0] : [0, 0, 255]));
      return [...seen, row()];
    }""")
    assert found[0] > 3 and found[1] == 1


def test_a_network_is_watched_while_it_learns(viewer: Page) -> None:
    chosen, text = viewer.locator("#v-case"), viewer.locator("#v-text")
    voxels = "Explorer.lesson && Explorer.lesson.mask.reduce((sum, one) => sum + (one > 0), 0)"
    slider = viewer.locator("#v-epoch")
    slider.press("ArrowLeft")
    expect(text).to_contain_text("after epoch 1 of its training: mean Dice 0.000")
    assert viewer.evaluate(voxels) == 0
    opened = viewer.evaluate("Volumes.index.cases[Explorer.number].case")
    assert opened == viewer.evaluate("Volumes.index.learning.case")
    slider.press("ArrowRight")
    expect(text).to_contain_text("after epoch 4 of its training: mean Dice 1.000")
    assert viewer.evaluate(voxels) == viewer.evaluate("Explorer.volume.masks[0].filter((one) => one).length")
    slider.press("ArrowLeft")
    chosen.select_option("0")
    expect(text).not_to_contain_text("epoch")
    assert viewer.evaluate("Explorer.lesson") is None and slider.input_value() == "1", "back at the trained model"


def test_a_drawn_outline_is_scored(viewer: Page) -> None:
    viewer.click("#v-draw")
    text = viewer.locator("#draw-text")
    viewer.click("#draw-done")
    assert text.inner_text() == "Draw an outline first."
    # The expert's own outline, followed voxel by voxel along its rows, must score 1.
    viewer.evaluate("""() => {
      const canvas = document.querySelector("#draw canvas"), { left, top, scale, ratio, height } = canvas.place;
      const { index, width } = Slices.cut(Explorer.volume.shape, 0, Explorer.cross[0]);
      const rows = [];
      for (let v = 0; v < height; v++) {
        const inside = Array.from({ length: width }, (_, h) => h).filter((h) => Explorer.volume.masks[0][index(h, v)]);
        if (inside.length) rows.push([v, inside[0], inside.at(-1) + 1]);
      }
      const up = rows.flatMap(([v, a]) => [[a, v], [a, v + 1]]);
      const outline = [...up, ...rows.reverse().flatMap(([v, , b]) => [[b, v + 1], [b, v]])];
      const box = canvas.getBoundingClientRect();
      canvas.setPointerCapture = () => {};
      outline.forEach(([h, v], at) => {
        const [x, y] = [(left + h * scale) / ratio, (top + (height - v) * scale) / ratio];
        const point = { clientX: box.x + x, clientY: box.y + y, pointerId: 1 };
        canvas.dispatchEvent(new PointerEvent(at ? "pointermove" : "pointerdown", point));
      });
      canvas.dispatchEvent(new PointerEvent("pointerup", { pointerId: 1 }));
    }""")
    viewer.click("#draw-done")
    expect(text).to_contain_text("you: Dice 1.000, no error in volume")
    assert "The network (coloured outline): Dice 0." in text.inner_text()
    viewer.click("#draw-clear")
    canvas = viewer.locator("#draw canvas")
    for keys in ("Space", *["ArrowRight"] * 4, "Space", *["ArrowUp"] * 4, "Space", *["ArrowLeft"] * 4, "Space"):
        canvas.press(keys)
    viewer.click("#draw-done")
    expect(text).to_contain_text("you: Dice 0.")
    viewer.click("#draw-close")
    expect(viewer.locator("#draw")).to_be_hidden()


def test_the_surface_turns(viewer: Page) -> None:
    if viewer.evaluate("Surface.gl === null"):
        assert "no WebGL" in viewer.locator(".solid").inner_text()
        pytest.skip("this browser offers no WebGL")
    canvas, seen = viewer.locator("#v-surface"), []

    def turned() -> None:
        seen.append(drawing(viewer, "#v-surface"))
        assert len(seen) == len(set(seen)), "nothing changed"

    turned()
    for button in (0, 2):  # the others turn back, or shrink again
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
    for left, layer in ((1, "#v-truth"), (0, "#v-mask")):
        viewer.click(layer)
        viewer.wait_for_function(f"Surface.sides.length === {left}")
        turned()


def test_the_wheel_scrolls_the_page_until_a_picture_is_entered(viewer: Page) -> None:
    states = {
        "#v-surface": "Surface.zoom",
        "[data-axis='1'] canvas": "document.querySelectorAll('.pane input')[1].value",
    }
    for selector, state in states.items():
        if selector == "#v-surface" and viewer.evaluate("Surface.gl === null"):
            continue
        viewer.evaluate("scrollTo(0, 0)")
        picture = viewer.locator(selector)
        picture.click()
        before = viewer.evaluate(state)
        viewer.mouse.wheel(0, 60)
        viewer.wait_for_function("scrollY > 0")
        assert viewer.evaluate(state) == before, "a press is not enough"
        picture.dblclick()
        at, entered = viewer.evaluate("scrollY"), viewer.evaluate(state)
        viewer.mouse.wheel(0, 60)
        viewer.wait_for_function(f"{state} != {entered}")
        assert viewer.evaluate("scrollY") == at
        viewer.mouse.move(1, 1)
        assert viewer.locator(".entered").count() == 0


def test_errors_colour_the_surface(viewer: Page) -> None:
    # The fake model is the truth moved by one voxel along axis 1: too much on one side, missed on the other.
    counts = viewer.evaluate("""Volumes.load(3).then(({ masks, shape }) => {
      const truth = Mesh.fields(masks[0], shape);
      const at = Mesh.surfaces(masks[1], shape).map((mesh) => [mesh.vertices, Mesh.beyond(mesh, truth[0], shape)]);
      const sides = { "-1": [0, 0], 1: [0, 0] };
      for (const [p, beyond] of at) beyond.forEach((kind, i) => {
        if (!kind) return;
        sides[kind][0]++;
        sides[kind][1] += p[3 * i + 1];
      });
      return Object.values(sides).map(([n, sum]) => [n, sum / n]);
    })""")
    (extra, extra_at), (missed, missed_at) = counts  # keys sort as 1, -1
    assert extra > 5 and missed > 5 and extra_at > 0 > missed_at
    if viewer.evaluate("Surface.gl !== null"):
        before = drawing(viewer, "#v-surface")
        viewer.click("#v-wrong")
        viewer.wait_for_function("Surface.sides[1].children[0].geometry.attributes.color")
        assert drawing(viewer, "#v-surface") != before


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


def test_albums_open_and_figures_enlarge(lab: Page) -> None:
    album, dialog = lab.locator("#notebook-02 .album"), lab.locator("#zoom")
    album.locator("summary").click()
    album.locator(".paper img").first.click()
    expect(dialog).to_be_visible()
    assert "02_some-png" in dialog.inner_text() and "Caption <png>" in dialog.inner_text()
    lab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    album.locator(".zoom-button").first.press("Enter")
    dialog.locator("button").click()
    expect(dialog).to_be_hidden()
    lab.evaluate("document.getElementById('limits').scrollIntoView({ behavior: 'instant' })")
    lab.wait_for_function("document.querySelector('.toc [aria-current]')?.hash === '#limits'")


# What is wrong with the layout at one width: too wide a page, small text, small targets, more than one family.
FAULTS = """(width) => {
  const seen = [...document.querySelectorAll("body *")].filter((e) => e.offsetParent && e.checkVisibility());
  const texts = seen.filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  const name = (e) => e.outerHTML.slice(0, 90);
  const family = (e) => getComputedStyle(e).fontFamily;
  const plain = texts.filter((e) => !e.closest("code, pre, .file"));
  const wide = document.documentElement.scrollWidth;
  return [
    ...(wide > width ? [`the page is ${wide} wide`] : []),
    ...texts.filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12).map((e) => `small text: ${name(e)}`),
    ...plain.filter((e) => family(e) !== family(document.body)).map((e) => `another family: ${name(e)}`),
    ...seen.filter((e) => e.matches("button, select, summary, .button") && !e.matches("th button, .zoom-button")
      && e.getBoundingClientRect().height < 24).map((e) => `too small for a finger: ${name(e)}`),
  ];
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_both_pages_fit(strict: Page, html: Path, width: int) -> None:
    strict.set_viewport_size({"width": width, "height": 900})
    for path in (html, html.parent / "artifacts" / "page" / "laboratory.html"):
        strict.goto(path.as_uri())
        assert strict.evaluate(FAULTS, width) == []


def test_without_script_everything_shows(browser: Browser, html: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(html.as_uri())
    assert page.locator(".without-js").is_visible() and not page.locator("#viewer").is_visible()
    assert page.locator("#inflation .bars li").count() >= 3
    page.goto((html.parent / "artifacts" / "page" / "laboratory.html").as_uri())
    assert page.locator("#runs tbody tr:visible").count() == 17 and page.locator("[hidden]").count() == 0
    assert page.locator("details.album img").count() >= 12
    page.context.close()


def test_they_print(page: Page, html: Path) -> None:
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator(":is(.top, .buttons, .viewer):visible").count() == 0
    assert page.locator(".without-js").is_visible()
    page.goto((html.parent / "artifacts" / "page" / "laboratory.html").as_uri())
    assert page.pdf().count(b"/Type /Page\n") >= 4
    assert page.locator(":is(.toc, .filters, .recipe):visible").count() == 0, "configurations stay off paper"
    assert page.locator("#runs").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_with_all_open(strict: Page, html: Path, scheme: str) -> None:
    strict.emulate_media(color_scheme=scheme)
    for path in (html, html.parent / "artifacts" / "page" / "laboratory.html"):
        for width in (360, 1280):
            strict.set_viewport_size({"width": width, "height": 900})
            strict.goto(path.as_uri())
            strict.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            found = Axe().run(strict)
            assert found.violations_count == 0, found.generate_report()


def test_the_committed_page_keeps_its_budgets(tab: Page) -> None:
    path = Workspace(project_root(), "msd", "standard").page
    if not path.is_file():
        pytest.skip("no page of the real data is here yet: run `make all` with HIPPOSEG_DATA set")
    assert path.stat().st_size <= 3_000_000
    tab.set_viewport_size({"width": 1440, "height": 900})
    meter = tab.context.new_cdp_session(tab)
    meter.send("Performance.enable", {"timeDomain": "threadTicks"})
    paint = "performance.getEntriesByName('first-contentful-paint')"
    times = []
    for _ in range(3):  # the best of three: other work on the machine only adds time
        tab.goto(path.as_uri())
        tab.wait_for_function(f"{paint}.length > 0")
        expect(tab.locator("#v-scores tbody tr")).to_have_count(4)
        tab.wait_for_function(DRAWN)
        used = {one["name"]: one["value"] for one in meter.send("Performance.getMetrics")["metrics"]}
        times.append((tab.evaluate(f"{paint}[0].startTime"), 1000 * used["TaskDuration"]))
    painted, busy = (min(one) for one in zip(*times, strict=True))
    size = tab.evaluate("document.documentElement.scrollHeight / innerHeight")
    elements = tab.evaluate("document.getElementsByTagName('*').length")
    words = tab.evaluate("""() => {
      for (const one of document.querySelectorAll("option")) one.remove(); // a list that is closed
      return document.body.innerText.split(/\\s+/).filter((word) => /[\\p{L}\\d]/u.test(word)).length;
    }""")
    print(f"{painted:.0f} ms to paint, {busy:.0f} ms busy, {size:.2f} screens, {words} words, {elements} elements")
    assert size <= 6 and elements <= 3000 and words <= 1000
    # Processor time of all that the page's thread did; blocking time, which other work lengthens, is a part of it.
    assert painted < 1000 and busy < 300
