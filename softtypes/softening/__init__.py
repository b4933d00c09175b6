"""The program transformation `soften`, which relaxes existing code without rewriting it."""

from softtypes.softening.transform import soften as soften
