# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The other TransformerLens line, in an environment of its own.
VENV_TL3 ?= .venv-tl3
TL3 := transformer-lens==3.9.0
# What the registry gives today, torch aside: a rename is seen here before a user sees it.
VENV_NEWEST ?= .venv-newest
CORE := $(addsuffix .py,$(addprefix tests/,$(addprefix engine/test_,micro laws engine traps) \
	$(addprefix model/test_,trials token_texts loading) patchscope/test_patchscope))
READER := lensscope/patchscope/data
MARP := CHROME_NO_SANDBOX=1 $(CURDIR)/notebooks/making/node_modules/.bin/marp -c $(CURDIR)/notebooks/making/marp.config.mjs --no-stdin
STATIC := lensscope/explorer/static
# Bytecode is made of what is imported, when it is: most of what is installed never is.
PIP_INSTALL := -m pip install --quiet --no-compile --disable-pip-version-check
export HF_HUB_OFFLINE ?= 1
# Every process that a test starts would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
# Tests run side by side, each on one thread: most are too small to use more.
PYTEST_JOBS ?= 2
# Neighbours in a file stay together, so that what a file makes once is made once.
SIDE_BY_SIDE = -n $(PYTEST_JOBS) --dist worksteal

.PHONY: demo explore test test-tl3 test-newest test-core check format bench families reader course scenes slides bundle pictures resolves docs clean

demo: $(VENV)/.demo
	$(BIN)/lensscope demo --html lensscope-demo.html

# What a model thinks, in a browser.
explore: $(VENV)/.demo
	$(BIN)/lensscope explore --open

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) \
		--cov --cov-report=term:skip-covered --cov-fail-under=95 \
		tests lensscope

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd explorer && npm ci --no-audit --no-fund --silent && npm test --silent
	cd explorer && npm run build --silent -- --outDir ../build/explorer --logLevel warn
	diff -r -x '*.py' build/explorer $(STATIC)

test-tl3: $(VENV_TL3)/.dev
	OMP_NUM_THREADS=1 $(VENV_TL3)/bin/python -m pytest $(SIDE_BY_SIDE) -m line tests

# Warnings of libraries about their own futures are shown, and only wrong results fail.
test-newest:
	test -d $(VENV_NEWEST) || $(PYTHON) -m venv $(VENV_NEWEST)
	grep -i '^torch==' constraints.txt > $(VENV_NEWEST)/constraints.txt
	$(VENV_NEWEST)/bin/python $(PIP_INSTALL) -c $(VENV_NEWEST)/constraints.txt \
		--upgrade --upgrade-strategy eager -e '.[test-core]'
	$(VENV_NEWEST)/bin/python -m pip list --format freeze | grep -i '^trans\|^torch='
	$(MAKE) test-core BIN=$(VENV_NEWEST)/bin

# The core of the tests, by any Python that has what they need.
test-core:
	OMP_NUM_THREADS=1 LENSSCOPE_FEW=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) \
		-W default --deselect tests/model/test_loading.py::test_output_that_holds_only_ascii $(CORE)

bench: $(VENV)/.demo
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.explorer --write
	$(BIN)/python -m benchmarks.lenses --write
	$(BIN)/python -m benchmarks.patching --write
	$(BIN)/python -m benchmarks.readers --write
	$(BIN)/python -m benchmarks.sweeps --write

# What holds on which architecture family: docs/families.md.
families: $(VENV)/.dev
	$(BIN)/python -m benchmarks.families --write

# Train the reader that comes along anew, with its checksum.
reader: $(VENV)/.demo
	$(BIN)/lensscope train-reader --keep-rank 80 --int8 --out $(READER)/tuned.safetensors
	cd $(READER) && sha256sum tuned.safetensors > tuned.sha256

# The explorer's front end, which comes along built: users need no Node.
bundle:
	cd explorer && npm ci --no-audit --no-fund && npm run build

# The pictures of docs/explorer.md, as the browser tests see them.
pictures: $(VENV)/.dev
	LENSSCOPE_BROWSER=needed LENSSCOPE_PICTURES=build/pictures $(BIN)/python -m pytest \
		-p no:cacheprovider tests/explorer/test_browser.py -k 'cell_says or dragged or fills or token_by'
	cp build/pictures/explorer-*.png docs/pictures

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The course: every unit run, with empty, wrong and right answers, and its notebooks written.
course: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m notebooks.making

# The explorer's scenes of the course, a file each, of what the demo model answered before.
scenes: $(VENV)/.dev
	$(BIN)/python -m notebooks.making.scenes build/scenes

# The course's slides, as HTML and PDF; needs Node, and Chromium for the PDF.
slides: $(VENV)/.dev
	$(BIN)/python -m notebooks.making.slides build/slides
	cd notebooks/making && npm ci --no-audit --no-fund --silent
	cd build/slides && $(MARP) *.md && $(MARP) --pdf --pdf-notes *.md

# The manual, in build/site: its pictures are drawn, its reference is made, and no warning passes.
docs: $(VENV)/.docs
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.making.gallery
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict

# The versions that were tested can be had together, on each Python that is promised.
resolves: $(VENV)/.dev
	$(BIN)/python $(PIP_INSTALL) uv
	for each in 3.10.16 3.11.9 3.12 3.13; do echo $$each; \
		$(BIN)/uv pip compile --quiet --python-version $$each --all-extras -c constraints.txt \
			--output-file build/resolved-$$each.txt pyproject.toml || exit 1; done

clean:
	rm -rf $(VENV) $(VENV_TL3) $(VENV_NEWEST) build dist *.egg-info

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[test,check]'
	touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[docs]'
	touch $@

$(VENV_TL3)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV_TL3)
	grep -v -i '^transformer-lens==' constraints.txt > $(VENV_TL3)/constraints.txt
	$(VENV_TL3)/bin/python $(PIP_INSTALL) -c $(VENV_TL3)/constraints.txt '$(TL3)' -e '.[test]'
	touch $@
