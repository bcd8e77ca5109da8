"""What a style net is trained to make small. Tensors are float32; every loss is a scalar, averaged over the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from nstopt.nets.adain import statistics
from nstopt.pictures.colors import LUMINANCE


def gram(features: Tensor) -> Tensor:
    """Gram matrices [N, C, C] of features phi [N, C, H, W]: which features occur together, wherever that is.

    G(x)_{c,c'} = 1/(C H W) sum_{h,w} phi(x)_{h,w,c} phi(x)_{h,w,c'}. Johnson et al. 2016, arXiv:1603.08155, equation 3.
    (Gatys et al. 2016, equation 3, is the same without the division.) Never in half precision, where the sum overflows.
    """
    batch, channels, height, width = features.shape
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().reshape(batch, channels, height * width)
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


def mean_std_loss(features: Tensor, style: Tensor) -> Tensor:
    """Distance of the statistics of `features` from those of the style's, both [N, C, H, W], for one layer.

    l_s = ||mu(phi(g(t))) - mu(phi(s))||_2^2 + ||sigma(phi(g(t))) - sigma(phi(s))||_2^2. Huang & Belongie 2017, equation
    13; the mean over channels instead of the sum, as the authors' code has it.
    """
    pairs = zip(statistics(features), statistics(style), strict=True)
    return torch.stack([(got - wanted).square().mean() for got, wanted in pairs]).sum()


def total_variation(picture: Tensor) -> Tensor:
    """How much neighboring pixels of `picture` [N, C, H, W] differ, per number: large for speckles.

    R_V = sum_{i,j} ((x_{i,j+1} - x_{i,j})^2 + (x_{i+1,j} - x_{i,j})^2)^(beta/2). Mahendran & Vedaldi 2015,
    arXiv:1412.0035, section 3; here beta = 2, and means instead of sums, so that the picture's size does not matter.
    """
    across = (picture[..., :, 1:] - picture[..., :, :-1]).square().mean()
    down = (picture[..., 1:, :] - picture[..., :-1, :]).square().mean()
    return across + down


def pixel_loss(picture: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two pictures [N, C, H, W]: ||x - t||_1 / (C H W), which blurs less than the square
    (Zhao et al. 2017, arXiv:1511.08861, equation 3)."""
    return (picture - target).abs().mean()


def gradient_difference_loss(picture: Tensor, target: Tensor) -> Tensor:
    """How much the edges of two pictures [N, C, H, W] differ, where `pixel_loss` would let a blurred one pass.

    The sum over both directions of the mean of |grad x - grad t|: Mathieu et al. 2016, arXiv:1511.05440, equation 6,
    but with the signs of the gradients, and means.
    """
    error = picture - target
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return across + down


def luminance(picture: Tensor) -> Tensor:
    """Relative luminance [N, 1, H, W] of RGB [N, 3, H, W]: Y = 0.2126 R + 0.7152 G + 0.0722 B.

    Gao et al. 2018, arXiv:1807.01197, section 3.3.
    """
    weights = picture.new_tensor(LUMINANCE).view(1, 3, 1, 1)
    return (picture * weights).sum(dim=1, keepdim=True)


def output_temporal_loss(
    stylized: Tensor, warped_stylized: Tensor, photo: Tensor, warped_photo: Tensor, visible: Tensor
) -> Tensor:
    """How much a stylized frame differs from the one before, beyond what the light does. RGB [N, 3, H, W] each, in
    0..1; `warped_` are the frames before, moved to where things are now; `visible` [N, 1, H, W] is 0 where nothing
    corresponds, else 1.

    L_temp,o = 1/D sum_c M ||(O_t - W(O_{t-1}))_c - (I_t - W(I_{t-1}))_Y||^2, c = R, G, B, D = H W.
    Gao et al. 2018, equation 3.
    """
    change = stylized - warped_stylized
    expected = luminance(photo - warped_photo)
    return (visible * (change - expected).square()).sum(dim=1).mean()


def feature_temporal_loss(features: Tensor, warped_features: Tensor, visible: Tensor) -> Tensor:
    """How much the encoder's features [N, C, H, W] differ from those of the frame before, moved to where things are
    now.

    L_temp,f = 1/D M ||F_t - W(F_{t-1})||^2, D = C H W. Gao et al. 2018, equation 4; `visible` as above, at this size.
    """
    return (visible * (features - warped_features).square()).mean()
