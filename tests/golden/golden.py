"""Shared by the scripts here: one thread, seeded float64 draws, one way to write a file."""

import json
import os
from pathlib import Path

# Read when torch starts its maths libraries, so set before it is imported:
# the same instructions on every x86-64 processor.
os.environ.update(ATEN_CPU_CAPABILITY="default", MKL_CBWR="COMPATIBLE", OMP_NUM_THREADS="1")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

HERE = Path(__file__).parent

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.set_default_dtype(torch.float64)


class Draw:
    """Seeded normals, rounded to float32 so that a float32 test starts from the same numbers."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape, std=1.0, mean=0.0):
        x = mean + std * torch.randn(*shape, generator=self.generator)
        return x.float().double()

    def integers(self, low, high, shape):
        return torch.randint(low, high, shape, generator=self.generator)


def save(name, tensors, script, **config):
    """Writes `name`.safetensors; the metadata has one key, `about`, which keeps the bytes fixed."""
    about = {"script": Path(script).name, "torch": torch.__version__, "config": config}
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    path = HERE / f"{name}.safetensors"
    save_file(tensors, path, metadata={"about": json.dumps(about, sort_keys=True)})
    path.chmod(0o644)
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def close(what, a, b, tolerance=1e-12):
    """Stops unless `a` and `b` agree to `tolerance`, relative to the larger of 1 and max |b|."""
    worst = (a - b).abs().max().item() / max(1.0, b.abs().max().item())
    assert worst <= tolerance, f"{what}: differs by {worst:.1e}"


def checked(name, package, definition, inputs, g, seen=1.0, output="output"):
    """Inputs, output, `g` and the gradients of sum(output * g), as they go into a file.

    `package` and `definition` take the inputs by name. Their gradients have to agree, and
    their outputs times `seen`.
    """

    def run(f, inputs, g):
        inputs = {key: x.detach().requires_grad_() for key, x in inputs.items()}
        y = f(**inputs)
        return y.detach(), *torch.autograd.grad((y * g).sum(), list(inputs.values()))

    y, *ours = run(package, inputs, g)
    expected, *theirs = run(definition, inputs, g)
    close(f"{name}: output", y * seen, expected * seen)
    for key, a, b in zip(inputs, ours, theirs):
        close(f"{name}: gradient of {key}", a, b)
        assert a.abs().max() > 1e-6, f"{name}: {key} is not reached"
    single = run(package, {key: x.float() for key, x in inputs.items()}, g.float())
    worst = ((single[0] - y) * seen).abs().max()
    relative = max((a - b).abs().max() / b.abs().max() for a, b in zip(single[1:], ours))
    print(f"{name}: float32 differs by {worst:.1e}, gradients by {relative:.1e} of the largest")
    return {**inputs, output: y, "g": g, **{f"grad.{key}": x for key, x in zip(inputs, ours)}}
