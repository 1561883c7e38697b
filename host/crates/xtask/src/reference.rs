//! `cargo xtask reference`: the WIT contracts as one page to read, `wit/reference.md`.
//!
//! The WIT files are the contract; the page is made from them and committed, so that a reader on the web sees what
//! a toolchain sees. An item without a word about it is refused.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::ensure;
use wit_bindgen_core::wit_parser::{
    Docs, Function, Handle, Interface, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeOwner,
};

use crate::bindings;
use crate::workspace::Workspace;

const FILE: &str = "wit/reference.md";

/// Writes the page, or with `check` fails if it is not up to date.
pub fn generate(workspace: &Workspace, check: bool) -> anyhow::Result<()> {
    let page = page(&workspace.root.join("wit"))?;
    let path = workspace.root.join(FILE);
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if committed == page {
        println!("{FILE}: up to date");
        return Ok(());
    }
    ensure!(!check, "wit/ and {FILE} differ: run `cargo xtask reference` and commit the result");
    fs::write(&path, page)?;
    println!("{FILE}: written");
    Ok(())
}

fn page(wit: &Path) -> anyhow::Result<String> {
    let (resolve, sdk) = bindings::load(wit)?;
    let mut reference = Reference { resolve: &resolve, out: String::new(), silent: Vec::new() };
    reference.write(sdk);
    ensure!(
        reference.silent.is_empty(),
        "nothing is said about these; write a doc comment above each:\n  {}",
        reference.silent.join("\n  ")
    );
    Ok(reference.out)
}

struct Reference<'a> {
    resolve: &'a Resolve,
    out: String,
    /// Items without documentation.
    silent: Vec<String>,
}

impl Reference<'_> {
    fn write(&mut self, sdk: PackageId) {
        self.line("# The plugin contract, item by item");
        self.line("");
        self.line("Made from the files in this folder by `cargo xtask reference`; do not edit.");
        self.line("");
        self.line("| a plugin of kind | exports |");
        self.line("| --- | --- |");
        let resolve = self.resolve;
        for (name, world) in &resolve.packages[sdk].worlds {
            let exports = resolve.worlds[*world].exports.keys();
            let exports: Vec<_> = exports.map(|key| resolve.name_world_key(key)).collect();
            self.line(&format!("| {name} | `{}` |", exports.join("`, `")));
        }
        let packages: BTreeMap<String, PackageId> = resolve
            .packages
            .iter()
            .filter(|(id, _)| *id != sdk)
            .map(|(id, package)| (package.name.to_string(), id))
            .collect();
        for (name, id) in packages {
            let package = &resolve.packages[id];
            self.line("");
            self.line(&format!("## Package `{name}`"));
            self.docs(&name, &package.docs);
            for interface in package.interfaces.values() {
                self.interface(&name, &resolve.interfaces[*interface]);
            }
        }
    }

    fn interface(&mut self, package: &str, interface: &Interface) {
        let name = interface.name.as_deref().unwrap_or_default();
        self.line("");
        self.line(&format!("### Interface `{name}` of `{package}`"));
        self.line("");
        for line in interface.docs.contents.as_deref().unwrap_or_default().lines() {
            self.line(line);
        }
        for function in interface.functions.values() {
            self.function(name, function);
        }
        for (type_name, id) in &interface.types {
            let definition = &self.resolve.types[*id];
            // What is used from elsewhere is described there.
            if !matches!(definition.kind, TypeDefKind::Type(Type::Id(_))) {
                self.definition(name, type_name, definition);
            }
        }
    }

    fn function(&mut self, interface: &str, function: &Function) {
        let parameters = function.params.iter();
        let parameters: Vec<String> = parameters
            .map(|parameter| format!("{}: {}", parameter.name, self.name_of(&parameter.ty)))
            .collect();
        let result = function.result.as_ref();
        let result = result.map(|ty| format!(" -> {}", self.name_of(ty))).unwrap_or_default();
        self.line("");
        self.line(&format!("#### `{}`", function.name));
        self.line("");
        self.line(&format!("`func({}){result}`", parameters.join(", ")));
        self.docs(&format!("{interface}.{}", function.name), &function.docs);
    }

    fn definition(&mut self, interface: &str, name: &str, definition: &TypeDef) {
        self.line("");
        self.line(&format!("#### `{name}`"));
        self.docs(&format!("{interface}.{name}"), &definition.docs);
        self.line("");
        match &definition.kind {
            TypeDefKind::Record(record) => {
                self.line("| field | type | |");
                self.line("| --- | --- | --- |");
                for field in &record.fields {
                    let row = self.row(&field.name, &self.name_of(&field.ty), &field.docs);
                    self.line(&row);
                }
            }
            TypeDefKind::Variant(variant) => {
                self.line("| case | with | |");
                self.line("| --- | --- | --- |");
                for case in &variant.cases {
                    let with = case.ty.as_ref().map(|ty| self.name_of(ty)).unwrap_or_default();
                    let row = self.row(&case.name, &with, &case.docs);
                    self.line(&row);
                }
            }
            other => {
                let shape = self.shape(other);
                self.line(&format!("`{shape}`"));
            }
        }
    }

    fn row(&self, name: &str, of: &str, docs: &Docs) -> String {
        let of = if of.is_empty() { String::new() } else { format!("`{of}`") };
        let text = docs.contents.as_deref().unwrap_or_default();
        let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        format!("| `{name}` | {of} | {} |", text.replace('|', "\\|").trim())
    }

    fn name_of(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
        let definition = &self.resolve.types[*id];
        match (&definition.name, &definition.owner) {
            (Some(name), TypeOwner::Interface(_) | TypeOwner::World(_)) => name.clone(),
            _ => self.shape(&definition.kind),
        }
    }

    fn shape(&self, kind: &TypeDefKind) -> String {
        let maybe = |ty: &Option<Type>| ty.as_ref().map_or("_".into(), |ty| self.name_of(ty));
        match kind {
            TypeDefKind::Option(ty) => format!("option<{}>", self.name_of(ty)),
            TypeDefKind::List(ty) => format!("list<{}>", self.name_of(ty)),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<_> = tuple.types.iter().map(|ty| self.name_of(ty)).collect();
                format!("tuple<{}>", types.join(", "))
            }
            TypeDefKind::Result(result) => {
                format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err))
            }
            TypeDefKind::Type(ty) => self.name_of(ty),
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => {
                self.name_of(&Type::Id(*id))
            }
            other => other.as_str().to_owned(),
        }
    }

    fn docs(&mut self, item: &str, docs: &Docs) {
        let text = docs.contents.as_deref().unwrap_or_default().trim();
        if text.is_empty() {
            self.silent.push(item.to_owned());
            return;
        }
        self.line("");
        text.lines().for_each(|line| self.line(line.trim_end()));
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(text: &str) -> anyhow::Result<String> {
        let wit = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("alpha", text),
            ("sdk", "package t:sdk@0.1.0; world one { export t:alpha/step@0.1.0; }"),
        ] {
            fs::create_dir(wit.path().join(name)).unwrap();
            fs::write(wit.path().join(name).join("package.wit"), text).unwrap();
        }
        page(wit.path())
    }

    #[test]
    fn every_item_is_on_the_page_with_its_shape_and_words() {
        let page = page_of(
            "/// Packages.
             package t:alpha@0.1.0;
             /// Steps.
             interface step {
                 /// How far.
                 variant way { near, /// Very.
                     far(list<option<u32>>) }
                 /// Goes.
                 go: func(way: way) -> result<string, u8>;
             }",
        )
        .unwrap();
        for line in [
            "| one | `t:alpha/step@0.1.0` |",
            "`func(way: way) -> result<string, u8>`",
            "| `far` | `list<option<u32>>` | Very. |",
            "How far.",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn an_item_without_a_word_is_named() {
        let error = page_of(
            "/// Packages.
             package t:alpha@0.1.0;
             /// Steps.
             interface step { go: func(); /// Far.
                 type far = u8; record near { it: far } }",
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("\n  step.go\n  step.near"), "{error}");
    }
}
