"""The examples in the docstrings run, and importing the package costs NumPy only."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import laconic.entropy

MODULES = [module.name for module in pkgutil.iter_modules(laconic.entropy.__path__)]
WITH_EXAMPLES = {
    "categorical",
    "check",
    "coder",
    "factorized",
    "gaussian",
    "guard",
    "lanes",
    "logistic",
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(f"laconic.entropy.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name not in WITH_EXAMPLES


def test_public_names_exist_and_are_documented():
    for name in laconic.entropy.__all__:
        assert getattr(laconic.entropy, name).__doc__


def test_importing_needs_numpy_only():
    code = "import sys, laconic.entropy; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & {"constriction", "scipy", "torch", "PIL", "av", "click"}
