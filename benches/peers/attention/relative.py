"""Transformer-XL: segments with a detached memory and relative positions."""

import torch
import torch.nn.functional as F
from torch import nn

from .base import Attention, blocked, linear, normal


def sinusoid(distances, width):
    """[sin | cos] of each distance."""
    half = -(-width // 2)
    angle = distances.double()[:, None] * 1e4 ** (-2 * torch.arange(half).double() / width)
    return torch.cat([angle.sin(), angle.cos()[:, : width - half]], 1).float()


class TransformerXl(Attention):
    """All segments side by side; the formula and the shift of XLNetRelativeAttention."""

    implementation = "plain PyTorch: XLNetRelativeAttention of transformers, all segments at once"

    def __init__(self, at):
        super().__init__(at)
        o = self.options
        self.segment, self.memory = min(o["segment"], at.n), min(o["memory"], at.n)
        self.relative = linear(at.width, at.qkv)
        for name in ("content_bias", "position_bias"):
            bias = normal(at.qkv, std=0.02)
            if o["tied"]:
                if name not in at.shared:
                    at.shared[name] = bias
                bias = at.shared[name]
            self.register_parameter(name, bias)
        # From the farthest behind to the farthest before, as the shift wants them.
        distances = torch.arange(self.memory + self.segment - 1, -self.segment, -1)
        self.register_buffer("table", sinusoid(distances, at.width), persistent=False)

    def hidden(self, n):
        """[segments, 1 or segment, memory + segment]: keys that are not seen."""
        starts = torch.arange(0, n, self.segment).view(-1, 1, 1)
        place = torch.arange(self.memory + self.segment) - self.memory
        hidden = (starts + place < 0) | (starts + place >= n)
        if self.options["causal"]:
            hidden = hidden | (place > torch.arange(self.segment).view(-1, 1))
        return hidden

    def behind(self, x):
        """[b, h, n, d] -> [b, h, segments, memory, d]: what lies before each segment."""
        b, h, n, d = x.shape
        segments = -(-n // self.segment)
        x = F.pad(x, (0, 0, self.memory, segments * self.segment - n))
        if self.memory == self.segment:
            return x.unflatten(2, (-1, self.segment))[:, :, :-1]
        x = x[:, :, : x.shape[2] - self.segment]
        return x.unfold(2, self.memory, self.segment).mT

    def forward(self, x):
        b, n, _ = x.shape
        h, d, s = self.heads, self.head_width, self.segment
        q, k, v = (blocked(part, s) for part in self.split(x))
        if self.memory:
            _, key, value = self.qkv.weight.chunk(3)
            past = x.detach() @ torch.cat([key, value]).T
            past = past.view(b, n, 2, h, d).permute(2, 0, 3, 1, 4).unbind(0)
            k, v = (torch.cat([self.behind(p), own], 3) for p, own in zip(past, (k, v)))
        r = self.relative(self.table).view(-1, h, d).permute(1, 2, 0)
        u, w = (bias.view(h, 1, 1, d) for bias in (self.content_bias, self.position_bias))
        content = (q + u) * self.scale @ k.mT
        position = (((q + w) * self.scale).flatten(2, 3) @ r).unflatten(2, (-1, s))
        # Row i wants the distances from column s - 1 - i on: a shift by one in each row.
        length = position.shape[-1]
        shifted = position.flatten(-2)[..., s - 1 : s - 1 + s * (length - 1)]
        shifted = shifted.unflatten(-1, (s, length - 1))[..., : self.memory + s]
        scores = (content + shifted).masked_fill(self.hidden(n), -torch.inf)
        o = self.drop(F.softmax(scores, -1)) @ v
        return self.merge(o.flatten(2, 3)[:, :, :n])
