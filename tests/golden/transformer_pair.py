"""Two training steps of lra_torch.py on pairs of documents, in float64.

One encoder reads both, one call after the other, so that nothing here depends on how they
lie in a batch. Pooling takes position 0, and there is no CLS vector.
"""

from golden import Draw, save
from lra_torch import CONFIG, OPTIMISER, two_steps

batches = [((12, 7), (3, 12), (9, 1)), ((5, 12), (12, 9), (4, 6))]
tensors = two_steps(Draw(seed=3), "first", batches)
features = "x1, x2, x1 * x2, x1 - x2"
save("transformer_pair", tensors, __file__, pool="first", pair=features, **CONFIG,
     optimiser=OPTIMISER)  # fmt: skip
