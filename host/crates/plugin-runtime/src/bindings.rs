//! Types and glue generated from `wit/`. Nothing here leaves the crate.
//!
//! One tiny world for each interface a plugin may export: whoever lacks an optional one can still be
//! bound to the others.

#![allow(missing_docs, clippy::all, reason = "generated")]

pub(crate) mod connector {
    wasmtime::component::bindgen!({
        path: ["../../../wit/log", "../../../wit/telephony", "../../../wit/connector"],
        inline: "
            package jackfield:runtime;
            world connector {
                import jackfield:log/log@0.1.0;
                export jackfield:connector/connector@0.1.0;
            }
        ",
        additional_derives: [PartialEq, Hash],
    });
}

pub(crate) mod state {
    wasmtime::component::bindgen!({
        path: ["../../../wit/log", "../../../wit/telephony", "../../../wit/connector"],
        inline: "
            package jackfield:runtime;
            world state { export jackfield:connector/state@0.1.0; }
        ",
        with: { "jackfield:connector/types@0.1.0": super::connector::jackfield::connector::types },
    });
}

pub(crate) mod settings {
    wasmtime::component::bindgen!({
        path: ["../../../wit/settings"],
        inline: "
            package jackfield:runtime;
            world settings { export jackfield:settings/settings@0.1.0; }
        ",
    });
}

pub(crate) use connector::jackfield::{connector::types, telephony::facts};

/// The two types of `telephony` that hooks use, by hand: bindgen cannot borrow the others.
pub mod borrowed_facts {
    #![allow(dead_code)]

    use wasmtime::component::{ComponentType, Lower};

    pub type AttributesParam<'a> = &'a [(&'a str, &'a str)];
    pub type AttributesResult = Vec<(String, String)>;

    #[derive(Clone, Copy, Debug, ComponentType, Lower)]
    #[component(record)]
    pub struct Party<'a> {
        pub number: &'a str,
        pub name: &'a str,
        pub presentation: &'a str,
    }

    // The generated linker glue, which nobody calls, names these.
    pub trait Host {}
    pub trait HostWithStore<T> {}
    pub fn add_to_linker<T, D>(
        _: &mut wasmtime::component::Linker<T>,
        _: fn(&mut T) -> D::Data<'_>,
    ) -> wasmtime::Result<()>
    where
        D: wasmtime::component::HasData,
    {
        Ok(())
    }
}

/// All hooks in one world, so that they share their types; only what a plugin has of it is looked up. What goes in is
/// borrowed: a call has a dozen strings, and nobody keeps a copy.
pub(crate) mod hooks {
    wasmtime::component::bindgen!({
        path: [
            "../../../wit/telephony", "../../../wit/hooks", "../../../wit/router", "../../../wit/treatment",
            "../../../wit/observer",
        ],
        inline: "
            package jackfield:runtime;
            world hooks {
                export jackfield:router/router@0.1.0;
                export jackfield:treatment/wait-treatment@0.1.0;
                export jackfield:observer/observer@0.1.0;
            }
        ",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "jackfield:telephony/facts@0.1.0": super::borrowed_facts },
    });
}
