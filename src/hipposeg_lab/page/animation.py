"""A short animation of the page's explorer for README, filmed in a headless Chromium."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hipposeg.files import replacing
from hipposeg_lab.page.artifacts import ReportError

SIZE = (1440, 900)
WIDTH = 640
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
READY = "Surface.gl === null || (Surface.sides ?? []).length === 2"


def make(page: Path, to: Path) -> Path:
    """Film the explorer of the built front page and write the frames as one animated WebP.

    Raises:
        ReportError: there is no Chromium, or no page.
    """
    from PIL import Image
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None or not page.is_file():
        raise ReportError(
            "the animation needs Chromium and a built page: install one (apt install chromium), `make page`"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        tab = browser.new_page(viewport=dict(zip(("width", "height"), SIZE, strict=True)), bypass_csp=True)
        tab.goto(page.as_uri())
        tab.wait_for_function(READY)
        stage = tab.locator("#viewer")
        shots = [(Image.open(io.BytesIO(stage.screenshot())), ms) for ms in _scenes(tab)]
        browser.close()
    height = round(WIDTH * shots[0][0].height / shots[0][0].width)
    frames = [shot.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS) for shot, _ in shots]
    with replacing(to) as part:
        times = [ms for _, ms in shots]
        frames[0].save(part, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=60, method=6)
    return to


def _scenes(tab: Any) -> Iterator[int]:
    """Change what the explorer shows in a playwright page; yields how long each picture stays, in ms."""
    yield 1200
    slider = tab.locator("#viewer [data-axis='0'] input")
    middle = int(slider.input_value())
    for at in (*range(middle, middle + 5), *range(middle + 5, middle - 5, -1), *range(middle - 5, middle + 1)):
        slider.fill(str(at))
        yield 120
    for _ in range(8):
        tab.locator("[data-turn='1,0']").click()
        yield 120
    tab.locator("#v-wrong").check()
    yield 1200
    tab.locator("#v-wrong").uncheck()
    if tab.locator("#v-epoch").count():
        for at in range(int(tab.locator("#v-epoch").get_attribute("max")) + 1):
            tab.locator("#v-epoch").fill(str(at))
            tab.wait_for_function(f"Explorer.lesson?.epoch === Volumes.index.learning.epochs[{at}]")
            tab.wait_for_timeout(700)  # the surface is meshed in a worker
            yield 900
    for _ in range(2):
        tab.locator("#v-after").click()
        tab.wait_for_timeout(700)
        yield 900
