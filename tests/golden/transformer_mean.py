"""Loss, logits and gradients of lra_torch.py with learned positions and mean pooling.

The mean runs over valid positions only (the released LRA code averages over
padding too). There is no CLS vector.
"""

from golden import Draw, close, save
from lra_torch import BUILTIN, CONFIG, FORMULA, batch, loss_and_gradients, parameters

draw = Draw(seed=2)
p = parameters(draw, "mean")
ids, labels = batch(draw, (12, 7, 3))
loss, logits, gradients = loss_and_gradients(p, ids, labels, "mean", FORMULA)

other = loss_and_gradients(p, ids, labels, "mean", BUILTIN)
close("loss", loss, other[0])
close("logits", logits, other[1])
for name, gradient in gradients.items():
    close(f"gradient of {name}", gradient, other[2][name])
    assert gradient.abs().max() > 1e-6, f"{name} is not reached"

tensors = {f"before.{name}": value for name, value in p.items()}
tensors |= {f"step1.grad.{name}": value for name, value in gradients.items()}
tensors |= {"batch1.ids": ids, "batch1.labels": labels, "step1.loss": loss, "step1.logits": logits}
save("transformer_mean", tensors, __file__, pool="mean over valid positions", **CONFIG)
