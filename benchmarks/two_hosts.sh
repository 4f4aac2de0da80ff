#!/usr/bin/env bash
# Run a command with two hosts, made by network namespaces of this machine with a virtual cable between them. Their names
# and addresses are appended to the command as --hosts NAME=ADDRESS NAME=ADDRESS. Needs Linux, root and iproute2.
# Usage: benchmarks/two_hosts.sh COMMAND…
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
one=nmt-$$-a two=nmt-$$-b
cleanup() { for host in "$one" "$two"; do ip netns del "$host" 2> /dev/null || true; done; }
trap cleanup EXIT
for host in "$one" "$two"; do ip netns add "$host" && ip -n "$host" link set lo up; done
ip link add eth0 netns "$one" type veth peer name eth0 netns "$two"
ip -n "$one" addr add 10.77.0.1/24 dev eth0 && ip -n "$one" link set eth0 up
ip -n "$two" addr add 10.77.0.2/24 dev eth0 && ip -n "$two" link set eth0 up
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
"$@" --hosts "$one=10.77.0.1" "$two=10.77.0.2"
