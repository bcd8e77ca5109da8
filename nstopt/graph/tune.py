"""Choose the form of a layer by measuring all its forms on the backend at hand.

The forms are timed in turns on a small graph that holds the layer alone, in its shape, so that noise of the machine
affects all of them. Measurements are kept on disk by backend, version, device, precision, kind and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import msgspec
import onnx

from nstopt.files import atomic_path, cache_folder
from nstopt.graph.forms import CHOICES, choose_by_kind
from nstopt.graph.passes import rewrite
from nstopt.graph.rule import PLAIN, Layer
from nstopt.manifest import TunedInfo

# Milliseconds of each model, measured in turns; infinite for one that does not run.
MeasureModels = Callable[[Sequence[onnx.ModelProto]], list[float]]
Times = dict[str, float]


def cache_path() -> Path:
    """Return the file that measurements are kept in."""
    return cache_folder() / "tuning.json"


@dataclass
class Tuner:
    """`choose` is the function that `rewrite` asks for forms. `key` names backend, version and device; `on_layer`
    receives the layer that is being measured; `chosen` collects the results."""

    precision: str
    key: str
    measure: MeasureModels
    on_layer: Callable[[str], None]
    path: Path = field(default_factory=cache_path)
    chosen: dict[Layer, TunedInfo] = field(default_factory=dict)

    def choose(self, layer: Layer) -> str:
        """Return the fastest form of the layer. OSError is raised if the file of measurements cannot be written."""
        if self.precision != "fp32" and CHOICES[layer.kind].is_fp32_only:
            return PLAIN
        if layer not in self.chosen:
            times = self._known(layer) or self._measured(layer)
            best = min(times, key=times.__getitem__)
            self.chosen[layer] = TunedInfo(layer=str(layer), form=best, latency_ms=times)
        return self.chosen[layer].form

    def _key(self, layer: Layer) -> str:
        return f"{self.key} {self.precision} {layer}"

    def _known(self, layer: Layer) -> Times | None:
        return read_cache(self.path).get(self._key(layer))

    def _measured(self, layer: Layer) -> Times:
        self.on_layer(str(layer))
        choice = CHOICES[layer.kind]
        plain = choice.example(layer.shape)
        graphs = [rewrite(plain, choose_by_kind({layer.kind: form})).model for form in choice.forms]
        measured = zip(choice.forms, self.measure(graphs), strict=True)
        times = {form: ms for form, ms in measured if isfinite(ms)}
        known = read_cache(self.path)
        known[self._key(layer)] = times
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))
        return times


def read_cache(path: Path) -> dict[str, Times]:
    """Return the measurements by key. A missing or damaged file holds none: they can be made again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Times])
    except (OSError, msgspec.DecodeError):
        return {}
