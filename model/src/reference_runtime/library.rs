//! Where libonnxruntime is, and loading it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use super::ReferenceRuntimeError;

/// The environment variable that names the library.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// The first library that was loaded: onnxruntime allows one environment per process, for its whole
/// life.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The library that the caller or the environment names.
pub(super) fn named(explicit: Option<&Path>) -> Result<Option<PathBuf>, ReferenceRuntimeError> {
    let from_environment = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    let (what, path) = match (explicit, from_environment) {
        (Some(path), _) => ("the caller", path.to_owned()),
        (None, Some(path)) => (VARIABLE, path.into()),
        (None, None) => return Ok(None),
    };
    // Absolute, since the loader looks for relative ones beside the executable.
    match path.canonicalize() {
        Ok(absolute) if absolute.is_file() => Ok(Some(absolute)),
        Ok(_) | Err(_) => Err(ReferenceRuntimeError::NoFile { what, path }),
    }
}

/// The library of an installed Python package.
pub(super) fn search() -> Result<PathBuf, ReferenceRuntimeError> {
    let searched = site_folders();
    searched
        .iter()
        .find_map(|site| in_package(site))
        .ok_or(ReferenceRuntimeError::NotFound { searched })
}

/// The library that is loaded, if one is.
pub(super) fn loaded() -> Option<(PathBuf, Environment)> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Loads the library, or gives the one that already is.
pub(super) fn load(path: &Path) -> Result<(PathBuf, Environment), ReferenceRuntimeError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(first) = &*loaded {
        return Ok(first.clone());
    }
    let environment = environment(path)
        .map_err(|reason| ReferenceRuntimeError::Load { path: path.into(), reason })?;
    Ok(loaded.insert((path.into(), environment)).clone())
}

/// The library of the package `onnxruntime` in a folder of Python packages.
fn in_package(site: &Path) -> Option<PathBuf> {
    let files = site.join("onnxruntime").join("capi").read_dir().ok()?;
    files
        .flatten()
        .map(|file| file.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let library = name.starts_with("libonnxruntime.");
            library && (name.contains(".so") || name.ends_with(".dylib"))
        })
        .max()
}

/// The folders of Python packages: those of the active virtual environment, then those that
/// `python3` names.
fn site_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV") {
        let versions =
            Path::new(&environment).join("lib").read_dir().into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path().join("site-packages")));
    }
    let script = "import site, sysconfig\n\
                  print(sysconfig.get_paths()['purelib'])\n\
                  print(sysconfig.get_paths()['platlib'])\n\
                  print(site.getusersitepackages())\n\
                  print('\\n'.join(site.getsitepackages()))";
    // -I: a file of the working directory must not pose as one of Python's modules.
    let python = Command::new("python3").args(["-I", "-c", script]).stdin(Stdio::null()).output();
    let text = python.map(|output| output.stdout).unwrap_or_default();
    folders.extend(String::from_utf8_lossy(&text).lines().map(PathBuf::from));
    let mut unique = Vec::new();
    for folder in folders.into_iter().filter(|folder| folder.is_absolute()) {
        if !unique.contains(&folder) {
            unique.push(folder);
        }
    }
    unique
}

fn environment(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    builder.with_telemetry(false).build().map_err(|error| error.to_string())
}
