#!/bin/sh
# Builds a small real Linux for v86 out of Debian packages, without root.
#
#   sh build.sh [FOLDER [PACKAGE...]]
#
# FOLDER (default: .build/guest of the repository) receives bzImage, initrd.gz,
# bios.bin, vgabios.bin and VERSIONS. The guest is busybox, which has no client
# of DHCPv6 or NTP, so Debian's, and the drivers of v86's two network cards;
# each PACKAGE adds its programs and their libraries.
#
# apt runs with folders of its own under FOLDER/.cache: nothing is installed and
# the host's package lists stay as they are. The host's sources are used; they
# must offer an i386 kernel (Debian 12 is the last that does). SOURCES=FILE names
# another list. FLAVOUR=686-pae takes the kernel with PAE.
# Needs apt, dpkg-deb, cpio, gzip, readelf (binutils).
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-$here/../../../.build/guest}"
out=$(cd "${1:-$here/../../../.build/guest}" && pwd)
[ $# -eq 0 ] || shift
flavour=${FLAVOUR:-686}
cache=$out/.cache
tree=$cache/tree        # the packages, unpacked, one folder each
root=$cache/root        # what becomes the initrd

fail() { echo "build.sh: $*" >&2; exit 1; }
say() { echo "guest: $*"; }
need() {
  for tool; do command -v "$tool" >/dev/null || fail "the program $tool is missing"; done
}

need apt-get apt-cache dpkg-deb cpio gzip readelf

# The same inputs, already built: nothing to do.
stamp=$({ cat "$0" "$here/root/init" "$here/root/etc/"*; echo "$flavour $*"; } | cksum)
if [ -f "$out/VERSIONS" ] && [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ]; then
  say "$out is up to date"
  exit 0
fi

# An apt of its own, for i386 only. Its package status is empty, so that the
# dependencies of a package resolve in full whatever the host has installed.
start_apt() {
  mkdir -p "$cache/lists/partial" "$cache/archives/partial"
  : > "$cache/status"
  cat > "$cache/apt.conf" <<CONF
APT::Architecture "i386";
APT::Architectures { "i386"; };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Dir::State::lists "$cache/lists";
Dir::State::status "$cache/status";
Dir::State::extended_states "$cache/extended_states";
Dir::Cache "$cache";
Dir::Cache::archives "$cache/archives";
CONF
  if [ -n "${SOURCES:-}" ]; then
    [ -r "$SOURCES" ] || fail "cannot read the list of sources $SOURCES"
    printf 'Dir::Etc::sourcelist "%s";\nDir::Etc::sourceparts "-";\n' "$SOURCES" >> "$cache/apt.conf"
  fi
  export APT_CONFIG="$cache/apt.conf"
  # A source that fails may be one that is not needed; what is missing shows below.
  apt-get -qq update || say "some package lists could not be read, going on"
}

# Fetches packages by name; with "closure" first, their dependencies as well.
# Prints the archives' paths.
fetch() {
  mode=$1; shift
  if [ "$mode" = closure ]; then
    apt-get -qq -y --download-only install "$@" >&2 || fail "cannot fetch $*"
    names=$(apt-get -s install "$@" | awk '$1 == "Inst" { print $2 }')
  else
    (cd "$cache/archives" && apt-get -qq download "$@") >&2 || fail "cannot fetch $*"
    names=$*
  fi
  for name in $names; do
    # Older versions may lie beside the newest.
    find "$cache/archives" -name "${name%:*}_*.deb" | sort -V | tail -n 1
  done
}

# The path of the one file in $1 that matches the find expression after it.
only() { find "$@" | sort -V | tail -n 1 | grep . || fail "nothing matches: $*"; }

say "reading the package lists"
start_apt
kernel=$(apt-cache pkgnames linux-image- | grep -E "^linux-image-[0-9.-]+-$flavour\$" | sort -V | tail -n 1)
[ -n "$kernel" ] || fail "no package linux-image-*-$flavour for i386; Debian 12 has one (SOURCES=FILE)"

# The clients of DHCPv6 and NTP, and their libraries without all that their packages name.
clients="wide-dhcpv6-client libfl2 rdate libbsd0 libmd0 libc6"
say "fetching $kernel, busybox-static, seabios, $clients${*:+, $*}"
base=$(fetch plain "$kernel" busybox-static seabios $clients)
extra=
[ $# -eq 0 ] || extra=$(fetch closure "$@")

rm -rf "$tree" "$root"
mkdir -p "$tree/base" "$tree/extra"
for deb in $base; do dpkg-deb -x "$deb" "$tree/base"; done
for deb in $extra; do dpkg-deb -x "$deb" "$tree/extra"; done

say "packing"
for dir in bin sbin usr/bin usr/sbin lib modules proc sys dev tmp root etc var/run var/lib/dhcpv6; do
  mkdir -p "$root/$dir"
done
cp "$here/root/init" "$root/init"
cp "$here/root/etc/"* "$root/etc/"
cp "$(only "$tree/base" -path '*/bin/busybox' -type f)" "$root/bin/busybox"
cp "$(only "$tree/base" -path '*/sbin/dhcp6c' -type f)" "$root/usr/sbin/dhcp6c"
cp "$(only "$tree/base" -path '*bin/rdate' -type f)" "$root/usr/bin/rdate"
chmod 755 "$root/init" "$root/etc/"*.sh "$root/bin/busybox" "$root/usr/sbin/dhcp6c" "$root/usr/bin/rdate"
ln -s busybox "$root/bin/sh"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
echo '127.0.0.1 localhost' > "$root/etc/hosts"
echo 'ntp 123/udp' > "$root/etc/services"

# The kernel package carries no modules.dep, so the order is given here.
order='virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
  failover net_failover virtio_net 8390 ne2k-pci'
for module in $order; do
  file=$(only "$tree/base" -name "$module.ko*")
  case $file in
    *.xz) need xz; xz -dc "$file" > "$root/modules/$module.ko" ;;
    *.zst) need zstd; zstd -qdc "$file" > "$root/modules/$module.ko" ;;
    *) cp "$file" "$root/modules/$module.ko" ;;
  esac
done
echo $order > "$root/modules/order"

# Programs of the packages asked for, then libraries until none is missing.
for package; do
  dpkg-deb -c "$(only "$cache/archives" -name "${package}_*.deb")" |
    awk '$1 ~ /^[-l]..x/ && $6 ~ /\/s?bin\/[^\/]+$/ { print $6 }' > "$cache/programs"
  # A link stays one: some programs go by the name that they are called by.
  while read -r program; do cp -P "$tree/extra/$program" "$root/usr/bin/"; done < "$cache/programs"
done
cp -L "$(only "$tree" -name ld-linux.so.2)" "$root/lib/"
copied=yes
while [ -n "$copied" ]; do
  copied=
  for library in $(find "$root/usr/bin" "$root/usr/sbin" "$root/lib" -type f -exec readelf -d {} + 2>/dev/null |
      sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u); do
    [ ! -e "$root/lib/$library" ] || continue
    cp -L "$(only "$tree" -name "$library" -path '*/lib/*')" "$root/lib/$library"
    copied=yes
  done
done

# Owner, order and times are fixed: the same packages give the same bytes.
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet) |
  gzip -9n > "$out/initrd.gz"
cp "$(only "$tree/base/boot" -name 'vmlinuz-*')" "$out/bzImage"
cp "$(only "$tree/base" -name bios.bin)" "$out/bios.bin"
cp "$(only "$tree/base" -name vgabios-stdvga.bin)" "$out/vgabios.bin"
for deb in $base $extra; do basename "$deb" .deb | sed 's/%3a/:/'; done > "$out/VERSIONS"
rm -rf "$tree" "$root"
echo "$stamp" > "$cache/stamp"
say "$out has $(cd "$out" && du -ch bzImage initrd.gz bios.bin vgabios.bin | tail -n 1 | cut -f1)"
