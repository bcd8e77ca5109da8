"""Real, tiny engines: a graph that inverts the picture, built by OpenVINO into a bundle; and records without a run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from nstopt import engines
from nstopt.bench import statistics
from nstopt.bundle import new_bundle
from nstopt.engines.backend import Source
from nstopt.graph.forms import choose_by_kind
from nstopt.graph.rule import Layer
from nstopt.manifest import FORMAT_VERSION as BUNDLE_FORMAT
from nstopt.manifest import BackendInfo, InputShape, Manifest, NetInfo, PrecisionInfo, QualityInfo
from nstopt.runs.record import Machine, Record
from nstopt.runs.run_file import FORMAT_VERSION, RunFile, RunPlan

MakeBundle = Callable[..., Path]
MakeRecord = Callable[..., Record]
MakeRun = Callable[..., RunFile]
ANY_SIZE = InputShape.of(None, None)


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Builds a bundle of a given name and shape; see `build_inverter`."""
    return functools.partial(build_inverter, tmp_path)


def build_inverter(
    folder: Path,
    name: str = "tiny",
    shape: InputShape = ANY_SIZE,
    source_sha256: str = "0" * 64,
    differences: tuple[str, ...] = (),
) -> Path:
    """Build the OpenVINO bundle NAME.nst of `inverter` in `folder`."""
    model, path = folder / f"{name}.onnx", folder / f"{name}.nst"
    onnx.save(inverter(shape), model)
    with new_bundle(path) as draft:
        built = engines.backend("openvino").build(Source(model), shape, "fp32", draft.folder)
        draft.commit(
            Manifest(
                format_version=BUNDLE_FORMAT,
                net=NetInfo(name, "johnson", (8, 16, 32), 1, source_sha256),
                shape=shape,
                precision=PrecisionInfo("fp16", built.computes, {}, differences),
                calibration=None,
                quality=QualityInfo("noise", 3, 41.5, 40.0, 0.991, 0.98, 2),
                backend=BackendInfo("openvino", built.device, built.versions),
                files={},
                created="2025-01-01T00:00:00Z",
            )
        )
    return path


def by_default(backend: str) -> Callable[[Layer], str]:
    """The chooser of a backend's default forms, which `rewrite` takes."""
    return choose_by_kind(engines.backend(backend).forms("fp32"))


def inverter(shape: InputShape) -> onnx.ModelProto:
    """uint8 `image` [N, H, W, 3] → 255 - image."""
    dims = [shape.batch or "N", *(shape.sizes.only or ("H", "W")), 3]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["white", "float"], ["inverted"]),
            helper.make_node("Cast", ["inverted"], ["stylized"], to=TensorProto.UINT8),
        ],
        "inverter",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, dims)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, dims)],
        [helper.make_tensor("white", TensorProto.FLOAT, [], [255.0])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def make_record() -> MakeRecord:
    """Makes a plausible record; see `record_of`."""
    return record_of


def record_of(samples_ms: tuple[float, ...] = (40.0,) * 30, **fields: object) -> Record:
    """Return a plausible record; keyword arguments replace fields, `samples_ms` sets the latency."""
    latency = statistics.summarize(samples_ms)
    record = Record(
        label="wave-512x512-int8.nst",
        is_peer=False,
        bundle="wave-512x512-int8.nst",
        sha256="a" * 64,
        net="wave",
        net_sha256="b" * 64,
        family="fast-style",
        backend="openvino",
        precision="int8",
        computes="int8",
        height=512,
        width=512,
        batch=1,
        input="noise",
        latency_ms=latency,
        round_runs=None,
        warmup_runs=6,
        fps=statistics.pictures_per_second(latency, 1),
        peak_memory_mib=211.4,
        psnr_db=42.13,
        ssim=0.9871,
        device="A CPU",
        machine=Machine("A CPU", 2, 7.8, (), "Linux 6.1", "3.11.7", {"nstopt": "0.1.0", "openvino": "2026.4.1"}),
    )
    return msgspec.structs.replace(record, **fields)


@pytest.fixture
def make_run() -> MakeRun:
    """Makes the complete run of records; see `run_of`."""
    return run_of


def run_of(*records: Record, **fields: object) -> RunFile:
    """Return the complete run of these records; keyword arguments set other fields."""
    plan = RunPlan(tuple(record.key for record in records), 30, "noise", False)
    run = RunFile(FORMAT_VERSION, "2026-01-02T03:04:05+00:00", plan, records, is_complete=True)
    return msgspec.structs.replace(run, **fields)
