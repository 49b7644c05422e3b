"""The generators by their names in the settings, and the folding of their norms for use."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from volseg.config import Block, NetworkConfig
from volseg.network.base import Generator
from volseg.network.double import DoubleUNet
from volseg.network.pix2pix import Pix2PixGenerator

# The names are those of `volseg.config.Block`; a new network is a name there, a class, and a row here.
NETWORKS: dict[Block, type[Generator]] = {"double": DoubleUNet, "pix2pix": Pix2PixGenerator}


def build_generator(in_channels: int, classes: int, config: NetworkConfig) -> Generator:
    """Build the generator that a config names; parameters as for `volseg.network.base.Generator`.

    Parameters
    ----------
    in_channels : int
        With neighbours.
    classes : int
        With background.
    config : NetworkConfig
    """
    return NETWORKS[config.block](in_channels, classes, config)


def fold_norms(network: nn.Module) -> nn.Module:
    """Return a copy for use at test time, with batch norms folded into the convolutions before them.

    Activations are computed in place. Its answers are the same up to rounding. It is faster, on a CPU much faster.

    Parameters
    ----------
    network : Generator
    """
    copy = deepcopy(network).eval()
    for module in copy.modules():
        if isinstance(module, nn.LeakyReLU | nn.ReLU):
            # What else sees a changed value is pix2pix's skips, and these meet a ReLU, which gives the same of both.
            module.inplace = True
    for module in [module for module in copy.modules() if isinstance(module, nn.Sequential)]:
        for number, (first, second) in enumerate(pairwise(list(module))):
            if isinstance(second, nn.BatchNorm2d) and isinstance(first, nn.Conv2d | nn.ConvTranspose2d):
                # Without the flag a transposed convolution is silently folded along the wrong axis.
                transposed = isinstance(first, nn.ConvTranspose2d)
                module[number] = fuse_conv_bn_eval(first, second, transpose=transposed)
                module[number + 1] = nn.Identity()
    return copy
