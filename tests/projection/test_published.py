"""The projection against a published measurement of a style net on a GTX 1060: docs/projection.md."""

from __future__ import annotations

from pathlib import Path

import torch
from nets import layouts

from nstopt.export.contract import PictureModule
from nstopt.export.to_onnx import to_onnx
from nstopt.gpu import facts
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.nets import load_net
from nstopt.projection.kernels import kernels
from nstopt.projection.model import GPU_FP32, floors_ms, of_gpu
from nstopt.report.targets import PUBLISHED, PUBLISHED_SIZE


def test_reconet_in_pytorch_on_a_gtx_1060(tmp_path: Path) -> None:
    """Compare with 65 ms for ReCoNet 48/96/192, FRN + TLU, FP32, 512x512. PyTorch fuses and rewrites nothing."""
    checkpoint = tmp_path / "reconet.pth"
    torch.save(layouts.reconet(frn=True, widths=(48, 96, 192), blocks=4), checkpoint)
    model = to_onnx(PictureModule(load_net(checkpoint)).eval(), PUBLISHED_SIZE)
    graph = specialize(model, InputShape.of(1, PUBLISHED_SIZE))
    found = kernels(graph, fused=False)
    assert round(sum(kernel.work.macs for kernel in found) / 1e9, 1) == 76.8
    floors = floors_ms(found, of_gpu(facts.gpu("gtx-1060")), "fp32")
    low, high = (sum(floor / getattr(GPU_FP32[kind], end) for kind, floor in floors.items()) for end in ("high", "low"))
    published = PUBLISHED[0].latency_ms
    assert low < published < high
    assert abs((low * high) ** 0.5 / published - 1) < 0.2
