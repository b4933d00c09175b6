"""The main job: the rule that is printed is the rule that was learned and tested."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

spec = importlib.util.spec_from_file_location("quickstart", Path(__file__).parent.parent / "examples" / "quickstart.py")
quickstart = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quickstart)


def printed_rule(text, x, names):
    """Evaluate the printed words with numpy: `(a and b) or (c and d)`."""
    letters = re.findall(
        r"([a-z ]+?) (>|<=) (-?[0-9.e+-]+)", text.replace("malignant if (", "").replace("or (", "and ")
    )
    assert len(letters) == 4
    truth = []
    for name, relation, threshold in letters:
        column = x[:, names.index(name.replace(" and ", "").removeprefix("and ").strip())]
        truth.append(column > float(threshold) if relation == ">" else column <= float(threshold))
    a, b, c, d = truth
    return (a & b) | (c & d)


def recomputed_accuracy(result, seed):
    cancer = load_breast_cancer()
    ill = cancer.target == 0
    _, x, _, y = train_test_split(cancer.data, ill, test_size=0.25, stratify=ill, random_state=seed)
    return (printed_rule(result.rule, x, [str(name) for name in cancer.feature_names]) == y).mean()


def test_the_printed_rule_is_the_tested_rule(tmp_path):
    result = quickstart.main(steps=40, out=tmp_path / "picture.png")
    np.testing.assert_allclose(result.accuracy, recomputed_accuracy(result, 0), atol=1e-6)
    assert (tmp_path / "picture.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_learned_rule_is_as_good_as_a_tree():
    result = quickstart.main()
    np.testing.assert_allclose(result.accuracy, recomputed_accuracy(result, 0), atol=1e-6)
    assert result.accuracy >= result.tree_accuracy
    assert result.accuracy > 0.9
