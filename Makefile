# One command from raw scans to the page: `make all`. `make help` lists the rest. GNU make 3.81 or newer; on Windows use WSL.
PROFILE ?= standard
override PROFILE := $(if $(filter smoke,$(MAKECMDGOALS)),smoke,$(PROFILE))
OUT := $(or $(HIPPOSEG_OUT),.)
BIN := .venv/bin
READY := .venv/.stamp
NOTEBOOKS := $(wildcard notebooks/[0-9]*_*.py)
NUMBERS := $(foreach name,$(notdir $(NOTEBOOKS)),$(firstword $(subst _, ,$(name))))
SOURCES := $(shell find src -type f ! -path '*/__pycache__/*' ! -path '*.egg-info*')
CODE := $(filter-out src/hipposeg_lab/page/% src/hipposeg_lab/cli.py,$(SOURCES))

# A stamp says that a step ran on the present sources and data; it is as old as the start of the step. Each place where
# artifacts are written has its own stamps. Among them, `data` holds what `hipposeg data` printed last.
STAMPS := .work/stamps/$(if $(filter smoke,$(PROFILE)),smoke,all)$(if $(HIPPOSEG_OUT),-$(firstword $(shell echo '$(OUT)' | cksum)))
STEPS := $(NOTEBOOKS:notebooks/%.py=$(STAMPS)/%)
PHANTOM := $(filter phantom,$(shell cat $(STAMPS)/data 2>/dev/null))
ARTIFACTS := $(OUT)/$(if $(PHANTOM),.work/phantom/)artifacts
# Names of the executed notebooks and of the page that exist, and tables that are written outside of `make all`, too.
COPIES := $(shell ls "$(ARTIFACTS)/notebooks" "$(if $(PHANTOM),$(ARTIFACTS),$(OUT))/project.html" 2>/dev/null)
TABLES := $(if $(PHANTOM),,$(wildcard $(addprefix $(ARTIFACTS)/,runs.csv bench/summary.json studies/*.json)))
NOTHING = @[ -n "$$(find $(STAMPS) -type f -newer $(STAMPS)/began)" ] || echo "Nothing to do: $@ is up to date."

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDEXPANSION:
.PHONY: help setup data all $(NUMBERS) figures smoke report page test test-install lint verify bench speed lab sync lock clean FORCE

help: ## list the targets
	@echo "make <target> [PROFILE=stored|standard|full|smoke]    (standard unless given)"; echo
	@sed -nE 's/^([a-z$$][a-zN()UMBERS -]*):[^#]*## (.*)/\1|\2/p' Makefile | sed 's/$$(NUMBERS)/$(NUMBERS)/' \
		| awk -F'|' '{printf "  %-22s %s\n", $$1, $$2}'; echo
	@echo "Variables: HIPPOSEG_DATA, HIPPOSEG_OFFLINE, HIPPOSEG_OUT, HIPPOSEG_TORCH, HIPPOSEG_THREADS, HIPPOSEG_CLIP (see README.md)"

setup: $(READY) ## make .venv with the exact packages of requirements.lock
# Another build of torch than the installed one makes set-up run again.
chosen := $(shell cat .venv/torch-build 2>/dev/null)
$(READY): requirements.lock pyproject.toml $(if $(HIPPOSEG_TORCH),$(if $(filter $(HIPPOSEG_TORCH),$(chosen)),,FORCE))
	@PYTHON="$(PYTHON)" sh .ci/setup.sh

data: $(READY) ## find the data set, or download it, and print where it is
	@$(BIN)/hipposeg data --profile $(PROFILE) --retry
# Written again only if the data set or the profile changed, so that what depends on it then runs again.
$(STAMPS)/data: $(READY) FORCE
	@mkdir -p $(STAMPS) && touch $(STAMPS)/began
	@$(BIN)/hipposeg data --profile $(PROFILE) >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(STAMPS)/runs: $(READY) $(filter src/hipposeg/%,$(CODE)) $(STAMPS)/data
	@touch $@.began
	$(if $(filter stored,$(PROFILE)),,@$(BIN)/hipposeg train --plan $(PROFILE))
	$(if $(filter full,$(PROFILE)),@grep -q ^phantom $(STAMPS)/data || $(BIN)/hipposeg-lab study --all)
	@mv $@.began $@

$(STEPS): $(STAMPS)/%: notebooks/%.py $(CODE) $(TABLES) $(STAMPS)/runs
	@touch $@.began
	@$(BIN)/hipposeg execute $(firstword $(subst _, ,$*)) --profile $(PROFILE)
	@mv $@.began $@
$(filter-out $(COPIES:%.ipynb=$(STAMPS)/%),$(STEPS)): FORCE
# The evaluation reads what the other notebooks wrote.
$(filter $(STAMPS)/07_%,$(STEPS)): $(filter-out $(STAMPS)/07_%,$(STEPS))

$(STAMPS)/page: $(SOURCES) $(TABLES) $(STEPS) $(if $(filter %project.html,$(COPIES)),,FORCE)
	@touch $@.began
	@$(BIN)/hipposeg-lab page --profile $(PROFILE) --dataset $$(cut -d' ' -f1 $(STAMPS)/data) --made
	@mv $@.began $@

all: $(STAMPS)/page ## train, run every notebook, build the page
	$(NOTHING)
$(NUMBERS): $$(filter $(STAMPS)/$$@_%,$(STEPS)) ## one notebook and what it needs
	$(NOTHING)
figures: $(STEPS) ## every notebook, without the page
	$(NOTHING)
smoke: all ## the whole path on a small phantom, in five minutes
report page: $(READY) ## the page again from artifacts
	@$(BIN)/hipposeg-lab page --profile $(PROFILE)

test: lint ## lint and all tests
	@$(BIN)/python -m pytest -q
test-install: $(READY) ## the wheel alone in an empty environment: help, a crop (HIPPOSEG_DATA) and a head (HIPPOSEG_HEADS)
	@rm -rf build .work/install && $(BIN)/python -m venv .work/install
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w .work/install . && rm -rf build
	@$(BIN)/uv pip install -q --python .work/install/bin/python $(if $(filter cpu,$(chosen)),--torch-backend cpu) \
		-c requirements.lock .work/install/*.whl
	@.work/install/bin/hipposeg --help
	@[ -z "$$HIPPOSEG_DATA" ] || .work/install/bin/hipposeg predict "$$HIPPOSEG_DATA/imagesTr/hippocampus_001.nii.gz" -o .work/install/crop
	@[ -z "$$HIPPOSEG_HEADS" ] || .work/install/bin/hipposeg predict "$$HIPPOSEG_HEADS/example_1p75mm_t1.nii.gz" -o .work/install/head
lint: $(READY) ## ruff, import layers, notebooks in sync
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/hipposeg sync --check
verify: $(READY) ## two smoke runs from scratch, compared byte for byte
	@rm -rf .work/verify
	@set -e; for side in a b; do export HIPPOSEG_OUT="$(CURDIR)/.work/verify/$$side"; $(BIN)/hipposeg train --plan smoke; \
		for number in $(NUMBERS); do $(BIN)/hipposeg execute $$number --profile smoke; done; \
		$(BIN)/hipposeg-lab page --profile smoke --dataset phantom; done
	@$(BIN)/hipposeg compare .work/verify/a/.work/phantom/artifacts .work/verify/b/.work/phantom/artifacts

# Other packages to compare with, beside those of requirements.lock and without changing any of them.
.venv/.stamp-bench: $(READY) requirements-bench.lock
	@$(BIN)/uv pip install --python $(BIN)/python --no-deps -r requirements-bench.lock \
		|| $(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-bench.lock
	@touch $@
bench: .venv/.stamp-bench ## accuracy for equal time, and speed, beside nnU-Net v2 and DynUNet, on an idle machine (hours)
	@$(BIN)/hipposeg-lab bench
speed: .venv/.stamp-bench ## speed of this CPU in float32, beside nnU-Net v2 and DynUNet (ten minutes, idle machine)
	@$(BIN)/hipposeg-lab bench --quick

lab: $(READY) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab notebooks
sync: $(READY) ## write the .ipynb files from their .py sources
	@$(BIN)/hipposeg sync
lock: $(READY) ## resolve requirements.in into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make lock" requirements.in -o requirements.lock
	@echo "requirements.lock is resolved; the next target installs it."
clean: ## remove .work (trained runs, caches, the phantom) and the tools' caches; keeps .venv, data and artifacts
	@rm -rf .work build .pytest_cache .ruff_cache .import_linter_cache
	@find src tests notebooks -name __pycache__ -prune -exec rm -rf {} +
