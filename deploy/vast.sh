#!/usr/bin/env bash
# Rent one machine of Vast.ai and train on it:
#
#   vastai search offers 'num_gpus=1 gpu_ram>=24 disk_space>=100 cuda_vers>=13.0'
#   IMAGE=registry.example/appliance:latest deploy/vast.sh OFFER [train --run runs/first …]
#
# The runs lie on the machine's own disk until it is destroyed: fetch them with `vastai copy`
# first. An interrupted machine starts the same command again, which goes on where it was.
set -euo pipefail

offer=${1:?deploy/vast.sh OFFER [VERB …]: which offer of vastai search offers?}
shift
[[ $# -gt 0 ]] || set -- train --run runs/first

# Secrets go by Vast's own account settings (vastai create env-var HF_TOKEN …), not by this line.
exec vastai create instance "$offer" \
    --image "${IMAGE:?where you pushed yours, e.g. registry.example/appliance:latest}" \
    --disk "${DISK:-100}" \
    --label appliance \
    --cancel-unavail \
    --args "$@"
