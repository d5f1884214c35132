//! Pages (client.md 3.5). A token is `offset:size` and nothing else, as clients know it; that pages of one question
//! fit together nevertheless is because the list behind a page that has a next one is kept for its connection.
//!
//! Kept lists are bounded in number, entries and time. Where one was dropped, what is left of it is the last entry
//! that was shown: the next page continues after it in a new list, so that nothing is shown twice or skipped
//! because of what came or went before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::access::Viewer;
use super::payload::{Payload, value_error};
use super::row::Row;
use super::settings::PageSettings;
use crate::core::catalog::Text;
use crate::core::error::CallError;
use crate::core::time::Now;

/// A list that several pages and caches share.
pub type Rows = Arc<Vec<Row>>;

/// A list and when it was made, wall clock.
#[derive(Debug, Clone)]
pub struct Listing {
    pub rows: Rows,
    pub generated_at: f64,
}

/// What part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    offset: usize,
    size: usize,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    pub rows: Vec<Row>,
    pub generated_at: f64,
    pub next_page_token: Option<String>,
}

/// The lists that wait for their next page.
#[derive(Debug)]
pub struct Pages {
    settings: PageSettings,
    kept: BTreeMap<Place, Kept>,
    rows_kept: usize,
    /// Lists dropped for lack of room since the last report.
    evicted: u64,
}

/// Whose question it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    connection: u64,
    cluster: Text,
    tenant: Option<Text>,
    question: String,
}

#[derive(Debug)]
struct Kept {
    /// Offset of the first of `rows`, as the client counts.
    base: usize,
    /// `None` once dropped.
    listing: Option<Listing>,
    touched: Duration,
    /// Where the page that was shown last ends, and with what.
    next_offset: usize,
    last: Row,
}

impl Window {
    pub fn read(payload: &Payload, settings: &PageSettings) -> Result<Window, CallError> {
        let size_max = settings.size_max.max(1);
        let (offset, size) = match payload.text("page_token").ok().flatten().as_deref().and_then(read_token) {
            Some((offset, size)) => {
                (usize::try_from(offset).unwrap_or(0), usize::try_from(size).unwrap_or(1).clamp(1, size_max))
            }
            None => (0, settings.default_size.clamp(1, size_max)),
        };
        let size = match payload.integer("limit")? {
            None => size,
            Some(n) if n < 1 => return Err(value_error(format_args!("limit must be at least 1, not {n}"))),
            Some(n) => usize::try_from(n).unwrap_or(usize::MAX).min(size_max),
        };
        Ok(Window { offset, size })
    }
}

impl Pages {
    pub fn new(settings: PageSettings) -> Pages {
        Pages { settings, kept: BTreeMap::new(), rows_kept: 0, evicted: 0 }
    }

    /// The window of the list that `list` makes, or of the kept list of the same question.
    pub fn cut(
        &mut self,
        viewer: &Viewer,
        question: String,
        window: Window,
        now: Now,
        list: impl FnOnce() -> Listing,
    ) -> Page {
        self.drop_old(now.mono);
        let place = Place {
            connection: viewer.connection,
            cluster: viewer.cluster_id.clone(),
            tenant: viewer.tenant.clone(),
            question,
        };
        let kept = if window.offset > 0 { self.take(&place) } else { None };
        if window.offset == 0 {
            self.take(&place);
        }
        let (base, listing) = match kept {
            Some(Kept { base, listing: Some(listing), .. }) if window.offset >= base => (base, listing),
            Some(kept) if kept.next_offset == window.offset => (window.offset, after(list(), &kept.last)),
            _ => (0, list()),
        };
        let from = (window.offset - base).min(listing.rows.len());
        let to = from.saturating_add(window.size).min(listing.rows.len());
        let rows = listing.rows.get(from..to).unwrap_or_default().to_vec();
        let generated_at = listing.generated_at;
        let more = to < listing.rows.len();
        let next_offset = window.offset + window.size;
        if let (true, Some(last)) = (more, rows.last()) {
            let kept =
                Kept { base, listing: Some(listing), touched: now.mono, next_offset, last: last.clone() };
            self.keep(place, kept);
        }
        let next_page_token = more.then(|| format!("{next_offset}:{}", window.size));
        Page { rows, generated_at, next_page_token }
    }

    /// Forgets everything: what policy allows has changed.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.rows_kept = 0;
    }

    /// The connection is gone, and its lists with it.
    pub fn forget_connection(&mut self, connection: u64) {
        let gone: Vec<Place> = self.kept.keys().filter(|p| p.connection == connection).cloned().collect();
        for place in gone {
            self.take(&place);
        }
    }

    /// Lists dropped for lack of room since the last call.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// When the list that was touched longest ago will be dropped.
    pub fn next_timeout(&self) -> Option<Duration> {
        let listed = self.kept.values().filter(|k| k.listing.is_some());
        listed.map(|k| k.touched + self.settings.snapshot_life).min()
    }

    pub fn drop_old(&mut self, now: Duration) {
        let life = self.settings.snapshot_life;
        for kept in self.kept.values_mut() {
            if kept.touched + life <= now {
                self.rows_kept -= kept.drop_rows();
            }
        }
    }

    fn take(&mut self, place: &Place) -> Option<Kept> {
        let kept = self.kept.remove(place)?;
        self.rows_kept -= kept.rows();
        Some(kept)
    }

    fn keep(&mut self, place: Place, kept: Kept) {
        self.rows_kept += kept.rows();
        self.kept.insert(place, kept);
        while self.rows_kept > self.settings.snapshot_rows_max {
            let oldest = self.kept.values_mut().filter(|k| k.listing.is_some()).min_by_key(|k| k.touched);
            let Some(oldest) = oldest else { break };
            self.rows_kept -= oldest.drop_rows();
            self.evicted += 1;
        }
        while self.kept.len() > self.settings.snapshots_max {
            let oldest = self.kept.iter().min_by_key(|(_, k)| k.touched).map(|(place, _)| place.clone());
            let Some(oldest) = oldest else { break };
            if self.take(&oldest).is_some_and(|k| k.listing.is_some()) {
                self.evicted += 1;
            }
        }
    }
}

impl Kept {
    fn rows(&self) -> usize {
        self.listing.as_ref().map_or(0, |l| l.rows.len())
    }

    fn drop_rows(&mut self) -> usize {
        self.listing.take().map_or(0, |l| l.rows.len())
    }
}

/// What comes after `last` in the order of the list.
fn after(listing: Listing, last: &Row) -> Listing {
    let from = listing.rows.partition_point(|row| row.order(last).is_le());
    let rows = Arc::new(listing.rows.get(from..).unwrap_or_default().to_vec());
    Listing { rows, generated_at: listing.generated_at }
}

/// `None` for everything that is not two numbers.
fn read_token(token: &str) -> Option<(i64, i64)> {
    let (offset, size) = token.split_once(':')?;
    Some((offset.trim().parse().ok()?, size.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{function, viewer};
    use super::*;
    use serde_json::json;

    fn listing(names: &[&str]) -> Listing {
        let rows = names.iter().map(|n| Row::Function(function(n, "n", 1.0))).collect();
        Listing { rows: Arc::new(rows), generated_at: 1.0 }
    }

    fn window(text: serde_json::Value) -> Result<Window, CallError> {
        let serde_json::Value::Object(members) = text else { unreachable!() };
        Window::read(&Payload::from_members(members), &PageSettings::default())
    }

    fn names(page: &Page) -> Vec<String> {
        page.rows.iter().map(|r| r.value()["identity"]["name"].as_str().unwrap().to_owned()).collect()
    }

    fn cut(pages: &mut Pages, token: &str, seconds: f64, all: &[&str]) -> Page {
        let window = window(json!({"page_token": token, "limit": 2})).unwrap();
        pages.cut(&viewer(), "q".into(), window, Now::at(0.0, seconds), || listing(all))
    }

    #[test]
    fn windows_are_read_as_the_protocol_says() {
        let w = |offset, size| Window { offset, size };
        for (payload, expected) in [
            (json!({}), w(0, 200)),
            (json!({"limit": "6"}), w(0, 6)),
            (json!({"limit": 6.7}), w(0, 6)),
            (json!({"limit": 5000}), w(0, 2000)),
            (json!({"page_token": "4:4"}), w(4, 4)),
            (json!({"page_token": "4:4", "limit": 2}), w(4, 2)),
            (json!({"page_token": "-5:3"}), w(0, 3)),
            (json!({"page_token": "7:0"}), w(7, 1)),
            (json!({"page_token": "7:9999"}), w(7, 2000)),
            (json!({"page_token": "nonsense"}), w(0, 200)),
            (json!({"page_token": "1"}), w(0, 200)),
            (json!({"page_token": "::"}), w(0, 200)),
            (json!({"page_token": "a:b"}), w(0, 200)),
        ] {
            assert_eq!(window(payload.clone()).unwrap(), expected, "{payload}");
        }
        for limit in [0, -1, -5] {
            let error = window(json!({"limit": limit})).unwrap_err();
            assert!(error.code == 1003 && error.details.unwrap().to_string().contains("limit"));
        }
    }

    #[test]
    fn pages_come_from_the_list_of_the_first() {
        let mut pages = Pages::new(PageSettings::default());
        let first = cut(&mut pages, "", 0.0, &["a", "b", "c", "d", "e"]);
        assert_eq!(
            (names(&first), first.next_page_token.as_deref()),
            (vec!["a".into(), "b".into()], Some("2:2"))
        );
        let second = cut(&mut pages, "2:2", 1.0, &["0", "1", "c"]);
        assert_eq!(names(&second), ["c", "d"]);
        let third = cut(&mut pages, "4:2", 2.0, &[]);
        assert_eq!((names(&third), third.next_page_token), (vec!["e".to_owned()], None));
        assert_eq!((pages.kept.len(), pages.rows_kept), (0, 0));
    }

    #[test]
    fn a_dropped_list_is_continued_after_the_last_entry() {
        let mut pages = Pages::new(PageSettings::default());
        cut(&mut pages, "", 0.0, &["b", "c", "d", "e", "f"]);
        let second = cut(&mut pages, "2:2", 40.0, &["a", "b", "d", "e", "f"]);
        assert_eq!(
            (names(&second), second.next_page_token.as_deref()),
            (vec!["d".into(), "e".into()], Some("4:2"))
        );
        assert_eq!(names(&cut(&mut pages, "4:2", 41.0, &[])), ["f"]);
        assert_eq!(pages.rows_kept, 0);
    }

    #[test]
    fn a_token_without_a_list_is_an_offset() {
        let mut pages = Pages::new(PageSettings::default());
        assert_eq!(names(&cut(&mut pages, "2:2", 0.0, &["a", "b", "c"])), ["c"]);
        assert!(names(&cut(&mut pages, "9:2", 0.0, &["a"])).is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let settings = PageSettings { snapshots_max: 3, snapshot_rows_max: 8, ..PageSettings::default() };
        let mut pages = Pages::new(settings);
        for n in 0..10 {
            let who = Viewer { connection: n, ..viewer() };
            let w = window(json!({"limit": 1})).unwrap();
            pages.cut(&who, "q".into(), w, Now::at(0.0, n as f64), || listing(&["a", "b", "c"]));
            assert!(pages.kept.len() <= 3 && pages.rows_kept <= 8);
        }
        assert_eq!(pages.next_timeout(), Some(Duration::from_secs(38)));
        assert_eq!((pages.take_evicted(), pages.take_evicted()), (8, 0));
        pages.forget_connection(9);
        pages.forget_connection(8);
        assert_eq!((pages.kept.len(), pages.rows_kept), (1, 0));
    }
}
