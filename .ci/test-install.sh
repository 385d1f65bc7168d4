#!/bin/sh
# 1. The wheel and its core dependencies alone in an empty environment: help, a crop where HIPPOSEG_DATA is set, and a head where
#    HIPPOSEG_HEADS is set. 2. Every notebook and the page on the phantom. 3. Three notebooks as in Colab.
# Called by `make test-install`.
set -eu
rm -rf build .work/install
.venv/bin/python -m venv .work/install
.venv/bin/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w .work/install .
rm -rf build
[ "$(cat .venv/torch-build)" = cpu ] && backend="--torch-backend cpu" || backend=
# shellcheck disable=SC2086  # two words or none
.venv/bin/uv pip install -q --python .work/install/bin/python $backend -c requirements.lock .work/install/*.whl
.work/install/bin/hipposeg --help
[ -z "${HIPPOSEG_DATA:-}" ] || .work/install/bin/hipposeg predict "$HIPPOSEG_DATA/imagesTr/hippocampus_001.nii.gz" -o .work/install/crop
[ -z "${HIPPOSEG_HEADS:-}" ] || .work/install/bin/hipposeg predict "$HIPPOSEG_HEADS/example_1p75mm_t1.nii.gz" -o .work/install/head
.venv/bin/python -m pytest -q -m whole
.venv/bin/python .ci/colab_twin.py smoke 00 01 07
