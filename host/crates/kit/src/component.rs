//! Components: made of core modules, given a manifest, their imports checked.

use std::borrow::Cow;

use anyhow::{Context, bail, ensure};
use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, TypeDefKind, WorldItem};

/// The custom section in which a plugin carries its manifest.
pub const MANIFEST: &str = "jackfield:manifest";

/// The only interface with functions that a plugin may import (any version of it).
const LOG: &str = "jackfield:log/log@";

/// Turns the core module rustc made into a component.
pub fn from_core_module(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut component = ComponentEncoder::default()
        .validate(true)
        .module(core)
        .context("no usable component type in the module")?
        .encode()
        .context("cannot make a component of the module")?;
    lift_manifest(core, &mut component)?;
    check_world(&component)?;
    Ok(component)
}

/// A component as it is, or one made of a core module.
pub fn from_either(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    ensure!(wasm.starts_with(b"\0asm"), "this is not WebAssembly");
    if Parser::is_core_wasm(wasm) { from_core_module(wasm) } else { Ok(wasm.to_vec()) }
}

/// The component with this manifest, and no other, on its outermost level.
pub fn with_manifest(component: &[u8], manifest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut made = Vec::with_capacity(component.len() + manifest.len() + 64);
    let (mut depth, mut copied, mut end) = (0_usize, 0, 0);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        // Where the section before this one ended is where this one's header begins.
        let begin = end;
        match &payload {
            Payload::Version { range, .. } if depth == 0 => end = offset(range.end)?,
            payload if depth == 0 => {
                if let Some((_, range)) = payload.as_section() {
                    end = offset(range.end)?;
                }
            }
            _ => {}
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == MANIFEST => {
                made.extend_from_slice(&component[copied..begin]);
                copied = end;
            }
            _ => {}
        }
    }
    made.extend_from_slice(&component[copied..]);
    let section = CustomSection { name: MANIFEST.into(), data: Cow::Borrowed(manifest) };
    section.append_to_component(&mut made);
    Ok(made)
}

fn offset(place: u64) -> anyhow::Result<usize> {
    usize::try_from(place).context("the file is too large")
}

/// Copies the manifest to the outermost level, where a reader finds it without parsing modules.
fn lift_manifest(core: &[u8], component: &mut Vec<u8>) -> anyhow::Result<()> {
    let manifests = custom_sections(core, MANIFEST)?;
    match manifests[..] {
        [] => {}
        [manifest] => {
            let section = CustomSection { name: MANIFEST.into(), data: Cow::Borrowed(manifest) };
            section.append_to_component(component);
        }
        _ => bail!("the module has {} sections {MANIFEST}, not one", manifests.len()),
    }
    Ok(())
}

/// The custom sections of that name in the outermost module or component.
pub(crate) fn custom_sections<'a>(wasm: &'a [u8], name: &str) -> anyhow::Result<Vec<&'a [u8]>> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == name => {
                found.push(section.data());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Refuses a component that offers nothing, or could do more than answer and write log lines.
fn check_world(component: &[u8]) -> anyhow::Result<()> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("this is a WIT package, not a component");
    };
    let world = &resolve.worlds[world];
    // rustc drops what nobody calls, so a forgotten registration leaves an empty shell.
    ensure!(!world.exports.is_empty(), "it exports nothing: is `register_connector!` missing?");
    for (key, item) in &world.imports {
        let name = resolve.name_world_key(key);
        let allowed = name.starts_with(LOG) || is_types_only(&resolve, item);
        ensure!(
            allowed,
            "it imports `{name}`, but a plugin may import nothing but jackfield:log/log{}",
            hint(&name)
        );
    }
    Ok(())
}

/// An interface of mere types is how a component names what its exports talk about.
pub(crate) fn is_types_only(resolve: &Resolve, item: &WorldItem) -> bool {
    let is_resource = |id| matches!(resolve.types[id].kind, TypeDefKind::Resource);
    match item {
        WorldItem::Interface { id, .. } => {
            let interface = &resolve.interfaces[*id];
            interface.functions.is_empty() && !interface.types.values().any(|&id| is_resource(id))
        }
        WorldItem::Type { id, .. } => !is_resource(*id),
        WorldItem::Function(_) => false,
    }
}

fn hint(import: &str) -> &'static str {
    if import.starts_with("wasi:") {
        " (build it for wasm32-unknown-unknown, without WASI)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{CodeSection, Function, FunctionSection, Instruction, Module, TypeSection};
    use wit_component::StringEncoding;

    use super::*;

    /// A core module implementing `wit`'s world `guest`, importing `import` in its own name.
    fn core_module(wit: &str, import: Option<(&str, &str)>) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("test.wit", wit).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        module.section(&types);
        if let Some((from, name)) = import {
            let mut imports = wasm_encoder::ImportSection::new();
            imports.import(from, name, wasm_encoder::EntityType::Function(0));
            module.section(&imports);
        }
        let mut functions = FunctionSection::new();
        functions.function(0);
        module.section(&functions);
        let mut exports = wasm_encoder::ExportSection::new();
        let run = u32::from(import.is_some());
        exports.export("run", wasm_encoder::ExportKind::Func, run);
        module.section(&exports);
        let mut body = Function::new([]);
        if run == 1 {
            // Called, or the encoder drops the import.
            body.instruction(&Instruction::Call(0));
        }
        body.instruction(&Instruction::End);
        let mut code = CodeSection::new();
        code.function(&body);
        module.section(&code);
        let mut core = module.finish();
        wit_component::embed_component_metadata(
            &mut core,
            &resolve,
            world,
            StringEncoding::UTF8,
            false,
        )
        .unwrap();
        core
    }

    fn with_section(mut core: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
        let section = CustomSection { name: name.into(), data: data.into() };
        wasm_encoder::Section::append_to(&section, &mut core);
        core
    }

    const PLAIN: &str = "package test:guest; world guest { export run: func(); }";

    #[test]
    fn the_manifest_is_found_on_the_component_itself() {
        let core = with_section(core_module(PLAIN, None), MANIFEST, b"name = \"tiny\"");
        let core = with_section(core, "unrelated", b"stays inside");
        let component = from_core_module(&core).unwrap();
        assert_eq!(custom_sections(&component, MANIFEST).unwrap(), [b"name = \"tiny\""]);
        assert!(custom_sections(&component, "unrelated").unwrap().is_empty());
        assert!(Parser::is_component(&component));
        wasmparser::Validator::new().validate_all(&component).unwrap();
    }

    #[test]
    fn no_manifest_is_no_section() {
        let component = from_core_module(&core_module(PLAIN, None)).unwrap();
        assert!(custom_sections(&component, MANIFEST).unwrap().is_empty());
    }

    #[test]
    fn a_manifest_given_later_is_the_only_one() {
        let plain = from_core_module(&core_module(PLAIN, None)).unwrap();
        let once = with_manifest(&plain, b"{\"id\":\"one\"}").unwrap();
        assert_eq!(custom_sections(&once, MANIFEST).unwrap(), [b"{\"id\":\"one\"}"]);
        let twice = with_manifest(&once, b"{\"id\":\"another\"}").unwrap();
        assert_eq!(custom_sections(&twice, MANIFEST).unwrap(), [b"{\"id\":\"another\"}"]);
        assert_eq!(with_manifest(&twice, b"{\"id\":\"one\"}").unwrap(), once);
        wasmparser::Validator::new().validate_all(&twice).unwrap();
    }

    #[test]
    fn two_manifests_are_refused() {
        let core = with_section(core_module(PLAIN, None), MANIFEST, b"a");
        let error = from_core_module(&with_section(core, MANIFEST, b"b")).unwrap_err();
        assert_eq!(error.to_string(), "the module has 2 sections jackfield:manifest, not one");
    }

    fn importing(interface: &str) -> anyhow::Result<Vec<u8>> {
        let (package, name) = interface.split_once('/').unwrap();
        let wit = format!(
            "package test:guest;
             world guest {{ import {interface}@1.0.0; export run: func(); }}
             package {package}@1.0.0 {{ interface {name} {{ act: func(); }} }}"
        );
        from_core_module(&core_module(&wit, Some((&format!("{interface}@1.0.0"), "act"))))
    }

    #[test]
    fn an_empty_shell_is_refused() {
        let core = core_module("package test:guest; world guest {}", None);
        let error = from_core_module(&core).unwrap_err().to_string();
        assert!(error.contains("exports nothing"), "{error}");
    }

    #[test]
    fn interfaces_of_types_may_be_imported() {
        let wit = "package test:guest;
            interface words { type word = u32; }
            interface speech { use words.{word}; type sentence = word; }
            world guest { import speech; export run: func(); }";
        from_core_module(&core_module(wit, None)).unwrap();
    }

    #[test]
    fn log_may_be_imported() {
        importing("jackfield:log/log").unwrap();
    }

    #[test]
    fn any_other_import_is_refused_by_name() {
        let error = importing("test:network/sockets").unwrap_err().to_string();
        assert!(error.contains("`test:network/sockets@1.0.0`"), "{error}");
        let error = importing("wasi:random/random").unwrap_err().to_string();
        assert!(error.contains("without WASI"), "{error}");
    }
}
