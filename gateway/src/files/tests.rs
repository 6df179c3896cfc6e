//! Is every way out of the folder shut?

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::config::model::Place;

/// A folder with a file, a folder, a packed file and links; what is beside it must not be seen.
struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("secret"), "secret").unwrap();
        fs::create_dir_all(path("root/sub/deep")).unwrap();
        fs::create_dir_all(path("root/.well-known")).unwrap();
        fs::write(path("root/a.txt"), "hello").unwrap();
        fs::write(path("root/a.txt.gz"), "packed").unwrap();
        fs::write(path("root/a b%"), "odd").unwrap();
        fs::write(path("root/.hidden"), "hidden").unwrap();
        fs::write(path("root/.well-known/x"), "known").unwrap();
        fs::write(path("root/sub/index.html"), "index").unwrap();
        symlink("../secret", path("root/out")).unwrap();
        symlink(path("secret"), path("root/absolute")).unwrap();
        symlink("..", path("root/up")).unwrap();
        symlink("a.txt", path("root/in")).unwrap();
        Tree { dir }
    }

    fn folder(&self) -> Folder {
        Folder {
            root: self.dir.path().join("root"),
            index: Some("index.html".to_owned()),
            cache: None,
            precompressed: false,
            dotfiles: false,
            symlinks: false,
            place: Place::default(),
        }
    }
}

fn told(folder: &Folder, rest: &str, accepted: &[Packed]) -> String {
    let Some(path) = below(folder, rest) else {
        return "hidden".to_owned();
    };
    match find(folder, &path, accepted) {
        Found::File(opened) => {
            let text = std::io::read_to_string(&opened.file).unwrap();
            assert_eq!(text.len() as u64, opened.length);
            text
        }
        Found::Folder => "folder".to_owned(),
        Found::Nothing => "nothing".to_owned(),
        Found::Forbidden => "forbidden".to_owned(),
        Found::Broken(error) => panic!("{rest}: {error}"),
    }
}

#[test]
fn files_are_found_and_nothing_else() {
    let tree = Tree::new();
    let folder = tree.folder();
    for (rest, want) in [
        ("/a.txt", "hello"),
        ("/a b%25", "odd"),
        ("/a.txt/", "nothing"),
        ("/none", "nothing"),
        ("/sub", "folder"),
        ("/sub/", "index"),
        ("/sub/deep/", "nothing"),
        ("", "nothing"),
        ("/", "nothing"),
        ("/.hidden", "hidden"),
        ("/.well-known/x", "known"),
        ("/sub%2Findex.html", "hidden"),
        ("/%2E%2E/secret", "hidden"),
        ("/../secret", "hidden"),
    ] {
        assert_eq!(told(&folder, rest, &[]), want, "{rest}");
    }
    let without = Folder {
        index: None,
        dotfiles: true,
        ..folder
    };
    for (rest, want) in [
        ("/sub", "nothing"),
        ("/sub/", "nothing"),
        ("/.hidden", "hidden"),
        ("/..", "hidden"),
    ] {
        assert_eq!(told(&without, rest, &[]), want, "{rest}");
    }
}

#[test]
fn links_lead_nowhere_or_stay_inside() {
    let tree = Tree::new();
    let folder = tree.folder();
    for rest in ["/out", "/absolute", "/up/secret", "/up/root/a.txt", "/in"] {
        assert_eq!(told(&folder, rest, &[]), "nothing", "{rest}");
    }
    let links = Folder {
        symlinks: true,
        ..folder
    };
    for rest in ["/out", "/absolute", "/up/secret", "/up/root/a.txt"] {
        assert_eq!(told(&links, rest, &[]), "nothing", "{rest}");
    }
    assert_eq!(told(&links, "/in", &[]), "hello");
}

#[test]
fn the_kernel_refuses_the_way_out_by_itself() {
    let tree = Tree::new();
    let folder = Folder {
        symlinks: true,
        dotfiles: true,
        ..tree.folder()
    };
    for path in ["../secret", "sub/../../secret", "/etc/passwd", "up/secret"] {
        let found = find(&folder, path.as_bytes(), &[]);
        assert!(matches!(found, Found::Nothing), "{path}: {found:?}");
    }
}

#[test]
fn a_packed_file_is_taken_where_it_is_accepted() {
    let tree = Tree::new();
    let folder = Folder {
        precompressed: true,
        ..tree.folder()
    };
    let all = Packed::ALL;
    assert_eq!(told(&folder, "/a.txt", &all), "packed");
    assert_eq!(told(&folder, "/a.txt", &[Packed::Brotli]), "hello");
    assert_eq!(told(&folder, "/a.txt", &[]), "hello");
    assert_eq!(told(&folder, "/sub/", &all), "index");
    let tag = |accepted| match find(&folder, b"a.txt", accepted) {
        Found::File(opened) => (opened.etag(), opened.name),
        found => panic!("{found:?}"),
    };
    let (plain, packed) = (tag(&[]), tag(&all));
    assert_ne!(plain.0, packed.0, "two representations, two validators");
    assert_eq!(packed.1, b"a.txt", "its type is that of the file itself");
}

#[test]
fn a_pipe_does_not_hold_the_thread() {
    let tree = Tree::new();
    let folder = tree.folder();
    let pipe = folder.root.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()));
    assert_eq!(told(&folder, "/pipe", &[]), "nothing");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let tree = Tree::new();
    assert_eq!(doubt(&tree.folder().root), None);
    assert!(doubt(&PathBuf::from("/nowhere/at/all")).is_some());
    assert!(doubt(&tree.dir.path().join("secret")).is_some());
}
