//! `jackfield token`: the keys of API clients.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use calls::Timestamp;
use clap::Subcommand;
use jiff::tz::TimeZone;

use super::{ConfigArgs, SUCCESS, USAGE, complain, load, say};
use crate::tokens::{Scope, Token, Tokens};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and show it, once.
    ///
    /// The token goes to the output alone on its line, so that a script can catch it; what it may do goes to
    /// standard error.
    Create {
        /// Whose it is, e.g. `chat`; events name it as their actor.
        name: String,
        /// What it may do: `read` sees, `control` also sends commands, `admin` also changes agents, plugins and connectors. May be
        /// repeated.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// When it ends, e.g. 90d, 12h, 30m. Without it: never.
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<Duration>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show all tokens: names, scopes, times; never the tokens themselves.
    List {
        /// One JSON document instead of lines.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Take a token back. It stops working at once, also in a running host.
    Revoke {
        /// Its name or id, as `jackfield token list` shows them.
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(command: TokenCommand) -> anyhow::Result<u8> {
    let (TokenCommand::Create { config, .. }
    | TokenCommand::List { config, .. }
    | TokenCommand::Revoke { config, .. }) = &command;
    let Some(config) = load(&config.config) else { return Ok(USAGE) };
    let tokens = Tokens::open(&config.tokens_file())?;
    match command {
        TokenCommand::Create { name, scopes, expires, .. } => {
            let scopes: Vec<Scope> =
                scopes.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
            let now = now();
            let expires = expires.map(|after| Timestamp(now.0.saturating_add(nanos(after))));
            let text = tokens.create(&name, &scopes, expires, now)?;
            complain(&format!(
                "{name} may {}{}; this is the only time the token is shown:",
                words(&scopes),
                expires.map(|at| format!(" until {}", shown(at))).unwrap_or_default()
            ));
            say(&text);
        }
        TokenCommand::List { json, .. } => {
            let list = tokens.list()?;
            say(&if json { as_json(&list) } else { as_lines(&list, now()) });
        }
        TokenCommand::Revoke { name, .. } => {
            tokens.revoke(&name, now())?;
            complain(&format!("{name} is revoked"));
        }
    }
    Ok(SUCCESS)
}

/// `90d`, `12h`, `30m` or `45s`.
fn lifetime(text: &str) -> anyhow::Result<Duration> {
    const FIX: &str = "write a number and a unit, e.g. 90d, 12h or 30m";
    let Some((at, unit)) = text.char_indices().last() else { bail!(FIX) };
    let secs: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => bail!(FIX),
    };
    match text[..at].parse::<u64>().ok().and_then(|count| count.checked_mul(secs)) {
        Some(total) if total > 0 && total <= 100 * 366 * 86_400 => Ok(Duration::from_secs(total)),
        _ => bail!(FIX),
    }
}

fn as_json(list: &[Token]) -> String {
    let list: Vec<_> = list
        .iter()
        .map(|token| {
            serde_json::json!({
                "id": token.id,
                "name": token.name,
                "scopes": token.scopes.iter().map(|scope| scope.word()).collect::<Vec<_>>(),
                "created_at": shown(token.created_at),
                "expires_at": token.expires_at.map(shown),
                "revoked_at": token.revoked_at.map(shown),
            })
        })
        .collect();
    format!("{:#}", serde_json::json!({ "tokens": list }))
}

fn as_lines(list: &[Token], now: Timestamp) -> String {
    if list.is_empty() {
        return "no tokens; make one with `jackfield token create NAME --scope read`".to_owned();
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header(["NAME", "ID", "SCOPES", "CREATED", "STATE"]);
    for token in list {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => format!("revoked {}", shown(at)),
            (None, Some(at)) if at <= now => format!("expired {}", shown(at)),
            (None, Some(at)) => format!("valid until {}", shown(at)),
            (None, None) => "valid".to_owned(),
        };
        let created = shown(token.created_at);
        table.add_row([&token.name, &token.id, &words(&token.scopes), &created, &state]);
    }
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}

fn words(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.word()).collect::<Vec<_>>().join(", ")
}

fn shown(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.0))
        .map(|at| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_else(|_| "?".to_owned())
}

fn now() -> Timestamp {
    Timestamp(nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_needs_a_number_and_a_unit() {
        assert_eq!(lifetime("90d").ok(), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(lifetime("12h").ok(), Some(Duration::from_secs(12 * 3_600)));
        for wrong in ["", "90", "d", "0d", "-1d", "1.5h", "99999999999999999999d", "1ü", "5 d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
