"""Layer times of real engines, floors from known peaks, and peaks of this machine."""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx
import pytest
from made import MakeBundle
from rich.console import Console

from nstopt import engines
from nstopt.bench import layer_times
from nstopt.bench.layer_times import measure_layers
from nstopt.bundle import MANIFEST
from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.ranges import QuantParams
from nstopt.cli.render.layers import layer_report
from nstopt.engines.backend import Source
from nstopt.engines.engine import LayerTime
from nstopt.engines.tensorrt.lowering import ready
from nstopt.errors import BundleError, DeviceError
from nstopt.files import sha256_file
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.specialize import specialize
from nstopt.graph.work import Work
from nstopt.manifest import InputShape
from nstopt.pictures.noise import noise
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.lower import int8_inputs
from nstopt.pipeline.raw import build_raw
from nstopt.projection import peaks, probes
from nstopt.projection.peaks import measure_peaks
from nstopt.runs.layers import Bandwidth, LayerRow, Layers, Peaks

# 100 MACs per ms in FP32, 400 in INT8; 10 bytes per ms, or 2 where much is moved.
PEAKS = Peaks(100.0, 400.0, (Bandwidth(1_000, 10.0), Bandwidth(100_000, 2.0)))
SIZE = Size(48, 64)
MACS_OF_FIRST = 4 * 3 * 9 * 9 * SIZE.height * SIZE.width


@pytest.fixture
def known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_times, "measure_peaks", lambda _: PEAKS)


Build = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def build(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build the tiny net without rewrites for a backend, once each: in fp32 for any size, or in int8 for SIZE."""

    @functools.cache
    def bundle(backend: str, precision: str) -> Path:
        folder = tmp_path_factory.mktemp("bundle")
        shape = InputShape.of(1, SIZE) if precision == "int8" else InputShape.of(None, None)
        model = specialize(onnx.load(tiny_onnx), shape)
        name_convolutions(model)
        if precision == "int8":
            model = quantize(model, {name: QuantParams(2.0, 128) for name in quantized_tensors(model.graph)})
        onnx.save(model, folder / "model.onnx")
        source = Source(folder / "model.onnx", tiny_onnx.with_suffix(".ts"))
        return build_raw(source, engines.backend(backend), shape, precision, folder / "tiny.nst").path

    return bundle


@pytest.mark.parametrize(
    ("work", "floor_ms"),
    [
        (Work(1_000, 10, 10), 10.0),
        (Work(1_000, 10, 10, type="int8"), 2.5),
        (Work(0, 600, 400), 100.0),
        (Work(0, 100_000, 0), 50_000.0),
        (Work(0, 0, 0), 0.0),
    ],
)
def test_the_floor_is_the_larger_of_multiplying_and_moving(work: Work, floor_ms: float) -> None:
    assert PEAKS.floor_ms(work) == pytest.approx(floor_ms)


def test_without_int8_the_fp32_peak_is_the_floor() -> None:
    assert msgspec.structs.replace(PEAKS, int8_macs_per_ms=None).floor_ms(
        Work(1_000, 0, 0, type="int8")
    ) == pytest.approx(10.0)


def test_peaks_are_measured_and_plausible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "RUNS", 3)
    monkeypatch.setattr(peaks, "MOVE_CHANNELS", (8,))
    measure_peaks.cache_clear()
    for backend in ("openvino", "onnxruntime"):
        found = measure_peaks(backend)
        assert 1e5 < found.fp32_macs_per_ms < 1e11
        assert found.int8_macs_per_ms is not None
        assert found.bandwidths[0].bytes_moved == pytest.approx(3 * 4 * 8 * 256 * 256, rel=0.01)
        assert measure_peaks(backend) is found
    measure_peaks.cache_clear()


def test_peaks_of_fused_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT names a kernel by all the nodes in it."""

    def profile(net: onnx.ModelProto, backend: str, side: int, precision: str = "fp32") -> list[LayerTime]:
        weights = Work(4_000, 100, 100, type=precision)
        return [
            LayerTime("Reformatting CopyNode for move", "Reformat", (9.0,), None),
            LayerTime("weight1 + weight1_q + multiply1", "Convolution", (2.0, 1.0), weights),
            LayerTime("PWN(PWN(c, d), move)", "PointWise", (2.0,), Work(0, 600, 400)),
        ]

    measure_peaks.cache_clear()
    monkeypatch.setattr(peaks, "_profile", profile)
    found = measure_peaks("onnxruntime")
    assert (found.fp32_macs_per_ms, found.int8_macs_per_ms) == (4_000, 4_000)
    assert found.bandwidths[0] == Bandwidth(1_000, 500.0)
    measure_peaks.cache_clear()
    monkeypatch.setattr(peaks, "_profile", lambda *arguments: [])
    with pytest.raises(DeviceError, match="does not say which kernels multiply"):
        measure_peaks("onnxruntime")


def test_probes_are_graphs_for_tensorrt() -> None:
    inputs = int8_inputs(engines.backend("tensorrt"))
    for net in (probes.multiply_net(None), probes.multiply_net(inputs), probes.move_net(8)):
        assert ready(net.SerializeToString(), sm=(6, 1))


@pytest.mark.usefixtures("known_peaks")
def test_layers_of_openvino_have_their_name_and_work_in_the_graph(build: Build) -> None:
    with engines.load(build("openvino", "fp32")) as engine:
        profile = engine.profile(noise(SIZE, 1), runs=3)
    first = next(layer for layer in profile if layer.kind == "Convolution")
    assert first.name == "0"
    assert first.work is not None
    assert first.work.macs == MACS_OF_FIRST
    assert len(first.samples_ms) == 3
    assert first.ms > 0
    assert sum(bool(layer.work and layer.work.macs) for layer in profile) == 8


def test_the_work_of_int8_layers_is_int8(build: Build) -> None:
    with engines.load(build("openvino", "int8")) as engine:
        profile = engine.profile(noise(SIZE, 1), runs=1)
    types = [layer.work.type for layer in profile if layer.work and layer.work.macs]
    assert types == ["int8"] * 8


def test_layers_of_onnxruntime_have_their_name_and_work_in_the_graph(build: Build) -> None:
    with engines.load(build("onnxruntime", "fp32")) as engine:
        profile = engine.profile(noise(SIZE, 1), runs=3)
    first = next(layer for layer in profile if layer.kind == "Conv")
    assert (first.name, len(first.samples_ms)) == ("0", 3)
    assert first.work is not None
    assert first.work.macs == MACS_OF_FIRST
    assert sum(bool(layer.work and layer.work.macs) for layer in profile) == 8
    reorders = {layer.name for layer in profile if layer.kind.startswith("Reorder")}
    assert not reorders & {layer.name for layer in profile if layer.work}


def test_a_backend_without_layer_times_says_so(build: Build) -> None:
    with pytest.raises(DeviceError, match="backend gives no per-layer times"):
        measure_layers(build("torchscript", "fp32"), SIZE)


@pytest.mark.usefixtures("known_peaks")
def test_an_engine_of_one_size_takes_no_other(build: Build) -> None:
    with pytest.raises(BundleError, match="build with --res 32x32"):
        measure_layers(build("openvino", "int8"), Size(32, 32))


@pytest.mark.usefixtures("known_peaks")
def test_layers_of_a_bundle(build: Build) -> None:
    bundle = build("openvino", "int8")
    measured = measure_layers(bundle, runs=2)
    assert (measured.label, measured.sha256) == ("tiny.nst", sha256_file(bundle / MANIFEST))
    assert (measured.size, measured.batch, measured.backend, measured.runs) == (SIZE, 1, "openvino", 2)
    assert sum(row.ms for row in measured.rows) > 0
    assert all(row.ms >= 0 for row in measured.rows)  # in whole microseconds, so 0 for the fastest
    gaps = [row.gap_ms for row in measured.next_to_attack]
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.usefixtures("known_peaks")
def test_an_engine_of_several_sizes_is_measured_at_its_first(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("several", InputShape(1, Sizes(Size(24, 48), Size(32, 32))))
    assert measure_layers(bundle, runs=1).size == (24, 48)
    assert measure_layers(bundle, Size(32, 32), runs=1).size == (32, 32)


def test_a_layer_below_its_floor_leaves_nothing_to_gain() -> None:
    assert LayerRow("fast", "Conv", 1.0, 2.0).gap_ms == 0.0
    assert LayerRow("reorder", "Reorder", 1.0, None).gap_ms == 1.0


def test_what_the_terminal_shows() -> None:
    rows = (
        LayerRow("conv1", "Convolution", 4.0, 2.0),
        LayerRow("reorder", "Reorder", 3.0, None),
        LayerRow("tiny", "Reshape", 0.001, 0.0001),
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(layer_report(Layers("wave.nst", "a" * 64, *SIZE, 1, "openvino", 9, PEAKS, rows)))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    words = [line.split() for line in lines]
    assert ["conv1", "Convolution", "4.00", "2.00", "2.0×", "2.00"] in words
    assert ["reorder", "Reorder", "3.00", "–", "–", "3.00"] in words
    assert ["1", "below", "0.01", "ms", "0.00"] in words
    assert ["all", "7.00", "2.00", "3.5×", "5.00"] in words
    assert "Next to attack: reorder (Reorder) 3.00 ms, conv1 (Convolution) 2.00 ms" in "\n".join(lines)


def test_profiling_an_openvino_engine_imports_neither_torch_nor_onnx(build: Build) -> None:
    program = (
        "import sys, json; from pathlib import Path; import nstopt.bench.layer_times; from nstopt import engines;"
        "from nstopt.pictures.noise import noise; from nstopt.pictures.size import Size;"
        "engines.load(Path(sys.argv[1])).profile(noise(Size(48, 64), 1), 1);"
        "print(json.dumps([name for name in ('torch', 'onnx') if name in sys.modules]))"
    )
    command = [sys.executable, "-c", program, str(build("openvino", "int8"))]
    assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == []


def test_the_time_of_a_layer_is_its_median() -> None:
    assert LayerTime("a", "Conv", (1.0, 9.0, 2.0), None).ms == 2.0


def test_floors_above_the_measured_times_are_noted() -> None:
    def layers(*ms: float) -> Layers:
        rows = tuple(LayerRow(f"conv{place}", "Conv", one, 1.0) for place, one in enumerate(ms))
        return Layers("a.nst", "a" * 64, 64, 64, 1, "openvino", 3, Peaks(1.0, None, (Bandwidth(1, 2.0),)), rows)

    assert layers(0.9, 2.0).doubt == ""
    assert layers(0.5, 0.6, 2.0).doubt.startswith("2 of 3 kernels took less than their floor: ")
    console = Console(width=200)
    with console.capture() as shown:
        console.print(layer_report(layers(0.5)))
    assert "Note: 1 of 1 kernels took less than their floor" in shown.get()
