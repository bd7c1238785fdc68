use super::*;
use crate::run::{MOST_UNDER_WAY, Prepared};
use crate::workload::Weighted;

fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn scenario(text: &str) -> Scenario {
    Scenario { from: "mine.toml".to_owned(), text: text.to_owned() }
}

const FLOW: &str = "[[flow]]\nname = 'f'\narrivals = { kind = 'burst', pulls = 1 }\n";

#[test]
fn every_built_in_scenario_can_be_run_on_the_subjects_of_two_registries() {
    let given: Vec<Weighted> = ["127.0.0.1:5000/contoso/hello:v1", "127.0.0.1:5000/fabrikam/base:v1"]
        .map(|text| Weighted::named(text).expect(text))
        .to_vec();
    for built_in in &BUILT_IN {
        let name = built_in.name;
        let scenario = Scenario::find(name).expect(name);
        let mut filled = BTreeMap::new();
        // What it asks for, it says by name.
        let plan = loop {
            match scenario.plan(&filled) {
                Ok(plan) => break plan,
                Err(ScenarioError::Unset { name, .. }) => {
                    let value = if name == "noisy" { "fabrikam" } else { "contoso" };
                    filled.insert(name, value.to_owned());
                }
                Err(error) => panic!("{name}: {error}"),
            }
        };
        assert!(
            !plan.about.is_empty() && !plan.limits.is_empty(),
            "{name} says what it shows and holds to limits"
        );
        let lines = scenario.text.lines().count();
        assert!((20..=60).contains(&lines), "{name} has {lines} lines");
        Prepared::new(plan, &given, MOST_UNDER_WAY).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn scenarios_are_listed_by_name_each_once() {
    assert!(BUILT_IN.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn placeholders_are_filled_wherever_a_text_is() {
    let text = format!(
        "title = 'x {{{{ a }}}}'\n{FLOW}only = '{{{{a}}}}-{{{{b}}}}'\n[[event]]\nat = '1s'\nname = 'e'\nrun = 'do {{{{b}}}}'"
    );
    let plan = scenario(&text).plan(&set(&[("a", "1"), ("b", "it's \"2\"")])).expect("filled");
    assert_eq!(plan.title, "x 1");
    assert_eq!(plan.flows[0].only.as_deref(), Some("1-it's \"2\""));
    assert_eq!(plan.events[0].run, "do it's \"2\"");
}

#[test]
fn a_scenario_says_what_it_lacks_and_what_it_has_no_place_for() {
    let text = format!("title = 't'\n{FLOW}[[event]]\nat = '1s'\nname = 'e'\nrun = '{{{{drain_command}}}}'");
    let error = scenario(&text).plan(&set(&[])).expect_err("unset").to_string();
    assert!(
        error.contains("mine.toml needs drain_command") && error.contains("--set drain_command=VALUE"),
        "{error}"
    );
    let error = scenario(&text).plan(&set(&[("drain_command", "x"), ("drian", "y")])).expect_err("unused");
    assert!(error.to_string().contains("its placeholders are drain_command"), "{error}");
    let error = scenario(&format!("title = 't'\n{FLOW}")).plan(&set(&[("a", "y")])).expect_err("unused");
    assert!(error.to_string().contains("has no placeholders"), "{error}");
    let error = scenario("title = '{{a'").plan(&set(&[])).expect_err("open").to_string();
    assert!(error.contains("{{ without }}"), "{error}");
}

#[test]
fn a_scenario_that_is_not_there_or_no_plan_is_refused_with_what_would_be_right() {
    let error = Scenario::find("hered").expect_err("unknown").to_string();
    assert!(error.contains("herd") && error.contains(".toml"), "{error}");
    let error = Scenario::find("/nowhere/mine.toml").expect_err("absent").to_string();
    assert!(error.contains("/nowhere/mine.toml cannot be read"), "{error}");
    let error = scenario("title = 't'\nthreds = 2").plan(&set(&[])).expect_err("no plan").to_string();
    assert!(error.contains("mine.toml is no scenario") && error.contains("threds"), "{error}");
}
