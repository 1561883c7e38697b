//! `plugin pack`: one folder with all that is handed on: the component, its manifest, its SHA-256, how to sign it.
