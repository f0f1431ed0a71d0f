"""What the attentions share: their place in the model, the projections, softmax attention."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Place:
    """Where one attention stands; `shared` holds the parameters that layers have in common."""

    width: int
    qkv: int
    heads: int
    dropout: float
    n: int
    layer: int
    options: dict
    shared: nn.ParameterDict

    @property
    def head_width(self):
        return self.qkv // self.heads


def linear(inputs, outputs):
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer


def normal(*shape, std=1.0):
    return nn.Parameter(torch.randn(*shape) * std)


class Attention(nn.Module):
    """Projections without biases. Those of one input are one product, which is faster."""

    # How this peer is called in the output.
    implementation = "plain PyTorch"
    # Our names of the parts of a fused weight.
    fused = {"qkv": ("query", "key", "value")}

    def __init__(self, at):
        super().__init__()
        self.heads, self.head_width = at.heads, at.head_width
        self.scale = at.head_width**-0.5
        self.dropout, self.options, self.layer = at.dropout, at.options, at.layer
        self.project(at)
        self.output = linear(at.qkv, at.width)

    def project(self, at):
        self.qkv = linear(at.width, 3 * at.qkv)

    def only(self, key, *known):
        """An error where an option has no peer."""
        if self.options[key] not in known:
            raise NotImplementedError(f"no peer of attention.{key} = {self.options[key]!r}")

    def split(self, x):
        """[b, n, width] -> q, k, v, [b, heads, n, head width] each, views of one tensor."""
        b, n, _ = x.shape
        parts = self.qkv(x).view(b, n, 3, self.heads, self.head_width)
        return parts.permute(2, 0, 3, 1, 4).unbind(0)

    def drop(self, weights):
        if self.training and self.dropout > 0:
            return F.dropout(weights, self.dropout)
        return weights

    def attend(self, q, k, v, mask=None):
        p = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)

    def merge(self, x):
        """[b, heads, n, head width] -> [b, n, width]."""
        b, h, n, d = x.shape
        return self.output(x.transpose(1, 2).reshape(b, n, h * d))

    def structure(self, given):
        """Takes what the other side drew at random, by name."""

    def redraw(self, step):
        """Draws anew what is redrawn at this step of training."""


def padded(x, size, dim=-2):
    """Zeros behind, up to a multiple of `size`."""
    rest = -x.shape[dim] % size
    if rest == 0:
        return x
    return F.pad(x, [0, 0] * (-1 - dim) + [0, rest])


def blocked(x, size):
    """[b, h, n, d] -> [b, h, blocks, size, d], padded."""
    return padded(x, size).unflatten(2, (-1, size))
