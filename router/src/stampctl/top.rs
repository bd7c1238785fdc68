//! `stampctl top`: which pool is hot, and by whom.

use serde_json::Value;

use super::table::Table;

/// A part of 1 in per cent.
fn percent(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), |part| format!("{:.1} %", part * 100.0))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// The signals of pools, hottest first.
pub(super) fn top(value: &Value) -> String {
    let heads =
        ["STAMP", "POOL", "P95", "LO", "HI", "MAX", "AVG", "NODES", "HOTTEST", "TOP REGISTRIES", "STATUS"];
    let mut table = Table::new(&heads);
    let mut pools: Vec<&Value> = value.as_array().into_iter().flatten().collect();
    pools.sort_by(|one, two| {
        let p95 = |pool: &Value| pool["signal"]["p95"].as_f64().unwrap_or(f64::INFINITY);
        p95(two).total_cmp(&p95(one))
    });
    for pool in pools {
        let signal = &pool["signal"];
        let registries = pool["top"].as_array().into_iter().flatten();
        let registries: Vec<String> = registries
            .take(3)
            .map(|top| format!("{} {}", word(&top["registry"]), percent(&top["part"])))
            .collect();
        let mut status =
            pool["problem"].as_str().map_or("valid".to_owned(), |why| format!("insufficient: {why}"));
        if pool["scaled"] == true {
            let window = &signal["window"];
            status.push_str(&format!(" (scaled: {} bins of {} s)", window["bins"], window["bin_seconds"]));
        }
        if let Some(why) = pool["refused"].as_str() {
            status.push_str(&format!(" (refused: {why})"));
        }
        let nodes = pool["nodes"].to_string();
        table.row([
            word(&pool["stamp"]),
            word(&pool["pool"]),
            percent(&signal["p95"]),
            percent(&signal["p95_lo"]),
            percent(&signal["p95_hi"]),
            percent(&signal["max"]),
            percent(&signal["avg"]),
            nodes,
            word(&signal["hottest"]["node"]),
            if registries.is_empty() { "-".to_owned() } else { registries.join(", ") },
            status,
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hottest_pool_comes_first_with_its_interval_who_causes_it_and_what_is_wrong_with_it() {
        let signal = |p95: f64, bin_seconds: u32| {
            json!({"p95": p95, "p95_lo": p95 - 0.01, "p95_hi": p95 + 0.01, "max": 0.96, "avg": 0.06,
                "hottest": {"node": "a-3", "bin": 1}, "window": {"first": 1, "bins": 720, "bin_seconds": bin_seconds}})
        };
        let top: Vec<Value> = ["r1", "r2", "r3", "r4"]
            .iter()
            .map(|name| json!({"registry": name, "part": 0.25, "cpu_seconds": 1.0}))
            .collect();
        let cool = json!({"stamp": "b", "pool": "all", "nodes": 2, "scaled": true, "signal": signal(0.1, 2),
            "problem": "9 of 720 bins are whole; 684 are needed", "top": []});
        let hot = json!({"stamp": "a", "pool": "dataproxy", "nodes": 12, "scaled": false, "signal": signal(0.43, 60), "top": top});
        let text = super::top(&json!([cool, hot]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("STAMP  POOL       P95     LO"), "{text}");
        assert!(
            lines[1].starts_with("a      dataproxy  43.0 %  42.0 %  44.0 %  96.0 %  6.0 %  12"),
            "{text}"
        );
        assert!(lines[1].ends_with("r1 25.0 %, r2 25.0 %, r3 25.0 %  valid"), "{text}");
        let insufficient = "insufficient: 9 of 720 bins are whole; 684 are needed (scaled: 720 bins of 2 s)";
        assert!(lines[2].ends_with(insufficient), "{text}");
    }
}
