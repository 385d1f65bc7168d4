"""Write sbom.cdx.json: the packages of requirements.lock with their licences (CycloneDX 1.6). `make bom` runs it.

Licences are those that the installed packages state; one for another system states none here.
"""

import json
import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def licences(name: str) -> list[dict]:
    """What an installed package states: an SPDX expression, a licence in words, or a classifier."""
    try:
        stated = metadata(name)
    except PackageNotFoundError:
        return []
    if expression := stated["License-Expression"]:
        return [{"expression": expression}]
    words = (stated["License"] or "").strip()
    kinds = [one.split(" :: ")[-1] for one in stated.get_all("Classifier") or () if one.startswith("License :: ")]
    names = [words] if words and len(words) < 60 else kinds
    return [{"license": {"name": one}} for one in sorted(set(names))]


def bill() -> dict:
    """The bill of materials."""
    pins = re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements.lock").read_text())
    components = [
        {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
        | ({"licenses": found} if (found := licences(name)) else {})
        for name, version in sorted(set(pins))
    ]
    own = {"type": "application", "name": "hipposeg", "licenses": [{"expression": "MIT AND CC-BY-SA-4.0"}]}
    start = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": own}}
    return start | {"components": components}


def text() -> str:
    """The bill as JSON, one line a package."""
    found = bill()
    lines = ",\n".join(f"  {json.dumps(one)}" for one in found.pop("components"))
    return f'{json.dumps(found, indent=1)[:-2]},\n "components": [\n{lines}\n ]\n}}\n'


if __name__ == "__main__":
    (ROOT / "sbom.cdx.json").write_text(text())
