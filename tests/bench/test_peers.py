"""Peers compute the net of the engines, and never another one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from made import MakeBundle

from nstopt import engines
from nstopt.bench.cases import plan_cases
from nstopt.bench.harness import BenchSpec, run
from nstopt.bench.peers import ELSEWHERE, PEERS, Peer, PeerSubject, named
from nstopt.bench.peers.from_export import write_raw_export, write_raw_tensorrt
from nstopt.bench.peers.in_openvino import write_nncf_model, write_raw_model
from nstopt.bench.subject import Stylize
from nstopt.engines.openvino import core
from nstopt.errors import BuildError, CheckpointError, DeviceError
from nstopt.export.contract import PictureModule
from nstopt.nets import load_net
from nstopt.pictures.noise import noise
from nstopt.pictures.size import Size
from nstopt.samples import SAMPLE

SIZE = Size(32, 48)
# OpenVINO's names of the precisions that it may choose by itself.
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Save a random net of the pytorch/examples layout with one residual block."""
    convs = {
        "conv1": (4, 3, 9),
        "conv2": (6, 4, 3),
        "conv3": (8, 6, 3),
        "res1.conv1": (8, 8, 3),
        "res1.conv2": (8, 8, 3),
    }
    convs |= {"deconv1": (6, 8, 3), "deconv2": (4, 6, 3), "deconv3": (3, 4, 9)}
    norms = {"in1": 4, "in2": 6, "in3": 8, "res1.in1": 8, "res1.in2": 8, "in4": 6, "in5": 4}
    state: dict[str, torch.Tensor] = {}
    for name, (outputs, inputs, kernel) in convs.items():
        state[f"{name}.conv2d.weight"] = torch.randn(outputs, inputs, kernel, kernel)
        state[f"{name}.conv2d.bias"] = torch.randn(outputs)
    for name, channels in norms.items():
        state |= {f"{name}.weight": torch.ones(channels), f"{name}.bias": torch.zeros(channels)}
    path = tmp_path / "net.pth"
    torch.save(state, path)
    return path


def test_torch_eager_computes_the_net_under_the_contract_of_engines(checkpoint: Path) -> None:
    net = load_net(checkpoint)
    pictures = noise(SIZE, batch=2)
    out = np.empty_like(pictures)
    PeerSubject(Peer("torch", checkpoint), net.source_sha256, SIZE, 2).open()(pictures, out)
    with torch.inference_mode():
        expected = PictureModule(net)(torch.from_numpy(pictures)).numpy()
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["torch-bf16", "torch-compile-bf16"])
def test_peers_in_bf16_compute_the_net_under_autocast(
    name: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's compiler is left out, since it takes a minute."""
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: module)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    net = load_net(checkpoint)
    pictures = noise(SIZE, batch=2)
    out = np.empty_like(pictures)
    PeerSubject(Peer(name, checkpoint), net.source_sha256, SIZE, 2).open()(pictures, out)
    with torch.inference_mode():
        fp32 = PictureModule(net)(torch.from_numpy(pictures)).numpy()
        with torch.autocast("cpu", torch.bfloat16):
            expected = PictureModule(net)(torch.from_numpy(pictures)).numpy()
    np.testing.assert_array_equal(out, expected)
    assert (out != fp32).any()


def difference(stylize: Stylize, checkpoint: Path) -> int:
    """Return the largest difference from the net on two pictures, in gray levels."""
    pictures = noise(SIZE, batch=2)
    out = np.empty_like(pictures)
    stylize(pictures, out)
    with torch.inference_mode():
        expected = PictureModule(load_net(checkpoint))(torch.from_numpy(pictures)).numpy()
    return int(np.abs(out.astype(int) - expected).max())


@pytest.mark.parametrize("name", ["torch-channels-last", "torchscript"])
def test_a_peer_computes_the_net(name: str, checkpoint: Path) -> None:
    subject = PeerSubject(Peer(name, checkpoint), load_net(checkpoint).source_sha256, SIZE, 2)
    assert difference(subject.open(), checkpoint) <= 1


def test_a_raw_export_computes_the_net(checkpoint: Path, tmp_path: Path) -> None:
    subject = PeerSubject(Peer("openvino", checkpoint), load_net(checkpoint).source_sha256, SIZE, 2)
    write_raw_export("openvino", subject, tmp_path / "raw.nst")
    with engines.load(tmp_path / "raw.nst") as engine:
        assert engine.manifest.rewrites == ()
        assert difference(engine, checkpoint) <= 1


def test_openvino_runs_with_its_defaults_and_the_record_says_what_they_compute(
    checkpoint: Path, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    sha256 = load_net(checkpoint).source_sha256
    _, plain, forced = plan_cases(
        [make_bundle(source_sha256=sha256)],
        [SIZE],
        peers=[Peer("openvino", checkpoint), Peer("openvino-fp32", checkpoint)],
    )
    assert (plain.info.precision, forced.info.precision, forced.info.computes) == ("fp32", "fp32", "fp32")
    pictures = noise(SIZE, batch=1)
    out = np.empty_like(pictures)
    plain.subject.open()(pictures, out)
    write_raw_model(PeerSubject(Peer("openvino", checkpoint), sha256, SIZE, 1), tmp_path / "raw.xml")
    hint = HINTS[plain.info.computes]
    hinted = core().compile_model(tmp_path / "raw.xml", "CPU", {"INFERENCE_PRECISION_HINT": hint})
    np.testing.assert_array_equal(out, hinted(pictures)[0])
    in_fp32 = core().compile_model(tmp_path / "raw.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert (hint == "f32") == np.array_equal(out, in_fp32(pictures)[0])


@pytest.mark.parametrize("name", ["nncf", "nncf-fp32"])
def test_nncf_stays_near_the_net(name: str) -> None:
    pytest.importorskip("nncf")
    subject = PeerSubject(Peer(name, SAMPLE), load_net(SAMPLE).source_sha256, Size(64, 64), 2)
    pictures = noise(subject.size, batch=2)
    out, expected = np.empty_like(pictures), np.empty_like(pictures)
    subject.open()(pictures, out)
    PeerSubject(Peer("torch", SAMPLE), subject.source_sha256, subject.size, 2).open()(pictures, expected)
    assert 0.5 < np.abs(out.astype(int) - expected).mean() < 4  # quantized, and nothing else


def test_torch_compile_without_a_compiler_says_what_it_needs(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(module: object, dynamic: bool) -> object:
        def fail(pictures: object) -> None:
            raise RuntimeError("InvalidCxxCompiler: no working C++ compiler found")

        return fail

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    subject = PeerSubject(Peer("torch-compile", checkpoint), load_net(checkpoint).source_sha256, SIZE, 1)
    with pytest.raises(BuildError, match=r"no working C\+\+ compiler found; it needs a C\+\+ compiler \(g\+\+\)"):
        subject.open()


def test_all_is_every_portable_peer_and_a_name_counts_once() -> None:
    assert [*named(["all"]), *ELSEWHERE] == list(PEERS)
    assert named(["openvino", "torch", "openvino"]) == ["openvino", "torch"]


@pytest.mark.usefixtures("short_warm_up")
def test_a_peer_is_timed_beside_the_engine(checkpoint: Path, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(source_sha256=load_net(checkpoint).source_sha256)
    cases = plan_cases([bundle], [SIZE], peers=[Peer("torch", checkpoint)])
    engine, peer = run(cases, BenchSpec(runs=2, interleave=True))
    assert (engine.is_peer, peer.is_peer) == (False, True)
    assert (peer.label, peer.backend, peer.precision, peer.psnr_db) == ("torch eager", "torch", "fp32", None)
    assert len(peer.latency_ms.samples) == 2
    assert peer.peak_memory_mib > engine.peak_memory_mib > 0


def test_another_net_is_refused(checkpoint: Path) -> None:
    subject = PeerSubject(Peer("torch", checkpoint), "0" * 64, SIZE, 1)
    with pytest.raises(
        CheckpointError, match=r"net.pth: the engines were not made from this checkpoint .* 000000000000…"
    ):
        subject.open()


def test_tensorrt_needs_a_gpu(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nstopt.engines.tensorrt.requirements.devices", list)
    subject = PeerSubject(Peer("tensorrt-raw", checkpoint), load_net(checkpoint).source_sha256, SIZE, 1)
    with pytest.raises(DeviceError, match="cannot build an engine with TensorRT: it needs an NVIDIA GPU"):
        write_raw_tensorrt(subject, tmp_path / "raw.nst")
    assert list(tmp_path.glob("*.nst")) == []


@pytest.mark.parametrize("name", ["torch-cuda", "torch-cuda-fp16", "torch-compile-cuda", "onnxruntime-cuda"])
def test_peers_that_need_a_gpu_say_so(name: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    subject = PeerSubject(Peer(name, checkpoint), load_net(checkpoint).source_sha256, SIZE, 1)
    with pytest.raises(DeviceError, match=rf"the peer {name} needs an NVIDIA GPU .* or leave it out of --compare"):
        subject.open()


def test_a_missing_nncf_is_named(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    subject = PeerSubject(Peer("nncf", checkpoint), load_net(checkpoint).source_sha256, SIZE, 1)
    with pytest.raises(DeviceError, match=r"a comparison with NNCF needs nncf, .* pip install 'nstopt\[peers\]'"):
        write_nncf_model(subject, tmp_path / "nncf.nst")
