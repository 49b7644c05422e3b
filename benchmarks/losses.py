"""The loss of a training step, and what is imported before it: volseg's Dice and cross-entropy against MONAI's.

    python benchmarks/losses.py [ROUNDS]

One thread, medians of ROUNDS (default 5) in turns: CPU milliseconds of the loss with its gradient, and of a whole
training step of the default preset's network with either loss, at 3, 8 and 41 classes; largest difference of the
gradients in float64, as a share of the largest gradient; CPU seconds of the first step of a new process.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from volseg.config import load_config
from volseg.network.losses import Loss, reconstruction_loss
from volseg.training.step import Learner

BATCH, SIZE = 4, 256
SETTINGS = ("network.width=32", "network.levels=5", "training.batch_size=4", "training.slice_size=[256,256,32]")
# In a process of its own, as a library is imported once.
FIRST_STEP = """
import sys, time
import torch
from volseg.config import load_config
from volseg.training.step import Learner
if sys.argv[1] == "MONAI":
    import monai.losses
config = load_config(overrides=("network.width=8", "network.levels=2", "training.slice_size=[32,32,32]"))
learner = Learner(config, "axial", channels=1, labels=2, device=torch.device("cpu"))
learner.step(torch.randn(2, 3, 32, 32), torch.randint(0, 3, (2, 32, 32)), 0.1)
print(time.process_time())
"""


def monai_loss() -> Loss:
    from monai.losses import DiceCELoss

    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    return lambda logits, classes, balance=0.0: torch.as_tensor(loss(logits, classes[:, None]))


def cpu_ms(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def gradient(loss: Loss, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    logits = logits.detach().clone().requires_grad_()
    loss(logits, classes).backward()
    assert logits.grad is not None
    return logits.grad


def measure(count: int, rounds: int) -> str:
    losses = {"MONAI": monai_loss(), "volseg": reconstruction_loss("ce_dice")}
    torch.manual_seed(0)
    classes = torch.randint(0, count, (BATCH, SIZE, SIZE))
    logits = torch.randn(BATCH, count, SIZE, SIZE).to(memory_format=torch.channels_last)
    exact = {name: gradient(loss, logits.double(), classes) for name, loss in losses.items()}
    apart = (exact["volseg"] - exact["MONAI"]).abs().max() / exact["MONAI"].abs().max()
    learner = Learner(
        load_config(overrides=SETTINGS), "axial", channels=1, labels=count - 1, device=torch.device("cpu")
    )
    images = torch.randn(BATCH, 3, SIZE, SIZE)
    times: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for name, loss in losses.items():
            learner.reconstruction = loss
            times.setdefault(f"{name} loss", []).append(cpu_ms(lambda: gradient(loss, logits, classes)))  # noqa: B023
            times.setdefault(f"{name} step", []).append(cpu_ms(lambda: learner.step(images, classes, 0.1)))
    found = {name: statistics.median(values[1:]) for name, values in times.items()}  # the first round warms up
    cells = [f"{found[f'{who} {what}']:.0f}" for what in ("loss", "step") for who in losses]
    return f"| {count} | {' | '.join(cells)} | {float(apart):.0e} |"


def first_step(which: str, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", FIRST_STEP, which], check=True, capture_output=True, text=True)
        seconds.append(float(done.stdout))
    return statistics.median(seconds)


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    print(
        "| classes | loss, MONAI, ms | volseg | step, MONAI, ms | volseg | gradients apart |\n|---|---|---|---|---|---|"
    )
    for count in (3, 8, 41):
        print(measure(count, rounds), flush=True)
    for which in ("MONAI", "volseg"):
        print(f"CPU seconds of a process until its first step, {which}: {first_step(which, rounds):.1f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
