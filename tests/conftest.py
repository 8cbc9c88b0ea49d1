"""Makes the helpers beside the tests importable; one thread for each of several workers."""

import os
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before anything starts a team of threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

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


@pytest.fixture
def kept_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of videos keep their frames instead of fitting networks to them."""
    import stand_in

    import laconic.codec.video

    monkeypatch.setitem(sys.modules, "laconic.codec.video.chunk", stand_in)
    monkeypatch.setattr(laconic.codec.video, "chunk", stand_in, raising=False)
    stand_in.calls.clear()
    stand_in.pause.seconds, stand_in.pause.at_step = 0.0, None
