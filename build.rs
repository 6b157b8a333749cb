//! Puts the built console (`ui/dist`, by `make ui`) into the binary; without it there is a page that says how to build it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("ui/dist");
    println!("cargo:rerun-if-changed=build.rs");
    // What is not there yet can't be watched without every build beginning anew; but what it will come into can.
    if let Some(watched) = ["ui/dist", "ui"].into_iter().find(|path| root.join(path).is_dir()) {
        println!("cargo:rerun-if-changed={watched}");
    }
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        collect(&dist, &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for path in files {
        let name = path.strip_prefix(&dist).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let file = path.display().to_string();
        let _infallible = writeln!(
            text,
            "    File {{ name: {name:?}, plain: include_bytes!({file:?}), gzip: include_bytes!({:?}), brotli: include_bytes!({:?}) }},",
            format!("{file}.gz"),
            format!("{file}.br")
        );
    }
    text.push(']');
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("console.rs"), text)
}

/// The files below `folder` that are there compressed, too.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let with = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display())).is_file();
        if path.is_dir() {
            collect(&path, files)?;
        } else if with("gz") && with("br") {
            files.push(path);
        }
    }
    Ok(())
}
