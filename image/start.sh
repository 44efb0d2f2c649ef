#!/usr/bin/env bash
# In the image, what happens between `docker run` and the program: read the secrets, take on the
# owner of the mounted folder, find a place for the caches, and say at once what would go wrong
# later. It ends in `exec`, so the program is process 1 and `docker stop` reaches it.
#
# A file of its own, because entrypoint.sh serves a bare machine, where nothing of this is wanted.
# In the container it is also the command `appliance`, for `docker exec` and for a shell.
set -euo pipefail

workspace=/workspace
secrets=(HF_TOKEN WANDB_API_KEY)

say() { printf 'appliance: %s\n' "$*" >&2; }
die() {
    say "$1"
    exit 2
}

# NAME_FILE names a file with the secret NAME, as Docker and Kubernetes mount them. Read before
# the rights of root are gone, for such files are often root's alone.
read_secrets() {
    local name file value
    for name in "${secrets[@]}"; do
        file=${name}_FILE
        [[ -n ${!file:-} ]] || continue
        [[ -z ${!name:-} ]] || die "Both $name and $file are set. Set one of them."
        [[ -f ${!file} && -r ${!file} ]] ||
            die "$file names ${!file}, which cannot be read. Mount the secret there, or unset $file."
        value=$(<"${!file}")
        [[ -n $value ]] || die "$file names ${!file}, which is empty."
        export "$name=$value"
        unset "$file"
    done
}

is_mounted() { [[ $(stat -c %m "$1") != / ]]; }

# Root in the container becomes the owner of the mounted folder, so that what it writes is theirs.
# A folder of root stays root's: in a rootless engine, root is the user who started it.
drop_root() {
    local owner uid gid groups
    [[ $(id -u) == 0 ]] && is_mounted "$workspace" || return 0
    owner=$(stat -c %u:%g "$workspace")
    uid=${owner%:*} gid=${owner#*:}
    [[ $uid != 0 ]] || return 0
    # What --group-add gave (a GPU's group, say) is kept; root's own group is not.
    groups=$(id -G | tr ' ' '\n' | grep -vx 0 | paste -sd,) || true
    local become=(setpriv --reuid "$uid" --regid "$gid" --inh-caps=-all)
    if [[ -n $groups ]]; then become+=(--groups "$groups"); else become+=(--clear-groups); fi
    "${become[@]}" true 2>/dev/null ||
        die "root may not become $owner, the owner of $workspace, in this container. Start it with --user $owner."
    exec "${become[@]}" "$0" "$@"
}

# Why this process cannot write to the workspace, and the command that mends it.
why_unwritable() {
    local owner
    owner=$(stat -c %u:%g "$workspace")
    if ! is_mounted "$workspace"; then
        echo "Nothing is mounted at $workspace, and the container itself is read-only. Mount a folder: -v \"\$PWD\":$workspace."
    elif [[ $(awk -v at="$workspace" '$5 == at {options = $6} END {print options}' /proc/self/mountinfo) =~ (^|,)ro(,|$) ]]; then
        echo "$workspace is mounted read-only. Mount it without :ro."
    elif [[ ${owner%:*} == "$(id -u)" ]]; then
        echo "The folder mounted at $workspace belongs to $owner, who may not write to it. On the host: chmod u+rwx FOLDER."
    else
        echo "The folder mounted at $workspace belongs to $owner and cannot be written by $(id -u):$(id -g). On the host: sudo chown -R $(id -u):$(id -g) FOLDER; or start as its owner: --user \$(id -u):\$(id -g)."
    fi
}

# These only look, or help to find out what is wrong.
only_looks() {
    local argument
    case ${1:-} in bash | sh | doctor) return 0 ;; esac
    for argument; do
        case $argument in -h | --help | --version) return 0 ;; esac
    done
    return 1
}

# Every library keeps its cache where it is found again by the next container.
place_caches() {
    local cache=$workspace/.cache
    [[ -w $workspace ]] || cache=/tmp/appliance-cache-$(id -u)
    export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$cache}
    export HF_HOME=${HF_HOME:-$cache/huggingface}
    export TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-$cache/triton}
    export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$cache/torchinductor}
    export UNSLOTH_COMPILE_LOCATION=${UNSLOTH_COMPILE_LOCATION:-$cache/unsloth_compiled_cache}
    export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$cache/cuda}
    export WANDB_CACHE_DIR=${WANDB_CACHE_DIR:-$cache}
    export WANDB_CONFIG_DIR=${WANDB_CONFIG_DIR:-$cache/home/.config/wandb}
    export WANDB_DATA_DIR=${WANDB_DATA_DIR:-$cache/wandb-data}
    export HOME=$cache/home # a uid without a name has none, and /root cannot be written
    mkdir -p "$HOME" 2>/dev/null || say "$HOME cannot be made: is it someone else's? Caches may fail."
}

warn_of_what_is_lost() {
    local at=$HF_HOME
    if ! is_mounted "$workspace"; then
        say "warning: nothing is mounted at $workspace, so runs and caches go away with the container. Keep them: -v \"\$PWD\":$workspace"
        return
    fi
    while [[ ! -e $at ]]; do at=$(dirname "$at"); done
    is_mounted "$at" ||
        say "warning: HF_HOME=$HF_HOME is inside the container, so downloads go away with it. Keep them: a folder under $workspace"
}

main() {
    [[ $# -gt 0 ]] || set -- --help
    read_secrets
    drop_root "$@"
    [[ -w $workspace && -x $workspace ]] || only_looks "$@" || die "$(why_unwritable)"
    place_caches
    only_looks "$@" || warn_of_what_is_lost
    case $1 in
    bash | sh) exec "$@" ;;
    *) exec /opt/appliance/entrypoint.sh "$@" ;;
    esac
}

main "$@"
