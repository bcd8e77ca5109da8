"""What a peer is: a way to run the net of a checkpoint, and the size and batch that it will run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nstopt.bench.subject import Stylize
from nstopt.bundle import InputShape
from nstopt.errors import CheckpointError
from nstopt.pictures.size import Size


@dataclass(frozen=True)
class Peer:
    """A peer by its name in PEERS, the checkpoint it runs, and what else `nets.load_net` needs to read that
    checkpoint."""

    name: str
    checkpoint: Path
    net_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerSubject:
    """A peer, the hash of the checkpoint that our engines were made from, which must be its own, and the one size and
    batch that it will run on."""

    peer: Peer
    source_sha256: str
    size: Size
    batch: int

    @property
    def shape(self) -> InputShape:
        """The pictures that it runs on."""
        return InputShape.of(self.batch, self.size)

    def open(self) -> Stylize:
        """Raises CheckpointError if the checkpoint is unreadable or is not the one of the engines."""
        from nstopt.bench.peers import kind_of

        return kind_of(self.peer).open(self)


class Kind(NamedTuple):
    """What tables call a peer, the library it runs in, the precision it computes in, and how it is opened."""

    label: str
    backend: str
    precision: str
    open: Callable[[PeerSubject], Stylize]


def picture_module(subject: PeerSubject) -> Any:
    """The net of the peer's checkpoint under the contract. A comparison with another net would be worth nothing."""
    from nstopt.export.contract import PictureModule
    from nstopt.nets import load_net

    checkpoint = subject.peer.checkpoint
    net = load_net(checkpoint, **subject.peer.net_options)
    if net.source_sha256 != subject.source_sha256:
        raise CheckpointError(
            f"{checkpoint}: the engines were not made from this checkpoint (its sha256 is {net.source_sha256[:12]}…, "
            f"theirs {subject.source_sha256[:12]}…); give the one they were exported from, or export and build again"
        )
    return PictureModule(net).eval()
