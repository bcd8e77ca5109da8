"""Plan which bundle is timed at which size, and which peers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nstopt.bench.peers import Peer, PeerSubject, kind_of
from nstopt.bench.subject import BundleSubject, Subject
from nstopt.bundle import MANIFEST, Bundle, open_bundle
from nstopt.errors import BundleError, printable
from nstopt.files import sha256_file
from nstopt.manifest import InputShape, NetInfo
from nstopt.pictures.size import DEFAULT_SIZE, Size
from nstopt.runs.record import CaseInfo


@dataclass(frozen=True)
class Case:
    """One subject to time at one size, and the fields and warnings of its record that are known beforehand."""

    subject: Subject
    info: CaseInfo
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.info.label} at {self.info.size}"


def plan_cases(
    bundles: Sequence[Path], sizes: Sequence[Size] = (), batch: int | None = None, peers: Sequence[Peer] = ()
) -> list[Case]:
    """Plan the cases: in the order of the sizes, then grouped by batch, bundles before peers.

    Each bundle is timed at those of `sizes` that it takes. Without `sizes`, these are all sizes that bundles were built
    for, or 512x512 if every bundle takes any size. Without `batch`, each bundle has its own, or 1. Every peer runs
    wherever a bundle does.

    Raises BundleError if a bundle is damaged, a size has no bundle, a bundle no size, a bundle has another batch, or
    peers are to be compared with engines of several nets. Raises BuildError for an unknown peer.
    """
    opened = [open_bundle(path) for path in bundles]
    if not opened:
        raise BundleError("no engine to bench; build one with: nstopt build-engine NET.onnx --res 512")
    if not sizes:
        sizes = [size for bundle in opened for size in bundle.manifest.shape.sizes] or [DEFAULT_SIZE]
    sizes = list(dict.fromkeys(sizes))
    _check_every_size_is_served(opened, sizes)
    for bundle in opened:
        _check_serves_one_of(bundle, sizes, batch)
    net = _one_net(opened) if peers else None
    cases: list[Case] = []
    for size in sizes:
        here = [_bundle_case(bundle, size, batch) for bundle in opened if _serves(bundle, size)]
        for own_batch in dict.fromkeys(case.info.batch for case in here):
            cases += [case for case in here if case.info.batch == own_batch]
            if net is not None:
                cases += [_peer_case(peer, net, size, own_batch) for peer in peers]
    return cases


def _bundle_case(bundle: Bundle, size: Size, batch: int | None) -> Case:
    manifest = bundle.manifest
    info = CaseInfo(
        label=printable(bundle.path.resolve().name),
        is_peer=False,
        bundle=printable(str(bundle.path)),
        sha256=sha256_file(bundle.path / MANIFEST),
        net=manifest.net.name,
        net_sha256=manifest.net.source_sha256,
        family=manifest.net.family,
        backend=manifest.backend.name,
        precision=manifest.precision.asked,
        computes=manifest.precision.computes,
        height=size.height,
        width=size.width,
        batch=batch or manifest.shape.batch or 1,
        psnr_db=manifest.quality.psnr_db_mean if manifest.quality else None,
        ssim=manifest.quality.ssim_mean if manifest.quality else None,
    )
    otherwise = manifest.precision.differences
    warnings = (f"not computed in the types of the graph: {'; '.join(otherwise)}",) if otherwise else ()
    return Case(BundleSubject(bundle.path), info, warnings)


def _peer_case(peer: Peer, net: NetInfo, size: Size, batch: int) -> Case:
    kind = kind_of(peer)
    info = CaseInfo(
        label=kind.label,
        is_peer=True,
        bundle=None,
        sha256=net.source_sha256,
        net=net.name,
        net_sha256=net.source_sha256,
        family=net.family,
        backend=kind.backend,
        precision=kind.precision,
        computes=kind.computes() if kind.computes else kind.precision,
        height=size.height,
        width=size.width,
        batch=batch,
        psnr_db=None,
        ssim=None,
    )
    return Case(PeerSubject(peer, net.source_sha256, size, batch), info)


def _one_net(bundles: Sequence[Bundle]) -> NetInfo:
    nets = {bundle.manifest.net.source_sha256: bundle.manifest.net for bundle in bundles}
    if len(nets) > 1:
        names = ", ".join(net.name for net in nets.values())
        raise BundleError(
            f"a peer runs one net, but these engines are of {len(nets)} ({names}); bench the nets one after the other"
        )
    return next(iter(nets.values()))


def _serves(bundle: Bundle, size: Size) -> bool:
    return size in bundle.manifest.shape.sizes


def _check_every_size_is_served(bundles: Sequence[Bundle], sizes: Sequence[Size]) -> None:
    for size in sizes:
        if not any(_serves(bundle, size) for bundle in bundles):
            built = ", ".join(f"{bundle.path.name} for {_built_for(bundle.manifest.shape)}" for bundle in bundles)
            raise BundleError(
                f"no engine to bench at {size}: built are {built}; "
                f"build the other with: nstopt build-engine NET.onnx --res {_as_option(size)}"
            )


def _check_serves_one_of(bundle: Bundle, sizes: Sequence[Size], batch: int | None) -> None:
    shape = bundle.manifest.shape
    if not any(_serves(bundle, size) for size in sizes):
        raise BundleError(
            f"{bundle.path} was built for {_built_for(shape)}, not for {', '.join(map(str, sizes))}; leave it out, or "
            f"build the other with: nstopt build-engine NET.onnx --res {_as_option(sizes[0])}"
        )
    if batch is not None and shape.batch not in (None, batch):
        raise BundleError(
            f"{bundle.path} was built for a batch of {shape.batch}, not of {batch}; "
            f"build the other with: nstopt build-engine NET.onnx --batch {batch}"
        )


def _built_for(shape: InputShape) -> str:
    return str(shape.sizes)


def _as_option(size: Size) -> str:
    """Format a size as the user would write it: 256, or 480x640."""
    return str(size.height) if size.height == size.width else str(size)
