"""Attention alone, from public packages: output and gradients for fixed q, k, v.

One file per mixer: `q`, `k`, `v` [B, n, H, d] (standard deviation 0.5), `mask`
[B, n] (1 = valid), `output`, the cotangent `g` of the output, and `grad.q`,
`grad.k`, `grad.v`, the gradients of sum(output * g).

`g` is 0 on padded query rows. Their outputs are what the package computes and
carry no meaning: compare valid rows only. Every package is checked here against
its n x n definition, in float64.
"""

import math

import torch
import torch.nn.functional as F
from local_attention import LocalAttention
from performer_pytorch import FastAttention

from golden import Draw, close, save

B, N, H, D = 2, 14, 3, 8
LENGTHS = (14, 9)
BLOCK = 4
FEATURES = 32

FULL = torch.ones(B, N, dtype=torch.bool)
PADDED = torch.arange(N) < torch.tensor(LENGTHS)[:, None]


def heads_first(f):
    """Lets a function of [B, H, n, d] take and give [B, n, H, d]."""
    return lambda q, k, v: f(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def weighted(scores, v):
    """Rows of nonnegative `scores` [B, H, n, n], divided by their sums, times v."""
    return scores / scores.sum(-1, keepdim=True) @ v


def golden(name, seed, mask, package, definition, extra=(), **config):
    draw = Draw(seed)
    q, k, v = (draw.normal(B, N, H, D, std=0.5).requires_grad_() for _ in range(3))
    g = draw.normal(B, N, H, D) * mask[:, :, None, None]

    def run(f, *inputs):
        output = f(*inputs)
        seen = output * mask[:, :, None, None].to(output.dtype)
        return output, seen, *torch.autograd.grad((output * g.to(output.dtype)).sum(), inputs)

    output, *ours = run(package, q, k, v)
    for what, a, b in zip(("output", "dq", "dk", "dv"), ours, run(definition, q, k, v)[1:]):
        close(f"{name}: {what}", a, b)
    single = run(package, *(x.detach().float().requires_grad_() for x in (q, k, v)))[1:]
    worst = max((a - b).abs().max().item() for a, b in zip(single, ours))

    tensors = dict(q=q, k=k, v=v, mask=mask.to(torch.uint8), output=output, g=g, **dict(extra))
    tensors |= zip(("grad.q", "grad.k", "grad.v"), ours[1:])
    save(name, tensors, __file__, **config)
    print(f"  the package in float32 differs from float64 by at most {worst:.1e}")


def softmax():
    """torch's scaled_dot_product_attention, scale 1/sqrt(d)."""

    @heads_first
    def package(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=PADDED[:, None, None, :])

    @heads_first
    def definition(q, k, v):
        scores = (q @ k.mT / math.sqrt(D)).exp()
        return weighted(scores * PADDED[:, None, None, :], v)

    golden("softmax", 11, PADDED, package, definition, scale="1/sqrt(d)")


def local():
    """local-attention without look-around: softmax within contiguous blocks, the last one short.

    The package leaves its own padding of the last block unmasked unless it is
    given a mask, so it always gets one. A block with no valid key (positions
    12, 13 of the second example) comes out as the mean of its values, zeros of
    the package's padding included: padded rows, not to be compared.
    """
    attention = LocalAttention(
        window_size=BLOCK, causal=False, look_backward=0, look_forward=0, autopad=True,
        exact_windowsize=False, use_rotary_pos_emb=False,
    )  # fmt: skip
    block = torch.arange(N) // BLOCK
    support = (block[:, None] == block) & PADDED[:, None, None, :]

    @heads_first
    def definition(q, k, v):
        # Rows without a valid key have the row sum 0 and no gradient: give them a key.
        scores = (q @ k.mT / math.sqrt(D)).exp() * support
        return weighted(scores + (~support.any(-1, keepdim=True)).double(), v)

    package = heads_first(lambda q, k, v: attention(q, k, v, mask=PADDED))
    golden("local", 12, PADDED, package, definition, scale="1/sqrt(d)", block=BLOCK)


def linear():
    """pytorch-fast-transformers' LinearAttention: phi = elu + 1, no scale, masked after phi."""
    from fast_transformers_source import FullMask, LengthMask, LinearAttention

    attention = LinearAttention(D)
    lengths = LengthMask(torch.tensor(LENGTHS), max_len=N)

    def package(q, k, v):
        return attention(q, k, v, FullMask(N), LengthMask(torch.full((B,), N)), lengths)

    @heads_first
    def definition(q, k, v):
        scores = (F.elu(q) + 1) @ (F.elu(k) + 1).mT * PADDED[:, None, None, :]
        return scores / (scores.sum(-1, keepdim=True) + 1e-6) @ v

    golden("linear", 13, PADDED, package, definition, denominator_epsilon=1e-6)


def performer():
    """performer-pytorch's FastAttention with a stored projection W [features, d], unmasked.

    Positive features (generalized_attention=False), W' = W / d^(1/4):
        phi(q) = m^(-1/2) * (exp(W'q - |q|^2 / (2 sqrt(d)) - max over features of W'q) + 1e-4)
        phi(k) = the same with the max over features and positions, one per example and head
    ReLU features (generalized_attention=True): phi(x) = relu(W'x) + 1e-3, without m^(-1/2).
    Either way output = phi(q) (phi(k)^T v) / (phi(q) sum phi(k)), no epsilon below the line.
    The maxima leave |x|^2 out, are detached, and do not quite cancel, because
    1e-4 is added after them. SelfAttention of the package masks values only, so
    padding stays in the denominator: there is no masked file.
    """
    torch.manual_seed(14)
    attention = FastAttention(D, nb_features=FEATURES)
    relu = FastAttention(D, nb_features=FEATURES, generalized_attention=True)
    w = attention.projection_matrix.float().double()
    attention.projection_matrix = relu.projection_matrix = w

    def positive(x, axes):
        projected = x @ w.T * D**-0.25
        top = projected.amax(axes, keepdim=True).detach()
        norm = x.square().sum(-1, keepdim=True) / (2 * math.sqrt(D))
        return FEATURES**-0.5 * ((projected - norm - top).exp() + 1e-4)

    @heads_first
    def positive_definition(q, k, v):
        return weighted(positive(q, -1) @ positive(k, (-2, -1)).mT, v)

    @heads_first
    def relu_definition(q, k, v):
        q, k = ((x @ w.T * D**-0.25).relu() + 1e-3 for x in (q, k))
        return weighted(q @ k.mT, v)

    common = dict(extra={"projection": w}, features=FEATURES, input_scale="d^(-1/4)",
                  denominator_epsilon=0)  # fmt: skip
    golden(
        "performer", 14, FULL, heads_first(attention), positive_definition, **common,
        query_max="features", key_max="features and positions, per example and head",
        kernel_epsilon=1e-4, kernel_epsilon_added="after exp, before the factor features^(-1/2)",
        ratio="features^(-1/2)", kernel="positive softmax features",
    )  # fmt: skip
    golden(
        "performer_relu", 15, FULL, heads_first(relu), relu_definition, **common,
        kernel_epsilon=1e-3, kernel_epsilon_added="after relu", ratio="1", kernel="relu",
    )  # fmt: skip


for mixer in (softmax, local, linear, performer):
    mixer()
