"""Layouts: the names and shapes of the tensors that a checkpoint of a net family holds.

A family reads widths, kernel sizes and the block count off a checkpoint's shapes and returns a `Blueprint` of the net
with these sizes. The blueprint's module is on the meta device (shapes without storage), so trying every family on a
checkpoint is cheap. A checkpoint belongs to a family if it holds exactly the tensors of the family's blueprint. If
not, the differences go into the error message.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from nstopt.errors import CheckpointError
from nstopt.nets.net import Convention

State = Mapping[str, Tensor]
Shape = tuple[int, ...]
SHOWN = 4  # names of each kind in a message; more would hide the first, which is usually the cause


@dataclass(frozen=True)
class Blueprint:
    """A net of a family at given widths, kernel sizes and block count, without weights.

    `module` is on the meta device. `names` are the checkpoint's names for the tensors of `module.state_dict()`, in the
    same order. `widths` and `blocks` are those of `Net`. `kernel_axes` holds, for each axis of the module's 4-D
    tensors (out, in, height, width), the axis of the checkpoint's tensor that stores it.
    """

    module: nn.Module
    names: tuple[str, ...]
    widths: tuple[int, ...]
    blocks: int = 0
    kernel_axes: tuple[int, int, int, int] = (0, 1, 2, 3)

    def shapes(self) -> dict[str, Shape]:
        """Return the shapes that a checkpoint must have, by its names and in its order of axes."""
        tensors = self.module.state_dict().values()
        return {name: self._stored(tuple(t.shape)) for name, t in zip(self.names, tensors, strict=True)}

    def fill(self, state: State) -> nn.Module:
        """Load the weights of `state`, which must match `shapes()`; return the module in eval mode, frozen. Raises
        CheckpointError if one is no floating-point tensor."""
        for name in self.names:
            if not state[name].is_floating_point():
                raise CheckpointError(f"{name} holds {state[name].dtype} numbers, not trained weights")
        own_names = self.module.state_dict().keys()
        weights = {own: self._loaded(state[name]) for own, name in zip(own_names, self.names, strict=True)}
        self.module.load_state_dict(weights, assign=True)
        return self.module.eval().requires_grad_(False)

    def named(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the weights of a trained `module` by the checkpoint's names, copied to the CPU.

        The inverse of `fill`, for families whose `kernel_axes` are in order.
        """
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
    """A net architecture that is recognized by its tensors.

    `blueprint` makes the blueprint whose sizes fit a checkpoint best. `stale` matches the names of tensors that old
    checkpoints hold and the net does not use.
    """

    name: str
    convention: Convention
    multiple: int
    blueprint: Callable[[State], Blueprint]
    stale: re.Pattern[str] | None = field(default=None)

    def current(self, state: State) -> dict[str, Tensor]:
        """Return `state` without its stale tensors."""
        return {name: tensor for name, tensor in state.items() if not (self.stale and self.stale.search(name))}


@dataclass(frozen=True)
class Mismatch:
    """The differences between a checkpoint and a layout; false if there are none.

    `common` counts the names that both have. `wrong` holds (name, shape found, shape needed).
    """

    common: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong: tuple[tuple[str, Shape, Shape], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.wrong)

    @property
    def likeness(self) -> float:
        """Share of all names that both sides have, 0..1; 1 if the names agree."""
        return self.common / max(1, self.common + len(self.missing) + len(self.unexpected))

    def describe(self) -> str:
        """Return one line with the first few names of each kind, and both shapes for wrong shapes."""
        wrong = [f"{name} is {list(found)} instead of {list(needed)}" for name, found, needed in self.wrong]
        kinds = (("wrong shape", wrong), ("missing", self.missing), ("unexpected", self.unexpected))
        return "; ".join(f"{kind}: {few(names)}" for kind, names in kinds if names)


def compare(expected: Mapping[str, Shape], state: State) -> Mismatch:
    """Compare the names and shapes of `state` with the `expected` ones."""
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
    """Return the first few names as one line, with the number of those left out."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" (and {more} more)" if more > 0 else "")


def majority(state: State, default: int, *places: tuple[str, int]) -> int:
    """Return the most frequent size among `places`, (tensor name, axis) each; `default` if none of them exists.

    A width determines the shapes of several tensors. With a majority vote, a single tensor of a wrong shape is
    reported itself, not all its neighbors.
    """
    sizes = [state[name].shape[axis] for name, axis in places if name in state and state[name].ndim > axis]
    return max(1, statistics.mode(sizes)) if sizes else default


def odd_kernel(state: State, default: int, name: str) -> int:
    """Return the kernel size k of the [out, in, k, k] tensor `name`, rounded up to odd; `default` if it is missing.

    An even kernel cannot keep a picture's size. With an odd one in the blueprint, it is reported as a wrong shape.
    """
    return majority(state, default, (name, 2), (name, 3)) | 1


def count_blocks(state: State, pattern: re.Pattern[str]) -> int:
    """Count the distinct block numbers (group 1 of `pattern`) among the names of `state`."""
    return len({match.group(1) for name in state if (match := pattern.match(name))})
