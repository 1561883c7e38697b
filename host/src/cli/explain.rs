//! `jackfield explain`: why a call went where it went.

use clap::Args;
use serde_json::Value;

use super::{
    client::{Client, HostArgs, Trouble},
    report::{list, text},
    say,
    table::{micros, plain, table},
};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The call's id, e.g. call-1f; `jackfield explain` with no id shows the latest calls.
    call: Option<String>,
    /// Also show what each decision was made on.
    #[arg(long)]
    facts: bool,
    /// The answer as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// Calls in the list.
const LATEST: usize = 20;

pub(super) async fn run(args: ExplainArgs) -> Result<(), Trouble> {
    let client = Client::new(&args.host)?;
    let Some(call) = &args.call else { return latest(&client, args.json).await };
    if !call.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(Trouble::usage(format!(
            "`{}` is no id of a call; fix: write e.g. call-1f, as GET /v1/calls shows it",
            plain(call)
        )));
    }
    let answer = client.get(&format!("/v1/calls/{call}/explain")).await?;
    if args.json {
        say(&format!("{answer:#}"));
        return Ok(());
    }
    say(&header(&answer));
    let steps = list(&answer["steps"]);
    let rows = steps.iter().flat_map(|step| {
        let took = step["took_us"].as_u64().map(micros).unwrap_or_default();
        let after = format!("{:.3} s", step["after_ms"].as_u64().unwrap_or_default() as f64 / 1e3);
        let who = [text(&step["who"]), text(&step["plugin"])].join(" ");
        let word = ["what", "outcome"].map(|field| text(&step[field]));
        let what = match text(&step["verdict"]) {
            verdict if verdict.is_empty() => word[1].clone(),
            verdict if word[1].is_empty() => verdict,
            verdict => format!("{}: {verdict}", word[1]),
        };
        let first =
            [after, word[0].clone(), who.trim().to_owned(), what, text(&step["reason"]), took];
        let facts = if args.facts { list(&step["facts"]) } else { &[] };
        let more = facts.iter().map(|fact| {
            let fact = format!("{} = {}", text(&fact["name"]), text(&fact["value"]));
            [String::new(), String::new(), String::new(), fact, String::new(), String::new()]
        });
        std::iter::once(first).chain(more).collect::<Vec<_>>()
    });
    say(&table(["AFTER", "STEP", "WHO", "WHAT", "WHY", "TOOK"], rows));
    if !steps.iter().any(|step| step["what"] == "decided") {
        say("nothing was decided here: the PBX did not hand this call over");
    }
    Ok(())
}

/// Which call, who calls, and whom.
fn header(answer: &Value) -> String {
    let caller = ["e164", "raw", "extension"].map(|field| text(&answer["caller"][field]));
    let number = caller.into_iter().find(|text| !text.is_empty());
    let name = text(&answer["caller"]["name"]);
    let caller = match (number, name.as_str()) {
        (Some(number), "") => number,
        (Some(number), name) => format!("{name} ({number})"),
        (None, "") => "somebody without a number".to_owned(),
        (None, name) => name.to_owned(),
    };
    let dialled = text(&answer["dialled"]);
    let dialled = if dialled.is_empty() { "nothing".to_owned() } else { dialled };
    format!("{}: {caller} dialled {dialled}", text(&answer["id"]))
}

async fn latest(client: &Client, json: bool) -> Result<(), Trouble> {
    let answer = client.get(&format!("/v1/calls?limit={LATEST}")).await?;
    if json {
        say(&format!("{answer:#}"));
        return Ok(());
    }
    let rows = list(&answer["items"]).iter().map(|call| {
        let caller = ["name", "raw"].map(|field| text(&call["caller"][field]));
        let caller = caller.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let words = ["id", "started_at", "status", "dialled"].map(|field| text(&call[field]));
        let [id, started, status, dialled] = words;
        [id, started, status, caller, dialled]
    });
    say(&table(["CALL", "BEGAN", "STATUS", "CALLER", "DIALLED"], rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_line_says_which_call_who_calls_and_whom() {
        let of =
            |caller: Value| header(&json!({ "id": "call-9", "caller": caller, "dialled": "500" }));
        let number =
            json!({ "raw": "030 123456", "e164": "+4930123456", "presentation": "allowed" });
        assert_eq!(of(number), "call-9: +4930123456 dialled 500");
        let named = json!({ "raw": "1001", "name": "Anna\u{1b}[2J", "extension": "1001" });
        assert_eq!(of(named), "call-9: Anna [2J (1001) dialled 500");
        assert_eq!(of(json!({ "raw": "" })), "call-9: somebody without a number dialled 500");
        assert_eq!(
            header(&json!({ "id": "call-9" })),
            "call-9: somebody without a number dialled nothing"
        );
    }
}
