"""Weights and gradients by lra's names."""

import torch
from safetensors import safe_open


def read(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def parts(model):
    """For each parameter lra's names of it: one, or those that it fuses along its rows."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer, _, rest = name.partition(".attention.")
        fused = {}
        if rest:
            fused = model.get_submodule(f"{layer}.attention").fused
        key = rest.removesuffix(".weight")
        if key in fused:
            yield parameter, [f"{layer}.attention.{part}.weight" for part in fused[key]]
        else:
            yield parameter, [name]




def load(model, values):
    values = dict(values)
    for parameter, names in parts(model):
        value = torch.cat([values.pop(name).to(parameter.dtype) for name in names])
        with torch.no_grad():
            parameter.copy_(value.view_as(parameter))
    if values:
        raise KeyError(f"no place for the weights {sorted(values)}")


def gradient_norms(model):
    norms = {}
    for parameter, names in parts(model):
        for name, part in zip(names, parameter.grad.chunk(len(names))):
            norms[name] = part.double().norm().item()
    return norms
