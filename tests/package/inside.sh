#!/usr/bin/env bash
# What run.sh does in the small Debian: /start has the packages, a llama.cpp and a model.
# shellcheck disable=SC2046 # pkg-config prints words
set -uo pipefail
failures=0
check() { # WHAT COMMAND...
    if "${@:2}" > /tmp/out 2>&1; then
        echo "ok: $1"
    else
        echo "FAIL: $1"
        tail -n 15 /tmp/out | sed 's/^/    /'
        failures=$((failures + 1))
    fi
}
[ ! -e /usr/bin/tada ] || { echo "FAIL: there is a tada already"; exit 1; }

# The three commands of the README: the package, the tools where PATH finds them, a look.
check "the package installs" dpkg -i /start/*.deb
mkdir -p /opt /home/stranger
cp -a /start/llama.cpp /opt/llama.cpp
echo /opt/llama.cpp > /etc/ld.so.conf.d/llama.conf && ldconfig
cp /start/model.gguf /home/stranger/
chown -R 65534:65534 /home/stranger
chmod 1777 /tmp
# user COMMAND...: as somebody who has nothing
user() {
    (cd /home/stranger && chroot --userspec=65534:65534 --skip-chdir / env HOME=/home/stranger PATH=/opt/llama.cpp:/usr/bin:/bin "$@" < /dev/null)
}
said() { grep -qE -e "$1" /tmp/last || { cat /tmp/last; return 1; }; }
run() { user timeout 7200 "$@" > /tmp/last 2>&1 || { tail -n 15 /tmp/last; return 1; }; }
for page in tada.1 tada-run.1 tada-eval.1 tada-spec.7 tada-plan.5; do
    check "man page $page" test -s "/usr/share/man/man${page##*.}/$page.gz"
done
for file in bash-completion/completions/tada zsh/site-functions/_tada fish/vendor_completions.d/tada.fish; do
    check "completion $file" test -s "/usr/share/$file"
done
check "copyright" grep -q MIT /usr/share/doc/tada/copyright

check "tada doctor" run tada doctor
check "... finds the plug-in beside itself" said "plug-in +/usr/.*/tada/libggml-tada.so"
check "... and that it fits" said "fit +the plug-in fits"
check "tada run" run tada run -m model.gguf -p "Once upon a time" -n 8 -c 256 -no-cnv -lv 4
check "... with the compressed cache" said "TADA KV buffer size"
check "tada eval" run tada eval -m model.gguf -c 256 --chunks 1 --cache q8_0,tada -t 2
check "... has a row for it" said "^tada +[0-9]"
check "tada calibrate" run tada calibrate -m model.gguf -c 1024 --sample 256 --budget 50% -o plan.gguf -t 2
check "tada inspect" run tada inspect plan.gguf

# The archive, in a folder of the user's own.
check "the archive unpacks" run tar xzf /start/"$(basename /start/*.tar.gz)"
check "its tada finds its own plug-in" run /home/stranger/"$(basename /start/*.tar.gz .tar.gz)"/bin/tada doctor
check "... not another one" said "plug-in +/home/stranger/.*/tada/libggml-tada.so"

# The library, where there is a compiler.
if command -v cc > /dev/null && command -v pkg-config > /dev/null; then
    library() { # LINK_OPTION...: a program of three lines, with what pkg-config says
        cc /start/use.c -o /tmp/use $(pkg-config --cflags tada) "$@" && /tmp/use
    }
    check "a program with the shared library" library $(pkg-config --libs tada)
    check "a program with the static one" library -Wl,-Bstatic $(pkg-config --libs tada) -Wl,-Bdynamic -pthread -lm
fi
check "the package goes" dpkg -r tada
check "... and leaves nothing" bash -c '! find /usr /etc /var/lib \( -name "tada*" -o -name "libtada*" -o -name "libggml-tada*" \) -not -path "*/dpkg/info/*" | grep .'
exit "$((failures > 0))"
