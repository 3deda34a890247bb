/*
 * First program of a test guest: loads the image's modules in their order, says on the console and on the port
 * named trine.agent what the kernel has, and powers off. A line each:
 *   MODULE <file> <errno>           only when one does not load
 *   FILESYSTEMS <name> ...          CONTROLLERS <name> ...
 *   MITIGATIONS <text>              what the kernel says of Spectre v2
 *   VMGENID <0|1>                   the driver is bound to a device
 *   NINEP <errno>                   of a 9p mount over a descriptor nobody answers on
 *   PROBE READY <kernel release>
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static int port = -1;

static void say(const char *line)
{
	dprintf(1, "%s\n", line);
	if (port >= 0)
		dprintf(port, "%s\n", line);
}

static void load(const char *file)
{
	char line[600];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int failed = fd < 0 || syscall(SYS_finit_module, fd, "", 0) != 0;

	if (failed && errno != EEXIST) {
		snprintf(line, sizeof line, "MODULE %s %d", file, errno);
		say(line);
	}
	if (fd >= 0)
		close(fd);
}

static void load_all(void)
{
	char line[512];
	FILE *list = fopen("/etc/trine/modules", "re");

	while (list && fgets(line, sizeof line, list)) {
		line[strcspn(line, "\n")] = 0;
		load(line);
	}
}

static int opens_port(const char *dir)
{
	char path[600], name[64] = "";
	int fd;

	snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, name, sizeof name - 1) > 0)
		name[strcspn(name, "\n")] = 0;
	close(fd);
	if (strcmp(name, "trine.agent") != 0)
		return 0;
	snprintf(path, sizeof path, "/dev/%s", dir);
	port = open(path, O_RDWR | O_CLOEXEC);
	return 1;
}

static void open_port(void)
{
	DIR *ports = opendir("/sys/class/virtio-ports");
	struct dirent *entry;

	while (ports && (entry = readdir(ports)))
		if (opens_port(entry->d_name))
			break;
}

static void say_file(const char *title, const char *path)
{
	char text[2048], line[2200];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

	if (got < 0)
		got = 0;
	text[got] = 0;
	for (char *c = text; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
	snprintf(line, sizeof line, "%s %s", title, text);
	say(line);
	if (fd >= 0)
		close(fd);
}

static void say_vmgenid(void)
{
	char line[64];
	DIR *dir = opendir("/sys/bus/acpi/drivers/vmgenid");
	struct dirent *entry;
	int bound = 0;

	while (dir && (entry = readdir(dir)))
		bound |= strchr(entry->d_name, ':') != NULL;
	snprintf(line, sizeof line, "VMGENID %d", bound);
	say(line);
}

static void say_9p(void)
{
	char options[128], line[64];
	int pipes[2];

	mkdir("/run/p9", 0700);
	if (pipe(pipes) == 0)
		close(pipes[1]);
	snprintf(options, sizeof options, "trans=fd,rfdno=%d,wfdno=%d,version=9p2000.L", pipes[0], pipes[0]);
	mount("share", "/run/p9", "9p", 0, options);
	snprintf(line, sizeof line, "NINEP %d", errno);
	say(line);
}

int main(void)
{
	char line[256];
	struct utsname name;

	mount("dev", "/dev", "devtmpfs", 0, "");
	mount("proc", "/proc", "proc", 0, "");
	mount("sys", "/sys", "sysfs", 0, "");
	mount("cgroup", "/sys/fs/cgroup", "cgroup2", 0, "");
	load_all();
	open_port();
	say_file("FILESYSTEMS", "/proc/filesystems");
	say_file("CONTROLLERS", "/sys/fs/cgroup/cgroup.controllers");
	say_file("MITIGATIONS", "/sys/devices/system/cpu/vulnerabilities/spectre_v2");
	say_vmgenid();
	say_9p();
	uname(&name);
	snprintf(line, sizeof line, "PROBE READY %s", name.release);
	say(line);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
