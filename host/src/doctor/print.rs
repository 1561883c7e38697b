//! A report for people, and for machines.

use std::fmt::Write;

use super::{Finding, Level, Report};

/// One JSON document.
pub(super) fn json(report: &Report) -> String {
    format!(
        "{:#}",
        serde_json::json!({
            "file": report.file,
            "usable": report.usable,
            "worst": report.worst(),
            "exit_code": report.exit_code(),
            "findings": report.findings,
        })
    )
}

/// Grouped by connector and hook, aligned, the sum last.
pub(super) fn lines(report: &Report, colored: bool) -> String {
    let width = report.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut group = None;
    for finding in &report.findings {
        let whose = (finding.connector.as_deref(), finding.hook.as_deref());
        if group != Some(whose) {
            let title = match whose {
                (Some(id), _) => format!("connector {id}"),
                (None, Some(id)) => format!("hook {id}"),
                (None, None) => "host".to_owned(),
            };
            let gap = if group.is_some() { "\n" } else { "" };
            let _ = writeln!(text, "{gap}{}", painted(&title, "1", colored));
            group = Some(whose);
        }
        write_finding(&mut text, finding, width, colored);
    }
    let _ = write!(text, "\n{}", sum(report));
    text
}

fn write_finding(text: &mut String, finding: &Finding, width: usize, colored: bool) {
    let (word, color) = match finding.level {
        Level::Ok => ("ok     ", "32"),
        Level::Warning => ("warning", "33"),
        Level::Failure => ("FAILURE", "31"),
    };
    let Finding { check, message, fix, .. } = finding;
    let _ = writeln!(text, "  {}  {check:width$}  {message}", painted(word, color, colored));
    if !fix.is_empty() {
        let indent = 2 + word.len() + 2 + width + 2;
        let _ = writeln!(text, "{:indent$}{} {fix}", "", painted("fix:", "36", colored));
    }
}

fn sum(report: &Report) -> String {
    if !report.usable {
        return "The configuration cannot be used; nothing else was tried.".to_owned();
    }
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let of = |count: usize, what: &str| match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    };
    format!("{}, {}.", of(count(Level::Failure), "failure"), of(count(Level::Warning), "warning"))
}

fn painted(text: &str, color: &str, colored: bool) -> String {
    if colored { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let findings = vec![
            Finding::ok("config", "good"),
            Finding::ok("tcp", "answers").of("hq"),
            Finding::failure("login", "refused", "mend it").of("hq"),
            Finding::warning("clock", "off", "mend it too").of("branch"),
        ];
        Report { file: "jackfield.toml".into(), usable: true, findings }
    }

    #[test]
    fn lines_are_grouped_aligned_and_summed() {
        let expected = "\
host
  ok       config  good

connector hq
  ok       tcp     answers
  FAILURE  login   refused
                   fix: mend it

connector branch
  warning  clock   off
                   fix: mend it too

1 failure, 1 warning.";
        assert_eq!(lines(&report(), false), expected);
        assert!(lines(&report(), true).contains("\x1b[31mFAILURE\x1b[0m"));
    }

    #[test]
    fn the_document_says_it_all() {
        let document: serde_json::Value = serde_json::from_str(&json(&report())).expect("JSON");
        assert_eq!(document["exit_code"], 1);
        assert_eq!(document["worst"], "failure");
        assert_eq!(document["findings"][2]["connector"], "hq");
        assert_eq!(document["findings"][2]["fix"], "mend it");
        assert!(document["findings"][0].get("connector").is_none());
    }
}
