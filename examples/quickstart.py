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

    def choices(self, softness) -> tuple[sft.SoftIndex, sft.SoftBool]:
        """The feature that each letter looks at, `(4, count)`, and whether it is negated, `(4, count, 1)`."""
        feature = sft.soft(self.scores[...], softness, standardize=False).argmax(axis=-1)
        return feature, sft.soft(self.leaning[...], softness) > 0.0

    def __call__(self, x: jax.Array, softness) -> sft.SoftBool:
        """Whom each rule finds ill, `(count, samples)`, by standardised features `(features, samples)`."""
        feature, negated = self.choices(softness)
        above = sft.soft(x, softness)[feature] > self.threshold[...]
        a, b, c, d = sft.where(negated, ~above, above)
        return (a & b) | (c & d)


@nnx.jit
def train_step(rules: Rules, optimizer: nnx.Optimizer, x, ill, softness) -> None:
    """One step down the gradient. Softness is an array, so that annealing it does not recompile."""
    target = ill.astype(x.dtype)[None]

    def loss(rules: Rules) -> jax.Array:
        verdict = rules(x, softness)
        # The exact rule learns from its mistakes alone; the relaxed one also from hits that were close.
        return ((verdict.st() - target) ** 2 + (verdict.probs - target) ** 2).mean(axis=-1).sum()

    optimizer.update(rules, nnx.grad(loss)(rules))


@nnx.jit
def errors(rules: Rules, x, ill, softness) -> tuple[jax.Array, jax.Array]:
    """The mean squared error of each rule, `(count,)`: of the exact verdict (its error rate), and of the relaxed one."""
    verdict, target = rules(x, softness), ill.astype(x.dtype)[None]
    return (verdict.hard() != ill[None]).mean(axis=-1), ((verdict.probs - target) ** 2).mean(axis=-1)


def train(train_set, validation_set, steps: int, seed: int, every: int = 20, patience: int = 10):
    """The best rule, and the softness at which it was found."""
    rules = Rules(64, train_set[0].shape[0], nnx.Rngs(seed))
    optimizer = nnx.Optimizer(rules, optax.rmsprop(0.03), wrt=nnx.Param)
    anneal = optax.exponential_decay(1.0, steps, 0.1)
    best, lowest, stale = (rules, anneal(0)), np.inf, 0
    for step in (bar := tqdm(range(1, steps + 1), desc="training")):
        softness = anneal(step)
        train_step(rules, optimizer, *train_set, softness)
        if step % every and step < steps:
            continue
        # The higher of its two error rates: a good rule neither overfits nor is lucky on a few validation samples.
        rates = np.maximum(errors(rules, *train_set, softness)[0], errors(rules, *validation_set, softness)[0])
        stale = 0 if rates.min() < lowest else stale + 1
        if rates.min() <= lowest:
            best, lowest = (pick(rules, rates.argmin()), softness), rates.min()
        bar.set_postfix(softness=f"{softness:.2f}", validated=f"{1 - lowest:.3f}")
        if stale == patience:
            break
    return best


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

    def round_thresholds(self, rule: Rules, softness) -> list[tuple[int, bool, float]]:
        """Round the thresholds to 4 digits in the unit of their feature; return the letters of the rule in that unit."""
        feature, negated = (np.asarray(choice.hard()).ravel() for choice in rule.choices(softness))
        mean, deviation = self.mean[feature], self.deviation[feature]
        threshold = mean + deviation * np.asarray(rule.threshold[...]).ravel()
        threshold = np.array([float(f"{t:.4g}") for t in threshold])
        rule.threshold[...] = jnp.asarray((threshold - mean) / deviation, jnp.float32)[:, None, None]
        return list(zip(feature.tolist(), negated.tolist(), threshold.tolist(), strict=True))


@dataclass(frozen=True)
class Result:
    """What was learned, and how good it is on the test samples."""

    rule: str
    accuracy: float
    tree_accuracy: float
    hard_error: float
    soft_error: float

    def __str__(self) -> str:
        return (
            f"malignant if {self.rule}\n\n"
            f"test accuracy of the rule             {self.accuracy:.3f}\n"
            f"of a decision tree of 4 thresholds    {self.tree_accuracy:.3f}\n"
            f"hard/soft gap of the squared error    {self.hard_error - self.soft_error:+.3f}"
            f" ({self.hard_error:.3f} hard, {self.soft_error:.3f} soft)"
        )


def words(letters, names: list[str]) -> str:
    """The rule as text."""
    shown = (f"{names[feature]} {'<=' if negated else '>'} {threshold:.4g}" for feature, negated, threshold in letters)
    return "({} and {})\n       or ({} and {})".format(*shown)


def draw(letters, names: list[str], samples: Samples, out: Path) -> None:
    """Each letter: how its feature is distributed, its threshold, and the side on which it holds."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    for name, axes, (feature, negated, threshold) in zip("abcd", figure.subplots(2, 2).flat, letters, strict=True):
        x = samples.x[:, feature]
        axes.hist([x[~samples.ill], x[samples.ill]], bins=30, stacked=True, label=["benign", "malignant"])
        axes.axvline(threshold, color="black", label="threshold")
        axes.axvspan(*((x.min(), threshold) if negated else (threshold, x.max())), alpha=0.15, color="gray")
        axes.set(title=f"{name}: {names[feature]} {'<=' if negated else '>'} {threshold:.4g}", ylabel="samples")
    axes.legend()
    figure.suptitle("malignant = (a & b) | (c & d); a letter holds where the ground is gray")
    figure.savefig(out)


def main(steps: int = 600, seed: int = 0, out: Path | None = None) -> Result:
    samples, names = load()
    learning, test = samples.split(seed)
    train_samples, validation_samples = learning.split(seed)
    scale = Scale(train_samples.x.mean(axis=0), train_samples.x.std(axis=0))

    rule, softness = train(scale(train_samples), scale(validation_samples), steps, seed)
    letters = scale.round_thresholds(rule, softness)
    hard_error, soft_error = (float(error[0]) for error in errors(rule, *scale(test), softness))
    tree = DecisionTreeClassifier(max_leaf_nodes=5, random_state=seed).fit(*learning)
    if out is not None:
        draw(letters, names, learning, out)
    return Result(words(letters, names), 1 - hard_error, tree.score(*test), hard_error, soft_error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".png"), help="where to save the picture")
    options = parser.parse_args()
    print(f"\n{main(out=options.out)}\n\nthe thresholds are drawn in {options.out}")
