//! How does traffic look? A picture of one day for each interface, as SVG without script or style.

use maud::{Markup, html};

use crate::store::page::Step;

const WIDTH: i64 = 720;
const HEIGHT: i64 = 120;
/// A step of the agents, seconds.
const STEP: i64 = 300;

/// One picture for each interface; `steps` are in order of interface and time.
pub fn traffic(steps: &[Step]) -> Markup {
    let end = steps.iter().map(|step| step.at).max().unwrap_or(0);
    html! {
        @for of_one in steps.chunk_by(|a, b| a.interface == b.interface) {
            @let most = of_one.iter().map(|step| step.received.max(step.sent)).max().unwrap_or(0);
            figure {
                figcaption {
                    strong { (of_one[0].interface) }
                    ": received " (bytes(sum(of_one, |step| step.received)))
                    ", sent " (bytes(sum(of_one, |step| step.sent)))
                    "; at most " (rate(most))
                }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
                    line x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) class="axis" {}
                    polyline class="received" points=(points(of_one, end, most, |step| step.received)) {}
                    polyline class="sent" points=(points(of_one, end, most, |step| step.sent)) {}
                }
            }
        }
    }
}

fn sum(steps: &[Step], of: impl Fn(&Step) -> i64) -> i64 {
    steps.iter().map(of).fold(0, i64::saturating_add)
}

fn points(steps: &[Step], end: i64, most: i64, of: impl Fn(&Step) -> i64) -> String {
    let day = 24 * 3600;
    let points = steps.iter().map(|step| {
        let x = WIDTH - (end - step.at) * WIDTH / day;
        let share = i128::from(of(step)) * i128::from(HEIGHT) / i128::from(most.max(1));
        format!("{x},{}", i128::from(HEIGHT) - share)
    });
    points.collect::<Vec<_>>().join(" ")
}

fn rate(bytes_in_step: i64) -> String {
    format!("{}/s", bytes(bytes_in_step / STEP))
}

/// A number of bytes for people.
pub fn bytes(count: i64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.0} PiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_fits() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (200 << 20, "200 MiB"),
            (i64::MAX, "8192 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_picture_stays_in_its_frame_whatever_was_reported() {
        let step = |at, received| Step {
            interface: "<eth0>".to_owned(),
            at,
            received,
            sent: 0,
        };
        let steps = [step(1000, i64::MAX), step(1300, 0)];
        let text = traffic(&steps).into_string();
        assert!(text.contains("&lt;eth0&gt;"), "{text}");
        assert!(text.contains("points=\"718,0 720,120\""), "{text}");
    }
}
