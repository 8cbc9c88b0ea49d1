# make demo   install everything, encode and decode the sample photographs
# make test   install everything, lint, type check, run all tests
# The tests compare with CompressAI, which asks for numpy < 2 and runs with 2 as well: it is
# installed without its dependencies, which the extra `dev` names.
# make bench  speed and memory beside the codecs people use, as ratios; a quarter of an hour on a core
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint bench install fuzz clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps compressai
	touch $@

# An editable install in strict mode links the files that exist: link again for new ones.
install: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e codec/models_extra

demo: install
	$(BIN)/laconic demo --out demo -f

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 --dist loadfile --durations 15

fuzz: install
	$(BIN)/pytest -m fuzz

bench: install
	$(BIN)/python benchmarks/entropy_speed.py
	$(BIN)/python benchmarks/image_speed.py
	$(BIN)/python benchmarks/large_inputs.py --small
	$(BIN)/python benchmarks/audio_speed.py --minutes 2
	$(BIN)/python benchmarks/toolkit_speed.py

clean:
	rm -rf $(VENV) build codec/models_extra/build demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
