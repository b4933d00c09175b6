"""The ordering algorithms, by name. Adding one is adding a file and a line here."""

from softtypes.surrogates.fast_soft_sort import FastSoftSort
from softtypes.surrogates.neuralsort import NeuralSort
from softtypes.surrogates.optimal_transport import OptimalTransport
from softtypes.surrogates.smooth_soft_sort import SmoothSort
from softtypes.surrogates.softsort import SoftSort
from softtypes.surrogates.sorting_network import SortingNetwork

ALGORITHMS = {
    "softsort": SoftSort(),
    "neuralsort": NeuralSort(),
    "ot": OptimalTransport(),
    "sorting_network": SortingNetwork(),
    "fast_soft_sort": FastSoftSort(),
    "smooth_sort": SmoothSort(),
}
