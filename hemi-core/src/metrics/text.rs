//! Measures as text.

use std::fmt::{self, Write};

use super::{Family, Histogram, Kind, Labels, Measures, Number, Value};

/// How measures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.
    OpenMetrics,
}

impl Exposition {
    /// Its media type, with version and charset.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Measures {
    /// All of them as text.
    #[must_use]
    pub fn write(&self, exposition: Exposition) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            // Writing to memory does not fail.
            let _ = family.write(&mut text, name, exposition);
        }
        if exposition == Exposition::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

impl Family {
    fn write(&self, text: &mut String, name: &str, exposition: Exposition) -> fmt::Result {
        let (kind, end) = match self.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
            Kind::Info => ("info", "_info"),
        };
        // To OpenMetrics the ends of names belong to the samples, to Prometheus to the family.
        let (of_family, kind) = match exposition {
            Exposition::OpenMetrics => ("", kind),
            Exposition::Prometheus if self.kind == Kind::Info => (end, "gauge"),
            Exposition::Prometheus => (end, kind),
        };
        let help = Escaped(&self.help);
        writeln!(text, "# HELP {name}{of_family} {help}\n# TYPE {name}{of_family} {kind}")?;
        for (labels, value) in &self.series {
            match value {
                Value::Number(number) => {
                    writeln!(text, "{name}{end}{} {number}", Set { labels, le: None })?;
                }
                Value::Histogram(histogram) => histogram.write(text, name, labels)?,
            }
        }
        Ok(())
    }
}

impl Histogram {
    fn write(&self, text: &mut String, name: &str, labels: &Labels) -> fmt::Result {
        let mut count = 0;
        let ends = self.bounds.iter().copied().chain([f64::INFINITY]);
        for (le, held) in ends.zip(&self.counts) {
            count += held;
            writeln!(text, "{name}_bucket{} {count}", Set { labels, le: Some(le) })?;
        }
        let set = Set { labels, le: None };
        writeln!(text, "{name}_sum{set} {}", Number::Real(self.sum))?;
        writeln!(text, "{name}_count{set} {count}")
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number:?}"),
        }
    }
}

/// Labels in braces; nothing, if there are none.
struct Set<'a> {
    labels: &'a Labels,
    /// Up to what a bucket holds.
    le: Option<f64>,
}

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '{';
        for (name, value) in self.labels.iter() {
            write!(f, "{before}{name}=\"{}\"", Escaped(value))?;
            before = ',';
        }
        match self.le {
            Some(f64::INFINITY) => write!(f, "{before}le=\"+Inf\"}}"),
            Some(le) => write!(f, "{before}le=\"{le:?}\"}}"),
            None if before == ',' => f.write_char('}'),
            None => Ok(()),
        }
    }
}

/// A text as it stands in quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' => f.write_str("\\n"),
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Measures {
        let mut out = Measures::default();
        out.info("hemi_build", "What runs.", &[("version", "1.2")]);
        out.counter("hemi_a_bytes", "Bytes.", &[("to", "a\"b\\c\nd")], 3);
        out.counter("hemi_a_bytes", "Other help.", &[("to", "a\"b\\c\nd")], 4);
        out.counter("hemi_a_bytes", "Bytes.", &[], 1.5);
        // A mistake of a component.
        out.gauge("hemi_a_bytes", "Bytes.", &[], 1);
        out.owner = Some(("webapp", "w".into()));
        let counts = vec![2, 0, 1];
        let histogram = Histogram { bounds: (&[0.001, 1.0][..]).into(), counts, sum: 30.25 };
        out.histogram("hemi_took_seconds", "Time.", &[("rule", "")], histogram);
        out
    }

    #[test]
    fn as_prometheus_reads_it() {
        let text = measures().write(Exposition::Prometheus);
        let expected = r#"# HELP hemi_a_bytes_total Bytes.
# TYPE hemi_a_bytes_total counter
hemi_a_bytes_total 1.5
hemi_a_bytes_total{to="a\"b\\c\nd"} 7
# HELP hemi_build_info What runs.
# TYPE hemi_build_info gauge
hemi_build_info{version="1.2"} 1
# HELP hemi_took_seconds Time.
# TYPE hemi_took_seconds histogram
hemi_took_seconds_bucket{webapp="w",rule="",le="0.001"} 2
hemi_took_seconds_bucket{webapp="w",rule="",le="1.0"} 2
hemi_took_seconds_bucket{webapp="w",rule="",le="+Inf"} 3
hemi_took_seconds_sum{webapp="w",rule=""} 30.25
hemi_took_seconds_count{webapp="w",rule=""} 3
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn as_openmetrics() {
        let text = measures().write(Exposition::OpenMetrics);
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let expected = [
            "# TYPE hemi_a_bytes counter",
            "# TYPE hemi_build info",
            "# TYPE hemi_took_seconds histogram",
        ];
        assert_eq!(heads, expected);
        assert!(text.contains("\nhemi_build_info{version=\"1.2\"} 1\n"), "{text}");
        assert!(text.ends_with("_count{webapp=\"w\",rule=\"\"} 3\n# EOF\n"), "{text}");
    }
}
