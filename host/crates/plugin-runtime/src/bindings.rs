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
