#!/usr/bin/env bash
# The installed tree, moved elsewhere, as CMake and pkg-config show it to other projects.   consume.sh BUILD
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cmake --install "$1" --prefix "$work/installed" > "$work/log"
mv "$work/installed" "$work/moved here"
python3 "$here/../../scripts/check_links.py" --installed "$work/moved here"
cmake -S "$here/consumer" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/moved here" > "$work/log"
cmake --build "$work/build" >> "$work/log" || { cat "$work/log"; exit 1; }
for program in use_shared use_static cache; do
    "$work/build/$program"
done
pc=$(find "$work/moved here" -name tada.pc)
version=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --modversion tada)
grep -q "^tada $version," <<< "$("$work/build/use_shared")"
