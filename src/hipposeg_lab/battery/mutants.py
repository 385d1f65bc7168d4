"""Mutation testing: small bugs put into one module at a time, and whether its tests notice.

A mutant has one comparison, sign, number or `not` changed. Its tests run in a process that has imported the large
libraries already, with the changed code in place of the module's; so a mutant costs seconds, where tools that start an
interpreter for each need minutes. An outcome is kept with the hash of the changed module and of its tests.
"""

import ast
import importlib.machinery
import os
import resource
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.files import sha256_bytes, write_bytes
from hipposeg.workspace import project_root
from hipposeg_lab.battery.system import start

COLUMNS = ("module", "line", "change", "outcome", "reason")
KILLED, SURVIVED = "killed", "survived"
# Module -> test files that must notice, in tests/.
MODULES = {
    "hipposeg.metrics": ("test_metrics.py",),
    "hipposeg.stats": ("test_stats.py",),
    "hipposeg.data.grid": ("data/test_grid.py", "test_inference.py"),
    "hipposeg.data.folds": ("data/test_folds.py",),
    "hipposeg.training.losses": ("training/test_losses.py",),
    "hipposeg.results.compare": ("results/test_compare.py",),
    "hipposeg.results.load": ("results/test_results.py", "results/test_store.py"),
    "hipposeg.results.store": ("results/test_store.py", "results/test_results.py"),
    "hipposeg.results.tables": ("results/test_results.py",),
    "hipposeg.predict.bids": ("predict/test_bids.py",),
    "hipposeg.predict.card": ("predict/test_card.py", "lab/studies/test_conformal_study.py"),
    "hipposeg.predict.crop": ("predict/test_crop.py",),
    "hipposeg.predict.dicom": ("predict/test_dicom.py",),
    "hipposeg.predict.dicom_seg": ("predict/test_dicom.py",),
    "hipposeg.predict.ensemble": ("predict/test_segment.py",),
    "hipposeg.predict.output": ("predict/test_output.py",),
    "hipposeg.predict.quality": ("predict/test_quality.py",),
    "hipposeg.predict.registration": ("predict/test_registration.py",),
    "hipposeg.predict.scan": ("predict/test_scan.py", "predict/test_dicom.py"),
    "hipposeg.predict.segment": ("predict/test_segment.py",),
    "hipposeg.predict.serve": ("predict/test_serve.py",),
    "hipposeg_lab.studies.conformal": ("lab/studies/test_conformal_study.py",),
}
MOST_S = 120  # of processor time, and five times as much by the clock; tests that need more have noticed
OPERATORS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of a module, and the module's source with it."""

    module: str
    line: int
    change: str
    source: str


def changes(tree: ast.AST) -> Iterator[tuple[ast.AST, Any, Any, Any]]:
    """Every possible change of a syntax tree: the node, and container, key and new value of what changes in it."""
    for node in _code(tree):
        if isinstance(node, ast.Compare):
            for place, one in enumerate(node.ops):
                if type(one) in OPERATORS:
                    yield node, node.ops, place, OPERATORS[type(one)]()
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
            yield node, vars(node), "op", OPERATORS[type(node.op)]()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, vars(node), "operand", ast.UnaryOp(ast.Not(), node.operand)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node, vars(node), "value", node.value + 1


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of messages."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.Raise, ast.JoinedStr)):
            yield from _code(child)


@cache
def every(module: str) -> list[Mutant]:
    """All mutants of a module."""
    found, tree = [], ast.parse(_source(module))
    for node, container, key, new in changes(tree):
        before, old = ast.unparse(node), container[key]
        container[key] = new
        change = " ".join(f"{before} -> {ast.unparse(node)}".split())
        found.append(Mutant(module, node.lineno, change, ast.unparse(tree)))
        container[key] = old
    return found


def sample(count: int, seed: int) -> list[Mutant]:
    """A random sample of the mutants of all MODULES, in their order."""
    found = [mutant for module in MODULES for mutant in every(module)]
    return [found[place] for place in sorted(np.random.default_rng(seed).permutation(len(found))[:count])]


def trial(
    chosen: list[Mutant], outcomes: Path, _: np.random.Generator, number: int
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of the next mutants, one for each core. Raises RuntimeError if a module's tests fail without them."""
    batch = chosen[number : number + (os.cpu_count() or 1)]
    for module in {mutant.module for mutant in batch}:
        if not _passes(outcomes, (module, _source(module)))[0]:
            raise RuntimeError(f"the tests of {module} fail without a mutant")
    passed = _passes(outcomes, *((mutant.module, mutant.source) for mutant in batch))
    return [
        {"module": one.module, "line": one.line, "change": one.change, "outcome": SURVIVED if survived else KILLED}
        for one, survived in zip(batch, passed, strict=True)
    ]


def with_reasons(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each survivor its reason: why no test can or need notice it, if that is known."""
    known, found = reasons(), []
    for row in rows:
        survived = row["outcome"] == SURVIVED
        found.append(row | {"reason": known.get((row["module"], row["line"], row["change"]), "") if survived else ""})
    return found


def reasons() -> dict[tuple[str, int, str], str]:
    """The reasons in tests/survivors.toml, by module, line and change."""
    known = tomllib.loads((project_root() / "tests" / "survivors.toml").read_text(encoding="utf-8"))
    found = {}
    for module, changed in known.items():
        for place, reason in changed.items():
            line, change = place.split(": ", 1)
            found[module, int(line), change] = reason
    return found


def _passes(outcomes: Path, *changed: tuple[str, str]) -> list[bool]:
    """Whether the tests pass with each of these sources in place of its module, tried at once; known ones are kept."""
    begun = {}
    for module, source in changed:
        tests = [(project_root() / "tests" / name).read_bytes() for name in MODULES[module]]
        path = outcomes / sha256_bytes(module.encode(), source.encode(), *tests)[:24]
        begun[path] = None if path.exists() else start(_test, module, source)
    for path, process in begun.items():
        if process:
            process.join(5 * MOST_S)
            process.kill()
            write_bytes(path, b"passed" if process.exitcode == 0 else b"failed")
    return [path.read_bytes() == b"passed" for path in begun]


def _test(module: str, source: str) -> None:
    """In a process of its own: run the tests, and end with pytest's status."""
    import pytest

    real = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, name: str) -> Any:
        return compile(source, self.path, "exec") if name == module else real(self, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    for name in [name for name in sys.modules if name.split(".")[0] in ("hipposeg", "hipposeg_lab")]:
        del sys.modules[name]
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_S, MOST_S))
    os.chdir(project_root())
    for name in ("HIPPOSEG_OUT", "HIPPOSEG_HEADS"):  # whole heads take minutes
        os.environ.pop(name, None)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    tests = [f"tests/{name}" for name in MODULES[module]]
    options = ["-x", "-q", "-m", "not processes", "-p", "no:cacheprovider", "-p", "no:xdist"]
    sys.exit(pytest.main([*options, *tests]))


def _source(module: str) -> str:
    return (project_root() / "src" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
