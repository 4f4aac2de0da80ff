#!/usr/bin/env bash
# Train on two hosts, made by network namespaces of this machine, as torchrun would on two machines. Needs Linux, root
# and iproute2. Prints Markdown; fails if a check fails.
# Usage: benchmarks/multi_node.sh DATA [--updates N] [--set KEY=VALUE]; the environment variable PYTHON names another python3
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/two_hosts.sh" "${PYTHON:-python3}" "$here/multi_node.py" "$@"
