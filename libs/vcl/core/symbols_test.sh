#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The core makes no system call, reads no clock and allocates only through its configuration: the archive may ask the
# linker for nothing else than this list. Usage: symbols_test.sh NM libvcl_core.a
set -eu
allowed='^(mem(cpy|move|set|cmp)|__mem(cpy|move|set)_chk|__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|pmw_[a-z0-9_]+|vcl_[a-z0-9_]+|__(asan|ubsan|tsan|sanitizer|gcov|llvm)_.*)$'
asked=$("$1" -u "$2" | awk '$1 == "U" || $1 == "w" { print $2 }' | sort -u)
[ -n "$asked" ] || { echo "no symbols read from $2"; exit 1; }
strange=$(echo "$asked" | grep -Ev "$allowed" || true)
[ -z "$strange" ] || { echo "the core calls: $strange"; exit 1; }
