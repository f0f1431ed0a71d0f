"""Transformer-XL's relative attention, bidirectional, from transformers' XLNetRelativeAttention.

Two segments of SEGMENT positions. A row of segment s attends to all of its own segment
and to the segment before, whose x is detached ("memory"; segment 0 has none):

    score_ij = ((q_i + u) . k_j + (q_i + v) . (relative R_{i-j})) / sqrt(d)

i - j is the distance, positive to the left; R_t = [sin(t f), cos(t f)] with
f_c = 10000^(-2c / WIDTH), c < WIDTH / 2. Only the content stream, without segment
bias, mask, output projection, residual and norm. u is the package's r_w_bias, v its
r_r_bias; its [in, H, d] weights are saved as [out, in].
"""

import math
from types import SimpleNamespace

import torch
from torch.func import functional_call
from transformers import XLNetConfig
from transformers.models.xlnet.modeling_xlnet import XLNetModel, XLNetRelativeAttention

from golden import Draw, checked, close, save

B, SEGMENT, WIDTH, H, D = 2, 6, 16, 2, 8
N = 2 * SEGMENT
NAMES = dict(query="q", key="k", value="v", relative="r", u="r_w_bias", v="r_r_bias")

attention = XLNetRelativeAttention(
    XLNetConfig(d_model=WIDTH, n_head=H, d_inner=WIDTH, n_layer=1, dropout=0.0)
)
assert attention.d_head == D
attention.post_attention = lambda h, heads: heads.flatten(2)


def sinusoid(queries, keys):
    """Distances keys, keys - 1, .., 1 - queries, one a row: the package's table in float64."""
    frequencies = 1 / 10000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
    distances = torch.arange(keys, -queries, -1.0)
    table = XLNetModel.positional_embedding(distances, frequencies)
    model = SimpleNamespace(d_model=WIDTH, attn_type="bi", bi_data=False, clamp_len=-1,
                            positional_embedding=XLNetModel.positional_embedding)  # fmt: skip
    single = XLNetModel.relative_positional_encoding(model, queries, keys)
    close("sinusoid", single.double(), table, 1e-6)
    return table


def package(x, **weights):
    shapes = {key: (WIDTH, H, D) for key in ("query", "key", "value", "relative")}
    parameters = {
        NAMES[key]: w.T.reshape(shapes[key]) if key in shapes else w for key, w in weights.items()
    }
    x = x.transpose(0, 1)
    memory, outputs = None, []
    for h in x.split(SEGMENT):
        keys = SEGMENT + (0 if memory is None else SEGMENT)
        options = dict(
            h=h, g=None, attn_mask_h=None, attn_mask_g=None, seg_mat=None, mems=memory,
            r=sinusoid(SEGMENT, keys).expand(-1, B, -1),
        )  # fmt: skip
        outputs.append(functional_call(attention, parameters, (), options)[0])
        memory = h.detach()
    return torch.cat(outputs).transpose(0, 1)


def definition(x, query, key, value, relative, u, v):
    """Over all N x N pairs; memory is the same keys and values made from a detached x."""

    def heads(x, w):
        return (x @ w.T).unflatten(-1, (H, D)).transpose(-3, -2)

    t = torch.arange(N)
    t = t[:, None] - t
    f = torch.exp(-math.log(10000) * torch.arange(WIDTH // 2) * 2 / WIDTH)
    table = torch.cat([torch.sin(t[..., None] * f), torch.cos(t[..., None] * f)], -1)
    r = (table.to(x.dtype) @ relative.T).view(N, N, H, D)
    q = heads(x, query)
    segment = torch.arange(N) // SEGMENT
    own, before = (segment[:, None] - segment == step for step in (0, 1))
    numerator = denominator = 0
    for support, source in ((own, x), (before, x.detach())):
        content = (q + u[:, None]) @ heads(source, key).mT
        position = torch.einsum("bhid,ijhd->bhij", q + v[:, None], r)
        scores = ((content + position) / math.sqrt(D)).exp() * support
        numerator = numerator + scores @ heads(source, value)
        denominator = denominator + scores.sum(-1, keepdim=True)
    return (numerator / denominator).transpose(1, 2).reshape(B, N, WIDTH)


draw = Draw(61)
inputs = {"x": draw.normal(B, N, WIDTH, std=0.5)}
inputs |= {key: draw.normal(WIDTH, WIDTH, std=0.3) for key in NAMES if key not in ("u", "v")}
inputs |= {key: draw.normal(H, D, std=0.5) for key in ("u", "v")}
g = draw.normal(B, N, WIDTH)
tensors = checked("xlnet", package, definition, inputs, g)
tensors["sinusoid"] = sinusoid(SEGMENT, N)[:, 0]
save("xlnet", tensors, __file__, heads=H, segment=SEGMENT, memory=SEGMENT, scale="1/sqrt(d)")
