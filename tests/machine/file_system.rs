//! A file system of its own for a test, which may be cut off or full.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `EXT4_IOC_SHUTDOWN` with "do not flush the journal", on the directory that is the argument.
const SHUT_DOWN: &str = "
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))
";

/// An ext4 file system in a file, mounted while it lives.
pub(crate) struct FileSystem {
    image: PathBuf,
    pub(crate) mount: PathBuf,
    _base: tempfile::TempDir,
}

impl FileSystem {
    /// Makes one of `image_bytes`, as `truncate` reads that.
    pub(crate) fn new(image_bytes: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        let (image, mount) = (base.path().join("image"), base.path().join("mount"));
        std::fs::create_dir(&mount).unwrap();
        run("truncate", &["-s", image_bytes, text(&image)]);
        run("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)]);
        let this = Self { image, mount, _base: base };
        this.mount();
        this
    }

    pub(crate) fn mount(&self) {
        run("mount", &["-o", "loop", text(&self.image), text(&self.mount)]);
    }

    pub(crate) fn unmount(&self) {
        run("umount", &[text(&self.mount)]);
    }

    /// From this moment nothing reaches the image any more.
    pub(crate) fn cut(&self) {
        run("python3", &["-c", SHUT_DOWN, text(&self.mount)]);
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // It may be unmounted already when a test fails in between.
        let _ended = Command::new("umount").arg("-q").arg(&self.mount).stderr(Stdio::null()).status();
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn run(program: &str, args: &[&str]) {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?} must work (as root): {errors}");
}
