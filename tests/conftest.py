"""Makes the helpers beside the tests importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def rule_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with the tiny test models of every published architecture."""
    from rule_models import install

    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LACONIC_MODELS", str(folder))
        install(folder)
    return folder


@pytest.fixture
def rule_models(rule_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of test models, in use."""
    monkeypatch.setenv("LACONIC_MODELS", str(rule_store))
    return rule_store
