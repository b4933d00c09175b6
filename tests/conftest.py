"""A strict universe: no implicit promotion of dtypes or ranks; warnings are errors (pyproject.toml)."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile(
    "softtypes", deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("softtypes")


def pytest_configure(config):
    """Keep what is compiled for the next run; each worker its own, since one may read what another half wrote.

    It takes some 70 MB a worker and interpreter; `pytest --cache-clear` empties it.
    """
    if hasattr(config, "cache"):
        worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir(f"jax-{worker}")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


# In these every test compiles programs of its own. Of the others a worker takes whole files, to compile once what their
# tests share.
APART = {"test_contracts.py", "test_docs.py", "test_reference.py", "test_transport.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.name not in APART:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
