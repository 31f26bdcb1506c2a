#!/usr/bin/env bash
# lines.sh: no source file is longer than 600 lines.
set -euo pipefail
cd "$(dirname "$0")/../.."
long=$(find src include common threads session ggml cli tests bench fuzz python scripts cmake CMakeLists.txt -type f \
    \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.py' -o -name '*.sh' -o -name '*.cmake' -o -name CMakeLists.txt \) \
    -exec wc -l {} + | awk '$1 > 600 && $2 != "total"')
[ -z "$long" ] || { echo "more than 600 lines:"; echo "$long"; exit 1; }
