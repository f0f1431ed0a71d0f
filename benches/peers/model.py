"""The encoder of `lra` in PyTorch: embedding, pre-norm or reversible blocks, head.

Parameters have the names of lra's weights, but for those that are fused (`attention.*.fused`).
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from attention import ATTENTIONS
from attention.base import Place, normal
from reversible import reversible

EPS = 1e-6


class Embedding(nn.Module):
    def __init__(self, model, vocabulary):
        super().__init__()
        cls, d = model["pooling"] == "cls", model["width"]
        n = model["length"] + cls
        self.tokens = normal(vocabulary, d)
        self.cls = nn.Parameter(torch.zeros(1, d)) if cls else None
        if model["positions"] == "learned":
            self.positions = normal(n, d, std=0.02)
        else:
            table = sinusoid(n, d) if model["positions"] == "sinusoid" else None
            self.register_buffer("positions", table, persistent=False)
        self.dropout = model["dropout"]

    def forward(self, ids):
        x = F.embedding(ids, self.tokens)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), 1, -1), x], 1)
        if self.positions is not None:
            x = x + self.positions[: x.shape[1]]
        return F.dropout(x, self.dropout, self.training)


def sinusoid(n, d):
    channel = torch.arange(d)
    angle = torch.arange(n).double()[:, None] / 1e4 ** ((channel // 2 * 2).double() / d)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


class FeedForward(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.up = nn.Linear(model["width"], model["feed_forward"])
        self.down = nn.Linear(model["feed_forward"], model["width"])
        self.dropout, self.chunks = model["dropout"], model.get("feed_forward_chunks", 1)

    def piece(self, x):
        hidden = F.gelu(self.up(x), approximate="tanh")
        return self.down(F.dropout(hidden, self.dropout, self.training))

    def forward(self, x):
        if self.chunks == 1:
            return self.piece(x)
        size = -(-x.shape[1] // self.chunks)
        return torch.cat([self.piece(part) for part in x.split(size, 1)], 1)


class Block(nn.Module):
    def __init__(self, model, attention):
        super().__init__()
        self.norm1 = nn.LayerNorm(model["width"], EPS)
        self.attention = attention
        self.norm2 = nn.LayerNorm(model["width"], EPS)
        self.feed_forward = FeedForward(model)
        self.dropout = model["dropout"]

    def drop(self, x):
        return F.dropout(x, self.dropout, self.training)

    def attend(self, x, known=None):
        """The attention's share of a residual, and what it found out: `known` of a next call."""
        if known is not None:
            found = self.attention(self.norm1(x), known)
        else:
            found = self.attention(self.norm1(x))
        found = found if isinstance(found, tuple) else (found, None)
        return self.drop(found[0]), found[1]

    def feed(self, x):
        return self.drop(self.feed_forward(self.norm2(x)))

    def forward(self, x):
        x = x + self.attend(x)[0]
        return x + self.feed(x)


class Head(nn.Module):
    def __init__(self, model, classes, parts):
        super().__init__()
        d, hidden = model["width"], model["feed_forward"]
        self.pair = model.get("pair", "concatenate") if parts == 2 else None
        features = d * {None: 1, "concatenate": 2, "interaction": 4}[self.pair]
        last = max(hidden // 2, 1) if self.pair else hidden
        self.hidden = nn.Linear(features, hidden)
        self.middle = nn.Linear(hidden, last) if self.pair else None
        self.output = nn.Linear(last, classes)

    def forward(self, x):
        """[rows, width] -> [b, classes]; two rows to an example of two documents."""
        if self.pair:
            x1, x2 = x.view(len(x) // 2, 2, -1).unbind(1)
            both = [x1, x2] if self.pair == "concatenate" else [x1, x2, x1 * x2, x1 - x2]
            x = torch.cat(both, 1)
        x = self.hidden(x).relu()
        if self.middle is not None:
            x = self.middle(x).relu()
        return self.output(x)


class Classifier(nn.Module):
    def __init__(self, config, sizes):
        super().__init__()
        model = self.section = config["model"]
        # First, so that what layers share is called `shared`.
        self.shared = nn.ParameterDict()
        self.embedding = Embedding(model, sizes["vocabulary"])
        kind = ATTENTIONS[config["run"]["model"]]
        n = model["length"] + (model["pooling"] == "cls")

        def attention(layer):
            head = (model["width"], model["qkv"], model["heads"], model["attention_dropout"])
            return kind(Place(*head, n, layer, config["attention"], self.shared))

        layers = range(model["layers"])
        self.layers = nn.ModuleList([Block(model, attention(layer)) for layer in layers])
        self.norm = nn.LayerNorm(model["width"], EPS)
        self.head = Head(model, sizes["classes"], sizes["parts"])
        self.recompute = config["run"].get("recompute", False)

    def forward(self, ids):
        """[b parts, n] -> [b, classes]."""
        x = self.embedding(ids)
        if self.section.get("reversible"):
            x = reversible(x, self.layers)
        else:
            for block in self.layers:
                if self.recompute and self.training:
                    x = checkpoint(block, x, use_reentrant=False)
                else:
                    x = block(x)
        if self.section["pooling"] == "mean":
            cls = self.embedding.cls is not None
            return self.head(self.norm(x[:, cls:]).mean(1))
        return self.head(self.norm(x[:, 0]))

    def compiled(self):
        """Compiled in place. The reversible backward pass runs blocks itself, so there the
        parts of the blocks are compiled."""
        if not self.section.get("reversible"):
            return torch.compile(self, dynamic=False)
        for block in self.layers:
            block.attend = torch.compile(block.attend, dynamic=False)
            block.feed = torch.compile(block.feed, dynamic=False)
        return self

    def redraw(self, step):
        for block in self.layers:
            block.attention.redraw(step)
