PYTHON ?= python3
BIN := .venv/bin
# Settings to run instead of config.yaml: make run config=mine.yaml
config ?= config.yaml

.PHONY: run test explain clean

run: .venv/installed
	@$(BIN)/snakemake --quiet host --configfile='$(config)' -- all
	@cat results/summary.txt
	@echo "Look next at results/report.html, results/settings.yaml and results/runs/"

test: .venv/installed
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The id goes through the environment as it stands: neither make nor a shell reads it.
unexport id
explain: export LONGSPAN_ID := $(value id)
explain: .venv/installed
	@$(BIN)/longspan explain -- "$$LONGSPAN_ID"

clean:
	rm -rf results .snakemake

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
# pip would take a build of torch whose hash its index tells before one whose file lies in a folder; so it first
# fetches the one that it would take without hashes.
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --dest .venv/torch \
		"$$(grep --only-matching '^torch==[^ ]*' constraints.txt)"
	sed -n '/^torch==/,/[^\]$$/p' constraints.txt > .venv/torch/constraints.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --no-index --find-links .venv/torch \
		--requirement .venv/torch/constraints.txt
	rm -r .venv/torch
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement constraints.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev,fast,slurm,examples]'
	@touch $@
