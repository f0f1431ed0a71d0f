"""Reversible residuals (Gomez et al. 2017), as reformer_pytorch's ReversibleSequence has them.

    y1 = x1 + attend(x2),  y2 = x2 + feed(y1)

The backward pass computes the inputs of a block from its outputs, so none are kept.
"""

import torch


class Draws:
    """Random numbers that can be drawn once more."""

    def __init__(self, random):
        self.state = torch.get_rng_state() if random else None

    def __enter__(self):
        self.now = torch.get_rng_state() if self.state is not None else None
        if self.state is not None:
            torch.set_rng_state(self.state)

    def __exit__(self, *_):
        if self.state is not None:
            torch.set_rng_state(self.now)


class Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, blocks):
        x1 = x2 = x
        ctx.notes = []
        for block in blocks:
            random = block.training and (block.dropout > 0 or block.attention.dropout > 0)
            draws1 = Draws(random)
            mixed, known = block.attend(x2)
            x1 = x1 + mixed
            draws2 = Draws(random)
            x2 = x2 + block.feed(x1)
            ctx.notes.append((block, known, draws1, draws2))
        ctx.save_for_backward(x1, x2)
        return (x1 + x2) * 0.5

    @staticmethod
    def backward(ctx, gradient):
        y1, y2 = ctx.saved_tensors
        d1 = d2 = gradient * 0.5
        for block, known, draws1, draws2 in reversed(ctx.notes):
            with torch.enable_grad():
                y1 = y1.detach().requires_grad_()
                with draws2:
                    fed = block.feed(y1)
                torch.autograd.backward(fed, d2)
                x2 = (y2.detach() - fed.detach()).requires_grad_()
                d1 = d1 + y1.grad
                with draws1:
                    mixed, _ = block.attend(x2, known)
                torch.autograd.backward(mixed, d1)
            y1, y2 = y1.detach() - mixed.detach(), x2
            d2 = d2 + x2.grad
        return d1 + d2, None


def reversible(x, blocks):
    """The mean of both streams of [b, n, width]."""
    if torch.is_grad_enabled():
        return Reversible.apply(x, blocks)
    x1 = x2 = x
    for block in blocks:
        x1 = x1 + block.attend(x2)[0]
        x2 = x2 + block.feed(x1)
    return (x1 + x2) * 0.5
