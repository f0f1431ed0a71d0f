"""The attentions by the names of `lra list models`."""

from .bigbird import BigBird
from .kernels import Linear, Performer
from .linformer import Linformer
from .longformer import Longformer
from .reformer import Reformer
from .relative import TransformerXl
from .sinkhorn import Sinkhorn
from .softmax import Local, Transformer
from .sparse import Sparse
from .synthesizer import Synthesizer

ATTENTIONS = {
    "transformer": Transformer,
    "local": Local,
    "transformer-xl": TransformerXl,
    "sparse-transformer": Sparse,
    "longformer": Longformer,
    "bigbird": BigBird,
    "reformer": Reformer,
    "linformer": Linformer,
    "linear": Linear,
    "performer": Performer,
    "sinkhorn": Sinkhorn,
    "synthesizer": Synthesizer,
}
