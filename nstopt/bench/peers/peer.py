"""Types of peers: a peer with its checkpoint, the case it runs in, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nstopt.bench.subject import Stylize
from nstopt.errors import CheckpointError
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size


@dataclass(frozen=True)
class Peer:
    """A name in PEERS, the checkpoint to run, and further arguments of `nets.load_net` for that checkpoint."""

    name: str
    checkpoint: Path
    net_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerSubject:
    """A peer at one size and batch. Its checkpoint must have the hash `source_sha256`, as that of our engines has."""

    peer: Peer
    source_sha256: str
    size: Size
    batch: int

    @property
    def shape(self) -> InputShape:
        """Shape of the pictures that it runs on."""
        return InputShape.of(self.batch, self.size)

    def open(self) -> Stylize:
        """Load the peer. Raises CheckpointError if the checkpoint is unreadable or not the one of the engines."""
        from nstopt.bench.peers import kind_of

        return kind_of(self.peer).open(self)


class Kind(NamedTuple):
    """Kind of a peer: label in tables, library, precision of its graph, and the function that opens it. `computes`
    tells what this machine computes the graph in; without it, that is the graph's precision."""

    label: str
    backend: str
    precision: str
    open: Callable[[PeerSubject], Stylize]
    computes: Callable[[], str] | None = None


def picture_module(subject: PeerSubject) -> Any:
    """Load the peer's net as a torch module with the I/O contract of engines.

    Raises CheckpointError if its hash is not that of the engines: a comparison with another net would be worth nothing.
    """
    from nstopt.export.contract import PictureModule
    from nstopt.nets import load_net

    checkpoint = subject.peer.checkpoint
    net = load_net(checkpoint, **subject.peer.net_options)
    if net.source_sha256 != subject.source_sha256:
        raise CheckpointError(
            f"{checkpoint}: the engines were not made from this checkpoint (its sha256 is {net.source_sha256[:12]}…, "
            f"theirs {subject.source_sha256[:12]}…); name the one they were exported from, or export and build again"
        )
    return PictureModule(net).eval()
