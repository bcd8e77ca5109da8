"""Choose and load a loss network: the Darknet reference classifier, VGG16 or VGG19.

A file is recognized by its tensors' names. Nothing is downloaded: `vgg16` and `vgg19` are searched in torch's download
folder.
"""

from __future__ import annotations

from pathlib import Path

import torch

from nstopt.errors import CheckpointError
from nstopt.nets.checkpoint import read_state_dict
from nstopt.train import darknet, vgg
from nstopt.train.lossnet import LossNet

HUB_FILES = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth"}
HUB_URL = "https://download.pytorch.org/models/"


def load_lossnet(source: str | Path) -> LossNet:
    """Load the loss network of a file, or `vgg16` or `vgg19` from torch's download folder.

    Raises CheckpointError if the file is missing (the message says where to get it), damaged, or no loss network.
    """
    path = _find(str(source))
    state = read_state_dict(path)
    if any(name.startswith("features.") for name in state):
        return vgg.build(state, path)
    return darknet.build(state, path)


def _find(source: str) -> Path:
    if source not in HUB_FILES:
        return Path(source)
    path = Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILES[source]
    if not path.is_file():
        raise CheckpointError(
            f"the loss network {source} is not at {path}, and nstopt downloads nothing: "
            f"put {HUB_URL}{HUB_FILES[source]} there, or name another file with --lossnet"
        )
    return path
