"""Longformer from transformers, LongformerSelfAttention, without biases and output projection.

A row that is not global attends, in one softmax, to the valid |j - i| <= WINDOW and
to the global positions, with query, key and value. A global row attends to all valid
positions with query_global, key_global and value_global. Scale 1/sqrt(d).

The package takes its softmax in float32 whatever the input: here it is made to use
the type of the scores. It sets the outputs of padded rows to 0.
"""

import math

import torch
from torch.func import functional_call
from transformers import LongformerConfig
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

from golden import Draw, checked, save

B, N, WIDTH, H, D = 2, 32, 16, 2, 8
WINDOW, GLOBAL, LENGTHS = 4, 2, (32, 23)
WEIGHTS = ("query", "key", "value", "query_global", "key_global", "value_global")

MASK = torch.arange(N) < torch.tensor(LENGTHS)[:, None]
IS_GLOBAL = (torch.arange(N) < GLOBAL).expand(B, N)

attention = LongformerSelfAttention(
    LongformerConfig(
        hidden_size=WIDTH, num_attention_heads=H, num_hidden_layers=1,
        attention_window=[2 * WINDOW], attention_probs_dropout_prob=0.0,
    ),
    layer_id=0,
)  # fmt: skip
for weight in WEIGHTS:
    getattr(attention, weight).bias = None

softmax = torch.nn.functional.softmax
torch.nn.functional.softmax = lambda scores, dim, dtype: softmax(scores, dim=dim)


def package(x, **weights):
    weights = {f"{key}.weight": w for key, w in weights.items()}
    options = dict(
        attention_mask=(1e4 * (IS_GLOBAL.double() - (~MASK).double())).to(x.dtype),
        is_index_masked=~MASK, is_index_global_attn=IS_GLOBAL, is_global_attn=True,
    )  # fmt: skip
    return functional_call(attention, weights, (x,), options)[0]


def attend(x, query, key, value, support):
    q, k, v = ((x @ w.T).view(B, N, H, D).transpose(1, 2) for w in (query, key, value))
    scores = (q @ k.mT / math.sqrt(D)).exp() * support[:, None]
    return (scores / scores.sum(-1, keepdim=True) @ v).transpose(1, 2).reshape(B, N, WIDTH)


def definition(x, query, key, value, query_global, key_global, value_global):
    distance = (torch.arange(N)[:, None] - torch.arange(N)).abs()
    some = ((distance <= WINDOW) | (torch.arange(N) < GLOBAL)) & MASK[:, None, :]
    every = MASK[:, None, :].expand(B, N, N)
    ordinary = attend(x, query, key, value, some)
    whole = attend(x, query_global, key_global, value_global, every)
    return torch.where(IS_GLOBAL[:, :, None], whole, ordinary)


draw = Draw(41)
inputs = {"x": draw.normal(B, N, WIDTH, std=0.5)}
inputs |= {weight: draw.normal(WIDTH, WIDTH, std=0.3) for weight in WEIGHTS}
valid = MASK[:, :, None].double()
g = draw.normal(B, N, WIDTH) * valid
tensors = checked("longformer", package, definition, inputs, g, valid)
assert (tensors["output"] * (1 - valid)).abs().max() == 0
save(
    "longformer", tensors | {"mask": MASK.to(torch.uint8)}, __file__, heads=H, one_sided=WINDOW,
    global_positions=GLOBAL, scale="1/sqrt(d)",
)  # fmt: skip
