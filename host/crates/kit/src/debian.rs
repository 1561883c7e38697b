//! A private Rust toolchain out of Debian's own packages, for machines where nothing else is.
//!
//! The packages come from the mirror named in the machine's apt sources, their signature checked
//! by apt, and are unpacked into one folder; the system and its package database are not touched.
//! The unpacked rustc is started by the unpacked loader, so the machine's glibc may be older.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use crate::Progress;

/// The compiler of a toolchain that was fetched into this folder.
pub fn rustc_in(folder: &Path) -> PathBuf {
    folder.join("bin/rustc")
}

/// Fetches the toolchain into `folder`, which appears only when it is complete.
pub fn fetch(folder: &Path, progress: &dyn Progress) -> anyhow::Result<()> {
    if rustc_in(folder).is_file() {
        return Ok(());
    }
    let started = Instant::now();
    let archive = archive_of_this_machine()?;
    let parent = folder.parent().context("the cache folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    // Two builds may start at once; the second waits here and finds the work done.
    let lock = fs::File::create(parent.join("wasm-rust.lock"))?;
    lock.lock()?;
    if rustc_in(folder).is_file() {
        return Ok(());
    }
    progress.say(&format!(
        "No Rust toolchain for WebAssembly here, so Debian's packages of one are fetched:\n  \
         from   {} (your apt sources), signatures checked by apt\n  \
         to     {} (nothing else on this machine is touched)\n  \
         size   about 200 MB to download, 570 MB on disk; delete the folder to be rid of it\n  \
         (JACKFIELD_NO_DOWNLOAD=1 forbids this)",
        archive.uri,
        folder.display(),
    ));
    // Removed again by its own drop on every way out but the last.
    let partial = tempfile::TempDir::with_prefix_in("wasm-rust.partial-", parent)?;
    let apt = Apt::new(partial.path(), &archive)?;
    let rust = apt.newest_rust()?;
    let packages = apt.packages(&rust)?;
    let size = apt.download_size(&packages)?;
    progress.say(&format!(
        "downloading {} of Debian {}: {} packages, {} MB",
        rust.version,
        rust.suite,
        packages.len(),
        size / 1_000_000
    ));
    let debs = apt.download(&packages)?;
    let root = partial.path().join("root");
    progress.say("unpacking");
    for deb in &debs {
        run(Command::new("dpkg").arg("-x").arg(deb).arg(&root))?;
    }
    remove_what_is_not_needed(partial.path())?;
    write_wrappers(partial.path())?;
    let version = output(Command::new(rustc_in(partial.path())).arg("--version"))
        .context("the unpacked rustc does not run on this machine")?;
    fs::write(partial.path().join("README"), readme(&rust, &debs))?;
    fs::rename(partial.keep(), folder)?;
    progress.say(&format!("ready: {}, {:.0} s", version.trim(), started.elapsed().as_secs_f64()));
    Ok(())
}

fn readme(rust: &Rust, debs: &[PathBuf]) -> String {
    let names = debs.iter().filter_map(|deb| deb.file_name()?.to_str()).collect::<Vec<_>>();
    format!(
        "rustc {} of Debian {}, unpacked by Jackfield to build plugins. Safe to delete.\n\n{}\n",
        rust.version,
        rust.suite,
        names.join("\n")
    )
}

/// A rustc in one of Debian's suites.
#[derive(Debug)]
struct Rust {
    suite: &'static str,
    version: String,
}

/// Testing first: new enough for any guest, and its packages enter together, so they always fit
/// each other. Unstable may be half way through an upload, stable may be years old.
const SUITES: [&str; 3] = ["testing", "unstable", "stable"];

/// apt with its own configuration, lists and cache, all inside one folder.
struct Apt<'a> {
    folder: &'a Path,
    archive: &'a Source,
}

impl<'a> Apt<'a> {
    fn new(folder: &'a Path, archive: &'a Source) -> anyhow::Result<Self> {
        for inner in ["state/lists/partial", "cache/archives/partial", "debs", "root", "bin"] {
            fs::create_dir_all(folder.join(inner))?;
        }
        let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
        let at = folder.display();
        // The machine's own apt.conf.d is left out: its hooks act on the machine's own cache.
        let mut configuration = format!(
            "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n\
             Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::State \"{at}/state\";\nDir::State::status \"/dev/null\";\n\
             Dir::Cache \"{at}/cache\";\nAPT::Architecture \"{}\";\nAPT::Architectures {{}};\n\
             APT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n",
            architecture.trim()
        );
        for inherited in ["http", "https", "Retries", "Check-Date", "Check-Valid-Until"] {
            configuration += &output(
                Command::new("apt-config").args(["dump", &format!("Acquire::{inherited}")]),
            )?;
        }
        fs::write(folder.join("apt.conf"), configuration)?;
        Ok(Self { folder, archive })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C");
        command.current_dir(self.folder.join("debs")).stdin(Stdio::null());
        command
    }

    /// The rustc of the first suite that can be reached and has the WebAssembly library too.
    fn newest_rust(&self) -> anyhow::Result<Rust> {
        let mut reasons = Vec::new();
        for suite in SUITES {
            match self.rust_of(suite) {
                Ok(version) => return Ok(Rust { suite, version }),
                Err(error) => reasons.push(format!("{suite}: {error:#}")),
            }
        }
        bail!("Debian offers no rustc with wasm32 here ({})", reasons.join("; "))
    }

    fn rust_of(&self, suite: &str) -> anyhow::Result<String> {
        let signed_by = keyring(self.archive.signed_by.as_deref())
            .map(|file| format!("[signed-by={}] ", file.display()))
            .unwrap_or_default();
        let line = format!("deb {signed_by}{} {suite} main\n", self.archive.uri);
        fs::write(self.folder.join("sources.list"), line)?;
        run(self.command("apt-get").args(["update", "-qq", "--error-on=any"]))?;
        let version = |package: &str| {
            let policy = output(self.command("apt-cache").args(["policy", package]))?;
            candidate(&policy).map(str::to_owned).with_context(|| format!("has no {package}"))
        };
        let (rustc, library) = (version("rustc")?, version("libstd-rust-dev-wasm32")?);
        ensure!(rustc == library, "rustc is {rustc} but libstd-rust-dev-wasm32 is {library}");
        Ok(rustc)
    }

    /// Everything needed to run rustc and the linker, without Debian's C compiler and headers.
    fn packages(&self, rust: &Rust) -> anyhow::Result<Vec<String>> {
        let depends = |package: &str| {
            output(self.command("apt-cache").args(["depends", package]))
                .map(|out| dependencies(&out))
        };
        let library = one(depends("libstd-rust-dev")?, "libstd-rust-")?;
        let llvm = one(depends(&library)?, "libllvm")?;
        let linker = llvm.replace("libllvm", "lld-");
        let closure = output(
            self.command("apt-cache")
                .args(["depends", "--recurse", "--no-recommends", "--no-suggests"])
                .args(["--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"])
                .args([&library, &linker]),
        )?;
        let mut packages: Vec<String> =
            ["rustc", "libstd-rust-dev", "libstd-rust-dev-wasm32"].map(Into::into).into();
        packages.push(linker);
        packages.extend(shared_libraries(&closure));
        ensure!(packages.contains(&library), "{} {}: no {library}", rust.suite, rust.version);
        Ok(packages)
    }

    fn download_size(&self, packages: &[String]) -> anyhow::Result<u64> {
        let uris =
            output(self.command("apt-get").args(["download", "--print-uris"]).args(packages))?;
        // 'URI' file size hash
        Ok(uris.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()).sum())
    }

    fn download(&self, packages: &[String]) -> anyhow::Result<Vec<PathBuf>> {
        run(self.command("apt-get").args(["download", "-qq"]).args(packages))?;
        let mut debs: Vec<PathBuf> = fs::read_dir(self.folder.join("debs"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<anyhow::Result<_>>()?;
        debs.sort();
        ensure!(debs.len() == packages.len(), "apt downloaded {} packages", debs.len());
        Ok(debs)
    }
}

/// The version apt would install, out of `apt-cache policy`.
fn candidate(policy: &str) -> Option<&str> {
    let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (line != "(none)").then_some(line)
}

/// The direct dependencies, out of `apt-cache depends`.
fn dependencies(depends: &str) -> Vec<String> {
    let named = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    named.map(|name| name.split(':').next().unwrap_or(name).to_owned()).collect()
}

/// The one dependency `<prefix><version>`.
fn one(names: Vec<String>, prefix: &str) -> anyhow::Result<String> {
    let versioned = |name: &String| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    names.into_iter().find(versioned).with_context(|| format!("no dependency {prefix}<version>"))
}

/// The libraries in the output of `apt-cache depends --recurse`.
fn shared_libraries(closure: &str) -> Vec<String> {
    let is_library = |name: &&str| {
        // libc6 wants its character set tables, which no compiler reads.
        (name.starts_with("lib") || name.starts_with("zlib")) && !name.starts_with("libc-gconv")
    };
    closure.lines().filter(is_library).map(|name| name.trim().to_owned()).collect()
}

/// Two thirds of the WebAssembly package are targets that no guest is built for.
fn remove_what_is_not_needed(folder: &Path) -> anyhow::Result<()> {
    for scrap in ["debs", "state", "cache", "apt.conf", "sources.list", "root/usr/share"] {
        remove(&folder.join(scrap))?;
    }
    let targets = folder.join("root/usr/lib/rustlib");
    for entry in fs::read_dir(&targets)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("wasm32-") && name != crate::toolchain::TARGET {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Starts the unpacked programs by their own loader, wherever the folder was moved to.
fn write_wrappers(folder: &Path) -> anyhow::Result<()> {
    let libraries = find(&folder.join("root/usr/lib"), |name| name.contains("-linux-gnu"))?;
    let loader = find(&libraries, |name| name.starts_with("ld-linux"))?;
    let llvm = find(&folder.join("root/usr/lib"), |name| name.starts_with("llvm-"))?;
    let inside = |path: &Path| -> anyhow::Result<String> {
        Ok(format!("\"$root\"/{}", path.strip_prefix(folder.join("root"))?.display()))
    };
    let (loader, libraries) = (inside(&loader)?, inside(&libraries)?);
    let lld = inside(&llvm.join("bin/lld"))?;
    let programs =
        [("rustc", "\"$root\"/usr/bin/rustc --sysroot \"$root\"/usr"), ("rust-lld", lld.as_str())];
    for (name, program) in programs {
        let script = format!(
            "#!/bin/sh\nroot=$(dirname \"$0\")/../root\n\
             exec {loader} --library-path {libraries} --argv0 {name} {program} \"$@\"\n"
        );
        let path = folder.join("bin").join(name);
        fs::write(&path, script)?;
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn find(folder: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted))
        .collect();
    found.sort();
    found.into_iter().next().with_context(|| format!("unexpected layout of {}", folder.display()))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {}", complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// One entry of apt's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<PathBuf>,
}

impl Source {
    /// Whether this is Debian's main archive, which has every suite beside the one named.
    fn is_debian(&self) -> bool {
        const SUITES: [&str; 9] = [
            "bullseye",
            "bookworm",
            "trixie",
            "forky",
            "duke",
            "sid",
            "oldstable",
            "stable",
            "testing",
        ];
        self.components.iter().any(|component| component == "main")
            && self.suites.iter().any(|suite| SUITES.contains(&suite.as_str()))
    }
}

fn archive_of_this_machine() -> anyhow::Result<Source> {
    let etc = Path::new("/etc/apt");
    let mut files = vec![etc.join("sources.list")];
    files.extend(
        fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten().map(|e| e.path()),
    );
    files.sort();
    files
        .iter()
        .filter_map(|file| Some((file.extension()?.to_str()?, fs::read_to_string(file).ok()?)))
        .flat_map(|(extension, text)| match extension {
            "list" => one_line_sources(&text),
            "sources" => deb822_sources(&text),
            _ => Vec::new(),
        })
        .find(Source::is_debian)
        .context("the apt sources of this machine name no Debian archive")
}

/// The keys Debian signs with, preferring what the machine's own entry names.
fn keyring(named: Option<&Path>) -> Option<PathBuf> {
    const KNOWN: [&str; 2] = [
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "/usr/share/keyrings/debian-archive-keyring.pgp",
    ];
    named
        .into_iter()
        .chain(KNOWN.iter().map(Path::new))
        .find(|file| file.is_file())
        .map(Path::to_owned)
}

/// `deb [signed-by=/k.gpg arch=amd64] http://mirror/debian trixie main contrib`
fn one_line_sources(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line_source).collect()
}

fn one_line_source(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.starts_with(char::is_whitespace).then(|| rest.trim_start())?;
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(PathBuf::from),
    })
}

/// Paragraphs of `Types: URIs: Suites: Components: Signed-By:`, one source for each URI.
fn deb822_sources(text: &str) -> Vec<Source> {
    let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut sources = Vec::new();
    for paragraph in without_comments.split(|line| line.trim().is_empty()) {
        let field = |name: &str| field(paragraph, name);
        let says_no = field("Enabled").first().is_some_and(|value| value == "no");
        if says_no || !field("Types").contains(&"deb".to_owned()) {
            continue;
        }
        // An embedded key spans lines and begins with a dash; only a path is of use here.
        let signed_by = field("Signed-By").into_iter().find(|value| value.starts_with('/'));
        sources.extend(field("URIs").into_iter().map(|uri| Source {
            uri,
            suites: field("Suites"),
            components: field("Components"),
            signed_by: signed_by.clone().map(PathBuf::from),
        }));
    }
    sources
}

/// The words of one field, continuation lines included. Field names know no case.
fn field(paragraph: &[&str], name: &str) -> Vec<String> {
    let starts =
        |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
    let Some(first) = paragraph.iter().position(starts) else { return Vec::new() };
    let value = paragraph[first].split_once(':').map_or("", |(_, value)| value);
    let continued = paragraph[first + 1..].iter().take_while(|line| line.starts_with([' ', '\t']));
    std::iter::once(value)
        .chain(continued.copied())
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The archive that would be used, as "uri keyring".
    fn chosen(sources: Vec<Source>) -> String {
        match sources.into_iter().find(Source::is_debian) {
            Some(Source { uri, signed_by: Some(key), .. }) => format!("{uri} {}", key.display()),
            Some(source) => source.uri,
            None => "none".into(),
        }
    }

    #[test]
    fn deb822_sources_name_the_archive() {
        let text = "\
Types: deb
URIs: https://example.org/tool
Suites: nodistro
Components: main

# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
# a comment inside
suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
";
        let sources = deb822_sources(text);
        assert_eq!(sources.len(), 3);
        assert_eq!(sources[1].components, ["main", "contrib"]);
        assert_eq!(chosen(sources), "http://mirror.example/debian /usr/share/keyrings/debian.gpg");
    }

    #[test]
    fn deb822_embedded_keys_and_disabled_entries_are_not_taken() {
        let text = "\
Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main
Enabled: no

Types: deb
URIs: http://on.example/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGPL0BUBEADmW5NdOOHwPIJlgPu6JDcKw/NZJPR8lsD3K87ZM18gzyQZJD+w
";
        assert_eq!(chosen(deb822_sources(text)), "http://on.example/debian");
    }

    #[test]
    fn one_line_sources_name_the_archive() {
        let text = "\
# deb http://old.example/debian stretch main
deb-src http://mirror.example/debian trixie main
deb https://example.org/apt cloud main
deb http://mirror.example/debian-security trixie-security main
deb [ arch=amd64 signed-by=/k.gpg ] http://mirror.example/debian trixie main contrib # note
deb http://second.example/debian trixie main
";
        assert_eq!(one_line_sources(text).len(), 4);
        assert_eq!(chosen(one_line_sources(text)), "http://mirror.example/debian /k.gpg");
    }

    #[test]
    fn another_distribution_is_not_debian() {
        assert_eq!(chosen(one_line_sources("deb http://mirror.example/ubuntu noble main")), "none");
    }

    #[test]
    fn apts_answers_are_read() {
        assert_eq!(
            candidate("rustc:\n  Installed: (none)\n  Candidate: 1.97.1-1\n"),
            Some("1.97.1-1")
        );
        assert_eq!(candidate("x:\n  Candidate: (none)\n"), None);
        let depends = dependencies("libstd-rust-dev\n  Depends: libstd-rust-1.97\n  Breaks: a\n");
        assert_eq!(one(depends, "libstd-rust-").unwrap(), "libstd-rust-1.97");
        let closure = "libllvm22\n  Depends: libc6\nlibc6\nlibc-gconv-modules-extra\ngcc-16-base\nzlib1g\n<x>\n";
        assert_eq!(shared_libraries(closure), ["libllvm22", "libc6", "zlib1g"]);
    }
}
