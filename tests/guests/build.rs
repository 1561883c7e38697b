//! Manifests of the versions of the Asterisk connector made here: the real one's, with another version.

use std::{env, error::Error, fs, path::Path};

const REAL: &str = "../../plugins/asterisk/manifest.json";
const VERSION: &str = r#""version": "0.1.0""#;

/// What each is called and how its version reads: newer ones must look newer.
const VERSIONS: [(&str, &str); 8] = [
    ("next", "0.2.0"),
    ("after-next", "0.3.0"),
    ("trap-nth", "0.2.1"),
    ("trap-on", "0.2.2"),
    ("forgetful", "0.2.3"),
    ("deaf", "0.2.4"),
    ("stuck", "0.2.5"),
    ("curious", "0.4.0"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={REAL}");
    println!("cargo::rerun-if-changed=build.rs");
    let real = fs::read_to_string(REAL)?;
    if real.matches(VERSION).count() != 1 {
        return Err(format!("{REAL} does not say {VERSION} once").into());
    }
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    for (name, version) in VERSIONS {
        let mut manifest = real.replace(VERSION, &format!(r#""version": "{version}""#));
        if name == "curious" {
            let asks = r#""http": [{ "host": "crm.example.org", "reason": "Looks callers up." }], "links": ["#;
            manifest = manifest.replacen(r#""links": ["#, asks, 1);
        }
        fs::write(Path::new(&folder).join(format!("{name}.json")), manifest)?;
    }
    Ok(())
}
