"""Sparse Sinkhorn attention: the own block, and one that a learned sort puts beside it."""

import torch
import torch.nn.functional as F

from .base import Attention, blocked, linear, padded


class Sinkhorn(Attention):
    implementation = "plain PyTorch of the formula (no public version computes the paper's)"

    def __init__(self, at):
        super().__init__(at)
        self.only("cut", 0)
        self.size = min(self.options["block"], at.n)
        self.most = -(-at.n // self.options["block"])
        self.sort = linear(at.width, at.heads * self.most)

    def sorting(self, x):
        """P, [b, heads, blocks, blocks], of x [b, n, width]."""
        b, n, _ = x.shape
        tokens = padded(x, self.size).unflatten(1, (-1, self.size)).sum(2)
        count = tokens.shape[1]
        size = torch.full((count, 1), float(self.size))
        size[-1] = n - (count - 1) * self.size
        logits = self.sort(tokens / size).view(b, count, self.heads, self.most)
        logits = logits[..., :count].transpose(1, 2)
        if self.training and self.options["gumbel"]:
            logits = logits - torch.empty_like(logits).exponential_().log()
        logits = logits / self.options["temperature"]
        for _ in range(self.options["iterations"]):
            logits = F.log_softmax(F.log_softmax(logits, -2), -1)
        return logits.exp()

    def forward(self, x):
        n, size = x.shape[1], self.size
        q, k, v = (blocked(part, size) for part in self.split(x))
        b, h, count, _, d = q.shape
        p = self.sorting(x)
        kv = torch.cat([k, v], -1)
        beside = (p @ kv.flatten(3)).view(b, h, count, size, 2 * d)
        if n % size == 0:
            keys, values = torch.cat([beside, kv], 3).chunk(2, -1)
            return self.merge(self.batched(q, keys, values).view(b, h, n, d))
        # Of a sorted position as much as P gives to tokens there; beyond the input nothing.
        real = (torch.arange(count * size) < n).view(count, size)
        share = (p @ real.to(p.dtype)).clamp(min=1e-15)
        keys, values = torch.cat([beside / share.unsqueeze(-1), kv], 3).chunk(2, -1)
        own = torch.where(real, 0.0, -torch.inf).expand_as(share)
        scores = q * self.scale @ keys.mT + torch.cat([share.log(), own], -1).unsqueeze(3)
        o = self.drop(F.softmax(scores, -1)) @ values
        return self.merge(o.flatten(2, 3)[:, :, :n])

    def batched(self, *blocks):
        return self.attend(*(x.flatten(1, 2) for x in blocks))
