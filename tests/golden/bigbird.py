"""BigBird from transformers, BigBirdBlockSparseAttention, with chosen random blocks.

In blocks of BLOCK: query blocks 0 and BLOCKS - 1 attend to everything, query block i
between them to blocks 0, i - 1, i, i + 1, BLOCKS - 1 and random_blocks[h, i - 1], each
once, in one softmax. Padded keys are masked. Scale 1/sqrt(d).

The package draws random blocks in training mode only (in evaluation mode its list is
all 0, so that block 0 counts again) and reseeds numpy at each call; here the list
is put in its place. It masks with -10000 and sets the outputs of padded rows to 0.
"""

import math

import torch
from transformers import BigBirdConfig
from transformers.models.big_bird.modeling_big_bird import (
    BigBirdBlockSparseAttention,
    BigBirdModel,
)

from golden import Draw, checked, save

B, N, H, D = 2, 32, 2, 8
BLOCK, RANDOM, LENGTHS = 4, 1, (32, 23)
BLOCKS = N // BLOCK
MASK = torch.arange(N) < torch.tensor(LENGTHS)[:, None]

attention = BigBirdBlockSparseAttention(
    BigBirdConfig(
        hidden_size=H * D, num_attention_heads=H, block_size=BLOCK, num_random_blocks=RANDOM,
        max_position_embeddings=N, attention_probs_dropout_prob=0.0,
    )
).train()  # fmt: skip


def draw_blocks(draw):
    """[H, BLOCKS - 2, RANDOM]: blocks that a query block does not see already, without repeats."""
    blocks = torch.empty(H, BLOCKS - 2, RANDOM, dtype=torch.int64)
    for head in blocks:
        for i, chosen in enumerate(head, start=1):
            seen = {0, i - 1, i, i + 1, BLOCKS - 1}
            free = torch.tensor([j for j in range(BLOCKS) if j not in seen])
            order = draw.integers(0, 1 << 30, free.shape).argsort()
            chosen.copy_(free[order[:RANDOM]])
    return blocks


draw = Draw(51)
inputs = {key: draw.normal(B, N, H, D, std=0.5) for key in ("q", "k", "v")}
valid = MASK[:, :, None, None].double()
g = draw.normal(B, N, H, D) * valid
blocks = draw_blocks(draw)
assert len(blocks.unique()) > 3 and (blocks[0] != blocks[1]).any()
calls = []


def chosen_blocks(**options):
    assert options["num_heads"] == H and options["from_seq_length"] == N
    calls.append(1)
    return list(blocks.numpy())


attention._bigbird_block_rand_mask_with_head = chosen_blocks


def package(q, k, v):
    masks = BigBirdModel.create_masks_for_block_sparse_attn(MASK.to(q.dtype), BLOCK)
    blocked, band, rows, keys = masks
    return attention.bigbird_block_sparse_attention(
        *(x.transpose(1, 2).contiguous() for x in (q, k, v)), band, rows, keys, blocked, blocked,
        H, RANDOM, D, BLOCK, BLOCK, B, N, N, seed=0,
        plan_from_length=None, plan_num_rand_blocks=None, output_attentions=False,
    )[0]  # fmt: skip


def definition(q, k, v):
    support = torch.zeros(H, BLOCKS, BLOCKS)
    support[:, [0, -1], :] = support[:, :, [0, -1]] = 1
    for i in range(1, BLOCKS - 1):
        support[:, i, i - 1 : i + 2] = 1
        support[:, i].scatter_(-1, blocks[:, i - 1], 1.0)
    support = support.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    assert (support.sum(-1)[:, 2 * BLOCK : -2 * BLOCK] == (5 + RANDOM) * BLOCK).all()
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    scores = (q @ k.mT / math.sqrt(D)).exp() * support * MASK[:, None, None, :]
    return (scores / scores.sum(-1, keepdim=True) @ v).transpose(1, 2)


tensors = checked("bigbird", package, definition, inputs, g, valid)
assert len(calls) == 2 and (tensors["output"] * (1 - valid)).abs().max() == 0
save(
    "bigbird", tensors | {"mask": MASK.to(torch.uint8), "random_blocks": blocks}, __file__,
    block=BLOCK, random_blocks=RANDOM, scale="1/sqrt(d)",
)  # fmt: skip
