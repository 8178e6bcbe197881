//! Where in a file something stands.

use toml::Spanned;

/// A text whose bytes are known by line and column.
pub(super) struct Lines<'a> {
    pub(super) text: &'a str,
    /// Where each line but the first begins: every key asks for its own.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, starts: text.match_indices('\n').map(|(newline, _)| newline + 1).collect() }
    }

    /// Line and column of a byte, counted from 1.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let newlines = self.starts.partition_point(|start| *start <= byte);
        let start = newlines.checked_sub(1).map_or(0, |last| self.starts[last]);
        (newlines + 1, self.text.get(start..byte).unwrap_or_default().chars().count() + 1)
    }

    /// The line in which something stands.
    pub(super) fn line<T>(&self, spanned: &Spanned<T>) -> usize {
        self.position(spanned.span().start).0
    }
}
