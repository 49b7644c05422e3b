"""The networks of a model, made ready to predict."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from volseg.core.planes import Plane
from volseg.errors import ModelError
from volseg.network.devices import autocast, choose_device, has_fast_bf16
from volseg.network.file import Model
from volseg.network.generator import fold_norms


class ReadyModel:
    """A model on a device. Each network is made ready when its plane is first asked for, and kept for further scans.

    Parameters
    ----------
    model : Model
        Its networks are copied and must not be trained further meanwhile.
    device : str
        ``auto`` or any torch device.

    Raises
    ------
    UsageError
        The device cannot be used.
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.model, self.device = model, choose_device(device)
        self._networks: dict[Plane, tuple[nn.Module, ...]] = {}

    @torch.inference_mode()
    def logits(self, plane: Plane, batch: Tensor) -> list[Tensor]:
        """Return the (B, K, h, w) logits of each network of a plane.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"}
        batch : (B, C, h, w) float32 tensor
            Slices with their neighbours.

        Raises
        ------
        ModelError
            The model has no network for this plane.
        """
        if plane not in self._networks:
            self._networks[plane] = self._make_ready(plane)
        x = batch.to(self.device, memory_format=torch.channels_last)
        with autocast(self.device):
            return [network(x) for network in self._networks[plane]]

    def _make_ready(self, plane: Plane) -> tuple[nn.Module, ...]:
        ready = []
        for name, network in self.model.networks.items():
            if name.split(".")[0] == plane:
                ready.append(self._make_quick(network))
        if not ready:
            known = ", ".join(self.model.networks)
            raise ModelError(f"the model has no network for {plane} slices, only {known}")
        return tuple(ready)

    def _make_quick(self, network: nn.Module) -> nn.Module:
        folded = fold_norms(network).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if has_fast_bf16(self.device):
            for module in folded.modules():
                # `autocast` would convert these weights to the same numbers anew for every batch.
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    module.bfloat16()
        return folded  # type: ignore[no-any-return]
