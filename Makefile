# make repro   install, run the whole pipeline on the built-in data set, print the results
# make claims  the papers' claims on the built-in data: trains, compares with docs/CLAIMS.md, about an hour on two cores (estimate);
#              SMALL=1, about four minutes, as CI does
# make test    install, run the test-suite; its end says what was skipped, and why
# make test-quick  the same without the slow tests: kills, clusters, damaged files, whole pipelines
# make test-avx2   the tests that a processor can change, as one without AVX-512 computes them
# make test-readers   install the newest releases of other programs that read shards, and run docs/READING.md
# make fuzz    1,000 damaged videos through extraction (needs ../shared/data)
# make exact   5,000 made videos of numbered pictures, each returned picture compared with the one that is due
# make docs    the documentation as a site, in site/index.html
# make kills   20 kills each of driver, worker, node and trainer, each continued and compared
PYTHON ?= python3
VENV := .venv
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
# tests on two cores, in the order of tests/conftest.py; each of the two processes may come to 3 GB
SIDE_BY_SIDE := -n $(JOBS) --maxprocesses 2 --no-loadscope-reorder
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed

export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: install repro claims test test-quick test-avx2 test-readers fuzz exact kills docs lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tdn-data needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The runs are independent and take one core each: as many side by side as there are cores, then whatever is left.
# Their lines go through sed, which puts the run's name before those that lack it; bars of several would overwrite each other.
repro: install
	@echo '== 1 of 4: videos, frames and optical flow; about 2 minutes for the built-in clips on two cores'
	dvc repro extract
	@echo '== 2 of 4: training and testing the runs, $(JOBS) at a time; about 4 minutes'
	@python -c "import yaml; print(*yaml.safe_load(open('params.yaml'))['runs'], sep='\n')" \
	  | xargs -P $(JOBS) -I RUN sh -c '{ dvc repro --quiet evaluate@RUN && echo "trained and tested" || echo "left for step 3"; } 2>&1 \
	    | sed -u "/^RUN: /! s/^/RUN: /"'
	@echo '== 3 of 4: what is left, the scores of several runs added, the report; about half a minute'
	dvc repro
	@echo '== 4 of 4: the results'
	@python -m tdn_data.stages.results
	@echo 'Three commands to try next, after . $(VENV)/bin/activate:'
	@echo '  tdn-data inspect data/shards/demo/flow --sheet sheet.png   # a picture of the flow'
	@echo '  dvc exp run -S defaults.train.epochs=8                     # train again with another parameter'
	@echo '  dvc metrics diff                                           # and compare with what is committed'

WHICH ?= $(if $(SMALL),small,all)
WHAT ?= compare
claims: install
	@python -m tdn_data.stages.claims $(WHICH) $(WHAT) $(JOBS)

test: install
	python -m pytest $(SIDE_BY_SIDE)

test-quick: install
	python -m pytest $(SIDE_BY_SIDE) -m "not slow"

test-avx2: install
	env $$(cat tests/avx2.env) python -m pytest $(SIDE_BY_SIDE) tests/models tests/pipeline/flow tests/pipeline/extraction/test_payloads.py tests/test_processor.py

test-readers: install
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt datasets duckdb polars webdataset
	python -m pytest tests/stages/test_documents.py -k "python_of or one_after"

fuzz: install
	TDN_DATA_MUTATIONS=1000 python -m pytest tests/pipeline/extraction/test_fuzz.py

exact: install
	TDN_DATA_EXACT=5000 python -m pytest tests/pipeline/video/test_exact.py

kills: install
	TDN_DATA_KILLS=20 python -m pytest tests/pipeline/extraction/test_kills.py tests/models/training/test_kills.py

docs: install
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --site-dir site

lint: install
	ruff check .
	ruff format --check .

clean:
	rm -rf $(VENV) site site-source data snapshots runs/*/checkpoint.pt runs/*/scores.parquet
