"""Linformer: attention over k mixtures of the keys and values."""

import torch
from torch import nn

from .base import Attention, linear, normal


class Linformer(Attention):
    """Where the heads share a mixture, the input is mixed first and k rows are projected
    instead of n: the same products in another order, and much less of them. With a mixture for
    each head keys and values are projected first, as in the package."""

    implementation = "plain PyTorch: mixes the input, then projects the mixtures"
    fused = {"kv": ("key", "value")}

    def project(self, at):
        self.query = linear(at.width, at.qkv)
        self.kv = linear(at.width, 2 * at.qkv)
        k, std = self.options["k"], (2 / (at.n + self.options["k"])) ** 0.5

        def mix():
            return nn.ParameterDict({"weight": normal(at.n, k, std=std)})

        sharing = self.options["sharing"]
        if sharing == "none":
            self.mix_key = nn.ModuleList([mix() for _ in range(at.heads)])
            self.mix_value = nn.ModuleList([mix() for _ in range(at.heads)])
        elif sharing == "headwise":
            self.mix_key, self.mix_value = mix(), mix()
        elif sharing == "kv":
            self.mix = mix()
        else:
            if "mix" not in at.shared:
                at.shared["mix"] = mix()
            self.mix = at.shared["mix"]
        self.sharing = sharing

    def mixtures(self, x):
        """Keys and values, [b, heads, k, head width]."""
        b, n, _ = x.shape
        h, d = self.heads, self.head_width

        def heads(x):
            return x.view(b, -1, h, d).transpose(1, 2)

        if self.sharing == "none":
            kv = self.kv(x).view(b, n, 2, h, d).permute(2, 0, 3, 1, 4)
            mixes = [torch.stack([m["weight"][:n] for m in e]) for e in (self.mix_key, self.mix_value)]
            return mixes[0].mT @ kv[0], mixes[1].mT @ kv[1]
        if self.sharing == "headwise":
            key, value = self.kv.weight.chunk(2)
            mixed = (e["weight"][:n].T @ x for e in (self.mix_key, self.mix_value))
            return tuple(heads(m @ w.T) for m, w in zip(mixed, (key, value)))
        return tuple(map(heads, self.kv(self.mix["weight"][:n].T @ x).chunk(2, -1)))

    def forward(self, x):
        b, n, _ = x.shape
        q = self.query(x).view(b, n, self.heads, self.head_width).transpose(1, 2)
        return self.merge(self.attend(q, *self.mixtures(x)))
