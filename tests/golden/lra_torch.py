"""The vanilla Long Range Arena Transformer (Tay et al. 2020, arXiv:2011.04006) and its optimiser.

    x = tokens[ids]; CLS vector in front if pool == "cls"; x = x + positions
    x = x + attention(norm1(x)); x = x + feed_forward(norm2(x))          for each layer
    logits = head.output(relu(head.hidden(pool(norm(x)))))

Attention has no biases and scale 1/sqrt(qkv / heads); head h owns rows
h*qkv/heads .. (h+1)*qkv/heads of query, key and value. Padded keys (id 0) get
-inf. Padded queries are computed like any other row; neither pooling reads them.
Weights are [out, in]. GELU is the tanh approximation. Dropout is 0.

Everything exists twice: FORMULA spells each operation out, BUILTIN calls
torch.nn.functional. The scripts assert that the two agree.
"""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F

CONFIG = dict(
    vocabulary=17, length=12, classes=10, layers=2, width=16, qkv=24, heads=4, feed_forward=20,
    norm_epsilon=1e-6, position_base=10000,
)  # fmt: skip


def linear(x, weight, bias=None):
    y = x @ weight.T
    return y if bias is None else y + bias


def layer_norm(x, weight, bias, epsilon):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt() * weight + bias


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attend(q, k, v, valid):
    """q, k, v are [B, H, n, d]; valid is [B, n]."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~valid[:, None, None, :], -math.inf)
    weights = (scores - scores.amax(-1, keepdim=True).detach()).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


def cross_entropy(logits, labels):
    chosen = logits.gather(1, labels[:, None]).squeeze(1)
    return (logits.exp().sum(1).log() - chosen).mean()


def builtin_attend(q, k, v, valid):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])


FORMULA = SimpleNamespace(
    linear=linear, layer_norm=layer_norm, gelu=gelu, attend=attend, cross_entropy=cross_entropy
)
BUILTIN = SimpleNamespace(
    linear=F.linear,
    layer_norm=lambda x, w, b, epsilon: F.layer_norm(x, x.shape[-1:], w, b, epsilon),
    gelu=lambda x: F.gelu(x, approximate="tanh"),
    attend=builtin_attend,
    cross_entropy=F.cross_entropy,
)


def sinusoid(length, width, base):
    """Channel 2i: sin(t / base^(2i/width)); channel 2i+1: the cosine of the same angle."""
    angle = torch.arange(length)[:, None] * base ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(length, width)


def parameters(draw, pool, c=SimpleNamespace(**CONFIG)):
    """Random everywhere, zero or one nowhere, so that no gradient path is switched off."""
    p = {"embedding.tokens": draw.normal(c.vocabulary, c.width)}
    if pool == "cls":
        p["embedding.cls"] = draw.normal(1, c.width)
    else:
        p["embedding.positions"] = draw.normal(c.length, c.width, std=0.5)

    def dense(name, inputs, outputs, bias=True):
        p[f"{name}.weight"] = draw.normal(outputs, inputs, std=inputs**-0.5)
        if bias:
            p[f"{name}.bias"] = draw.normal(outputs, std=0.1)

    def norm(name):
        p[f"{name}.weight"] = draw.normal(c.width, std=0.1, mean=1.0)
        p[f"{name}.bias"] = draw.normal(c.width, std=0.1)

    for i in range(c.layers):
        norm(f"layers.{i}.norm1")
        for name in ("query", "key", "value"):
            dense(f"layers.{i}.attention.{name}", c.width, c.qkv, bias=False)
        dense(f"layers.{i}.attention.output", c.qkv, c.width, bias=False)
        norm(f"layers.{i}.norm2")
        dense(f"layers.{i}.feed_forward.up", c.width, c.feed_forward)
        dense(f"layers.{i}.feed_forward.down", c.feed_forward, c.width)
    norm("norm")
    dense("head.hidden", c.width, c.feed_forward)
    dense("head.output", c.feed_forward, c.classes)
    return p


def batch(draw, lengths, c=SimpleNamespace(**CONFIG)):
    """Ids from 1 to vocabulary-1, padded on the right with 0, and one label per row."""
    ids = draw.integers(1, c.vocabulary, (len(lengths), c.length))
    ids[torch.arange(c.length) >= torch.tensor(lengths)[:, None]] = 0
    return ids, draw.integers(0, c.classes, (len(lengths),))


def forward(p, ids, pool, op, c=SimpleNamespace(**CONFIG)):
    def dense(x, name):
        return op.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))

    def norm(x, name):
        return op.layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], c.norm_epsilon)

    def split(x):
        return x.unflatten(-1, (c.heads, -1)).transpose(1, 2)

    x, valid = p["embedding.tokens"][ids], ids > 0
    if pool == "cls":
        x = torch.cat([p["embedding.cls"].expand(len(ids), 1, -1), x], dim=1)
        valid = F.pad(valid, (1, 0), value=True)
        x = x + sinusoid(x.shape[1], c.width, c.position_base)
    else:
        x = x + p["embedding.positions"]
    for i in range(c.layers):
        layer = f"layers.{i}"
        h = norm(x, f"{layer}.norm1")
        q, k, v = (split(dense(h, f"{layer}.attention.{s}")) for s in ("query", "key", "value"))
        h = op.attend(q, k, v, valid).transpose(1, 2).flatten(-2)
        x = x + dense(h, f"{layer}.attention.output")
        h = op.gelu(dense(norm(x, f"{layer}.norm2"), f"{layer}.feed_forward.up"))
        x = x + dense(h, f"{layer}.feed_forward.down")
    x = norm(x, "norm")
    if pool == "cls":
        x = x[:, 0]
    else:
        weight = valid.to(x.dtype)[..., None]
        x = (x * weight).sum(1) / weight.sum(1)
    return dense(dense(x, "head.hidden").relu(), "head.output")


def loss_and_gradients(p, ids, labels, pool, op):
    """The mean cross-entropy, the logits and the gradient of the loss for every parameter."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in p.items()}
    logits = forward(leaves, ids, pool, op)
    loss = op.cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return loss.detach(), logits.detach(), dict(zip(leaves, gradients))


OPTIMISER = dict(lr=1e-3, beta1=0.9, beta2=0.98, epsilon=1e-9, weight_decay=0.1)


def adamw(p, gradients, moments, t, o=SimpleNamespace(**OPTIMISER)):
    """Step t = 1, 2, ...: new = old - lr * m^ / (sqrt(v^) + epsilon) - lr * weight_decay * old."""
    new = {}
    for name, old in p.items():
        g = gradients[name]
        m, v = moments.get(name, (torch.zeros_like(g), torch.zeros_like(g)))
        m = o.beta1 * m + (1 - o.beta1) * g
        v = o.beta2 * v + (1 - o.beta2) * g * g
        moments[name] = m, v
        m, v = m / (1 - o.beta1**t), v / (1 - o.beta2**t)
        new[name] = old - o.lr * m / (v.sqrt() + o.epsilon) - o.lr * o.weight_decay * old
    return new
