//! The configuration of a host that is measured: one connector, a journal beside it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The password of the connector's account.
pub const SECRET: &str = "bench";

/// Writes it into `folder`, for an API at `listen` and a PBX at `ami`.
pub fn write(folder: &Path, listen: SocketAddr, ami: SocketAddr) -> io::Result<PathBuf> {
    let mut private = OpenOptions::new();
    private.write(true).create_new(true).mode(0o600);
    private.open(folder.join("ami.secret"))?.write_all(SECRET.as_bytes())?;
    let plugins = std::env::var("JACKFIELD_PLUGINS_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins").to_owned());
    let file = folder.join("jackfield.toml");
    fs::write(
        &file,
        format!(
            "[api]\nlisten = \"{listen}\"\n[plugins]\ndir = {plugins:?}\n[connectors.bench]\nplugin = \"asterisk\"\n\
             links.ami = \"tcp://{ami}\"\nsecrets.ami = {{ file = \"ami.secret\" }}\n\
             settings = {{ username = \"jackfield\", extensions = \"^10[0-9]{{2}}$\", country = \"DE\" }}\n\
             grants = [\"link:ami\"]\n"
        ),
    )?;
    Ok(file)
}
