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
