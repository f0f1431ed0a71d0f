"""Linformer from PyPI's linformer, LinformerSelfAttention: full length, no mask, no biases.

With E = mix_key and F = mix_value, both [n, k] and shared by the heads,

    y = softmax(q (E^T k)^T / sqrt(d)) (F^T v) output^T

Weights are [out, in]; head h owns rows h*d .. (h+1)*d of query, key and value. With
share_kv the package has neither a value weight nor F: v is k, and F is E.

(A script called linformer.py would be imported in place of the package.)
"""

import math

from linformer import LinformerSelfAttention
from torch.func import functional_call

from golden import Draw, checked, save

B, N, WIDTH, H, D, K = 2, 24, 16, 2, 8, 6
NAMES = dict(query="to_q.weight", key="to_k.weight", value="to_v.weight", output="to_out.weight",
             mix_key="proj_k", mix_value="proj_v")  # fmt: skip


def split(x):
    return x.view(B, -1, H, D).transpose(1, 2)


def definition(x, query, key, output, mix_key, value=None, mix_value=None):
    q, k = x @ query.T, mix_key.T @ (x @ key.T)
    v = k if value is None else mix_value.T @ (x @ value.T)
    q, k, v = split(q), split(k), split(v)
    scores = (q @ k.mT / math.sqrt(D)).exp()
    heads = scores / scores.sum(-1, keepdim=True) @ v
    return heads.transpose(1, 2).reshape(B, N, WIDTH) @ output.T


def golden(name, seed, share_kv):
    attention = LinformerSelfAttention(
        WIDTH, N, k=K, heads=H, dim_head=D, one_kv_head=False, share_kv=share_kv, dropout=0.0
    )
    attention.to_out.bias = None

    def package(x, **weights):
        return functional_call(attention, {NAMES[key]: w for key, w in weights.items()}, x)

    draw = Draw(seed)
    inputs = {"x": draw.normal(B, N, WIDTH, std=0.5)}
    for weight in ("query", "key", "value", "output", "mix_key", "mix_value"):
        if share_kv and weight in ("value", "mix_value"):
            continue
        shape = (N, K) if weight.startswith("mix") else (WIDTH, WIDTH)
        inputs[weight] = draw.normal(*shape, std=0.3)
    assert {NAMES[key] for key in inputs if key != "x"} == dict(attention.named_parameters()).keys()
    g = draw.normal(B, N, WIDTH)
    tensors = checked(name, package, definition, inputs, g, output="y")
    save(name, tensors, __file__, heads=H, k=K, share_kv=share_kv, scale="1/sqrt(d)")


golden("linformer", 21, share_kv=False)
golden("linformer_kv", 22, share_kv=True)
