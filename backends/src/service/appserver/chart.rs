//! How does traffic look? A picture of one day for each interface, as SVG without script or style.
//!
//! The picture is stretched to its place, so words stand around it and not in it.
//!
//! What an agent tells of a step is no sum: it looks at its counters every [`LOOK`] seconds and tells how many bytes a look
//! found, as the mean over the step. Rates and sums are reckoned from that, here and nowhere else.

use maud::{Markup, html};

use crate::store::page::Step;

const WIDTH: i64 = 720;
const HEIGHT: i64 = 120;
/// A step of the agents, seconds.
const STEP: i64 = 300;
/// Between two looks of an agent at its counters, seconds.
const LOOK: i64 = 30;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Hours between the times that are named.
const NAMED_HOURS: i64 = 6;

/// One picture for each interface; `steps` are in order of interface and time.
pub fn traffic(steps: &[Step]) -> Markup {
    let end = steps.iter().map(|step| step.at).max().unwrap_or(0);
    html! {
        @for of_one in steps.chunk_by(|a, b| a.interface == b.interface) { (picture(of_one, end)) }
    }
}

fn picture(of_one: &[Step], end: i64) -> Markup {
    let most = of_one.iter().map(|step| step.received.max(step.sent));
    let most = most.max().unwrap_or(0);
    let received = bytes(sum(of_one, |step| step.received));
    let sent = bytes(sum(of_one, |step| step.sent));
    let name = of_one.first().map_or("", |step| step.interface.as_str());
    html! {
        figure {
            figcaption {
                strong { (name) } " "
                span class="key received" { "received " (received) } " "
                span class="key sent" { "sent " (sent) } " "
                span { "at most " (rate(most)) }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                aria-label=(format!("{name} in one day: received {received}, sent {sent}")) {
                @for hour in (NAMED_HOURS..24).step_by(6) {
                    @let x = hour * WIDTH / 24;
                    line x1=(x) y1="0" x2=(x) y2=(HEIGHT) class="hour" {}
                }
                line x1="0" y1=(HEIGHT / 2) x2=(WIDTH) y2=(HEIGHT / 2) class="hour" {}
                line x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) class="axis" {}
                // Where nothing was reported, nothing is drawn.
                @for told in of_one.chunk_by(|a, b| b.at - a.at <= 2 * STEP) {
                    polygon class="received" points=(area(told, end, most, |step| step.received)) {}
                    polyline class="received" points=(points(told, end, most, |step| step.received)) {}
                    polyline class="sent" points=(points(told, end, most, |step| step.sent)) {}
                }
            }
            p class="hours" aria-hidden="true" {
                @for hours in (0..=24 / NAMED_HOURS).rev() {
                    span { (clock(end - hours * NAMED_HOURS * HOUR)) }
                }
            }
        }
    }
}

/// Bytes of all these steps.
fn sum(steps: &[Step], of: impl Fn(&Step) -> i64) -> i64 {
    let of_looks = steps.iter().map(of).fold(0, i64::saturating_add);
    of_looks.saturating_mul(STEP / LOOK)
}

/// A stair: each step is as long as the time that it tells of.
fn points(steps: &[Step], end: i64, most: i64, of: impl Fn(&Step) -> i64) -> String {
    let x = |at: i64| (WIDTH - (end - at) * WIDTH / DAY).max(0);
    let stairs = steps.iter().map(|step| {
        let share = i128::from(of(step)) * i128::from(HEIGHT) / i128::from(most.max(1));
        let y = i128::from(HEIGHT) - share;
        format!("{},{y} {},{y}", x(step.at - STEP), x(step.at))
    });
    stairs.collect::<Vec<_>>().join(" ")
}

/// What lies below the stair.
fn area(steps: &[Step], end: i64, most: i64, of: impl Fn(&Step) -> i64) -> String {
    let stair = points(steps, end, most, of);
    let foot = |point: Option<&str>| {
        let x = point.and_then(|point| point.split(',').next());
        format!("{},{HEIGHT}", x.unwrap_or("0"))
    };
    let (first, last) = (stair.split(' ').next(), stair.rsplit(' ').next());
    format!("{} {stair} {}", foot(first), foot(last))
}

/// Hours and minutes of a time, UTC.
fn clock(at: i64) -> String {
    let minutes = at.rem_euclid(DAY) / 60;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn rate(bytes_in_look: i64) -> String {
    format!("{}/s", bytes(bytes_in_look / LOOK))
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

    fn step(at: i64, received: i64) -> Step {
        Step {
            interface: "<eth0>".to_owned(),
            at,
            received,
            sent: 0,
        }
    }

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
        let text = traffic(&[step(1000, i64::MAX), step(1300, 0)]).into_string();
        assert!(text.contains("&lt;eth0&gt;"), "{text}");
        assert!(
            text.contains("points=\"715,0 718,0 718,120 720,120\""),
            "{text}"
        );
        assert!(
            text.contains("points=\"715,120 715,0 718,0 718,120 720,120 720,120\""),
            "{text}"
        );
        // The first of a day began the day before.
        let text = traffic(&[step(DAY, 1), step(2 * DAY - 1, 1)]).into_string();
        assert!(text.contains("points=\"0,0 1,0\""), "{text}");
    }

    #[test]
    fn what_a_look_found_becomes_rates_and_sums() {
        // 3 MiB in each look of 30 s: 102 KiB/s, and 30 MiB in a step.
        let text = traffic(&[step(300, 3 << 20), step(600, 3 << 20)]).into_string();
        for part in ["received 60.0 MiB", "sent 0 B", "at most 102 KiB/s"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn where_nothing_was_reported_nothing_is_drawn() {
        let text = traffic(&[step(300, 1), step(600, 1), step(7200, 1)]).into_string();
        assert_eq!(text.matches("<polyline class=\"received\"").count(), 2);
        let text = traffic(&[step(300, 1), step(600, 1), step(1200, 1)]).into_string();
        assert_eq!(text.matches("<polyline class=\"received\"").count(), 1);
    }

    #[test]
    fn the_times_below_a_picture_end_with_the_last_report() {
        let text = traffic(&[step(1_795_406_100, 1)]).into_string();
        let hours = "<span>03:55</span><span>09:55</span><span>15:55</span><span>21:55</span><span>03:55</span>";
        assert!(text.contains(hours), "{text}");
    }
}
