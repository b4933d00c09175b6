"""Differentiable programming with types: soft values that carry the exact hard view along."""

from softtypes._relaxation import Relaxation as Relaxation
from softtypes.ops.comparison import equal as equal
from softtypes.ops.comparison import greater as greater
from softtypes.ops.comparison import greater_equal as greater_equal
from softtypes.ops.comparison import isclose as isclose
from softtypes.ops.comparison import less as less
from softtypes.ops.comparison import less_equal as less_equal
from softtypes.ops.comparison import not_equal as not_equal
from softtypes.ops.elementwise import abs as abs
from softtypes.ops.elementwise import clip as clip
from softtypes.ops.elementwise import heaviside as heaviside
from softtypes.ops.elementwise import maximum as maximum
from softtypes.ops.elementwise import minimum as minimum
from softtypes.ops.elementwise import relu as relu
from softtypes.ops.elementwise import round as round
from softtypes.ops.elementwise import sigmoidal as sigmoidal
from softtypes.ops.elementwise import sign as sign
from softtypes.ops.elementwise import softrelu as softrelu
from softtypes.ops.logic import all as all
from softtypes.ops.logic import any as any
from softtypes.ops.logic import implies as implies
from softtypes.ops.logic import log_all as log_all
from softtypes.ops.logic import log_any as log_any
from softtypes.ops.logic import logical_and as logical_and
from softtypes.ops.logic import logical_not as logical_not
from softtypes.ops.logic import logical_or as logical_or
from softtypes.ops.logic import logical_xor as logical_xor
from softtypes.ops.make import soft as soft
from softtypes.ops.ordering import argmax as argmax
from softtypes.ops.ordering import argmedian as argmedian
from softtypes.ops.ordering import argmin as argmin
from softtypes.ops.ordering import argpercentile as argpercentile
from softtypes.ops.ordering import argquantile as argquantile
from softtypes.ops.ordering import argsort as argsort
from softtypes.ops.ordering import max as max
from softtypes.ops.ordering import median as median
from softtypes.ops.ordering import min as min
from softtypes.ops.ordering import percentile as percentile
from softtypes.ops.ordering import quantile as quantile
from softtypes.ops.ordering import rank as rank
from softtypes.ops.ordering import sort as sort
from softtypes.ops.ordering import sort_by as sort_by
from softtypes.ops.ordering import top_k as top_k
from softtypes.ops.safe import arccos as arccos
from softtypes.ops.safe import arcsin as arcsin
from softtypes.ops.safe import div as div
from softtypes.ops.safe import log as log
from softtypes.ops.safe import norm as norm
from softtypes.ops.safe import sqrt as sqrt
from softtypes.ops.selection import choose as choose
from softtypes.ops.selection import dynamic_index_in_dim as dynamic_index_in_dim
from softtypes.ops.selection import dynamic_slice as dynamic_slice
from softtypes.ops.selection import dynamic_slice_in_dim as dynamic_slice_in_dim
from softtypes.ops.selection import take as take
from softtypes.ops.selection import take_along_axis as take_along_axis
from softtypes.ops.selection import where as where
from softtypes.softening import soften as soften
from softtypes.straight_through import grad_replace as grad_replace
from softtypes.straight_through import lift as lift
from softtypes.straight_through import st as st
from softtypes.types import SoftArray as SoftArray
from softtypes.types import SoftBool as SoftBool
from softtypes.types import SoftIndex as SoftIndex

__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "compat":  # loaded when asked for
        import softtypes.compat as compat

        return compat
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
