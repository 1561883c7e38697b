//! API tokens: made by the command line, checked for every request, kept as hashes.
//!
//! A token is `jf_<id>_<secret>`. The secret has 256 random bits, so one SHA-256 is enough at rest. Tokens live
//! in a database of their own, which the command line changes while the host runs.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use calls::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

/// What a token may do. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// See everything.
    Read,
    /// Also make the PBX do something: pause, log in, add members, probe.
    Control,
    /// Also change who the agents are.
    Admin,
}

/// Every scope, least first.
pub const SCOPES: [Scope; 3] = [Scope::Read, Scope::Control, Scope::Admin];

impl Scope {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Control => "control",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = TokenError;

    fn from_str(word: &str) -> Result<Self, TokenError> {
        let found = SCOPES.into_iter().find(|scope| scope.word() == word);
        found.ok_or_else(|| TokenError::UnknownScope { word: word.to_owned() })
    }
}

/// What is known about a token; never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Part of the token itself; safe to show.
    pub id: String,
    /// Who holds it, as events show it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// May it do what needs this scope?
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| *held >= scope)
    }
}

/// What went wrong with tokens.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum TokenError {
    /// The file.
    #[error("tokens {}: {source}; fix: make it readable and writable for this user only", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// Others may read it.
    #[error("tokens {}: other users may read it (mode {mode:o}); fix: chmod 600 {}", path.display(), path.display())]
    Mode { path: PathBuf, mode: u32 },
    /// The database.
    #[error("tokens: {0}")]
    Database(#[from] rusqlite::Error),
    /// No such scope.
    #[error("there is no scope `{word}`; fix: use `read`, `control` or `admin`")]
    UnknownScope { word: String },
    /// A name was given twice.
    #[error(
        "there is a token named `{name}` already; fix: choose another name, or revoke that one first"
    )]
    NameTaken { name: String },
    /// A name that cannot be one.
    #[error(
        "`{name}` cannot be a token's name; fix: use 1 to 64 letters, digits, `-`, `_`, `.` or `@`"
    )]
    BadName { name: String },
    /// Nothing given.
    #[error("a token needs a scope; fix: name `read`, `control` or `admin`")]
    NoScope,
    /// Nothing to revoke.
    #[error(
        "there is no valid token with the name or id `{what}`; fix: see `jackfield token list`"
    )]
    NotFound { what: String },
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Why a presented token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not one of ours, or not any more.
    Invalid,
    /// Its time is over.
    Expired,
}

/// The tokens of one host.
pub struct Tokens {
    connection: Mutex<Connection>,
}

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS tokens (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        hash BLOB NOT NULL,
        scopes TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        revoked_at INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS valid_names ON tokens (name) WHERE revoked_at IS NULL;
";

impl Tokens {
    /// Opens or makes the file, readable for this user only.
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::File { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = crate::journal::private_file(path).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(TokenError::Mode { path: path.to_owned(), mode });
            }
        }
        drop(file);
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(2))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        connection.execute_batch(TABLE)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Makes a token. The answer is the only time it can be read.
    pub fn create(
        &self,
        name: &str,
        scopes: &[Scope],
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
            return Err(TokenError::BadName { name: name.to_owned() });
        }
        if scopes.is_empty() {
            return Err(TokenError::NoScope);
        }
        let mut random = [0; 38];
        getrandom::fill(&mut random).map_err(|_| TokenError::Random)?;
        let (id, secret) = random.split_at(6);
        let (id, secret) = (hex(id), hex(secret));
        let words: Vec<_> = scopes.iter().map(|scope| scope.word()).collect();
        let written = self.connection().execute(
            "INSERT INTO tokens (id, name, hash, scopes, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                name,
                hash(&secret),
                words.join(","),
                now.0 as i64,
                expires_at.map(|at| at.0 as i64),
            ],
        );
        match written {
            Ok(_) => Ok(format!("jf_{id}_{secret}")),
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.code == rusqlite::ErrorCode::ConstraintViolation =>
            {
                Err(TokenError::NameTaken { name: name.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All tokens, revoked ones too, oldest first.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let connection = self.connection();
        let mut rows = connection.prepare(
            "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM tokens ORDER BY created_at, id",
        )?;
        let tokens = rows.query_map([], token)?.collect::<Result<_, _>>()?;
        Ok(tokens)
    }

    /// Takes a token back, by name or id. It stops working at once.
    pub fn revoke(&self, what: &str, now: Timestamp) -> Result<(), TokenError> {
        let changed = self.connection().execute(
            "UPDATE tokens SET revoked_at = ?2 WHERE (id = ?1 OR name = ?1) AND revoked_at IS NULL",
            params![what, now.0 as i64],
        )?;
        if changed == 0 { Err(TokenError::NotFound { what: what.to_owned() }) } else { Ok(()) }
    }

    /// Who presents this text.
    pub fn check(&self, text: &str, now: Timestamp) -> Result<Result<Token, Refused>, TokenError> {
        let parts = text.strip_prefix("jf_").and_then(|rest| rest.split_once('_'));
        let Some((id, secret)) = parts else { return Ok(Err(Refused::Invalid)) };
        let found = self
            .connection()
            .query_row(
                "SELECT id, name, scopes, created_at, expires_at, revoked_at, hash FROM tokens WHERE id = ?1",
                [id],
                |row| Ok((token(row)?, row.get::<_, Vec<u8>>(6)?)),
            )
            .optional()?;
        // Unknown ids cost the same as known ones.
        let (token, kept) = match found {
            Some((token, kept)) => (Some(token), kept),
            None => (None, vec![0; 32]),
        };
        let same = same(&hash(secret), &kept);
        Ok(token.filter(|_| same).ok_or(Refused::Invalid).and_then(|token| valid(token, now)))
    }

    /// Is a token that was good once still good? For streams that last.
    pub fn still_valid(&self, id: &str, now: Timestamp) -> Result<bool, TokenError> {
        let found = self
            .connection()
            .query_row(
                "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM tokens WHERE id = ?1",
                [id],
                token,
            )
            .optional()?;
        Ok(found.is_some_and(|token| valid(token, now).is_ok()))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn valid(token: Token, now: Timestamp) -> Result<Token, Refused> {
    if token.revoked_at.is_some() {
        Err(Refused::Invalid)
    } else if token.expires_at.is_some_and(|at| at <= now) {
        Err(Refused::Expired)
    } else {
        Ok(token)
    }
}

fn token(row: &rusqlite::Row<'_>) -> rusqlite::Result<Token> {
    let time = |nanos: i64| Timestamp(nanos as u64);
    let scopes: String = row.get(2)?;
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        scopes: scopes.split(',').filter_map(|word| word.parse().ok()).collect(),
        created_at: time(row.get(3)?),
        expires_at: row.get::<_, Option<i64>>(4)?.map(time),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(time),
    })
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// In constant time: looks at every byte.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differ = left.iter().zip(right).fold(0, |differ, (l, r)| differ | (l ^ r));
    left.len() == right.len() && std::hint::black_box(differ) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&folder.path().join("tokens.db")).unwrap();
        (folder, tokens)
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let (_folder, tokens) = tokens();
        let text = tokens.create("rc", &[Scope::Control], Some(Timestamp(2_000)), NOW).unwrap();
        let holder = tokens.check(&text, NOW).unwrap().unwrap();
        assert_eq!(holder.name, "rc");
        assert!(holder.may(Scope::Read) && holder.may(Scope::Control) && !holder.may(Scope::Admin));
        assert_eq!(tokens.check(&text, Timestamp(2_000)).unwrap(), Err(Refused::Expired));
        tokens.revoke("rc", NOW).unwrap();
        assert_eq!(tokens.check(&text, NOW).unwrap(), Err(Refused::Invalid));
        assert!(!tokens.still_valid(&holder.id, NOW).unwrap());
        assert!(matches!(tokens.revoke("rc", NOW), Err(TokenError::NotFound { .. })));
    }

    #[test]
    fn one_wrong_letter_is_no_token() {
        let (_folder, tokens) = tokens();
        let text = tokens.create("rc", &[Scope::Read], None, NOW).unwrap();
        for wrong in ["", "jf_", "jf__", "jf_a_b", &text[..text.len() - 1], &format!("{text}0")] {
            assert_eq!(tokens.check(wrong, NOW).unwrap(), Err(Refused::Invalid), "{wrong}");
        }
    }

    #[test]
    fn the_file_holds_no_secret_and_is_for_its_owner_only() {
        let (folder, tokens) = tokens();
        let text = tokens.create("rc", &[Scope::Read], None, NOW).unwrap();
        let secret = text.rsplit('_').next().unwrap();
        drop(tokens);
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.path().join("tokens.db");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
            assert!(matches!(Tokens::open(&path), Err(TokenError::Mode { mode: 0o644, .. })));
        }
    }

    #[test]
    fn names_are_unique_while_valid() {
        let (_folder, tokens) = tokens();
        tokens.create("rc", &[Scope::Read], None, NOW).unwrap();
        let again = || tokens.create("rc", &[Scope::Read], None, NOW);
        assert!(matches!(again(), Err(TokenError::NameTaken { .. })));
        tokens.revoke("rc", NOW).unwrap();
        again().unwrap();
        assert!(matches!(
            tokens.create("a b", &[Scope::Read], None, NOW),
            Err(TokenError::BadName { .. })
        ));
        assert_eq!(tokens.list().unwrap().len(), 2);
    }
}
