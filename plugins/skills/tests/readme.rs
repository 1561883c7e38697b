//! What the README tells an admin to write is what this version takes.

#[test]
fn every_example_of_the_readme_can_be_used() {
    let readme = include_str!("../README.md");
    let blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut tried = 0;
    for block in blocks {
        let config: toml::Table = block.parse().unwrap_or_else(|error| panic!("{error}\n{block}"));
        for (id, instance) in config["hooks"]["instances"].as_table().expect("a table") {
            let settings = serde_json::to_string(&instance["settings"]).expect("JSON");
            let problems =
                <jackfield_skills::Skills as jackfield_sdk::hooks::Router>::validate(&settings);
            assert!(problems.is_empty(), "{id}: {problems:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 1);
}
