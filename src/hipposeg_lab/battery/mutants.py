"""Mutation testing: small bugs put into one module at a time, and whether its tests notice.

A mutant has one comparison, sign, number or `not` changed. Its tests run in a process that has imported the large
libraries already, with the changed code in place of the module's.
"""

import ast
import importlib.machinery
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hipposeg.workspace import project_root
from hipposeg_lab.battery.system import start

COLUMNS = ("module", "line", "change", "outcome")
KILLED, SURVIVED = "killed", "survived"
# Module -> test files that must notice, in tests/.
MODULES = {
    "metrics": ("test_metrics.py",),
    "stats": ("test_stats.py",),
    "data.grid": ("data/test_grid.py", "test_inference.py"),
    "data.folds": ("data/test_folds.py",),
    "results.compare": ("results/test_compare.py",),
    "predict.card": ("predict/test_card.py", "lab/studies/test_conformal_study.py"),
    "predict.crop": ("predict/test_crop.py",),
}
MOST_S = 120  # of processor time for one mutant's tests; what needs more counts as killed
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


def trial(chosen: list[Mutant], _: np.random.Generator, number: int) -> list[dict[str, Any]]:
    """The row of one mutant. Raises RuntimeError if its tests fail without it."""
    mutant = chosen[number]
    if not passes(mutant.module, _source(mutant.module)):
        raise RuntimeError(f"the tests of {mutant.module} fail without a mutant")
    outcome = SURVIVED if passes(mutant.module, mutant.source) else KILLED
    return [{"module": mutant.module, "line": mutant.line, "change": mutant.change, "outcome": outcome}]


@cache
def passes(module: str, source: str) -> bool:
    """Whether the module's tests pass with this source in its place."""
    process = start(_test, module, source)
    process.join()
    return process.exitcode == 0


def _test(module: str, source: str) -> None:
    """In a process of its own: run the tests, and end with pytest's status."""
    import pytest

    real = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, name: str) -> Any:
        return compile(source, self.path, "exec") if name == f"hipposeg.{module}" else real(self, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    for name in [name for name in sys.modules if name.split(".")[0] == "hipposeg"]:
        del sys.modules[name]
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_S, MOST_S))
    os.chdir(project_root())
    os.environ.pop("HIPPOSEG_OUT", None)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    tests = [f"tests/{name}" for name in MODULES[module]]
    sys.exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))


def _source(module: str) -> str:
    return (project_root() / "src" / "hipposeg" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
