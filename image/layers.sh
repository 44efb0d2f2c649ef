#!/usr/bin/env bash
# The size of every layer of a built image, and the total.
#
#   image/layers.sh IMAGE [docker|podman]
#
# buildah keeps its images where podman finds them, and names no sizes of layers itself.
set -euo pipefail

image=${1:?image/layers.sh IMAGE [docker|podman]}
engine=${2:-}
for candidate in podman docker; do
    [[ -n $engine ]] || ! command -v "$candidate" >/dev/null || engine=$candidate
done
[[ -n $engine ]] || {
    echo "neither docker nor podman was found" >&2
    exit 2
}

# The engine says `1.42 GB` or `1.42GB`, newest first; what made the layer is behind the tab.
"$engine" history --no-trunc --format '{{.Size}}{{"\t"}}{{.CreatedBy}}' "$image" | tac |
    awk -F '\t' '
        BEGIN {unit["B"] = 1e-6; unit["kB"] = 1e-3; unit["KB"] = 1e-3; unit["MB"] = 1; unit["GB"] = 1e3}
        {
            size = $1 + 0
            gsub(/[0-9. ]/, "", $1)
            size *= unit[$1]
            if (size == 0) next
            gsub(/[ \t]+/, " ", $2)
            sub(/^(RUN )?(\|[0-9]+ .* )?\/bin\/sh -c (#\(nop\) )?(--mount=[^ ]* )*/, "", $2)
            printf "%9.1f MB  %s\n", size, substr($2, 1, 90)
            total += size
        }
        END {printf "%9.1f MB  in all\n", total}'
