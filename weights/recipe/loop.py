"""The training loop that all three stages share: steps, a moving average, validation, saving.

A stage brings a network, a `draw` function that makes the loss of one batch, and a `validate` function; see
distill.py, classifier.py and segmenter.py.
"""

import argparse
import atexit
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, nn

import optimizer
import state

GRADIENT_NORM = 5.0  # only the odd batch of a young transformer exceeds it


def add_options(parser: argparse.ArgumentParser, *, batch: int, rate: float, warmup: int, weight_decay: float) -> None:
    """The options of the optimizer, with a stage's own defaults."""
    parser.add_argument("--batch", type=int, default=batch, help=f"photos per step (default: {batch})")
    parser.add_argument("--rate", type=float, default=rate, help=f"the highest learning rate (default: {rate})")
    parser.add_argument("--warmup", type=int, default=warmup, help=f"steps until that rate (default: {warmup})")
    parser.add_argument("--weight-decay", type=float, default=weight_decay, help=f"(default: {weight_decay})")
    parser.add_argument("--seed", type=int, default=1, help="of every random draw (default: 1)")
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu",
                        help="where to train; a GPU computes in bfloat16 where that is safe "
                             "(default: cuda if there is one, else cpu)")  # fmt: skip
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="muon",
                        help="muon learns more from as many photos (default: muon)")  # fmt: skip
    parser.add_argument("--compile", action="store_true",
                        help="compile the network first (minutes, and a C++ compiler): worth it with several "
                             "threads, not with a worker a core")  # fmt: skip
    parser.add_argument("--validate-every", type=int, default=1, metavar="EPOCHS", help="(default: 1)")
    parser.add_argument("--save-every", type=float, default=180, metavar="SECONDS", help="(default: 180)")


def join_workers() -> tuple[int, int]:
    """This process's number and how many train together: more than one under torchrun.

    On a CPU, a process a core that meets the others once a step is two thirds faster than one process with as many
    threads, which wait for one another in every layer.
    """
    workers = int(os.environ.get("WORLD_SIZE", "1"))
    if workers == 1:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
        atexit.register(distributed.destroy_process_group)  # else its threads may abort the process as it ends
    return distributed.get_rank(), workers


def average_gradients(network: nn.Module) -> None:
    """Give every worker the mean of all workers' gradients."""
    if distributed.is_initialized():
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


class Run:
    """The network, its average, its optimizer and how far they have come: all that a resumed run needs."""

    def __init__(self, network: nn.Module, options: argparse.Namespace, average_decay: float = 0.999):
        self.network = network.to(options.device)
        self.average = state.Average(self.network, average_decay)
        self.kind = options.optimizer
        self.optimizers = optimizer.optimizers(network, self.kind, options.rate, options.weight_decay)
        self.step, self.photos_seen, self.seconds = 0, 0, 0.0

    def state_dict(self) -> dict:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            self.kind: [each.state_dict() for each in self.optimizers],
            "step": self.step,
            "photos_seen": self.photos_seen,
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: dict) -> None:
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        for each, its in zip(self.optimizers, saved.get(self.kind, []), strict=False):  # another kind starts afresh
            each.load_state_dict(its)
        self.step, self.photos_seen, self.seconds = saved["step"], saved["photos_seen"], saved["seconds"]

    def learn(self, loss: torch.Tensor, rate: float, photos: int) -> None:
        """One step of the optimizer and of the average."""
        self.network.zero_grad()
        loss.backward()
        average_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        for each in self.optimizers:
            for group in each.param_groups:
                group["lr"] = rate
            each.step()
        self.average.update(self.network)
        self.step += 1
        self.photos_seen += photos


def fit(
    run: Run,
    draw: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
    validate: Callable[[dict[str, torch.Tensor]], dict[str, float]],
    rate_at: Callable[[Run], float],
    *,
    photos: int,
    until: int,
    options: argparse.Namespace,
    save_to: Path,
    log: state.Log,
    extra: dict | None = None,
) -> None:
    """Train until `until` photos were seen, of a set of `photos`; validate every so many epochs and at the end.

    `draw(indices, generator)` returns the loss of the photos with these indices, `validate(weights)` the figures of
    the averaged weights, `rate_at(run)` the learning rate. `extra` is saved along with the run.
    """
    torch.set_flush_denormal(True)  # denormal activations of a young network cost a third of the speed on some CPUs
    if options.compile:
        run.network.compile()
    worker, workers = join_workers()
    save_due, losses, began = state.Every(options.save_every), [], time.monotonic()
    while run.photos_seen < until:
        source = state.generator(options.seed, run.photos_seen + worker)
        torch.manual_seed(source.initial_seed())  # for what can't be given a generator: dropout
        indices = state.next_indices(options.seed, run.photos_seen, photos, options.batch)[worker::workers]
        age, rate = run.photos_seen // (photos * options.validate_every), rate_at(run)
        with torch.autocast(options.device.type, torch.bfloat16, enabled=options.device.type == "cuda"):
            loss = draw(indices, source)
        run.learn(loss, rate, options.batch)
        losses.append(loss.item())
        if worker > 0:
            continue  # the first validates, logs and saves; the others wait for it at the next step
        done = run.photos_seen >= until
        if done or run.photos_seen // (photos * options.validate_every) > age:
            figures = validate(run.average.values)
            run.seconds, began = run.seconds + time.monotonic() - began, time.monotonic()
            progress = {"hours": run.seconds / 3600, "epoch": run.photos_seen / photos, "rate": rate}
            log.write(**progress, train_loss=sum(losses) / len(losses), **figures)
            losses.clear()
        if done or save_due():
            run.seconds, began = run.seconds + time.monotonic() - began, time.monotonic()
            state.save_atomically({**run.state_dict(), **(extra or {})}, save_to)


def warm_then_cosine(run: Run, highest: float, warmup: int, until: int) -> float:
    """Linear warmup in steps, then a half cosine down to a hundredth at photo `until`."""
    if run.step < warmup:
        return highest * (run.step + 1) / warmup
    done = min(1.0, run.photos_seen / until)
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def grown_size(run: Run, phases: list[tuple[int, float]], photos: int) -> int:
    """The side in pixels of the phase the run is in; `phases` are (side, epochs) in order."""
    epoch = run.photos_seen / photos
    for side, epochs in phases:
        if epoch < epochs:
            return side
        epoch -= epochs
    return phases[-1][0]


def parse_phases(text: str) -> list[tuple[int, float]]:
    """'128:20,192:6' -> [(128, 20.0), (192, 6.0)]: the side in pixels and for how many epochs."""
    return [(int(side), float(epochs)) for side, epochs in (phase.split(":") for phase in text.split(","))]


def device_of(weights: dict[str, torch.Tensor]) -> torch.device:
    return next(iter(weights.values())).device


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """The memory layout in which convolutions are fastest."""
    return images.contiguous(memory_format=torch.channels_last)
