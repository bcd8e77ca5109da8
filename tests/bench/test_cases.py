"""Plans: which bundle is timed at which size, and what to build if there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import MakeBundle

from nstopt.bench.cases import plan_cases
from nstopt.bench.peers import Peer
from nstopt.errors import BuildError, BundleError
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size, Sizes

SMALL, WIDE = Size(32, 32), Size(24, 48)
AT_SMALL = InputShape.of(1, Size(32, 32))


def test_without_sizes_all_run_at_the_sizes_that_were_built(make_bundle: MakeBundle) -> None:
    infos = [case.info for case in plan_cases([make_bundle("fixed", AT_SMALL), make_bundle("free")])]
    assert [(info.label, info.size, info.batch) for info in infos] == [("fixed.nst", SMALL, 1), ("free.nst", SMALL, 1)]


def test_without_sizes_a_bundle_for_any_size_runs_at_512(make_bundle: MakeBundle) -> None:
    assert [case.info.size for case in plan_cases([make_bundle("free")])] == [Size(512, 512)]


def test_sizes_keep_their_order_and_a_fixed_bundle_runs_at_its_own_only(make_bundle: MakeBundle) -> None:
    cases = plan_cases([make_bundle("fixed", AT_SMALL), make_bundle("free")], [WIDE, SMALL, WIDE])
    assert list(map(str, cases)) == ["free.nst at 24x48", "fixed.nst at 32x32", "free.nst at 32x32"]


def test_a_case_holds_the_facts_of_the_manifest(make_bundle: MakeBundle) -> None:
    (case,) = plan_cases([make_bundle("free")], [SMALL], batch=4)
    info = case.info
    assert (info.net, info.family, info.backend, info.batch) == ("free", "johnson", "openvino", 4)
    assert (info.precision, info.computes) == ("fp16", "fp32")
    assert (info.psnr_db, info.ssim) == (41.5, 0.991)
    assert case.warnings == ()


def test_a_case_warns_of_types_other_than_the_graphs(make_bundle: MakeBundle) -> None:
    (case,) = plan_cases([make_bundle("free", differences=("conv1 reads FP32, not INT8",))], [SMALL])
    assert case.warnings == ("not computed in the types of the graph: conv1 reads FP32, not INT8",)


def test_a_size_without_a_bundle_names_what_was_built_and_how_to_build_it(make_bundle: MakeBundle) -> None:
    with pytest.raises(BundleError, match=r"at 24x48: built are fixed.nst for 32x32; .* NET.onnx --res 24x48$"):
        plan_cases([make_bundle("fixed", AT_SMALL)], [SMALL, WIDE])


def test_a_bundle_without_a_size_is_refused(make_bundle: MakeBundle) -> None:
    bundles = [make_bundle("fixed", AT_SMALL), make_bundle("free")]
    with pytest.raises(BundleError, match=r"fixed.nst was built for 32x32, not for 64x64; .* --res 64$"):
        plan_cases(bundles, [Size(64, 64)])


def test_another_batch_is_refused(make_bundle: MakeBundle) -> None:
    with pytest.raises(BundleError, match=r"built for a batch of 1, not of 4; .* --batch 4$"):
        plan_cases([make_bundle("fixed", AT_SMALL)], batch=4)


def test_no_bundle_is_refused() -> None:
    with pytest.raises(BundleError, match="no engine to bench; build one with"):
        plan_cases([])


def test_a_peer_runs_wherever_a_bundle_does(make_bundle: MakeBundle) -> None:
    peer = Peer("torch", Path("net.pth"))
    cases = plan_cases([make_bundle("fixed", AT_SMALL), make_bundle("free")], [SMALL, WIDE], peers=[peer])
    assert [(str(case), case.info.is_peer) for case in cases] == [
        ("fixed.nst at 32x32", False),
        ("free.nst at 32x32", False),
        ("torch eager at 32x32", True),
        ("free.nst at 24x48", False),
        ("torch eager at 24x48", True),
    ]


def test_a_peer_runs_at_each_batch_of_the_bundles(make_bundle: MakeBundle) -> None:
    bundles = [make_bundle("one", AT_SMALL), make_bundle("four", InputShape.of(4, Size(32, 32))), make_bundle("free")]
    cases = plan_cases(bundles, peers=[Peer("torch", Path("net.pth"))])
    assert [(case.info.label, case.info.batch) for case in cases] == [
        ("one.nst", 1),
        ("free.nst", 1),
        ("torch eager", 1),
        ("four.nst", 4),
        ("torch eager", 4),
    ]


def test_a_peer_cannot_be_compared_with_two_nets(make_bundle: MakeBundle) -> None:
    bundles = [make_bundle("wave", source_sha256="1" * 64), make_bundle("udnie", source_sha256="2" * 64)]
    with pytest.raises(BundleError, match=r"of 2 \(wave, udnie\); bench the nets one after the other"):
        plan_cases(bundles, peers=[Peer("torch", Path("net.pth"))])


def test_an_unknown_peer_is_refused(make_bundle: MakeBundle) -> None:
    with pytest.raises(BuildError, match="unknown peer 'jax'; there are: torch"):
        plan_cases([make_bundle()], peers=[Peer("jax", Path("net.pth"))])


def test_a_bundle_of_several_sizes_is_timed_at_each(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("several", InputShape(1, Sizes(SMALL, WIDE)))
    assert list(map(str, plan_cases([bundle]))) == ["several.nst at 32x32", "several.nst at 24x48"]
    assert list(map(str, plan_cases([bundle], [WIDE]))) == ["several.nst at 24x48"]
    with pytest.raises(BundleError, match=r"several.nst was built for 32x32, 24x48, not for 64x64"):
        plan_cases([bundle, make_bundle("free")], [Size(64, 64)])
