#!/usr/bin/env bash
# Installs what building, testing and the demo need, from apt, npm and rustup. Fast when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(qemu-system-x86 qemu-utils ovmf swtpm passt isc-dhcp-client seabios containerd runc containernetworking-plugins iproute2 nftables
  qemu-guest-agent busybox-static mmdebstrap umoci skopeo genisoimage e2fsprogs grub-common grub-pc-bin grub-efi-amd64-bin mtools erofs-utils libcap2-bin util-linux procps socat tmux zsh fish man-db
  xz-utils bzip2 zstd docker-registry lxcfs curl openssh-client lz4 etcd-server openssl bc flex bison libelf-dev)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "setup: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  # No service of these packages is to start: everything we run is private.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

want=$(sha256sum package-lock.json | cut -d' ' -f1)
if [[ "$(cat node_modules/.lockfile-sha 2>/dev/null)" != "$want" ]]; then
  echo "setup: installing npm packages" >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  echo "$want" >node_modules/.lockfile-sha
fi

target=x86_64-unknown-linux-musl
if ! rustup target list --installed | grep -qx "$target"; then
  echo "setup: adding the Rust target $target" >&2
  rustup target add "$target" >&2
fi
