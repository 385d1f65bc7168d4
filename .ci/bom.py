"""Write sbom.cdx.json: the packages of requirements.lock with their licences (CycloneDX 1.6). `make bom` runs it.

Licences are those that the installed packages state; one for another system states none here.
"""

import json
import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = {"type": "application", "name": "hipposeg", "licenses": [{"expression": "MIT AND CC-BY-SA-4.0"}]}
HEAD = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": OWN}, "components": []}


def component(name: str, version: str) -> dict:
    """A package with what it states: an SPDX expression, a licence in words, or a classifier."""
    found = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
    try:
        stated = metadata(name)
    except PackageNotFoundError:
        return found
    if expression := stated["License-Expression"]:
        return found | {"licenses": [{"expression": expression}]}
    words = (stated["License"] or "").strip()
    kinds = [one.split(" :: ")[-1] for one in stated.get_all("Classifier") or () if one.startswith("License :: ")]
    names = sorted({words} if words and len(words) < 60 else set(kinds))
    return found | ({"licenses": [{"license": {"name": one}} for one in names]} if names else {})


if __name__ == "__main__":
    pins = re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements.lock").read_text())
    lines = ",\n".join(f"  {json.dumps(component(*pin))}" for pin in sorted(set(pins)))
    (ROOT / "sbom.cdx.json").write_text(json.dumps(HEAD, indent=1).replace("[]\n}", f"[\n{lines}\n ]\n}}\n"))
