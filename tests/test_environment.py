"""pyproject.toml, requirements.in, requirements.lock and environment.yml describe one environment."""

import json
import re
import tomllib

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hipposeg.workspace import project_root

ROOT = project_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}


def requirements(name: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip(" \\") for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("--hash=")]


def pins(found: list[Requirement]) -> dict[str, str]:
    table = {}
    for requirement in found:
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{requirement} is not exact"
        assert canonicalize_name(requirement.name) not in table, f"{requirement.name} is pinned twice"
        table[canonicalize_name(requirement.name)] = specifier.version
    return table


def locked(system: str, python: str = "3.11") -> dict[str, str]:
    """The lock's pins that apply to one system."""
    where = {**default_environment(), **SYSTEMS[system], "python_version": python, "python_full_version": f"{python}.9"}
    where |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return pins([r for r in requirements("requirements.lock") if r.marker is None or r.marker.evaluate(where)])


def test_conda_users_get_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [item for item in environment["dependencies"] if isinstance(item, str)]
    (pip,) = (item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert "python=3.11" in plain
    assert "-c constraints.txt" in pip, "what the packages bring along comes from the lock too"
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    versions = [line.removesuffix(" \\") for line in lock if "==" in line]
    assert (ROOT / "constraints.txt").read_text().splitlines() == versions
    assert "-e ." in pip
    assert pins([Requirement(item) for item in pip if not item.startswith("-")]) == pins(
        requirements("requirements.in")
    )


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_lock_holds_every_direct_pin_on_every_system(system, python):
    direct, lock = pins(requirements("requirements.in")), locked(system, python)
    assert {name: lock.get(name) for name in direct} == direct


def test_every_locked_package_has_hashes():
    found: dict[str, int] = {}  # a package may have two versions, for two systems
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if re.match("[a-z0-9]", line):
            assert line.endswith(" \\"), line
            found[name := line.split(" ")[0]] = 0
        elif not line.strip().startswith("#"):
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
            found[name] += 1
    assert len(found) == len(requirements("requirements.lock")) > 150 and min(found.values()) > 0


def test_the_bill_of_materials_lists_the_lock_with_licences():
    bill = json.loads((ROOT / "sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = sorted((one["name"], one["version"]) for one in bill["components"])
    assert listed == sorted({(one.name, str(one.specifier)[2:]) for one in requirements("requirements.lock")})
    silent = {one["name"] for one in bill["components"] if "licenses" not in one}
    others = set().union(*(locked(system) for system in ("macOS", "Windows"))) - set(locked("Linux"))
    assert silent <= others | {"axe-playwright-python", "cuda-toolkit", "httpx2-jsfetch"}, "run `make bom`"
    assert all(one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}" for one in bill["components"])


def test_direct_pins_are_the_packages_of_pyproject_within_its_ranges():
    direct = pins(requirements("requirements.in"))
    extras = [text for name, texts in PROJECT["optional-dependencies"].items() if name != "bench" for text in texts]
    ranges = [Requirement(text) for text in [*PROJECT["dependencies"], *extras] if not text.startswith("hipposeg[")]
    assert len(ranges) == len(direct), "each package is named once"
    assert {canonicalize_name(requirement.name) for requirement in ranges} == set(direct)
    for requirement in ranges:
        assert requirement.specifier.contains(direct[canonicalize_name(requirement.name)]), requirement
        assert not any(s.operator == "==" for s in requirement.specifier), f"{requirement}: Colab needs a range"


def test_ranges_begin_at_tested_versions():
    """Those of the lock or of Colab's twin, to the minor version."""
    # Older ones that Colab may have: they install together with the rest; no notebook ran with them.
    by_hand = {"numpy": "2.0", "torch": "2.9", "torchvision": "0.24"}
    twin = dict(re.findall(r"([a-z][\w-]*)==([\d.]+)", (ROOT / ".ci" / "colab_twin.py").read_text()))
    lock = pins(requirements("requirements.in"))
    extras = [text for name, texts in PROJECT["optional-dependencies"].items() if name != "bench" for text in texts]
    for text in [*PROJECT["dependencies"], *extras]:
        if not text.startswith("hipposeg["):
            name, least = text.split(">=")
            tested = by_hand.get(name) or twin.get(name, lock[name])
            assert tested.split(".")[:2] == least.split("."), f"{name}: {tested} was tested, not {least}"


@pytest.mark.parametrize("name", ["README.md", "src/hipposeg/predict/bids.py"])
def test_address_is_that_of_pyproject(name):
    found = set(re.findall(r"https://github\.com/[\w-]+/hipposeg", (ROOT / name).read_text()))
    assert found == {PROJECT["urls"]["Repository"]}


def test_installed_packages_are_the_locked_ones():
    """Only where .venv was made by make: a Colab or conda user may have others."""
    from importlib.metadata import version

    if not (ROOT / ".venv" / ".stamp").is_file():
        pytest.skip("there is no .venv made by `make setup`")
    for name, wanted in pins(requirements("requirements.in")).items():
        assert version(name).split("+")[0] == wanted, name
