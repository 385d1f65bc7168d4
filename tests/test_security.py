"""Promises of SECURITY.md that the sources show: nothing is unpickled, nothing listens beyond this machine."""

import ast
import re
import sys

import pytest

from hipposeg.viz import surface
from hipposeg.workspace import project_root

ROOT = project_root()
SOURCES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("notebooks/*.py"), *ROOT.glob(".ci/*.py")])


def calls(path):
    """(name as written, keywords) of every call in a source."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}


def test_nothing_is_unpickled_or_evaluated():
    found = 0
    for path in SOURCES:
        modules = re.findall(r"^\s*(?:import|from)\s+([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"} & set(modules), path
        for name, keywords in calls(path):
            found += 1
            assert name not in ("eval", "exec", "os.system", "yaml.load", "pd.read_pickle"), path
            assert keywords.get("shell") != "True" and keywords.get("allow_pickle", "False") == "False", path
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", path
    assert found > 5000


@pytest.mark.parametrize("name", ["Makefile", ".ci/setup.sh", ".ci/test-install.sh"])
def test_scripts_listen_on_this_machine_alone_and_check_certificates(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"0\.0\.0\.0|--insecure|curl -k|--trusted-host|--no-check-certificate", text)
    assert all("--ip=127.0.0.1" in line for line in text.splitlines() if "jupyter lab " in line)


def test_servers_name_the_loopback_interface():
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    assert all("0.0.0.0" not in text for text in texts.values())
    for path, text in texts.items():
        for address in re.findall(r'dashboard_address"?[=:] ?("[^"]*"|None)', text):
            assert address in ('"127.0.0.1:0"', "None"), path


def test_the_scene_in_a_notebook_listens_on_this_machine_alone_and_downloads_nothing(monkeypatch):
    from trame_pyvista.jupyter import launch_server
    from trame_server.core import Server

    monkeypatch.delenv("TRAME_DEFAULT_HOST", raising=False)
    monkeypatch.delitem(sys.modules, "trame.widgets.vtklocal", raising=False)
    surface.without_downloads()
    hosts = []
    monkeypatch.setattr(Server, "start", lambda self, **options: hosts.append(options["host"]))
    launch_server("security")
    assert hosts == ["127.0.0.1"]


def test_every_test_that_the_promises_name_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(set(named)) >= 8 and all((ROOT / one).is_file() for one in named)
