#!/usr/bin/env bash
# headers.sh INCLUDE_DIR: the public header alone is sound C11 and C++, for each compiler that is there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
printf '#include "tada.h"\n#include "tada.h"\nint main(void) { return tada_version() == 0; }\n' > "$work/use.c"
cp "$work/use.c" "$work/use.cpp"
warnings=(-Wall -Wextra -pedantic -Werror -fsyntax-only "-I$1")
n=0

try() {
    local compiler=$1 standard=$2 file=$3
    command -v "$compiler" > /dev/null || return 0
    "$compiler" "-std=$standard" "${warnings[@]}" "$file"
    echo "ok      $compiler -std=$standard"
    n=$((n + 1))
}
for compiler in cc gcc clang; do
    try $compiler c11 "$work/use.c"
    try $compiler c17 "$work/use.c"
done
for compiler in c++ g++ clang++; do
    try $compiler c++11 "$work/use.cpp"
    try $compiler c++17 "$work/use.cpp"
done
[ $n -gt 0 ]
