//! Secrets by reference: where they are, and the care they are handled with.

use std::{fmt, path::Path};

/// What to write instead of a secret.
pub(super) const REFERENCE_FIX: &str = "write a reference: { env = \"NAME_OF_A_VARIABLE\" } or \
     { file = \"path\" } with mode 0600, and change the secret if others may have read it here";

/// A secret's text. It prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The secret itself, for whoever puts it on the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Is it one that a file may hold?
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        if self.0.len() as u64 > MAX_BYTES {
            return Err(Unusable {
                message: format!("it has more than {MAX_BYTES} bytes"),
                fix: "give only the secret".to_owned(),
            });
        }
        checked(self.0.clone(), "it").map(drop)
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// The most a secret file may hold.
const MAX_BYTES: u64 = 4096;

/// What is wrong with a reference, and what to do about it.
pub(crate) struct Unusable {
    pub(crate) message: String,
    pub(crate) fix: String,
}

pub(super) fn from_environment(
    name: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<SecretText, Unusable> {
    match environment(name) {
        Some(text) => checked(text, &format!("the variable {name}")),
        None => Err(Unusable {
            message: format!("the environment variable {name} is not set"),
            fix: format!(
                "set it where jackfield is started, e.g. `export {name}=...`, or use {{ file = \"path\" }}"
            ),
        }),
    }
}

pub(crate) fn from_file(path: &Path) -> Result<SecretText, Unusable> {
    use std::io::Read;

    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Unusable {
        message: format!("cannot read {shown}: {error}"),
        fix: "create the file with the secret as its only line, owned by the user that runs jackfield, \
              mode 0600; relative paths start at this config file"
            .to_owned(),
    }
    };
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Unusable {
            message: format!("{shown} is not a file"),
            fix: "name a file whose only line is the secret".to_owned(),
        });
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o177 != 0 {
            return Err(Unusable {
                message: format!("others may read or change {shown} (mode {mode:04o})"),
                fix: format!(
                    "run `chmod 600 {shown}`, and change the secret if others may have read it"
                ),
            });
        }
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Unusable {
            message: format!("{shown} holds more than {MAX_BYTES} bytes"),
            fix: "put only the secret into it, as one line".to_owned(),
        });
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    checked(line.strip_suffix('\r').unwrap_or(line).to_owned(), &shown.to_string())
}

fn checked(text: String, holder: &str) -> Result<SecretText, Unusable> {
    if text.is_empty() {
        return Err(Unusable {
            message: format!("{holder} is empty"),
            fix: "put the secret there".to_owned(),
        });
    }
    if text.contains(['\r', '\n', '\0']) {
        return Err(Unusable {
            message: format!("{holder} holds more than one line"),
            fix: "put only the secret there, as one line".to_owned(),
        });
    }
    Ok(SecretText(text))
}
