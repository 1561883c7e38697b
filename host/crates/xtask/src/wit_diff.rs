//! `cargo xtask wit-diff`: which changes of wit/ break plugins that were built against an older copy of it.
//!
//! A named type is compared where it is declared, so one change is one finding however many items use it.
//! An alias counts as another type than its target: a released text is frozen, not only its meaning.
//! Worlds are not compared, because a component is judged by what it exports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use wit_bindgen_core::wit_parser::{
    Function, Handle, InterfaceId, Package, PackageId, Resolve, Type, TypeDefKind, TypeId,
    TypeOwner, WorldItem,
};

use crate::bindings;
use crate::museum;
use crate::workspace::Workspace;

/// Prints what changed since the copy of wit/ in `older`, or since each released one, and fails if any of it breaks
/// plugins.
pub fn compare(workspace: &Workspace, older: Option<PathBuf>) -> anyhow::Result<()> {
    let released = match older {
        Some(older) => vec![older],
        None => museum::contracts(workspace)?,
    };
    ensure!(!released.is_empty(), "the museum has no released version of wit/; name a folder");
    for older in &released {
        let version = older.parent().and_then(Path::file_name).unwrap_or_default();
        println!("since {}:", version.display());
        compare_with(workspace, older)?;
    }
    Ok(())
}

fn compare_with(workspace: &Workspace, older: &Path) -> anyhow::Result<()> {
    let findings = compare_folders(older, &workspace.root.join("wit"))?;
    for Finding { breaks, item, why } in &findings {
        println!("{}  {item}: {why}", if *breaks { "breaks" } else { "fine  " });
    }
    let broken = findings.iter().filter(|finding| finding.breaks).count();
    ensure!(broken == 0, "{broken} of these changes break plugins that exist");
    println!("no plugin that exists breaks");
    Ok(())
}

/// One difference, and what it means for plugins that exist.
struct Finding {
    breaks: bool,
    /// The package, or the interface, or the interface and its type or function.
    item: String,
    why: String,
}

impl Finding {
    fn breaks(item: impl Into<String>, why: impl Into<String>) -> Self {
        Self { breaks: true, item: item.into(), why: why.into() }
    }

    fn fine(item: impl Into<String>, why: impl Into<String>) -> Self {
        Self { breaks: false, item: item.into(), why: why.into() }
    }
}

fn compare_folders(older: &Path, newer: &Path) -> anyhow::Result<Vec<Finding>> {
    let (older, newer) = (Contract::load(older)?, Contract::load(newer)?);
    let exported: BTreeSet<String> = older.exported().chain(newer.exported()).collect();
    let (old_packages, new_packages) = (older.packages(), newer.packages());
    let mut findings = Vec::new();
    for (package, old) in &old_packages {
        let Some(new) = new_packages.get(package) else {
            let why = "this version of the package is gone; a new one goes beside it";
            findings.push(Finding::breaks(package, why));
            continue;
        };
        for (name, id) in old {
            match new.get(name) {
                None => findings.push(Finding::breaks(name, "interface is gone")),
                Some(new_id) => {
                    let (old, new) = (older.items(*id), newer.items(*new_id));
                    findings.extend(compare_items(name, exported.contains(name), &old, &new));
                }
            }
        }
        let added = new.keys().filter(|name| !old.contains_key(*name));
        findings.extend(added.map(|name| Finding::fine(name, "interface is new")));
    }
    let added = new_packages.keys().filter(|name| !old_packages.contains_key(*name));
    findings
        .extend(added.map(|name| Finding::fine(name, "package, or this version of it, is new")));
    Ok(findings)
}

type Items = BTreeMap<String, Item>;

fn compare_items(interface: &str, exported: bool, old: &Items, new: &Items) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, was) in old {
        let item = format!("{interface} {name}");
        match new.get(name) {
            None => findings.push(Finding::breaks(item, format!("{} is gone", was.kind))),
            Some(is) if is != was => findings.push(Finding::breaks(item, was.why_not(is))),
            Some(_) => {}
        }
    }
    let changed = |name: &str| old.get(name).is_some_and(|was| new.get(name) != Some(was));
    for (name, is) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let item = format!("{interface} {name}");
        let kind = is.kind;
        let user = new.iter().find(|(user, it)| changed(user) && it.mentions(name));
        findings.push(match user {
            _ if is.is_function() && exported => Finding::breaks(
                item,
                format!("{kind} is new, and plugins that export the interface lack it"),
            ),
            Some((user, _)) if !is.is_function() => {
                Finding::breaks(item, format!("{kind} is new, and {user} uses it"))
            }
            _ => Finding::fine(item, format!("{kind} is new")),
        });
    }
    findings
}

/// All packages of one wit/ folder.
struct Contract {
    resolve: Resolve,
    sdk: PackageId,
}

impl Contract {
    fn load(wit: &Path) -> anyhow::Result<Self> {
        let (resolve, sdk) =
            bindings::load(wit).with_context(|| format!("{} is no copy of wit/", wit.display()))?;
        Ok(Self { resolve, sdk })
    }

    /// What plugins rely on: the interfaces of every package, with its version, but the SDK's.
    fn packages(&self) -> BTreeMap<String, BTreeMap<String, InterfaceId>> {
        let packages = self.resolve.packages.iter().filter(|(id, _)| *id != self.sdk);
        let interfaces = |package: &Package| {
            package.interfaces.values().map(|&id| (self.name(id), id)).collect()
        };
        packages.map(|(_, package)| (package.name.to_string(), interfaces(package))).collect()
    }

    /// The interfaces that a plugin exports by some world of the SDK.
    fn exported(&self) -> impl Iterator<Item = String> {
        let worlds = self.resolve.packages[self.sdk].worlds.values();
        let exports = worlds.flat_map(|&world| self.resolve.worlds[world].exports.values());
        exports.filter_map(|item| match item {
            WorldItem::Interface { id, .. } => self.resolve.id_of(*id),
            WorldItem::Function(_) | WorldItem::Type { .. } => None,
        })
    }

    fn name(&self, interface: InterfaceId) -> String {
        self.resolve.id_of(interface).expect("an interface of a package has a name")
    }

    fn items(&self, id: InterfaceId) -> Items {
        let interface = &self.resolve.interfaces[id];
        let names = Names { contract: self, within: id };
        let types = interface.types.iter().map(|(name, ty)| (name.clone(), names.type_item(*ty)));
        let functions = interface.functions.iter();
        types.chain(functions.map(|(name, f)| (name.clone(), names.function_item(f)))).collect()
    }
}

/// A type or function of an interface, without its docs.
#[derive(PartialEq, Eq)]
struct Item {
    kind: &'static str,
    /// What each part is called, e.g. "field `number`", and its type; empty for none.
    parts: Vec<(String, String)>,
}

impl Item {
    fn is_function(&self) -> bool {
        self.kind.ends_with("function")
    }

    /// Whether one of the parts is made of the type with this name.
    fn mentions(&self, name: &str) -> bool {
        let words = |text: &str| text.split(['<', '>', ',', ' ']).any(|word| word == name);
        self.parts.iter().any(|(_, ty)| words(ty))
    }

    /// The differences, for people.
    fn why_not(&self, new: &Self) -> String {
        if self.kind != new.kind {
            return format!("was: {}, is: {}", self.kind, new.kind);
        }
        let mut reasons = Vec::new();
        for (part, was) in &self.parts {
            match new.parts.iter().find(|(other, _)| other == part) {
                None => reasons.push(format!("{part} is gone")),
                Some((_, is)) if is != was => {
                    reasons.push(format!("{part} was {}, is {}", or_nothing(was), or_nothing(is)));
                }
                Some(_) => {}
            }
        }
        let added =
            new.parts.iter().filter(|(part, _)| self.parts.iter().all(|(old, _)| old != part));
        reasons.extend(added.map(|(part, _)| format!("{part} is new")));
        if reasons.is_empty() {
            reasons.push("the order is another".into());
        }
        format!("{} changed: {}", self.kind, reasons.join("; "))
    }
}

fn or_nothing(ty: &str) -> &str {
    if ty.is_empty() { "nothing" } else { ty }
}

/// Writes types as WIT does in one interface.
struct Names<'a> {
    contract: &'a Contract,
    within: InterfaceId,
}

impl Names<'_> {
    fn type_item(&self, id: TypeId) -> Item {
        let kind = &self.contract.resolve.types[id].kind;
        let parts = match kind {
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                fields
                    .map(|field| (format!("field `{}`", field.name), self.of(&field.ty)))
                    .collect()
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter();
                cases
                    .map(|case| (format!("case `{}`", case.name), self.or_none(&case.ty, "")))
                    .collect()
            }
            TypeDefKind::Enum(cases) => {
                let cases = cases.cases.iter();
                cases.map(|case| (format!("case `{}`", case.name), String::new())).collect()
            }
            TypeDefKind::Flags(flags) => {
                let flags = flags.flags.iter();
                flags.map(|flag| (format!("flag `{}`", flag.name), String::new())).collect()
            }
            TypeDefKind::Resource => Vec::new(),
            other => {
                let alias = ("its target".to_owned(), self.of_kind(other));
                return Item { kind: "type", parts: vec![alias] };
            }
        };
        Item { kind: kind.as_str(), parts }
    }

    fn function_item(&self, function: &Function) -> Item {
        let params = function.params.iter();
        let mut parts: Vec<_> =
            params.map(|p| (format!("parameter `{}`", p.name), self.of(&p.ty))).collect();
        parts.push(("the result".into(), self.or_none(&function.result, "")));
        Item { kind: if function.kind.is_async() { "async function" } else { "function" }, parts }
    }

    fn of(&self, ty: &Type) -> String {
        let name = match ty {
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "s8",
            Type::S16 => "s16",
            Type::S32 => "s32",
            Type::S64 => "s64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Char => "char",
            Type::String => "string",
            Type::ErrorContext => "error-context",
            Type::Id(id) => return self.of_id(*id),
        };
        name.to_owned()
    }

    fn of_id(&self, id: TypeId) -> String {
        let ty = &self.contract.resolve.types[id];
        match (&ty.name, ty.owner) {
            (None, _) => self.of_kind(&ty.kind),
            (Some(name), TypeOwner::Interface(owner)) if owner != self.within => {
                format!("{}.{name}", self.contract.name(owner))
            }
            (Some(name), _) => name.clone(),
        }
    }

    fn of_kind(&self, kind: &TypeDefKind) -> String {
        match kind {
            TypeDefKind::Type(ty) => self.of(ty),
            TypeDefKind::Handle(Handle::Own(id)) => self.of_id(*id),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.of_id(*id)),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<String> = tuple.types.iter().map(|ty| self.of(ty)).collect();
                format!("tuple<{}>", types.join(", "))
            }
            TypeDefKind::Option(ty) => format!("option<{}>", self.of(ty)),
            TypeDefKind::Result(result) => {
                format!(
                    "result<{}, {}>",
                    self.or_none(&result.ok, "_"),
                    self.or_none(&result.err, "_")
                )
            }
            TypeDefKind::List(ty) => format!("list<{}>", self.of(ty)),
            TypeDefKind::Map(key, value) => format!("map<{}, {}>", self.of(key), self.of(value)),
            TypeDefKind::FixedLengthList(ty, length) => format!("list<{}, {length}>", self.of(ty)),
            TypeDefKind::Future(ty) => format!("future<{}>", self.or_none(ty, "_")),
            TypeDefKind::Stream(ty) => format!("stream<{}>", self.or_none(ty, "_")),
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Resource
            | TypeDefKind::Unknown => unreachable!("WIT gives a {} a name", kind.as_str()),
        }
    }

    fn or_none(&self, ty: &Option<Type>, none: &str) -> String {
        ty.as_ref().map_or_else(|| none.to_owned(), |ty| self.of(ty))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LOG: &str = "package t:log@0.1.0;\ninterface log { log: func(level: u8, text: string); }";
    const STEP: &str = "package t:step@0.1.0;
        interface types {
            type id = string;
            record party { number: string, name: string }
            variant fact { rang(id), ended }
            enum colour { red, green }
            flags rights { read, write }
        }
        interface step {
            use types.{party, fact as what};
            go: func(who: party, facts: list<tuple<string, what>>) -> result<_, string>;
            stop: func();
        }";
    const SDK: &str =
        "package t:sdk@0.1.0; world plugin { import t:log/log@0.1.0; export t:step/step@0.1.0; }";

    fn folder(packages: [&str; 3]) -> tempfile::TempDir {
        let wit = tempfile::tempdir().unwrap();
        for (name, text) in ["log", "step", "sdk"].into_iter().zip(packages) {
            fs::create_dir(wit.path().join(name)).unwrap();
            fs::write(wit.path().join(name).join("package.wit"), text).unwrap();
        }
        wit
    }

    /// The findings after `from` became `to` wherever it is in the texts, one per line.
    fn changed(from: &str, to: &str) -> String {
        let packages = [LOG, STEP, SDK];
        assert!(packages.iter().any(|text| text.contains(from)), "nothing says {from}");
        let [log, step, sdk] = packages.map(|text| text.replace(from, to));
        let (older, newer) = (folder(packages), folder([&log, &step, &sdk]));
        let findings = compare_folders(older.path(), newer.path()).unwrap();
        let line = |Finding { breaks, item, why }: &Finding| {
            format!("{} {item}: {why}", if *breaks { "breaks" } else { "fine" })
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_same_text_and_new_docs_are_no_change() {
        assert_eq!(changed("enum", "enum"), "");
        assert_eq!(
            changed("record party {", "/// Somebody.\nrecord party { /// As dialled.\n"),
            ""
        );
        assert_eq!(changed("stop:", "/// Ends.\nstop:"), "");
    }

    #[test]
    fn every_change_of_a_type_breaks() {
        let types = "breaks t:step/types@0.1.0";
        let cases = [
            (
                "number: string",
                "number: u32",
                "party: record changed: field `number` was string, is u32",
            ),
            ("number: string, ", "", "party: record changed: field `number` is gone"),
            (
                "name: string }",
                "name: string, age: u8 }",
                "party: record changed: field `age` is new",
            ),
            (
                "number: string, name: string",
                "name: string, number: string",
                "party: record changed: the order is another",
            ),
            ("ended }", "ended, held }", "fact: variant changed: case `held` is new"),
            ("rang(id)", "rang", "fact: variant changed: case `rang` was id, is nothing"),
            ("red, ", "", "colour: enum changed: case `red` is gone"),
            ("enum colour", "flags colour", "colour: was: enum, is: flags"),
            ("read, write", "read, write, delete", "rights: flags changed: flag `delete` is new"),
            (
                "type id = string",
                "type id = u64",
                "id: type changed: its target was string, is u64",
            ),
            ("flags rights { read, write }", "", "rights: flags is gone"),
        ];
        for (from, to, finding) in cases {
            assert_eq!(changed(from, to), format!("{types} {finding}"));
        }
    }

    #[test]
    fn every_change_of_a_function_breaks() {
        let step = "breaks t:step/step@0.1.0";
        let cases = [
            ("stop: func();", "", "stop: function is gone"),
            (
                "stop: func()",
                "stop: func(why: string)",
                "stop: function changed: parameter `why` is new",
            ),
            (
                "stop: func()",
                "stop: func() -> bool",
                "stop: function changed: the result was nothing, is bool",
            ),
            ("stop: func()", "stop: async func()", "stop: was: function, is: async function"),
            ("who: party, ", "", "go: function changed: parameter `who` is gone"),
            (
                "result<_, string>",
                "result<string>",
                "go: function changed: the result was result<_, string>, is result<string, _>",
            ),
            (
                "list<tuple<string, what>>",
                "list<what>",
                "go: function changed: parameter `facts` was list<tuple<string, what>>, is list<what>",
            ),
        ];
        for (from, to, finding) in cases {
            assert_eq!(changed(from, to), format!("{step} {finding}"));
        }
    }

    #[test]
    fn an_imported_function_changed_or_gone_breaks_and_a_new_one_does_not() {
        assert_eq!(
            changed("level: u8", "level: u16"),
            "breaks t:log/log@0.1.0 log: function changed: parameter `level` was u8, is u16"
        );
        assert_eq!(
            changed(
                "interface log { log: func(level: u8, text: string); }",
                "interface log { flush: func(); }"
            ),
            "breaks t:log/log@0.1.0 log: function is gone\nfine t:log/log@0.1.0 flush: function is new"
        );
    }

    #[test]
    fn a_new_function_breaks_only_where_plugins_export_the_interface() {
        assert_eq!(
            changed("stop: func();", "stop: func(); pause: func();"),
            "breaks t:step/step@0.1.0 pause: function is new, and plugins that export the interface lack it"
        );
        assert_eq!(
            changed("type id = string;", "type id = string; parse: func(text: string) -> id;"),
            "fine t:step/types@0.1.0 parse: function is new"
        );
        // Named like a type of WIT that a changed function uses.
        assert_eq!(
            changed(
                "log: func(level: u8, text: string);",
                "log: func(level: list<u8>, text: string); %list: func();"
            ),
            "breaks t:log/log@0.1.0 log: function changed: parameter `level` was u8, is list<u8>\n\
             fine t:log/log@0.1.0 list: function is new"
        );
    }

    #[test]
    fn an_interface_once_exported_counts_even_if_the_sdk_no_longer_does() {
        let new = STEP.replace("stop: func();", "stop: func(); pause: func();");
        let sdk = SDK.replace("export t:step/step@0.1.0;", "");
        let (older, newer) = (folder([LOG, STEP, SDK]), folder([LOG, &new, &sdk]));
        let findings = compare_folders(older.path(), newer.path()).unwrap();
        assert!(matches!(&findings[..], [Finding { breaks: true, .. }]));
    }

    #[test]
    fn a_new_type_is_fine_until_an_old_item_uses_it() {
        assert_eq!(
            changed(
                "type id = string;",
                "type id = string; type age = u8; record pet { age: age }"
            ),
            "fine t:step/types@0.1.0 age: type is new\nfine t:step/types@0.1.0 pet: record is new"
        );
        assert_eq!(
            changed("name: string }", "name: option<label> } type label = string;"),
            "breaks t:step/types@0.1.0 party: record changed: field `name` was string, is option<label>\n\
             breaks t:step/types@0.1.0 label: type is new, and party uses it"
        );
    }

    #[test]
    fn a_use_of_another_type_under_the_same_name_breaks() {
        assert_eq!(
            changed("fact as what", "colour as what"),
            "breaks t:step/step@0.1.0 what: type changed: \
             its target was t:step/types@0.1.0.fact, is t:step/types@0.1.0.colour"
        );
    }

    #[test]
    fn interfaces_may_come_but_not_go() {
        let more = "package t:log@0.1.0;\ninterface more { all: func(); }";
        assert_eq!(
            changed("package t:log@0.1.0;", more),
            "fine t:log/more@0.1.0: interface is new"
        );
        let [older, newer] = [STEP.replace("interface step", "interface old"), STEP.to_owned()];
        let sdk = "package t:sdk@0.1.0; world plugin { import t:log/log@0.1.0; }";
        let (older, newer) = (folder([LOG, &older, sdk]), folder([LOG, &newer, sdk]));
        let findings = compare_folders(older.path(), newer.path()).unwrap();
        let lines: Vec<_> = findings.iter().map(|f| (f.breaks, f.item.as_str())).collect();
        assert_eq!(lines, [(true, "t:step/old@0.1.0"), (false, "t:step/step@0.1.0")]);
    }

    #[test]
    fn a_new_version_goes_beside_the_old_one_never_in_its_place() {
        let (older, newer) = (folder([LOG, STEP, SDK]), folder([LOG, STEP, SDK]));
        fs::create_dir(newer.path().join("log2")).unwrap();
        let log2 = LOG.replace("0.1.0", "0.2.0").replace("level: u8", "level: u16");
        fs::write(newer.path().join("log2/log.wit"), log2).unwrap();
        let findings = compare_folders(older.path(), newer.path()).unwrap();
        assert!(
            matches!(&findings[..], [Finding { breaks: false, item, .. }] if item == "t:log@0.2.0")
        );
        assert_eq!(
            changed("log@0.1.0", "log@0.2.0").lines().next(),
            Some(
                "breaks t:log@0.1.0: this version of the package is gone; a new one goes beside it"
            )
        );
    }

    #[test]
    fn a_folder_without_wit_is_named() {
        let (nothing, newer) = (tempfile::tempdir().unwrap(), folder([LOG, STEP, SDK]));
        let error = compare_folders(nothing.path(), newer.path()).err().unwrap();
        assert_eq!(error.to_string(), format!("{} is no copy of wit/", nothing.path().display()));
    }

    #[test]
    fn our_own_contract_can_be_read() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit");
        assert!(compare_folders(&wit, &wit).unwrap().is_empty());
        let contract = Contract::load(&wit).unwrap();
        assert!(contract.exported().any(|name| name.starts_with("jackfield:connector/connector@")));
    }
}
