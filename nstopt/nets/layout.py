"""Layouts: which tensors, of which names and shapes, a checkpoint of a net family holds.

A family looks at a checkpoint and plans the net that it would be: widths, kernel sizes and block count are read off
the shapes, all else follows from the architecture. The plan's module lives on the meta device (shapes without storage),
so trying every family on a checkpoint costs next to nothing. A checkpoint belongs to a family when it holds
exactly the tensors that the family's plan has; what differs is what an error message needs to say.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from nstopt.nets.net import Convention

State = Mapping[str, Tensor]
Shape = tuple[int, ...]
SHOWN = 4  # names of each kind in a message; more would bury the first, which is usually the cause


@dataclass(frozen=True)
class Blueprint:
    """The net that a family would make of a checkpoint.

    `module` is on the meta device; `names` are the checkpoint's names of `module.state_dict()`, in the same order.
    `kernel_axes` says which axis of a checkpoint's 4-D tensor is the module's out, in, height, width (in that order).
    """

    module: nn.Module
    names: tuple[str, ...]
    widths: tuple[int, ...]
    blocks: int = 0
    kernel_axes: tuple[int, int, int, int] = (0, 1, 2, 3)

    def shapes(self) -> dict[str, Shape]:
        """The shapes that the checkpoint must hold, by its own names and in its own order of axes."""
        tensors = self.module.state_dict().values()
        return {name: self._stored(tuple(t.shape)) for name, t in zip(self.names, tensors, strict=True)}

    def fill(self, state: State) -> nn.Module:
        """The module with the weights of `state`, which must match `shapes()`; in eval mode, without gradients."""
        own_names = self.module.state_dict().keys()
        weights = {own: self._loaded(state[name]) for own, name in zip(own_names, self.names, strict=True)}
        self.module.load_state_dict(weights, assign=True)
        return self.module.eval().requires_grad_(False)

    def named(self, module: nn.Module) -> dict[str, Tensor]:
        """The weights of a trained `module` by the checkpoint's names, on the CPU, for families that keep the order of
        axes; the opposite of `fill`."""
        tensors = module.state_dict().values()
        return {name: tensor.detach().cpu().clone() for name, tensor in zip(self.names, tensors, strict=True)}

    def _stored(self, shape: Shape) -> Shape:
        if len(shape) != 4:
            return shape
        return tuple(shape[self.kernel_axes.index(axis)] for axis in range(4))

    def _loaded(self, tensor: Tensor) -> Tensor:
        return tensor.permute(self.kernel_axes).contiguous() if tensor.ndim == 4 else tensor


@dataclass(frozen=True)
class Family:
    """A net architecture that is recognized by itself. `stale` matches names that old checkpoints hold for nothing."""

    name: str
    convention: Convention
    multiple: int
    plan: Callable[[State], Blueprint]
    stale: re.Pattern[str] | None = field(default=None)

    def current(self, state: State) -> dict[str, Tensor]:
        """`state` without its stale tensors."""
        return {name: tensor for name, tensor in state.items() if not (self.stale and self.stale.search(name))}


@dataclass(frozen=True)
class Mismatch:
    """How a checkpoint differs from a layout; false when it does not. `wrong` holds (name, shape found, needed)."""

    common: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong: tuple[tuple[str, Shape, Shape], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.wrong)

    @property
    def likeness(self) -> float:
        """Share of all names that both sides have; 1 when the names agree."""
        return self.common / max(1, self.common + len(self.missing) + len(self.unexpected))

    def describe(self) -> str:
        """One line: the first few names of each kind, with both shapes where a shape is wrong."""
        wrong = [f"{name} is {list(found)} instead of {list(needed)}" for name, found, needed in self.wrong]
        kinds = (("wrong shape", wrong), ("missing", self.missing), ("unexpected", self.unexpected))
        return "; ".join(f"{kind}: {few(names)}" for kind, names in kinds if names)


def compare(expected: Mapping[str, Shape], state: State) -> Mismatch:
    """What `state` has that `expected` has not, the other way round, and the shapes that differ."""
    common = [name for name in expected if name in state]
    return Mismatch(
        common=len(common),
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        wrong=tuple(
            (name, tuple(state[name].shape), expected[name])
            for name in common
            if tuple(state[name].shape) != expected[name]
        ),
    )


def few(names: tuple[str, ...] | list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" (and {more} more)" if more > 0 else "")


def majority(state: State, default: int, *places: tuple[str, int]) -> int:
    """The size that most of the `places` (name, axis) show; `default` where none of them exists.

    A width shows in several tensors. Going by the majority, one tensor of a wrong shape is itself reported as wrong,
    rather than all the tensors around it.
    """
    sizes = [state[name].shape[axis] for name, axis in places if name in state and state[name].ndim > axis]
    return max(1, statistics.mode(sizes)) if sizes else default


def odd_kernel(state: State, default: int, name: str) -> int:
    """The kernel size of the [out, in, k, k] tensor `name`, made odd.

    An even kernel cannot keep a picture's size; planned as odd, it is reported as a wrong shape.
    """
    return majority(state, default, (name, 2), (name, 3)) | 1


def count_blocks(state: State, pattern: re.Pattern[str]) -> int:
    """How many different block numbers (the pattern's group) the names of `state` hold."""
    return len({match.group(1) for name in state if (match := pattern.match(name))})
