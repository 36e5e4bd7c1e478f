//! What can be reached and seen with the keyboard alone.

use serde_json::json;

use super::driver::{ENTER, SHIFT, TAB};
use super::visit::Visit;

/// Tabs sent at once.
const AT_ONCE: usize = 40;
/// More than any page has; a page that catches the focus ends here.
const MOST: usize = 1_200;

/// Marks what can have the focus with numbers in the order of the page, and notes from now on who gets it and how that
/// looks. Of a group of radio buttons one is a stop: the chosen one, or the first.
const WATCH: &str = r#"
const wanted = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
let number = 0;
const groups = new Set();
window.stops = [];
for (const element of document.querySelectorAll(wanted)) {
  if (element.disabled || !element.checkVisibility({ visibilityProperty: true }) || element.tabIndex < 0) continue;
  if (element.type === 'radio') {
    const chosen = document.querySelector(`input[type=radio][name="${element.name}"]:checked`);
    if (chosen ? chosen !== element : groups.has(element.name)) continue;
    groups.add(element.name);
  }
  element.dataset.stop = ++number;
}
document.addEventListener('focusin', (event) => {
  const style = getComputedStyle(event.target);
  const box = event.target.getBoundingClientRect();
  window.stops.push({
    stop: Number(event.target.dataset.stop || 0),
    html: event.target.outerHTML.slice(0, 120),
    seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1 && box.width > 0 && box.height > 0
      && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight,
  });
});
return number;
"#;

/// Goes through the page that is open in the frame with the Tab key: every stop in the order of the page, each visible, the
/// first one the link past the menu, and out again at the end.
pub async fn walk(visit: &Visit<'_>, name: &str) {
    let browser = &visit.browser;
    let number = browser.run(WATCH, json!([])).await.as_u64().unwrap();
    // From the start of the page, whatever a click had the focus on.
    browser
        .run(
            "document.activeElement.blur(); getSelection().setBaseAndExtent(document.body, 0, document.body, 0)",
            json!([]),
        )
        .await;
    let mut sent = 0;
    while sent < MOST {
        browser.press(&[], &[TAB; AT_ONCE]).await;
        sent += AT_ONCE;
        let met = browser.run("return new Set(window.stops.map((stop) => stop.stop)).size", json!([])).await;
        if met.as_u64().unwrap() >= number {
            break;
        }
    }
    let stops = browser.run("return window.stops", json!([])).await;
    let stops = stops.as_array().unwrap();
    let mut order: Vec<u64> = stops.iter().filter_map(|stop| stop["stop"].as_u64()).filter(|stop| *stop > 0).collect();
    let once = order.iter().position(|stop| *stop == number).map_or(order.len(), |last| last + 1);
    order.truncate(once);
    assert_eq!(order, (1..=number).collect::<Vec<_>>(), "{name}: the stops of the Tab key");
    for stop in stops {
        assert_eq!(stop["seen"], true, "{name}: nobody sees where the focus is: {}", stop["html"]);
    }
    assert!(stops[0]["html"].as_str().unwrap().contains("class=\"skip\""), "{name}: {}", stops[0]["html"]);
}

/// The link past the menu is seen when it has the focus, and leads past the menu.
pub async fn skip(visit: &Visit<'_>) {
    let browser = &visit.browser;
    browser.press(&[], &[TAB]).await;
    assert_eq!(browser.run("return document.activeElement.className", json!([])).await, "skip");
    browser.press(&[], &[ENTER]).await;
    browser.wait_for("document.activeElement.id === 'content'").await;
    browser.press(&[], &[TAB]).await;
    let inside = browser.run("return document.querySelector('main').contains(document.activeElement)", json!([])).await;
    assert_eq!(inside, true, "the next stop lies in the page");
    browser.press(&[SHIFT], &[TAB, TAB]).await;
    let before = browser.run("return document.querySelector('main').contains(document.activeElement)", json!([])).await;
    assert_eq!(before, false, "and the way back leads out of it");
}
