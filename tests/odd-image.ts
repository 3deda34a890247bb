// An image with everything a root file system can hold that an ordinary one seldom does.
import { chmod, chown, cp, link, mkdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand, writeOciArchive } from "@trine/testkit";
import type { TestImage } from "@trine/testkit";

/** Two layers on static busybox; the second deletes, replaces and hides parts of the first. */
export async function oddImage(dir: string): Promise<TestImage> {
  const [root, over] = [join(dir, "root"), join(dir, "over")];
  await mkdir(join(root, "bin"), { recursive: true });
  await mkdir(over);
  await cp("/bin/busybox", join(root, "bin/busybox"));
  const applets =
    "sh sleep find sort stat md5sum readlink grep cat mount dd df rm ls touch sync id mkdir";
  for (const applet of [
    ...applets.split(" "),
    "tail",
    "mknod",
    "mv",
    "echo",
    "wc",
    "umount",
    "su",
  ]) {
    await symlink("busybox", join(root, "bin", applet));
  }
  await fillLower(root);
  await fillUpper(over);
  const name = "trine.test/odd:1";
  const archive = join(dir, "odd.tar");
  await writeOciArchive({ name, root, over: [over], config: { Env: ["PATH=/bin"] } }, archive);
  await rm(root, { recursive: true });
  await rm(over, { recursive: true });
  return { name, archive };
}

async function fillLower(root: string): Promise<void> {
  for (const name of ["tmp", "etc", "empty", "hidden/below", "replaced", "kept/deep", "owned"]) {
    await mkdir(join(root, name), { recursive: true });
  }
  await writeFile(
    join(root, "etc/passwd"),
    "root:x:0:0::/:/bin/sh\nother:x:1000:1000::/:/bin/sh\n",
  );
  await writeFile(join(root, "etc/group"), "root:x:0:\n");
  await chmod(join(root, "tmp"), 0o1777);
  await writeFile(join(root, "deleted"), "of the first layer");
  await writeFile(join(root, "hidden/below/file"), "hidden");
  await writeFile(join(root, "replaced/file"), "replaced by a file");
  await writeFile(join(root, "changed"), "before");
  await writeFile(join(root, "kept/deep/file"), "x".repeat(100_000));
  await link(join(root, "kept/deep/file"), join(root, "kept/hard-link"));
  await symlink("/nowhere/\u00e4", join(root, "kept/dangling"));
  await writeFile(join(root, "owned/large-ids"), "", { mode: 0o600 });
  await chown(join(root, "owned/large-ids"), 3_000_000_000, 70_000);
  await chown(join(root, "owned"), 1000, 2000);
  await chmod(join(root, "owned"), 0o2750);
  await cp(join(root, "bin/busybox"), join(root, "bin/with-suid"));
  await chmod(join(root, "bin/with-suid"), 0o4755);
  await cp(join(root, "bin/busybox"), join(root, "bin/busybox-capable"));
  await runCommand("setcap", ["cap_net_raw+ep", join(root, "bin/busybox-capable")]);
  await runCommand("mknod", [join(root, "kept/null"), "c", "1", "3"]);
  await runCommand("mknod", [join(root, "kept/disk"), "b", "254", "0"]);
  await runCommand("mkfifo", [join(root, "kept/fifo")]);
  // One more, and mkfs.erofs 1.5 refuses it: such an image goes through the share.
  await writeFile(join(root, `kept/${"n".repeat(254)}`), "a long name");
  await utimes(join(root, "kept/deep/file"), 1_000_000_000.123456, 1_000_000_000.123456);
}

async function fillUpper(over: string): Promise<void> {
  await mkdir(join(over, "hidden"));
  await writeFile(join(over, ".wh.deleted"), "");
  await writeFile(join(over, "hidden/.wh..wh..opq"), "");
  await writeFile(join(over, "hidden/new"), "only this");
  await writeFile(join(over, ".wh.replaced"), "");
  await writeFile(join(over, "changed"), "after");
}
