#!/usr/bin/env bash
# Fetches the pinned llama.cpp (inside the source archive of a Python package), checks it and builds its shared
# libraries and tools, once.  get_llama.sh BUILD_DIR  ->  BUILD_DIR/llama.cpp (source), BUILD_DIR/llama (build)
#   get_llama.sh --source BUILD_DIR             only the source
#   get_llama.sh --demo BUILD_DIR               only the tools that scripts/demo.py and tada run need: with llama-bench
#                                               tada finds the libraries
#   get_llama.sh --archive                      prints the path of the archive
#   get_llama.sh --release VERSION BUILD_DIR    another release of that package, for tests/engine/test_other_host.sh
#   get_llama.sh --variants BUILD_DIR           built as llama.cpp's own releases are, for tests/engine/test_variants.sh: one
#                                               folder of tools and libraries, and in it one library for each kind of CPU
set -euo pipefail
package=llama-cpp-python version=0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
tools=(llama-cli llama-completion llama-server llama-bench llama-perplexity llama-quantize llama-speculative-simple
    ggml-rpc-server)
# Of another release, what shows that the plug-in works, or steps aside: how fast it is does not matter.
optimise=()
if [ "${1:-}" = --release ]; then
    [ "${2:-}" = "$version" ] || tools=(llama-simple) optimise=("-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")
    version=${2:-}
    case $version in
        0.3.36) ;;
        0.3.35) sha256=1139dbb54509074b70893fab8554e3b079aa9f4d312058ce4018ef0019e3de12 ;; # ggml 0.20.0
        0.3.16) sha256=34ed0f9bd9431af045bb63d9324ae620ad0536653740e9bb163a2e1fcb973be6 ;; # other vtables, too
        *) echo "get_llama.sh: the checksums of 0.3.36, 0.3.35 and 0.3.16 are known, not that of '$version'" >&2; exit 2 ;;
    esac
    shift 2
fi

here=$(cd "$(dirname "$0")" && pwd)
fetch_archive() {
    "$here/fetch.sh" "$package" "$version" "llama_cpp_python-$version.tar.gz" "$sha256" --no-binary "$package"
}

if [ "$*" = --archive ]; then
    fetch_archive
    exit
fi
only_source='' part=rpc
case ${1:-} in
    --source) only_source=1; shift ;;
    --demo) part=demo tools=(llama-cli llama-completion llama-bench); shift ;;
    --variants) part=variants tools=(llama-cli llama-completion llama-bench llama-server); shift ;;
esac
[ $# -eq 1 ] || { echo "usage: get_llama.sh [--release VERSION] [--source | --demo | --variants] BUILD_DIR, or --archive" >&2; exit 2; }
mkdir -p "$1/bin"
build=$(cd "$1" && pwd)
source=$build/llama.cpp
if [ ! -f "$source/.complete-$version" ]; then
    archive=$(fetch_archive)
    rm -rf "$source" "$source.part"
    mkdir -p "$source.part"
    tar xzf "$archive" -C "$source.part" --strip-components=3 "llama_cpp_python-$version/vendor/llama.cpp"
    # A file that points at a repository which is not here.
    rm -f "$source.part/.git"
    touch "$source.part/.complete-$version"
    mv "$source.part" "$source"
fi
[ -z "$only_source" ] || exit 0
# The name also tells what was built: "rpc" all of it, "demo" two tools. What is there is not built again.
if [ ! -f "$build/llama/.complete-$version-$part" ] && [ ! -f "$build/llama/.complete-$version-rpc" ]; then
    # Where no path may have a #, as in the commands of CMake, a link stands for the folder, and programs find their
    # libraries from their own place.
    folder=$build place=()
    if [[ $build == *#* ]]; then
        link=$(mktemp -d)
        trap 'rm -rf "$link"' EXIT
        ln -s "$build" "$link/build"
        folder=$link/build place=(-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON)
        rm -rf "$build/llama"
    fi
    generator=()
    if [ ! -f "$build/llama/CMakeCache.txt" ] && command -v ninja > /dev/null; then
        generator=(-G Ninja)
    fi
    # llama.cpp loads GGML_BACKEND_PATH with every tool only where all backends are modules (GGML_BACKEND_DL), and then it
    # wants the features of the CPU at hand by name, or all variants.
    features=()
    if [ "$part" = variants ]; then
        features=(-DGGML_CPU_ALL_VARIANTS=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN" -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON)
    else
        flags=" $(grep -m 1 -E '^flags' /proc/cpuinfo || true) "
        for pair in sse4_2:SSE42 avx:AVX avx2:AVX2 f16c:F16C fma:FMA bmi2:BMI2 avx512bw:AVX512 avx512vbmi:AVX512_VBMI \
            avx512_vnni:AVX512_VNNI avx512_bf16:AVX512_BF16 avx_vnni:AVX_VNNI; do
            case $flags in
                *" ${pair%:*} "*) features+=("-DGGML_${pair#*:}=ON") ;;
                *) features+=("-DGGML_${pair#*:}=OFF") ;;
            esac
        done
    fi
    # Git must not find the repository around the build folder: its commit would become that of ggml.
    export GIT_CEILING_DIRECTORIES=$folder
    "$here/step.sh" "$build/make.log" "llama.cpp: configuring" cmake -S "$folder/llama.cpp" -B "$folder/llama" \
        "${generator[@]}" "${place[@]}" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
        -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=ON -DLLAMA_BUILD_UI=OFF \
        -DLLAMA_USE_PREBUILT_UI=OFF -DGGML_BACKEND_DL=ON -DGGML_RPC=ON -DGGML_NATIVE=OFF "${features[@]}" "${optimise[@]}" \
        -DGGML_CCACHE=OFF >&2
    "$here/step.sh" "$build/make.log" "llama.cpp: building (once, some 10 minutes)" cmake --build "$folder/llama" --parallel "$(nproc)" \
        --target "${tools[@]}" >&2
    touch "$build/llama/.complete-$version-$part"
fi
for tool in "${tools[@]}"; do
    ln -sfn "../llama/bin/$tool" "$build/bin/$tool"
done
