//! axe-core in the page that is open.

use serde_json::{Value, json};

use super::driver::Browser;

/// Unmodified, as npm serves it; see `tests/vendor/README.md`.
const AXE: &str = include_str!("../vendor/axe-core/axe.min.js");

/// What axe finds that keeps somebody from using the page, in words.
pub async fn findings(browser: &Browser) -> Vec<String> {
    let script = "const done = arguments[arguments.length - 1]; \
                  axe.run(document, { iframes: false, resultTypes: ['violations'] }).then( \
                    (found) => done(found.violations), (error) => done([{ id: String(error), impact: 'critical', nodes: [] }]));";
    browser.run(&format!("{AXE}\nreturn typeof axe"), json!([])).await;
    let found = browser.run_until_called(script, json!([])).await;
    let mut serious = Vec::new();
    for finding in found.as_array().unwrap() {
        let text = in_words(finding);
        if matches!(finding["impact"].as_str(), Some("serious" | "critical")) {
            serious.push(text);
        } else {
            eprintln!("axe, not serious: {text}");
        }
    }
    serious
}

fn in_words(finding: &Value) -> String {
    let nodes: Vec<String> = finding["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .take(3)
        .map(|node| {
            format!("{} ({})", node["html"].as_str().unwrap_or("?"), node["failureSummary"].as_str().unwrap_or("?"))
        })
        .collect();
    format!("{} [{}]: {}", finding["id"].as_str().unwrap_or("?"), finding["impact"], nodes.join("; "))
}

/// The file is the one that npm serves as axe-core 4.14.1.
#[test]
fn axe_is_unmodified() {
    assert!(AXE.starts_with("/*! axe v4.14.1\n"));
    assert_eq!(
        blake3::hash(AXE.as_bytes()).to_hex().as_str(),
        "a0ed4373d1e8caa6416959a32966c75840c12038c33fc4b8d68e50eed251640d"
    );
}
