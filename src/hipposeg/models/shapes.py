"""What a network's stages give and read, found by running it once: the facts that a diagram of it is drawn from.

The run is on torch's meta device, which computes shapes and no values. Hooks tell which stage runs when, and every
operation between stages passes on from which of them its inputs come, so a skip connection is one because the network
reads it, not because a name says so.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

INPUT = -1
ENCODER, DECODER, HEAD, UNREAD = "encoder", "decoder", "head", "unread"


@dataclass(frozen=True)
class Stage:
    """One block of a network: the largest module that works at one resolution, or one level of a ready-made encoder.

    name: path of the module, for levels of an encoder with their number. role: `encoder` up to the coarsest stage and
    for branches beside it, `decoder` after it, `head` for what gives the network's output, `unread` for layers of a
    ready-made encoder that run though nothing reads them. channels, sides: of its output, or of the first where it
    gives several, such as an attention gate and its map. parameters: trainable ones. reads: numbers of the stages whose
    output it gets, INPUT for the network's.
    """

    name: str
    role: str
    channels: int
    sides: tuple[int, ...]
    parameters: int
    reads: tuple[int, ...]


@dataclass(frozen=True)
class Traced:
    """A U-shaped network as it ran. channels, sides: of its input. stages: in the order in which they run."""

    name: str
    channels: int
    sides: tuple[int, ...]
    stages: tuple[Stage, ...]

    @property
    def parameters(self) -> int:
        """Trainable parameters of all stages, which are all that the network has."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def skips(self) -> list[tuple[int, int]]:
        """(encoder stage, later stage of the same sides that reads it), the coarsest stage left out."""
        coarsest = min(math.prod(stage.sides) for stage in self.stages if stage.role == ENCODER)
        return [
            (source, number)
            for number, stage in enumerate(self.stages)
            for source in stage.reads
            if source != INPUT and stage.role != ENCODER and self.stages[source].role == ENCODER
            and self.stages[source].sides == stage.sides and math.prod(stage.sides) > coarsest
        ]  # fmt: skip


def trace(model: nn.Module, channels: int, sides: tuple[int, ...]) -> Traced:
    """Run a copy of `model` on a batch of (channels, *sides) and return what its stages gave, in training mode.

    In training mode, because heads of deep supervision are silent otherwise. The model itself is left as it is.
    Raises ValueError, with the reason, for a network that is no U: that gives tokens and not images, stays at one
    resolution, does not come back to the input's, or reads nothing of its way down on its way up; and for one that
    does not run on this input, or not on the meta device.
    """
    twin = copy.deepcopy(model).to("meta").train()
    images = torch.zeros(2, channels, *sides, device="meta")
    try:
        resolutions, pyramids = _survey(twin, images)
    except (RuntimeError, NotImplementedError) as error:
        message = f"{type(model).__name__} does not run on ({channels}, {', '.join(map(str, sides))}) without values"
        raise ValueError(f"{message}: {error}") from error
    blocks = dict(_blocks(twin, resolutions, pyramids))
    run = _Run(len(sides), {path: path in pyramids for path in blocks})
    with torch.no_grad():
        output = run.watch(twin, blocks, images)
    traced = Traced(type(model).__name__, channels, tuple(sides), _roles(run, output))
    if problem := run.problem or _problem(traced, model):
        raise ValueError(f"{traced.name} cannot be drawn as a U: {problem}")
    return traced


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _sides(value: Any, dims: int) -> list[tuple[int, ...]]:
    """The sides of every image (B, C, *S) in `value`; what is no image, or pooled to one voxel, is left out."""
    return [tuple(t.shape[2:]) for t in _tensors(value) if t.ndim == dims + 2 and max(t.shape[2:]) > 1]


def _trainable(module: nn.Module, recurse: bool = True) -> int:
    return sum(p.numel() for p in module.parameters(recurse) if p.requires_grad)


@torch.no_grad()
def _survey(model: nn.Module, images: Tensor) -> tuple[dict[str, set[tuple[int, ...]]], set[str]]:
    """Which resolutions each module works at, and which modules give several at once, as ready-made encoders do."""
    dims, resolutions, pyramids, handles = images.ndim - 2, {}, set(), []

    def seen(path: str, module: nn.Module, output: Any) -> None:
        found = _sides(output, dims)
        if isinstance(output, (list, tuple)) and len(set(found)) > 1:
            pyramids.add(path)
        if any(True for _ in module.parameters(recurse=False)):
            parts = path.split(".")
            for end in range(len(parts) + 1):
                resolutions.setdefault(".".join(parts[:end]), set()).update(found)

    for path, module in model.named_modules():
        handles.append(module.register_forward_hook(lambda m, _, out, path=path: seen(path, m, out)))
    model(images)
    for handle in handles:
        handle.remove()
    return resolutions, pyramids - {""}


def _blocks(
    module: nn.Module, resolutions: dict, pyramids: set[str], path: str = ""
) -> Iterator[tuple[str, nn.Module]]:
    """The stages below a module: encoders that give several resolutions, and the largest modules of at most two.

    Two, because an attention gate looks at its coarser signal, too.
    """
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        if not _trainable(child):
            continue
        lists = isinstance(child, (nn.ModuleList, nn.ModuleDict))
        if inner in pyramids or (not lists and len(resolutions.get(inner, ())) <= 2):
            yield inner, child
        else:
            yield from _blocks(child, resolutions, pyramids, inner)


class _Run(TorchFunctionMode):
    """One run under watch: from which stages each tensor comes, and what each stage gives."""

    def __init__(self, dims: int, pyramids: dict[str, bool]) -> None:
        super().__init__()
        self.dims, self.pyramids = dims, pyramids
        self.origins: dict[int, frozenset[int]] = {}
        self.made: dict[int, int] = {}  # when a tensor was last written, by the clock of operations
        self.kept: list[Tensor] = []  # so that no id is given twice
        self.reads: dict[str, frozenset[int]] = {}
        self.stages: list[tuple[str, Tensor, int, frozenset[int]]] = []
        self.unread: set[int] = set()
        self.problem = ""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Every result comes from where its inputs came from."""
        result = func(*args, **(kwargs or {}))
        self.mark(result, self.sources((args, kwargs)))
        return result

    def mark(self, value: Any, sources: frozenset[int]) -> None:
        for tensor in _tensors(value):
            self.kept.append(tensor)
            self.origins[id(tensor)], self.made[id(tensor)] = sources, len(self.kept)

    def sources(self, value: Any) -> frozenset[int]:
        return frozenset().union(*(self.origins.get(id(tensor), frozenset()) for tensor in _tensors(value)))

    def watch(self, model: nn.Module, blocks: dict[str, nn.Module], images: Tensor) -> Any:
        """The model's output, with all stages recorded."""
        leaves: dict[str, list[tuple[int, int, Tensor]]] = {path: [] for path in blocks}
        for path, block in blocks.items():
            block.register_forward_pre_hook(
                lambda _, args, kwargs, path=path: self.enter(path, (args, kwargs)), with_kwargs=True
            )
            for module in block.modules() if self.pyramids[path] else ():
                if own := _trainable(module, recurse=False):
                    module.register_forward_hook(
                        lambda _, __, out, own=own, found=leaves[path]: found.append((len(self.kept), own, out))
                    )
            block.register_forward_hook(lambda m, _, out, path=path: self.leave(path, m, out, leaves[path]))
        self.mark(images, frozenset({INPUT}))
        with self:
            return model(images)

    def enter(self, path: str, inputs: Any) -> None:
        self.reads.setdefault(path, self.sources(inputs))

    def leave(self, path: str, module: nn.Module, output: Any, leaves: list[tuple[int, int, Tensor]]) -> None:
        """Record a stage, or each level of an encoder; a block that runs again is the stage that it was."""
        known = [number for number, stage in enumerate(self.stages) if stage[0] == path]
        if known:
            self.mark(output, frozenset(known))
        elif self.pyramids[path]:
            self.levels(path, output, leaves)
        else:
            self.stage(path, output, _trainable(module))

    def stage(self, path: str, output: Any, parameters: int) -> None:
        tensors = list(_tensors(output))
        images = [tensor for tensor in tensors if tensor.ndim == self.dims + 2]
        if len(images) < len(tensors) or not images:
            shapes = ", ".join(dict.fromkeys(str(tuple(tensor.shape[1:])) for tensor in tensors))
            self.problem = self.problem or f"{path} gives {shapes}, not channels over {self.dims} axes"
            images = tensors
        self.stages.append((path, images[0], parameters, self.reads[path]))
        self.mark(output, frozenset({len(self.stages) - 1}))

    def levels(self, path: str, output: Any, leaves: list[tuple[int, int, Tensor]]) -> None:
        """Each level of an encoder is a stage that reads the one before; layers belong to the next level given."""
        reads, start = self.reads[path], 0
        fresh = [tensor for tensor in _tensors(output) if self.made[id(tensor)] > 1]  # smp hands the input on, too
        for number, tensor in enumerate(fresh, start=1):
            end = self.made[id(tensor)]
            own = sum(count for when, count, _ in leaves if start < when <= end)
            self.stages.append((f"{path}.{number}", tensor, own, reads))
            reads, start = frozenset({len(self.stages) - 1}), end
            self.mark(tensor, reads)
        rest = [(count, tensor) for when, count, tensor in leaves if when > start]
        if rest:
            self.unread.add(len(self.stages))
            self.stages.append((f"{path}.rest", rest[-1][1], sum(count for count, _ in rest), reads))


def _roles(run: _Run, output: Any) -> tuple[Stage, ...]:
    """The recorded stages with their roles: the first of the coarsest ones ends the way down."""
    if not run.stages:
        return ()
    read = frozenset().union(*(reads for *_, reads in run.stages))
    heads = run.sources(output) - read
    sizes = {n: math.prod(tensor.shape[2:]) for n, (_, tensor, _, _) in enumerate(run.stages) if n not in run.unread}
    after = {min(sizes, key=lambda number: (sizes[number], number))}
    stages = []
    for number, (path, tensor, parameters, reads) in enumerate(run.stages):
        descends = bool(after & reads)
        after |= {number} if descends and number not in run.unread else set()
        role = HEAD if number in heads else DECODER if descends else ENCODER
        role = UNREAD if number in run.unread else role
        shape = tuple(tensor.shape)
        stages.append(Stage(path, role, shape[1], shape[2:], parameters, tuple(sorted(reads))))
    return tuple(stages)


def _problem(traced: Traced, model: nn.Module) -> str:
    """Why the network is no U; empty if it is one."""
    stages = traced.stages
    if len({stage.sides for stage in stages}) < 2:
        return "all of its stages work at one resolution"
    if not any(stage.role == HEAD and stage.sides == traced.sides for stage in stages):
        return f"no stage gives its output at the input's sides {traced.sides}"
    if not traced.skips:
        return "nothing of its way down is read at the same resolution on its way up"
    missing = _trainable(model) - traced.parameters
    return f"{missing:,} parameters belong to none of its stages" if missing else ""
