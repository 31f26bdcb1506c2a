#!/usr/bin/env bash
# get_cmocka.sh FOLDER: unpacks cmocka for 64-bit ARM into FOLDER/root. Apt gets lists of its own, in FOLDER, so that
# the system neither changes nor needs to know the architecture; it checks what it fetches as always.
set -euo pipefail
folder=$(realpath -m "$1")
[ ! -e "$folder/done" ] || exit 0
rm -rf "$folder"
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
cd "$folder"
options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Acquire::Languages=none
    -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o Dir::State::status=/dev/null
    -o "APT::Sandbox::User=$(id -un)" -o Acquire::Retries=2)
apt-get "${options[@]}" update
apt-get "${options[@]}" download libcmocka0 libcmocka-dev
for package in *.deb; do
    dpkg -x "$package" root
done
rm -rf lists cache ./*.deb
touch "$folder/done"
