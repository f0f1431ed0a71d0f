"""Reformer from PyPI's reformer_pytorch, LSHAttention with chosen buckets: no mask, not causal.

Each round sorts the positions by (bucket, position) and cuts them into chunks of
CHUNK. All rounds form one list of chunks, and a query sees its own chunk and the one
before it in that list: the first chunk of a round sees the last chunk of the round
before, the very first one the last of the last round. Scores are q_i . k_j / sqrt(d),
k_j = q_j / |q_j|, and -5e4 where j = i. A key that is in both chunks counts twice.
Rounds are weighted by their sums of exp(score).
"""

import torch
from reformer_pytorch import LSHAttention

from golden import Draw, checked, save

ROWS, N, D, CHUNK = 4, 32, 8, 4
CHUNKS = N // CHUNK


def counts(buckets, across):
    """[rows, rounds, n, n]: how often query i sees key j; `across`: chunk 0 looks across rounds."""
    rows, rounds, _ = buckets.shape
    order = (buckets * N + torch.arange(N)).argsort(-1)
    inside = torch.zeros(rows, rounds, CHUNKS, N)
    inside.scatter_(-1, order.view(rows, rounds, CHUNKS, CHUNK), 1.0)
    if across:
        before = inside.flatten(1, 2).roll(1, 1).view(inside.shape)
    else:
        before = inside.roll(1, 2)
    return torch.einsum("brci,brcj->brij", inside, inside + before)


def attend(qk, v, seen):
    k = qk / qk.square().sum(-1, keepdim=True).sqrt()
    scores = (qk @ k.mT * D**-0.5).masked_fill(torch.eye(N, dtype=torch.bool), -5e4)
    # The sums over rounds of exp(score) are the weights of the rounds, so one division does.
    terms = scores.exp() * seen.sum(1)
    return terms @ v / terms.sum(-1, keepdim=True)


def golden(name, seed, rounds, change=None):
    attention = LSHAttention(
        dropout=0.0, bucket_size=CHUNK, n_hashes=rounds, causal=False,
        attend_across_buckets=True, allow_duplicate_attention=True,
        random_rotations_per_head=False,
    )  # fmt: skip
    draw = Draw(seed)
    inputs = {key: draw.normal(ROWS, N, D, std=0.5) for key in ("qk", "v")}
    buckets = draw.integers(0, CHUNKS, (ROWS, rounds, N))
    if change:
        change(buckets, draw)
    g = draw.normal(ROWS, N, D)
    offset = buckets + torch.arange(rounds)[:, None] * CHUNKS

    def hash_vectors(n_buckets, vectors, **_):
        assert n_buckets == CHUNKS and vectors.shape == (ROWS, N, D)
        return offset.view(ROWS, -1)

    attention.hash_vectors = hash_vectors
    across, within = (counts(buckets, across) for across in (True, False))
    tensors = checked(name, lambda qk, v: attention(qk, v)[0],
                      lambda qk, v: attend(qk, v, across), inputs, g)  # fmt: skip
    difference = (tensors["output"] - attend(**inputs, seen=within)).abs().max().item()
    print(f"  wrapping within each round instead changes the output by {difference:.1e}")
    assert (difference < 1e-12) == (rounds == 1 or change is not None)
    twice = (across * (1 - torch.eye(N))).amax((1, 2, 3))
    print(f"  most often that one row sees one key in one round: {twice.tolist()}")
    save(name, tensors | {"buckets": buckets}, __file__, bucket_size=CHUNK, n_buckets=CHUNKS,
         n_hashes=rounds, scale="1/sqrt(d)", self_score=-5e4)  # fmt: skip


def same_end(buckets, draw):
    """The same CHUNK positions make up the last chunk of each round, in bucket CHUNKS - 1."""
    buckets.clamp_(max=CHUNKS - 2)
    for row in buckets:
        row[:, draw.integers(0, N // CHUNK, (CHUNK,)) + torch.arange(0, N, N // CHUNK)] = CHUNKS - 1


golden("reformer", 31, rounds=2)
golden("reformer_one", 32, rounds=1)
golden("reformer_two", 33, rounds=2, change=same_end)
