"""Learn a rule that a doctor can read: which tumours of the breast-cancer data are malignant?

    python examples/quickstart.py [--out examples/quickstart.png]

The model is a logical expression, `(a & b) | (c & d)`, in which each letter stands for `feature > threshold` or its
negation. All of that is learned by gradient descent: which feature, which threshold, negated or not. Training runs the
exact logic forward and differentiates its relaxation backward; what is tested and printed is the exact rule.
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


class Rules(nnx.Module):
    """Many rules side by side: each starts somewhere else, and the best one will be kept."""

    def __init__(self, count: int, features: int, rngs: nnx.Rngs):
        self.scores = nnx.Param(0.1 * rngs.normal((4, count, features)))
        self.leaning = nnx.Param(0.1 * rngs.normal((4, count, 1)))
        self.threshold = nnx.Param(0.5 * rngs.normal((4, count, 1)))

    def feature(self, softness) -> sft.SoftIndex:
        """Which feature each letter looks at, `(4, count)`."""
        return sft.soft(self.scores[...], softness, standardize=False).argmax(axis=-1)

    def negated(self, softness) -> sft.SoftBool:
        """Which letters are negated, `(4, count, 1)`."""
        return sft.soft(self.leaning[...], softness) > 0.0

    def redundant(self, softness) -> sft.SoftBool:
        """Which rules look at one feature twice where once would do, `(count,)`."""
        a, b, c, d = self.feature(softness)
        return (a == b) | (c == d)

    def __call__(self, x: jax.Array, softness) -> sft.SoftBool:
        """Whom each rule finds ill, `(count, samples)`, by standardised features `(features, samples)`."""
        above = sft.soft(x, softness)[self.feature(softness)] > self.threshold[...]
        a, b, c, d = sft.where(self.negated(softness), ~above, above)
        return (a & b) | (c & d)


@nnx.jit
def mistakes(rules: Rules, x, ill, softness) -> sft.SoftBool:
    """Whom each rule gets wrong, `(count, samples)`; everybody, if it is redundant."""
    return (rules(x, softness) ^ ill[None]) | rules.redundant(softness)[:, None]


@nnx.jit
def train_step(rules: Rules, optimizer: nnx.Optimizer, x, ill, softness) -> None:
    """One step down the gradient. Softness is an array, so that annealing it does not recompile."""

    def loss(rules: Rules) -> jax.Array:
        return mistakes(rules, x, ill, softness).st().mean(axis=-1).sum()

    optimizer.update(rules, nnx.grad(loss)(rules))


def train(train_set, validation_set, steps: int, seed: int, every: int = 20, patience: int = 10):
    """The best rule, and the softness at which it was found."""
    rules = Rules(64, train_set[0].shape[0], nnx.Rngs(seed))
    optimizer = nnx.Optimizer(rules, optax.rmsprop(0.01), wrt=nnx.Param)
    anneal = optax.exponential_decay(1.0, transition_steps=steps // 3, decay_rate=0.1, end_value=0.1)
    best, lowest, stale = None, np.inf, 0
    for step in (bar := tqdm(range(1, steps + 1), desc="training")):
        softness = anneal(step)
        train_step(rules, optimizer, *train_set, softness)
        if step % every and step < steps:
            continue
        # The higher of its two error rates: a good rule neither overfits nor is lucky on a few validation samples.
        rates = np.maximum(*(error_rates(rules, data, softness)[0] for data in (train_set, validation_set)))
        stale = 0 if rates.min() < lowest else stale + 1
        if rates.min() <= lowest:
            best, lowest = (pick(rules, rates.argmin()), softness), rates.min()
        bar.set_postfix(softness=f"{softness:.2f}", accuracy=f"{1 - lowest:.3f}")
        if stale == patience:
            break
    return best


def error_rates(rules: Rules, data, softness) -> tuple[np.ndarray, np.ndarray]:
    """The error rate of each rule, `(count,)`: of its hard view, and of its soft one."""
    mistaken = mistakes(rules, *data, softness)
    return np.mean(mistaken.hard(), axis=-1), np.mean(mistaken.soft(), axis=-1)


def pick(rules: Rules, i: int) -> Rules:
    """The i-th rule alone."""
    graph, state = nnx.split(rules)
    return nnx.merge(graph, jax.tree.map(lambda p: p[:, i : i + 1], state))


class Samples(NamedTuple):
    """Raw measurements `(samples, features)`, and who is ill `(samples,)`."""

    x: np.ndarray
    ill: np.ndarray

    def split(self, seed: int) -> tuple["Samples", "Samples"]:
        """Three quarters and one quarter, with the same share of ill ones."""
        x, x_quarter, ill, ill_quarter = train_test_split(*self, test_size=0.25, stratify=self.ill, random_state=seed)
        return Samples(x, ill), Samples(x_quarter, ill_quarter)


def load() -> tuple[Samples, list[str]]:
    """The data, and the names of the features."""
    cancer = load_breast_cancer()
    return Samples(cancer.data, cancer.target == 0), [str(name) for name in cancer.feature_names]


class Scale(NamedTuple):
    """The mean and deviation of each feature."""

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, samples: Samples) -> tuple[jax.Array, jax.Array]:
        """What the rules take: standardised features `(features, samples)`, and who is ill."""
        x = (samples.x - self.mean) / self.deviation
        return jnp.asarray(x.T, jnp.float32), jnp.asarray(samples.ill)


class Letter(NamedTuple):
    """What a letter of the rule stands for, in the unit of the measurement."""

    feature: int
    name: str
    negated: bool
    threshold: float

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.negated else '>'} {self.threshold:.4g}"


def read(rule: Rules, softness, scale: Scale, names: list[str]) -> list[Letter]:
    """The letters of a rule, whose thresholds are rounded first, so that what is printed is what is tested."""
    feature, negated = np.ravel(rule.feature(softness).hard()), np.ravel(rule.negated(softness).hard())
    mean, deviation = scale.mean[feature], scale.deviation[feature]
    threshold = [float(f"{t:.4g}") for t in mean + deviation * np.ravel(rule.threshold[...])]
    rule.threshold[...] = jnp.asarray((threshold - mean) / deviation, jnp.float32)[:, None, None]
    return [Letter(i, names[i], *rest) for i, *rest in zip(feature, negated, threshold, strict=True)]


def draw(letters: list[Letter], samples: Samples, out: Path) -> None:
    """For each letter how its feature is distributed, its threshold, and the side on which it holds."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    for symbol, letter, axes in zip("abcd", letters, figure.subplots(2, 2).flat, strict=True):
        x = samples.x[:, letter.feature]
        axes.hist([x[~samples.ill], x[samples.ill]], bins=30, stacked=True, label=["benign", "malignant"])
        axes.axvline(letter.threshold, color="black", label="threshold")
        axes.axvspan(letter.threshold, x.min() if letter.negated else x.max(), color="gray", alpha=0.2)
        axes.set(title=f"{symbol}: {letter}", ylabel="samples")
    axes.legend()
    figure.suptitle("malignant = (a & b) | (c & d), where a letter holds on the gray side of its threshold")
    figure.savefig(out)


@dataclass(frozen=True)
class Result:
    """What was learned, and how good it is on the test samples."""

    rule: str
    accuracy: float
    tree_accuracy: float
    soft_accuracy: float

    def __str__(self) -> str:
        return (
            f"{self.rule}\n\n"
            "test accuracy\n"
            f"    the rule                          {self.accuracy:.3f}\n"
            f"    a decision tree of 4 thresholds   {self.tree_accuracy:.3f}\n"
            f"    the rule's soft view              {self.soft_accuracy:.3f}"
            f"   (hard/soft gap {self.accuracy - self.soft_accuracy:+.3f})\n"
        )


def main(steps: int = 600, seed: int = 0, out: Path | None = None) -> Result:
    """Learn a rule from three quarters of the samples, and test it on the others."""
    samples, names = load()
    learning, test = samples.split(seed)
    training, validation = learning.split(seed)
    scale = Scale(training.x.mean(axis=0), training.x.std(axis=0))
    rule, softness = train(scale(training), scale(validation), steps, seed)
    letters = read(rule, softness, scale, names)
    (hard_error,), (soft_error,) = error_rates(rule, scale(test), softness)
    tree = DecisionTreeClassifier(max_leaf_nodes=5, random_state=seed).fit(*learning)
    if out is not None:
        draw(letters, learning, out)
    text = "malignant if ({} and {})\n          or ({} and {})".format(*letters)
    return Result(text, 1 - float(hard_error), tree.score(*test), 1 - float(soft_error))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".png"), help="the picture to write")
    out = parser.parse_args().out
    print(f"\n{main(out=out)}\nthe thresholds are drawn in {out}")
