//! `pidfile`: the process id in a file, for scripts that send signals.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::process;

/// The file while the server runs; dropping it removes it.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the id of this process to `path`, over whatever stood there.
    pub fn write(path: &Path) -> io::Result<PidFile> {
        // Absolute, so that it is found again whatever the working directory is at the end.
        let path = std::path::absolute(path)?;
        fs::write(&path, format!("{}\n", process::pid()))?;
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Someone may have removed it already.
        _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_id_and_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dse.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        assert!(PidFile::write(&directory.path().join("none/dse.pid")).is_err());
    }
}
