"""Peers: other ways to run the same net, timed in the same run as our engines. A new peer is one function and one
line.

A peer keeps the contract of an engine: uint8 [N, H, W, 3] in and out, casting, normalisation and padding included.
Its library runs with its default settings; torch chooses its own number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nstopt.bench.subject import Stylise
from nstopt.engines.base import Picture
from nstopt.errors import BuildError, CheckpointError


@dataclass(frozen=True)
class Peer:
    """A peer by its name in PEERS, the checkpoint it runs, and what else `nets.load_net` needs to read that
    checkpoint."""

    name: str
    checkpoint: Path
    net_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerSubject:
    """A peer and the hash of the checkpoint that our engines were made from, which must be its own."""

    peer: Peer
    source_sha256: str

    def open(self) -> Stylise:
        """Raises CheckpointError if the checkpoint is unreadable or is not the one of the engines."""
        return kind_of(self.peer).open(self)


class Kind(NamedTuple):
    """What tables call a peer, the library it runs in, the precision it computes in, and how it is opened."""

    label: str
    backend: str
    precision: str
    open: Callable[[PeerSubject], Stylise]


def kind_of(peer: Peer) -> Kind:
    """Raises BuildError for a name that is not in PEERS."""
    if peer.name not in PEERS:
        raise BuildError(f"unknown peer '{peer.name}'; there are: {', '.join(PEERS)}")
    return PEERS[peer.name]


def _torch_eager(subject: PeerSubject) -> Stylise:
    import torch

    from nstopt.export.contract import PictureModule

    module = PictureModule(_checked_net(subject))

    @torch.inference_mode()
    def stylise(images: Picture, out: Picture) -> None:
        np.copyto(out, module(torch.from_numpy(images)).numpy())

    return stylise


def _checked_net(subject: PeerSubject) -> Any:
    """The net of the peer's checkpoint. A comparison with another net would be worth nothing."""
    from nstopt.nets import load_net

    checkpoint = subject.peer.checkpoint
    net = load_net(checkpoint, **subject.peer.net_options)
    if net.source_sha256 != subject.source_sha256:
        raise CheckpointError(
            f"{checkpoint}: the engines were not made from this checkpoint (its sha256 is {net.source_sha256[:12]}…, "
            f"theirs {subject.source_sha256[:12]}…); give the one they were exported from, or export and build again"
        )
    return net


PEERS = {"torch": Kind("torch eager", "torch", "fp32", _torch_eager)}
