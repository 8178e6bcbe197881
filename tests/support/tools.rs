//! Where `tests/run` put the programs that the tests need.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// A program built from `tests/tools/<tool>/go.mod`.
///
/// # Panics
///
/// When it was not built yet.
pub fn go_tool(tool: &str, program: &str) -> PathBuf {
    let path = installed().join(version_name(tool)).join(program);
    assert!(path.is_file(), "{} is missing: run tests/run once, it builds what the tests need", path.display());
    path
}

/// The Python that has what `tests/tools/<tool>/requirements.txt` names.
///
/// # Panics
///
/// When it was not installed yet.
pub fn python(tool: &str) -> PathBuf {
    let path = installed().join(version_name(tool)).join("bin/python");
    assert!(path.is_file(), "{} is missing: run tests/run once, it installs what the tests need", path.display());
    path
}

/// A program from a Debian package.
///
/// # Panics
///
/// When it is not installed.
pub fn debian_tool(program: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: run tests/run once, it installs what the tests need"))
}

fn installed() -> PathBuf {
    std::env::var_os("LONGSHORE_TEST_TOOLS")
        .map_or_else(|| Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/longshore-tests"), PathBuf::from)
}

/// The folder's name as `build_tool` in `tests/run` makes it: a tool is built again when what names its parts changes.
fn version_name(tool: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(tool);
    let mut hasher = Sha256::new();
    let of_python = &["requirements.txt"][..];
    let parts = if source.join(of_python[0]).is_file() { of_python } else { &["go.mod", "go.sum"] };
    for file in parts {
        hasher.update(std::fs::read(source.join(file)).unwrap_or_else(|error| panic!("{tool}/{file}: {error}")));
    }
    format!("{tool}-{}", &HEXLOWER.encode(&hasher.finalize())[..16])
}
