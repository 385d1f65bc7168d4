"""The pages and the README block: readable, safe, clear where something is missing, equal to the files."""

import base64
import gzip
import json
import re
import shutil
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from fake_artifacts import LABELS, fill, fill_explorer, fill_series, fill_studies, png, put
from page_numbers import PLACES, Page, expected, wrong_numbers

from hipposeg.experiments.registry import FLAGSHIP, MODELS, RunSpec
from hipposeg.files import sha256_bytes, write_csv, write_json, write_text
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.battery.damage import OUTCOMES
from hipposeg_lab.page import artifacts, build, front, numbers, readme, security, view
from hipposeg_lab.page.artifacts import ReportError
from hipposeg_lab.page.pictures import VENDOR, address, places
from hipposeg_lab.page.words import CHAPTERS

EVIL = "<img src=x onerror=alert(1)>\"'</script>"


def pages_of(ws: Workspace) -> tuple[Page, Page]:
    """Build; the front page and the laboratory, parsed."""
    paths = build.build(ws, source="0" * 64), build.laboratory(ws)
    return tuple(Page(path.read_text(encoding="utf-8")) for path in paths)


def filled(ws: Workspace) -> Workspace:
    """Everything that the pages can show."""
    for more in (fill_explorer, fill_studies, fill_series):
        more(ws)
    return ws


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every `ws` is a copy of."""
    return fill(Workspace(tmp_path_factory.mktemp("original"), "msd", "standard")).root


@pytest.fixture
def ws(tmp_path: Path, original: Path) -> Workspace:
    """A filled workspace that pretends to be the real data's, without studies, benchmark and explorer."""
    return Workspace(shutil.copytree(original, tmp_path, dirs_exist_ok=True), "msd", "standard")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Page, Page]:
    """A workspace with everything, and its two pages; tests must not change it."""
    ws = filled(fill(Workspace(tmp_path_factory.mktemp("whole"), "msd", "standard")))
    return ws, *pages_of(ws)


def test_numbers_equal_their_files_and_changed_ones_are_noticed(whole: tuple[Workspace, Page, Page]) -> None:
    ws, *pages = whole
    checked = dict.fromkeys(PLACES, 0)
    for page in pages:
        wrong, found = wrong_numbers(page, ws.artifacts)
        assert wrong == []
        checked = {place: n + found[place] for place, n in checked.items()}
    assert all(checked.values()), "of every kind of place there is a number"
    assert checked["case"] == 12 * 7
    shown = {tuple(attrs["data-of"].rsplit(":", 2)) for attrs, _ in pages[1].data if "data-of" in attrs}
    for run in ("unet2d.grouped0.s0.standard", f"{ATLAS}.grouped0.s0.standard", "unet2d.nnunet0.s0.standard"):
        for label in LABELS:
            assert {(run, label, f"dice{end}") for end in ("", "_low", "_high")} <= shown
        assert {(run, "mean", "hd95"), (run, "mean", "nsd1"), (run, "union", "volume_bias")} <= shown
    for right, changed in ((">+0.021<", ">+0.031<"), (">11.7<", ">11.8<")):
        assert right in pages[1].html
        assert wrong_numbers(Page(pages[1].html.replace(right, changed)), ws.artifacts)[0]


def test_numbers_of_the_front_page_name_their_places(whole: tuple[Workspace, Page, Page]) -> None:
    named, front_page = {f"data-{place}" for place in PLACES}, whole[1]
    counted = [text for attrs, text in front_page.data if not named & set(attrs)]
    assert counted == ["2", "4", "3"], "what the page counts itself: siblings in the first fold, comparisons"
    screen = Page(front_page.html.split('class="hero-text"')[1].split("<section")[0])
    texts = [text for _, text in screen.data]
    assert {"11.7", "0.892", "0.889", "0.890"} <= set(texts), "minutes, ours, nnU-Net, and ours split by subject"
    measured = [one for one in whole[2].data if one[0]["data-kind"] in ("minutes", "schedule", "millions", "gflops")]
    assert measured and all(named & set(attrs) for attrs, _ in measured)


def test_findings_follow_the_numbers() -> None:
    def five(low: float, high: float) -> view.FiveFolds:
        return view.FiveFolds("nnunet", "", {"low": low, "high": high}, 0, None, -1)

    found = [front.compared(five(*ends)) for ends in ((0.885, 0.895), (0.8892, 0.9), (0.87, 0.889))]
    assert found == ["as accurately as", "more accurately than", "less accurately than"]


def test_headings_switch_with_the_conclusions(ws: Workspace) -> None:
    filled(ws)
    table = ws.artifacts / "comparisons.csv"
    head, first, *_ = table.read_text().splitlines()
    for conclusion, text in (("equivalent", "add nothing measurable"), ("better", "are worth")):
        rows = [first.replace("unet3d+flip", model).replace("better", conclusion) for model in front.words.FASHIONS]
        table.write_text("\n".join([head, *rows]) + "\n")
        assert text in pages_of(ws)[0].html.split('id="h-changes">')[1].split("</h2>")[0]


def test_the_atlas_is_beside_every_score(whole: tuple[Workspace, Page, Page], ws: Workspace) -> None:
    put(filled(ws), RunSpec(ATLAS, "nnunet"), 0.71, params=0, steps=0)
    html = pages_of(ws)[1].html
    for table in ("cap-results", "cap-minutes", "cap-race", "cap-inflation"):
        assert "atlas" in html.split(f'id="{table}"')[1].split("</table>")[0].lower(), table
    for text in ('id="claims"', 'id="published"'):
        assert "atlas" in html.split(text)[1].split("</p>")[0], text
    assert "Image-free atlas" in whole[1].html


def test_one_name_for_a_model() -> None:
    names = {one: front.words.short(MODELS[one].title) for one in (FLAGSHIP, ATLAS, "clip2d-guided")}
    assert names == {FLAGSHIP: "Flagship", ATLAS: "Image-free atlas", "clip2d-guided": MODELS["clip2d-guided"].title}


def test_the_explorer_carries_files_and_scores_as_they_are(ws: Workspace) -> None:
    html = pages_of(filled(ws))[0].html
    found = json.loads(html.split('id="volumes">')[1].split("</script>")[0])
    assert [case["case"] for case in found["cases"]] == [1, 2, 5, 9]
    for case in found["cases"]:
        for part, end in (("image", "webp"), ("masks", "gz")):
            stored = ws.artifacts / "explorer" / f"{case['case']:03d}.{end}"
            assert base64.b64decode(case[part]) == stored.read_bytes()
    assert [(model["mask"], model["title"]) for model in found["models"]] == [
        (1, "The model unet2d"), (2, f"The model {ATLAS}"),
    ]  # fmt: skip
    assert found["ends"] == [["lateral", "medial"], ["P", "A"], ["I", "S"]]
    for model, dice in enumerate((0.8835, 0.7075)):
        shown = {row: texts[0] for row, texts in zip(found["rows"], found["cases"][0]["scores"][model], strict=True)}
        assert shown["mean"] == expected(str(round(dice + 0.02, 6)), "score")
        assert shown["union"] == expected(str(round(dice + 0.04, 6)), "score")
    means = found["cases"][0]["scores"][0][LABELS.index("mean")]
    assert means[3:] == ["", "", ""], "a mean of two parts' volumes is the volume of nothing"
    assert [case["words"][0] for case in found["cases"]] == ["", "", "Too much, at the tail.", ""]
    assert found["rules"] == {"best": 1, "median": 5, "worst": 9}
    index = json.loads((ws.artifacts / "explorer" / "index.json").read_text())
    (ws.root / "secret.gz").write_bytes(b"secret"), (ws.root / "secret.webp").write_bytes(b"secret")
    names = [case | {"name": "../../secret"} for case in index["cases"]]
    write_json(ws.artifacts / "explorer" / "index.json", index | {"cases": names})
    with pytest.raises(ReportError, match=r"lists '\.\./\.\./secret\.webp', which is no file of its folder"):
        build.build(ws)
    write_json(ws.artifacts / "explorer" / "index.json", index)
    (ws.artifacts / "explorer" / "005.gz").unlink()
    with pytest.raises(ReportError, match=r"005\.gz, which is missing"):
        build.build(ws)


def test_the_library_of_the_surfaces_is_the_vendored_one(whole: tuple[Workspace, Page, Page]) -> None:
    library = gzip.decompress(base64.b64decode(whole[1].html.split('id="three">')[1].split("</script>")[0]))
    assert library == gzip.decompress((VENDOR / "three.min.js.gz").read_bytes())
    assert sha256_bytes(library) == re.search(r"[0-9a-f]{64}", (VENDOR / "README.md").read_text(encoding="utf-8"))[0]
    assert (VENDOR / "LICENSE").read_text(encoding="utf-8") in unescape(whole[2].html)


def test_the_head_shows_where_the_crops_are() -> None:
    side, before = places()
    assert side == places()[0], "the same bytes each time"
    # The hippocampus is in the lower half of the head and in its middle third from front to back.
    ((left, top, width, height),) = side.boxes
    assert 33 < left + width / 2 < 67 and 50 < top + height / 2 < 80
    first, second = before.boxes
    assert first[0] + second[0] + first[2] == pytest.approx(100, abs=0.2), "one is the mirror image of the other"


def test_leaky_and_gpu_runs_are_marked(whole: tuple[Workspace, Page, Page], ws: Workspace) -> None:
    assert "leak experiment" not in whole[2].html and "on one GPU" not in whole[2].html
    put(ws, leaky := RunSpec("unet3d", "leak-volumes"), 0.9)
    put(ws, RunSpec("scse2d", seed=1, hardware="cuda"), 0.89, device="cuda")
    html = pages_of(ws)[1].html
    row = html.split(f'data-run="{leaky.name}"')[1].split("</th>")[0]
    assert "leak experiment</em>" in row and html.count("leak experiment</em>") == 1
    assert "Their scores are not fair" in html
    assert html.count("<small>GPU</small></td>") == 1 and "on one GPU" in html and "seed 1, cuda" in html


def test_studies_come_from_their_files(whole: tuple[Workspace, Page, Page]) -> None:
    page = whole[2]
    race = page.html.split('id="cap-race"')[1].split("</table>")[0]
    assert race.index(">Flagship<") < race.index(">nnU-Net v2<"), "one order for all tables"
    table = page.html.split('id="conclusion-rows"')[1].split("</table>")[0]
    assert re.findall(r'data-conclusion="([^"]+)"', table) == ["better", "none: 1 seed", "equivalent"]
    assert "left-right flips in training<small><code>unet3d<wbr>+flip" in table, "words first, then the name"
    covered = page.html.split('id="cap-coverage"')[1].split("</table>")[0]
    assert ">fold 2<" in covered and ">all volumes, one width for all<" in covered
    claims = page.html.split('class="wordy claims"')[1].split("</table>")[0]
    assert "not trained yet" in claims and "not in its files" in claims and "no such way" in claims


def test_a_section_needs_its_file(ws: Workspace) -> None:
    fill_studies(ws)
    marks = {"inflation": 'id="inflation"', "leaks": 'id="cap-leaks"', "calibration_summary": 'id="cap-calibration"',
             "conformal_coverage": 'id="cap-coverage"'}  # fmt: skip
    html = pages_of(ws)[1].html
    assert all(mark in html for mark in marks.values())
    for name in marks:
        (ws.artifacts / "studies" / f"{name}.csv").unlink()
    for page in pages_of(ws):
        assert not any(mark in page.html for mark in marks.values())
        assert 'href="#inflation"' not in page.html and 'href="#trust"' not in page.html


def test_headline_is_the_best_run_of_the_main_sections(ws: Workspace) -> None:
    front_page, lab = pages_of(ws)
    answer = front_page.html.split("<h1>")[1].split("</h1>")[0]
    assert "unet2d.grouped0.s0.standard:mean:dice" in answer and ">0.884<" in answer  # 0.8835: half to even
    table = lab.html.split('<table class="results"')[1].split("</table>")[0]
    main = re.findall(r'<tr[^>]*data-run="([^"]+)" data-shown="main"', table)
    assert [run.split(".")[0] for run in main] == [ATLAS, "unet2d", "unet2d-mobilenetv3"], "no CLIP, no other run"
    assert len(re.findall(r"<tr[^>]*data-run=", table)) == 6 and "marks the highest" in lab.html
    # By volume: 1 has 2 in training and 10 has 9; 5 and 11 have nobody. By subject: none of the four.
    leaks = lab.html.split('id="cap-siblings"')[1].split("</table>")[0]
    assert re.findall(r">(\d+)</data> of .*?>(\d+)</data>", leaks) == [("2", "4"), ("0", "4")]


def test_nothing_is_fetched_and_links_lead_somewhere(whole: tuple[Workspace, Page, Page]) -> None:
    ws, *pages = whole
    for page, path in zip(pages, (ws.page, build.laboratory(ws)), strict=True):
        for tag, attrs in page.tags:
            for name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href"):
                value = attrs.get(name) or ""
                if value and not value.startswith(("data:", "#", "https:")) and not value.startswith("src/"):
                    assert (path.parent / unquote(value.partition("#")[0])).is_file(), f"<{tag} {name}={value[:60]}>"
                if tag != "a":
                    assert not value.startswith("https:"), f"<{tag} {name}={value[:60]}>"
            assert not any(name.startswith("on") for name in attrs), f"<{tag}> has an inline handler"
        style, script = (re.findall(rf"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL) for tag in ("style", "script"))
        assert len(style) == len(script) == 1
        assert not re.search(r"url\(|@import|https?:", style[0])
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|innerHTML", script[0])
        assert "default-src 'none'" in page.named("meta")[1]["content"], "the browser refuses to fetch anything, too"
    assert all(image["src"].startswith("data:") for image in pages[0].named("img")), "the front page is one file"


def test_structure(whole: tuple[Workspace, Page, Page]) -> None:
    ids = [{attrs["id"]: tag for tag, attrs in page.tags if "id" in attrs} for page in whole[1:]]
    for page, mine, others in zip(whole[1:], ids, reversed(ids), strict=True):
        assert len(mine) == sum("id" in attrs for _, attrs in page.tags)
        for attrs in page.named("a"):
            address_, _, name = (attrs["href"] or "").partition("#")
            assert not name or name in (mine if not address_ else others), attrs["href"]
        for _, attrs in page.tags:
            assert set((attrs.get("aria-labelledby") or "").split()) <= set(mine)
        assert page.named("a")[0]["class"] == "skip" and page.named("a")[0]["href"] == "#main"
        assert all(len(page.named(tag)) == 1 for tag in ("main", "header", "footer", "h1"))
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_figure_is_in_an_album_with_its_words(whole: tuple[Workspace, Page, Page]) -> None:
    html = whole[2].html
    names = re.findall(r'<figure id="fig-([^"]+)"', html)
    assert len(names) == len(set(names)) == 2 * len(CHAPTERS) + 1
    images = whole[2].named("img")
    assert all(image["alt"] in ('A "png"', 'A "svg"') for image in images)
    sizes = {(image["width"], image["height"]) for image in images}
    assert sizes == {("192", "96"), ("96", "48")}  # 300 x 150 at 150 dpi; 72 x 36 points
    section = html.split('id="inflation"')[1].split("</section>")[0]
    assert "07_inflation.svg" in section and "Caption &lt;svg&gt;" in section


def test_notebooks_become_pages_without_scripts(ws: Workspace) -> None:
    cells = [
        nbformat.v4.new_markdown_cell(
            "# Title\n[![Colab](https://example.org/badge.svg)](https://example.org)", id="a"
        ),
        nbformat.v4.new_code_cell("profile = 'stored'", id="b", metadata={"tags": ["injected-parameters"]}),
        nbformat.v4.new_code_cell("x = 1", id="c", outputs=[nbformat.v4.new_output("stream", text=EVIL)]),
    ]
    path = ws.artifacts / "notebooks" / "01_exploration.ipynb"
    write_text(path, nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    made = ws.artifacts / "page" / "notebooks" / "01_exploration.html"
    write_text(made.with_name("99_gone.html"), "")
    lab = pages_of(ws)[1]
    content = made.read_bytes()
    page = Page(content.decode())
    assert "badge.svg" not in page.html and "injected" not in page.html and "&lt;img src=x" in page.html
    assert page.named("script") == page.named("img") == [] and "script-src 'none'" in page.html
    assert 'href="notebooks/01_exploration.html"' in lab.html and 'href="../laboratory.html#notebook-01"' in page.html
    assert not made.with_name("99_gone.html").exists()
    build.build(ws, source="0" * 64)
    assert made.read_bytes() == content, "the same bytes each time"


def test_content_of_files_never_becomes_markup(ws: Workspace) -> None:
    filled(ws)
    at = ws.artifacts
    swaps = {
        at / "studies" / "claims.csv": {"https://example.org": "javascript:alert(1)"},
        at / "studies" / "words.csv": {"Too much": "</script><script>alert(1)</script>"},
        at / "comparisons.csv": {"unet3d+focal": "<b>bold</b>"},
    }
    for path, texts in swaps.items():
        text = path.read_text()
        for old, new in texts.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
    index = ws.figures / "07_evaluation.json"
    figures = json.loads(index.read_text())
    name = "07_<b>javascript:x.svg"
    (ws.figures / name).write_bytes((ws.figures / figures[1]["file"]).read_bytes())
    write_json(index, [figures[0], figures[1] | {"file": name, "caption": EVIL, "alt": EVIL}])
    for page in pages_of(ws):
        assert not [attrs for attrs in page.named("a") if attrs["href"].startswith("javascript:")]
        assert not [attrs for _, attrs in page.tags if "onerror" in attrs or attrs.get("src") == "x"]
        assert "<b>bold" not in page.html and len(page.named("script")) in (1, 3)
    assert address(Path("/a/javascript:x"), Path("/b/page.html")) == "../a/javascript%3Ax"


def test_same_inputs_give_the_same_bytes(ws: Workspace, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in (build.build(ws, source="0" * 64), build.laboratory(ws))]
    other = fill(Workspace(tmp_path / "elsewhere", "msd", "standard"))
    for name in ("facts/.12.part.07_evaluation.json", "figures/.12.part.07_evaluation.json"):
        write_text(other.artifacts / name, "{")  # of a process that is writing
    assert [path.read_bytes() for path in (build.build(other, source="0" * 64), build.laboratory(other))] == first
    assert str(tmp_path).encode() not in b"".join(first)


def test_a_phantom_s_pages_are_marked_and_hold_no_times(tmp_path: Path, whole: tuple[Workspace, Page, Page]) -> None:
    phantom = fill(Workspace(tmp_path, "phantom", "smoke"))
    pages = [page.html for page in pages_of(phantom)]
    assert phantom.page == phantom.artifacts / "project.html" and phantom.page.is_file()
    for html in pages:
        assert re.search(r"<title>PHANTOM", html) and "Nothing on this page comes from patients" in html
        assert html.index('class="phantom-banner"') < html.index("<h1>")
        assert "nnU-Net, 3d_fullres" not in html
    assert not any("PHANTOM" in page.html or 'class="phantom-banner"' in page.html for page in whole[1:])
    assert "hipposeg predict T1.nii.gz -o out" in whole[1].html.split('id="try"')[1].split("</section>")[0]
    runs = phantom.artifacts / "runs.csv"
    runs.write_text(runs.read_text().replace("432.1", "543.21"))
    assert [page.html for page in pages_of(phantom)] == pages


def test_what_is_missing_is_named(ws: Workspace, tmp_path: Path) -> None:
    (ws.artifacts / "facts" / "02_preprocessing.json").unlink()
    (ws.artifacts / "figures" / "03_unet2d_baseline.json").unlink()
    assert re.findall(r"Notebook (\d\d) has not been run", pages_of(ws)[1].html) == ["02", "03"]
    front_page, lab = pages_of(Workspace(tmp_path / "empty", "msd", "standard"))
    assert "No answer yet" in front_page.html and "There are no results" in lab.html
    assert lab.html.count("has not been run.</strong>") == len(CHAPTERS)


def test_too_large_a_page_is_an_error_and_leaves_the_old_one(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    old = build.build(ws, source="old").read_bytes()
    monkeypatch.setattr(build, "MAX_BYTES", 1000)
    with pytest.raises(ReportError, match=r"project\.html would have .* at most"):
        build.build(ws, source="new")
    assert ws.page.read_bytes() == old


def test_damaged_artifacts_are_errors(ws: Workspace) -> None:
    index = ws.figures / "07_evaluation.json"
    figures = json.loads(index.read_text())
    write_json(index, [figures[0] | {"alt": " "}])
    with pytest.raises(ReportError, match="alt text"):
        build.build(ws)
    (ws.root / "secret.png").write_bytes(png())
    for name in ("../../secret.png", str(ws.root / "secret.png"), "..", None):
        write_json(index, [figures[0] | {"file": name}])
        with pytest.raises(ReportError, match="which is no file of its folder|None, which is missing"):
            build.build(ws)
    (ws.figures / "linked.png").symlink_to(ws.root / "secret.png")
    write_json(index, [figures[0] | {"file": "linked.png"}])
    with pytest.raises(ReportError, match="lists 'linked.png', which is no file of its folder"):
        build.build(ws)
    (ws.figures / figures[0]["file"]).write_bytes(b"no picture")
    write_json(index, figures)
    with pytest.raises(ReportError, match="is not a PNG file"):
        build.build(ws)
    (ws.figures / figures[0]["file"]).unlink()
    with pytest.raises(ReportError, match="which is missing; run notebook 07_evaluation again"):
        build.build(ws)
    write_text(ws.artifacts / "facts" / "01_exploration.json", "{")
    with pytest.raises(ReportError, match="is not JSON"):
        artifacts.load(ws)


def test_templates_hold_no_measured_number() -> None:
    for path in sorted(build.TEMPLATES.glob("*.j2")):
        text = re.sub(r"\{[{%].*?[%}]\}|<[^>]+>|https?:\S+|doi:\S+|arXiv:\S+", " ", path.read_text(), flags=re.DOTALL)
        assert not re.findall(r"\b\d+\.\d+\b", text.replace("CC BY-SA 4.0", "")), path.name


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.8835, "score", "0.884"), (0.8825, "score", "0.882"), (1.0, "score", "1.000"), (None, "score", "n/a"),
        (float("nan"), "mm", "n/a"), (-0.0004, "difference", "0.000"), (0.0125, "difference", "+0.012"),
        (-12.5, "bias", "\u221212"), (0.2, "bias", "0"), (1715, "count", "1715"), (25000, "count", "25\u202f000"),
        (482000, "millions", "0.48\u202fM"), (90, "minutes", "1.5"), (0.0312, "percent", "3.1\u202f%"),
        (260, "auto", "260"), (0.946123, "auto", "0.9461"), (0.8, "auto", "0.8"), (-1715.24, "auto", "\u22121715"),
        (1700000.0, "auto", "1\u202f700\u202f000"), (0.0, "p", "under 0.001"), (0.0412, "p", "0.041"),
        (8.64, "nnunet_days", "25"),
    ],
)  # fmt: skip
def test_numbers_become_text_in_one_way(value: object, kind: str, text: str) -> None:
    assert numbers.show(value, kind) == text


def test_readme_block_follows_the_artifacts(ws: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\n{readme.BEGIN}\nold\n{readme.END}\n\nAfter.\n")
    block = readme.expected_block(ws)
    assert readme.update(path, block) and not readme.update(path, block)
    text = path.read_text()
    assert text.startswith("# Title\n\n") and text.endswith("\n\nAfter.\n")
    assert readme.current_block(path) == block
    assert "| 2D U-Net on coronal slices | 0.884 | 0.48\u202fM | n/a |" in text
    assert text.index("Image-free atlas") < text.index("| 2D U-Net on coronal slices ") and "scSE" not in text
    assert "split by subject (4 volumes of 3 unseen subjects):" in text
    path.write_text(f"# Title\n{readme.BEGIN}\n")
    with pytest.raises(ReportError, match="0 results blocks"):
        readme.update(path, block)
    assert path.read_text() == f"# Title\n{readme.BEGIN}\n"


def test_security_block_counts_what_was_tried(tmp_path: Path) -> None:
    ws = Workspace(tmp_path, "msd", "stored")
    folder = ws.artifacts / "studies"
    outcomes = dict.fromkeys(OUTCOMES, 0)
    write_csv(folder / "battery.csv", ("kind", "trials", *OUTCOMES), [
        {"kind": "scans"} | outcomes | {"trials": 200, "clear": 150, "accepted": 50}
    ])  # fmt: skip
    write_csv(folder / "determinism.csv", ("command", "surroundings", "differing"), [
        {"command": "train", "surroundings": "umask 077", "differing": ""},
        {"command": "predict", "surroundings": "two threads", "differing": "a.csv b.csv"},
        {"command": "predict", "surroundings": "umask 077", "differing": ""},
    ])  # fmt: skip
    found = [("killed", "")] * 1997 + [("survived", "it is equal"), ("survived", ""), ("survived", "")]
    write_csv(folder / "mutants.csv", ("outcome", "reason"), [
        {"outcome": outcome, "reason": reason} for outcome, reason in found
    ])  # fmt: skip
    with pytest.raises(ReportError, match=r"coverage.txt is no report of coverage .*make coverage"):
        security.expected_block(ws)
    (folder / "coverage.txt").write_text("Name Stmts Miss Branch BrPart Cover\nTOTAL 9 1 4 1 96.1%\n")
    block = security.expected_block(ws)
    assert block.startswith(readme.BEGIN) and block.endswith(readme.END)
    assert "| tried | trials | clear | harmless | accepted | silent | traceback |" in block
    assert "| scans | 200 | 150 | 0 | 50 | 0 | 0 |" in block
    same = "in other surroundings (`determinism.csv`): the same bytes in"
    assert f"`train` {same} 1 of 1." in block and f"`predict` {same} 1 of 2; others: two threads." in block
    assert "the tests notice 1997 of 2000; 1 of the others have a reason." in block
    assert "reach: 96.1\u202f%." in block


def test_committed_pages_equal_the_artifacts() -> None:
    committed = Workspace(project_root(), "msd", "stored")
    if not committed.page.is_file() or not build.laboratory(committed).is_file():
        pytest.skip("no pages of the real data are here yet: run `make all` with HIPPOSEG_DATA set")
    for path in (committed.page, build.laboratory(committed)):
        wrong, checked = wrong_numbers(Page(path.read_text(encoding="utf-8")), committed.artifacts)
        assert wrong == [] and checked["cell"] and checked["json"]
