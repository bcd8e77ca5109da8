"""Train a ReCoNet, whose frames flicker less (Gao et al. 2018, arXiv:1807.01197)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nstopt.nets import reconet
from nstopt.train.clips import ClipPairs
from nstopt.train.initialize import initialized
from nstopt.train.load_lossnet import load_lossnet
from nstopt.train.losses import feature_temporal_loss, output_temporal_loss
from nstopt.train.objective import Objective, StyleSpec
from nstopt.train.photos import to_tensor
from nstopt.train.process import ProcessContext
from nstopt.train.save import settings_of
from nstopt.train.trainer import Sample, System, TrainSpec, warm_cosine
from nstopt.train.warp import WarpedPairs, warp_batch


@dataclass(frozen=True)
class ReconetSpec:
    """Style, training data and architecture of a ReCoNet.

    `data` is a folder of photographs, from which frames are made by warping, or with `from_clips` a folder of video
    clips; frames are cut to squares of `crop` pixels. `lossnet` is as load_lossnet takes it. `frn` selects filter
    response norm with thresholded linear units instead of instance norm with ReLU. `widths` are the channel counts of
    the encoder's stages, `blocks` the number of residual blocks. `peak_rate` is the highest learning rate;
    `feature_weight` and `output_weight` are the weights of the temporal losses.
    """

    style: StyleSpec
    data: Path
    lossnet: Path
    steps: int = TrainSpec.steps
    from_clips: bool = False
    frn: bool = True
    widths: tuple[int, int, int] = (16, 32, 48)
    blocks: int = 2
    crop: int = 256
    peak_rate: float = 2e-3
    feature_weight: float = 0.3
    output_weight: float = 30.0
    seed: int = 0


class TwoParts(nn.Module):
    """A ReCoNet that also returns its encoder's features, for the feature temporal loss."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        layers = list(net.children())
        end = next(index for index, layer in enumerate(layers) if isinstance(layer, nn.Upsample))
        self.encoder, self.decoder = nn.Sequential(*layers[:end]), nn.Sequential(*layers[end:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Stylize x, [N, 3, H, W] in -1..1; return features [N, C, H/4, W/4] and pictures like x."""
        features = self.encoder(x)
        return features, self.decoder(features)


class Reconet(System):
    """Training of a net in the layout of pytorch-reconet.

    Raises CheckpointError if the loss network cannot be loaded, MediaError if the style picture cannot be read or the
    folder holds no photographs or clips.
    """

    def __init__(self, spec: ReconetSpec, place: ProcessContext) -> None:
        self._spec = spec
        self._objective = Objective(spec.style, load_lossnet(spec.lossnet), place.device)
        self._pairs = (ClipPairs if spec.from_clips else WarpedPairs)(spec.data, spec.crop, spec.seed)
        self._blueprint = reconet.design(spec.widths, spec.blocks, spec.frn)
        self.module = initialized(TwoParts(self._blueprint.module), spec.seed, place.device)
        self.settings = {"family": reconet.NAME, **settings_of(spec)}

    def sample(self, number: int) -> Sample:
        """Return a frame and the previous one, float32 [3, H, W] in 0..255 each, the flow in pixels [2, H, W], and a
        mask [1, H, W] that is 1 where the flow holds."""
        pair = self._pairs[number]
        visible = torch.from_numpy(pair.visible).float()[None]
        return to_tensor(pair.frame), to_tensor(pair.before), torch.from_numpy(pair.flow), visible

    def losses(self, net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        frame, previous, *_ = batch
        photos = torch.cat([frame, previous])
        features, output = net(photos / 127.5 - 1)
        pictures = (output.float() + 1) * 127.5
        return {**self._objective(pictures, photos), **self._temporal(features.float(), pictures, batch)}

    def _temporal(self, features: Tensor, pictures: Tensor, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Compute the temporal losses; `features` and `pictures` hold the frames' first, then the previous ones'."""
        frame, previous, flow, visible = batch
        features_now, features_then = features.chunk(2)
        now, then = (pictures / 255).chunk(2)
        small = functional.interpolate(visible, features.shape[2:], mode="nearest")
        feature = feature_temporal_loss(features_now, warp_batch(features_then, flow), small)
        warped_photo = warp_batch(previous / 255, flow)
        output = output_temporal_loss(now, warp_batch(then, flow), frame / 255, warped_photo, visible)
        return {"feature": self._spec.feature_weight * feature, "output": self._spec.output_weight * output}

    def paint(self, *batch: Tensor) -> list[Tensor]:
        frame, previous, *_ = batch
        return [picture for photo in (previous, frame) for picture in (photo, self._picture(photo))]

    def _picture(self, photos: Tensor) -> Tensor:
        picture: Tensor = (self.module(photos / 127.5 - 1)[1] + 1) * 127.5
        return picture

    def weights(self) -> dict[str, Tensor]:
        return self._blueprint.named(self.module)

    def rate(self, step: int) -> float:
        return warm_cosine(step, self._spec.steps, self._spec.peak_rate)
