#!/usr/bin/env bash
# Packs two copies of the source, in folders of other names, and compares the packages byte by byte. They stay in
# WORK/packages for run.sh.   build.sh WORK LLAMA_DIR LLAMA_BUILD; exit status 77: skipped
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
skip() { echo "skipped: $1"; exit 77; }
command -v dpkg-shlibdeps > /dev/null || skip "no Debian tools: apt-get install dpkg-dev"
rm -rf "$1"
mkdir -p "$1"
work=$(cd "$1" && pwd)
export CMAKE_BUILD_PARALLEL_LEVEL=2
unset SOURCE_DATE_EPOCH

# copy FOLDER FILE_MODE_MASK: the source as a stranger has it, without a history.
copy() {
    mkdir -p "$1"
    (cd "$source" && tar c --exclude='./build*' --exclude=./.git --exclude=__pycache__ .) | (umask "$2" && tar x --no-same-permissions -C "$1")
    touch -d @1700000000 "$1/CHANGELOG.md"
}
copy "$work/one" 022
copy "$work/two/of another name" 002
one=$("$work/one/scripts/package.sh" "$work/one/out" -DTADA_LLAMA_DIR="$2" -DTADA_LLAMA_BUILD="$3")
two=$("$work/two/of another name/scripts/package.sh" "$work/two/out of the tree" -DTADA_LLAMA_DIR="$2" -DTADA_LLAMA_BUILD="$3")
echo "$one"
[ "$(wc -l <<< "$one")" -eq 2 ] || { echo "FAIL: not a Debian package and an archive"; exit 1; }

failures=0
while read -r a && read -r b <&3; do
    if cmp "$a" "$b"; then
        echo "ok: ${a##*/} is the same from both"
    else
        failures=$((failures + 1))
    fi
done <<< "$one" 3<<< "$two"
mkdir "$work/packages" "$work/root"
while read -r package; do mv "$package" "$work/packages/"; done <<< "$one"
dpkg-deb -x "$work"/packages/*.deb "$work/root"
if grep -rlaF -e "$work" -e "$2" -e "$3" "$work/root"; then
    echo "FAIL: the files above name the folder that they were built in"
    failures=$((failures + 1))
fi
dpkg-deb -f "$work"/packages/*.deb
for dependency in libc6 libcjson1; do
    dpkg-deb -f "$work"/packages/*.deb Depends | grep -qF "$dependency" ||
        { echo "FAIL: does not depend on $dependency"; failures=$((failures + 1)); }
done
dpkg-deb -f "$work"/packages/*.deb Description | grep -q "ggml [0-9]" || { echo "FAIL: no version of ggml"; failures=$((failures + 1)); }
exit "$((failures > 0))"
