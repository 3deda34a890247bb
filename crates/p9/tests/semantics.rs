//! What programs in the guest rely on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use harness::{MSIZE, NO_FID, Server, body};

const MODE: u32 = 1;
const UID: u32 = 2;
const GID: u32 = 4;
const SIZE: u32 = 8;
const TIMES_SET: u32 = 16 | 32 | 128 | 256;

#[test]
fn a_file_is_made_for_its_caller_written_and_read() {
    let server = Server::start("create");
    let mut client = server.client_of(1234);
    client.walk(0, 1, "").unwrap();
    client
        .create(1, "new", libc::O_RDWR | libc::O_CREAT, 0o640, 5678)
        .unwrap();
    let data: Vec<u8> = (0..400_000u32).map(|n| n as u8).collect();
    assert_eq!(client.write(1, 10, &data), Ok(400_000));
    assert_eq!(client.read(1, 10, MSIZE).unwrap(), data);
    assert_eq!(client.read(1, 500_000, 10).unwrap(), b"");
    let meta = fs::metadata(server.share("new")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode()),
        (1234, 5678, 0o100640)
    );
    assert_eq!(client.attr(1).unwrap().size, 400_010);
    client.walk(0, 2, "").unwrap();
    let again = libc::O_RDWR | libc::O_CREAT;
    assert_eq!(
        client
            .create(2, "new", again | libc::O_EXCL, 0o600, 0)
            .err(),
        Some(libc::EEXIST)
    );
    client
        .create(2, "new", again | libc::O_TRUNC, 0o600, 0)
        .unwrap();
    assert_eq!(client.attr(1).unwrap().size, 0);
}

#[test]
fn everything_that_is_made_has_its_owner_at_once() {
    let server = Server::start("owners");
    let mut client = server.client_of(7);
    client
        .call(72, body().u32(0).s("dir").u32(0o1777).u32(8))
        .unwrap();
    client
        .call(16, body().u32(0).s("link").s("../to/nowhere").u32(8))
        .unwrap();
    client
        .call(
            18,
            body()
                .u32(0)
                .s("fifo")
                .u32(libc::S_IFIFO | 0o600)
                .u32(0)
                .u32(0)
                .u32(8),
        )
        .unwrap();
    client
        .call(
            18,
            body()
                .u32(0)
                .s("file")
                .u32(libc::S_IFREG | 0o4755)
                .u32(0)
                .u32(0)
                .u32(8),
        )
        .unwrap();
    for (name, mode) in [
        ("dir", 0o41777),
        ("link", 0o120777),
        ("fifo", 0o10600),
        ("file", 0o104755),
    ] {
        let meta = fs::symlink_metadata(server.share(name)).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode()),
            (7, 8, mode),
            "{name}"
        );
    }
    client.walk(0, 1, "link").unwrap();
    let target = client.call(22, body().u32(1)).unwrap();
    assert_eq!(&target.0[2..], b"../to/nowhere");
}

#[test]
fn a_secret_of_another_owner_is_readable_for_the_guests_kernel() {
    let server = Server::start("secret");
    fs::write(server.share("token"), "s3cret").unwrap();
    fs::set_permissions(server.share("token"), fs::Permissions::from_mode(0o400)).unwrap();
    std::os::unix::fs::chown(server.share("token"), Some(4321), Some(4321)).unwrap();
    assert_eq!(server.client_of(1000).cat("token").unwrap(), b"s3cret");
}

#[test]
fn a_configmap_that_is_swapped_is_seen_at_once() {
    let server = Server::start("swap");
    for (dir, text) in [("..1", "old"), ("..2", "new")] {
        fs::create_dir(server.share(dir)).unwrap();
        fs::write(server.share(dir).join("key"), text).unwrap();
    }
    symlink("..1", server.share("..data")).unwrap();
    let mut client = server.client();
    let link = |client: &mut harness::Client| {
        client.walk(0, 1, "..data").unwrap();
        let target = client.call(22, body().u32(1)).unwrap();
        client.clunk(1).unwrap();
        target.0[2..].to_vec()
    };
    assert_eq!(link(&mut client), b"..1");
    assert_eq!(client.cat("..1/key").unwrap(), b"old");
    symlink("..2", server.share("..tmp")).unwrap();
    fs::rename(server.share("..tmp"), server.share("..data")).unwrap();
    assert_eq!(link(&mut client), b"..2");
    assert_eq!(client.cat("..2/key").unwrap(), b"new");
}

#[test]
fn an_open_file_outlives_its_name() {
    let server = Server::start("unlinked");
    let mut client = server.client();
    client.walk(0, 1, "").unwrap();
    client
        .create(1, "gone", libc::O_RDWR | libc::O_CREAT, 0o600, 0)
        .unwrap();
    client.walk(0, 2, "gone").unwrap();
    client.write(1, 0, b"still here").unwrap();
    client.call(76, body().u32(0).s("gone").u32(0)).unwrap();
    assert!(!server.share("gone").exists());
    assert_eq!(client.read(1, 6, 10).unwrap(), b"here");
    assert_eq!(client.attr(1).unwrap().nlink, 0);
    client.set_attr(1, (SIZE | MODE, 0o4711, 0, 0, 5)).unwrap();
    assert_eq!(
        (client.attr(2).unwrap().size, client.attr(2).unwrap().mode),
        (5, 0o104711)
    );
    client.open(2, libc::O_RDONLY).unwrap();
    assert_eq!(client.read(2, 0, 10).unwrap(), b"still");
    assert_eq!(client.walk(0, 3, "gone").err(), Some(libc::ENOENT));
}

#[test]
fn names_move_and_fids_stay() {
    let server = Server::start("rename");
    fs::create_dir(server.share("dir")).unwrap();
    fs::write(server.share("a"), "a").unwrap();
    fs::write(server.share("b"), "b").unwrap();
    let mut client = server.client();
    client.walk(0, 1, "dir").unwrap();
    client.walk(0, 2, "a").unwrap();
    client.call(74, body().u32(0).s("a").u32(1).s("c")).unwrap();
    client.open(2, libc::O_RDONLY).unwrap();
    assert_eq!(client.read(2, 0, 9).unwrap(), b"a");
    client.walk(0, 3, "b").unwrap();
    client.call(20, body().u32(3).u32(1).s("c")).unwrap();
    assert_eq!(fs::read(server.share("dir/c")).unwrap(), b"b");
    client.call(70, body().u32(0).u32(3).s("hard")).unwrap();
    assert_eq!(client.attr(3).unwrap().nlink, 2);
    assert_eq!(client.call(122, body().u32(3)).map(|_| ()), Ok(()));
    assert!(!server.share("dir/c").exists() && server.share("hard").exists());
    assert_eq!(client.clunk(3).err(), Some(libc::EBADF));
    assert_eq!(
        client.call(76, body().u32(0).s("dir").u32(0)).err(),
        Some(libc::EISDIR)
    );
    client.call(76, body().u32(0).s("dir").u32(0x200)).unwrap();
}

#[test]
fn owner_mode_size_and_times_are_set() {
    let server = Server::start("setattr");
    fs::write(server.share("f"), "12345").unwrap();
    let mut client = server.client();
    client.walk(0, 1, "f").unwrap();
    client
        .set_attr(1, (MODE | UID | GID, 0o6755, 11, 22, 0))
        .unwrap();
    client.set_attr(1, (SIZE, 0, 0, 0, 5_000_000_000)).unwrap();
    client.set_attr(1, (TIMES_SET, 0, 0, 0, 0)).unwrap();
    let meta = fs::metadata(server.share("f")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode()),
        (11, 22, 0o100755),
        "truncated: no set-id"
    );
    assert_eq!(
        (meta.len(), meta.atime(), meta.mtime()),
        (5_000_000_000, 1, 2)
    );
    assert_eq!(
        (meta.atime_nsec(), meta.mtime_nsec()),
        (500_000_000, 250_000_000)
    );
    client.set_attr(1, (MODE, 0o6755, 0, 0, 0)).unwrap();
    assert_eq!(client.attr(1).unwrap().mode, 0o106755);
    client.open(1, libc::O_RDWR).unwrap();
    client.write(1, 4_999_999_999, b"x").unwrap();
    assert_eq!(client.attr(1).unwrap().mode, 0o100755, "written: no set-id");
    assert_eq!(client.read(1, 4_999_999_998, 9).unwrap(), b"\0x");
    assert_eq!(client.read(1, u64::MAX, 9).err(), Some(libc::EINVAL));
}

#[test]
fn a_set_group_id_directory_gives_its_group() {
    let server = Server::start("setgid");
    let mut client = server.client_of(5);
    client
        .call(72, body().u32(0).s("d").u32(0o775).u32(6))
        .unwrap();
    client.walk(0, 1, "d").unwrap();
    client.set_attr(1, (MODE, 0o2775, 0, 0, 0)).unwrap();
    client
        .call(72, body().u32(1).s("sub").u32(0o755).u32(99))
        .unwrap();
    let meta = fs::metadata(server.share("d/sub")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode()), (5, 6, 0o42755));
}

#[test]
fn a_directory_is_read_whole_in_pieces_of_any_size() {
    let server = Server::start("readdir");
    let mut expected: Vec<String> = (0..500)
        .map(|n| format!("{n:0>width$}", width = 1 + n % 200))
        .collect();
    expected.sort();
    expected.dedup();
    for name in &expected {
        fs::write(server.share(name), "").unwrap();
    }
    let mut client = server.client();
    client.walk(0, 1, "").unwrap();
    client.open(1, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
    for count in [300, 1000, 4096, 100_000, MSIZE] {
        assert_eq!(client.names(1, count), expected, "{count}");
    }
    assert_eq!(client.entries(1, 0, 10).err(), Some(libc::EINVAL));
    let first = client.entries(1, 0, 4096).unwrap();
    let second = client.entries(1, first.last().unwrap().1, 4096).unwrap();
    assert_eq!(client.entries(1, 0, 4096).unwrap(), first);
    assert_eq!(
        client.entries(1, first.last().unwrap().1, 4096).unwrap(),
        second
    );
    client.entries(1, 0x7fff_ffff_0000_0001, 4096).ok();
}

#[test]
fn attributes_of_users_and_file_capabilities_are_kept_others_refused() {
    let server = Server::start("xattr");
    fs::write(server.share("f"), "").unwrap();
    let mut client = server.client();
    client.walk(0, 1, "f").unwrap();
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    for (name, value) in [
        ("user.a", &b"value"[..]),
        ("security.capability", &capability),
    ] {
        client.walk(1, 2, "").unwrap();
        client
            .call(32, body().u32(2).s(name).u64(value.len() as u64).u32(0))
            .unwrap();
        client.write(2, 0, value).unwrap();
        client.clunk(2).unwrap();
        let size = client.call(30, body().u32(1).u32(3).s(name)).unwrap();
        assert_eq!(size.at_u64(0), value.len() as u64);
        assert_eq!(client.read(3, 0, 100).unwrap(), value);
        client.clunk(3).unwrap();
    }
    client.call(30, body().u32(1).u32(3).s("")).unwrap();
    let names = client.read(3, 0, 1000).unwrap();
    assert_eq!(names.len(), "user.a\0security.capability\0".len());
    client.walk(1, 4, "").unwrap();
    client
        .call(32, body().u32(4).s("user.a").u64(0).u32(0))
        .unwrap();
    client.clunk(4).unwrap();
    assert_eq!(
        client.call(30, body().u32(1).u32(5).s("user.a")).err(),
        Some(libc::ENODATA)
    );
    for refused in [
        "trusted.overlay.opaque",
        "system.posix_acl_access",
        "security.selinux",
    ] {
        let read = client.call(30, body().u32(1).u32(5).s(refused));
        assert_eq!(read.err(), Some(libc::EOPNOTSUPP));
        let write = client.call(32, body().u32(1).s(refused).u64(1).u32(0));
        assert_eq!(write.err(), Some(libc::EOPNOTSUPP));
    }
    let huge = client.call(32, body().u32(1).s("user.b").u64(1 << 40).u32(0));
    assert_eq!(huge.err(), Some(libc::E2BIG));
}

#[test]
fn locks_hold_between_guests_and_not_within_a_process() {
    let server = Server::start("locks");
    fs::write(server.share("f"), "").unwrap();
    let (mut one, mut two) = (server.client(), server.client());
    let lock = |client: &mut harness::Client, fid: u32, kind: u8, process: u32| {
        let range = body().u32(fid).u8(kind).u32(0).u64(0).u64(0);
        client.call(52, range.u32(process).s("guest")).unwrap().0[0]
    };
    for client in [&mut one, &mut two] {
        for fid in [1, 2] {
            client.walk(0, fid, "f").unwrap();
            client.open(fid, libc::O_RDWR).unwrap();
        }
    }
    assert_eq!(lock(&mut one, 1, 1, 100), 0);
    assert_eq!(
        lock(&mut one, 2, 1, 100),
        0,
        "the same process, another fid"
    );
    assert_eq!(
        lock(&mut two, 1, 1, 100),
        1,
        "another guest, the same number"
    );
    let ask = body().u32(1).u8(1).u64(0).u64(0).u32(100).s("guest");
    assert_eq!(two.call(54, ask.clone()).unwrap().0[0], 1);
    assert_eq!(lock(&mut one, 2, 2, 100), 0, "undone through the other fid");
    assert_eq!(two.call(54, ask).unwrap().0[0], 2);
    assert_eq!(lock(&mut two, 1, 1, 100), 0);
    two.clunk(1).unwrap();
    assert_eq!(lock(&mut one, 1, 1, 100), 0, "gone with its fid");
}

#[test]
fn statfs_and_fsync_answer() {
    let server = Server::start("statfs");
    let mut client = server.client();
    let stat = client.call(8, body().u32(0)).unwrap();
    assert_eq!((stat.at_u32(0), stat.0.len()), (0x0102_1997, 60));
    client.walk(0, 1, "").unwrap();
    client
        .create(1, "f", libc::O_RDWR | libc::O_CREAT, 0o600, 0)
        .unwrap();
    client.call(50, body().u32(1).u32(0)).unwrap();
    client.call(50, body().u32(1).u32(1)).unwrap();
    assert_eq!(
        client.call(50, body().u32(0).u32(0)).err(),
        Some(libc::EBADF)
    );
    assert_eq!(
        client.call(102, body().u32(9).s("").s("").u32(0)).err(),
        Some(libc::EOPNOTSUPP)
    );
    assert_eq!(client.attach(0, 0, "").err(), Some(libc::EBADF));
    assert_eq!(client.attach(NO_FID, 0, "").err(), Some(libc::EBADF));
}
