"""Imports LinearAttention from the unpacked sdist of pytorch-fast-transformers 0.4.0.

Its wheel would have to be compiled, and `fast_transformers.attention` imports the
compiled modules of all its attentions. LinearAttention itself is plain Python:
giving that package its folder, without running its __init__, is enough.
make.sh puts the sdist on the path.
"""

import importlib
import sys
import types

import fast_transformers
from fast_transformers.masking import FullMask, LengthMask

attention = types.ModuleType("fast_transformers.attention")
attention.__path__ = [f"{fast_transformers.__path__[0]}/attention"]
sys.modules[attention.__name__] = attention
LinearAttention = importlib.import_module(
    "fast_transformers.attention.linear_attention"
).LinearAttention

__all__ = ["FullMask", "LengthMask", "LinearAttention"]
