"""Sparse Transformer: its `fixed` pattern in blocks, any other by a mask."""

import torch
import torch.nn.functional as F

from .base import Attention, blocked


class Sparse(Attention):
    def __init__(self, at):
        super().__init__(at)
        o = self.options
        self.blocks = (o["pattern"], o["combine"], o["causal"]) == ("fixed", "merged", False)
        if self.blocks:
            self.implementation = "plain PyTorch: own blocks and all summaries in one softmax"
        else:
            self.implementation = "torch scaled_dot_product_attention with a mask"
            self.register_buffer("mask", self.pattern(at.n), persistent=False)

    def pattern(self, n):
        """[1 or heads, n, n], true where a query sees a key."""
        o, i = self.options, torch.arange(n)
        l, distance = o["stride"], i - i[:, None]
        if o["pattern"] == "strided":
            both = distance.abs() < l, distance % l == 0
        else:
            both = i // l == i[:, None] // l, (i % l >= l - o["summary"]).expand(n, n)
        if o["combine"] == "merged":
            seen = (both[0] | both[1])[None]
        elif o["combine"] == "layers":
            seen = both[self.layer % 2][None]
        else:
            seen = torch.stack([both[head % 2] for head in range(self.heads)])
        return seen & (distance <= 0) if o["causal"] else seen

    def forward(self, x):
        q, k, v = self.split(x)
        if self.blocks:
            return self.merge(self.fixed(q, k, v))
        n = x.shape[1]
        return self.merge(self.attend(q, k, v, self.mask[:, :n, :n]))

    def fixed(self, q, k, v):
        n, l, c = q.shape[2], self.options["stride"], self.options["summary"]
        q, k, v = (blocked(x, l) for x in (q * self.scale, k, v))
        # The summaries of all blocks; what lies beyond the input is at the end.
        real = n // l * c + max(0, n % l - (l - c))
        summary_k, summary_v = (x[:, :, :, l - c :].flatten(2, 3)[:, :, :real] for x in (k, v))
        own = q @ k[:, :, :, : l - c].mT
        if n % l:
            beyond = torch.arange(l - c, device=q.device) >= n % l
            last = own[:, :, -1:].masked_fill(beyond, -torch.inf)
            own = torch.cat([own[:, :, :-1], last], 2)
        far = (q.flatten(2, 3) @ summary_k.mT).unflatten(2, (-1, l))
        weights = self.drop(F.softmax(torch.cat([own, far], -1), -1))
        o = weights[..., : l - c] @ v[:, :, :, : l - c]
        o = o.flatten(2, 3) + weights[..., l - c :].flatten(2, 3) @ summary_v
        return o[:, :, :n]
