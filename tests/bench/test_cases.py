"""Planning: who is timed at which size, and what to build when that cannot be answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import MakeBundle

from nstopt.bench.cases import plan_cases
from nstopt.bench.peers import Peer
from nstopt.bundle import InputShape
from nstopt.errors import BuildError, BundleError
from nstopt.pictures.size import Size

SMALL, WIDE = Size(32, 32), Size(24, 48)
AT_SMALL = InputShape.of(1, Size(32, 32))


def test_without_sizes_all_run_at_the_sizes_that_were_built(make_bundle: MakeBundle) -> None:
    cases = plan_cases([make_bundle("fixed", AT_SMALL), make_bundle("free")])
    assert [(case.label, case.size, case.batch) for case in cases] == [("fixed.nst", SMALL, 1), ("free.nst", SMALL, 1)]


def test_without_sizes_a_bundle_for_any_runs_at_512(make_bundle: MakeBundle) -> None:
    assert [case.size for case in plan_cases([make_bundle("free")])] == [Size(512, 512)]


def test_sizes_come_in_the_order_asked_for_and_a_fixed_bundle_serves_its_own_only(make_bundle: MakeBundle) -> None:
    cases = plan_cases([make_bundle("fixed", AT_SMALL), make_bundle("free")], [WIDE, SMALL, WIDE])
    assert [(case.label, case.size) for case in cases] == [
        ("free.nst", WIDE),
        ("fixed.nst", SMALL),
        ("free.nst", SMALL),
    ]


def test_a_case_carries_what_the_manifest_says(make_bundle: MakeBundle) -> None:
    (case,) = plan_cases([make_bundle("free")], [SMALL], batch=4)
    assert (case.net, case.family, case.backend, case.batch) == ("free", "johnson", "openvino", 4)
    assert (case.precision, case.computes) == ("fp16", "fp32")
    assert (case.psnr_db, case.ssim) == (41.5, 0.991)


def test_a_size_that_no_bundle_serves_names_what_was_built_and_how_to_build_it(make_bundle: MakeBundle) -> None:
    with pytest.raises(BundleError, match=r"at 24x48: built are fixed.nst for 32x32; .* NET.onnx --res 24x48$"):
        plan_cases([make_bundle("fixed", AT_SMALL)], [SMALL, WIDE])


def test_a_bundle_that_serves_no_size_is_refused(make_bundle: MakeBundle) -> None:
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
    assert [(case.label, case.size, case.is_peer) for case in cases] == [
        ("fixed.nst", SMALL, False),
        ("free.nst", SMALL, False),
        ("torch eager", SMALL, True),
        ("free.nst", WIDE, False),
        ("torch eager", WIDE, True),
    ]


def test_a_peer_stands_beside_the_bundles_of_each_batch(make_bundle: MakeBundle) -> None:
    bundles = [make_bundle("one", AT_SMALL), make_bundle("four", InputShape.of(4, Size(32, 32))), make_bundle("free")]
    cases = plan_cases(bundles, peers=[Peer("torch", Path("net.pth"))])
    assert [(case.label, case.batch) for case in cases] == [
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
