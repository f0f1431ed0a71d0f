"""The vanilla Long Range Arena Transformer (Tay et al. 2020, arXiv:2011.04006) and its optimiser.

    x = tokens[ids]; CLS vector in front if pool == "cls"; x = x + positions
    x = x + attention(norm1(x)); x = x + feed_forward(norm2(x))          for each layer
    logits = head.output(relu(head.hidden(pool(norm(x)))))

Two documents go through the encoder one after the other, up to and with pool, and give
x1 and x2; the head then has a third layer, half as wide:

    h = relu(head.hidden([x1, x2, x1 * x2, x1 - x2]))
    logits = head.output(relu(head.middle(h)))

Attention has no biases and scale 1/sqrt(qkv / heads); head h owns rows
h*qkv/heads .. (h+1)*qkv/heads of query, key and value. Padded keys (id 0) get
-inf. Padded queries are computed like any other row; no pooling reads them: "cls" and
"first" take position 0, "mean" the valid ones.
Weights are [out, in]. GELU is the tanh approximation. Dropout is 0.

Everything exists twice: FORMULA spells each operation out, BUILTIN calls
torch.nn.functional. The scripts assert that the two agree.
"""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from golden import close

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


def parameters(draw, pool, pair=False, c=SimpleNamespace(**CONFIG)):
    """Random everywhere, zero or one nowhere, so that no gradient path is switched off."""
    p = {"embedding.tokens": draw.normal(c.vocabulary, c.width)}
    if pool == "cls":
        p["embedding.cls"] = draw.normal(1, c.width)
    if pool == "mean":
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
    last = c.feed_forward // 2 if pair else c.feed_forward
    dense("head.hidden", 4 * c.width if pair else c.width, c.feed_forward)
    if pair:
        dense("head.middle", c.feed_forward, last)
    dense("head.output", last, c.classes)
    return p


def batch(draw, lengths, c=SimpleNamespace(**CONFIG)):
    """Ids from 1 to vocabulary-1, padded on the right with 0, and one label per example.

    `lengths` has a number for each example, or a pair of them for two documents.
    """
    lengths = torch.tensor(lengths)
    ids = draw.integers(1, c.vocabulary, (*lengths.shape, c.length))
    ids[torch.arange(c.length) >= lengths[..., None]] = 0
    return ids, draw.integers(0, c.classes, (len(lengths),))


def dense(p, x, name, op):
    return op.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def encode(p, ids, pool, op, c=SimpleNamespace(**CONFIG)):
    """Ids [B, n] to vectors [B, width]."""

    def norm(x, name):
        return op.layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], c.norm_epsilon)

    def split(x):
        return x.unflatten(-1, (c.heads, -1)).transpose(1, 2)

    x, valid = p["embedding.tokens"][ids], ids > 0
    if pool == "cls":
        x = torch.cat([p["embedding.cls"].expand(len(ids), 1, -1), x], dim=1)
        valid = F.pad(valid, (1, 0), value=True)
    if pool == "mean":
        x = x + p["embedding.positions"]
    else:
        x = x + sinusoid(x.shape[1], c.width, c.position_base)
    for i in range(c.layers):
        layer = f"layers.{i}"
        h = norm(x, f"{layer}.norm1")
        names = (f"{layer}.attention.{s}" for s in ("query", "key", "value"))
        q, k, v = (split(dense(p, h, name, op)) for name in names)
        h = op.attend(q, k, v, valid).transpose(1, 2).flatten(-2)
        x = x + dense(p, h, f"{layer}.attention.output", op)
        h = op.gelu(dense(p, norm(x, f"{layer}.norm2"), f"{layer}.feed_forward.up", op))
        x = x + dense(p, h, f"{layer}.feed_forward.down", op)
    x = norm(x, "norm")
    if pool == "mean":
        weight = valid.to(x.dtype)[..., None]
        return (x * weight).sum(1) / weight.sum(1)
    return x[:, 0]


def forward(p, ids, pool, op):
    """Ids [B, n], or [B, 2, n] of two documents, to logits [B, classes]."""
    if ids.dim() == 2:
        h = dense(p, encode(p, ids, pool, op), "head.hidden", op).relu()
    else:
        x1, x2 = (encode(p, ids[:, i], pool, op) for i in (0, 1))
        h = dense(p, torch.cat([x1, x2, x1 * x2, x1 - x2], 1), "head.hidden", op).relu()
        h = dense(p, h, "head.middle", op).relu()
    return dense(p, h, "head.output", op)


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


def two_steps(draw, pool, batches):
    """Two training steps, each on a batch of its own, checked against torch's model and AdamW.

    Bias correction and both moments are thus tested at t = 2. Row 0 of `embedding.tokens`
    (padding) has gradient exactly 0 and still decays.
    """
    p = parameters(draw, pool, pair=torch.tensor(batches[0]).dim() == 2)
    tensors = {f"before.{name}": value for name, value in p.items()}

    # torch.optim decays before the Adam step, with the same lr * weight_decay * old.
    theirs = {name: torch.nn.Parameter(value.clone()) for name, value in p.items()}
    optimiser = torch.optim.AdamW(
        theirs.values(),
        lr=OPTIMISER["lr"],
        betas=(OPTIMISER["beta1"], OPTIMISER["beta2"]),
        eps=OPTIMISER["epsilon"],
        weight_decay=OPTIMISER["weight_decay"],
        foreach=False,
    )

    moments = {}
    for step, lengths in enumerate(batches, start=1):
        ids, labels = batch(draw, lengths)
        loss, logits, gradients = loss_and_gradients(p, ids, labels, pool, FORMULA)

        other = loss_and_gradients(theirs, ids, labels, pool, BUILTIN)
        close("loss", loss, other[0])
        close("logits", logits, other[1])
        for name, parameter in theirs.items():
            close(f"gradient of {name}", gradients[name], other[2][name])
            assert gradients[name].abs().max() > 1e-6, f"{name} is not reached"
            parameter.grad = gradients[name].clone()
        assert (gradients["embedding.tokens"][0] == 0).all()

        p = adamw(p, gradients, moments, step)
        optimiser.step()
        for name, parameter in theirs.items():
            close(f"{name} after step {step}", p[name], parameter.detach())

        tensors[f"batch{step}.ids"], tensors[f"batch{step}.labels"] = ids, labels
        tensors[f"step{step}.loss"], tensors[f"step{step}.logits"] = loss, logits
        tensors |= {f"step{step}.grad.{name}": value for name, value in gradients.items()}
        tensors |= {f"step{step}.after.{name}": value for name, value in p.items()}
    return tensors
