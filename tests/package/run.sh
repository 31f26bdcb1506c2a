#!/usr/bin/env bash
# The packages, used as a stranger does: installed into a Debian that has nothing but what they ask for, beside a
# llama.cpp, without the source, by a user with an empty home.
#   run.sh WORK LLAMA_BIN MAKE_MODEL; WORK: where build.sh was; exit status 77: skipped
# The Debian is made by debootstrap, once; where that cannot be had, it is this computer with all of its folders under a
# layer that forgets what is written. TADA_TEST_ROOT=debootstrap or layer asks for one of them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $1"; exit 77; }
fail() { echo "FAIL: $1"; exit 1; }
work=$(cd "$1" && pwd)
tools=$(cd "$2" && pwd)
make_model=$(readlink -f "$3")
package=$(echo "$work"/packages/*.deb)
archive=$(echo "$work"/packages/*.tar.gz)
[ -f "$package" ] || skip "there are no packages in $work"
[ "$(id -u)" -eq 0 ] || skip "only root can make such a place"
unshare --mount --net true 2> /dev/null || skip "this computer lets nobody make a namespace"

# bootstrap ROOT: a small Debian of the same release and from the same mirror as this one, with what the package asks for.
bootstrap() {
    command -v debootstrap > /dev/null || return 1
    local release mirror needed
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 2> /dev/null | awk -v release="$release" '$2 == release { print $1; exit }')
    [ -n "$release" ] && [ -n "$mirror" ] || return 1
    needed=$(dpkg-deb -f "$package" Depends | sed 's/ ([^)]*)//g; s/ |[^,]*//g; s/[[:space:]]//g')
    if [ ! -f "$work/../debian.tar" ]; then
        timeout 7200 debootstrap --variant=minbase --include="$needed" "$release" "$1" "$mirror" > "$work/debootstrap.log" 2>&1 || return 1
        rm -rf "$1"/var/cache/apt/archives/*.deb
        tar c --one-file-system -C "$1" -f "$work/../debian.tar.part" . && mv "$work/../debian.tar.part" "$work/../debian.tar"
    else
        tar x -C "$1" -f "$work/../debian.tar"
    fi
}

root=$work/debian
rm -rf "$root" "$work/start"
mkdir -p "$root" "$work/start"
kind=${TADA_TEST_ROOT:-}
if [ "$kind" != layer ] && bootstrap "$root"; then
    kind=debootstrap
else
    [ "$kind" != debootstrap ] || fail "debootstrap did not work; the log is $work/debootstrap.log"
    kind=layer
    rm -rf "$root"
    mkdir -p "$root"
fi
echo "root: $kind"
"$make_model" "$work/start/model.gguf" 4 0.5
cp "$package" "$archive" "$here/inside.sh" "$here/use.c" "$work/start/"
cp -a "$tools" "$work/start/llama.cpp"
find "$work/start/llama.cpp" -type f -name 'test-*' -delete

# In namespaces of its own: no network, and mounts that go with it.
hidden="$(cd "$here/../.." && pwd) $(cd "$tools/.." && pwd) $(cd "$work/.." && pwd)"
KIND=$kind ROOT=$root START=$work/start HIDDEN=$hidden unshare --mount --net --pid --fork --propagation private bash -euo pipefail -c '
    if [ "$KIND" = layer ]; then
        mkdir -p "$ROOT"
        mount -t tmpfs -o size=2g tmpfs "$ROOT"
        mkdir "$ROOT/upper" "$ROOT/work" "$ROOT/merged"
        mount -t overlay -o "lowerdir=/,upperdir=$ROOT/upper,workdir=$ROOT/work" overlay "$ROOT/merged" ||
            { echo "skipped: folders cannot be laid over each other here, and debootstrap did not work"; exit 77; }
        ROOT=$ROOT/merged
    fi
    mkdir -p "$ROOT/start"
    mount --bind "$START" "$ROOT/start"
    for folder in $HIDDEN; do
        if [ -d "$ROOT$folder" ]; then mount -t tmpfs tmpfs "$ROOT$folder"; fi
    done
    mount -t proc proc "$ROOT/proc"
    [ -e "$ROOT/dev/null" ] || mount --rbind /dev "$ROOT/dev"
    exec chroot "$ROOT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 OMP_WAIT_POLICY=passive bash /start/inside.sh
'
