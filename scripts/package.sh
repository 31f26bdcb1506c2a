#!/usr/bin/env bash
# Builds the Debian package and the archive, and prints their paths. The same source and compiler give the same bytes,
# in whatever folder: all files have the time of the last commit, or SOURCE_DATE_EPOCH.
#   package.sh BUILD_DIR [CMAKE_OPTION...]
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: package.sh BUILD_DIR [CMAKE_OPTION...]" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
shift
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    # A source without a history has the time of its list of changes.
    if [ -e "$source/.git" ]; then
        SOURCE_DATE_EPOCH=$(git -C "$source" log -1 --format=%ct)
    else
        SOURCE_DATE_EPOCH=$(stat -c %Y "$source/CHANGELOG.md")
    fi
fi
export SOURCE_DATE_EPOCH
umask 022
rm -f "$build"/tada[-_]*.{deb,tar.gz}
log=$build/package.log
fail() { echo "package.sh: $1" >&2; exit 1; }
step() { "$source/scripts/step.sh" "$log" "$@" >&2 || exit 1; }
: > "$log"
step "package: configuring" cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
    -DBUILD_TESTING=OFF "$@"
step "package: building" cmake --build "$build" --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
[ -f "$build/bin/libggml-tada.so" ] || fail "there is no plug-in: give the source of llama.cpp, -DTADA_LLAMA_DIR=DIR"
# The archive is for any folder, the package for /usr.
cd "$build"
step "package: Debian package" cpack -G DEB -D CPACK_PACKAGING_INSTALL_PREFIX=/usr
step "package: archive" cpack -G TGZ
ls "$build"/tada[-_]*.{deb,tar.gz}
