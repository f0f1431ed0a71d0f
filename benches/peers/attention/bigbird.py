"""BigBird (ITC): blocks that see their neighbours, random blocks, the first and the last."""

import torch
import torch.nn.functional as F

from .base import Attention, blocked


class BigBird(Attention):
    implementation = "plain PyTorch: scaled_dot_product_attention over gathered blocks"

    def __init__(self, at):
        super().__init__(at)
        self.only("form", "itc")
        self.n, self.size = at.n, self.options["block"]
        self.count = -(-at.n // self.size)
        if self.count > 2:
            self.lists([self.drawn() for _ in range(self.heads)])

    def drawn(self):
        """For each block between the global ones those it sees."""
        last, lists = self.count - 1, []
        for i in range(1, last):
            seen = {0, i - 1, i, i + 1, last}
            others = torch.tensor([j for j in range(self.count) if j not in seen], dtype=torch.long)
            order = torch.randperm(len(others))[: self.options["random"]]
            lists.append(sorted(seen | set(others[order].tolist())))
        return lists

    def lists(self, heads):
        """Buffers of [heads][count - 2] lists; shorter ones are filled up and masked."""
        most = max(len(seen) for lists in heads for seen in lists)
        rows = [seen + [-1] * (most - len(seen)) for lists in heads for seen in lists]
        index = torch.tensor(rows).view(self.heads, self.count - 2, most)
        inside = torch.arange(self.size) < self.n - index.unsqueeze(-1) * self.size
        seen = (inside & (index >= 0).unsqueeze(-1)).view(1, -1, 1, most * self.size)
        self.register_buffer("mask", None if seen.all() else seen, persistent=False)
        offset = torch.arange(self.heads).view(-1, 1, 1) * self.count
        self.register_buffer("index", index.clamp(min=0) + offset, persistent=False)

    def structure(self, given):
        """support.layer [heads, count, count]: whether a block sees a block."""
        if self.count > 2:
            support = given[f"support.{self.layer}"]
            self.lists([[row.nonzero().view(-1).tolist() for row in rows[1:-1]] for rows in support])

    def gathered(self, x):
        """[b, h, blocks, size, d] -> [b, h (blocks - 2), seen size, d]."""
        b, h, count, size, d = x.shape
        index = self.index + torch.arange(b, device=x.device).view(-1, 1, 1, 1) * (h * count)
        # An embedding's backward pass is the fastest sum of gathered rows that torch has.
        rows = F.embedding(index, x.reshape(b * h * count, size * d))
        return rows.view(b, h * (count - 2), -1, d)

    def forward(self, x):
        q, k, v = self.split(x)
        if self.count <= 2:
            return self.merge(self.attend(q, k, v))
        b, h, n, d = q.shape
        blocks = blocked(q, self.size)
        whole = torch.cat([blocks[:, :, 0], blocks[:, :, -1]], 2)
        first, last = self.attend(whole, k, v).chunk(2, 2)
        some = blocks[:, :, 1:-1].reshape(b, -1, self.size, d)
        k, v = (self.gathered(blocked(x, self.size)) for x in (k, v))
        middle = self.attend(some, k, v, self.mask).reshape(b, h, -1, d)
        return self.merge(torch.cat([first, middle, last], 2)[:, :, :n])
