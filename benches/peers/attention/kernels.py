"""Kernelised attentions: products of features of queries and keys, reordered to linear time."""

import torch
import torch.nn.functional as F

from .base import Attention


def kernelised(q, k, v, eps):
    """phi(q) (phi(k)^T v) / (phi(q) sum phi(k) + eps), [b, h, n, ..]."""
    # The sums of the denominator are a column more of the same products.
    both = q @ (k.mT @ F.pad(v, (0, 1), value=1.0))
    below = both[..., -1:]
    return both[..., :-1] / (below + eps if eps else below)


class Linear(Attention):
    """What pytorch-fast-transformers' LinearAttention computes, in three products."""

    implementation = "plain PyTorch: LinearAttention of pytorch-fast-transformers"

    def forward(self, x):
        q, k, v = self.split(x)
        return self.merge(kernelised(F.elu(q) + 1, F.elu(k) + 1, v, self.options["eps"]))


class Performer(Attention):
    """What performer-pytorch's FastAttention computes, without its copies of the projection."""

    implementation = "plain PyTorch: FastAttention of performer-pytorch"

    def __init__(self, at):
        super().__init__(at)
        self.only("kernel", "softmax", "relu")
        usual = 1e-3 if self.options["kernel"] == "relu" else 1e-6
        self.eps = self.options.get("eps") or usual
        self.register_buffer("projection", self.draw(), persistent=False)

    def draw(self):
        m, d = self.options["features"], self.head_width
        rows = torch.randn(m, d)
        if not self.options["orthogonal"]:
            return rows
        blocks = [torch.linalg.qr(torch.randn(d, d))[0].T for _ in range(-(-m // d))]
        return torch.cat(blocks)[:m] * rows.norm(dim=1, keepdim=True)

    def redraw(self, step):
        every = self.options["redraw"]
        if every and step % every == 0:
            self.projection.copy_(self.draw())

    def structure(self, given):
        self.projection.copy_(given[f"projection.{self.layer}"])

    def features(self, x, axes):
        """phi(x) of [b, h, n, d], its maximum taken over `axes` of [b, h, n, m]."""
        x = x.contiguous()
        factor = self.head_width**-0.25
        projected = x @ (self.projection.T * factor)
        if self.options["kernel"] == "relu":
            return projected.relu() + self.eps
        half = x.square().sum(-1, keepdim=True) * (factor**2 / 2)
        top = projected.detach().amax(axes, keepdim=True)
        # The factor features^(-1/2) of the paper is above the line and below it.
        return (projected - (half + top)).exp() + self.eps

    def forward(self, x):
        q, k, v = self.split(x)
        q, k = self.features(q, -1), self.features(k, (-2, -1))
        return self.merge(kernelised(q, k, v, 0.0))
