"""Longformer: windows in chunks of half a window, and global positions in front."""

import torch

from .base import Attention, blocked, linear


class Longformer(Attention):
    implementation = "plain PyTorch: scaled_dot_product_attention over chunks with a band mask"
    fused = Attention.fused | {"global_kv": ("global_key", "global_value")}

    def __init__(self, at):
        super().__init__(at)
        by_layer = {key: self.options[key] for key in ("window", "dilation")}
        for key, value in by_layer.items():
            if isinstance(value, list):
                by_layer[key] = value[min(at.layer, len(value) - 1)]
        if by_layer["dilation"] != 1 and self.options["dilated_heads"]:
            raise NotImplementedError("no peer of attention.dilation > 1")
        self.side, self.globals = by_layer["window"] // 2, min(self.options["global"], at.n)
        if self.globals:
            self.global_query = linear(at.width, at.qkv)
            self.global_kv = linear(at.width, 2 * at.qkv)
        self.register_buffer("mask", self.band(at.n - self.globals), persistent=False)

    def band(self, n):
        """[1, chunks, side, globals + 3 side]: a chunk of queries, the chunks around it."""
        side, first = self.side, self.globals
        queries = torch.arange(-(-n // side) * side).view(-1, side, 1)
        keys = queries[:, :1] - side + torch.arange(3 * side)
        seen = ((keys - queries).abs() <= side) & (keys >= 0) & (keys < n)
        # Rows beyond the input are thrown away; they must see something not to be NaN.
        seen = seen | (queries >= n)
        return torch.cat([torch.ones(*seen.shape[:2], first, dtype=torch.bool), seen], -1)[None]

    def around(self, x):
        """[b, h, n, d] -> [b h, chunks, globals + 3 side, d]."""
        first = x[:, :, : self.globals]
        x = blocked(x[:, :, self.globals :], self.side)
        edge = torch.zeros_like(x[:, :, :1])
        x = torch.cat([edge, x, edge], 2)
        parts = [x[:, :, :-2], x[:, :, 1:-1], x[:, :, 2:]]
        if self.globals:
            parts.insert(0, first.unsqueeze(2).expand(-1, -1, x.shape[2] - 2, -1, -1))
        return torch.cat(parts, 3).flatten(0, 1)

    def windows(self, q, k, v):
        """All rows but the global ones."""
        b, h, n, d = q.shape
        if n - self.globals <= self.side + 1:
            return self.attend(q[:, :, self.globals :], k, v)
        q = blocked(q[:, :, self.globals :], self.side).flatten(0, 1)
        o = self.attend(q, self.around(k), self.around(v), self.mask)
        return o.view(b, h, -1, d)[:, :, : n - self.globals]

    def forward(self, x):
        b, n, _ = x.shape
        h, d = self.heads, self.head_width
        o = self.windows(*self.split(x))
        if self.globals:
            q = self.global_query(x[:, : self.globals]).view(b, -1, h, d).transpose(1, 2)
            k, v = self.global_kv(x).view(b, n, 2, h, d).permute(2, 0, 3, 1, 4).unbind(0)
            o = torch.cat([self.attend(q, k, v), o], 2)
        return self.merge(o)
