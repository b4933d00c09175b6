"""A strict universe: no implicit promotion of dtypes or ranks; warnings are errors (pyproject.toml)."""

import os
import re
from importlib.metadata import version

import jax
import pytest
from hypothesis import HealthCheck, settings

# A mesh of devices; and programs that are compiled to be run once, in which optimisation would not earn back its time.
# CI also runs them as everybody has them compiled.
FLAGS = [
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12):  # later ones abort at the first of these
    FLAGS += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))

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


# In these every test compiles programs of its own. Of the others a worker takes whole files, or what a file has of one
# algorithm, to compile once what their tests share.
APART = {"test_contracts.py", "test_docs.py", "test_reference.py", "test_transport.py"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """By a scheduler of our own: the groups of pytest-xdist 3.8 are lost on pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    from softtypes.surrogates.algorithms import ALGORITHMS

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            if file.rpartition("/")[-1] in APART:
                return nodeid
            return f"{file} {next((name for name in re.split(r'[^a-z_]+', test) if name in ALGORITHMS), '')}"

    return Scheduler(config, log)


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
