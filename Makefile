# One command from raw scans to the page: `make all`. `make help` lists the rest. GNU make 3.81 or newer; on Windows use WSL.
PROFILE ?= standard
override PROFILE := $(if $(filter smoke,$(MAKECMDGOALS)),smoke,$(PROFILE))
OUT := $(or $(HIPPOSEG_OUT),.)
BIN := .venv/bin
READY := .venv/.stamp
NOTEBOOKS := $(wildcard notebooks/[0-9A][0-9]_*.py)
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
TABLES := $(if $(PHANTOM),,$(wildcard $(addprefix $(ARTIFACTS)/,runs.csv bench/summary.json studies/*.json weights/*.json)))
NOTHING = @[ -n "$$(find $(STAMPS) -type f -newer $(STAMPS)/began)" ] || echo "Nothing to do: $@ is up to date."

# Where a shell forbids bytecode, each of the many processes would compile its packages again, for seconds.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.NOTPARALLEL .DELETE_ON_ERROR .SUFFIXES .SECONDEXPANSION:
.PHONY: help setup data all $(NUMBERS) smoke page test coverage test-install colab lint verify bench speed battery lab sync lock bom clean FORCE

help: ## list the targets
	@echo "make <target> [PROFILE=stored|standard|full|smoke], or the number of a notebook: $(NUMBERS)"
	@sed -nE 's/^([a-z-]+): [^#]*## /\1\t/p' Makefile | expand -t 16
	@echo "Variables, see README.md: HIPPOSEG_ DATA, OFFLINE, OUT, TORCH, THREADS, CLIP, HEADS"

setup: $(READY) ## make .venv with the exact packages of requirements.lock
# Another build of torch than the installed one makes set-up run again.
$(READY): requirements.lock pyproject.toml $(if $(filter-out $(shell cat .venv/torch-build 2>/dev/null),$(HIPPOSEG_TORCH)),FORCE)
	@PYTHON="$(PYTHON)" sh .ci/setup.sh

data: $(READY) ## find the data set, or download it, and print where it is
	@$(BIN)/hipposeg data --profile $(PROFILE)
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

$(STEPS): $(STAMPS)/%: notebooks/%.py notebooks/captions.toml $(CODE) $(TABLES) $(STAMPS)/runs
	@touch $@.began
	@$(BIN)/hipposeg execute $(firstword $(subst _, ,$*)) --profile $(PROFILE)
	@mv $@.began $@
$(filter-out $(COPIES:%.ipynb=$(STAMPS)/%),$(STEPS)): FORCE
# The evaluation reads what the other chapters wrote.
$(filter $(STAMPS)/07_%,$(STEPS)): $(filter-out $(STAMPS)/07_% $(STAMPS)/A%,$(STEPS))

$(STAMPS)/page: $(SOURCES) $(TABLES) $(STEPS) $(if $(filter %project.html,$(COPIES)),,FORCE)
	@touch $@.began
	@$(BIN)/hipposeg-lab page --profile $(PROFILE) --dataset $$(cut -d' ' -f1 $(STAMPS)/data) --made
	@mv $@.began $@

all: $(STAMPS)/page ## train, run every notebook, build the page
	$(NOTHING)
$(NUMBERS): $$(filter $(STAMPS)/$$@_%,$(STEPS))
	$(NOTHING)
smoke: all ## the whole path on a small phantom, in five minutes
page: $(READY) ## the page again from artifacts
	@$(BIN)/hipposeg-lab page --profile $(PROFILE)

test: lint ## lint and all tests but those of the whole path
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not whole"
# The test that coverage leaves out limits the size of all files, and coverage writes one itself.
coverage: $(READY) ## lines and branches of the package that these tests reach; writes studies/coverage.txt
	@mkdir -p .work/coverage && $(BIN)/coverage erase && $(BIN)/coverage run -m pytest -q -n 2 --dist loadfile -m "not whole" \
		--deselect tests/test_cli.py::test_a_disk_that_takes_no_more && $(BIN)/coverage combine -q
	@$(BIN)/coverage report >$(OUT)/artifacts/studies/coverage.txt && tail -n 1 $(OUT)/artifacts/studies/coverage.txt
test-install: $(READY) ## the whole path: the wheel alone, every notebook and the page on the phantom, three as in Colab
	@sh .ci/test-install.sh
colab: $(READY) ## every notebook as in Google Colab, in an environment of its own (PROFILE=stored reads HIPPOSEG_DATA)
	@$(BIN)/python .ci/colab_twin.py $(PROFILE:standard=smoke) $(NUMBERS)
lint: $(READY) ## ruff, import layers, notebooks in sync
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/hipposeg sync --check
verify: $(READY) ## two smoke runs from scratch, compared byte for byte
	@sh .ci/verify.sh $(NUMBERS)

# Other packages to compare with, beside those of requirements.lock and without changing any of them.
.venv/.stamp-bench: $(READY) requirements-bench.lock
	@$(BIN)/python -m uv pip install --python $(BIN)/python --no-deps -r requirements-bench.lock
	@touch $@
bench: .venv/.stamp-bench ## accuracy for equal time, and speed, beside nnU-Net v2 and DynUNet, on an idle machine (hours)
	@$(BIN)/hipposeg-lab bench
speed: .venv/.stamp-bench ## speed of this CPU in float32, beside nnU-Net v2 and DynUNet (ten minutes, idle machine)
	@$(BIN)/hipposeg-lab bench --quick
battery: $(READY) ## try damage, kills and small bugs; writes studies/battery.csv and two more; goes on where it stopped (hours)
	@$(BIN)/hipposeg-lab battery

lab: $(READY) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab --ip=127.0.0.1 notebooks
sync: $(READY) ## write the .ipynb files from their .py sources
	@$(BIN)/hipposeg sync
# pip takes no hashes beside an editable project, so environment.yml names the versions alone.
lock: $(READY) ## resolve requirements.in into requirements.lock and constraints.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
		--custom-compile-command "make lock" requirements.in -o requirements.lock
	@sed -n 's/ \\$$//; /==/p' requirements.lock >constraints.txt
	@echo "requirements.lock is resolved; the next target installs it, and make bom then lists it."
bom: $(READY) ## list the packages of requirements.lock with their licences in sbom.cdx.json
	@$(BIN)/python .ci/bom.py
clean: ## remove .work (trained runs, caches, the phantom) and the tools' caches; keeps .venv, data and artifacts
	@rm -rf .work build .pytest_cache .ruff_cache .import_linter_cache
	@find src tests notebooks -name __pycache__ -prune -exec rm -rf {} +
