#!/bin/sh
# Two smoke runs from scratch, compared byte for byte. Arguments: numbers of the notebooks. Called by `make verify`.
set -eu
rm -rf .work/verify
for side in a b; do
    HIPPOSEG_OUT=$PWD/.work/verify/$side
    export HIPPOSEG_OUT
    .venv/bin/hipposeg train --plan smoke
    for number in "$@"; do .venv/bin/hipposeg execute "$number" --profile smoke; done
    .venv/bin/hipposeg-lab page --profile smoke --dataset phantom
done
.venv/bin/hipposeg compare .work/verify/a/.work/phantom/artifacts .work/verify/b/.work/phantom/artifacts
