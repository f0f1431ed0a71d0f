"""Reformer: softmax attention within chunks of the positions sorted by a hash."""

import torch
import torch.nn.functional as F

from .base import Attention, linear

# Taken from a position's score of itself, which it sees where it sees nothing else.
LAST_RESORT = 1e5


def factors(buckets):
    if buckets <= 128:
        return [buckets]
    bits = (buckets - 1).bit_length()
    return [1 << (bits + 1) // 2, 1 << bits // 2]


class Reformer(Attention):
    """The steps of reformer_pytorch's LSHAttention, but for what lra has otherwise: scores are
    not divided by sqrt(d), chunks are a ring in each round, buckets are twice the chunks."""

    implementation = "plain PyTorch: LSHAttention of reformer_pytorch"
    fused = {"qv": ("query", "value")}

    def __init__(self, at):
        super().__init__(at)
        buckets = self.options["buckets"] or 2 * -(-at.n // self.options["chunk"])
        self.factors, self.rotations = factors(buckets), None

    def project(self, at):
        self.qv = linear(at.width, 2 * at.qkv)

    def structure(self, given):
        """rotations.layer.factor [rounds, heads, head width, factor / 2]."""
        names = (f"rotations.{self.layer}.{i}" for i in range(len(self.factors)))
        self.rotations = [given[name] for name in names]

    def drawn(self, factor, like):
        shape = (self.options["rounds"], self.heads, self.head_width, factor // 2)
        return torch.randn(shape, dtype=like.dtype, device=like.device)

    @torch.no_grad()
    def order(self, q):
        """Positions sorted by (bucket, position), [b, h, rounds, n]."""
        n, buckets = q.shape[2], 0
        for i, factor in enumerate(self.factors):
            rotation = self.rotations[i] if self.rotations else self.drawn(factor, q)
            rotation = rotation.permute(1, 2, 0, 3).flatten(2)
            rotated = (q @ rotation).unflatten(3, (-1, factor // 2))
            found = torch.cat([rotated, -rotated], -1).argmax(-1)
            buckets = buckets * factor + found
        return (buckets.mT * n + torch.arange(n, device=buckets.device)).argsort(-1)

    def forward(self, x, order=None):
        """The output, and the order: given back, it spares the hashing."""
        b, n, _ = x.shape
        h, d, size = self.heads, self.head_width, min(self.options["chunk"], n)
        qv = self.qv(x).view(b, n, 2, h, d).permute(0, 3, 1, 2, 4)
        if order is None:
            order = self.order(qv[:, :, :, 0].detach())
        rounds, count = order.shape[2], -(-n // size)
        places = F.pad(order, (0, count * size - n)).reshape(b, h, -1)
        rows = places + torch.arange(b * h, device=places.device).view(b, h, 1) * n
        # An embedding's backward pass is the fastest sum of gathered rows that torch has.
        sorted_ = F.embedding(rows, qv.reshape(b * h * n, 2 * d))
        q, v = sorted_.view(b, h, rounds, count, size, 2, d).unbind(5)
        places = places.view(b, h, rounds, count, size)
        real = torch.arange(count * size, device=x.device).view(count, size) < n

        shifts = range(self.options["back"], -self.options["ahead"] - 1, -1)
        shifts = list(shifts)[:count]

        def around(x, dim=3):
            return torch.cat([x.roll(shift, dim) if shift else x for shift in shifts], dim + 1)

        scores = q @ around(F.normalize(q, dim=-1)).mT
        itself = places.unsqueeze(-1) == around(places).unsqueeze(-2)
        scores = scores - LAST_RESORT * itself
        if n % size:
            scores = scores.masked_fill(~around(real, 0).unsqueeze(1), -torch.inf)
        sums = scores.logsumexp(-1, keepdim=True)
        o = self.drop((scores - sums).exp()) @ around(v)

        # Back to the order of the sequence, and the rounds by their sums.
        undo = torch.empty_like(order).scatter_(3, order, torch.arange(n, device=order.device).expand_as(order))
        index = undo + torch.arange(b * h * rounds, device=undo.device).view(b, h, rounds, 1) * (count * size)
        o = F.embedding(index, o.reshape(-1, d))
        if rounds > 1:
            sums = sums.flatten(3).gather(3, undo)
            o = (o * F.softmax(sums, 2).unsqueeze(-1)).sum(2)
        else:
            o = o.squeeze(2)
        return self.merge(o), order
