"""Losses. All tensors are float32; every loss is a scalar, averaged over the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from nstopt.nets.adain import statistics
from nstopt.pictures.colors import LUMINANCE


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrices [N, C, C] of features phi [N, C, H, W]: their correlations, independent of position.

    G(x)_{c,c'} = 1/(C H W) sum_{h,w} phi(x)_{h,w,c} phi(x)_{h,w,c'}. Johnson et al. 2016, arXiv:1603.08155, equation 3.
    (Gatys et al. 2016, equation 3, is the same without the division.) Computed in float32 even under autocast: the sum
    overflows in half precision.
    """
    batch, channels, height, width = features.shape
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().reshape(batch, channels, height * width)
        return flat @ flat.transpose(1, 2) / (channels * height * width)


def style_loss(features: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the Gram matrices of `features` [N, C, H, W] from the style's, `target` [C, C] or [1, C, C].

    l_style = ||G(y_hat) - G(y_s)||_F^2. Johnson et al. 2016, equation 4, for one layer.
    """
    return (gram(features) - target).square().sum(dim=(1, 2)).mean()


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of features from those of the content picture, both [N, C, H, W].

    l_feat = 1/(C H W) ||phi(y_hat) - phi(y_c)||_2^2. Johnson et al. 2016, equation 2.
    """
    return (features - target).square().mean()


def mean_std_loss(features: Tensor, style: Tensor) -> Tensor:
    """Distance of mean and standard deviation of `features` from those of `style`, both [N, C, H, W], for one layer.

    l_s = ||mu(phi(g(t))) - mu(phi(s))||_2^2 + ||sigma(phi(g(t))) - sigma(phi(s))||_2^2. Huang & Belongie 2017,
    arXiv:1703.06868, equation 13; with the mean over channels instead of the sum, as in the authors' code.
    """
    pairs = zip(statistics(features), statistics(style), strict=True)
    return torch.stack([(got - wanted).square().mean() for got, wanted in pairs]).sum()


def total_variation(picture: Tensor) -> Tensor:
    """Mean squared difference of neighboring pixels of `picture` [N, C, H, W], which is large for speckles.

    R_V = sum_{i,j} ((x_{i,j+1} - x_{i,j})^2 + (x_{i+1,j} - x_{i,j})^2)^(beta/2). Mahendran & Vedaldi 2015,
    arXiv:1412.0035, section 3; here with beta = 2, and means instead of sums, for independence of the size.
    """
    across = (picture[..., :, 1:] - picture[..., :, :-1]).square().mean()
    down = (picture[..., 1:, :] - picture[..., :-1, :]).square().mean()
    return across + down


def pixel_loss(picture: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two pictures [N, C, H, W]: ||x - t||_1 / (C H W).

    It blurs less than the squared difference. Zhao et al. 2017, arXiv:1511.08861, equation 3.
    """
    return (picture - target).abs().mean()


def gradient_difference_loss(picture: Tensor, target: Tensor) -> Tensor:
    """Difference of the gradients of two pictures [N, C, H, W]; unlike `pixel_loss`, it penalizes blurred edges.

    The sum over both directions of the mean of |grad x - grad t|. Mathieu et al. 2016, arXiv:1511.05440, equation 6,
    but with signed gradients, and means instead of sums.
    """
    error = picture - target
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return across + down


def luminance(picture: Tensor) -> Tensor:
    """Return the relative luminance [N, 1, H, W] of RGB [N, 3, H, W]: Y = 0.2126 R + 0.7152 G + 0.0722 B.

    Gao et al. 2018, arXiv:1807.01197, section 3.3.
    """
    weights = picture.new_tensor(LUMINANCE).view(1, 3, 1, 1)
    return (picture * weights).sum(dim=1, keepdim=True)


def output_temporal_loss(
    stylized: Tensor, warped_stylized: Tensor, photo: Tensor, warped_photo: Tensor, visible: Tensor
) -> Tensor:
    """Squared change of a stylized frame since the previous one, beyond the change of luminance.

    Frames are RGB [N, 3, H, W] in 0..1. The `warped_` ones are previous frames, warped to the current one. `visible`
    [N, 1, H, W] is 1 where the flow holds, else 0.

    L_temp,o = 1/D sum_c M ||(O_t - W(O_{t-1}))_c - (I_t - W(I_{t-1}))_Y||^2, c = R, G, B, D = H W.
    Gao et al. 2018, equation 3.
    """
    change = stylized - warped_stylized
    expected = luminance(photo - warped_photo)
    return (visible * (change - expected).square()).sum(dim=1).mean()


def feature_temporal_loss(features: Tensor, warped_features: Tensor, visible: Tensor) -> Tensor:
    """Mean squared change of the encoder's features [N, C, H, W] since the previous frame.

    `warped_features` are the previous frame's, warped to the current one; `visible` [N, 1, H, W] is 1 where the flow
    holds, else 0. L_temp,f = 1/D M ||F_t - W(F_{t-1})||^2, D = C H W. Gao et al. 2018, equation 4.
    """
    return (visible * (features - warped_features).square()).mean()
