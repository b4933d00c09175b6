"""Other libraries' public functions, by this one: their users change one import."""

from softtypes.compat import softjax as softjax
