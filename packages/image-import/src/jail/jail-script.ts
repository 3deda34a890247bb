/** Exit code when a file is not the one that was meant. */
export const WRONG_FILE = 97;
/** Exit code when the jail could not be made. */
export const NO_JAIL = 96;

/**
 * Makes the jail's root and runs a program in it. A constant: what differs comes as arguments, which are ROOT
 * UID FILTER (NAME PATH DEVICE:INODE MOUNT-OPTIONS | +mount NAME TYPE OPTIONS SOURCE FROM)... -- PROGRAM ARGUMENT... FILTER is empty,
 * or the path of trine-rootfs: then the program may read files of all owners, and is behind its filter. Neither
 * without the other: with that capability in the host's own user namespace open_by_handle_at(2) opens any file of a
 * file system that the program sees one file of. FROM is where the options' relative paths begin. mount(8) is told
 * to use mount(2): from util-linux 2.39 on it would hand over each option by itself, of which the kernel takes 256
 * bytes. All that follows the filter is executed, none of it forks.
 */
export const JAIL_SCRIPT = `
trap 'code=$?; [ "$code" = ${WRONG_FILE} ] || exit ${NO_JAIL}' EXIT
root=$1; uid=$2; filter=$3; shift 3
caps=\${filter:+,+dac_read_search}
mount -t tmpfs -o size=256k,mode=0755,nosuid,nodev tmpfs "$root"
mkdir "$root/usr" "$root/work"
mount --bind /usr "$root/usr"
mount -o remount,bind,ro,nosuid,nodev "$root/usr"
for dir in bin lib lib64; do
  if [ -L "/$dir" ]; then
    ln -s "$(readlink "/$dir")" "$root/$dir"
  elif [ -d "/$dir" ]; then
    mkdir "$root/$dir"
    mount --bind "/$dir" "$root/$dir"
    mount -o remount,bind,ro,nosuid,nodev "$root/$dir"
  fi
done
while [ "$1" != -- ]; do
  if [ "$1" = +mount ]; then
    mkdir "$root/work/$2"
    (cd "$6" && LIBMOUNT_FORCE_MOUNT2=always mount -t "$3" -o "$4" "$5" "$root/work/$2")
    shift 6
    continue
  fi
  : >"$root/work/$1"
  mount --bind "$2" "$root/work/$1"
  [ "$(stat -c %d:%i "$root/work/$1")" = "$3" ] || exit ${WRONG_FILE}
  mount -o "remount,bind,$4,nosuid,noexec" "$root/work/$1"
  shift 4
done
shift
mount -o remount,ro,nosuid,nodev "$root"
exec \${filter:+"$filter" --behind-filter} chroot "$root" /usr/bin/setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs \\
  --inh-caps="-all$caps" --ambient-caps="-all$caps" --bounding-set="-all$caps" --pdeathsig KILL -- "$@"
`;
