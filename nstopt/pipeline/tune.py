"""The tuner of a build: forms of layers are timed on the build's backend, in the build's precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from nstopt.engines.backend import Backend
from nstopt.graph.tune import Tuner
from nstopt.pipeline.lower import int8_inputs, to_precision
from nstopt.pipeline.spec import BuildSpec
from nstopt.progress import Progress


def make_tuner(spec: BuildSpec, backend: Backend, progress: Progress) -> Tuner:
    """Return a chooser of forms that times each form of a layer. `spec` names one size and one batch."""
    inputs = int8_inputs(backend, spec.symmetric)

    def measure(models: Sequence[onnx.ModelProto]) -> list[float]:
        port = models[0].graph.input[0]
        shape = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
        feed = {port.name: np.random.default_rng(0).uniform(0, 8, shape).astype(np.float32)}
        lowered = [to_precision(model, spec.precision, inputs).SerializeToString() for model in models]
        return backend.measure(lowered, spec.precision, feed)

    return Tuner(
        precision=spec.precision,
        key=backend.identity(),
        measure=measure,
        on_layer=lambda layer: progress.step(f"measuring forms of {layer}"),
    )
