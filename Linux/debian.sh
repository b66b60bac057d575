# The root that Linux/debian boots: an image of Debian's arm64 packages. Sourced after common.sh.

image=$cache/debian.image
PATH=$PATH:/usr/sbin:/sbin
tools+=(mmdebstrap:mmdebstrap mke2fs:e2fsprogs)
# What lets others than root make files of root's.
fake=() && [ "$(id -u)" = 0 ] || { fake=(fakeroot) && tools+=(fakeroot:fakeroot); }
packages=systemd-sysv,usr-is-merged,dbus,cryptsetup-bin,stress-ng,rt-tests

# Sets `mirror` and `suite`: the environment's, or the first of Debian's own that apt is configured with.
find_mirror() {
  local found=
  if command -v apt-get >/dev/null; then
    found=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
      awk '$3 == "main" && $4 == "Debian" && $2 !~ /-/ { print $1, $2; exit }') || true
  fi
  mirror=${KSTACKS_DEBIAN_MIRROR:-${found% *}} suite=${KSTACKS_DEBIAN_SUITE:-${found#* }}
  [ -n "$mirror" ] && [ -n "$suite" ] ||
    fail "apt is configured with no mirror of Debian: set KSTACKS_DEBIAN_MIRROR to the address of one, KSTACKS_DEBIAN_SUITE to a suite"
}

# For all that the work makes, unless most of it is there; said before any of it begins.
require_debian_space() {
  [ -e "$image" ] && [ -d "$cache/build-${mark}debian-growing" ] || require_space "${KSTACKS_LINUX_SPACE:-10000}"
}

# What the image is made of; another one is made anew.
ingredients() { echo "$mirror $suite $packages" && cat "$linux"/debian-root/{finish,*.service}; }

# The image with all packages unpacked, whose first boot installs them.
unpack_root() { # tar archive, folder, image
  mkdir "$2" && tar -x -p -f "$1" -C "$2" --exclude './dev/*' && mkdir -p "$2/usr/lib/kernelstacks" "$2/usr/lib/systemd/system" &&
    cp -p "$linux/debian-root/finish" "$2/usr/lib/kernelstacks/" &&
    cp "$linux"/debian-root/*.service "$2/usr/lib/systemd/system/" && chown -R 0:0 "$2"/usr/lib/{kernelstacks,systemd} &&
    mke2fs -q -t ext4 -d "$2" "$3" 3G
}

build_image() {
  local new=$cache/debian-new merged
  if [ -e "$image" ] && ingredients | cmp -s - "$image.ingredients"; then return; fi
  rm -rf "$image" "$image.ingredients" "$new" && mkdir "$new" || fail "$new cannot be made"
  echo "   packages of $suite for arm64"
  merged='for folder in bin sbin lib; do mkdir -p "$1/usr/$folder" && ln -s "usr/$folder" "$1/$folder"; done'
  mmdebstrap --variant=extract --architectures=arm64 --skip=check/qemu,cleanup/apt --setup-hook="$merged" \
    --include='?essential' --include='?priority(required)' --include='?priority(important)' --include="$packages" \
    "$suite" "$new/root.tar" "$mirror" >"$new.log" 2>&1 </dev/null ||
    fail "Debian's packages could not be had: $(grep -m1 '^E:' "$new.log" || echo "see $new.log")"
  export linux && export -f unpack_root
  ${fake[@]+"${fake[@]}"} bash -c 'unpack_root "$@"' bash "$new/root.tar" "$new/root" "$new/image" >>"$new.log" 2>&1 </dev/null ||
    fail "the root could not be made: $(tail -1 "$new.log")"
  rm -rf "$new/root" "$new/root.tar"
  echo "   installing them in the machine"
  log=$cache/debian-finish.log
  run_machine debian-vmap 1024 2 7200 -accel tcg,thread=multi -nic none \
    -drive "if=none,id=root,format=raw,cache=unsafe,file=$new/image" -device virtio-blk-device,drive=root \
    -append "console=ttyAMA0 panic=-1 root=/dev/vda rw init=/usr/lib/kernelstacks/finish"
  [ -n "$(value root packages)" ] && ! grep -q 'Kernel panic' "$log" || fail "the packages could not be installed: see $log"
  # Its first boot ends with files open that the packages have replaced.
  { e2fsck -f -y "$new/image" || [ $? = 1 ]; } >>"$new.log" 2>&1 || fail "the file system of the root is damaged: see $new.log"
  mv "$new/image" "$image" && ingredients >"$image.ingredients.new" && mv "$image.ingredients.new" "$image.ingredients"
  rm -rf "$new"
}
