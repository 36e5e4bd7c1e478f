//! Which domains are bursar's business: all of them, or the ones of a pilot.

/// Domains by path (`ROOT/acme`, with everything below) or by id. Empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// A scope of these domains.
    pub fn new(domains: impl IntoIterator<Item = String>) -> Self {
        Self(domains.into_iter().map(|domain| domain.trim_matches('/').to_owned()).collect())
    }

    /// Whether a domain belongs to it.
    pub fn includes(&self, path: &str, id: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|domain| {
                domain == id || path == domain || path.strip_prefix(domain.as_str()).is_some_and(|rest| rest.starts_with('/'))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_brings_its_children_and_not_its_namesakes() {
        let scope = Scope::new(["ROOT/acme".to_owned(), "id-7".to_owned()]);
        assert!(scope.includes("ROOT/acme", "x") && scope.includes("ROOT/acme/lab", "x") && scope.includes("ROOT/z", "id-7"));
        assert!(!scope.includes("ROOT/acme2", "x") && !scope.includes("ROOT", "x"));
        assert!(Scope::default().includes("ROOT", "x"));
    }
}
