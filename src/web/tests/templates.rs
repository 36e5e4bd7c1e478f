//! What no template may hold: the content security policy would refuse it.

use std::fs;

#[test]
fn no_template_holds_anything_inline() {
    let mut seen = 0;
    for entry in fs::read_dir("src/web/templates").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        seen += 1;
        assert!(!text.contains("<style") && !text.contains("style="), "{}", path.display());
        assert!(!text.contains("javascript:"), "{}", path.display());
        for script in text.split("<script").skip(1) {
            let (head, rest) = script.split_once('>').unwrap();
            assert!(head.contains("src=") && rest.starts_with("</script>"), "{}", path.display());
        }
        for tag in text.split('<').filter_map(|tag| tag.split_once('>')) {
            let handler = tag.0.split_whitespace().any(|word| word.starts_with("on") && word.contains('='));
            assert!(!handler, "{}: {}", path.display(), tag.0);
        }
        assert!(!text.contains("|safe"), "{}", path.display());
    }
    assert!(seen >= 4);
}
