//! What a change brought about, for people.

use serde_json::Value;

use super::table::plain;

/// Every change and complaint on its line.
pub(super) fn lines(report: &Value) -> String {
    let mut lines = Vec::new();
    for change in list(&report["changes"]) {
        let detail = text(&change["detail"]);
        let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
        lines.push(format!("{}: {}{detail}", text(&change["subject"]), text(&change["kind"])));
    }
    for (name, title) in [
        ("complaints", "does not run as wished"),
        ("needs_restart", "needs a restart of jackfield"),
        ("warnings", "warning"),
    ] {
        let found = list(&report[name]);
        lines.extend(found.iter().map(|it| format!("{title}: {}", fault(it))));
    }
    if lines.is_empty() { "nothing to change".to_owned() } else { lines.join("\n") }
}

/// `line 7: settings.username: is missing`, and the fix below it.
pub(super) fn fault(fault: &Value) -> String {
    let line = fault["line"].as_u64().map(|line| format!("line {line}: ")).unwrap_or_default();
    let key = text(&fault["key"]);
    let key = if key.is_empty() { key } else { format!("{key}: ") };
    let fix = text(&fault["fix"]);
    let fix = if fix.is_empty() { fix } else { format!("\n  fix: {fix}") };
    format!("{line}{key}{}{fix}", text(&fault["message"]))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text in a field; empty when there is none.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map(plain).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_reads_as_sentences() {
        assert_eq!(lines(&json!({ "changes": [] })), "nothing to change");
        let report = json!({
            "changes": [{ "subject": "connector hq", "kind": "swapped", "detail": "0.1.0 to 0.2.0" }],
            "needs_restart": [{ "key": "api.listen", "message": "differs", "fix": "restart it", "line": 3 }],
        });
        let told = "connector hq: swapped: 0.1.0 to 0.2.0\n\
                    needs a restart of jackfield: line 3: api.listen: differs\n  fix: restart it";
        assert_eq!(lines(&report), told);
    }
}
