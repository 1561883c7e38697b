//! `jackfield plugin bench`.

use std::io;

use clap::Args;
use kit::{
    bench::{Figures, bench},
    report::Paint,
};

use super::subject::SubjectArgs;
use crate::cli::{
    Color, FAILURE, SUCCESS, say,
    table::{bytes, table},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct BenchArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// How many calls to measure.
    #[arg(long, value_name = "NUMBER", default_value_t = 5000)]
    calls: usize,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BenchArgs, color: Color) -> anyhow::Result<u8> {
    let subject = args.subject.load()?;
    let figures = bench(&subject.file, &subject.scenarios, args.calls.clamp(10, 1_000_000))?;
    let within = figures.iter().all(is_within);
    if args.json {
        say(&format!("{:#}", serde_json::json!({ "within_limits": within, "figures": figures })));
    } else {
        let paint = Paint::new(color.on(&io::stdout()));
        for one in &figures {
            say(&shown(one, paint));
        }
    }
    Ok(if within { SUCCESS } else { FAILURE })
}

fn is_within(figures: &Figures) -> bool {
    figures.plugin.call_us.p99 <= f64::from(figures.limit_ms) * 1e3
        && figures.plugin.memory_bytes <= u64::from(figures.limit_memory_mib) << 20
}

fn shown(figures: &Figures, paint: Paint) -> String {
    let Figures { kind, call, scenario, plugin, empty, limit_ms, limit_memory_mib } = figures;
    let us = |us: f64| match us {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    };
    let row = |name: &str, of: fn(&kit::bench::Costs) -> f64, limit: String| {
        [name.to_owned(), us(of(plugin)), us(of(empty)), limit]
    };
    let limit = format!("{limit_ms} ms");
    let none = || "-".to_owned();
    let rows = [
        row(&format!("{call}, p50"), |costs| costs.call_us.p50, none()),
        row(&format!("{call}, p99"), |costs| costs.call_us.p99, limit.clone()),
        row(&format!("{call}, longest"), |costs| costs.call_us.max, limit),
        row("a new instance, p50", |costs| costs.instantiate_us, none()),
        row("compiling", |costs| costs.compile_ms * 1e3, none()),
        [
            "memory".to_owned(),
            bytes(plugin.memory_bytes),
            bytes(empty.memory_bytes),
            format!("{limit_memory_mib} MiB"),
        ],
        ["size".to_owned(), bytes(plugin.bytes), bytes(empty.bytes), none()],
    ];
    let ratio = plugin.call_us.p50 / empty.call_us.p50.max(0.001);
    let verdict = match is_within(figures) {
        true => paint.good("within its limits"),
        false => paint.bad("NOT within its limits"),
    };
    format!(
        "as a {kind}, {} calls of `{scenario}`\n{}\n{verdict}; one {call} costs {ratio:.1} times that of a plugin that does nothing",
        plugin.call_us.count,
        table(["", "this plugin", "empty plugin", "limit"], rows)
    )
}
