//! What a bench prints: the node, the ceiling of the same run, and their ratio for every figure.
//!
//! The ratio is always node / ceiling, for rates (more is better) as for latencies (less is better); the help of
//! the verbs says how to read it.

use serde_json::{Map, Value, json};

use super::{
    super::output::{self, Failure, Outcome},
    load::Tally,
};

pub struct Report {
    pub bench: &'static str,
    /// Unit of the rate, as in calls/s.
    pub unit: &'static str,
    pub raw_name: &'static str,
    pub settings: Vec<(&'static str, Value)>,
    pub node: Tally,
    pub raw: Tally,
}

impl Report {
    /// Prints the report; fails when anything was wrong, because then the figures mean nothing.
    pub fn show(&self, json: bool) -> Outcome {
        if json {
            output::print_json(&self.json())?;
        } else {
            output::print(&self.text())?;
        }
        let wrong = self.node.wrong();
        if wrong == 0 {
            return Ok(());
        }
        let sample = self.node.sample.as_ref().map(|s| format!("\nThe first of them: {s}"));
        Err(Failure::failed(format!(
            "{wrong} answers or deliveries were not as they should be.{}",
            sample.unwrap_or_default()
        )))
    }

    fn text(&self) -> String {
        let mut out = format!("{}\n", self.bench);
        for (name, value) in self.settings.iter().filter(|(_, value)| !value.is_null()) {
            out += &format!("  {name:14} {}\n", output::plain(Some(value)));
        }
        out += &format!("\n{:10} {:>14} {:>14} {:>9}\n", "", "node", self.raw_name, "ratio");
        let (node, raw) = (self.node.per_second(), self.raw.per_second());
        out +=
            &format!("{:10} {:>14} {:>14} {:>9}\n", self.unit, grouped(node), grouped(raw), ratio(node, raw));
        for (name, node, raw) in self.latencies() {
            let row = (duration(node), duration(raw), ratio(node as f64, raw as f64));
            out += &format!("{name:10} {:>14} {:>14} {:>9}\n", row.0, row.1, row.2);
        }
        let n = &self.node;
        out += &format!(
            "\n{} right, {} errors, {} corrupt, {} lost, {} duplicated, {} reordered\n",
            n.right, n.errors, n.corrupt, n.lost, n.duplicated, n.reordered
        );
        out
    }

    fn json(&self) -> Value {
        let side = |tally: &Tally, pick: fn(&(&'static str, u64, u64)) -> u64| {
            let latency: Map<String, Value> = self
                .latencies()
                .iter()
                .map(|row| (row.0.replace('.', "_"), json!(pick(row) as f64 / 1e3)))
                .collect();
            json!({
                "per_second": tally.per_second(), "latency_microseconds": latency, "right": tally.right,
                "samples": tally.latency.total(),
                "errors": tally.errors, "corrupt": tally.corrupt, "lost": tally.lost,
                "duplicated": tally.duplicated, "reordered": tally.reordered,
                "measured_seconds": tally.measured.as_secs_f64(),
            })
        };
        let quotient = |a: f64, b: f64| if b > 0.0 { json!(a / b) } else { Value::Null };
        let mut ratio = Map::new();
        ratio.insert("per_second".to_owned(), quotient(self.node.per_second(), self.raw.per_second()));
        for (name, node, raw) in self.latencies() {
            ratio.insert(name.replace('.', "_"), quotient(node as f64, raw as f64));
        }
        let mut all = Map::new();
        all.insert("bench".to_owned(), self.bench.into());
        for (name, value) in &self.settings {
            all.insert((*name).to_owned(), value.clone());
        }
        all.insert("node".to_owned(), side(&self.node, |row| row.1));
        all.insert("raw".to_owned(), side(&self.raw, |row| row.2));
        all.insert("ratio".to_owned(), ratio.into());
        Value::Object(all)
    }

    /// (name, nanoseconds of the node, of the ceiling)
    fn latencies(&self) -> Vec<(&'static str, u64, u64)> {
        let (node, raw) = (&self.node.latency, &self.raw.latency);
        let mut rows: Vec<_> = QUANTILES
            .iter()
            .map(|(name, share)| (*name, node.quantile(*share), raw.quantile(*share)))
            .collect();
        rows.push(("max", node.max(), raw.max()));
        rows
    }
}

/// 1234567.8 as `1,234,568`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub fn ratio(node: f64, raw: f64) -> String {
    if raw > 0.0 { format!("{:.2}", node / raw) } else { "-".to_owned() }
}

/// Nanoseconds, in the unit that suits them.
pub fn duration(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        n if n < 1e6 => format!("{:.1} us", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

const QUANTILES: &[(&str, f64)] = &[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(grouped(1_234_567.8), "1,234,568");
        assert_eq!(grouped(999.0), "999");
        assert_eq!([1_500, 2_500_000, 3_000_000_000].map(duration), ["1.5 us", "2.50 ms", "3.00 s"]);
        assert_eq!((ratio(1.0, 2.0), ratio(1.0, 0.0)), ("0.50".to_owned(), "-".to_owned()));
    }
}
