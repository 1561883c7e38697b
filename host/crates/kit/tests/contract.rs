//! `plugin check` says for which released contract a component was built, and what differs when it was for none.

use std::{fs, path::Path};

use kit::check::{Finding, Level, Question, Report, check};

/// A plugin that was built for 0.1.0, with other letters in all its names. Of the same length: nothing else moves.
fn with(from: &str, to: &str) -> Report {
    let museum = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/museum");
    let mut wasm = fs::read(museum.join("0.1.0/business-hours.wasm")).unwrap();
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        (0..wasm.len()).filter(|at| wasm[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "{from} is nowhere in it");
    for at in places {
        wasm[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    check("hours.wasm".into(), &wasm, &Question::default())
}

fn contract(report: &Report) -> &Finding {
    report.findings.iter().find(|finding| finding.about == "contract").expect("it is looked at")
}

#[test]
fn what_was_built_for_a_release_loads_in_every_later_host() {
    let report = with("0.1.0", "0.1.0");
    let Finding { level, text, .. } = contract(&report);
    assert_eq!(
        (*level, text.as_str()),
        (Level::Ok, "0.1.0, frozen: loads in every later 0.1 host")
    );
    let first = &report.contracts[0];
    assert_eq!((first.version.as_str(), first.fits, &first.difference), ("0.1.0", true, &None));
}

#[test]
fn another_version_of_the_contract_is_named() {
    for other in ["0.2.0", "0.1.9"] {
        let report = with("@0.1.0", &format!("@{other}"));
        let Finding { level, text, fix, .. } = contract(&report);
        assert_eq!(*level, Level::Error);
        assert!(text.contains(&format!("jackfield:router/router@{other}")), "{text}");
        assert!(
            text.ends_with("and this host speaks 0.1.0") && fix.contains("SDK"),
            "{text}; {fix}"
        );
        let first = &report.contracts[0];
        assert_eq!((first.version.as_str(), first.fits), ("0.1.0", false));
        let difference = first.difference.as_deref().unwrap();
        assert!(difference.contains(&format!("jackfield:router/router@{other}")), "{difference}");
        assert!(report.failed());
    }
}

#[test]
fn other_types_under_the_names_of_a_release_are_named() {
    let report = with("priority", "priorify");
    let Finding { level, text, .. } = contract(&report);
    assert_eq!(*level, Level::Error);
    assert!(text.starts_with("its types are not those of 0.1.0: "), "{text}");
    // The function, and what is not as it was.
    assert!(text.contains("priority") || text.contains("priorify"), "{text}");
    assert!(!report.contracts[0].fits);
}
