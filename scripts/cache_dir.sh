#!/usr/bin/env bash
# Makes the folder where what is fetched stays, and prints its path: XDG_CACHE_HOME/tada, else .cache/tada in the home.
# Who has no home gets one among the temporary files.
set -euo pipefail
cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [ -z "$cache" ] || ! mkdir -p "$cache/tada" 2> /dev/null; then
    cache=${TMPDIR:-/tmp}/tada-cache-$(id -u)
    # Somebody else's folder of that name is not to be trusted.
    { (umask 077 && mkdir -p "$cache/tada") && [ -O "$cache" ] && [ -O "$cache/tada" ]; } || {
        echo "cache_dir.sh: there is no folder to keep what is fetched in: set XDG_CACHE_HOME to one that can be written to" >&2
        exit 1
    }
fi
echo "$cache/tada"
