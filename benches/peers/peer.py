"""One cell of a speed comparison: `lra`'s model in PyTorch, measured on request.

    peer.py --cell JSON --mode eager|compile        windows of training steps, asked for on stdin
    peer.py --cell JSON --loss WEIGHTS --batch BATCH      the loss of lra's weights

See README.md for the lines that come and go.
"""

import argparse
import json
import os
import sys
import time

# Compiled code bakes its threads in, and a pool of compilers would outlive the compilation.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch
import torch.nn.functional as F

import weights
from model import Classifier
from training import Trainer

WARM_UP = 3


def memory(key):
    """Bytes of a line of /proc/self/status."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    raise OSError(f"no {key} in /proc/self/status")


def reset_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def until(seconds, step, on_gpu):
    """Whole steps until so many seconds have passed, at least one."""
    steps, start = 0, time.perf_counter()
    while True:
        step()
        steps += 1
        # lra reads the loss of every step, so that it cannot run ahead of its GPU either.
        if on_gpu:
            torch.cuda.synchronize()
        passed = time.perf_counter() - start
        if passed >= seconds:
            return {"steps": steps, "seconds": passed}


def serve(cell, mode, out):
    base = memory("VmRSS")
    device = cell["config"]["run"]["device"]
    on_gpu = device != "cpu"
    torch.set_default_device(device)
    torch.manual_seed(cell["config"]["run"]["seed"])
    model = Classifier(cell["config"], cell["sizes"])
    trainer = Trainer(model, model.compiled() if mode == "compile" else model, cell)
    for _ in range(WARM_UP):
        trainer.step()
    trainer.evaluate()

    def say(message):
        print(json.dumps(message), file=out, flush=True)

    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    else:
        reset_peak()
    say(
        {
            "ready": True,
            "torch": torch.__version__,
            "mode": mode,
            "attention": model.layers[0].attention.implementation,
            "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        }
    )
    for line in sys.stdin:
        what, *seconds = line.split() or [""]
        if what == "window":
            say(until(float(seconds[0]), trainer.step, on_gpu))
        elif what == "evaluate":
            say(until(float(seconds[0]), trainer.evaluate, on_gpu))
        elif what == "end":
            if on_gpu:
                say({"peak": torch.cuda.max_memory_allocated(), "base": 0})
            else:
                say({"peak": memory("VmHWM"), "base": base})
            return
        else:
            raise ValueError(f"expected window, evaluate or end, got {line!r}")


def compare(cell, mode, weights_path, batch_path, out):
    """Loss and gradients of lra's weights, without dropout, on lra's batch."""
    model = Classifier(cell["config"], cell["sizes"]).eval()
    weights.load(model, weights.read(weights_path))
    batch = weights.read(batch_path)
    for block in model.layers:
        block.attention.structure(batch)
    run = model.compiled() if mode == "compile" else model
    loss = F.cross_entropy(run(batch["ids"].long()), batch["labels"].long())
    loss.backward()
    answer = {"loss": loss.item(), "gradient_norms": weights.gradient_norms(model)}
    print(json.dumps(answer), file=out, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", required=True, type=json.loads, help="JSON; see README.md")
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--loss", help="safetensors of weights")
    parser.add_argument("--batch", help="safetensors of ids, labels and draws")
    args = parser.parse_args()
    # Nothing but the answers may go to stdout.
    out, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(args.cell["threads"])
    if args.loss:
        compare(args.cell, args.mode, args.loss, args.batch, out)
    else:
        serve(args.cell, args.mode, out)


if __name__ == "__main__":
    main()
