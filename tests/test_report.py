"""The page and the README block: self-contained, readable, loud where something is missing, equal to the CSV files."""

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

from hipposeg.experiments.spec import RunSpec
from hipposeg.files import sha256_bytes, write_json, write_text
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.page import artifacts, build, numbers, plots, readme
from hipposeg_lab.page.artifacts import ReportError
from hipposeg_lab.page.embed import VENDOR, svg_uri
from hipposeg_lab.page.words import CHAPTERS


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A filled workspace that pretends to be the real data's."""
    return fill(Workspace(tmp_path, "msd", "standard"))


def page_of(ws: Workspace) -> Page:
    """Build and parse."""
    return Page(build.build(ws, source="0" * 64).read_text(encoding="utf-8"))


def test_numbers_equal_the_csv(ws: Workspace) -> None:
    page = page_of(ws)
    assert wrong_numbers(page, ws.artifacts)[0] == []
    shown = {tuple(attrs["data-of"].rsplit(":", 2)) for attrs, _ in page.data if "data-of" in attrs}
    for run in ("unet2d.grouped0.s0.standard", f"{ATLAS}.grouped0.s0.standard", "unet2d.nnunet0.s0.standard"):
        for label in LABELS:
            assert {(run, label, f"dice{end}") for end in ("", "_low", "_high")} <= shown
        assert {(run, "mean", "hd95"), (run, "mean", "nsd1"), (run, "union", "volume_bias")} <= shown


def test_a_changed_number_is_noticed(ws: Workspace) -> None:
    page = Page(page_of(ws).html.replace(">0.884<", ">0.894<"))
    assert wrong_numbers(page, ws.artifacts)[0]


def filled(ws: Workspace) -> Workspace:
    """Everything that the page can show."""
    for more in (fill_explorer, fill_studies, fill_series):
        more(ws)
    return ws


def test_numbers_of_series_studies_and_cases_equal_their_files(ws: Workspace) -> None:
    page = page_of(filled(ws))
    # Inflation, two runs of five practices, one of three seeds; leaks, two means; coverage, of three folds one; ECE
    # twice; comparisons; claims; means over five folds.
    cells = 2 * 5 * 4 + 1 + 2 * 5 + 5 * 4 + 2 + 2 * 6 + 8 + 8
    wrong, checked = wrong_numbers(page, ws.artifacts)
    assert wrong == []
    assert (checked["cell"], checked["case"]) == (cells, 12 * 7)
    assert checked["of"] > 17 * 8 * 3 and checked["runs"] > 17 * 3
    assert all(checked.values()), "of every kind of place there is a number"
    for right, changed in ((">+0.021<", ">+0.031<"), (">11.7<", ">11.8<"), (">0.1234<", ">0.1235<")):
        assert right in page.html and wrong_numbers(Page(page.html.replace(right, changed)), ws.artifacts)[0]
    table = page.html.split('id="runs"')[1].split("</table>")[0]
    wrong_table = re.sub(r'(<data value="[0-9.]+">0\.)8', r"\g<1>7", table, count=1)
    changed = page.html.replace(table, wrong_table)
    assert changed != page.html and wrong_numbers(Page(changed), ws.artifacts)[0]


def test_the_first_screen_and_all_minutes_and_parameters_name_their_places(ws: Workspace) -> None:
    page = page_of(filled(ws))
    named = {f"data-{place}" for place in PLACES}
    screen = Page(page.html.split('<header class="hero">')[1].split("</header>")[0])
    for attrs, text in screen.data:
        assert named & set(attrs), f"{text} on the first screen"
    claims = Page(page.html.split('id="claims"')[1].split("</section>")[0]).data
    for attrs, text in page.data:
        if attrs["data-kind"] in ("minutes", "schedule", "millions", "gflops") and (attrs, text) not in claims:
            assert named & set(attrs), f"{text} ({attrs['data-kind']})"


def test_the_explorer_carries_files_and_scores_as_they_are(ws: Workspace) -> None:
    html = page_of(filled(ws)).html
    found = json.loads(html.split('id="volumes">')[1].split("</script>")[0])
    assert [case["case"] for case in found["cases"]] == [1, 2, 5, 9]
    for case in found["cases"]:
        for part, end in (("image", "webp"), ("masks", "gz")):
            stored = ws.artifacts / "explorer" / f"{case['case']:03d}.{end}"
            assert base64.b64decode(case[part]) == stored.read_bytes()
    for model, dice in enumerate((0.8835, 0.7075)):
        shown = {row: told[0] for row, told in zip(found["rows"], found["cases"][0]["told"][model], strict=True)}
        assert shown["mean"] == expected(str(round(dice + 0.02, 6)), "score")
        assert shown["union"] == expected(str(round(dice + 0.04, 6)), "score")
    assert [case["words"][0] for case in found["cases"]] == ["", "", "Too much, at the tail.", ""]
    assert found["rules"] == {"best": 1, "median": 5, "worst": 9}
    (ws.artifacts / "explorer" / "005.gz").unlink()
    with pytest.raises(ReportError, match="005.gz, which is missing"):
        build.build(ws)


def test_the_library_of_the_surfaces_is_the_vendored_one(ws: Workspace) -> None:
    html = page_of(filled(ws)).html
    library = gzip.decompress(base64.b64decode(html.split('id="three">')[1].split("</script>")[0]))
    assert library == gzip.decompress((VENDOR / "three.min.js.gz").read_bytes())
    assert sha256_bytes(library) == re.search(r"[0-9a-f]{64}", (VENDOR / "README.md").read_text(encoding="utf-8"))[0]
    assert (VENDOR / "LICENSE").read_text(encoding="utf-8") in unescape(html)


def test_a_leaky_run_is_marked_and_mean_volumes_are_left_out(ws: Workspace) -> None:
    assert "leak experiment" not in page_of(filled(ws)).html
    put(ws, leaky := RunSpec("unet3d", "leak-volumes"), 0.9)
    html = page_of(ws).html
    row = html.split(f'data-run="{leaky.name}"')[1].split("</th>")[0]
    assert "leak experiment</em>" in row and html.count("leak experiment</em>") == 1
    assert "Their scores are not fair" in html
    told = json.loads(html.split('id="volumes">')[1].split("</script>")[0])["cases"][0]["told"][0]
    assert told[LABELS.index("mean")][3:] == ["", "", ""] and all(told[LABELS.index("union")][:3])


def test_the_predictor_is_told_of_but_not_on_a_phantom_s_page(ws: Workspace, tmp_path: Path) -> None:
    section = page_of(ws).html.split('id="try"')[1].split("</section>")[0]
    assert "hipposeg predict my_crop.nii.gz -o out" in section and "not a medical device" in section
    assert 'id="try"' not in page_of(fill(Workspace(tmp_path / "phantom", "phantom", "smoke"))).html


def test_a_drawing_in_an_address_is_the_drawing() -> None:
    body = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">
<text id="a" fill="#fff">Dice's 90 % &amp; "more" &lt; 1</text><use xlink:href="#a"/>
<use transform="translate(-71.64)" xlink:href="#a"/><use transform="translate(1 2)" xlink:href="#a"/>
<path id="1.2345" d="m0.1234-0.5678.9999 12.3456 1.99999.5-.9999z"/></svg>"""
    uri = str(svg_uri(f"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x.dtd'>\n{body}".encode()))
    assert not set('"<&#') & set(uri) and uri.startswith("data:image/svg+xml,")
    found = ElementTree.fromstring(unquote(uri.partition(",")[2]))
    text, use, shifted, moved, path = found
    assert (text.text, text.attrib) == ("Dice's 90 % & 'more' < 1", {"id": "a", "fill": "#fff"})
    assert shifted.attrib == {"href": "#a", "x": "-72"}, "nearly the same place in fewer signs"
    assert moved.attrib == {"href": "#a", "transform": "translate(1 2)"}
    assert path.attrib == {"id": "1.2345", "d": "m.12-.57 1.00 12.35 2.00.5-1.00z"}
    assert use.attrib == {"href": "#a"} and found.attrib == {"viewBox": "0 0 9 9"}


def test_a_model_far_below_the_others_is_an_arrow_at_the_edge() -> None:
    scores = {"a": 0.89, "b": 0.891, "c": 0.892, "d": 0.893, "failed": 0.687}
    table = [(model, 2.0 + at, dice, 1) for at, (model, dice) in enumerate(scores.items())]
    plot = plots.minutes(table, {"a": 2, "failed": 3}, "a")
    kinds = dict(zip(scores, (dot.kind for dot in plot.dots), strict=True))
    assert kinds == {"a": "best flat", "b": "mean", "c": "mean", "d": "mean", "failed": "mean below"}
    assert [dot.name for dot in plot.dots] == ["a", "", "", "d", "failed, 0.687"]
    two = plots.minutes([*table, *[("more", 6.0, 0.89, 1)] * 4, ("worse", 9.0, 0.6, 1)], {}, "a")
    assert [dot.name for dot in two.dots if "below" in dot.kind] == ["", ""], "two names at the edge may overlap"
    assert plot.y.low > 0.88 and plot.dots[-1].y == 0 and plot.dots[-1].tip.endswith("below the axis")


def test_the_first_screen_answers_with_five_folds_and_minutes(ws: Workspace) -> None:
    answer = page_of(filled(ws)).html.split('class="answer"')[1].split("</p>")[0]
    shown = [text for _, text in Page(answer).data]
    assert shown == ["0.890", "0.885", "0.896", "8", "6", "0.892", "0.885", "0.896", "11.7", "2"]


def test_the_race_stands_in_one_order(ws: Workspace) -> None:
    table = page_of(filled(ws)).html.split('id="cap-race"')[1].split("</table>")[0]
    assert table.index(">ours<") < table.index(">nnU-Net v2<")
    assert [text for _, text in Page(table).data] == ["0.861", "0.851", "0.871", "0.312", "0.302", "0.322"]


def test_comparisons_and_claims_come_from_their_files(ws: Workspace) -> None:
    html = page_of(filled(ws)).html
    table = html.split('id="verdict-rows"')[1].split("</table>")[0]
    assert re.findall(r'data-verdict="([^"]+)"', table) == ["ahead", "none: 1 seed"] and "unet3d<wbr>+flip" in table
    claims = html.split('class="claims"')[1].split("</table>")[0]
    assert "not trained yet" in claims and "not in its files" in claims and "no such way" in claims
    assert claims.count("https://example.org") == 2
    block = readme.expected_block(ws).split("five public projects")[1]
    assert (
        "| A: 2D | 0.9225, Dice | pooled | about 0.82 to 0.84 | 0.884 (`unet2d`) | 0.941 (`unet2d`) | [README.md](https"
        in block
    )
    assert "| B: 3D | 0.989, Dice | NSD | not in its files | not trained yet | none | [README.md](https" in block


def test_a_section_needs_its_file(ws: Workspace) -> None:
    fill_studies(ws)
    marks = {"inflation": 'id="inflation"', "leaks": "What a leak is worth", "calibration": "confidence worth",
             "conformal_coverage": "keep their promise"}  # fmt: skip
    for name, mark in marks.items():
        assert mark in page_of(ws).html
        (ws.artifacts / "studies" / f"{name}.csv").unlink()
        assert mark not in page_of(ws).html
    assert 'href="#inflation"' not in page_of(ws).html and 'href="#trust"' not in page_of(ws).html


@pytest.mark.parametrize("name", ["facts/.12.part.07_evaluation.json", "figures/.12.part.07_evaluation.json"])
def test_files_that_are_being_written_are_not_read(ws: Workspace, name: str) -> None:
    html = page_of(ws).html
    write_text(ws.artifacts / name, "{")
    assert page_of(ws).html == html


def test_headline_is_the_best_run_of_the_main_sections(ws: Workspace) -> None:
    html = page_of(ws).html
    answer = html.split('class="answer"')[1].split("</p>")[0]
    assert "unet2d.grouped0.s0.standard:mean:dice" in answer and ">0.884<" in answer  # 0.8835: half to even
    assert "+0.176" in html.split('class="lead"')[1].split("</p>")[0]  # 0.8835 - 0.7075, the same for every person
    table = html.split('<table class="results"')[1].split("</table>")[0]
    main = re.findall(r'<tr[^>]*data-run="([^"]+)" data-shown="main"', table)
    assert [run.split(".")[0] for run in main] == [ATLAS, "unet2d", "unet2d-mobilenetv3"], "no CLIP, no other run"
    assert len(re.findall(r"<tr[^>]*data-run=", table)) == 6


def test_times_come_from_the_table_of_runs(ws: Workspace) -> None:
    took = '<data value="432.1" data-kind="minutes" data-runs="unet2d.grouped0.s0.standard:train_s">7.2</data>'
    reproduce = page_of(ws).html.split('id="reproduce"')[1].split("</section>")[0]
    assert f"Training took {took} minutes for <code>unet2d</code>, " in reproduce
    assert ", on Test CPU (one thread)." in reproduce
    assert reproduce.count(" minutes for ") == 2, "the atlas is not trained"


def test_minutes_of_a_gpu_are_marked(ws: Workspace) -> None:
    mark = "<small>GPU</small></td>"
    html = page_of(ws).html
    assert mark not in html and "on one GPU" not in html
    put(ws, RunSpec("scse2d", seed=1, hardware="cuda"), 0.89, device="cuda")
    html = page_of(ws).html
    assert html.count(mark) == 1 and "on one GPU" in html and "seed 1, cuda" in html


def test_the_order_of_the_table_is_not_called_a_verdict(ws: Workspace) -> None:
    html = page_of(ws).html
    assert "is-best" in html and "marks the highest" in html
    assert "are not ranked" not in html and "chose nothing" not in html


def test_siblings_are_counted_from_the_folds(ws: Workspace) -> None:
    leaks = page_of(ws).html.split('class="leaks"')[1].split("</figure>")[0]
    # By volume: 1 has 2 in training and 10 has 9; 5 and 11 have nobody. By person: none of the four.
    assert re.findall(r'leak-n">.*?>(\d+)</data> of .*?>(\d+)</data>', leaks) == [("2", "4"), ("0", "4")]


def test_nothing_is_fetched(ws: Workspace) -> None:
    page = page_of(ws)
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href"):
            value = attrs.get(name) or ""
            if value and tag != "a":
                assert value.startswith(("data:", "#")), f"<{tag} {name}={value[:60]}>"
        assert not any(name.startswith("on") for name in attrs), f"<{tag}> has an inline handler"
    assert {attrs.get("rel") for attrs in page.named("link")} == {"icon"}
    style, script = (re.findall(rf"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL) for tag in ("style", "script"))
    assert len(style) == len(script) == 1
    assert not re.search(r"url\(|@import|https?:", style[0])
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(", script[0])


def test_structure(ws: Workspace) -> None:
    page = page_of(ws)
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
    assert page.named("html")[0]["lang"] == "en" and page.named("meta")[1]["name"] == "viewport"


def test_every_figure_is_there_once_with_its_words(ws: Workspace) -> None:
    page = page_of(ws)
    images = page.named("img")
    assert len(images) == 2 * len(CHAPTERS)
    assert all(image["alt"] in ('A "png"', 'A "svg"') for image in images)
    assert page.html.count("Caption &lt;svg&gt;") == len(CHAPTERS)
    sizes = {(image["width"], image["height"]) for image in images}
    assert sizes == {("192", "96"), ("96", "48")}  # 300 x 150 at 150 dpi; 72 x 36 points


def test_same_inputs_give_the_same_bytes(ws: Workspace, tmp_path: Path) -> None:
    first = build.build(ws, source="0" * 64).read_bytes()
    other = fill(Workspace(tmp_path / "elsewhere", "msd", "standard"))
    assert build.build(other, source="0" * 64).read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_smoke_pages_hold_no_times(tmp_path: Path) -> None:
    smoke = fill(Workspace(tmp_path, "phantom", "smoke"))
    before = build.build(smoke, source="0" * 64).read_bytes()
    runs = smoke.artifacts / "runs.csv"
    runs.write_text(runs.read_text().replace("432.1", "543.21"))
    assert build.build(smoke, source="0" * 64).read_bytes() == before and b"Training took" not in before


def test_phantom_cannot_be_missed(tmp_path: Path, ws: Workspace) -> None:
    phantom = fill(Workspace(tmp_path, "phantom", "smoke"))
    path = build.build(phantom, source="0" * 64)
    html = path.read_text(encoding="utf-8")
    assert path == phantom.artifacts / "project.html"
    assert re.search(r"<title>PHANTOM", html) and "Nothing on this page comes from patients" in html
    assert html.index("phantom-banner") < html.index("<h1>") or html.index('class="phantom-banner"') < html.index(
        "<h1>"
    )
    assert "nnU-Net, 3d_fullres" not in html
    real = page_of(ws).html
    assert "PHANTOM" not in real and 'class="phantom-banner"' not in real


@pytest.mark.parametrize("gone", ["facts", "figures"])
def test_a_notebook_that_did_not_finish_is_said_so(ws: Workspace, gone: str) -> None:
    (ws.artifacts / gone / "02_preprocessing.json").unlink()
    html = page_of(ws).html
    assert html.count("has not been run.</strong>") == 1 and "Notebook 02 has not been run" in html


def test_an_empty_workspace_gives_a_page_that_says_so(tmp_path: Path) -> None:
    html = page_of(Workspace(tmp_path, "msd", "standard")).html
    assert "No answer yet" in html and "There are no results" in html
    assert html.count("has not been run.</strong>") == len(CHAPTERS)


def test_too_large_a_page_is_an_error_and_leaves_the_old_one(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    old = build.build(ws, source="old").read_bytes()
    assert len(old) < build.MAX_BYTES == 8_000_000
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
        (1700000.0, "auto", "1\u202f700\u202f000"), (True, "auto", "yes"), ("N4", "auto", "N4"),
        (0.0, "p", "under 0.001"), (0.0412, "p", "0.041"),
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


def test_readme_without_its_markers_is_an_error(ws: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n{readme.BEGIN}\n")
    with pytest.raises(ReportError, match="0 results blocks"):
        readme.update(path, ws)
    assert path.read_text() == f"# Title\n{readme.BEGIN}\n"


def test_committed_page_and_readme_equal_the_artifacts() -> None:
    committed = Workspace(project_root(), "msd", "stored")
    if not committed.page.is_file() or not (committed.artifacts / "runs.csv").is_file():
        pytest.skip("no artifacts of the real data are here yet: run `make all` with HIPPOSEG_DATA set")
    wrong, checked = wrong_numbers(Page(committed.page.read_text(encoding="utf-8")), committed.artifacts)
    assert wrong == [] and all(checked.values())
    assert readme.current_block(committed.root / "README.md") == readme.expected_block(committed)
