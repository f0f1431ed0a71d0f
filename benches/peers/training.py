"""Training steps on random tokens."""

import torch
import torch.nn.functional as F


class Trainer:
    """`model` owns the parameters, `run` is it or its compiled form."""

    def __init__(self, model, run, cell):
        config, sizes = cell["config"], cell["sizes"]
        self.model, self.run, self.config, self.steps = model, run, config["train"], 0
        train, rows = self.config, self.config["batch"]
        self.micro = min(config["run"].get("micro_batch", rows), rows)
        n, self.parts = config["model"]["length"], sizes["parts"]
        # On a GPU alone: layers in bf16, weights and their gradients in f32, as lra has them.
        kind = torch.device(config["run"]["device"]).type
        self.precision = torch.autocast(
            kind, torch.bfloat16, enabled=config["run"]["dtype"] == "bf16"
        )
        # Full length and without padding, so that nothing has to be masked.
        self.ids = torch.randint(1, sizes["vocabulary"], (rows * self.parts, n))
        self.labels = torch.randint(0, sizes["classes"], (rows,))
        self.optimiser = torch.optim.AdamW(
            model.parameters(),
            lr=train["learning_rate"],
            betas=(train["beta1"], train["beta2"]),
            eps=train["eps"],
            weight_decay=train["weight_decay"],
            fused=True,
        )

    def rate(self):
        """lra's rate with warm-up; its end is not reached here."""
        train, step = self.config, self.steps
        rate = train["learning_rate"] * min(1.0, step / train["warmup"] if train["warmup"] else 1.0)
        if train["schedule"] == "rsqrt":
            rate *= max(step, train["warmup"], 1) ** -0.5
        return rate

    def step(self):
        self.model.redraw(self.steps)
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        for ids, labels in self.pieces():
            with self.precision:
                scores = self.run(ids)
            loss = F.cross_entropy(scores.float(), labels, reduction="sum") / len(self.labels)
            loss.backward()
        if self.config["clip"] > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config["clip"])
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.step()
        self.steps += 1

    @torch.inference_mode()
    def evaluate(self):
        self.model.eval()
        for ids, _ in self.pieces():
            with self.precision:
                self.run(ids)

    def pieces(self):
        return zip(self.ids.split(self.micro * self.parts), self.labels.split(self.micro))
