#!/usr/bin/env bash
# Train on two hosts, made by network namespaces of this machine with a virtual cable between them, as torchrun would on
# two machines. Needs Linux, root and the package iproute2. Prints a Markdown table; fails if a check fails.
# Usage: benchmarks/multi_node.sh DATA [--python PYTHON] [options of multi_node.py]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=python3
data=$1
shift
if [ "${1:-}" = --python ]; then python=$2 && shift 2; fi
one=nmt-$$-a two=nmt-$$-b
cleanup() { for host in "$one" "$two"; do ip netns del "$host" 2> /dev/null || true; done; }
trap cleanup EXIT
for host in "$one" "$two"; do ip netns add "$host" && ip -n "$host" link set lo up; done
ip link add eth0 netns "$one" type veth peer name eth0 netns "$two"
ip -n "$one" addr add 10.77.0.1/24 dev eth0 && ip -n "$one" link set eth0 up
ip -n "$two" addr add 10.77.0.2/24 dev eth0 && ip -n "$two" link set eth0 up
export PYTHONPATH="$(dirname "$here")${PYTHONPATH:+:$PYTHONPATH}"
"$python" "$here/multi_node.py" "$data" --hosts "$one=10.77.0.1" "$two=10.77.0.2" "$@"
