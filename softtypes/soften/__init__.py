"""The program transformation `soften`, which relaxes existing code without rewriting it."""

from softtypes.soften.transform import soften as soften
