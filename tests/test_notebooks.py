"""The notebooks: their style, the paired .ipynb files, and a smoke run of all of them from scratch."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
from notebook_counts import counts

from hipposeg import cli, reproduce, workspace
from hipposeg.workspace import Workspace, project_root

ROOT = project_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PATHS = sorted((ROOT / "notebooks").glob("[0-9A][0-9]_*.py"))
each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
# A decimal number, but not in a DOI, a version, an arXiv number, a licence's name, a link or code.
DECIMAL = re.compile(r"(?<![\w./:=-])\d+\.\d+(?![\w./-]*[/\w])")
ALLOWED = re.compile(r"`[^`]*`|\$[^$]*\$|https?://\S+|doi:\S+|arXiv[:\s]\S+|CC BY(-SA)? 4\.0|[Ss]ections? \d\.\d")


def cells(path, kind=None):
    return [cell for cell in reproduce.read(path).cells if kind in (None, cell.cell_type)]


@each_notebook
def test_header_title_and_first_cells(path):
    notebook = reproduce.read(path)
    assert notebook.metadata.jupytext.formats == "ipynb,py:percent"
    assert notebook.metadata.kernelspec.name == "python3"
    title, install, parameters, setup = notebook.cells[:4]
    number = path.stem.split("_")[0]
    assert title.source.startswith(f"# {number}. ")
    address = PROJECT["urls"]["Repository"]
    assert re.findall(r'"(https://[^"]+)"', install.source) == [address], "Colab clones the address of pyproject.toml"
    badge = f"{address.replace('https://github.com', 'github')}/blob/main/notebooks/{path.stem}.ipynb)"
    assert badge in title.source, "the Colab badge"
    assert install.source == cells(PATHS[0])[1].source, "every notebook fetches the same project in the same way"
    assert parameters.metadata.tags == ["parameters"]
    assert parameters.source == 'profile = "standard"'
    assert f'session = start("{path.stem}", profile)' in setup.source


@each_notebook
def test_imports_stand_in_the_setup_cell_and_nothing_else_is_built_here(path):
    for index, cell in enumerate(cells(path)):
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        nodes = list(ast.walk(tree))
        typed_out = path.stem == "00_quickstart"  # its U-Net stands in the notebook on purpose
        assert typed_out or not any(isinstance(node, ast.ClassDef) for node in nodes), f"cell {index + 1}: a class"
        functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        short = all(node.end_lineno - node.lineno < 8 for node in functions)
        assert typed_out or short, f"cell {index + 1}: move it to the package"
        imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert index in (1, 3) or not imports, f"cell {index + 1} imports; the setup cell is the place"
        length = len([line for line in cell.source.splitlines() if line.strip()])
        assert index == 3 or length <= 25, f"cell {index + 1} has {length} lines; about 10 are meant"


@each_notebook
def test_sizes_stay_within_their_limits(path):
    found = counts(path)
    chapter = not path.stem.startswith("A")
    assert found["cells"] <= (45 if chapter else 60) and found["words"] <= 2500, found
    assert found["imports"] <= 15 and found["reporting"] <= 0.25 * found["code"], found
    assert "fmt: skip" not in path.read_text()


@each_notebook
def test_solutions_of_exercises_pass_their_checks(path):
    """Each exercise is a cell to write in and a cell that checks; its folded solution follows in Markdown."""
    every = cells(path)
    imports = [line for line in every[3].source.splitlines() if re.match(r"(from|import) ", line)]
    found = [index for index, cell in enumerate(every) if "exercise" in cell.metadata.get("tags", ())]
    for index in found:
        empty, check, folded = every[index : index + 3]
        (solution,) = re.findall(r"<details>.*?```python\n(.*?)```.*?</details>", folded.source, re.DOTALL)
        names: dict[str, object] = {}
        exec("\n".join(imports), names)
        exec(empty.source + "\n" + check.source, dict(names))  # not yet written: says so and goes on
        exec(solution + "\n" + check.source, dict(names))
        assert "assert" in check.source


@each_notebook
def test_every_code_cell_has_words_before_it(path):
    kinds = [cell.cell_type for cell in cells(path)][4:]
    pairs = list(zip(kinds, kinds[1:], strict=False))
    bare = sum(pair == ("code", "code") for pair in pairs)
    assert bare <= len(pairs) / 4, f"{bare} code cells follow another one without a word in between"


@each_notebook
def test_no_measured_number_is_typed_in_markdown(path):
    for index, cell in enumerate(cells(path)):
        if cell.cell_type == "markdown":
            found = DECIMAL.findall(ALLOWED.sub("", cell.source))
            assert not found, f"cell {index + 1}: print {found} from the value just computed"


@each_notebook
def test_header_and_end_name_what_every_notebook_has(path):
    title = cells(path)[0].source.lower()
    for word in ("question", "learn", "reads", "writes", "run time"):
        assert word in title, f"the first cell lacks: {word}"
    headings = "\n".join(re.findall(r"^#+ .*$", "\n".join(c.source for c in cells(path, "markdown")), re.MULTILINE))
    for word in ("learned", "limit", "exercise", "reference"):
        assert word in headings.lower(), f"no section on: {word}"
    assert any("session.finish(" in cell.source for cell in cells(path, "code")[-2:])


def test_sources_and_ipynb_files_are_in_sync_and_hold_no_output():
    assert reproduce.sync(ROOT / "notebooks", check=True) == []
    for path in PATHS:
        for cell in json.loads(path.with_suffix(".ipynb").read_text())["cells"]:
            assert not cell.get("outputs") and cell.get("execution_count") is None


def test_sync_finds_edits(tmp_path):
    path = tmp_path / "98_made.py"
    path.write_text("# %% [markdown]\n# # 98. Made\n\n# %%\nprint(1)\n")
    assert reproduce.sync(tmp_path, check=True) == ["98_made.ipynb"] and not path.with_suffix(".ipynb").exists()
    reproduce.sync(tmp_path)
    assert reproduce.sync(tmp_path) == []
    path.write_text(path.read_text().replace("print(1)", "print(2)"))
    assert reproduce.sync(tmp_path, check=True) == ["98_made.ipynb"]


@pytest.mark.parametrize("description", ["", '[project]\nname = "other"\ndependencies = ["hipposeg"]\n'])
def test_sync_and_execute_leave_another_project_alone(tmp_path, monkeypatch, capsys, description):
    files = {"pyproject.toml": description, "notebooks/03_own.py": "# %%\nprint(1)\n", "notebooks/03_own.ipynb": "own"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workspace, "__file__", str(tmp_path / "lib" / "hipposeg" / "workspace.py"))  # not editable
    assert not workspace.is_project(tmp_path)
    for command in (["sync"], ["execute", "03"]):
        assert cli.main(command) == 1
        assert "is not a checkout of hipposeg" in capsys.readouterr().err
    assert {name: (tmp_path / name).read_text() for name in files} == files
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "hipposeg"\n')
    assert workspace.is_project(tmp_path) and workspace.project_root() == tmp_path


def test_jupytext_itself_sees_the_pair_as_one(tmp_path):
    import jupytext

    source = PATHS[0]
    (tmp_path / "pair.ipynb").write_text(reproduce.dump(reproduce.read(source)))
    pair = jupytext.read(tmp_path / "pair.ipynb")
    assert pair.metadata.jupytext.formats == "ipynb,py:percent"
    ours, theirs = reproduce.read(source), jupytext.reads(jupytext.writes(pair, fmt="py:percent"), fmt="py:percent")
    assert [(cell.cell_type, cell.source) for cell in ours.cells] == [(c.cell_type, c.source) for c in theirs.cells]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Workspace:
    """All runs, all notebooks in order and the page, from scratch, by the commands that make calls."""
    root = tmp_path_factory.mktemp("smoke run")  # a path with a blank
    # A data folder that does not exist: the profile smoke must never read it.
    environment = {
        **os.environ,
        "HIPPOSEG_OUT": str(root),
        "HIPPOSEG_OFFLINE": "1",
        "HIPPOSEG_DATA": str(root / "none"),
    }
    numbers = [path.stem.split("_")[0] for path in PATHS]
    for command in (
        ["hipposeg.cli", "data", "--profile", "smoke"],
        ["hipposeg.cli", "train", "--plan", "smoke"],
        *(["hipposeg.cli", "execute", number, "--profile", "smoke"] for number in numbers),
        ["hipposeg_lab.cli", "page", "--dataset", "phantom", "--profile", "smoke"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return Workspace(root, "phantom", "smoke")


@pytest.mark.whole
@each_notebook
def test_smoke_run_leaves_copy_facts_and_figures(smoke, path):
    copy = smoke.artifacts / "notebooks" / f"{path.stem}.ipynb"
    content = copy.read_text()
    assert len(content.encode()) <= 1_500_000
    assert "PHANTOM DATA" in content
    assert str(ROOT) not in content and str(smoke.root) not in content
    notebook = json.loads(content)
    assert all(cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert not [o for c in notebook["cells"] for o in c.get("outputs", []) if o["output_type"] == "error"]
    figures = json.loads((smoke.figures / f"{path.stem}.json").read_text())
    assert figures, "a notebook without a figure"
    for figure in figures:
        assert (smoke.figures / figure["file"]).stat().st_size > 500
        assert len(figure["alt"]) > 20 and len(figure["caption"]) > 20
    assert json.loads((smoke.artifacts / "facts" / f"{path.stem}.json").read_text())


@pytest.mark.whole
def test_smoke_run_builds_page_tables_and_manifest(smoke):
    page = smoke.artifacts / "project.html"
    assert 10_000 < page.stat().st_size <= 8_000_000
    assert "phantom" in page.read_text().lower()
    manifest = json.loads((smoke.artifacts / "manifest.json").read_text())
    listed = manifest["files"]
    assert {"runs.csv", "scores.csv.gz", "project.html", "folds.json"} <= set(listed)
    assert {f"notebooks/{path.stem}.ipynb" for path in PATHS} <= set(listed)
    assert any(line.startswith("atlas-no-image.") for line in (smoke.artifacts / "runs.csv").read_text().splitlines())
    assert not (smoke.root / "artifacts").exists() and not (smoke.root / "project.html").exists()
