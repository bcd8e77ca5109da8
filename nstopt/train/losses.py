"""What a style net is trained to make small. Tensors are float32; every loss is a scalar, averaged over the batch."""

from __future__ import annotations

from torch import Tensor


def gram(features: Tensor) -> Tensor:
    """Gram matrices [N, C, C] of features phi [N, C, H, W]: which features occur together, wherever that is.

    G(x)_{c,c'} = 1/(C H W) sum_{h,w} phi(x)_{h,w,c} phi(x)_{h,w,c'}. Johnson et al. 2016, arXiv:1603.08155, equation 3.
    """
    batch, channels, height, width = features.shape
    flat = features.reshape(batch, channels, height * width)
    return flat @ flat.transpose(1, 2) / (channels * height * width)


def style_loss(features: Tensor, target: Tensor) -> Tensor:
    """Distance of the Gram matrices of `features` [N, C, H, W] from the style's, `target` [C, C] or [1, C, C].

    l_style = ||G(y_hat) - G(y_s)||_F^2. Johnson et al. 2016, equation 4, for one layer.
    """
    return (gram(features) - target).square().sum(dim=(1, 2)).mean()


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Distance of features from those of the content picture, both [N, C, H, W].

    l_feat = 1/(C H W) ||phi(y_hat) - phi(y_c)||_2^2. Johnson et al. 2016, equation 2.
    """
    return (features - target).square().mean()


def total_variation(picture: Tensor) -> Tensor:
    """How much neighbouring pixels of `picture` [N, C, H, W] differ, per number: large for speckles.

    R_V = sum_{i,j} ((x_{i,j+1} - x_{i,j})^2 + (x_{i+1,j} - x_{i,j})^2)^(beta/2). Mahendran & Vedaldi 2015,
    arXiv:1412.0035, section 3; here beta = 2, and means instead of sums, so that the picture's size does not matter.
    """
    across = (picture[..., :, 1:] - picture[..., :, :-1]).square().mean()
    down = (picture[..., 1:, :] - picture[..., :-1, :]).square().mean()
    return across + down
