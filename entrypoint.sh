#!/usr/bin/env bash
# The one way in: ./entrypoint.sh train …, ./entrypoint.sh test, any other verb, or --help.
#
# On a bare machine the first start installs the locked requirements into .venv beside this script;
# later starts only compare a hash. In the image (APPLIANCE_IMAGE=1) nothing is ever installed.
#
#   APPLIANCE_PYTHON   the Python to use (3.11, 3.12 or 3.13)
#   APPLIANCE_LOCK     cpu or cuda, where the choice by itself is wrong
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
venv=$here/.venv
log=$venv/install.log # made first: it also marks .venv as ours
stamp=$venv/installed # written last: without it an install counts for nothing
dev_stamp=$venv/installed-dev

say() { printf 'appliance: %s\n' "$*" >&2; }
die() {
    say "$1"
    exit "${2:-1}"
}

hash_of() { sha256sum "$here/requirements/$1.txt" | cut -c1-64; }

find_python() {
    local candidate found=
    for candidate in ${APPLIANCE_PYTHON:+"$APPLIANCE_PYTHON"} \
        ${APPLIANCE_PYTHON:-python3.11 python3.12 python3.13 python3}; do
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null || continue
        found=$candidate
        "$candidate" -c 'import ensurepip, venv' 2>/dev/null || continue
        command -v "$candidate"
        return
    done
    [[ -z $found ]] || die "$found has no venv module. Install it (Debian, Ubuntu: apt-get install $(basename "$found")-venv) and start again." 2
    [[ -z ${APPLIANCE_PYTHON:-} ]] || die "APPLIANCE_PYTHON=$APPLIANCE_PYTHON is not a Python 3.11, 3.12 or 3.13 that runs. Name one, or unset it." 2
    die "No Python 3.11, 3.12 or 3.13 was found. Install one (Debian, Ubuntu: apt-get install python3.11 python3.11-venv), or name one in APPLIANCE_PYTHON, and start again." 2
}

has_gpu() {
    [[ -e /dev/nvidiactl ]] || { command -v nvidia-smi && nvidia-smi -L; } &>/dev/null
}

wanted_lock() {
    if [[ -n ${APPLIANCE_LOCK:-} ]]; then
        echo "$APPLIANCE_LOCK"
    elif has_gpu; then
        echo cuda
    else
        echo cpu
    fi
}

# Does pip's report ($1) say that this torch needs CUDA packages?
is_cuda_build() { grep -Eq '"(nvidia|cuda)-[a-z]' "$1"; }

# The stamp: which lock was asked for, which one was installed, its hash, the Python and its path.
is_installed() {
    local asked installed hash python
    [[ -r $stamp && -x $venv/bin/python ]] || return 1
    read -r asked installed hash python <"$stamp" || return 1
    [[ -z ${APPLIANCE_PYTHON:-} || $python == "$(command -v "$APPLIANCE_PYTHON")" ]] || return 1
    if [[ -n ${APPLIANCE_LOCK:-} || $installed == cpu ]]; then # what is made for cuda runs anywhere
        [[ $asked == "$(wanted_lock)" ]] || return 1
    fi
    [[ $hash == "$(hash_of "$installed")" ]]
}

pip_quietly() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" >>"$log" 2>&1 && return
    say "pip failed. The end of $log:"
    tail -n 30 "$log" >&2
    die "Nothing usable was installed. Mend what pip names (network, disk space, package index) and start again: it begins anew."
}

compile_all() {
    say "PYTHONDONTWRITEBYTECODE is set: compiling now, or every start would take 15 s longer"
    "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" &>>"$log" || true # some files never compile
}

install() {
    local python lock asked seconds=$SECONDS
    python=$(find_python)
    lock=$(wanted_lock) asked=$lock
    [[ ! -e $venv || -e $log ]] || die "$venv exists and was not made by this script. Move it away and start again." 2
    [[ -w $here ]] || die "$here cannot be written to, so nothing can be installed there." 2
    say "first start with this lock: installing into $venv"
    rm -rf "$venv"
    mkdir "$venv"
    : >"$log"
    "$python" -m venv "$venv" >>"$log" 2>&1 || die "$python -m venv failed: see $log." 1

    if [[ $lock == cpu ]]; then
        pip_quietly install --dry-run --ignore-installed --no-deps --report "$venv/torch.json" \
            "$(grep -o '^torch==[^ ]*' "$here/requirements/cpu.txt")"
        if is_cuda_build "$venv/torch.json"; then
            say "this package index has only the CUDA build of torch, which needs several GB of CUDA packages even here. To save them, point PIP_EXTRA_INDEX_URL at PyTorch's own CPU index (see Get started on pytorch.org), delete $venv and start again."
            lock=cuda
        fi
    fi
    case $lock in
    cpu) say "requirements/cpu.txt, for a machine without a GPU: 2 GB on disk, one to three minutes" ;;
    cuda) say "requirements/cuda.txt, for an NVIDIA GPU: 6 GB on disk, two to ten minutes" ;;
    esac
    # A first import compiles the third of the files that it needs: sooner done than all of them.
    pip_quietly install --no-deps --no-compile -r "$here/requirements/$lock.txt"
    [[ -z ${PYTHONDONTWRITEBYTECODE:-} ]] || compile_all # no import will do it
    echo "$here" >"$(echo "$venv"/lib/python3.*/site-packages)/appliance.pth"
    echo "$asked $lock $(hash_of "$lock") $python" >"$stamp"
    say "installed in $((SECONDS - seconds)) s"
}

install_dev() {
    say "installing what the tests need (requirements/dev.txt): some seconds"
    pip_quietly install --no-deps -r "$here/requirements/dev.txt"
    hash_of dev >"$dev_stamp"
}

is_dev_installed() { [[ -r $dev_stamp && $(<"$dev_stamp") == "$(hash_of dev)" ]]; }

# Run $2 unless $1 holds; of two starts at once, one installs and the other waits.
once() {
    if "$1"; then return; fi
    exec 9<"$here"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "another start is installing: waiting for it"
        flock 9
    fi
    "$1" || "$2"
    exec 9<&-
}

main() {
    export HF_HUB_DISABLE_TELEMETRY=${HF_HUB_DISABLE_TELEMETRY:-1}
    export UNSLOTH_DISABLE_STATISTICS=${UNSLOTH_DISABLE_STATISTICS:-1}
    export DO_NOT_TRACK=${DO_NOT_TRACK:-1}
    [[ $# -gt 0 ]] || set -- --help

    # -P: a file of the caller's folder named like a library must not be imported in its place.
    if [[ -n ${APPLIANCE_IMAGE:-} ]]; then
        [[ $1 != test ]] || die "The image carries no tests: run ./entrypoint.sh test in a clone." 2
        exec python -P -m appliance "$@"
    fi
    [[ ${APPLIANCE_LOCK:-cpu} =~ ^(cpu|cuda)$ ]] ||
        die "APPLIANCE_LOCK=$APPLIANCE_LOCK is neither cpu nor cuda. Set one of them, or unset it." 2
    once is_installed install
    if [[ $1 == test ]]; then
        once is_dev_installed install_dev
        # Its many processes would compile the package each for itself.
        unset PYTHONDONTWRITEBYTECODE
        shift
        cd "$here"
        exec "$venv/bin/python" -m pytest "$@"
    fi
    exec "$venv/bin/python" -P -m appliance "$@"
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
