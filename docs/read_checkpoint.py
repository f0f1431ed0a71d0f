"""Verifies a checkpoint, or the final weights, of lra and lists what is in it.

    python docs/read_checkpoint.py results/runs/listops-performer-quick-s0/model.safetensors

Needs the packages safetensors and numpy.
"""

import hashlib
import sys

from safetensors import safe_open

# The 64 digits of the checksum stand first in the metadata, behind the header's length.
BEGIN = b'{"__metadata__":{"sha256":"'
DIGITS = slice(8 + len(BEGIN), 8 + len(BEGIN) + 64)


def verify(path):
    """The checksum is of the whole file with zeros in the place of its digits."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    if data[8 : DIGITS.start] != BEGIN:
        sys.exit(f"{path}: no file of lra: it does not begin with a checksum")
    told = data[DIGITS].decode("ascii", "replace")
    data[DIGITS] = b"0" * 64
    if hashlib.sha256(data).hexdigest() != told:
        sys.exit(f"{path}: the checksum does not match: the file is damaged")


def main(path):
    verify(path)
    with safe_open(path, "numpy") as file:
        for key, value in sorted(file.metadata().items()):
            if key != "sha256":
                print(f"{key}: {value}")
        for name in sorted(file.keys()):
            tensor = file.get_slice(name)
            print(f"{name}: {tensor.get_dtype()} {tensor.get_shape()}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
