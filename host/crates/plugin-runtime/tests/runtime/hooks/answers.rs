//! A guest that answers whatever a test writes down as JSON, laid out by the canonical ABI of the WIT's own types.
//!
//! A record is an object whose missing fields are empty; a variant is `"case"` or `{ "case": payload }`; bytes are a
//! string.

use std::path::Path;

use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Int, Resolve, SizeAlign, Type, TypeDefKind, WorldKey};

use crate::guests::{MANIFEST, custom_section, wat};

const PACKAGES: [&str; 7] =
    ["log", "telephony", "hooks", "router", "treatment", "observer", "settings"];
/// Where the answers begin.
const BASE: u32 = 1 << 16;

/// What each function answers, by number.
#[derive(Default)]
pub struct Answers {
    pub route: Vec<Value>,
    pub next: Vec<Value>,
    pub step: Vec<Value>,
    /// What `init` answers; none: no wishes.
    pub init: Option<Value>,
}

impl Answers {
    pub fn component(&self) -> Vec<u8> {
        let contract = Contract::read();
        let mut image = Image { contract: &contract, bytes: Vec::new() };
        let mut table = |interface: &str, function: &str, answers: &[Value]| {
            let ty = contract.answer(interface, function);
            let addresses: Vec<u32> = answers.iter().map(|answer| image.put(&ty, answer)).collect();
            let bytes: Vec<u8> = addresses.iter().flat_map(|at| at.to_le_bytes()).collect();
            image.append(&bytes, 4)
        };
        let route = table("router", "route", &self.route);
        let next = table("wait-treatment", "next", &self.next);
        let step = table("observer", "step", &self.step);
        let init = self.init.clone().unwrap_or(json!({ "ok": {} }));
        let wishes = image.put(&contract.answer("router", "init"), &init);
        let end = BASE + image.bytes.len() as u32;
        let data: String = image.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let mut text = format!(
            "(module (memory (export \"memory\") {}) (data (i32.const {BASE}) \"{data}\") {})",
            end.div_ceil(1 << 16) + 2,
            wat("answers"),
        );
        for (name, value) in [
            ("@ROUTE@", route),
            ("@NEXT@", next),
            ("@STEP@", step),
            ("@WISHES@", wishes),
            ("@HEAP@", end),
        ] {
            text = text.replace(name, &value.to_string());
        }
        let mut core = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        contract.encode(&mut core)
    }
}

/// The WIT of all hooks.
pub struct Contract {
    resolve: Resolve,
    sizes: SizeAlign,
}

impl Contract {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit");
        let mut resolve = Resolve::default();
        for package in PACKAGES {
            let file = format!("{package}.wit");
            let text = std::fs::read_to_string(root.join(package).join(&file)).unwrap();
            resolve.push_source(&file, &text).unwrap();
        }
        let world = "package test:guest; world guest {
            export jackfield:router/router@0.1.0;
            export jackfield:treatment/wait-treatment@0.1.0;
            export jackfield:observer/observer@0.1.0;
        }";
        resolve.push_source("guest.wit", world).unwrap();
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve).unwrap();
        Self { resolve, sizes }
    }

    /// What a function answers.
    pub fn answer(&self, interface: &str, function: &str) -> Type {
        let mut interfaces = self.resolve.interfaces.iter();
        let found = interfaces.find(|(_, it)| it.name.as_deref() == Some(interface)).unwrap().1;
        found.functions[function].result.unwrap()
    }

    /// What a type is, behind its other names.
    pub fn kind(&self, ty: &Type) -> Result<&TypeDefKind, Type> {
        match ty {
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(alias) => self.kind(alias),
                kind => Ok(kind),
            },
            simple => Err(*simple),
        }
    }

    fn encode(&self, core: &mut Vec<u8>) -> Vec<u8> {
        let mut worlds = self.resolve.worlds.iter();
        let world = worlds.find(|(_, world)| world.name == "guest").unwrap().0;
        let exports = &self.resolve.worlds[world].exports;
        assert!(exports.keys().all(|key| matches!(key, WorldKey::Interface(_))));
        let encoding = StringEncoding::UTF8;
        wit_component::embed_component_metadata(core, &self.resolve, world, encoding, true)
            .unwrap();
        custom_section(core, "jackfield:manifest", MANIFEST.as_bytes());
        ComponentEncoder::default().validate(true).module(core).unwrap().encode().unwrap()
    }
}

/// Memory of the guest from [`BASE`] on.
struct Image<'a> {
    contract: &'a Contract,
    bytes: Vec<u8>,
}

impl Image<'_> {
    /// Lays out a value; its address.
    fn put(&mut self, ty: &Type, value: &Value) -> u32 {
        let size = self.contract.sizes.size(ty).size_wasm32();
        let at = self.append(&vec![0; size], 8);
        self.write(ty, value, at);
        at
    }

    fn append(&mut self, bytes: &[u8], align: usize) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align), 0);
        let at = BASE + self.bytes.len() as u32;
        self.bytes.extend(bytes);
        at
    }

    fn set(&mut self, at: u32, bytes: &[u8]) {
        self.bytes[(at - BASE) as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn write(&mut self, ty: &Type, value: &Value, at: u32) {
        let contract = self.contract;
        let kind = match contract.kind(ty) {
            Ok(kind) => kind,
            Err(Type::String) => {
                let text = value.as_str().unwrap_or_default().as_bytes().to_vec();
                return self.write_list(&text, text.len(), at);
            }
            Err(Type::Bool) => return self.set(at, &[value.as_bool().unwrap_or_default().into()]),
            Err(number) => {
                let size = contract.sizes.size(&number).size_wasm32();
                // As bits: a u64 may not fit into an i64.
                let bits = value.as_u64().unwrap_or(value.as_i64().unwrap_or_default() as u64);
                return self.set(at, &bits.to_le_bytes()[..size]);
            }
        };
        match kind {
            TypeDefKind::Record(record) => {
                let types: Vec<Type> = record.fields.iter().map(|field| field.ty).collect();
                for (field, (offset, ty)) in
                    record.fields.iter().zip(contract.sizes.field_offsets(&types))
                {
                    self.write(ty, &value[&field.name], at + offset.size_wasm32() as u32);
                }
                let named = value.as_object().into_iter().flat_map(|object| object.keys());
                for name in named {
                    assert!(record.fields.iter().any(|field| field.name == *name), "{name}?");
                }
            }
            TypeDefKind::Tuple(tuple) => {
                for (index, (offset, ty)) in
                    contract.sizes.field_offsets(&tuple.types).into_iter().enumerate()
                {
                    self.write(ty, &value[index], at + offset.size_wasm32() as u32);
                }
            }
            TypeDefKind::Variant(variant) => {
                let cases =
                    variant.cases.iter().map(|case| (case.name.as_str(), case.ty)).collect();
                self.write_case(cases, variant.tag(), value, at);
            }
            TypeDefKind::Result(result) => {
                self.write_case(vec![("ok", result.ok), ("err", result.err)], Int::U8, value, at);
            }
            TypeDefKind::Option(inner) => {
                let value = if value.is_null() { json!("none") } else { json!({ "some": value }) };
                self.write_case(vec![("none", None), ("some", Some(*inner))], Int::U8, &value, at);
            }
            TypeDefKind::List(Type::U8) => {
                let bytes = value.as_str().unwrap_or_default().as_bytes().to_vec();
                self.write_list(&bytes, bytes.len(), at);
            }
            TypeDefKind::List(item) => {
                let items = value.as_array().cloned().unwrap_or_default();
                let size = contract.sizes.size(item).size_wasm32();
                let start = self.append(&vec![0; size * items.len()], 8);
                for (index, value) in items.iter().enumerate() {
                    self.write(item, value, start + (index * size) as u32);
                }
                self.set(at, &start.to_le_bytes());
                self.set(at + 4, &(items.len() as u32).to_le_bytes());
            }
            other => panic!("the contract has no {other:?}"),
        }
    }

    fn write_list(&mut self, bytes: &[u8], length: usize, at: u32) {
        let start = self.append(bytes, 1);
        self.set(at, &start.to_le_bytes());
        self.set(at + 4, &(length as u32).to_le_bytes());
    }

    /// A variant; nothing said is its first case.
    fn write_case(&mut self, cases: Vec<(&str, Option<Type>)>, tag: Int, value: &Value, at: u32) {
        let object = value.as_object().and_then(|object| object.iter().next());
        let (name, payload) = match object {
            Some((name, payload)) => (name.as_str(), payload),
            None => (value.as_str().unwrap_or(cases[0].0), &Value::Null),
        };
        let index = cases.iter().position(|(case, _)| *case == name);
        let index = index.unwrap_or_else(|| panic!("{name} is none of {cases:?}"));
        self.set(at, &[index as u8]);
        let offset =
            self.contract.sizes.payload_offset(tag, cases.iter().map(|(_, ty)| ty.as_ref()));
        if let Some(ty) = cases[index].1 {
            self.write(&ty, payload, at + offset.size_wasm32() as u32);
        }
    }
}
