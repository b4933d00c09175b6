"""The ordering algorithms, by name. Adding one is adding a file and a line here."""

from softtypes.surrogates.neuralsort import NeuralSort
from softtypes.surrogates.softsort import SoftSort

ALGORITHMS = {
    "softsort": SoftSort(),
    "neuralsort": NeuralSort(),
}
