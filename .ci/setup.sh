#!/bin/sh
# Make .venv and install the exact packages of requirements.lock and this project into it. Called by `make setup`.
#
# Every file is checked against the SHA-256 that the lock holds, by uv and by pip. PyTorch's CPU build has other files: they come
# over HTTPS from pytorch.org, and are checked against the hashes of its index.
#
# HIPPOSEG_TORCH=cpu takes PyTorch's CPU build on Linux (0.2 GB) instead of the default one with its CUDA libraries (several
# GB); HIPPOSEG_TORCH=default goes back. The choice is kept in .venv/torch-build until it is made again.
set -eu

uv_version=0.13.8
cpu_index=https://download.pytorch.org/whl/cpu
venv=.venv
lock=requirements.lock

fail() {
    printf '\n%s\n' "make setup stopped: $*" >&2
    exit 1
}

supported() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if supported "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
}

make_venv() {
    if [ -d "$venv" ] && ! supported "$venv/bin/python"; then
        echo "$venv does not hold a working Python 3.11 or newer: making it again"
        rm -rf "$venv"
    fi
    if [ ! -d "$venv" ]; then
        python=$(find_python)
        found=$(python3 --version 2>/dev/null || echo "no python3 at all")
        [ -n "$python" ] || fail "Python 3.11 or newer is needed, and this machine's python3 is: $found." \
            "Install one (python.org, your package manager, or conda with environment.yml), then run" \
            "\`make setup PYTHON=/path/to/python3.11\`."
        echo "Making $venv with $("$python" --version)"
        if ! "$python" -m venv "$venv"; then
            rm -rf "$venv"
            fail "\`$python -m venv\` did not work. On Debian and Ubuntu install the package python3-venv, then try again."
        fi
    fi
}

# Which build of torch: what the variable says, else what was chosen before, else the default.
choose_torch() {
    torch=${HIPPOSEG_TORCH:-$(cat "$venv/torch-build" 2>/dev/null || echo default)}
    case $torch in
        default | cpu) ;;
        *) fail "HIPPOSEG_TORCH is '$torch'; it may be 'cpu' or 'default'." ;;
    esac
}

# install <arguments of pip install>: with uv, or loudly with pip where uv does not work.
install() {
    if [ "$uv" = yes ]; then
        "$venv/bin/uv" pip install --python "$venv/bin/python" "$@" && return
        printf '\n%s\n%s\n\n' "WARNING: uv could not install the packages (its message stands above)." \
            "WARNING: falling back to pip, which is slower and installs the same versions." >&2
        uv=no
    fi
    "$venv/bin/python" -m pip install --disable-pip-version-check "$@"
}

install_packages() {
    packages=$lock
    # Elsewhere than on Linux the default wheel is a CPU build already.
    if [ "$torch" = cpu ] && [ "$(uname -s)" = Linux ]; then
        packages=$venv/cpu.lock
        # A package is a line with its version and indented ones with its hashes.
        awk '/^[a-z]/ { left_out = /^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==/ } !left_out' "$lock" >"$packages"
        pins=$(sed -nE 's/^(torch|torchvision)==([0-9.]+).*/\1==\2+cpu/p' "$lock")
        # shellcheck disable=SC2086  # two words on purpose
        install --no-deps --index-url "$cpu_index" $pins || fail "PyTorch's CPU build was not to be had from $cpu_index." \
            "Check the connection and try again, or run \`make setup HIPPOSEG_TORCH=default\`."
    fi
    install --no-deps -r "$packages" || fail "the packages of $lock could not be installed; pip's message stands above." \
        "Without a network connection set-up cannot work the first time; behind a proxy set HTTPS_PROXY. Then run it again:" \
        "what is already downloaded is kept."
    # Setuptools is one of the locked packages: no second, unpinned build environment is downloaded.
    install --no-deps --no-build-isolation -q -e . || fail "the project itself could not be installed into $venv." \
        "Remove the folder $venv and run \`make setup\` again."
}

make_venv
choose_torch
rm -f "$venv/.stamp"
uv=yes
"$venv/bin/python" -m pip install --disable-pip-version-check -q "uv==$uv_version" || {
    printf '\n%s\n\n' "WARNING: uv $uv_version could not be installed; using pip, which is slower and installs the same versions." >&2
    uv=no
}
install_packages
version=$("$venv/bin/python" -c 'import hipposeg, torch, torchvision; print(torch.__version__)') || fail "the packages are installed, but torch does not start" \
    "(its message stands above). Remove the folder $venv and run \`make setup\` again."
echo "$torch" >"$venv/torch-build"
touch "$venv/.stamp"
echo "Set-up is complete: $("$venv/bin/python" --version), torch $version"
