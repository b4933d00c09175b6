"""The main job tells the truth: the printed rule is the tested one, and it is at least as good as a tree."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from examples.quickstart import Rules, Scale, load, main, read

LETTER = re.compile(r"([a-z][a-z ]*?) (<=|>) ([\d.e+-]+)")


def verdict(rule: str, samples, names: list[str]) -> np.ndarray:
    """The printed rule, read back and evaluated by numpy on raw measurements."""

    def holds(match: re.Match) -> np.ndarray:
        name, sign, threshold = match.groups()
        x, threshold = samples.x[:, names.index(name)], float(threshold)
        return x <= threshold if sign == "<=" else x > threshold

    text = re.fullmatch(r"malignant if \((.+) and (.+)\)\s+or \((.+) and (.+)\)", rule)
    assert text is not None, rule
    a, b, c, d = (holds(LETTER.fullmatch(letter)) for letter in text.groups())
    return (a & b) | (c & d)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """The result of a few steps, the picture, and how often the model was traced."""
    traces, picture = [], tmp_path_factory.mktemp("quickstart") / "rule.png"
    with pytest.MonkeyPatch.context() as patch:
        call = Rules.__call__
        patch.setattr(Rules, "__call__", lambda self, *args: traces.append(args) or call(self, *args))
        result = main(steps=30, out=picture)
    return result, picture, len(traces)


def accuracy_by_numpy(rule: str) -> float:
    samples, names = load()
    _, test = samples.split(0)
    return (verdict(rule, test, names) == test.ill).mean()


def test_printed_rule_is_the_rule_that_was_tested(short_run):
    result, _, _ = short_run
    assert result.accuracy == pytest.approx(accuracy_by_numpy(result.rule), abs=1e-6)


@pytest.mark.parametrize("negated", [False, True])
def test_letters_read_as_the_rule_decides(negated):
    """For each letter by itself, with thresholds exactly on measurements."""
    samples, names = load()
    scale = Scale(samples.x.mean(axis=0), samples.x.std(axis=0))
    rule = Rules(1, len(names), nnx.Rngs(0))
    rule.leaning[...] = jnp.full((4, 1, 1), 1.0 if negated else -1.0)
    on_a_sample = (samples.x[17] - scale.mean) / scale.deviation
    features = np.asarray(rule.feature(0.1).hard())
    rule.threshold[...] = jnp.asarray(on_a_sample[features][..., None], jnp.float32)
    text = "malignant if ({} and {})\n          or ({} and {})".format(*read(rule, 0.1, scale, names))
    x, _ = scale(samples)
    np.testing.assert_array_equal(rule(x, 0.1).hard()[0], verdict(text, samples, names))


def test_annealing_does_not_recompile(short_run):
    """One trace a program: a step, the mistakes in training and in validation, and those of the chosen rule."""
    assert short_run[2] <= 4


def test_picture_is_drawn(short_run):
    assert short_run[1].read_bytes().startswith(b"\x89PNG")


def test_report_shows_what_was_found(short_run):
    result, _, _ = short_run
    for shown in (result.rule, f"{result.accuracy:.3f}", f"{result.tree_accuracy:.3f}", f"{result.soft_accuracy:.3f}"):
        assert shown in str(result)


@pytest.mark.slow
def test_rule_is_as_good_as_a_tree():
    result = main()
    assert result.accuracy == pytest.approx(accuracy_by_numpy(result.rule), abs=1e-6)
    assert result.accuracy > 0.9
    assert result.accuracy >= result.tree_accuracy - 0.02
