"""Class prompts for text guidance: sets of prompts, background first.

A class's vector is the mean of its prompts' embeddings. The sets are an experiment: sentences as in the published
student project, single words, sentences in the form of the captions, and unrelated words. Statistics in them come from
training slices.
"""

from collections.abc import Sequence

import numpy as np

from hipposeg.data import captions
from hipposeg.data.captions import BEHIND, IN_FRONT, SIZES, Facts, caption
from hipposeg.files import sha256_bytes, to_json

SENTENCES = {
    "background": (
        "tissue without hippocampus", "a coronal MRI slice without hippocampus", "no hippocampus is visible",
        "brain tissue around the hippocampus", "background only",
    ),
    "anterior": (
        "the anterior hippocampus", "the head of the hippocampus", "a coronal MRI slice of the hippocampal head",
        "only the anterior hippocampus is visible", "the front part of the hippocampus",
    ),
    "posterior": (
        "the posterior hippocampus", "the body and tail of the hippocampus",
        "a coronal MRI slice of the hippocampal body and tail", "only the posterior hippocampus is visible",
        "the rear part of the hippocampus",
    ),
}  # fmt: skip
_THINGS = {
    "background": ("piano", "violin", "trumpet", "drum", "flute"),
    "anterior": ("bicycle", "lorry", "tram", "canoe", "balloon"),
    "posterior": ("lemon", "carrot", "onion", "walnut", "plum"),
}
SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "sentences": SENTENCES,
    "words": {name: (name,) for name in SENTENCES},
    "unrelated": {name: tuple(f"a photo of a {thing}" for thing in things) for name, things in _THINGS.items()},
}
# In the form of the captions: what the guided models read unless a model says otherwise. How far apart the classes of
# each set lie on `dev`, where such things may be chosen, is left by the run of `hippoclip` there.
GEOMETRIC = "geometric"
KINDS = (GEOMETRIC, *SETS)


def digest() -> str:
    """SHA-256 of all words and numbers behind captions and prompts: part of the key of a run that uses text."""
    return sha256_bytes(to_json([SETS, captions.constants()]).encode())


def prompts(kind: str, names: Sequence[str], seen: Sequence[Facts]) -> list[tuple[str, ...]]:
    """Prompts of the background and of each class, in order.

    Args:
        kind: one of KINDS.
        names: of the foreground classes.
        seen: facts of training slices, used by "geometric" alone.

    Raises:
        ValueError: unknown kind, a class without prompts, or, if geometric, one that no training slice shows alone.
    """
    if kind == GEOMETRIC:
        return [_said(seen, ()), *(_said(seen, (name,)) for name in names)]
    if kind not in SETS:
        raise ValueError(f"no prompts are called {kind!r}; there are {', '.join(KINDS)}")
    missing = [name for name in names if name not in SETS[kind]]
    if missing:
        raise ValueError(f"no prompt is written for {', '.join(missing)}; add it to data/prompts.py")
    return [SETS[kind][name] for name in ("background", *names)]


def _said(seen: Sequence[Facts], parts: tuple[str, ...]) -> tuple[str, ...]:
    """Captions of the typical training slice that shows exactly these parts, in six fixed wordings."""
    alike = [one for one in seen if one.parts == parts]
    if not alike:
        raise ValueError(
            f"no training slice shows {' and '.join(parts) or 'nothing'} alone; use another set of prompts"
        )
    words = np.random.default_rng(0)
    if not parts:
        return tuple(caption(Facts(place, ()), words) for place in (BEHIND, IN_FRONT) * 3)
    place, area = (int(10 * round(float(np.median([getattr(one, what) for one in alike])) / 10))
                   for what in ("place", "area"))  # fmt: skip
    return tuple(caption(Facts(place, parts, area, SIZES[1]), words) for _ in range(6))
