//! A list of rows in the order they were made, found by their id.

use std::collections::HashMap;

use crate::ids::CloudId;

/// What lies in a [`Table`].
pub(crate) trait Row {
    /// The row's id.
    fn id(&self) -> CloudId;
    /// CloudStack's internal number, which error texts show and old commands take instead of the id.
    fn number(&self) -> u64;
}

/// Rows in the order of their making.
#[derive(Debug)]
pub(crate) struct Table<T> {
    rows: Vec<T>,
    index: HashMap<CloudId, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), index: HashMap::new() }
    }
}

impl<T: Row> Table<T> {
    pub(crate) fn push(&mut self, row: T) -> CloudId {
        let id = row.id();
        self.index.insert(id, self.rows.len());
        self.rows.push(row);
        id
    }

    pub(crate) fn get(&self, id: CloudId) -> Option<&T> {
        self.index.get(&id).and_then(|at| self.rows.get(*at))
    }

    pub(crate) fn get_mut(&mut self, id: CloudId) -> Option<&mut T> {
        self.index.get(&id).and_then(|at| self.rows.get_mut(*at))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.iter()
    }

    /// A row by the text of a request: its UUID or, as CloudStack's old commands take it, its internal number.
    pub(crate) fn find_by_text(&self, text: &str) -> Option<&T> {
        match text.parse::<CloudId>() {
            Ok(id) => self.get(id),
            Err(_) => text.parse::<u64>().ok().and_then(|number| self.rows.iter().find(|row| row.number() == number)),
        }
    }
}
