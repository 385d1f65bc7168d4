"""The page and the README block: self-contained, readable, clear where something is missing, equal to the CSV files."""

import base64
import gzip
import json
import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from fake_artifacts import LABELS, fill, fill_explorer, fill_series, fill_studies, put
from page_numbers import PLACES, Page, expected, wrong_numbers

from hipposeg.experiments.registry import RunSpec
from hipposeg.files import sha256_bytes, write_json, write_text
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.page import artifacts, build, numbers, readme
from hipposeg_lab.page.artifacts import ReportError
from hipposeg_lab.page.embed import VENDOR, svg_uri
from hipposeg_lab.page.words import CHAPTERS


def page_of(ws: Workspace) -> Page:
    """Build and parse."""
    return Page(build.build(ws, source="0" * 64).read_text(encoding="utf-8"))


def filled(ws: Workspace) -> Workspace:
    """Everything that the page can show."""
    for more in (fill_explorer, fill_studies, fill_series):
        more(ws)
    return ws


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A filled workspace that pretends to be the real data's, without studies, benchmark and explorer."""
    return fill(Workspace(tmp_path, "msd", "standard"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Page]:
    """A workspace with everything, and its page; tests must not change it."""
    ws = filled(fill(Workspace(tmp_path_factory.mktemp("whole"), "msd", "standard")))
    return ws, page_of(ws)


def test_numbers_equal_their_files_and_changed_ones_are_noticed(whole: tuple[Workspace, Page]) -> None:
    ws, page = whole
    wrong, checked = wrong_numbers(page, ws.artifacts)
    assert wrong == []
    assert all(checked.values()), "of every kind of place there is a number"
    assert (checked["cell"], checked["case"]) == (110, 12 * 7)
    shown = {tuple(attrs["data-of"].rsplit(":", 2)) for attrs, _ in page.data if "data-of" in attrs}
    for run in ("unet2d.grouped0.s0.standard", f"{ATLAS}.grouped0.s0.standard", "unet2d.nnunet0.s0.standard"):
        for label in LABELS:
            assert {(run, label, f"dice{end}") for end in ("", "_low", "_high")} <= shown
        assert {(run, "mean", "hd95"), (run, "mean", "nsd1"), (run, "union", "volume_bias")} <= shown
    for right, changed in ((">+0.021<", ">+0.031<"), (">11.7<", ">11.8<"), ('"0.8835"', '"0.8935"')):
        assert right in page.html and wrong_numbers(Page(page.html.replace(right, changed)), ws.artifacts)[0]


def test_the_first_screen_and_all_minutes_and_parameters_name_their_places(whole: tuple[Workspace, Page]) -> None:
    named = {f"data-{place}" for place in PLACES}
    screen = Page(whole[1].html.split('<header class="hero">')[1].split("</header>")[0])
    assert [text for _, text in screen.data] == [
        "0.890", "0.885", "0.896", "8", "6", "0.892", "0.885", "0.896", "11.7", "2", "0.712",
    ]  # fmt: skip
    measured = [one for one in whole[1].data if one[0]["data-kind"] in ("minutes", "schedule", "millions", "gflops")]
    for attrs, text in [*screen.data, *measured]:
        assert named & set(attrs), f"{text} ({attrs['data-kind']})"


def test_the_atlas_stands_beside_every_score(whole: tuple[Workspace, Page], ws: Workspace) -> None:
    put(filled(ws), RunSpec(ATLAS, "nnunet"), 0.71, params=0, steps=0)
    html = page_of(ws).html
    for table in ("cap-results", "cap-minutes", "cap-race", "cap-inflation"):
        assert ATLAS in html.split(f'id="{table}"')[1].split("</table>")[0], table
    for text in ('id="claims"', 'id="published"', 'class="lead"'):
        assert "atlas" in html.split(text)[1].split("</p>")[0], text


def test_the_explorer_carries_files_and_scores_as_they_are(ws: Workspace) -> None:
    html = page_of(filled(ws)).html
    found = json.loads(html.split('id="volumes">')[1].split("</script>")[0])
    assert [case["case"] for case in found["cases"]] == [1, 2, 5, 9]
    for case in found["cases"]:
        for part, end in (("image", "webp"), ("masks", "gz")):
            stored = ws.artifacts / "explorer" / f"{case['case']:03d}.{end}"
            assert base64.b64decode(case[part]) == stored.read_bytes()
    for model, dice in enumerate((0.8835, 0.7075)):
        shown = {row: texts[0] for row, texts in zip(found["rows"], found["cases"][0]["scores"][model], strict=True)}
        assert shown["mean"] == expected(str(round(dice + 0.02, 6)), "score")
        assert shown["union"] == expected(str(round(dice + 0.04, 6)), "score")
    means = found["cases"][0]["scores"][0][LABELS.index("mean")]
    assert means[3:] == ["", "", ""], "a mean of two parts' volumes is the volume of nothing"
    assert [case["words"][0] for case in found["cases"]] == ["", "", "Too much, at the tail.", ""]
    assert found["rules"] == {"best": 1, "median": 5, "worst": 9}
    (ws.artifacts / "explorer" / "005.gz").unlink()
    with pytest.raises(ReportError, match=r"005\.gz, which is missing"):
        build.build(ws)


def test_the_library_of_the_surfaces_is_the_vendored_one(whole: tuple[Workspace, Page]) -> None:
    html = whole[1].html
    library = gzip.decompress(base64.b64decode(html.split('id="three">')[1].split("</script>")[0]))
    assert library == gzip.decompress((VENDOR / "three.min.js.gz").read_bytes())
    assert sha256_bytes(library) == re.search(r"[0-9a-f]{64}", (VENDOR / "README.md").read_text(encoding="utf-8"))[0]
    assert (VENDOR / "LICENSE").read_text(encoding="utf-8") in unescape(html)


def test_leaky_and_gpu_runs_are_marked(whole: tuple[Workspace, Page], ws: Workspace) -> None:
    assert "leak experiment" not in whole[1].html and "on one GPU" not in whole[1].html
    put(ws, leaky := RunSpec("unet3d", "leak-volumes"), 0.9)
    put(ws, RunSpec("scse2d", seed=1, hardware="cuda"), 0.89, device="cuda")
    html = page_of(ws).html
    row = html.split(f'data-run="{leaky.name}"')[1].split("</th>")[0]
    assert "leak experiment</em>" in row and html.count("leak experiment</em>") == 1
    assert "Their scores are not fair" in html
    assert html.count("<small>GPU</small></td>") == 1 and "on one GPU" in html and "seed 1, cuda" in html


def test_a_drawing_in_an_address_is_the_drawing() -> None:
    body = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">
<text id="a" fill="#fff">Dice's 90 % &amp; "more" &lt; 1</text><use xlink:href="#a"/>
<use transform="translate(-71.64)" xlink:href="#a"/><use transform="translate(1 2)" xlink:href="#a"/>
<path id="1.2345" d="m0.1234-0.5678.9999 12.3456 1.99999.5-.9999z"/></svg>"""
    uri = str(svg_uri(f"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x.dtd'>\n{body}".encode()))
    assert not set('"<&#') & set(uri) and uri.startswith("data:image/svg+xml,")
    text, use, shifted, moved, path = ElementTree.fromstring(unquote(uri.partition(",")[2]))
    assert (text.text, text.attrib) == ("Dice's 90 % & 'more' < 1", {"id": "a", "fill": "#fff"})
    assert shifted.attrib == {"href": "#a", "x": "-72"}, "nearly the same place in fewer signs"
    assert moved.attrib == {"href": "#a", "transform": "translate(1 2)"}
    assert path.attrib == {"id": "1.2345", "d": "m.12-.57 1.00 12.35 2.00.5-1.00z"}
    assert use.attrib == {"href": "#a"}


def test_studies_come_from_their_files(whole: tuple[Workspace, Page]) -> None:
    ws, page = whole
    race = page.html.split('id="cap-race"')[1].split("</table>")[0]
    assert race.index(">ours<") < race.index(">nnU-Net v2<"), "one order for all tables"
    table = page.html.split('id="conclusion-rows"')[1].split("</table>")[0]
    assert re.findall(r'data-conclusion="([^"]+)"', table) == ["better", "none: 1 seed"] and "unet3d<wbr>+flip" in table
    covered = page.html.split('id="cap-coverage"')[1].split("</table>")[0]
    assert ">fold 2<" in covered and ">fold 1<" not in covered, "only the fold with the lowest coverage"
    claims = page.html.split('class="wordy claims"')[1].split("</table>")[0]
    assert "not trained yet" in claims and "not in its files" in claims and "no such way" in claims
    block = readme.expected_block(ws).split("five public projects")[1]
    ours = "| A: 2D | 0.9225, Dice | pooled | about 0.82 to 0.84 | 0.884 (`unet2d`) | 0.941 (`unet2d`) | [README.md]"
    assert ours in block and "| B: 3D | 0.989, Dice | NSD | not in its files | not trained yet | none | " in block


def test_a_section_needs_its_file(ws: Workspace) -> None:
    fill_studies(ws)
    marks = {"inflation": 'id="inflation"', "leaks": 'id="cap-leaks"', "calibration_summary": 'id="cap-calibration"',
             "conformal_coverage": 'id="cap-coverage"'}  # fmt: skip
    html = page_of(ws).html
    assert all(mark in html for mark in marks.values())
    for name in marks:
        (ws.artifacts / "studies" / f"{name}.csv").unlink()
    html = page_of(ws).html
    assert not any(mark in html for mark in marks.values())
    assert 'href="#inflation"' not in html and 'href="#trust"' not in html


def test_headline_is_the_best_run_of_the_main_sections(ws: Workspace) -> None:
    html = page_of(ws).html
    answer = html.split('class="answer"')[1].split("</p>")[0]
    assert "unet2d.grouped0.s0.standard:mean:dice" in answer and ">0.884<" in answer  # 0.8835: half to even
    assert "+0.176" in html.split('class="lead"')[1].split("</p>")[0]  # 0.8835 - 0.7075, the same for every subject
    table = html.split('<table class="results"')[1].split("</table>")[0]
    main = re.findall(r'<tr[^>]*data-run="([^"]+)" data-shown="main"', table)
    assert [run.split(".")[0] for run in main] == [ATLAS, "unet2d", "unet2d-mobilenetv3"], "no CLIP, no other run"
    assert len(re.findall(r"<tr[^>]*data-run=", table)) == 6 and "marks the highest" in html
    # By volume: 1 has 2 in training and 10 has 9; 5 and 11 have nobody. By subject: none of the four.
    leaks = html.split('id="cap-siblings"')[1].split("</table>")[0]
    assert re.findall(r">(\d+)</data> of .*?>(\d+)</data>", leaks) == [("2", "4"), ("0", "4")]


def test_nothing_is_fetched(whole: tuple[Workspace, Page]) -> None:
    page = whole[1]
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href"):
            value = attrs.get(name) or ""
            if value and tag != "a":
                assert value.startswith(("data:", "#")), f"<{tag} {name}={value[:60]}>"
        assert not any(name.startswith("on") for name in attrs), f"<{tag}> has an inline handler"
    style, script = (re.findall(rf"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL) for tag in ("style", "script"))
    assert len(style) == len(script) == 1
    assert not re.search(r"url\(|@import|https?:", style[0])
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(", script[0])


def test_structure(whole: tuple[Workspace, Page]) -> None:
    page = whole[1]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in page.named("a"):
        if (attrs["href"] or "").startswith("#"):
            assert attrs["href"][1:] in ids
    for _, attrs in page.tags:
        assert set((attrs.get("aria-labelledby") or "").split()) <= set(ids)
    assert page.named("a")[0]["class"] == "skip" and page.named("a")[0]["href"] == "#main"
    assert all(len(page.named(tag)) == 1 for tag in ("main", "nav", "header", "footer", "h1"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_figure_is_there_once_with_its_words(whole: tuple[Workspace, Page]) -> None:
    images = whole[1].named("img")
    assert len(images) == 2 * len(CHAPTERS) + 1
    assert all(image["alt"] in ('A "png"', 'A "svg"') for image in images)
    assert whole[1].html.count("Caption &lt;svg&gt;") == len(CHAPTERS) + 1
    sizes = {(image["width"], image["height"]) for image in images}
    assert sizes == {("192", "96"), ("96", "48")}  # 300 x 150 at 150 dpi; 72 x 36 points
    section, album = (whole[1].html.split(f'id="{name}"')[1] for name in ("inflation", "notebook-07"))
    assert 'id="fig-07_inflation"' in section.split("</section>")[0] and 'href="#fig-07_inflation"' in album


def test_same_inputs_give_the_same_bytes(ws: Workspace, tmp_path: Path) -> None:
    first = build.build(ws, source="0" * 64).read_bytes()
    other = fill(Workspace(tmp_path / "elsewhere", "msd", "standard"))
    for name in ("facts/.12.part.07_evaluation.json", "figures/.12.part.07_evaluation.json"):
        write_text(other.artifacts / name, "{")  # of a process that is writing
    assert build.build(other, source="0" * 64).read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_a_phantom_s_page_is_marked_and_holds_no_times(tmp_path: Path, whole: tuple[Workspace, Page]) -> None:
    phantom = fill(Workspace(tmp_path, "phantom", "smoke"))
    path = build.build(phantom, source="0" * 64)
    html = path.read_text(encoding="utf-8")
    assert path == phantom.artifacts / "project.html"
    assert re.search(r"<title>PHANTOM", html) and "Nothing on this page comes from patients" in html
    assert html.index('class="phantom-banner"') < html.index("<h1>")
    assert "nnU-Net, 3d_fullres" not in html and 'id="try"' not in html
    real = whole[1].html
    assert "PHANTOM" not in real and 'class="phantom-banner"' not in real
    assert "hipposeg predict T1.nii.gz -o out" in real.split('id="try"')[1].split("</section>")[0]
    runs = phantom.artifacts / "runs.csv"
    runs.write_text(runs.read_text().replace("432.1", "543.21"))
    assert build.build(phantom, source="0" * 64).read_text(encoding="utf-8") == html


def test_what_is_missing_is_named(ws: Workspace, tmp_path: Path) -> None:
    (ws.artifacts / "facts" / "02_preprocessing.json").unlink()
    (ws.artifacts / "figures" / "03_unet2d_baseline.json").unlink()
    html = page_of(ws).html
    assert re.findall(r"Notebook (\d\d) has not been run", html) == ["02", "03"]
    html = page_of(Workspace(tmp_path / "empty", "msd", "standard")).html
    assert "No answer yet" in html and "There are no results" in html
    assert html.count("has not been run.</strong>") == len(CHAPTERS)


def test_too_large_a_page_is_an_error_and_leaves_the_old_one(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    old = build.build(ws, source="old").read_bytes()
    monkeypatch.setattr(build, "MAX_BYTES", 1000)
    with pytest.raises(ReportError, match=r"at most .* Largest figures: 0\d_some"):
        build.build(ws, source="new")
    assert ws.page.read_bytes() == old


def test_damaged_artifacts_are_errors(ws: Workspace) -> None:
    index = ws.figures / "07_evaluation.json"
    figures = json.loads(index.read_text())
    write_json(index, [figures[0] | {"alt": " "}])
    with pytest.raises(ReportError, match="alt text"):
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
    ],
)  # fmt: skip
def test_numbers_become_text_in_one_way(value: object, kind: str, text: str) -> None:
    assert numbers.show(value, kind) == text


def test_readme_block_follows_the_artifacts(ws: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\n{readme.BEGIN}\nold\n{readme.END}\n\nAfter.\n")
    assert readme.update(path, ws) and not readme.update(path, ws)
    text = path.read_text()
    assert text.startswith("# Title\n\n") and text.endswith("\n\nAfter.\n")
    assert readme.current_block(path) == readme.expected_block(ws)
    assert "| `unet2d` | 0.894 | 0.874 | 0.884 | 0.904 | 0.48\u202fM | n/a |" in text
    assert text.index(f"`{ATLAS}`") < text.index("| `unet2d` ") and "scse2d" not in text
    assert "mean Dice of **0.884** (95 % interval 0.864 to 0.897) on 4 volumes of 3 people" in text
    path.write_text(f"# Title\n{readme.BEGIN}\n")
    with pytest.raises(ReportError, match="0 results blocks"):
        readme.update(path, ws)
    assert path.read_text() == f"# Title\n{readme.BEGIN}\n"


def test_committed_page_equals_the_artifacts() -> None:
    committed = Workspace(project_root(), "msd", "stored")
    if not committed.page.is_file() or not (committed.artifacts / "runs.csv").is_file():
        pytest.skip("no artifacts of the real data are here yet: run `make all` with HIPPOSEG_DATA set")
    wrong, checked = wrong_numbers(Page(committed.page.read_text(encoding="utf-8")), committed.artifacts)
    assert wrong == [] and all(checked.values())
