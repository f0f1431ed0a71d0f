"""Softmax attention over all keys, and inside blocks."""

import torch

from .base import Attention


class Transformer(Attention):
    implementation = "torch scaled_dot_product_attention"

    def forward(self, x):
        return self.merge(self.attend(*self.split(x)))


class Local(Attention):
    """Blocks go where a batch goes; a shorter last one is a call of its own, without a mask."""

    implementation = "plain PyTorch: scaled_dot_product_attention over a batch of blocks"

    def forward(self, x):
        b, n, _ = x.shape
        h, d, size = self.heads, self.head_width, self.options["block"]
        whole = n // size * size
        qkv = self.qkv(x).view(b, n, 3, h, d)

        def among(part, size):
            q, k, v = part.reshape(-1, size, 3, h, d).permute(2, 0, 3, 1, 4).unbind(0)
            return self.attend(q, k, v).transpose(1, 2).reshape(b, -1, h * d)

        parts = []
        if whole:
            parts.append(among(qkv[:, :whole], size))
        if whole < n:
            parts.append(among(qkv[:, whole:], n - whole))
        return self.output(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
