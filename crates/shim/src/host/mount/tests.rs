use super::*;
use crate::host::testing::{Scratch, in_mount_namespace};
use std::fs;

fn layer(kind: &str, source: &Path, options: &[&str]) -> Layer {
    Layer {
        kind: kind.to_owned(),
        source: source.to_str().unwrap().to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        target: String::new(),
    }
}

/// A scratch directory on a file system that overlay takes as an upper one.
fn on_tmpfs(name: &str, body: impl FnOnce(&Path) + Send + 'static) {
    let name = name.to_owned();
    in_mount_namespace(move || {
        let scratch = Scratch::new(&name);
        let root = scratch.path().canonicalize().unwrap();
        mount_layers(
            &root,
            &[layer("tmpfs", Path::new("scratch"), &["size=8m", "nosuid"])],
        )
        .unwrap();
        fs::create_dir(root.join("target")).unwrap();
        body(&root);
        unmount_all(&root).unwrap();
    });
}

fn mounts_at(point: &Path) -> usize {
    let mounts = mountinfo::read().unwrap();
    mounts.iter().filter(|mount| mount.point == point).count()
}

#[test]
fn mounts_an_overlay_once_however_often_it_is_asked() {
    on_tmpfs("overlay", |root| {
        for name in ["lower", "upper", "work"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("lower/from-image"), "x").unwrap();
        let shown = root.display();
        let options = [
            "index=off".to_owned(),
            format!("workdir={shown}/work"),
            format!("upperdir={shown}/upper"),
            format!("lowerdir={shown}/lower"),
        ];
        let mut overlay = layer("overlay", Path::new("overlay"), &[]);
        overlay.options = options.to_vec();
        let target = root.join("target");
        for _ in 0..3 {
            mount_layers(&target, std::slice::from_ref(&overlay)).unwrap();
        }
        assert_eq!(mounts_at(&target), 1);
        assert!(target.join("from-image").exists());
        fs::write(target.join("written"), "y").unwrap();
        assert!(root.join("upper/written").exists());
        unmount_all(&target).unwrap();
        unmount_all(&target).unwrap();
        assert_eq!(mounts_at(&target), 0);
    });
}

#[test]
fn mounts_more_layers_than_a_page_of_options_holds() {
    on_tmpfs("long", |root| {
        let deep = root.join("io.containerd.snapshotter.v1.overlayfs/snapshots");
        let lower: Vec<String> = (100..230)
            .map(|number| {
                deep.join(format!("{number}/fs"))
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        for directory in &lower {
            fs::create_dir_all(directory).unwrap();
            let name = Path::new(directory).parent().unwrap().file_name().unwrap();
            fs::write(Path::new(directory).join(name), "").unwrap();
        }
        let list = format!("lowerdir={}", lower.join(":"));
        assert!(list.len() > 2 * MOST_DATA);
        let target = root.join("target");
        let before = std::env::current_dir().unwrap();
        mount_layers(&target, &[layer("overlay", Path::new("overlay"), &[&list])]).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), before);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 130);
        unmount_all(&target).unwrap();

        let missing = list.replace("/150/", "/none/");
        let error = mount_layers(
            &target,
            &[layer("overlay", Path::new("overlay"), &[&missing])],
        )
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("(overlay) on"), "{error}");
    });
}

#[test]
fn a_read_only_bind_is_read_only() {
    on_tmpfs("bind", |root| {
        let source = root.join("source");
        fs::create_dir(&source).unwrap();
        let target = root.join("target");
        mount_layers(
            &target,
            &[layer("bind", &source, &["rbind", "ro", "nodev"])],
        )
        .unwrap();
        let error = fs::write(target.join("x"), "").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
        fs::write(source.join("x"), "").unwrap();
        unmount_all(&target).unwrap();
        mount_layers(&target, &[layer("bind", &source, &["ro"])]).unwrap();
        fs::write(target.join("x"), "").unwrap_err();
        unmount_all(&target).unwrap();
        mount_layers(&target, &[layer("bind", &source, &["rw"])]).unwrap();
        fs::write(target.join("y"), "").unwrap();
        unmount_all(&target).unwrap();
    });
}

#[test]
fn a_layer_that_fails_takes_the_earlier_ones_off() {
    on_tmpfs("undo", |root| {
        let target = root.join("target");
        let layers = [
            layer("tmpfs", Path::new("a"), &["mode=0700"]),
            layer("nonesuch", Path::new("b"), &[]),
        ];
        let error = mount_layers(&target, &layers).unwrap_err();
        assert_eq!(error.raw_os_error(), None);
        assert!(
            error.to_string().starts_with("mount b (nonesuch) on"),
            "{error}"
        );
        assert_eq!(mounts_at(&target), 0);
    });
}

#[test]
fn everything_stacked_on_a_target_comes_off() {
    on_tmpfs("stack", |root| {
        let target = root.join("target");
        let layers = vec![layer("tmpfs", Path::new("a"), &[]); 5];
        mount_layers(&target, &layers).unwrap();
        assert_eq!(mounts_at(&target), 5);
        let held = fs::File::create(target.join("open")).unwrap();
        unmount_all(&target).unwrap();
        assert_eq!(mounts_at(&target), 0);
        drop(held);
        unmount_all(&root.join("no-such-path")).unwrap();
    });
}

#[test]
fn a_layer_may_lie_below_the_target_but_not_beside_it() {
    on_tmpfs("below", |root| {
        let target = root.join("target");
        fs::create_dir(target.join("sub")).unwrap();
        std::os::unix::fs::symlink("/tmp", target.join("link")).unwrap();
        let at = |below: &str| Layer {
            target: below.to_owned(),
            ..layer("tmpfs", Path::new("a"), &[])
        };
        for bad in ["../x", "link", "sub/../../x"] {
            let error = mount_layers(&target, &[at(bad)]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
        for _ in 0..2 {
            mount_layers(&target, &[at("/sub")]).unwrap();
        }
        assert_eq!(mounts_at(&target.join("sub")), 1);
    });
}

#[test]
fn finds_the_directory_that_paths_have_in_common() {
    assert_eq!(common_directory("/a/b/1/fs:/a/b/2/fs"), Some("/a/b"));
    assert_eq!(common_directory("/a/b/1/fs"), Some("/a/b/1"));
    assert_eq!(common_directory("/a/b:/a/bc"), Some("/a"));
    assert_eq!(common_directory("/a:/b"), None);
    assert_eq!(common_directory("a/b:a/c"), None);
    assert_eq!(common_directory(""), None);
}

#[test]
fn refuses_what_it_cannot_do() {
    let looped = layer("ext4", Path::new("/x"), &["loop"]);
    let target = std::env::temp_dir().join("trine-mount-none");
    let error = mount_layers(&target, &[looped]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let long = format!("lowerdir={}", "x".repeat(5000));
    let error = mount_layers(&target, &[layer("overlay", Path::new("o"), &[&long])]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_tree_is_removed_without_what_is_mounted_in_it() {
    on_tmpfs("remove", |root| {
        let (pod, volume) = (root.join("target"), root.join("volume"));
        fs::create_dir_all(pod.join("a/b")).unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("of the tenant"), "x").unwrap();
        for place in ["a", "a/b"] {
            fs::create_dir_all(volume.join("b")).unwrap();
            mount_layers(&pod.join(place), &[layer("bind", &volume, &[])]).unwrap();
        }
        remove_tree(&pod).unwrap();
        assert!(!pod.exists());
        assert!(volume.join("of the tenant").exists());
        remove_tree(&pod).unwrap();
    });
}
