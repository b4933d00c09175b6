"""Learn a rule that a doctor can read: which tumours of the breast-cancer data are malignant?

    python examples/quickstart.py [--out examples/quickstart.png]

The model is a logical expression, `(a & b) | (c & d)`. Each letter stands for `feature > threshold` or its negation,
and everything is learned by gradient descent: which feature, which threshold, negated or not. Training runs the exact
logic forward and differentiates its relaxation backward; what is tested and printed is the exact rule.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm

import softtypes as sft

TEXT = "({} and {})\n       or ({} and {})"


class Rules(nnx.Module):
    """Many rules `(a & b) | (c & d)` side by side: each starts elsewhere, and the best one will be kept."""

    def __init__(self, count: int, features: int, rngs: nnx.Rngs):
        self.scores = nnx.Param(0.1 * rngs.normal((4, count, features)))
        self.leaning = nnx.Param(0.1 * rngs.normal((4, count, 1)))
        self.threshold = nnx.Param(0.5 * rngs.normal((4, count, 1)))

    def choices(self, softness) -> tuple[sft.SoftIndex, sft.SoftBool]:
        """Which feature each letter looks at `(4, count)`, and whether it is negated `(4, count, 1)`."""
        feature = sft.soft(self.scores[...], softness, standardize=False).argmax(axis=-1)
        return feature, sft.soft(self.leaning[...], softness) > 0.0

    def __call__(self, x: jax.Array, softness) -> sft.SoftBool:
        """Which samples are malignant `(count, samples)`, from standardised features `(features, samples)`."""
        feature, negated = self.choices(softness)
        above = sft.soft(x, softness)[feature] > self.threshold[...]
        a, b, c, d = sft.where(negated, ~above, above)
        return (a & b) | (c & d)


@nnx.jit
def train_step(rules: Rules, optimizer: nnx.Optimizer, x, malignant, softness) -> None:
    target = malignant.astype(x.dtype)[None]

    def loss(rules: Rules):
        verdict = rules(x, softness)
        # The exact rule learns from its mistakes alone; the relaxed one also pushes narrow hits away from the edge.
        errors = (verdict.st() - target) ** 2 + (verdict.probs - target) ** 2
        return errors.mean(axis=-1).sum()

    optimizer.update(rules, nnx.grad(loss)(rules))


@nnx.jit
def accuracy(rules: Rules, x, malignant, softness) -> jax.Array:
    """The share of samples that each exact rule gets right `(count,)`."""
    return (rules(x, softness).hard() == malignant[None]).mean(axis=-1)


class Split(NamedTuple):
    """Raw measurements `(samples, features)` and who is ill `(samples,)`."""

    x: np.ndarray
    malignant: np.ndarray


def halves(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Split off a share of the samples, with as many ill ones in proportion."""
    x, x_off, y, y_off = train_test_split(*split, test_size=share, stratify=split.malignant, random_state=seed)
    return Split(x, y), Split(x_off, y_off)


def load(seed: int) -> tuple[Split, Split, list[str]]:
    """The samples to learn from, the samples to test on, and the names of the features."""
    cancer = load_breast_cancer()
    learning, test = halves(Split(cancer.data, cancer.target == 0), 0.25, seed)
    return learning, test, [str(name) for name in cancer.feature_names]


@dataclass(frozen=True)
class Scale:
    """The mean and deviation of each feature: between the doctor's units and the model's."""

    mean: np.ndarray
    deviation: np.ndarray

    def arrays(self, split: Split) -> tuple[jax.Array, jax.Array]:
        """What the rules take: standardised features `(features, samples)`, and who is ill."""
        x = (split.x - self.mean) / self.deviation
        return jnp.asarray(x.T, jnp.float32), jnp.asarray(split.malignant)


def train(train_set, validation_set, steps: int, seed: int, patience: int = 10, every: int = 20):
    """The best rule, the softness at which it was found, and the number of steps run."""
    rules = Rules(32, train_set[0].shape[0], nnx.Rngs(seed))
    optimizer = nnx.Optimizer(rules, optax.rmsprop(0.03), wrt=nnx.Param)
    annealed = optax.exponential_decay(1.0, steps, 0.1)
    best, best_score, best_softness, checks_since = None, -1.0, annealed(0), 0
    bar = tqdm(range(1, steps + 1), desc="training")
    for step in bar:
        softness = annealed(step)
        train_step(rules, optimizer, *train_set, softness)
        if step % every:
            continue
        # A rule is worth the lower of its two accuracies: that is neither overfitting nor luck in a small validation set.
        scores = jnp.minimum(accuracy(rules, *train_set, softness), accuracy(rules, *validation_set, softness))
        winner, checks_since = int(scores.argmax()), checks_since + 1
        if scores[winner] > best_score:
            best = jax.tree.map(lambda p: p[:, winner : winner + 1], nnx.state(rules))
            best_score, best_softness, checks_since = float(scores[winner]), softness, 0
        bar.set_postfix(softness=f"{softness:.3f}", best=f"{best_score:.3f}")
        if checks_since == patience:
            break
    return nnx.merge(nnx.graphdef(rules), best), best_softness, step
