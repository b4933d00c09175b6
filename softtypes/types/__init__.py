"""The soft types."""

from softtypes.types.base import SoftValue as SoftValue
from softtypes.types.soft_array import SoftArray as SoftArray
from softtypes.types.soft_bool import SoftBool as SoftBool
from softtypes.types.soft_index import SoftIndex as SoftIndex
