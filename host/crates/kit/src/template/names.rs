//! Names in Rust for a plugin of any id, so that what a template becomes compiles.

use crate::embedded::SDK;

/// A type's name: `vip-desk` is `VipDesk`, and `router` is `RouterPlugin`, as the SDK has a `Router`.
///
/// `template` are the sources it is put into.
pub(super) fn type_name(id: &str, template: impl IntoIterator<Item = &'static str>) -> String {
    let mut name: String = id.split('-').map(super::capital).collect();
    let template: Vec<&'static str> = template.into_iter().collect();
    let is_taken = |name: &str| {
        // One letter is what type parameters are called.
        name.len() == 1
            || PRELUDE.contains(&name)
            || template.iter().copied().chain(sdk()).any(|source| has_word(source, name))
    };
    while is_taken(&name) {
        name.push_str("Plugin");
    }
    name
}

/// A cargo package's name: the id, unless a crate of that name would be in the way.
pub(super) fn package(id: &str) -> String {
    match KEYWORDS.contains(&id) || CRATES.contains(&id) {
        true => format!("{id}-plugin"),
        false => id.to_owned(),
    }
}

/// What an author may want to import later. Generated bindings are left out: they have a word for everything.
fn sdk() -> impl Iterator<Item = &'static str> {
    SDK.iter()
        .filter(|(path, _)| {
            path.starts_with("src/") && path.ends_with(".rs") && !path.starts_with("src/bindings")
        })
        .filter_map(|(_, content)| std::str::from_utf8(content).ok())
}

/// Whether the word stands in the code, comments aside.
fn has_word(source: &str, word: &str) -> bool {
    source
        .lines()
        .filter_map(|line| line.split("//").next())
        .flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .any(|it| it == word)
}

/// Of the standard library in every file, and what is derived.
const PRELUDE: [&str; 54] = [
    "AsMut",
    "AsRef",
    "AsyncFn",
    "AsyncFnMut",
    "AsyncFnOnce",
    "Box",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Deserialize",
    "DoubleEndedIterator",
    "Drop",
    "Eq",
    "Err",
    "ExactSizeIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Future",
    "Hash",
    "Into",
    "IntoFuture",
    "IntoIterator",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Result",
    "Self",
    "Send",
    "Serialize",
    "Sized",
    "Some",
    "String",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Unpin",
    "Vec",
    "Duration",
    "BTreeMap",
    "HashMap",
    "Rc",
    "Arc",
    "Cow",
];

/// Those that could be an id.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Of the compiler, and those that templates depend on.
const CRATES: [&str; 9] = [
    "alloc",
    "core",
    "jackfield-sdk",
    "proc-macro",
    "serde",
    "serde-json",
    "std",
    "test",
    "unwind",
];

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "use jackfield_sdk::hooks::{Call, Router};\n// Desk\nstruct Cached;\n";

    #[test]
    fn a_type_has_the_name_of_its_plugin_unless_it_is_taken() {
        for (id, name) in [
            ("vip-desk", "VipDesk"),
            ("vip-2nd", "Vip2nd"),
            ("a-1", "A1"),
            ("desk", "Desk"),
            // Traits and types of the SDK, whichever the template uses.
            ("router", "RouterPlugin"),
            ("observer", "ObserverPlugin"),
            ("connector", "ConnectorPlugin"),
            ("wait-treatment", "WaitTreatmentPlugin"),
            ("call", "CallPlugin"),
            ("decision", "DecisionPlugin"),
            ("mock-host", "MockHostPlugin"),
            // The template's own.
            ("cached", "CachedPlugin"),
            // The language's.
            ("self", "SelfPlugin"),
            ("option", "OptionPlugin"),
            ("string", "StringPlugin"),
            ("result", "ResultPlugin"),
            ("some", "SomePlugin"),
            ("to-string", "ToStringPlugin"),
            ("r", "RPlugin"),
        ] {
            assert_eq!(type_name(id, [TEMPLATE]), name, "{id}");
        }
    }

    #[test]
    fn a_name_that_is_taken_with_its_ending_too_gets_another() {
        let template = "struct OptionPlugin;";
        assert_eq!(type_name("option", [template]), "OptionPluginPlugin");
    }

    #[test]
    fn a_package_is_called_as_the_plugin_unless_a_crate_would_be_in_the_way() {
        for (id, name) in [
            ("vip-desk", "vip-desk"),
            ("router", "router"),
            ("self", "self-plugin"),
            ("struct", "struct-plugin"),
            ("serde", "serde-plugin"),
            ("jackfield-sdk", "jackfield-sdk-plugin"),
            ("core", "core-plugin"),
            ("test", "test-plugin"),
        ] {
            assert_eq!(package(id), name, "{id}");
        }
    }
}
