"""Two training steps of the CLS-pooled Transformer of lra_torch.py, in float64.

The steps see different batches, so bias correction and both Adam moments are
tested at t = 2. Row 0 of `embedding.tokens` (padding) has gradient exactly 0
and still decays.
"""

import torch

from golden import Draw, close, save
from lra_torch import BUILTIN, CONFIG, FORMULA, OPTIMISER, adamw, batch, loss_and_gradients
from lra_torch import parameters, sinusoid

draw = Draw(seed=1)
p = parameters(draw, "cls")
tensors = {f"before.{name}": value for name, value in p.items()}
tensors["positions"] = sinusoid(CONFIG["length"] + 1, CONFIG["width"], CONFIG["position_base"])

# torch.optim decays before the Adam step, with the same lr * weight_decay * old.
theirs = {name: torch.nn.Parameter(value.clone()) for name, value in p.items()}
optimiser = torch.optim.AdamW(
    theirs.values(),
    lr=OPTIMISER["lr"],
    betas=(OPTIMISER["beta1"], OPTIMISER["beta2"]),
    eps=OPTIMISER["epsilon"],
    weight_decay=OPTIMISER["weight_decay"],
    foreach=False,
)

moments = {}
for step, lengths in enumerate([(12, 7, 3), (5, 12, 9)], start=1):
    ids, labels = batch(draw, lengths)
    loss, logits, gradients = loss_and_gradients(p, ids, labels, "cls", FORMULA)

    other = loss_and_gradients(theirs, ids, labels, "cls", BUILTIN)
    close("loss", loss, other[0])
    close("logits", logits, other[1])
    for name, parameter in theirs.items():
        close(f"gradient of {name}", gradients[name], other[2][name])
        assert gradients[name].abs().max() > 1e-6, f"{name} is not reached"
        parameter.grad = gradients[name].clone()
    assert (gradients["embedding.tokens"][0] == 0).all()

    p = adamw(p, gradients, moments, step)
    optimiser.step()
    for name, parameter in theirs.items():
        close(f"{name} after step {step}", p[name], parameter.detach())

    tensors[f"batch{step}.ids"], tensors[f"batch{step}.labels"] = ids, labels
    tensors[f"step{step}.loss"], tensors[f"step{step}.logits"] = loss, logits
    tensors |= {f"step{step}.grad.{name}": value for name, value in gradients.items()}
    tensors |= {f"step{step}.after.{name}": value for name, value in p.items()}

save("transformer_step", tensors, __file__, pool="cls", **CONFIG, optimiser=OPTIMISER)
