"""The optimizers: AdamW for all parameters, or Muon for the matrices and AdamW for the rest.

Muon takes the momentum of a matrix's gradient and replaces it with the nearest matrix whose singular values are all 1,
so that directions the gradient seldom shows are learned as fast as the loud ones (Jordan et al. 2024,
kellerjordan.github.io/posts/muon). Its steps are scaled to the size that AdamW's have (arXiv 2502.16982, section 2.2),
so one learning rate serves both.
"""

import torch
from torch import nn

QUINTIC = (3.4445, -4.7750, 2.0315)  # a x + b x^3 + c x^5, five times: any singular value ends near 1
ROUNDS = 5


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest matrix with singular values (nearly) 1, by Newton-Schulz iteration: (m, n) -> (m, n).

    Every round multiplies x by a polynomial of x x^T. They are gathered in `turn`, as small as x's shorter side, so
    that x itself is multiplied only twice.
    """
    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    square = x @ x.T
    eye = turn = torch.eye(len(x), device=x.device)
    for _ in range(ROUNDS):
        polynomial = a * eye + b * square + c * square @ square
        turn = polynomial @ turn
        square = polynomial @ square @ polynomial  # of the next round's x; all these matrices commute
    x = turn @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum; kernels (O, I, h, w) count as matrices (O, I h w)."""

    def __init__(self, matrices: list[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:  # not in use: a segmenter leaves the classifier's last expansion out
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                direction = weight.grad.lerp(momentum, group["momentum"]).flatten(1)
                step = orthogonalize(direction).view_as(weight)
                scale = 0.2 * max(direction.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=group["lr"] * scale)


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon suits it: two real dimensions, and not the last layer, whose rows are classes."""
    return parameter.ndim > 1 and parameter.shape[1] > 1 and not name.startswith(("head.fc", "head.classifier"))


def optimizers(network: nn.Module, kind: str, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """AdamW alone, or Muon and AdamW. Decay matrices and kernels only: biases and scales have no reason to be small."""
    named = dict(network.named_parameters())
    muons = [p for name, p in named.items() if kind == "muon" and is_matrix(name, p)]
    mine = {id(p) for p in muons}
    rest = [p for p in named.values() if id(p) not in mine]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=rate, fused=True)
    return [adamw, Muon(muons, rate, weight_decay)] if muons else [adamw]
