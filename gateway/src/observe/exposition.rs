//! How is a metric written? Prometheus' text format, version 0.0.4.
//!
//! Promises: a family is told once, with its help and type; label values are escaped. Does not: collect.

use std::fmt::Write as _;

use super::histogram::{BUCKETS, Counted};
use super::names::{Family, Kind};

/// A text in the making.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a family; its series follow.
    pub fn family(&mut self, family: &'static Family) -> Series<'_> {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Family { name, help, .. } = family;
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Series {
            family,
            out: &mut self.0,
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// The series of a family. Label values come in the order of the family's labels.
pub struct Series<'a> {
    family: &'static Family,
    out: &'a mut String,
}

impl Series<'_> {
    /// A whole number.
    pub fn line(&mut self, values: &[&str], value: u64) {
        self.name("", values, None);
        let _ = writeln!(self.out, "{value}");
    }

    /// Any number.
    pub fn number(&mut self, values: &[&str], value: f64) {
        self.name("", values, None);
        let _ = writeln!(self.out, "{value}");
    }

    /// A histogram.
    pub fn histogram(&mut self, values: &[&str], counted: &Counted) {
        for ((_, bound), up_to) in BUCKETS.iter().zip(counted.up_to) {
            self.name("_bucket", values, Some(bound));
            let _ = writeln!(self.out, "{up_to}");
        }
        self.name("_bucket", values, Some("+Inf"));
        let _ = writeln!(self.out, "{}", counted.count);
        self.name("_sum", values, None);
        let _ = writeln!(self.out, "{}", counted.sum_us as f64 / 1e6);
        self.name("_count", values, None);
        let _ = writeln!(self.out, "{}", counted.count);
    }

    fn name(&mut self, suffix: &str, values: &[&str], bound: Option<&str>) {
        debug_assert_eq!(
            values.len(),
            self.family.labels.len(),
            "{}",
            self.family.name
        );
        self.out.push_str(self.family.name);
        self.out.push_str(suffix);
        let labels = self
            .family
            .labels
            .iter()
            .copied()
            .zip(values.iter().copied());
        let mut before = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.out.push(before);
            before = ',';
            self.out.push_str(label);
            self.out.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if before == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::Histogram;
    use super::*;

    static PLAIN: Family = Family {
        name: "a_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Counts.",
    };
    static LABELLED: Family = Family {
        name: "b_seconds",
        kind: Kind::Histogram,
        labels: &["pool"],
        help: "Takes.",
    };

    #[test]
    fn families_are_told_with_help_type_and_series() {
        let mut out = Exposition::default();
        out.family(&PLAIN).line(&[], 7);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(2));
        out.family(&LABELLED)
            .histogram(&["a\"b\\c\nd"], &histogram.counted());
        let text = out.into_text();
        assert!(
            text.starts_with(
                "# HELP a_total Counts.\n# TYPE a_total counter\na_total 7\n# HELP b_seconds"
            ),
            "{text}"
        );
        for line in [
            r#"b_seconds_bucket{pool="a\"b\\c\nd",le="0.001"} 0"#,
            r#"b_seconds_bucket{pool="a\"b\\c\nd",le="0.0025"} 1"#,
            r#"b_seconds_bucket{pool="a\"b\\c\nd",le="+Inf"} 1"#,
            r#"b_seconds_sum{pool="a\"b\\c\nd"} 0.002"#,
            r#"b_seconds_count{pool="a\"b\\c\nd"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
