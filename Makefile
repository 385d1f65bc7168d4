# One command from raw scans to the page: `make all`. `make help` lists the rest.
#
# Make runs twice. The outer call sets up .venv and asks `hipposeg data` which data set there is; the inner call, which
# knows DATASET, compares the notebooks' stamps. Works with GNU make 3.81 (macOS) and newer; on Windows use WSL.

PROFILE ?= standard
PYTHON ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.SUFFIXES:

BIN := .venv/bin
READY := .venv/.stamp
PEERS := .venv/.stamp-bench
OUT := $(if $(HIPPOSEG_OUT),$(HIPPOSEG_OUT),.)
NUMBERS := 01 02 03 04 05 06 07

# The inner call on target $(1), quiet when everything is up to date.
inner = dataset=$$($(BIN)/hipposeg data --profile $(PROFILE)) && \
	if $(MAKE) -q --no-print-directory DATASET=$$dataset $(1) >/dev/null 2>&1; then \
	echo "Nothing to do: artifacts/$$dataset-$(PROFILE) is up to date ($(2))."; \
	else $(MAKE) --no-print-directory DATASET=$$dataset $(1); fi

.PHONY: help setup data all $(NUMBERS) figures smoke report test lint verify lab clean lock sync bench speed FORCE

# Only the inner call names DATASET on its command line; a variable of that name in the environment means nothing.
ifneq ($(origin DATASET),command line)

help: ## list the targets
	@echo "make <target> [PROFILE=smoke|standard|full]    (standard unless said otherwise)"
	@echo
	@sed -nE 's/^([a-z0-9 ]+):[^#]*## (.*)/\1|\2/p' Makefile | awk -F'|' '{printf "  %-22s %s\n", $$1, $$2}'
	@echo
	@echo "Variables: HIPPOSEG_DATA, HIPPOSEG_OFFLINE, HIPPOSEG_OUT, HIPPOSEG_TORCH, HIPPOSEG_THREADS, HIPPOSEG_CLIP (see README.md)"

setup: $(READY) ## make .venv with the exact packages of requirements.lock

# A torch build asked for that is not the one installed makes set-up run again.
chosen := $(shell cat .venv/torch-build 2>/dev/null)
$(READY): requirements.lock pyproject.toml $(if $(HIPPOSEG_TORCH),$(if $(filter $(HIPPOSEG_TORCH),$(chosen)),,FORCE))
	@PYTHON="$(PYTHON)" sh .ci/setup.sh

data: $(READY) ## find the data set, or download it, and say which it is
	@$(BIN)/hipposeg data --profile $(PROFILE) --retry

all: $(READY) ## every notebook, its figures and numbers, and the page
	@$(call inner,page,all notebooks and the page)

01 02 03 04 05 06 07: $(READY) ## one notebook and what it needs
	@if ls notebooks/$@_*.py >/dev/null 2>&1; then $(call inner,notebook-$@,notebook $@); \
	else echo "Notebook $@ is not written yet: there is no notebooks/$@_*.py."; fi

figures: $(READY) ## every notebook's figures, without the page
	@$(call inner,notebooks,all notebooks)

smoke: $(READY) ## the whole path on a tiny phantom, in a few minutes
	@$(MAKE) --no-print-directory all PROFILE=smoke

report: $(READY) ## the page again from artifacts, and the figures of 07 too where the data is
	@$(BIN)/hipposeg report --profile $(PROFILE) --evaluate

test: lint ## lint, unit tests, notebooks' smoke run, artifact checks
	@$(BIN)/python -m pytest -q

lint: $(READY) ## ruff, import layers, notebooks in sync
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/hipposeg sync --check

verify: $(READY) ## two smoke runs from scratch, compared byte for byte
	@rm -rf .work/verify
	@HIPPOSEG_OUT="$(CURDIR)/.work/verify/a" $(MAKE) --no-print-directory all PROFILE=smoke
	@HIPPOSEG_OUT="$(CURDIR)/.work/verify/b" $(MAKE) --no-print-directory all PROFILE=smoke
	@$(BIN)/hipposeg compare .work/verify/a/artifacts/phantom-smoke .work/verify/b/artifacts/phantom-smoke

# The peers' packages, beside those of requirements.lock and without changing any of them.
$(PEERS): $(READY) requirements-bench.lock
	@$(BIN)/uv pip install --python $(BIN)/python --no-deps -r requirements-bench.lock \
		|| $(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-bench.lock
	@touch $@

bench: $(PEERS) ## races and speeds against nnU-Net v2 and MONAI's DynUNet, on an idle machine (hours)
	@$(BIN)/hipposeg bench

speed: $(PEERS) ## speed of this CPU in float32, beside nnU-Net v2 and DynUNet, in ten idle minutes
	@$(BIN)/hipposeg bench --quick

lab: $(READY) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab notebooks

sync: $(READY) ## write the .ipynb files from their .py sources
	@$(BIN)/hipposeg sync

lock: $(READY) ## resolve requirements.in into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make lock" requirements.in -o requirements.lock
	@echo "requirements.lock is resolved; the next target installs it."

clean: ## remove caches, checkpoints and the phantom's output (keeps .venv, data and committed artifacts)
	@rm -rf .work artifacts/phantom-* .pytest_cache .ruff_cache .import_linter_cache
	@find src tests notebooks -name __pycache__ -prune -exec rm -rf {} +
	@echo "Removed .work, artifacts/phantom-* and the tools' caches. Also gone: \`rm -rf .venv\`, if you want that too."

else

WORK := $(OUT)/.work/$(DATASET)-$(PROFILE)
ARTIFACTS := $(OUT)/artifacts/$(DATASET)-$(PROFILE)
STAMPS := $(WORK)/stamps
PAGE := $(if $(filter msd-standard,$(DATASET)-$(PROFILE)),$(OUT),$(ARTIFACTS))/project.html
SOURCES := $(shell find src -type f ! -path '*/__pycache__/*' ! -path '*.egg-info*')
PRESENT := $(foreach number,$(NUMBERS),$(if $(wildcard notebooks/$(number)_*.py),$(number)))

.PHONY: notebooks page $(PRESENT:%=notebook-%)

page: $(STAMPS)/page
notebooks: $(PRESENT:%=$(STAMPS)/%)

# A stamp says that a notebook ran with this source, package, lock, data set and profile, and is as old as the run's start,
# so that what is edited meanwhile counts as newer. It counts only as long as the executed copy is there.
define notebook_rule
notebook-$(1): $(STAMPS)/$(1)
$(STAMPS)/$(1): $(wildcard notebooks/$(1)_*.py) $(SOURCES) $(READY) $(WORK)/data.json \
		$(if $(wildcard $(ARTIFACTS)/notebooks/$(1)_*.ipynb),,FORCE)
	@mkdir -p $(STAMPS) && touch $$@.started
	$(if $(filter full,$(PROFILE)),@$(BIN)/hipposeg series $(1))
	$(if $(filter full07,$(PROFILE)$(1)),@$(BIN)/hipposeg study --all)
	@$(BIN)/hipposeg execute $(1) --profile $(PROFILE)
	@mv $$@.started $$@
endef
$(foreach number,$(PRESENT),$(eval $(call notebook_rule,$(number))))

# Notebooks 03 to 06 show what series have left, 03 to 05 also the benchmark, 07 the series and what studies have left; 04
# and 05 set their networks beside the 2D one; the evaluation reads what every other notebook wrote.
$(STAMPS)/03 $(STAMPS)/04 $(STAMPS)/05: $(wildcard $(OUT)/artifacts/bench/summary.json)
$(STAMPS)/03 $(STAMPS)/04 $(STAMPS)/05 $(STAMPS)/06 $(STAMPS)/07: $(if $(filter full,$(PROFILE)),,$(wildcard $(OUT)/artifacts/$(DATASET)-full/runs/*/config.json))
$(STAMPS)/04 $(STAMPS)/05: $(STAMPS)/03
$(STAMPS)/07: $(if $(filter full,$(PROFILE)),,$(wildcard $(OUT)/artifacts/$(DATASET)-full/studies/*.csv))
$(STAMPS)/07: $(patsubst %,$(STAMPS)/%,$(filter-out 07,$(PRESENT)))

# Its table shows the series, too.
$(STAMPS)/page: $(if $(filter full,$(PROFILE)),,$(wildcard $(OUT)/artifacts/$(DATASET)-full/results.csv))
$(STAMPS)/page: $(PRESENT:%=$(STAMPS)/%) $(SOURCES) $(if $(wildcard $(PAGE)),,FORCE)
	@mkdir -p $(STAMPS) && touch $@.started
	@$(BIN)/hipposeg report --profile $(PROFILE) --dataset $(DATASET) --made
	@mv $@.started $@

endif
