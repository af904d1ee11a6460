//! `docs/SCENARIOS.md` names each scenario once, and names no test that there is not.

const TABLE: &str = include_str!("../../../docs/SCENARIOS.md");

const SOURCES: [&str; 13] = [
    include_str!("basic.rs"),
    include_str!("crash.rs"),
    include_str!("data.rs"),
    include_str!("disk.rs"),
    include_str!("fencing.rs"),
    include_str!("modes.rs"),
    include_str!("network.rs"),
    include_str!("operations.rs"),
    include_str!("resources.rs"),
    include_str!("steps.rs"),
    include_str!("swizzle.rs"),
    include_str!("witness.rs"),
    include_str!("../runtime_arbiter.rs"),
];

fn tests() -> Vec<&'static str> {
    let lines = SOURCES.into_iter().chain([include_str!("sweeps.rs")]).flat_map(str::lines);
    lines
        .filter_map(|l| l.strip_prefix("async ").unwrap_or(l).strip_prefix("fn s")?.split_once('('))
        .map(|(name, _)| name)
        .filter(numbered)
        .collect()
}

fn numbered(name: &&str) -> bool {
    name.get(..3).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

#[test]
fn the_table_has_a_row_for_each_of_the_99_scenarios() {
    let rows: Vec<u32> = TABLE
        .lines()
        .filter_map(|l| l.strip_prefix("| "))
        .filter_map(|l| l.split(' ').next())
        .filter_map(|n| n.parse().ok())
        .collect();
    assert_eq!(rows, (1..=99).collect::<Vec<_>>());
}

#[test]
fn every_numbered_test_is_in_its_row_and_every_named_test_exists() {
    let tests = tests();
    assert!(tests.len() > 70, "{}", tests.len());
    for test in &tests {
        let named = format!("`s{test}`");
        assert!(TABLE.contains(&named), "docs/SCENARIOS.md lacks {named}");
    }
    let named = TABLE.split('`').filter_map(|w| w.strip_prefix('s')).filter(numbered);
    for name in named {
        assert!(tests.contains(&name), "docs/SCENARIOS.md names s{name}, which there is not");
    }
}
