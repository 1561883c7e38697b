//! A plugin that does nothing, to know what calling one costs at least.
//!
//! It is made here, instruction by instruction: every function of the kind's interface returns a value of zeros, which
//! is an empty answer in every one of them (`pass`, no steps, no actions).

use anyhow::Context;
use plugin_runtime::Kind;
use serde_json::json;
use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, Instruction, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{
    Resolve, WorldItem,
    abi::{AbiVariant, WasmType},
};

use crate::component;

const WIT: [(&str, &str); 6] = [
    ("telephony", include_str!("../../../../../wit/telephony/telephony.wit")),
    ("connector", include_str!("../../../../../wit/connector/connector.wit")),
    ("hooks", include_str!("../../../../../wit/hooks/hooks.wit")),
    ("router", include_str!("../../../../../wit/router/router.wit")),
    ("treatment", include_str!("../../../../../wit/treatment/treatment.wit")),
    ("observer", include_str!("../../../../../wit/observer/observer.wit")),
];

/// Where answers lie: zeros.
const ANSWER: i32 = 1024;
/// Where arguments begin.
const HEAP: i32 = 65_536;
const PAGES: u64 = 32;

/// A component of that kind, with the same links as `like`.
pub(super) fn component(kind: Kind, links: &[(String, u32)]) -> anyhow::Result<Vec<u8>> {
    let interface = match kind {
        Kind::Connector => "jackfield:connector/connector@0.1.0",
        Kind::Router => "jackfield:router/router@0.1.0",
        Kind::WaitTreatment => "jackfield:treatment/wait-treatment@0.1.0",
        Kind::Observer => "jackfield:observer/observer@0.1.0",
    };
    let mut resolve = Resolve::default();
    for (name, text) in WIT {
        resolve.push_source(name, text).with_context(|| format!("wit/{name}"))?;
    }
    let text = format!("package kit:empty; world empty {{ export {interface}; }}");
    let package = resolve.push_source("empty", &text)?;
    let world = resolve.select_world(&[package], Some("empty"))?;
    let mut functions = Vec::new();
    for (key, item) in &resolve.worlds[world].exports {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = resolve.name_world_key(key);
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
            functions.push((
                format!("{interface}#{name}"),
                types(&signature.params),
                types(&signature.results),
            ));
        }
    }
    let mut core = module(&functions);
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, false)?;
    let links: Vec<_> = links
        .iter()
        .map(|(name, max_frame)| json!({ "name": name, "transports": ["tcp"], "max_frame": max_frame }))
        .collect();
    let manifest = json!({
        "id": "empty", "name": "Empty", "version": "0.1.0", "author": "Jackfield", "license": "Apache-2.0 OR MIT",
        "description": "Does nothing.", "links": links,
    });
    component::with_manifest(&component::from_core_module(&core)?, manifest.to_string().as_bytes())
}

fn types(types: &[WasmType]) -> Vec<ValType> {
    let value = |one: &WasmType| match one {
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
    };
    types.iter().map(value).collect()
}

/// A module whose functions give back the memory of their arguments and answer zeros.
fn module(exports: &[(String, Vec<ValType>, Vec<ValType>)]) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut named = ExportSection::new();
    let mut code = CodeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    functions.function(0);
    named.export("cabi_realloc", ExportKind::Func, 0);
    code.function(&realloc());
    for (index, (name, params, results)) in (1..).zip(exports) {
        types.ty().function(params.iter().copied(), results.iter().copied());
        functions.function(index);
        named.export(name, ExportKind::Func, index);
        let mut body = Function::new([]);
        body.instruction(&Instruction::I32Const(HEAP)).instruction(&Instruction::GlobalSet(0));
        if !results.is_empty() {
            body.instruction(&Instruction::I32Const(ANSWER));
        }
        body.instruction(&Instruction::End);
        code.function(&body);
    }
    named.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: PAGES,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    let heap = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(heap, &ConstExpr::i32_const(HEAP));
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&globals)
        .section(&named)
        .section(&code);
    module.finish()
}

/// The next free place, aligned; what was there before is not moved, since nothing grows.
fn realloc() -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    let (align, size, place) = (2, 3, 4);
    for instruction in [
        Instruction::GlobalGet(0),
        Instruction::LocalGet(align),
        Instruction::I32Add,
        Instruction::I32Const(1),
        Instruction::I32Sub,
        Instruction::I32Const(0),
        Instruction::LocalGet(align),
        Instruction::I32Sub,
        Instruction::I32And,
        Instruction::LocalTee(place),
        Instruction::LocalGet(size),
        Instruction::I32Add,
        Instruction::GlobalSet(0),
        Instruction::LocalGet(place),
        Instruction::End,
    ] {
        body.instruction(&instruction);
    }
    body
}
