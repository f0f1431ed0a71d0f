"""Synthesizer: logits that are not made of queries and keys, alone or with them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .base import Attention, linear, normal


class Synthesizer(Attention):
    implementation = "plain PyTorch of the formula (the official code is Mesh TensorFlow)"

    def project(self, at):
        o, h, n, d, w = self.options, at.heads, at.n, at.width, at.head_width
        if o["dot"]:
            self.qkv = linear(at.width, 3 * at.qkv)
        else:
            self.value = linear(at.width, at.qkv)
        p = math.isqrt(n - 1) + 1
        shapes = {
            "random": {"logits": (n, n)},
            "dense": {"hidden": (d, w), "output": (w, n)},
            "factorised-random": {"rows": (n, o["rank"]), "columns": (n, o["rank"])},
            "factorised-dense": {"tiled": (d, p), "repeated": (d, -(-n // p))},
        }
        for kind in o["kinds"]:
            draws = {key: normal(h, *s, std=(2 / sum(s)) ** 0.5) for key, s in shapes[kind].items()}
            if kind.endswith("random") and not o["trained"]:
                draws = {key: value.requires_grad_(False) for key, value in draws.items()}
            setattr(self, kind.replace("-", "_"), nn.ParameterDict(draws))
        if o["weighted"]:
            names = [kind.replace("-", "_") for kind in o["kinds"]] + ["dot"] * o["dot"]
            self.weights = nn.ParameterDict({name: nn.Parameter(torch.zeros(1)) for name in names})

    def logits(self, kind, x):
        """[b or 1, heads, n, n]."""
        n, each, w = x.shape[1], x.unsqueeze(1), getattr(self, kind.replace("-", "_"))
        if kind == "random":
            return w["logits"][None, :, :n, :n]
        if kind == "factorised-random":
            return (w["rows"][:, :n] @ w["columns"][:, :n].mT).unsqueeze(0)
        if kind == "dense":
            return (each @ w["hidden"]).relu() @ w["output"][..., :n]
        tiled, repeated = each @ w["tiled"], each @ w["repeated"]
        return (repeated.unsqueeze(-1) * tiled.unsqueeze(-2)).flatten(-2)[..., :n]

    def terms(self, x):
        total = 0
        for kind in self.options["kinds"]:
            logits = self.logits(kind, x)
            if self.options["weighted"]:
                logits = logits * self.weights[kind.replace("-", "_")].sigmoid()
            total = total + logits
        return total

    def forward(self, x):
        b, n, _ = x.shape
        terms = self.terms(x)
        if self.options["dot"]:
            q, k, v = self.split(x)
            if self.options["weighted"]:
                q = q * self.weights["dot"].sigmoid()
            q, k = (q * self.scale).flatten(0, 1), k.flatten(0, 1)
            terms = terms.expand(b, -1, -1, -1).flatten(0, 1)
            scores = torch.baddbmm(terms, q, k.mT).unflatten(0, (b, -1))
        else:
            v = self.value(x).view(b, n, self.heads, self.head_width).transpose(1, 2)
            scores = terms.expand(b, -1, -1, -1) if self.training else terms
        return self.merge(self.drop(F.softmax(scores, -1)) @ v)
