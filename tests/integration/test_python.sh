#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Any gRPC client can talk to a node: Python's, with stubs generated from proto/.
. "$(dirname "$0")/lib.sh"
# Debian's python has Debian's grpcio; another python on the PATH need not
python=/usr/bin/python3
$python -c 'import grpc, grpc_tools' 2>/dev/null ||
    skip "python3-grpcio and python3-grpc-tools are missing"
cluster_up 3
$python "$KITH_TOP/tests/integration/kv_python.py" "$(cut -d, -f1 <<<"$servers")"
$python "$KITH_TOP/tests/integration/kv_python.py" "$(cut -d, -f3 <<<"$servers")"
pass
