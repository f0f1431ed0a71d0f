"""Two training steps of the CLS-pooled Transformer of lra_torch.py, in float64."""

from golden import Draw, save
from lra_torch import CONFIG, OPTIMISER, sinusoid, two_steps

tensors = two_steps(Draw(seed=1), "cls", [(12, 7, 3), (5, 12, 9)])
tensors["positions"] = sinusoid(CONFIG["length"] + 1, CONFIG["width"], CONFIG["position_base"])
save("transformer_step", tensors, __file__, pool="cls", **CONFIG, optimiser=OPTIMISER)
