[package]
name = "{{package}}"
version = "0.1.0"
edition = "2024"
# The SDK's; Debian 13's compiler is enough.
rust-version = "1.85"
publish = false

[lib]
# cdylib: the plugin. rlib: its tests.
crate-type = ["cdylib", "rlib"]

[dependencies]
jackfield-sdk = { path = "vendor/jackfield-sdk" }
serde = { version = "1", features = ["derive"] }
serde_json = "1"

# Small and fast; a panic is a trap, and the host starts a new instance.
[profile.release]
opt-level = 3
lto = "fat"
codegen-units = 1
panic = "abort"
strip = "debuginfo"

# This folder stands alone, wherever it is.
[workspace]
exclude = ["vendor"]
