"""The figures by which weights are chosen and judged: pure functions of predictions and truths."""

import torch
from torch.nn import functional as F

IGNORED = 255  # the label of pixels that count for nothing


def top1(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of photos whose largest logit is the right one."""
    return (logits.argmax(1) == labels).float().mean().item()


def top5(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of photos with the right answer among the five largest logits."""
    return (logits.topk(5, dim=1).indices == labels[:, None]).any(1).float().mean().item()


def share(which: torch.Tensor) -> float:
    """The share of True among booleans; NaN of none."""
    return which.float().mean().item()


def calibration_error(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> float:
    """Expected calibration error (arXiv 1706.04599): how far confidence is from accuracy, over equal-width bins."""
    confidence, answer = logits.softmax(1).max(1)
    right = (answer == labels).float()
    which = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [(right[which == b] - confidence[which == b]).sum().abs() for b in range(bins)]
    return (torch.stack(gaps).sum() / len(labels)).item()


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The number to divide logits by that makes the labels likeliest; a grid from 0.2 to 5 is fine enough."""
    grid = torch.linspace(-1, 1, 401).mul(torch.tensor(5.0).log()).exp()
    losses = torch.stack([F.cross_entropy(logits / t, labels) for t in grid])
    return grid[losses.argmin()].item()


def confusions(logits: torch.Tensor, labels: torch.Tensor, names: list[str], most: int = 10) -> list[tuple]:
    """The commonest mistakes, as (true name, answered name, how often), commonest first."""
    classes = len(names)
    counts = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).view(classes, classes)
    counts.fill_diagonal_(0)
    values, places = counts.flatten().topk(most)
    return [(names[p // classes], names[p % classes], v) for v, p in zip(values.tolist(), places.tolist(), strict=True)]


def intersection_over_union(answers: torch.Tensor, truths: torch.Tensor, classes: int) -> list[float]:
    """IoU of each class over all pixels of all photos together, but IGNORED ones."""
    seen = truths != IGNORED
    pairs = truths[seen].long() * classes + answers[seen].long()
    counts = torch.bincount(pairs, minlength=classes**2).view(classes, classes).double()
    both = counts.diagonal()
    return (both / (counts.sum(0) + counts.sum(1) - both)).tolist()
